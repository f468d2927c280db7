//! What the statistics add up to, whatever is done with a cache, by the account of those who do it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleeting::runtime::{Manual, Timer};
use fleeting::{Cache, Stats};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::many::Numbers;
use crate::support::{Gate, check, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const KEYS: u32 = 6;

/// A generator of numbers that needs no seed from outside (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(limit)).expect("it is below the limit")
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == 0
    }
}

/// What a cache is built with.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one setting that is on or off")]
struct Settings {
    has_runtime: bool,
    is_small: bool,
    refreshes: bool,
    serves_stale: bool,
    stands_in: bool,
    remembers: bool,
    timeout: Option<Duration>,
    is_limited: bool,
    has_bulk_calls: bool,
}

impl Settings {
    fn new(seed: u64) -> Self {
        let bit = |index: u32| seed >> index & 1 == 1;
        let timeout = Some(5 * SECOND).filter(|_| bit(0) && bit(1));
        Self {
            has_runtime: bit(0),
            is_small: bit(2),
            refreshes: bit(3),
            serves_stale: bit(4),
            stands_in: bit(5),
            remembers: bit(6),
            timeout,
            // Of those that wait for their turn, some end at the very moment at which they are given up.
            is_limited: bit(7) && timeout.is_none(),
            has_bulk_calls: bit(8),
        }
    }

    fn build(self, time: &Manual) -> Cache<u32, u32> {
        let mut builder = Cache::builder().ttl(10 * SECOND);
        // Without one the clock is the system's: nothing expires meanwhile.
        if self.has_runtime {
            builder = builder.runtime(time.clone());
        }
        if self.is_small {
            builder = builder.max_size(3);
        }
        if self.refreshes {
            builder = builder.refresh_after(4 * SECOND);
        }
        if self.serves_stale {
            builder = builder.stale_while_revalidate(6 * SECOND);
        }
        if self.stands_in {
            builder = builder.stale_if_error(12 * SECOND);
        }
        if self.remembers {
            builder = builder.error_ttl(3 * SECOND);
        }
        if let Some(timeout) = self.timeout {
            builder = builder.compute_timeout(timeout);
        }
        if self.is_limited {
            builder = builder.max_concurrent_computes(2);
        }
        builder.build().expect("valid settings")
    }
}

/// What computes did, by their own account.
#[derive(Default)]
struct Account {
    begun: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    nanos: AtomicU64,
    /// The keys of the last closure that was called, if it was not looked at yet.
    asked_for: Mutex<Option<Vec<u32>>>,
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::SeqCst);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

/// One compute, from the call of its closure to its drop.
struct Running {
    account: Arc<Account>,
    time: Manual,
    begun: Instant,
    timeout: Option<Duration>,
    has_ended: bool,
}

impl Running {
    fn end(&mut self) {
        self.has_ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let elapsed = self.time.now() - self.begun;
        let nanos = u64::try_from(elapsed.as_nanos()).expect("some seconds");
        add(&self.account.nanos, nanos);
        let is_timed_out = self.timeout.is_some_and(|timeout| elapsed >= timeout);
        add(&self.account.timed_out, u64::from(!self.has_ended && is_timed_out));
    }
}

#[derive(Clone, Copy)]
enum Ending {
    Value,
    Lacking,
    Error,
    Panic,
}

/// Makes computes that end when their gate is open, as was decided by then.
#[derive(Clone)]
struct Maker {
    account: Arc<Account>,
    time: Manual,
    timeout: Option<Duration>,
    gate: Gate,
    ending: Ending,
}

impl Maker {
    fn make(self, keys: &[u32]) -> BoxFuture<'static, Result<Numbers, &'static str>> {
        add(&self.account.begun, 1);
        *self.account.asked_for.lock().expect("nobody panics here") = Some(keys.to_vec());
        let keys = keys.to_vec();
        let Self { account, time, timeout, gate, ending } = self;
        let begun = time.now();
        let mut running =
            Running { account: Arc::clone(&account), time, begun, timeout, has_ended: false };
        async move {
            gate.passed().await;
            running.end();
            add(&account.failed, u64::from(matches!(ending, Ending::Error | Ending::Panic)));
            match ending {
                Ending::Value => Ok(keys.iter().map(|key| (*key, key * 10)).collect()),
                Ending::Lacking => Ok(keys.iter().skip(1).map(|key| (*key, key * 10)).collect()),
                Ending::Error => Err("down"),
                Ending::Panic => resume_unwind(Box::new("the compute panics")),
            }
        }
        .boxed()
    }

    /// The same for a compute of one key.
    fn make_one(self, key: u32) -> BoxFuture<'static, Result<u32, &'static str>> {
        self.make(&[key]).map(move |numbers| numbers.map(|_| key * 10)).boxed()
    }
}

/// A cache, and what is expected of its statistics.
struct Case {
    settings: Settings,
    time: Manual,
    cache: Cache<u32, u32>,
    random: Random,
    account: Arc<Account>,
    waiting: Vec<BoxFuture<'static, ()>>,
    gates: Vec<Gate>,
    requests: u64,
    hits: u64,
    coalesced: u64,
    refreshes: u64,
    /// Entries that were removed or replaced, by the sums.
    gone: u64,
}

impl Case {
    fn new(seed: u64) -> Self {
        let (settings, time) = (Settings::new(seed), Manual::new());
        let cache = settings.build(&time);
        let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let account = Arc::default();
        let (waiting, gates) = (Vec::new(), Vec::new());
        let (requests, hits, coalesced, refreshes, gone) = (0, 0, 0, 0, 0);
        Self {
            settings,
            time,
            cache,
            random,
            account,
            waiting,
            gates,
            requests,
            hits,
            coalesced,
            refreshes,
            gone,
        }
    }

    fn key(&mut self) -> u32 {
        self.random.below(KEYS)
    }

    fn maker(&mut self) -> Maker {
        let gate = Gate::new();
        if self.random.one_in(2) {
            gate.open();
        } else {
            self.gates.push(gate.clone());
        }
        let ending = match self.random.below(12) {
            0..7 => Ending::Value,
            7..9 => Ending::Lacking,
            9..11 => Ending::Error,
            _ => Ending::Panic,
        };
        let (account, time) = (Arc::clone(&self.account), self.time.clone());
        Maker { account, time, timeout: self.settings.timeout, gate, ending }
    }

    fn is_fresh(&self, key: u32) -> bool {
        self.cache.peek(&key).is_some()
    }

    /// Polls a call for these keys for the first time.
    fn begin(&mut self, keys: &[u32], may_hit: bool, mut call: BoxFuture<'static, ()>) {
        let fresh: Vec<bool> = keys.iter().map(|key| self.is_fresh(*key)).collect();
        let is_ready = poll_once(&mut call).is_some();
        let asked_for = self.account.asked_for.lock().expect("nobody panics here").take();
        let asked_for = asked_for.unwrap_or_default();
        self.requests += keys.len() as u64;
        let mut renews = !asked_for.is_empty();
        for (key, is_fresh) in keys.iter().zip(fresh) {
            self.hits += u64::from(is_fresh && may_hit);
            let is_own = asked_for.contains(key);
            renews &= is_fresh || !is_own;
            let leads_or_hits = is_own || is_fresh && may_hit;
            self.coalesced += u64::from(!leads_or_hits);
        }
        self.refreshes += u64::from(renews);
        if !is_ready {
            self.waiting.push(call);
        }
    }

    fn call_one(&mut self) {
        let (key, maker, cache) = (self.key(), self.maker(), self.cache.clone());
        let kind = self.random.below(6);
        let make = move || maker.make_one(key);
        let unfailing = {
            let make = make.clone();
            move || make().map(|result| result.unwrap_or_else(|_| resume_unwind(Box::new("down"))))
        };
        let call = async move {
            match kind {
                0 => drop(cache.get_or_compute(key, unfailing).await),
                1 => drop(cache.refresh(key, unfailing).await),
                2 => drop(cache.try_refresh(key, make).await),
                3 => drop(cache.entry(key).try_get_or_revalidate(|_| make()).await),
                _ => drop(cache.try_get_or_compute(key, make).await),
            }
        };
        let call = AssertUnwindSafe(call).catch_unwind().map(drop).boxed();
        self.begin(&[key], !matches!(kind, 1 | 2), call);
    }

    fn call_many(&mut self) {
        let count = self.random.below(KEYS) + 1;
        let keys: Vec<u32> = (0..count).map(|_| self.key()).collect();
        let mut distinct = keys.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let (maker, cache) = (self.maker(), self.cache.clone());
        let call = async move {
            let make = |missing: Vec<u32>| maker.make(&missing);
            drop(cache.try_get_or_compute_many(keys, make).await);
        };
        let call = AssertUnwindSafe(call).catch_unwind().map(drop).boxed();
        self.begin(&distinct, true, call);
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0..2 => {
                let key = self.key();
                self.requests += 1;
                self.hits += u64::from(self.is_fresh(key));
                self.cache.get(&key);
            }
            2 => {
                let keys: Vec<u32> = (0..3).map(|_| self.key()).collect();
                let found = self.cache.get_many(&keys);
                self.requests += 3;
                self.hits += found.iter().flatten().count() as u64;
            }
            3 => {
                let key = self.key();
                let before = self.cache.stats().inserts;
                self.cache.insert(key, 1);
                assert_eq!(self.cache.stats().inserts, before + 1);
            }
            4 => {
                self.cache.remove(&self.random.below(KEYS));
            }
            5 if self.random.one_in(4) => self.cache.clear(),
            6..10 => self.call_one(),
            10..12 if self.settings.has_bulk_calls => self.call_many(),
            12 if !self.gates.is_empty() => {
                let index = self.random.below(u32::try_from(self.gates.len()).expect("few"));
                self.gates.swap_remove(index as usize).open();
            }
            13 if !self.waiting.is_empty() => {
                let index = self.random.below(u32::try_from(self.waiting.len()).expect("few"));
                drop(self.waiting.swap_remove(index as usize));
            }
            _ => self.time.advance(SECOND * self.random.below(4)),
        }
        self.settle();
        self.check();
    }

    /// Polls all who wait until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..8 {
            self.waiting.retain_mut(|call| poll_once(call).is_none());
            self.time.advance(Duration::ZERO);
        }
        self.account.asked_for.lock().expect("nobody panics here").take();
    }

    /// The sums that hold at any time on one thread.
    fn check(&mut self) {
        let (stats, settings) = (self.cache.stats(), self.settings);
        let account = &self.account;
        assert_eq!(stats.computes, read(&account.begun), "closures that were called");
        assert_eq!(stats.compute_failures, read(&account.failed));
        // A bulk call that fails leaves its other computes, which may be at the end of their time too.
        let timed_out = read(&account.timed_out);
        assert!(stats.timeouts <= timed_out);
        assert!(stats.timeouts == timed_out || settings.has_bulk_calls);
        assert!(stats.requests() <= self.requests, "{} of {}", stats.requests(), self.requests);
        if settings.has_runtime {
            assert_eq!(stats.compute_time, Duration::from_nanos(read(&account.nanos)));
        }
        if !settings.serves_stale && !settings.stands_in {
            assert_eq!(stats.stale_hits, 0);
            assert_eq!(stats.requests(), self.requests, "none is owed");
        }
        assert_eq!(stats.hits, self.hits);
        if !settings.serves_stale {
            assert_eq!(stats.refreshes, self.refreshes);
            if !settings.remembers {
                assert_eq!(stats.coalesced, self.coalesced);
            }
        }
        let left = stats.evictions + stats.expirations + self.cache.len() as u64;
        let gone = stats.inserts.checked_sub(left).expect("what has left was stored");
        assert!(gone >= self.gone, "what has left does not come back");
        self.gone = gone;
        assert!(stats.compute_failures + stats.timeouts <= stats.computes);
        assert!(stats.refreshes <= stats.computes);
    }

    /// The sums that hold when nothing is running.
    fn rest(&mut self) {
        self.waiting.clear();
        self.gates.drain(..).for_each(|gate| gate.open());
        self.settle();
        self.check();
        let stats = self.cache.stats();
        assert_eq!(stats.requests(), self.requests, "one for each key that was asked");
        assert_eq!(stats.requests(), stats.hits + stats.misses + stats.stale_hits);
        assert!(stats.coalesced <= stats.misses + stats.stale_hits);
        check(&self.cache, 0);
    }
}

#[test]
fn whatever_is_done_the_statistics_are_what_was_done() {
    let mut sum = Stats::default();
    // Each combination of the settings once.
    for seed in 0..512 {
        println!("seed {seed}: {:?}", Settings::new(seed));
        let mut case = Case::new(seed);
        for _ in 0..4 {
            (0..25).for_each(|_| case.step());
            case.rest();
        }
        let stats = case.cache.stats();
        sum.hits += stats.hits;
        sum.stale_hits += stats.stale_hits;
        sum.evictions += stats.evictions;
        sum.expirations += stats.expirations;
        sum.coalesced += stats.coalesced;
        sum.refreshes += stats.refreshes;
        sum.timeouts += stats.timeouts;
        sum.compute_failures += stats.compute_failures;
    }
    println!("{sum:?}");
    let all = [sum.hits, sum.evictions, sum.expirations, sum.coalesced, sum.refreshes];
    assert!(all.iter().all(|count| *count > 250), "each of them happens: {sum:?}");
    assert!(sum.stale_hits > 50 && sum.timeouts > 50 && sum.compute_failures > 250);
}

#[test]
fn a_call_that_waits_where_a_stale_value_may_stand_in_is_counted_in_the_end() {
    type End = fn(&Cache<u32, u32>);
    let ends: [(End, bool, (u64, u64, u64)); 3] = [
        (|cache| assert_eq!(cache.insert(1, 5), None), true, (0, 2, 0)),
        (|cache| assert_eq!(cache.remove(&1), None), false, (0, 2, 0)),
        (|_| (), true, (0, 1, 1)),
    ];
    for (end, has_value, expected) in ends {
        for is_bulk in [false, true] {
            let time = Manual::new();
            let builder = Cache::builder().runtime(time.clone()).ttl(SECOND);
            let cache: Cache<u32, u32> =
                builder.stale_if_error(60 * SECOND).build().expect("valid settings");
            cache.insert(1, 1);
            time.advance(2 * SECOND);
            let gate = Gate::new();
            let passed = gate.passed();
            let lacks = |_| passed.map(|()| Numbers::new());
            let mut many = cache.get_or_compute_many([1], lacks).boxed();
            assert!(poll_once(&mut many).is_none());
            let mut joins = if is_bulk {
                let fails = |_| async { Err::<Numbers, _>("down") };
                cache.try_get_or_compute_many([1], fails).map(|found| found.is_ok()).boxed()
            } else {
                let fails = || async { Err("down") };
                cache.try_get_or_compute(1, fails).map(|found| found.is_ok()).boxed()
            };
            assert!(poll_once(&mut joins).is_none());
            assert_eq!(cache.stats().requests(), 0, "it depends on how they end");
            end(&cache);
            gate.open();
            assert_eq!(many.now_or_never(), Some(HashMap::new()));
            assert_eq!(joins.now_or_never(), Some(has_value));
            let stats = cache.stats();
            assert_eq!((stats.hits, stats.misses, stats.stale_hits), expected);
            check(&cache, 0);
        }
    }
}

#[test]
fn refreshes_are_the_computes_that_renew_what_can_be_read_meanwhile() {
    let time = Manual::new();
    let builder = Cache::builder().runtime(time.clone()).ttl(10 * SECOND);
    let builder = builder.refresh_after(5 * SECOND).stale_while_revalidate(10 * SECOND);
    let cache: Cache<u32, u32> =
        builder.stale_if_error(60 * SECOND).build().expect("valid settings");
    let refreshes = |seconds, expected| {
        time.advance(SECOND * seconds);
        let before = cache.stats().refreshes;
        assert_eq!(cache.get_or_compute(1, || async { 1 }).now_or_never(), Some(1));
        time.advance(Duration::ZERO);
        assert_eq!(cache.stats().refreshes - before, expected, "after {seconds} seconds");
    };
    refreshes(0, 0);
    refreshes(4, 0);
    refreshes(1, 1);
    refreshes(12, 1);
    refreshes(25, 0);
    let before = cache.stats();
    cache.refresh(1, || async { 2 }).now_or_never().expect("it is ready");
    assert_eq!(cache.stats().refreshes, before.refreshes + 1, "others read the old one");
    time.advance(25 * SECOND);
    cache.refresh(1, || async { 2 }).now_or_never().expect("it is ready");
    cache.refresh(2, || async { 2 }).now_or_never().expect("it is ready");
    let stats = cache.stats();
    assert_eq!(stats.refreshes, before.refreshes + 1, "there is nothing for others to read");
    assert_eq!(stats.misses, before.misses + 3, "each call to refresh is a miss");
    check(&cache, 0);
}
