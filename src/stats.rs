//! What a cache has done so far, in numbers.

use std::fmt;
use std::time::Duration;

/// A snapshot of what a cache has done since it was built, or since
/// [`reset_stats`](crate::Cache::reset_stats).
///
/// Exact when nothing is running; a snapshot taken meanwhile may hold one part of an operation and
/// not yet the other.
///
/// Each `get` and each compute call is one request; a call for several keys is one for each of them
/// (a compute call that names a key twice: once). A request is one hit, miss or stale hit. If nothing was
/// running when the counting began:
///
/// - `coalesced <= misses + stale_hits`, and so are `remembered_failures`
/// - `refreshes <= computes`
/// - `compute_failures + timeouts <= computes`; the others brought a value, were dropped, or are running
/// - `evictions + expirations + len() <= inserts`; the others were replaced, removed or cleared
///
/// ```
/// # use fleeting::Cache;
/// # let cache: Cache<&str, u32> = Cache::builder().build()?;
/// cache.get("key");
/// cache.insert("key", 1);
/// cache.get("key");
///
/// let stats = cache.stats();
/// assert_eq!((stats.hits, stats.misses, stats.inserts), (1, 1, 1));
/// assert_eq!(stats.hit_rate(), 0.5);
/// # Ok::<(), fleeting::BuildError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests (`get` or compute calls) that found a fresh value at once.
    pub hits: u64,
    /// Requests that did not, whatever came of them; and all calls to `refresh`. Where a stale value may
    /// stand in, it is counted when the call ends.
    pub misses: u64,
    /// Requests that were answered with a value past its TTL, where the cache was told to allow it. A
    /// call that renews such a value itself, for lack of a runtime, is one only if that fails. Of a call
    /// for several keys that fails there are none.
    pub stale_hits: u64,
    /// Values stored, by whatever call; also those that replaced another, and those whose TTL is zero.
    pub inserts: u64,
    /// Entries removed to keep the maximum size.
    pub evictions: u64,
    /// Entries removed because their time was over, that of their TTL or of being idle, whoever finds that
    /// out. Not those that were past it, but still kept as stale ones, when they were replaced or removed;
    /// nor those that [`clear`](crate::Cache::clear) finds, though a listener is told that they had expired.
    pub expirations: u64,
    /// Computes begun: how often a closure was called that makes one. A call for several keys begins one.
    pub computes: u64,
    /// Computes that returned an error or panicked: one each, however many waited. Not those that were
    /// dropped or given up.
    pub compute_failures: u64,
    /// Requests that met a remembered failure, without a new compute: see
    /// [`error_ttl`](crate::CacheBuilder::error_ttl). Each is a miss too, or a stale hit if a stale value stood in.
    pub remembered_failures: u64,
    /// Requests that joined a compute which was already running. Each is a miss too, or a stale hit if it
    /// ends so.
    pub coalesced: u64,
    /// Computes begun to renew a value that could still be handed out, or by
    /// [`refresh`](crate::Cache::refresh) one that was there; also those that failed.
    pub refreshes: u64,
    /// Computes given up because they took too long: one each, however many waited. None for a caller
    /// that leaves to others what it has lost its patience with.
    pub timeouts: u64,
    /// Panics of the removal listener.
    pub listener_panics: u64,
    /// Time from the begin of each compute to its end, summed; also of those that failed or were
    /// dropped half-way. On Linux, that of computes which end without having to wait is told in ticks of
    /// the kernel's clock (1 to 10 ms): it is right in the mean over many.
    /// It is added at the end.
    pub compute_time: Duration,
}

impl Stats {
    /// All requests: hits, misses and stale hits.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.hits + self.misses + self.stale_hits
    }

    /// The share of requests that found a value, fresh or stale: 0.0 to 1.0, and 0.0 when nothing
    /// was asked.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    pub fn hit_rate(&self) -> f64 {
        let requests = self.requests();
        if requests == 0 {
            return 0.0;
        }
        (self.hits + self.stale_hits) as f64 / requests as f64
    }

    /// The mean time of a compute; zero when there was none.
    #[must_use]
    pub fn mean_compute_time(&self) -> Duration {
        if self.computes == 0 {
            return Duration::ZERO;
        }
        let nanos = self.compute_time.as_nanos() / u128::from(self.computes);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Returns what was done between an earlier snapshot and this one.
    ///
    /// For rates: keep the last snapshot, and subtract it from the next one. Where the statistics were
    /// [reset](crate::Cache::reset_stats) in between, no figure falls below zero.
    ///
    /// ```
    /// # use fleeting::Cache;
    /// # let cache: Cache<&str, u32> = Cache::new(10);
    /// cache.get("key");
    /// let before = cache.stats();
    /// cache.insert("key", 1);
    /// cache.get("key");
    ///
    /// let recent = cache.stats().since(&before);
    /// assert_eq!((recent.hits, recent.misses), (1, 0));
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            hits: self.hits.saturating_sub(earlier.hits),
            misses: self.misses.saturating_sub(earlier.misses),
            stale_hits: self.stale_hits.saturating_sub(earlier.stale_hits),
            inserts: self.inserts.saturating_sub(earlier.inserts),
            evictions: self.evictions.saturating_sub(earlier.evictions),
            expirations: self.expirations.saturating_sub(earlier.expirations),
            computes: self.computes.saturating_sub(earlier.computes),
            compute_failures: self.compute_failures.saturating_sub(earlier.compute_failures),
            remembered_failures: self
                .remembered_failures
                .saturating_sub(earlier.remembered_failures),
            coalesced: self.coalesced.saturating_sub(earlier.coalesced),
            refreshes: self.refreshes.saturating_sub(earlier.refreshes),
            timeouts: self.timeouts.saturating_sub(earlier.timeouts),
            listener_panics: self.listener_panics.saturating_sub(earlier.listener_panics),
            compute_time: self.compute_time.saturating_sub(earlier.compute_time),
        }
    }

    /// Adds the figures of another part of the cache.
    pub(crate) fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.stale_hits += other.stale_hits;
        self.inserts += other.inserts;
        self.evictions += other.evictions;
        self.expirations += other.expirations;
        self.computes += other.computes;
        self.compute_failures += other.compute_failures;
        self.remembered_failures += other.remembered_failures;
        self.coalesced += other.coalesced;
        self.refreshes += other.refreshes;
        self.timeouts += other.timeouts;
        self.listener_panics += other.listener_panics;
        self.compute_time = self.compute_time.saturating_add(other.compute_time);
    }
}

/// On one line, for a log: the hit rate, and each figure that is not zero.
///
/// ```
/// # use fleeting::Cache;
/// # let cache: Cache<&str, u32> = Cache::new(10);
/// cache.insert("key", 1);
/// cache.get("key");
/// assert_eq!(cache.stats().to_string(), "hit rate 100.0 %: hits 1, inserts 1");
/// ```
impl fmt::Display for Stats {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "hit rate {:.1} %", 100.0 * self.hit_rate())?;
        let figures = [
            ("hits", self.hits),
            ("misses", self.misses),
            ("stale hits", self.stale_hits),
            ("inserts", self.inserts),
            ("evictions", self.evictions),
            ("expirations", self.expirations),
            ("computes", self.computes),
            ("compute failures", self.compute_failures),
            ("remembered failures", self.remembered_failures),
            ("coalesced", self.coalesced),
            ("refreshes", self.refreshes),
            ("timeouts", self.timeouts),
            ("listener panics", self.listener_panics),
        ];
        let mut separator = ":";
        for (name, figure) in figures.into_iter().filter(|(_, figure)| *figure > 0) {
            write!(formatter, "{separator} {name} {figure}")?;
            separator = ",";
        }
        if !self.compute_time.is_zero() {
            write!(formatter, "{separator} compute time {:?}", self.compute_time)?;
        }
        Ok(())
    }
}
