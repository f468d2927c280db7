//! Random operations against a naive model, and a stress run whose end state is checked.
//!
//! The model is a map with deadlines, a list in order of insertion and a list of running computes.
//! After each operation its answer, the size and every statistic are compared. `PROPTEST_CASES`
//! runs more cases.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use fleeting::runtime::Manual;
use fleeting::{Cache, ComputeError, Stats};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{check, poll_once};

type Key = u8;
type Value = u64;
type Nanos = u128;

/// How a compute ends. A sender that is dropped makes it panic.
type End = Result<Value, &'static str>;
type Outcome = Result<Value, ComputeError<&'static str>>;

/// Few keys, so that operations meet.
const KEYS: Key = 12;
const YEAR: u64 = 365 * 24 * 3_600;
/// After this long the clock stands still: short of the 584 years that a deadline can tell.
const LAST_MOMENT: Nanos = 400 * YEAR as Nanos * 1_000_000_000;
/// Past what the clock can tell: never.
const NEVER: Nanos = u64::MAX as Nanos;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Get(Key),
    Peek(Key),
    Contains(Key),
    Insert(Key, Option<Duration>),
    InsertByRef(Key, Duration),
    OrInsert(Key, Option<Duration>),
    Remove(Key),
    RemoveIf(Key, bool),
    Clear,
    Cleanup,
    Iterate,
    ResetStatistics,
    /// A compute that ends at once.
    Compute(Key, Option<Duration>, Ending),
    /// A compute call that is left waiting, whether it leads or joins.
    Call(Key, Option<Duration>),
    /// The compute that one of the waiting calls waits for ends.
    End(Index, Ending),
    /// One of the waiting calls is dropped.
    Abandon(Index),
    Advance(Duration),
    /// Moves the clock to a nanosecond before, at, or after one of the deadlines.
    AdvanceTo(Index, u8),
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Value,
    Error,
    Panic,
}

fn key() -> impl Strategy<Value = Key> {
    0..KEYS
}

fn duration() -> impl Strategy<Value = Duration> {
    let slot = 1_u64 << 20;
    prop_oneof![
        2 => Just(Duration::ZERO),
        2 => Just(Duration::from_nanos(1)),
        4 => (1_u64..200, -1_i64..=1).prop_map(move |(slots, off)| {
            Duration::from_nanos((slots * slot).saturating_add_signed(off))
        }),
        4 => (6_u32..40, any::<u64>()).prop_map(|(bits, odd)| {
            Duration::from_nanos((1 << bits) + odd % (1 << bits))
        }),
        4 => (1_u64..5_000_000_000).prop_map(Duration::from_nanos),
        2 => (1_u64..100_000).prop_map(Duration::from_secs),
        1 => (1_u64..40, any::<u32>()).prop_map(|(years, odd)| Duration::new(years * YEAR, odd >> 3)),
    ]
}

fn ttl() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => duration(),
        1 => Just(Duration::MAX),
        1 => Just(Duration::from_nanos(u64::MAX)),
        1 => Just(Duration::from_secs(600 * YEAR)),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![4 => Just(Ending::Value), 1 => Just(Ending::Error), 1 => Just(Ending::Panic)]
}

fn operation() -> impl Strategy<Value = Operation> {
    let maybe = || prop::option::of(ttl());
    prop_oneof![
        6 => key().prop_map(Operation::Get),
        1 => key().prop_map(Operation::Peek),
        1 => key().prop_map(Operation::Contains),
        10 => (key(), maybe()).prop_map(|(key, ttl)| Operation::Insert(key, ttl)),
        2 => (key(), ttl()).prop_map(|(key, ttl)| Operation::InsertByRef(key, ttl)),
        3 => (key(), maybe()).prop_map(|(key, ttl)| Operation::OrInsert(key, ttl)),
        3 => key().prop_map(Operation::Remove),
        2 => (key(), any::<bool>()).prop_map(|(key, holds)| Operation::RemoveIf(key, holds)),
        1 => Just(Operation::Clear),
        2 => Just(Operation::Cleanup),
        1 => Just(Operation::Iterate),
        1 => Just(Operation::ResetStatistics),
        5 => (key(), maybe(), ending())
            .prop_map(|(key, ttl, ending)| Operation::Compute(key, ttl, ending)),
        4 => (key(), maybe()).prop_map(|(key, ttl)| Operation::Call(key, ttl)),
        3 => (any::<Index>(), ending()).prop_map(|(call, ending)| Operation::End(call, ending)),
        2 => any::<Index>().prop_map(Operation::Abandon),
        4 => duration().prop_map(Operation::Advance),
        6 => (any::<Index>(), 0_u8..3).prop_map(|(which, off)| Operation::AdvanceTo(which, off)),
    ]
}

/// What is compared: the fields of `Stats` that can change here.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    hits: u64,
    misses: u64,
    inserts: u64,
    evictions: u64,
    expirations: u64,
    computes: u64,
    compute_failures: u64,
    coalesced: u64,
    compute_time: Nanos,
}

impl From<Stats> for Counts {
    fn from(stats: Stats) -> Self {
        assert_eq!(stats.requests(), stats.hits + stats.misses);
        assert_eq!((stats.stale_hits, stats.refreshes, stats.timeouts), (0, 0, 0));
        Self {
            hits: stats.hits,
            misses: stats.misses,
            inserts: stats.inserts,
            evictions: stats.evictions,
            expirations: stats.expirations,
            computes: stats.computes,
            compute_failures: stats.compute_failures,
            coalesced: stats.coalesced,
            compute_time: stats.compute_time.as_nanos(),
        }
    }
}

/// What the cache ought to do, said in the simplest way.
struct Model {
    now: Nanos,
    max_size: usize,
    default_ttl: Duration,
    /// Values and their deadlines. Those whose time is over are forgotten at once.
    entries: BTreeMap<Key, (Value, Nanos)>,
    /// The keys of the entries, the first to be evicted first.
    order: Vec<Key>,
    /// How many entries the cache may still hold after their time.
    unswept: usize,
    /// The computes that were not written over.
    running: BTreeMap<Key, FlightId>,
    counts: Counts,
}

type FlightId = usize;

impl Model {
    fn new(max_size: Option<usize>, default_ttl: Duration) -> Self {
        Self {
            now: 0,
            max_size: max_size.unwrap_or(usize::MAX),
            default_ttl,
            entries: BTreeMap::new(),
            order: Vec::new(),
            unswept: 0,
            running: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    fn get(&self, key: Key) -> Option<Value> {
        self.entries.get(&key).map(|(value, _)| *value)
    }

    /// Stores a value, and lets what was there go first.
    fn store(&mut self, key: Key, value: Value, ttl: Option<Duration>) -> Option<Value> {
        let ttl = ttl.unwrap_or(self.default_ttl).as_nanos();
        let deadline = self.now.saturating_add(ttl).min(NEVER);
        self.counts.inserts += 1;
        let old = self.entries.get(&key).map(|(value, _)| *value);
        if old.is_none() {
            if self.entries.len() == self.max_size {
                if deadline <= self.now {
                    // No living entry makes way for one that is over already.
                    self.unswept += 1;
                    return None;
                }
                let victim = self.order.remove(0);
                self.entries.remove(&victim);
                self.counts.evictions += 1;
            }
            self.order.push(key);
        }
        self.entries.insert(key, (value, deadline));
        self.expire();
        old
    }

    fn remove(&mut self, key: Key) -> Option<Value> {
        let (value, _) = self.entries.remove(&key)?;
        self.order.retain(|other| *other != key);
        Some(value)
    }

    fn advance(&mut self, duration: Duration) {
        self.now += duration.as_nanos();
        self.expire();
    }

    fn expire(&mut self) {
        let now = self.now;
        let is_over = |(_, deadline): &(Value, Nanos)| *deadline != NEVER && *deadline <= now;
        let before = self.entries.len();
        self.entries.retain(|_, entry| !is_over(entry));
        let entries = &self.entries;
        self.order.retain(|key| entries.contains_key(key));
        self.unswept += before - self.entries.len();
    }
}

/// A call that waits for a compute.
struct Call {
    flight: FlightId,
    future: BoxFuture<'static, Outcome>,
}

struct Flight {
    key: Key,
    begun: Nanos,
    ttl: Option<Duration>,
    /// Taken when the compute ends.
    end: Option<oneshot::Sender<End>>,
}

/// The cache beside the model.
struct Pair {
    cache: Cache<Key, Value>,
    time: Manual,
    model: Model,
    flights: Vec<Flight>,
    calls: Vec<Call>,
    last_value: Value,
}

impl Pair {
    fn new(settings: &Settings) -> Self {
        let time = Manual::new();
        let mut builder = Cache::builder().ttl(settings.ttl).runtime(time.clone());
        if let Some(max_size) = settings.max_size {
            builder = builder.max_size(max_size);
        }
        let cache = builder.build().expect("valid settings");
        if !settings.sweeps {
            time.block_on(cache.close());
        }
        let model = Model::new(settings.max_size, settings.ttl);
        Self { cache, time, model, flights: Vec::new(), calls: Vec::new(), last_value: 0 }
    }

    /// A value that no other call stores.
    fn value(&mut self) -> Value {
        self.last_value += 1;
        self.last_value
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Get(key) => {
                let value = self.model.get(key);
                self.count_request(value);
                assert_eq!(self.cache.get(&key), value);
            }
            Operation::Peek(key) => assert_eq!(self.cache.peek(&key), self.model.get(key)),
            Operation::Contains(key) => {
                assert_eq!(self.cache.contains_key(&key), self.model.get(key).is_some());
            }
            Operation::Insert(key, ttl) => {
                let value = self.value();
                let old = match ttl {
                    Some(ttl) => self.cache.entry(key).ttl(ttl).insert(value),
                    None => self.cache.insert(key, value),
                };
                self.model.running.remove(&key);
                assert_eq!(old, self.model.store(key, value, ttl));
            }
            Operation::InsertByRef(key, ttl) => {
                let value = self.value();
                let old = self.cache.entry_ref(&key).ttl_with(move |_| ttl).insert(value);
                self.model.running.remove(&key);
                assert_eq!(old, self.model.store(key, value, Some(ttl)));
            }
            Operation::OrInsert(key, ttl) => self.or_insert(key, ttl),
            Operation::Remove(key) => {
                self.model.running.remove(&key);
                assert_eq!(self.cache.remove(&key), self.model.remove(key));
            }
            Operation::RemoveIf(key, holds) => {
                let removed = self.cache.remove_if(&key, |_| holds);
                let expected = if holds { self.model.remove(key) } else { None };
                assert_eq!(removed, expected);
            }
            Operation::Clear => {
                // What is cleared is not counted, not even what had expired.
                self.model.unswept = 0;
                self.model.entries.clear();
                self.model.order.clear();
                self.model.running.clear();
                self.cache.clear();
                assert_eq!(self.cache.len(), 0);
            }
            Operation::Cleanup => {
                let removed = self.cache.cleanup();
                assert_eq!(removed, self.model.unswept);
                assert_eq!(self.cache.len(), self.model.entries.len());
            }
            Operation::Iterate => {
                let items: BTreeMap<Key, Value> = self.cache.iter().collect();
                let expected = self.model.entries.iter().map(|(key, (value, _))| (*key, *value));
                assert_eq!(items, expected.collect());
                assert_eq!(self.cache.iter().count(), items.len());
            }
            Operation::ResetStatistics => {
                self.cache.reset_stats();
                self.model.counts = Counts::default();
            }
            Operation::Compute(key, ttl, ending) => self.compute(key, ttl, ending),
            Operation::Call(key, ttl) => self.call(key, ttl),
            Operation::End(call, ending) if !self.calls.is_empty() => {
                let flight = self.calls[call.index(self.calls.len())].flight;
                self.end(flight, ending);
            }
            Operation::Abandon(call) if !self.calls.is_empty() => {
                let call = self.calls.swap_remove(call.index(self.calls.len()));
                self.abandon(call);
            }
            Operation::End(..) | Operation::Abandon(_) => {}
            Operation::Advance(duration) => self.advance(duration.as_nanos()),
            Operation::AdvanceTo(which, off) => {
                let mut deadlines = self.model.entries.values().map(|(_, deadline)| *deadline);
                let timed = deadlines.clone().count();
                if timed > 0 {
                    let deadline = deadlines.nth(which.index(timed)).expect("there are as many");
                    self.advance((deadline - 1 + Nanos::from(off)).saturating_sub(self.model.now));
                }
            }
        }
    }

    fn advance(&mut self, nanos: Nanos) {
        if self.model.now + nanos <= LAST_MOMENT {
            let nanos = u64::try_from(nanos).expect("that is less than 584 years");
            let duration = Duration::from_nanos(nanos);
            self.time.advance(duration);
            self.model.advance(duration);
        }
    }

    fn count_request(&mut self, value: Option<Value>) {
        match value {
            Some(_) => self.model.counts.hits += 1,
            None => self.model.counts.misses += 1,
        }
    }

    fn or_insert(&mut self, key: Key, ttl: Option<Duration>) {
        let value = self.value();
        let entry = self.cache.entry(key);
        let entry = match ttl {
            Some(ttl) => entry.ttl(ttl),
            None => entry,
        };
        let stored = entry.or_insert(value);
        if let Some(present) = self.model.get(key) {
            assert_eq!(stored, present);
        } else {
            assert_eq!(stored, value);
            self.model.running.remove(&key);
            self.model.store(key, value, ttl);
        }
    }

    /// Begins a compute call and polls it once. Its compute ends as the sender of a new flight says.
    fn begin(&mut self, key: Key, ttl: Option<Duration>) -> (Call, Option<Outcome>) {
        let (end, ended) = oneshot::channel::<End>();
        let cache = self.cache.clone();
        let compute = || async move { ended.await.expect("the compute panics") };
        let mut future: BoxFuture<'static, Outcome> = async move {
            match ttl {
                Some(ttl) => cache.entry_ref(&key).ttl(ttl).try_get_or_compute(compute).await,
                None => cache.try_get_or_compute(key, compute).await,
            }
        }
        .boxed();
        let present = self.model.get(key);
        self.count_request(present);
        let outcome = poll_once(&mut future);
        let Some(present) = present else {
            assert!(outcome.is_none(), "nothing was there, so there is something to wait for");
            let flight = self.join_or_lead(key, ttl, end);
            return (Call { flight, future }, None);
        };
        assert_eq!(outcome.as_ref().and_then(|outcome| outcome.clone().ok()), Some(present));
        (Call { flight: usize::MAX, future }, outcome)
    }

    fn join_or_lead(
        &mut self,
        key: Key,
        ttl: Option<Duration>,
        end: oneshot::Sender<End>,
    ) -> FlightId {
        if let Some(flight) = self.model.running.get(&key) {
            self.model.counts.coalesced += 1;
            return *flight;
        }
        self.model.counts.computes += 1;
        let flight = self.flights.len();
        self.flights.push(Flight { key, begun: self.model.now, ttl, end: Some(end) });
        self.model.running.insert(key, flight);
        flight
    }

    fn call(&mut self, key: Key, ttl: Option<Duration>) {
        let (call, outcome) = self.begin(key, ttl);
        if outcome.is_none() {
            self.calls.push(call);
        }
    }

    fn compute(&mut self, key: Key, ttl: Option<Duration>, ending: Ending) {
        let (call, outcome) = self.begin(key, ttl);
        if outcome.is_none() {
            let flight = call.flight;
            self.calls.push(call);
            self.end(flight, ending);
        }
    }

    /// Ends a compute, and with it all calls that wait for it.
    fn end(&mut self, id: FlightId, ending: Ending) {
        let value = self.value();
        let end = self.flights[id].end.take().expect("a compute ends once");
        match ending {
            Ending::Value => end.send(Ok(value)).expect("the compute waits"),
            Ending::Error => end.send(Err("failed")).expect("the compute waits"),
            Ending::Panic => drop(end),
        }
        for index in (0..self.calls.len()).rev() {
            if self.calls[index].flight == id {
                let mut call = self.calls.swap_remove(index);
                let outcome = poll_once(&mut call.future).expect("the compute has ended");
                match (ending, outcome) {
                    (Ending::Value, Ok(outcome)) => assert_eq!(outcome, value),
                    (Ending::Error, Err(ComputeError::Failed(error))) => {
                        assert_eq!(*error, "failed");
                    }
                    (Ending::Panic, Err(ComputeError::Panicked(message))) => {
                        assert!(message.contains("the compute panics"));
                    }
                    (_, outcome) => panic!("{ending:?} became {outcome:?}"),
                }
            }
        }
        let stored = self.leave(id) && matches!(ending, Ending::Value);
        self.model.counts.compute_failures += u64::from(!matches!(ending, Ending::Value));
        if stored {
            self.model.store(self.flights[id].key, value, self.flights[id].ttl);
        }
    }

    fn abandon(&mut self, call: Call) {
        let flight = call.flight;
        drop(call);
        if self.calls.iter().all(|call| call.flight != flight) {
            self.leave(flight);
        }
    }

    /// A compute is over. Tells whether no write had come before.
    fn leave(&mut self, id: FlightId) -> bool {
        let Flight { key, begun, .. } = self.flights[id];
        self.model.counts.compute_time += self.model.now - begun;
        let is_current = self.model.running.get(&key) == Some(&id);
        if is_current {
            self.model.running.remove(&key);
        }
        is_current
    }

    /// How many expired entries were freed by now is the cache's affair, but each is counted.
    fn settle_unswept(&mut self) {
        let left = self.cache.len() - self.model.entries.len();
        let freed = self.model.unswept.saturating_sub(left);
        self.model.counts.expirations += freed as u64;
        self.model.unswept -= freed;
    }

    fn check(&mut self) {
        let len = self.cache.len();
        let live = self.model.entries.len();
        assert!(len <= self.model.max_size, "the bound holds");
        assert!(live <= len, "nothing fresh is missing");
        assert!(len - live <= self.model.unswept, "what was freed does not come back");
        self.settle_unswept();
        assert_eq!(self.cache.is_empty(), len == 0);
        assert_eq!(Counts::from(self.cache.stats()), self.model.counts);
        check(&self.cache, self.model.running.len());
    }
}

#[derive(Clone, Debug)]
struct Settings {
    max_size: Option<usize>,
    ttl: Duration,
    /// Whether expired entries are freed in the background, too.
    sweeps: bool,
}

fn settings() -> impl Strategy<Value = Settings> {
    let max_size = prop::sample::select(vec![Some(1), Some(2), Some(3), Some(7), Some(100), None]);
    let ttl = prop_oneof![Just(Duration::MAX), ttl()];
    (max_size, ttl, any::<bool>()).prop_map(|(max_size, ttl, sweeps)| Settings {
        max_size,
        ttl,
        sweeps,
    })
}

fn config() -> ProptestConfig {
    let cases = ProptestConfig::default().cases;
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if is_set { cases } else { 500 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_operations_do_what_a_naive_model_does(
        settings in settings(),
        operations in prop::collection::vec(operation(), 1..100),
    ) {
        let mut pair = Pair::new(&settings);
        for operation in operations {
            pair.apply(operation);
            pair.check();
        }
    }
}

/// A generator of numbers that needs no seed from outside (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What the threads of a stress run did, by their own account.
#[derive(Default)]
struct Account {
    requests: AtomicU64,
    inserts: AtomicU64,
    replaced: AtomicU64,
    removed: AtomicU64,
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::SeqCst);
}

/// A value that tells its key, so that another key's is noticed.
fn tagged(key: u64, number: u64) -> u64 {
    key << 32 | number
}

/// Is pending once.
async fn yield_now() {
    let mut yielded = false;
    futures::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn stress(cache: &Cache<u64, u64>, seed: u64, account: &Account) {
    let mut random = Random(seed);
    for number in 0..3_000 {
        let key = random.below(64);
        let mine = tagged(key, number);
        let found = match random.below(10) {
            0..3 => {
                add(&account.requests, 1);
                cache.get(&key)
            }
            3..5 => {
                let ttl = Duration::from_nanos(random.below(3) * 1_000_000_007);
                let old = cache.entry(key).ttl(ttl).insert(mine);
                add(&account.inserts, 1);
                add(&account.replaced, u64::from(old.is_some()));
                old
            }
            5 => Some(cache.entry_ref(&key).or_insert(mine)),
            6 => {
                let old = if number % 2 == 0 {
                    cache.remove(&key)
                } else {
                    cache.remove_if(&key, |value| value % 3 != 0)
                };
                add(&account.removed, u64::from(old.is_some()));
                old
            }
            7 => {
                add(&account.requests, 1);
                let value = cache.get_or_compute(key, move || async move { mine });
                Some(futures::executor::block_on(value))
            }
            8 => {
                add(&account.requests, 1);
                // Polled once and dropped, at times with the compute half-way.
                let compute = move || async move {
                    yield_now().await;
                    mine
                };
                poll_once(&mut Box::pin(cache.get_or_compute(key, compute)))
            }
            _ => cache.iter().find(|(other, _)| *other == key).map(|(_, value)| value),
        };
        assert!(found.is_none_or(|value| value >> 32 == key), "a value of another key");
        if number % 500 == 499 {
            cache.cleanup();
        }
    }
}

#[test]
fn whatever_many_threads_do_the_end_state_is_whole_and_every_value_accounted_for() {
    for max_size in [1, 7, 40, 2_000] {
        let time = Manual::new();
        let builder = Cache::builder().max_size(max_size).runtime(time.clone());
        let cache: Cache<u64, u64> = builder.build().expect("valid settings");
        let (account, running) = (Account::default(), AtomicBool::new(true));
        thread::scope(|scope| {
            scope.spawn(|| {
                while running.load(Ordering::SeqCst) {
                    assert!(cache.len() <= max_size);
                    time.advance(Duration::from_millis(1));
                    thread::yield_now();
                }
            });
            let workers: Vec<_> = (1..=4_u64)
                .map(|seed| (seed * 0x9E37_79B9, &cache, &account))
                .map(|(seed, cache, account)| scope.spawn(move || stress(cache, seed, account)))
                .collect();
            let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            running.store(false, Ordering::SeqCst);
            assert!(ended.iter().all(Result::is_ok), "no thread panicked");
        });
        check(&cache, 0);
        let stats = cache.stats();
        let counted = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        assert_eq!(stats.requests(), counted(&account.requests));
        assert!(stats.inserts >= counted(&account.inserts));
        assert_eq!(stats.compute_failures, 0);
        let live = cache.iter().count();
        let swept = cache.cleanup();
        assert_eq!(cache.len(), live);
        assert_eq!(cache.stats().expirations, stats.expirations + swept as u64);
        assert!(cache.iter().all(|(key, value)| value >> 32 == key));
        // Each stored value was replaced, removed, evicted, has expired, or is still there.
        let gone = counted(&account.replaced)
            + counted(&account.removed)
            + cache.stats().evictions
            + cache.stats().expirations;
        assert_eq!(cache.stats().inserts, gone + live as u64);
    }
}
