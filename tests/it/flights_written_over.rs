//! Writes during computes: the write wins, those who waited get the outcome, and later callers do
//! not join.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};

use crate::flights::{Bomb, OneHash, WokenFromAfar, in_time, on_every_runtime, wait};
use crate::support::{Gate, Host, check, poll_once};

fn new_cache(host: &Host) -> Cache<u32, u32> {
    host.builder().build().expect("valid settings")
}

/// A caller of `key` whose compute waits at the gate.
fn ask<'a, S>(
    cache: &'a Cache<u32, u32, S>,
    key: u32,
    value: u32,
    gate: &Gate,
) -> BoxFuture<'a, u32>
where
    S: std::hash::BuildHasher + Send + Sync + 'static,
{
    let passed = gate.passed();
    cache.get_or_compute(key, move || passed.map(move |()| value)).boxed()
}

/// A caller of key 1 that has begun a compute, which yields 10 when the gate is open.
fn begun<'a>(cache: &'a Cache<u32, u32>, gate: &Gate) -> BoxFuture<'a, u32> {
    let mut caller = ask(cache, 1, 10, gate);
    assert!(poll_once(&mut caller).is_none(), "the gate is shut");
    check(cache, 1);
    caller
}

#[test]
fn an_insert_wins_over_a_compute_begun_before_it() {
    on_every_runtime(async move |host| {
        let cache = new_cache(&host);
        let gate = Gate::new();
        let leads = begun(&cache, &gate);
        let mut joins = ask(&cache, 1, 11, &gate);
        assert!(poll_once(&mut joins).is_none());
        assert_eq!(cache.insert(1, 20), None);
        check(&cache, 0);
        assert_eq!(ask(&cache, 1, 30, &gate).await, 20, "a later caller has a hit");
        gate.open();
        assert_eq!(futures::join!(leads, joins), (10, 10));
        assert_eq!(cache.get(&1), Some(20));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.inserts), (1, 1));
        check(&cache, 0);
    });
}

#[test]
fn each_way_of_inserting_wins_over_a_compute() {
    type Write = fn(&Cache<u32, u32>);
    let writes: [(&str, Write); 6] = [
        ("insert", |cache| {
            cache.insert(1, 20);
        }),
        ("entry, insert", |cache| {
            cache.entry(1).insert(20);
        }),
        ("entry_ref, insert", |cache| {
            cache.entry_ref(&1).insert(20);
        }),
        ("entry, ttl, insert", |cache| {
            cache.entry(1).ttl(Duration::from_secs(3600)).insert(20);
        }),
        ("or_insert", |cache| assert_eq!(cache.entry(1).or_insert(20), 20)),
        ("or_insert of what is there", |cache| {
            cache.insert(1, 20);
            assert_eq!(cache.entry_ref(&1).or_insert(21), 20);
        }),
    ];
    on_every_runtime(async move |host| {
        for (name, write) in writes {
            println!("{name}");
            let cache = new_cache(&host);
            let gate = Gate::new();
            let caller = begun(&cache, &gate);
            write(&cache);
            check(&cache, 0);
            gate.open();
            assert_eq!(caller.await, 10);
            assert_eq!(cache.get(&1), Some(20));
            assert_eq!(cache.stats().computes, 1);
            check(&cache, 0);
        }
    });
}

#[test]
fn each_way_of_removing_wins_over_a_compute() {
    type Write = fn(&Cache<u32, u32>);
    let writes: [(&str, Write); 6] = [
        ("remove", |cache| assert_eq!(cache.remove(&1), None)),
        ("clear", Cache::clear),
        ("insert, remove", |cache| {
            cache.insert(1, 20);
            assert_eq!(cache.remove(&1), Some(20));
        }),
        ("insert, remove_if", |cache| {
            cache.insert(1, 20);
            assert_eq!(cache.remove_if(&1, |value| *value == 20), Some(20));
        }),
        ("insert, clear", |cache| {
            cache.insert(1, 20);
            cache.clear();
        }),
        ("an insert that is never readable", |cache| {
            assert_eq!(cache.entry(1).ttl(Duration::ZERO).insert(20), None);
        }),
    ];
    on_every_runtime(async move |host| {
        for (name, write) in writes {
            println!("{name}");
            let cache = new_cache(&host);
            let gate = Gate::new();
            let caller = begun(&cache, &gate);
            write(&cache);
            check(&cache, 0);
            gate.open();
            assert_eq!(caller.await, 10);
            assert_eq!(cache.get(&1), None, "the outcome is not stored");
            assert_eq!(cache.get_or_compute(1, || async { 30 }).await, 30);
            assert_eq!(cache.stats().computes, 2);
            check(&cache, 0);
        }
    });
}

#[test]
fn what_writes_nothing_does_not_disturb_a_compute() {
    on_every_runtime(async move |host| {
        let cache = new_cache(&host);
        let gate = Gate::new();
        let caller = begun(&cache, &gate);
        assert_eq!(cache.remove_if(&1, |_| true), None, "there is no value to remove");
        assert_eq!((cache.get(&1), cache.peek(&1), cache.contains_key(&1)), (None, None, false));
        assert_eq!((cache.len(), cache.iter().count()), (0, 0));
        cache.cleanup();
        cache.insert(2, 20);
        cache.remove(&3);
        let _ = cache.entry(1).ttl(Duration::ZERO).key();
        gate.open();
        assert_eq!(caller.await, 10);
        assert_eq!(cache.get(&1), Some(10));
        check(&cache, 0);
    });
}

#[test]
fn a_write_to_a_key_of_the_same_hash_does_not_disturb_a_compute() {
    on_every_runtime(async move |host| {
        let builder = host.builder::<u32, u32>().hasher(OneHash);
        let cache = builder.build().expect("valid settings");
        let gate = Gate::new();
        let mut callers: Vec<_> = (0..5).map(|key| ask(&cache, key, key, &gate)).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        cache.insert(2, 20);
        cache.remove(&3);
        check(&cache, 3);
        gate.open();
        assert_eq!(join_all(callers).await, [0, 1, 2, 3, 4]);
        let stored: Vec<_> = (0..5).map(|key| cache.get(&key)).collect();
        assert_eq!(stored, [Some(0), Some(1), Some(20), None, Some(4)]);
        check(&cache, 0);
    });
}

#[test]
fn a_caller_after_a_removal_begins_its_own_compute() {
    // The old compute ends first, and then last.
    for old_first in [true, false] {
        on_every_runtime(async move |host| {
            let cache = new_cache(&host);
            let (old_gate, new_gate) = (Gate::new(), Gate::new());
            let old = begun(&cache, &old_gate);
            cache.remove(&1);
            let mut new = ask(&cache, 1, 20, &new_gate);
            assert!(poll_once(&mut new).is_none());
            let mut joins = ask(&cache, 1, 30, &new_gate);
            assert!(poll_once(&mut joins).is_none());
            assert_eq!(cache.stats().computes, 2);
            check(&cache, 1);
            if old_first {
                old_gate.open();
                assert_eq!(old.await, 10);
                assert_eq!(cache.get(&1), None, "fenced off");
                check(&cache, 1);
                new_gate.open();
                assert_eq!(futures::join!(new, joins), (20, 20));
            } else {
                new_gate.open();
                assert_eq!(futures::join!(new, joins), (20, 20));
                assert_eq!(cache.get(&1), Some(20));
                old_gate.open();
                assert_eq!(old.await, 10);
            }
            assert_eq!(cache.get(&1), Some(20));
            assert_eq!(cache.stats().inserts, 1);
            check(&cache, 0);
        });
    }
}

#[test]
fn a_caller_after_the_written_value_is_gone_does_not_join_the_old_compute() {
    on_every_runtime(async move |host| {
        let cache = new_cache(&host);
        let (old_gate, new_gate) = (Gate::new(), Gate::new());
        let old = begun(&cache, &old_gate);
        cache.entry(1).ttl(Duration::ZERO).insert(5);
        let mut new = ask(&cache, 1, 20, &new_gate);
        assert!(poll_once(&mut new).is_none(), "the value written is not readable");
        old_gate.open();
        new_gate.open();
        assert_eq!(futures::join!(old, new), (10, 20));
        assert_eq!(cache.get(&1), Some(20));
        check(&cache, 0);
    });
}

#[test]
fn generations_of_computes_do_not_mix() {
    on_every_runtime(async move |host| {
        let cache = new_cache(&host);
        let gates: Vec<_> = (0..10).map(|_| Gate::new()).collect();
        let mut callers: Vec<_> = (0..10)
            .zip(&gates)
            .map(|(value, gate)| {
                let mut caller = ask(&cache, 1, value, gate);
                assert!(poll_once(&mut caller).is_none());
                if value < 9 {
                    cache.remove(&1);
                }
                caller
            })
            .collect();
        check(&cache, 1);
        // All but the last one end, in an order of their own.
        let last = callers.pop().expect("ten callers");
        for value in [3, 8, 0, 5, 1, 7, 2, 6, 4] {
            gates[value].open();
            assert_eq!(u32::try_from(value), Ok((&mut callers[value]).await));
            assert_eq!(cache.get(&1), None);
            check(&cache, 1);
        }
        gates[9].open();
        assert_eq!(last.await, 9);
        assert_eq!(cache.get(&1), Some(9));
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_was_written_over_may_fail_panic_or_be_dropped() {
    on_every_runtime(async move |host| {
        let cache = new_cache(&host);
        let (old_gate, new_gate) = (Gate::new(), Gate::new());
        let old = |outcome: fn() -> Result<u32, String>| {
            let passed = old_gate.passed();
            let compute = move || passed.map(move |()| outcome());
            let mut caller = cache.try_get_or_compute(1, compute).boxed();
            assert!(poll_once(&mut caller).is_none());
            cache.remove(&1);
            caller
        };
        let fails = old(|| Err("no".to_owned()));
        let panics = old(|| panic!("bang"));
        let dropped = old(|| Ok(3));
        let mut new = ask(&cache, 1, 20, &new_gate);
        assert!(poll_once(&mut new).is_none());
        old_gate.open();
        assert_eq!(fails.await.expect_err("failed").failed(), Some(&"no".to_owned()));
        check(&cache, 1);
        assert!(matches!(panics.await, Err(ComputeError::Panicked(_))));
        check(&cache, 1);
        drop(dropped);
        check(&cache, 1);
        let mut joins = ask(&cache, 1, 30, &new_gate);
        assert!(poll_once(&mut joins).is_none());
        new_gate.open();
        assert_eq!(futures::join!(new, joins), (20, 20));
        assert_eq!(cache.get(&1), Some(20));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.inserts), (4, 2, 1));
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_was_written_over_asks_for_no_ttl_that_matters() {
    on_every_runtime(async move |host| {
        let cache = new_cache(&host);
        let gate = Gate::new();
        let passed = gate.passed();
        let entry = cache.entry(1).ttl_with(|_| Duration::ZERO);
        let mut caller = entry.get_or_compute(|| passed.map(|()| 10)).boxed();
        assert!(poll_once(&mut caller).is_none());
        cache.insert(1, 20);
        gate.open();
        assert_eq!(caller.await, 10);
        assert_eq!(cache.get(&1), Some(20));
        check(&cache, 0);
    });
}

#[test]
fn clear_wins_over_all_computes() {
    for max_size in [None, Some(64), Some(100_000)] {
        on_every_runtime(async move |host| {
            let mut builder = host.builder::<u32, u32>().ttl(Duration::from_secs(3600));
            if let Some(max_size) = max_size {
                builder = builder.max_size(max_size);
            }
            let cache = builder.build().expect("valid settings");
            let (old_gate, new_gate) = (Gate::new(), Gate::new());
            let begin = |value: u32, gate: &Gate| {
                let callers = (0..64).map(|key| ask(&cache, key, value + key, gate));
                let mut callers: Vec<_> = callers.collect();
                assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
                check(&cache, 64);
                callers
            };
            let old = begin(0, &old_gate);
            cache.clear();
            check(&cache, 0);
            let new = begin(1_000, &new_gate);
            old_gate.open();
            assert_eq!(join_all(old).await, (0..64).collect::<Vec<_>>());
            assert_eq!(cache.len(), 0, "nothing is stored late");
            check(&cache, 64);
            new_gate.open();
            assert_eq!(join_all(new).await, (1_000..1_064).collect::<Vec<_>>());
            assert_eq!(cache.len(), 64);
            assert_eq!(cache.stats().computes, 128);
            check(&cache, 0);
        });
    }
}

#[test]
fn a_compute_may_write_its_own_key() {
    type Write = fn(&Cache<u32, u32>);
    let writes: [(Write, Option<u32>); 5] = [
        (
            |cache| {
                cache.insert(1, 20);
            },
            Some(20),
        ),
        (
            |cache| {
                cache.remove(&1);
            },
            None,
        ),
        (Cache::clear, None),
        (
            |cache| {
                cache.entry(1).or_insert(20);
            },
            Some(20),
        ),
        (|cache| assert_eq!(cache.get(&1), None), Some(10)),
    ];
    on_every_runtime(async move |host| {
        for (write, stored) in writes {
            let cache = new_cache(&host);
            let own = cache.clone();
            let compute = || async move {
                write(&own);
                10
            };
            assert_eq!(cache.get_or_compute(1, compute).await, 10);
            assert_eq!(cache.get(&1), stored);
            check(&cache, 0);
        }
    });
}

#[test]
fn the_closure_that_makes_a_compute_may_write_its_key() {
    on_every_runtime(async move |host| {
        let cache = new_cache(&host);
        let closure = || {
            cache.insert(1, 20);
            async { 10 }
        };
        assert_eq!(cache.get_or_compute(1, closure).await, 10);
        assert_eq!(cache.get(&1), Some(20));
        check(&cache, 0);
    });
}

#[test]
fn the_ttl_closure_may_write_the_key() {
    on_every_runtime(async move |host| {
        let cache = new_cache(&host);
        let own = cache.clone();
        let entry = cache.entry(1).ttl_with(move |_| {
            own.insert(1, 20);
            Duration::MAX
        });
        assert_eq!(entry.get_or_compute(|| async { 10 }).await, 10);
        assert_eq!(cache.get(&1), Some(20), "written before the outcome could be stored");
        check(&cache, 0);
    });
}

#[test]
fn a_panic_of_a_compute_leaves_what_was_written_meanwhile() {
    on_every_runtime(async move |host| {
        let cache = new_cache(&host);
        let gate = Gate::new();
        let passed = gate.passed();
        let compute = || async move {
            let _bomb = Bomb("the destructor");
            passed.await;
            Ok::<u32, String>(10)
        };
        let mut caller = cache.try_get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut caller).is_none());
        cache.insert(1, 20);
        gate.open();
        assert!(matches!(caller.await, Err(ComputeError::Panicked(_))));
        assert_eq!(cache.get(&1), Some(20));
        check(&cache, 0);
    });
}

#[test]
fn eviction_is_no_write() {
    on_every_runtime(async move |host| {
        let cache: Cache<u32, u32> = host.builder().max_size(1).build().expect("valid settings");
        let gate = Gate::new();
        let mut callers: Vec<_> = (1..4).map(|key| ask(&cache, key, key, &gate)).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        for key in 10..20 {
            cache.insert(key, key);
        }
        check(&cache, 3);
        gate.open();
        for (caller, key) in callers.into_iter().zip(1..) {
            assert_eq!(caller.await, key);
            assert_eq!((cache.get(&key), cache.len()), (Some(key), 1));
        }
        check(&cache, 0);
    });
}

#[test]
fn the_last_write_is_what_stays_whatever_computes_end_beside_it() {
    const ROUNDS: u32 = 5_000;
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let barrier = Arc::new(Barrier::new(3));
        let alarm = WokenFromAfar::alarm();
        let computing: Vec<_> = (0..2)
            .map(|_| {
                let (cache, barrier) = (cache.clone(), Arc::clone(&barrier));
                let alarm = Arc::clone(&alarm);
                thread::spawn(move || {
                    for round in 0..ROUNDS {
                        let alarm = Arc::clone(&alarm);
                        let compute = move || async move {
                            WokenFromAfar::new((round % 3) as usize, &alarm).await;
                            u32::MAX
                        };
                        barrier.wait();
                        let value = wait(cache.get_or_compute(round, compute));
                        assert!(value == u32::MAX || value == round);
                        barrier.wait();
                    }
                })
            })
            .collect();
        for round in 0..ROUNDS {
            barrier.wait();
            (0..round % 50).for_each(|_| std::hint::spin_loop());
            cache.insert(round, round);
            // The computes have all ended.
            barrier.wait();
            assert_eq!(cache.get(&round), Some(round));
        }
        for thread in computing {
            thread.join().expect("no panic");
        }
        check(&cache, 0);
    });
}

#[test]
fn what_was_read_before_a_removal_is_never_served_after_it() {
    const VERSIONS: u32 = 20_000;
    // A source changes and the cache is told; computes copy the source.
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let source = Arc::new(AtomicU32::new(0));
        let removed = Arc::new(AtomicU32::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (cache, source) = (cache.clone(), Arc::clone(&source));
                let (removed, over) = (Arc::clone(&removed), Arc::clone(&over));
                thread::spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        let oldest = removed.load(Ordering::SeqCst);
                        let source = Arc::clone(&source);
                        let compute = || async move {
                            let version = source.load(Ordering::SeqCst);
                            thread::yield_now();
                            version
                        };
                        let version = wait(cache.get_or_compute(1, compute));
                        assert!(version >= oldest, "{version} was removed before {oldest}");
                    }
                })
            })
            .collect();
        for version in 1..=VERSIONS {
            source.store(version, Ordering::SeqCst);
            if version % 2 == 0 {
                cache.remove(&1);
            } else {
                cache.clear();
            }
            removed.store(version, Ordering::SeqCst);
        }
        over.store(true, Ordering::SeqCst);
        for reader in readers {
            reader.join().expect("no stale version");
        }
        check(&cache, 0);
    });
}
