//! Values that a call decides about: whether they are stored, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;

use crate::flights::on_every_runtime;
use crate::support::{Gate, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_value_is_stored_only_if_it_is_to_be_kept() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let ask = async |value: u32| {
            let entry = cache.entry(1).keep_if(|value| value % 2 == 0);
            entry.get_or_compute(|| async move { value }).await
        };
        assert_eq!(ask(1).await, 1, "the caller gets it all the same");
        assert_eq!(cache.peek(&1), None);
        assert_eq!(ask(2).await, 2);
        assert_eq!(ask(3).await, 2, "it was kept");
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.inserts, stats.compute_failures), (2, 1, 0));
        assert_eq!((stats.hits, stats.misses), (1, 2));
        check(&cache, 0);
    });
}

#[test]
fn a_new_value_that_is_not_kept_leaves_the_one_that_was_there() {
    in_virtual_time(async |time| {
        let builder = time.builder().ttl(10 * SECOND).refresh_after(SECOND);
        let builder = builder.stale_while_revalidate(10 * SECOND);
        let cache: Cache<u32, u32> =
            builder.stale_if_error(20 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        let never = || cache.entry_ref(&1).keep_if(|_| false);
        assert_eq!(never().refresh(|| async { 2 }).await, 2);
        assert_eq!(cache.get(&1), Some(1));
        time.advance(SECOND).await;
        assert_eq!(never().get_or_compute(|| async { 3 }).await, 1);
        time.advance(9 * SECOND).await;
        assert_eq!(cache.get(&1), None, "its deadline stays too");
        assert_eq!(never().get_or_compute(|| async { 4 }).await, 1, "a stale one");
        time.advance(10 * SECOND).await;
        assert_eq!(never().get_or_compute(|| async { 5 }).await, 5);
        let failed = cache.try_get_or_compute(1, || async { Err::<u32, _>("down") }).await;
        assert_eq!(failed, Ok(1), "it still stands in");
        assert_eq!(never().insert(6), None);
        assert_eq!(never().or_insert(7), 7);
        let failed = cache.try_get_or_compute(1, || async { Err::<u32, _>("down") }).await;
        assert_eq!(failed, Ok(1), "no write came");
        let stats = cache.stats();
        assert_eq!((stats.inserts, stats.computes, stats.compute_failures), (1, 6, 2));
        check(&cache, 0);
    });
}

#[test]
fn what_is_not_kept_does_not_make_a_flight_forgotten() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let mut caller = cache.get_or_compute(1, || passed.map(|()| 10)).boxed();
        assert!(poll_once(&mut caller).is_none());
        assert_eq!(cache.entry(1).keep_if(|_| false).insert(20), None);
        assert_eq!(cache.entry_ref(&1).keep_if(|_| false).or_insert(20), 20);
        check(&cache, 1);
        gate.open();
        assert_eq!(caller.await, 10);
        assert_eq!(cache.get(&1), Some(10));
    });
}

#[test]
fn the_options_of_who_leads_hold_and_those_of_others_are_not_asked() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let asked = Arc::new(AtomicU32::new(0));
        let (counted, measured) = (Arc::clone(&asked), Arc::clone(&asked));
        let entry = cache.entry(1).keep_if(move |_| counted.fetch_add(1, Ordering::SeqCst) < 100);
        let entry = entry.ttl_with(move |_| {
            measured.fetch_add(10, Ordering::SeqCst);
            HOUR
        });
        let mut leads = entry.get_or_compute(|| passed.map(|()| 1)).boxed();
        assert!(poll_once(&mut leads).is_none());
        let entry = cache.entry(1).keep_if(|_| unreachable!()).ttl_with(|_| unreachable!());
        let mut joins = entry.get_or_compute(|| async { unreachable!() }).boxed();
        assert!(poll_once(&mut joins).is_none());
        gate.open();
        assert_eq!(futures::join!(leads, joins), (1, 1));
        assert_eq!(asked.load(Ordering::SeqCst), 11, "each once");
        assert_eq!(cache.get(&1), Some(1));
        // Nor those of a call that finds a value.
        let entry = cache.entry(1).keep_if(|_| unreachable!()).ttl_with(|_| unreachable!());
        assert_eq!(entry.get_or_compute(|| async { unreachable!() }).await, 1);
        check(&cache, 0);
    });
}

#[test]
fn a_value_that_is_not_kept_is_not_asked_how_long_it_lives() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let entry = || cache.entry(1).ttl_with(|_| unreachable!()).keep_if(|_| false);
        assert_eq!(entry().get_or_compute(|| async { 1 }).await, 1);
        assert_eq!(entry().insert(1), None);
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    });
}

#[test]
fn a_panic_of_a_deciding_closure_is_told_to_all_who_wait() {
    #[derive(Clone, Copy)]
    enum Which {
        KeepIf,
        TtlWith,
    }
    on_every_runtime(async |host| {
        for which in [Which::KeepIf, Which::TtlWith] {
            let builder = host.builder().error_ttl(HOUR);
            let cache: Cache<u32, u32> = builder.build().expect("valid settings");
            cache.insert(1, 1);
            let gate = Gate::new();
            let passed = gate.passed();
            let entry = match which {
                Which::KeepIf => cache.entry(1).keep_if(|_| panic!("the closure")),
                Which::TtlWith => cache.entry(1).ttl_with(|_| panic!("the closure")),
            };
            let compute = || passed.map(|()| Ok::<_, u8>(2));
            let mut leads = entry.try_refresh(compute).boxed();
            assert!(poll_once(&mut leads).is_none());
            let mut joins = cache.try_refresh(1, || async { Ok::<_, u8>(3) }).boxed();
            assert!(poll_once(&mut joins).is_none());
            gate.open();
            let (leads, joins) = futures::join!(leads, joins);
            for result in [leads, joins] {
                let Err(ComputeError::Panicked(message)) = result else { panic!("{result:?}") };
                assert_eq!(&*message, "the closure");
            }
            assert_eq!(cache.get(&1), Some(1), "what was there stays");
            assert_eq!(cache.refresh(1, || async { 4 }).await, 4);
            let stats = cache.stats();
            assert_eq!((stats.computes, stats.compute_failures, stats.inserts), (2, 1, 2));
            check(&cache, 0);
        }
    });
}

#[test]
fn what_is_absent_may_be_remembered_for_another_time() {
    in_virtual_time(async |time| {
        let cache: Cache<&str, Option<u32>> =
            time.builder().ttl(60 * SECOND).build().expect("valid settings");
        let find = async |key, answer: Option<u32>| {
            let ttl = |found: &Option<u32>| if found.is_some() { 60 * SECOND } else { SECOND };
            cache.entry(key).ttl_with(ttl).get_or_compute(|| async move { answer }).await
        };
        assert_eq!(find("there", Some(1)).await, Some(1));
        assert_eq!(find("absent", None).await, None);
        assert_eq!(find("absent", Some(2)).await, None, "remembered as absent");
        assert_eq!(cache.get("absent"), Some(None));
        assert_eq!(cache.stats().hits, 2);
        time.advance(SECOND).await;
        assert_eq!(cache.len(), 1);
        assert_eq!(find("absent", Some(2)).await, Some(2));
        time.advance(59 * SECOND).await;
        assert_eq!((cache.get("there"), cache.get("absent")), (None, Some(Some(2))));
        assert_eq!(cache.stats().computes, 3);
    });
}

#[test]
fn what_is_absent_may_be_renewed_and_stand_in_like_any_value() {
    in_virtual_time(async |time| {
        let builder = time.builder().ttl(60 * SECOND).stale_while_revalidate(10 * SECOND);
        let cache: Cache<u32, Option<u32>> =
            builder.stale_if_error(60 * SECOND).build().expect("valid settings");
        let find = async |answer: Result<Option<u32>, &'static str>| {
            let ttl = |found: &Option<u32>| if found.is_some() { 60 * SECOND } else { SECOND };
            let found = cache.entry(1).ttl_with(ttl).try_get_or_compute(|| async move { answer });
            let found = found.await;
            time.advance(Duration::ZERO).await;
            found
        };
        assert_eq!(find(Ok(None)).await, Ok(None));
        time.advance(SECOND).await;
        assert_eq!(find(Ok(None)).await, Ok(None), "stale, and renewed");
        assert_eq!(cache.get(&1), Some(None));
        time.advance(20 * SECOND).await;
        assert_eq!(find(Err("down")).await, Ok(None), "it stands in");
        assert_eq!(find(Ok(Some(1))).await, Ok(Some(1)));
        // Or be no value at all: then each call asks anew.
        let only_found = cache.entry(2).keep_if(Option::is_some);
        assert_eq!(only_found.get_or_compute(|| async { None }).await, None);
        assert_eq!(cache.get(&2), None);
        assert_eq!((cache.stats().computes, cache.stats().refreshes), (5, 1));
        check(&cache, 0);
    });
}

#[test]
fn the_options_of_the_call_that_renews_hold_for_the_new_value() {
    in_virtual_time(async |time| {
        for is_closed in [false, true] {
            let builder = time.builder().ttl(60 * SECOND).refresh_after(10 * SECOND);
            let cache: Cache<u32, u32> = builder.build().expect("valid settings");
            if is_closed {
                cache.close().await;
            }
            cache.insert(1, 1);
            time.advance(10 * SECOND).await;
            let entry = cache.entry(1).ttl_with(|value| Duration::from_secs(u64::from(*value)));
            entry.get_or_compute(|| async { 5 }).await;
            time.advance(Duration::ZERO).await;
            assert_eq!(cache.get(&1), Some(5));
            time.advance(5 * SECOND).await;
            assert_eq!(cache.get(&1), None);
            check(&cache, 0);
        }
    });
}
