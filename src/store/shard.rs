//! One shard: table, roster and flights, kept true to each other.
//!
//! A shard never locks, waits or reads a clock. What it removes goes to the caller's leftovers.

use std::mem::{self, needs_drop};

use hashbrown::hash_table::Entry as TableEntry;
use hashbrown::{Equivalent, HashTable};

use crate::clock::{Reading, Tick};
use crate::expiry::Ttl;
use crate::listener::RemovalCause;
use crate::panic::Postponed;
use crate::policy::Policy;
use crate::stats::Stats;

use super::Plan;
use super::arrivals::Token;
use super::bound::Place;
use super::digest::{Digest, KeyHash};
use super::entry::{Entry, Item, Removed, Stamp, Version};
use super::flights::Flights;
use super::leftovers::{Leftovers, drop_entries};
use super::notes::Notes;
use super::roster::{Examined, Roster};

/// How many entries that may be due an insert looks at for one that has expired, before it evicts.
const ROOM_BUDGET: usize = 32;
/// How many entries that may be due each write looks at, so that a cache without a runtime stays
/// clean.
const WRITE_BUDGET: usize = 4;
/// A table is made smaller when it holds fewer than one entry for this many places,
const SPARSE: usize = 8;
/// and when that moves no more entries than this.
const SHRINK_LIMIT: usize = 1024;

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
    table: HashTable<Entry<K, V>>,
    roster: Roster,
    pub(super) flights: Flights<K, F>,
    pub(super) notes: Notes,
    /// How long entries are kept past their deadlines; in nanoseconds.
    grace: u64,
    last_version: Version,
    /// Room that was asked for when the cache was built, and is kept.
    initial_capacity: usize,
    /// What happens under the lock is counted here.
    pub(super) stats: Stats,
}

/// What a look at entries that may be due came to.
pub(super) struct Swept {
    pub(super) examined: usize,
    pub(super) expired: usize,
}

/// Storage that is no longer used. Freeing it can take long, and runs destructors: not under the
/// lock.
pub(super) struct Spent<K, V, F> {
    table: HashTable<Entry<K, V>>,
    #[expect(dead_code, reason = "held to be dropped")]
    roster: Roster,
    #[expect(dead_code, reason = "held to be dropped")]
    notes: Notes,
    flights: Flights<K, F>,
}

impl<K, V, F> Spent<K, V, F> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The entries, to be told of.
    pub(super) fn take_table(&mut self) -> HashTable<Entry<K, V>> {
        mem::take(&mut self.table)
    }

    /// Drops every key, value and failure, also when some of them panic.
    pub(super) fn drop_contents(&mut self, postponed: &mut Postponed) {
        self.flights.drop_contents(postponed);
        if needs_drop::<K>() || needs_drop::<V>() {
            let entries = self.take_table().into_iter();
            drop_entries(entries.map(|entry| (entry.key, entry.value)), postponed);
        }
    }
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
        self.initial_capacity = capacity;
        self.table.try_reserve(capacity, |_| 0).is_ok() && self.roster.reserve(capacity)
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

    /// Whether the time of what is to be stored is over already.
    #[inline]
    pub(super) fn is_late(&self, stamp: Stamp, now: &Reading<'_>) -> bool {
        stamp.deadline.after_nanos(self.grace) <= now.tick()
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
    #[inline]
    pub(super) fn put<'a>(
        &mut self,
        item: &mut Item<K, V>,
        stamp: Stamp,
        now: &Reading<'_>,
        place: impl FnOnce() -> Option<Place<'a>>,
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
                } else if deadline.after_nanos(grace) <= now.tick() {
                    // No living entry makes way for it.
                    return self.pass_by(item, removed);
                } else {
                    let Some(victim) = roster.victim() else {
                        return Put::Lacking(Lack::Elsewhere);
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
    fn rebuild_table(&mut self, capacity: usize) -> HashTable<Entry<K, V>> {
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

    /// Removes what stands under the key if its time is over.
    #[inline]
    pub(super) fn remove_expired<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: KeyHash,
        key: &Q,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) -> bool {
        let found = self.find(hash, key).filter(|entry| self.is_over(entry, now));
        let Some(token) = found.map(|entry| entry.token) else { return false };
        self.expire(token, removed);
        true
    }

    /// Removes an entry whose time is over, if one is soon found.
    #[inline]
    pub(super) fn expire_any(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> bool {
        self.roster.has_due(now) && self.expire_first(now, removed)
    }

    #[cold]
    fn expire_first(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> bool {
        self.advance(now);
        let looks = std::iter::from_fn(|| self.expire_one(now, removed));
        looks.take(ROOM_BUDGET).any(|expired| expired)
    }

    /// Evicts an entry; false if there is none.
    pub(super) fn evict_any(&mut self, now: &Reading<'_>, removed: &mut Leftovers<K, V>) -> bool {
        let victim = self.roster.victim();
        victim.map(|victim| self.evict(victim, now, removed)).is_some()
    }

    /// Evicts an entry, but not this one; false if there is no other.
    pub(super) fn evict_beside(
        &mut self,
        spared: Option<Token>,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) -> bool {
        let victim = match spared {
            None => self.roster.victim(),
            Some(spared) => self.roster.victim_beside(spared),
        };
        victim.map(|victim| self.evict(victim, now, removed)).is_some()
    }

    #[inline]
    fn evict(&mut self, victim: Token, now: &Reading<'_>, removed: &mut Leftovers<K, V>) {
        let entry = self.take(victim);
        let has_expired = now.has_passed(entry.deadline.after_nanos(self.grace));
        let cause = if has_expired { RemovalCause::Expired } else { RemovalCause::Evicted };
        removed.entry(entry.key, entry.value, cause);
        self.stats.evictions += u64::from(!has_expired);
        self.stats.expirations += u64::from(has_expired);
    }

    /// The share of cleaning that each write does. Returns how many entries it removed.
    #[inline]
    pub(super) fn tidy(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> usize {
        let is_tidy = self.roster.is_tidy(now) && now < self.flights.next_alarm();
        if is_tidy { 0 } else { self.tidy_up(now, removed) }
    }

    #[cold]
    fn tidy_up(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> usize {
        self.roster.advance_over_past(now);
        self.expire_due(now, WRITE_BUDGET, removed).expired
    }

    /// Begins a sweep: stages what may be due by `now`.
    pub(super) fn advance(&mut self, now: Tick) {
        self.roster.advance(now);
    }

    /// Looks at up to `budget` entries that may be due and removes those whose time is over. When it
    /// examines fewer, the sweep is at its end.
    pub(super) fn expire_due(
        &mut self,
        now: Tick,
        budget: usize,
        removed: &mut Leftovers<K, V>,
    ) -> Swept {
        let mut swept = Swept { examined: self.flights.forget(now, budget, removed), expired: 0 };
        while swept.examined < budget {
            let Some(expired) = self.expire_one(now, removed) else { break };
            swept.examined += 1;
            swept.expired += usize::from(expired);
        }
        swept
    }

    /// Looks at one entry that may be due: was it? `None` if there is none left.
    fn expire_one(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> Option<bool> {
        let table = &self.table;
        let look = |token, digest| find(table, token, digest).due(self.grace);
        match self.roster.examine(now, look)? {
            Examined::Alive => Some(false),
            Examined::Over(token) => {
                self.expire(token, removed);
                Some(true)
            }
        }
    }

    pub(super) fn expire(&mut self, token: Token, removed: &mut Leftovers<K, V>) {
        let entry = self.take(token);
        removed.entry(entry.key, entry.value, RemovalCause::Expired);
        self.stats.expirations += 1;
    }

    /// Storage to be freed, after entries were removed: all of it if none is left.
    pub(super) fn shrink(&mut self) -> Option<Spent<K, V, F>> {
        let (len, capacity) = (self.table.len(), self.table.capacity());
        if capacity <= self.initial_capacity.max(SHRINK_LIMIT) || len > capacity / SPARSE {
            return None;
        }
        if len == 0 && self.initial_capacity == 0 {
            return Some(self.take_entries());
        }
        if len > SHRINK_LIMIT {
            return None;
        }
        let table = self.rebuild_table(self.initial_capacity.max(len * 2));
        let (roster, notes) = (Roster::new(Policy::Fifo), Notes::NONE);
        Some(Spent { table, roster, notes, flights: Flights::new(false) })
    }

    /// Takes everything out, flights included.
    pub(super) fn clear(&mut self) -> Spent<K, V, F> {
        Spent { flights: self.flights.take(), ..self.take_entries() }
    }

    fn take_entries(&mut self) -> Spent<K, V, F> {
        Spent {
            table: mem::take(&mut self.table),
            roster: self.roster.take(),
            notes: self.notes.take(),
            flights: Flights::new(false),
        }
    }

    /// The entry of a token, found by its digest.
    pub(super) fn entry(&self, token: Token) -> &Entry<K, V> {
        find(&self.table, token, self.roster.digest(token))
    }

    /// Takes the entry of a token out of everything.
    #[inline]
    fn take(&mut self, token: Token) -> Removed<K, V> {
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

fn find<K, V>(table: &HashTable<Entry<K, V>>, token: Token, digest: Digest) -> &Entry<K, V> {
    let entry = table.find(digest.spread(), |entry| entry.token == token);
    entry.expect("a token has an entry in the table")
}

/// Copies of entries: keys, and in the same order values with their deadlines and versions.
pub(crate) struct Copies<K, V> {
    pub(crate) keys: Vec<K>,
    pub(crate) values: Vec<(V, Tick, Version)>,
}

impl<K, V> Default for Copies<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

/// Iteration, a few entries at a time.
impl<K: Clone, V: Clone, F> Shard<K, V, F> {
    /// Copies the entries at up to `budget` indices from `from` on. Returns where to go on.
    pub(super) fn copy(
        &self,
        from: usize,
        budget: usize,
        copies: &mut Copies<K, V>,
    ) -> Option<usize> {
        let bound = self.roster.index_bound();
        let end = bound.min(from.saturating_add(budget));
        for token in (from..end).filter_map(|index| self.roster.at(index)) {
            let entry = self.entry(token);
            // One after the other: if the second panics, the first is dropped under no lock.
            copies.keys.push(entry.key.clone());
            copies.values.push((entry.value.clone(), entry.deadline(), entry.version()));
        }
        (end < bound).then_some(end)
    }
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
