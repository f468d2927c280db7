//! Naive: what the cache ought to do, said in the simplest way.
//!
//! A map with deadlines, a list of the keys in the order of eviction, and a list of running computes. Whom
//! FIFO and LRU evict it knows beforehand. Of the other policies it is told, and says whether that may be.

use std::collections::BTreeMap;
use std::time::Duration;

use fleeting::{Policy, RemovalCause, Stats};

use RemovalCause::{Evicted, Expired, Removed, Replaced};

use super::operation::{Key, Settings, YEAR};

/// No two values are alike; those that are stored later have greater numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Value {
    pub(super) number: u64,
    pub(super) weight: u64,
    pub(super) life: Duration,
}

pub(super) type Nanos = u128;
pub(super) type FlightId = usize;
pub(super) type Notice = (Key, Value, RemovalCause);

/// After this long the clock stands still: short of the 584 years that a deadline can tell.
pub(super) const LAST_MOMENT: Nanos = 400 * YEAR as Nanos * 1_000_000_000;
/// Past what the clock can tell: never.
const NEVER: Nanos = u64::MAX as Nanos;

/// What is compared: the fields of `Stats` that can change here.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) inserts: u64,
    pub(super) evictions: u64,
    pub(super) expirations: u64,
    pub(super) computes: u64,
    pub(super) compute_failures: u64,
    pub(super) coalesced: u64,
    pub(super) compute_time: Nanos,
}

impl From<Stats> for Counts {
    fn from(stats: Stats) -> Self {
        assert_eq!(stats.requests(), stats.hits + stats.misses);
        assert_eq!((stats.stale_hits, stats.refreshes, stats.timeouts), (0, 0, 0));
        assert_eq!(stats.listener_panics, 0);
        Self {
            hits: stats.hits,
            misses: stats.misses,
            inserts: stats.inserts,
            evictions: stats.evictions,
            expirations: stats.expirations,
            computes: stats.computes,
            compute_failures: stats.compute_failures,
            coalesced: stats.coalesced,
            compute_time: stats.compute_time.as_nanos(),
        }
    }
}

/// A fresh value.
struct Entry {
    value: Value,
    /// When its TTL ends, and when it has been idle for too long.
    ttl_ends: Nanos,
    idle_ends: Nanos,
}

impl Entry {
    fn deadline(&self) -> Nanos {
        self.ttl_ends.min(self.idle_ends)
    }
}

pub(super) struct Naive {
    settings: Settings,
    pub(super) now: Nanos,
    pub(super) max_size: usize,
    /// Those whose time is over are moved on at once.
    entries: BTreeMap<Key, Entry>,
    /// The keys of the entries, the first to be evicted first; as far as the policy is known.
    order: Vec<Key>,
    /// What the cache may still hold after its time, and how much of that it does.
    pub(super) over: Vec<(Key, Value)>,
    pub(super) unswept: usize,
    /// What has left and is to be told; of what was over, only what was cleared away.
    pub(super) departures: Vec<Notice>,
    /// Whether something fresh had to make way.
    pub(super) is_short_of_room: bool,
    /// The computes that were not written over.
    pub(super) running: BTreeMap<Key, FlightId>,
    pub(super) counts: Counts,
}

impl Naive {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            now: 0,
            max_size: settings.max_size.unwrap_or(usize::MAX),
            entries: BTreeMap::new(),
            order: Vec::new(),
            over: Vec::new(),
            unswept: 0,
            departures: Vec::new(),
            is_short_of_room: false,
            running: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// How many are fresh.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What those weigh that are fresh.
    pub(super) fn weight(&self) -> u128 {
        self.entries.values().map(|entry| u128::from(entry.value.weight)).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, Value)> {
        self.entries.iter().map(|(key, entry)| (*key, entry.value))
    }

    pub(super) fn deadlines(&self) -> Vec<Nanos> {
        self.entries.values().map(Entry::deadline).collect()
    }

    pub(super) fn get(&self, key: Key) -> Option<Value> {
        self.entries.get(&key).map(|entry| entry.value)
    }

    pub(super) fn remaining_ttl(&self, key: Key) -> Option<Duration> {
        let left = match self.entries.get(&key)?.deadline() {
            NEVER => return Some(Duration::MAX),
            deadline => deadline - self.now,
        };
        Some(Duration::from_nanos(u64::try_from(left).expect("that is less than 584 years")))
    }

    /// Whether it is known whom the policy evicts.
    pub(super) fn knows_victims(&self) -> bool {
        self.settings.is_one_shard() && matches!(self.settings.policy, Policy::Fifo | Policy::Lru)
    }

    fn after(&self, duration: Duration) -> Nanos {
        self.now.saturating_add(duration.as_nanos()).min(NEVER)
    }

    /// Notes a use, and returns what is used.
    pub(super) fn touch(&mut self, key: Key) -> Option<Value> {
        let idle_ends = self.after(self.settings.tti);
        let entry = self.entries.get_mut(&key)?;
        entry.idle_ends = idle_ends;
        let value = entry.value;
        self.promote(key);
        Some(value)
    }

    fn promote(&mut self, key: Key) {
        if self.settings.policy == Policy::Lru {
            self.order.retain(|other| *other != key);
            self.order.push(key);
        }
    }

    pub(super) fn set_ttl(&mut self, key: Key, ttl: Duration) -> bool {
        let ttl_ends = self.after(ttl);
        let Some(entry) = self.entries.get_mut(&key) else { return false };
        entry.ttl_ends = ttl_ends;
        self.expire();
        true
    }

    /// Stores a value, and returns the one that it replaces. For it others made way, if it is the cache that
    /// knows who.
    pub(super) fn store(
        &mut self,
        key: Key,
        value: Value,
        ttl: Option<Duration>,
        victims: &[Key],
    ) -> Option<Value> {
        self.counts.inserts += 1;
        let old = self.get(key);
        if self.settings.is_weighed() && value.weight > self.settings.max_weight() {
            self.leave(key, Replaced);
            self.counts.evictions += 1;
            self.departures.push((key, value, Evicted));
            return old;
        }
        let ruled = self.settings.is_ruled.then_some(value.life);
        let ttl_ends = self.after(ttl.or(ruled).unwrap_or(self.settings.ttl));
        let entry = Entry { value, ttl_ends, idle_ends: self.after(self.settings.tti) };
        if entry.deadline() <= self.now {
            // No living entry makes way for one that is over already.
            assert_eq!(victims, []);
            self.leave(key, Replaced);
            self.over.push((key, value));
            self.unswept += 1;
            return old;
        }
        if let Some(old) = old {
            self.departures.push((key, old, Replaced));
            self.promote(key);
        } else {
            self.order.push(key);
        }
        self.entries.insert(key, entry);
        self.make_room(Some(key), victims);
        old
    }

    pub(super) fn set_max_size(&mut self, max_size: usize, victims: &[Key]) {
        self.max_size = max_size;
        self.make_room(None, victims);
    }

    /// Lets others go until all fits.
    fn make_room(&mut self, newcomer: Option<Key>, victims: &[Key]) {
        if !self.knows_victims() {
            return self.let_go(newcomer, victims);
        }
        while !self.fits(0, 0) {
            let is_other = |key: &&Key| Some(**key) != newcomer;
            let first = *self.order.iter().find(is_other).expect("the newcomer alone fits");
            self.evict(first);
        }
    }

    /// Lets those go who did, if that was as it should be.
    fn let_go(&mut self, newcomer: Option<Key>, victims: &[Key]) {
        let held = self.over.iter().map(|(_, value)| u128::from(value.weight)).sum();
        let is_full = !self.fits(self.unswept, held);
        assert!(is_full || victims.is_empty(), "nobody goes where there is room");
        let weights: Vec<_> = victims.iter().map(|victim| self.evict(*victim)).collect();
        assert!(self.fits(0, 0), "the bounds hold");
        assert!(victims.iter().all(|victim| Some(*victim) != newcomer), "the newcomer stays");
        if !self.settings.is_one_shard() {
            // Another shard's may be over, and nobody looked there.
            return;
        }
        // Without a listener their order is not known.
        let known = if self.settings.listens { weights.len().saturating_sub(1) } else { 0 };
        let is_needed = |weight: &u128| !self.fits(1, *weight);
        assert!(
            weights.is_empty() || weights[known..].iter().any(is_needed),
            "no more go than have to"
        );
    }

    /// Whether the fresh entries fit into the bounds together with so many others of this weight.
    fn fits(&self, others: usize, weight: u128) -> bool {
        let is_light = self.weight() + weight <= u128::from(self.settings.max_weight());
        self.len() + others <= self.max_size && (is_light || !self.settings.is_weighed())
    }

    /// Lets go of an entry for want of room; returns what it weighed.
    fn evict(&mut self, key: Key) -> u128 {
        let value = self.leave(key, Evicted).expect("a victim was there, and fresh");
        self.counts.evictions += 1;
        self.is_short_of_room = true;
        u128::from(value.weight)
    }

    fn leave(&mut self, key: Key, cause: RemovalCause) -> Option<Value> {
        let Entry { value, .. } = self.entries.remove(&key)?;
        self.order.retain(|other| *other != key);
        self.departures.push((key, value, cause));
        Some(value)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Value> {
        self.leave(key, Removed)
    }

    /// A compute for a key without an entry cannot be asked about, and is written over.
    pub(super) fn retain(&mut self, keep: impl Fn(&Value) -> bool) -> usize {
        let entries = &self.entries;
        self.running.retain(|key, _| entries.contains_key(key));
        let gone: Vec<Key> =
            self.iter().filter(|(_, value)| !keep(value)).map(|(key, _)| key).collect();
        for key in &gone {
            self.remove(*key);
            self.running.remove(key);
        }
        gone.len()
    }

    pub(super) fn retain_keys(&mut self, keep: impl Fn(Key) -> bool) -> usize {
        self.running.retain(|key, _| keep(*key));
        let gone: Vec<Key> = self.entries.keys().copied().filter(|key| !keep(*key)).collect();
        for key in &gone {
            self.remove(*key);
        }
        gone.len()
    }

    /// What is cleared is not counted, not even what had expired.
    pub(super) fn clear(&mut self) {
        self.retain(|_| false);
        let over = self.over.drain(..).map(|(key, value)| (key, value, Expired));
        self.departures.extend(over);
        self.unswept = 0;
        self.running.clear();
    }

    pub(super) fn advance(&mut self, duration: Duration) {
        self.now += duration.as_nanos();
        self.expire();
    }

    fn expire(&mut self) {
        let now = self.now;
        let is_over = |entry: &Entry| entry.deadline() != NEVER && entry.deadline() <= now;
        let expired = self.entries.iter().filter(|(_, entry)| is_over(entry));
        self.over.extend(expired.map(|(key, entry)| (*key, entry.value)));
        let before = self.entries.len();
        self.entries.retain(|_, entry| !is_over(entry));
        let entries = &self.entries;
        self.order.retain(|key| entries.contains_key(key));
        self.unswept += before - self.entries.len();
    }
}
