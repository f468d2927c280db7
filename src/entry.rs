//! Entry: one key's place in a cache, with options for one call.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::time::Duration;

use crate::cache::Cache;
use crate::compute::call::{Answer, Call};
use crate::compute::error::{ComputeError, value_or_panic};
use crate::compute::make::{Anew, Make, Revalidating};
use crate::compute::outcome::Outcome;
use crate::engine::Engine;
use crate::hash::DefaultHashBuilder;
use crate::key::{Owned, Source};
use crate::options::{Lifetime, Options};
use crate::sync::Arc;
use crate::update::Update;

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
    options: Options<V>,
}

impl<'a, K, V, S, P> Entry<'a, K, V, S, P> {
    #[inline]
    pub(crate) fn new(cache: &'a Cache<K, V, S>, key: P) -> Self {
        Self { cache, key, options: Options::DEFAULT }
    }

    /// Sets the time to live of the value that this call stores, in place of the cache's.
    ///
    /// `Duration::ZERO`: the value is never readable. `Duration::MAX`: it never expires. A time of a minute
    /// or more may end some milliseconds early, as in [`CacheBuilder::ttl`](crate::CacheBuilder::ttl).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.set_ttl(ttl);
        self
    }

    /// Takes the time to live from the value that this call stores.
    ///
    /// The closure runs once, when the value is there and before it is stored, under no lock. If
    /// this call joins a compute that another caller began, that caller's options hold, and the
    /// closure is not called. If it panics, nothing is stored: in a compute call that is
    /// [`ComputeError::Panicked`] for all who wait, in the others the panic passes through.
    pub fn ttl_with(mut self, ttl: impl FnOnce(&V) -> Duration + Send + 'static) -> Self {
        self.options.special().lifetime = Lifetime::FromValue(Box::new(ttl));
        self
    }

    /// Lets a value that replaces a fresh one keep its deadline.
    ///
    /// For a value that is changed rather than renewed, such as a counter for each minute. Where there is no fresh
    /// value, the new one has the TTL that it would have had anyway. It is still a write: an idle time begins anew.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fleeting::Cache;
    ///
    /// // At most 100 requests a minute for each address.
    /// let requests: Cache<&str, u32> = Cache::builder().ttl(Duration::from_secs(60)).build()?;
    /// let count = |count: Option<u32>| Some(count.unwrap_or(0) + 1);
    /// let so_far = requests.entry("192.0.2.7").keep_ttl().update(count);
    /// assert!(so_far <= Some(100));
    /// # Ok::<(), fleeting::BuildError>(())
    /// ```
    pub fn keep_ttl(mut self) -> Self {
        self.options.special().keeps_ttl = true;
        self
    }

    /// Gives the compute up for this call after so long, in place of the cache's
    /// [`compute_timeout`](crate::CacheBuilder::compute_timeout).
    ///
    /// The time begins with the call. When it is over, the call gets
    /// [`TimedOut`](ComputeError::TimedOut), or a stale value where
    /// [`stale_if_error`](crate::CacheBuilder::stale_if_error) allows that. If others wait for the same
    /// compute with more patience, it goes on for them: it is dropped, and its key free, when it has run
    /// for as long as the most patient of its callers gives it. A call that came later, and has time left
    /// then, asks again: it computes for itself, or joins who does. Without a runtime there is nobody to
    /// wake the call: then it has no effect.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.special().timeout = Some(timeout);
        self
    }

    /// Lets the compute go on when all its callers have left, and fill the cache.
    ///
    /// It then ends when it is done, takes longer than its timeout, or the cache is closed or dropped.
    /// Without a runtime there is nothing it could run on: then it has no effect.
    pub fn detached(mut self) -> Self {
        self.options.special().is_detached = true;
        self
    }

    /// Takes a stale value instead when the compute takes longer than this, in place of the cache's
    /// [`stale_if_slow`](crate::CacheBuilder::stale_if_slow).
    ///
    /// The time begins when the call begins to wait. Without a runtime there is nobody to wake the call, and
    /// nothing for the compute to go on with: then it has no effect.
    pub fn stale_if_slow(mut self, stale_if_slow: Duration) -> Self {
        self.options.special().stale_if_slow = Some(stale_if_slow);
        self
    }

    /// Runs the compute as a task of the runtime, as
    /// [`spawn_computes`](crate::CacheBuilder::spawn_computes) does for all computes of a cache.
    ///
    /// If this call joins a compute that another caller began, that one runs as it was begun. Without a runtime it
    /// has no effect.
    pub fn spawned(mut self) -> Self {
        self.options.special().is_spawned = true;
        self
    }

    /// Stores the value only if `condition` holds for it; the call returns it all the same.
    ///
    /// The closure runs once, when the value is there, under no lock. If this call joins a compute that
    /// another caller began, that caller's options hold, and the closure is not called. If it panics,
    /// nothing is stored, as with [`ttl_with`](Self::ttl_with). A value that was there before stays.
    pub fn keep_if(mut self, condition: impl FnOnce(&V) -> bool + Send + 'static) -> Self {
        self.options.special().keep_if = Some(Box::new(condition));
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
        self.cache.engine.insert_with(self.key, value, self.options)
    }

    /// Returns the fresh value that is there, or else stores `value` and returns it.
    ///
    /// Atomic: of several callers at once, all get the value of one. Counted neither as a hit nor
    /// as a miss, but a use of the value as far as a [`tti`](crate::CacheBuilder::tti) is concerned. A
    /// compute that is running for the key is fenced off only if `value` is stored.
    pub fn or_insert(self, value: V) -> V {
        let engine = &self.cache.engine;
        let hash = engine.hash(self.key.lookup());
        if let Some(present) = engine.store.take_up(hash, self.key.lookup()) {
            return present;
        }
        engine.insert_if_absent(self.key.into_key(), value, self.options)
    }

    /// Replaces the fresh value, if there is one, by what `update` makes of it; returns the new value.
    ///
    /// Atomic: nobody writes between the value that `update` is given and the one that it returns. It runs
    /// under no lock, so if somebody writes all the same it is called again with what is there then: for
    /// ever, if it writes the key itself each time, or the destructor of a value that it drops does. `None`
    /// removes the entry. An entry that stays keeps its key and, with
    /// [`Policy::Fifo`](crate::Policy::Fifo), its place in the order of eviction. A
    /// compute that is running for the key goes on for those who wait for it, but is not stored.
    ///
    /// Counted neither as a hit nor as a miss. [`ttl_with`](Self::ttl_with) and
    /// [`keep_if`](Self::keep_if) are asked once, about the first value that `update` returns.
    ///
    /// ```
    /// # use fleeting::Cache;
    /// # let cache: Cache<&str, u32> = Cache::builder().build()?;
    /// let increment = |count: Option<u32>| Some(count.unwrap_or(0) + 1);
    /// assert_eq!(cache.entry("visits").update(increment), Some(1));
    /// assert_eq!(cache.entry("visits").update(increment), Some(2));
    /// # Ok::<(), fleeting::BuildError>(())
    /// ```
    pub fn update(self, update: impl FnMut(Option<V>) -> Option<V>) -> Option<V> {
        Update::new(update, self.options).run(&self.cache.engine, self.key)
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
        self.call::<_, OrPanic>(Anew(compute), Outcome::Value)
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
        self.call::<_, Trying<E>>(Anew(compute), outcome)
    }

    /// Returns the cached value, or the outcome of one shared compute that is given the value to be
    /// renewed: for a request with an `ETag`, or for a difference.
    ///
    /// Like [`get_or_compute`](Self::get_or_compute). The closure gets the value that is renewed: one
    /// past its TTL that the cache still holds because of
    /// [`stale_while_revalidate`](crate::CacheBuilder::stale_while_revalidate) or
    /// [`stale_if_error`](crate::CacheBuilder::stale_if_error), or one that is renewed while it is
    /// fresh. `None` if there is no such value.
    ///
    /// # Panics
    ///
    /// As [`Cache::get_or_compute`].
    ///
    /// # Cancel safety
    ///
    /// As [`Cache::get_or_compute`].
    pub fn get_or_revalidate<F, Fut>(self, compute: F) -> impl Future<Output = V>
    where
        F: FnOnce(Option<V>) -> Fut,
        Fut: Future<Output = V> + Send + 'static,
    {
        self.call::<_, OrPanic>(Revalidating(compute), Outcome::Value)
    }

    /// The same as [`get_or_revalidate`](Self::get_or_revalidate), for a compute that may fail.
    ///
    /// # Errors
    ///
    /// As [`Cache::try_get_or_compute`].
    ///
    /// # Cancel safety
    ///
    /// As [`Cache::get_or_compute`].
    pub fn try_get_or_revalidate<F, Fut, E>(
        self,
        compute: F,
    ) -> impl Future<Output = Result<V, ComputeError<E>>>
    where
        F: FnOnce(Option<V>) -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        self.call::<_, Trying<E>>(Revalidating(compute), outcome)
    }

    /// Computes a new value also if there is one, as [`Cache::refresh`] does.
    ///
    /// # Panics
    ///
    /// As [`Cache::refresh`].
    ///
    /// # Cancel safety
    ///
    /// As [`Cache::get_or_compute`].
    pub fn refresh<F, Fut>(self, compute: F) -> impl Future<Output = V>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = V> + Send + 'static,
    {
        self.call::<_, OrPanic>(Anew(compute), Outcome::Value).recomputing()
    }

    /// Computes a new value also if there is one, as [`Cache::try_refresh`] does.
    ///
    /// # Errors
    ///
    /// As [`Cache::try_refresh`].
    ///
    /// # Cancel safety
    ///
    /// As [`Cache::get_or_compute`].
    pub fn try_refresh<F, Fut, E>(
        self,
        compute: F,
    ) -> impl Future<Output = Result<V, ComputeError<E>>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        self.call::<_, Trying<E>>(Anew(compute), outcome).recomputing()
    }
}

/// The future of a call.
type Computing<'a, K, V, S, P, M, A> =
    Call<'a, K, V, S, Engine<K, V, S>, P, M, <M as Make<V>>::Output, A>;

impl<'a, K, V, S, P> Entry<'a, K, V, S, P>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    P: Source<K, Lookup: Hash>,
{
    /// The call that ends this entry. The cache is not touched before it is polled.
    #[inline]
    fn call<M, A>(
        self,
        make: M,
        into_outcome: fn(M::Output) -> Outcome<V>,
    ) -> Computing<'a, K, V, S, P, M, A>
    where
        M: Make<V, Output: 'static>,
        A: Answer<V>,
    {
        Call::new(self.cache.engine.parts(), self.key, self.options, make, into_outcome)
    }
}

fn outcome<V, E: Send + Sync + 'static>(computed: Result<V, E>) -> Outcome<V> {
    match computed {
        Ok(value) => Outcome::Value(value),
        Err(error) => Outcome::failed(Arc::new(error)),
    }
}

/// The answer of a call that may fail: all of the result.
pub(crate) struct Trying<E>(PhantomData<E>);

impl<V, E: Send + Sync + 'static> Answer<V> for Trying<E> {
    type Error = E;
    type Output = Result<V, ComputeError<E>>;

    #[inline]
    fn answer(result: Self::Output) -> Self::Output {
        result
    }
}

/// The answer of a call that has no error to return.
pub(crate) struct OrPanic;

impl<V> Answer<V> for OrPanic {
    type Error = Infallible;
    type Output = V;

    #[inline]
    fn answer(result: Result<V, ComputeError<Infallible>>) -> V {
        value_or_panic(result)
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
