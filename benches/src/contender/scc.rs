//! scc's `HashCache`: a hash map with a pseudo-LRU in each bucket, no time.

use ::scc::HashCache;

use super::{Contender, Key, Value};

pub(crate) struct Scc<K: Key, V: Value>(HashCache<K, V>);

impl<K: Key, V: Value> Contender<K, V> for Scc<K, V> {
    const NAME: &'static str = "scc HashCache";

    fn with_capacity(capacity: usize) -> Self {
        // Full size from the start: while it grows, it evicts from buckets that happen to be full.
        Self(HashCache::with_capacity(capacity, capacity))
    }

    fn get(&self, key: &K) -> Option<V> {
        self.0.get_sync(key).map(|entry| entry.get().clone())
    }

    fn insert(&self, key: K, value: V) {
        // `put` would leave a value that is there.
        self.0.entry_sync(key).put_entry(value);
    }

    fn remove(&self, key: &K) {
        self.0.remove_sync(key);
    }
}
