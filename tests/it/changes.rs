//! What is changed while the cache is in use: times to live, values by a closure, the bound, and which
//! entries stay.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use fleeting::Cache;

use crate::support::{Gate, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);

fn cache(max_size: usize) -> Cache<u32, u32> {
    Cache::builder().max_size(max_size).build().expect("the settings are valid")
}

#[test]
fn the_remaining_time_is_told() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().ttl(10 * SECOND).build().expect("the settings are valid");
        assert_eq!(cache.remaining_ttl(&1), None);
        cache.insert(1, 1);
        cache.entry(2).ttl(Duration::MAX).insert(2);
        time.advance(3 * SECOND).await;
        assert_eq!(cache.remaining_ttl(&1), Some(7 * SECOND));
        assert_eq!(cache.remaining_ttl(&2), Some(Duration::MAX));
        time.advance(7 * SECOND).await;
        assert_eq!(cache.remaining_ttl(&1), None);
        assert_eq!(cache.stats().requests(), 0);
    });
}

#[test]
fn a_time_to_live_is_set_shorter_longer_and_for_ever() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().ttl(10 * SECOND).build().expect("the settings are valid");
        assert!(!cache.set_ttl(&1, SECOND));
        for key in 1..=5 {
            cache.insert(key, key);
        }
        assert!(cache.set_ttl(&1, 2 * SECOND));
        assert!(cache.set_ttl(&2, 20 * SECOND));
        assert!(cache.set_ttl(&3, Duration::MAX));
        assert!(cache.set_ttl(&4, Duration::ZERO));
        check(&cache, 0);
        let held = || (1..=5).filter(|key| cache.contains_key(key)).collect::<Vec<u32>>();
        assert_eq!(held(), [1, 2, 3, 5]);
        time.advance(2 * SECOND).await;
        assert_eq!(held(), [2, 3, 5]);
        assert_eq!(cache.len(), 3, "and what is over is freed");
        time.advance(8 * SECOND).await;
        assert_eq!(held(), [2, 3]);
        assert!(cache.set_ttl(&3, 5 * SECOND), "for ever can be taken back");
        time.advance(5 * SECOND).await;
        assert_eq!(held(), [2]);
        time.advance(5 * SECOND).await;
        assert!(cache.is_empty());
        check(&cache, 0);
    });
}

#[test]
fn set_ttl_makes_no_other_value_of_it() {
    let cache = cache(10);
    cache.insert(1, 1);
    let removed = cache.remove_if(&1, |_| cache.set_ttl(&1, 60 * SECOND));
    assert_eq!(removed, Some(1));
}

#[test]
fn jitter_shortens_and_never_prolongs() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(100 * SECOND)
            .ttl_jitter(0.5)
            .build()
            .expect("the settings are valid");
        for key in 0..1_000 {
            cache.insert(key, key);
        }
        let left = |key| cache.remaining_ttl(&key).expect("it is there");
        assert!((0..1_000).all(|key| (50 * SECOND..=100 * SECOND).contains(&left(key))));
        let early = (0..1_000).filter(|key| left(*key) < 75 * SECOND).count();
        assert!((400..600).contains(&early), "{early} of 1,000 are in the first half");
        cache.entry(0).ttl(Duration::MAX).insert(0);
        assert_eq!(left(0), Duration::MAX);
        // The last ones wait for a second to pass since the sweep before.
        time.advance(101 * SECOND).await;
        assert_eq!(cache.len(), 1);
        check(&cache, 0);
    });
}

#[test]
fn a_jitter_that_is_no_share_is_refused() {
    for jitter in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let refused = Cache::<u32, u32>::builder().ttl_jitter(jitter).build();
        let message = refused.expect_err("it is no share").to_string();
        assert_eq!(message, "ttl_jitter must be from 0.0 to 1.0");
    }
}

#[test]
fn an_update_sees_what_is_there_and_stores_what_it_returns() {
    let cache = cache(10);
    assert_eq!(cache.entry(1).update(|present| present), None);
    assert_eq!(cache.entry(1).update(|present| Some(present.unwrap_or(5))), Some(5));
    assert_eq!(cache.entry_ref(&1).update(|present| present.map(|value| value + 1)), Some(6));
    assert_eq!(cache.get(&1), Some(6));
    assert_eq!(cache.entry(1).update(|_| None), None);
    assert!(cache.is_empty());
    check(&cache, 0);
}

#[test]
fn an_update_is_called_again_if_somebody_writes_meanwhile() {
    let cache = cache(10);
    cache.insert(1, 1);
    let mut seen = Vec::new();
    let value = cache.entry(1).update(|present| {
        seen.push(present);
        match seen.len() {
            1 => drop(cache.insert(1, 10)),
            2 => drop(cache.remove(&1)),
            3 => drop(cache.insert(1, 20)),
            _ => {}
        }
        present.map(|value| value + 1).or(Some(100))
    });
    assert_eq!(seen, [Some(1), Some(10), None, Some(20)]);
    assert_eq!((value, cache.get(&1)), (Some(21), Some(21)));
    check(&cache, 0);
}

#[test]
fn updates_from_many_threads_lose_nothing() {
    let cache = cache(10);
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..1_000 {
                    cache.entry(1).update(|count| Some(count.unwrap_or(0) + 1));
                }
            });
        }
    });
    assert_eq!(cache.get(&1), Some(8_000));
    check(&cache, 0);
}

#[test]
fn an_update_fences_off_the_compute_of_its_key() {
    let cache = cache(10);
    let outcomes: [fn(Option<u32>) -> Option<u32>; 2] = [|_| Some(2), |_| None];
    for outcome in outcomes {
        cache.clear();
        let gate = Gate::new();
        let passed = gate.passed();
        let mut call = Box::pin(cache.get_or_compute(1, || async move {
            passed.await;
            1
        }));
        assert_eq!(poll_once(&mut call), None);
        let value = cache.entry(1).update(outcome);
        gate.open();
        assert_eq!(poll_once(&mut call), Some(1));
        assert_eq!(cache.get(&1), value);
        check(&cache, 0);
    }
}

#[test]
fn retain_removes_the_rest() {
    let cache = cache(5_000);
    for key in 0..3_000 {
        cache.insert(key, key * 2);
    }
    assert_eq!(cache.retain(|key, value| key % 3 == 0 && *value == key * 2), 2_000);
    assert_eq!(cache.len(), 1_000);
    assert!(cache.iter().all(|(key, _)| key % 3 == 0));
    assert_eq!(cache.retain(|_, _| true), 0);
    check(&cache, 0);
}

#[test]
fn retain_leaves_what_is_replaced_meanwhile() {
    let cache = cache(10);
    cache.insert(1, 1);
    let removed = cache.retain(|key, _| {
        cache.insert(*key, 2);
        false
    });
    assert_eq!((removed, cache.get(&1)), (0, Some(2)));
}

#[test]
fn retain_asks_about_values_that_could_stand_in() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(SECOND)
            .stale_if_error(60 * SECOND)
            .build()
            .expect("the settings are valid");
        cache.insert(1, 1);
        time.advance(2 * SECOND).await;
        assert_eq!(cache.retain(|_, _| false), 1);
        let failed = cache.try_get_or_compute(1, || async { Err::<u32, _>("down") }).await;
        assert!(failed.is_err());
        check(&cache, 0);
    });
}

#[test]
fn the_bound_is_narrowed_widened_and_begun() {
    let cache = cache(4_000);
    for key in 0..4_000 {
        cache.insert(key, key);
    }
    cache.set_max_size(100).expect("any bound is valid");
    assert_eq!((cache.len(), cache.max_size()), (100, Some(100)));
    check(&cache, 0);
    cache.set_max_size(200).expect("any bound is valid");
    for key in 0..1_000 {
        cache.insert(key, key);
        assert!(cache.len() <= 200);
    }
    assert_eq!(cache.len(), 200);
    assert_eq!(cache.stats().evictions, 3_900 + 900);
    check(&cache, 0);

    let unbounded: Cache<u32, u32> = Cache::builder().build().expect("the settings are valid");
    for key in 0..1_000 {
        unbounded.insert(key, key);
    }
    assert_eq!(unbounded.max_size(), None);
    unbounded.set_max_size(10).expect("any bound is valid");
    assert_eq!((unbounded.len(), unbounded.max_size()), (10, Some(10)));
    unbounded.insert(5_000, 1);
    assert_eq!(unbounded.len(), 10);
    check(&unbounded, 0);
    unbounded.set_max_size(0).expect("any bound is valid");
    assert_eq!((unbounded.len(), unbounded.max_size()), (0, Some(0)));
}

#[test]
fn a_small_cache_keeps_the_latest_when_it_is_narrowed() {
    let cache = cache(1_000);
    for key in 0..1_000 {
        cache.insert(key, key);
    }
    cache.set_max_size(3).expect("any bound is valid");
    let mut held: Vec<u32> = cache.iter().map(|(key, _)| key).collect();
    held.sort_unstable();
    assert_eq!(held, [997, 998, 999]);
}

#[test]
fn the_bound_holds_while_it_is_changed_under_load() {
    let cache = Arc::new(cache(5_000));
    let (is_over, start) = (AtomicBool::new(false), Barrier::new(4));
    let stored = AtomicU32::new(0);
    thread::scope(|scope| {
        for thread in 0..3_u32 {
            let (cache, is_over, start, stored) = (&cache, &is_over, &start, &stored);
            scope.spawn(move || {
                start.wait();
                let mut key = thread;
                while !is_over.load(Ordering::Relaxed) {
                    cache.insert(key, key);
                    stored.fetch_add(1, Ordering::Relaxed);
                    if key % 7 == 0 {
                        cache.remove(&(key / 2));
                    }
                    key = key.wrapping_add(3);
                }
            });
        }
        start.wait();
        for round in 0..100 {
            let bound = if round % 2 == 0 { 50 } else { 5_000 };
            cache.set_max_size(bound).expect("any bound is valid");
            let seen = stored.load(Ordering::Relaxed);
            while stored.load(Ordering::Relaxed) < seen + 1_000 {
                let held = cache.len();
                assert!(held <= bound, "{held} of {bound}");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    check(&cache, 0);
}
