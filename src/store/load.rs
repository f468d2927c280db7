//! The bound on the weight of the whole cache, where entries have weights.

use crate::sync::{AtomicU64, Ordering};

/// The most weight, and how much of it is taken: by entries, and by writers for what they are about to
/// store. So what is held is never more than what is taken, and that never more than the bound.
pub(super) struct Load {
    most: u64,
    taken: AtomicU64,
}

impl Load {
    pub(super) fn new(max_weight: Option<u64>) -> Self {
        // A sum that is no number any more is a bound too.
        Self { most: max_weight.unwrap_or(u64::MAX), taken: AtomicU64::new(0) }
    }

    pub(super) fn most(&self) -> u64 {
        self.most
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes this much, if there is so much left.
    pub(super) fn reserve(&self, weight: u64) -> bool {
        let grow = |taken: u64| taken.checked_add(weight).filter(|taken| *taken <= self.most);
        weight == 0 || self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, grow).is_ok()
    }

    /// Gives this much back.
    pub(super) fn release(&self, weight: u64) {
        if weight > 0 {
            self.taken.fetch_sub(weight, Ordering::AcqRel);
        }
    }
}
