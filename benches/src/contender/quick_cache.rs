//! `quick_cache`: sharded, a modified Clock-PRO policy, no time.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use ::quick_cache::sync::Cache;

use super::{Computing, Contender, Key, QUICK_CACHE, Resizable, Value};

pub(crate) struct QuickCache<K, V>(Arc<Cache<K, V>>);

impl<K: Key, V: Value> Contender<K, V> for QuickCache<K, V> {
    const NAME: &'static str = QUICK_CACHE;

    fn with_capacity(capacity: usize) -> Self {
        Self(Arc::new(Cache::new(capacity)))
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

impl Computing for QuickCache<u64, u64> {
    const NAME: &'static str = QUICK_CACHE;

    fn with_capacity(capacity: usize) -> Self {
        Contender::with_capacity(capacity)
    }

    async fn get_or_compute<F>(&self, key: u64, compute: F) -> u64
    where
        F: Future<Output = u64> + Send + 'static,
    {
        let compute = async { Ok::<_, Infallible>(compute.await) };
        let Ok(value) = self.0.get_or_insert_async(&key, compute).await;
        value
    }
}

impl Resizable for QuickCache<u64, u64> {
    fn resize(&self, capacity: usize) {
        self.0.set_capacity(capacity as u64);
    }
}

impl<K, V> Clone for QuickCache<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
