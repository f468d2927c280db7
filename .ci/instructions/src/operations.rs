//! The operations: each prepares what it needs, and is then called again and again.
//!
//! All that would make a count vary is fixed: the hasher has a seed, the keys come in the same
//! order, and the caches are so small that they have one shard on any machine. The preparation does
//! not depend on the number of calls, so it takes the same instructions for any.

use std::future::ready;
use std::iter::repeat_with;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use fleeting::runtime::{Spawner, Task, Timer};
use fleeting::{Cache, CacheBuilder, Policy};
use foldhash::quality::FixedState;
use futures::FutureExt;

/// A full cache. A power of two, so that it takes one instruction to pick a key.
const ENTRIES: u64 = 512;
/// What a sweep removes.
const EXPIRED: u64 = 1000;
const HOUR: Duration = Duration::from_secs(3600);

type Numbers = Cache<u64, u64, FixedState>;
type Builder = CacheBuilder<u64, u64, FixedState>;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Operation {
    /// Finds a value that expires in an hour.
    Hit,
    /// Finds a value that never expires.
    HitEndless,
    /// The same, where each read lets the value live on.
    HitIdle,
    /// The same as the first, by each policy: this is LRU.
    HitLru,
    /// SIEVE.
    HitSieve,
    /// S3-FIFO.
    #[value(name = "hit-s3-fifo")]
    HitS3Fifo,
    /// W-TinyLFU.
    HitTinyLfu,
    /// Adaptive.
    HitAdaptive,
    /// Finds nothing.
    Miss,
    /// Stores a new value in a full cache, with a TTL.
    InsertEvict,
    /// The same, by each policy: this is LRU.
    InsertEvictLru,
    /// SIEVE.
    InsertEvictSieve,
    /// S3-FIFO.
    #[value(name = "insert-evict-s3-fifo")]
    InsertEvictS3Fifo,
    /// W-TinyLFU.
    InsertEvictTinyLfu,
    /// Adaptive.
    InsertEvictAdaptive,
    /// The same, where entries have weights.
    InsertEvictWeighed,
    /// The same, with a listener.
    InsertEvictTold,
    /// Stores another value for the key, with a TTL.
    Overwrite,
    /// A compute call that finds a value.
    ComputeHit,
    /// A compute call that finds none, in a full cache, with a future that is ready.
    ComputeMiss,
    /// Removes a thousand values that have expired.
    #[value(name = "sweep-1000")]
    Sweep1000,
}

impl Operation {
    /// What it is called on the command line, and in the record.
    ///
    /// # Panics
    ///
    /// Never: no operation is without a name.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no operation is skipped");
        value.get_name().to_owned()
    }

    /// How many calls are counted. All keys have as many, and twice that is prepared for.
    #[must_use]
    pub fn calls(self) -> u32 {
        match self {
            Self::Sweep1000 => 8,
            _ => 8192,
        }
    }

    /// Prepares, and then makes this many calls.
    ///
    /// # Panics
    ///
    /// Panics if a call does not do what it should, or there is nothing prepared for it.
    pub fn repeat(self, calls: u32) {
        match self {
            Self::Hit => repeat(calls, get(builder(HOUR, ENTRIES))),
            Self::HitEndless => repeat(calls, get(builder(Duration::MAX, ENTRIES))),
            Self::HitIdle => repeat(calls, get(builder(Duration::MAX, ENTRIES).tti(HOUR))),
            Self::HitLru => repeat(calls, get(by(Policy::Lru))),
            Self::HitSieve => repeat(calls, get(by(Policy::Sieve))),
            Self::HitS3Fifo => repeat(calls, get(by(Policy::S3Fifo))),
            Self::HitTinyLfu => repeat(calls, get(by(Policy::TinyLfu))),
            Self::HitAdaptive => repeat(calls, get(by(Policy::Adaptive))),
            Self::Miss => repeat(calls, miss()),
            Self::InsertEvict => repeat(calls, insert_new(by(Policy::Fifo))),
            Self::InsertEvictLru => repeat(calls, insert_new(by(Policy::Lru))),
            Self::InsertEvictSieve => repeat(calls, insert_new(by(Policy::Sieve))),
            Self::InsertEvictS3Fifo => repeat(calls, insert_new(by(Policy::S3Fifo))),
            Self::InsertEvictTinyLfu => repeat(calls, insert_new(by(Policy::TinyLfu))),
            Self::InsertEvictAdaptive => repeat(calls, insert_new(by(Policy::Adaptive))),
            Self::InsertEvictWeighed => {
                repeat(calls, insert_new(by(Policy::Fifo).max_weight(ENTRIES).weigher(|_, _| 1)));
            }
            Self::InsertEvictTold => {
                repeat(calls, insert_new(by(Policy::Fifo).on_removal(|_, _, _| ())));
            }
            Self::Overwrite => repeat(calls, overwrite()),
            Self::ComputeHit => repeat(calls, compute_hit()),
            Self::ComputeMiss => repeat(calls, compute_miss()),
            Self::Sweep1000 => repeat(calls, sweep(2 * self.calls())),
        }
    }
}

fn repeat(calls: u32, call: impl FnMut(u64)) {
    // Not dropped: that would take longer where less was swept.
    let mut call = ManuallyDrop::new(call);
    for number in 0..u64::from(calls) {
        call(number);
    }
}

fn get(builder: Builder) -> impl FnMut(u64) {
    let cache = filled(builder, ENTRIES);
    move |number| assert_eq!(cache.get(&(number % ENTRIES)), Some(number % ENTRIES))
}

fn miss() -> impl FnMut(u64) {
    let cache = filled(by(Policy::Fifo), ENTRIES);
    move |number| assert_eq!(cache.get(&(ENTRIES + number % ENTRIES)), None)
}

fn insert_new(builder: Builder) -> impl FnMut(u64) {
    let cache = filled(builder, ENTRIES);
    move |number| assert_eq!(cache.insert(ENTRIES + number, number), None)
}

fn overwrite() -> impl FnMut(u64) {
    let cache = filled(by(Policy::Fifo), ENTRIES);
    move |number| assert!(cache.insert(number % ENTRIES, number).is_some())
}

fn compute_hit() -> impl FnMut(u64) {
    let cache = filled(by(Policy::Fifo), ENTRIES);
    move |number| {
        let key = number % ENTRIES;
        let value = cache.get_or_compute(key, || ready(ENTRIES)).now_or_never();
        assert_eq!(value, Some(key));
    }
}

fn compute_miss() -> impl FnMut(u64) {
    let cache = filled(by(Policy::Fifo), ENTRIES);
    move |number| {
        let key = ENTRIES + number;
        let value = cache.get_or_compute(key, move || ready(number)).now_or_never();
        assert_eq!(value, Some(number));
    }
}

/// One cache for each sweep, all of whose entries have expired.
fn sweep(sweeps: u32) -> impl FnMut(u64) {
    let clock = Arc::new(HandClock::new());
    let build = || filled(builder(HOUR, EXPIRED).runtime(Arc::clone(&clock)), EXPIRED);
    let mut caches = repeat_with(build).take(sweeps as usize).collect::<Vec<_>>().into_iter();
    clock.advance(HOUR);
    move |_| {
        let cache = caches.next().expect("there is a cache for each sweep");
        assert_eq!(ManuallyDrop::new(cache).cleanup() as u64, EXPIRED);
    }
}

fn by(policy: Policy) -> Builder {
    builder(HOUR, ENTRIES).policy(policy)
}

fn builder(ttl: Duration, max_size: u64) -> Builder {
    let max_size = max_size.try_into().expect("a cache fits into memory");
    Cache::builder().ttl(ttl).max_size(max_size).hasher(FixedState::default())
}

fn filled(builder: Builder, entries: u64) -> Numbers {
    let cache = builder.build().expect("the settings are valid");
    for key in 0..entries {
        cache.insert(key, key);
    }
    cache
}

/// A clock that moves by hand, and a runtime that runs nothing.
struct HandClock {
    origin: Instant,
    seconds: AtomicU64,
}

impl HandClock {
    fn new() -> Self {
        Self { origin: Instant::now(), seconds: AtomicU64::new(0) }
    }

    /// Moves on by whole seconds: whether fractions carry would depend on the origin.
    fn advance(&self, duration: Duration) {
        self.seconds.fetch_add(duration.as_secs(), Ordering::Relaxed);
    }
}

impl Timer for HandClock {
    fn now(&self) -> Instant {
        self.origin + Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, _deadline: Instant) -> Task {
        Box::pin(ready(()))
    }
}

impl Spawner for HandClock {
    fn spawn(&self, _task: Task) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_does_what_it_is_called() {
        for &operation in Operation::value_variants() {
            operation.repeat(2 * operation.calls());
        }
    }

    #[test]
    fn all_keys_are_looked_up_equally_often() {
        assert_eq!(u64::from(Operation::Hit.calls()) % ENTRIES, 0);
    }
}
