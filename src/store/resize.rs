//! Resize: other bounds for a cache that is in use.

use crate::panic::Postponed;

use super::leftovers::Leftovers;
use super::limit::Change;
use super::load::Load;
use super::shard::Shard;
use super::{BATCH, Store};

impl<K, V, F> Store<K, V, F> {
    /// Sets another bound on the size, and evicts what is too much for it: a batch at a time, a share of it from
    /// each shard.
    pub(crate) fn set_max_size(&self, max_size: usize) {
        let change = self.bound.change(max_size).unwrap_or_else(|| self.begin_bound(max_size));
        self.evict_excess(|| self.bound.excess() as u64, |_, evicted| evicted as u64);
        self.bound.publish(change);
        self.shrink();
    }

    /// Counts what is there, while all shards are locked. From then on there is a bound.
    fn begin_bound(&self, max_size: usize) -> Change {
        let shards: Vec<_> = self.shards.iter().map(|slot| slot.0.write()).collect();
        self.bound.begin(max_size, shards.iter().map(|shard| shard.len()).sum())
    }

    /// Sets another bound on the weight; false where entries have no weights.
    pub(crate) fn set_max_weight(&self, max_weight: u64) -> bool {
        let Some(load) = &self.load else { return false };
        let change = load.change(max_weight);
        self.evict_excess(|| load.excess(), |shard, _| shard.notes.weights.freed());
        if max_weight == 0 {
            self.evict_excess(|| self.len_within(load), |_, evicted| evicted as u64);
        }
        load.publish(change);
        self.shrink();
        true
    }

    /// How many entries are to go that weigh nothing, where nothing may be stored.
    fn len_within(&self, load: &Load) -> u64 {
        if load.is_zero() { self.len() as u64 } else { 0 }
    }

    /// Evicts until there is no excess: from each shard its share. `gone` measures what an eviction of so many
    /// entries came to.
    fn evict_excess(&self, excess: impl Fn() -> u64, gone: impl Fn(&Shard<K, V, F>, usize) -> u64) {
        let mut postponed = Postponed::default();
        let mut removed = self.leftovers();
        // Also where nothing is too much: who holds a shard's lock may have read the old limit.
        loop {
            let evicted = (0..self.shards.len()).map(|index| {
                let evicted = self.evict_share(index, excess(), &gone, &mut removed);
                postponed.run(|| removed.clear());
                evicted
            });
            let evicted = evicted.sum::<usize>();
            if excess() == 0 {
                return;
            }
            if evicted == 0 {
                // All room is in the hands of other threads, between one shard and another.
                std::thread::yield_now();
            }
        }
    }

    /// Evicts one shard's share of what is too much. Returns how many entries that were.
    fn evict_share(
        &self,
        index: usize,
        excess: u64,
        gone: impl Fn(&Shard<K, V, F>, usize) -> u64,
        removed: &mut Leftovers<K, V>,
    ) -> usize {
        let mut shard = self.shards[index].0.write();
        let now = self.clock.exact_reading();
        let (due, mut evicted) = (excess.div_ceil(self.shards.len() as u64), 0);
        while gone(&shard, evicted) < due && evicted < BATCH {
            if !(shard.expire_any(now.tick(), removed) || shard.evict_any(&now, removed)) {
                break;
            }
            evicted += 1;
        }
        self.settle(&mut shard, evicted);
        evicted
    }

    fn shrink(&self) {
        for slot in &self.shards {
            let spent = slot.0.write().shrink();
            drop(spent);
        }
    }
}
