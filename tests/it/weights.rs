//! Entries with weights: the bound on their sum, who makes way, and what is too heavy.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fleeting::runtime::Manual;
use fleeting::{Cache, CacheBuilder, ComputeError, Policy};
use futures::executor::block_on;

use crate::support::{POLICIES, check};

/// A value is its weight.
fn weighed(max_weight: u64) -> CacheBuilder<u64, u64> {
    Cache::builder().max_weight(max_weight).weigher(|_, value| *value)
}

fn keys(cache: &Cache<u64, u64>) -> Vec<u64> {
    let mut keys: Vec<u64> = cache.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn as_many_make_way_as_are_needed_and_no_more() {
    let cache = weighed(10).build().expect("valid settings");
    for key in 0..5 {
        cache.insert(key, 2);
    }
    assert_eq!((cache.len(), cache.weight()), (5, 10));
    cache.insert(5, 3);
    assert_eq!((keys(&cache), cache.weight()), (vec![2, 3, 4, 5], 9));
    cache.insert(6, 1);
    assert_eq!((keys(&cache), cache.weight()), (vec![2, 3, 4, 5, 6], 10));
    cache.insert(7, 10);
    assert_eq!((keys(&cache), cache.weight()), (vec![7], 10));
    assert_eq!(cache.stats().evictions, 7);
    check(&cache, 0);
}

#[test]
fn what_weighs_nothing_needs_no_room() {
    let cache = weighed(1).build().expect("valid settings");
    cache.insert(0, 1);
    for key in 1..100 {
        cache.insert(key, 0);
    }
    assert_eq!((cache.len(), cache.weight(), cache.stats().evictions), (100, 1, 0));
    check(&cache, 0);
}

#[test]
fn what_is_heavier_than_all_may_be_is_evicted_at_once() {
    let cache = weighed(10).build().expect("valid settings");
    cache.insert(1, 10);
    assert_eq!(cache.insert(2, 11), None);
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(10), None));
    assert_eq!((cache.stats().inserts, cache.stats().evictions), (2, 1));
    // What it was to replace is not the key's value any more.
    assert_eq!(cache.insert(1, u64::MAX), Some(10));
    assert_eq!((cache.len(), cache.weight(), cache.get(&1)), (0, 0, None));
    assert_eq!((cache.stats().inserts, cache.stats().evictions), (3, 2));
    // Callers get it all the same.
    assert_eq!(cache.entry(3).or_insert(11), 11);
    assert_eq!(block_on(cache.get_or_compute(3, || async { 12 })), 12);
    assert_eq!(cache.entry(3).update(|_| Some(13)), Some(13));
    assert!(cache.is_empty());
    check(&cache, 0);
}

#[test]
fn another_value_takes_or_gives_back_the_difference() {
    let cache = weighed(10).build().expect("valid settings");
    for key in 0..3 {
        cache.insert(key, 3);
    }
    assert_eq!(cache.insert(0, 4), Some(3));
    assert_eq!((keys(&cache), cache.weight()), (vec![0, 1, 2], 10));
    // The entry itself is the oldest, and does not make way for its own value.
    assert_eq!(cache.insert(0, 5), Some(4));
    assert_eq!((keys(&cache), cache.weight()), (vec![0, 2], 8));
    assert_eq!(cache.entry_ref(&0).insert(1), Some(5));
    assert_eq!((keys(&cache), cache.weight()), (vec![0, 2], 4));
    // And its place in the order is still the first.
    cache.insert(3, 7);
    assert_eq!((keys(&cache), cache.weight()), (vec![2, 3], 10));
    assert_eq!(cache.entry(2).update(|value| value.map(|value| value - 1)), Some(2));
    assert_eq!((keys(&cache), cache.weight()), (vec![2, 3], 9));
    assert_eq!(cache.entry_ref(&3).update(|_| Some(9)), Some(9));
    assert_eq!((keys(&cache), cache.weight()), (vec![3], 9));
    check(&cache, 0);
}

#[test]
fn weight_is_given_back_whatever_takes_an_entry_away() {
    let time = Manual::new();
    let cache = weighed(100).max_size(50).runtime(time.clone()).build().expect("valid settings");
    let fill = || {
        for key in 0..10 {
            cache.entry(key).ttl(Duration::from_secs(60)).insert(5);
        }
        assert_eq!(cache.weight(), 50);
    };
    fill();
    cache.remove(&0);
    cache.remove_if(&1, |_| true);
    cache.entry(2).update(|_| None);
    assert_eq!(cache.weight(), 35);
    assert_eq!(cache.retain(|key, _| *key > 5), 3);
    assert_eq!(cache.weight(), 20);
    cache.set_max_size(2).expect("a valid bound");
    assert_eq!((cache.len(), cache.weight()), (2, 10));
    cache.clear();
    assert_eq!(cache.weight(), 0);
    cache.set_max_size(50).expect("a valid bound");
    fill();
    // The sweeper's, a read's and a write's.
    time.advance(Duration::from_secs(60));
    assert_eq!((cache.len(), cache.weight()), (0, 0));
    block_on(cache.close());
    fill();
    time.advance(Duration::from_secs(60));
    assert_eq!(cache.get(&0), None);
    cache.insert(100, 1);
    cache.cleanup();
    assert_eq!(cache.weight(), 1);
    check(&cache, 0);
}

#[test]
fn what_has_expired_makes_way_first() {
    let time = Manual::new();
    let cache = weighed(10).runtime(time.clone()).build().expect("valid settings");
    block_on(cache.close());
    cache.insert(1, 5);
    cache.entry(2).ttl(Duration::from_secs(1)).insert(5);
    time.advance(Duration::from_secs(1));
    cache.insert(3, 5);
    assert_eq!((keys(&cache), cache.stats().evictions), (vec![1, 3], 0));
    check(&cache, 0);
}

#[test]
fn what_is_over_at_once_takes_nobodys_room() {
    let cache = weighed(10).build().expect("valid settings");
    cache.insert(1, 1);
    cache.insert(2, 8);
    assert_eq!(cache.entry(1).ttl(Duration::ZERO).insert(9), Some(1));
    assert_eq!(cache.entry(3).ttl(Duration::ZERO).insert(9), None);
    cache.cleanup();
    assert_eq!((keys(&cache), cache.weight()), (vec![2], 8));
    assert_eq!((cache.stats().evictions, cache.stats().expirations), (0, 2));
    check(&cache, 0);
}

#[test]
fn a_heavier_value_takes_the_room_of_who_was_used_least_recently() {
    let cache = weighed(10).policy(Policy::Lru).build().expect("valid settings");
    (1..4).for_each(|key| _ = cache.insert(key, 2));
    assert_eq!(cache.get(&2), Some(2));
    // The first is used now, and the second was used after the third.
    assert_eq!(cache.insert(1, 7), Some(2));
    assert_eq!((keys(&cache), cache.weight()), (vec![1, 2], 9));
    check(&cache, 0);
}

#[test]
fn both_bounds_hold() {
    let cache = weighed(10).max_size(3).build().expect("valid settings");
    for key in 0..4 {
        cache.insert(key, 1);
    }
    assert_eq!(keys(&cache), [1, 2, 3]);
    cache.insert(4, 9);
    assert_eq!((keys(&cache), cache.weight()), (vec![3, 4], 10));
    check(&cache, 0);
}

#[test]
fn a_sum_that_is_no_number_is_a_bound_too() {
    let cache =
        Cache::builder().weigher(|_: &u64, value: &u64| *value).build().expect("valid settings");
    cache.insert(1, u64::MAX - 1);
    cache.insert(2, 1);
    assert_eq!((cache.len(), cache.weight()), (2, u64::MAX));
    cache.insert(3, 1);
    assert_eq!(cache.get(&3), Some(1));
    assert!(cache.len() < 3);
    check(&cache, 0);
}

#[test]
fn without_a_weigher_each_entry_weighs_one() {
    let cache: Cache<u64, u64> = Cache::builder().build().expect("valid settings");
    cache.insert(1, 100);
    cache.insert(2, 100);
    assert_eq!(cache.weight(), 2);
}

#[test]
fn a_weigher_that_panics_stores_nothing_and_loses_nothing() {
    let cache: Cache<u64, u64> = Cache::builder()
        .max_weight(10)
        .weigher(|_, value| if *value > 9 { panic!("no weight") } else { *value })
        .build()
        .expect("valid settings");
    cache.insert(1, 5);
    let panics = |run: &dyn Fn()| catch_unwind(AssertUnwindSafe(run)).is_err();
    assert!(panics(&|| assert_eq!(cache.insert(1, 10), None)));
    assert!(panics(&|| assert_eq!(cache.entry_ref(&1).insert(10), None)));
    assert!(panics(&|| assert_eq!(cache.entry(2).or_insert(10), 10)));
    assert!(panics(&|| assert_eq!(cache.entry(1).update(|_| Some(10)), None)));
    let outcome = block_on(cache.try_get_or_compute(2, || async { Ok::<_, ()>(10) }));
    assert!(matches!(outcome, Err(ComputeError::Panicked(_))), "{outcome:?}");
    assert_eq!((cache.get(&1), cache.len(), cache.weight()), (Some(5), 1, 5));
    cache.insert(2, 5);
    assert_eq!(cache.weight(), 10);
    check(&cache, 0);
}

#[test]
fn a_heavy_value_takes_the_room_of_thousands_of_light_ones() {
    for policy in POLICIES {
        let cache = weighed(20_000).policy(policy).build().expect("valid settings");
        for key in 0..20_000 {
            cache.insert(key, 1);
        }
        assert_eq!(cache.weight(), 20_000);
        cache.insert(20_000, 19_990);
        assert_eq!(cache.get(&20_000), Some(19_990));
        assert_eq!((cache.len(), cache.weight()), (11, 20_000));
        check(&cache, 0);
    }
}

/// However threads meet, neither bound is ever seen exceeded, and each gets its room.
#[test]
fn the_bounds_hold_at_every_moment() {
    const MAX_WEIGHT: u64 = 5_000;
    for policy in POLICIES {
        let cache =
            weighed(MAX_WEIGHT).max_size(300).policy(policy).build().expect("valid settings");
        let (is_over, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    assert!(cache.weight() <= MAX_WEIGHT && cache.len() <= 300);
                    looks.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                }
            });
            let workers: Vec<_> = (0..3_u64)
                .map(|seed| {
                    let cache = &cache;
                    scope.spawn(move || {
                        let mut random = seed + 1;
                        for _ in 0..2_000 {
                            random = random.wrapping_mul(6_364_136_223_846_793_005) + 1;
                            let (key, weight) = (random >> 54, (random >> 40) % 1_000);
                            let old = match random >> 33 & 7 {
                                0 => cache.remove(&key),
                                1..4 => cache.get(&key),
                                // Some that leave little room for others.
                                4 => cache.insert(key, MAX_WEIGHT - weight % 10),
                                _ => cache.insert(key, weight % 50),
                            };
                            assert!(old.is_none_or(|weight| weight <= MAX_WEIGHT));
                        }
                    })
                })
                .collect();
            let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            is_over.store(true, Ordering::SeqCst);
            assert!(ended.iter().all(Result::is_ok));
        });
        assert!(looks.load(Ordering::SeqCst) > 0);
        check(&cache, 0);
    }
}

/// A value that weighs something, and does something when it is dropped.
#[derive(Clone)]
struct Acting {
    weight: u64,
    act: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Acting {
    fn idle(weight: u64) -> Self {
        Self { weight, act: None }
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.act.iter().for_each(|act| act());
    }
}

/// A cache that is full of a hundred values, one of which acts once when it is first dropped.
fn full_of_acting(act: impl Fn(&Cache<u64, Acting>) + Send + Sync + 'static) -> Cache<u64, Acting> {
    let builder = Cache::builder().max_weight(100).weigher(|_: &u64, value: &Acting| value.weight);
    let cache = builder.build().expect("valid settings");
    let (handle, has_acted) = (cache.clone(), AtomicBool::new(false));
    let act = move || {
        if !has_acted.swap(true, Ordering::SeqCst) {
            act(&handle);
        }
    };
    cache.insert(0, Acting { weight: 1, act: Some(Arc::new(act)) });
    for key in 1..100 {
        cache.insert(key, Acting::idle(1));
    }
    cache
}

/// Runs what would never end if threads waited for each other, or one for itself.
fn ends(run: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        run();
        let _ = done.send(());
    });
    match ended.recv_timeout(Duration::from_secs(30)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
        _ => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
    }
}

#[test]
fn destructors_and_listeners_may_ask_for_room() {
    ends(|| {
        let cache = full_of_acting(|cache| drop(cache.insert(200, Acting::idle(60))));
        cache.insert(100, Acting::idle(100));
        assert_eq!((cache.len(), cache.weight()), (1, 60));
        check(&cache, 0);
    });
    ends(|| {
        let (evicted, listened) = (AtomicBool::new(false), Arc::new(OnceLock::new()));
        let handle: Arc<OnceLock<Cache<u64, u64>>> = Arc::clone(&listened);
        let cache = weighed(100)
            .on_removal(move |_, _, _| {
                if !evicted.swap(true, Ordering::SeqCst) {
                    let cache = handle.get().expect("the cache is there");
                    cache.insert(200, 60);
                }
            })
            .build()
            .expect("valid settings");
        assert!(listened.set(cache.clone()).is_ok());
        for key in 0..100 {
            cache.insert(key, 1);
        }
        cache.insert(100, 100);
        assert_eq!(keys(&cache), [200]);
        check(&cache, 0);
    });
}

#[test]
fn a_value_is_stored_whatever_the_destructors_of_those_that_make_way() {
    let cache = full_of_acting(|_| panic!("the destructor"));
    let heavy = || async { Ok::<_, ()>(Acting::idle(100)) };
    let outcome = block_on(cache.try_get_or_compute(100, heavy));
    assert!(outcome.is_ok(), "{:?}", outcome.err());
    assert_eq!((cache.contains_key(&100), cache.weight()), (true, 100));
    check(&cache, 0);
}

#[test]
fn a_value_that_grows_takes_no_more_room_than_it_grows_by() {
    const MAX_WEIGHT: u64 = 1_000_000;
    let cache = weighed(MAX_WEIGHT).build().expect("valid settings");
    cache.insert(u64::MAX, 500_000);
    for key in 0..500 {
        cache.insert(key, 1_000);
    }
    // First those of its own shard make way, then those of others.
    for weight in (501_000..=MAX_WEIGHT).step_by(1_000) {
        cache.insert(u64::MAX, weight);
        assert_eq!((cache.weight(), cache.peek(&u64::MAX)), (MAX_WEIGHT, Some(weight)));
    }
    check(&cache, 0);
}

/// However many light values others store, whoever needs all the room gets it.
#[test]
fn a_heavy_value_gets_its_room_while_others_are_stored() {
    const MAX_WEIGHT: u64 = 100_000;
    ends(|| {
        let cache = weighed(MAX_WEIGHT).build().expect("valid settings");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for thread in 1..4 {
                let (cache, is_over) = (&cache, &is_over);
                scope.spawn(move || {
                    for key in 0_u64.. {
                        cache.insert(key << 2 | thread, 1);
                        if is_over.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                });
            }
            for _ in 0..5 {
                cache.insert(0, MAX_WEIGHT);
            }
            is_over.store(true, Ordering::SeqCst);
        });
        check(&cache, 0);
    });
}

#[test]
fn a_value_that_expires_while_it_is_replaced_is_weighed_once() {
    let cache = weighed(1_000).build().expect("valid settings");
    for round in 0..3_000 {
        let begin = Instant::now();
        cache.entry(0).ttl(Duration::from_micros(30)).insert(100);
        // Just before its end, or just after it.
        let moment = Duration::from_nanos(29_000 + round * 7 % 1_600);
        while begin.elapsed() < moment {}
        cache.insert(0, 101);
        assert_eq!(cache.weight(), 101, "round {round}");
    }
    check(&cache, 0);
}

#[test]
fn a_bound_on_the_size_may_begin_while_room_is_made() {
    for round in 0..100 {
        let cache = weighed(4_000).build().expect("valid settings");
        for key in 0..4_000 {
            cache.insert(key, 1);
        }
        let heavy = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 1..3 {
                let (cache, heavy) = (&cache, &heavy);
                scope.spawn(move || {
                    for key in 0..10 {
                        heavy.fetch_add(1, Ordering::SeqCst);
                        cache.insert(10_000 * thread + key, 2_000 + key);
                        for key in 0..300 {
                            cache.insert(1_000 * thread + key, 5);
                        }
                    }
                });
            }
            // Another one each time has just begun, and has much room to make.
            while heavy.load(Ordering::SeqCst) <= round % 20 {
                thread::yield_now();
            }
            cache.set_max_size(3_000).expect("a valid bound");
        });
        check(&cache, 0);
    }
}
