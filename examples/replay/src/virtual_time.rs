//! Virtual time: a clock that a replay moves from one timestamp of its trace to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fleeting::runtime::{Spawner, Task, Timer};
use futures::executor::block_on;

use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::progress;
use crate::service::{Cached, Service};
use crate::stream::Stream;

/// After how many requests the terminal is told.
const TURN: usize = 1 << 12;

/// A clock that stands still until it is moved.
///
/// As a runtime it runs nothing: what has expired is freed by the replay, whenever it moves the
/// clock.
#[derive(Clone, Debug)]
pub(crate) struct VirtualClock {
    origin: Instant,
    /// Nanoseconds since the origin.
    elapsed: Arc<AtomicU64>,
}

impl VirtualClock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), elapsed: Arc::default() }
    }

    /// Moves the clock to so long after its origin; false if it is there already, or further.
    pub(crate) fn move_to(&self, elapsed: Duration) -> bool {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.elapsed.fetch_max(nanos, Ordering::Relaxed) < nanos
    }
}

impl Spawner for VirtualClock {
    fn spawn(&self, task: Task) {
        drop(task);
    }
}

impl Timer for VirtualClock {
    fn now(&self) -> Instant {
        self.origin + Duration::from_nanos(self.elapsed.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, _deadline: Instant) -> Task {
        Box::pin(futures::future::pending())
    }
}

/// Sends the requests one after the other, each at its own time. Returns how many.
///
/// A request with an earlier time than the one before, as access logs have, is sent at once.
pub(crate) fn replay(
    clock: &VirtualClock,
    stream: &Stream,
    service: &Cached,
    interrupt: &Interrupt,
) -> Result<u64, Failure> {
    let bar = progress::bar("replaying", stream.len());
    let begin = stream.iter().next().and_then(|request| request.at).unwrap_or_default();
    let mut sent = 0;
    for (position, request) in stream.iter().enumerate() {
        if position % TURN == 0 {
            bar.set(position);
        }
        if interrupt.is_raised() {
            break;
        }
        if clock.move_to(request.at.unwrap_or_default().saturating_sub(begin)) {
            service.clean_up();
        }
        let (row, _) = block_on(service.answer(request))?;
        if !row.belongs_to(request.key) {
            return Err(Failure::WrongRow { asked: stream.key(request.key).to_string() });
        }
        sent += 1;
    }
    Ok(sent)
}
