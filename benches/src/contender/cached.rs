//! cached: its sharded stores, with LRU and a time to live.

use std::time::{Duration, Instant};

use ::cached::{Expires, ShardedExpiringLruCache, ShardedLruTtlCache};

use super::{Contender, Key, OwnTtl, TTL, Value};

pub(crate) struct Cached<K, V>(ShardedLruTtlCache<K, V>);

/// Values say themselves until when they are fresh.
pub(crate) struct CachedOwnTtl(ShardedExpiringLruCache<u64, Timed>);

impl<K: Key, V: Value> Contender<K, V> for Cached<K, V> {
    const NAME: &'static str = "cached";

    fn with_capacity(capacity: usize) -> Self {
        Self(ShardedLruTtlCache::new(capacity, TTL))
    }

    fn get(&self, key: &K) -> Option<V> {
        self.0.get(key)
    }

    fn insert(&self, key: K, value: V) {
        self.0.set(key, value);
    }

    fn remove(&self, key: &K) {
        self.0.remove(key);
    }
}

impl OwnTtl for CachedOwnTtl {
    const NAME: &'static str = "cached";

    fn with_capacity(capacity: usize) -> Self {
        Self(ShardedExpiringLruCache::new(capacity))
    }

    fn insert_for(&self, key: u64, value: u64, ttl: Duration) {
        self.0.set(key, Timed { _value: value, expires_at: Instant::now() + ttl });
    }
}

#[derive(Clone)]
struct Timed {
    _value: u64,
    expires_at: Instant,
}

impl Expires for Timed {
    fn is_expired(&self) -> bool {
        Instant::now() >= self.expires_at
    }

    fn expires_at(&self) -> Option<Instant> {
        Some(self.expires_at)
    }
}
