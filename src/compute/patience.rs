//! Patience: how long a caller waits for a compute.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Tick};
use crate::panic::contain;
use crate::runtime::{Runtime, Task};
use crate::sync::Arc;

/// How much time a caller gives a compute.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allowance {
    Endless,
    /// So long from when it asks.
    OfCall(Duration),
    /// So long from when the compute begins.
    OfCompute(Duration),
}

impl Allowance {
    /// Without a runtime nobody would notice that the time is up.
    pub(super) fn new(
        of_call: Option<Duration>,
        of_compute: Option<Duration>,
        runtime: Option<&Arc<dyn Runtime>>,
    ) -> Self {
        match (runtime, of_call, of_compute) {
            (Some(_), Some(timeout), _) => Self::OfCall(timeout),
            (Some(_), None, Some(timeout)) => Self::OfCompute(timeout),
            _ => Self::Endless,
        }
    }

    /// Until when a compute that began then may run for this caller's sake.
    pub(super) fn limit(self, begun: Tick) -> Tick {
        match self {
            Self::Endless => Tick::NEVER,
            Self::OfCall(timeout) | Self::OfCompute(timeout) => begun.after(timeout),
        }
    }
}

/// A caller's patience with one compute, and what wakes it at the end of it.
pub(super) struct Patience {
    pub(super) deadline: Tick,
    alarm: Alarm,
}

/// Set at the first poll: the runtime is the user's code, and patience begins under a lock.
enum Alarm {
    ToSet(Arc<dyn Runtime>, Instant),
    Set(Task),
}

impl Alarm {
    fn timer(&mut self) -> &mut Task {
        if let Self::ToSet(runtime, moment) = self {
            *self = Self::Set(runtime.sleep_until(*moment));
        }
        match self {
            Self::Set(timer) => timer,
            Self::ToSet(..) => unreachable!("it has just been set"),
        }
    }
}

impl Patience {
    /// `None` if it never ends.
    pub(super) fn until(
        deadline: Tick,
        clock: &Clock,
        runtime: Option<&Arc<dyn Runtime>>,
    ) -> Option<Self> {
        let alarm = Alarm::ToSet(Arc::clone(runtime?), clock.instant(deadline)?);
        Some(Self { deadline, alarm })
    }

    /// Ready when it is at its end. Where the runtime is gone it has none.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        contain(|| self.alarm.timer().as_mut().poll(context)).unwrap_or(Poll::Pending)
    }
}
