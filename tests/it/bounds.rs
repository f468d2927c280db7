//! Bounds that are changed while the cache is in use, and caches that need no builder.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fleeting::{Cache, CacheBuilder};

use crate::support::{Gate, POLICIES, check, poll_once};

/// Each value is its own weight.
fn weighed() -> CacheBuilder<u32, u32> {
    Cache::builder().weigher(|_, value: &u32| u64::from(*value))
}

fn built(builder: CacheBuilder<u32, u32>) -> Cache<u32, u32> {
    builder.build().expect("the settings are valid")
}

#[test]
fn a_smaller_weight_evicts_as_much_as_it_must_at_once() {
    for policy in POLICIES {
        let cache = built(weighed().max_weight(100).policy(policy));
        for key in 0..10 {
            cache.insert(key, 10);
        }
        assert_eq!((cache.weight(), cache.max_weight()), (100, Some(100)));
        assert_eq!(cache.set_max_weight(55), Ok(()));
        assert_eq!((cache.weight(), cache.max_weight()), (50, Some(55)), "{policy:?}");
        assert_eq!(cache.stats().evictions, 5);
        assert_eq!(cache.set_max_weight(55), Ok(()));
        assert_eq!(cache.stats().evictions, 5, "nothing is too much");
        cache.insert(20, 10);
        assert!(cache.weight() <= 55);
        check(&cache, 0);
    }
}

#[test]
fn a_smaller_weight_evicts_exactly_also_with_many_shards() {
    let cache = built(weighed().max_weight(1_000_000).max_size(100_000));
    for key in 0..50_000 {
        cache.insert(key, 1);
    }
    for max_weight in [49_999, 49_990, 40_000, 12_345, 1] {
        assert_eq!(cache.set_max_weight(max_weight), Ok(()));
        assert_eq!((cache.weight(), cache.max_weight()), (max_weight, Some(max_weight)));
        assert_eq!(cache.len() as u64, max_weight);
    }
    check(&cache, 0);
}

#[test]
fn a_smaller_size_evicts_exactly_also_with_many_shards() {
    let cache: Cache<u32, u32> = Cache::new(100_000);
    for key in 0..50_000 {
        cache.insert(key, 1);
    }
    for max_size in [49_999, 49_990, 40_000, 12_345, 1, 0] {
        assert_eq!(cache.set_max_size(max_size), Ok(()));
        assert_eq!((cache.len(), cache.max_size()), (max_size, Some(max_size)));
    }
    check(&cache, 0);
}

#[test]
fn a_weight_needs_a_weigher() {
    let cache: Cache<u32, u32> = Cache::new(10);
    cache.insert(1, 1);
    let error = cache.set_max_weight(5).expect_err("there is no weigher");
    assert_eq!(error.to_string(), "max_weight needs a weigher");
    assert_eq!((cache.max_weight(), cache.get(&1)), (None, Some(1)));
    let refused = Cache::<u32, u32>::builder().max_weight(5).build();
    assert_eq!(refused.expect_err("there is no weigher").to_string(), error.to_string());
}

#[test]
fn a_weight_of_zero_switches_the_cache_off_until_there_is_another() {
    let cache = built(weighed().max_weight(100));
    cache.insert(1, 0);
    cache.insert(2, 10);
    assert_eq!(cache.set_max_weight(0), Ok(()));
    assert_eq!((cache.len(), cache.weight(), cache.max_weight()), (0, 0, Some(0)));
    cache.insert(1, 0);
    assert_eq!(cache.len(), 0, "however light it is");
    let gate = Gate::new();
    let passed = gate.passed();
    let mut leader = Box::pin(cache.get_or_compute(3, || async move {
        passed.await;
        3
    }));
    assert_eq!(poll_once(&mut leader), None);
    let mut joined = Box::pin(cache.get_or_compute(3, || async { 4 }));
    assert_eq!(poll_once(&mut joined), None, "computes are shared all the same");
    gate.open();
    assert_eq!((poll_once(&mut joined), poll_once(&mut leader)), (Some(3), Some(3)));
    assert_eq!(cache.len(), 0);
    assert_eq!(cache.set_max_weight(10), Ok(()));
    cache.insert(1, 0);
    cache.insert(2, 10);
    assert_eq!((cache.len(), cache.weight()), (2, 10));
    check(&cache, 0);
}

#[test]
fn a_greater_weight_holds_more_and_a_first_one_bounds_what_had_no_bound() {
    let cache = built(weighed());
    assert_eq!(cache.max_weight(), None);
    for key in 0..100 {
        cache.insert(key, 10);
    }
    assert_eq!(cache.set_max_weight(100), Ok(()));
    assert_eq!((cache.weight(), cache.len()), (100, 10));
    assert_eq!(cache.set_max_weight(200), Ok(()));
    for key in 200..300 {
        cache.insert(key, 10);
    }
    assert_eq!((cache.weight(), cache.max_weight()), (200, Some(200)));
    assert_eq!(cache.set_max_weight(u64::MAX), Ok(()));
    assert_eq!(cache.max_weight(), None, "that is no bound");
    for key in 300..400 {
        cache.insert(key, 10);
    }
    assert_eq!(cache.weight(), 1_200);
    check(&cache, 0);
}

#[test]
fn a_single_value_that_is_too_heavy_now_goes() {
    let cache = built(weighed().max_weight(100));
    cache.insert(1, 90);
    assert_eq!(cache.set_max_weight(50), Ok(()));
    assert_eq!((cache.get(&1), cache.weight()), (None, 0));
    cache.insert(1, 90);
    assert_eq!(cache.get(&1), None);
    assert_eq!(cache.set_max_weight(90), Ok(()));
    cache.insert(1, 90);
    assert_eq!(cache.get(&1), Some(90));
    check(&cache, 0);
}

#[test]
fn a_compute_that_began_under_a_greater_bound_keeps_the_smaller_one() {
    let cache = built(weighed().max_weight(100).max_size(10));
    let gate = Gate::new();
    let passed = gate.passed();
    let mut call = Box::pin(cache.get_or_compute(1, || async move {
        passed.await;
        80
    }));
    assert_eq!(poll_once(&mut call), None);
    assert_eq!(cache.set_max_weight(50), Ok(()));
    gate.open();
    assert_eq!(poll_once(&mut call), Some(80));
    assert_eq!((cache.len(), cache.weight()), (0, 0));
    check(&cache, 0);
}

/// Bounds go down step by step, or up and down at random, while threads write what is heavy and light.
fn bounds_hold_while_others_write(max_size: Option<usize>) {
    let builder = weighed().max_weight(10_000);
    let builder = max_size.into_iter().fold(builder, CacheBuilder::max_size);
    let cache = built(builder);
    let (start, done) = (Barrier::new(4), AtomicBool::new(false));
    thread::scope(|scope| {
        for thread in 0..3_u32 {
            let (cache, start, done) = (&cache, &start, &done);
            scope.spawn(move || {
                start.wait();
                let mut number = thread;
                while !done.load(Ordering::SeqCst) {
                    number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let (key, value) = (number >> 20, (number >> 8) % 200);
                    match number % 5 {
                        0 => _ = cache.remove(&key),
                        1 => _ = cache.entry(key).update(|old| Some(old.unwrap_or(0) % 100 + 1)),
                        2 => _ = cache.entry(key).or_insert(value),
                        _ => _ = cache.insert(key, value),
                    }
                    // First the bound, then the weight: it goes down only.
                    let (most, weight) = (cache.max_weight(), cache.weight());
                    assert!(most.is_some_and(|most| weight <= most), "{weight} of {most:?}");
                }
            });
        }
        start.wait();
        for step in (0..=100).rev() {
            assert_eq!(cache.set_max_weight(step * 100), Ok(()));
            assert!(cache.weight() <= step * 100);
            assert_eq!(cache.max_weight(), Some(step * 100));
            for _ in 0..20 {
                thread::yield_now();
                assert!(cache.weight() <= step * 100);
            }
        }
        assert_eq!((cache.len(), cache.weight()), (0, 0));
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!((cache.len(), cache.weight()), (0, 0));
    check(&cache, 0);
    assert_eq!(cache.set_max_weight(100), Ok(()));
    cache.insert(1, 100);
    assert_eq!(cache.get(&1), Some(100), "all room was given back");
}

#[test]
fn the_weight_is_never_above_its_bound_while_that_shrinks_and_threads_write() {
    bounds_hold_while_others_write(None);
    bounds_hold_while_others_write(Some(50));
    bounds_hold_while_others_write(Some(5_000));
}

#[test]
fn two_threads_that_change_the_bound_at_once_leave_one_of_theirs() {
    for _ in 0..200 {
        let cache = built(weighed().max_weight(1_000).max_size(100));
        for key in 0..100 {
            cache.insert(key, 10);
        }
        let start = Barrier::new(3);
        thread::scope(|scope| {
            for most in [100, 900] {
                let (cache, start) = (&cache, &start);
                scope.spawn(move || {
                    start.wait();
                    cache.set_max_weight(most).expect("there is a weigher");
                });
            }
            let (cache, start) = (&cache, &start);
            scope.spawn(move || {
                start.wait();
                for key in 100..200 {
                    cache.insert(key, 10);
                }
            });
        });
        let most = cache.max_weight().expect("there is one");
        assert!(most == 100 || most == 900, "{most}");
        for key in 200..400 {
            cache.insert(key, 10);
        }
        assert_eq!(cache.weight(), most, "it is filled to the bound that is told");
        check(&cache, 0);
    }
}

#[test]
fn a_cache_needs_no_builder() {
    let cache: Cache<u32, u32> = Cache::new(2);
    for key in 0..5 {
        cache.insert(key, key);
    }
    assert_eq!((cache.len(), cache.max_size(), cache.max_weight()), (2, Some(2), None));
    let off: Cache<u32, u32> = Cache::new(0);
    off.insert(1, 1);
    assert_eq!((off.len(), off.max_size()), (0, Some(0)));
    let unbounded: Cache<u32, u32> = Cache::default();
    for key in 0..5_000 {
        unbounded.insert(key, key);
    }
    assert_eq!((unbounded.len(), unbounded.max_size()), (5_000, None));
    let widest: Cache<u32, u32> = Cache::new(usize::MAX);
    widest.insert(1, 1);
    assert_eq!((widest.get(&1), widest.max_size()), (Some(1), Some(usize::MAX)));
    for cache in [cache, off, unbounded, widest] {
        check(&cache, 0);
    }
}

type Plain = BuildHasherDefault<DefaultHasher>;

#[derive(Default)]
struct Holder {
    cache: Cache<String, Vec<u8>, Plain>,
}

#[test]
fn another_hasher_comes_by_default() {
    let cache: Cache<u32, u32, Plain> = Cache::default();
    cache.insert(1, 1);
    assert_eq!((cache.get(&1), cache.max_size()), (Some(1), None));

    let holder = Holder::default();
    holder.cache.insert("a".to_owned(), vec![1]);
    assert_eq!(holder.cache.get("a"), Some(vec![1]));
}
