//! Room: where a new entry goes, without a bound ever being exceeded.

use hashbrown::Equivalent;

use crate::clock::{Reading, Tick};
use crate::listener::RemovalCause;
use crate::sync::MutexGuard;

use super::arrivals::Token;
use super::bound::Place;
use super::entry::{Item, Removed, Stamp};
use super::leftovers::Leftovers;
use super::load::Load;
use super::shard::{Lack, Old, Put, Shard};
use super::{BATCH, KeyHash, Store};

/// What a writer holds for the entry that it is about to store. What is left of it is given back.
pub(super) struct Room<'a> {
    place: Option<Place<'a>>,
    load: Option<&'a Load>,
    weight: u64,
    /// What was needed when it lacked.
    need: Need,
    /// Held by one of those who lack room, which keeps what it has until it has enough.
    turn: Option<MutexGuard<'a, ()>>,
}

/// What is needed of a room.
#[derive(Clone, Copy)]
struct Need {
    /// The entry whose value is to be replaced: it is not to be evicted.
    spared: Option<Token>,
    /// Not where a value is to be replaced.
    takes_place: bool,
    weight: u64,
}

impl Need {
    /// In another shard than where it lacked.
    fn elsewhere(self) -> Self {
        Self { spared: None, ..self }
    }
}

impl Room<'_> {
    #[cold]
    fn release(&self) {
        if let Some(load) = self.load {
            load.release(self.weight);
        }
    }

    /// Holds nothing any more.
    fn give_back(&mut self) {
        self.release();
        (self.place, self.weight) = (None, 0);
    }

    fn is_enough(&self, need: Need) -> bool {
        self.weight >= need.weight && (self.place.is_some() || !need.takes_place)
    }
}

impl Drop for Room<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.weight > 0 {
            self.release();
        }
    }
}

impl<K, V, F> Store<K, V, F> {
    /// Nothing so far.
    #[inline]
    pub(super) fn room(&self) -> Room<'_> {
        let need = Need { spared: None, takes_place: true, weight: 0 };
        Room { place: None, load: self.load.as_ref(), weight: 0, need, turn: None }
    }

    /// Gives back what `count` entries took that were removed from a shard, under its lock.
    #[inline]
    pub(super) fn settle(&self, shard: &mut Shard<K, V, F>, count: usize) {
        self.bound.release(count);
        if let Some(load) = &self.load {
            load.release(shard.notes.weights.take_freed());
        }
    }

    /// The share of cleaning that each write does.
    #[inline]
    pub(super) fn tidy(
        &self,
        shard: &mut Shard<K, V, F>,
        now: Tick,
        removed: &mut Leftovers<K, V>,
    ) {
        let count = shard.tidy(now, removed);
        if count > 0 {
            self.settle(shard, count);
        }
    }

    /// Removes what stands under a key if its time is over.
    #[inline]
    pub(super) fn remove_if_expired<Q: Equivalent<K> + ?Sized>(
        &self,
        shard: &mut Shard<K, V, F>,
        hash: KeyHash,
        key: &Q,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) {
        let count = usize::from(shard.remove_expired(hash, key, now, removed));
        self.settle(shard, count);
    }

    /// Whether entries have weights.
    #[inline]
    pub(super) fn is_weighed(&self) -> bool {
        self.load.is_some()
    }

    /// Stores a value in its shard, given the room that is in hand.
    #[inline]
    pub(super) fn put<'a>(
        &'a self,
        shard: &mut Shard<K, V, F>,
        item: &mut Item<K, V>,
        stamp: Stamp,
        now: &Reading<'_>,
        room: &mut Room<'a>,
        removed: &mut Leftovers<K, V>,
    ) -> Put<V>
    where
        K: Eq,
    {
        if self.is_weighed() {
            let put = self.put_weighed(shard, item, stamp, now, room, removed);
            self.let_go_of_uncounted(room);
            return put;
        }
        self.put_plain(shard, item, stamp, now, room.place.take(), removed)
    }

    /// The same, where the TTL may be zero: then a value is not stored if others are kept past theirs.
    #[inline]
    pub(super) fn put_if_it_lives<'a>(
        &'a self,
        shard: &mut Shard<K, V, F>,
        item: &mut Item<K, V>,
        stamp: Stamp,
        now: &Reading<'_>,
        room: &mut Room<'a>,
        removed: &mut Leftovers<K, V>,
    ) -> Put<V>
    where
        K: Eq,
    {
        if !self.is_weighed() && self.is_void(stamp.deadline, now) {
            return self.put_void(shard, item, now, removed);
        }
        self.put(shard, item, stamp, now, room, removed)
    }

    /// Stores a value that has no weight, given the place that is in hand.
    #[inline(always)]
    pub(super) fn put_plain<'a>(
        &'a self,
        shard: &mut Shard<K, V, F>,
        item: &mut Item<K, V>,
        stamp: Stamp,
        now: &Reading<'_>,
        place: Option<Place<'a>>,
        removed: &mut Leftovers<K, V>,
    ) -> Put<V>
    where
        K: Eq,
    {
        let place = place.or_else(|| self.room_of_expired(shard, now.tick(), removed));
        let place = || place.or_else(|| self.bound.reserve());
        shard.put(item, stamp, now, place, &self.bound, removed)
    }

    /// Does not store a value whose TTL is zero; what it was to replace is removed.
    #[cold]
    #[inline(never)]
    fn put_void(
        &self,
        shard: &mut Shard<K, V, F>,
        item: &mut Item<K, V>,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) -> Put<V>
    where
        K: Eq,
    {
        self.remove_if_expired(shard, item.hash, item.key(), now, removed);
        let put = self.vacate(shard, item, now, removed);
        shard.pass_by(item, removed);
        put
    }

    /// The place of an entry of this shard whose time is over, if the cache is full and there is one.
    #[inline]
    fn room_of_expired(
        &self,
        shard: &mut Shard<K, V, F>,
        now: Tick,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Place<'_>> {
        let expired = self.bound.is_reached() && shard.expire_any(now, removed);
        expired.then(|| self.bound.vacated())
    }

    /// Makes room where it lacks, under no lock.
    #[cold]
    pub(super) fn make_room<'a>(
        &'a self,
        lack: Lack,
        hash: KeyHash,
        room: &mut Room<'a>,
        removed: &mut Leftovers<K, V>,
    ) {
        match lack {
            // What was evicted goes when the room was used: its destructors and the listener may write to
            // this cache, and would wait for ever for what is held here.
            Lack::Here => {}
            Lack::Elsewhere => self.room_elsewhere(hash, room, removed),
        }
    }

    /// Takes room from other shards than that of `hash`, which has nothing to give.
    fn room_elsewhere<'a>(
        &'a self,
        hash: KeyHash,
        room: &mut Room<'a>,
        removed: &mut Leftovers<K, V>,
    ) {
        if let Some(load) = self.load.as_ref().filter(|_| room.turn.is_none()) {
            room.turn = load.try_turn();
            if room.turn.is_none() {
                // What is held here may be just what another lacks, who keeps what it has.
                room.give_back();
                room.turn = Some(load.turn());
            }
        }
        let (later, earlier) = (self.index(hash) + 1..self.shards.len(), 0..self.index(hash));
        for index in later.chain(earlier) {
            let mut shard = self.shards[index].0.write();
            let now = self.clock.exact_reading();
            let has_room = match &self.load {
                Some(load) => {
                    let need = room.need.elsewhere();
                    let is_enough =
                        self.gather(load, &mut shard, need, &now, room, removed).is_ok();
                    self.let_go_of_uncounted(room);
                    is_enough
                }
                None => self.take_place(&mut shard, &now, room, removed),
            };
            if has_room {
                return;
            }
        }
        // All is in the hands of other threads, between one shard and another, or in the shard that is to
        // be looked at next.
        std::thread::yield_now();
    }

    /// Lets go of a place that is not counted, under a shard's lock: when the lock is free, a bound may
    /// begin, which counts places.
    fn let_go_of_uncounted(&self, room: &mut Room<'_>) {
        if self.bound.taken().is_none() {
            room.place = None;
        }
    }

    /// Takes the place of another entry; false if there is none.
    fn take_place<'a>(
        &'a self,
        shard: &mut Shard<K, V, F>,
        now: &Reading<'_>,
        room: &mut Room<'a>,
        removed: &mut Leftovers<K, V>,
    ) -> bool {
        room.place = self.bound.reserve().or_else(|| {
            let vacated = shard.expire_any(now.tick(), removed) || shard.evict_any(now, removed);
            vacated.then(|| self.bound.vacated())
        });
        room.place.is_some()
    }
}

/// Where entries have weights.
impl<K, V, F> Store<K, V, F> {
    fn put_weighed<'a>(
        &'a self,
        shard: &mut Shard<K, V, F>,
        item: &mut Item<K, V>,
        stamp: Stamp,
        now: &Reading<'_>,
        room: &mut Room<'a>,
        removed: &mut Leftovers<K, V>,
    ) -> Put<V>
    where
        K: Eq,
    {
        let load = self.load.as_ref().expect("entries have weights");
        if shard.remove_expired(item.hash, item.key(), now, removed) {
            room.place = Some(self.bound.vacated());
            room.weight += shard.notes.weights.take_freed();
        }
        if stamp.weight > load.most() || load.is_zero() {
            let put = self.vacate(shard, item, now, removed);
            shard.turn_away(item, removed);
            return put;
        }
        if stamp.deadline <= now.tick() {
            // Its TTL is zero: nothing is evicted for it.
            let put = self.vacate(shard, item, now, removed);
            shard.pass_by(item, removed);
            return put;
        }
        let present = shard.find(item.hash, item.key()).map(|entry| entry.token);
        let held = present.map_or(0, |token| shard.notes.weights.of(token));
        let (takes_place, weight) = (present.is_none(), stamp.weight.saturating_sub(held));
        let need = Need { spared: present, takes_place, weight };
        if let Err(lack) = self.gather(load, shard, need, now, room, removed) {
            room.need = need;
            return Put::Lacking(lack);
        }
        let put = shard.put(item, stamp, now, || room.place.take(), &self.bound, removed);
        room.weight -= need.weight;
        self.settle(shard, 0);
        put
    }

    /// Evicts entries of this shard until the room is enough.
    fn gather<'a>(
        &'a self,
        load: &Load,
        shard: &mut Shard<K, V, F>,
        need: Need,
        now: &Reading<'_>,
        room: &mut Room<'a>,
        removed: &mut Leftovers<K, V>,
    ) -> Result<(), Lack> {
        for _ in 0..BATCH {
            if room.place.is_none() && need.takes_place {
                room.place = self.bound.reserve();
            }
            let lack = need.weight.saturating_sub(room.weight);
            if load.reserve(lack) {
                room.weight += lack;
            }
            if room.is_enough(need) {
                return Ok(());
            }
            let is_removed = shard.expire_any(now.tick(), removed)
                || shard.evict_beside(need.spared, now, removed);
            if !is_removed {
                return Err(Lack::Elsewhere);
            }
            // The place of a second one is given back.
            room.place = Some(self.bound.vacated());
            room.weight += shard.notes.weights.take_freed();
        }
        Err(Lack::Here)
    }

    /// Removes what an item was to replace that is not stored: it is not the value of the key any more.
    fn vacate(
        &self,
        shard: &mut Shard<K, V, F>,
        item: &Item<K, V>,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) -> Put<V>
    where
        K: Eq,
    {
        let present = shard.remove(item.hash, item.key());
        self.settle(shard, usize::from(present.is_some()));
        let Some(Removed { key, value, deadline, .. }) = present else { return Put::Stored };
        let was_fresh = !now.has_passed(deadline);
        let old = if was_fresh && !removed.are_told() {
            removed.key(key);
            Some(value)
        } else {
            let cause = if was_fresh { RemovalCause::Replaced } else { RemovalCause::Expired };
            removed.entry(key, value, cause);
            None
        };
        Put::Replaced(Old(old))
    }
}
