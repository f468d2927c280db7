//! A cache whose runtime is gone, or goes while computes run: built with `panic = "abort"`, so that any panic ends
//! the process, also one that would be caught elsewhere.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fleeting::runtime::{Runtime as Host, Spawner, Timer, Tokio};
use fleeting::{Cache, CacheBuilder, ComputeError};
use futures::FutureExt;
use futures::executor::block_on;
use tokio::runtime::{Builder, Runtime};

type Numbers = Cache<u32, u32>;
type Outcome = Result<u32, ComputeError<()>>;

const TIMEOUT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_millis(400);

fn main() {
    for (name, begin) in
        [("current-thread", current_thread as fn() -> Runtime), ("threads", threads)]
    {
        println!("{name}");
        a_timeout_is_noticed_where_the_runtime_is_gone(begin);
        every_call_works_where_the_runtime_is_gone(begin);
        a_runtime_may_go_while_callers_wait(begin);
        its_timers_never_come_and_nothing_panics(begin);
        a_cache_in_a_static_outlives_its_runtimes(begin);
    }
    a_thread_that_ends_may_use_the_cache();
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("tokio starts")
}

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("tokio starts")
}

fn on(runtime: &Runtime) -> CacheBuilder<u32, u32> {
    Cache::builder().runtime(Tokio::from(runtime.handle().clone()))
}

/// Each kind of cache that has something to ask of its runtime.
fn caches(runtime: &Runtime) -> Vec<Numbers> {
    let second = Duration::from_secs(1);
    let builders = [
        on(runtime),
        on(runtime).ttl(second).cleanup_interval(TIMEOUT),
        on(runtime).compute_timeout(TIMEOUT),
        on(runtime).spawn_computes(true).compute_timeout(LONG),
        on(runtime).ttl(TIMEOUT).stale_if_error(second).stale_if_slow(TIMEOUT),
        on(runtime).ttl(TIMEOUT).stale_while_revalidate(second).max_concurrent_computes(1),
    ];
    builders.map(|builder| builder.build().expect("valid settings")).into()
}

async fn sleeps(duration: Duration) -> Result<u32, ()> {
    tokio::time::sleep(duration).await;
    Ok(7)
}

fn a_timeout_is_noticed_where_the_runtime_is_gone(begin: fn() -> Runtime) {
    let (gone, alive) = (begin(), threads());
    let cache = on(&gone).compute_timeout(TIMEOUT).build().expect("valid settings");
    drop(gone);
    let outcome: Outcome = alive.block_on(cache.try_get_or_compute(1, || sleeps(LONG)));
    assert_eq!(outcome, Err(ComputeError::TimedOut), "noticed when the compute wakes");
    assert_eq!((cache.get(&1), cache.stats().timeouts), (None, 1));
    let outcome: Outcome = alive.block_on(cache.try_get_or_compute(1, || sleeps(TIMEOUT / 10)));
    assert_eq!(outcome, Ok(7));
    // The time of a call, for a caller that joins.
    let entry = || cache.entry(2).timeout(TIMEOUT);
    let calls = async {
        futures::join!(
            entry().try_get_or_compute(|| sleeps(LONG)),
            entry().try_get_or_compute(|| sleeps(LONG))
        )
    };
    assert_eq!(alive.block_on(calls), (Err(ComputeError::TimedOut), Err(ComputeError::TimedOut)));
}

fn every_call_works_where_the_runtime_is_gone(begin: fn() -> Runtime) {
    let gone = begin();
    let caches = caches(&gone);
    drop(gone);
    let alive = threads();
    for cache in caches {
        cache.insert(1, 1);
        alive.block_on(use_all(&cache));
        thread::sleep(TIMEOUT + TIMEOUT / 10);
        alive.block_on(use_all(&cache));
        // Outside of all runtimes too.
        assert_eq!(block_on(cache.get_or_compute(8, || async { 8 })), 8);
        assert!(cache.cleanup() <= 10);
        block_on(cache.close());
        drop(cache.clone());
    }
}

async fn use_all(cache: &Numbers) {
    let short = || sleeps(Duration::from_millis(1));
    for _ in 0..2 {
        assert!(cache.try_get_or_compute(1, short).await.is_ok());
        assert!(cache.entry(2).detached().try_get_or_compute(short).await.is_ok());
        assert!(
            cache.entry(3).spawned().stale_if_slow(LONG).try_get_or_compute(short).await.is_ok()
        );
        assert!(cache.entry(4).timeout(LONG).try_refresh(short).await.is_ok());
        let many = cache.get_or_compute_many([5, 6], |keys| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            keys.into_iter().map(|key| (key, key)).collect::<Vec<_>>()
        });
        assert_eq!(many.await.len(), 2);
        assert_eq!(cache.entry(7).update(|_| Some(7)), Some(7));
    }
}

fn a_runtime_may_go_while_callers_wait(begin: fn() -> Runtime) {
    let going = begin();
    for cache in caches(&going) {
        let (send, receive) = futures::channel::oneshot::channel::<u32>();
        let is_polled = Arc::new(AtomicBool::new(false));
        let polled = Arc::clone(&is_polled);
        let compute = || async move {
            polled.store(true, Ordering::SeqCst);
            receive.await.map_err(drop)
        };
        let waiting = {
            let (cache, waits) = (cache.clone(), Duration::from_secs(60));
            let call =
                async move { cache.entry(1).timeout(waits).try_get_or_compute(compute).await };
            thread::spawn(move || block_on(call))
        };
        going.block_on(async {
            while !is_polled.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        send.send(7).expect("the compute waits");
        going.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
        let outcome: Outcome = waiting.join().expect("the caller ends");
        assert_eq!(outcome, Ok(7));
    }
    let caches = caches(&going);
    let waiting: Vec<_> = caches
        .iter()
        .map(|cache| {
            let cache = cache.clone();
            thread::spawn(move || {
                let compute = || async {
                    // Woken by hand: a timer of tokio's would be that of the runtime that goes.
                    let (woken, wakes) = futures::channel::oneshot::channel();
                    thread::spawn(move || {
                        thread::sleep(LONG / 2);
                        let _ = woken.send(7);
                    });
                    wakes.await.map_err(drop)
                };
                block_on(
                    cache.entry(2).timeout(Duration::from_secs(60)).try_get_or_compute(compute),
                )
            })
        })
        .collect();
    thread::sleep(TIMEOUT / 2);
    going.shutdown_timeout(Duration::ZERO);
    for caller in waiting {
        let outcome: Outcome = caller.join().expect("the caller ends");
        assert_eq!(outcome, Ok(7));
    }
}

fn its_timers_never_come_and_nothing_panics(begin: fn() -> Runtime) {
    let runtime = begin();
    let tokio = Tokio::from(runtime.handle().clone());
    let soon = Instant::now() + Duration::from_millis(1);
    // Polled outside, and inside a task; before the end and after it.
    let mut outside = tokio.sleep_until(soon + 100 * LONG);
    assert!(outside.as_mut().now_or_never().is_none());
    runtime.block_on(tokio.sleep_until(soon));
    block_on_beside(&runtime, tokio.sleep_until(soon));
    drop(runtime);
    for mut sleep in [outside, tokio.sleep_until(soon)] {
        assert!((0..3).all(|_| sleep.as_mut().now_or_never().is_none()));
    }
    let (told, dropped) = mpsc::channel::<()>();
    tokio.spawn(async move { drop(told) }.boxed());
    assert!(dropped.recv().is_err(), "the task is dropped");
    let mut is_run = false;
    tokio.within(&mut || is_run = true);
    assert!(is_run);
    assert!(tokio.now() <= Instant::now());
    println!("{tokio:?}");
}

/// Waits on this thread, while the runtime runs.
fn block_on_beside(runtime: &Runtime, future: impl Future<Output = ()> + Send + 'static) {
    let (done, is_done) = futures::channel::oneshot::channel();
    let waiting = thread::spawn(move || {
        block_on(future);
        let _ = done.send(());
    });
    runtime.block_on(is_done).expect("it is woken");
    waiting.join().expect("it ends");
}

fn a_cache_in_a_static_outlives_its_runtimes(begin: fn() -> Runtime) {
    let first = begin();
    let cache = on(&first).ttl(Duration::from_secs(60)).compute_timeout(LONG).build();
    let cache: &'static Numbers = Box::leak(Box::new(cache.expect("valid settings")));
    // As tests do, each with a runtime of its own: the first is the one that the cache was built with.
    for (test, runtime) in [first, begin(), begin()].into_iter().enumerate() {
        let test = u32::try_from(test).expect("a few tests");
        runtime.block_on(async {
            let fast = || sleeps(Duration::from_millis(1));
            let calls = (0..10).map(|_| cache.try_get_or_compute(test, fast));
            let outcomes: Vec<Outcome> = futures::future::join_all(calls).await;
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
            // Left running when the runtime ends.
            drop(tokio::spawn(cache.try_get_or_compute(test + 100, || sleeps(LONG))));
            tokio::task::yield_now().await;
        });
    }
    let last = threads();
    let outcome: Outcome = last.block_on(cache.try_get_or_compute(200, || sleeps(TIMEOUT / 10)));
    assert_eq!(outcome, Ok(7));
}

/// What a thread drops as it ends may use a cache, when tokio's own thread-locals are gone already.
fn a_thread_that_ends_may_use_the_cache() {
    struct Last(Numbers);

    impl Drop for Last {
        fn drop(&mut self) {
            self.0.insert(1, 1);
            assert_eq!(block_on(self.0.get_or_compute(2, || async { 2 })), 2);
            assert_eq!(self.0.get(&1), Some(1));
        }
    }

    thread_local!(static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) });
    let runtime = threads();
    let hosts: [Arc<dyn Host>; 3] = [
        Arc::new(Tokio::from(runtime.handle().clone())),
        Arc::new(fleeting::runtime::Smol),
        Arc::new(fleeting::runtime::AsyncStd),
    ];
    for host in hosts {
        for enters_first in [false, true] {
            let builder =
                Cache::builder().ttl(LONG).compute_timeout(LONG).runtime(Arc::clone(&host));
            let cache = builder.build().expect("valid settings");
            let handle = runtime.handle().clone();
            let ends = thread::spawn(move || {
                if enters_first {
                    drop(handle.enter());
                }
                LAST.set(Some(Last(cache)));
                drop(handle.enter());
            });
            ends.join().expect("the thread ends");
        }
    }
}
