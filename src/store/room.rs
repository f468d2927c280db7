//! Room: where a new entry goes, without the bound ever being exceeded.

use crate::clock::Tick;

use super::bound::Place;
use super::leftovers::Leftovers;
use super::shard::Shard;
use super::{KeyHash, Store};

impl<K, V, F> Store<K, V, F> {
    /// The place of an entry of this shard whose time is over, if the cache is full and there is one.
    #[inline]
    pub(super) fn room_of_expired(
        &self,
        shard: &mut Shard<K, V, F>,
        now: Tick,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Place<'_>> {
        let expired = self.bound.is_reached() && shard.expire_any(now, removed);
        expired.then(|| self.bound.vacated())
    }

    /// A place given up by another shard than that of `hash`, which has nothing to give.
    #[cold]
    pub(super) fn room_elsewhere(
        &self,
        hash: KeyHash,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Place<'_>> {
        let (later, earlier) = (self.index(hash) + 1..self.shards.len(), 0..self.index(hash));
        for index in later.chain(earlier) {
            let mut shard = self.shards[index].0.write();
            let now = self.clock.exact_reading();
            if let Some(place) = self.bound.reserve() {
                return Some(place);
            }
            if shard.expire_any(now.tick(), removed) || shard.evict_any(&now, removed) {
                return Some(self.bound.vacated());
            }
        }
        // All places are in the hands of other threads, between one shard and another.
        std::thread::yield_now();
        None
    }
}
