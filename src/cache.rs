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
use crate::key::{Borrowed, BorrowedWith, Owned};
use crate::panic::Postponed;
use crate::scope::Scope;
use crate::stats::Stats;
use crate::store::{Copied, Copies, KeyHash, Leftovers, Position, Sweep};
use crate::sync::Arc;
use crate::weak::WeakCache;

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

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Makes a cache of at most this many entries, which never expire. All other settings are the
    /// [builder](Self::builder)'s defaults.
    ///
    /// With a `max_size` of 0 nothing is stored, and computes are still shared.
    ///
    /// ```
    /// use fleeting::Cache;
    ///
    /// let cache = Cache::new(1000);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.max_size(), Some(1000));
    /// ```
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "it never does")]
    pub fn new(max_size: usize) -> Self {
        Self::builder().max_size(max_size).build().expect("any `max_size` is valid")
    }
}

/// A cache without a bound, whose entries never expire.
impl<K, V, S> Default for Cache<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Default + Send + Sync + 'static,
{
    fn default() -> Self {
        let builder = CacheBuilder::new().hasher(S::default());
        builder.build().expect("the default settings are valid")
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
    /// `keep` runs under no lock, on copies, a few at a time. Values past their TTL that the cache still holds to
    /// stand in are asked about too. An entry that is stored meanwhile may be asked about or not; a value that
    /// another call replaces between the question and the removal stays.
    ///
    /// Computes that are running for keys that are removed go on for those who wait for them, but are not stored;
    /// nor are those for keys without an entry, because `keep` cannot be asked about a value that is not there
    /// yet. [`retain_keys`](Self::retain_keys) fences off only those of the keys that it refuses.
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) -> usize
    where
        K: Clone,
    {
        let (store, mut renewals) = (&self.engine.store, Vec::new());
        for shard in 0..store.shard_count() {
            store.fence_absent(shard, &mut renewals, &mut store.leftovers());
        }
        let (mut position, mut removals) = (Some(Position::default()), 0);
        while let Some(here) = position {
            let mut copies = Copies::default();
            position = store.copy(here, &mut copies);
            for (key, copy) in zip(copies.keys, copies.values) {
                let hash = self.engine.hash(&key);
                // The deadline may have been put off meanwhile.
                let is_over = || store.is_over(store.deadline(hash, &key, copy.version));
                if !(store.is_over(copy.deadline) && is_over()) {
                    removals += usize::from(self.remove_unless(&mut keep, hash, &key, copy));
                }
            }
        }
        // Of what has left by itself before it could be asked about.
        for renewal in renewals {
            store.fence_if_absent(renewal, &mut store.leftovers());
        }
        removals
    }

    /// Removes an entry unless `keep` holds for its value.
    fn remove_unless(
        &self,
        keep: &mut impl FnMut(&K, &V) -> bool,
        hash: KeyHash,
        key: &K,
        Copied { value, version, is_computed, .. }: Copied<V>,
    ) -> bool {
        let store = &self.engine.store;
        let remove = |version| {
            let mut removed = store.leftovers();
            store.remove_version(hash, key, version, &mut removed).is_some()
        };
        if keep(key, &value) {
            return false;
        }
        if remove(version) {
            return true;
        }
        // What is there now was written by another call, and stays, or by a compute that began before this one.
        let held = if is_computed { store.peek_held(hash, key) } else { None };
        held.is_some_and(|(value, version)| !keep(key, &value) && remove(version))
    }

    /// Removes the entries whose keys `keep` refuses, and returns how many those were.
    ///
    /// Like [`retain`](Self::retain), but no value is copied, and exactly the computes of refused keys are not
    /// stored. `keep` runs under no lock, on copies of the keys, and may be asked about a key twice: for its
    /// entry, and for its compute.
    ///
    /// ```
    /// use fleeting::Cache;
    ///
    /// let pages = Cache::new(100);
    /// pages.insert(("alice", 1), "her first page");
    /// pages.insert(("bob", 1), "his first page");
    /// assert_eq!(pages.retain_keys(|(user, _)| *user != "alice"), 1);
    /// assert_eq!(pages.len(), 1);
    /// ```
    pub fn retain_keys(&self, mut keep: impl FnMut(&K) -> bool) -> usize
    where
        K: Clone,
    {
        let store = &self.engine.store;
        // First: a compute that ends later finds itself fenced off, and the entry of one that has ended is found.
        for shard in 0..store.shard_count() {
            store.fence_refused(shard, |key| !keep(key), &mut store.leftovers());
        }
        let (mut position, mut removals) = (Some(Position::default()), 0);
        while let Some(here) = position {
            let mut keys = Vec::new();
            position = store.copy_keys(here, &mut keys);
            for key in keys.into_iter().filter(|key| !keep(key)) {
                let (hash, mut removed) = (self.engine.hash(&key), store.leftovers());
                removals += usize::from(store.remove_any(hash, &key, &mut removed));
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

    /// Begins a call with options, on a key that is lent and made owned by `make_key`.
    ///
    /// For keys that [`entry_ref`](Self::entry_ref) cannot make, such as an `Arc<str>` from a `&str`. The closure
    /// runs only if a key must be stored, under no lock, and must make a key that equals the one it is given.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use fleeting::Cache;
    ///
    /// let cache: Cache<Arc<str>, u32> = Cache::new(100);
    /// assert_eq!(cache.entry_with("key", |key| Arc::from(key)).or_insert(1), 1);
    /// assert_eq!(cache.get("key"), Some(1));
    /// ```
    #[inline]
    pub fn entry_with<'q, Q, F>(
        &self,
        key: &'q Q,
        make_key: F,
    ) -> Entry<'_, K, V, S, BorrowedWith<'q, Q, F>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        F: FnOnce(&Q) -> K,
    {
        Entry::new(self, BorrowedWith(key, make_key))
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
    /// With 0, all entries are evicted, and nothing is stored until there is another bound.
    ///
    /// # Errors
    ///
    /// None: every bound is valid. The result is that of [`set_max_weight`](Self::set_max_weight).
    pub fn set_max_size(&self, max_size: usize) -> Result<(), BuildError> {
        self.engine.store.set_max_size(max_size);
        Ok(())
    }

    /// The most that all entries may weigh together; `None` if there is no bound.
    #[must_use]
    pub fn max_weight(&self) -> Option<u64> {
        self.engine.store.max_weight()
    }

    /// Sets another bound on the weight of all entries, or the first one, while the cache is in use.
    ///
    /// What is too much is evicted within the call, a few at a time: other callers are let in between.
    /// [`max_weight`](Self::max_weight) tells the new bound when it holds. With 0, all entries are evicted, and
    /// nothing is stored until there is another bound. `u64::MAX` is no bound.
    ///
    /// # Errors
    ///
    /// If the cache was built without a [`weigher`](CacheBuilder::weigher).
    ///
    /// ```
    /// use fleeting::Cache;
    ///
    /// let cache: Cache<u32, String> =
    ///     Cache::builder().max_weight(100).weigher(|_, text: &String| text.len() as u64).build()?;
    /// cache.insert(1, "some text".to_owned());
    /// cache.set_max_weight(5)?;
    /// assert_eq!((cache.weight(), cache.max_weight()), (0, Some(5)));
    /// # Ok::<(), fleeting::BuildError>(())
    /// ```
    pub fn set_max_weight(&self, max_weight: u64) -> Result<(), BuildError> {
        if self.engine.store.set_max_weight(max_weight) {
            Ok(())
        } else {
            Err(BuildError::NO_WEIGHER)
        }
    }

    /// Iterates over the fresh entries, in no order.
    ///
    /// Weakly consistent: an entry that is stored or removed meanwhile may be seen or not, and one
    /// that is removed and stored again may be seen twice. No lock is held between items.
    ///
    /// ```
    /// use fleeting::Cache;
    ///
    /// let cache = Cache::new(100);
    /// cache.insert(1, "one");
    /// for (key, value) in &cache {
    ///     assert_eq!((key, value), (1, "one"));
    /// }
    /// ```
    #[must_use]
    pub fn iter(&self) -> Iter<K, V, S>
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

    /// Makes a handle that keeps nothing alive, for listeners and tasks that the cache itself owns or outlives.
    ///
    /// ```
    /// use fleeting::Cache;
    ///
    /// let cache: Cache<u32, u32> = Cache::new(100);
    /// let weak = cache.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(cache);
    /// assert!(weak.upgrade().is_none());
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> WeakCache<K, V, S> {
        WeakCache::new(&self.engine)
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
        let store = &self.engine.store;
        formatter
            .debug_struct("Cache")
            .field("len", &store.len())
            .field("max_size", &store.max_size())
            .field("weight", &store.weight())
            .field("max_weight", &store.max_weight())
            .field("ttl", &self.engine.rules.expiry.ttl)
            .field("tti", &store.tti())
            .finish_non_exhaustive()
    }
}
