//! Stress: threads that do everything at once, and what is left of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use fleeting::runtime::Manual;
use fleeting::{Cache, Policy, RemovalCause};

use RemovalCause::{Evicted, Expired, Removed, Replaced};

use crate::support::{POLICIES, check, poll_once};

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

/// A value that no other call stores, and that tells its key, so that another key's is noticed.
fn tagged(key: u64, thread: u64, number: u64) -> u64 {
    key << 32 | thread << 16 | number
}

fn weight(value: u64) -> u64 {
    value % 8
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

/// How much each thread does.
const ROUNDS: u64 = 500;
const THREADS: u64 = 4;

fn stress(cache: &Cache<u64, u64>, thread: u64, account: &Account) {
    let mut random = Random(thread * 0x9E37_79B9);
    for number in 0..ROUNDS {
        let key = random.below(64);
        let mine = tagged(key, thread, number);
        let found = match random.below(11) {
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
            9 => {
                let mut old = None;
                cache.entry_ref(&key).update(|present| {
                    old = present;
                    Some(mine)
                });
                add(&account.inserts, 1);
                add(&account.replaced, u64::from(old.is_some()));
                old
            }
            _ => cache.iter().find(|(other, _)| *other == key).map(|(_, value)| value),
        };
        assert!(found.is_none_or(|value| value >> 32 == key), "a value of another key");
        match number % 100 {
            49 => _ = cache.cleanup(),
            99 => add(&account.removed, cache.retain(|_, value| value % 16 != 0) as u64),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    policy: Policy,
    max_size: usize,
    max_weight: Option<u64>,
    listens: bool,
}

/// What the listener was told.
type Told = Arc<Mutex<Vec<(u64, u64, RemovalCause)>>>;

fn build(case: Case, time: &Manual, told: &Told) -> Cache<u64, u64> {
    let mut builder = Cache::builder().policy(case.policy).max_size(case.max_size);
    if let Some(max_weight) = case.max_weight {
        builder = builder.max_weight(max_weight).weigher(|_, value| weight(*value));
    }
    if case.listens {
        let told = Arc::clone(told);
        builder = builder.on_removal(move |key, value, cause| {
            told.lock().expect("no panic at the list").push((key, value, cause));
        });
    }
    builder.runtime(time.clone()).build().expect("valid settings")
}

/// Lets threads at a cache, and another one watch the bounds meanwhile.
fn run(case: Case, cache: &Cache<u64, u64>, time: &Manual) -> Account {
    let (account, running) = (Account::default(), AtomicBool::new(true));
    thread::scope(|scope| {
        scope.spawn(|| {
            while running.load(Ordering::SeqCst) {
                assert!(cache.len() <= case.max_size);
                assert!(case.max_weight.is_none_or(|most| cache.weight() <= most));
                time.advance(Duration::from_millis(1));
                thread::yield_now();
            }
        });
        let account = &account;
        let workers: Vec<_> = (1..=THREADS)
            .map(|thread| scope.spawn(move || stress(cache, thread, account)))
            .collect();
        let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        running.store(false, Ordering::SeqCst);
        assert!(ended.iter().all(Result::is_ok), "no thread panicked");
    });
    account
}

/// Each stored value was replaced, removed, evicted, has expired, or is still there.
fn settle(cache: &Cache<u64, u64>, account: &Account) -> [(RemovalCause, u64); 4] {
    let counted = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let stats = cache.stats();
    assert_eq!(stats.requests(), counted(&account.requests));
    assert!(stats.inserts >= counted(&account.inserts));
    assert_eq!(stats.compute_failures, 0);
    let live = cache.iter().count();
    let swept = cache.cleanup();
    assert_eq!(cache.len(), live);
    assert!(cache.iter().all(|(key, value)| value >> 32 == key));
    let expirations = stats.expirations + swept as u64;
    assert_eq!(cache.stats().expirations, expirations);
    let gone = [
        (Replaced, counted(&account.replaced)),
        (Removed, counted(&account.removed)),
        (Evicted, stats.evictions),
        (Expired, expirations),
    ];
    let all: u64 = gone.iter().map(|(_, count)| count).sum();
    assert_eq!(stats.inserts, all + live as u64);
    gone
}

/// Each value that has left was told, once and with its cause.
fn is_told(cache: &Cache<u64, u64>, told: &Told, gone: [(RemovalCause, u64); 4]) {
    let told = told.lock().expect("no panic at the list");
    for (cause, count) in gone {
        let told = told.iter().filter(|notice| notice.2 == cause).count();
        assert_eq!(told as u64, count, "{cause:?}");
    }
    assert!(told.iter().all(|(key, value, _)| value >> 32 == *key));
    let values: HashSet<u64> = told.iter().map(|notice| notice.1).collect();
    assert_eq!(values.len(), told.len(), "each is told once");
    assert!(cache.iter().all(|(_, value)| !values.contains(&value)), "what is there is not told");
}

#[test]
fn whatever_many_threads_do_the_end_state_is_whole_and_every_value_accounted_for() {
    for policy in POLICIES {
        for (max_size, max_weight, listens) in
            [(1, None, true), (7, Some(20), false), (40, Some(150), true), (2_000, None, false)]
        {
            let case = Case { policy, max_size, max_weight, listens };
            println!("{case:?}");
            let (time, told) = (Manual::new(), Told::default());
            let cache = build(case, &time, &told);
            let account = run(case, &cache, &time);
            check(&cache, 0);
            let gone = settle(&cache, &account);
            if listens {
                is_told(&cache, &told, gone);
            }
        }
    }
}
