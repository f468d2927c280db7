//! Calls for very many keys: the work grows as the number of keys does.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use fleeting::Cache;
use futures::FutureExt;

use crate::flights::wait;
use crate::support::{Gate, check, poll_once};

/// What is done to keys.
#[derive(Debug, Default)]
struct Effort {
    hashes: AtomicU64,
    comparisons: AtomicU64,
    clones: AtomicU64,
}

static EFFORT: Effort =
    Effort { hashes: AtomicU64::new(0), comparisons: AtomicU64::new(0), clones: AtomicU64::new(0) };

/// A key that counts what is done to it.
#[derive(Debug)]
struct Counted(u32);

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        EFFORT.hashes.fetch_add(1, Ordering::Relaxed);
        self.0.hash(state);
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        EFFORT.comparisons.fetch_add(1, Ordering::Relaxed);
        self.0 == other.0
    }
}

impl Eq for Counted {}

impl Clone for Counted {
    fn clone(&self) -> Self {
        EFFORT.clones.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

/// What was done for each of `keys` keys.
fn per_key(keys: u32, case: impl FnOnce()) -> [u64; 3] {
    let counters = [&EFFORT.hashes, &EFFORT.comparisons, &EFFORT.clones];
    let before = counters.map(|counter| counter.load(Ordering::Relaxed));
    let begun = Instant::now();
    case();
    println!("{keys} keys in {:?}", begun.elapsed());
    let after = counters.map(|counter| counter.load(Ordering::Relaxed));
    [0, 1, 2].map(|index| (after[index] - before[index]) / u64::from(keys))
}

fn keys(count: u32) -> impl Iterator<Item = Counted> {
    (0..count).map(Counted)
}

fn answer(missing: Vec<Counted>) -> HashMap<Counted, u32> {
    missing.into_iter().map(|key| (Counted(key.0), key.0)).collect()
}

#[test]
fn a_hundred_thousand_keys_cost_each_as_much_as_a_thousand() {
    type Case = fn(&Cache<Counted, u32>, u32);
    let cases: [(&str, u32, Case); 5] = [
        ("all are missing", 100_000, |cache, count| {
            let found =
                wait(cache.get_or_compute_many(keys(count), |missing| async { answer(missing) }));
            assert_eq!(found.len(), count as usize);
            let never = |_| async { crate::support::panics::<HashMap<_, _>>("all are there") };
            assert_eq!(wait(cache.get_or_compute_many(keys(count), never)).len(), count as usize);
        }),
        ("a second call joins all", 20_000, |cache, count| {
            let gate = Gate::new();
            let passed = gate.passed();
            let compute = |missing| passed.map(|()| answer(missing));
            let mut first = cache.get_or_compute_many(keys(count), compute).boxed();
            assert!(poll_once(&mut first).is_none());
            let never =
                |_| async { crate::support::panics::<HashMap<_, _>>("all are being computed") };
            let mut second = cache.get_or_compute_many(keys(count), never).boxed();
            assert!(poll_once(&mut second).is_none());
            gate.open();
            assert_eq!(wait(second).len(), count as usize);
            assert_eq!(wait(first).len(), count as usize);
        }),
        ("a call joins that many calls of one key", 20_000, |cache, count| {
            let gate = Gate::new();
            let mut singles: Vec<_> = keys(count)
                .map(|key| cache.get_or_compute(key, || gate.passed().map(|()| 7)).boxed())
                .collect();
            assert!(singles.iter_mut().all(|single| poll_once(single).is_none()));
            let never =
                |_| async { crate::support::panics::<HashMap<_, _>>("all are being computed") };
            let mut many = cache.get_or_compute_many(keys(count), never).boxed();
            assert!(poll_once(&mut many).is_none());
            gate.open();
            assert_eq!(wait(many).len(), count as usize);
        }),
        ("calls of a hundred keys each join the one before", 20_000, |cache, count| {
            let gate = Gate::new();
            let mut calls: Vec<_> = (0..count / 100)
                .map(|call| {
                    let keys = (call * 100..call * 100 + 200).map(Counted);
                    let passed = gate.passed();
                    cache
                        .get_or_compute_many(keys, |missing| passed.map(|()| answer(missing)))
                        .boxed()
                })
                .collect();
            assert!(calls.iter_mut().all(|call| poll_once(call).is_none()));
            gate.open();
            for call in calls.into_iter().rev() {
                assert_eq!(wait(call).len(), 200);
            }
        }),
        ("all are given up half-way", 20_000, |cache, count| {
            let compute = |_| std::future::pending::<HashMap<Counted, u32>>();
            let mut many = cache.get_or_compute_many(keys(count), compute).boxed();
            assert!(poll_once(&mut many).is_none());
            let mut joins = cache.get_or_compute_many(keys(count), compute).boxed();
            assert!(poll_once(&mut joins).is_none());
        }),
    ];
    // The others with fewer: unoptimized, they take seconds.
    for (name, most, case) in cases {
        println!("{name}");
        for count in [1_000, most] {
            let cache = Cache::builder().build().expect("valid settings");
            let effort = per_key(count, || case(&cache, count));
            println!("  hashes, comparisons, clones of each key: {effort:?}");
            assert!(effort.iter().all(|count| *count <= 20), "{name}: {effort:?}");
            check(&cache, 0);
        }
    }
}
