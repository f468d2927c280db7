//! Resize: another bound for a cache that is in use.

use crate::panic::Postponed;

use super::bound::Change;
use super::leftovers::Leftovers;
use super::{BATCH, Store};

impl<K, V, F> Store<K, V, F> {
    /// Sets another bound, and evicts what is too much for it: a batch at a time, a share of it from each
    /// shard.
    pub(crate) fn set_max_size(&self, max_size: usize) {
        let change = self.bound.change(max_size).unwrap_or_else(|| self.begin_bound(max_size));
        let mut postponed = Postponed::default();
        let mut removed = Leftovers::new();
        // Also where nothing is too much: who holds a shard's lock may have read the old limit.
        loop {
            let evicted = (0..self.shards.len()).map(|index| {
                let evicted = self.evict_share(index, &mut removed);
                postponed.run(|| removed.clear());
                evicted
            });
            let evicted = evicted.sum::<usize>();
            if self.bound.excess() == 0 {
                break;
            }
            if evicted == 0 {
                // All places are in the hands of other threads, between one shard and another.
                std::thread::yield_now();
            }
        }
        self.bound.announce(change);
        for slot in &self.shards {
            let spent = slot.0.write().shrink();
            drop(spent);
        }
    }

    /// Counts what is there, while all shards are locked. From then on there is a bound.
    fn begin_bound(&self, max_size: usize) -> Change {
        let shards: Vec<_> = self.shards.iter().map(|slot| slot.0.write()).collect();
        self.bound.begin(max_size, shards.iter().map(|shard| shard.len()).sum())
    }

    /// Evicts one shard's share of what is too much. Returns how many that were.
    fn evict_share(&self, index: usize, removed: &mut Leftovers<K, V>) -> usize {
        let mut shard = self.shards[index].0.write();
        let due = self.bound.excess().div_ceil(self.shards.len()).min(BATCH);
        let now = self.clock.exact_reading();
        let evict =
            |_: &usize| shard.expire_any(now.tick(), removed) || shard.evict_any(&now, removed);
        let evicted = (0..due).take_while(evict).count();
        self.settle(&mut shard, evicted);
        evicted
    }
}
