//! The adapter for tokio.

use tokio::runtime::Handle;

use crate::runtime::{Instant, Spawner, Task, Timer};

/// Background work on a tokio runtime, through its handle.
///
/// It may be used from any thread, also from outside the runtime. The runtime needs its time
/// driver (`enable_time` or `enable_all`, which `#[tokio::main]` does). When the runtime shuts
/// down, the cache goes on without background work.
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
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
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
}

impl From<Handle> for Tokio {
    fn from(handle: Handle) -> Self {
        Self { handle }
    }
}

impl Spawner for Tokio {
    fn spawn(&self, task: Task) {
        self.handle.spawn(task);
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
        let handle = self.handle.clone();
        Box::pin(async move {
            let sleep = {
                let _entered = handle.enter();
                tokio::time::sleep_until(deadline.into())
            };
            sleep.await;
        })
    }

    fn is_system_clock(&self) -> bool {
        cfg!(not(feature = "test-util"))
    }
}
