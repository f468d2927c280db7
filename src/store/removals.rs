//! Removals: counted while a compute is under way that may bring values nobody asked for.
//!
//! Such a value belongs to no flight that a write could fence off: so it is not stored if anything was
//! removed meanwhile.

use crate::sync::{Arc, AtomicU64, AtomicUsize, Ordering};

#[derive(Default)]
pub(super) struct Removals {
    watches: AtomicUsize,
    count: AtomicU64,
}

impl Removals {
    /// Notes that something is removed: under the lock of its shard.
    #[inline]
    pub(super) fn note(&self) {
        // Written only while somebody looks: else every removal would write to one line.
        if self.watches.load(Ordering::SeqCst) > 0 {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(super) fn watch(self: &Arc<Self>) -> Watch {
        self.watches.fetch_add(1, Ordering::SeqCst);
        Watch { since: self.count.load(Ordering::SeqCst), removals: Arc::clone(self) }
    }
}

/// Tells whether anything was removed since it began.
pub(crate) struct Watch {
    removals: Arc<Removals>,
    since: u64,
}

impl Watch {
    pub(super) fn is_undisturbed(&self) -> bool {
        self.removals.count.load(Ordering::SeqCst) == self.since
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.removals.watches.fetch_sub(1, Ordering::SeqCst);
    }
}
