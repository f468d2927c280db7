//! The bound on the weight of the whole cache, where entries have weights.

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

use super::limit::{Change, Limit};

/// The most weight, and how much of it is taken: by entries, and by writers for what they are about to
/// store. So what is held is never more than what is taken, and that never more than the bound.
pub(super) struct Load {
    limit: Limit,
    taken: AtomicU64,
    /// Held by who gathers weight from several shards. Whoever else is to do so gives back what it holds
    /// and waits: so one of them always comes to its end, however much the others write.
    turn: Mutex<()>,
}

/// A sum that is no number any more is a bound too.
const UNBOUNDED: u64 = u64::MAX;

impl Load {
    pub(super) fn new(max_weight: Option<u64>) -> Self {
        Self {
            limit: Limit::new(max_weight.unwrap_or(UNBOUNDED)),
            taken: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }

    pub(super) fn max_weight(&self) -> Option<u64> {
        Some(self.limit.published()).filter(|limit| *limit != UNBOUNDED)
    }

    pub(super) fn change(&self, max_weight: u64) -> Change {
        self.limit.set(max_weight, &mut self.limit.changes())
    }

    pub(super) fn publish(&self, change: Change) {
        self.limit.publish(change);
    }

    /// How much is to go until the limit holds.
    pub(super) fn excess(&self) -> u64 {
        self.taken().saturating_sub(self.limit.current())
    }

    /// Whether nothing at all may be stored, be it as light as can be.
    pub(super) fn is_zero(&self) -> bool {
        self.limit.current() == 0
    }

    /// Not for use under a shard's lock: shards are locked by who has the turn.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    pub(super) fn try_turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.turn.try_lock()
    }

    pub(super) fn most(&self) -> u64 {
        self.limit.current()
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes this much, if there is so much left.
    pub(super) fn reserve(&self, weight: u64) -> bool {
        let most = self.most();
        let grow = |taken: u64| taken.checked_add(weight).filter(|taken| *taken <= most);
        weight == 0 || self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, grow).is_ok()
    }

    /// Gives this much back.
    pub(super) fn release(&self, weight: u64) {
        if weight > 0 {
            self.taken.fetch_sub(weight, Ordering::AcqRel);
        }
    }
}
