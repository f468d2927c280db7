//! `try_get_or_compute_each`: a failure costs only the keys that needed the compute; and what a compute of
//! many may return.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::future::BoxFuture;

use crate::support::{Gate, check, in_virtual_time, on_every_runtime, panics, poll_once};

const SECOND: Duration = Duration::from_secs(1);

type Pairs = Vec<(u32, u32)>;
type Each<E> = HashMap<u32, Result<u32, ComputeError<E>>>;

fn cache() -> Cache<u32, u32> {
    Cache::new(100)
}

fn failed<E: Send + Sync + 'static>(error: E) -> Result<u32, ComputeError<E>> {
    Err(ComputeError::Failed(Arc::new(error)))
}

/// All with this error, at the gate.
fn failing<'a>(
    cache: &'a Cache<u32, u32>,
    keys: &[u32],
    gate: &Gate,
) -> BoxFuture<'a, Each<&'static str>> {
    let (keys, passed) = (keys.to_vec(), gate.passed());
    let compute = move |_| async move {
        passed.await;
        Err::<Pairs, _>("down")
    };
    let mut call: BoxFuture<'a, _> = Box::pin(cache.try_get_or_compute_each(keys, compute));
    assert!(poll_once(&mut call).is_none());
    call
}

#[test]
fn a_failure_costs_only_the_keys_that_needed_the_compute() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("the settings are valid");
        cache.insert(1, 10);
        let each = cache.try_get_or_compute_each([1, 2, 3, 2], async |keys| {
            assert_eq!(keys, [2, 3]);
            Err::<Pairs, _>("down")
        });
        let each = each.await;
        assert_eq!(each, HashMap::from([(1, Ok(10)), (2, failed("down")), (3, failed("down"))]));
        let again =
            cache.try_get_or_compute_each([1, 2, 3], async |_| Ok::<_, &str>([(2, 20), (3, 30)]));
        assert_eq!(again.await, HashMap::from([(1, Ok(10)), (2, Ok(20)), (3, Ok(30))]));
        assert_eq!(cache.len(), 3);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.compute_failures), (2, 4, 1));
        check(&cache, 0);
    });
}

#[test]
fn all_keys_of_one_compute_share_its_error() {
    let cache = cache();
    let gate = Gate::new();
    gate.open();
    let each = futures::executor::block_on(
        cache.try_get_or_compute_each([1, 2], |_| async { Err::<Pairs, _>("down") }),
    );
    let errors: Vec<_> = each
        .into_values()
        .map(|result| result.expect_err("it fails").into_failed().expect("a failure"))
        .collect();
    assert!(Arc::ptr_eq(&errors[0], &errors[1]));
}

#[test]
fn no_keys_are_no_compute() {
    let cache = cache();
    let mut call = Box::pin(cache.try_get_or_compute_each([], |_| async {
        panics::<Result<Pairs, &str>>("nothing is to be computed")
    }));
    assert_eq!(poll_once(&mut call), Some(HashMap::new()));
}

#[test]
fn a_key_that_the_answer_lacks_is_not_in_the_result() {
    let cache = cache();
    let mut call = Box::pin(
        cache.try_get_or_compute_each([1, 2], async |_| Ok::<_, &str>([(1, 10), (9, 90)])),
    );
    assert_eq!(poll_once(&mut call), Some(HashMap::from([(1, Ok(10))])));
    assert_eq!(cache.get(&9), Some(90));
    check(&cache, 0);
}

#[test]
fn a_panic_is_that_of_the_keys_that_needed_the_compute() {
    let cache = cache();
    cache.insert(1, 10);
    for closure_panics in [true, false] {
        let mut call = Box::pin(cache.try_get_or_compute_each([1, 2, 3], |_| {
            assert!(!closure_panics, "oh");
            async { panics::<Result<Pairs, &str>>("oh") }
        }));
        let each = poll_once(&mut call).expect("it is over");
        let panicked = || Err(ComputeError::Panicked("oh".into()));
        assert_eq!(each, HashMap::from([(1, Ok(10)), (2, panicked()), (3, panicked())]));
        check(&cache, 0);
    }
}

#[test]
fn failures_are_remembered_for_each_key() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(100 * SECOND)
            .error_ttl(10 * SECOND)
            .build()
            .expect("the settings are valid");
        let each = cache.try_get_or_compute_each([1, 2], async |_| Err::<Pairs, _>("down"));
        assert_eq!(each.await.len(), 2);
        let before = cache.stats();
        assert_eq!(before.remembered_failures, 0);
        let each = cache.try_get_or_compute_each([1, 2, 3], async |keys| {
            assert_eq!(keys, [3], "the others have just failed");
            Ok::<_, &str>([(3, 30)])
        });
        let each = each.await;
        assert_eq!(each, HashMap::from([(1, failed("down")), (2, failed("down")), (3, Ok(30))]));
        let since = cache.stats().since(&before);
        assert_eq!((since.remembered_failures, since.misses, since.computes), (2, 3, 1));
        // Also to single callers, and the other way round.
        assert_eq!(cache.try_get_or_compute(1, async || Ok::<_, &str>(1)).await, failed("down"));
        assert_eq!(
            cache.try_get_or_compute(4, async || Err::<u32, _>("lost")).await,
            failed("lost")
        );
        let each = cache.try_get_or_compute_each([3, 4], async |_| Ok::<Pairs, &str>(vec![]));
        assert_eq!(each.await, HashMap::from([(3, Ok(30)), (4, failed("lost"))]));
        time.advance(11 * SECOND).await;
        let each = cache.try_get_or_compute_each([1, 2, 4], async |keys| {
            Ok::<_, &str>(keys.into_iter().map(|key| (key, key)))
        });
        assert_eq!(each.await, HashMap::from([(1, Ok(1)), (2, Ok(2)), (4, Ok(4))]));
        check(&cache, 0);
    });
}

#[test]
fn a_remembered_failure_of_another_type_is_computed_again() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().error_ttl(10 * SECOND).build().expect("the settings are valid");
        assert!(cache.try_get_or_compute(1, async || Err::<u32, _>("down")).await.is_err());
        let each = cache.try_get_or_compute_each([1, 2], async |keys| {
            assert_eq!(keys, [1, 2]);
            Err::<Pairs, _>(404)
        });
        assert_eq!(each.await, HashMap::from([(1, failed(404)), (2, failed(404))]));
        assert_eq!(cache.stats().remembered_failures, 0, "none was handed out");
        check(&cache, 0);
    });
}

#[test]
fn a_compute_of_others_that_fails_costs_only_the_keys_it_was_for() {
    let cache = cache();
    let gate = Gate::new();
    let mut other = failing(&cache, &[1, 2], &gate);
    let mut call = Box::pin(cache.try_get_or_compute_each([1, 2, 3], async |keys| {
        assert_eq!(keys, [3]);
        Ok::<_, &str>([(3, 30)])
    }));
    assert!(poll_once(&mut call).is_none());
    assert_eq!(cache.get(&3), Some(30), "that is not held up");
    gate.open();
    let each = poll_once(&mut call).expect("it is over");
    assert_eq!(each, HashMap::from([(1, failed("down")), (2, failed("down")), (3, Ok(30))]));
    assert_eq!(poll_once(&mut other).map(|each| each.len()), Some(2));
    assert_eq!(cache.stats().coalesced, 2);
    check(&cache, 0);
}

#[test]
fn a_compute_of_others_that_fails_with_another_type_is_done_again() {
    let cache = cache();
    let gate = Gate::new();
    let mut other = failing(&cache, &[1, 2], &gate);
    let mut call = Box::pin(cache.try_get_or_compute_each([1, 2], async |keys| {
        assert_eq!(keys.len(), 2);
        Ok::<_, u32>([(1, 10), (2, 20)])
    }));
    assert!(poll_once(&mut call).is_none());
    gate.open();
    assert_eq!(poll_once(&mut call), Some(HashMap::from([(1, Ok(10)), (2, Ok(20))])));
    assert_eq!(
        poll_once(&mut other),
        Some(HashMap::from([(1, failed("down")), (2, failed("down"))]))
    );
    check(&cache, 0);
}

#[test]
fn a_key_that_asks_for_itself_is_told_so_and_the_others_have_their_values() {
    let cache = cache();
    cache.insert(3, 30);
    let inner = cache.clone();
    let mut call = Box::pin(cache.get_or_compute(1, || async move {
        let each = inner.try_get_or_compute_each([1, 2, 3], async |keys| {
            assert_eq!(keys, [2]);
            Ok::<_, &str>([(2, 20)])
        });
        let each = each.await;
        assert_eq!(each[&1], Err(ComputeError::Recursive));
        assert_eq!((&each[&2], &each[&3]), (&Ok(20), &Ok(30)));
        10
    }));
    assert_eq!(poll_once(&mut call), Some(10));
    assert_eq!(cache.get_many(&[1, 2, 3]), [Some(10), Some(20), Some(30)]);
    check(&cache, 0);
}

#[test]
fn a_compute_that_takes_too_long_costs_only_its_keys() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().compute_timeout(SECOND).build().expect("the settings are valid");
        cache.insert(1, 10);
        let each = cache.try_get_or_compute_each([1, 2, 3], |_| {
            futures::future::pending::<Result<Pairs, &str>>()
        });
        let mut each = Box::pin(each);
        assert!(poll_once(&mut each).is_none());
        time.advance(2 * SECOND).await;
        let late = || Err(ComputeError::TimedOut);
        assert_eq!(each.await, HashMap::from([(1, Ok(10)), (2, late()), (3, late())]));
        assert_eq!(cache.stats().timeouts, 1);
        check(&cache, 0);
    });
}

#[test]
fn stale_values_stand_in_where_there_are_some() {
    in_virtual_time(async |time| {
        for remembered in [false, true] {
            let builder = time.builder().ttl(SECOND).stale_if_error(100 * SECOND);
            let builder = if remembered { builder.error_ttl(50 * SECOND) } else { builder };
            let cache: Cache<u32, u32> = builder.build().expect("the settings are valid");
            cache.insert(1, 10);
            time.advance(2 * SECOND).await;
            cache.entry(2).ttl(20 * SECOND).insert(20);
            for _ in 0..2 {
                let each =
                    cache.try_get_or_compute_each([1, 2, 3], async |_| Err::<Pairs, _>("down"));
                let each = each.await;
                assert_eq!(each, HashMap::from([(1, Ok(10)), (2, Ok(20)), (3, failed("down"))]));
            }
            let stats = cache.stats();
            assert_eq!((stats.hits, stats.stale_hits, stats.misses), (2, 2, 2));
            assert_eq!(stats.computes, if remembered { 1 } else { 2 });
            check(&cache, 0);
        }
    });
}

#[test]
fn it_may_be_dropped_at_any_await() {
    for polls in 0..4 {
        for keeps_other in [false, true] {
            let cache = cache();
            cache.insert(1, 10);
            let (gate, own) = (Gate::new(), Gate::new());
            let other = failing(&cache, &[2], &gate);
            let passed = own.passed();
            let mut call = Box::pin(cache.try_get_or_compute_each([1, 2, 3], |_| async move {
                passed.await;
                Ok::<_, &str>([(3, 30)])
            }));
            if polls > 0 {
                assert!(poll_once(&mut call).is_none());
            }
            if polls > 1 {
                own.open();
                assert!(poll_once(&mut call).is_none());
            }
            let mut other = Some(other).filter(|_| keeps_other);
            check(&cache, usize::from(polls > 0 || keeps_other) + usize::from(polls == 1));
            if polls > 2 {
                gate.open();
            }
            drop(call);
            check(&cache, usize::from(keeps_other));
            gate.open();
            let told = other.as_mut().map(|other| poll_once(other).expect("it is over"));
            assert!(told.is_none_or(|each| each[&2] == failed("down")));
            let asked = u64::from(polls > 0);
            let stats = cache.stats();
            assert_eq!(stats.hits, asked);
            assert_eq!(stats.misses, 1 + asked * 2, "each key is counted once");
            drop(other);
            check(&cache, 0);
        }
    }
}

#[test]
fn others_wait_for_single_keys_of_it() {
    let cache = cache();
    let gate = Gate::new();
    let mut call = failing(&cache, &[1, 2], &gate);
    let mut same = Box::pin(cache.try_get_or_compute(1, async || Ok::<_, &str>(5)));
    let mut other = Box::pin(cache.try_get_or_compute(2, async || Ok::<_, u32>(5)));
    assert!(poll_once(&mut same).is_none() && poll_once(&mut other).is_none());
    gate.open();
    assert_eq!(poll_once(&mut same), Some(failed("down")));
    assert_eq!(poll_once(&mut other), Some(Ok(5)));
    assert_eq!(poll_once(&mut call).map(|each| each.len()), Some(2));
    check(&cache, 0);
}

fn boxed() -> Box<dyn Iterator<Item = (u32, u32)> + Send> {
    Box::new([(1, 1), (1, 10), (2, 20)].into_iter())
}

#[test]
fn a_compute_of_many_may_return_whatever_can_be_gone_through() {
    let cache = cache();
    macro_rules! answers {
        ($answer:expr) => {{
            cache.clear();
            let all = Some(HashMap::from([(1, 10), (2, 20)]));
            let mut call = Box::pin(cache.get_or_compute_many([1, 2], async |_| $answer));
            assert_eq!(poll_once(&mut call), all);
            cache.clear();
            let mut call =
                Box::pin(cache.try_get_or_compute_many([1, 2], async |_| Ok::<_, ()>($answer)));
            assert_eq!(poll_once(&mut call), all.map(Ok));
            cache.clear();
            let mut call =
                Box::pin(cache.try_get_or_compute_each([1, 2], async |_| Ok::<_, ()>($answer)));
            assert_eq!(poll_once(&mut call), Some(HashMap::from([(1, Ok(10)), (2, Ok(20))])));
            assert_eq!(cache.get_many(&[1, 2]), [Some(10), Some(20)]);
            check(&cache, 0);
        }};
    }
    answers!(vec![(1, 10), (2, 20)]);
    answers!([(2, 20), (1, 10)]);
    answers!(HashMap::from([(2, 20), (1, 10)]));
    answers!(BTreeMap::from([(2, 20), (1, 10)]));
    answers!((1..=2).map(|key| (key, key * 10)));
    answers!(std::iter::once((1, 10)).chain(Some((2, 20))));
    answers!([(1, 1), (2, 2), (1, 5), (1, 10), (2, 20)]);
    answers!(boxed());
}

#[test]
fn of_uninvited_values_with_one_key_one_is_kept() {
    let cache = cache();
    let mut call = Box::pin(cache.get_or_compute_many([1], async |_| [(1, 10), (2, 1), (2, 2)]));
    assert_eq!(poll_once(&mut call), Some(HashMap::from([(1, 10)])));
    assert!(cache.get(&2).is_some());
    check(&cache, 0);
}

#[test]
fn an_iterator_that_panics_half_way_is_a_compute_that_does() {
    let cache = cache();
    let mut call = Box::pin(cache.try_get_or_compute_each([1, 2], async |_| {
        Ok::<_, &str>((1..).map(|key: u32| {
            assert!(key < 2, "oh");
            (key, key)
        }))
    }));
    let each = poll_once(&mut call).expect("it is over");
    let panicked = || Err(ComputeError::Panicked("oh".into()));
    assert_eq!(each, HashMap::from([(1, panicked()), (2, panicked())]));
    assert!(cache.is_empty());
    check(&cache, 0);
}
