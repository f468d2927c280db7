//! The adapter for async-std.

use crate::runtime::{Instant, Spawner, Task, Timer};

/// Background work on async-std's global executor.
///
/// async-std is discontinued (RUSTSEC-2025-0052). This adapter is for programs that still run on
/// it; new ones do better with smol, which is its successor.
///
/// ```
/// use std::time::Duration;
/// use fleeting::{Cache, runtime::AsyncStd};
///
/// let cache: Cache<u32, String> =
///     Cache::builder().ttl(Duration::from_secs(60)).runtime(AsyncStd).build()?;
/// # Ok::<(), fleeting::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStd;

impl Spawner for AsyncStd {
    fn spawn(&self, task: Task) {
        async_std::task::spawn(task);
    }
}

impl Timer for AsyncStd {
    fn sleep_until(&self, deadline: Instant) -> Task {
        let clock = *self;
        Box::pin(async move {
            async_std::task::sleep(deadline.saturating_duration_since(clock.now())).await;
        })
    }

    fn is_system_clock(&self) -> bool {
        true
    }
}
