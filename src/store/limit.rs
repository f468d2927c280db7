//! Limit: a number that may be changed while it bounds something; callers see the new one once it holds.

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// A limit, and what callers see of it.
pub(super) struct Limit {
    current: AtomicU64,
    /// Lags behind while what is too much goes, and never is below the limit.
    published: AtomicU64,
    /// How often it was changed.
    changes: Mutex<u64>,
}

/// Names a change of a limit.
#[derive(Clone, Copy)]
pub(super) struct Change(u64);

impl Limit {
    pub(super) const fn new(limit: u64) -> Self {
        Self {
            current: AtomicU64::new(limit),
            published: AtomicU64::new(limit),
            changes: Mutex::new(0),
        }
    }

    #[inline]
    pub(super) fn current(&self) -> u64 {
        self.current.load(Ordering::Acquire)
    }

    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Keeps others from changing it.
    pub(super) fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock()
    }

    /// Begins a change. Whoever reads the limit from now on reads the new one; who has done so before may still
    /// fill up to the old one, under a shard's lock.
    pub(super) fn set(&self, limit: u64, changes: &mut MutexGuard<'_, u64>) -> Change {
        // First: more than callers can see must not be stored.
        self.published.fetch_max(limit, Ordering::AcqRel);
        self.current.store(limit, Ordering::Release);
        **changes += 1;
        Change(**changes)
    }

    /// Publishes the limit, which holds now. Not if it was changed again: then that change does so.
    pub(super) fn publish(&self, change: Change) {
        let changes = self.changes.lock();
        if *changes == change.0 {
            self.published.store(self.current(), Ordering::Release);
        }
    }
}
