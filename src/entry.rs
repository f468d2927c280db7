//! Entry: one key's place in a cache, with options for one call.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::time::Duration;

use crate::cache::Cache;
use crate::compute::error::ComputeError;
use crate::compute::flight::Outcome;
use crate::compute::{Answer, Call, Parts};
use crate::expiry::Lifetime;
use crate::hash::DefaultHashBuilder;
use crate::key::{Owned, Source};
use crate::sync::Arc;

/// One key's place in a cache, with options for the one call that follows.
///
/// Made by [`Cache::entry`] from an owned key, or by [`Cache::entry_ref`] from a borrowed one. It
/// holds no lock and reserves nothing: what it does happens in the call that ends it.
///
/// ```
/// use std::time::Duration;
/// use fleeting::Cache;
///
/// let cache: Cache<String, u32> = Cache::builder().ttl(Duration::from_secs(300)).build()?;
/// cache.entry("answer".to_owned()).ttl(Duration::from_secs(60)).insert(42);
/// assert_eq!(cache.entry_ref("answer").or_insert(0), 42);
/// # Ok::<(), fleeting::BuildError>(())
/// ```
#[must_use = "an entry does nothing until a call such as `insert` ends it"]
pub struct Entry<'a, K, V, S = DefaultHashBuilder, P = Owned<K>> {
    cache: &'a Cache<K, V, S>,
    key: P,
    lifetime: Lifetime<V>,
}

impl<'a, K, V, S, P> Entry<'a, K, V, S, P> {
    #[inline]
    pub(crate) fn new(cache: &'a Cache<K, V, S>, key: P) -> Self {
        Self { cache, key, lifetime: Lifetime::Default }
    }

    /// Sets the time to live of the value that this call stores, in place of the cache's.
    ///
    /// `Duration::ZERO`: the value is never readable. `Duration::MAX`: it never expires. A time of a minute
    /// or more may end some milliseconds early, as in [`CacheBuilder::ttl`](crate::CacheBuilder::ttl).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.lifetime = Lifetime::Fixed(ttl);
        self
    }

    /// Takes the time to live from the value that this call stores.
    ///
    /// The closure runs once, when the value is there and before it is stored, under no lock. If
    /// this call joins a compute that another caller began, that caller's options hold, and the
    /// closure is not called. If it panics, nothing is stored: in a compute call that is
    /// [`ComputeError::Panicked`] for all who wait, in the others the panic passes through.
    pub fn ttl_with(mut self, ttl: impl FnOnce(&V) -> Duration + Send + 'static) -> Self {
        self.lifetime = Lifetime::FromValue(Box::new(ttl));
        self
    }
}

impl<K, V, S, P: Source<K>> Entry<'_, K, V, S, P> {
    /// The key, as it was given.
    pub fn key(&self) -> &P::Lookup {
        self.key.lookup()
    }
}

impl<K, V, S, P> Entry<'_, K, V, S, P>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    P: Source<K, Lookup: Hash>,
{
    /// Stores `value` and returns the fresh value it replaced, as [`Cache::insert`] does.
    pub fn insert(self, value: V) -> Option<V> {
        self.cache.engine.insert(self.key, value, self.lifetime)
    }

    /// Returns the fresh value that is there, or else stores `value` and returns it.
    ///
    /// Atomic: of several callers at once, all get the value of one. Counted neither as a hit nor
    /// as a miss. A compute that is running for the key is fenced off only if `value` is stored.
    pub fn or_insert(self, value: V) -> V {
        let engine = &self.cache.engine;
        let hash = engine.hash(self.key.lookup());
        if let Some((present, _)) = engine.store.peek(hash, self.key.lookup()) {
            return present;
        }
        engine.insert_if_absent(self.key.into_key(), value, self.lifetime)
    }

    /// Returns the cached value, or the outcome of one shared compute, as
    /// [`Cache::get_or_compute`] does.
    ///
    /// # Panics
    ///
    /// As [`Cache::get_or_compute`].
    ///
    /// # Cancel safety
    ///
    /// As [`Cache::get_or_compute`].
    #[inline]
    pub fn get_or_compute<F, Fut>(self, compute: F) -> impl Future<Output = V>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = V> + Send + 'static,
    {
        self.call::<_, _, _, OrPanic>(compute, Outcome::Value)
    }

    /// Returns the cached value, or the outcome of one shared compute that may fail, as
    /// [`Cache::try_get_or_compute`] does.
    ///
    /// # Errors
    ///
    /// As [`Cache::try_get_or_compute`].
    ///
    /// # Cancel safety
    ///
    /// As [`Cache::get_or_compute`].
    #[inline]
    pub fn try_get_or_compute<F, Fut, E>(
        self,
        compute: F,
    ) -> impl Future<Output = Result<V, ComputeError<E>>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        self.call::<_, _, _, Trying<E>>(compute, |computed| match computed {
            Ok(value) => Outcome::Value(value),
            Err(error) => Outcome::Failed(Arc::new(error)),
        })
    }
}

impl<K, V, S, P> Entry<'_, K, V, S, P>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    P: Source<K, Lookup: Hash>,
{
    /// The call that ends this entry. The cache is not touched before it is polled.
    #[inline]
    fn call<F, Fut, T, A>(
        self,
        compute: F,
        into_outcome: fn(T) -> Outcome<V>,
    ) -> impl Future<Output = A::Output>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = T> + Send + 'static,
        T: 'static,
        A: Answer<V>,
    {
        let engine = &self.cache.engine;
        let parts = Parts { store: &engine.store, hasher: &engine.hasher, ground: engine };
        Call::<_, _, _, _, _, _, _, A>::new(parts, self.key, self.lifetime, compute, into_outcome)
    }
}

/// The answer of a call that may fail: all of the result.
struct Trying<E>(PhantomData<E>);

impl<V, E: Send + Sync + 'static> Answer<V> for Trying<E> {
    type Error = E;
    type Output = Result<V, ComputeError<E>>;

    #[inline]
    fn answer(result: Self::Output) -> Self::Output {
        result
    }
}

/// The answer of a call that has no error to return.
struct OrPanic;

impl<V> Answer<V> for OrPanic {
    type Error = Infallible;
    type Output = V;

    #[inline]
    fn answer(result: Result<V, ComputeError<Infallible>>) -> V {
        match result {
            Ok(value) => value,
            Err(error) => panic!("get_or_compute has no value to return: {error}"),
        }
    }
}

impl<K, V, S, P> fmt::Debug for Entry<'_, K, V, S, P>
where
    P: Source<K, Lookup: fmt::Debug>,
{
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Entry").field("key", &self.key()).finish_non_exhaustive()
    }
}
