//! Cache: the public handle.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::iter::zip;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use hashbrown::Equivalent;

use crate::builder::{BuildError, CacheBuilder};
use crate::engine::Engine;
use crate::entry::Entry;
use crate::hash::DefaultHashBuilder;
use crate::iter::Iter;
use crate::key::{Borrowed, Owned};
use crate::panic::Postponed;
use crate::scope::Scope;
use crate::stats::Stats;
use crate::store::{Copies, Leftovers, Position, Sweep};
use crate::sync::Arc;

/// An asynchronous in-memory cache with time-to-live.
///
/// A cheap handle: clones share one cache, and the last one to go frees everything at once. All
/// methods but the compute calls, [`close`](Self::close) and [`scope`](Self::scope) are plain
/// functions that never wait for a compute and work on any thread, with or without a runtime.
///
/// ```
/// use std::time::Duration;
/// use fleeting::Cache;
///
/// # futures::executor::block_on(async {
/// let cache: Cache<String, usize> =
///     Cache::builder().ttl(Duration::from_secs(300)).max_size(1000).build()?;
///
/// let length = cache.get_or_compute("key".to_owned(), || async { "value".len() }).await;
/// assert_eq!(length, 5);
/// assert_eq!(cache.get("key"), Some(5));
/// # Ok::<(), fleeting::BuildError>(())
/// # }).unwrap();
/// ```
pub struct Cache<K, V, S = DefaultHashBuilder> {
    pub(crate) engine: Arc<Engine<K, V, S>>,
}

impl<K, V> Cache<K, V> {
    /// Begins to build a cache.
    pub fn builder() -> CacheBuilder<K, V> {
        CacheBuilder::new()
    }
}

/// Reading and writing.
impl<K, V, S> Cache<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Returns the fresh value. Counts one hit or one miss.
    #[inline]
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let hash = self.engine.hash(key);
        self.engine.store.get(hash, key)
    }

    /// Returns the fresh value, seen by neither statistics nor eviction policy. It does not keep the value
    /// from being idle.
    pub fn peek<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let (value, _) = self.engine.store.peek(self.engine.hash(key), key)?;
        Some(value)
    }

    /// Returns the fresh values of several keys, in the order asked. Counts one hit or one miss for each.
    ///
    /// ```
    /// # use fleeting::Cache;
    /// # let cache: Cache<String, u32> = Cache::builder().build()?;
    /// cache.insert("one".to_owned(), 1);
    /// assert_eq!(cache.get_many(["one", "two"]), [Some(1), None]);
    /// # Ok::<(), fleeting::BuildError>(())
    /// ```
    pub fn get_many<'q, Q>(&self, keys: impl IntoIterator<Item = &'q Q>) -> Vec<Option<V>>
    where
        Q: Hash + Equivalent<K> + ?Sized + 'q,
    {
        keys.into_iter().map(|key| self.get(key)).collect()
    }

    /// Tells whether there is a fresh value, seen by neither statistics nor eviction policy.
    pub fn contains_key<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> bool {
        self.engine.store.contains(self.engine.hash(key), key)
    }

    /// How long the value is still fresh; `Duration::MAX` if it never expires. Seen by neither statistics
    /// nor eviction policy.
    ///
    /// In a cache with a [`tti`](CacheBuilder::tti), what is left of whichever ends first. Asking is no use.
    pub fn remaining_ttl<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<Duration> {
        self.engine.store.remaining(self.engine.hash(key), key)
    }

    /// Lets the value be fresh for this long from now on; false if there is none.
    ///
    /// `Duration::ZERO`: it is not readable any more. `Duration::MAX`: it never expires. That changes its
    /// TTL alone: in a cache with a [`tti`](CacheBuilder::tti) it is no use of the value, which ends when it
    /// has been idle for too long, also before the new TTL.
    pub fn set_ttl<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q, ttl: Duration) -> bool {
        let hash = self.engine.hash(key);
        let mut removed = self.engine.store.leftovers();
        let alarm = self.engine.store.set_ttl(hash, key, ttl.into(), &mut removed);
        if let Some(alarm) = alarm {
            self.engine.written(alarm);
        }
        alarm.is_some()
    }

    /// Stores `value` and returns the fresh value it replaced.
    ///
    /// Overwriting a fresh value keeps the entry's key and, with [`Policy::Fifo`](crate::Policy::Fifo), its
    /// place in the order of eviction; with the other policies it is a use of the entry. A
    /// compute that is running for the key goes on for those who wait for it, but is not stored.
    #[inline]
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        let lease = self.engine.rules.lease(&key, &value, None);
        self.engine.insert(Owned(key), value, lease)
    }

    /// Removes the entry and returns its value, if it is fresh.
    ///
    /// A compute that is running for the key goes on for those who wait for it, but is not stored.
    pub fn remove<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let hash = self.engine.hash(key);
        let store = &self.engine.store;
        if store.has_listener() {
            let mut removed = store.leftovers();
            let value = store.remove_told(hash, key, &mut removed);
            removed.clear();
            return value;
        }
        let mut removed = Leftovers::new();
        let (key, value) = store.remove(hash, key, &mut removed)?;
        removed.clear();
        drop(key);
        Some(value)
    }

    /// Removes the entry and returns its value, if it is fresh and `condition` holds for it.
    ///
    /// `condition` runs once, under no lock, on a copy of the value. If another call replaces the
    /// value meanwhile, nothing is removed: the condition was not asked about the new one.
    pub fn remove_if<Q: Hash + Equivalent<K> + ?Sized>(
        &self,
        key: &Q,
        condition: impl FnOnce(&V) -> bool,
    ) -> Option<V> {
        let hash = self.engine.hash(key);
        let (value, version) = self.engine.store.peek(hash, key)?;
        if !condition(&value) {
            return None;
        }
        let mut removed = self.engine.store.leftovers();
        let is_fresh = self.engine.store.remove_version(hash, key, version, &mut removed)?;
        removed.clear();
        Some(value).filter(|_| is_fresh)
    }

    /// Removes the entries for which `keep` does not hold, and returns how many those were.
    ///
    /// `keep` runs under no lock, on copies, a few at a time. What is stored meanwhile may be asked about or
    /// not; a value that is replaced between the question and the removal stays. Values past their TTL that
    /// the cache still holds to stand in are asked about too. A compute that is running for a key which is
    /// removed goes on for those who wait for it, but is not stored.
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) -> usize
    where
        K: Clone,
    {
        let store = &self.engine.store;
        let (mut position, mut removals) = (Some(Position::default()), 0);
        while let Some(here) = position {
            let mut copies = Copies::default();
            position = store.copy(here, &mut copies);
            for (key, (value, deadline, version)) in zip(copies.keys, copies.values) {
                let hash = self.engine.hash(&key);
                // The deadline may have been put off meanwhile.
                let is_over = || store.is_over(store.deadline(hash, &key, version));
                if store.is_over(deadline) && is_over() || keep(&key, &value) {
                    continue;
                }
                let mut removed = store.leftovers();
                removals +=
                    usize::from(store.remove_version(hash, &key, version, &mut removed).is_some());
            }
        }
        removals
    }

    /// Removes everything; statistics stay.
    ///
    /// Computes that are running go on for those who wait for them, but are not stored.
    pub fn clear(&self) {
        self.engine.store.clear();
    }

    /// Begins a call with options, on a key that is given away.
    #[inline]
    pub fn entry(&self, key: K) -> Entry<'_, K, V, S> {
        Entry::new(self, Owned(key))
    }

    /// Begins a call with options, on a key that is lent. It is made owned only to be stored, and for each
    /// write where a [listener](CacheBuilder::on_removal) may have to be told of the key.
    #[inline]
    pub fn entry_ref<'q, Q>(&self, key: &'q Q) -> Entry<'_, K, V, S, Borrowed<'q, Q>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        Entry::new(self, Borrowed(key))
    }
}

/// The whole.
impl<K, V, S> Cache<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// How many entries are held, those included that have expired and were not freed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.engine.store.len()
    }

    /// Whether no entry is held, not even one that has expired.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What all entries weigh together, those included that have expired and were not freed yet: their
    /// number, if the cache has no [`weigher`](CacheBuilder::weigher).
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.engine.store.weight()
    }

    /// The most entries; `None` if there is no bound.
    #[must_use]
    pub fn max_size(&self) -> Option<usize> {
        self.engine.store.max_size()
    }

    /// Sets another bound on the number of entries, or the first one, while the cache is in use.
    ///
    /// What is too much is evicted within the call, a few at a time: other callers are let in between.
    /// [`max_size`](Self::max_size) tells the new bound when it holds. The cache is divided into as many
    /// shards as suited the bound it was built with.
    ///
    /// # Errors
    ///
    /// If `max_size` is zero: it must be at least 1.
    pub fn set_max_size(&self, max_size: usize) -> Result<(), BuildError> {
        if max_size == 0 {
            return Err(BuildError::NO_MAX_SIZE);
        }
        self.engine.store.set_max_size(max_size);
        Ok(())
    }

    /// Iterates over the fresh entries, in no order.
    ///
    /// Weakly consistent: an entry that is stored or removed meanwhile may be seen or not, and one
    /// that is removed and stored again may be seen twice. No lock is held between items.
    pub fn iter(&self) -> impl Iterator<Item = (K, V)> + use<K, V, S>
    where
        K: Clone,
    {
        Iter::new(self.clone())
    }

    /// What the cache has done so far, in numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.store.stats()
    }

    /// Sets all statistics to zero.
    pub fn reset_stats(&self) {
        self.engine.store.reset_stats();
    }

    /// Removes what has expired now, and returns how many entries that were.
    ///
    /// Other callers are let in between batches. With a runtime this happens by itself.
    #[expect(clippy::must_use_candidate, reason = "removing is the point")]
    pub fn cleanup(&self) -> usize {
        let mut sweep = Sweep::default();
        let mut removed = self.engine.store.leftovers();
        let mut postponed = Postponed::default();
        loop {
            let goes_on = self.engine.store.sweep(&mut sweep, &mut removed);
            postponed.run(|| removed.clear());
            if !goes_on {
                return sweep.removed;
            }
        }
    }

    /// Ends the background work and waits for its end.
    ///
    /// Values stay, and the cache goes on as if built without a runtime, for all handles. Closing
    /// again does nothing. Not needed before dropping a cache. Callers who wait for a compute go on; one
    /// that nobody waits for is dropped. Inside the background work itself, such as in a compute that
    /// renews a value, and inside a [listener](CacheBuilder::on_removal), it ends the work but does not
    /// wait.
    ///
    /// # Cancel safety
    ///
    /// If dropped half-way, no new background work begins, and what is under way ends soon.
    pub async fn close(&self) {
        self.engine.close().await;
    }

    /// Runs `run` with the cache and then [closes](Self::close) it, also when `run` panics.
    ///
    /// ```
    /// use fleeting::Cache;
    ///
    /// # futures::executor::block_on(async {
    /// let cache: Cache<u32, u32> = Cache::builder().build().unwrap();
    /// let sum = cache
    ///     .scope(async |cache| {
    ///         cache.insert(1, 10);
    ///         cache.get_or_compute(2, || async { 20 }).await + cache.get(&1).unwrap_or_default()
    ///     })
    ///     .await;
    /// assert_eq!(sum, 30);
    /// # });
    /// ```
    ///
    /// # Panics
    ///
    /// Passes a panic of `run` on, after closing.
    ///
    /// # Cancel safety
    ///
    /// If dropped half-way, the background work is ended without waiting for it.
    pub async fn scope<T, F>(self, run: F) -> T
    where
        F: AsyncFnOnce(&Self) -> T,
    {
        Scope::new(&self).run(run).await
    }

    /// Panics unless the cache's parts agree with each other. Returns how many computes run.
    ///
    /// For tests, when no other call is under way.
    #[cfg(any(test, feature = "test-util"))]
    #[doc(hidden)]
    #[expect(clippy::must_use_candidate, reason = "checking is the point")]
    pub fn validate(&self) -> usize {
        self.engine.store.validate()
    }
}

// A panic of user code leaves the cache whole.
impl<K, V, S> UnwindSafe for Cache<K, V, S> {}
impl<K, V, S> RefUnwindSafe for Cache<K, V, S> {}

impl<K, V, S> Clone for Cache<K, V, S> {
    fn clone(&self) -> Self {
        Self { engine: Arc::clone(&self.engine) }
    }
}

impl<K, V, S> fmt::Debug for Cache<K, V, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Cache")
            .field("len", &self.engine.store.len())
            .field("max_size", &self.engine.store.max_size())
            .field("ttl", &self.engine.rules.expiry.ttl.duration())
            .field("tti", &self.engine.store.tti().duration())
            .finish_non_exhaustive()
    }
}
