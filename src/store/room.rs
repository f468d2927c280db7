//! Room: where a new entry goes, without the bound ever being exceeded.

use crate::clock::Tick;

use super::Store;
use super::bound::Place;
use super::leftovers::Leftovers;
use super::shard::Shard;

/// Where a new entry goes.
pub(super) enum Room<'a> {
    Place(Place<'a>),
    /// Nowhere: its time is over before it is stored, and no living entry makes way for it.
    None,
}

impl Room<'_> {
    pub(super) fn take_up<K, V, F>(
        self,
        shard: &mut Shard<K, V, F>,
        (hash, key, value, deadline): (u64, K, V, Tick),
        removed: &mut Leftovers<K, V>,
    ) {
        match self {
            Self::Place(place) => {
                shard.add(hash, key, value, deadline);
                place.used();
            }
            Self::None => shard.pass_by(key, value, removed),
        }
    }
}

impl<K, V, F> Store<K, V, F> {
    /// Room in this shard for an entry with this deadline, given the place that is in hand.
    pub(super) fn room_for<'a>(
        &'a self,
        deadline: Tick,
        shard: &mut Shard<K, V, F>,
        place: Option<Place<'a>>,
        now: Tick,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Room<'a>> {
        if let Some(place) = place.or_else(|| self.bound.reserve()) {
            return Some(Room::Place(place));
        }
        if deadline <= now {
            return Some(Room::None);
        }
        shard.make_room(now, removed).then(|| Room::Place(self.bound.vacated()))
    }

    /// A place given up by another shard than that of `hash`, which has nothing to give.
    #[cold]
    pub(super) fn room_elsewhere(
        &self,
        hash: u64,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Place<'_>> {
        let (later, earlier) = (self.index(hash) + 1..self.shards.len(), 0..self.index(hash));
        for index in later.chain(earlier) {
            let mut shard = self.shards[index].0.write();
            let now = self.clock.now();
            if let Some(place) = self.bound.reserve() {
                return Some(place);
            }
            if shard.make_room(now, removed) {
                return Some(self.bound.vacated());
            }
        }
        // All places are in the hands of other threads, between one shard and another.
        std::thread::yield_now();
        None
    }
}
