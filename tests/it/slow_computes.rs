//! Slow computes: callers take the stale value rather than wait for long.

use std::collections::HashMap;
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;

use crate::support::{Gate, VirtualTime, check, in_virtual_time, poll_once};

type Numbers = Cache<u32, u32>;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A cache with a value that has been stale for a second, for which it waits a second.
async fn stale(time: &VirtualTime) -> Numbers {
    let builder = time.builder().ttl(MINUTE).stale_if_error(MINUTE).stale_if_slow(SECOND);
    let cache = builder.build().expect("valid settings");
    cache.insert(1, 10);
    time.advance(MINUTE + SECOND).await;
    cache
}

#[test]
fn it_needs_a_runtime_and_more_than_zero() {
    let error = Numbers::builder().stale_if_slow(SECOND).build().expect_err("nobody wakes");
    assert_eq!(error.to_string(), "stale_if_slow needs a runtime");
    let error = Numbers::builder().stale_if_slow(Duration::ZERO).build().expect_err("no time");
    assert_eq!(error.to_string(), "stale_if_slow must be more than zero");
    let cache: Numbers = Cache::builder().build().expect("valid settings");
    let call = cache.entry(1).stale_if_slow(SECOND).get_or_compute(|| async { 7 });
    assert_eq!(futures::executor::block_on(call), 7);
}

#[test]
fn who_leads_and_who_joins_takes_the_stale_value_and_the_compute_fills_the_cache() {
    in_virtual_time(async |time| {
        let (cache, gate) = (stale(&time).await, Gate::new());
        let passed = gate.passed();
        let mut leader = Box::pin(cache.get_or_compute(1, || passed.map(|()| 11)));
        assert_eq!(poll_once(&mut leader), None);
        time.advance(SECOND / 2).await;
        let mut joined = Box::pin(cache.get_or_compute(1, || async { unreachable!() }));
        assert_eq!(poll_once(&mut joined), None);
        time.advance(SECOND / 2).await;
        assert_eq!((poll_once(&mut leader), poll_once(&mut joined)), (Some(10), None));
        time.advance(SECOND / 2).await;
        assert_eq!(poll_once(&mut joined), Some(10));
        drop((leader, joined));
        check(&cache, 1);
        assert_eq!((cache.stats().stale_hits, cache.stats().misses), (2, 0));
        gate.open();
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(11), "it went on in the background");
        assert_eq!(cache.stats().computes, 1);
        check(&cache, 0);
    });
}

#[test]
fn a_call_has_a_time_of_its_own_also_none_at_all() {
    in_virtual_time(async |time| {
        for (wait, expected) in [(Duration::ZERO, Some(10)), (SECOND / 4, None), (MINUTE, None)] {
            let (cache, gate) = (stale(&time).await, Gate::new());
            let passed = gate.passed();
            let entry = cache.entry(1).stale_if_slow(wait);
            let mut call = Box::pin(entry.get_or_compute(|| passed.map(|()| 11)));
            assert_eq!(poll_once(&mut call), expected);
            if expected.is_some() {
                continue;
            }
            time.advance(SECOND).await;
            assert_eq!(poll_once(&mut call), (wait < SECOND).then_some(10));
        }
    });
}

#[test]
fn where_no_value_may_stand_in_the_caller_waits_on() {
    in_virtual_time(async |time| {
        // Nothing there, a value that is too old, one that was removed meanwhile, and a refresh.
        for case in 0..4 {
            let (cache, gate) = (stale(&time).await, Gate::new());
            if case == 1 {
                time.advance(MINUTE).await;
            }
            let (key, passed) = (if case == 0 { 2 } else { 1 }, gate.passed());
            let compute = || passed.map(|()| 11);
            let mut call = match case {
                3 => cache.refresh(key, compute).boxed(),
                _ => cache.get_or_compute(key, compute).boxed(),
            };
            assert_eq!(poll_once(&mut call), None);
            if case == 2 {
                cache.remove(&1);
            }
            time.advance(3 * SECOND).await;
            assert_eq!(poll_once(&mut call), None, "case {case}");
            gate.open();
            assert_eq!(call.await, 11);
            check(&cache, 0);
        }
    });
}

#[test]
fn a_timeout_comes_later_and_holds_for_the_compute_that_goes_on() {
    in_virtual_time(async |time| {
        let cache = stale(&time).await;
        let pending = || std::future::pending::<Result<u32, ()>>();
        let entry = cache.entry(1).timeout(3 * SECOND);
        let mut call = Box::pin(entry.try_get_or_compute(pending));
        assert_eq!(poll_once(&mut call), None);
        time.advance(SECOND).await;
        assert_eq!(call.await, Ok(10));
        check(&cache, 1);
        time.advance(2 * SECOND).await;
        check(&cache, 0);
        assert_eq!(cache.stats().timeouts, 1);

        let entry = cache.entry(2).timeout(3 * SECOND);
        let mut call = Box::pin(entry.try_get_or_compute(pending));
        assert_eq!(poll_once(&mut call), None);
        time.advance(3 * SECOND).await;
        assert_eq!(call.await, Err(ComputeError::TimedOut));
    });
}

#[test]
fn a_call_for_several_keys_takes_those_that_are_there_and_waits_for_the_others() {
    in_virtual_time(async |time| {
        for (keys, expected) in [(vec![1], Some(1)), (vec![1, 2], None)] {
            let (cache, gate) = (stale(&time).await, Gate::new());
            let passed = gate.passed();
            let answer = |keys: Vec<u32>| {
                passed.map(|()| keys.into_iter().map(|key| (key, 20)).collect::<HashMap<_, _>>())
            };
            let mut call = Box::pin(cache.get_or_compute_many(keys, answer));
            assert!(poll_once(&mut call).is_none());
            time.advance(SECOND).await;
            let found = poll_once(&mut call);
            assert_eq!(found.as_ref().map(HashMap::len), expected);
            gate.open();
            time.advance(Duration::ZERO).await;
            let found = match found {
                Some(found) => found,
                None => call.await,
            };
            assert_eq!(found.get(&1), Some(&10));
            assert_eq!(found.get(&2), expected.is_none().then_some(&20));
            assert_eq!(cache.get(&1), Some(20));
            assert_eq!(cache.stats().stale_hits, 1);
            check(&cache, 0);
        }
    });
}

#[test]
fn a_closed_cache_waits_because_nothing_would_go_on() {
    in_virtual_time(async |time| {
        let (cache, gate) = (stale(&time).await, Gate::new());
        let passed = gate.passed();
        let mut call = Box::pin(cache.get_or_compute(1, || passed.map(|()| 11)));
        assert_eq!(poll_once(&mut call), None);
        cache.close().await;
        time.advance(SECOND).await;
        assert_eq!(poll_once(&mut call), None);
        gate.open();
        assert_eq!(call.await, 11);
    });
}
