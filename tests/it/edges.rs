//! Where settings and operations meet at their edges.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::thread;
use std::time::Duration;

use fleeting::Cache;

use crate::support::{check, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_value_that_stands_in_for_ever_is_not_taken_for_fresh() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(SECOND)
            .stale_if_error(Duration::MAX)
            .build()
            .expect("the settings are valid");
        for key in 0..3 {
            cache.insert(key, key);
        }
        time.advance(2 * SECOND).await;
        assert_eq!(cache.remove(&0), None);
        assert_eq!(cache.entry(1).ttl(Duration::MAX).insert(10), None);
        assert_eq!(cache.entry_ref(&2).ttl(Duration::MAX).insert(20), None);
        check(&cache, 0);
    });
}

#[test]
fn retain_is_not_shown_what_has_expired() {
    let time = fleeting::runtime::Manual::new();
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND).runtime(time.clone()).build().expect("the settings are valid");
    time.block_on(cache.close());
    cache.insert(1, 1);
    time.advance(SECOND);
    cache.insert(2, 2);
    let mut asked = Vec::new();
    let removed = cache.retain(|key, _| {
        asked.push(*key);
        false
    });
    assert_eq!((removed, asked), (1, vec![2]));
    check(&cache, 0);
}

#[test]
fn an_update_to_none_leaves_no_value_to_stand_in() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(SECOND)
            .stale_if_error(60 * SECOND)
            .build()
            .expect("the settings are valid");
        cache.insert(1, 1);
        time.advance(2 * SECOND).await;
        assert_eq!(cache.entry(1).update(|present| present), None);
        let failed = cache.try_get_or_compute(1, || async { Err::<u32, _>("down") }).await;
        assert!(failed.is_err(), "{failed:?}");
        assert!(cache.is_empty());
        check(&cache, 0);
    });
}

#[test]
fn the_bound_holds_for_writes_that_were_under_way_when_it_was_narrowed() {
    let cache: Cache<u32, u32> =
        Cache::builder().max_size(1_000).build().expect("the settings are valid");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut key = 0;
            while !is_over.load(Ordering::SeqCst) {
                cache.insert(key, key);
                key += 1;
            }
        });
        let mut exceeded = None;
        for round in 0..2_000 {
            cache.set_max_size(1_000).expect("it is at least 1");
            cache.clear();
            while cache.len() < round % 50 {
                thread::yield_now();
            }
            // As many as there are: none has to go.
            let bound = cache.len().max(1);
            cache.set_max_size(bound).expect("it is at least 1");
            let held = (0..20).map(|_| cache.len()).find(|held| *held > bound);
            exceeded = exceeded.or(held.map(|held| (held, bound)));
        }
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(exceeded, None, "how many there were, and how many there may be");
    });
    check(&cache, 0);
}

#[test]
fn no_thread_sees_more_than_the_bound_that_it_is_told_while_several_change_it() {
    let cache: Cache<u32, u32> =
        Cache::builder().max_size(1_000).build().expect("the settings are valid");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut key = 0;
            while !is_over.load(Ordering::SeqCst) {
                cache.insert(key, key);
                key += 1;
            }
        });
        let changers: Vec<_> = [[5, 900], [10, 800]]
            .map(|bounds| {
                let cache = &cache;
                scope.spawn(move || {
                    for round in 0..2_000 {
                        cache.set_max_size(bounds[round % 2]).expect("it is at least 1");
                    }
                    bounds[1]
                })
            })
            .into_iter()
            .map(|changer| changer.join().expect("nothing panics"))
            .collect();
        let told = cache.max_size().expect("there is a bound");
        let held = (0..1_000).map(|_| cache.len()).max();
        is_over.store(true, Ordering::SeqCst);
        assert!(changers.contains(&told), "told of {told}, the last one of neither thread");
        assert!(held <= Some(told), "{held:?} of {told}");
    });
    check(&cache, 0);
}

/// Looks into the cache that it is in when it goes.
#[derive(Clone)]
struct Curious(Weak<Mutex<Option<Cache<u32, Curious>>>>);

impl Drop for Curious {
    fn drop(&mut self) {
        let Some(home) = self.0.upgrade() else { return };
        let cache = home.lock().ok().and_then(|home| home.clone());
        if let Some(cache) = cache {
            cache.remove(&7);
        }
    }
}

#[test]
fn the_value_that_a_compute_replaces_is_not_dropped_under_the_lock() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let home = Arc::new(Mutex::new(None));
        let cache: Cache<u32, Curious> = Cache::builder().build().expect("the settings are valid");
        *home.lock().expect("nothing panics") = Some(cache.clone());
        let value = || Curious(Arc::downgrade(&home));
        cache.insert(7, value());
        let new = value();
        drop(futures::executor::block_on(cache.refresh(7, || async move { new })));
        home.lock().expect("nothing panics").take();
        done.send(()).expect("somebody waits for it");
    });
    is_done.recv_timeout(60 * SECOND).expect("it does not wait for itself");
}
