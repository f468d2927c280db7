//! Computes that go on without their callers, and how they end.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use fleeting::Cache;
use fleeting::runtime::{Manual, Spawner, Task, Timer};
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::{BoxFuture, join_all};

use crate::flights::{Inline, Switch, Wakes, in_time, poll_for, steps, wait};
use crate::support::{VirtualTime, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);

type Counted = Arc<()>;

/// How many hold it beside the test.
fn holders(counted: &Counted) -> usize {
    Arc::strong_count(counted) - 1
}

fn new_cache(time: &VirtualTime) -> Cache<u32, u32> {
    time.builder().build().expect("valid settings")
}

/// A detached call for a key; the compute holds `counted`, and ends when the switch is on.
fn detached<'a>(
    cache: &'a Cache<u32, u32>,
    key: u32,
    switch: &Switch,
    counted: &Counted,
) -> BoxFuture<'a, u32> {
    let (is_on, held) = (switch.is_on(), Arc::clone(counted));
    let compute = move || async move {
        is_on.await;
        drop(held);
        key * 10
    };
    cache.entry(key).detached().get_or_compute(compute).boxed()
}

#[test]
fn a_detached_compute_outlives_its_callers_and_fills_the_cache() {
    in_virtual_time(async |time| {
        let (cache, counted, switch) = (new_cache(&time), Arc::new(()), Switch::default());
        let mut caller = detached(&cache, 1, &switch, &counted);
        assert_eq!(poll_once(&mut caller), None);
        drop(caller);
        time.advance(60 * SECOND).await;
        check(&cache, 1);
        switch.turn_on();
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(10));
        assert_eq!(holders(&counted), 0);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.misses, stats.refreshes), (1, 1, 0));
        assert_eq!(stats.compute_time, 60 * SECOND);
        check(&cache, 0);
    });
}

#[test]
fn a_detached_call_that_needs_no_wait_spawns_nothing() {
    let time = Manual::new();
    let cache: Cache<u32, u32> = Cache::builder().runtime(time.clone()).build().expect("valid");
    assert_eq!(block_on(cache.entry(1).detached().get_or_compute(|| async { 1 })), 1);
    assert_eq!(block_on(cache.entry(1).detached().get_or_compute(|| async { 2 })), 1);
    assert_eq!(cache.entry(1).detached().insert(3), Some(1));
    assert!(format!("{time:?}").contains("tasks: 0"), "{time:?}");
}

#[test]
fn a_call_that_is_never_polled_begins_nothing() {
    in_virtual_time(async |time| {
        let (cache, counted, switch) = (new_cache(&time), Arc::new(()), Switch::default());
        drop(detached(&cache, 1, &switch, &counted));
        time.advance(SECOND).await;
        assert_eq!((holders(&counted), cache.stats().computes), (0, 0));
    });
}

#[test]
fn without_a_runtime_nothing_is_detached() {
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let (counted, switch) = (Arc::new(()), Switch::default());
    let mut caller = detached(&cache, 1, &switch, &counted);
    assert_eq!(poll_once(&mut caller), None);
    drop(caller);
    assert_eq!(holders(&counted), 0);
    check(&cache, 0);
    switch.turn_on();
    assert_eq!(block_on(detached(&cache, 1, &switch, &counted)), 10);
}

#[test]
fn after_a_close_nothing_is_detached() {
    in_virtual_time(async |time| {
        let (cache, counted, switch) = (new_cache(&time), Arc::new(()), Switch::default());
        cache.close().await;
        let mut caller = detached(&cache, 1, &switch, &counted);
        assert_eq!(poll_once(&mut caller), None);
        drop(caller);
        assert_eq!(holders(&counted), 0);
        check(&cache, 0);
    });
}

#[test]
fn others_share_a_detached_compute() {
    in_virtual_time(async |time| {
        let (cache, counted, switch) = (new_cache(&time), Arc::new(()), Switch::default());
        let mut leader = detached(&cache, 1, &switch, &counted);
        assert_eq!(poll_once(&mut leader), None);
        drop(leader);
        let mut callers: Vec<_> =
            (0..3).map(|_| cache.get_or_compute(1, || async { unreachable!() }).boxed()).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        drop(callers.pop());
        switch.turn_on();
        assert_eq!(join_all(callers).await, [10, 10]);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.coalesced), (1, 3));
        check(&cache, 0);
    });
}

#[test]
fn a_detached_call_detaches_the_compute_that_it_joins() {
    in_virtual_time(async |time| {
        let (cache, counted, switch) = (new_cache(&time), Arc::new(()), Switch::default());
        let (is_on, held) = (switch.is_on(), Arc::clone(&counted));
        let compute = || async move {
            is_on.await;
            drop(held);
            7
        };
        let mut leader = cache.get_or_compute(1, compute).boxed();
        assert_eq!(poll_once(&mut leader), None);
        let mut joins = detached(&cache, 1, &switch, &Arc::new(()));
        assert_eq!(poll_once(&mut joins), None);
        drop(joins);
        drop(leader);
        time.advance(Duration::ZERO).await;
        assert_eq!(holders(&counted), 1);
        switch.turn_on();
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(7));
        check(&cache, 0);
    });
}

#[test]
fn a_compute_for_many_keys_is_detached_by_who_joins_it() {
    in_virtual_time(async |time| {
        let (cache, switch) = (new_cache(&time), Switch::default());
        let is_on = switch.is_on();
        let compute = |keys: Vec<u32>| {
            is_on.map(|()| keys.into_iter().map(|key| (key, key)).collect::<HashMap<_, _>>())
        };
        let mut many = cache.get_or_compute_many([1, 2], compute).boxed();
        assert!(poll_once(&mut many).is_none());
        let mut joins = detached(&cache, 2, &switch, &Arc::new(()));
        assert_eq!(poll_once(&mut joins), None);
        drop((many, joins));
        check(&cache, 2);
        switch.turn_on();
        time.advance(Duration::ZERO).await;
        assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), Some(2)));
        check(&cache, 0);
    });
}

#[test]
fn a_detached_compute_ends_when_its_time_is_up() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().compute_timeout(5 * SECOND).build().expect("valid settings");
        for of_call in [None, Some(3)] {
            let (counted, before) = (Arc::new(()), cache.stats().timeouts);
            let held = Arc::clone(&counted);
            let entry = cache.entry(1).detached();
            let entry = match of_call {
                Some(seconds) => entry.timeout(seconds * SECOND),
                None => entry,
            };
            let compute = || async move {
                pending::<()>().await;
                drop(held);
                1
            };
            let mut caller = entry.get_or_compute(compute).boxed();
            assert_eq!(poll_once(&mut caller), None);
            drop(caller);
            let seconds = of_call.unwrap_or(5);
            time.advance((seconds - 1) * SECOND).await;
            assert_eq!(holders(&counted), 1);
            time.advance(SECOND).await;
            assert_eq!(holders(&counted), 0);
            assert_eq!(cache.stats().timeouts, before + 1);
            check(&cache, 0);
        }
    });
}

#[test]
fn a_detached_compute_lasts_as_long_as_its_most_patient_caller_gave_it() {
    in_virtual_time(async |time| {
        let (cache, switch) = (new_cache(&time), Switch::default());
        let (is_on, counted) = (switch.is_on(), Arc::new(()));
        let held = Arc::clone(&counted);
        let compute = || async move {
            is_on.await;
            drop(held);
            7
        };
        let mut hasty =
            cache.entry(1).detached().timeout(3 * SECOND).get_or_compute(compute).boxed();
        assert_eq!(poll_once(&mut hasty), None);
        let slow = cache.entry(1).timeout(9 * SECOND).get_or_compute(|| async { 8 });
        let mut slow = slow.boxed();
        assert_eq!(poll_once(&mut slow), None);
        drop((hasty, slow));
        time.advance(8 * SECOND).await;
        check(&cache, 1);
        assert_eq!(holders(&counted), 1);
        switch.turn_on();
        time.advance(Duration::ZERO).await;
        assert_eq!((cache.get(&1), cache.stats().timeouts), (Some(7), 0));
        check(&cache, 0);
    });
}

#[test]
fn close_ends_what_runs_in_the_background() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().refresh_after(SECOND).build().expect("valid settings");
        cache.insert(2, 2);
        time.advance(SECOND).await;
        let (counted, switch) = (Arc::new(()), Switch::default());
        let mut caller = detached(&cache, 1, &switch, &counted);
        assert_eq!(poll_once(&mut caller), None);
        drop(caller);
        let (held, is_on) = (Arc::clone(&counted), switch.is_on());
        let renew = || async move {
            is_on.await;
            drop(held);
            20
        };
        assert_eq!(cache.get_or_compute(2, renew).await, 2);
        time.advance(Duration::ZERO).await;
        assert_eq!(holders(&counted), 2);
        check(&cache, 2);
        cache.close().await;
        assert_eq!(holders(&counted), 0);
        check(&cache, 0);
        cache.close().await;
        switch.turn_on();
        time.advance(SECOND).await;
        assert_eq!((cache.get(&1), cache.get(&2)), (None, Some(2)));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.timeouts), (2, 0, 0));
        // From here on a refresh runs inside the call.
        assert_eq!(cache.get_or_compute(2, || async { 21 }).await, 21);
    });
}

#[test]
fn who_waits_for_a_compute_that_the_background_drove_has_its_value_after_a_close() {
    in_virtual_time(async |time| {
        let (cache, counted, switch) = (new_cache(&time), Arc::new(()), Switch::default());
        let (mut caller, wakes) = (detached(&cache, 1, &switch, &counted), Wakes::new());
        assert_eq!(poll_for(&mut caller, &wakes), None);
        time.advance(Duration::ZERO).await;
        cache.close().await;
        check(&cache, 1);
        switch.turn_on();
        assert_eq!(wakes.count(), 1);
        assert_eq!(poll_for(&mut caller, &wakes), Some(10));
        assert_eq!(cache.get(&1), Some(10));
        check(&cache, 0);
    });
}

#[test]
fn a_close_between_a_wake_and_the_poll_loses_nothing() {
    in_virtual_time(async |time| {
        let (cache, counted, switch) = (new_cache(&time), Arc::new(()), Switch::default());
        let (mut caller, wakes) = (detached(&cache, 1, &switch, &counted), Wakes::new());
        assert_eq!(poll_for(&mut caller, &wakes), None);
        time.advance(Duration::ZERO).await;
        switch.turn_on();
        // The task was woken, and is taken away before its turn.
        cache.close().await;
        assert_eq!(wakes.count(), 1);
        assert_eq!(poll_for(&mut caller, &wakes), Some(10));
    });
}

#[test]
fn a_scope_ends_what_runs_in_the_background() {
    in_virtual_time(async |time| {
        for panics in [false, true] {
            let (cache, counted, switch) = (new_cache(&time), Arc::new(()), Switch::default());
            let kept = cache.clone();
            let scope = cache.scope(async |cache| {
                let mut caller = detached(cache, 1, &switch, &counted);
                assert_eq!(poll_once(&mut caller), None);
                drop(caller);
                steps(3).await;
                assert_eq!(holders(&counted), 1);
                assert!(!panics, "this scope panics");
            });
            let outcome = std::panic::AssertUnwindSafe(scope).catch_unwind().await;
            assert_eq!(outcome.is_err(), panics);
            assert_eq!(holders(&counted), 0);
            check(&kept, 0);
        }
        // Dropped half-way: at once.
        let (cache, counted, switch) = (new_cache(&time), Arc::new(()), Switch::default());
        let mut scope = Box::pin(cache.scope(async |cache| {
            let mut caller = detached(cache, 1, &switch, &counted);
            assert_eq!(poll_once(&mut caller), None);
            drop(caller);
            pending::<()>().await;
        }));
        assert_eq!(poll_once(&mut scope), None);
        assert_eq!(holders(&counted), 1);
        drop(scope);
        assert_eq!(holders(&counted), 0);
    });
}

#[test]
fn dropping_the_last_handle_frees_everything_at_once() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, Counted> =
            time.builder().ttl(9 * SECOND).refresh_after(SECOND).build().expect("valid settings");
        let counted = Arc::new(());
        cache.insert(1, Arc::clone(&counted));
        time.advance(SECOND).await;
        let hang = || {
            let held = Arc::clone(&counted);
            async move {
                pending::<()>().await;
                held
            }
        };
        drop(cache.get_or_compute(1, hang).await);
        let mut caller = cache.entry(2).detached().get_or_compute(hang).boxed();
        assert!(poll_once(&mut caller).is_none());
        drop(caller);
        time.advance(Duration::ZERO).await;
        assert_eq!(holders(&counted), 3);
        let other = cache.clone();
        drop(cache);
        assert_eq!(holders(&counted), 3);
        drop(other);
        assert_eq!(holders(&counted), 0, "also what the runtime has not looked at since");
    });
}

#[test]
fn the_last_handle_may_be_dropped_by_a_compute_in_the_background() {
    in_virtual_time(async |time| {
        for ends_at_once in [true, false] {
            let counted = Arc::new(());
            let cache: Cache<u32, Counted> = time.builder().build().expect("valid settings");
            cache.insert(2, Arc::clone(&counted));
            let (switch, own, held) = (Switch::default(), cache.clone(), Arc::clone(&counted));
            let is_on = switch.is_on();
            let compute = move || async move {
                is_on.await;
                drop(own);
                if !ends_at_once {
                    pending::<()>().await;
                }
                held
            };
            let mut caller = cache.entry(1).detached().get_or_compute(compute).boxed();
            assert!(poll_once(&mut caller).is_none());
            drop(caller);
            drop(cache);
            time.advance(Duration::ZERO).await;
            assert_eq!(holders(&counted), 2, "the compute has a handle");
            switch.turn_on();
            time.advance(Duration::ZERO).await;
            assert_eq!(holders(&counted), 0);
        }
    });
}

#[test]
fn a_compute_in_the_background_may_close_its_cache() {
    in_virtual_time(async |time| {
        let (cache, switch) = (new_cache(&time), Switch::default());
        let (own, is_on) = (cache.clone(), switch.is_on());
        let has_closed = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&has_closed);
        let compute = || async move {
            is_on.await;
            own.close().await;
            noted.store(true, Ordering::SeqCst);
            7
        };
        let mut caller = cache.entry(1).detached().get_or_compute(compute).boxed();
        assert_eq!(poll_once(&mut caller), None);
        time.advance(Duration::ZERO).await;
        switch.turn_on();
        // The task polls it, and is taken away after that; the caller drives it to its end.
        time.advance(Duration::ZERO).await;
        assert_eq!(caller.await, 7);
        assert!(has_closed.load(Ordering::SeqCst));
        cache.close().await;
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_blocks_on_closing_its_cache_ends() {
    in_time(|| {
        let time = Manual::new();
        let cache: Cache<u32, u32> = Cache::builder().runtime(time.clone()).build().expect("valid");
        let (switch, own) = (Switch::default(), cache.clone());
        let is_on = switch.is_on();
        let compute = || async move {
            is_on.await;
            wait(own.close());
            7
        };
        let mut caller = cache.entry(1).detached().get_or_compute(compute).boxed();
        assert_eq!(poll_once(&mut caller), None);
        drop(caller);
        switch.turn_on();
        time.advance(SECOND);
        assert_eq!(cache.get(&1), Some(7), "it came to its end in that poll");
        assert!(format!("{time:?}").contains("tasks: 0"), "{time:?}");
    });
}

/// A thread for each task; no timers.
struct Threads;

impl Spawner for Threads {
    fn spawn(&self, task: Task) {
        drop(thread::spawn(|| wait(task)));
    }
}

impl Timer for Threads {
    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(pending())
    }
}

#[test]
fn close_waits_for_a_poll_that_is_under_way_on_another_thread() {
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder().runtime(Threads).build().expect("valid");
        let (inside, may_end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (enters, leaves, switch) =
            (Arc::clone(&inside), Arc::clone(&may_end), Switch::default());
        let has_ended = Arc::new(AtomicBool::new(false));
        let (ended, is_on) = (Arc::clone(&has_ended), switch.is_on());
        let compute = || async move {
            is_on.await;
            enters.wait();
            leaves.wait();
            ended.store(true, Ordering::SeqCst);
            pending::<()>().await;
            7
        };
        let mut caller = cache.entry(1).detached().get_or_compute(compute).boxed();
        assert_eq!(poll_once(&mut caller), None);
        drop(caller);
        switch.turn_on();
        inside.wait();
        let mut close = cache.close().boxed();
        assert!(poll_once(&mut close).is_none());
        may_end.wait();
        wait(close);
        assert!(has_ended.load(Ordering::SeqCst));
        check(&cache, 0);
    });
}

#[test]
fn computes_that_block_on_closing_their_cache_do_not_wait_for_each_other() {
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder().runtime(Threads).build().expect("valid");
        let (switch, inside) = (Switch::default(), Arc::new(Barrier::new(2)));
        let ended = Arc::new(Barrier::new(3));
        for key in 0..2 {
            let (own, is_on) = (cache.clone(), switch.is_on());
            let (inside, ended) = (Arc::clone(&inside), Arc::clone(&ended));
            let compute = move || async move {
                is_on.await;
                inside.wait();
                wait(own.close());
                ended.wait();
                key
            };
            let mut caller = cache.entry(key).detached().get_or_compute(compute).boxed();
            assert_eq!(poll_once(&mut caller), None);
        }
        switch.turn_on();
        ended.wait();
        wait(cache.close());
        assert_eq!((cache.get(&0), cache.get(&1)), (Some(0), Some(1)));
        check(&cache, 0);
    });
}

#[test]
fn threads_that_detach_leave_and_close_all_end() {
    in_time(|| {
        for round in 0..100_u32 {
            let cache: Cache<u32, u32> = Cache::builder().runtime(Threads).build().expect("valid");
            let (counted, barrier) = (Arc::new(()), Arc::new(Barrier::new(4)));
            let threads: Vec<_> = (0..3)
                .map(|thread| {
                    let (cache, counted) = (cache.clone(), Arc::clone(&counted));
                    let barrier = Arc::clone(&barrier);
                    thread::spawn(move || {
                        barrier.wait();
                        for key in 0..10 {
                            let held = Arc::clone(&counted);
                            let compute = move || async move {
                                steps(((round + key) % 4) as usize).await;
                                drop(held);
                                key * 10
                            };
                            let call = cache.entry(key).detached().get_or_compute(compute);
                            let mut call = call.boxed();
                            let left = poll_once(&mut call).is_none() && (thread + key) % 3 == 0;
                            if left {
                                continue;
                            }
                            assert_eq!(
                                wait(cache.get_or_compute(key, || async { unreachable!() })),
                                key * 10
                            );
                        }
                    })
                })
                .collect();
            barrier.wait();
            wait(cache.close());
            for thread in threads {
                thread.join().expect("no panic");
            }
            wait(cache.close());
            check(&cache, 0);
            assert_eq!(holders(&counted), 0);
        }
    });
}

#[test]
fn a_runtime_may_run_a_detached_compute_where_it_is_woken() {
    struct OnTheSpot(AtomicUsize);

    impl Spawner for OnTheSpot {
        fn spawn(&self, task: Task) {
            self.0.fetch_add(1, Ordering::SeqCst);
            drop(Inline::start(task));
        }
    }

    impl Timer for OnTheSpot {
        fn sleep_until(&self, _: Instant) -> Task {
            Box::pin(pending())
        }
    }

    in_time(|| {
        let runtime = Arc::new(OnTheSpot(AtomicUsize::new(0)));
        let cache: Cache<u32, u32> = Cache::builder()
            .max_concurrent_computes(1)
            .runtime(Arc::clone(&runtime))
            .build()
            .expect("valid settings");
        let (counted, switch) = (Arc::new(()), Switch::default());
        let mut callers: Vec<_> =
            (0..4).map(|key| detached(&cache, key, &switch, &counted)).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        callers.clear();
        switch.turn_on();
        assert_eq!((0..4).filter_map(|key| cache.get(&key)).collect::<Vec<_>>(), [0, 10, 20, 30]);
        assert_eq!(runtime.0.load(Ordering::SeqCst), 4);
        assert_eq!(holders(&counted), 0);
        check(&cache, 0);
        wait(cache.close());
    });
}

#[test]
fn a_spawner_that_takes_no_task_leaves_the_compute_to_its_callers() {
    struct Refuses(bool);

    impl Spawner for Refuses {
        fn spawn(&self, task: Task) {
            assert!(!self.0, "this spawner takes no tasks");
            drop(task);
        }
    }

    impl Timer for Refuses {
        fn sleep_until(&self, _: Instant) -> Task {
            Box::pin(pending())
        }
    }

    for panics in [false, true] {
        in_time(move || {
            let cache: Cache<u32, u32> = Cache::builder()
                .ttl(Duration::from_nanos(1))
                .stale_while_revalidate(3600 * SECOND)
                .runtime(Refuses(panics))
                .build()
                .expect("valid settings");
            let (counted, switch) = (Arc::new(()), Switch::default());
            let mut caller = detached(&cache, 1, &switch, &counted);
            assert_eq!(poll_once(&mut caller), None);
            check(&cache, 1);
            switch.turn_on();
            assert_eq!(wait(caller), 10);
            // It is as good as no runtime: the call that finds the value stale renews it.
            let renewed = wait(cache.try_get_or_compute(1, || async { Ok::<_, ()>(11) }));
            assert_eq!(renewed, Ok(11));
            let failed = wait(cache.try_get_or_compute(1, || async { Err::<u32, _>("down") }));
            assert_eq!(failed, Ok(11));
            check(&cache, 0);
        });
    }
}
