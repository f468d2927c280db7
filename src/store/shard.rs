//! One shard: table, arrivals, run, wheel and flights, kept true to each other.
//!
//! A shard never locks, waits or reads a clock. What it removes goes to the caller's leftovers.

use std::mem::{self, needs_drop};

use hashbrown::{Equivalent, HashTable};

use crate::clock::{Reading, Tick};
use crate::panic::Postponed;
use crate::stats::Stats;

use super::arrivals::{Arrivals, Token};
use super::digest::Digest;
use super::leftovers::{Leftovers, drop_entries};
use super::run::Run;
use super::wheel::Wheel;

/// How many entries that may be due an insert looks at for one that has expired, before it evicts.
const ROOM_BUDGET: usize = 32;
/// How many entries that may be due each write looks at, so that a cache without a runtime stays
/// clean.
const WRITE_BUDGET: usize = 4;
/// A table is made smaller when it holds fewer than one entry for this many places,
const SPARSE: usize = 8;
/// and when that moves no more entries than this.
const SHRINK_LIMIT: usize = 1024;

/// Room for more flights than this is given back when the last one ends.
const FLIGHTS_KEPT: usize = 256;

/// The hot part of an entry: what a hit touches.
pub(super) struct Entry<K, V> {
    pub(super) deadline: Tick,
    token: Token,
    pub(super) version: Version,
    pub(super) key: K,
    pub(super) value: V,
}

/// Which value of an entry this is: different for each that is stored in the shard, until the number
/// wraps. One bit tells whether the deadline has moved since the entry came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version(u32);

impl Version {
    const PROLONGED: u32 = 1 << 31;

    fn next(&mut self) -> Self {
        self.0 = self.0.wrapping_add(1) & !Self::PROLONGED;
        *self
    }

    fn prolonged(self) -> Self {
        Self(self.0 | Self::PROLONGED)
    }

    fn is_prolonged(self) -> bool {
        self.0 & Self::PROLONGED != 0
    }
}

/// A compute that is running for a key. The handle is the caller's affair.
struct Flight<K, F> {
    hash: u64,
    generation: u64,
    key: K,
    handle: F,
}

/// The table comes first, next to the lock: a hit reads nothing else of it.
#[repr(C)]
pub(super) struct Shard<K, V, F> {
    table: HashTable<Entry<K, V>>,
    /// The first is the next to be evicted.
    arrivals: Arrivals,
    run: Run,
    wheel: Wheel,
    flights: HashTable<Flight<K, F>>,
    last_generation: u64,
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
    arrivals: Arrivals,
    #[expect(dead_code, reason = "held to be dropped")]
    wheel: Wheel,
    flights: HashTable<Flight<K, F>>,
}

impl<K, V, F> Spent<K, V, F> {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Drops every key and value, also when some of them panic.
    pub(super) fn drop_contents(&mut self, postponed: &mut Postponed) {
        if needs_drop::<K>() || needs_drop::<V>() {
            let flights = mem::take(&mut self.flights).into_iter();
            flights.for_each(|flight| postponed.run(|| drop(flight)));
            let entries = mem::take(&mut self.table).into_iter();
            drop_entries(entries.map(|entry| (entry.key, entry.value)), postponed);
        }
    }
}

impl<K, V, F> Shard<K, V, F> {
    pub(super) fn new() -> Self {
        Self {
            table: HashTable::new(),
            arrivals: Arrivals::new(),
            run: Run::new(),
            wheel: Wheel::new(),
            flights: HashTable::new(),
            last_generation: 0,
            last_version: Version(0),
            initial_capacity: 0,
            stats: Stats::default(),
        }
    }

    /// Sets room aside; false if there is not that much memory.
    pub(super) fn reserve(&mut self, capacity: usize) -> bool {
        self.initial_capacity = capacity;
        self.table.try_reserve(capacity, |_| 0).is_ok() && self.arrivals.reserve(capacity)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether any entry may ever expire.
    pub(super) fn has_alarms(&self) -> bool {
        !self.wheel.is_empty() || self.run.next_alarm() != Tick::NEVER
    }

    /// A moment before which nothing is due. Something is due then, unless what was to be first has
    /// gone, or lives longer now.
    pub(super) fn next_alarm(&self) -> Option<Tick> {
        let of_run = Some(self.run.next_alarm()).filter(|alarm| *alarm != Tick::NEVER);
        self.wheel.next_alarm().into_iter().chain(of_run).min()
    }

    #[inline]
    pub(super) fn find<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
    ) -> Option<&Entry<K, V>> {
        self.table.find(Digest::of(hash).spread(), |entry| key.equivalent(&entry.key))
    }

    /// Overwrites a fresh value in its place. If there is none, leaves the new one to the caller,
    /// and tells which entry stands there whose time is over.
    #[inline]
    pub(super) fn replace<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: u64,
        key: &Q,
        value: &mut Option<V>,
        deadline: Tick,
        now: &Reading<'_>,
    ) -> Result<V, Option<Token>> {
        let digest = Digest::of(hash);
        let entry = self.table.find_mut(digest.spread(), |entry| key.equivalent(&entry.key));
        let Some(entry) = entry else { return Err(None) };
        if now.has_passed(entry.deadline) {
            return Err(Some(entry.token));
        }
        let value = value.take().expect("a value is stored once");
        let old_deadline = mem::replace(&mut entry.deadline, deadline);
        let old_value = mem::replace(&mut entry.value, value);
        // No alarm is later than its deadline: one that only moves later is left for the alarm to
        // find, and nothing else is touched.
        entry.version = self.last_version.next().prolonged();
        self.stats.inserts += 1;
        if deadline < old_deadline {
            let token = entry.token;
            self.wheel.arm(token, deadline);
        }
        Ok(old_value)
    }

    /// Stores a new entry. There must be none under this key.
    #[inline]
    pub(super) fn add(&mut self, hash: u64, key: K, value: V, deadline: Tick) {
        let digest = Digest::of(hash);
        let token = self.arrivals.push(digest);
        if deadline != Tick::NEVER && !self.run.join(token, deadline) {
            self.wheel.arm(token, deadline);
        }
        let version = self.last_version.next();
        let entry = Entry { deadline, token, version, key, value };
        let arrivals = &self.arrivals;
        let rehash = |entry: &Entry<K, V>| arrivals.digest(entry.token).spread();
        self.table.insert_unique(digest.spread(), entry, rehash);
        self.stats.inserts += 1;
    }

    /// Counts an entry that expired as soon as it was stored.
    pub(super) fn pass_by(&mut self, key: K, value: V, removed: &mut Leftovers<K, V>) {
        self.stats.inserts += 1;
        self.stats.expirations += 1;
        removed.entry(key, value);
    }

    pub(super) fn remove<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: u64,
        key: &Q,
    ) -> Option<Entry<K, V>> {
        let digest = Digest::of(hash).spread();
        let found = self.table.find_entry(digest, |entry| key.equivalent(&entry.key)).ok()?;
        let (entry, _) = found.remove();
        self.forget(entry.token);
        Some(entry)
    }

    /// Removes what stands under the key if its time is over.
    pub(super) fn remove_expired<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: u64,
        key: &Q,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) -> bool {
        let found = self.find(hash, key).filter(|entry| now.has_passed(entry.deadline));
        let Some(token) = found.map(|entry| entry.token) else { return false };
        self.expire(token, removed);
        true
    }

    /// Makes room for one entry: removes one that has expired, or else the one that came first.
    /// False if the shard is empty.
    #[inline]
    pub(super) fn make_room(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> bool {
        if self.has_due(now) && self.make_room_of_expired(now, removed) {
            return true;
        }
        let Some(victim) = self.arrivals.first() else { return false };
        let entry = self.take(victim);
        removed.entry(entry.key, entry.value);
        self.stats.evictions += 1;
        true
    }

    #[cold]
    fn make_room_of_expired(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> bool {
        self.advance(now);
        let looks = std::iter::from_fn(|| self.expire_one(now, removed));
        looks.take(ROOM_BUDGET).any(|expired| expired)
    }

    /// Whether an entry may be due.
    #[inline]
    fn has_due(&self, now: Tick) -> bool {
        self.run.due(now).is_some() || self.wheel.has_begun(now)
    }

    /// The share of cleaning that each write does. Returns how many entries it removed.
    #[inline]
    pub(super) fn tidy(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> usize {
        if self.run.due(now).is_none() && self.wheel.is_tidy(now) {
            return 0;
        }
        self.tidy_up(now, removed)
    }

    #[cold]
    fn tidy_up(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> usize {
        self.wheel.advance_over_past(now);
        self.expire_due(now, WRITE_BUDGET, removed).expired
    }

    /// Begins a sweep: stages what may be due by `now`.
    pub(super) fn advance(&mut self, now: Tick) {
        self.wheel.advance(now);
    }

    /// Looks at up to `budget` entries that may be due and removes those whose time is over. When it
    /// examines fewer, the sweep is at its end.
    pub(super) fn expire_due(
        &mut self,
        now: Tick,
        budget: usize,
        removed: &mut Leftovers<K, V>,
    ) -> Swept {
        let mut swept = Swept { examined: 0, expired: 0 };
        while swept.examined < budget {
            let Some(expired) = self.expire_one(now, removed) else { break };
            swept.examined += 1;
            swept.expired += usize::from(expired);
        }
        swept
    }

    /// Looks at one entry that may be due: was it? `None` if there is none left.
    fn expire_one(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> Option<bool> {
        if let Some(token) = self.run.due(now) {
            return Some(self.expire_first_of_run(token, now, removed));
        }
        let token = self.wheel.take_staged()?;
        let alarm = self.wheel.alarm(token);
        let deadline = if alarm > now { alarm } else { self.entry(token).deadline };
        if deadline > now {
            self.wheel.arm(token, deadline);
            return Some(false);
        }
        self.expire(token, removed);
        Some(true)
    }

    fn expire_first_of_run(
        &mut self,
        token: Token,
        now: Tick,
        removed: &mut Leftovers<K, V>,
    ) -> bool {
        if self.wheel.is_armed(token) {
            self.run.pass(token, &self.arrivals);
            return false;
        }
        let &Entry { deadline, version, .. } = self.entry(token);
        if deadline <= now {
            self.expire(token, removed);
            return true;
        }
        if deadline == Tick::NEVER || version.is_prolonged() {
            self.run.pass(token, &self.arrivals);
            self.wheel.arm(token, deadline);
        } else {
            self.run.postpone(deadline);
        }
        false
    }

    pub(super) fn expire(&mut self, token: Token, removed: &mut Leftovers<K, V>) {
        let entry = self.take(token);
        removed.entry(entry.key, entry.value);
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
        if len <= SHRINK_LIMIT {
            let arrivals = &self.arrivals;
            let kept = self.initial_capacity.max(len * 2);
            self.table.shrink_to(kept, |entry| arrivals.digest(entry.token).spread());
        }
        None
    }

    /// Takes everything out, flights included.
    pub(super) fn clear(&mut self) -> Spent<K, V, F> {
        let flights = mem::take(&mut self.flights);
        Spent { flights, ..self.take_entries() }
    }

    fn take_entries(&mut self) -> Spent<K, V, F> {
        self.run = Run::new();
        Spent {
            table: mem::take(&mut self.table),
            arrivals: mem::replace(&mut self.arrivals, Arrivals::new()),
            wheel: mem::replace(&mut self.wheel, Wheel::new()),
            flights: HashTable::new(),
        }
    }

    /// The entry of a token, found by its digest.
    fn entry(&self, token: Token) -> &Entry<K, V> {
        let digest = self.arrivals.digest(token);
        let entry = self.table.find(digest.spread(), |entry| entry.token == token);
        entry.expect("a token has an entry in the table")
    }

    /// Takes the entry of a token out of everything.
    #[inline]
    fn take(&mut self, token: Token) -> Entry<K, V> {
        let digest = self.arrivals.digest(token);
        let found = self.table.find_entry(digest.spread(), |entry| entry.token == token).ok();
        let (entry, _) = found.expect("a token has an entry in the table").remove();
        self.forget(token);
        entry
    }

    /// Takes a token out, after its entry.
    #[inline]
    fn forget(&mut self, token: Token) {
        self.run.pass(token, &self.arrivals);
        self.wheel.disarm(token);
        self.arrivals.remove(token);
    }
}

/// Flights.
impl<K, V, F> Shard<K, V, F> {
    pub(super) fn flight<Q: Equivalent<K> + ?Sized>(&self, hash: u64, key: &Q) -> Option<&F> {
        if self.flights.is_empty() {
            return None;
        }
        let flight = self.flights.find(hash, |flight| key.equivalent(&flight.key))?;
        Some(&flight.handle)
    }

    /// Registers a flight. There must be none for this key.
    pub(super) fn begin_flight(&mut self, hash: u64, key: K, begin: impl FnOnce(u64) -> F) {
        self.last_generation += 1;
        let generation = self.last_generation;
        let flight = Flight { hash, generation, key, handle: begin(generation) };
        self.flights.insert_unique(hash, flight, |flight| flight.hash);
        self.stats.computes += 1;
    }

    /// Takes a flight out, if a write has not done so before.
    pub(super) fn end_flight(&mut self, hash: u64, generation: u64) -> Option<K> {
        let flight = self.flights.find_entry(hash, |flight| flight.generation == generation);
        let (flight, _) = flight.ok()?.remove();
        if self.flights.is_empty() && self.flights.capacity() > FLIGHTS_KEPT {
            self.flights = HashTable::new();
        }
        Some(flight.key)
    }

    /// Whether a flight is still that of its key. Then nothing fresh stands under the key: what is
    /// stored there fences the flight off, and what had expired was removed when it began.
    pub(super) fn may_land(&self, hash: u64, generation: u64) -> bool {
        self.flights.find(hash, |flight| flight.generation == generation).is_some()
    }

    /// Fences off the flight of a key: its outcome will not be stored.
    #[inline]
    pub(super) fn fence<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: u64,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) {
        if self.flights.is_empty() {
            return;
        }
        let found = self.flights.find_entry(hash, |flight| key.equivalent(&flight.key));
        if let Ok(found) = found {
            removed.key(found.remove().0.key);
        }
    }
}

/// Copies of entries: keys, and in the same order values with their deadlines.
pub(crate) struct Copies<K, V> {
    pub(crate) keys: Vec<K>,
    pub(crate) values: Vec<(V, Tick)>,
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
        let bound = self.arrivals.index_bound();
        let end = bound.min(from.saturating_add(budget));
        for token in (from..end).filter_map(|index| self.arrivals.at(index)) {
            let entry = self.entry(token);
            // One after the other: if the second panics, the first is dropped under no lock.
            copies.keys.push(entry.key.clone());
            copies.values.push((entry.value.clone(), entry.deadline));
        }
        (end < bound).then_some(end)
    }
}

#[cfg(any(test, feature = "test-util"))]
impl<K, V, F> Shard<K, V, F> {
    /// Panics unless table, arrivals, run, wheel and flights agree. Returns how many flights there
    /// are.
    pub(super) fn validate(&self) -> usize {
        let arrived: Vec<Token> = self.arrivals.iter().collect();
        assert_eq!(
            arrived.len(),
            self.table.len(),
            "what arrived and has not left is in the table"
        );
        let known = (0..self.arrivals.index_bound()).filter_map(|index| self.arrivals.at(index));
        assert_eq!(known.count(), self.table.len(), "what is free is not in the list");
        for token in &arrived {
            self.entry(*token);
        }
        self.validate_alarms(&arrived);
        self.wheel.validate();
        self.flights.len()
    }

    /// Panics unless each entry that will expire has an alarm, in the run or in the wheel.
    fn validate_alarms(&self, arrived: &[Token]) {
        let first = self.run.first();
        let begin = first.map(|first| arrived.iter().position(|token| *token == first));
        let begin =
            begin.map_or(arrived.len(), |begin| begin.expect("the first of the run is here"));
        let (before, run) = arrived.split_at(begin);
        let mut armed = 0;
        let mut due = self.run.next_alarm();
        for (token, is_in_run) in
            before.iter().map(|token| (*token, false)).chain(run.iter().map(|token| (*token, true)))
        {
            let &Entry { deadline, version, .. } = self.entry(token);
            if self.wheel.is_armed(token) {
                armed += 1;
                assert!(self.wheel.alarm(token) <= deadline, "no alarm is later than the deadline");
                assert!(
                    deadline != Tick::NEVER || version.is_prolonged(),
                    "only what expires is armed"
                );
            } else if deadline != Tick::NEVER {
                assert!(is_in_run, "what expires has an alarm");
                assert!(deadline >= due, "a run is in order");
                due = if version.is_prolonged() { due } else { deadline };
            }
        }
        assert_eq!(armed, self.wheel.armed(), "the wheel holds what is here, and only that");
    }
}
