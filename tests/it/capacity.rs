//! The bound on the size: never exceeded, and who makes room.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fleeting::Cache;
use futures::FutureExt;

use crate::support::{Gate, Host, POLICIES, check, in_virtual_time, on_every_runtime, poll_once};

const SECOND: Duration = Duration::from_secs(1);

type Numbers = Cache<u32, u32>;

fn bounded(host: &Host, max_size: usize) -> Numbers {
    host.builder().max_size(max_size).build().expect("valid settings")
}

/// The keys that are there, in order.
fn keys(cache: &Numbers) -> Vec<u32> {
    let mut keys: Vec<_> = cache.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn with_a_bound_of_zero_nothing_is_stored_and_computes_are_shared() {
    on_every_runtime(async |host| {
        for policy in POLICIES {
            let weighed = host.builder().max_weight(0).weigher(|_, weight: &u32| (*weight).into());
            for builder in [host.builder().max_size(0), weighed] {
                let cache: Numbers = builder.policy(policy).build().expect("valid settings");
                assert_eq!((cache.insert(1, 1), cache.insert(2, 0)), (None, None));
                assert_eq!(cache.entry(3).or_insert(3), 3);
                assert_eq!(cache.entry(4).update(|_| Some(0)), Some(0));
                assert_eq!((cache.len(), cache.get(&1), cache.get(&2)), (0, None, None));
                let shared = || cache.get_or_compute(5, || futures::future::ready(0));
                assert_eq!(futures::join!(shared(), shared()), (0, 0));
                let many =
                    cache.get_or_compute_many([6, 7], |_| async { [(6, 0), (7, 7), (8, 8)] });
                assert_eq!(many.await.len(), 2);
                assert!(cache.is_empty());
                let stats = cache.stats();
                assert_eq!(stats.inserts, stats.evictions, "evicted at once");
                check(&cache, 0);
            }
        }
    });
}

#[test]
fn one_compute_is_shared_where_nothing_is_stored() {
    on_every_runtime(async |host| {
        let cache = bounded(&host, 0);
        let gate = Gate::new();
        let passed = gate.passed();
        let mut leader = cache.get_or_compute(1, || passed.map(|()| 7)).boxed_local();
        let mut joined = cache.get_or_compute(1, || async { 8 }).boxed_local();
        assert!(poll_once(&mut leader).is_none());
        assert!(poll_once(&mut joined).is_none());
        gate.open();
        assert_eq!((leader.await, joined.await), (7, 7));
        assert_eq!((cache.stats().computes, cache.len()), (1, 0));
        check(&cache, 0);
    });
}

#[test]
fn a_bound_may_become_zero_and_back() {
    on_every_runtime(async |host| {
        let cache = bounded(&host, 5_000);
        (0..4_000).for_each(|key| _ = cache.insert(key, key));
        cache.set_max_size(0).expect("any bound is valid");
        assert_eq!((cache.len(), cache.max_size(), cache.insert(1, 1)), (0, Some(0), None));
        assert!(cache.is_empty());
        cache.set_max_size(1).expect("any bound is valid");
        cache.insert(1, 1);
        assert_eq!(cache.len(), 1);
        check(&cache, 0);
    });
}

#[test]
fn a_bound_without_end_is_no_burden() {
    on_every_runtime(async |host| {
        let cache = bounded(&host, usize::MAX);
        assert_eq!(cache.max_size(), Some(usize::MAX));
        for key in 0..5_000 {
            cache.insert(key, key);
        }
        assert_eq!(cache.len(), 5_000);
        assert_eq!(cache.stats().evictions, 0);
        check(&cache, 0);
    });
}

#[test]
fn as_many_stay_as_the_bound_allows_and_they_are_the_last_ones() {
    on_every_runtime(async |host| {
        for max_size in [1, 2, 3, 7, 64, 100, 511, 512, 513, 2_047_u32] {
            let cache = bounded(&host, max_size as usize);
            for key in 0..3_000 {
                assert_eq!(cache.insert(key, key), None);
                assert_eq!(cache.len(), max_size.min(key + 1) as usize);
            }
            assert_eq!(keys(&cache), (3_000 - max_size..3_000).collect::<Vec<_>>());
            assert_eq!(cache.stats().evictions, u64::from(3_000 - max_size));
            check(&cache, 0);
        }
    });
}

#[test]
fn above_2047_entries_as_many_stay_as_the_bound_allows() {
    on_every_runtime(async |host| {
        for max_size in [2_048, 2_049, 5_000, 10_007_u32] {
            let cache = bounded(&host, max_size as usize);
            for key in 0..3 * max_size {
                cache.insert(key, key);
                assert_eq!(cache.get(&key), Some(key), "what was just stored is there");
                assert_eq!(cache.len(), max_size.min(key + 1) as usize);
            }
            assert_eq!(cache.iter().count(), max_size as usize);
            assert_eq!(cache.stats().evictions, u64::from(2 * max_size));
            check(&cache, 0);
        }
    });
}

#[test]
fn reading_and_overwriting_keep_an_entrys_place() {
    on_every_runtime(async |host| {
        let cache = bounded(&host, 3);
        for key in 1..=3 {
            cache.insert(key, key);
        }
        cache.get(&1);
        cache.insert(1, 10);
        cache.entry(1).ttl(3600 * SECOND).insert(11);
        cache.entry(1).ttl(Duration::MAX).insert(12);
        cache.entry(1).or_insert(13);
        assert_eq!(cache.get_or_compute(1, async || 14).await, 12);
        cache.remove_if(&1, |_| false);
        assert_eq!(cache.stats().evictions, 0);
        cache.insert(4, 4);
        assert_eq!(keys(&cache), [2, 3, 4]);
        cache.insert(5, 5);
        assert_eq!(keys(&cache), [3, 4, 5]);
        check(&cache, 0);
    });
}

#[test]
fn every_way_of_storing_takes_its_place_in_the_order() {
    on_every_runtime(async |host| {
        let cache = bounded(&host, 4);
        cache.insert(1, 1);
        cache.entry(2).or_insert(2);
        cache.get_or_compute(3, async || 3).await;
        cache.entry_ref(&4).insert(4);
        for key in 5..9 {
            cache.insert(key, key);
            assert_eq!(keys(&cache), (key - 3..=key).collect::<Vec<_>>());
        }
        for key in 9..13 {
            match key % 2 {
                0 => cache.entry(key).or_insert(key),
                _ => cache.get_or_compute(key, || async move { key }).await,
            };
            assert_eq!(keys(&cache), (key - 3..=key).collect::<Vec<_>>());
        }
        check(&cache, 0);
    });
}

#[test]
fn an_entry_that_was_removed_comes_back_as_the_last() {
    on_every_runtime(async |host| {
        let cache = bounded(&host, 3);
        for key in 1..=3 {
            cache.insert(key, key);
        }
        cache.remove(&1);
        cache.insert(1, 1);
        cache.insert(4, 4);
        assert_eq!(keys(&cache), [1, 3, 4]);
        check(&cache, 0);
    });
}

#[test]
fn a_computes_value_has_its_place_from_the_moment_it_is_stored() {
    on_every_runtime(async |host| {
        let cache = bounded(&host, 2);
        let gate = Gate::new();
        let passed = gate.passed();
        let handle = cache.clone();
        let mut caller = Box::pin(async move {
            let compute = || async move {
                passed.await;
                1
            };
            handle.get_or_compute(1, compute).await
        });
        assert_eq!(poll_once(&mut caller), None);
        cache.insert(2, 2);
        cache.insert(3, 3);
        assert_eq!(keys(&cache), [2, 3], "a running compute holds no place");
        gate.open();
        assert_eq!(caller.await, 1);
        assert_eq!(keys(&cache), [1, 3]);
        cache.insert(4, 4);
        assert_eq!(keys(&cache), [1, 4]);
        check(&cache, 0);
    });
}

#[test]
fn places_come_free_whichever_way_entries_leave() {
    on_every_runtime(async |host| {
        let cache = bounded(&host, 4);
        for round in 0..50 {
            for key in 0..4 {
                cache.insert(key, round);
            }
            assert_eq!(cache.len(), 4);
            match round % 5 {
                0 => cache.clear(),
                1 => drop((0..4).map(|key| cache.remove(&key)).collect::<Vec<_>>()),
                2 => drop((0..4).map(|key| cache.remove_if(&key, |_| true)).collect::<Vec<_>>()),
                3 => {
                    for key in 0..4 {
                        cache.entry(key).ttl(Duration::ZERO).insert(0);
                    }
                    drop((0..4).map(|key| cache.get(&key)).collect::<Vec<_>>());
                }
                _ => {
                    for key in 0..4 {
                        cache.entry(key).ttl(Duration::ZERO).insert(0);
                    }
                    cache.cleanup();
                }
            }
            assert_eq!(cache.len(), 0);
            check(&cache, 0);
        }
        assert_eq!(cache.stats().evictions, 0);
    });
}

#[test]
fn what_has_expired_goes_before_what_is_fresh() {
    in_virtual_time(async |time| {
        let cache: Numbers = time.builder().max_size(6).build().expect("valid settings");
        cache.close().await;
        for key in 0..3 {
            cache.insert(key, key);
        }
        for key in 3..6 {
            cache.entry(key).ttl(SECOND).insert(key);
        }
        time.advance(SECOND).await;
        for key in 6..9 {
            cache.insert(key, key);
            assert_eq!(cache.stats().evictions, 0);
        }
        assert_eq!(keys(&cache), [0, 1, 2, 6, 7, 8]);
        assert_eq!(cache.stats().expirations, 3);
        cache.insert(9, 9);
        assert_eq!(keys(&cache), [1, 2, 6, 7, 8, 9]);
        check(&cache, 0);
    });
}

#[test]
fn an_entry_that_had_expired_comes_back_as_the_last() {
    in_virtual_time(async |time| {
        let cache: Numbers = time.builder().max_size(3).build().expect("valid settings");
        cache.close().await;
        cache.entry(1).ttl(SECOND).insert(1);
        cache.insert(2, 2);
        cache.insert(3, 3);
        time.advance(SECOND).await;
        assert_eq!(cache.insert(1, 10), None);
        assert_eq!(cache.len(), 3);
        cache.insert(4, 4);
        assert_eq!(keys(&cache), [1, 3, 4]);
        check(&cache, 0);
    });
}

/// A key that says itself where it hashes to.
#[derive(Clone, PartialEq, Eq)]
struct Placed {
    hash: u64,
    number: u32,
}

impl Hash for Placed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[derive(Default)]
struct Given(u64);

impl Hasher for Given {
    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl BuildHasher for Given {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(self.0)
    }
}

#[test]
fn room_is_made_elsewhere_when_the_entrys_own_shard_is_empty() {
    on_every_runtime(async |host| {
        let builder = host.builder().max_size(2_048).hasher(Given(0));
        let cache: Cache<Placed, u32, Given> = builder.build().expect("valid settings");
        // All in one shard.
        for number in 0..2_048 {
            cache.insert(Placed { hash: 0, number }, number);
        }
        assert_eq!((cache.len(), cache.stats().evictions), (2_048, 0));
        // Some of these are in others, by whatever rule.
        for number in 0..128 {
            let hash = u64::from(number + 1).wrapping_mul(0x0123_4567_89AB_CDEF);
            let key = Placed { hash, number };
            match number % 3 {
                0 => drop(cache.insert(key.clone(), number)),
                1 => drop(cache.entry_ref(&key).or_insert(number)),
                _ => {
                    cache.get_or_compute(key.clone(), || async move { number }).await;
                }
            }
            assert_eq!(cache.get(&key), Some(number));
            assert_eq!(cache.len(), 2_048);
        }
        check(&cache, 0);
        assert_eq!(cache.stats().evictions, 128);
        let last = Placed { hash: 0, number: 2_047 };
        assert_eq!(cache.get(&last), Some(2_047), "the shard's first ones went first");
    });
}

/// Watches the size while the work is done.
fn watched(cache: &Numbers, max_size: usize, workers: &[&(dyn Fn() + Sync)]) {
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while running.load(Ordering::SeqCst) {
                most = most.max(cache.len());
                assert!(most <= max_size, "{most} entries where {max_size} are allowed");
            }
        });
        let workers: Vec<_> = workers.iter().map(|work| scope.spawn(work)).collect();
        let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        running.store(false, Ordering::SeqCst);
        watcher.join().expect("the bound holds");
        assert!(ended.iter().all(Result::is_ok), "no thread panics");
    });
}

#[test]
fn no_thread_ever_sees_the_bound_exceeded() {
    on_every_runtime(async |host| {
        for max_size in [1, 3, 100, 2_048, 3_000] {
            let cache = bounded(&host, max_size);
            let keys = u32::try_from(max_size * 3).expect("it is small");
            let write = |from: u32| {
                for number in from..from + 4_000 {
                    let key = number.wrapping_mul(2_654_435_761) % keys;
                    match number % 8 {
                        0 => drop(cache.remove(&key)),
                        1 => drop(cache.entry(key).or_insert(number)),
                        2 => drop(cache.entry(key).ttl(Duration::ZERO).insert(number)),
                        3 => {
                            let value = cache.get_or_compute(key, || async move { number });
                            futures::executor::block_on(value);
                        }
                        4 => drop(cache.get(&key)),
                        _ => drop(cache.insert(key, number)),
                    }
                    if number % 1_000 == 999 {
                        cache.clear();
                    }
                }
            };
            // On threads of their own: a runtime's executor must not run another inside.
            watched(&cache, max_size, &[&|| write(0), &|| write(10_000), &|| write(20_000)]);
            check(&cache, 0);
            for key in 0..2 * keys + 4_096 {
                cache.insert(key, key);
            }
            assert_eq!(cache.len(), max_size, "no place was lost");
            assert_eq!(cache.iter().count(), max_size);
            check(&cache, 0);
        }
    });
}

#[test]
fn threads_that_store_different_keys_all_find_room() {
    on_every_runtime(async |host| {
        for max_size in [1, 2, 1_500] {
            let cache = bounded(&host, max_size);
            let store = |from: u32| {
                for key in from..from + 5_000 {
                    cache.insert(key, key);
                }
            };
            watched(&cache, max_size, &[&|| store(0), &|| store(10_000), &|| store(20_000)]);
            let stats = cache.stats();
            assert_eq!(stats.inserts, 15_000);
            assert_eq!(stats.evictions, 15_000 - max_size as u64);
            assert_eq!(cache.len(), max_size);
            check(&cache, 0);
        }
    });
}

#[test]
fn handles_see_the_bound_they_were_built_with() {
    on_every_runtime(async |host| {
        assert_eq!(bounded(&host, 7).max_size(), Some(7));
        let unbounded: Numbers = host.builder().build().expect("valid settings");
        assert_eq!(unbounded.max_size(), None);
        for key in 0..3_000 {
            unbounded.insert(key, key);
        }
        assert_eq!(unbounded.len(), 3_000);
        assert_eq!(unbounded.stats().evictions, 0);
        check(&unbounded, 0);
    });
}

#[test]
fn where_all_have_expired_none_is_evicted() {
    in_virtual_time(async |time| {
        let cache: Numbers =
            time.builder().max_size(50).ttl(SECOND).build().expect("valid settings");
        cache.close().await;
        for key in 0..50 {
            cache.insert(key, 0);
            cache.entry(key).ttl(SECOND / 2).insert(1);
        }
        time.advance(SECOND).await;
        cache.insert(50, 0);
        assert_eq!((cache.stats().evictions, cache.get(&50)), (0, Some(0)));
        check(&cache, 0);
    });
}

#[test]
fn an_expired_entry_makes_room_beside_many_whose_ttl_was_shortened() {
    in_virtual_time(async |time| {
        let cache: Numbers = time.builder().max_size(51).build().expect("valid settings");
        cache.close().await;
        cache.entry(99).ttl(SECOND).insert(0);
        for key in 0..50 {
            cache.entry(key).ttl(10 * SECOND).insert(0);
        }
        cache.remove(&99);
        for key in 0..50 {
            cache.entry(key).ttl(8 * SECOND).insert(1);
        }
        cache.entry(50).ttl(SECOND / 2).insert(0);
        time.advance(SECOND).await;
        cache.insert(51, 0);
        assert_eq!((cache.stats().evictions, cache.stats().expirations), (0, 1));
        assert_eq!(cache.get(&0), Some(1), "alive");
        check(&cache, 0);
    });
}
