//! The lru crate behind a mutex: what people write by hand.

use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::lru::LruCache;

use super::{Contender, Key, Resizable, Value};

pub(crate) struct MutexLru<K, V>(Mutex<LruCache<K, V>>);

impl<K: Key, V: Value> Contender<K, V> for MutexLru<K, V> {
    const NAME: &'static str = "Mutex<LruCache>";

    fn with_capacity(capacity: usize) -> Self {
        let capacity = NonZero::new(capacity).expect("a capacity is at least 1");
        Self(Mutex::new(LruCache::new(capacity)))
    }

    fn get(&self, key: &K) -> Option<V> {
        self.lock().get(key).cloned()
    }

    fn insert(&self, key: K, value: V) {
        self.lock().put(key, value);
    }

    fn remove(&self, key: &K) {
        self.lock().pop(key);
    }
}

impl Resizable for MutexLru<u64, u64> {
    fn resize(&self, capacity: usize) {
        let capacity = NonZero::new(capacity).expect("a capacity is at least 1");
        self.lock().resize(capacity);
    }
}

impl<K, V> MutexLru<K, V> {
    fn lock(&self) -> MutexGuard<'_, LruCache<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
