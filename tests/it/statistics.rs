//! What the cache counts: exactly, and once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleeting::{Cache, ComputeError, Stats};
use futures::executor::block_on;

use crate::support::{Gate, check, on_every_runtime, poll_once};

const SECOND: Duration = Duration::from_secs(1);

fn cache() -> Cache<u32, u32> {
    Cache::builder().build().expect("valid settings")
}

/// Hits, misses, coalesced.
fn requests(stats: &Stats) -> (u64, u64, u64) {
    (stats.hits, stats.misses, stats.coalesced)
}

#[test]
fn a_new_cache_has_counted_nothing() {
    let stats = cache().stats();
    assert_eq!(stats, Stats::default());
    assert_eq!((stats.requests(), stats.compute_time), (0, Duration::ZERO));
    assert!(stats.hit_rate().abs() < f64::EPSILON);
    assert_eq!(stats.mean_compute_time(), Duration::ZERO);
}

#[test]
fn each_get_counts_one_hit_or_one_miss() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        cache.get(&1);
        assert_eq!(requests(&cache.stats()), (0, 1, 0));
        cache.insert(1, 1);
        cache.get(&1);
        cache.get(&1);
        assert_eq!(requests(&cache.stats()), (2, 1, 0));
        cache.entry(2).ttl(Duration::ZERO).insert(2);
        cache.get(&2);
        assert_eq!(requests(&cache.stats()), (2, 2, 0), "an expired value is a miss");
        cache.remove(&1);
        cache.get(&1);
        assert_eq!(requests(&cache.stats()), (2, 3, 0));
    });
}

#[test]
fn each_compute_call_counts_one_hit_or_one_miss() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        cache.get_or_compute(1, || async { 1 }).await;
        assert_eq!(requests(&cache.stats()), (0, 1, 0));
        cache.get_or_compute(1, || async { 1 }).await;
        cache.entry(1).get_or_compute(|| async { 1 }).await;
        cache.entry_ref(&1).get_or_compute(|| async { 1 }).await;
        assert_eq!(requests(&cache.stats()), (3, 1, 0));
        let failed = cache.try_get_or_compute(2, || async { Err("no") }).await;
        assert!(matches!(failed, Err(ComputeError::Failed(_))));
        assert_eq!(requests(&cache.stats()), (3, 2, 0));
        let hit = cache.try_get_or_compute(1, || async { Err("no") }).await;
        assert_eq!(hit.expect("a hit"), 1);
        assert_eq!(requests(&cache.stats()), (4, 2, 0));
        let zero = cache.entry(1).ttl(Duration::ZERO);
        zero.insert(1);
        cache.get_or_compute(1, || async { 2 }).await;
        assert_eq!(requests(&cache.stats()), (4, 3, 0), "an expired value is a miss");
        assert_eq!(cache.stats().requests(), 7);
    });
}

#[test]
fn a_compute_call_that_is_never_polled_counts_nothing() {
    let cache = cache();
    drop(cache.get_or_compute(1, || async { 1 }));
    assert_eq!(cache.stats(), Stats::default());
}

#[test]
fn what_only_looks_or_writes_is_no_request() {
    let cache = cache();
    cache.insert(1, 1);
    cache.peek(&1);
    cache.peek(&2);
    cache.contains_key(&1);
    cache.contains_key(&2);
    cache.entry(1).or_insert(5);
    cache.entry(2).or_insert(5);
    assert_eq!(cache.iter().count(), 2);
    cache.remove_if(&1, |_| false);
    cache.remove(&1);
    cache.remove(&1);
    cache.clear();
    cache.cleanup();
    let stats = cache.stats();
    assert_eq!(stats.requests(), 0);
    assert_eq!((stats.inserts, stats.expirations, stats.evictions), (2, 0, 0));
}

#[test]
fn callers_that_join_count_a_miss_and_coalesced_each() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let mut callers: Vec<_> = (0..10)
            .map(|_| {
                let passed = gate.passed();
                Box::pin(cache.get_or_compute(1, || async {
                    passed.await;
                    1
                }))
            })
            .collect();
        for caller in &mut callers {
            assert_eq!(poll_once(caller), None);
            assert_eq!(poll_once(caller), None, "a second poll is no second request");
        }
        assert_eq!(requests(&cache.stats()), (0, 10, 9));
        cache.get(&1);
        assert_eq!(requests(&cache.stats()), (0, 11, 9), "a get does not join");
        gate.open();
        for caller in callers {
            assert_eq!(caller.await, 1);
        }
        let stats = cache.stats();
        assert_eq!(requests(&stats), (0, 11, 9));
        assert_eq!((stats.computes, stats.inserts, stats.compute_failures), (1, 1, 0));
        check(&cache, 0);
    });
}

#[test]
fn a_caller_that_asks_again_after_a_foreign_error_counts_one_miss() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let mut leader = Box::pin(cache.try_get_or_compute(1, || async {
            passed.await;
            Err::<u32, String>("no".to_owned())
        }));
        assert!(poll_once(&mut leader).is_none());
        let mut other = Box::pin(cache.get_or_compute(1, || async { 5 }));
        assert!(poll_once(&mut other).is_none());
        gate.open();
        assert!(leader.await.is_err());
        assert_eq!(other.await, 5);
        let stats = cache.stats();
        assert_eq!(requests(&stats), (0, 2, 1));
        assert_eq!((stats.computes, stats.compute_failures, stats.inserts), (2, 1, 1));
        check(&cache, 0);
    });
}

#[test]
fn failed_and_panicked_computes_are_failures_and_dropped_ones_are_not() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let failed = cache.try_get_or_compute(1, || async { Err(()) }).await;
        assert!(failed.is_err());
        assert_eq!((cache.stats().computes, cache.stats().compute_failures), (1, 1));
        let panics = || async { panic!("a compute panics") };
        let panicked = cache.try_get_or_compute::<_, _, ()>(1, panics).await;
        assert!(matches!(panicked, Err(ComputeError::Panicked(_))));
        assert_eq!((cache.stats().computes, cache.stats().compute_failures), (2, 2));
        let mut dropped = Box::pin(cache.get_or_compute(1, std::future::pending));
        assert_eq!(poll_once(&mut dropped), None);
        drop(dropped);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.inserts), (3, 2, 0));
        assert_eq!(requests(&stats), (0, 3, 0));
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_was_written_over_is_counted_but_stores_nothing() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let mut call = Box::pin(cache.get_or_compute(1, || async {
            passed.await;
            1
        }));
        assert_eq!(poll_once(&mut call), None);
        cache.insert(1, 2);
        gate.open();
        assert_eq!(call.await, 1);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.inserts), (1, 0, 1));
    });
}

#[test]
fn inserts_evictions_and_expirations_add_up_to_what_is_held() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().max_size(10).build().expect("valid settings");
        for key in 0..25 {
            cache.insert(key, key);
        }
        cache.insert(24, 0);
        let stats = cache.stats();
        assert_eq!((stats.inserts, stats.evictions, stats.expirations), (26, 15, 0));
        cache.entry(24).ttl(Duration::ZERO).insert(0);
        // A sweeper may be faster.
        cache.cleanup();
        let stats = cache.stats();
        assert_eq!((stats.inserts, stats.evictions, stats.expirations), (27, 15, 1));
        assert_eq!(cache.len(), 9);
        // Removed by hand: neither evicted nor expired.
        cache.remove(&20);
        cache.clear();
        let stats = cache.stats();
        assert_eq!((stats.inserts, stats.evictions, stats.expirations), (27, 15, 1));
        check(&cache, 0);
    });
}

#[test]
fn whoever_finds_an_expired_entry_counts_it_once() {
    let finders: [fn(&Cache<u32, u32>); 7] = [
        |cache| assert_eq!(cache.get(&1), None),
        |cache| assert_eq!(cache.remove(&1), None),
        |cache| assert_eq!(cache.insert(1, 2), None),
        |cache| assert_eq!(cache.entry(1).or_insert(3), 3),
        |cache| assert_eq!(cache.cleanup(), 1),
        |cache| assert_eq!(block_on(cache.get_or_compute(1, || async { 4 })), 4),
        |cache| {
            assert_eq!(cache.peek(&1), None);
            assert_eq!(cache.get(&1), None);
            assert_eq!(cache.get(&1), None);
            assert_eq!(cache.cleanup(), 0);
        },
    ];
    for (index, find) in finders.iter().enumerate() {
        let cache = cache();
        cache.entry(1).ttl(Duration::ZERO).insert(1);
        find(&cache);
        assert_eq!(cache.stats().expirations, 1, "finder {index}");
        cache.clear();
        assert_eq!(cache.stats().expirations, 1, "finder {index}");
        check(&cache, 0);
    }
}

#[test]
fn resetting_begins_anew_and_keeps_the_entries() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().max_size(5).build().expect("valid settings");
        for key in 0..10 {
            cache.get_or_compute(key, || async { 1 }).await;
            cache.get(&key);
        }
        assert_ne!(cache.stats(), Stats::default());
        cache.reset_stats();
        assert_eq!(cache.stats(), Stats::default());
        assert_eq!(cache.len(), 5);
        cache.get(&9);
        assert_eq!(requests(&cache.stats()), (1, 0, 0));
        check(&cache, 0);
    });
}

#[test]
fn a_reset_during_a_compute_does_not_go_below_zero() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let mut call = Box::pin(cache.get_or_compute(1, || async {
            passed.await;
            1
        }));
        assert_eq!(poll_once(&mut call), None);
        cache.reset_stats();
        gate.open();
        call.await;
        let stats = cache.stats();
        assert_eq!((stats.requests(), stats.computes, stats.inserts), (0, 0, 1));
        assert_eq!(stats.mean_compute_time(), Duration::ZERO, "there was no compute to share it");
    });
}

#[test]
fn a_snapshot_stays_what_it_was() {
    let cache = cache();
    cache.get(&1);
    let before = cache.stats();
    cache.get(&1);
    assert_eq!(before.misses, 1);
    assert_eq!(before.clone(), before);
    assert_ne!(cache.stats(), before);
    assert!(format!("{before:?}").contains("misses: 1"));
}

#[test]
fn clones_of_a_handle_count_together() {
    let cache = cache();
    cache.clone().get(&1);
    cache.get(&1);
    assert_eq!(cache.clone().stats().misses, 2);
}

#[test]
fn the_hit_rate_is_the_share_of_requests_that_found_a_value() {
    let cache = cache();
    cache.insert(1, 1);
    for _ in 0..3 {
        cache.get(&1);
    }
    assert!((cache.stats().hit_rate() - 1.0).abs() < f64::EPSILON);
    cache.get(&2);
    assert!((cache.stats().hit_rate() - 0.75).abs() < f64::EPSILON);
    assert_eq!(cache.stats().requests(), 4);
    let mut stats = Stats::default();
    stats.stale_hits = 1;
    stats.misses = 3;
    assert!((stats.hit_rate() - 0.25).abs() < f64::EPSILON, "a stale value is found too");
    assert_eq!(stats.requests(), 4);
}

#[test]
fn the_mean_compute_time_is_that_of_all_computes() {
    let mut stats = Stats::default();
    stats.computes = 4;
    stats.compute_time = SECOND * 10;
    assert_eq!(stats.mean_compute_time(), Duration::from_millis(2_500));
    stats.compute_time = Duration::MAX;
    stats.computes = 1;
    assert!(stats.mean_compute_time() > SECOND * 1_000_000, "too long to tell is long");
}

#[cfg(feature = "test-util")]
#[test]
fn compute_time_runs_from_begin_to_end_however_it_ends() {
    crate::support::in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let mut call = Box::pin(cache.get_or_compute(1, || async {
            passed.await;
            1
        }));
        assert_eq!(poll_once(&mut call), None);
        time.advance(SECOND * 3).await;
        gate.open();
        call.await;
        assert_eq!(cache.stats().compute_time, SECOND * 3);
        // One that fails,
        let gate = Gate::new();
        let passed = gate.passed();
        let mut call = Box::pin(cache.try_get_or_compute(2, || async {
            passed.await;
            Err(())
        }));
        assert!(poll_once(&mut call).is_none());
        time.advance(SECOND * 2).await;
        gate.open();
        assert!(call.await.is_err());
        assert_eq!(cache.stats().compute_time, SECOND * 5);
        // one that is dropped,
        let mut call = Box::pin(cache.get_or_compute(3, std::future::pending));
        assert_eq!(poll_once(&mut call), None);
        time.advance(SECOND).await;
        drop(call);
        assert_eq!(cache.stats().compute_time, SECOND * 6);
        // and one that was written over.
        let gate = Gate::new();
        let passed = gate.passed();
        let mut call = Box::pin(cache.get_or_compute(4, || async {
            passed.await;
            1
        }));
        assert_eq!(poll_once(&mut call), None);
        time.advance(SECOND).await;
        cache.remove(&4);
        time.advance(SECOND).await;
        gate.open();
        call.await;
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_time), (4, SECOND * 8));
        assert_eq!(stats.mean_compute_time(), SECOND * 2);
    });
}

#[cfg(feature = "test-util")]
#[test]
fn what_the_background_work_removes_is_counted_as_expired() {
    crate::support::in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time.builder().ttl(SECOND).build().expect("valid settings");
        for key in 0..40 {
            cache.insert(key, key);
        }
        time.advance(SECOND * 2).await;
        let stats = cache.stats();
        assert_eq!((stats.inserts, stats.expirations, stats.requests()), (40, 40, 0));
        assert_eq!(cache.cleanup(), 0);
    });
}

/// A number that looks random.
fn scramble(seed: u64) -> u64 {
    let mut bits = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits ^= bits >> 29;
    bits = bits.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits ^ bits >> 32
}

/// What the threads of one run did, in their own count.
#[derive(Default)]
struct Done {
    requests: AtomicU64,
    get_misses: AtomicU64,
    inserts: AtomicU64,
    replaced: AtomicU64,
    removed: AtomicU64,
    failures: AtomicU64,
}

async fn yield_now() {
    let mut yielded = false;
    futures::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

fn add(counter: &AtomicU64, count: bool) {
    counter.fetch_add(u64::from(count), Ordering::Relaxed);
}

fn work(cache: &Cache<u32, u32>, done: &Done, thread: u64) {
    for step in 0..3_000 {
        let random = scramble(thread * 1_000_000 + step);
        let key = u32::try_from(random % 200).expect("small");
        match (random >> 32) % 16 {
            0..=4 => {
                add(&done.requests, true);
                add(&done.get_misses, cache.get(&key).is_none());
            }
            5..=7 => {
                add(&done.inserts, true);
                add(&done.replaced, cache.insert(key, key).is_some());
            }
            8 => {
                add(&done.inserts, true);
                add(&done.replaced, cache.entry(key).ttl(Duration::ZERO).insert(key).is_some());
            }
            9 => add(&done.removed, cache.remove(&key).is_some()),
            10 => add(&done.removed, cache.remove_if(&key, |value| value % 2 == 0).is_some()),
            11 => {
                add(&done.requests, true);
                let compute = || async move { Err::<u32, u64>(thread) };
                let outcome = block_on(cache.try_get_or_compute(key, compute));
                add(&done.failures, outcome.is_err());
            }
            12 => {
                add(&done.requests, true);
                // Dropped while it waits, or not at all if the value is there.
                // Those who join meanwhile drive it on.
                let compute = || async move {
                    yield_now().await;
                    Ok::<u32, u64>(key)
                };
                let mut call = Box::pin(cache.try_get_or_compute(key, compute));
                let _ = poll_once(&mut call);
            }
            13 if step % 64 == 0 => drop(cache.cleanup()),
            _ => {
                add(&done.requests, true);
                block_on(cache.try_get_or_compute(key, || async move { Ok::<u32, u64>(key) })).ok();
            }
        }
    }
}

#[test]
fn eight_threads_are_counted_exactly() {
    on_every_runtime(async |host| {
        for max_size in [150, 10_000] {
            let cache: Cache<u32, u32> =
                host.builder().max_size(max_size).build().expect("valid settings");
            let done = Arc::new(Done::default());
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let (cache, done) = (cache.clone(), Arc::clone(&done));
                    std::thread::spawn(move || work(&cache, &done, thread))
                })
                .collect();
            for thread in threads {
                thread.join().expect("no panic");
            }
            cache.cleanup();
            let stats = cache.stats();
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            assert_eq!(stats.requests(), count(&done.requests));
            assert_eq!(stats.hits + stats.misses, count(&done.requests));
            assert!(stats.inserts >= count(&done.inserts));
            let left = cache.len() as u64
                + stats.evictions
                + stats.expirations
                + count(&done.removed)
                + count(&done.replaced);
            assert_eq!(stats.inserts, left, "what came in is there or went one of these ways");
            // A call that missed began a compute or joined one.
            let missed = stats.misses - count(&done.get_misses);
            assert_eq!(stats.computes + stats.coalesced, missed);
            assert!(stats.compute_failures <= count(&done.failures));
            check(&cache, 0);
        }
    });
}
