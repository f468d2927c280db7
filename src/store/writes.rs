//! Writes: what stores and removes, and how it keeps the bound. Each fences off the flight of its key.

use hashbrown::Equivalent;

use crate::clock::{Reading, Tick};
use crate::expiry::Ttl;
use crate::listener::RemovalCause;
use crate::rules::Lease;

use super::entry::{Entry, Item, Removed, Stamp, Version};
use super::leftovers::Leftovers;
use super::removals::Watch;
use super::shard::{Old, Put, Shard};
use super::{Handle, KeyHash, Store};

impl<K: Eq, V, F> Store<K, V, F> {
    /// Stores a value. Returns the fresh one it replaced, unless a listener gets that; and when the sweeper
    /// is needed.
    #[inline]
    pub(crate) fn insert(
        &self,
        hash: KeyHash,
        key: K,
        value: V,
        lease: Lease,
        removed: &mut Leftovers<K, V>,
    ) -> (Option<V>, Tick) {
        let mut item = Item::new(hash, key, value);
        if !self.is_weighed() && !lease.keeps_ttl {
            if let Some(stored) = self.insert_at_once(&mut item, lease.ttl, removed) {
                return stored;
            }
        }
        self.insert_with_room(&mut item, lease, removed, |_, _, _| None)
    }

    /// The same for where a listener gets the value that was replaced: returns a copy of it.
    #[cold]
    pub(crate) fn insert_told(
        &self,
        hash: KeyHash,
        key: K,
        value: V,
        lease: Lease,
        removed: &mut Leftovers<K, V>,
    ) -> (Option<V>, Tick)
    where
        V: Clone,
    {
        let mut item = Item::new(hash, key, value);
        self.insert_with_room(&mut item, lease, removed, |shard, item, now| {
            shard.copy_of(hash, item.key(), now)
        })
    }

    /// Stores a value that has no weight, if there is a place for it in its shard. Mostly there is.
    #[inline(always)]
    fn insert_at_once(
        &self,
        item: &mut Item<K, V>,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
    ) -> Option<(Option<V>, Tick)> {
        let mut shard = self.shard(item.hash).write();
        let life = self.life(&mut shard, ttl);
        // As part of what the reading depends on, this costs nothing where the TTL is long.
        if !life.is_long() && life.is_zero() {
            return None;
        }
        let now = self.reading_for(&shard, life);
        let deadline = life.deadline(now.tick());
        self.tidy(&mut shard, now.tick(), removed);
        shard.flights.fence(item.hash, item.key(), removed);
        match self.put_plain(&mut shard, item, Stamp::new(deadline, 0), &now, None, removed) {
            Put::Stored => Some((None, self.lapse(deadline))),
            Put::Replaced(Old(old)) => Some((old, self.lapse(deadline))),
            Put::Lacking(_) => None,
        }
    }

    /// Stores a value, and makes room for it. Returns what it replaced, or the copy of that.
    #[cold]
    fn insert_with_room(
        &self,
        item: &mut Item<K, V>,
        lease: Lease,
        removed: &mut Leftovers<K, V>,
        copy: impl Fn(&Shard<K, V, F>, &Item<K, V>, &Reading<'_>) -> Option<V>,
    ) -> (Option<V>, Tick) {
        let (hash, Lease { ttl, weight, keeps_ttl }, mut room) = (item.hash, lease, self.room());
        loop {
            // Declared first, so dropped last: under no lock.
            let copied;
            let mut shard = self.shard(hash).write();
            let life = self.life(&mut shard, ttl);
            let now = self.reading_to_tell(&shard, life, removed);
            copied = copy(&shard, item, &now);
            let kept = self.kept(keeps_ttl, &mut shard, hash, item.key(), &now);
            let deadline = kept.unwrap_or_else(|| life.deadline(now.tick()));
            self.tidy(&mut shard, now.tick(), removed);
            shard.flights.fence(hash, item.key(), removed);
            let stamp = Stamp::new(deadline, weight);
            let lack = match self.put_if_it_lives(&mut shard, item, stamp, &now, &mut room, removed)
            {
                Put::Stored => return (None, self.lapse(deadline)),
                Put::Replaced(Old(old)) => return (old.or(copied), self.lapse(deadline)),
                Put::Lacking(lack) => lack,
            };
            drop(shard);
            // Not here: its destructor is the user's, and a room is held.
            if let Some(copied) = copied {
                removed.value(copied);
            }
            self.make_room(lack, hash, &mut room, removed);
        }
    }

    /// The deadline that a value keeps, if it is to keep one and there is one.
    #[inline]
    pub(super) fn kept<Q: Equivalent<K> + ?Sized>(
        &self,
        keeps_ttl: bool,
        shard: &mut Shard<K, V, F>,
        hash: KeyHash,
        key: &Q,
        now: &Reading<'_>,
    ) -> Option<Tick> {
        if keeps_ttl { self.kept_deadline(shard, hash, key, now) } else { None }
    }

    /// The time for a write of something that lives for `ttl`: exact where a listener is told why what is
    /// there leaves.
    fn reading_to_tell(
        &self,
        shard: &Shard<K, V, F>,
        ttl: Ttl,
        removed: &Leftovers<K, V>,
    ) -> Reading<'_> {
        if removed.are_told() { self.clock.exact_reading() } else { self.reading_for(shard, ttl) }
    }

    /// Overwrites a value, and returns it if it was fresh. If there is none, gives the new one back. Not
    /// where entries have weights, or where there is a listener, which is to get a key.
    pub(crate) fn overwrite<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        value: V,
        Lease { ttl, keeps_ttl, .. }: Lease,
        removed: &mut Leftovers<K, V>,
    ) -> Result<(Option<V>, Tick), V> {
        // Taken only when the key is found: if the user's `Eq` panics, it is dropped under no lock.
        let mut value = Some(value);
        let mut shard = self.shard(hash).write();
        let life = self.life(&mut shard, ttl);
        let now = self.reading_for(&shard, life);
        let kept = self.kept(keeps_ttl, &mut shard, hash, key, &now);
        let deadline = kept.unwrap_or_else(|| life.deadline(now.tick()));
        self.tidy(&mut shard, now.tick(), removed);
        // First, because it asks the user's `Eq`: what was replaced would be dropped under the lock.
        shard.flights.fence(hash, key, removed);
        if self.is_void(deadline, &now) {
            // It is not kept, and another call finds out how to leave it: with an owned key.
            return Err(value.take().expect("it was not stored"));
        }
        match shard.replace(hash, key, &mut value, Stamp::new(deadline, 0), &now, removed) {
            Some(Old(old)) => Ok((old, self.lapse(deadline))),
            None => Err(value.take().expect("it was not stored")),
        }
    }

    /// Stores an item unless there is a fresh value, which it returns a copy of; then the item is left.
    pub(crate) fn insert_if_absent(
        &self,
        item: &mut Item<K, V>,
        lease: Lease,
        removed: &mut Leftovers<K, V>,
    ) -> Result<Tick, V>
    where
        V: Clone,
    {
        self.insert_unless(item, lease, removed, |shard, item, now| {
            let entry = shard.find_fresh(item.hash, item.key(), now)?;
            self.note_use(shard, entry);
            let (value, token) = (entry.value.clone(), entry.token);
            shard.promote(item.hash, token);
            Some(value)
        })
    }

    /// Stores an item in place of the value of this version, if it is still there and fresh; or if there is
    /// no version, where nothing fresh is. Else the item is left.
    pub(crate) fn insert_over(
        &self,
        item: &mut Item<K, V>,
        version: Option<Version>,
        lease: Lease,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Tick> {
        let stored = self.insert_unless(item, lease, removed, |shard, item, now| {
            let present = shard.find_fresh(item.hash, item.key(), now);
            (present.map(Entry::version) != version).then_some(())
        });
        stored.ok()
    }

    /// Stores an item that nobody asked for: not in place of what is there or is being computed, which may
    /// be newer, and not if anything was removed since the watch began. Else the item is left.
    pub(crate) fn insert_extra(
        &self,
        item: &mut Item<K, V>,
        lease: Lease,
        watch: &Watch,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Tick>
    where
        F: Handle,
    {
        let stored = self.insert_unless(item, lease, removed, |shard, item, now| {
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
        lease: Lease,
        removed: &mut Leftovers<K, V>,
        refuse: impl Fn(&mut Shard<K, V, F>, &Item<K, V>, &Reading<'_>) -> Option<R>,
    ) -> Result<Tick, R> {
        let (hash, Lease { ttl, weight, keeps_ttl }, mut room) = (item.hash, lease, self.room());
        loop {
            let mut shard = self.shard(hash).write();
            let life = self.life(&mut shard, ttl);
            let now = self.reading_for(&shard, life);
            if let Some(refusal) = refuse(&mut shard, item, &now) {
                return Err(refusal);
            }
            let kept = self.kept(keeps_ttl, &mut shard, hash, item.key(), &now);
            let deadline = kept.unwrap_or_else(|| life.deadline(now.tick()));
            self.tidy(&mut shard, now.tick(), removed);
            shard.flights.fence(hash, item.key(), removed);
            let stamp = Stamp::new(deadline, weight);
            let lack = match self.put_if_it_lives(&mut shard, item, stamp, &now, &mut room, removed)
            {
                Put::Lacking(lack) => lack,
                stored => {
                    stored.leave(removed);
                    return Ok(self.lapse(deadline));
                }
            };
            drop(shard);
            self.make_room(lack, hash, &mut room, removed);
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
        self.remove_if_expired(&mut shard, hash, key, &now, removed);
        if let Some(entry) = shard.remove(hash, key) {
            self.settle(&mut shard, 1);
            removed.entry(entry.key, entry.value, RemovalCause::Expired);
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
        self.tidy(&mut shard, now.tick(), removed);
        if self.grace > 0 && ttl.is_zero() {
            let token = shard.find_fresh(hash, key, &now)?.token;
            shard.expire(token, removed);
            self.settle(&mut shard, 1);
            return Some(now.tick());
        }
        let deadline = shard.set_ttl(hash, key, ttl, &now)?;
        Some(self.lapse(deadline))
    }

    /// Stores a value in place of that of this version, if it is still there and fresh. Else gives the new
    /// one back. Not where entries have weights, or where there is a listener, which is to get a key.
    pub(crate) fn replace_version<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        version: Version,
        value: V,
        Lease { ttl, keeps_ttl, .. }: Lease,
        removed: &mut Leftovers<K, V>,
    ) -> Result<Tick, V> {
        let mut value = Some(value);
        let mut shard = self.shard(hash).write();
        let life = self.life(&mut shard, ttl);
        let now = self.reading_for(&shard, life);
        let kept = self.kept(keeps_ttl, &mut shard, hash, key, &now);
        let deadline = kept.unwrap_or_else(|| life.deadline(now.tick()));
        self.tidy(&mut shard, now.tick(), removed);
        let present = shard.find(hash, key).filter(|entry| entry.version() == version);
        if present.is_some_and(|entry| !now.has_passed(entry.deadline())) {
            shard.flights.fence(hash, key, removed);
            if self.is_void(deadline, &now) {
                self.replace_by_void(&mut shard, hash, key, removed);
                return Ok(deadline);
            }
            let old = shard.replace(hash, key, &mut value, Stamp::new(deadline, 0), &now, removed);
            old.and_then(|Old(old)| old).into_iter().for_each(|old| removed.value(old));
        }
        value.map_or(Ok(self.lapse(deadline)), Err)
    }

    /// Removes an entry whose value is replaced by one that is not kept, as its TTL is zero.
    #[cold]
    fn replace_by_void<Q: Equivalent<K> + ?Sized>(
        &self,
        shard: &mut Shard<K, V, F>,
        hash: KeyHash,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) {
        shard.stats.inserts += 1;
        shard.stats.expirations += 1;
        let Some(old) = shard.remove(hash, key) else { return };
        self.settle(shard, 1);
        removed.entry(old.key, old.value, RemovalCause::Replaced);
    }

    /// Removes the entry and returns it, if it is fresh. Not where there is a listener.
    pub(crate) fn remove<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) -> Option<(K, V)> {
        let read = |shard: &_| self.reading_for(shard, Ttl::ENDLESS);
        self.remove_at(hash, key, read, removed, |entry, _| (entry.key, entry.value))
    }

    /// Removes the entry, which the listener gets, and returns a copy of its value, if it is fresh.
    pub(crate) fn remove_told<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) -> Option<V>
    where
        V: Clone,
    {
        let mut copy = None;
        let read = |shard: &Shard<K, V, F>| {
            let now = self.clock.exact_reading();
            copy = shard.copy_of(hash, key, &now);
            now
        };
        self.remove_at(hash, key, read, removed, |entry, removed| {
            removed.entry(entry.key, entry.value, RemovalCause::Removed);
        })?;
        copy
    }

    /// Removes the entry and hands it to `take` under the lock, if it is fresh at a time that is read there.
    #[inline]
    fn remove_at<'a, Q: Equivalent<K> + ?Sized, R>(
        &'a self,
        hash: KeyHash,
        key: &Q,
        read: impl FnOnce(&Shard<K, V, F>) -> Reading<'a>,
        removed: &mut Leftovers<K, V>,
        take: impl FnOnce(Removed<K, V>, &mut Leftovers<K, V>) -> R,
    ) -> Option<R> {
        let mut shard = self.shard(hash).write();
        let now = read(&shard);
        self.removals.note();
        self.tidy(&mut shard, now.tick(), removed);
        shard.flights.fence(hash, key, removed);
        if shard.remove_expired(hash, key, &now, removed) {
            self.settle(&mut shard, 1);
            return None;
        }
        let entry = shard.remove(hash, key)?;
        self.settle(&mut shard, 1);
        if now.has_passed(entry.deadline) {
            removed.entry(entry.key, entry.value, RemovalCause::Expired);
            return None;
        }
        Some(take(entry, removed))
    }
}

impl<K, V, F> Shard<K, V, F> {
    /// A copy of the fresh value, for the caller who takes its place where a listener gets the value. If
    /// the user's `clone` panics, nothing has happened yet.
    fn copy_of<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        now: &Reading<'_>,
    ) -> Option<V>
    where
        V: Clone,
    {
        self.find_fresh(hash, key, now).map(|entry| entry.value.clone())
    }
}
