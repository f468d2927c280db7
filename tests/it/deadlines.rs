//! Computes that take too long: given up, each caller by its own time, and never in the way of others.

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use fleeting::runtime::{Manual, Spawner, Task, Timer};
use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::{BoxFuture, join_all};

use crate::flights::{Bomb, Switch, Wakes, poll_for};
use crate::support::{VirtualTime, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);

type Outcome = Result<u32, ComputeError<()>>;

fn hasty(time: &VirtualTime) -> Cache<u32, u32> {
    time.builder().compute_timeout(5 * SECOND).build().expect("valid settings")
}

fn patient(time: &VirtualTime) -> Cache<u32, u32> {
    time.builder().build().expect("valid settings")
}

/// Asks for key 1 with a timeout; the compute ends when the switch is on.
pub(crate) fn ask<'a>(
    cache: &'a Cache<u32, u32>,
    timeout: Option<Duration>,
    switch: &Switch,
    value: u32,
) -> BoxFuture<'a, Outcome> {
    let is_on = switch.is_on();
    let entry = cache.entry(1);
    let entry = match timeout {
        Some(timeout) => entry.timeout(timeout),
        None => entry,
    };
    entry.try_get_or_compute(move || is_on.map(move |()| Ok(value))).boxed()
}

/// Counts the computes that live.
#[derive(Default)]
struct Living(Arc<()>);

impl Living {
    /// A compute that hangs.
    fn hang(&self) -> impl Future<Output = Result<u32, ()>> + Send + use<> {
        let alive = Arc::downgrade(&self.0).upgrade();
        async move {
            pending::<()>().await;
            drop(alive);
            Ok(1)
        }
    }

    fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

#[test]
fn all_callers_of_a_compute_that_hangs_are_told_at_once_and_it_is_dropped() {
    in_virtual_time(async |time| {
        let (cache, living) = (hasty(&time), Living::default());
        let mut callers: Vec<_> =
            (0..3).map(|_| cache.try_get_or_compute(1, || living.hang()).boxed()).collect();
        let wakes = Wakes::new();
        assert!(callers.iter_mut().all(|caller| poll_for(caller, &wakes).is_none()));
        time.advance(Duration::from_millis(4_999)).await;
        assert_eq!(wakes.count(), 0);
        check(&cache, 1);
        time.advance(Duration::from_millis(1)).await;
        assert_eq!(wakes.count(), 3);
        // The key is free before any of them has looked.
        assert_eq!(cache.get_or_compute(1, || async { 2 }).await, 2);
        assert_eq!(join_all(callers).await, vec![Err(ComputeError::TimedOut); 3]);
        assert_eq!(living.count(), 0);
        assert_eq!(cache.get(&1), Some(2));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.timeouts, stats.compute_failures), (2, 1, 0));
        assert_eq!(stats.compute_time, 5 * SECOND);
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_ends_in_time_is_not_disturbed() {
    in_virtual_time(async |time| {
        let (cache, switch) = (hasty(&time), Switch::default());
        let mut caller = ask(&cache, None, &switch, 7);
        assert_eq!(poll_once(&mut caller), None);
        time.advance(4 * SECOND).await;
        assert_eq!(poll_once(&mut caller), None);
        switch.turn_on();
        assert_eq!(caller.await, Ok(7));
        time.advance(60 * SECOND).await;
        assert_eq!(cache.get(&1), Some(7));
        let stats = cache.stats();
        assert_eq!((stats.timeouts, stats.compute_time), (0, 4 * SECOND));
    });
}

#[test]
fn an_outcome_that_is_there_when_the_time_is_up_counts() {
    in_virtual_time(async |time| {
        let (cache, switch) = (hasty(&time), Switch::default());
        let mut caller = ask(&cache, None, &switch, 7);
        assert_eq!(poll_once(&mut caller), None);
        time.advance(5 * SECOND).await;
        switch.turn_on();
        assert_eq!(caller.await, Ok(7));
        assert_eq!(cache.get(&1), Some(7));
        assert_eq!(cache.stats().timeouts, 0);
        check(&cache, 0);
    });
}

#[test]
fn a_late_outcome_overwrites_nothing() {
    in_virtual_time(async |time| {
        let (cache, switch) = (hasty(&time), Switch::default());
        let mut late = ask(&cache, None, &switch, 7);
        assert_eq!(poll_once(&mut late), None);
        time.advance(5 * SECOND).await;
        assert_eq!(cache.get_or_compute(1, || async { 8 }).await, 8);
        switch.turn_on();
        assert_eq!(late.await, Ok(7), "for who has not looked at the clock yet");
        assert_eq!(cache.get(&1), Some(8));
        check(&cache, 0);
    });
}

#[test]
fn an_impatient_caller_leaves_and_a_patient_one_waits_on() {
    in_virtual_time(async |time| {
        for leads in [0, 1] {
            let (cache, switch) = (patient(&time), Switch::default());
            let timeouts = [Some(2 * SECOND), Some(10 * SECOND)];
            let mut first = ask(&cache, timeouts[leads], &switch, 7);
            let mut second = ask(&cache, timeouts[1 - leads], &switch, 8);
            assert_eq!((poll_once(&mut first), poll_once(&mut second)), (None, None));
            time.advance(2 * SECOND).await;
            let (hasty, slow) = if leads == 0 { (first, second) } else { (second, first) };
            assert_eq!(hasty.await, Err(ComputeError::TimedOut));
            assert_eq!(cache.stats().timeouts, 0, "it goes on");
            check(&cache, 1);
            time.advance(7 * SECOND).await;
            switch.turn_on();
            assert_eq!(slow.await, Ok(7));
            assert_eq!(cache.stats().computes, 1);
            check(&cache, 0);
        }
    });
}

#[test]
fn a_compute_is_given_up_with_its_most_patient_caller() {
    in_virtual_time(async |time| {
        let (cache, switch) = (patient(&time), Switch::default());
        let mut callers: Vec<_> = [3, 9, 6]
            .map(|seconds| ask(&cache, Some(seconds * SECOND), &switch, 7))
            .into_iter()
            .collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        for (passed, left) in [(3, 2), (6, 1), (9, 0)] {
            time.advance(3 * SECOND).await;
            let mut told = 0;
            callers.retain_mut(|caller| match poll_once(caller) {
                Some(outcome) => {
                    assert_eq!(outcome, Err(ComputeError::TimedOut));
                    told += 1;
                    false
                }
                None => true,
            });
            assert_eq!((told, callers.len()), (1, left), "after {passed} seconds");
            check(&cache, left.min(1));
            assert_eq!(cache.stats().timeouts, u64::from(left == 0));
        }
        assert_eq!(cache.stats().compute_time, 9 * SECOND);
    });
}

#[test]
fn a_caller_without_a_timeout_waits_on() {
    in_virtual_time(async |time| {
        for leads in [false, true] {
            let (cache, switch) = (patient(&time), Switch::default());
            let timeouts = if leads { [None, Some(SECOND)] } else { [Some(SECOND), None] };
            let mut first = ask(&cache, timeouts[0], &switch, 7);
            let mut second = ask(&cache, timeouts[1], &switch, 7);
            assert_eq!((poll_once(&mut first), poll_once(&mut second)), (None, None));
            time.advance(SECOND).await;
            let (hasty, endless) = if leads { (second, first) } else { (first, second) };
            assert_eq!(hasty.await, Err(ComputeError::TimedOut));
            time.advance(1_000_000 * SECOND).await;
            check(&cache, 1);
            switch.turn_on();
            assert_eq!(endless.await, Ok(7));
            assert_eq!(cache.stats().timeouts, 0);
        }
    });
}

#[test]
fn a_call_that_comes_late_has_all_of_its_own_time() {
    in_virtual_time(async |time| {
        let (cache, switch) = (patient(&time), Switch::default());
        let mut leader = ask(&cache, Some(20 * SECOND), &switch, 7);
        assert_eq!(poll_once(&mut leader), None);
        time.advance(4 * SECOND).await;
        let mut late = ask(&cache, Some(5 * SECOND), &switch, 7);
        assert_eq!(poll_once(&mut late), None);
        time.advance(4 * SECOND).await;
        assert_eq!(poll_once(&mut late), None);
        time.advance(SECOND).await;
        assert_eq!(poll_once(&mut late), Some(Err(ComputeError::TimedOut)));
        switch.turn_on();
        assert_eq!(leader.await, Ok(7));
    });
}

#[test]
fn who_has_time_left_when_the_compute_is_given_up_asks_again() {
    in_virtual_time(async |time| {
        let (cache, never) = (patient(&time), Switch::default());
        let mut leader = ask(&cache, Some(5 * SECOND), &never, 7);
        assert_eq!(poll_once(&mut leader), None);
        time.advance(4 * SECOND).await;
        // It gives the compute five seconds as well, and those are over before its own.
        let switch = Switch::default();
        let (mut late, wakes) = (ask(&cache, Some(5 * SECOND), &switch, 8), Wakes::new());
        assert_eq!(poll_for(&mut late, &wakes), None);
        assert_eq!(cache.stats().computes, 1);
        time.advance(SECOND).await;
        assert_eq!(leader.await, Err(ComputeError::TimedOut));
        assert_eq!(wakes.count(), 1);
        assert_eq!(poll_for(&mut late, &wakes), None);
        assert_eq!((cache.stats().computes, cache.stats().timeouts), (2, 1));
        check(&cache, 1);
        switch.turn_on();
        assert_eq!(late.await, Ok(8));
        let stats = cache.stats();
        assert_eq!((stats.misses, stats.coalesced), (2, 1), "counted once");
        check(&cache, 0);
    });
}

#[test]
fn asking_again_gives_a_call_no_more_than_its_own_time() {
    in_virtual_time(async |time| {
        let (cache, never) = (patient(&time), Switch::default());
        let mut leader = ask(&cache, Some(5 * SECOND), &never, 7);
        assert_eq!(poll_once(&mut leader), None);
        time.advance(4 * SECOND).await;
        let mut late = ask(&cache, Some(5 * SECOND), &never, 8);
        assert_eq!(poll_once(&mut late), None);
        for _ in 0..4 {
            time.advance(SECOND).await;
            assert_eq!(poll_once(&mut late), None);
        }
        time.advance(SECOND).await;
        assert_eq!(poll_once(&mut late), Some(Err(ComputeError::TimedOut)));
        drop(leader);
        assert_eq!(cache.stats().timeouts, 2);
        check(&cache, 0);
    });
}

#[test]
fn at_most_one_compute_of_a_key_runs_though_callers_come_and_give_up_all_the_time() {
    in_virtual_time(async |time| {
        let (cache, living) = (patient(&time), Living::default());
        let mut callers = Vec::new();
        for round in 0..40 {
            let entry = cache.entry(1).timeout((3 + round % 4) * SECOND);
            callers.push(entry.try_get_or_compute(|| living.hang()).boxed());
            callers.retain_mut(|caller| poll_once(caller).is_none());
            assert_eq!(living.count(), 1, "in round {round}");
            time.advance(SECOND).await;
        }
        callers.clear();
        let stats = cache.stats();
        assert!(stats.computes >= 7, "no hung compute keeps the key: {stats:?}");
        check(&cache, 0);
    });
}

#[test]
fn a_compute_left_by_all_but_an_impatient_caller_is_given_up_with_it() {
    in_virtual_time(async |time| {
        let (cache, never) = (patient(&time), Switch::default());
        let mut hasty = ask(&cache, Some(5 * SECOND), &never, 7);
        let mut slow = ask(&cache, Some(50 * SECOND), &never, 7);
        assert_eq!((poll_once(&mut hasty), poll_once(&mut slow)), (None, None));
        drop(slow);
        time.advance(5 * SECOND).await;
        assert_eq!(hasty.await, Err(ComputeError::TimedOut));
        assert_eq!(cache.stats().timeouts, 1);
        check(&cache, 0);
        // Where the last one leaves of its own accord, nothing was too slow.
        let mut hasty = ask(&cache, Some(5 * SECOND), &never, 7);
        let mut slow = ask(&cache, Some(50 * SECOND), &never, 7);
        assert_eq!((poll_once(&mut hasty), poll_once(&mut slow)), (None, None));
        time.advance(5 * SECOND).await;
        assert_eq!(hasty.await, Err(ComputeError::TimedOut));
        drop(slow);
        assert_eq!(cache.stats().timeouts, 1);
        check(&cache, 0);
    });
}

#[test]
fn a_timeout_of_a_call_goes_before_that_of_the_cache() {
    in_virtual_time(async |time| {
        for seconds in [2, 20] {
            let (cache, never) = (hasty(&time), Switch::default());
            let mut caller = ask(&cache, Some(seconds * SECOND), &never, 7);
            assert_eq!(poll_once(&mut caller), None);
            time.advance((seconds - 1) * SECOND).await;
            assert_eq!(poll_once(&mut caller), None);
            time.advance(SECOND).await;
            assert_eq!(poll_once(&mut caller), Some(Err(ComputeError::TimedOut)));
            check(&cache, 0);
        }
    });
}

#[test]
fn a_timeout_of_zero_gives_a_compute_one_poll() {
    in_virtual_time(async |time| {
        let cache = patient(&time);
        let at_once = cache.entry(1).timeout(Duration::ZERO).get_or_compute(|| async { 1 });
        assert_eq!(at_once.await, 1);
        let mut slow = ask(&cache, Some(Duration::ZERO), &Switch::default(), 2);
        cache.remove(&1);
        let first = poll_once(&mut slow);
        time.advance(Duration::from_millis(1)).await;
        let outcome = first.or_else(|| poll_once(&mut slow));
        assert_eq!(outcome, Some(Err(ComputeError::TimedOut)));
        assert_eq!(cache.stats().timeouts, 1);
        check(&cache, 0);
        assert_eq!(cache.entry(1).timeout(Duration::ZERO).or_insert(3), 3, "no compute, no wait");
    });
}

#[test]
fn an_enormous_timeout_is_none() {
    in_virtual_time(async |time| {
        let century = 100 * 365 * 86_400 * SECOND;
        for timeout in [Duration::MAX, 10 * century, 5 * century, Duration::from_nanos(u64::MAX)] {
            let cache: Cache<u32, u32> =
                time.builder().compute_timeout(timeout).build().expect("valid settings");
            for of_call in [None, Some(timeout)] {
                let switch = Switch::default();
                let mut caller = ask(&cache, of_call, &switch, 7);
                let mut other = ask(&cache, of_call, &switch, 7);
                assert_eq!((poll_once(&mut caller), poll_once(&mut other)), (None, None));
                time.advance(86_400 * SECOND).await;
                assert_eq!((poll_once(&mut caller), poll_once(&mut other)), (None, None));
                switch.turn_on();
                assert_eq!((caller.await, other.await), (Ok(7), Ok(7)));
                cache.remove(&1);
            }
            assert_eq!(cache.stats().timeouts, 0);
            check(&cache, 0);
        }
    });
}

#[test]
fn without_try_a_timeout_is_a_panic_that_says_so() {
    in_virtual_time(async |time| {
        let cache = hasty(&time);
        let mut call = AssertUnwindSafe(cache.get_or_compute(1, pending)).catch_unwind().boxed();
        assert!(poll_once(&mut call).is_none());
        time.advance(5 * SECOND).await;
        let panic = call.await.expect_err("it was given up");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains("the compute took longer than it was given"), "{message}");
        check(&cache, 0);
    });
}

#[test]
fn a_stale_value_stands_in_for_a_compute_that_is_given_up() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(10 * SECOND)
            .stale_if_error(60 * SECOND)
            .compute_timeout(5 * SECOND)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        time.advance(20 * SECOND).await;
        let mut callers: Vec<_> =
            (0..2).map(|_| ask(&cache, None, &Switch::default(), 2)).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        time.advance(5 * SECOND).await;
        assert_eq!(join_all(callers).await, [Ok(1), Ok(1)]);
        let stats = cache.stats();
        assert_eq!((stats.stale_hits, stats.misses, stats.timeouts), (2, 0, 1));
        let mut refresh = cache.try_refresh(1, pending::<Result<u32, ()>>).boxed();
        assert!(poll_once(&mut refresh).is_none());
        time.advance(5 * SECOND).await;
        assert_eq!(
            refresh.await,
            Err(ComputeError::TimedOut),
            "who wants a new one gets no old one"
        );
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_panics_while_it_is_given_up_is_given_up_all_the_same() {
    in_virtual_time(async |time| {
        let cache = hasty(&time);
        let bomb = Bomb("the compute's destructor");
        let compute = || async move {
            pending::<()>().await;
            drop(bomb);
            Ok::<u32, ()>(1)
        };
        let mut caller = cache.try_get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut caller).is_none());
        time.advance(5 * SECOND).await;
        assert_eq!(caller.await, Err(ComputeError::TimedOut));
        check(&cache, 0);
        assert_eq!(cache.get_or_compute(1, || async { 2 }).await, 2);
    });
}

#[test]
fn one_call_for_many_keys_is_given_up_as_a_whole() {
    in_virtual_time(async |time| {
        let cache = hasty(&time);
        let many = cache.try_get_or_compute_many([1, 2, 3], |_| async {
            pending::<()>().await;
            Ok::<_, ()>(std::collections::HashMap::new())
        });
        let mut many = many.boxed();
        assert!(poll_once(&mut many).is_none());
        let mut joined = ask(&cache, None, &Switch::default(), 7);
        assert!(poll_once(&mut joined).is_none());
        check(&cache, 3);
        time.advance(5 * SECOND).await;
        assert!(matches!(many.await, Err(ComputeError::TimedOut)));
        assert_eq!(joined.await, Err(ComputeError::TimedOut));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.timeouts, stats.compute_time), (1, 1, 5 * SECOND));
        check(&cache, 0);
    });
}

#[test]
fn a_refresh_that_hangs_is_given_up_and_tried_again() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .refresh_after(10 * SECOND)
            .compute_timeout(5 * SECOND)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        time.advance(10 * SECOND).await;
        let living = Living::default();
        assert_eq!(cache.try_get_or_compute(1, || living.hang()).await, Ok(1));
        time.advance(4 * SECOND).await;
        assert_eq!((living.count(), cache.get(&1)), (1, Some(1)));
        // Whoever wants a new one joins it, and waits for as long as it may run.
        let mut joined = cache.try_refresh(1, || living.hang()).boxed();
        assert_eq!(poll_once(&mut joined), None);
        time.advance(SECOND).await;
        assert_eq!(joined.await, Err(ComputeError::TimedOut));
        assert_eq!((living.count(), cache.get(&1)), (0, Some(1)));
        let stats = cache.stats();
        assert_eq!((stats.refreshes, stats.timeouts, stats.compute_failures), (1, 1, 0));
        assert_eq!(cache.get_or_compute(1, || async { 2 }).await, 1, "not at once");
        time.advance(SECOND).await;
        assert_eq!(cache.get_or_compute(1, || async { 2 }).await, 1);
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.get(&1), Some(2));
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_is_given_up_at_its_first_poll_has_timed_out() {
    let time = Manual::new();
    let cache: Cache<u32, u32> =
        Cache::builder().runtime(time.clone()).build().expect("valid settings");
    let (joined, passing) = (cache.clone(), time.clone());
    let hasty = cache.entry(1).timeout(SECOND).try_get_or_compute(move || {
        poll_fn(move |_| {
            // Another caller, who gives the compute more time and leaves, comes meanwhile.
            thread::scope(|scope| {
                scope.spawn(|| {
                    let patient = joined.entry(1).timeout(10 * SECOND);
                    assert!(poll_once(&mut patient.get_or_compute(pending)).is_none());
                });
            });
            passing.advance(2 * SECOND);
            Poll::<Result<u32, ()>>::Pending
        })
    });
    assert_eq!(block_on(hasty), Err(ComputeError::TimedOut));
    let stats = cache.stats();
    assert_eq!((stats.timeouts, stats.computes), (1, 1));
    check(&cache, 0);
}

/// A clock that panics when it is read next.
#[derive(Clone, Default)]
struct Broken(Arc<AtomicBool>);

impl Spawner for Broken {
    fn spawn(&self, _: Task) {}
}

impl Timer for Broken {
    fn now(&self) -> Instant {
        assert!(!self.0.swap(false, Ordering::SeqCst), "the clock is broken");
        Instant::now()
    }

    fn sleep_until(&self, _: Instant) -> Task {
        pending().boxed()
    }
}

#[test]
fn a_clock_that_panics_at_the_end_of_a_compute_takes_nothing_down() {
    let clock = Broken::default();
    let cache: Cache<u32, u32> =
        Cache::builder().runtime(clock.clone()).build().expect("valid settings");
    let broken = clock.clone();
    let failed = cache.get_or_compute(1, || async move {
        broken.0.store(true, Ordering::SeqCst);
        panic!("the compute is broken")
    });
    let failed = block_on(AssertUnwindSafe(failed).catch_unwind());
    assert!(failed.is_err(), "the caller of a compute that panicked");
    assert!(!clock.0.load(Ordering::SeqCst), "the clock was read");
    assert_eq!(block_on(cache.get_or_compute(1, || async { 2 })), 2);
    // A call that is dropped.
    let mut call = cache.get_or_compute(2, pending).boxed();
    assert!(poll_once(&mut call).is_none());
    clock.0.store(true, Ordering::SeqCst);
    drop(call);
    assert_eq!(block_on(cache.get_or_compute(2, || async { 2 })), 2);
    check(&cache, 0);
}

#[test]
fn a_clock_that_panics_when_all_is_cleared_leaves_all_there() {
    let (clock, told) = (Broken::default(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&told);
    let cache: Cache<u32, u32> = Cache::builder()
        .max_size(100) // one shard
        .runtime(clock.clone())
        .on_removal(move |_, _, _| {
            count.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .expect("valid settings");
    for key in 0..3 {
        cache.insert(key, key);
    }
    clock.0.store(true, Ordering::SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| cache.clear())).is_err());
    assert_eq!((cache.len(), told.load(Ordering::SeqCst)), (3, 0));
    cache.clear();
    assert_eq!((cache.len(), told.load(Ordering::SeqCst)), (0, 3));
    check(&cache, 0);
}
