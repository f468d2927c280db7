//! One shard: table, nodes, eviction order, wheel and flights, kept true to each other.
//!
//! A shard never locks, waits or reads a clock. What it removes goes to the caller's leftovers.

use std::mem::{self, needs_drop};

use hashbrown::{Equivalent, HashTable};
use slab::Slab;

use crate::clock::Tick;
use crate::panic::Postponed;
use crate::stats::Stats;

use super::fifo::Fifo;
use super::leftovers::{Leftovers, drop_entries};
use super::node::Node;
use super::ring::Token;
use super::wheel::Wheel;

/// How many staged nodes an insert looks at for one that has expired, before it evicts.
const ROOM_BUDGET: usize = 32;
/// How many staged nodes each write looks at, so that a cache without a runtime stays clean.
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
    pub(super) token: Token,
    /// Different for each value stored in the shard, until the number wraps.
    pub(super) version: u32,
    pub(super) key: K,
    pub(super) value: V,
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
    nodes: Slab<Node>,
    order: Fifo,
    wheel: Wheel,
    flights: HashTable<Flight<K, F>>,
    last_generation: u64,
    last_version: u32,
    /// Room that was asked for when the cache was built, and is kept.
    initial_capacity: usize,
    /// What happens under the lock is counted here.
    pub(super) stats: Stats,
}

/// What a look at staged nodes came to.
pub(super) struct Swept {
    pub(super) examined: usize,
    pub(super) expired: usize,
}

/// Storage that is no longer used. Freeing it can take long, and runs destructors: not under the
/// lock.
pub(super) struct Spent<K, V, F> {
    table: HashTable<Entry<K, V>>,
    #[expect(dead_code, reason = "held to be dropped")]
    nodes: Slab<Node>,
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
            nodes: Slab::new(),
            order: Fifo::new(),
            wheel: Wheel::new(),
            flights: HashTable::new(),
            last_generation: 0,
            last_version: 0,
            initial_capacity: 0,
            stats: Stats::default(),
        }
    }

    /// Sets room aside; false if there is not that much memory.
    pub(super) fn reserve(&mut self, capacity: usize) -> bool {
        self.initial_capacity = capacity;
        // The slab cannot be asked whether it would have the memory: a vector can.
        let mut nodes: Vec<Node> = Vec::new();
        let has_memory = self.table.try_reserve(capacity, |_| 0).is_ok()
            && nodes.try_reserve_exact(capacity).is_ok();
        drop(nodes);
        if has_memory {
            self.nodes.reserve(capacity);
        }
        has_memory
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether any entry will ever expire.
    pub(super) fn has_alarms(&self) -> bool {
        !self.wheel.is_empty()
    }

    /// A moment before which nothing is due.
    pub(super) fn next_alarm(&self) -> Option<Tick> {
        self.wheel.next_alarm()
    }

    #[inline]
    pub(super) fn find<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
    ) -> Option<&Entry<K, V>> {
        self.table.find(hash, |entry| key.equivalent(&entry.key))
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
        now: Tick,
    ) -> Result<V, Option<Token>> {
        let entry = self.table.find_mut(hash, |entry| key.equivalent(&entry.key));
        let Some(entry) = entry else { return Err(None) };
        if entry.deadline <= now {
            return Err(Some(entry.token));
        }
        let value = value.take().expect("a value is stored once");
        self.last_version = self.last_version.wrapping_add(1);
        entry.version = self.last_version;
        let old_deadline = mem::replace(&mut entry.deadline, deadline);
        let old_value = mem::replace(&mut entry.value, value);
        let token = entry.token;
        self.stats.inserts += 1;
        // An alarm is never later than the deadline: one that only moves later is left for the
        // alarm to find, and the node is not touched.
        if deadline < old_deadline || deadline == Tick::NEVER && old_deadline != Tick::NEVER {
            self.wheel.arm(&mut self.nodes, token, deadline);
        }
        Ok(old_value)
    }

    /// Stores a new entry. There must be none under this key.
    pub(super) fn add(&mut self, hash: u64, key: K, value: V, deadline: Tick) {
        let vacancy = self.nodes.vacant_entry();
        let token = Token::node(vacancy.key());
        vacancy.insert(Node::new(hash, token));
        self.order.insert(&mut self.nodes, token);
        self.wheel.arm(&mut self.nodes, token, deadline);
        self.last_version = self.last_version.wrapping_add(1);
        let entry = Entry { deadline, token, version: self.last_version, key, value };
        let nodes = &self.nodes;
        self.table.insert_unique(hash, entry, |entry| nodes[entry.token.index()].hash);
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
        let found = self.table.find_entry(hash, |entry| key.equivalent(&entry.key)).ok()?;
        let (entry, _) = found.remove();
        self.forget(entry.token);
        Some(entry)
    }

    /// Removes what stands under the key if its time is over.
    pub(super) fn remove_expired<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: u64,
        key: &Q,
        now: Tick,
        removed: &mut Leftovers<K, V>,
    ) -> bool {
        let found = self.find(hash, key).filter(|entry| entry.deadline <= now);
        let Some(token) = found.map(|entry| entry.token) else { return false };
        self.expire(token, removed);
        true
    }

    /// Makes room for one entry: removes one that has expired, or else the policy's victim. False
    /// if the shard is empty.
    pub(super) fn make_room(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> bool {
        self.advance(now);
        for _ in 0..ROOM_BUDGET {
            match self.expire_one(now, removed) {
                Some(true) => return true,
                Some(false) => {}
                None => break,
            }
        }
        let Some(victim) = self.order.victim() else { return false };
        let entry = self.take(victim);
        removed.entry(entry.key, entry.value);
        self.stats.evictions += 1;
        true
    }

    /// The share of cleaning that each write does. Returns how many entries it removed.
    #[inline]
    pub(super) fn tidy(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> usize {
        if self.wheel.is_tidy(now) {
            return 0;
        }
        self.wheel.advance_over_past(&mut self.nodes, now);
        self.expire_staged(now, WRITE_BUDGET, removed).expired
    }

    /// Begins a sweep: stages what may be due by `now`.
    pub(super) fn advance(&mut self, now: Tick) {
        self.wheel.advance(&mut self.nodes, now);
    }

    /// Looks at up to `budget` staged nodes and removes those whose time is over. When it examines
    /// fewer, the sweep is at its end.
    pub(super) fn expire_staged(
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

    /// Looks at one staged node: was it due? `None` if none is left.
    fn expire_one(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> Option<bool> {
        let token = self.wheel.take_staged(&mut self.nodes)?;
        let node = &self.nodes[token.index()];
        let deadline = if node.alarm > now { node.alarm } else { self.entry(token).deadline };
        if deadline > now {
            self.wheel.arm(&mut self.nodes, token, deadline);
            return Some(false);
        }
        self.expire(token, removed);
        Some(true)
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
            let nodes = &self.nodes;
            let kept = self.initial_capacity.max(len * 2);
            self.table.shrink_to(kept, |entry| nodes[entry.token.index()].hash);
        }
        None
    }

    /// Takes everything out, flights included.
    pub(super) fn clear(&mut self) -> Spent<K, V, F> {
        let flights = mem::take(&mut self.flights);
        Spent { flights, ..self.take_entries() }
    }

    fn take_entries(&mut self) -> Spent<K, V, F> {
        self.order = Fifo::new();
        self.wheel = Wheel::new();
        Spent {
            table: mem::take(&mut self.table),
            nodes: mem::take(&mut self.nodes),
            flights: HashTable::new(),
        }
    }

    /// The entry of a node, found by what the node knows.
    fn entry(&self, token: Token) -> &Entry<K, V> {
        let hash = self.nodes[token.index()].hash;
        let entry = self.table.find(hash, |entry| entry.token == token);
        entry.expect("a node has an entry in the table")
    }

    /// Takes the entry of a node out of everything.
    fn take(&mut self, token: Token) -> Entry<K, V> {
        let hash = self.nodes[token.index()].hash;
        let found = self.table.find_entry(hash, |entry| entry.token == token).ok();
        let (entry, _) = found.expect("a node has an entry in the table").remove();
        self.forget(token);
        entry
    }

    /// Takes a node out, after its entry.
    fn forget(&mut self, token: Token) {
        self.order.remove(&mut self.nodes, token);
        self.wheel.disarm(&mut self.nodes, token);
        self.nodes.remove(token.index());
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

/// Iteration, a few nodes at a time.
impl<K: Clone, V: Clone, F> Shard<K, V, F> {
    /// Copies the entries of up to `budget` nodes from index `from` on. Returns where to go on.
    pub(super) fn copy(
        &self,
        from: usize,
        budget: usize,
        copies: &mut Copies<K, V>,
    ) -> Option<usize> {
        let end = self.nodes.capacity().min(from.saturating_add(budget));
        for index in from..end {
            if self.nodes.contains(index) {
                let entry = self.entry(Token::node(index));
                // One after the other: if the second panics, the first is dropped under no lock.
                copies.keys.push(entry.key.clone());
                copies.values.push((entry.value.clone(), entry.deadline));
            }
        }
        (end < self.nodes.capacity()).then_some(end)
    }
}

#[cfg(any(test, feature = "test-util"))]
impl<K, V, F> Shard<K, V, F> {
    /// Panics unless table, nodes, eviction order, wheel and flights agree. Returns how many
    /// flights there are.
    pub(super) fn validate(&self) -> usize {
        assert_eq!(self.table.len(), self.nodes.len(), "each entry has a node");
        assert_eq!(self.order.iter(&self.nodes).count(), self.nodes.len(), "each node is in order");
        for token in self.order.iter(&self.nodes) {
            self.entry(token);
        }
        for entry in &self.table {
            let alarm = self.nodes[entry.token.index()].alarm;
            assert!(alarm <= entry.deadline, "an alarm rings no later than the deadline");
            let timed = entry.deadline != Tick::NEVER;
            assert_eq!(timed, alarm != Tick::NEVER, "what expires has an alarm, and only that");
        }
        let timed = self.table.iter().filter(|entry| entry.deadline != Tick::NEVER).count();
        assert_eq!(timed, self.wheel.armed(), "the wheel holds what expires, and only that");
        self.wheel.validate(&self.nodes);
        self.flights.len()
    }
}
