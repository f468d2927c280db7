//! Callers that are dropped, parked or forgotten: nobody else notices, and the last one takes the
//! compute along.

use std::future::{Future, pending};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::{BoxFuture, abortable, join_all, poll_fn};

use crate::flights::{
    Bomb, Switch, Wakes, WokenFromAfar, in_time, on_every_runtime, poll_for, steps, wait,
};
use crate::support::{Gate, check, poll_once};

/// What became of computes.
#[derive(Default)]
struct Fates {
    begun: AtomicUsize,
    dropped: AtomicUsize,
}

impl Fates {
    fn begin(self: &Arc<Self>) -> Fate {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Fate(Arc::clone(self))
    }

    fn counts(&self) -> (usize, usize) {
        (self.begun.load(Ordering::SeqCst), self.dropped.load(Ordering::SeqCst))
    }
}

/// Held by a compute as long as it lives.
struct Fate(Arc<Fates>);

impl Drop for Fate {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// A caller of a compute that is pending `count` times.
fn stepping<'a>(
    cache: &'a Cache<u32, u32>,
    fates: &Arc<Fates>,
    count: usize,
) -> BoxFuture<'a, u32> {
    let fates = Arc::clone(fates);
    let compute = move || {
        let fate = fates.begin();
        async move {
            steps(count).await;
            drop(fate);
            7
        }
    };
    cache.get_or_compute(1, compute).boxed()
}

/// A caller of a compute that goes on when the switch is turned on.
fn waiting<'a>(cache: &'a Cache<u32, u32>, switch: &Switch, value: u32) -> BoxFuture<'a, u32> {
    let is_on = switch.is_on();
    cache.get_or_compute(1, move || is_on.map(move |()| value)).boxed()
}

#[test]
fn a_leader_dropped_after_any_poll_is_not_noticed() {
    const STAGES: usize = 4;
    on_every_runtime(async |host| {
        for (followers, polls) in (1..=8).flat_map(|count| (1..=STAGES).map(move |k| (count, k))) {
            let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
            let stages: Vec<_> = (0..STAGES).map(|_| Switch::default()).collect();
            // The first to be waited for is that at index 1, the last that at index 0.
            let waits: Vec<_> = stages[1..].iter().chain(&stages[..1]).map(Switch::is_on).collect();
            let compute = || async move {
                for wait in waits {
                    wait.await;
                }
                7
            };
            let mut leader = cache.get_or_compute(1, compute).boxed();
            assert!(poll_once(&mut leader).is_none());
            let mut others: Vec<_> = (0..followers)
                .map(|_| cache.get_or_compute(1, || async { unreachable!("it joins") }).boxed())
                .collect();
            assert!(others.iter_mut().all(|other| poll_once(other).is_none()));
            for stage in &stages[1..polls] {
                stage.turn_on();
                assert!(poll_once(&mut leader).is_none(), "the last stage is to come");
            }
            drop(leader);
            stages.iter().for_each(Switch::turn_on);
            assert_eq!(join_all(others).await, vec![7; followers]);
            assert_eq!(cache.stats().computes, 1);
            check(&cache, 0);
        }
    });
}

#[test]
fn whichever_callers_are_dropped_the_others_finish() {
    const CALLERS: u32 = 5;
    on_every_runtime(async |host| {
        // Each set of callers that stay, but the empty one.
        for staying in 1_u32..1 << CALLERS {
            let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
            let switch = Switch::default();
            let mut callers: Vec<_> =
                (0..CALLERS).map(|value| waiting(&cache, &switch, value)).collect();
            let wakes: Vec<_> = (0..CALLERS).map(|_| Wakes::new()).collect();
            for (caller, wakes) in callers.iter_mut().zip(&wakes) {
                assert!(poll_for(caller, wakes).is_none());
            }
            let mut index = 0..CALLERS;
            let stays = |index: Option<u32>| staying & 1 << index.expect("of a caller") != 0;
            callers.retain(|_| stays(index.next()));
            switch.turn_on();
            for (index, wakes) in (0..CALLERS).zip(&wakes) {
                assert_eq!(wakes.count(), usize::from(stays(Some(index))));
            }
            assert_eq!(join_all(callers).await, vec![0; staying.count_ones() as usize]);
            assert_eq!(cache.get(&1), Some(0));
            check(&cache, 0);
        }
    });
}

#[test]
fn callers_that_were_woken_and_dropped_leave_the_compute_to_the_others() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let switch = Switch::default();
        let mut callers: Vec<_> = (0..4).map(|value| waiting(&cache, &switch, value)).collect();
        let wakes = Wakes::new();
        for caller in &mut callers {
            assert!(poll_for(caller, &wakes).is_none());
        }
        switch.turn_on();
        assert_eq!(wakes.count(), 4);
        let last = callers.pop().expect("four callers");
        drop(callers);
        assert_eq!(last.await, 0);
        check(&cache, 0);
    });
}

#[test]
fn a_parked_leader_holds_nobody_up() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let fates = Arc::new(Fates::default());
        let mut leader = stepping(&cache, &fates, 5);
        assert!(poll_once(&mut leader).is_none());
        assert_eq!(stepping(&cache, &fates, 5).await, 7);
        assert_eq!(fates.counts(), (1, 1));
        assert_eq!(cache.get(&1), Some(7));
        assert_eq!(poll_once(&mut leader), Some(7), "the outcome is kept for it");
        check(&cache, 0);
    });
}

#[test]
fn a_parked_caller_keeps_the_outcome_it_waited_for() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let switch = Switch::default();
        let mut parked = waiting(&cache, &switch, 1);
        assert!(poll_once(&mut parked).is_none());
        switch.turn_on();
        assert_eq!(waiting(&cache, &switch, 2).await, 1);
        cache.insert(1, 3);
        cache.remove(&1);
        let next = cache.get_or_compute(1, || async { 4 });
        assert_eq!(futures::join!(next, parked), (4, 1));
        check(&cache, 0);
    });
}

#[test]
fn a_forgotten_leader_holds_nobody_up() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let switch = Switch::default();
        let mut leader = waiting(&cache, &switch, 1);
        let mut follower = waiting(&cache, &switch, 2);
        assert!(poll_once(&mut leader).is_none());
        assert!(poll_once(&mut follower).is_none());
        mem::forget(leader);
        mem::forget(follower);
        switch.turn_on();
        assert_eq!(waiting(&cache, &switch, 3).await, 1);
        check(&cache, 0);
        cache.remove(&1);
        assert_eq!(cache.get_or_compute(1, || async { 4 }).await, 4);
        check(&cache, 0);
    });
}

#[test]
fn a_compute_whose_callers_are_all_forgotten_can_be_joined_or_written_over() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let switch = Switch::default();
        let mut leader = waiting(&cache, &switch, 1);
        assert!(poll_once(&mut leader).is_none());
        mem::forget(leader);
        check(&cache, 1);
        cache.remove(&1);
        check(&cache, 0);
        assert_eq!(cache.get_or_compute(1, || async { 2 }).await, 2);
        check(&cache, 0);
    });
}

#[test]
fn a_parked_caller_holds_up_no_compute_that_waits_for_the_same() {
    on_every_runtime(async |host| {
        // The outer compute drives the inner one, and is then parked.
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let switch = Switch::default();
        let inner = {
            let (cache, switch) = (cache.clone(), switch.clone());
            move || async move { waiting(&cache, &switch, 10).await + 1 }
        };
        let mut outer = cache.get_or_compute(2, inner).boxed();
        assert!(poll_once(&mut outer).is_none());
        check(&cache, 2);
        switch.turn_on();
        assert_eq!(waiting(&cache, &switch, 0).await, 10);
        check(&cache, 1);
        let joined = cache.get_or_compute(2, || async { 0 }).await;
        assert_eq!(joined, 11, "the outer compute goes on with another caller");
        assert_eq!(outer.await, 11);
        check(&cache, 0);
    });
}

#[test]
fn the_last_caller_to_leave_takes_the_compute_along() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let fates = Arc::new(Fates::default());
        let mut callers: Vec<_> = (0..3).map(|_| stepping(&cache, &fates, 100)).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        while let Some(caller) = callers.pop() {
            assert_eq!(fates.counts(), (1, 0));
            check(&cache, 1);
            drop(caller);
        }
        assert_eq!(fates.counts(), (1, 1), "dropped at once");
        check(&cache, 0);
        assert_eq!(cache.get(&1), None);
        assert_eq!(stepping(&cache, &fates, 2).await, 7);
        assert_eq!(fates.counts(), (2, 2));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.inserts), (2, 0, 1));
        check(&cache, 0);
    });
}

#[test]
fn an_aborted_task_is_not_noticed() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let switch = Switch::default();
        let started = Gate::new();
        let (task, abort) = {
            let (cache, switch, started) = (cache.clone(), switch.clone(), started.clone());
            abortable(async move {
                let is_on = switch.is_on();
                let compute = move || {
                    started.open();
                    is_on.map(|()| 1)
                };
                cache.get_or_compute(1, compute).await
            })
        };
        let task = host.spawn(task);
        started.passed().await;
        let mut follower = waiting(&cache, &switch, 2);
        let early = poll_once(&mut follower);
        assert_eq!(early, None);
        abort.abort();
        assert!(task.await.is_err(), "aborted");
        switch.turn_on();
        assert_eq!(follower.await, 1);
        check(&cache, 0);
    });
}

#[test]
fn a_hundred_thousand_abandoned_computes_leave_nothing_behind() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let fates = Arc::new(Fates::default());
        let ask = |key| {
            let fate = fates.begin();
            let compute = || async move {
                let _fate = fate;
                pending().await
            };
            let mut caller = cache.get_or_compute(key, compute).boxed();
            assert!(poll_once(&mut caller).is_none());
            caller
        };
        for key in 0..100_000 {
            drop(ask(key));
        }
        assert_eq!(fates.counts(), (100_000, 100_000));
        check(&cache, 0);
        // And now many at once.
        let callers: Vec<_> = (0..10_000).map(ask).collect();
        check(&cache, 10_000);
        drop(callers);
        assert_eq!(fates.counts(), (110_000, 110_000));
        assert_eq!(cache.len(), 0);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.inserts, stats.compute_failures), (110_000, 0, 0));
        check(&cache, 0);
    });
}

/// A finished compute whose destructor has something to do.
struct EndsWith<F: FnMut() + Unpin>(F);

impl<F: FnMut() + Unpin> Future for EndsWith<F> {
    type Output = Result<u32, String>;

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<u32, String>> {
        Poll::Ready(Ok(1))
    }
}

impl<F: FnMut() + Unpin> Drop for EndsWith<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs `then` when it is dropped.
struct Deferred<F: FnMut()>(F);

impl<F: FnMut()> Drop for Deferred<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_panic_in_the_destructor_of_a_finished_compute_reaches_all_callers() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let switch = Switch::default();
        let is_on = switch.is_on();
        // The compute that the cache sees is dropped after it is ready.
        let compute = || {
            let bomb = Bomb("the destructor");
            let mut is_on = is_on.boxed();
            let mut bomb = Some(bomb);
            poll_fn(move |context| {
                let _ = &mut bomb;
                is_on.poll_unpin(context).map(|()| Ok::<u32, String>(1))
            })
        };
        let mut leads = cache.try_get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut leads).is_none());
        let mut joins = cache.try_get_or_compute(1, || async { Ok::<u32, String>(2) }).boxed();
        assert!(poll_once(&mut joins).is_none());
        switch.turn_on();
        let (leads, joins) = futures::join!(leads, joins);
        for result in [leads, joins] {
            match result {
                Err(ComputeError::Panicked(message)) => assert_eq!(&*message, "the destructor"),
                other => panic!("expected the panic, got {other:?}"),
            }
        }
        assert_eq!(cache.get(&1), None);
        check(&cache, 0);
        assert_eq!(cache.get_or_compute(1, || async { 3 }).await, 3);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.inserts), (2, 1, 1));
        check(&cache, 0);
    });
}

#[test]
fn a_panic_in_the_destructor_of_a_compute_that_panicked_is_contained_too() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let compute = || {
            let bomb = Bomb("the destructor");
            poll_fn(move |_| -> Poll<Result<u32, String>> {
                let _ = &bomb;
                panic!("the compute")
            })
        };
        let result = cache.try_get_or_compute(1, compute).await;
        assert!(matches!(result, Err(ComputeError::Panicked(_))), "{result:?}");
        check(&cache, 0);
        assert_eq!(cache.get_or_compute(1, || async { 3 }).await, 3);
        check(&cache, 0);
    });
}

#[test]
fn a_panic_in_the_destructor_of_an_abandoned_compute_reaches_nobody() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let abandon = || {
            let bomb = Bomb("the destructor");
            let compute = || async move {
                let _bomb = bomb;
                pending().await
            };
            let mut caller = cache.get_or_compute(1, compute).boxed();
            assert!(poll_once(&mut caller).is_none());
            drop(caller);
        };
        abandon();
        check(&cache, 0);
        assert_eq!(cache.get_or_compute(1, || async { 3 }).await, 3);
        cache.remove(&1);
        check(&cache, 0);
    });
}

#[test]
fn a_caller_dropped_by_a_panic_takes_a_compute_along_whose_destructor_panics_too() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let unwinds = || {
            let bomb = Deferred(|| panic!("the destructor"));
            let compute = || async move {
                let _bomb = bomb;
                pending().await
            };
            let mut caller = cache.get_or_compute(1, compute).boxed();
            assert!(poll_once(&mut caller).is_none());
            panic!("the caller");
        };
        let panic = catch_unwind(AssertUnwindSafe(unwinds)).expect_err("it panics");
        assert_eq!(panic.downcast_ref(), Some(&"the caller"));
        check(&cache, 0);
        assert_eq!(cache.get_or_compute(1, || async { 3 }).await, 3);
        check(&cache, 0);
    });
}

/// Uses the cache in each way, its own key included.
fn use_cache(cache: &Cache<u32, u32>) {
    assert_eq!(cache.get(&5), None);
    cache.insert(5, 50);
    assert_eq!(cache.remove(&5), Some(50));
    assert_eq!(wait(cache.get_or_compute(6, || async { 60 })), 60);
    cache.entry(1).or_insert(100);
    cache.remove(&1);
    cache.clear();
    assert_eq!(cache.len(), 0);
}

#[test]
fn the_destructor_of_an_abandoned_compute_may_use_the_cache() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let other = cache.clone();
        let compute = || async move {
            let _deferred = Deferred(move || {
                use_cache(&other);
                let own = wait(other.try_get_or_compute(1, || async { Ok::<_, u8>(2) }));
                assert_eq!(own.ok(), Some(2), "its own key is free");
            });
            pending().await
        };
        let mut caller = cache.get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut caller).is_none());
        drop(caller);
        assert_eq!(cache.get(&1), Some(2));
        check(&cache, 0);
    });
}

#[test]
fn the_destructor_of_a_finished_compute_may_use_the_cache() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let other = cache.clone();
        let compute = || {
            EndsWith(move || {
                let own = wait(other.try_get_or_compute(1, || async { Ok::<_, u8>(2) }));
                assert!(matches!(own, Err(ComputeError::Recursive)), "it is not over yet");
                use_cache(&other);
            })
        };
        assert_eq!(cache.try_get_or_compute(1, compute).await.ok(), Some(1));
        assert_eq!(cache.get(&1), None, "written over by its own destructor");
        check(&cache, 0);
    });
}

#[test]
fn a_compute_may_drop_the_callers_that_wait_for_it() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let others = Arc::new(Mutex::new(Vec::<BoxFuture<'static, u32>>::new()));
        let victims = Arc::clone(&others);
        let switch = Switch::default();
        let is_on = switch.is_on();
        let compute = || async move {
            is_on.await;
            let dropped = mem::take(&mut *victims.lock().expect("not poisoned"));
            drop(dropped);
            1
        };
        let mut leads = cache.get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut leads).is_none());
        for _ in 0..3 {
            let cache = cache.clone();
            let mut other = async move { cache.get_or_compute(1, || async { 2 }).await }.boxed();
            assert!(poll_for(&mut other, &Wakes::new()).is_none());
            others.lock().expect("not poisoned").push(other);
        }
        switch.turn_on();
        assert_eq!(leads.await, 1);
        check(&cache, 0);
    });
}

#[test]
fn a_caller_that_comes_as_the_last_one_leaves_gets_a_value() {
    const ROUNDS: u32 = 10_000;
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let alarm = WokenFromAfar::alarm();
        let barrier = Arc::new(Barrier::new(2));
        let ask = |cache: &Cache<u32, u32>, round| {
            let (cache, alarm) = (cache.clone(), Arc::clone(&alarm));
            let compute = move || async move {
                WokenFromAfar::new(2, &alarm).await;
                round
            };
            async move { cache.get_or_compute(round, compute).await }.boxed()
        };
        let leaves: Vec<_> = (0..ROUNDS).map(|round| ask(&cache, round)).collect();
        let thread = {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                for mut caller in leaves {
                    let _ = poll_once(&mut caller);
                    barrier.wait();
                    drop(caller);
                }
            })
        };
        for round in 0..ROUNDS {
            let comes = ask(&cache, round);
            barrier.wait();
            assert_eq!(wait(comes), round);
        }
        thread.join().expect("no panic");
        assert!(cache.stats().computes <= u64::from(2 * ROUNDS));
        assert_eq!(cache.stats().inserts, u64::from(ROUNDS));
        check(&cache, 0);
    });
}

#[test]
fn threads_that_come_and_go_leave_each_other_alone() {
    const ROUNDS: u32 = 2_000;
    const THREADS: u32 = 4;
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let alarm = WokenFromAfar::alarm();
        let fates = Arc::new(Fates::default());
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (cache, alarm) = (cache.clone(), Arc::clone(&alarm));
                let fates = Arc::clone(&fates);
                thread::spawn(move || {
                    for round in 0..ROUNDS {
                        let key = round / 8;
                        let (alarm, fate) = (Arc::clone(&alarm), fates.begin());
                        let compute = move || async move {
                            let _fate = fate;
                            WokenFromAfar::new(3, &alarm).await;
                            key
                        };
                        let mut caller = cache.get_or_compute(key, compute).boxed();
                        if (round + thread) % 3 == 0 {
                            assert_eq!(wait(caller), key);
                            cache.remove(&key);
                        } else {
                            // Dropped after some polls, woken or not.
                            for _ in 0..(round + thread) % 5 {
                                if poll_once(&mut caller).is_some() {
                                    break;
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        let (begun, dropped) = fates.counts();
        assert_eq!(begun, dropped, "no compute is left");
        check(&cache, 0);
    });
}

#[test]
fn who_leaves_with_a_waker_that_breaks_does_not_keep_the_compute() {
    struct Brittle;
    impl Wake for Brittle {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Brittle {
        fn drop(&mut self) {
            assert!(thread::panicking(), "the waker breaks");
        }
    }
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let (fates, joins) = (Arc::new(Fates::default()), cache.clone());
    let fate = fates.begin();
    let leave = move || {
        let waker = Waker::from(Arc::new(Brittle));
        let mut joined = joins.get_or_compute(1, pending).boxed();
        assert!(joined.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        // The cache has the last one from here on.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
        let left = catch_unwind(AssertUnwindSafe(|| drop(joined)));
        assert!(left.is_err(), "the waker has broken");
    };
    let compute = poll_fn(move |_| {
        let _fate = &fate;
        // On a thread of its own: not from inside the compute.
        thread::scope(|scope| scope.spawn(&leave).join().expect("nothing else breaks"));
        Poll::Pending
    });
    let mut leads = cache.get_or_compute(1, || compute).boxed();
    assert_eq!(poll_once(&mut leads), None);
    drop(leads);
    assert_eq!(fates.counts(), (1, 1));
    check(&cache, 0);
}
