//! What a cache asks of its host: to run a task, to tell the time and to wait for it.
//!
//! A cache needs no runtime: values expire on time all the same, because every read checks their
//! deadline. A runtime adds promptness: what has expired is freed even when nobody calls the cache.
//!
//! Each adapter has a Cargo feature of its own, and any of them may be on at once:
//!
//! | feature | adapter | runs on |
//! |---|---|---|
//! | `tokio` | `Tokio` | a tokio runtime, held by its handle |
//! | `smol` | `Smol` | smol's global executor |
//! | `async-std` | `AsyncStd` | async-std's global executor |
//! | `test-util` | `Manual` | nothing: virtual time, moved by the test |
//!
//! # Another runtime
//!
//! Implement [`Spawner`] and [`Timer`] and pass the result to
//! [`CacheBuilder::runtime`](crate::CacheBuilder::runtime):
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fleeting::{Cache, runtime::{Spawner, Task, Timer}};
//!
//! /// A thread for every task and every wait: simple, and slow.
//! struct Threads;
//!
//! impl Spawner for Threads {
//!     fn spawn(&self, task: Task) {
//!         std::thread::spawn(|| futures::executor::block_on(task));
//!     }
//! }
//!
//! impl Timer for Threads {
//!     fn sleep_until(&self, deadline: Instant) -> Task {
//!         let (done, wait) = futures::channel::oneshot::channel::<()>();
//!         std::thread::spawn(move || {
//!             std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
//!             drop(done);
//!         });
//!         Box::pin(async move { drop(wait.await) })
//!     }
//! }
//!
//! let cache: Cache<u32, String> =
//!     Cache::builder().ttl(Duration::from_secs(60)).runtime(Threads).build()?;
//! # Ok::<(), fleeting::BuildError>(())
//! ```

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
mod adapters;
mod context;
#[cfg(feature = "test-util")]
mod manual;

#[cfg(all(
    any(feature = "async-std", feature = "smol", feature = "tokio"),
    not(all(target_family = "wasm", target_os = "unknown"))
))]
pub use self::adapters::*;
pub(crate) use self::context::{RuntimeContext, run_within};
#[cfg(feature = "test-util")]
pub use self::manual::Manual;

use std::sync::Arc;

/// A moment of a [`Timer`]'s clock: `std::time::Instant`, except on `wasm32-unknown-unknown`.
///
/// The standard library has no clock there: reading it panics. So on that target this is the `Instant` of
/// the [web-time](https://docs.rs/web-time) crate, which asks the page or Node.js.
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub use std::time::Instant;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub use web_time::Instant;

/// A unit of background work, or a wait: it ends and yields nothing.
pub type Task = futures_util::future::BoxFuture<'static, ()>;

/// Starts background work.
pub trait Spawner: Send + Sync + 'static {
    /// Runs `task` in the background.
    ///
    /// A spawner that cannot run it (its runtime is gone, say) drops it: the cache notices, goes on
    /// without background work, and may try again later. It must not run the task to its end
    /// before returning, because the sweeper's task lasts as long as the cache.
    fn spawn(&self, task: Task);

    /// Runs `poll` where what it polls finds this runtime: its timers, its sockets, its `spawn`.
    ///
    /// Any caller may drive a compute, on any thread. So each of its polls, and its destructor, run through this.
    /// A runtime that is found through a thread-local, as tokio's is, enters it here; by default nothing is
    /// entered. `poll` must run exactly once, on this thread, before this returns, and a panic of it must pass
    /// through. If the runtime is gone, run `poll` as it is.
    fn within(&self, poll: &mut dyn FnMut()) {
        poll();
    }
}

#[expect(clippy::disallowed_methods, reason = "a timer is where time comes from")]
fn system_now() -> Instant {
    Instant::now()
}

/// Tells the time, and waits for it.
pub trait Timer: Send + Sync + 'static {
    /// The clock that `sleep_until` obeys.
    ///
    /// A cache reads it while it holds a lock of its own, so this must not call the cache.
    fn now(&self) -> Instant {
        system_now()
    }

    /// Completes no earlier than `deadline`.
    ///
    /// Nothing should happen before the returned future is first polled.
    fn sleep_until(&self, deadline: Instant) -> Task;

    /// True if `now` is the system's monotonic clock: the cache may then read a faster one of the
    /// same time.
    fn is_system_clock(&self) -> bool {
        false
    }
}

/// Whatever is both a [`Spawner`] and a [`Timer`].
pub trait Runtime: Spawner + Timer {}

impl<T: Spawner + Timer + ?Sized> Runtime for T {}

const _: Option<&dyn Runtime> = None; // Stays usable as a trait object.

impl<T: Spawner + ?Sized> Spawner for Arc<T> {
    fn spawn(&self, task: Task) {
        (**self).spawn(task);
    }

    fn within(&self, poll: &mut dyn FnMut()) {
        (**self).within(poll);
    }
}

impl<T: Timer + ?Sized> Timer for Arc<T> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        (**self).sleep_until(deadline)
    }

    fn is_system_clock(&self) -> bool {
        (**self).is_system_clock()
    }
}
