//! Failures that are remembered: told to whom, and for how long.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::join_all;

use crate::flights::Bomb;
use crate::support::{Gate, VirtualTime, check, in_virtual_time, on_every_runtime, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// No more are remembered in a shard.
const REMEMBERED: usize = 1_024;

#[derive(Debug, PartialEq, Eq)]
struct Down(u32);

fn new_cache(time: &VirtualTime) -> Cache<u32, u32> {
    time.builder().error_ttl(10 * SECOND).build().expect("valid settings")
}

/// Asks for a key with a compute that fails at once; the error, if that is what it comes to.
async fn fail(cache: &Cache<u32, u32>, key: u32) -> Arc<Down> {
    failed(cache.try_get_or_compute(key, move || async move { Err(Down(key)) }).await)
}

/// The error that is remembered for a key.
async fn told(cache: &Cache<u32, u32>, key: u32) -> Arc<Down> {
    failed(cache.try_get_or_compute(key, || async { unreachable!("it is remembered") }).await)
}

fn failed<E: Debug>(result: Result<u32, ComputeError<E>>) -> Arc<E> {
    match result {
        Err(ComputeError::Failed(error)) => error,
        other => panic!("a failure was expected, not {other:?}"),
    }
}

/// Makes a key fail, and leaves nobody with the error but the cache.
async fn forget_about(cache: &Cache<u32, u32>, key: u32) -> Weak<Down> {
    Arc::downgrade(&fail(cache, key).await)
}

#[test]
fn all_are_told_the_same_error_for_as_long_as_it_is_remembered() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        let gate = Gate::new();
        let passed = gate.passed();
        let mut leads = cache.try_get_or_compute(1, || passed.map(|()| Err(Down(1)))).boxed();
        assert!(poll_once(&mut leads).is_none());
        let mut joins = told(&cache, 1).boxed();
        assert!(poll_once(&mut joins).is_none());
        time.advance(5 * SECOND).await;
        gate.open();
        let (leads, joins) = (failed(leads.await), joins.await);
        assert!(Arc::ptr_eq(&leads, &joins));
        // From the end of the compute on.
        time.advance((10 * SECOND).saturating_sub(MILLISECOND)).await;
        for _ in 0..10 {
            assert!(Arc::ptr_eq(&leads, &told(&cache, 1).await));
        }
        time.advance(MILLISECOND).await;
        assert!(!Arc::ptr_eq(&leads, &fail(&cache, 1).await));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.coalesced), (2, 2, 1));
        assert_eq!((stats.hits, stats.misses, stats.stale_hits), (0, 13, 0));
        check(&cache, 0);
    });
}

#[test]
fn without_the_setting_none_is_remembered() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let error = forget_about(&cache, 1).await;
        assert!(error.upgrade().is_none());
        fail(&cache, 1).await;
        assert_eq!(cache.stats().computes, 2);
        check(&cache, 0);
    });
}

#[test]
fn panics_and_late_computes_are_not_remembered() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        let panicked = cache.try_get_or_compute(1, || async {
            assert_eq!(1, 2, "bang");
            Ok::<u32, Down>(1)
        });
        assert!(matches!(panicked.await, Err(ComputeError::Panicked(_))));
        let entry = cache.entry(1).timeout(SECOND);
        let mut late = entry.try_get_or_compute(std::future::pending::<Result<u32, Down>>).boxed();
        assert!(poll_once(&mut late).is_none());
        time.advance(SECOND).await;
        assert!(matches!(late.await, Err(ComputeError::TimedOut)));
        assert_eq!(cache.get_or_compute(1, || async { 7 }).await, 7);
        assert_eq!(cache.stats().computes, 3);
        check(&cache, 0);
    });
}

#[test]
fn a_caller_with_another_error_type_computes_for_itself() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> =
            host.builder().error_ttl(3600 * SECOND).build().expect("valid settings");
        let first = fail(&cache, 1).await;
        assert!(Arc::ptr_eq(&first, &told(&cache, 1).await));
        let other = cache.try_get_or_compute(1, || async { Err("other") }).await;
        let other = failed(other);
        assert_eq!(*other, "other");
        // That is the failure which is remembered now.
        let again: Result<u32, ComputeError<&str>> =
            cache.try_get_or_compute(1, || async { unreachable!() }).await;
        assert!(Arc::ptr_eq(&other, &failed(again)));
        assert_eq!(fail(&cache, 1).await, first, "an equal one");
        assert_eq!(cache.stats().computes, 3);
        // One without an error type.
        assert_eq!(cache.get_or_compute(1, || async { 7 }).await, 7);
        assert_eq!(cache.stats().misses, 6);
        assert_eq!(cache.get(&1), Some(7));
        check(&cache, 0);
    });
}

#[test]
fn whatever_writes_the_key_makes_the_failure_forgotten() {
    type Write = fn(&Cache<u32, u32>);
    let writes: [Write; 8] = [
        |cache| _ = cache.insert(1, 1),
        |cache| _ = cache.entry(1).insert(1),
        |cache| _ = cache.entry_ref(&1).insert(1),
        |cache| _ = cache.entry(1).or_insert(1),
        |cache| _ = cache.entry(1).ttl(Duration::ZERO).insert(1),
        |cache| _ = cache.remove(&1),
        Cache::clear,
        |cache| _ = cache.refresh(1, || async { 1 }).now_or_never(),
    ];
    on_every_runtime(async move |host| {
        for write in writes {
            let cache: Cache<u32, u32> =
                host.builder().error_ttl(3600 * SECOND).build().expect("valid settings");
            let (error, other) = (forget_about(&cache, 1).await, forget_about(&cache, 2).await);
            assert!(error.upgrade().is_some() && other.upgrade().is_some());
            write(&cache);
            assert!(error.upgrade().is_none(), "freed at once");
            cache.remove(&1);
            assert_eq!(cache.get_or_compute(1, || async { 7 }).await, 7);
            check(&cache, 0);
        }
    });
}

#[test]
fn what_writes_nothing_leaves_a_failure_remembered() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> =
            host.builder().error_ttl(3600 * SECOND).build().expect("valid settings");
        let error = fail(&cache, 1).await;
        assert_eq!((cache.get(&1), cache.peek(&1), cache.contains_key(&1)), (None, None, false));
        assert_eq!(cache.remove_if(&1, |_| true), None);
        assert_eq!((cache.len(), cache.iter().count(), cache.cleanup()), (0, 0, 0));
        cache.insert(2, 2);
        assert!(Arc::ptr_eq(&error, &told(&cache, 1).await));
    });
}

#[test]
fn a_refresh_computes_again_and_its_failure_is_remembered_too() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        let first = fail(&cache, 1).await;
        time.advance(5 * SECOND).await;
        let second = failed(cache.try_refresh(1, || async { Err::<u32, _>(Down(2)) }).await);
        assert_eq!((&*first, &*second), (&Down(1), &Down(2)));
        time.advance((10 * SECOND).saturating_sub(MILLISECOND)).await;
        assert!(Arc::ptr_eq(&second, &told(&cache, 1).await));
        time.advance(MILLISECOND).await;
        fail(&cache, 1).await;
        // Of one that is dropped nothing is left, not even the failure that it came to repeat.
        let refresh = cache.try_refresh(1, std::future::pending::<Result<u32, Down>>);
        assert!(poll_once(&mut refresh.boxed()).is_none());
        assert_eq!(cache.get_or_compute(1, || async { 7 }).await, 7);
        check(&cache, 0);
    });
}

#[test]
fn a_failed_refresh_is_told_when_the_value_is_gone() {
    in_virtual_time(async |time| {
        let builder = time.builder().ttl(5 * SECOND).refresh_after(SECOND);
        let cache: Cache<u32, u32> =
            builder.error_ttl(10 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        time.advance(SECOND).await;
        let failing = || async { Err(Down(1)) };
        assert_eq!(cache.try_get_or_compute(1, failing).await.ok(), Some(1));
        time.advance(4 * SECOND).await;
        assert_eq!(*told(&cache, 1).await, Down(1));
        time.advance(6 * SECOND).await;
        assert_eq!(cache.get_or_compute(1, || async { 7 }).await, 7);
    });
}

#[test]
fn a_stale_value_stands_in_for_a_failure_that_is_remembered() {
    in_virtual_time(async |time| {
        let builder = time.builder().ttl(5 * SECOND).stale_if_error(8 * SECOND);
        let cache: Cache<u32, u32> =
            builder.error_ttl(10 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        time.advance(5 * SECOND).await;
        for _ in 0..3 {
            let answer = cache.try_get_or_compute(1, || async { Err(Down(1)) }).await;
            assert_eq!(answer.ok(), Some(1));
        }
        assert_eq!(cache.stats().computes, 1, "it is remembered all the same");
        time.advance(8 * SECOND).await;
        assert_eq!(*told(&cache, 1).await, Down(1), "the value's time is over");
        time.advance(2 * SECOND).await;
        assert_eq!(*fail(&cache, 1).await, Down(1));
        let stats = cache.stats();
        assert_eq!((stats.stale_hits, stats.misses, stats.computes), (3, 2, 2));
        check(&cache, 0);
    });
}

#[test]
fn failures_are_freed_in_the_background_when_their_time_is_over() {
    in_virtual_time(async |time| {
        // Also those of refreshes, whose row is remembered for longer.
        for refresh_after in [None, Some(SECOND)] {
            let mut builder = time.builder().error_ttl(10 * SECOND);
            if let Some(age) = refresh_after {
                builder = builder.refresh_after(age);
            }
            let cache: Cache<u32, u32> = builder.build().expect("valid settings");
            let mut errors = Vec::new();
            for key in 0..500 {
                if refresh_after.is_some() {
                    cache.insert(key, key);
                }
                let refresh = cache.try_refresh(key, || async move { Err::<u32, _>(Down(key)) });
                errors.push(Arc::downgrade(&failed(refresh.await)));
            }
            time.advance((10 * SECOND).saturating_sub(MILLISECOND)).await;
            assert!(errors.iter().all(|error| error.upgrade().is_some()));
            time.advance(MILLISECOND).await;
            assert!(errors.iter().all(|error| error.upgrade().is_none()));
            assert_eq!(cache.stats().expirations, 0, "they are no entries");
            check(&cache, 0);
        }
    });
}

#[test]
fn without_a_runtime_a_cleanup_frees_them_and_so_do_writes() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.close().await;
        let errors = join_all((0..500).map(|key| forget_about(&cache, key))).await;
        let held = || errors.iter().filter(|error| error.upgrade().is_some()).count();
        time.advance((10 * SECOND).saturating_sub(MILLISECOND)).await;
        assert_eq!((cache.cleanup(), held()), (0, 500));
        time.advance(MILLISECOND).await;
        assert_eq!(held(), 500);
        cache.insert(1_000, 1);
        assert!((490..500).contains(&held()), "a write does a bounded share");
        assert_eq!((cache.cleanup(), held()), (0, 0));
        let error = forget_about(&cache, 1).await;
        time.advance(10 * SECOND).await;
        (1..1_000).for_each(|key| _ = cache.insert(1_000 + key, 1));
        assert!(error.upgrade().is_none());
        check(&cache, 0);
    });
}

#[test]
fn failures_without_end_stay_until_they_are_cleared_or_the_cache_goes() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().error_ttl(Duration::MAX).build().expect("valid settings");
        let error = forget_about(&cache, 1).await;
        time.advance(1_000_000 * SECOND).await;
        cache.cleanup();
        assert!(error.upgrade().is_some());
        assert_eq!(*told(&cache, 1).await, Down(1));
        cache.clear();
        assert!(error.upgrade().is_none());
        let error = forget_about(&cache, 1).await;
        drop(cache);
        assert!(error.upgrade().is_none());
    });
}

#[test]
fn no_more_are_remembered_than_fit() {
    in_virtual_time(async |time| {
        // In one shard, and in some.
        for max_size in [100, 100_000] {
            let builder = time.builder().max_size(max_size).error_ttl(3600 * SECOND);
            let cache: Cache<u32, u32> = builder.build().expect("valid settings");
            let mut errors = Vec::new();
            for key in 0..20_000 {
                errors.push(forget_about(&cache, key).await);
            }
            let held: Vec<_> = (0..20_000).filter(|key| errors[*key].upgrade().is_some()).collect();
            assert!(held.len() >= REMEMBERED);
            if max_size == 100 {
                let last: Vec<_> = (20_000 - REMEMBERED..20_000).collect();
                assert_eq!(held, last, "the earliest are forgotten first");
            }
            assert!(held.len() < 20_000 || max_size > 100);
            assert_eq!(cache.stats().computes, 20_000);
            told(&cache, 19_999).await;
            check(&cache, 0);
        }
    });
}

#[test]
fn a_key_that_fails_again_and_again_takes_one_place() {
    on_every_runtime(async |host| {
        let builder = host.builder().max_size(10).error_ttl(3600 * SECOND);
        let cache: Cache<u32, u32> = builder.build().expect("valid settings");
        let other = forget_about(&cache, 2).await;
        for _ in 0..2 * REMEMBERED {
            let failing = cache.try_refresh(1, || async { Err::<u32, _>(Down(1)) });
            assert!(failing.await.is_err());
        }
        assert!(other.upgrade().is_some(), "there was room for both");
        check(&cache, 0);
    });
}

/// An error that counts how often it is freed, and panics then.
struct Bursting(Arc<AtomicUsize>, #[expect(dead_code, reason = "held to be dropped")] Bomb);

impl Drop for Bursting {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn errors_that_panic_when_they_are_freed_do_no_harm() {
    in_virtual_time(async |time| {
        let freed = Arc::new(AtomicUsize::new(0));
        let fill = async |cache: &Cache<u32, u32>| {
            freed.store(0, Ordering::SeqCst);
            for key in 0..100 {
                let error = Bursting(Arc::clone(&freed), Bomb("the error"));
                let failing = || async move { Err::<u32, _>(error) };
                assert!(cache.try_get_or_compute(key, failing).await.is_err());
            }
            assert_eq!(freed.load(Ordering::SeqCst), 0);
        };
        let contained = |code: &mut dyn FnMut()| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(code)).is_err()
        };
        let cache = new_cache(&time);
        fill(&cache).await;
        time.advance(10 * SECOND).await;
        assert_eq!(freed.load(Ordering::SeqCst), 100, "the sweeper goes on");
        fill(&cache).await;
        assert!(contained(&mut || cache.clear()), "the panic goes on to the caller");
        assert_eq!(freed.load(Ordering::SeqCst), 100);
        check(&cache, 0);
        fill(&cache).await;
        cache.close().await;
        time.advance(10 * SECOND).await;
        assert!(contained(&mut || _ = cache.cleanup()));
        assert_eq!(freed.load(Ordering::SeqCst), 100);
        check(&cache, 0);
        fill(&cache).await;
        let mut cache = Some(cache);
        assert!(contained(&mut || drop(cache.take())));
        assert_eq!(freed.load(Ordering::SeqCst), 100);
    });
}
