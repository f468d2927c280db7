//! stretto: `TinyLFU`, time to live; a thread of its own stores what was inserted, or does not.
//!
//! To choose what to evict, version 0.9 walks over all entries: in a large cache that is full, an
//! insert takes as long as that.

use std::time::Duration;

use ::stretto::Cache;

use super::{Contender, Key, OwnTtl, TTL, Value};

/// All entries cost the same.
const COST: i64 = 1;

/// As its documentation advises, for each entry that there is room for.
const COUNTERS: usize = 10;

pub(crate) struct Stretto<K: Key, V: Value>(Cache<K, V>);

impl<K: Key, V: Value> Contender<K, V> for Stretto<K, V> {
    const NAME: &'static str = "stretto";

    fn with_capacity(capacity: usize) -> Self {
        Self(build(capacity))
    }

    fn get(&self, key: &K) -> Option<V> {
        self.0.get(key).map(|value| value.value().clone())
    }

    fn insert(&self, key: K, value: V) {
        self.0.insert_with_ttl(key, value, COST, TTL);
    }

    fn remove(&self, key: &K) {
        self.0.remove(key);
    }

    fn settle(&self) {
        self.0.wait().expect("its thread runs");
    }
}

impl OwnTtl for Stretto<u64, u64> {
    const NAME: &'static str = "stretto";

    fn with_capacity(capacity: usize) -> Self {
        Self(build(capacity))
    }

    fn insert_for(&self, key: u64, value: u64, ttl: Duration) {
        self.0.insert_with_ttl(key, value, COST, ttl);
    }

    fn settle(&self) {
        self.0.wait().expect("its thread runs");
    }
}

fn build<K: Key, V: Value>(capacity: usize) -> Cache<K, V> {
    let cost = i64::try_from(capacity).expect("a capacity is a number of entries");
    Cache::new(COUNTERS * capacity, cost).expect("a capacity is at least 1")
}
