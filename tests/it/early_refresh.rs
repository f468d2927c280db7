//! Values that are renewed by chance before they expire.

use std::time::Duration;

use fleeting::Cache;
use futures::FutureExt;
use futures::future::join_all;

use crate::support::{Gate, VirtualTime, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(100);
const KEYS: u32 = 2_000;

fn new_cache(time: &VirtualTime, beta: f64) -> Cache<u32, u32> {
    time.builder().ttl(TTL).early_refresh(beta).build().expect("valid settings")
}

/// Fills the cache with values that took `cost` to compute.
async fn fill(cache: &Cache<u32, u32>, time: &VirtualTime, cost: Duration) {
    let gate = Gate::new();
    let mut callers: Vec<_> = (0..KEYS)
        .map(|key| {
            let passed = gate.passed();
            cache.get_or_compute(key, move || passed.map(move |()| key)).boxed()
        })
        .collect();
    assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
    time.advance(cost).await;
    gate.open();
    join_all(callers).await;
    cache.reset_stats();
}

/// Asks for each key once, and tells which share of them is renewed.
async fn share_renewed(cache: &Cache<u32, u32>, time: &VirtualTime) -> f64 {
    cache.reset_stats();
    for key in 0..KEYS {
        let value = cache.get_or_compute(key, || async move { key + 1 }).await;
        assert_eq!(value, key, "the value that is there");
    }
    time.advance(Duration::ZERO).await;
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.computes), (u64::from(KEYS), stats.refreshes));
    check(cache, 0);
    f64::from(u32::try_from(stats.refreshes).expect("at most one a key")) / f64::from(KEYS)
}

#[test]
fn without_the_setting_none_is_renewed() {
    in_virtual_time(async |time| {
        for beta in [0.0, -0.0] {
            let cache = new_cache(&time, beta);
            fill(&cache, &time, 10 * SECOND).await;
            time.advance(TTL.saturating_sub(Duration::from_nanos(1))).await;
            assert!(share_renewed(&cache, &time).await <= 0.0);
        }
    });
}

#[test]
fn nearly_all_are_renewed_where_it_is_huge() {
    in_virtual_time(async |time| {
        for beta in [1e12, f64::MAX] {
            let cache = new_cache(&time, beta);
            fill(&cache, &time, SECOND).await;
            assert!(share_renewed(&cache, &time).await > 0.99);
            assert_eq!(cache.get(&1), Some(2));
        }
    });
}

#[test]
fn what_was_inserted_is_never_renewed() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time, f64::MAX);
        // Also where a value that was computed stood before.
        fill(&cache, &time, SECOND).await;
        for key in 0..KEYS {
            cache.insert(key, key);
        }
        assert!(share_renewed(&cache, &time).await <= 0.0);
        time.advance(TTL.saturating_sub(Duration::from_nanos(1))).await;
        assert!(share_renewed(&cache, &time).await <= 0.0);
    });
}

#[test]
fn what_took_no_time_or_never_expires_is_not_renewed() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time, f64::MAX);
        fill(&cache, &time, Duration::ZERO).await;
        time.advance(TTL.saturating_sub(Duration::from_nanos(1))).await;
        assert!(share_renewed(&cache, &time).await <= 0.0);
        let endless: Cache<u32, u32> =
            time.builder().early_refresh(f64::MAX).build().expect("valid settings");
        fill(&endless, &time, SECOND).await;
        time.advance(1_000 * TTL).await;
        assert!(share_renewed(&endless, &time).await <= 0.0);
    });
}

#[test]
fn the_chance_is_that_of_the_paper() {
    in_virtual_time(async |time| {
        for (beta, cost, left) in [
            (1.0, 1.0, 1.0),
            (1.0, 1.0, 0.1),
            (1.0, 1.0, 3.0),
            (2.0, 1.0, 1.0),
            (0.5, 4.0, 1.0),
            (1.0, 20.0, 80.0),
        ] {
            let cache = new_cache(&time, beta);
            fill(&cache, &time, Duration::from_secs_f64(cost)).await;
            time.advance(TTL.saturating_sub(Duration::from_secs_f64(left))).await;
            let expected = (-left / (cost * beta)).exp();
            let share = share_renewed(&cache, &time).await;
            let deviation = (expected * (1.0 - expected) / f64::from(KEYS)).sqrt();
            assert!(
                (share - expected).abs() < 6.0 * deviation,
                "{share} instead of {expected} at {left} s, cost {cost} s, beta {beta}"
            );
        }
    });
}

#[test]
fn a_new_value_is_renewed_by_the_time_that_it_took_itself() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time, 1e12);
        fill(&cache, &time, SECOND).await;
        // Renewed at no cost: not again.
        share_renewed(&cache, &time).await;
        for key in 0..KEYS {
            cache.refresh(key, || async move { key }).await;
        }
        assert!(share_renewed(&cache, &time).await <= 0.0);
    });
}

#[test]
fn a_closed_cache_renews_early_inside_the_call() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time, f64::MAX);
        cache.close().await;
        fill(&cache, &time, SECOND).await;
        let mut renewed = 0;
        for key in 0..100 {
            let value = cache.get_or_compute(key, || async move { key + 1 }).await;
            renewed += value - key;
        }
        assert!(renewed > 90);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.refreshes), (100, 0, u64::from(renewed)));
    });
}
