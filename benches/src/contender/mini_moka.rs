//! mini-moka: moka's smaller sister.

use ::mini_moka::sync::{Cache, ConcurrentCacheExt};

use super::{Contender, Key, MINI_MOKA, TTL, Value};

pub(crate) struct MiniMoka<K, V>(Cache<K, V>);

impl<K: Key, V: Value> Contender<K, V> for MiniMoka<K, V> {
    const NAME: &'static str = MINI_MOKA;

    fn with_capacity(capacity: usize) -> Self {
        Self(Cache::builder().max_capacity(capacity as u64).time_to_live(TTL).build())
    }

    fn get(&self, key: &K) -> Option<V> {
        self.0.get(key)
    }

    fn insert(&self, key: K, value: V) {
        self.0.insert(key, value);
    }

    fn remove(&self, key: &K) {
        self.0.invalidate(key);
    }

    fn settle(&self) {
        self.0.sync();
    }
}
