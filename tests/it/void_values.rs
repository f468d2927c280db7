//! Values with a time to live of zero, where stale values are kept: they go to who waits for them, and
//! to nobody else.

use std::time::Duration;

use fleeting::{Cache, CacheBuilder, ComputeError, RemovalCause};

use crate::removals::Told;
use crate::support::{Gate, VirtualTime, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);

fn lenient(time: &VirtualTime) -> CacheBuilder<u32, u32> {
    time.builder().stale_while_revalidate(60 * SECOND).stale_if_error(60 * SECOND)
}

fn new_cache(time: &VirtualTime) -> Cache<u32, u32> {
    lenient(time).ttl(10 * SECOND).build().expect("the settings are valid")
}

/// Nobody gets a value of `key`: no read, no compute that runs, and none that fails.
async fn is_void(cache: &Cache<u32, u32>, key: u32) {
    assert!(!cache.contains_key(&key));
    assert_eq!((cache.get(&key), cache.peek(&key), cache.remaining_ttl(&key)), (None, None, None));
    assert!(cache.iter().all(|(held, _)| held != key));
    let failed = cache.try_get_or_compute(key, async || Err::<u32, _>("down")).await;
    assert_eq!(failed.expect_err("it fails").failed(), Some(&"down"));
    let panicked = cache
        .try_get_or_compute(key, || async { crate::support::panics::<Result<u32, &str>>("oh") })
        .await;
    assert!(matches!(panicked, Err(ComputeError::Panicked(_))));
    let found =
        cache.try_get_or_compute_many([key], |_| async { Err::<Vec<(u32, u32)>, _>("down") });
    assert!(found.await.is_err());
    let mut handed = None;
    let unkept = cache.entry(key).keep_if(|_| false);
    let value = unkept.get_or_revalidate(|stale| {
        handed = stale;
        async { 99 }
    });
    assert_eq!(value.await, 99);
    assert_eq!(handed, None);
    check(cache, 0);
}

#[test]
fn whatever_sets_a_ttl_of_zero_nobody_is_handed_the_value() {
    type Store = fn(&Cache<u32, u32>);
    let stores: [Store; 9] = [
        |cache| {
            cache.entry(1).ttl(Duration::ZERO).insert(5);
        },
        |cache| {
            cache.entry_ref(&1).ttl(Duration::ZERO).insert(5);
        },
        |cache| {
            cache.entry(1).ttl_with(|_| Duration::ZERO).insert(5);
        },
        |cache| assert_eq!(cache.entry(1).ttl(Duration::ZERO).update(|_| Some(5)), Some(5)),
        |cache| assert_eq!(cache.entry_ref(&1).ttl(Duration::ZERO).update(|_| Some(5)), Some(5)),
        |cache| {
            cache.entry_with(&1, |key| *key).ttl(Duration::ZERO).insert(5);
        },
        |cache| {
            cache.insert(1, 5);
            assert!(cache.set_ttl(&1, Duration::ZERO));
        },
        |cache| {
            cache.remove(&1);
            assert_eq!(cache.entry(1).ttl(Duration::ZERO).or_insert(5), 5);
        },
        |cache| {
            cache.remove(&1);
            assert_eq!(cache.entry_ref(&1).ttl(Duration::ZERO).or_insert(5), 5);
        },
    ];
    in_virtual_time(async |time| {
        for (number, store) in stores.into_iter().enumerate() {
            for before in ["nothing", "a fresh value", "a stale value"] {
                println!("way {number}, over {before}");
                let cache = new_cache(&time);
                if before != "nothing" {
                    cache.insert(1, 1);
                }
                if before == "a stale value" {
                    time.advance(11 * SECOND).await;
                }
                store(&cache);
                assert_eq!((cache.len(), cache.weight()), (0, 0));
                is_void(&cache, 1).await;
            }
        }
    });
}

#[test]
fn a_fresh_value_is_returned_by_the_write_that_replaces_it_by_nothing() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.insert(1, 1);
        assert_eq!(cache.entry(1).ttl(Duration::ZERO).insert(5), Some(1));
        cache.insert(1, 2);
        assert_eq!(cache.entry_ref(&1).ttl(Duration::ZERO).insert(5), Some(2));
        cache.insert(1, 3);
        assert_eq!(cache.entry(1).ttl(Duration::ZERO).or_insert(5), 3, "it is not touched");
        assert_eq!(cache.get(&1), Some(3));
        let doubled = cache.entry_ref(&1).ttl(Duration::ZERO).update(|value| value.map(|v| v * 2));
        assert_eq!(doubled, Some(6));
        is_void(&cache, 1).await;
    });
}

#[test]
fn rules_that_say_zero_store_nothing() {
    in_virtual_time(async |time| {
        let builders: [CacheBuilder<u32, u32>; 6] = [
            lenient(&time).ttl(Duration::ZERO),
            lenient(&time).tti(Duration::ZERO),
            lenient(&time).expiry(|_, _| Duration::ZERO),
            lenient(&time).expires_at(|_, _, now| now),
            lenient(&time).expires_at(|_, _, now| now.checked_sub(SECOND).unwrap_or(now)),
            lenient(&time).ttl(Duration::ZERO).max_weight(10).weigher(|_, _| 1),
        ];
        for builder in builders {
            let cache = builder.build().expect("the settings are valid");
            assert_eq!(cache.insert(1, 1), None);
            assert_eq!(cache.insert(1, 2), None);
            assert_eq!(cache.entry(1).or_insert(3), 3);
            assert_eq!(cache.entry_ref(&1).update(|present| present.or(Some(4))), Some(4));
            assert_eq!(cache.get_or_compute(1, async || 5).await, 5);
            assert_eq!(cache.refresh(1, async || 6).await, 6);
            let found = cache.get_or_compute_many([1, 2], async |keys| {
                keys.into_iter().chain([3]).map(|key| (key, key)).collect::<Vec<_>>()
            });
            assert_eq!(found.await.len(), 2);
            assert_eq!((cache.len(), cache.weight()), (0, 0));
            for key in 1..=3 {
                is_void(&cache, key).await;
            }
        }
    });
}

#[test]
fn all_who_wait_for_a_compute_get_its_value_and_later_callers_do_not() {
    in_virtual_time(async |time| {
        for stale in [false, true] {
            let cache = new_cache(&time);
            if stale {
                cache.insert(1, 1);
                time.advance(75 * SECOND).await;
            }
            let gate = Gate::new();
            let passed = gate.passed();
            let entry = cache.entry(1).ttl_with(|_| Duration::ZERO);
            let mut leader = Box::pin(entry.get_or_compute(|| async move {
                passed.await;
                7
            }));
            assert_eq!(poll_once(&mut leader), None);
            let mut others: Vec<_> =
                (0..3).map(|_| Box::pin(cache.get_or_compute(1, async || 8))).collect();
            assert!(others.iter_mut().all(|other| poll_once(other).is_none()));
            gate.open();
            assert_eq!(leader.await, 7);
            for other in others {
                assert_eq!(other.await, 7);
            }
            is_void(&cache, 1).await;
        }
    });
}

#[test]
fn a_refresh_whose_value_is_void_takes_the_fresh_one_away() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.insert(1, 1);
        let gate = Gate::new();
        let passed = gate.passed();
        let mut refresh = Box::pin(cache.entry(1).ttl(Duration::ZERO).refresh(|| async move {
            passed.await;
            2
        }));
        assert_eq!(poll_once(&mut refresh), None);
        assert_eq!(cache.get(&1), Some(1));
        gate.open();
        assert_eq!(refresh.await, 2);
        is_void(&cache, 1).await;
    });
}

#[test]
fn a_value_that_is_void_does_not_stand_in_for_the_compute_that_found_it_fresh() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.insert(1, 1);
        let gate = Gate::new();
        let passed = gate.passed();
        let mut refresh = Box::pin(cache.try_refresh(1, || async move {
            passed.await;
            Err::<u32, _>("down")
        }));
        assert!(poll_once(&mut refresh).is_none());
        assert!(cache.set_ttl(&1, Duration::ZERO));
        gate.open();
        assert_eq!(refresh.await.expect_err("it fails").failed(), Some(&"down"));
        is_void(&cache, 1).await;
    });
}

#[test]
fn a_void_value_makes_nobody_else_leave() {
    in_virtual_time(async |time| {
        for weighed in [false, true] {
            let builder = lenient(&time).ttl(10 * SECOND).max_size(2);
            let builder = if weighed { builder.max_weight(20).weigher(|_, _| 10) } else { builder };
            let cache = builder.build().expect("the settings are valid");
            cache.insert(1, 1);
            cache.insert(2, 2);
            cache.entry(3).ttl(Duration::ZERO).insert(3);
            cache.entry(4).ttl(Duration::ZERO).or_insert(4);
            cache.entry(5).ttl(Duration::ZERO).update(|_| Some(5));
            cache.entry(6).ttl(Duration::ZERO).get_or_compute(async || 6).await;
            assert_eq!(cache.get_many([&1, &2]), [Some(1), Some(2)]);
            assert_eq!((cache.len(), cache.stats().evictions), (2, 0));
            for key in 3..=6 {
                is_void(&cache, key).await;
            }
            check(&cache, 0);
        }
    });
}

#[test]
fn each_void_value_is_told_once() {
    use RemovalCause::{Expired, Replaced};
    in_virtual_time(async |time| {
        for weighed in [false, true] {
            let told = Told::default();
            let builder = told.listen(lenient(&time)).ttl(10 * SECOND).max_size(10);
            let builder =
                if weighed { builder.max_weight(100).weigher(|_, _| 10) } else { builder };
            let cache = builder.build().expect("the settings are valid");
            let void = || cache.entry(1).ttl(Duration::ZERO);
            void().insert(1);
            assert_eq!(told.take(), [(1, 1, Expired)]);
            assert_eq!(void().or_insert(2), 2);
            assert_eq!(told.take(), [(1, 2, Expired)]);
            assert_eq!(void().update(|_| Some(3)), Some(3));
            assert_eq!(told.take(), [(1, 3, Expired)]);
            assert_eq!(void().get_or_compute(async || 4).await, 4);
            assert_eq!(told.take(), [(1, 4, Expired)]);
            cache.insert(1, 5);
            assert_eq!(void().insert(6), Some(5));
            assert_eq!(told.take(), [(1, 5, Replaced), (1, 6, Expired)]);
            cache.insert(1, 7);
            assert_eq!(cache.entry_ref(&1).ttl(Duration::ZERO).update(|_| Some(8)), Some(8));
            assert_eq!(told.take(), [(1, 7, Replaced), (1, 8, Expired)]);
            cache.insert(1, 9);
            assert_eq!(void().refresh(async || 10).await, 10);
            assert_eq!(told.take(), [(1, 9, Replaced), (1, 10, Expired)]);
            cache.insert(1, 11);
            assert!(cache.set_ttl(&1, Duration::ZERO));
            assert_eq!(told.take(), [(1, 11, Expired)]);
            cache.insert(1, 12);
            time.advance(11 * SECOND).await;
            assert_eq!(told.take(), [], "it may stand in");
            assert_eq!(void().insert(13), None);
            assert_eq!(told.take(), [(1, 12, Expired), (1, 13, Expired)]);
            time.advance(100 * SECOND).await;
            assert_eq!(told.take(), []);
            let stats = cache.stats();
            assert_eq!(stats.evictions, 0);
            assert_eq!(stats.inserts, 13);
            check(&cache, 0);
        }
    });
}
