//! `expires_at`: a rule that tells the moment at which a value expires, by the cache's own clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleeting::Cache;
use fleeting::runtime::Instant;

use crate::support::{VirtualTime, check, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

/// Each value lives for as many seconds as it says.
fn new_cache(time: &VirtualTime) -> Cache<u32, u32> {
    let builder = time.builder().expires_at(|_, seconds: &u32, now| now + *seconds * SECOND);
    builder.build().expect("the settings are valid")
}

#[test]
fn a_value_lives_until_its_moment_whoever_stores_it() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        time.advance(5 * SECOND).await;
        cache.insert(1, 10);
        cache.entry(2).or_insert(10);
        cache.entry(3).update(|_| Some(10));
        cache.get_or_compute(4, async || 10).await;
        cache.refresh(5, async || 10).await;
        cache.get_or_compute_many([6], async |_| [(6, 10), (7, 10)]).await;
        cache.entry_ref(&8).insert(10);
        for key in 1..=8 {
            assert_eq!(cache.remaining_ttl(&key), Some(10 * SECOND), "key {key}");
        }
        time.advance(Duration::from_millis(9_999)).await;
        assert_eq!(cache.iter().count(), 8);
        time.advance(Duration::from_millis(1)).await;
        assert_eq!(cache.iter().count(), 0);
        check(&cache, 0);
    });
}

#[test]
fn the_rule_is_given_the_time_of_the_cache() {
    in_virtual_time(async |time| {
        let seen: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let seen_by_rule = Arc::clone(&seen);
        let cache: Cache<u32, u32> = time
            .builder()
            .expires_at(move |_, _, now| {
                seen_by_rule.lock().expect("no panic").push(now);
                now + SECOND
            })
            .build()
            .expect("the settings are valid");
        let began = time.runtime().now();
        cache.insert(1, 1);
        time.advance(7 * SECOND).await;
        cache.insert(2, 2);
        cache.entry(3).ttl(SECOND).insert(3);
        let seen: Vec<_> =
            seen.lock().expect("no panic").iter().map(|at| at.duration_since(began)).collect();
        assert_eq!(seen.len(), 2, "a call with a TTL of its own does not ask");
        assert!(seen[0] < SECOND && (7 * SECOND..8 * SECOND).contains(&seen[1]), "{seen:?}");
    });
}

#[test]
fn a_moment_fixed_once_is_the_same_for_values_stored_at_different_times() {
    in_virtual_time(async |time| {
        let midnight = time.runtime().now() + 100 * SECOND;
        let cache: Cache<u32, u32> = time
            .builder()
            .expires_at(move |_, _, _| midnight)
            .build()
            .expect("the settings are valid");
        cache.insert(1, 1);
        time.advance(60 * SECOND).await;
        cache.insert(2, 2);
        time.advance(39 * SECOND).await;
        assert_eq!(cache.get_many(&[1, 2]), [Some(1), Some(2)]);
        time.advance(SECOND).await;
        assert_eq!(cache.get_many(&[1, 2]), [None, None]);
        cache.insert(3, 3);
        assert_eq!(cache.get(&3), None, "its moment is past");
        assert_eq!(cache.get_or_compute(4, async || 4).await, 4);
        assert_eq!(cache.get(&4), None);
        cache.cleanup();
        assert!(cache.is_empty());
        check(&cache, 0);
    });
}

#[test]
fn past_and_far_moments_harm_nobody() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .expires_at(|_, years: &u32, now| {
                let far = u64::from(*years) * 365 * 24 * 3600;
                match years {
                    0 => now.checked_sub(Duration::from_secs(1)).unwrap_or(now),
                    _ => now.checked_add(Duration::from_secs(far)).unwrap_or(now),
                }
            })
            .build()
            .expect("the settings are valid");
        cache.insert(1, 0);
        assert_eq!(cache.get(&1), None);
        for (key, years) in [(2, 1), (3, 500), (4, 1_000), (5, 100_000)] {
            cache.insert(key, years);
            assert_eq!(cache.get(&key), Some(years));
        }
        assert_eq!(cache.remaining_ttl(&5), Some(Duration::MAX), "as good as never");
        time.advance(400 * 24 * 3600 * SECOND).await;
        assert_eq!(cache.get_many(&[2, 3, 4, 5]), [None, Some(500), Some(1_000), Some(100_000)]);
        check(&cache, 0);
    });
}

#[test]
fn jitter_shortens_what_is_left_until_the_moment() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .expires_at(|_, _, now| now + 40 * SECOND)
            .ttl_jitter(0.5)
            .build()
            .expect("the settings are valid");
        for key in 0..500 {
            cache.insert(key, key);
        }
        let left: Vec<_> =
            (0..500).map(|key| cache.remaining_ttl(&key).expect("it is there")).collect();
        assert!(left.iter().all(|left| (20 * SECOND..=40 * SECOND).contains(left)));
        assert!(left.iter().any(|left| *left < 30 * SECOND));
        assert!(left.iter().any(|left| *left > 30 * SECOND));
    });
}

#[test]
fn the_last_rule_counts() {
    in_virtual_time(async |time| {
        let by_moment: Cache<u32, u32> = time
            .builder()
            .ttl(SECOND)
            .expiry(|_, _| 2 * SECOND)
            .expires_at(|_, _, now| now + 3 * SECOND)
            .build()
            .expect("the settings are valid");
        let by_ttl: Cache<u32, u32> = time
            .builder()
            .expires_at(|_, _, now| now + 3 * SECOND)
            .expiry(|_, _| 2 * SECOND)
            .ttl(SECOND)
            .build()
            .expect("the settings are valid");
        by_moment.insert(1, 1);
        by_ttl.insert(1, 1);
        assert_eq!(by_moment.remaining_ttl(&1), Some(3 * SECOND));
        assert_eq!(by_ttl.remaining_ttl(&1), Some(2 * SECOND));
    });
}

#[test]
fn without_a_runtime_it_is_real_time() {
    let before = Instant::now();
    let cache: Cache<u32, u32> = Cache::builder()
        .expires_at(move |_, _, now| {
            assert!(now >= before && now <= Instant::now() + SECOND);
            now + 1_000 * SECOND
        })
        .build()
        .expect("the settings are valid");
    cache.insert(1, 1);
    let left = cache.remaining_ttl(&1).expect("it is there");
    assert!(left <= 1_000 * SECOND && left > 900 * SECOND);
}

#[test]
fn a_rule_that_panics_stores_nothing() {
    let cache: Cache<u32, u32> = Cache::builder()
        .expires_at(|_, value: &u32, now| {
            assert!(*value != 13, "an unlucky number");
            now + SECOND
        })
        .build()
        .expect("the settings are valid");
    let insert = || cache.insert(1, 13);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(insert)).is_err());
    let computed =
        futures::executor::block_on(cache.try_get_or_compute(1, || async { Ok::<_, &str>(13) }));
    assert!(matches!(computed, Err(fleeting::ComputeError::Panicked(_))));
    assert!(cache.is_empty());
    check(&cache, 0);
}
