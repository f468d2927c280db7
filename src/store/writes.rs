//! Writes: what stores and removes, and how it keeps the bound. Each fences off the flight of its key.

use hashbrown::Equivalent;

use crate::clock::Tick;
use crate::expiry::Ttl;

use super::Store;
use super::leftovers::Leftovers;
use super::shard::Version;

impl<K: Eq, V, F> Store<K, V, F> {
    /// Stores a value. Returns the fresh one it replaced, and the new deadline.
    pub(crate) fn insert(
        &self,
        hash: u64,
        key: K,
        value: V,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
    ) -> (Option<V>, Tick) {
        let mut value = Some(value);
        let mut place = None;
        loop {
            let mut shard = self.shard(hash).write();
            let now = self.reading_for(&shard, ttl);
            let deadline = ttl.deadline(now.tick());
            self.bound.release(shard.tidy(now.tick(), removed));
            shard.fence(hash, &key, removed);
            match shard.replace(hash, &key, &mut value, deadline, &now) {
                Ok(old) => {
                    removed.key(key);
                    return (Some(old), deadline);
                }
                Err(Some(expired)) => {
                    shard.expire(expired, removed);
                    place = Some(self.bound.vacated());
                }
                Err(None) => {}
            }
            if let Some(room) =
                self.room_for(deadline, &mut shard, place.take(), now.tick(), removed)
            {
                let value = value.take().expect("a value is stored once");
                room.take_up(&mut shard, (hash, key, value, deadline), removed);
                return (None, deadline);
            }
            drop(shard);
            place = self.room_elsewhere(hash, removed);
        }
    }

    /// Overwrites a fresh value. If there is none, gives the new one back.
    pub(crate) fn overwrite<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        value: V,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
    ) -> Result<(V, Tick), V> {
        let mut value = Some(value);
        let mut shard = self.shard(hash).write();
        let now = self.reading_for(&shard, ttl);
        let deadline = ttl.deadline(now.tick());
        self.bound.release(shard.tidy(now.tick(), removed));
        match shard.replace(hash, key, &mut value, deadline, &now) {
            Ok(old) => {
                shard.fence(hash, key, removed);
                Ok((old, deadline))
            }
            Err(_) => Err(value.take().expect("it was not stored")),
        }
    }

    /// Stores a value unless there is a fresh one, which it returns a copy of.
    pub(crate) fn insert_if_absent(
        &self,
        hash: u64,
        key: K,
        value: V,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
    ) -> Result<Tick, V>
    where
        V: Clone,
    {
        let mut place = None;
        loop {
            let mut shard = self.shard(hash).write();
            let now = self.reading_for(&shard, ttl);
            if let Some(entry) =
                shard.find(hash, &key).filter(|entry| !now.has_passed(entry.deadline))
            {
                return Err(entry.value.clone());
            }
            self.bound.release(shard.tidy(now.tick(), removed));
            shard.fence(hash, &key, removed);
            if shard.remove_expired(hash, &key, &now, removed) {
                place = Some(self.bound.vacated());
            }
            let deadline = ttl.deadline(now.tick());
            if let Some(room) =
                self.room_for(deadline, &mut shard, place.take(), now.tick(), removed)
            {
                room.take_up(&mut shard, (hash, key, value, deadline), removed);
                return Ok(deadline);
            }
            drop(shard);
            place = self.room_elsewhere(hash, removed);
        }
    }

    /// Removes the entry and returns it, if it is fresh.
    pub(crate) fn remove<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) -> Option<(K, V)> {
        let mut shard = self.shard(hash).write();
        let now = self.reading_for(&shard, Ttl::ENDLESS);
        self.bound.release(shard.tidy(now.tick(), removed));
        shard.fence(hash, key, removed);
        if shard.remove_expired(hash, key, &now, removed) {
            self.bound.release(1);
            return None;
        }
        let entry = shard.remove(hash, key)?;
        self.bound.release(1);
        Some((entry.key, entry.value))
    }

    /// Removes the entry if it still holds the value of this version.
    pub(crate) fn remove_version<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        version: Version,
        removed: &mut Leftovers<K, V>,
    ) -> Option<(K, V)> {
        let mut shard = self.shard(hash).write();
        let now = self.reading_for(&shard, Ttl::ENDLESS);
        self.bound.release(shard.tidy(now.tick(), removed));
        let entry = shard.find(hash, key)?;
        if entry.version != version || now.has_passed(entry.deadline) {
            return None;
        }
        shard.fence(hash, key, removed);
        let entry = shard.remove(hash, key)?;
        self.bound.release(1);
        Some((entry.key, entry.value))
    }
}
