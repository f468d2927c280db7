//! Patience: how long a caller waits for a compute, and how long the compute may run for its callers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::panic::contain;
use crate::runtime::{Runtime, Task};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};

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
    timer: Task,
}

impl Patience {
    /// `None` if it never ends.
    pub(super) fn until(
        deadline: Tick,
        clock: &Clock,
        runtime: Option<&Arc<dyn Runtime>>,
    ) -> Option<Self> {
        let moment = clock.instant(deadline)?;
        let timer = runtime?.sleep_until(moment);
        Some(Self { deadline, timer })
    }

    /// Ready when it is at its end. Where the runtime is gone it has none.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timer: &mut Pin<Box<_>> = &mut self.timer;
        contain(|| timer.as_mut().poll(context)).unwrap_or(Poll::Pending)
    }
}

/// A compute's time. Each caller extends it to as long as it would have given the compute itself; what
/// takes longer is given up: nobody joins it any more, and its outcome is not stored.
pub(super) struct Term {
    pub(super) begun: Tick,
    /// Nanoseconds, as in [`Tick`].
    limit: AtomicU64,
    is_given_up: AtomicBool,
    /// Whether a task drives the compute beside its callers.
    is_driven: AtomicBool,
}

impl Term {
    #[inline]
    pub(super) fn new(begun: Tick, limit: Tick) -> Self {
        Self {
            begun,
            limit: AtomicU64::new(limit.nanos()),
            is_given_up: AtomicBool::new(false),
            is_driven: AtomicBool::new(false),
        }
    }

    pub(super) fn limit(&self) -> Tick {
        Tick::from_nanos(self.limit.load(Ordering::SeqCst))
    }

    pub(super) fn extend(&self, limit: Tick) {
        self.limit.fetch_max(limit.nanos(), Ordering::SeqCst);
    }

    /// Whether the compute can still be joined.
    pub(super) fn is_open(&self, clock: &Clock) -> bool {
        !self.is_given_up() && !clock.has_passed(self.limit())
    }

    /// Notes that a caller's time is up at `deadline`. If nobody gives the compute more, it is given up.
    pub(super) fn time_out(&self, deadline: Tick) {
        if self.limit() <= deadline {
            self.is_given_up.store(true, Ordering::SeqCst);
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::SeqCst)
    }

    /// Notes that a task drives the compute; false if one did before.
    pub(super) fn drive(&self) -> bool {
        !self.is_driven.swap(true, Ordering::SeqCst)
    }
}
