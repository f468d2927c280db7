//! The bound on the weight of the whole cache, where entries have weights.

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// The most weight, and how much of it is taken: by entries, and by writers for what they are about to
/// store. So what is held is never more than what is taken, and that never more than the bound.
pub(super) struct Load {
    most: u64,
    taken: AtomicU64,
    /// Held by who gathers weight from several shards. Whoever else is to do so gives back what it holds
    /// and waits: so one of them always comes to its end, however much the others write.
    turn: Mutex<()>,
}

impl Load {
    pub(super) fn new(max_weight: Option<u64>) -> Self {
        // A sum that is no number any more is a bound too.
        Self {
            most: max_weight.unwrap_or(u64::MAX),
            taken: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }

    /// Not for use under a shard's lock: shards are locked by who has the turn.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    pub(super) fn try_turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.turn.try_lock()
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
