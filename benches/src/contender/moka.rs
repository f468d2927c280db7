//! moka: `TinyLFU`, time to live; its bookkeeping is queued and done by whoever calls.

use std::future::Future;
use std::time::{Duration, Instant};

use ::moka::{Expiry, future, sync};

use super::{Computing, Contender, Key, MOKA, OwnTtl, TTL, Value};

/// `moka::sync`.
pub(crate) struct Moka<K: Key, V: Value>(sync::Cache<K, V>);

/// `moka::sync` with an expiry policy that takes the time to live from the value.
pub(crate) struct MokaOwnTtl(sync::Cache<u64, (u64, Duration)>);

/// `moka::future`.
#[derive(Clone)]
pub(crate) struct MokaFuture(future::Cache<u64, u64>);

impl<K: Key, V: Value> Contender<K, V> for Moka<K, V> {
    const NAME: &'static str = MOKA;

    fn with_capacity(capacity: usize) -> Self {
        Self(sync::Cache::builder().max_capacity(capacity as u64).time_to_live(TTL).build())
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
        self.0.run_pending_tasks();
    }
}

impl OwnTtl for MokaOwnTtl {
    const NAME: &'static str = MOKA;

    fn with_capacity(capacity: usize) -> Self {
        Self(sync::Cache::builder().max_capacity(capacity as u64).expire_after(FromValue).build())
    }

    fn insert_for(&self, key: u64, value: u64, ttl: Duration) {
        self.0.insert(key, (value, ttl));
    }

    fn settle(&self) {
        self.0.run_pending_tasks();
    }
}

impl Computing for MokaFuture {
    const NAME: &'static str = MOKA;

    fn with_capacity(capacity: usize) -> Self {
        Self(future::Cache::builder().max_capacity(capacity as u64).time_to_live(TTL).build())
    }

    fn get_or_compute<F>(&self, key: u64, compute: F) -> impl Future<Output = u64> + Send
    where
        F: Future<Output = u64> + Send + 'static,
    {
        self.0.get_with(key, compute)
    }
}

struct FromValue;

impl Expiry<u64, (u64, Duration)> for FromValue {
    fn expire_after_create(
        &self,
        _key: &u64,
        value: &(u64, Duration),
        _created_at: Instant,
    ) -> Option<Duration> {
        Some(value.1)
    }
}
