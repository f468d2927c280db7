//! The time since the last use: what keeps a value, until when, and when it is freed.

use std::sync::Barrier;
use std::time::Duration;

use fleeting::runtime::Manual;
use fleeting::{Cache, CacheBuilder, Policy};
use futures::executor::block_on;
use proptest::prelude::*;

use crate::support::{VirtualTime, check, in_virtual_time, on_every_runtime};
use crate::sweeper::Watched;

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A nanosecond less.
fn just_before(moment: Duration) -> Duration {
    moment.saturating_sub(NANO)
}

/// A cache in virtual time, of one shard, that idle values leave after this long.
fn cache(time: &VirtualTime, tti: Duration) -> Cache<u32, u32> {
    time.builder().tti(tti).max_size(1000).build().expect("valid")
}

#[test]
fn each_kind_of_read_keeps_a_value_to_the_nanosecond() {
    type Reading = (&'static str, fn(&Cache<u32, u32>) -> Option<u32>);
    let readings: [Reading; 9] = [
        ("get", |cache| cache.get(&1)),
        ("get_many", |cache| cache.get_many([&1, &2])[0]),
        ("get_or_compute", |cache| Some(block_on(cache.get_or_compute(1, || async { 0 })))),
        ("try_get_or_compute", |cache| {
            block_on(cache.try_get_or_compute(1, || async { Err::<u32, ()>(()) })).ok()
        }),
        ("get_or_revalidate", |cache| {
            Some(block_on(cache.entry(1).get_or_revalidate(|_| async { 0 })))
        }),
        ("get_or_compute_many", |cache| {
            let nothing = |_| async { std::collections::HashMap::new() };
            block_on(cache.get_or_compute_many([1], nothing)).remove(&1)
        }),
        ("or_insert", |cache| Some(cache.entry(1).or_insert(0))),
        ("or_insert of a lent key", |cache| Some(cache.entry_ref(&1).or_insert(0))),
        ("insert", |cache| cache.insert(1, 7)),
    ];
    in_virtual_time(async |time| {
        for tti in [2 * NANO, SECOND, MINUTE, HOUR] {
            for (name, read) in readings {
                println!("{name}, {tti:?}");
                let cache = cache(&time, tti);
                cache.insert(1, 7);
                for _ in 0..3 {
                    time.advance(just_before(tti)).await;
                    assert_eq!(read(&cache), Some(7));
                    assert_eq!(cache.remaining_ttl(&1), Some(tti));
                    check(&cache, 0);
                }
                time.advance(just_before(tti)).await;
                assert!(cache.contains_key(&1));
                time.advance(NANO).await;
                assert_eq!((cache.peek(&1), cache.get(&1)), (None, None));
            }
        }
    });
}

#[test]
fn what_only_looks_keeps_nothing() {
    in_virtual_time(async |time| {
        let cache = cache(&time, SECOND);
        cache.insert(1, 7);
        time.advance(just_before(SECOND)).await;
        assert_eq!((cache.peek(&1), cache.contains_key(&1)), (Some(7), true));
        assert_eq!(cache.iter().collect::<Vec<_>>(), [(1, 7)]);
        assert_eq!(cache.remaining_ttl(&1), Some(NANO));
        assert_eq!(cache.retain(|_, _| true), 0);
        assert_eq!(cache.remove_if(&1, |_| false), None);
        assert_eq!(cache.entry(1).keep_if(|_| false).insert(8), None);
        assert_eq!(cache.remaining_ttl(&1), Some(NANO));
        time.advance(NANO).await;
        assert_eq!(cache.get(&1), None);
        assert_eq!(cache.stats().expirations, 1);
    });
}

#[test]
fn no_time_is_never_readable_and_endless_time_is_no_limit() {
    in_virtual_time(async |time| {
        let never = cache(&time, Duration::ZERO);
        never.insert(1, 7);
        assert_eq!((never.get(&1), never.peek(&1)), (None, None));
        assert_eq!(never.get_or_compute(1, || async { 8 }).await, 8);
        assert_eq!(never.get(&1), None);
        for tti in [Duration::MAX, Duration::from_secs(u64::MAX / 1_000_000_000)] {
            let always = cache(&time, tti);
            always.insert(1, 7);
            time.advance(24 * 365 * HOUR).await;
            assert_eq!(always.get(&1), Some(7));
            assert!(always.set_ttl(&1, Duration::MAX));
            time.advance(24 * 365 * HOUR).await;
            assert_eq!(always.get(&1), Some(7));
            check(&always, 0);
        }
        let endless = cache(&time, Duration::MAX);
        endless.insert(1, 7);
        assert_eq!(endless.remaining_ttl(&1), Some(Duration::MAX));
    });
}

#[test]
fn of_two_limits_the_first_ends_it() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().ttl(10 * SECOND).tti(4 * SECOND).build().expect("valid");
        cache.insert(1, 7);
        for _ in 0..3 {
            time.advance(3 * SECOND).await;
            assert_eq!(cache.get(&1), Some(7));
        }
        assert_eq!(cache.remaining_ttl(&1), Some(SECOND));
        time.advance(just_before(SECOND)).await;
        assert_eq!(cache.get(&1), Some(7));
        time.advance(NANO).await;
        assert_eq!(cache.get(&1), None);
        // Both begin anew with the next value, also with one that overwrites.
        cache.insert(1, 8);
        time.advance(3 * SECOND).await;
        assert_eq!(cache.insert(1, 9), Some(8));
        assert_eq!(cache.remaining_ttl(&1), Some(4 * SECOND));
        time.advance(3 * SECOND).await;
        assert_eq!(cache.refresh(1, || async { 10 }).await, 10);
        for _ in 0..3 {
            time.advance(3 * SECOND).await;
            assert_eq!(cache.get(&1), Some(10));
        }
        time.advance(SECOND).await;
        assert_eq!(cache.get(&1), None);
        check(&cache, 0);
    });
}

#[test]
fn every_source_of_a_ttl_bounds_it() {
    in_virtual_time(async |time| {
        let rule = |_: &u32, value: &u32| SECOND * *value;
        let cache: Cache<u32, u32> =
            time.builder().expiry(rule).tti(4 * SECOND).build().expect("valid");
        cache.insert(1, 2);
        cache.insert(2, 6);
        cache.entry(3).ttl(5 * SECOND).insert(60);
        cache.entry(4).ttl(Duration::MAX).insert(1);
        cache.entry(5).ttl_with(|_| 3 * SECOND).get_or_compute(|| async { 60 }).await;
        let left = |cache: &Cache<u32, u32>| {
            let left = |key: u32| cache.remaining_ttl(&key).map_or(0, |left| left.as_secs());
            [1, 2, 3, 4, 5].map(left)
        };
        assert_eq!(left(&cache), [2, 4, 4, 4, 3]);
        time.advance(SECOND).await;
        _ = cache.get_many(&[1, 2, 3, 4, 5]);
        assert_eq!(left(&cache), [1, 4, 4, 4, 2]);
        time.advance(3 * SECOND).await;
        _ = cache.get_many(&[1, 2, 3, 4, 5]);
        assert_eq!(left(&cache), [0, 2, 1, 4, 0]);
        check(&cache, 0);
        let jittery: Cache<u32, u32> =
            time.builder().ttl_jitter(1.0).tti(4 * SECOND).build().expect("valid");
        jittery.insert(1, 1);
        assert_eq!(jittery.remaining_ttl(&1), Some(4 * SECOND), "the idle time has no jitter");
    });
}

#[test]
fn another_ttl_leaves_the_idle_time_as_it_is() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().ttl(5 * SECOND).tti(10 * SECOND).build().expect("valid");
        cache.insert(1, 7);
        time.advance(2 * SECOND).await;
        assert_eq!(cache.get(&1), Some(7));
        time.advance(2 * SECOND).await;
        assert!(cache.set_ttl(&1, HOUR));
        assert_eq!(cache.remaining_ttl(&1), Some(8 * SECOND), "since the read");
        assert!(cache.set_ttl(&1, 3 * SECOND));
        assert_eq!(cache.remaining_ttl(&1), Some(3 * SECOND));
        assert_eq!(cache.get(&1), Some(7));
        assert_eq!(cache.remaining_ttl(&1), Some(3 * SECOND));
        assert!(cache.set_ttl(&1, Duration::MAX));
        assert_eq!(cache.remaining_ttl(&1), Some(10 * SECOND));
        time.advance(9 * SECOND).await;
        assert_eq!(cache.get(&1), Some(7));
        time.advance(just_before(10 * SECOND)).await;
        check(&cache, 0);
        assert!(cache.set_ttl(&1, Duration::MAX), "it is still there");
        time.advance(NANO).await;
        assert!(!cache.set_ttl(&1, HOUR), "and is not any more");
        cache.insert(1, 8);
        assert!(cache.set_ttl(&1, Duration::ZERO));
        assert_eq!(cache.get(&1), None);
    });
}

#[test]
fn the_sweeper_frees_what_is_idle_on_time() {
    in_virtual_time(async |time| {
        let cache = cache(&time, 10 * SECOND);
        (0..100).for_each(|key| assert_eq!(cache.insert(key, key), None));
        time.advance(5 * SECOND).await;
        (0..50).for_each(|key| assert_eq!(cache.get(&key), Some(key)));
        time.advance(just_before(5 * SECOND)).await;
        assert_eq!(cache.len(), 100);
        time.advance(NANO).await;
        assert_eq!(cache.len(), 50);
        time.advance(just_before(5 * SECOND)).await;
        assert_eq!((cache.len(), cache.get(&0)), (50, Some(0)));
        time.advance(NANO).await;
        assert_eq!(cache.len(), 1);
        time.advance(10 * SECOND).await;
        assert!(cache.is_empty());
        assert_eq!((cache.stats().expirations, cache.stats().evictions), (100, 0));
        check(&cache, 0);
    });
}

#[test]
fn what_is_read_all_the_time_wakes_the_sweeper_once_in_its_time() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache: Cache<u32, u32> = runtime.builder().tti(10 * SECOND).build().expect("valid");
        (0..50).for_each(|key| assert_eq!(cache.insert(key, key), None));
        let before = runtime.polls();
        for _ in 0..400 {
            time.advance(SECOND / 4).await;
            (0..50).for_each(|key| assert_eq!(cache.get(&key), Some(key)));
        }
        let wakes = runtime.polls() - before;
        assert!(wakes <= 25, "{wakes} wakes in ten times the idle time");
        assert_eq!(runtime.spawns(), 1);
        check(&cache, 0);
    });
}

#[test]
fn a_cache_without_a_runtime_frees_what_is_idle() {
    let cache: Cache<u32, u32> = Cache::builder().tti(Duration::ZERO).build().expect("valid");
    (0..10).for_each(|key| assert_eq!(cache.insert(key, key), None));
    assert_eq!(cache.get(&9), None);
    cache.cleanup();
    assert!(cache.is_empty());
    assert_eq!(cache.stats().expirations, 10);
}

#[test]
fn a_stale_value_is_kept_from_the_end_of_the_idle_time_and_no_longer() {
    in_virtual_time(async |time| {
        let builder = time.builder().tti(10 * SECOND).stale_if_error(5 * SECOND);
        let cache: Cache<u32, u32> = builder.build().expect("valid");
        cache.insert(1, 7);
        time.advance(9 * SECOND).await;
        assert_eq!(cache.get(&1), Some(7));
        let fail = || cache.try_get_or_compute(1, || async { Err::<u32, ()>(()) });
        for _ in 0..4 {
            time.advance(if cache.contains_key(&1) { 10 * SECOND } else { SECOND }).await;
            assert_eq!(fail().await.ok(), Some(7));
            assert_eq!(cache.get(&1), None);
        }
        time.advance(just_before(2 * SECOND)).await;
        assert_eq!(fail().await.ok(), Some(7));
        time.advance(NANO).await;
        assert!(fail().await.is_err());
        assert!(cache.is_empty());
        check(&cache, 0);
    });
}

#[test]
fn an_idle_value_is_served_while_it_is_renewed() {
    in_virtual_time(async |time| {
        let builder = time.builder().tti(10 * SECOND).stale_while_revalidate(5 * SECOND);
        let cache: Cache<u32, u32> = builder.build().expect("valid");
        cache.insert(1, 7);
        time.advance(14 * SECOND).await;
        assert_eq!(cache.get_or_compute(1, || async { 8 }).await, 7);
        time.advance(Duration::ZERO).await;
        assert_eq!(cache.remaining_ttl(&1), Some(10 * SECOND), "the refresh is a write");
        assert_eq!((cache.get(&1), cache.stats().stale_hits), (Some(8), 1));
    });
}

#[test]
fn refreshes_go_by_the_age_and_the_ttl() {
    in_virtual_time(async |time| {
        let builder = time.builder().tti(10 * SECOND).refresh_after(15 * SECOND);
        let cache: Cache<u32, u32> = builder.build().expect("valid");
        cache.insert(1, 7);
        for _ in 0..2 {
            time.advance(7 * SECOND).await;
            assert_eq!(cache.get_or_compute(1, || async { 8 }).await, 7);
        }
        time.advance(SECOND).await;
        assert_eq!(cache.get_or_compute(1, || async { 8 }).await, 7);
        time.advance(Duration::ZERO).await;
        assert_eq!((cache.peek(&1), cache.stats().refreshes), (Some(8), 1));

        // At this beta a value is renewed at once, unless its end is years away.
        let eager = |builder: CacheBuilder<u32, u32>| builder.early_refresh(1e9).build();
        let idle = eager(time.builder().tti(10 * SECOND)).expect("valid");
        let both = eager(time.builder().tti(10 * SECOND).ttl(MINUTE)).expect("valid");
        for cache in [&idle, &both] {
            let runtime = time.runtime();
            let compute = || async move {
                runtime.sleep_until(runtime.now() + SECOND).await;
                7
            };
            let call = cache.get_or_compute(1, compute);
            futures::join!(call, time.advance(2 * SECOND));
            cache.get_or_compute(1, || async { 8 }).await;
            time.advance(Duration::ZERO).await;
        }
        assert_eq!((idle.peek(&1), both.peek(&1)), (Some(7), Some(8)));
    });
}

#[test]
fn hits_count_for_every_policy_as_well() {
    for policy in [Policy::Fifo, Policy::Lru, Policy::Sieve, Policy::S3Fifo] {
        let time = Manual::new();
        let builder = Cache::builder().runtime(time.clone()).tti(10 * SECOND);
        let cache: Cache<u32, u32> = builder.policy(policy).max_size(10).build().expect("valid");
        (0..10).for_each(|key| assert_eq!(cache.insert(key, key), None));
        time.advance(9 * SECOND);
        // Twice, because one hit is too few for some.
        assert_eq!(cache.get_many([&0, &0]), [Some(0); 2]);
        cache.insert(10, 10);
        assert_eq!(cache.contains_key(&0), policy != Policy::Fifo, "{policy:?}");
        assert_eq!(cache.len(), 10);
        time.advance(SECOND);
        assert_eq!(cache.len(), if policy == Policy::Fifo { 1 } else { 2 });
        time.advance(9 * SECOND);
        assert!(cache.is_empty());
        check(&cache, 0);
    }
}

#[test]
fn an_iteration_sees_what_was_kept_while_it_paused() {
    let time = Manual::new();
    let cache: Cache<u32, u32> =
        Cache::builder().runtime(time.clone()).tti(10 * SECOND).build().expect("valid");
    (0..4).for_each(|key| assert_eq!(cache.insert(key, key), None));
    let mut iteration = cache.iter();
    let first = iteration.next().expect("four are there").0;
    for _ in 0..2 {
        time.advance(6 * SECOND);
        (0..3).for_each(|key| assert_eq!(cache.get(&key), Some(key)));
    }
    let mut seen: Vec<u32> = iteration.map(|(key, _)| key).chain([first]).collect();
    seen.retain(|key| *key != 3);
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);

    let mut asked = 0;
    let removed = cache.retain(|_, _| {
        if asked == 0 {
            time.advance(6 * SECOND);
            (0..3).for_each(|key| _ = cache.get(&key));
            time.advance(6 * SECOND);
        }
        asked += 1;
        false
    });
    assert_eq!((asked, removed), (3, 3));
    assert!(cache.is_empty());
}

/// Readers come at all moments of rounds in which the clock moves by less than half of the time: nobody
/// may find a value gone, whatever sweeps go on.
#[test]
fn no_use_is_lost_between_sweeps_and_other_readers() {
    const READERS: usize = 4;
    const KEYS: u32 = 8;
    const ROUNDS: usize = 150;
    for tti in [10 * NANO, 2 * MINUTE] {
        let time = Manual::new();
        let builder = Cache::builder().runtime(time.clone()).tti(tti).ttl(HOUR * 1000);
        let cache: Cache<u32, u32> = builder.max_size(100).build().expect("valid");
        (0..KEYS).for_each(|key| assert_eq!(cache.insert(key, key), None));
        let barrier = Barrier::new(READERS + 2);
        std::thread::scope(|scope| {
            for reader in 0..READERS {
                let (cache, barrier) = (&cache, &barrier);
                scope.spawn(move || {
                    let mut lost = 0;
                    for _ in 0..ROUNDS {
                        barrier.wait();
                        for key in 0..KEYS {
                            let value = match reader {
                                0 => Some(block_on(cache.get_or_compute(key, || async { 1000 }))),
                                _ => cache.get(&key),
                            };
                            lost += usize::from(value != Some(key));
                        }
                    }
                    assert_eq!(lost, 0);
                });
            }
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    barrier.wait();
                    cache.cleanup();
                }
            });
            for _ in 0..ROUNDS {
                barrier.wait();
                time.advance(just_before(tti / 2));
            }
        });
        assert_eq!(cache.stats().expirations, 0);
        check(&cache, 0);
        time.advance(tti + SECOND);
        assert!(cache.is_empty());
    }
}

#[test]
fn every_runtime_tells_how_long_a_value_is_idle() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().tti(HOUR).ttl(2 * HOUR).build().expect("valid");
        assert_eq!(cache.get_or_compute(1, || async { 7 }).await, 7);
        let before = cache.remaining_ttl(&1).expect("it is there");
        assert_eq!(cache.get(&1), Some(7));
        let after = cache.remaining_ttl(&1).expect("it is there");
        assert!(before <= HOUR && after <= HOUR && after > 59 * MINUTE, "{before:?} {after:?}");
        let short: Cache<u32, u32> =
            host.builder().tti(Duration::from_millis(1)).build().expect("valid");
        short.insert(1, 7);
        // Time passes by itself, but for one.
        while host.name != "Manual" && short.contains_key(&1) {
            std::hint::spin_loop();
        }
        assert_eq!(short.get(&1).is_some(), host.name == "Manual");
        check(&cache, 0);
    });
}

#[derive(Clone, Debug)]
enum Step {
    Insert { key: u32, ttl: Option<u64> },
    Get { key: u32 },
    OrInsert { key: u32 },
    Compute { key: u32 },
    SetTtl { key: u32, ttl: u64 },
    Remove { key: u32 },
    Advance { nanos: u64 },
    Cleanup,
}

const KEYS: u32 = 5;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (key, time) = (0..KEYS, 0..40_u64);
    let step = prop_oneof![
        3 => (key.clone(), prop::option::of(time.clone()))
            .prop_map(|(key, ttl)| Step::Insert { key, ttl }),
        4 => key.clone().prop_map(|key| Step::Get { key }),
        1 => key.clone().prop_map(|key| Step::OrInsert { key }),
        1 => key.clone().prop_map(|key| Step::Compute { key }),
        2 => (key.clone(), time.clone()).prop_map(|(key, ttl)| Step::SetTtl { key, ttl }),
        1 => key.prop_map(|key| Step::Remove { key }),
        4 => (0..12_u64).prop_map(|nanos| Step::Advance { nanos }),
        1 => Just(Step::Cleanup),
    ];
    prop::collection::vec(step, 1..80)
}

/// Value, end of the TTL, last use.
type Known = Option<(u32, u64, u64)>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_a_model_knows_what_is_fresh(
        tti in prop_oneof![Just(0_u64), 1..30_u64],
        ttl in prop_oneof![Just(u64::MAX), 1..40_u64],
        steps in steps(),
    ) {
        let time = Manual::new();
        let nanos = Duration::from_nanos;
        let builder = Cache::builder().runtime(time.clone()).tti(nanos(tti)).ttl(nanos(ttl));
        let cache: Cache<u32, u32> = builder.max_size(1000).build().expect("valid");
        let (mut model, mut now) = ([Known::None; KEYS as usize], 0_u64);
        for (number, step) in (0..).zip(steps) {
            let fresh = |known: Known| {
                known.filter(|(_, ends, used)| now < *ends && now < used + tti)
            };
            let at = |key: u32| key as usize;
            let stored = |ttl: u64| Some((number, now.saturating_add(ttl), now));
            match step {
                Step::Insert { key, ttl: own } => {
                    let old = match own {
                        Some(own) => cache.entry(key).ttl(nanos(own)).insert(number),
                        None => cache.insert(key, number),
                    };
                    prop_assert_eq!(old, fresh(model[at(key)]).map(|known| known.0));
                    model[at(key)] = stored(own.unwrap_or(ttl));
                }
                Step::Get { key } => {
                    let known = fresh(model[at(key)]);
                    prop_assert_eq!(cache.get(&key), known.map(|known| known.0));
                    model[at(key)] = known.map(|(value, ends, _)| (value, ends, now));
                }
                Step::OrInsert { key } | Step::Compute { key } => {
                    let known = fresh(model[at(key)]);
                    let got = match step {
                        Step::OrInsert { .. } => cache.entry(key).or_insert(number),
                        _ => time.block_on(cache.get_or_compute(key, || async move { number })),
                    };
                    prop_assert_eq!(got, known.map_or(number, |known| known.0));
                    let kept = known.map(|(value, ends, _)| (value, ends, now));
                    model[at(key)] = kept.or(stored(ttl));
                }
                Step::SetTtl { key, ttl } => {
                    let known = fresh(model[at(key)]);
                    prop_assert_eq!(cache.set_ttl(&key, nanos(ttl)), known.is_some());
                    model[at(key)] = known.map(|(value, _, used)| (value, now + ttl, used));
                }
                Step::Remove { key } => {
                    let known = fresh(model[at(key)].take());
                    prop_assert_eq!(cache.remove(&key), known.map(|known| known.0));
                }
                Step::Advance { nanos: moved } => {
                    time.advance(nanos(moved));
                    now += moved;
                }
                Step::Cleanup => {
                    cache.cleanup();
                    let held = model.iter().filter(|known| fresh(**known).is_some()).count();
                    prop_assert_eq!(cache.len(), held);
                }
            }
            check(&cache, 0);
            for key in 0..KEYS {
                let known = model[key as usize]
                    .filter(|(_, ends, used)| now < *ends && now < used + tti);
                let left = known.map(|(_, ends, used)| nanos(ends.min(used + tti) - now));
                prop_assert_eq!(cache.peek(&key), known.map(|known| known.0));
                prop_assert_eq!(cache.remaining_ttl(&key), left);
            }
        }
    }
}
