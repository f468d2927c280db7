//! Contexts: the runtime that a compute finds, whoever polls it.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use fleeting::runtime::Tokio;
use fleeting::{Cache, CacheBuilder};
use futures::FutureExt;
use futures::executor::block_on;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::runtimes::in_time;
use crate::support::{Gate, poll_once};

type Numbers = Cache<u32, u32>;
type Settings = CacheBuilder<u32, u32>;

const MOMENT: Duration = Duration::from_millis(2);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("tokio starts")
}

/// A cache with that runtime, and one without any.
fn caches(runtime: &Runtime) -> [Numbers; 2] {
    let tokio = Tokio::from(runtime.handle().clone());
    let builders: [Settings; 2] = [Cache::builder().runtime(tokio), Cache::builder()];
    builders.map(|builder| builder.build().expect("valid settings"))
}

/// Needs a runtime's timers, and its `spawn`, after awaits.
async fn restless(number: u32) -> u32 {
    tokio::time::sleep(MOMENT).await;
    tokio::time::sleep(MOMENT).await;
    tokio::spawn(async move { number }).await.expect("the task ends")
}

/// Polls a call once inside the runtime, and leaves it.
fn park<F: Future + Unpin>(runtime: &Runtime, call: &mut F) {
    let polled = runtime.block_on(poll_fn(|context| Poll::Ready(call.poll_unpin(context))));
    assert!(polled.is_pending());
}

#[test]
fn a_plain_thread_drives_a_compute_that_was_born_in_a_runtime() {
    in_time(|| {
        let runtime = runtime();
        for cache in caches(&runtime) {
            let mut leader = Box::pin(cache.get_or_compute(1, || restless(7)));
            park(&runtime, &mut leader);
            assert_eq!(block_on(cache.get_or_compute(1, || async { unreachable!() })), 7);
            assert_eq!(runtime.block_on(leader), 7);
        }
    });
}

#[test]
fn another_runtime_drives_a_compute_in_the_one_that_it_was_born_in() {
    in_time(|| {
        let (runtime, other) = (runtime(), runtime());
        let born = runtime.handle().id();
        for cache in caches(&runtime) {
            let gate = Gate::new();
            let passed = gate.passed();
            let compute = || async move {
                assert_eq!(Handle::current().id(), born);
                passed.await;
                assert_eq!(Handle::current().id(), born);
                restless(7).await
            };
            let mut leader = Box::pin(cache.get_or_compute(1, compute));
            park(&runtime, &mut leader);
            gate.open();
            let joined = cache.get_or_compute(1, || async { unreachable!() });
            assert_eq!(other.block_on(async { (joined.await, Handle::current().id()) }).0, 7);
            drop(leader);
        }
    });
}

#[test]
fn a_leader_outside_lends_its_compute_the_runtime_of_the_cache() {
    in_time(|| {
        let runtime = runtime();
        let [cache, _] = caches(&runtime);
        // The first poll, the closure itself, a call for several keys, and a refresh.
        assert_eq!(block_on(cache.get_or_compute(1, || restless(1))), 1);
        let sleeps = || tokio::time::sleep(MOMENT).map(|()| 2);
        assert_eq!(block_on(cache.get_or_compute(2, sleeps)), 2);
        let several = cache.get_or_compute_many([3, 4], |_| {
            let sleep = tokio::time::sleep(MOMENT);
            async move {
                sleep.await;
                HashMap::from([(3, restless(3).await), (4, 4)])
            }
        });
        assert_eq!(block_on(several).len(), 2);
        assert_eq!(block_on(cache.refresh(1, || restless(10))), 10);
    });
}

/// Spawns when it is dropped, as connections of a pool do.
struct Returns(Arc<AtomicUsize>);

impl Drop for Returns {
    fn drop(&mut self) {
        let returned = Arc::clone(&self.0);
        tokio::spawn(async move { returned.fetch_add(1, Ordering::SeqCst) });
    }
}

#[test]
fn a_compute_is_dropped_in_its_runtime() {
    in_time(|| {
        let runtime = runtime();
        for cache in caches(&runtime) {
            let returned = Arc::new(AtomicUsize::new(0));
            let connection = Returns(Arc::clone(&returned));
            let compute = || async move {
                // Held until the future itself is dropped.
                let held = &connection;
                restless(1).await;
                u32::try_from(Arc::strong_count(&held.0)).expect("a few")
            };
            let mut leader = Box::pin(cache.get_or_compute(1, compute));
            park(&runtime, &mut leader);
            assert_eq!(block_on(cache.get_or_compute(1, || async { unreachable!() })), 2);
            drop(leader);

            // One that all leave is dropped by the last of them.
            let connection = Returns(Arc::clone(&returned));
            let compute = || async move {
                restless(1).await;
                drop(connection);
                2
            };
            let mut leader = Box::pin(cache.get_or_compute(2, compute));
            park(&runtime, &mut leader);
            drop(leader);
            while returned.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn a_compute_without_any_runtime_is_polled_as_its_callers_are() {
    in_time(|| {
        let (runtime, gate) = (runtime(), Gate::new());
        let passed = gate.passed();
        let cache: Numbers = Cache::builder().build().expect("valid settings");
        let mut leader = Box::pin(cache.get_or_compute(1, || passed.then(|()| restless(7))));
        assert!(poll_once(&mut leader).is_none());
        gate.open();
        let joined = cache.get_or_compute(1, || async { unreachable!() });
        assert_eq!(runtime.block_on(joined), 7);
    });
}

#[test]
fn where_the_runtime_of_the_cache_is_gone_a_compute_finds_that_of_whoever_polls() {
    in_time(|| {
        let (gone, alive) = (runtime(), runtime());
        let [cache, _] = caches(&gone);
        drop(gone);
        assert_eq!(alive.block_on(cache.get_or_compute(1, || restless(7))), 7);
        let joined = || cache.get_or_compute(2, || restless(8));
        assert_eq!(alive.block_on(async { futures::join!(joined(), joined()) }), (8, 8));
    });
}

/// A runtime that does not do as it should: it forgets to poll, or polls twice.
struct Odd(usize);

impl fleeting::runtime::Spawner for Odd {
    fn spawn(&self, _: fleeting::runtime::Task) {}

    fn within(&self, poll: &mut dyn FnMut()) {
        (0..self.0).for_each(|_| poll());
    }
}

impl fleeting::runtime::Timer for Odd {
    fn sleep_until(&self, _: fleeting::runtime::Instant) -> fleeting::runtime::Task {
        std::future::pending().boxed()
    }
}

#[test]
fn a_runtime_that_polls_too_little_or_too_much_changes_nothing() {
    for polls in 0..3 {
        let builder = Cache::builder().runtime(Odd(polls));
        let cache: Numbers = builder.build().expect("valid settings");
        let mut turns = 3;
        let compute = move || {
            poll_fn(move |context| {
                turns -= 1;
                context.waker().wake_by_ref();
                if turns == 0 { Poll::Ready(7) } else { Poll::Pending }
            })
        };
        assert_eq!(block_on(cache.get_or_compute(1, compute)), 7);
    }
}
