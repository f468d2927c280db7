//! A bound on how many computes run at once: kept, fair, and in nobody's way.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll};
use std::thread;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::{BoxFuture, abortable, join_all};

use crate::flights::{
    Alarm, Bomb, Inline, Switch, Wakes, WokenFromAfar, in_time, on_every_runtime, poll_for, steps,
    wait,
};
use crate::support::{check, poll_once};

fn cache_of(permits: usize) -> Cache<u32, u32> {
    Cache::builder().max_concurrent_computes(permits).build().expect("valid settings")
}

/// How many computes run now, and the most that ever did.
#[derive(Clone, Default)]
struct Load(Arc<(AtomicUsize, AtomicUsize)>);

impl Load {
    /// A compute that counts while it runs: from its first poll to its end.
    fn run<F: Future + Send>(&self, compute: F) -> impl Future<Output = F::Output> + Send + use<F> {
        let load = self.clone();
        async move {
            let (running, most) = &*load.0;
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _leaves = Leaves(load.clone());
            compute.await
        }
    }

    fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

struct Leaves(Load);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Asks for a key; the compute ends when the switch is on.
fn ask<'a>(
    cache: &'a Cache<u32, u32>,
    key: u32,
    load: &Load,
    switch: &Switch,
) -> BoxFuture<'a, u32> {
    let compute = load.run(switch.is_on().map(move |()| key));
    cache.get_or_compute(key, || compute).boxed()
}

#[test]
fn a_bound_of_zero_is_refused() {
    let error = Cache::<u32, u32>::builder().max_concurrent_computes(0).build();
    let error = error.expect_err("nothing could run");
    assert_eq!(error.to_string(), "max_concurrent_computes must be at least 1");
}

#[test]
fn no_more_computes_run_than_there_are_permits() {
    on_every_runtime(async |host| {
        for permits in [1, 2, 5, 100] {
            let cache: Cache<u32, u32> =
                host.builder().max_concurrent_computes(permits).build().expect("valid settings");
            let load = Load::default();
            let tasks = (0..40).map(|key| {
                let (cache, load) = (cache.clone(), load.clone());
                host.spawn(async move {
                    cache.get_or_compute(key, || load.run(steps(3).map(move |()| key))).await
                })
            });
            let values = join_all(tasks.collect::<Vec<_>>()).await;
            assert_eq!(values, (0..40).collect::<Vec<_>>());
            assert!(load.most() <= permits, "{} of {permits}", load.most());
            assert_eq!(cache.stats().computes, 40);
            check(&cache, 0);
        }
    });
}

#[test]
fn computes_run_in_the_order_in_which_they_were_asked_for() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> =
            host.builder().max_concurrent_computes(1).build().expect("valid settings");
        let order = Arc::new(Mutex::new(Vec::new()));
        let begin = |key: u32| {
            let (order, switch) = (Arc::clone(&order), Switch::default());
            let is_on = switch.is_on();
            let compute = move || async move {
                order.lock().expect("not poisoned").push(key);
                is_on.await;
                key
            };
            let mut caller = cache.get_or_compute(key, compute).boxed();
            assert_eq!(poll_once(&mut caller), None);
            (caller, switch)
        };
        let mut callers: std::collections::VecDeque<_> = (0..4).map(begin).collect();
        // Each time a compute ends, one more asks before the next has looked at its permit; and once
        // more when that has taken it, before the one after it has looked.
        for key in (4..20).step_by(2) {
            let (first, switch) = callers.pop_front().expect("somebody runs");
            switch.turn_on();
            first.await;
            callers.push_back(begin(key));
            assert_eq!(poll_once(&mut callers[0].0), None);
            callers.push_back(begin(key + 1));
        }
        for (_, switch) in &callers {
            switch.turn_on();
        }
        // Whoever is polled first: the last one.
        join_all(callers.into_iter().rev().map(|(caller, _)| caller)).await;
        assert_eq!(*order.lock().expect("not poisoned"), (0..20).collect::<Vec<_>>());
        check(&cache, 0);
    });
}

#[test]
fn a_caller_that_leaves_while_it_waits_gives_its_place_up() {
    in_time(|| {
        let (cache, load, switch) = (cache_of(1), Load::default(), Switch::default());
        let mut callers: Vec<_> = (0..4).map(|key| ask(&cache, key, &load, &switch)).collect();
        let wakes = Wakes::new();
        assert!(callers.iter_mut().all(|caller| poll_for(caller, &wakes).is_none()));
        // The last, one in the middle, and the one whose turn is next.
        drop(callers.remove(3));
        drop(callers.remove(1));
        check(&cache, 2);
        switch.turn_on();
        assert_eq!(wait(callers.remove(0)), 0);
        // Its turn has come, and it leaves before it has looked.
        drop(callers.remove(0));
        check(&cache, 0);
        assert_eq!(wait(ask(&cache, 9, &load, &switch)), 9);
        assert_eq!(load.most(), 1);
    });
}

#[test]
fn a_place_that_is_given_up_goes_to_the_next_who_is_woken() {
    in_time(|| {
        let (cache, load, switch) = (cache_of(1), Load::default(), Switch::default());
        let mut first = ask(&cache, 0, &load, &switch);
        let mut second = ask(&cache, 1, &load, &switch);
        let mut third = ask(&cache, 2, &load, &Switch::default());
        assert_eq!((poll_once(&mut first), poll_once(&mut second)), (None, None));
        let wakes = Wakes::new();
        assert_eq!(poll_for(&mut third, &wakes), None);
        switch.turn_on();
        assert_eq!(wait(first), 0);
        assert_eq!(wakes.count(), 0, "it is not its turn");
        drop(second);
        assert_eq!(wakes.count(), 1);
        assert_eq!(poll_for(&mut third, &wakes), None);
        assert_eq!((load.now(), load.most()), (1, 1));
    });
}

#[test]
fn a_caller_that_leaves_while_it_runs_gives_its_permit_back() {
    in_time(|| {
        let (cache, load) = (cache_of(1), Load::default());
        let mut running = ask(&cache, 0, &load, &Switch::default());
        let switch = Switch::default();
        switch.turn_on();
        let (mut waiting, wakes) = (ask(&cache, 1, &load, &switch), Wakes::new());
        assert_eq!((poll_once(&mut running), poll_for(&mut waiting, &wakes)), (None, None));
        drop(running);
        assert_eq!(wakes.count(), 1);
        assert_eq!(poll_for(&mut waiting, &wakes), Some(1));
        check(&cache, 0);
    });
}

#[test]
fn panics_give_permits_back() {
    in_time(|| {
        let cache = cache_of(1);
        let (closure, compute) = (
            || -> BoxFuture<'static, u32> { panic!("the closure") },
            || async {
                steps(1).await;
                panic!("the compute")
            },
        );
        let bomb = Bomb("the destructor");
        let destructor = || async move {
            steps(1).await;
            drop(bomb);
            1
        };
        let bomb = Bomb("the destructor of what was dropped");
        let dropped = || async move {
            pending::<()>().await;
            drop(bomb);
            1
        };
        for round in 0..2 {
            let caught = catch_unwind(AssertUnwindSafe(|| match round {
                0 => wait(cache.get_or_compute(1, closure)),
                _ => wait(cache.get_or_compute(1, compute)),
            }));
            assert!(caught.is_err());
        }
        assert!(
            catch_unwind(AssertUnwindSafe(|| wait(cache.get_or_compute(1, destructor)))).is_err()
        );
        let mut call = cache.get_or_compute(1, dropped).boxed();
        assert_eq!(poll_once(&mut call), None);
        drop(call);
        assert_eq!(wait(cache.get_or_compute(1, || async { 7 })), 7);
        check(&cache, 0);
    });
}

#[test]
fn nested_computes_run_under_the_enclosing_permit() {
    fn nest(cache: Cache<u32, u32>, level: u32) -> BoxFuture<'static, u32> {
        let inner = cache.clone();
        let compute = move || async move {
            steps(1).await;
            if level == 0 { 0 } else { nest(inner, level - 1).await + 1 }
        };
        async move { cache.get_or_compute(level, compute).await }.boxed()
    }
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> =
            host.builder().max_concurrent_computes(1).build().expect("valid settings");
        assert_eq!(nest(cache.clone(), 20).await, 20);
        cache.clear();
        let tasks = (0..4).map(|level| host.spawn(nest(cache.clone(), 20 + level * 3)));
        assert_eq!(join_all(tasks.collect::<Vec<_>>()).await, [20, 23, 26, 29]);
        check(&cache, 0);
    });
}

/// A caller of `key`, whose compute asks for `other` when the switch is on.
fn asks_later(
    cache: &Cache<u32, u32>,
    key: u32,
    other: u32,
    switch: &Switch,
) -> BoxFuture<'static, Result<u32, ComputeError<&'static str>>> {
    let (cache, inner, is_on) = (cache.clone(), cache.clone(), switch.is_on());
    let compute = move || async move {
        is_on.await;
        match inner.try_get_or_compute(other, || async { Err("it joins") }).await {
            Ok(value) => Ok(value + 1),
            Err(ComputeError::Recursive) => Err("a circle"),
            Err(_) => Err("another failure"),
        }
    };
    async move { cache.try_get_or_compute(key, compute).await }.boxed()
}

#[test]
fn a_nested_call_may_join_a_compute_that_waits_for_a_permit() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> =
            host.builder().max_concurrent_computes(1).build().expect("valid settings");
        let (asks, load, ends) = (Switch::default(), Load::default(), Switch::default());
        let mut outer = asks_later(&cache, 1, 2, &asks);
        assert!(poll_once(&mut outer).is_none());
        let mut inner = ask(&cache, 2, &load, &ends);
        assert_eq!((poll_once(&mut inner), load.now()), (None, 0));
        asks.turn_on();
        let wakes = Wakes::new();
        assert!(poll_for(&mut outer, &wakes).is_none());
        // The caller that waited drives it, or the one that joined.
        assert!(poll_for(&mut outer, &wakes).is_none());
        assert_eq!(load.now(), 1);
        ends.turn_on();
        assert_eq!(outer.await, Ok(3));
        assert_eq!(inner.await, 2);
        assert_eq!(ask(&cache, 3, &load, &ends).await, 3, "no permit was lost");
        check(&cache, 0);
    });
}

#[test]
fn circles_with_one_in_the_queue_are_found() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> =
            host.builder().max_concurrent_computes(1).build().expect("valid settings");
        let asks = Switch::default();
        let mut callers: Vec<_> =
            (0..3).map(|key| asks_later(&cache, key, (key + 1) % 3, &asks)).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        asks.turn_on();
        let outcomes = join_all(callers).await;
        let told = |outcome: &Result<_, ComputeError<_>>| matches!(outcome, Err(ComputeError::Failed(error)) if **error == "a circle");
        assert_eq!(outcomes.iter().filter(|outcome| told(outcome)).count(), 1, "{outcomes:?}");
        assert_eq!(cache.get_or_compute(7, || async { 7 }).await, 7);
        check(&cache, 0);
    });
}

#[test]
fn a_permit_that_is_held_does_not_keep_what_it_waits_for_waiting_across_caches() {
    on_every_runtime(async |host| {
        // The compute of 1 waits for another cache's, which waits for one that is in the queue; and
        // it may begin to wait before or after that.
        for outer_asks_first in [true, false] {
            let cache: Cache<u32, u32> =
                host.builder().max_concurrent_computes(1).build().expect("valid settings");
            let other: Cache<u32, u32> = host.builder().build().expect("valid settings");
            let (asks_other, asks_back) = (Switch::default(), Switch::default());
            let (is_on, between) = (asks_back.is_on(), cache.clone());
            let compute = move || async move {
                is_on.await;
                between.get_or_compute(2, || async { unreachable!("it joins") }).await + 1
            };
            let mut middle = other.get_or_compute(1, compute).boxed();
            assert!(poll_once(&mut middle).is_none());
            let (is_on, next) = (asks_other.is_on(), other.clone());
            let compute = move || async move {
                is_on.await;
                next.get_or_compute(1, || async { unreachable!("it joins") }).await + 1
            };
            let mut outer = cache.get_or_compute(1, compute).boxed();
            assert!(poll_once(&mut outer).is_none());
            let mut queued = cache.get_or_compute(2, || steps(2).map(|()| 20)).boxed();
            assert!(poll_once(&mut queued).is_none());
            if outer_asks_first {
                asks_other.turn_on();
                assert!(poll_once(&mut outer).is_none());
                asks_back.turn_on();
                assert!(poll_once(&mut middle).is_none());
            } else {
                asks_back.turn_on();
                assert!(poll_once(&mut middle).is_none());
                asks_other.turn_on();
                assert!(poll_once(&mut outer).is_none());
            }
            assert_eq!(futures::join!(outer, middle, queued), (22, 21, 20));
        }
    });
}

#[test]
fn each_cache_has_a_bound_of_its_own() {
    in_time(|| {
        let (cache, other, load) = (cache_of(1), cache_of(1), Load::default());
        let never = Switch::default();
        let mut one = ask(&cache, 1, &load, &never);
        let mut two = ask(&other, 1, &load, &never);
        assert_eq!((poll_once(&mut one), poll_once(&mut two), load.now()), (None, None, 2));
        drop((one, two));
        // Nested in a compute of the other, it needs a permit of its own cache.
        let blocker = Load::default();
        let mut blocks = ask(&other, 1, &blocker, &never);
        assert_eq!((poll_once(&mut blocks), blocker.now()), (None, 1));
        let (inner, counted) = (other.clone(), load.clone());
        let compute =
            || async move { inner.get_or_compute(2, || counted.run(async { 5 })).await + 1 };
        let mut outer = cache.get_or_compute(2, compute).boxed();
        assert_eq!((poll_once(&mut outer), load.now()), (None, 0));
        drop(blocks);
        assert_eq!(wait(outer), 6);
    });
}

#[test]
fn a_call_for_many_keys_is_one_compute() {
    in_time(|| {
        let (cache, load) = (cache_of(1), Load::default());
        let (switch, counted) = (Switch::default(), load.clone());
        let is_on = switch.is_on();
        let many = cache.get_or_compute_many(0..10, |keys| {
            counted.run(
                is_on.map(|()| keys.into_iter().map(|key| (key, key)).collect::<HashMap<_, _>>()),
            )
        });
        let mut many = many.boxed();
        assert!(poll_once(&mut many).is_none());
        let mut single = ask(&cache, 20, &load, &switch);
        let mut joined = ask(&cache, 3, &load, &switch);
        assert_eq!((poll_once(&mut single), poll_once(&mut joined)), (None, None));
        assert_eq!(load.now(), 1);
        switch.turn_on();
        let expected: HashMap<u32, u32> = (0..10).map(|key| (key, key)).collect();
        assert_eq!(wait(many), expected);
        assert_eq!((wait(joined), wait(single)), (3, 20));
        assert_eq!(load.most(), 1);
        check(&cache, 0);
    });
}

/// Polled by hand until told otherwise, and then on the spot where it is woken.
fn start_inline(cache: &Cache<u32, u32>, key: u32, switch: &Switch) -> Arc<Inline<u32>> {
    let (cache, is_on) = (cache.clone(), switch.is_on());
    Inline::start(
        async move { cache.get_or_compute(key, || is_on.map(move |()| key)).await }.boxed(),
    )
}

#[test]
fn a_task_that_is_polled_where_it_is_woken_may_be_next() {
    in_time(|| {
        for permits in [1, 2, 3] {
            let (cache, switch) = (cache_of(permits), Switch::default());
            let tasks: Vec<_> = (0..8).map(|key| start_inline(&cache, key, &switch)).collect();
            check(&cache, 8);
            // The first ends, and those that wait run one inside the other.
            switch.turn_on();
            let values: Vec<_> = tasks.iter().map(|task| task.output()).collect();
            assert_eq!(values, (0..8).map(Some).collect::<Vec<_>>());
            check(&cache, 0);
        }
    });
}

#[cfg(feature = "test-util")]
mod in_virtual_time {
    use super::{
        BoxFuture, Cache, ComputeError, FutureExt, Load, Switch, check, pending, poll_once,
    };
    use crate::support::in_virtual_time;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waiting_for_a_permit_counts_against_the_timeout() {
        in_virtual_time(async |time| {
            let cache: Cache<u32, u32> = time
                .builder()
                .max_concurrent_computes(1)
                .compute_timeout(5 * SECOND)
                .build()
                .expect("valid settings");
            let load = Load::default();
            let hang = |key| -> BoxFuture<'_, Result<u32, ComputeError<()>>> {
                let compute = load.run(pending());
                cache.try_get_or_compute(key, || compute).boxed()
            };
            let mut running = hang(1);
            assert!(poll_once(&mut running).is_none());
            time.advance(2 * SECOND).await;
            let (mut waiting, mut third) = (hang(2), hang(3));
            assert!(poll_once(&mut waiting).is_none() && poll_once(&mut third).is_none());
            time.advance(3 * SECOND).await;
            assert_eq!(running.await, Err(ComputeError::TimedOut));
            assert!(poll_once(&mut waiting).is_none());
            assert_eq!(load.now(), 1, "the hung one has given its permit back");
            time.advance(2 * SECOND).await;
            assert_eq!(third.await, Err(ComputeError::TimedOut), "it has never run");
            assert_eq!(waiting.await, Err(ComputeError::TimedOut));
            assert_eq!(load.most(), 1);
            let stats = cache.stats();
            assert_eq!((stats.computes, stats.timeouts, stats.compute_time), (3, 3, 15 * SECOND));
            assert_eq!(cache.get_or_compute(4, || async { 4 }).await, 4, "no permit was lost");
            check(&cache, 0);
        });
    }

    #[test]
    fn a_refresh_that_a_compute_sets_off_waits_for_a_permit() {
        in_virtual_time(async |time| {
            let cache: Cache<u32, u32> = time
                .builder()
                .max_concurrent_computes(1)
                .refresh_after(SECOND)
                .build()
                .expect("valid settings");
            cache.insert(1, 1);
            cache.insert(2, 2);
            time.advance(SECOND).await;
            let (load, switch) = (Load::default(), Switch::default());
            let (inner, counted, is_on) = (cache.clone(), load.clone(), switch.is_on());
            let compute = load.run(async move {
                let renew = || counted.run(async { 10 });
                let old = inner.get_or_compute(1, renew).await;
                let renew = |keys: Vec<u32>| {
                    counted.run(async {
                        keys.into_iter()
                            .map(|key| (key, 20))
                            .collect::<std::collections::HashMap<_, _>>()
                    })
                };
                let others = inner.get_or_compute_many([2], renew).await;
                is_on.await;
                old + others[&2]
            });
            let mut outer = cache.get_or_compute(3, || compute).boxed();
            assert_eq!(poll_once(&mut outer), None);
            time.advance(Duration::ZERO).await;
            assert_eq!((load.now(), load.most()), (1, 1), "nobody waits for the refreshes");
            check(&cache, 3);
            switch.turn_on();
            assert_eq!(outer.await, 3);
            time.advance(Duration::ZERO).await;
            assert_eq!((cache.get(&1), cache.get(&2)), (Some(10), Some(20)));
            assert_eq!(load.most(), 1);
            check(&cache, 0);
        });
    }
}

/// Fails at some polls, and leaves at others.
struct Moody(u32);

impl Future for Moody {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        assert!(self.0 % 7 != 3, "a mood");
        Poll::Ready(())
    }
}

#[test]
fn threads_that_come_leave_and_panic_keep_the_bound_and_lose_no_permit() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 400;
    for permits in [1, 2] {
        in_time(move || {
            let (cache, load) = (cache_of(permits), Load::default());
            let alarm = WokenFromAfar::alarm();
            let barrier = Arc::new(Barrier::new(THREADS as usize));
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (cache, load) = (cache.clone(), load.clone());
                    let (alarm, barrier) = (Arc::clone(&alarm), Arc::clone(&barrier));
                    thread::spawn(move || {
                        barrier.wait();
                        for round in 0..ROUNDS {
                            one_round(&cache, &load, &alarm, round * THREADS + thread);
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().expect("no panic comes through");
            }
            assert!(load.most() <= permits, "{} of {permits}", load.most());
            assert_eq!(load.now(), 0);
            // All permits are there.
            let never = Switch::default();
            let mut callers: Vec<_> = (0..=u32::try_from(permits).expect("few"))
                .map(|key| ask(&cache, 1_000_000 + key, &load, &never))
                .collect();
            assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
            assert_eq!(load.now(), permits);
        });
    }
}

/// Three callers of keys that other threads ask for too; one of them leaves.
fn one_round(cache: &Cache<u32, u32>, load: &Load, alarm: &Arc<Alarm>, seed: u32) {
    let caller = |offset: u32| {
        let compute = load.run({
            let wakes = WokenFromAfar::new(((seed + offset) % 3) as usize, alarm);
            async move {
                wakes.await;
                Moody(seed).await;
                Ok::<u32, ()>(1)
            }
        });
        cache.try_get_or_compute(seed / 6 * 4 + offset, || compute)
    };
    let (leaves, leave) = abortable(caller(0));
    let mut leaves = leaves.boxed();
    let _ = poll_once(&mut leaves);
    let rest = [1, 2].map(caller).map(FutureExt::boxed);
    leave.abort();
    drop(leaves);
    wait(join_all(rest));
}
