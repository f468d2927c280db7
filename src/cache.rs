//! Cache: the public handle.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::iter::zip;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use hashbrown::Equivalent;

use crate::builder::{BuildError, CacheBuilder};
use crate::compute::error::{ComputeError, value_or_panic};
use crate::compute::many::{Answers, Many};
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

    /// Returns the fresh value, seen by neither statistics nor eviction policy.
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
    pub fn remaining_ttl<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<Duration> {
        self.engine.store.remaining(self.engine.hash(key), key)
    }

    /// Lets the value be fresh for this long from now on; false if there is none.
    ///
    /// `Duration::ZERO`: it is not readable any more. `Duration::MAX`: it never expires.
    pub fn set_ttl<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q, ttl: Duration) -> bool {
        let hash = self.engine.hash(key);
        let mut removed = Leftovers::new();
        let alarm = self.engine.store.set_ttl(hash, key, ttl.into(), &mut removed);
        if let Some(alarm) = alarm {
            self.engine.written(alarm);
        }
        alarm.is_some()
    }

    /// Stores `value` and returns the fresh value it replaced.
    ///
    /// Overwriting a fresh value keeps the entry's place in the order of eviction, and its key. A
    /// compute that is running for the key goes on for those who wait for it, but is not stored.
    #[inline]
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        let ttl = self.engine.expiry.ttl(&key, &value);
        self.engine.insert(Owned(key), value, ttl)
    }

    /// Removes the entry and returns its value, if it is fresh.
    ///
    /// A compute that is running for the key goes on for those who wait for it, but is not stored.
    pub fn remove<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let hash = self.engine.hash(key);
        let (_, value) = self.engine.store.remove(hash, key, &mut Leftovers::new())?;
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
        let mut removed = Leftovers::new();
        let (_, value, is_fresh) =
            self.engine.store.remove_version(hash, key, version, &mut removed)?;
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
                if store.is_over(deadline) || keep(&key, &value) {
                    continue;
                }
                let mut removed = Leftovers::new();
                let hash = self.engine.hash(&key);
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

    /// Begins a call with options, on a key that is lent. It is made owned only to be stored.
    #[inline]
    pub fn entry_ref<'q, Q>(&self, key: &'q Q) -> Entry<'_, K, V, S, Borrowed<'q, Q>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        Entry::new(self, Borrowed(key))
    }
}

/// Computing what is missing.
impl<K, V, S> Cache<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Returns the cached value, or the outcome of one shared compute.
    ///
    /// If the key has no fresh value, the first caller's `compute` makes one, and all who ask
    /// meanwhile wait for it. Each of them drives it, so that none depends on another being polled.
    /// The value is stored when the compute ends, and its time to live starts then. On a hit the
    /// returned future is ready at once and allocates nothing.
    ///
    /// # Panics
    ///
    /// Panics if the compute panics, or asks this cache for its own key.
    /// [`try_get_or_compute`](Self::try_get_or_compute) returns an error instead; use it inside
    /// computes that may come back to their own key, or the panic hides the reason.
    ///
    /// # Cancel safety
    ///
    /// A caller may be dropped at any time: no other caller notices. When the last one is dropped,
    /// so is the compute, and nothing is stored. A call that comes while its destructor still runs
    /// on another thread does not wait for that, and begins a compute of its own.
    #[inline]
    pub fn get_or_compute<F, Fut>(&self, key: K, compute: F) -> impl Future<Output = V>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = V> + Send + 'static,
    {
        self.entry(key).get_or_compute(compute)
    }

    /// Returns the cached value, or the outcome of one shared compute that may fail.
    ///
    /// Like [`get_or_compute`](Self::get_or_compute). An error is not stored: all who waited get
    /// it, and the next call computes again. Callers with different error types share computes too;
    /// one that would get an error of another type than its own asks again instead, with its own
    /// `compute`.
    ///
    /// ```
    /// use fleeting::{Cache, ComputeError};
    ///
    /// # futures::executor::block_on(async {
    /// let cache: Cache<&str, i32> = Cache::builder().build().unwrap();
    ///
    /// let parsed = cache.try_get_or_compute("x", || async { "x".parse::<i32>() }).await;
    /// assert!(matches!(parsed, Err(ComputeError::Failed(_))));
    ///
    /// let parsed = cache.try_get_or_compute("x", || async { "7".parse::<i32>() }).await;
    /// assert_eq!(parsed.unwrap(), 7);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// [`Failed`](ComputeError::Failed) with the compute's own error,
    /// [`Panicked`](ComputeError::Panicked) if it panicked, and
    /// [`Recursive`](ComputeError::Recursive) if it asked this cache for its own key, directly or
    /// through the computes of other keys. What a compute spawns as another task, and then waits
    /// for, is not seen: a circle through it waits for ever. And what a compute's poll itself drives
    /// (an executor of its own, a task that it wakes and that runs on the spot) counts as part of the compute, and a
    /// call that several computes share among them as part of the first that polled it.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_compute`](Self::get_or_compute).
    #[inline]
    pub fn try_get_or_compute<F, Fut, E>(
        &self,
        key: K,
        compute: F,
    ) -> impl Future<Output = Result<V, ComputeError<E>>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        self.entry(key).try_get_or_compute(compute)
    }

    /// Returns the values of several keys: one compute for all that are missing.
    ///
    /// `compute` is called at most once, with the missing keys in the order asked, and answers with their
    /// values. Keys for which others are computing already are not among them: this call waits for
    /// those, as other callers of single keys wait for this one. Keys that the answer lacks are not in
    /// the result, and nothing is stored for them. Values of other keys are stored too, unless there is a
    /// fresh one, or a compute that is running; one that was removed while `compute` ran may so come
    /// back. A key that is asked for twice counts once.
    ///
    /// A key whose value others failed to compute is computed here, if `compute` was not called yet;
    /// else it is not in the result.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use fleeting::Cache;
    ///
    /// # futures::executor::block_on(async {
    /// let cache: Cache<u32, String> = Cache::builder().build()?;
    /// cache.insert(1, "one".to_owned());
    ///
    /// let names = cache
    ///     .get_or_compute_many([1, 2, 3], |missing| async move {
    ///         assert_eq!(missing, [2, 3]);
    ///         HashMap::from([(2, "two".to_owned())])
    ///     })
    ///     .await;
    /// assert_eq!(names.len(), 2);
    /// assert_eq!(cache.get(&2).as_deref(), Some("two"));
    /// # Ok::<(), fleeting::BuildError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// As [`get_or_compute`](Self::get_or_compute), also for the computes of others that it waits for.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_compute`](Self::get_or_compute).
    pub async fn get_or_compute_many<F, Fut>(
        &self,
        keys: impl IntoIterator<Item = K>,
        compute: F,
    ) -> HashMap<K, V>
    where
        K: Clone,
        F: FnOnce(Vec<K>) -> Fut,
        Fut: Future<Output = HashMap<K, V>> + Send + 'static,
    {
        let many = Many::new(self.engine.parts());
        let found = many.get_or_compute(keys, compute, Answers::Values).await;
        value_or_panic(found)
    }

    /// Returns the values of several keys: one compute, which may fail, for all that are missing.
    ///
    /// Like [`get_or_compute_many`](Self::get_or_compute_many). A failure is that of the whole call, and
    /// of all others who wait for one of its keys; where stale values may stand in for all of its keys,
    /// they do.
    ///
    /// # Errors
    ///
    /// As [`try_get_or_compute`](Self::try_get_or_compute), also for the computes of others that it
    /// waits for.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_compute`](Self::get_or_compute).
    pub async fn try_get_or_compute_many<F, Fut, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        compute: F,
    ) -> Result<HashMap<K, V>, ComputeError<E>>
    where
        K: Clone,
        F: FnOnce(Vec<K>) -> Fut,
        Fut: Future<Output = Result<HashMap<K, V>, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        let many = Many::new(self.engine.parts());
        let into_answers = |answers: Result<_, E>| match answers {
            Ok(values) => Answers::Values(values),
            Err(error) => Answers::Failed(Arc::new(error)),
        };
        many.get_or_compute(keys, compute, into_answers).await
    }

    /// Computes a new value also if there is one, shared with all who ask meanwhile.
    ///
    /// A compute that is running for the key is joined. Readers get the value that is there until the
    /// new one is stored, which takes its place and begins a new time to live. If it fails, the old one
    /// stays as it is. Counts as a miss.
    ///
    /// # Panics
    ///
    /// As [`get_or_compute`](Self::get_or_compute).
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_compute`](Self::get_or_compute).
    pub fn refresh<F, Fut>(&self, key: K, compute: F) -> impl Future<Output = V>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = V> + Send + 'static,
    {
        self.entry(key).refresh(compute)
    }

    /// Computes a new value, also if there is one, with a compute that may fail.
    ///
    /// Like [`refresh`](Self::refresh).
    ///
    /// # Errors
    ///
    /// As [`try_get_or_compute`](Self::try_get_or_compute). No value stands in.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_compute`](Self::get_or_compute).
    pub fn try_refresh<F, Fut, E>(
        &self,
        key: K,
        compute: F,
    ) -> impl Future<Output = Result<V, ComputeError<E>>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        self.entry(key).try_refresh(compute)
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
        let mut removed = Leftovers::new();
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
    /// again does nothing. Not needed before dropping a cache. Waiting for it in the destructor of a
    /// value that is being swept would be to wait for oneself.
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
            .field("ttl", &self.engine.expiry.ttl.duration())
            .finish_non_exhaustive()
    }
}
