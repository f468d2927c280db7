//! Values that are old or past their time to live: renewed, handed out while they are, standing in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fleeting::{Cache, ComputeError};

use crate::support::{Gate, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_old_value_is_renewed_in_the_background() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().ttl(60 * SECOND).refresh_after(10 * SECOND).build().unwrap();
        cache.insert(1, 1);
        time.advance(9 * SECOND).await;
        assert_eq!(cache.get_or_compute(1, || async { unreachable!() }).await, 1);
        time.advance(SECOND).await;
        assert_eq!(cache.get_or_compute(1, || async { 2 }).await, 1, "the value that is there");
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(2));
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.computes, stats.refreshes), (3, 1, 1));
        check(&cache, 0);
    });
}

#[test]
fn a_stale_value_is_handed_out_while_it_is_renewed() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().ttl(10 * SECOND).stale_while_revalidate(5 * SECOND).build().unwrap();
        cache.insert(1, 1);
        time.advance(12 * SECOND).await;
        assert_eq!(cache.get(&1), None);
        assert_eq!(cache.len(), 1);
        let gate = Gate::new();
        let passed = gate.passed();
        let value = cache
            .get_or_compute(1, || async move {
                passed.await;
                2
            })
            .await;
        assert_eq!(value, 1);
        assert_eq!(cache.get_or_compute(1, || async { unreachable!() }).await, 1);
        check(&cache, 1);
        gate.open();
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(2));
        assert_eq!((cache.stats().stale_hits, cache.stats().misses), (2, 1));
        time.advance(15 * SECOND).await;
        time.advance(SECOND).await;
        assert_eq!(cache.len(), 0, "freed when its time is over");
        check(&cache, 0);
    });
}

#[test]
fn without_a_runtime_the_call_renews_itself() {
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(Duration::ZERO).stale_while_revalidate(60 * SECOND).build().unwrap();
    futures::executor::block_on(async {
        cache.insert(1, 1);
        assert_eq!(cache.get_or_compute(1, || async { 2 }).await, 2);
        let failed = cache.try_get_or_compute(1, || async { Err::<u32, _>("down") }).await;
        assert_eq!(failed, Ok(2), "the stale one, if it fails");
        assert_eq!((cache.stats().misses, cache.stats().stale_hits), (1, 1));
    });
}

#[test]
fn a_stale_value_stands_in_for_a_failure() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().ttl(10 * SECOND).stale_if_error(60 * SECOND).build().unwrap();
        cache.insert(1, 1);
        time.advance(20 * SECOND).await;
        let value = cache.try_get_or_compute(1, || async { Err::<u32, _>("down") }).await;
        assert_eq!(value, Ok(1));
        cache.remove(&1);
        let value = cache.try_get_or_compute(1, || async { Err::<u32, _>("down") }).await;
        assert_eq!(value, Err(ComputeError::Failed(Arc::new("down"))));
        assert_eq!((cache.stats().misses, cache.stats().stale_hits), (1, 1));
    });
}

#[test]
fn failures_are_remembered() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time.builder().error_ttl(10 * SECOND).build().unwrap();
        let calls = AtomicU32::new(0);
        let ask = || {
            calls.fetch_add(1, Ordering::Relaxed);
            cache.try_get_or_compute(1, || async { Err::<u32, _>("down") })
        };
        let (first, second) = (ask().await.unwrap_err(), ask().await.unwrap_err());
        let (ComputeError::Failed(first), ComputeError::Failed(second)) = (first, second) else {
            panic!("both failed");
        };
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(cache.stats().computes, 1);
        assert_eq!(cache.get_or_compute(1, || async { 7 }).await, 7, "for itself");
        cache.remove(&1);
        let _ = ask().await;
        time.advance(10 * SECOND).await;
        let _ = ask().await;
        assert_eq!(cache.stats().computes, 4);
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_takes_too_long_is_given_up() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time.builder().compute_timeout(5 * SECOND).build().unwrap();
        let mut hung = Box::pin(cache.try_get_or_compute(1, || async {
            std::future::pending::<()>().await;
            Ok::<u32, ()>(1)
        }));
        assert!(poll_once(&mut hung).is_none());
        time.advance(5 * SECOND).await;
        assert_eq!(hung.await, Err(ComputeError::TimedOut));
        check(&cache, 0);
        assert_eq!(cache.get_or_compute(1, || async { 2 }).await, 2);
        assert_eq!(cache.stats().timeouts, 1);
    });
}
