//! The timers of deadlines: those of each runtime, those that misbehave, and none at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fleeting::runtime::{Manual, Spawner, Task, Timer};
use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::join_all;

use crate::deadlines::ask;
use crate::flights::{Switch, in_time, on_every_runtime};
use crate::support::{check, poll_once};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn without_a_runtime_there_are_no_timeouts() {
    let builder = Cache::<u32, u32>::builder().compute_timeout(SECOND);
    let error = builder.build().expect_err("nobody would notice");
    assert_eq!(error.setting(), "compute_timeout");
    assert_eq!(error.to_string(), "compute_timeout needs a runtime");
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let switch = Switch::default();
        let mut caller = ask(&cache, Some(Duration::ZERO), &switch, 7);
        let mut other = ask(&cache, Some(Duration::from_nanos(1)), &switch, 8);
        for _ in 0..3 {
            assert_eq!((poll_once(&mut caller), poll_once(&mut other)), (None, None));
        }
        check(&cache, 1);
        switch.turn_on();
        assert_eq!((block_on(caller), block_on(other)), (Ok(7), Ok(7)));
        assert_eq!((cache.stats().computes, cache.stats().timeouts), (1, 0));
    });
}

/// Virtual time whose timer does something else than wait.
struct OddTimer<F>(Manual, F);

impl<F: Send + Sync + 'static> Spawner for OddTimer<F> {
    fn spawn(&self, task: Task) {
        self.0.spawn(task);
    }
}

impl<F: Fn() -> Option<Task> + Send + Sync + 'static> Timer for OddTimer<F> {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        (self.1)().unwrap_or_else(|| self.0.sleep_until(deadline))
    }
}

#[test]
fn a_timer_that_panics_costs_promptness_only() {
    let in_poll = || -> Option<Task> { Some(async { panic!("this timer is broken") }.boxed()) };
    for timer in [|| panic!("this timer is broken"), in_poll] {
        in_time(move || {
            let time = Manual::new();
            let cache: Cache<u32, u32> = Cache::builder()
                .compute_timeout(5 * SECOND)
                .runtime(OddTimer(time.clone(), timer))
                .build()
                .expect("valid settings");
            let switch = Switch::default();
            let mut callers: Vec<_> = (0..3).map(|_| ask(&cache, None, &switch, 7)).collect();
            assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
            check(&cache, 1);
            // Its time is up, and the next who asks computes anew.
            time.advance(5 * SECOND);
            assert_eq!(time.block_on(cache.get_or_compute(1, || async { 8 })), 8);
            switch.turn_on();
            let outcomes = time.block_on(join_all(callers));
            assert_eq!(outcomes, vec![Err(ComputeError::TimedOut); 3], "noticed at the next poll");
            assert_eq!(cache.get(&1), Some(8));
            check(&cache, 0);
        });
    }
}

#[test]
fn a_timer_may_use_the_cache_when_it_is_asked_for() {
    in_time(|| {
        let slot: Arc<OnceLock<Cache<u32, u32>>> = Arc::default();
        let (inner, calls) = (Arc::clone(&slot), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        let timer = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let cache = inner.get().expect("the cache is built");
            cache.insert(2, 2);
            assert_eq!(cache.get(&1), None);
            None
        };
        let time = Manual::new();
        // In one shard, so that a lock that is held would be noticed.
        let built = Cache::builder()
            .max_size(10)
            .compute_timeout(5 * SECOND)
            .runtime(OddTimer(time.clone(), timer))
            .build()
            .expect("valid settings");
        let cache = slot.get_or_init(|| built);
        let never = Switch::default();
        let mut callers: Vec<_> = (0..2).map(|_| ask(cache, None, &never, 7)).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        time.advance(5 * SECOND);
        assert_eq!(time.block_on(join_all(callers)), vec![Err(ComputeError::TimedOut); 2]);
    });
}

#[cfg(feature = "tokio")]
#[test]
fn without_its_runtime_a_cache_has_no_timeouts_and_works() {
    in_time(|| {
        let runtime = tokio_of_one_thread();
        let handle = fleeting::runtime::Tokio::from(runtime.handle().clone());
        let cache: Cache<u32, u32> = Cache::builder()
            .compute_timeout(Duration::from_secs(3600))
            .runtime(handle)
            .build()
            .expect("valid settings");
        let before = Switch::default();
        let mut callers = vec![ask(&cache, None, &before, 7)];
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        drop(runtime);
        callers.push(ask(&cache, Some(Duration::from_secs(7200)), &before, 7));
        callers.push(cache.entry(1).detached().try_get_or_compute(std::future::pending).boxed());
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        check(&cache, 1);
        before.turn_on();
        assert_eq!(block_on(join_all(callers)), vec![Ok(7); 3]);
        assert_eq!(block_on(cache.get_or_compute(2, || async { 8 })), 8);
        check(&cache, 0);
        block_on(cache.close());
    });
}

#[cfg(feature = "tokio")]
fn tokio_of_one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("tokio starts")
}

#[test]
fn each_runtime_gives_a_compute_up_that_hangs() {
    on_every_runtime(async |host| {
        if host.runtime.is_none() || host.name == "Manual" {
            return;
        }
        let short = Duration::from_millis(20);
        let cache: Cache<u32, u32> =
            host.builder().compute_timeout(short).build().expect("valid settings");
        let (never, long) = (Switch::default(), 3600 * SECOND);
        assert_eq!(ask(&cache, None, &never, 7).await, Err(ComputeError::TimedOut));
        assert_eq!(ask(&cache, Some(short / 2), &never, 7).await, Err(ComputeError::TimedOut));
        let both = futures::join!(
            ask(&cache, Some(short), &never, 7),
            ask(&cache, Some(Duration::ZERO), &never, 7),
        );
        assert_eq!(both, (Err(ComputeError::TimedOut), Err(ComputeError::TimedOut)));
        check(&cache, 0);
        // Longer than a timer may be able to tell.
        let enormous = [1 << 30, 1 << 33, 1 << 34, u64::MAX].map(Duration::from_secs);
        for timeout in enormous.into_iter().chain([long, Duration::MAX]) {
            let switch = Switch::default();
            let mut callers =
                [ask(&cache, Some(timeout), &switch, 7), ask(&cache, Some(timeout), &switch, 7)];
            assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
            switch.turn_on();
            assert_eq!(join_all(callers).await, vec![Ok(7); 2], "after {timeout:?}");
            cache.remove(&1);
        }
        check(&cache, 0);
    });
}
