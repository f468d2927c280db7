//! `CacheBuilder`: a cache's settings, validated.

use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use crate::background::Background;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::compute::host::Host;
use crate::compute::permits::Permits;
use crate::engine::Engine;
use crate::expiry::{Expiry, Ttl, UserRule};
use crate::freshness::Freshness;
use crate::hash::DefaultHashBuilder;
use crate::listener::{Listener, RemovalCause};
use crate::policy::Policy;
use crate::rules::{Rules, Weigher};
use crate::runtime::{Instant, Runtime};
use crate::store::{Plan, Store};
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
    tti: Duration,
    expiry: Option<UserRule<K, V>>,
    ttl_jitter: f64,
    max_size: Option<usize>,
    max_weight: Option<u64>,
    weigher: Option<Weigher<K, V>>,
    policy: Policy,
    initial_capacity: usize,
    hasher: S,
    runtime: Option<Arc<dyn Runtime>>,
    cleanup_interval: Duration,
    listener: Option<Listener<K, V>>,
    computes: Computes,
}

/// The settings of computes.
#[derive(Clone, Copy, Debug, Default)]
struct Computes {
    max_concurrent: Option<usize>,
    timeout: Option<Duration>,
    stale_if_slow: Option<Duration>,
    spawned: bool,
    refresh_after: Option<Duration>,
    early_refresh: f64,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    error_ttl: Duration,
}

impl<K, V> CacheBuilder<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            ttl: Duration::MAX,
            tti: Duration::MAX,
            expiry: None,
            ttl_jitter: 0.0,
            max_size: None,
            max_weight: None,
            weigher: None,
            policy: Policy::Fifo,
            initial_capacity: 0,
            hasher: DefaultHashBuilder::default(),
            runtime: None,
            cleanup_interval: DEFAULT_CLEANUP_INTERVAL,
            listener: None,
            computes: Computes::default(),
        }
    }
}

impl<K, V, S> CacheBuilder<K, V, S> {
    /// Sets how long an entry is fresh, from the moment it is stored. The default is for ever.
    ///
    /// `Duration::ZERO`: values are never readable, nor handed out as stale ones, so only computes that run at the
    /// same time are shared. A time too long for the clock (584 years), `Duration::MAX` included:
    /// never expires. A time of a minute or more may end some milliseconds early, see
    /// [choosing the TTL](crate#choosing-the-ttl-and-the-size).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how long an entry is fresh since it was last read or written. The default is for ever.
    ///
    /// With a TTL too, whichever ends first. What reads are: [`get`](crate::Cache::get) and
    /// [`get_many`](crate::Cache::get_many), compute calls that find a fresh value, and
    /// [`or_insert`](crate::Entry::or_insert). [`peek`](crate::Cache::peek),
    /// [`contains_key`](crate::Cache::contains_key), [`iter`](crate::Cache::iter) and
    /// [`remaining_ttl`](crate::Cache::remaining_ttl) are not, nor is a closure that is asked about a value
    /// which then stays as it is, or a call that gets a stale value. What is stored anew, also by a refresh,
    /// begins both times anew.
    ///
    /// Elsewhere too, what is said of the end of a TTL holds for whichever comes first: what is past its
    /// idle time has expired, and is kept as a stale value if the cache keeps such. But
    /// [`refresh_after`](Self::refresh_after) and [`early_refresh`](Self::early_refresh) go by the age and
    /// the TTL alone, because the read that would find a value idle is what keeps it.
    ///
    /// `Duration::ZERO`: values are never readable. A time too long for the clock: no limit. It is
    /// exact to the nanosecond, but one of a minute or more may end some milliseconds early, like a TTL.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fleeting::Cache;
    ///
    /// // Sessions: over after half an hour without a request, and after a day in any case.
    /// let sessions: Cache<String, u64> = Cache::builder()
    ///     .tti(Duration::from_secs(30 * 60))
    ///     .ttl(Duration::from_secs(24 * 60 * 60))
    ///     .build()?;
    /// # Ok::<(), fleeting::BuildError>(())
    /// ```
    pub fn tti(mut self, tti: Duration) -> Self {
        self.tti = tti;
        self
    }

    /// Takes the time to live from key and value, in place of [`ttl`](Self::ttl).
    ///
    /// Called once for each value that is to be stored, by whatever call, under no lock, unless the call
    /// has a TTL of its own. If it panics, nothing is stored: in a compute call that is
    /// [`Panicked`](crate::ComputeError::Panicked) for all who wait, in others the panic passes through.
    /// It must not hold a handle of the cache, which would then never be freed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fleeting::Cache;
    ///
    /// // That there is no such user is forgotten sooner.
    /// let cache = Cache::<u64, Option<String>>::builder()
    ///     .expiry(|_, user| Duration::from_secs(if user.is_some() { 300 } else { 10 }))
    ///     .build()?;
    /// # Ok::<(), fleeting::BuildError>(())
    /// ```
    pub fn expiry(mut self, expiry: impl Fn(&K, &V) -> Duration + Send + Sync + 'static) -> Self {
        self.expiry = Some(UserRule::Ttl(Box::new(expiry)));
        self
    }

    /// Takes the moment at which a value expires from key and value, in place of [`ttl`](Self::ttl).
    ///
    /// The closure is given the cache's own now, which may be virtual. A moment that is not later means a TTL of
    /// zero. Called like an [`expiry`](Self::expiry), which it takes the place of, and the other way round; the TTL
    /// that it amounts to is counted from when the value is stored, right after.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use fleeting::Cache;
    ///
    /// #[derive(Clone)]
    /// struct Token { valid_until: SystemTime }
    ///
    /// let tokens = Cache::<u64, Token>::builder()
    ///     .expires_at(|_, token, now| {
    ///         now + token.valid_until.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)
    ///     })
    ///     .build()?;
    /// # Ok::<(), fleeting::BuildError>(())
    /// ```
    pub fn expires_at(
        mut self,
        expires_at: impl Fn(&K, &V, Instant) -> Instant + Send + Sync + 'static,
    ) -> Self {
        self.expiry = Some(UserRule::Moment(Box::new(expires_at)));
        self
    }

    /// Shortens each time to live by a random share of up to this much, so that what was stored together
    /// does not expire together. From 0.0, the default, to 1.0.
    ///
    /// It holds for the TTLs of calls too, but not for [`Cache::set_ttl`](crate::Cache::set_ttl). What never
    /// expires is not shortened.
    pub fn ttl_jitter(mut self, ttl_jitter: f64) -> Self {
        self.ttl_jitter = ttl_jitter;
        self
    }

    /// Sets the most entries; never exceeded, at no moment. The default is no bound.
    ///
    /// A new entry in a full cache takes the place of one that has expired, or else of one that the
    /// [policy](Self::policy) chooses: by default the one that was stored first. (The search for an expired
    /// one is bounded: it can fail while dozens of entries are at the end of a TTL that was prolonged.) A
    /// value whose own TTL is zero takes no living entry's place. Up to 2,047 entries the order of the
    /// policy is that of the whole cache; above, the cache is divided into shards and each has its own.
    /// Entries that have expired and were not freed yet count.
    ///
    /// With 0, nothing is stored, so that a configuration can switch the cache off; each value counts as evicted at
    /// once. Computes are still shared.
    pub fn max_size(mut self, max_size: usize) -> Self {
        self.max_size = Some(max_size);
        self
    }

    /// Sets the most that all entries may weigh together; never exceeded, at no moment. Needs a
    /// [`weigher`](Self::weigher). The default is no bound.
    ///
    /// A new entry takes the room of those that have expired, or else of as many others as it needs, by the
    /// [policy](Self::policy), which counts entries and not what they weigh. One that is heavier than all may
    /// be together is not stored, and counts as evicted at once; a value that it was to replace is removed.
    /// Together with [`max_size`](Self::max_size), both hold. Entries that have expired and were not freed
    /// yet count. With 0, nothing is stored, whatever its weight, as with a `max_size` of 0.
    ///
    /// ```
    /// use fleeting::Cache;
    ///
    /// let cache: Cache<String, Vec<u8>> = Cache::builder()
    ///     .max_weight(64 << 20) // bytes
    ///     .weigher(|key: &String, value: &Vec<u8>| (key.len() + value.len()) as u64)
    ///     .build()?;
    /// cache.insert("a".to_owned(), vec![0; 9]);
    /// assert_eq!(cache.weight(), 10);
    /// # Ok::<(), fleeting::BuildError>(())
    /// ```
    pub fn max_weight(mut self, max_weight: u64) -> Self {
        self.max_weight = Some(max_weight);
        self
    }

    /// Sets what an entry weighs, in a unit of your choice: bytes, say. Zero is legal.
    ///
    /// Called once for each value that is to be stored, by whatever call, under no lock; the weight stays
    /// what it was then. If it panics, nothing is stored: in a compute call that is
    /// [`Panicked`](crate::ComputeError::Panicked) for all who wait, in others the panic passes through. It
    /// must not hold a handle of the cache, which would then never be freed. Without
    /// [`max_weight`](Self::max_weight) the sum is only counted, up to `u64::MAX`.
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u64 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Box::new(weigher));
        self
    }

    /// Sets which entry makes way for a new one when the cache is full. The default is
    /// [`Policy::Fifo`].
    ///
    /// Without a bound it has no effect.
    ///
    /// ```
    /// use fleeting::{Cache, Policy};
    ///
    /// let cache: Cache<u64, String> =
    ///     Cache::builder().max_size(10_000).policy(Policy::S3Fifo).build()?;
    /// # Ok::<(), fleeting::BuildError>(())
    /// ```
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
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
            tti: self.tti,
            expiry: self.expiry,
            ttl_jitter: self.ttl_jitter,
            max_size: self.max_size,
            max_weight: self.max_weight,
            weigher: self.weigher,
            policy: self.policy,
            initial_capacity: self.initial_capacity,
            hasher,
            runtime: self.runtime,
            cleanup_interval: self.cleanup_interval,
            listener: self.listener,
            computes: self.computes,
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

    /// Tells `listener` of each value that leaves the cache, with its key and the
    /// [cause](RemovalCause). The default is nobody.
    ///
    /// Exactly once for each value that was stored and has left, in the order in which the values of a key
    /// left. A value that was handed back to the caller, as by [`remove`](crate::Cache::remove), has left
    /// too: the caller gets a copy. Not told are values that were never stored, such as the late outcome of
    /// a compute, and those that are still there when the last handle is dropped: that is the end of the
    /// cache and no removal.
    ///
    /// The listener runs on the thread of a call that removed something, or in the background task, and
    /// under no lock: it may call the cache. What leaves meanwhile is told after it has returned, and one
    /// thread at a time tells: so a notice may come from another thread than that of the removal, and a
    /// little later. `Expired` comes promptly if the cache has a
    /// [runtime](Self::runtime), and else when a call comes across the value.
    ///
    /// It should be quick, because calls wait for it: send what takes long into a channel that never fills.
    /// Where values leave faster than it is told of them, their notices queue up; whoever removes a value
    /// when 1,024 wait takes the next turn at telling, which may mean to wait until the listener has
    /// returned on another thread. So it must not wait for a lock that a caller of the cache may hold, nor
    /// for a call of the cache on another thread. Inside a compute nobody
    /// waits for a turn, so it may wait for one, but not if that needs a thread which may wait so, as one
    /// that runs its timers.
    ///
    /// A panic in it is [counted](crate::Stats::listener_panics) and goes no further. It must not hold a
    /// handle of the cache, which would then never be freed: what is to call the cache holds it weakly.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use fleeting::{Cache, RemovalCause};
    ///
    /// let (sender, removals) = mpsc::channel();
    /// let cache = Cache::<&str, u32>::builder()
    ///     .on_removal(move |key, value, cause| drop(sender.send((key, value, cause))))
    ///     .build()?;
    /// cache.insert("key", 1);
    /// cache.insert("key", 2);
    /// cache.remove("key");
    ///
    /// let told: Vec<_> = removals.try_iter().collect();
    /// assert_eq!(told, [("key", 1, RemovalCause::Replaced), ("key", 2, RemovalCause::Removed)]);
    /// # Ok::<(), fleeting::BuildError>(())
    /// ```
    pub fn on_removal(
        mut self,
        listener: impl Fn(K, V, RemovalCause) + Send + Sync + 'static,
    ) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Sets how many computes of this cache may run at once; the others wait for their turn. The default
    /// is no limit.
    ///
    /// A compute's closure is called at once; its future is polled when its turn comes, in the order of
    /// asking. Waiting for it counts against a compute's timeout, and a compute that all its callers leave
    /// while it waits gives its place up. A compute that another
    /// compute of this cache asks for runs within that one's permit: else both might wait for ever; and
    /// it goes on without one for others who wait for it, should the one that asked leave. One call for
    /// many keys is one compute. A compute that nobody polls keeps its permit: see
    /// [`compute_timeout`](Self::compute_timeout).
    ///
    /// Where computes of two caches ask for keys of each other and both caches have a limit, each may wait
    /// for a permit that the other holds, as with any two semaphores: leave one without a limit, or set
    /// timeouts.
    pub fn max_concurrent_computes(mut self, max_concurrent_computes: usize) -> Self {
        self.computes.max_concurrent = Some(max_concurrent_computes);
        self
    }

    /// Sets after how long a compute is given up. Needs a [`runtime`](Self::runtime). The default is
    /// never.
    ///
    /// Its callers get [`TimedOut`](crate::ComputeError::TimedOut), or a stale value where
    /// [`stale_if_error`](Self::stale_if_error) allows that; the compute is dropped, the key is free for
    /// a new one at once, and nothing is stored. [`Entry::timeout`](crate::Entry::timeout) sets another
    /// time for one call. The time includes that of waiting for a permit.
    pub fn compute_timeout(mut self, compute_timeout: Duration) -> Self {
        self.computes.timeout = Some(compute_timeout);
        self
    }

    /// Sets from which age on a fresh value is renewed when a compute call finds it. The default is
    /// never: values are used until they expire.
    ///
    /// The call returns the value that is there, and its compute runs in the background; without a
    /// runtime it runs inside the call, which returns the new value. Others go on to get the value that
    /// is there. At most one refresh of a key runs at a time. One that fails changes nothing: the value
    /// keeps its deadline, and the next attempt is put off by 100 ms, then 200 ms, up to a minute; when
    /// nobody has tried for a minute more, by 100 ms again. A write of the key wins over a refresh that
    /// began before it.
    ///
    /// Must be less than the cache's TTL. On Linux a refresh may begin some milliseconds late, by a tick of
    /// the kernel's clock.
    pub fn refresh_after(mut self, refresh_after: Duration) -> Self {
        self.computes.refresh_after = Some(refresh_after);
        self
    }

    /// Sets how long past its TTL a value is handed out by compute calls while it is renewed. The default
    /// is zero.
    ///
    /// As in HTTP ([RFC 5861](https://www.rfc-editor.org/rfc/rfc5861), section 3). Renewed as with
    /// [`refresh_after`](Self::refresh_after); without a runtime, the call that finds the value stale
    /// computes, and returns the stale value only if that fails. Calls other than compute calls never
    /// see a value past its TTL. It is held so much longer, and counts in
    /// [`Cache::len`](crate::Cache::len).
    pub fn stale_while_revalidate(mut self, stale_while_revalidate: Duration) -> Self {
        self.computes.stale_while_revalidate = stale_while_revalidate;
        self
    }

    /// Sets how long past its TTL a value stands in when the compute for it fails: returns an error,
    /// panics or takes too long. The default is zero.
    ///
    /// As in HTTP ([RFC 5861](https://www.rfc-editor.org/rfc/rfc5861), section 4). A value that was
    /// removed or replaced meanwhile does not stand in. [`Cache::refresh`](crate::Cache::refresh) and its
    /// kin return the failure: whoever asks for a new value is not told an old one.
    pub fn stale_if_error(mut self, stale_if_error: Duration) -> Self {
        self.computes.stale_if_error = stale_if_error;
        self
    }

    /// Sets how long a caller waits for a compute before it takes the stale value instead. Needs a
    /// [`runtime`](Self::runtime). The default is as long as the compute takes.
    ///
    /// It holds for the caller that leads a compute and for those that join it. The stale value is one that
    /// [`stale_if_error`](Self::stale_if_error) keeps; where there is none, the caller waits on. The compute goes
    /// on in the background and fills the cache. [`Cache::refresh`](crate::Cache::refresh) and its kin wait for
    /// the new value all the same. [`Entry::stale_if_slow`](crate::Entry::stale_if_slow) sets another time for one
    /// call.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fleeting::{Cache, CacheBuilder};
    /// # fn build(builder: CacheBuilder<u64, String>) -> Result<Cache<u64, String>, fleeting::BuildError> {
    /// // At most 50 ms late, unless the last value is more than an hour too old.
    /// builder
    ///     .ttl(Duration::from_secs(60))
    ///     .stale_if_error(Duration::from_secs(3600))
    ///     .stale_if_slow(Duration::from_millis(50))
    ///     .build()
    /// # }
    /// ```
    pub fn stale_if_slow(mut self, stale_if_slow: Duration) -> Self {
        self.computes.stale_if_slow = Some(stale_if_slow);
        self
    }

    /// Runs computes as tasks of the runtime, for which callers only wait. Needs a [`runtime`](Self::runtime).
    /// The default is `false`: callers poll the compute themselves.
    ///
    /// A compute can then do what only a task of its runtime can, such as tokio's `block_in_place`, and each of
    /// its awaits wakes one task instead of every caller. The price is one more task for each compute, also for
    /// one that is ready at once. All else stays: the compute is dropped when its last caller leaves, a circle of
    /// computes is noticed, and if the runtime is gone, callers poll again. The closure that makes the compute is
    /// still called by the first caller. [`Entry::spawned`](crate::Entry::spawned) does so for one call.
    ///
    /// A task runs only while its runtime does: where nothing drives that, as between two calls of `block_on` on
    /// a current-thread runtime of tokio's, callers elsewhere wait.
    pub fn spawn_computes(mut self, spawn_computes: bool) -> Self {
        self.computes.spawned = spawn_computes;
        self
    }

    /// Sets how eagerly values are renewed by chance before they expire, so that the callers of a popular
    /// key need not all wait for it at the same moment. The default is 0.0: not at all.
    ///
    /// A compute call that finds a fresh value renews it, as with
    /// [`refresh_after`](Self::refresh_after), with a probability that grows towards the deadline: the
    /// more so the longer the value took to compute. At 1.0, which the paper proposes, most values are
    /// renewed within a few of their computes' times before they expire; larger is earlier. This is
    /// `XFetch` ([Vattani, Chierichetti and Lowenstein, VLDB
    /// 2015](https://www.vldb.org/pvldb/vol8/p886-vattani.pdf)). A value that was not computed is not
    /// renewed by it.
    pub fn early_refresh(mut self, beta: f64) -> Self {
        self.computes.early_refresh = beta;
        self
    }

    /// Sets how long failures are remembered, and told to callers without a new compute. The default is
    /// zero: the next call computes again.
    ///
    /// It holds for errors that computes return, not for panics and timeouts. All callers get the same
    /// `Arc`; one whose error type is another computes for itself. A write of the key, or a
    /// [refresh](crate::Cache::refresh), makes the failure forgotten. At most 1,024 are remembered for
    /// each shard, so that requests for ever new keys that fail cannot fill the memory.
    pub fn error_ttl(mut self, error_ttl: Duration) -> Self {
        self.computes.error_ttl = error_ttl;
        self
    }

    fn validate(&self) -> Result<(), BuildError> {
        let broken = |setting, rule| Err(BuildError { setting, rule });
        let computes = &self.computes;
        if self.max_weight.is_some() && self.weigher.is_none() {
            return Err(BuildError::NO_WEIGHER);
        }
        if self.cleanup_interval.is_zero() {
            return broken("cleanup_interval", "must be more than zero");
        }
        if !(0.0..=1.0).contains(&self.ttl_jitter) {
            return broken("ttl_jitter", "must be from 0.0 to 1.0");
        }
        if computes.max_concurrent == Some(0) {
            return broken("max_concurrent_computes", "must be at least 1");
        }
        if computes.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return broken("compute_timeout", "must be more than zero");
        }
        if computes.timeout.is_some() && self.runtime.is_none() {
            return broken("compute_timeout", "needs a runtime");
        }
        if computes.stale_if_slow.is_some_and(|wait| wait.is_zero()) {
            return broken("stale_if_slow", "must be more than zero");
        }
        if computes.stale_if_slow.is_some() && self.runtime.is_none() {
            return broken("stale_if_slow", "needs a runtime");
        }
        if computes.spawned && self.runtime.is_none() {
            return broken("spawn_computes", "needs a runtime");
        }
        if computes.refresh_after.is_some_and(|age| age.is_zero()) {
            return broken("refresh_after", "must be more than zero");
        }
        let never_renewed = |age| age >= self.ttl && self.ttl != Duration::MAX;
        if self.expiry.is_none() && computes.refresh_after.is_some_and(never_renewed) {
            return broken("refresh_after", "must be less than ttl");
        }
        if !computes.early_refresh.is_finite() || computes.early_refresh < 0.0 {
            return broken("early_refresh", "must be a number from 0.0 up");
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
    /// If a setting breaks its rule: `cleanup_interval`, `max_concurrent_computes`, `compute_timeout`,
    /// `stale_if_slow` and `refresh_after` must not be zero; `compute_timeout`, `stale_if_slow` and `spawn_computes`
    /// need a `runtime`, and `max_weight` a `weigher`;
    /// `refresh_after` must be less than `ttl`; `early_refresh` must be finite and not negative;
    /// `ttl_jitter` must be from 0.0 to 1.0; and `initial_capacity` must fit into memory.
    pub fn build(self) -> Result<Cache<K, V, S>, BuildError> {
        self.validate()?;
        let Self {
            ttl,
            tti,
            max_size,
            policy,
            initial_capacity,
            hasher,
            runtime,
            cleanup_interval,
            ..
        } = self;
        let computes = self.computes;
        let freshness = Freshness::new(
            computes.refresh_after,
            computes.early_refresh,
            computes.stale_while_revalidate,
            computes.stale_if_error,
        );
        let error_ttl = computes.error_ttl.into();
        let is_weighed = self.weigher.is_some();
        let rule = self.expiry.map(|rule| rule.by_clock_of(runtime.as_ref()));
        let plan = Plan {
            max_size,
            is_weighed,
            max_weight: self.max_weight,
            policy,
            initial_capacity,
            freshness,
            tti: tti.into(),
            error_ttl,
            lends_keys: is_weighed || rule.is_some(),
        };
        let clock = Clock::new(runtime.as_ref());
        let Some(store) = Store::new(&plan, clock, self.listener) else {
            return Err(BuildError { setting: "initial_capacity", rule: "must fit into memory" });
        };
        let host = Host {
            background: runtime.map(Background::new),
            compute_timeout: computes.timeout,
            stale_if_slow: computes.stale_if_slow,
            spawns_computes: computes.spawned,
            permits: computes.max_concurrent.map(Permits::new),
        };
        let expiry = Expiry { ttl: ttl.into(), rule, jitter: self.ttl_jitter };
        let rules = Rules { expiry, weigher: self.weigher };
        let engine = Arc::new_cyclic(|engine: &Weak<Engine<K, V, S>>| {
            let target: Weak<dyn Sweepable> = Weak::<Engine<K, V, S>>::clone(engine);
            let sweeper = Sweeper::new(target, cleanup_interval);
            Engine { store, hasher, rules, sweeper, host }
        });
        Ok(Cache { engine })
    }
}

impl<K, V, S> fmt::Debug for CacheBuilder<K, V, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CacheBuilder")
            .field("ttl", &Ttl::from(self.ttl))
            .field("tti", &Ttl::from(self.tti))
            .field("has_expiry", &self.expiry.is_some())
            .field("ttl_jitter", &self.ttl_jitter)
            .field("max_size", &self.max_size)
            .field("max_weight", &self.max_weight)
            .field("has_weigher", &self.weigher.is_some())
            .field("policy", &self.policy)
            .field("initial_capacity", &self.initial_capacity)
            .field("has_runtime", &self.runtime.is_some())
            .field("cleanup_interval", &self.cleanup_interval)
            .field("has_listener", &self.listener.is_some())
            .field("computes", &self.computes)
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
    pub(crate) const NO_WEIGHER: Self = Self { setting: "max_weight", rule: "needs a weigher" };

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
