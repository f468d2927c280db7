//! Look: what a request finds, under a shard's lock for reading.

use std::time::Duration;

use hashbrown::Equivalent;

use crate::chance;
use crate::clock::Tick;
use crate::reads::Read;
use crate::sync::Reader;

use super::arrivals::Token;
use super::entry::{Entry, Version};
use super::flights::Found;
use super::leftovers::Failure;
use super::policy::Heed;
use super::shard::Shard;
use super::{Handle, KeyHash, Store};

/// What a request found.
pub(crate) enum Look<V, J> {
    Hit(V),
    /// A fresh value that is old.
    Old(V, Version),
    /// A value past its time to live that may be handed out while it is renewed; and the version to
    /// be renewed, if nobody is at it.
    Stale(V, Option<Version>),
    /// Another request's flight for the key; and the value that stands in if it fails.
    Flight(J, Option<Version>),
    /// The compute has failed lately.
    Failed(Failure, Option<Version>),
    /// Nothing; and the value that stands in if a compute fails.
    Absent(Option<Version>),
}

impl<K, V: Clone, F> Store<K, V, F> {
    /// The fresh value; counts a hit or a miss, and removes what it found expired.
    #[inline]
    pub(crate) fn get<Q: Equivalent<K> + ?Sized>(&self, hash: KeyHash, key: &Q) -> Option<V> {
        let shard = self.shard(hash).read();
        let Some(entry) = shard.find(hash, key) else {
            drop(shard);
            self.reads.add(Read::Miss);
            return None;
        };
        if self.clock.has_passed(entry.deadline()) {
            let is_over = self.clock.has_passed(self.lapse(entry.deadline()));
            drop(shard);
            self.reads.add(Read::Miss);
            if is_over {
                self.remove_expired(hash, key);
            }
            return None;
        }
        let value = entry.value.clone();
        if self.heed == Heed::Nothing {
            drop(shard);
        } else {
            let token = entry.token;
            self.end_hit(shard, hash, token);
        }
        self.reads.add(Read::Hit);
        Some(value)
    }

    /// The fresh value, noted as used; counts nothing.
    pub(crate) fn take_up<Q: Equivalent<K> + ?Sized>(&self, hash: KeyHash, key: &Q) -> Option<V> {
        let shard = self.shard(hash).read();
        let entry =
            shard.find(hash, key).filter(|entry| !self.clock.has_passed(entry.deadline()))?;
        let value = entry.value.clone();
        let token = entry.token;
        self.end_hit(shard, hash, token);
        Some(value)
    }

    /// Notes a hit of an entry, and ends the reading.
    #[inline]
    fn end_hit(&self, shard: Reader<'_, Shard<K, V, F>>, hash: KeyHash, token: Token) {
        shard.touch(token);
        if self.heed > Heed::Mark {
            self.end_noted_hit(shard, hash, token);
        }
    }

    // A call: in line it would make all reads slower.
    #[inline(never)]
    fn end_noted_hit(&self, shard: Reader<'_, Shard<K, V, F>>, hash: KeyHash, token: Token) {
        shard.sample(hash);
        if self.heed == Heed::Order {
            self.end_ordered_hit(shard, hash, token);
        }
    }

    #[inline(never)]
    fn end_ordered_hit(&self, shard: Reader<'_, Shard<K, V, F>>, hash: KeyHash, token: Token) {
        self.note_use(&shard, shard.entry(token));
        let is_ordered = shard.is_ordered_by_use();
        drop(shard);
        if is_ordered {
            self.shard(hash).write().promote(hash, token);
        }
    }

    /// The fresh value and its version; counts nothing.
    pub(crate) fn peek<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
    ) -> Option<(V, Version)> {
        let shard = self.shard(hash).read();
        let entry = shard.find(hash, key)?;
        if self.clock.has_passed(entry.deadline()) {
            return None;
        }
        Some((entry.value.clone(), entry.version()))
    }

    /// The value that is held, fresh or stale, and its version; counts nothing.
    #[cold]
    pub(crate) fn peek_held<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
    ) -> Option<(V, Version)> {
        let shard = self.shard(hash).read();
        let entry = shard.find(hash, key)?;
        let is_over = self.clock.has_passed(self.lapse(entry.deadline()));
        (!is_over).then(|| (entry.value.clone(), entry.version()))
    }

    /// Until when the value of this version is fresh; past if it is gone.
    #[cold]
    pub(crate) fn deadline<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        version: Version,
    ) -> Tick {
        let shard = self.shard(hash).read();
        let entry = shard.find(hash, key).filter(|entry| entry.version() == version);
        entry.map_or(Tick::START, Entry::deadline)
    }

    /// How long the value is still fresh; `Duration::MAX` if it never expires.
    pub(crate) fn remaining<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
    ) -> Option<Duration> {
        let shard = self.shard(hash).read();
        let deadline = shard.find(hash, key)?.deadline();
        if deadline == Tick::NEVER {
            return Some(Duration::MAX);
        }
        let now = self.clock.now();
        (now < deadline).then(|| deadline.since(now))
    }

    pub(crate) fn contains<Q: Equivalent<K> + ?Sized>(&self, hash: KeyHash, key: &Q) -> bool {
        let shard = self.shard(hash).read();
        shard.find(hash, key).is_some_and(|entry| !self.clock.has_passed(entry.deadline()))
    }

    /// The fresh value, or what there is in place of it.
    #[inline]
    pub(crate) fn look<Q: Equivalent<K> + ?Sized, J>(
        &self,
        hash: KeyHash,
        key: &Q,
        join: impl FnOnce(&F) -> Option<J>,
    ) -> Look<V, J>
    where
        F: Handle,
    {
        let shard = self.shard(hash).read();
        let Some(entry) = shard.find(hash, key) else {
            return self.look_past(&shard, hash, key, None, join);
        };
        let deadline = entry.deadline();
        if self.clock.has_passed(deadline) {
            return self.look_past(&shard, hash, key, Some((entry, deadline)), join);
        }
        let is_due = self.freshness.watches_age() && self.is_due(&shard, hash, key, entry);
        let (value, version) = (entry.value.clone(), entry.version());
        if self.heed == Heed::Nothing {
            drop(shard);
        } else {
            let token = entry.token;
            self.end_hit(shard, hash, token);
        }
        if is_due { Look::Old(value, version) } else { Look::Hit(value) }
    }

    /// What there is in place of a fresh value; given the deadline that has passed, which another reader
    /// may have put off meanwhile.
    #[inline(never)]
    fn look_past<Q: Equivalent<K> + ?Sized, J>(
        &self,
        shard: &Shard<K, V, F>,
        hash: KeyHash,
        key: &Q,
        entry: Option<(&Entry<K, V>, Tick)>,
        join: impl FnOnce(&F) -> Option<J>,
    ) -> Look<V, J>
    where
        F: Handle,
    {
        let mut stand_in = None;
        if let Some((entry, deadline)) = entry {
            if !self.clock.has_passed(self.freshness.served_until(deadline)) {
                let due = self.may_renew(shard, hash, key).then_some(entry.version());
                return Look::Stale(entry.value.clone(), due);
            }
            stand_in = Some(entry.version()).filter(|_| self.freshness.has_stand_ins());
        }
        match shard.flights.find(hash, key, &self.clock) {
            Some(Found::Running(handle)) => {
                join(handle).map_or(Look::Absent(stand_in), |joined| Look::Flight(joined, stand_in))
            }
            Some(Found::Failed(failure)) => Look::Failed(Failure::clone(failure), stand_in),
            None => Look::Absent(stand_in),
        }
    }

    /// Whether a fresh value is to be renewed now.
    #[cold]
    fn is_due<Q: Equivalent<K> + ?Sized>(
        &self,
        shard: &Shard<K, V, F>,
        hash: KeyHash,
        key: &Q,
        entry: &Entry<K, V>,
    ) -> bool
    where
        F: Handle,
    {
        let (age, now) = (shard.notes.ages.of(entry.token), self.clock.reading().tick());
        self.freshness.is_due(age, shard.ttl_ends(entry), now, chance::draw)
            && self.may_renew(shard, hash, key)
    }

    fn may_renew<Q: Equivalent<K> + ?Sized>(
        &self,
        shard: &Shard<K, V, F>,
        hash: KeyHash,
        key: &Q,
    ) -> bool
    where
        F: Handle,
    {
        shard.flights.may_renew(hash, key, &self.clock)
    }
}
