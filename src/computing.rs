//! The calls of a cache that compute what is missing.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, Hash};

use crate::cache::Cache;
use crate::compute::error::{ComputeError, value_or_panic};
use crate::compute::many::{FailWhole, Many};
use crate::store::Failure;
use crate::sync::Arc;

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
    /// `compute` is called at most once, with the missing keys in the order asked, and answers with keys and
    /// values: as a map, a vector of pairs, or whatever else they can be iterated over. Keys for which others are computing already are not among them: this call waits for
    /// those, as other callers of single keys wait for this one. Keys that the answer lacks are not in
    /// the result, and nothing is stored for them. Values of other keys are stored too, unless there is a
    /// fresh one or a compute that is running, or anything was removed from the cache meanwhile (an
    /// eviction or an expiry is no removal). A key that is asked for twice counts once.
    ///
    /// A key whose value others failed to compute is computed here, if `compute` was not called yet;
    /// else it is not in the result.
    ///
    /// ```
    /// use fleeting::Cache;
    ///
    /// # futures::executor::block_on(async {
    /// let cache: Cache<u32, String> = Cache::builder().build()?;
    /// cache.insert(1, "one".to_owned());
    ///
    /// let names = cache
    ///     .get_or_compute_many([1, 2, 3], |missing| async move {
    ///         assert_eq!(missing, [2, 3]);
    ///         [(2, "two".to_owned())]
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
        Fut: Future<Output: IntoIterator<Item = (K, V)> + 'static> + Send + 'static,
    {
        let many = Many::new(self.engine.parts());
        value_or_panic(many.get_or_compute(keys, compute, Ok, &mut FailWhole).await)
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
    pub async fn try_get_or_compute_many<F, Fut, I, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        compute: F,
    ) -> Result<HashMap<K, V>, ComputeError<E>>
    where
        K: Clone,
        F: FnOnce(Vec<K>) -> Fut,
        Fut: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item = (K, V)> + 'static,
        E: Send + Sync + 'static,
    {
        let many = Many::new(self.engine.parts());
        many.get_or_compute(keys, compute, shared_failure, &mut FailWhole).await
    }

    /// Returns the values of several keys, or for each why it has none: one compute, which may fail, for all that
    /// are missing.
    ///
    /// Like [`try_get_or_compute_many`](Self::try_get_or_compute_many), but a failure costs only the keys that
    /// needed the compute that failed. Values that were there, or that others computed, are returned. A key that
    /// the answer lacks is not in the result; nor is one that others failed to compute with an error of another type,
    /// when `compute` was called already.
    ///
    /// ```
    /// use fleeting::{Cache, ComputeError};
    ///
    /// # futures::executor::block_on(async {
    /// let cache: Cache<u32, &str> = Cache::new(100);
    /// cache.insert(1, "one");
    ///
    /// let names = cache
    ///     .try_get_or_compute_each([1, 2], |_missing| async { Err::<Vec<_>, _>("the database is down") })
    ///     .await;
    /// assert_eq!(names[&1], Ok("one"));
    /// assert!(matches!(names[&2], Err(ComputeError::Failed(_))));
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// For each key as [`try_get_or_compute`](Self::try_get_or_compute).
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_compute`](Self::get_or_compute).
    pub async fn try_get_or_compute_each<F, Fut, I, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        compute: F,
    ) -> HashMap<K, Result<V, ComputeError<E>>>
    where
        K: Clone,
        F: FnOnce(Vec<K>) -> Fut,
        Fut: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item = (K, V)> + 'static,
        E: Send + Sync + 'static,
    {
        let many = Many::new(self.engine.parts());
        let mut failures = HashMap::<K, ComputeError<E>>::new();
        let found = many.get_or_compute(keys, compute, shared_failure, &mut failures).await;
        let found = found.unwrap_or_else(|_| unreachable!("each failure is that of a key"));
        let failed = failures.into_iter().map(|(key, error)| (key, Err(error)));
        found.into_iter().map(|(key, value)| (key, Ok(value))).chain(failed).collect()
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

/// Erases the type of a bulk compute's error.
fn shared_failure<I, E: Send + Sync + 'static>(answers: Result<I, E>) -> Result<I, Failure> {
    answers.map_err(|error| -> Failure { Arc::new(error) })
}
