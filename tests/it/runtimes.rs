//! Runtimes: the adapters, hand-written ones, and those that misbehave.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fleeting::Cache;
use fleeting::runtime::{Runtime, Spawner, Task, Timer};
use futures::executor::block_on;

use crate::support::{Gate, Host, check, on_every_runtime, poll_once};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any of these tests takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `case` on a thread of its own and fails, rather than hangs, when it does not end.
pub(crate) fn in_time(case: impl FnOnce() + Send + 'static) {
    let (sender, ended) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(case));
        drop(sender);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
    let hangs = ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
    assert!(!hangs, "the case hangs");
    thread.join().expect("the case passes");
}

/// A runtime with a clock that is moved by hand; what it does with a task is up to the test.
pub(crate) struct Handmade {
    pub(crate) clock: Hands,
    spawn: Box<dyn Fn(Task) + Send + Sync>,
}

/// The hands of that clock: nanoseconds since it was made.
#[derive(Clone)]
pub(crate) struct Hands {
    origin: Instant,
    nanos: Arc<AtomicU64>,
}

impl Hands {
    /// Begins far enough from the start of time that it can be turned back.
    pub(crate) fn new() -> Self {
        let nanos = Arc::new(AtomicU64::new(1_000_000_000_000));
        Self { origin: Instant::now(), nanos }
    }

    pub(crate) fn forward(&self, duration: Duration) {
        self.nanos.fetch_add(nanos(duration), Ordering::SeqCst);
    }

    fn back(&self, duration: Duration) {
        self.nanos.fetch_sub(nanos(duration), Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Instant {
        self.origin + Duration::from_nanos(self.nanos.load(Ordering::SeqCst))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a short time")
}

impl Handmade {
    pub(crate) fn new(spawn: impl Fn(Task) + Send + Sync + 'static) -> Self {
        Self { clock: Hands::new(), spawn: Box::new(spawn) }
    }
}

impl Spawner for Handmade {
    fn spawn(&self, task: Task) {
        (self.spawn)(task);
    }
}

impl Timer for Handmade {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Nobody is woken by this clock; a sweeper that is polled again looks at it.
    fn sleep_until(&self, deadline: Instant) -> Task {
        let clock = self.clock.clone();
        Box::pin(futures::future::poll_fn(move |_| {
            if clock.now() >= deadline {
                return Poll::Ready(());
            }
            Poll::Pending
        }))
    }
}

/// Polls a task once, with a waker that does nothing.
fn poll_task(task: &mut Task) -> bool {
    task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// What runtimes may do with a task, each with a name.
pub(crate) fn ways_to_treat_a_task() -> Vec<(&'static str, Handmade)> {
    let held: Mutex<Vec<Task>> = Mutex::default();
    let parked: Mutex<Vec<Task>> = Mutex::default();
    vec![
        ("drops it", Handmade::new(drop)),
        ("panics", Handmade::new(|_| panic!("this runtime takes no tasks"))),
        ("loses it", Handmade::new(std::mem::forget)),
        ("never polls it", Handmade::new(move |task| held.lock().expect("held").push(task))),
        ("polls it once and drops it", Handmade::new(|mut task| _ = poll_task(&mut task))),
        (
            "polls it once and keeps it",
            Handmade::new(move |mut task| {
                poll_task(&mut task);
                parked.lock().expect("parked").push(task);
            }),
        ),
        (
            "polls it once and loses it",
            Handmade::new(|mut task| {
                poll_task(&mut task);
                std::mem::forget(task);
            }),
        ),
        ("runs it in a thread", Handmade::new(|task| drop(std::thread::spawn(|| block_on(task))))),
    ]
}

#[test]
fn the_cache_stays_correct_on_a_runtime_that_mistreats_tasks() {
    in_time(|| {
        for (name, runtime) in ways_to_treat_a_task() {
            println!("a runtime that {name}");
            let clock = runtime.clock.clone();
            let cache: Cache<u32, u32> =
                Cache::builder().ttl(SECOND).max_size(10).runtime(runtime).build().expect("valid");
            for round in 0..3 {
                for key in 0..20 {
                    assert_eq!(cache.insert(key, round), None);
                    assert_eq!(cache.insert(key, key), Some(round));
                    assert_eq!(cache.get(&key), Some(key));
                    assert!(cache.len() <= 10);
                }
                let computed = block_on(cache.get_or_compute(100, || async { 7 }));
                assert_eq!(computed, 7);
                check(&cache, 0);
                clock.forward(SECOND);
                for key in 0..=100 {
                    assert_eq!(cache.get(&key), None);
                }
                assert_eq!(cache.iter().count(), 0);
                cache.cleanup();
                assert_eq!(cache.len(), 0);
                check(&cache, 0);
            }
            block_on(cache.close());
            assert_eq!(cache.insert(1, 1), None);
            assert_eq!(cache.remove(&1), Some(1));
        }
    });
}

#[test]
fn dropping_the_cache_frees_its_values_whatever_the_runtime_did_with_the_task() {
    in_time(|| {
        for (name, runtime) in ways_to_treat_a_task() {
            println!("a runtime that {name}");
            let value = Arc::new(());
            let cache = Cache::builder().ttl(SECOND).runtime(runtime).build().expect("valid");
            cache.insert(1, Arc::clone(&value));
            assert_eq!(Arc::strong_count(&value), 2);
            drop(cache);
            assert_eq!(Arc::strong_count(&value), 1, "on a runtime that {name}");
        }
    });
}

#[test]
fn a_clock_that_goes_backwards_keeps_the_cache_whole() {
    let runtime = Handmade::new(drop);
    let clock = runtime.clock.clone();
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND * 10).max_size(50).runtime(runtime).build().expect("valid");
    for step in 0..200_u32 {
        cache.insert(step, step);
        assert_eq!(cache.get(&step), Some(step));
        match step % 4 {
            0 | 1 => clock.forward(SECOND * 7),
            2 => clock.back(SECOND * 12),
            _ => drop(cache.cleanup()),
        }
        check(&cache, 0);
    }
    clock.forward(SECOND * 1000);
    cache.cleanup();
    assert_eq!(cache.len(), 0);
    check(&cache, 0);
}

#[test]
fn a_clock_behind_the_time_of_building_keeps_the_cache_whole() {
    let runtime = Handmade::new(drop);
    let clock = runtime.clock.clone();
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND).runtime(runtime).build().expect("valid");
    clock.back(SECOND * 5);
    cache.insert(1, 1);
    assert_eq!(cache.get(&1), Some(1));
    block_on(cache.get_or_compute(2, || async { 2 }));
    assert_eq!(cache.stats().compute_time, Duration::ZERO);
    clock.forward(SECOND * 6);
    assert_eq!(cache.get(&1), None);
    check(&cache, 0);
}

#[test]
fn a_clock_that_stands_still_orders_writes_all_the_same() {
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND).runtime(Handmade::new(drop)).build().expect("valid");
    cache.insert(1, 1);
    cache.clear();
    assert_eq!(cache.get(&1), None);
    cache.insert(1, 2);
    assert_eq!(cache.get(&1), Some(2));
    check(&cache, 0);
}

#[test]
fn a_runtime_behind_arcs_is_a_runtime() {
    let spawns = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&spawns);
    let runtime = Handmade::new(move |task| {
        counter.fetch_add(1, Ordering::SeqCst);
        drop(task);
    });
    let clock = runtime.clock.clone();
    let erased: Arc<dyn Runtime> = Arc::new(runtime);
    assert_eq!(erased.now(), clock.now());
    assert!(!erased.is_system_clock());
    let twice: Arc<Arc<dyn Runtime>> = Arc::new(erased);
    let cache = Cache::builder().ttl(SECOND).runtime(twice).build().expect("valid");
    cache.insert(1, 1);
    assert_eq!(spawns.load(Ordering::SeqCst), 1);
    clock.forward(SECOND);
    assert_eq!(cache.get(&1), None);
}

/// Says what its clock is, and is never asked for more.
struct Clock(bool);

impl Spawner for Clock {
    fn spawn(&self, task: Task) {
        drop(task);
    }
}

impl Timer for Clock {
    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(pending())
    }

    fn is_system_clock(&self) -> bool {
        self.0
    }
}

#[test]
fn a_timer_tells_the_systems_time_unless_it_says_otherwise() {
    let before = Instant::now();
    let told = Clock(false).now();
    assert!(before <= told && told <= Instant::now());
    assert!(Arc::new(Clock(true)).is_system_clock(), "an Arc passes the answer on");
    for is_system_clock in [false, true] {
        let runtime = Clock(is_system_clock);
        let cache = Cache::builder().runtime(runtime).build().expect("valid");
        cache.entry(1).ttl(Duration::ZERO).insert(1);
        cache.entry(2).ttl(SECOND * 1000).insert(2);
        assert_eq!((cache.get(&1), cache.get(&2)), (None, Some(2)));
    }
}

#[test]
fn a_spawner_may_call_the_cache() {
    in_time(|| {
        let slot: Arc<Mutex<Option<Cache<u32, u32>>>> = Arc::default();
        let inner = Arc::clone(&slot);
        let runtime = Handmade::new(move |task| {
            let cache = inner.lock().expect("the cache").clone().expect("was built");
            cache.insert(2, 2);
            assert_eq!(cache.get(&1), Some(1));
            block_on(cache.get_or_compute(3, || async { 3 }));
            drop(task);
        });
        let cache = Cache::builder().ttl(SECOND).runtime(runtime).build().expect("valid");
        *slot.lock().expect("the cache") = Some(cache.clone());
        cache.insert(1, 1);
        assert_eq!((cache.get(&2), cache.get(&3)), (Some(2), Some(3)));
        slot.lock().expect("the cache").take();
        check(&cache, 0);
    });
}

#[test]
fn a_cache_is_used_from_threads_that_its_runtime_does_not_know() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> =
            host.builder().ttl(SECOND * 1000).max_size(64).build().expect("valid");
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let cache = cache.clone();
                std::thread::spawn(move || {
                    for key in 0..200 {
                        cache.insert(key, thread);
                        cache.get(&key);
                        block_on(cache.get_or_compute(key + 1000, || async move { key }));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic on a foreign thread");
        }
        assert_eq!(cache.len(), 64);
        cache.close().await;
        check(&cache, 0);
    });
}

#[test]
fn callers_of_one_compute_may_be_on_different_executors() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().ttl(SECOND * 1000).build().expect("valid");
        let gate = Gate::new();
        let computes = Arc::new(AtomicUsize::new(0));
        let ask = |cache: Cache<u32, u32>| {
            let (gate, computes) = (gate.clone(), Arc::clone(&computes));
            async move {
                let compute = || async move {
                    computes.fetch_add(1, Ordering::SeqCst);
                    gate.passed().await;
                    42
                };
                cache.get_or_compute(1, compute).await
            }
        };
        let mut callers = vec![host.spawn(ask(cache.clone()))];
        let threads: Vec<_> =
            foreign_executors().into_iter().map(|run| run(Box::pin(ask(cache.clone())))).collect();
        callers.push(host.spawn(ask(cache.clone())));
        let others = 2 + threads.len() as u64;
        // All but this caller are there: they are counted when they have joined.
        let (seen, opener) = (cache.clone(), gate.clone());
        let watcher = std::thread::spawn(move || {
            let begun = Instant::now();
            while seen.stats().misses < others && begun.elapsed() < PATIENCE {
                std::thread::yield_now();
            }
            opener.open();
        });
        for mut caller in callers {
            // Asks again and again, because `Manual` does not wait for other threads.
            let value = loop {
                match poll_once(&mut caller) {
                    Some(value) => break value,
                    None => yield_now().await,
                }
            };
            assert_eq!(value, 42);
        }
        watcher.join().expect("the watcher sees them all");
        for thread in threads {
            assert_eq!(thread.join().expect("no panic on another executor"), 42);
        }
        assert_eq!(computes.load(Ordering::SeqCst), 1);
        let stats = cache.stats();
        assert_eq!((stats.misses, stats.coalesced, stats.computes), (others, others - 1, 1));
        check(&cache, 0);
    });
}

/// Lets other tasks run.
async fn yield_now() {
    let mut yielded = false;
    futures::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

type Compute = Pin<Box<dyn Future<Output = u32> + Send>>;
type Run = fn(Compute) -> std::thread::JoinHandle<u32>;

/// A thread for each executor that the features bring.
fn foreign_executors() -> Vec<Run> {
    vec![
        |future| std::thread::spawn(|| block_on(future)),
        #[cfg(feature = "tokio")]
        |future| {
            std::thread::spawn(|| {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                builder.build().expect("tokio starts").block_on(future)
            })
        },
        #[cfg(feature = "smol")]
        |future| std::thread::spawn(|| smol::block_on(future)),
        #[cfg(feature = "async-std")]
        |future| std::thread::spawn(|| async_std::task::block_on(future)),
    ]
}

/// Tells when it is dropped.
#[derive(Clone)]
struct Farewell(#[expect(dead_code, reason = "dropped with the last copy")] Arc<Tell>);

struct Tell(mpsc::Sender<()>);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Farewell {
    fn new() -> (Self, mpsc::Receiver<()>) {
        let (sender, dropped) = mpsc::channel();
        (Self(Arc::new(Tell(sender))), dropped)
    }
}

/// In real time: nobody calls the cache, and the value is freed.
fn sweeps_by_itself(runtime: impl Runtime) {
    let cache: Cache<u32, Farewell> = Cache::builder()
        .ttl(Duration::from_millis(5))
        .cleanup_interval(Duration::from_millis(1))
        .runtime(runtime)
        .build()
        .expect("valid");
    for key in 0..3 {
        let (value, dropped) = Farewell::new();
        cache.insert(key, value);
        dropped.recv_timeout(PATIENCE).expect("the value is swept");
    }
    let (value, dropped) = Farewell::new();
    cache.entry(9).ttl(SECOND * 1000).insert(value);
    drop(cache);
    dropped.recv_timeout(PATIENCE).expect("the value is freed with the cache");
}

/// A thread for every task and every wait.
struct Threads;

impl Spawner for Threads {
    fn spawn(&self, task: Task) {
        std::thread::spawn(|| block_on(task));
    }
}

impl Timer for Threads {
    fn sleep_until(&self, deadline: Instant) -> Task {
        let (done, wait) = futures::channel::oneshot::channel::<()>();
        std::thread::spawn(move || {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
            drop(done);
        });
        Box::pin(async move {
            let _ = wait.await;
        })
    }
}

#[test]
fn a_runtime_of_threads_sweeps_by_itself() {
    sweeps_by_itself(Threads);
}

/// A clone of the host's runtime, unless it is virtual.
fn in_real_time(host: &Host) -> Option<Arc<dyn Runtime>> {
    if host.name == "Manual" { None } else { host.runtime.clone() }
}

#[test]
fn every_adapter_sweeps_by_itself() {
    on_every_runtime(async |host| {
        let Some(runtime) = in_real_time(&host) else { return };
        std::thread::spawn(|| sweeps_by_itself(runtime)).join().expect("swept in real time");
    });
}

#[test]
fn absurd_times_to_live_neither_panic_nor_expire_early_on_any_runtime() {
    let day = Duration::from_secs(86_400);
    let ttls = [
        Duration::from_millis(1 << 36),
        Duration::from_millis((1 << 36) - 1),
        Duration::from_millis((1 << 36) + 1),
        day * 365,
        day * 365 * 584,
        day * 365 * 585,
        Duration::from_nanos(u64::MAX - 1),
        Duration::from_nanos(u64::MAX),
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ];
    on_every_runtime(async |host| {
        for ttl in ttls {
            let cache: Cache<u32, u32> = host
                .builder()
                .ttl(ttl)
                .cleanup_interval(Duration::from_nanos(1))
                .build()
                .expect("valid");
            cache.insert(1, 1);
            cache.entry(2).ttl(ttl).insert(2);
            // Lets the task look at its deadline and sleep.
            for _ in 0..50 {
                yield_now().await;
            }
            assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), Some(2)), "{ttl:?}");
            cache.insert(1, 3);
            assert_eq!(cache.get(&1), Some(3), "{ttl:?}");
            check(&cache, 0);
            cache.close().await;
        }
    });
}

#[test]
fn a_runtime_whose_sleep_panics_costs_promptness_only() {
    struct Sleepless(Hands);
    impl Spawner for Sleepless {
        fn spawn(&self, mut task: Task) {
            let polled = catch_unwind(AssertUnwindSafe(|| poll_task(&mut task)));
            assert!(polled.is_err(), "sleeping panics");
        }
    }
    impl Timer for Sleepless {
        fn now(&self) -> Instant {
            self.0.now()
        }
        fn sleep_until(&self, _: Instant) -> Task {
            panic!("this runtime has no timers")
        }
    }
    let clock = Hands::new();
    let cache =
        Cache::builder().ttl(SECOND).runtime(Sleepless(clock.clone())).build().expect("valid");
    for key in 0..5 {
        cache.insert(key, key);
        clock.forward(SECOND);
        assert_eq!(cache.get(&key), None);
    }
    check(&cache, 0);
    block_on(cache.close());
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use super::{Cache, Duration, Farewell, PATIENCE, SECOND, block_on, check, in_time};
    use super::{catch_unwind, sweeps_by_itself};
    use fleeting::runtime::{Spawner, Timer, Tokio};

    fn current_thread() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("tokio starts")
    }

    fn multi_thread() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_time().build().expect("tokio starts")
    }

    #[test]
    fn current_outside_a_runtime_panics_with_its_sentence() {
        let panic = catch_unwind(Tokio::current).expect_err("there is no runtime here");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains("Tokio::current() was called outside a tokio runtime"));
        assert!(message.contains("Tokio::from(handle)"), "it says what to do instead");
    }

    #[test]
    fn try_current_is_there_inside_a_runtime_only() {
        assert!(Tokio::try_current().is_none());
        current_thread().block_on(async {
            assert!(Tokio::try_current().is_some());
            drop(Tokio::current());
        });
        let runtime = multi_thread();
        let entered = runtime.enter();
        assert!(Tokio::try_current().is_some());
        drop(entered);
        assert!(Tokio::try_current().is_none());
    }

    #[test]
    fn tokio_sweeps_by_itself_from_a_handle_and_from_within() {
        let runtime = multi_thread();
        sweeps_by_itself(Tokio::from(runtime.handle().clone()));
        let within = runtime.block_on(async { Tokio::current() });
        sweeps_by_itself(within.clone());
        println!("{within:?}");
    }

    #[test]
    fn a_current_thread_runtime_sweeps_while_it_is_driven() {
        let runtime = current_thread();
        let cache: Cache<u32, Farewell> = Cache::builder()
            .ttl(Duration::from_millis(5))
            .runtime(Tokio::from(runtime.handle().clone()))
            .build()
            .expect("valid");
        let (value, dropped) = Farewell::new();
        cache.insert(1, value);
        runtime.block_on(async {
            while dropped.try_recv().is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn a_runtime_that_shuts_down_leaves_a_cache_that_works_lazily() {
        in_time(|| {
            for runtime in [current_thread(), multi_thread()] {
                let tokio = Tokio::from(runtime.handle().clone());
                let cache: Cache<u32, u32> = Cache::builder()
                    .ttl(SECOND * 1000)
                    .cleanup_interval(Duration::from_nanos(1))
                    .runtime(tokio.clone())
                    .build()
                    .expect("valid");
                cache.insert(1, 1);
                runtime.block_on(async { tokio::task::yield_now().await });
                runtime.shutdown_timeout(PATIENCE);
                // Each write tries in vain to have a sweeper again.
                for key in 0..100 {
                    cache.entry(key).ttl(Duration::ZERO).insert(key);
                    cache.entry(key + 1000).ttl(SECOND * 1000).insert(key);
                    assert_eq!(cache.get(&key), None);
                    assert_eq!(cache.get(&(key + 1000)), Some(key));
                }
                let computed = block_on(cache.get_or_compute(7, || async { 7 }));
                assert_eq!(computed, 7);
                cache.cleanup();
                assert_eq!(cache.len(), 101);
                check(&cache, 0);
                let before = tokio.now();
                assert!(tokio.now() >= before, "its clock can still be read");
                block_on(cache.close());
            }
        });
    }

    #[test]
    fn a_runtime_without_time_costs_promptness_only() {
        in_time(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .build()
                .expect("tokio starts");
            let tokio = Tokio::from(runtime.handle().clone());
            let cache: Cache<u32, u32> = Cache::builder()
                .ttl(SECOND * 1000)
                .cleanup_interval(Duration::from_nanos(1))
                .runtime(tokio)
                .build()
                .expect("valid");
            runtime.block_on(async {
                for key in 0..10 {
                    cache.insert(key, key);
                    tokio::task::yield_now().await;
                    assert_eq!(cache.get(&key), Some(key));
                }
                cache.entry(1).ttl(Duration::ZERO).insert(1);
                assert_eq!(cache.get(&1), None);
                assert_eq!(cache.get_or_compute(50, || async { 5 }).await, 5);
                cache.close().await;
            });
            check(&cache, 0);
        });
    }

    #[test]
    fn a_task_spawned_on_a_runtime_that_is_gone_is_dropped() {
        let runtime = current_thread();
        let tokio = Tokio::from(runtime.handle().clone());
        drop(runtime);
        let (value, dropped) = Farewell::new();
        tokio.spawn(Box::pin(async move { drop(value) }));
        dropped.recv_timeout(PATIENCE).expect("dropped unrun");
    }

    #[test]
    fn sleeping_may_begin_on_a_foreign_thread() {
        let runtime = multi_thread();
        let tokio = Tokio::from(runtime.handle().clone());
        block_on(tokio.sleep_until(tokio.now() + Duration::from_millis(2)));
        block_on(tokio.sleep_until(tokio.now()));
    }

    #[cfg(feature = "test-util")]
    #[test]
    fn the_clock_is_the_runtimes_own_from_any_thread() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().expect("tokio starts");
        let tokio = Tokio::from(runtime.handle().clone());
        assert!(!tokio.is_system_clock());
        let begin = tokio.now();
        runtime.block_on(tokio::time::advance(SECOND * 5));
        let clock = tokio.clone();
        let told = std::thread::spawn(move || clock.now()).join().expect("the time");
        assert_eq!(told, begin + SECOND * 5);
        // Inside another runtime, the clock is still its own.
        let inside = multi_thread().block_on(async { tokio.now() });
        assert_eq!(inside, begin + SECOND * 5);
    }

    #[cfg(not(feature = "test-util"))]
    #[test]
    fn the_clock_is_the_systems() {
        let tokio = Tokio::from(current_thread().handle().clone());
        assert!(tokio.is_system_clock());
    }
}

#[cfg(feature = "smol")]
#[test]
fn smol_is_a_small_copy_that_sleeps_and_spawns_anywhere() {
    use fleeting::runtime::Smol;
    let smol = Smol;
    let copy = smol;
    assert_eq!(format!("{smol:?}"), "Smol");
    assert!(copy.is_system_clock());
    block_on(copy.sleep_until(copy.now() + Duration::from_millis(2)));
    sweeps_by_itself(copy);
}

#[cfg(feature = "async-std")]
#[test]
fn async_std_is_a_small_copy_that_sleeps_and_spawns_anywhere() {
    use fleeting::runtime::AsyncStd;
    let async_std = AsyncStd;
    let copy = async_std;
    assert_eq!(format!("{async_std:?}"), "AsyncStd");
    assert!(copy.is_system_clock());
    let deadline = copy.now() + Duration::from_millis(2);
    block_on(copy.sleep_until(deadline));
    assert!(copy.now() >= deadline);
    sweeps_by_itself(copy);
}
