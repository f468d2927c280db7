//! `CacheBuilder`: a cache's settings, validated.

use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::time::Duration;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::expiry::Expiry;
use crate::hash::DefaultHashBuilder;
use crate::runtime::Runtime;
use crate::store::Store;
use crate::sweeper::{Sweepable, Sweeper};
use crate::sync::{Arc, Weak};

const DEFAULT_CLEANUP_INTERVAL: Duration = Duration::from_secs(1);

/// The settings of a cache; made by [`Cache::builder`].
///
/// ```
/// use std::time::Duration;
/// use fleeting::Cache;
///
/// let cache: Cache<u64, String> =
///     Cache::builder().ttl(Duration::from_secs(300)).max_size(1000).build()?;
/// # Ok::<(), fleeting::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct CacheBuilder<K, V, S = DefaultHashBuilder> {
    ttl: Duration,
    max_size: Option<usize>,
    initial_capacity: usize,
    hasher: S,
    runtime: Option<Arc<dyn Runtime>>,
    cleanup_interval: Duration,
    entries: PhantomData<fn(K) -> V>,
}

impl<K, V> CacheBuilder<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            ttl: Duration::MAX,
            max_size: None,
            initial_capacity: 0,
            hasher: DefaultHashBuilder::default(),
            runtime: None,
            cleanup_interval: DEFAULT_CLEANUP_INTERVAL,
            entries: PhantomData,
        }
    }
}

impl<K, V, S> CacheBuilder<K, V, S> {
    /// Sets how long an entry is fresh, from the moment it is stored. The default is for ever.
    ///
    /// `Duration::ZERO`: values are stored but never readable, so only computes that run at the
    /// same time are shared. A time too long for the clock (584 years), `Duration::MAX` included:
    /// never expires. A time of a minute or more may end some milliseconds early, see
    /// [choosing the TTL](crate#choosing-the-ttl-and-the-size).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the most entries; never exceeded, at no moment. The default is no bound.
    ///
    /// A new entry in a full cache takes the place of one that has expired, or else of the one that
    /// was stored first. (The search for an expired one is bounded: it can fail while dozens of
    /// entries are at the end of a TTL that was prolonged.) A value whose own TTL is zero takes no
    /// living entry's place. Up to 1,023 entries that order is exact; above, the cache is divided into
    /// shards and the order holds in each of them. Entries that have expired and were not freed yet
    /// count.
    pub fn max_size(mut self, max_size: usize) -> Self {
        self.max_size = Some(max_size);
        self
    }

    /// Sets aside room for this many entries now; more than `max_size` is cut to that. The default
    /// is 0.
    pub fn initial_capacity(mut self, initial_capacity: usize) -> Self {
        self.initial_capacity = initial_capacity;
        self
    }

    /// Sets another hasher. The default is [`DefaultHashBuilder`], which is keyed at random.
    pub fn hasher<S2>(self, hasher: S2) -> CacheBuilder<K, V, S2> {
        CacheBuilder {
            ttl: self.ttl,
            max_size: self.max_size,
            initial_capacity: self.initial_capacity,
            hasher,
            runtime: self.runtime,
            cleanup_interval: self.cleanup_interval,
            entries: PhantomData,
        }
    }

    /// Sets who runs background work, tells the time and waits. The default is none, see
    /// [without a runtime](crate#without-a-runtime).
    ///
    /// Nothing runs until a value is stored that will expire.
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// Sets the least time between two background sweeps. The default is one second.
    ///
    /// It bounds how often the background task wakes and how long an expired value may keep its
    /// memory; a value is unreadable from its deadline on, whatever the interval. Without a runtime
    /// it has no effect.
    pub fn cleanup_interval(mut self, cleanup_interval: Duration) -> Self {
        self.cleanup_interval = cleanup_interval;
        self
    }

    fn validate(&self) -> Result<(), BuildError> {
        if self.max_size == Some(0) {
            return Err(BuildError { setting: "max_size", rule: "must be at least 1" });
        }
        if self.cleanup_interval.is_zero() {
            return Err(BuildError { setting: "cleanup_interval", rule: "must be more than zero" });
        }
        Ok(())
    }
}

impl<K, V, S> CacheBuilder<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Builds the cache.
    ///
    /// # Errors
    ///
    /// If a setting breaks its rule: `max_size` and `cleanup_interval` must not be zero, and
    /// `initial_capacity` must fit into memory.
    pub fn build(self) -> Result<Cache<K, V, S>, BuildError> {
        self.validate()?;
        let clock = Clock::new(self.runtime.as_ref());
        let store = Store::new(self.max_size, self.initial_capacity, clock);
        let Some(store) = store else {
            return Err(BuildError { setting: "initial_capacity", rule: "must fit into memory" });
        };
        let engine = Arc::new_cyclic(|engine: &Weak<Engine<K, V, S>>| {
            let target: Weak<dyn Sweepable> = Weak::<Engine<K, V, S>>::clone(engine);
            let sweeper =
                self.runtime.map(|runtime| Sweeper::new(target, runtime, self.cleanup_interval));
            Engine { store, hasher: self.hasher, expiry: Expiry { ttl: self.ttl.into() }, sweeper }
        });
        Ok(Cache { engine })
    }
}

impl<K, V, S> fmt::Debug for CacheBuilder<K, V, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CacheBuilder")
            .field("ttl", &self.ttl)
            .field("max_size", &self.max_size)
            .field("initial_capacity", &self.initial_capacity)
            .field("has_runtime", &self.runtime.is_some())
            .field("cleanup_interval", &self.cleanup_interval)
            .finish_non_exhaustive()
    }
}

/// A setting broke its rule. The message names both: "`max_size` must be at least 1".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    setting: &'static str,
    rule: &'static str,
}

impl BuildError {
    /// The name of the builder's method that was given a bad value.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.setting, self.rule)
    }
}

impl Error for BuildError {}
