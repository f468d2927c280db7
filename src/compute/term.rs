//! Term: how long a compute may run for the sake of those who wait for it.

use crate::clock::{Clock, Tick};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

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
