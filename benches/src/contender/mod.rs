//! Contenders: the caches that are compared, behind one interface.
//!
//! Each is built as its authors intend, with its defaults, and with a time to live of an hour if it
//! knows of time. They compute one hash a call with the hasher that they chose themselves.

mod cached;
mod fibre_cache;
mod fleeting;
mod foyer;
mod lru;
mod mini_moka;
mod moka;
mod policy;
mod quick_cache;
mod scc;
mod stretto;
mod tiny_ufo;

use std::future::Future;
use std::hash::Hash;
use std::time::Duration;

use crate::round::Entrant;

pub(crate) use self::cached::CachedOwnTtl;
pub(crate) use self::fibre_cache::Fibre;
pub(crate) use self::fleeting::{Eternal, Fleeting, Spawned};
pub(crate) use self::foyer::Foyer;
pub(crate) use self::lru::MutexLru;
pub(crate) use self::moka::{MokaFuture, MokaOwnTtl};
pub(crate) use self::policy::{Adaptive, Fifo, Lru, S3Fifo, Sieve, TinyLfu};
pub(crate) use self::quick_cache::QuickCache;
pub(crate) use self::stretto::Stretto;

/// The names by which the targets refer to contenders.
pub(crate) const FLEETING: &str = "fleeting";
pub(crate) const ETERNAL: &str = "fleeting, no TTL";
pub(crate) const LRU: &str = "fleeting, LRU";
pub(crate) const SIEVE: &str = "fleeting, SIEVE";
pub(crate) const S3_FIFO: &str = "fleeting, S3-FIFO";
pub(crate) const TINY_LFU: &str = "fleeting, TinyLFU";
pub(crate) const ADAPTIVE: &str = "fleeting, adaptive";
pub(crate) const REFRESHED: &str = "fleeting, refresh_after";
pub(crate) const SPAWNED: &str = "fleeting, spawned";
pub(crate) const REMEMBERING: &str = "fleeting, error_ttl";
pub(crate) const QUICK_CACHE: &str = "quick_cache";
pub(crate) const MOKA: &str = "moka";
pub(crate) const MINI_MOKA: &str = "mini-moka";
pub(crate) const FOYER_LRU: &str = "foyer LRU";
pub(crate) const HASHBROWN: &str = "hashbrown";
pub(crate) const BARE: &str = "bare spawning";

/// How long entries live, in contenders that know of time.
pub(crate) const TTL: Duration = Duration::from_hours(1);

/// What is asked of a key.
pub(crate) trait Key: Hash + Eq + Clone + Send + Sync + 'static {}

impl<T: Hash + Eq + Clone + Send + Sync + 'static> Key for T {}

/// What is asked of a value.
pub(crate) trait Value: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> Value for T {}

/// A cache that any thread may call.
pub(crate) trait Contender<K, V>: Send + Sync + 'static {
    const NAME: &'static str;

    fn with_capacity(capacity: usize) -> Self;
    fn get(&self, key: &K) -> Option<V>;
    /// Stores a value, also in place of another.
    fn insert(&self, key: K, value: V);
    fn remove(&self, key: &K);
    /// Does what earlier calls have left for later.
    fn settle(&self) {}
}

/// A cache whose entries may have times to live of their own.
pub(crate) trait OwnTtl: Send + Sync + 'static {
    const NAME: &'static str;

    fn with_capacity(capacity: usize) -> Self;
    fn insert_for(&self, key: u64, value: u64, ttl: Duration);
    fn settle(&self) {}
}

/// A cache that runs one compute for all who ask for a key at the same time.
pub(crate) trait Computing: Clone + Send + Sync + 'static {
    const NAME: &'static str;

    fn with_capacity(capacity: usize) -> Self;
    fn get_or_compute<F>(&self, key: u64, compute: F) -> impl Future<Output = u64> + Send
    where
        F: Future<Output = u64> + Send + 'static;
}

/// A cache that gets another capacity while it is in use.
pub(crate) trait Resizable: Contender<u64, u64> {
    fn resize(&self, capacity: usize);
}

/// A workload that any contender can enter.
pub(crate) trait Enter<K, V> {
    fn enter<C: Contender<K, V>>(&self) -> Entrant;
}

/// A workload that any computing contender can enter.
pub(crate) trait EnterComputing {
    fn enter<C: Computing>(&self) -> Entrant;
}

/// Everybody, at the start of a workload.
pub(crate) fn line_up<K: Key, V: Value>(workload: &impl Enter<K, V>) -> Vec<Entrant> {
    vec![
        workload.enter::<Fleeting<K, V>>(),
        workload.enter::<Eternal<K, V>>(),
        workload.enter::<QuickCache<K, V>>(),
        workload.enter::<scc::Scc<K, V>>(),
        workload.enter::<MutexLru<K, V>>(),
        workload.enter::<cached::Cached<K, V>>(),
        workload.enter::<Foyer<Fifo, K, V>>(),
        workload.enter::<Foyer<Lru, K, V>>(),
        workload.enter::<Foyer<S3Fifo, K, V>>(),
        workload.enter::<tiny_ufo::TinyUfo<K, V>>(),
        workload.enter::<Fibre<K, V>>(),
        workload.enter::<Stretto<K, V>>(),
        workload.enter::<moka::Moka<K, V>>(),
        workload.enter::<mini_moka::MiniMoka<K, V>>(),
    ]
}

/// Our own policies, beside FIFO, which is the default.
pub(crate) fn line_up_own_policies<K: Key, V: Value>(workload: &impl Enter<K, V>) -> Vec<Entrant> {
    vec![
        workload.enter::<Fleeting<K, V, Lru>>(),
        workload.enter::<Fleeting<K, V, Sieve>>(),
        workload.enter::<Fleeting<K, V, S3Fifo>>(),
        workload.enter::<Fleeting<K, V, TinyLfu>>(),
        workload.enter::<Fleeting<K, V, Adaptive>>(),
    ]
}

/// All of our own policies, and the peers that have one of them.
pub(crate) fn line_up_policies<K: Key, V: Value>(workload: &impl Enter<K, V>) -> Vec<Entrant> {
    let mut entrants = vec![workload.enter::<Fleeting<K, V>>()];
    entrants.extend(line_up_own_policies(workload));
    entrants.extend([
        workload.enter::<MutexLru<K, V>>(),
        workload.enter::<Foyer<Lru, K, V>>(),
        workload.enter::<Foyer<Sieve, K, V>>(),
        workload.enter::<Foyer<S3Fifo, K, V>>(),
        workload.enter::<Foyer<TinyLfu, K, V>>(),
        workload.enter::<moka::Moka<K, V>>(),
        workload.enter::<QuickCache<K, V>>(),
    ]);
    entrants
}

/// Everybody who computes.
///
/// `fibre_cache` is not among them: its loader is a part of the cache, not of the call.
pub(crate) fn line_up_computing(workload: &impl EnterComputing) -> Vec<Entrant> {
    vec![
        workload.enter::<Fleeting<u64, u64>>(),
        workload.enter::<Eternal<u64, u64>>(),
        workload.enter::<QuickCache<u64, u64>>(),
        workload.enter::<Foyer<Fifo, u64, u64>>(),
        workload.enter::<MokaFuture>(),
    ]
}
