//! Calls for several keys where values are old or past their time to live, where failures are
//! remembered, where computes take too long, and where the cache is small.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;

use crate::many::{Calls, Numbers, ask, tens};
use crate::support::{Gate, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);

/// Hits, misses, stale hits, computes, refreshes.
fn counts(cache: &Cache<u32, u32>) -> (u64, u64, u64, u64, u64) {
    let stats = cache.stats();
    (stats.hits, stats.misses, stats.stale_hits, stats.computes, stats.refreshes)
}

async fn fail(_: Vec<u32>) -> Result<Numbers, &'static str> {
    Err("down")
}

fn down<T>() -> Result<T, ComputeError<&'static str>> {
    Err(ComputeError::Failed(Arc::new("down")))
}

#[test]
fn old_values_are_renewed_by_one_compute_in_the_background_when_nothing_is_missing() {
    in_virtual_time(async |time| {
        let cache = time
            .builder()
            .ttl(60 * SECOND)
            .refresh_after(10 * SECOND)
            .build()
            .expect("valid settings");
        let (gate, calls) = (Gate::new(), Calls::default());
        cache.insert(1, 1);
        cache.insert(2, 2);
        time.advance(10 * SECOND).await;
        cache.insert(3, 3);
        let old = HashMap::from([(1, 1), (2, 2), (3, 3)]);
        let mut many = ask(&cache, &[2, 1, 3], &gate, &calls);
        assert_eq!(poll_once(&mut many), Some(old.clone()), "at once");
        assert_eq!(ask(&cache, &[1, 2, 3], &gate, &calls).await, old);
        time.advance(Duration::ZERO).await;
        assert_eq!(calls.all(), [[2, 1]], "one refresh of a key at a time");
        check(&cache, 2);
        gate.open();
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get_many(&[1, 2, 3]), [Some(10), Some(20), Some(3)]);
        assert_eq!(counts(&cache), (9, 0, 0, 1, 1));
        check(&cache, 0);
    });
}

#[test]
fn old_values_are_renewed_with_what_is_missing() {
    in_virtual_time(async |time| {
        let cache = time
            .builder()
            .ttl(60 * SECOND)
            .refresh_after(10 * SECOND)
            .build()
            .expect("valid settings");
        let (gate, calls) = (Gate::new(), Calls::default());
        gate.open();
        cache.insert(1, 1);
        time.advance(10 * SECOND).await;
        assert_eq!(ask(&cache, &[1, 2], &gate, &calls).await, tens([1, 2]));
        assert_eq!(calls.all(), [[2, 1]]);
        assert_eq!(counts(&cache), (1, 1, 0, 1, 0), "a caller had to wait: it was no refresh");
        check(&cache, 0);
    });
}

#[test]
fn without_a_runtime_old_values_are_renewed_inside_the_call() {
    let cache: Cache<u32, u32> = Cache::builder()
        .ttl(Duration::from_nanos(1))
        .stale_while_revalidate(60 * SECOND)
        .build()
        .expect("valid settings");
    futures::executor::block_on(async {
        let (gate, calls) = (Gate::new(), Calls::default());
        cache.insert(1, 1);
        cache.insert(2, 2);
        let mut many = ask(&cache, &[1, 2], &gate, &calls);
        assert_eq!(poll_once(&mut many), None);
        let mut joins = ask(&cache, &[2, 1], &gate, &calls);
        let stale = HashMap::from([(1, 1), (2, 2)]);
        assert_eq!(poll_once(&mut joins), Some(stale), "another is at it");
        gate.open();
        assert_eq!(many.await, tens([1, 2]));
        assert_eq!(calls.all(), [[1, 2]]);
        assert_eq!(counts(&cache), (0, 2, 2, 1, 1));
        assert_eq!(cache.try_get_or_compute_many([1, 2], fail).await, Ok(tens([1, 2])));
        assert_eq!(counts(&cache), (0, 2, 4, 2, 2), "the stale ones, if it fails");
        check(&cache, 0);
    });
}

#[test]
fn stale_values_are_handed_out_while_they_are_renewed() {
    in_virtual_time(async |time| {
        let cache = time
            .builder()
            .ttl(10 * SECOND)
            .stale_while_revalidate(5 * SECOND)
            .build()
            .expect("valid settings");
        let (gate, calls) = (Gate::new(), Calls::default());
        cache.insert(1, 1);
        time.advance(4 * SECOND).await;
        cache.insert(2, 2);
        time.advance(6 * SECOND).await;
        let found = ask(&cache, &[1, 2], &gate, &calls).await;
        assert_eq!(found, HashMap::from([(1, 1), (2, 2)]));
        assert_eq!(counts(&cache), (1, 0, 1, 1, 1));
        assert_eq!(calls.all(), [[1]], "the other is fresh");
        cache.insert(1, 99);
        gate.open();
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(99), "a write wins over a refresh");
        check(&cache, 0);
    });
}

#[test]
fn a_refresh_that_lacks_a_key_or_fails_changes_nothing() {
    in_virtual_time(async |time| {
        let cache = time
            .builder()
            .ttl(60 * SECOND)
            .refresh_after(10 * SECOND)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        cache.insert(2, 2);
        let old = HashMap::from([(1, 1), (2, 2)]);
        time.advance(10 * SECOND).await;
        assert_eq!(cache.try_get_or_compute_many([1, 2], fail).await, Ok(old.clone()));
        time.advance(Duration::ZERO).await;
        assert_eq!(counts(&cache), (2, 0, 0, 1, 1));
        assert_eq!(cache.try_get_or_compute_many([1, 2], fail).await, Ok(old.clone()));
        assert_eq!(counts(&cache), (4, 0, 0, 1, 1), "the next attempt is put off");
        time.advance(SECOND).await;
        let lacking = |_| async { tens([1]) };
        assert_eq!(cache.get_or_compute_many([1, 2], lacking).await, old);
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get_many(&[1, 2]), [Some(10), Some(2)]);
        let panics = |_| async { crate::support::panics::<HashMap<_, _>>("nobody is told") };
        assert_eq!(cache.get_or_compute_many([2], panics).await, HashMap::from([(2, 2)]));
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&2), Some(2));
        check(&cache, 0);
    });
}

#[test]
fn stale_values_stand_in_for_a_failure_where_all_keys_have_one() {
    in_virtual_time(async |time| {
        let cache = time
            .builder()
            .ttl(10 * SECOND)
            .stale_if_error(60 * SECOND)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        cache.insert(2, 2);
        time.advance(20 * SECOND).await;
        let stale = HashMap::from([(1, 1), (2, 2)]);
        assert_eq!(cache.try_get_or_compute_many([1, 2], fail).await, Ok(stale));
        assert_eq!(counts(&cache), (0, 0, 2, 1, 0));
        let panics = |_| async { crate::support::panics::<HashMap<_, _>>("the compute panics") };
        let stale = HashMap::from([(2, 2)]);
        assert_eq!(cache.get_or_compute_many([2], panics).await, stale);
        assert_eq!(counts(&cache), (0, 0, 3, 2, 0));
        let again = |missing| async { Ok::<_, ()>(tens(missing)) };
        assert_eq!(cache.try_get_or_compute_many([1, 2], again).await, Ok(tens([1, 2])));
        assert_eq!(counts(&cache), (0, 2, 3, 3, 0), "what is computed is a miss");
        check(&cache, 0);
    });
}

#[test]
fn a_failure_is_that_of_the_call_where_some_keys_have_no_stale_value() {
    in_virtual_time(async |time| {
        for keys in [[1, 2, 3], [2, 1, 3], [3, 2, 1]] {
            let cache = time
                .builder()
                .ttl(10 * SECOND)
                .stale_if_error(60 * SECOND)
                .build()
                .expect("valid settings");
            cache.insert(1, 1);
            cache.insert(3, 3);
            time.advance(20 * SECOND).await;
            assert_eq!(cache.try_get_or_compute_many(keys, fail).await, down());
            assert_eq!(counts(&cache), (0, 3, 0, 1, 0), "no stale value was handed out");
            check(&cache, 0);
        }
    });
}

#[test]
fn what_was_removed_or_replaced_meanwhile_does_not_stand_in() {
    in_virtual_time(async |time| {
        let writes: [fn(&Cache<u32, u32>); 2] = [
            |cache| assert_eq!(cache.remove(&1), None),
            |cache| assert_eq!(cache.insert(1, 11), None),
        ];
        for write in writes {
            let cache = time
                .builder()
                .ttl(10 * SECOND)
                .stale_if_error(60 * SECOND)
                .build()
                .expect("valid settings");
            cache.insert(1, 1);
            cache.insert(2, 2);
            time.advance(20 * SECOND).await;
            let gate = Gate::new();
            let passed = gate.passed();
            let compute = |_| passed.map(|()| Err::<Numbers, _>("down"));
            let mut many = cache.try_get_or_compute_many([1, 2], compute).boxed();
            assert!(poll_once(&mut many).is_none());
            write(&cache);
            gate.open();
            assert_eq!(many.await, down());
            assert_eq!(counts(&cache), (0, 2, 0, 1, 0));
            check(&cache, 0);
        }
    });
}

#[test]
fn a_stale_value_that_stands_in_when_the_call_asks_again_is_a_stale_hit() {
    in_virtual_time(async |time| {
        let cache = time
            .builder()
            .ttl(10 * SECOND)
            .stale_if_error(60 * SECOND)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        time.advance(20 * SECOND).await;
        let gate = Gate::new();
        let passed = gate.passed();
        let mut lacks = cache.get_or_compute_many([1], |_| passed.map(|()| tens([]))).boxed();
        assert_eq!(poll_once(&mut lacks), None);
        let mut joins = cache.try_get_or_compute_many([1], fail).boxed();
        assert!(poll_once(&mut joins).is_none());
        gate.open();
        assert_eq!(lacks.await, tens([]));
        assert_eq!(joins.await, Ok(HashMap::from([(1, 1)])));
        assert_eq!(counts(&cache), (0, 1, 1, 2, 0));
        check(&cache, 0);
    });
}

#[test]
fn a_failure_is_remembered_for_each_key() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().error_ttl(10 * SECOND).build().expect("valid settings");
        let Err(ComputeError::Failed(first)) = cache.try_get_or_compute_many([1, 2], fail).await
        else {
            panic!("it failed");
        };
        let never = |_| async {
            crate::support::panics::<Result<HashMap<_, _>, _>>("the failure is remembered")
        };
        for keys in [[1, 3], [3, 2]] {
            let again = cache.try_get_or_compute_many(keys, never).await;
            let Err(ComputeError::Failed(again)) = again else { panic!("it failed") };
            assert!(Arc::ptr_eq(&first, &again));
        }
        assert_eq!(counts(&cache), (0, 6, 0, 1, 0), "one for each key, also of a call that fails");
        let alone = cache.try_get_or_compute(2, || async { Ok::<_, &str>(5) }).await;
        assert_eq!(alone, down());
        let calls = Calls::default();
        let gate = Gate::new();
        gate.open();
        assert_eq!(ask(&cache, &[3, 1], &gate, &calls).await, tens([1, 3]));
        assert_eq!(calls.all(), [[3, 1]], "the error is of another type");
        let remembered = cache.try_get_or_compute_many([1, 2], fail).await;
        assert_eq!(remembered, down(), "that of the other key");
        cache.insert(2, 22);
        let found = cache.try_get_or_compute_many([1, 2], fail).await;
        assert_eq!(found, Ok(HashMap::from([(1, 10), (2, 22)])));
        assert_eq!(cache.try_get_or_compute_many([4], fail).await, down());
        time.advance(10 * SECOND).await;
        let again = |missing| async { Ok::<_, &str>(tens(missing)) };
        assert_eq!(cache.try_get_or_compute_many([4], again).await, Ok(tens([4])));
        check(&cache, 0);
    });
}

#[test]
fn each_key_is_counted_where_the_first_is_known_to_fail() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().error_ttl(10 * SECOND).build().expect("valid settings");
        cache.insert(2, 2);
        assert_eq!(cache.try_get_or_compute_many([1], fail).await, down());
        cache.reset_stats();
        let never = |_| async {
            crate::support::panics::<Result<HashMap<_, _>, _>>("the failure is remembered")
        };
        assert_eq!(cache.try_get_or_compute_many([1, 2, 3], never).await, down());
        assert_eq!(counts(&cache), (1, 2, 0, 0, 0));
        check(&cache, 0);
    });
}

#[test]
fn a_bulk_compute_that_takes_too_long_is_given_up() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().compute_timeout(5 * SECOND).build().expect("valid settings");
        let hangs = |_| std::future::pending::<Result<Numbers, ()>>();
        let mut many = cache.try_get_or_compute_many([1, 2], hangs).boxed();
        assert!(poll_once(&mut many).is_none());
        time.advance(3 * SECOND).await;
        let mut joins = cache.try_get_or_compute_many([2], hangs).boxed();
        assert!(poll_once(&mut joins).is_none());
        let mut alone = cache.try_get_or_compute(1, || async { Ok::<_, ()>(1) }).boxed();
        assert!(poll_once(&mut alone).is_none());
        time.advance(2 * SECOND).await;
        assert_eq!(many.await, Err(ComputeError::TimedOut));
        assert_eq!(joins.await, Err(ComputeError::TimedOut));
        assert_eq!(alone.await, Err(ComputeError::TimedOut));
        check(&cache, 0);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.timeouts, stats.compute_failures), (1, 1, 0));
        assert_eq!(stats.compute_time, 5 * SECOND);
        let again = cache.get_or_compute_many([1, 2], |missing| async { tens(missing) });
        assert_eq!(again.await, tens([1, 2]));
        check(&cache, 0);
    });
}

#[test]
fn stale_values_stand_in_for_a_bulk_compute_that_takes_too_long() {
    in_virtual_time(async |time| {
        let builder = time.builder().compute_timeout(5 * SECOND).ttl(10 * SECOND);
        let cache: Cache<u32, u32> =
            builder.stale_if_error(60 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        cache.insert(2, 2);
        time.advance(20 * SECOND).await;
        let hangs = |_| std::future::pending::<Numbers>();
        let mut many = cache.get_or_compute_many([1, 2], hangs).boxed();
        assert_eq!(poll_once(&mut many), None);
        time.advance(5 * SECOND).await;
        assert_eq!(many.await, HashMap::from([(1, 1), (2, 2)]));
        assert_eq!((counts(&cache), cache.stats().timeouts), ((0, 0, 2, 1, 0), 1));
        check(&cache, 0);
    });
}

#[test]
fn a_bulk_call_waits_for_the_computes_of_others_as_long_as_they_are_given() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().compute_timeout(5 * SECOND).build().expect("valid settings");
        let patient = cache.entry(1).timeout(60 * SECOND);
        let mut patient = patient.get_or_compute(std::future::pending).boxed();
        assert_eq!(poll_once(&mut patient), None);
        let ready = |missing| async { Ok::<_, ()>(tens(missing)) };
        let mut many = cache.try_get_or_compute_many([1, 2], ready).boxed();
        assert!(poll_once(&mut many).is_none());
        time.advance(5 * SECOND).await;
        assert_eq!(poll_once(&mut many), None, "as long as the compute is given");
        assert_eq!(cache.get(&2), Some(20), "its own compute has ended");
        time.advance(55 * SECOND).await;
        assert_eq!(many.await, Err(ComputeError::TimedOut));
        drop(patient);
        check(&cache, 0);
    });
}

#[test]
fn more_keys_than_there_is_room_for_are_all_returned() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time.builder().max_size(3).build().expect("valid settings");
        let found = cache.get_or_compute_many(1..=10, |missing| async { tens(missing) }).await;
        assert_eq!(found, tens(1..=10));
        assert_eq!(cache.len(), 3);
        assert_eq!(cache.get_many(&[7, 8, 9, 10]), [None, Some(80), Some(90), Some(100)]);
        assert_eq!((cache.stats().inserts, cache.stats().evictions), (10, 7));
        let found = cache.get_or_compute_many(1..=10, |missing| async { tens(missing) }).await;
        assert_eq!(found, tens(1..=10));
        check(&cache, 0);
    });
}

#[test]
fn the_time_to_live_begins_when_the_values_are_stored() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().ttl(10 * SECOND).build().expect("valid settings");
        let (gate, calls) = (Gate::new(), Calls::default());
        let mut many = ask(&cache, &[1, 2], &gate, &calls);
        assert_eq!(poll_once(&mut many), None);
        time.advance(30 * SECOND).await;
        gate.open();
        assert_eq!(many.await, tens([1, 2]));
        time.advance(9 * SECOND).await;
        assert_eq!(cache.get_many(&[1, 2]), [Some(10), Some(20)]);
        time.advance(SECOND).await;
        assert_eq!(cache.get_many(&[1, 2]), [None, None]);
        assert_eq!(cache.stats().compute_time, 30 * SECOND);
        check(&cache, 0);
    });
}

#[test]
fn values_that_never_can_be_read_are_returned_all_the_same() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().ttl(Duration::ZERO).build().expect("valid settings");
        for _ in 0..2 {
            let found = cache.get_or_compute_many([1, 2], |missing| async { tens(missing) }).await;
            assert_eq!(found, tens([1, 2]));
            assert_eq!(cache.get_many(&[1, 2]), [None, None]);
        }
        assert_eq!(cache.stats().computes, 2);
        check(&cache, 0);
    });
}
