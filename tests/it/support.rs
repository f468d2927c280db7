//! What all tests use: one helper that runs a case on every runtime, one for virtual time, and
//! gates that hold computes up.

// Which of these are used depends on the features.
#![allow(dead_code)]

use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
#[cfg(feature = "test-util")]
use std::time::Duration;

use fleeting::runtime::Runtime;
use fleeting::{Cache, CacheBuilder, Policy};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{BoxFuture, LocalBoxFuture, Shared};

/// All of them.
pub(crate) const POLICIES: [Policy; 6] =
    [Policy::Fifo, Policy::Lru, Policy::Sieve, Policy::S3Fifo, Policy::TinyLfu, Policy::Adaptive];

/// Runs `case` without a runtime, and on each runtime whose feature is on.
pub(crate) fn on_every_runtime(case: impl AsyncFn(Host)) {
    for host in hosts() {
        println!("on {}", host.name);
        (host.block_on)(case(host.clone()).boxed_local());
    }
}

/// Something to run a case on.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    /// The runtime to build caches with, if there is one.
    pub(crate) runtime: Option<Arc<dyn Runtime>>,
    block_on: fn(LocalBoxFuture<'_, ()>),
}

impl Host {
    /// A builder that has this host's runtime.
    pub(crate) fn builder<K, V>(&self) -> CacheBuilder<K, V> {
        match &self.runtime {
            Some(runtime) => Cache::builder().runtime(Arc::clone(runtime)),
            None => Cache::builder(),
        }
    }

    /// Runs a task beside the case: on the host's runtime, or else on a thread.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (done, result) = oneshot::channel();
        let task = async move { drop(done.send(task.await)) }.boxed();
        match &self.runtime {
            Some(runtime) => runtime.spawn(task),
            None => drop(std::thread::spawn(|| futures::executor::block_on(task))),
        }
        result.map(|result| result.expect("the task came to its end")).boxed()
    }
}

fn hosts() -> Vec<Host> {
    vec![
        Host {
            name: "no runtime",
            runtime: None,
            block_on: |case| futures::executor::block_on(case),
        },
        #[cfg(feature = "test-util")]
        {
            thread_local! {
                static TIME: fleeting::runtime::Manual = fleeting::runtime::Manual::new();
            }
            let block_on = |case: LocalBoxFuture<'_, ()>| {
                TIME.with(fleeting::runtime::Manual::clone).block_on(case);
            };
            let runtime: Arc<dyn Runtime> = Arc::new(Ticking::new(TIME.with(Clone::clone)));
            Host { name: "Manual", runtime: Some(runtime), block_on }
        },
        #[cfg(feature = "tokio")]
        {
            let tokio = fleeting::runtime::Tokio::from(tokio_runtime().handle().clone());
            let block_on = |case: LocalBoxFuture<'_, ()>| tokio_runtime().block_on(case);
            Host { name: "tokio", runtime: Some(Arc::new(tokio)), block_on }
        },
        #[cfg(feature = "smol")]
        {
            let smol = fleeting::runtime::Smol;
            let block_on = |case: LocalBoxFuture<'_, ()>| smol::block_on(case);
            Host { name: "smol", runtime: Some(Arc::new(smol)), block_on }
        },
        #[cfg(feature = "async-std")]
        {
            let async_std = fleeting::runtime::AsyncStd;
            let block_on = |case: LocalBoxFuture<'_, ()>| async_std::task::block_on(case);
            Host { name: "async-std", runtime: Some(Arc::new(async_std)), block_on }
        },
    ]
}

/// Virtual time that moves on by a nanosecond whenever it is looked at, as real clocks do.
#[cfg(feature = "test-util")]
struct Ticking {
    time: fleeting::runtime::Manual,
    looks: std::sync::atomic::AtomicU64,
}

#[cfg(feature = "test-util")]
impl Ticking {
    fn new(time: fleeting::runtime::Manual) -> Self {
        Self { time, looks: std::sync::atomic::AtomicU64::new(0) }
    }
}

#[cfg(feature = "test-util")]
impl fleeting::runtime::Spawner for Ticking {
    fn spawn(&self, task: fleeting::runtime::Task) {
        self.time.spawn(task);
    }
}

#[cfg(feature = "test-util")]
impl fleeting::runtime::Timer for Ticking {
    fn now(&self) -> fleeting::runtime::Instant {
        let looks = self.looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.time.now() + Duration::from_nanos(looks)
    }

    fn sleep_until(&self, deadline: fleeting::runtime::Instant) -> fleeting::runtime::Task {
        self.time.sleep_until(deadline)
    }
}

#[cfg(feature = "tokio")]
fn tokio_runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_time().build().expect("tokio starts")
    })
}

/// Runs `case` on each kind of virtual time: `Manual`, and tokio with its clock paused.
#[cfg(feature = "test-util")]
pub(crate) fn in_virtual_time(case: impl AsyncFn(VirtualTime)) {
    let manual = fleeting::runtime::Manual::new();
    println!("in Manual time");
    manual.block_on(case(VirtualTime::Manual(manual.clone())));
    #[cfg(feature = "tokio")]
    {
        println!("in paused tokio time");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("tokio starts");
        let handle = fleeting::runtime::Tokio::from(runtime.handle().clone());
        runtime.block_on(case(VirtualTime::Tokio(handle)));
    }
}

/// A clock that a case moves by hand.
#[cfg(feature = "test-util")]
#[derive(Clone)]
pub(crate) enum VirtualTime {
    Manual(fleeting::runtime::Manual),
    #[cfg(feature = "tokio")]
    Tokio(fleeting::runtime::Tokio),
}

#[cfg(feature = "test-util")]
impl VirtualTime {
    /// A builder that has this clock.
    pub(crate) fn builder<K, V>(&self) -> CacheBuilder<K, V> {
        Cache::builder().runtime(self.runtime())
    }

    pub(crate) fn runtime(&self) -> Arc<dyn Runtime> {
        match self {
            Self::Manual(manual) => Arc::new(manual.clone()),
            #[cfg(feature = "tokio")]
            Self::Tokio(tokio) => Arc::new(tokio.clone()),
        }
    }

    /// Moves the clock and lets background work run until it has nothing to do.
    #[cfg_attr(
        not(feature = "tokio"),
        expect(clippy::unused_async, reason = "tokio's clock is moved by a future")
    )]
    pub(crate) async fn advance(&self, duration: Duration) {
        match self {
            Self::Manual(manual) => manual.advance(duration),
            #[cfg(feature = "tokio")]
            Self::Tokio(_) => {
                Self::settle_tokio().await;
                tokio::time::advance(duration).await;
                Self::settle_tokio().await;
            }
        }
    }

    /// Far more turns than any background work of these tests takes.
    #[cfg(feature = "tokio")]
    async fn settle_tokio() {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }
}

/// Holds computes up until it is opened.
#[derive(Clone)]
pub(crate) struct Gate {
    bar: Arc<std::sync::Mutex<Option<oneshot::Sender<()>>>>,
    opened: Shared<oneshot::Receiver<()>>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (bar, opened) = oneshot::channel();
        Self { bar: Arc::new(std::sync::Mutex::new(Some(bar))), opened: opened.shared() }
    }

    pub(crate) fn open(&self) {
        self.bar.lock().expect("no panic at the gate").take();
    }

    /// Completes when the gate is open.
    pub(crate) fn passed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.opened.clone().map(drop)
    }
}

/// Checks every invariant, and that `computes` computes are running.
pub(crate) fn check<K, V, S>(cache: &Cache<K, V, S>, computes: usize)
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    #[cfg(feature = "test-util")]
    assert_eq!(cache.validate(), computes, "this many computes are running");
    #[cfg(not(feature = "test-util"))]
    let _ = (cache, computes);
}

/// A compute's outcome that never comes, with a type.
pub(crate) fn panics<T>(why: &str) -> T {
    panic!("{why}")
}

/// Polls a future once.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll_unpin(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
