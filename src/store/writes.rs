//! Writes: what stores and removes, and how it keeps the bound. Each fences off the flight of its key.

use hashbrown::Equivalent;

use crate::clock::{Reading, Tick};
use crate::expiry::Ttl;

use super::bound::Place;
use super::entry::{Item, Stamp, Version};
use super::leftovers::Leftovers;
use super::removals::Watch;
use super::shard::{Old, Put, Shard};
use super::{Handle, KeyHash, Store};

impl<K: Eq, V, F> Store<K, V, F> {
    /// Stores a value. Returns the fresh one it replaced, and when the sweeper is needed.
    #[inline]
    pub(crate) fn insert(
        &self,
        hash: KeyHash,
        key: K,
        value: V,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
    ) -> (Option<V>, Tick) {
        let (mut item, mut place) = (Item::new(hash, key, value), None);
        loop {
            let mut shard = self.shard(hash).write();
            let life = self.life(&mut shard, ttl);
            let now = self.reading_for(&shard, life);
            let deadline = life.deadline(now.tick());
            self.bound.release(shard.tidy(now.tick(), removed));
            shard.flights.fence(hash, item.key(), removed);
            match self.put(&mut shard, &mut item, deadline.into(), &now, place.take(), removed) {
                Put::Stored => return (None, self.lapse(deadline)),
                Put::Replaced(Old(old)) => return (old, self.lapse(deadline)),
                Put::Full => {}
            }
            drop(shard);
            place = self.room_elsewhere(hash, removed);
        }
    }

    /// Overwrites a value, and returns it if it was fresh. If there is none, gives the new one back.
    pub(crate) fn overwrite<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        value: V,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
    ) -> Result<(Option<V>, Tick), V> {
        // Taken only when the key is found: if the user's `Eq` panics, it is dropped under no lock.
        let mut value = Some(value);
        let mut shard = self.shard(hash).write();
        let life = self.life(&mut shard, ttl);
        let now = self.reading_for(&shard, life);
        let deadline = life.deadline(now.tick());
        self.bound.release(shard.tidy(now.tick(), removed));
        // First, because it asks the user's `Eq`: what was replaced would be dropped under the lock.
        shard.flights.fence(hash, key, removed);
        match shard.replace(hash, key, &mut value, deadline.into(), &now, removed) {
            Some(Old(old)) => Ok((old, self.lapse(deadline))),
            None => Err(value.take().expect("it was not stored")),
        }
    }

    /// Stores an item unless there is a fresh value, which it returns a copy of; then the item is left.
    pub(crate) fn insert_if_absent(
        &self,
        item: &mut Item<K, V>,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
    ) -> Result<Tick, V>
    where
        V: Clone,
    {
        self.insert_unless(item, ttl, removed, |shard, item, now| {
            let entry = shard.find_fresh(item.hash, item.key(), now)?;
            self.note_use(shard, entry);
            Some(entry.value.clone())
        })
    }

    /// Stores an item that nobody asked for: not in place of what is there or is being computed, which may
    /// be newer, and not if anything was removed since the watch began. Else the item is left.
    pub(crate) fn insert_extra(
        &self,
        item: &mut Item<K, V>,
        ttl: Ttl,
        watch: &Watch,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Tick>
    where
        F: Handle,
    {
        let stored = self.insert_unless(item, ttl, removed, |shard, item, now| {
            let is_late = shard.find_fresh(item.hash, item.key(), now).is_some()
                || shard.flights.is_running(item.hash, item.key(), &self.clock)
                || !watch.is_undisturbed();
            is_late.then_some(())
        });
        stored.ok()
    }

    /// Stores an item unless there is a refusal, which is looked for under the shard's lock; then the item
    /// is left.
    fn insert_unless<R>(
        &self,
        item: &mut Item<K, V>,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
        refuse: impl Fn(&Shard<K, V, F>, &Item<K, V>, &Reading<'_>) -> Option<R>,
    ) -> Result<Tick, R> {
        let (hash, mut place) = (item.hash, None);
        loop {
            let mut shard = self.shard(hash).write();
            let life = self.life(&mut shard, ttl);
            let now = self.reading_for(&shard, life);
            if let Some(refusal) = refuse(&shard, item, &now) {
                return Err(refusal);
            }
            let deadline = life.deadline(now.tick());
            self.bound.release(shard.tidy(now.tick(), removed));
            shard.flights.fence(hash, item.key(), removed);
            match self.put(&mut shard, item, deadline.into(), &now, place.take(), removed) {
                stored @ (Put::Stored | Put::Replaced(_)) => {
                    stored.leave(removed);
                    return Ok(self.lapse(deadline));
                }
                Put::Full => {}
            }
            drop(shard);
            place = self.room_elsewhere(hash, removed);
        }
    }

    /// Fences off the flight of a key that has no fresh value, and removes one that could stand in; false
    /// if there is a fresh one.
    pub(crate) fn leave_absent<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) -> bool {
        let mut shard = self.shard(hash).write();
        let now = self.clock.exact_reading();
        self.removals.note();
        if shard.find_fresh(hash, key, &now).is_some() {
            return false;
        }
        shard.flights.fence(hash, key, removed);
        self.bound.release(usize::from(shard.remove_expired(hash, key, &now, removed)));
        if let Some(entry) = shard.remove(hash, key) {
            self.bound.release(1);
            removed.entry(entry.key, entry.value);
        }
        true
    }

    /// Gives a fresh value another TTL, from now on. Returns when the sweeper is needed; `None`
    /// if there is no such value.
    pub(crate) fn set_ttl<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Tick> {
        let mut shard = self.shard(hash).write();
        let now = self.clock.exact_reading();
        self.bound.release(shard.tidy(now.tick(), removed));
        let deadline = shard.set_ttl(hash, key, ttl, &now)?;
        Some(self.lapse(deadline))
    }

    /// Stores a value in place of that of this version, if it is still there and fresh. Else gives the new
    /// one back.
    pub(crate) fn replace_version<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        version: Version,
        value: V,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
    ) -> Result<Tick, V> {
        let mut value = Some(value);
        let mut shard = self.shard(hash).write();
        let life = self.life(&mut shard, ttl);
        let now = self.reading_for(&shard, life);
        let deadline = life.deadline(now.tick());
        self.bound.release(shard.tidy(now.tick(), removed));
        let present = shard.find(hash, key).filter(|entry| entry.version() == version);
        if present.is_some_and(|entry| !now.has_passed(entry.deadline())) {
            shard.flights.fence(hash, key, removed);
            let old = shard.replace(hash, key, &mut value, deadline.into(), &now, removed);
            old.and_then(|Old(old)| old).into_iter().for_each(|old| removed.value(old));
        }
        value.map_or(Ok(self.lapse(deadline)), Err)
    }

    /// Stores a value in its shard, given the place that is in hand.
    #[inline]
    pub(super) fn put<'a>(
        &'a self,
        shard: &mut Shard<K, V, F>,
        item: &mut Item<K, V>,
        stamp: Stamp,
        now: &Reading<'_>,
        place: Option<Place<'a>>,
        removed: &mut Leftovers<K, V>,
    ) -> Put<V> {
        let place = place.or_else(|| self.room_of_expired(shard, now.tick(), removed));
        let place = || place.or_else(|| self.bound.reserve());
        shard.put(item, stamp, now, place, removed)
    }

    /// Removes the entry and returns it, if it is fresh.
    pub(crate) fn remove<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) -> Option<(K, V)> {
        let mut shard = self.shard(hash).write();
        let now = self.reading_for(&shard, Ttl::ENDLESS);
        self.removals.note();
        self.bound.release(shard.tidy(now.tick(), removed));
        shard.flights.fence(hash, key, removed);
        if shard.remove_expired(hash, key, &now, removed) {
            self.bound.release(1);
            return None;
        }
        let entry = shard.remove(hash, key)?;
        self.bound.release(1);
        if now.has_passed(entry.deadline) {
            removed.entry(entry.key, entry.value);
            return None;
        }
        Some((entry.key, entry.value))
    }

    /// Removes the entry if it still holds the value of this version. Tells whether it was fresh.
    pub(crate) fn remove_version<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        version: Version,
        removed: &mut Leftovers<K, V>,
    ) -> Option<(K, V, bool)> {
        let mut shard = self.shard(hash).write();
        let now = self.reading_for(&shard, Ttl::ENDLESS);
        self.removals.note();
        self.bound.release(shard.tidy(now.tick(), removed));
        self.bound.release(usize::from(shard.remove_expired(hash, key, &now, removed)));
        shard.find(hash, key).filter(|entry| entry.version() == version)?;
        shard.flights.fence(hash, key, removed);
        let entry = shard.remove(hash, key)?;
        self.bound.release(1);
        let is_fresh = !now.has_passed(entry.deadline);
        Some((entry.key, entry.value, is_fresh))
    }
}
