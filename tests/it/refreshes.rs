//! Refreshes that are asked for, and those that many threads set off at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;

use crate::flights::{on_every_runtime, steps, wait};
use crate::support::{Gate, check, poll_once};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_refresh_computes_also_if_there_is_a_value() {
    on_every_runtime(async |host| {
        let cache: Cache<String, u32> = host.builder().ttl(HOUR).build().expect("valid settings");
        let key = || "key".to_owned();
        assert_eq!(cache.refresh(key(), || async { 1 }).await, 1, "there is none");
        assert_eq!(cache.stats().refreshes, 0, "nothing was renewed");
        assert_eq!(cache.refresh(key(), || async { 2 }).await, 2);
        assert_eq!(cache.try_refresh(key(), || async { Ok::<_, u8>(3) }).await, Ok(3));
        assert_eq!(cache.entry(key()).refresh(|| async { 4 }).await, 4);
        assert_eq!(cache.entry_ref("key").try_refresh(|| async { Ok::<_, u8>(5) }).await, Ok(5));
        assert_eq!(cache.get("key"), Some(5));
        let stats = cache.stats();
        assert_eq!((stats.misses, stats.hits, stats.computes), (5, 1, 5));
        assert_eq!((stats.refreshes, stats.inserts, stats.coalesced), (4, 5, 0));
        check(&cache, 0);
    });
}

#[test]
fn readers_get_the_present_value_until_the_new_one_is_there() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().ttl(HOUR).build().expect("valid settings");
        cache.insert(1, 1);
        let gate = Gate::new();
        let passed = gate.passed();
        let mut refresh = cache.refresh(1, || passed.map(|()| 2)).boxed();
        assert!(poll_once(&mut refresh).is_none());
        assert_eq!((cache.get(&1), cache.peek(&1)), (Some(1), Some(1)));
        assert_eq!(cache.get_or_compute(1, || async { unreachable!() }).await, 1);
        gate.open();
        assert_eq!(refresh.await, 2);
        assert_eq!(cache.get(&1), Some(2));
        check(&cache, 0);
    });
}

#[test]
fn a_refresh_joins_a_compute_that_runs_and_is_joined_by_those_who_miss() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().ttl(HOUR).build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let mut compute = cache.get_or_compute(1, || passed.map(|()| 1)).boxed();
        assert!(poll_once(&mut compute).is_none());
        let mut refresh = cache.refresh(1, || async { unreachable!() }).boxed();
        assert!(poll_once(&mut refresh).is_none());
        drop(compute);
        let mut joins = cache.get_or_compute(1, || async { unreachable!() }).boxed();
        assert!(poll_once(&mut joins).is_none());
        gate.open();
        assert_eq!(futures::join!(refresh, joins), (1, 1));
        assert_eq!((cache.stats().computes, cache.stats().coalesced), (1, 2));
        check(&cache, 0);
    });
}

#[test]
fn a_refresh_that_joined_a_failure_of_another_type_computes_for_itself() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> =
            host.builder().error_ttl(HOUR).build().expect("valid settings");
        cache.insert(1, 1);
        let gate = Gate::new();
        let passed = gate.passed();
        let failing = || passed.map(|()| Err::<u32, _>("down"));
        let mut leads = cache.try_refresh(1, failing).boxed();
        assert!(poll_once(&mut leads).is_none());
        let mut joins = cache.refresh(1, || async { 2 }).boxed();
        assert!(poll_once(&mut joins).is_none());
        gate.open();
        let (leads, joins) = futures::join!(leads, joins);
        assert_eq!((leads, joins), (Err(ComputeError::Failed(Arc::new("down"))), 2));
        assert_eq!(cache.get(&1), Some(2));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.coalesced, stats.misses), (2, 1, 2));
        check(&cache, 0);
    });
}

#[test]
fn a_refresh_that_is_dropped_leaves_what_was_there() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().ttl(HOUR).build().expect("valid settings");
        cache.insert(1, 1);
        for polls in 0..3 {
            let mut refresh = cache.refresh(1, || steps(10).map(|()| 2)).boxed();
            for _ in 0..polls {
                assert!(poll_once(&mut refresh).is_none());
            }
            drop(refresh);
            check(&cache, 0);
            assert_eq!(cache.get(&1), Some(1));
        }
        assert_eq!((cache.stats().computes, cache.stats().misses), (2, 2));
    });
}

/// Counts the computes that run at once.
#[derive(Clone, Default)]
struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

impl Gauge {
    fn begin(&self) -> Running {
        let (running, most) = &*self.0;
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Running(self.clone())
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn threads_that_find_a_value_stale_set_off_one_refresh_at_a_time() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 1_000;
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Beside {
        Nothing,
        Drops,
        Writes,
    }
    on_every_runtime(async |host| {
        for beside in [Beside::Nothing, Beside::Drops, Beside::Writes] {
            let builder = host.builder().ttl(Duration::from_nanos(1));
            let cache: Cache<u32, u32> =
                builder.stale_while_revalidate(HOUR).build().expect("valid settings");
            cache.insert(1, 0);
            let (gauge, barrier) = (Gauge::default(), Arc::new(Barrier::new(THREADS)));
            let run = move |cache: Cache<u32, u32>, gauge: Gauge, barrier: Arc<Barrier>| {
                barrier.wait();
                for round in 0..ROUNDS {
                    let gauge = gauge.clone();
                    let compute = || async move {
                        let _running = gauge.begin();
                        steps(3).await;
                        1
                    };
                    let mut caller = cache.get_or_compute(1, compute).boxed();
                    if beside == Beside::Drops && round % 3 == 0 {
                        let _ = poll_once(&mut caller);
                        continue;
                    }
                    assert!(wait(caller) <= 1);
                    if beside == Beside::Writes && round % 7 == 0 {
                        cache.insert(1, 0);
                    }
                }
            };
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (cache, gauge) = (cache.clone(), gauge.clone());
                    let barrier = Arc::clone(&barrier);
                    thread::spawn(move || run(cache, gauge, barrier))
                })
                .collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                steps(1).await;
            }
            for thread in threads {
                thread.join().expect("no panic");
            }
            // None at all, if the runtime has not come to the first one before the threads were done.
            assert!(gauge.most() <= 1 || beside != Beside::Nothing);
            let stats = cache.stats();
            assert_eq!(stats.requests(), (THREADS * ROUNDS) as u64);
            assert_eq!((stats.refreshes, stats.compute_failures), (stats.computes, 0));
            cache.clear();
            check(&cache, 0);
        }
    });
}

#[test]
fn a_compute_that_waits_for_others_lends_them_its_permit() {
    on_every_runtime(async |host| {
        let builder = host.builder().ttl(HOUR).max_concurrent_computes(1);
        let cache: Cache<String, u32> = builder.build().expect("valid settings");
        // With something to drop, so that the first poll is that of a waiter.
        for key in ["one", "two", "three"] {
            cache.entry_ref(key).ttl(Duration::from_nanos(1)).insert(0);
        }
        let own = cache.clone();
        let compute = || async move {
            let one = own.get_or_compute("one".to_owned(), || steps(3).map(|()| 1)).await;
            let two = own.refresh("two".to_owned(), || steps(3).map(|()| 2)).await;
            let keys = ["three", "four"].map(str::to_owned);
            let many = |keys: Vec<String>| async move {
                steps(3).await;
                keys.into_iter().map(|key| (key, 3)).collect::<HashMap<_, _>>()
            };
            one + two + own.get_or_compute_many(keys, many).await.values().sum::<u32>()
        };
        assert_eq!(cache.get_or_compute("sum".to_owned(), compute).await, 9);
        check(&cache, 0);
    });
}
