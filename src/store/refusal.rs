//! Refusal: entries and computes whose keys, or values, a caller refuses. It is asked under no lock.

use hashbrown::Equivalent;

use crate::expiry::Ttl;
use crate::listener::RemovalCause;

use super::copies::Position;
use super::leftovers::Leftovers;
use super::{BATCH, KeyHash, Store, Version};

/// Names a compute that may renew a value.
pub(crate) type Renewal = (KeyHash, u64);

impl<K: Eq, V, F> Store<K, V, F> {
    /// How many shards there are: each has flights of its own.
    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Fences off a shard's computes for keys without an entry that could be asked about: what they bring may be
    /// just what is refused. Those for keys that have one are noted in `renewals`.
    pub(crate) fn fence_absent(
        &self,
        index: usize,
        renewals: &mut Vec<Renewal>,
        removed: &mut Leftovers<K, V>,
    ) {
        let mut shard = self.shards[index].0.write();
        let now = self.clock.exact_reading();
        self.removals.note();
        let shard = &mut *shard;
        let (table, grace) = (&shard.table, shard.grace);
        let is_absent = |hash: KeyHash, key: &K| {
            let entry = table.find(hash.digest().spread(), |entry| *key == entry.key);
            entry.is_none_or(|entry| now.has_passed(entry.lapse(grace)))
        };
        shard.flights.fence_where(is_absent, removed);
        renewals.extend(shard.flights.running().map(|(_, hash, generation)| (hash, generation)));
    }

    /// Fences a compute off that was noted, if there is no entry for its key any more that could be asked about.
    pub(crate) fn fence_if_absent(
        &self,
        (hash, generation): Renewal,
        removed: &mut Leftovers<K, V>,
    ) {
        let mut shard = self.shard(hash).write();
        let now = self.clock.exact_reading();
        let Some(key) = shard.flights.key(hash, generation) else { return };
        let entry = shard.find(hash, key);
        if entry.is_none_or(|entry| now.has_passed(entry.lapse(self.grace))) {
            if let Some(flight) = shard.flights.end(hash, generation) {
                flight.leave(removed);
            }
        }
    }

    /// Fences off those of a shard's computes whose keys are refused.
    pub(crate) fn fence_refused(
        &self,
        index: usize,
        mut is_refused: impl FnMut(&K) -> bool,
        removed: &mut Leftovers<K, V>,
    ) where
        K: Clone,
    {
        // Copies are dropped under no lock, also where one of them panics.
        let mut running = Vec::new();
        {
            let shard = self.shards[index].0.write();
            self.removals.note();
            shard.flights.copy_running(&mut running);
        }
        for (key, hash, generation) in running {
            if is_refused(&key) {
                let fenced = self.shards[index].0.write().flights.end(hash, generation);
                if let Some(flight) = fenced {
                    flight.leave(removed);
                }
            }
        }
    }

    /// Copies the keys of a batch of entries. Returns where the next one begins.
    pub(crate) fn copy_keys(&self, position: Position, keys: &mut Vec<K>) -> Option<Position>
    where
        K: Clone,
    {
        let slot = self.shards.get(position.shard)?;
        let next = slot.0.read().copy_keys(position.index, BATCH, keys);
        Some(position.next(next))
    }

    /// Removes the entry, whatever its value, and fences off the compute of its key. Tells whether there was one.
    pub(crate) fn remove_any<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) -> bool {
        self.remove_where(hash, key, |_| true, removed).is_some()
    }

    /// Removes the entry if it still holds the value of this version. Tells whether it was fresh.
    pub(crate) fn remove_version<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        version: Version,
        removed: &mut Leftovers<K, V>,
    ) -> Option<bool> {
        self.remove_where(hash, key, |found| found == version, removed)
    }

    /// Removes the entry if it holds a value of such a version. Tells whether it was fresh.
    fn remove_where<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        is_meant: impl FnOnce(Version) -> bool,
        removed: &mut Leftovers<K, V>,
    ) -> Option<bool> {
        let mut shard = self.shard(hash).write();
        let now = self.reading_for(&shard, Ttl::ENDLESS);
        self.removals.note();
        self.tidy(&mut shard, now.tick(), removed);
        self.remove_if_expired(&mut shard, hash, key, &now, removed);
        let is_meant = shard.find(hash, key).map(|entry| is_meant(entry.version()));
        if is_meant == Some(false) {
            return None;
        }
        // Also where it has left by itself: a compute that renews it may bring back what is refused.
        shard.flights.fence(hash, key, removed);
        let entry = shard.remove(hash, key)?;
        self.settle(&mut shard, 1);
        let is_fresh = !now.has_passed(entry.deadline);
        let cause = if is_fresh { RemovalCause::Removed } else { RemovalCause::Expired };
        removed.entry(entry.key, entry.value, cause);
        Some(is_fresh)
    }
}
