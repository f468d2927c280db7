//! One shard: table, roster and flights, kept true to each other.
//!
//! A shard never locks, waits or reads a clock. What it removes goes to the caller's leftovers.

use std::mem;

use hashbrown::hash_table::Entry as TableEntry;
use hashbrown::{Equivalent, HashTable};

use crate::clock::{Reading, Tick};
use crate::expiry::Ttl;
use crate::listener::RemovalCause;
use crate::stats::Stats;

use super::Plan;
use super::arrivals::Token;
use super::bound::{Bound, Place};
use super::digest::{Digest, KeyHash};
use super::entry::{Entry, Item, Removed, Stamp, Version};
use super::flights::Flights;
use super::leftovers::Leftovers;
use super::notes::Notes;
use super::roster::Roster;

/// A table with no more entries than this is not worth renewing, nor too dear to be made smaller.
pub(super) const SHRINK_LIMIT: usize = 1024;

/// A table with entries in up to this many of 16 places is kept as large as it is.
const FULL_SIXTEENTHS: usize = 13;

/// What became of an item that was to be stored.
pub(super) enum Put<V> {
    Stored,
    Replaced(Old<V>),
    /// Not stored: there is no room.
    Lacking(Lack),
}

/// Where room is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// In another shard: this one has nothing else to evict.
    Elsewhere,
    /// Here, when others have been let at the shard.
    Here,
}

/// The value that another was stored in place of; `None` if it was past its deadline, or left to the
/// listener.
pub(super) struct Old<V>(pub(super) Option<V>);

impl<V> Put<V> {
    /// Leaves what was replaced to be dropped under no lock.
    #[inline]
    pub(super) fn leave<K>(self, removed: &mut Leftovers<K, V>) {
        if let Self::Replaced(Old(Some(old))) = self {
            removed.value(old);
        }
    }
}

/// The table comes first, next to the lock: a hit reads nothing else of it.
#[repr(C)]
pub(super) struct Shard<K, V, F> {
    pub(super) table: HashTable<Entry<K, V>>,
    pub(super) roster: Roster,
    pub(super) flights: Flights<K, F>,
    pub(super) notes: Notes,
    /// How long entries are kept past their deadlines; in nanoseconds.
    pub(super) grace: u64,
    last_version: Version,
    /// Room that was asked for when the cache was built, and is kept.
    pub(super) initial_capacity: usize,
    /// What happens under the lock is counted here.
    pub(super) stats: Stats,
}

impl<K, V, F> Shard<K, V, F> {
    pub(super) fn new(plan: &Plan) -> Self {
        let &Plan { policy, ref freshness, tti, is_weighed, lends_keys, .. } = plan;
        Self {
            table: HashTable::new(),
            roster: Roster::new(policy),
            flights: Flights::new(lends_keys),
            notes: Notes::new(freshness, tti, is_weighed),
            grace: freshness.grace(),
            last_version: Version::default(),
            initial_capacity: 0,
            stats: Stats::default(),
        }
    }

    /// Sets room aside; false if there is not that much memory.
    pub(super) fn reserve(&mut self, capacity: usize) -> bool {
        let reserved =
            self.table.try_reserve(capacity, |_| 0).is_ok() && self.roster.reserve(capacity);
        // There are tables of few sizes: this one has room for more than was asked for.
        self.initial_capacity = self.table.capacity();
        reserved
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether the time may ever matter to a write: an entry may expire, or a failure be forgotten.
    #[inline]
    pub(super) fn has_alarms(&self) -> bool {
        self.roster.has_alarms() || self.flights.next_alarm() != Tick::NEVER
    }

    /// Whether an entry's time is over, also that for which it is kept past its deadline.
    #[inline]
    pub(super) fn is_over(&self, entry: &Entry<K, V>, now: &Reading<'_>) -> bool {
        now.has_passed(entry.lapse(self.grace))
    }

    /// A moment before which nothing is due. Something is due then, unless what was to be first has
    /// gone, or lives longer now.
    pub(super) fn next_alarm(&self) -> Option<Tick> {
        let of_flights = Some(self.flights.next_alarm()).filter(|alarm| *alarm != Tick::NEVER);
        self.roster.next_alarm().into_iter().chain(of_flights).min()
    }

    #[inline]
    pub(super) fn find<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
    ) -> Option<&Entry<K, V>> {
        self.table.find(hash.digest().spread(), |entry| key.equivalent(&entry.key))
    }

    /// Notes a use, under the lock for reading.
    #[inline]
    pub(super) fn touch(&self, token: Token) {
        self.roster.touch(token);
    }

    /// Learns from a hit, under the lock for reading.
    #[inline]
    pub(super) fn sample(&self, hash: KeyHash) {
        self.roster.sample(hash.digest());
    }

    /// Whether an entry that is hit is to be [promoted](Self::promote).
    pub(super) fn is_ordered_by_use(&self) -> bool {
        self.roster.is_ordered_by_use()
    }

    /// Notes a hit of a key, if its entry is still there.
    #[inline]
    pub(super) fn promote(&mut self, hash: KeyHash, token: Token) {
        let is_present = self.roster.at(token.index()) == Some(token);
        if is_present && self.roster.digest(token) == hash.digest() {
            self.roster.promote(token);
        }
    }

    pub(super) fn find_fresh<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        now: &Reading<'_>,
    ) -> Option<&Entry<K, V>> {
        self.find(hash, key).filter(|entry| !now.has_passed(entry.deadline()))
    }

    /// The entry that holds the value of this version.
    pub(super) fn find_version(&self, hash: KeyHash, version: Version) -> Option<&Entry<K, V>> {
        self.table.find(hash.digest().spread(), |entry| entry.version() == version)
    }

    /// Overwrites a value in its place, and returns it if it was fresh. If there is none, leaves the new
    /// one to the caller. Not where there is a listener, which is to get a key.
    #[inline]
    pub(super) fn replace<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: KeyHash,
        key: &Q,
        value: &mut Option<V>,
        stamp: Stamp,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Old<V>> {
        let (old, was_fresh) = self.exchange(hash, key, value, stamp, now)?;
        Some(kept(old, was_fresh, removed))
    }

    /// Overwrites a value in its place, and returns it, and whether it was fresh. If there is none, leaves
    /// the new one to the caller.
    #[inline]
    fn exchange<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: KeyHash,
        key: &Q,
        value: &mut Option<V>,
        stamp: Stamp,
        now: &Reading<'_>,
    ) -> Option<(V, bool)> {
        let (digest, grace) = (hash.digest(), self.grace);
        let entry = self.table.find_mut(digest.spread(), |entry| key.equivalent(&entry.key));
        let entry = entry.filter(|entry| !now.has_passed(entry.lapse(grace)))?;
        self.stats.inserts += 1;
        let version = self.last_version.next();
        let value = value.take().expect("a value is stored once");
        self.notes.note(entry.token, now, stamp);
        self.roster.promote(entry.token);
        let was_fresh = grace == 0 || !now.has_passed(entry.deadline());
        let old = entry.overwrite(value, stamp.deadline, version, grace, &mut self.roster);
        Some((old, was_fresh))
    }

    /// Gives a fresh value another TTL, from now on. Returns its new deadline; `None` if there is none.
    pub(super) fn set_ttl<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: KeyHash,
        key: &Q,
        ttl: Ttl,
        now: &Reading<'_>,
    ) -> Option<Tick> {
        let spread = hash.digest().spread();
        let entry = self.table.find_mut(spread, |entry| key.equivalent(&entry.key));
        let entry = entry.filter(|entry| !now.has_passed(entry.deadline()))?;
        let deadline = self.notes.limits.set_ttl(entry.token, entry.deadline(), ttl, now);
        entry.set_deadline(deadline, self.grace, &mut self.roster);
        Some(deadline)
    }

    /// Notes that a value is used now, under the lock for reading: its idle time begins anew.
    #[inline]
    pub(super) fn note_use(&self, entry: &Entry<K, V>, now: &Reading<'_>) {
        entry.put_off(self.notes.limits.note_use(entry.token, now));
    }

    /// When the TTL of an entry ends.
    pub(super) fn ttl_ends(&self, entry: &Entry<K, V>) -> Tick {
        self.notes.limits.ttl_ends(entry.token).unwrap_or_else(|| entry.deadline())
    }

    /// Stores a value: over the fresh one of its key, or else in a place of its own: one that `place`
    /// gives, or that of another entry, which is evicted.
    #[inline(always)]
    pub(super) fn put<'a>(
        &mut self,
        item: &mut Item<K, V>,
        stamp: Stamp,
        now: &Reading<'_>,
        place: impl FnOnce() -> Option<Place<'a>>,
        bound: &Bound,
        removed: &mut Leftovers<K, V>,
    ) -> Put<V>
    where
        K: Eq,
    {
        let is_full = self.table.len() == self.table.capacity();
        if is_full || removed.are_told() {
            if let Some(old) = self.replace_item(item, stamp, now, removed) {
                return Put::Replaced(old);
            }
            if is_full {
                self.renew_table();
            }
        }
        let (digest, deadline) = (item.hash.digest(), stamp.deadline);
        let roster = &mut self.roster;
        let rehash = |entry: &Entry<K, V>| roster.digest(entry.token).spread();
        let grace = self.grace;
        let found = self.table.entry(digest.spread(), |entry| *item.key() == entry.key, rehash);
        let (vacancy, victim) = match found {
            TableEntry::Occupied(mut found) if !now.has_passed(found.get().lapse(grace)) => {
                self.stats.inserts += 1;
                let (key, value) = item.take();
                removed.key(key);
                let version = self.last_version.next();
                let entry = found.get_mut();
                self.notes.note(entry.token, now, stamp);
                roster.promote(entry.token);
                let was_fresh = grace == 0 || !now.has_passed(entry.deadline());
                let old = entry.overwrite(value, deadline, version, grace, roster);
                return Put::Replaced(kept(old, was_fresh, removed));
            }
            TableEntry::Occupied(found) => {
                let (expired, vacancy) = found.remove();
                roster.leave(expired.token);
                self.notes.leave(expired.token);
                removed.entry(expired.key, expired.value, RemovalCause::Expired);
                self.stats.expirations += 1;
                (vacancy, None)
            }
            TableEntry::Vacant(vacancy) => {
                if let Some(place) = place() {
                    place.used();
                    (vacancy, None)
                } else if deadline <= now.tick() {
                    // No living entry makes way for it.
                    return self.pass_by(item, removed);
                } else {
                    let Some(victim) = roster.victim() else {
                        return self.lack(bound, item, removed);
                    };
                    (vacancy, Some(victim))
                }
            }
        };
        let token = roster.enter(digest, deadline.after_nanos(grace));
        self.notes.note(token, now, stamp);
        let version = self.last_version.next();
        let (key, value) = item.take();
        vacancy.insert(Entry::new(deadline, token, version, key, value));
        self.stats.inserts += 1;
        // The new entry is stored first, so that the memory of both is fetched at the same time. The
        // bound counts one of them, and nobody can look while the shard is locked.
        if let Some(victim) = victim {
            self.evict(victim, now, removed);
        }
        Put::Stored
    }

    /// Overwrites a value in its place, and returns it if it was fresh and no listener gets it. If there is
    /// none, leaves the item to the caller.
    ///
    /// A value that is replaced with a listener is replaced here, where the spare key is.
    #[cold]
    pub(super) fn replace_item(
        &mut self,
        item: &mut Item<K, V>,
        stamp: Stamp,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Old<V>>
    where
        K: Eq,
    {
        let Item { hash, key, value } = item;
        let (old, was_fresh) = self.exchange(*hash, key.as_ref()?, value, stamp, now)?;
        let key = key.take()?;
        if removed.are_told() {
            let cause = if was_fresh { RemovalCause::Replaced } else { RemovalCause::Expired };
            removed.entry(key, old, cause);
            return Some(Old(None));
        }
        removed.key(key);
        Some(kept(old, was_fresh, removed))
    }

    /// Makes the table as new. Removals leave marks behind that take up its room; where they are much
    /// of it, they are cleared away, and else the table grows as it is written to.
    #[cold]
    fn renew_table(&mut self) {
        let (len, buckets) = (self.table.len(), self.table.num_buckets());
        if buckets < SHRINK_LIMIT || len > buckets / 16 * FULL_SIXTEENTHS {
            return;
        }
        drop(self.rebuild_table(buckets / 8 * 7));
    }

    /// Moves all entries to a table with this capacity. Returns the old one, empty.
    pub(super) fn rebuild_table(&mut self, capacity: usize) -> HashTable<Entry<K, V>> {
        let mut table = HashTable::with_capacity(capacity);
        let roster = &self.roster;
        let rehash = |entry: &Entry<K, V>| roster.digest(entry.token).spread();
        for entry in self.table.drain() {
            table.insert_unique(rehash(&entry), entry, rehash);
        }
        mem::replace(&mut self.table, table)
    }

    /// Does not store an item whose time is over: as if it had expired right after.
    pub(super) fn pass_by(
        &mut self,
        item: &mut Item<K, V>,
        removed: &mut Leftovers<K, V>,
    ) -> Put<V> {
        self.stats.inserts += 1;
        self.stats.expirations += 1;
        let (key, value) = item.take();
        removed.entry(key, value, RemovalCause::Expired);
        Put::Stored
    }

    /// There is nothing to evict: room is to be made elsewhere, if there may be any.
    #[cold]
    fn lack(
        &mut self,
        bound: &Bound,
        item: &mut Item<K, V>,
        removed: &mut Leftovers<K, V>,
    ) -> Put<V> {
        if !bound.is_zero() {
            return Put::Lacking(Lack::Elsewhere);
        }
        self.turn_away(item, removed);
        Put::Stored
    }

    /// Does not store an item that no room can be made for: as if it had been evicted right after.
    pub(super) fn turn_away(&mut self, item: &mut Item<K, V>, removed: &mut Leftovers<K, V>) {
        self.stats.inserts += 1;
        self.stats.evictions += 1;
        let (key, value) = item.take();
        removed.entry(key, value, RemovalCause::Evicted);
    }

    #[inline]
    pub(super) fn remove<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: KeyHash,
        key: &Q,
    ) -> Option<Removed<K, V>> {
        let digest = hash.digest().spread();
        let found = self.table.find_entry(digest, |entry| key.equivalent(&entry.key)).ok()?;
        let entry = Removed::from(found.remove().0);
        self.roster.leave(entry.token);
        self.notes.leave(entry.token);
        Some(entry)
    }

    /// The entry of a token, found by its digest.
    pub(super) fn entry(&self, token: Token) -> &Entry<K, V> {
        find(&self.table, token, self.roster.digest(token))
    }

    /// Takes the entry of a token out of everything.
    #[inline(always)]
    pub(super) fn take(&mut self, token: Token) -> Removed<K, V> {
        let digest = self.roster.digest(token);
        let found = self.table.find_entry(digest.spread(), |entry| entry.token == token).ok();
        let (entry, _) = found.expect("a token has an entry in the table").remove();
        self.roster.leave(token);
        self.notes.leave(token);
        entry.into()
    }
}

/// What was replaced, if it was fresh. A value past its deadline is nobody's any more.
#[inline]
fn kept<K, V>(old: V, was_fresh: bool, removed: &mut Leftovers<K, V>) -> Old<V> {
    if was_fresh {
        return Old(Some(old));
    }
    removed.value(old);
    Old(None)
}

pub(super) fn find<K, V>(
    table: &HashTable<Entry<K, V>>,
    token: Token,
    digest: Digest,
) -> &Entry<K, V> {
    let entry = table.find(digest.spread(), |entry| entry.token == token);
    entry.expect("a token has an entry in the table")
}

#[cfg(any(test, feature = "test-util"))]
impl<K, V, F> Shard<K, V, F> {
    /// Panics unless table, roster, weights and flights agree. Returns how many flights are under way,
    /// and what all entries weigh.
    pub(super) fn validate(&self) -> (usize, u64) {
        let known =
            self.roster.validate(|token, digest| find(&self.table, token, digest).due(self.grace));
        assert_eq!(known, self.table.len(), "who is on the roster is in the table");
        let is_limited = |entry: &Entry<K, V>| entry.deadline() <= self.ttl_ends(entry);
        assert!(self.table.iter().all(is_limited), "nothing outlives its TTL");
        let weight = self.notes.weights.validate(self.table.iter().map(|entry| entry.token));
        (self.flights.validate(), weight)
    }
}
