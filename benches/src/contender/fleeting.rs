//! fleeting: the cache that this is all about, with a time to live and without.

use std::future::Future;
use std::time::Duration;

use ::fleeting::Cache;

use super::{Computing, Contender, ETERNAL, FLEETING, Key, OwnTtl, TTL, Value};

/// Entries live for [`TTL`].
pub(crate) struct Fleeting<K, V>(Cache<K, V>);

/// Entries never expire.
pub(crate) struct Eternal<K, V>(Cache<K, V>);

impl<K: Key, V: Value> Contender<K, V> for Fleeting<K, V> {
    const NAME: &'static str = FLEETING;

    fn with_capacity(capacity: usize) -> Self {
        Self(build(TTL, capacity))
    }

    fn get(&self, key: &K) -> Option<V> {
        self.0.get(key)
    }

    fn insert(&self, key: K, value: V) {
        self.0.insert(key, value);
    }

    fn remove(&self, key: &K) {
        self.0.remove(key);
    }
}

impl<K: Key, V: Value> Contender<K, V> for Eternal<K, V> {
    const NAME: &'static str = ETERNAL;

    fn with_capacity(capacity: usize) -> Self {
        Self(build(Duration::MAX, capacity))
    }

    fn get(&self, key: &K) -> Option<V> {
        self.0.get(key)
    }

    fn insert(&self, key: K, value: V) {
        self.0.insert(key, value);
    }

    fn remove(&self, key: &K) {
        self.0.remove(key);
    }
}

impl OwnTtl for Fleeting<u64, u64> {
    const NAME: &'static str = FLEETING;

    fn with_capacity(capacity: usize) -> Self {
        Self(build(TTL, capacity))
    }

    fn insert_for(&self, key: u64, value: u64, ttl: Duration) {
        self.0.entry(key).ttl(ttl).insert(value);
    }
}

impl Computing for Fleeting<u64, u64> {
    const NAME: &'static str = FLEETING;

    fn with_capacity(capacity: usize) -> Self {
        Self(build(TTL, capacity))
    }

    fn get_or_compute<F>(&self, key: u64, compute: F) -> impl Future<Output = u64> + Send
    where
        F: Future<Output = u64> + Send + 'static,
    {
        self.0.get_or_compute(key, || compute)
    }
}

impl Computing for Eternal<u64, u64> {
    const NAME: &'static str = ETERNAL;

    fn with_capacity(capacity: usize) -> Self {
        Self(build(Duration::MAX, capacity))
    }

    fn get_or_compute<F>(&self, key: u64, compute: F) -> impl Future<Output = u64> + Send
    where
        F: Future<Output = u64> + Send + 'static,
    {
        self.0.get_or_compute(key, || compute)
    }
}

impl<K, V> Clone for Fleeting<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Clone for Eternal<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

fn build<K: Key, V: Value>(ttl: Duration, capacity: usize) -> Cache<K, V> {
    let builder = Cache::builder().ttl(ttl).max_size(capacity);
    builder.build().expect("a capacity is at least 1")
}
