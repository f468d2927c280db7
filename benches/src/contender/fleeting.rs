//! fleeting: the cache that this is all about, with a time to live and without.

use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use ::fleeting::runtime::Tokio;
use ::fleeting::{Cache, Policy};

use super::policy::{Adaptive, Fifo, Lru, S3Fifo, Sieve, TinyLfu};
use super::{
    ADAPTIVE, Computing, Contender, ETERNAL, FLEETING, Key, LRU, OwnTtl, Resizable, S3_FIFO, SIEVE,
    SPAWNED, TINY_LFU, TTL, Value,
};

/// Entries live for [`TTL`], and make way by policy `P`.
pub(crate) struct Fleeting<K, V, P = Fifo>(Cache<K, V>, PhantomData<P>);

/// Entries never expire.
pub(crate) struct Eternal<K, V>(Cache<K, V>);

/// Computes run as tasks of the tokio runtime in which it was made.
#[derive(Clone)]
pub(crate) struct Spawned(Cache<u64, u64>);

/// A policy, under the name of the contender that has it.
pub(crate) trait Choice: Send + Sync + 'static {
    const NAME: &'static str;
    const POLICY: Policy;
}

impl Choice for Fifo {
    const NAME: &'static str = FLEETING;
    const POLICY: Policy = Policy::Fifo;
}

impl Choice for Lru {
    const NAME: &'static str = LRU;
    const POLICY: Policy = Policy::Lru;
}

impl Choice for Sieve {
    const NAME: &'static str = SIEVE;
    const POLICY: Policy = Policy::Sieve;
}

impl Choice for S3Fifo {
    const NAME: &'static str = S3_FIFO;
    const POLICY: Policy = Policy::S3Fifo;
}

impl Choice for TinyLfu {
    const NAME: &'static str = TINY_LFU;
    const POLICY: Policy = Policy::TinyLfu;
}

impl Choice for Adaptive {
    const NAME: &'static str = ADAPTIVE;
    const POLICY: Policy = Policy::Adaptive;
}

impl<K: Key, V: Value, P: Choice> Contender<K, V> for Fleeting<K, V, P> {
    const NAME: &'static str = P::NAME;

    fn with_capacity(capacity: usize) -> Self {
        Self(build(TTL, capacity, P::POLICY), PhantomData)
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
        Self(build(Duration::MAX, capacity, Policy::Fifo))
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
        Contender::with_capacity(capacity)
    }

    fn insert_for(&self, key: u64, value: u64, ttl: Duration) {
        self.0.entry(key).ttl(ttl).insert(value);
    }
}

impl Computing for Fleeting<u64, u64> {
    const NAME: &'static str = FLEETING;

    fn with_capacity(capacity: usize) -> Self {
        Contender::with_capacity(capacity)
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
        Self(build(Duration::MAX, capacity, Policy::Fifo))
    }

    fn get_or_compute<F>(&self, key: u64, compute: F) -> impl Future<Output = u64> + Send
    where
        F: Future<Output = u64> + Send + 'static,
    {
        self.0.get_or_compute(key, || compute)
    }
}

impl Computing for Spawned {
    const NAME: &'static str = SPAWNED;

    fn with_capacity(capacity: usize) -> Self {
        let builder = Cache::builder().ttl(TTL).max_size(capacity).runtime(Tokio::current());
        Self(builder.spawn_computes(true).build().expect("a capacity is at least 1"))
    }

    fn get_or_compute<F>(&self, key: u64, compute: F) -> impl Future<Output = u64> + Send
    where
        F: Future<Output = u64> + Send + 'static,
    {
        self.0.get_or_compute(key, || compute)
    }
}

impl<P: Choice> Resizable for Fleeting<u64, u64, P> {
    fn resize(&self, capacity: usize) {
        self.0.set_max_size(capacity).expect("a capacity is at least 1");
    }
}

impl<K, V, P> Clone for Fleeting<K, V, P> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<K, V> Clone for Eternal<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

fn build<K: Key, V: Value>(ttl: Duration, capacity: usize, policy: Policy) -> Cache<K, V> {
    let builder = Cache::builder().ttl(ttl).max_size(capacity).policy(policy);
    builder.build().expect("a capacity is at least 1")
}
