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
    /// Whether it was too slow for the last who left.
    is_deserted: AtomicBool,
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
            is_deserted: AtomicBool::new(false),
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

    /// Notes that somebody's time is up at `deadline`. If nobody gives the compute more, it is given up:
    /// returns whether it is.
    pub(super) fn time_out(&self, deadline: Tick) -> bool {
        if self.limit() <= deadline {
            self.is_given_up.store(true, Ordering::SeqCst);
        }
        self.is_given_up()
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::SeqCst)
    }

    /// Notes that a caller leaves; and whether because the compute was too slow for it.
    pub(super) fn leave(&self, is_too_slow: bool) {
        self.is_deserted.store(is_too_slow, Ordering::SeqCst);
    }

    /// Whether a compute that nobody waits for any more was too slow.
    pub(super) fn is_deserted(&self) -> bool {
        self.is_given_up() || self.is_deserted.load(Ordering::SeqCst)
    }

    /// Notes that a task drives the compute; false if one did before.
    pub(super) fn drive(&self) -> bool {
        !self.is_driven.swap(true, Ordering::SeqCst)
    }
}
