//! Handles that keep nothing alive, keys that are made only where they are stored, loops, and readings
//! of the statistics.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use fleeting::{Cache, RemovalCause, Stats, WeakCache};
use futures::executor::block_on;

use crate::support::{check, on_every_runtime};

#[test]
fn a_weak_handle_gives_the_same_cache_while_that_lives() {
    let cache: Cache<u32, Arc<u32>> = Cache::new(10);
    let weak = cache.downgrade();
    let value = Arc::new(1);
    weak.upgrade().expect("it lives").insert(1, Arc::clone(&value));
    assert_eq!(cache.get(&1), Some(Arc::new(1)));
    let upgraded = weak.clone().upgrade().expect("it lives");
    drop(cache);
    assert_eq!(upgraded.len(), 1, "the handle made of it is a full one");
    drop(upgraded);
    assert!(weak.upgrade().is_none());
    assert_eq!(Arc::strong_count(&value), 1, "all is freed");
}

#[test]
fn a_weak_handle_may_be_sent_and_outlives_its_cache_on_every_runtime() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("the settings are valid");
        let weak = cache.downgrade();
        let task = host.spawn(async move {
            if let Some(cache) = weak.upgrade() {
                cache.get_or_compute(1, async || 1).await;
            }
            weak
        });
        let weak = task.await;
        assert_eq!(cache.get(&1), Some(1));
        drop(cache);
        assert!(weak.upgrade().is_none());
    });
}

/// Tells when it is freed.
struct Guard(Arc<AtomicU32>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_listener_with_a_weak_handle_uses_the_cache_and_does_not_keep_it() {
    let (freed, slot) = (Arc::new(AtomicU32::new(0)), Arc::new(OnceLock::new()));
    let (guard, own) = (Guard(Arc::clone(&freed)), Arc::clone(&slot));
    let cache: Cache<u32, u32> = Cache::builder()
        .max_size(2)
        .on_removal(move |_, value, cause| {
            let _ = &guard;
            let cache = own.get().and_then(WeakCache::upgrade);
            if let Some(cache) = cache.filter(|_| cause == RemovalCause::Removed) {
                cache.entry(0).update(|sum| sum.map(|sum| sum + value));
            }
        })
        .build()
        .expect("the settings are valid");
    assert!(slot.set(cache.downgrade()).is_ok());
    cache.insert(1, 10);
    cache.remove(&1);
    cache.insert(0, 0);
    cache.insert(2, 20);
    cache.remove(&2);
    assert_eq!(cache.get(&0), Some(20));
    check(&cache, 0);
    drop(cache);
    assert_eq!(freed.load(Ordering::SeqCst), 1);
    assert!(slot.get().is_some_and(|weak| weak.upgrade().is_none()));
}

#[test]
fn the_last_handle_may_be_one_that_a_listener_has_made() {
    let slot: Arc<OnceLock<WeakCache<u32, u32>>> = Arc::default();
    let (own, kept) = (Arc::clone(&slot), Arc::new(std::sync::Mutex::new(None)));
    let keep = Arc::clone(&kept);
    let cache: Cache<u32, u32> = Cache::builder()
        .on_removal(move |_, _, _| {
            *keep.lock().expect("no panic") = own.get().and_then(WeakCache::upgrade);
        })
        .build()
        .expect("the settings are valid");
    assert!(slot.set(cache.downgrade()).is_ok());
    cache.insert(1, 1);
    cache.remove(&1);
    drop(cache);
    let kept = kept.lock().expect("no panic").take().expect("the listener has kept one");
    kept.insert(2, 2);
    assert_eq!(kept.get(&2), Some(2));
    drop(kept);
    assert!(slot.get().is_some_and(|weak| weak.upgrade().is_none()));
}

#[test]
fn a_key_is_made_only_where_it_is_stored_and_once() {
    let cache: Cache<Arc<str>, u32> = Cache::new(10);
    let count = Cell::new(0);
    let make = |key: &str| {
        count.set(count.get() + 1);
        Arc::from(key)
    };
    let entry = || cache.entry_with("a", make);
    assert_eq!(entry().key(), "a");
    assert_eq!(count.take(), 0);
    assert_eq!(entry().insert(1), None);
    assert_eq!(count.take(), 1);
    assert_eq!(entry().insert(2), Some(1));
    assert_eq!(count.take(), 0, "the key that is there stays");
    assert_eq!(entry().or_insert(3), 2);
    assert_eq!(entry().update(|value| value.map(|value| value + 1)), Some(3));
    assert_eq!(block_on(entry().get_or_compute(async || 9)), 3);
    assert_eq!(block_on(entry().try_get_or_compute(async || Err::<u32, _>(()))), Ok(3));
    assert_eq!(count.take(), 0);
    cache.clear();
    assert_eq!(entry().or_insert(3), 3);
    assert_eq!(count.take(), 1);
    cache.clear();
    assert_eq!(entry().update(|_| None), None);
    assert_eq!(count.take(), 0, "nothing is stored");
    assert_eq!(entry().update(|_| Some(4)), Some(4));
    assert_eq!(count.take(), 1);
    cache.clear();
    assert_eq!(block_on(entry().get_or_compute(async || 5)), 5);
    assert_eq!(count.take(), 1);
    assert_eq!(block_on(entry().refresh(async || 6)), 6);
    assert!(count.take() <= 1);
    assert_eq!((cache.len(), cache.get("a")), (1, Some(6)));
    check(&cache, 0);
}

#[test]
fn a_key_that_cannot_be_made_harms_nobody() {
    let cache: Cache<Arc<str>, u32> = Cache::new(10);
    let broken = || cache.entry_with("a", |_: &str| -> Arc<str> { panic!("no key") });
    let panics = |run: &dyn Fn()| {
        let run = std::panic::AssertUnwindSafe(run);
        assert!(std::panic::catch_unwind(run).is_err());
        check(&cache, 0);
    };
    panics(&|| _ = broken().insert(1));
    panics(&|| _ = broken().or_insert(1));
    panics(&|| _ = broken().update(|_| Some(1)));
    panics(&|| _ = block_on(broken().get_or_compute(async || 1)));
    assert!(cache.is_empty());
    cache.insert("a".into(), 1);
    assert_eq!(broken().or_insert(2), 1);
    assert_eq!(block_on(broken().get_or_compute(async || 2)), 1);
    check(&cache, 0);
}

#[test]
fn a_loop_goes_over_the_fresh_entries() {
    let cache: Cache<u32, u32> = Cache::new(1_000);
    for key in 0..500 {
        cache.insert(key, key * 2);
    }
    cache.entry(1_000).ttl(std::time::Duration::ZERO).insert(0);
    let (mut count, mut sum) = (0, 0);
    for (key, value) in &cache {
        assert_eq!(value, key * 2);
        count += 1;
        sum += key;
        // No lock is held between items.
        cache.remove(&key);
    }
    assert_eq!((count, sum), (500, (0..500).sum::<u32>()));
    assert_eq!(cache.iter().next(), None);
    assert_eq!(cache.stats().requests(), 0);
    check(&cache, 0);
}

#[test]
fn what_was_done_between_two_readings_is_told() {
    let cache: Cache<u32, u32> = Cache::new(10);
    cache.insert(1, 1);
    cache.get(&1);
    let before = cache.stats();
    cache.get(&1);
    cache.get(&2);
    cache.insert(2, 2);
    block_on(cache.get_or_compute(3, async || 3));
    let between = cache.stats().since(&before);
    assert_eq!((between.hits, between.misses, between.inserts), (1, 2, 2));
    assert_eq!((between.computes, between.requests()), (1, 3));
    let after = cache.stats();
    assert_eq!(cache.stats().since(&after), Stats::default(), "nothing was done");
    assert_eq!(after.since(&Stats::default()), after);
}

#[test]
fn a_reset_between_two_readings_does_no_harm() {
    let cache: Cache<u32, u32> = Cache::new(10);
    for _ in 0..10 {
        cache.get(&1);
    }
    let before = cache.stats();
    cache.reset_stats();
    cache.insert(1, 1);
    cache.get(&1);
    let since = cache.stats().since(&before);
    assert_eq!((since.misses, since.hits, since.inserts), (0, 1, 1));
    assert!(since.hit_rate() <= 1.0);
}
