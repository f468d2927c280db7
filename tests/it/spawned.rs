//! Spawned computes: they run as tasks of the runtime, and callers only wait.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use fleeting::runtime::Manual;
use fleeting::{Cache, CacheBuilder, ComputeError};
use futures::FutureExt;
use futures::executor::block_on;

use crate::runtimes::in_time;
use crate::support::{Gate, check, on_every_runtime, poll_once};

type Numbers = Cache<u32, u32>;

fn spawning(builder: CacheBuilder<u32, u32>) -> Numbers {
    builder.spawn_computes(true).build().expect("valid settings")
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Ready at the last of so many turns, each of which wakes it again.
async fn turns(mut left: u32) {
    poll_fn(move |context| {
        left -= 1;
        context.waker().wake_by_ref();
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Tells when it is dropped.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn computes_need_a_runtime_to_be_spawned_on() {
    let error = Numbers::builder().spawn_computes(true).build().expect_err("nothing runs them");
    assert_eq!(error.to_string(), "spawn_computes needs a runtime");
    assert!(Numbers::builder().spawn_computes(false).build().is_ok());
    let cache: Numbers = Cache::builder().build().expect("valid settings");
    assert_eq!(block_on(cache.entry(1).spawned().get_or_compute(|| turns(3).map(|()| 7))), 7);
}

#[test]
fn all_callers_get_the_outcome_on_every_runtime() {
    on_every_runtime(async |host| {
        if host.runtime.is_none() {
            return;
        }
        let cache = spawning(host.builder());
        let calls = (0..10).map(|_| cache.get_or_compute(1, || turns(3).map(|()| 7)));
        assert_eq!(futures::future::join_all(calls).await, [7; 10]);
        assert_eq!(cache.get_or_compute(2, || async { 8 }).await, 8);
        let several = cache.get_or_compute_many([3, 4], |_| turns(2).map(|()| [(3, 3), (4, 4)]));
        assert_eq!(several.await.len(), 2);
        assert_eq!(cache.refresh(1, || turns(2).map(|()| 9)).await, 9);
        let failed = cache.try_get_or_compute(5, || async { Err::<u32, _>("no") }).await;
        assert_eq!(failed, Err(ComputeError::Failed(Arc::new("no"))));
        let panicked = cache.try_get_or_compute::<_, _, ()>(6, || async { panic!("broken") }).await;
        assert!(matches!(panicked, Err(ComputeError::Panicked(_))));
        check(&cache, 0);
    });
}

#[test]
fn no_caller_polls_and_an_await_wakes_none_of_them() {
    let time = Manual::new();
    let cache = spawning(Cache::builder().runtime(time.clone()));
    let gate = Gate::new();
    let passed = gate.passed();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let compute = || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        turns(5).await;
        passed.await;
        7
    };
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut leader = cache.get_or_compute(1, compute).boxed_local();
    let mut joined = cache.get_or_compute(1, || async { unreachable!() }).boxed_local();
    for call in [&mut leader, &mut joined] {
        assert!(call.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(polls.load(Ordering::SeqCst), 0, "not even once");
    time.advance(std::time::Duration::ZERO);
    assert_eq!(polls.load(Ordering::SeqCst), 1);
    assert_eq!(count.0.load(Ordering::SeqCst), 0, "five awaits are over");
    gate.open();
    time.advance(std::time::Duration::ZERO);
    assert_eq!(count.0.load(Ordering::SeqCst), 2, "each caller once, at the end");
    assert_eq!((poll_once(&mut leader), poll_once(&mut joined)), (Some(7), Some(7)));
    check(&cache, 0);
}

#[test]
fn the_last_caller_that_leaves_takes_the_compute_along() {
    let time = Manual::new();
    let cache = spawning(Cache::builder().runtime(time.clone()));
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = Guard(Arc::clone(&dropped));
    let compute = || async move {
        let _guard = guard;
        std::future::pending().await
    };
    let mut leader = Box::pin(cache.get_or_compute(1, compute));
    let mut joined = Box::pin(cache.get_or_compute(1, || async { unreachable!() }));
    assert!(poll_once(&mut leader).is_none() && poll_once(&mut joined).is_none());
    time.advance(std::time::Duration::ZERO);
    drop(leader);
    assert!(!dropped.load(Ordering::SeqCst), "one still waits");
    drop(joined);
    assert!(dropped.load(Ordering::SeqCst));
    check(&cache, 0);
    time.advance(std::time::Duration::ZERO);
    assert!(format!("{time:?}").contains("tasks: 0"), "its task has ended: {time:?}");
    assert_eq!(time.block_on(cache.get_or_compute(1, || async { 8 })), 8);
}

#[test]
fn a_detached_compute_goes_on_as_a_task() {
    let time = Manual::new();
    let cache = spawning(Cache::builder().runtime(time.clone()));
    let gate = Gate::new();
    let passed = gate.passed();
    let mut leader = Box::pin(cache.entry(1).detached().get_or_compute(|| passed.map(|()| 7)));
    assert!(poll_once(&mut leader).is_none());
    drop(leader);
    gate.open();
    time.advance(std::time::Duration::ZERO);
    assert_eq!(cache.get(&1), Some(7));
    check(&cache, 0);
}

#[test]
fn where_the_runtime_is_gone_callers_poll() {
    for polls_before in [false, true] {
        let time = Manual::new();
        let cache =
            spawning(Cache::builder().runtime(Mortal(std::sync::Mutex::new(Some(time.clone())))));
        let gate = Gate::new();
        let passed = gate.passed();
        let mut leader = Box::pin(cache.get_or_compute(1, || passed.map(|()| 7)));
        let mut joined = Box::pin(cache.get_or_compute(1, || async { unreachable!() }));
        assert!(poll_once(&mut leader).is_none() && poll_once(&mut joined).is_none());
        if polls_before {
            time.advance(std::time::Duration::ZERO);
        }
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        assert!(joined.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        gate.open();
        assert_eq!(count.0.load(Ordering::SeqCst), 0, "its task is woken");
        drop(time);
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "its task has gone");
        assert_eq!(block_on(joined), 7);
        assert_eq!(block_on(leader), 7);
        check(&cache, 0);
        // Nothing runs a task any more.
        assert_eq!(block_on(cache.get_or_compute(2, || turns(3).map(|()| 8))), 8);
    }
}

/// Virtual time that can be dropped before its cache.
struct Mortal(std::sync::Mutex<Option<Manual>>);

impl fleeting::runtime::Spawner for Mortal {
    fn spawn(&self, task: fleeting::runtime::Task) {
        if let Some(time) = self.0.lock().expect("no panic").take() {
            time.spawn(task);
        }
    }
}

impl fleeting::runtime::Timer for Mortal {
    fn sleep_until(&self, _: fleeting::runtime::Instant) -> fleeting::runtime::Task {
        std::future::pending().boxed()
    }
}

#[test]
fn a_closed_cache_has_its_callers_poll() {
    in_time(|| {
        let time = Manual::new();
        let cache = spawning(Cache::builder().runtime(time.clone()));
        let gate = Gate::new();
        let passed = gate.passed();
        let mut leader = Box::pin(cache.get_or_compute(1, || passed.map(|()| 7)));
        assert!(poll_once(&mut leader).is_none());
        time.advance(std::time::Duration::ZERO);
        block_on(cache.close());
        gate.open();
        assert_eq!(block_on(leader), 7);
        check(&cache, 0);
    });
}

#[test]
fn a_circle_of_spawned_computes_is_noticed() {
    on_every_runtime(async |host| {
        if host.runtime.is_none() {
            return;
        }
        let cache = spawning(host.builder());
        let (inner, innermost) = (cache.clone(), cache.clone());
        let outcome = cache.try_get_or_compute(1, || async move {
            inner
                .try_get_or_compute(2, || async move {
                    innermost.try_get_or_compute(1, || async { Ok::<_, ()>(0) }).await.map_err(drop)
                })
                .await
                .map_err(drop)
        });
        assert_eq!(outcome.await, Err(ComputeError::Failed(Arc::new(()))));
        check(&cache, 0);
    });
}

#[cfg(feature = "tokio")]
#[test]
fn a_spawned_compute_may_block_in_place() {
    in_time(|| {
        let builder = &mut tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_time().build().expect("tokio starts");
        let tokio = fleeting::runtime::Tokio::from(runtime.handle().clone());
        let cache = spawning(Cache::builder().runtime(tokio));
        let blocks = || async { tokio::task::block_in_place(|| 7) };
        assert_eq!(block_on(cache.get_or_compute(1, blocks)), 7);
    });
}
