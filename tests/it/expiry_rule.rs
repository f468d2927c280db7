//! `expiry`: the time to live from key and value, whichever call stores them.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fleeting::{Cache, CacheBuilder, ComputeError};

use crate::support::{check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);

/// A call that stores an unlucky value.
type Store = fn(&Cache<u32, u32>) -> Option<u32>;

/// As many seconds as key and value together.
fn ruled(builder: CacheBuilder<u32, u32>) -> Cache<u32, u32> {
    let rule = |key: &u32, value: &u32| SECOND * (key + value);
    builder.ttl(Duration::MAX).expiry(rule).build().expect("the settings are valid")
}

/// A rule that panics on the value 13.
fn superstitious() -> Cache<u32, u32> {
    let rule = |_: &u32, value: &u32| if *value == 13 { panic!("unlucky") } else { SECOND };
    Cache::builder().expiry(rule).build().expect("the settings are valid")
}

#[test]
fn every_call_that_stores_asks_for_the_time_to_live() {
    in_virtual_time(async |time| {
        let cache = ruled(time.builder());
        cache.insert(1, 1);
        assert_eq!(cache.entry(2).or_insert(1), 1);
        assert_eq!(cache.get_or_compute(3, || async { 1 }).await, 1);
        assert_eq!(cache.try_get_or_compute(4, || async { Ok::<_, ()>(1) }).await, Ok(1));
        let many = |_| async { HashMap::from([(5, 1), (6, 1)]) };
        assert_eq!(cache.get_or_compute_many([5], many).await, HashMap::from([(5, 1)]));
        for left in 1..=6 {
            time.advance(SECOND).await;
            let held: Vec<bool> = (1..=6).map(|key| cache.contains_key(&key)).collect();
            let expected: Vec<bool> = (1..=6).map(|key| key + 1 > left).collect();
            assert_eq!(held, expected, "after {left} s");
        }
        time.advance(SECOND).await;
        assert!(cache.is_empty());
        check(&cache, 0);
    });
}

#[test]
fn an_overwritten_value_lives_by_its_own_time() {
    in_virtual_time(async |time| {
        let cache = ruled(time.builder());
        cache.insert(0, 10);
        cache.insert(0, 2);
        time.advance(2 * SECOND).await;
        assert_eq!(cache.get(&0), None);
        cache.entry_ref(&0).insert(1);
        cache.entry_ref(&0).insert(3);
        time.advance(2 * SECOND).await;
        assert_eq!(cache.get(&0), Some(3));
        check(&cache, 0);
    });
}

#[test]
fn the_time_to_live_of_a_call_goes_first() {
    in_virtual_time(async |time| {
        let asked = Arc::new(AtomicU32::new(0));
        let rule = {
            let asked = Arc::clone(&asked);
            move |_: &u32, _: &u32| {
                asked.fetch_add(1, Ordering::Relaxed);
                SECOND
            }
        };
        let cache = time.builder().expiry(rule).build().expect("the settings are valid");
        cache.entry(1).ttl(5 * SECOND).insert(1);
        cache.entry(2).ttl_with(|_| 5 * SECOND).insert(2);
        cache.entry(3).ttl(5 * SECOND).get_or_compute(|| async { 3 }).await;
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        cache.entry(4).keep_if(|_| false).insert(4);
        assert_eq!(asked.load(Ordering::Relaxed), 0, "it is not stored");
        time.advance(4 * SECOND).await;
        assert_eq!(cache.len(), 3);
        check(&cache, 0);
    });
}

#[test]
fn a_panic_stores_nothing_and_goes_to_the_caller() {
    let cache = superstitious();
    cache.insert(1, 1);
    let insert: Store = |cache| cache.insert(1, 13);
    for store in [insert, |cache| cache.entry(1).insert(13)] {
        assert!(catch_unwind(AssertUnwindSafe(|| store(&cache))).is_err());
        assert_eq!(cache.get(&1), Some(1));
        check(&cache, 0);
    }
}

#[test]
fn a_panic_is_told_to_all_who_wait_for_the_compute() {
    let cache = superstitious();
    futures::executor::block_on(async {
        let failed = cache.try_get_or_compute(1, || async { Ok::<_, ()>(13) }).await;
        assert_eq!(failed, Err(ComputeError::Panicked("unlucky".into())));
        check(&cache, 0);
        let many = |_| async { Ok::<_, ()>(HashMap::from([(1, 1), (2, 13)])) };
        let failed = cache.try_get_or_compute_many([1, 2], many).await;
        assert_eq!(failed, Err(ComputeError::Panicked("unlucky".into())));
        check(&cache, 0);
        assert_eq!(cache.get_or_compute(3, || async { 3 }).await, 3);
    });
}

#[test]
fn a_write_wins_also_while_the_rule_is_asked() {
    let written: Arc<std::sync::OnceLock<Cache<u32, u32>>> = Arc::default();
    let rule = {
        let written = Arc::clone(&written);
        move |_: &u32, value: &u32| {
            if *value == 1 {
                written.get().expect("it is there").insert(7, 2);
            }
            60 * SECOND
        }
    };
    let cache = Cache::builder().expiry(rule).build().expect("the settings are valid");
    written.set(cache.clone()).expect("once");
    let mut call = Box::pin(cache.get_or_compute(7, || async { 1 }));
    assert_eq!(poll_once(&mut call), Some(1));
    assert_eq!(cache.get(&7), Some(2));
    check(&cache, 0);
}
