//! `TinyUFO`: lock-free S3-FIFO with `TinyLFU`, no time.

use super::{Contender, Key, Value};

pub(crate) struct TinyUfo<K, V>(::tinyufo::TinyUfo<K, V>);

/// All entries weigh the same.
const WEIGHT: u16 = 1;

impl<K: Key, V: Value> Contender<K, V> for TinyUfo<K, V> {
    const NAME: &'static str = "TinyUFO";

    fn with_capacity(capacity: usize) -> Self {
        Self(::tinyufo::TinyUfo::new(capacity, capacity))
    }

    fn get(&self, key: &K) -> Option<V> {
        self.0.get(key)
    }

    fn insert(&self, key: K, value: V) {
        self.0.put(key, value, WEIGHT);
    }

    fn remove(&self, key: &K) {
        self.0.remove(key);
    }
}
