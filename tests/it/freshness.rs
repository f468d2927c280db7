//! Values that are old or past their time to live: renewed, handed out while they are, standing in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fleeting::{Cache, ComputeError};
use futures::FutureExt;

use crate::support::{Gate, check, in_virtual_time, on_every_runtime, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Asks for key 1 with a compute that yields `value`.
async fn ask(cache: &Cache<u32, u32>, value: u32) -> u32 {
    cache.get_or_compute(1, move || async move { value }).await
}

/// Asks for key 1 with a compute that fails.
async fn ask_in_vain(cache: &Cache<u32, u32>) -> Result<u32, ComputeError<&'static str>> {
    cache.try_get_or_compute(1, || async { Err("down") }).await
}

#[test]
fn an_old_value_is_renewed_in_the_background() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(60 * SECOND)
            .refresh_after(10 * SECOND)
            .build()
            .expect("valid settings");
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
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(10 * SECOND)
            .stale_while_revalidate(5 * SECOND)
            .build()
            .expect("valid settings");
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
    let cache: Cache<u32, u32> = Cache::builder()
        .ttl(Duration::from_nanos(1))
        .stale_while_revalidate(60 * SECOND)
        .build()
        .expect("valid settings");
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
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(10 * SECOND)
            .stale_if_error(60 * SECOND)
            .build()
            .expect("valid settings");
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
        let cache: Cache<u32, u32> =
            time.builder().error_ttl(10 * SECOND).build().expect("valid settings");
        let calls = AtomicU32::new(0);
        let ask = || {
            calls.fetch_add(1, Ordering::Relaxed);
            cache.try_get_or_compute(1, || async { Err::<u32, _>("down") })
        };
        let (first, second) = (ask().await.expect_err("down"), ask().await.expect_err("down"));
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
        let cache: Cache<u32, u32> =
            time.builder().compute_timeout(5 * SECOND).build().expect("valid settings");
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

#[test]
fn a_renewed_value_begins_a_new_time_to_live() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(60 * SECOND)
            .refresh_after(10 * SECOND)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        time.advance(50 * SECOND).await;
        assert_eq!(ask(&cache, 2).await, 1);
        time.advance(Duration::ZERO).await;
        time.advance(9 * SECOND).await;
        assert_eq!(ask(&cache, 3).await, 2, "not old yet");
        time.advance((51 * SECOND).saturating_sub(MILLISECOND)).await;
        assert_eq!(cache.get(&1), Some(2));
        time.advance(MILLISECOND).await;
        assert_eq!(cache.get(&1), None);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.refreshes, stats.inserts), (1, 1, 2));
    });
}

#[test]
fn a_value_that_never_expires_is_renewed_too() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().refresh_after(10 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        for round in 1..10 {
            time.advance((10 * SECOND).saturating_sub(MILLISECOND)).await;
            assert_eq!(ask(&cache, 0).await, round);
            time.advance(MILLISECOND).await;
            assert_eq!(ask(&cache, round + 1).await, round);
            time.advance(Duration::ZERO).await;
            assert_eq!(cache.stats().refreshes, u64::from(round));
        }
    });
}

#[test]
fn whichever_call_stores_a_value_it_grows_old() {
    type Store = fn(&Cache<u32, u32>);
    let stores: [Store; 6] = [
        |cache| _ = cache.insert(1, 1),
        |cache| _ = cache.entry(1).insert(1),
        |cache| _ = cache.entry_ref(&1).ttl(60 * SECOND).insert(1),
        |cache| _ = cache.entry(1).or_insert(1),
        |cache| _ = ask(cache, 1).now_or_never(),
        |cache| _ = cache.refresh(1, || async { 1 }).now_or_never(),
    ];
    in_virtual_time(async move |time| {
        for store in stores {
            let cache: Cache<u32, u32> =
                time.builder().refresh_after(10 * SECOND).build().expect("valid settings");
            // Written twice, to be sure that the age is that of the second value.
            cache.insert(1, 0);
            time.advance(7 * SECOND).await;
            cache.remove(&1);
            store(&cache);
            let before = cache.stats().computes;
            time.advance(9 * SECOND).await;
            assert_eq!(ask(&cache, 2).await, 1);
            assert_eq!(cache.stats().computes, before);
            time.advance(SECOND).await;
            assert_eq!(ask(&cache, 2).await, 1);
            assert_eq!(cache.stats().computes, before + 1);
        }
    });
}

#[test]
fn calls_that_do_not_compute_renew_nothing() {
    in_virtual_time(async |time| {
        let builder = time.builder().ttl(60 * SECOND).refresh_after(SECOND);
        let cache: Cache<u32, u32> = builder.early_refresh(1e9).build().expect("valid settings");
        cache.get_or_compute(1, || async { 1 }).await;
        time.advance(59 * SECOND).await;
        assert_eq!((cache.get(&1), cache.peek(&1)), (Some(1), Some(1)));
        assert_eq!(cache.get_many([&1]), [Some(1)]);
        assert!(cache.contains_key(&1));
        assert_eq!(cache.iter().count(), 1);
        assert_eq!(cache.entry(1).or_insert(2), 1);
        time.advance(Duration::ZERO).await;
        assert_eq!((cache.stats().computes, cache.stats().refreshes), (1, 0));
    });
}

#[test]
fn one_refresh_of_a_key_runs_at_a_time() {
    in_virtual_time(async |time| {
        let builder = time.builder().ttl(60 * SECOND).refresh_after(10 * SECOND);
        let cache: Cache<u32, u32> =
            builder.stale_while_revalidate(60 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        time.advance(10 * SECOND).await;
        let gate = Gate::new();
        let passed = gate.passed();
        assert_eq!(cache.get_or_compute(1, || passed.map(|()| 2)).await, 1);
        for _ in 0..100 {
            assert_eq!(ask(&cache, 0).await, 1, "it is renewed already");
        }
        time.advance(55 * SECOND).await;
        for _ in 0..100 {
            assert_eq!(ask(&cache, 0).await, 1, "also past its TTL");
        }
        let mut joins = cache.refresh(1, || async { 0 }).boxed();
        assert!(poll_once(&mut joins).is_none(), "one who asks for a new value waits");
        check(&cache, 1);
        time.advance(55 * SECOND).await;
        let mut late = ask(&cache, 0).boxed();
        assert!(poll_once(&mut late).is_none(), "there is nothing to hand out any more");
        gate.open();
        assert_eq!(futures::join!(joins, late), (2, 2));
        assert_eq!(cache.get(&1), Some(2));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.refreshes, stats.coalesced), (1, 1, 2));
        assert_eq!((stats.hits, stats.stale_hits, stats.misses), (102, 100, 2));
        check(&cache, 0);
    });
}

#[test]
fn no_automatic_refresh_begins_beside_an_explicit_one() {
    on_every_runtime(async |host| {
        let builder = host.builder().ttl(Duration::from_nanos(1));
        let cache: Cache<u32, u32> =
            builder.stale_while_revalidate(3600 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        let gate = Gate::new();
        let passed = gate.passed();
        let mut explicit = cache.refresh(1, || passed.map(|()| 2)).boxed();
        assert!(poll_once(&mut explicit).is_none());
        assert_eq!(ask(&cache, 0).await, 1);
        gate.open();
        assert_eq!(explicit.await, 2);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.refreshes, stats.stale_hits, stats.misses), (1, 1, 1, 1));
        check(&cache, 0);
    });
}

#[test]
fn each_key_is_renewed_for_itself() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().refresh_after(10 * SECOND).build().expect("valid settings");
        for key in 0..1_000 {
            cache.insert(key, key);
        }
        time.advance(10 * SECOND).await;
        for key in 0..1_000 {
            assert_eq!(cache.get_or_compute(key, || async move { key + 1 }).await, key);
        }
        time.advance(Duration::ZERO).await;
        assert!((0..1_000).all(|key| cache.peek(&key) == Some(key + 1)));
        assert_eq!(cache.stats().refreshes, 1_000);
        check(&cache, 0);
    });
}

#[test]
fn a_failed_refresh_leaves_the_value_and_its_deadline() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(60 * SECOND)
            .refresh_after(10 * SECOND)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        time.advance(50 * SECOND).await;
        assert_eq!(ask_in_vain(&cache).await, Ok(1));
        time.advance(SECOND).await;
        assert_eq!(cache.get_or_compute(1, || async { panic!("bang") }).await, 1);
        time.advance(SECOND).await;
        let explicit = cache.try_refresh(1, || async { Err::<u32, _>("down") }).await;
        assert_eq!(explicit, Err(ComputeError::Failed(Arc::new("down"))));
        assert_eq!(cache.get(&1), Some(1));
        time.advance((8 * SECOND).saturating_sub(MILLISECOND)).await;
        assert_eq!(cache.get(&1), Some(1));
        time.advance(MILLISECOND).await;
        assert_eq!(cache.get(&1), None);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.refreshes), (3, 3, 3));
        assert_eq!((stats.hits, stats.misses), (4, 2));
        check(&cache, 0);
    });
}

/// By how long the next attempt is put off after so many have failed.
fn back_off(failures: u32) -> Duration {
    (100 * MILLISECOND * 2_u32.pow(failures - 1)).min(60 * SECOND)
}

#[test]
fn the_next_attempt_is_put_off_by_a_time_that_doubles() {
    in_virtual_time(async |time| {
        // With others, whose failures are tidied away meanwhile.
        for others in [0, 50] {
            let cache: Cache<u32, u32> =
                time.builder().refresh_after(10 * SECOND).build().expect("valid settings");
            for key in 1..=1 + others {
                cache.insert(key, 1);
            }
            time.advance(10 * SECOND).await;
            for failures in 1..=15 {
                let before = cache.stats().computes;
                for key in 1..=1 + others {
                    let compute = || async { Err::<u32, _>("down") };
                    assert_eq!(cache.try_get_or_compute(key, compute).await, Ok(1));
                }
                time.advance(Duration::ZERO).await;
                let begun = cache.stats().computes;
                assert_eq!(begun, before + u64::from(1 + others), "attempt {failures}");
                time.advance(back_off(failures).saturating_sub(MILLISECOND)).await;
                assert_eq!(ask_in_vain(&cache).await, Ok(1));
                assert_eq!(cache.stats().computes, begun, "too early after {failures}");
                time.advance(MILLISECOND).await;
            }
        }
    });
}

#[test]
fn a_success_ends_a_row_of_failures() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().refresh_after(10 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        for _ in 0..2 {
            time.advance(10 * SECOND).await;
            for failures in 1..=4 {
                assert!(ask_in_vain(&cache).await.is_ok());
                time.advance(back_off(failures)).await;
            }
            ask(&cache, 2).await;
            time.advance(Duration::ZERO).await;
            assert_eq!(cache.get(&1), Some(2));
        }
        assert_eq!(cache.stats().computes, 10);
        // So does a write.
        time.advance(10 * SECOND).await;
        for failures in 1..=4 {
            assert!(ask_in_vain(&cache).await.is_ok());
            time.advance(back_off(failures)).await;
        }
        cache.insert(1, 3);
        time.advance(10 * SECOND).await;
        assert!(ask_in_vain(&cache).await.is_ok());
        time.advance(back_off(1)).await;
        ask(&cache, 4).await;
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(4));
    });
}

#[test]
fn a_refresh_that_is_asked_for_is_not_put_off() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().refresh_after(10 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        time.advance(10 * SECOND).await;
        for _ in 0..5 {
            assert_eq!(ask_in_vain(&cache).await, Ok(1));
            time.advance(Duration::ZERO).await;
            let failed = cache.try_refresh(1, || async { Err::<u32, _>("down") }).await;
            assert!(failed.is_err());
        }
        assert_eq!(cache.stats().computes, 6, "one by itself, and all that were asked for");
        assert_eq!(cache.refresh(1, || async { 2 }).await, 2);
        assert_eq!(cache.get(&1), Some(2));
    });
}

#[test]
fn attempts_are_put_off_also_without_a_runtime() {
    futures::executor::block_on(async {
        let cache: Cache<u32, u32> = Cache::builder()
            .ttl(Duration::from_nanos(1))
            .stale_while_revalidate(3600 * SECOND)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        let begun = Instant::now();
        let mut attempts = 0;
        while attempts < 3 {
            attempts = cache.stats().computes;
            assert_eq!(ask_in_vain(&cache).await, Ok(1));
        }
        assert!(begun.elapsed() >= back_off(1) + back_off(2));
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.computes), (0, 0, 3));
    });
}

#[test]
fn a_closed_cache_renews_inside_the_call() {
    in_virtual_time(async |time| {
        let builder = time.builder().ttl(60 * SECOND).refresh_after(10 * SECOND);
        let cache: Cache<u32, u32> =
            builder.stale_while_revalidate(60 * SECOND).build().expect("valid settings");
        cache.close().await;
        cache.insert(1, 1);
        time.advance(10 * SECOND).await;
        assert_eq!(ask(&cache, 2).await, 2, "the new value");
        assert_eq!((cache.stats().hits, cache.stats().refreshes), (1, 1));
        time.advance(10 * SECOND).await;
        assert_eq!(ask_in_vain(&cache).await, Ok(2), "the one that is there");
        assert_eq!(ask(&cache, 0).await, 2, "put off");
        assert_eq!(cache.stats().hits, 3);
        time.advance(51 * SECOND).await;
        assert_eq!(cache.get_or_compute(1, || async { panic!("bang") }).await, 2, "stale");
        assert_eq!(ask(&cache, 0).await, 2, "put off");
        time.advance(SECOND).await;
        assert_eq!(ask(&cache, 3).await, 3);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.stale_hits, stats.misses), (3, 2, 1));
        assert_eq!((stats.computes, stats.compute_failures, stats.refreshes), (4, 2, 4));
        check(&cache, 0);
    });
}

#[test]
fn others_get_the_value_that_is_there_while_a_call_renews_it() {
    in_virtual_time(async |time| {
        let builder = time.builder().ttl(60 * SECOND).refresh_after(10 * SECOND);
        let cache: Cache<u32, u32> =
            builder.stale_while_revalidate(60 * SECOND).build().expect("valid settings");
        cache.close().await;
        cache.insert(1, 1);
        time.advance(10 * SECOND).await;
        let gate = Gate::new();
        let passed = gate.passed();
        let mut renews = cache.get_or_compute(1, || passed.map(|()| 2)).boxed();
        assert!(poll_once(&mut renews).is_none());
        assert_eq!(ask(&cache, 0).await, 1);
        time.advance(50 * SECOND).await;
        assert_eq!(ask(&cache, 0).await, 1);
        gate.open();
        assert_eq!(renews.await, 2);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.stale_hits, stats.misses, stats.computes), (2, 1, 0, 1));
    });
}

#[test]
fn a_compute_that_asks_for_the_key_it_renews_gets_the_value_that_is_there() {
    on_every_runtime(async |host| {
        let builder = host.builder().ttl(Duration::from_nanos(1));
        let cache: Cache<u32, u32> =
            builder.stale_while_revalidate(3600 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        let own = cache.clone();
        let compute = || async move { ask(&own, 0).await + 1 };
        assert_eq!(cache.refresh(1, compute).await, 2);
        let own = cache.clone();
        let compute = || async move { own.try_refresh(1, || async { Ok::<u32, u8>(0) }).await };
        let recursive = cache.try_refresh(1, compute).await;
        let Err(ComputeError::Failed(error)) = recursive else { panic!("a circle: {recursive:?}") };
        assert!(matches!(*error, ComputeError::Recursive));
        check(&cache, 0);
    });
}

#[test]
fn a_refresh_that_a_compute_sets_off_needs_a_permit_of_its_own() {
    in_virtual_time(async |time| {
        let builder = time.builder().refresh_after(SECOND).max_concurrent_computes(1);
        let cache: Cache<u32, u32> = builder.build().expect("valid settings");
        cache.insert(1, 1);
        time.advance(SECOND).await;
        let gate = Gate::new();
        let (own, passed) = (cache.clone(), gate.passed());
        let compute = || async move {
            let value = ask(&own, 2).await;
            passed.await;
            value + 10
        };
        let mut outer = cache.get_or_compute(2, compute).boxed();
        assert!(poll_once(&mut outer).is_none());
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(1), "nobody waits for it, so it waits for its turn");
        check(&cache, 2);
        gate.open();
        assert_eq!(outer.await, 11);
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(2));
        check(&cache, 0);
    });
}

/// Something that another caller does meanwhile.
type Change = fn(&Cache<u32, u32>) -> Option<u32>;

#[test]
fn a_hit_that_renews_in_vain_has_the_value_that_it_found() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(10 * SECOND)
            .refresh_after(SECOND)
            .build()
            .expect("the settings are valid");
        cache.close().await;
        let changes: [Change; 3] = [|_| None, |cache| cache.insert(1, 5), |cache| cache.remove(&1)];
        for change in changes {
            cache.insert(1, 1);
            time.advance(5 * SECOND).await;
            let gate = Gate::new();
            let passed = gate.passed();
            let mut call = Box::pin(cache.try_get_or_compute(1, || async move {
                passed.await;
                Err::<u32, _>("down")
            }));
            assert_eq!(poll_once(&mut call), None);
            let _ = change(&cache);
            time.advance(5 * SECOND).await;
            gate.open();
            assert_eq!(call.await, Ok(1), "it was a hit");
        }
        assert_eq!((cache.stats().hits, cache.stats().misses), (3, 0));
        check(&cache, 0);
    });
}

#[test]
fn a_refresh_whose_value_is_not_kept_is_not_repeated_at_once() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().refresh_after(SECOND).build().expect("the settings are valid");
        cache.insert(1, 1);
        time.advance(2 * SECOND).await;
        for _ in 0..10 {
            let call = cache.entry(1).keep_if(|_| false).get_or_compute(|| async { 2 });
            assert_eq!(call.await, 1);
            time.advance(Duration::ZERO).await;
        }
        assert_eq!(cache.stats().computes, 1);
        time.advance(Duration::from_millis(100)).await;
        assert_eq!(cache.get_or_compute(1, || async { 3 }).await, 1);
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(3));
        check(&cache, 0);
    });
}
