//! `fibre_cache`: sharded, `TinyLFU`, time to live; a thread of its own keeps it in order.

use std::time::Duration;

use ::fibre_cache::{Cache, CacheBuilder};

use super::{Contender, Key, OwnTtl, TTL, Value};

/// All entries cost the same.
const COST: u64 = 1;

pub(crate) struct Fibre<K: Key, V: Value>(Cache<K, V>);

impl<K: Key, V: Value> Contender<K, V> for Fibre<K, V> {
    const NAME: &'static str = "fibre_cache";

    fn with_capacity(capacity: usize) -> Self {
        Self(build(capacity))
    }

    fn get(&self, key: &K) -> Option<V> {
        self.0.get(key, V::clone)
    }

    fn insert(&self, key: K, value: V) {
        self.0.insert(key, value, COST);
    }

    fn remove(&self, key: &K) {
        self.0.invalidate(key);
    }

    fn settle(&self) {
        self.0.run_maintenance();
    }
}

impl OwnTtl for Fibre<u64, u64> {
    const NAME: &'static str = "fibre_cache";

    fn with_capacity(capacity: usize) -> Self {
        Self(build(capacity))
    }

    fn insert_for(&self, key: u64, value: u64, ttl: Duration) {
        self.0.insert_with_ttl(key, value, COST, ttl);
    }

    fn settle(&self) {
        self.0.run_maintenance();
    }
}

fn build<K: Key, V: Value>(capacity: usize) -> Cache<K, V> {
    let builder = CacheBuilder::default().capacity(capacity as u64).time_to_live(TTL);
    builder.build().expect("the settings agree with each other")
}
