//! The adapter for tokio.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::runtime::{Instant, Spawner, Task, Timer};
use crate::sync::OnceLock;

/// Background work on a tokio runtime, through its handle.
///
/// It may be used from any thread, also from outside the runtime. Computes are polled inside the runtime,
/// whoever drives them, so they can use its timers and sockets. The runtime needs its time driver
/// (`enable_time` or `enable_all`, which `#[tokio::main]` does): without it, tokio panics when the cache first
/// has to wait. When the runtime shuts down, the cache goes on without background work.
///
/// With the feature `test-util`, time is the runtime's own: `tokio::time::pause` and `advance`
/// govern when entries expire.
///
/// ```
/// use std::time::Duration;
/// use fleeting::{Cache, runtime::Tokio};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), fleeting::BuildError> {
/// let cache: Cache<u32, String> =
///     Cache::builder().ttl(Duration::from_secs(60)).runtime(Tokio::current()).build()?;
/// # Ok(()) }
/// ```
pub struct Tokio {
    handle: Handle,
    /// Spawned when it is first needed to know whether the runtime is gone.
    sentinel: OnceLock<Aborting<()>>,
}

impl Tokio {
    /// The runtime that is running now.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime. [`try_current`](Self::try_current) does not.
    #[must_use]
    #[track_caller]
    pub fn current() -> Self {
        Self::try_current().expect(
            "Tokio::current() was called outside a tokio runtime: call it inside #[tokio::main], \
             Runtime::block_on or a task, or use Tokio::from(handle)",
        )
    }

    /// The runtime that is running now, or `None` outside a tokio runtime.
    #[must_use]
    pub fn try_current() -> Option<Self> {
        Handle::try_current().ok().map(Self::from)
    }

    /// Whether the runtime has shut down: then it has dropped its tasks.
    fn is_gone(&self) -> bool {
        let sentinel = || Aborting(self.handle.spawn(pending()));
        self.sentinel.get_or_init(sentinel).0.is_finished()
    }

    /// Whether this thread can enter the runtime, and is not inside it.
    fn can_enter(&self) -> bool {
        match Handle::try_current() {
            Ok(current) => !is_same(&current, &self.handle),
            // On a thread that ends, tokio may be gone already, and panic.
            Err(error) => !error.is_thread_local_destroyed(),
        }
    }
}

fn is_same(left: &Handle, right: &Handle) -> bool {
    left.id() == right.id()
}

impl From<Handle> for Tokio {
    fn from(handle: Handle) -> Self {
        Self { handle, sentinel: OnceLock::new() }
    }
}

impl Clone for Tokio {
    fn clone(&self) -> Self {
        Self::from(self.handle.clone())
    }
}

impl fmt::Debug for Tokio {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokio").field("runtime", &self.handle.id()).finish_non_exhaustive()
    }
}

impl Spawner for Tokio {
    fn spawn(&self, task: Task) {
        self.handle.spawn(task);
    }

    fn within(&self, poll: &mut dyn FnMut()) {
        if !self.can_enter() || self.is_gone() {
            return poll();
        }
        let _entered = self.handle.enter();
        poll();
    }
}

impl Timer for Tokio {
    #[cfg(feature = "test-util")]
    fn now(&self) -> Instant {
        // On a thread that ends, tokio may be gone already, and panic: then it is the system's time.
        if Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed()) {
            return crate::runtime::system_now();
        }
        let _entered = self.handle.enter();
        tokio::time::Instant::now().into_std()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(Sleep { handle: self.handle.clone(), deadline, state: State::Unpolled })
    }

    fn is_system_clock(&self) -> bool {
        cfg!(not(feature = "test-util"))
    }
}

/// A task that nobody needs any more when this is dropped.
struct Aborting<T>(JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for a moment of the runtime's clock; for ever if the runtime is gone.
///
/// A sleep of tokio's panics if it is polled when its runtime has shut down. A task of that runtime never
/// is: so a wait is either polled inside one, or is a task of its own.
struct Sleep {
    handle: Handle,
    deadline: Instant,
    state: State,
}

enum State {
    Unpolled,
    InTask(Pin<Box<tokio::time::Sleep>>),
    AsTask(Aborting<()>),
    Gone,
}

impl Sleep {
    fn is_in_task(&self) -> bool {
        let is_inside = |current: Handle| is_same(&current, &self.handle);
        tokio::task::try_id().is_some() && Handle::try_current().is_ok_and(is_inside)
    }

    fn begin(&self) -> State {
        let deadline = self.deadline.into();
        if self.is_in_task() {
            return State::InTask(Box::pin(tokio::time::sleep_until(deadline)));
        }
        let sleep = async move { tokio::time::sleep_until(deadline).await };
        State::AsTask(Aborting(self.handle.spawn(sleep)))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let is_elsewhere = matches!(self.state, State::InTask(_)) && !self.is_in_task();
        if is_elsewhere || matches!(self.state, State::Unpolled) {
            self.state = self.begin();
        }
        match &mut self.state {
            State::InTask(sleep) => sleep.as_mut().poll(context),
            State::AsTask(task) => {
                if ready!(Pin::new(&mut task.0).poll(context)).is_ok() {
                    return Poll::Ready(());
                }
                self.state = State::Gone;
                Poll::Pending
            }
            State::Unpolled | State::Gone => Poll::Pending,
        }
    }
}
