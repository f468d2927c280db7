//! `keep_ttl`: a value that replaces a fresh one keeps its deadline.

use std::time::Duration;

use fleeting::Cache;

use crate::support::{VirtualTime, check, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

fn new_cache(time: &VirtualTime) -> Cache<u32, u32> {
    time.builder().ttl(10 * SECOND).max_size(100).build().expect("the settings are valid")
}

#[test]
fn whoever_stores_the_new_value_the_deadline_stays() {
    in_virtual_time(async |time| {
        for weighed in [false, true] {
            let builder = time.builder::<u32, u32>().ttl(10 * SECOND).max_size(100);
            let builder =
                if weighed { builder.max_weight(1_000).weigher(|_, _| 1) } else { builder };
            let cache = builder.build().expect("the settings are valid");
            for key in 1..=9 {
                cache.insert(key, key);
            }
            time.advance(4 * SECOND).await;
            assert_eq!(cache.entry(1).keep_ttl().insert(10), Some(1));
            assert_eq!(cache.entry_ref(&2).keep_ttl().insert(20), Some(2));
            assert_eq!(cache.entry(3).keep_ttl().update(|_| Some(30)), Some(30));
            assert_eq!(cache.entry_ref(&4).keep_ttl().update(|_| Some(40)), Some(40));
            assert_eq!(cache.entry(5).keep_ttl().refresh(async || 50).await, 50);
            assert_eq!(cache.entry_ref(&6).keep_ttl().refresh(async || 60).await, 60);
            assert_eq!(cache.entry(7).keep_ttl().ttl(60 * SECOND).insert(70), Some(7));
            assert_eq!(cache.entry(8).ttl(SECOND).keep_ttl().insert(80), Some(8));
            assert_eq!(cache.entry(9).keep_ttl().or_insert(90), 9, "it replaces nothing");
            for key in 1..=9 {
                assert_eq!(cache.remaining_ttl(&key), Some(6 * SECOND), "key {key}");
                assert_eq!(cache.get(&key), Some(if key == 9 { 9 } else { key * 10 }));
            }
            time.advance(6 * SECOND).await;
            assert!((1..=9).all(|key| cache.get(&key).is_none()));
            time.advance(SECOND).await;
            assert!(cache.is_empty());
            check(&cache, 0);
        }
    });
}

#[test]
fn kept_again_and_again_it_does_not_creep() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        let count = || {
            let count = |count: Option<u32>| Some(count.unwrap_or(0) + 1);
            cache.entry(1).keep_ttl().update(count).expect("it counts")
        };
        for second in 1..=10 {
            assert_eq!(count(), second);
            time.advance(SECOND).await;
        }
        assert_eq!(count(), 1, "a new window");
        assert_eq!(cache.remaining_ttl(&1), Some(10 * SECOND));
        check(&cache, 0);
    });
}

#[test]
fn a_long_ttl_is_kept_too_and_is_not_prolonged() {
    in_virtual_time(async |time| {
        let hour = 3_600 * SECOND;
        let cache: Cache<u32, u32> =
            time.builder().ttl(hour).build().expect("the settings are valid");
        cache.insert(1, 0);
        let left = cache.remaining_ttl(&1).expect("it is there");
        for number in 1..=100 {
            cache.entry(1).keep_ttl().insert(number);
        }
        assert_eq!(cache.remaining_ttl(&1), Some(left));
        time.advance(hour).await;
        assert_eq!(cache.get(&1), None);
    });
}

#[test]
fn where_nothing_fresh_is_the_value_has_its_own() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(10 * SECOND)
            .stale_if_error(100 * SECOND)
            .build()
            .expect("the settings are valid");
        cache.entry(1).keep_ttl().insert(1);
        assert_eq!(cache.remaining_ttl(&1), Some(10 * SECOND));
        assert_eq!(cache.entry(2).keep_ttl().get_or_compute(async || 2).await, 2);
        assert_eq!(cache.remaining_ttl(&2), Some(10 * SECOND));
        time.advance(12 * SECOND).await;
        cache.entry(1).keep_ttl().insert(10);
        assert_eq!(cache.remaining_ttl(&1), Some(10 * SECOND), "what is stale has no deadline");
        assert_eq!(cache.entry(2).keep_ttl().ttl(3 * SECOND).update(|_| Some(20)), Some(20));
        assert_eq!(cache.remaining_ttl(&2), Some(3 * SECOND));
        assert_eq!(cache.entry_ref(&3).keep_ttl().or_insert(3), 3);
        assert_eq!(cache.remaining_ttl(&3), Some(10 * SECOND));
        cache.remove(&3);
        cache.entry_ref(&3).keep_ttl().insert(4);
        assert_eq!(cache.remaining_ttl(&3), Some(10 * SECOND));
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_ends_late_has_a_ttl_of_its_own() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.insert(1, 1);
        let gate = crate::support::Gate::new();
        let passed = gate.passed();
        let mut refresh = Box::pin(cache.entry(1).keep_ttl().refresh(|| async move {
            passed.await;
            2
        }));
        assert_eq!(crate::support::poll_once(&mut refresh), None);
        time.advance(11 * SECOND).await;
        gate.open();
        assert_eq!(refresh.await, 2);
        assert_eq!(cache.remaining_ttl(&1), Some(10 * SECOND));
        check(&cache, 0);
    });
}

#[test]
fn a_background_refresh_keeps_it_if_the_call_that_begins_it_says_so() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(10 * SECOND)
            .refresh_after(3 * SECOND)
            .build()
            .expect("the settings are valid");
        cache.insert(1, 1);
        time.advance(4 * SECOND).await;
        assert_eq!(cache.entry(1).keep_ttl().get_or_compute(async || 2).await, 1);
        time.advance(SECOND).await;
        assert_eq!((cache.peek(&1), cache.remaining_ttl(&1)), (Some(2), Some(5 * SECOND)));
        check(&cache, 0);
    });
}

#[test]
fn what_never_expires_goes_on_so_and_what_does_not_is_not_made_endless() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.entry(1).ttl(Duration::MAX).insert(1);
        cache.entry(1).keep_ttl().insert(2);
        assert_eq!(cache.remaining_ttl(&1), Some(Duration::MAX));
        cache.insert(2, 1);
        cache.entry(2).ttl(Duration::MAX).keep_ttl().insert(2);
        assert_eq!(cache.remaining_ttl(&2), Some(10 * SECOND));
        time.advance(100_000 * SECOND).await;
        assert_eq!(cache.get_many(&[1, 2]), [Some(2), None]);
        check(&cache, 0);
    });
}

#[test]
fn it_keeps_the_ttl_and_not_the_idle_time() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(10 * SECOND)
            .tti(3 * SECOND)
            .build()
            .expect("the settings are valid");
        cache.insert(1, 0);
        for number in 1..=4 {
            time.advance(2 * SECOND).await;
            assert_eq!(cache.entry(1).keep_ttl().insert(number), Some(number - 1));
        }
        // Eight seconds: each write was a use.
        assert_eq!(cache.remaining_ttl(&1), Some(2 * SECOND), "of the TTL");
        time.advance(2 * SECOND).await;
        assert_eq!(cache.get(&1), None);

        cache.insert(2, 0);
        time.advance(2 * SECOND).await;
        cache.entry(2).keep_ttl().update(|_| Some(1));
        assert_eq!(cache.remaining_ttl(&2), Some(3 * SECOND));
        time.advance(2 * SECOND).await;
        assert_eq!(cache.get(&2), Some(1));
        time.advance(3 * SECOND).await;
        assert_eq!(cache.get(&2), None, "idle for too long");
        check(&cache, 0);
    });
}

#[test]
fn jitter_does_not_shorten_what_is_kept() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(50 * SECOND)
            .ttl_jitter(1.0)
            .build()
            .expect("the settings are valid");
        for key in 0..100 {
            cache.insert(key, 0);
            let left = cache.remaining_ttl(&key);
            cache.entry(key).keep_ttl().insert(1);
            cache.entry_ref(&key).keep_ttl().update(|_| Some(2));
            assert_eq!(cache.remaining_ttl(&key), left);
        }
        check(&cache, 0);
    });
}

#[test]
fn a_ttl_of_zero_takes_effect_only_where_there_is_nothing_to_keep() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.insert(1, 1);
        cache.entry(1).ttl(Duration::ZERO).keep_ttl().insert(2);
        assert_eq!(cache.remaining_ttl(&1), Some(10 * SECOND));
        cache.entry(2).ttl(Duration::ZERO).keep_ttl().insert(2);
        assert_eq!(cache.get(&2), None);
        check(&cache, 0);
    });
}
