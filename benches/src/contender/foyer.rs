//! foyer-memory: sharded, policies to choose from, no time.

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;

use foyer_memory::{
    Cache, CacheBuilder, EvictionConfig, FifoConfig, LfuConfig, LruConfig, S3FifoConfig,
    SieveConfig,
};

use super::policy::{Fifo, Lru, S3Fifo, Sieve, TinyLfu};
use super::{Computing, Contender, FOYER_LRU, Key, Resizable, Value};

/// A cache with policy `P`.
pub(crate) struct Foyer<P, K: Key, V: Value>(Cache<K, V>, PhantomData<P>);

/// An eviction policy.
pub(crate) trait Policy: Send + Sync + 'static {
    const NAME: &'static str;

    fn config() -> EvictionConfig;
}

impl Policy for Fifo {
    const NAME: &'static str = "foyer FIFO";

    fn config() -> EvictionConfig {
        FifoConfig::default().into()
    }
}

impl Policy for Lru {
    const NAME: &'static str = FOYER_LRU;

    fn config() -> EvictionConfig {
        LruConfig::default().into()
    }
}

impl Policy for Sieve {
    const NAME: &'static str = "foyer SIEVE";

    fn config() -> EvictionConfig {
        SieveConfig.into()
    }
}

impl Policy for S3Fifo {
    const NAME: &'static str = "foyer S3-FIFO";

    fn config() -> EvictionConfig {
        S3FifoConfig::default().into()
    }
}

/// W-TinyLFU.
impl Policy for TinyLfu {
    const NAME: &'static str = "foyer LFU";

    fn config() -> EvictionConfig {
        LfuConfig::default().into()
    }
}

impl<P: Policy, K: Key, V: Value> Contender<K, V> for Foyer<P, K, V> {
    const NAME: &'static str = P::NAME;

    fn with_capacity(capacity: usize) -> Self {
        let builder = CacheBuilder::new(capacity).with_eviction_config(P::config());
        Self(builder.build(), PhantomData)
    }

    fn get(&self, key: &K) -> Option<V> {
        self.0.get(key).map(|entry| entry.value().clone())
    }

    fn insert(&self, key: K, value: V) {
        self.0.insert(key, value);
    }

    fn remove(&self, key: &K) {
        self.0.remove(key);
    }
}

/// Must be called from within a tokio runtime, on which it spawns the compute.
impl Computing for Foyer<Fifo, u64, u64> {
    const NAME: &'static str = "foyer FIFO";

    fn with_capacity(capacity: usize) -> Self {
        Contender::with_capacity(capacity)
    }

    async fn get_or_compute<F>(&self, key: u64, compute: F) -> u64
    where
        F: Future<Output = u64> + Send + 'static,
    {
        let compute = async { Ok::<_, Infallible>(compute.await) };
        let entry = self.0.get_or_fetch(&key, || compute).await;
        *entry.expect("the compute does not fail").value()
    }
}

impl<P: Policy> Resizable for Foyer<P, u64, u64> {
    fn resize(&self, capacity: usize) {
        self.0.resize(capacity).expect("its shards have room for an entry each");
    }
}

impl<P, K: Key, V: Value> Clone for Foyer<P, K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}
