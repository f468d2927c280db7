//! Flights: the computes that are running for keys of one shard, and those that failed lately.

use std::collections::BTreeSet;
use std::mem;
use std::time::Duration;

use hashbrown::{Equivalent, HashTable};

use crate::clock::{Clock, Tick};
use crate::panic::Postponed;
use crate::sync::Arc;

use super::Handle;
use super::digest::{Digest, KeyHash};
use super::leftovers::{Failure, Leftovers};

/// Room for more flights than this is given back when the last one ends.
const KEPT: usize = 256;
/// No more failures than this are remembered in a shard; the earliest is forgotten first.
const REMEMBERED: usize = 1024;
/// How long a value is left alone after the first attempt to renew it failed. Doubles with each.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
/// It doubles up to this. When nobody has tried again for so long after it, the row of failures is over.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// A compute that is running for a key, or has failed.
pub(super) struct Flight<K, F> {
    hash: KeyHash,
    generation: u64,
    key: Key<K>,
    state: State<F>,
    /// How often in a row an attempt to renew the key's value has failed.
    failures: u32,
}

/// The key of a flight, which is stored with its value.
enum Key<K> {
    Own(K),
    /// Also lent to whoever lands the flight, for the user's code to look at under no lock.
    Lent(Arc<K>),
}

impl<K> Key<K> {
    #[inline]
    fn get(&self) -> &K {
        match self {
            Self::Own(key) => key,
            Self::Lent(key) => key,
        }
    }

    /// `None` while it is lent.
    #[inline]
    fn into_inner(self) -> Option<K> {
        match self {
            Self::Own(key) => Some(key),
            Self::Lent(key) => Arc::into_inner(key),
        }
    }
}

enum State<F> {
    /// The handle is the caller's affair.
    Running(F),
    Failed(Rest),
}

/// What remains of a compute that failed.
struct Rest {
    /// What those who ask are told, and until when.
    failure: Option<(Failure, Tick)>,
    /// From when on the value may be renewed again.
    retry_at: Tick,
    /// Until when it counts how many attempts have failed in a row.
    end: Tick,
}

impl Rest {
    /// When the first of it is forgotten.
    fn alarm(&self) -> Tick {
        self.failure.as_ref().map_or(self.end, |(_, until)| *until)
    }
}

/// What a request finds of the computes for its key.
pub(super) enum Found<'a, F> {
    Running(&'a F),
    /// One has failed, and is not to be repeated yet.
    Failed(&'a Failure),
}

pub(super) struct Flights<K, F> {
    table: HashTable<Flight<K, F>>,
    last_generation: u64,
    /// The handle of one that has landed: the next can have what it holds.
    spare: Option<F>,
    /// When something of each that has failed is forgotten; with its generation and hash.
    rests: BTreeSet<(Tick, u64, KeyHash)>,
    /// Whether keys can be lent.
    lends_keys: bool,
}

impl<K, F> Flight<K, F> {
    fn found(&self, clock: &Clock) -> Option<Found<'_, F>> {
        match &self.state {
            State::Running(handle) => Some(Found::Running(handle)),
            State::Failed(Rest { failure: Some((failure, until)), .. }) => {
                (!clock.has_passed(*until)).then_some(Found::Failed(failure))
            }
            State::Failed(_) => None,
        }
    }

    /// For how long the next attempt waits if this one fails.
    fn back_off(&self) -> Duration {
        FIRST_BACK_OFF.saturating_mul(1 << self.failures.min(16)).min(LONGEST_BACK_OFF)
    }

    /// Takes the key out, to be stored.
    #[inline]
    pub(super) fn split(self) -> (K, Flight<(), F>) {
        let Self { hash, generation, key, state, failures } = self;
        let key = key.into_inner().expect("a key is not lent when it is stored");
        (key, Flight { hash, generation, key: Key::Own(()), state, failures })
    }

    pub(super) fn leave<V>(self, removed: &mut Leftovers<K, V>) {
        if let Some(key) = self.key.into_inner() {
            removed.key(key);
        }
        if let State::Failed(Rest { failure: Some((failure, _)), .. }) = self.state {
            removed.failure(failure);
        }
    }
}

impl<K, F> Flights<K, F> {
    pub(super) const fn new(lends_keys: bool) -> Self {
        Self {
            table: HashTable::new(),
            last_generation: 0,
            spare: None,
            rests: BTreeSet::new(),
            lends_keys,
        }
    }

    /// Panics unless those that have failed are known by when they are forgotten. Returns how many
    /// computes are running.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn validate(&self) -> usize {
        let mut running = 0;
        for flight in &self.table {
            match &flight.state {
                State::Running(_) => running += 1,
                State::Failed(rest) => {
                    let known = (rest.alarm(), flight.generation, flight.hash);
                    assert!(self.rests.contains(&known), "a failure is forgotten in the end");
                }
            }
        }
        assert_eq!(running + self.rests.len(), self.table.len(), "no other is to be forgotten");
        assert!(self.rests.len() <= REMEMBERED, "few are remembered");
        running
    }

    #[inline]
    fn get<Q: Equivalent<K> + ?Sized>(&self, hash: KeyHash, key: &Q) -> Option<&Flight<K, F>> {
        if self.table.is_empty() {
            return None;
        }
        self.table.find(hash.digest().spread(), |flight| key.equivalent(flight.key.get()))
    }

    /// What a request finds for a key.
    #[inline]
    pub(super) fn find<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        clock: &Clock,
    ) -> Option<Found<'_, F>> {
        self.get(hash, key)?.found(clock)
    }

    /// Whether a flight is under way for a key.
    pub(super) fn has_running(&self, digest: Digest, key: &K) -> bool
    where
        K: Eq,
    {
        let mut of_key = self.table.iter_hash(digest.spread());
        of_key.any(|flight| matches!(flight.state, State::Running(_)) && flight.key.get() == key)
    }

    /// Whether a flight is under way for a key that is open.
    pub(super) fn is_running<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        clock: &Clock,
    ) -> bool
    where
        F: Handle,
    {
        self.get(hash, key).is_some_and(|flight| match &flight.state {
            State::Running(handle) => handle.is_open(clock),
            State::Failed(_) => false,
        })
    }

    /// Whether nothing speaks against renewing the value of a key: no flight that is open, and no
    /// attempt that failed too lately.
    pub(super) fn may_renew<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        clock: &Clock,
    ) -> bool
    where
        F: Handle,
    {
        self.get(hash, key).is_none_or(|flight| match &flight.state {
            // One whose time is up has failed, also when nobody has come to end it yet.
            State::Running(handle) => match handle.overdue_since(clock) {
                Some(limit) => clock.has_passed(limit.after(flight.back_off())),
                None => !handle.is_open(clock),
            },
            State::Failed(rest) => clock.has_passed(rest.retry_at),
        })
    }

    /// Registers a flight. There must be none for this key, nor the failure of one.
    #[inline]
    pub(super) fn begin(
        &mut self,
        hash: KeyHash,
        key: K,
        failures: u32,
        begin: impl FnOnce(u64, Option<F>) -> F,
    ) {
        self.last_generation += 1;
        let generation = self.last_generation;
        let key = if self.lends_keys { Key::Lent(Arc::new(key)) } else { Key::Own(key) };
        let state = State::Running(begin(generation, self.spare.take()));
        self.add(Flight { hash, generation, key, state, failures });
    }

    /// Lends the key of a flight, if it can and there still is one.
    pub(super) fn lend_key(&self, hash: KeyHash, generation: u64) -> Option<Arc<K>> {
        let spread = hash.digest().spread();
        let flight = self.table.find(spread, |flight| flight.generation == generation)?;
        match &flight.key {
            Key::Own(_) => None,
            Key::Lent(key) => Some(Arc::clone(key)),
        }
    }

    /// Takes a flight out, if a write has not done so before.
    #[inline]
    pub(super) fn end(&mut self, hash: KeyHash, generation: u64) -> Option<Flight<K, F>> {
        let spread = hash.digest().spread();
        let found = self.table.find_entry(spread, |flight| flight.generation == generation);
        let (flight, _) = found.ok()?.remove();
        if self.table.is_empty() && self.table.capacity() > KEPT {
            self.table = HashTable::new();
        }
        Some(flight)
    }

    /// Takes leave of a flight that has landed.
    #[inline]
    pub(super) fn retire(&mut self, flight: Flight<(), F>)
    where
        F: Handle,
    {
        if let State::Running(handle) = flight.state {
            if handle.is_reusable() {
                self.spare = Some(handle);
            }
        }
    }

    /// Puts a flight back that was ended under this very lock.
    #[cold]
    pub(super) fn resume(&mut self, key: K, flight: Flight<(), F>) {
        let Flight { hash, generation, state, failures, .. } = flight;
        let key = if self.lends_keys { Key::Lent(Arc::new(key)) } else { Key::Own(key) };
        self.add(Flight { hash, generation, key, state, failures });
    }

    /// Puts a flight back that has failed: those who ask are told until a given time, and if it was to
    /// renew a value at `renews_at`, the next attempt is put off.
    ///
    /// Returns when the first of that is forgotten.
    pub(super) fn rest<V>(
        &mut self,
        flight: Flight<K, F>,
        failure: Option<(Failure, Tick)>,
        renews_at: Option<Tick>,
        removed: &mut Leftovers<K, V>,
    ) -> Tick {
        let retry_at = renews_at.map_or(Tick::START, |now| now.after(flight.back_off()));
        let end = renews_at.map_or(Tick::START, |_| retry_at.after(LONGEST_BACK_OFF));
        while self.rests.len() >= REMEMBERED {
            self.forget_first(Tick::NEVER, removed);
        }
        let rest = Rest { failure, retry_at, end };
        let alarm = rest.alarm();
        self.rests.insert((alarm, flight.generation, flight.hash));
        let failures = flight.failures.saturating_add(1);
        let state = State::Failed(rest);
        self.add(Flight { state, failures, ..flight });
        alarm
    }

    /// When the first failure is to be forgotten.
    #[inline]
    pub(super) fn next_alarm(&self) -> Tick {
        self.rests.first().map_or(Tick::NEVER, |(alarm, ..)| *alarm)
    }

    /// Forgets the failures whose time is over; at most `budget` of them. Tells how many were looked at.
    pub(super) fn forget<V>(
        &mut self,
        now: Tick,
        budget: usize,
        removed: &mut Leftovers<K, V>,
    ) -> usize {
        let mut looks = 0;
        while looks < budget && self.next_alarm() <= now {
            self.forget_first(now, removed);
            looks += 1;
        }
        looks
    }

    /// Forgets the first failure; how many there were in a row only if that is over by `now`.
    fn forget_first<V>(&mut self, now: Tick, removed: &mut Leftovers<K, V>) {
        let Some((_, generation, hash)) = self.rests.pop_first() else { return };
        let Some(mut flight) = self.end(hash, generation) else { return };
        match &mut flight.state {
            State::Failed(rest) if rest.end > now => {
                rest.failure.take().into_iter().for_each(|(failure, _)| removed.failure(failure));
                self.rests.insert((rest.end, generation, hash));
                self.add(flight);
            }
            _ => flight.leave(removed),
        }
    }

    /// Fences off the flight of a key: its outcome will not be stored. A failure is forgotten.
    ///
    /// Returns how often in a row an attempt to renew the key's value has failed.
    #[inline]
    pub(super) fn fence<Q: Equivalent<K> + ?Sized, V>(
        &mut self,
        hash: KeyHash,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) -> u32 {
        if self.table.is_empty() { 0 } else { self.fence_one(hash, key, removed) }
    }

    #[cold]
    fn fence_one<Q: Equivalent<K> + ?Sized, V>(
        &mut self,
        hash: KeyHash,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) -> u32 {
        self.supersede(hash, key, |_| false, removed)
    }

    /// Fences off the flights that are under way for keys of which this holds.
    pub(super) fn fence_where<V>(
        &mut self,
        mut is_fenced: impl FnMut(KeyHash, &K) -> bool,
        removed: &mut Leftovers<K, V>,
    ) {
        let is_fenced = |flight: &mut Flight<K, F>| {
            matches!(flight.state, State::Running(_)) && is_fenced(flight.hash, flight.key.get())
        };
        self.table.extract_if(is_fenced).for_each(|flight| flight.leave(removed));
    }

    /// Copies the keys of all flights that are under way, with what [ends](Self::end) them.
    pub(super) fn copy_running(&self, running: &mut Vec<(K, KeyHash, u64)>)
    where
        K: Clone,
    {
        running
            .extend(self.running().map(|(key, hash, generation)| (key.clone(), hash, generation)));
    }

    /// All flights that are under way: their keys, and what [ends](Self::end) them.
    pub(super) fn running(&self) -> impl Iterator<Item = (&K, KeyHash, u64)> {
        let flights = self.table.iter().filter(|flight| matches!(flight.state, State::Running(_)));
        flights.map(|flight| (flight.key.get(), flight.hash, flight.generation))
    }

    /// The key of a flight, if that is still there.
    pub(super) fn key(&self, hash: KeyHash, generation: u64) -> Option<&K> {
        let is_meant = |flight: &Flight<K, F>| flight.generation == generation;
        self.table.find(hash.digest().spread(), is_meant).map(|flight| flight.key.get())
    }

    /// The same, where a flight that `has_failed` counts as an attempt that did.
    #[inline]
    pub(super) fn supersede<Q: Equivalent<K> + ?Sized, V>(
        &mut self,
        hash: KeyHash,
        key: &Q,
        has_failed: impl FnOnce(&F) -> bool,
        removed: &mut Leftovers<K, V>,
    ) -> u32 {
        let Some(flight) = self.take_key(hash, key) else { return 0 };
        let failures = match &flight.state {
            State::Failed(rest) => {
                self.rests.remove(&(rest.alarm(), flight.generation, flight.hash));
                flight.failures
            }
            State::Running(handle) if has_failed(handle) => flight.failures.saturating_add(1),
            State::Running(_) => 0,
        };
        flight.leave(removed);
        failures
    }

    #[inline]
    fn take_key<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: KeyHash,
        key: &Q,
    ) -> Option<Flight<K, F>> {
        if self.table.is_empty() {
            return None;
        }
        let spread = hash.digest().spread();
        let found = self.table.find_entry(spread, |flight| key.equivalent(flight.key.get()));
        Some(found.ok()?.remove().0)
    }

    /// Takes all of them; later ones get generations of their own.
    pub(super) fn take(&mut self) -> Self {
        Self {
            table: mem::take(&mut self.table),
            last_generation: self.last_generation,
            spare: self.spare.take(),
            rests: mem::take(&mut self.rests),
            lends_keys: self.lends_keys,
        }
    }

    /// Drops every key and every failure, also when some of them panic.
    pub(super) fn drop_contents(&mut self, postponed: &mut Postponed) {
        for Flight { key, state, .. } in mem::take(&mut self.table) {
            postponed.run(|| drop(key));
            postponed.run(|| drop(state));
        }
    }

    #[inline]
    fn add(&mut self, flight: Flight<K, F>) {
        let spread = flight.hash.digest().spread();
        self.table.insert_unique(spread, flight, |flight| flight.hash.digest().spread());
    }
}
