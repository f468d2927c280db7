//! The adapter for smol.

use crate::runtime::{Instant, Spawner, Task, Timer};

/// Background work on smol's global executor.
///
/// That executor has one thread unless the environment variable `SMOL_THREADS` says otherwise.
///
/// ```
/// use std::time::Duration;
/// use fleeting::{Cache, runtime::Smol};
///
/// let cache: Cache<u32, String> =
///     Cache::builder().ttl(Duration::from_secs(60)).runtime(Smol).build()?;
/// # Ok::<(), fleeting::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Smol;

impl Spawner for Smol {
    fn spawn(&self, task: Task) {
        smol::spawn(task).detach();
    }
}

impl Timer for Smol {
    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(async move {
            smol::Timer::at(deadline).await;
        })
    }

    fn is_system_clock(&self) -> bool {
        true
    }
}
