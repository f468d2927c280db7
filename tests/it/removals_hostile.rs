//! Removal listeners that call the cache, panic, block, or are called where things go wrong.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::Duration;

use fleeting::RemovalCause::{Evicted, Removed, Replaced};
use fleeting::runtime::Manual;
use fleeting::{Cache, CacheBuilder, RemovalCause};
use futures::FutureExt;
use futures::executor::block_on;

use crate::removals::Told;
use crate::runtimes::in_time;
use crate::support::{check, poll_once};

const SECOND: Duration = Duration::from_secs(1);

/// A cache whose listener is given a handle of it, weakly held.
fn calling(
    builder: CacheBuilder<u32, u32>,
    listener: impl Fn(&Cache<u32, u32>, u32, u32, RemovalCause) + Send + Sync + 'static,
) -> Arc<Cache<u32, u32>> {
    let own: Arc<OnceLock<Weak<Cache<u32, u32>>>> = Arc::default();
    let handle = Arc::clone(&own);
    let builder = builder.on_removal(move |key, value, cause| {
        let cache = handle.get().and_then(Weak::upgrade).expect("the test holds the cache");
        listener(&cache, key, value, cause);
    });
    let cache = Arc::new(builder.build().expect("valid settings"));
    own.set(Arc::downgrade(&cache)).expect("set once");
    cache
}

#[test]
fn a_listener_may_call_the_cache_for_the_same_key() {
    in_time(|| {
        let told = Told::default();
        let list = told.clone();
        let cache = calling(Cache::builder(), move |cache, key, value, cause| {
            list.add(key, value, cause);
            if value > 1 {
                return;
            }
            assert_eq!(cache.get(&key), Some(2));
            assert_eq!(cache.insert(key, 3), Some(2));
            assert_eq!(cache.entry_ref(&key).update(|_| Some(4)), Some(4));
            assert_eq!(cache.remove(&key), Some(4));
            let computed = cache.get_or_compute(key, || async { 5 }).now_or_never();
            assert_eq!((computed, cache.len(), cache.iter().count()), (Some(5), 1, 1));
            cache.clear();
            cache.insert(key, 6);
            assert_eq!(cache.retain(|_, _| false), 1);
            cache.set_max_size(4).expect("a valid size");
            assert_eq!(cache.cleanup(), 0);
            check(cache, 0);
            assert_eq!(list.take(), [(1, 1, Replaced)], "what leaves meanwhile is told afterwards");
        });
        cache.insert(1, 1);
        cache.insert(1, 2);
        let expected = [(2, Replaced), (3, Replaced), (4, Removed), (5, Removed), (6, Removed)];
        assert_eq!(told.take(), expected.map(|(value, cause)| (1, value, cause)));
        assert_eq!(cache.stats().listener_panics, 0);
        check(&cache, 0);
    });
}

#[test]
fn a_listener_that_stores_again_and_again_does_not_fill_the_stack() {
    const LAST: u32 = 20_000;
    let told = Told::default();
    let list = told.clone();
    let cache = calling(Cache::builder().max_size(1), move |cache, key, value, cause| {
        list.add(key, value, cause);
        if key < LAST {
            cache.insert(key + 2, value);
        }
    });
    (0..2).for_each(|key| _ = cache.insert(key, 7));
    let expected: Vec<_> = (0..=LAST).map(|key| (key, 7, Evicted)).collect();
    assert_eq!(told.take(), expected);
    check(&cache, 0);
}

#[test]
fn a_listener_that_panics_is_counted_and_goes_on() {
    let told = Told::default();
    let list = told.clone();
    let builder = Cache::builder().max_size(2).on_removal(move |key, value, cause| {
        list.add(key, value, cause);
        assert!(value % 2 == 0, "an odd value");
    });
    let cache = builder.build().expect("valid settings");
    assert_eq!((cache.insert(1, 11), cache.insert(1, 12)), (None, Some(11)));
    assert_eq!(cache.remove(&1), Some(12));
    (2..=4).for_each(|key| _ = cache.insert(key, 10 * key + 1));
    assert_eq!(cache.get_or_compute(5, || async { 51 }).now_or_never(), Some(51));
    cache.clear();
    assert_eq!(told.take().len(), 6);
    assert_eq!(cache.stats().listener_panics, 5);
    check(&cache, 0);
}

/// Calls a closure when it is dropped.
struct Last(Box<dyn FnMut()>);

impl Drop for Last {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_listener_may_panic_while_its_thread_does() {
    let told = Told::default();
    let list = told.clone();
    let builder = Cache::builder().on_removal(move |key, value, cause| {
        list.add(key, value, cause);
        panic!("one more");
    });
    let cache: Cache<u32, u32> = builder.build().expect("valid settings");
    cache.insert(1, 10);
    let handle = cache.clone();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _last = Last(Box::new(move || {
            handle.insert(1, 11);
            handle.remove(&1);
        }));
        panic!("the first");
    }));
    assert!(panicked.is_err());
    assert_eq!(told.take(), [(1, 10, Replaced), (1, 11, Removed)]);
    assert_eq!(cache.stats().listener_panics, 2);
    check(&cache, 0);
}

#[test]
fn a_thread_that_ends_can_tell() {
    thread_local!(static LAST: RefCell<Option<Last>> = const { RefCell::new(None) });
    let told = Told::default();
    let cache = told.builder().build().expect("valid settings");
    for uses_it_first in [true, false] {
        let handle = cache.clone();
        let thread = thread::spawn(move || {
            if uses_it_first {
                handle.insert(1, 1);
                handle.remove(&1);
            }
            LAST.set(Some(Last(Box::new(move || {
                handle.insert(1, 2);
                handle.remove(&1);
            }))));
        });
        thread.join().expect("the thread ends");
    }
    let values: Vec<_> = told.take().into_iter().map(|(_, value, _)| value).collect();
    assert_eq!(values, [1, 2, 2]);
}

/// A value that may refuse to be copied.
struct Value {
    number: u32,
    refuses: Arc<AtomicBool>,
}

impl Clone for Value {
    fn clone(&self) -> Self {
        assert!(!self.refuses.load(Ordering::SeqCst), "no copies");
        Self { number: self.number, refuses: Arc::clone(&self.refuses) }
    }
}

#[test]
fn a_copy_that_panics_leaves_all_as_it_was() {
    let told: Arc<Mutex<Vec<(u32, RemovalCause)>>> = Arc::default();
    let list = Arc::clone(&told);
    let builder = Cache::builder().on_removal(move |_: u32, value: Value, cause| {
        list.lock().expect("no panic at the list").push((value.number, cause));
    });
    let (cache, refuses) = (builder.build().expect("valid settings"), Arc::default());
    let value = |number| Value { number, refuses: Arc::clone(&refuses) };
    cache.insert(1, value(1));
    refuses.store(true, Ordering::SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| cache.insert(1, value(2)))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| cache.remove(&1))).is_err());
    check(&cache, 0);
    assert_eq!(*told.lock().expect("no panic at the list"), []);
    refuses.store(false, Ordering::SeqCst);
    assert_eq!(cache.remove(&1).map(|value| value.number), Some(1));
    assert_eq!(*told.lock().expect("no panic at the list"), [(1, Removed)]);
}

/// A value whose destructor panics.
#[derive(Clone)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(thread::panicking(), "dropped");
    }
}

#[test]
fn what_the_listener_drops_is_its_own_affair() {
    let cache = Cache::builder().on_removal(|_: u32, _: Bomb, _| ()).build().expect("valid");
    (0..3).for_each(|key| _ = cache.insert(key, Bomb));
    cache.clear();
    assert_eq!((cache.len(), cache.stats().listener_panics), (0, 3));
    check(&cache, 0);
}

#[test]
fn who_removes_faster_than_the_listener_listens_is_slowed_down() {
    /// What may wait, and one from each thread.
    const MOST: u32 = 1024 + 2;
    in_time(|| {
        let (stored, told, most) = (Arc::new(AtomicU32::new(0)), AtomicU32::new(0), Arc::default());
        let (count, greatest) = (Arc::clone(&stored), Arc::<AtomicU32>::clone(&most));
        let builder = Cache::builder().max_size(1).on_removal(move |_: u32, _: u32, _| {
            let told = told.fetch_add(1, Ordering::SeqCst);
            let waiting = || count.load(Ordering::SeqCst) - told;
            while told == 0 && waiting() < 1024 {
                thread::yield_now();
            }
            // The other thread has the time to go on, if it may.
            (0..if told == 0 { 1_000 } else { 1 }).for_each(|_| thread::yield_now());
            greatest.fetch_max(waiting(), Ordering::SeqCst);
        });
        let cache = builder.build().expect("valid settings");
        thread::scope(|scope| {
            for thread in 0..2 {
                let (cache, stored) = (&cache, &stored);
                scope.spawn(move || {
                    for key in 0..2_000 {
                        cache.insert(2 * key + thread, 1);
                        stored.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.load(Ordering::SeqCst);
        assert!(most <= MOST, "{most} were waiting");
        assert_eq!(cache.stats().evictions, 3_999);
        check(&cache, 0);
    });
}

#[test]
fn a_listener_may_close_the_cache_while_the_background_work_waits_for_its_turn() {
    const ENTRIES: usize = 2_000;
    in_time(|| {
        let (time, has_begun) = (Manual::new(), AtomicBool::new(false));
        let (begins, begun) = mpsc::channel();
        let builder = Cache::builder().runtime(time.clone()).ttl(SECOND).max_size(ENTRIES);
        let cache = calling(builder, move |cache, _, _, _| {
            if has_begun.swap(true, Ordering::SeqCst) {
                return;
            }
            begins.send(()).expect("somebody listens");
            // The background work removes as many as may wait, and then waits for its turn.
            while cache.len() > ENTRIES - 1 - 1024 {
                thread::yield_now();
            }
            block_on(cache.close());
        });
        (0..2_000).for_each(|key| _ = cache.insert(key, 1));
        thread::scope(|scope| {
            scope.spawn(move || {
                begun.recv().expect("the listener begins");
                time.advance(2 * SECOND);
            });
            cache.remove(&0);
        });
        assert_eq!(cache.stats().listener_panics, 0);
        check(&cache, 0);
    });
}

#[test]
fn a_listener_may_wait_for_a_compute_that_removes_something() {
    in_time(|| {
        let (has_begun, is_joined) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
        let (begins, begun) = mpsc::channel();
        let (computes, computing) = mpsc::channel();
        let (joins, computing) = (Arc::clone(&is_joined), Mutex::new(computing));
        let cache = calling(Cache::builder().max_size(1), move |cache, _, _, _| {
            if has_begun.swap(true, Ordering::SeqCst) {
                return;
            }
            begins.send(()).expect("somebody listens");
            computing.lock().expect("no panic").recv().expect("the compute begins");
            let mut call = pin!(cache.get_or_compute(1, || async { 20 }));
            assert_eq!(poll_once(&mut call), None);
            joins.store(true, Ordering::SeqCst);
            assert_eq!(block_on(call), 10);
        });
        cache.insert(0, 0);
        thread::scope(|scope| {
            let cache = &cache;
            scope.spawn(move || {
                begun.recv().expect("the listener begins");
                // As many as may wait, but for the one that the compute removes.
                (100..100 + 1024).for_each(|key| _ = cache.insert(key, 1));
                let compute = || async move {
                    computes.send(()).expect("the listener waits");
                    while !is_joined.load(Ordering::SeqCst) {
                        thread::yield_now();
                    }
                    10
                };
                assert_eq!(block_on(cache.get_or_compute(1, compute)), 10);
            });
            cache.remove(&0);
        });
        assert_eq!(cache.stats().listener_panics, 0);
        check(&cache, 0);
    });
}

#[test]
fn caches_that_fill_each_other_do_not_wait_for_each_other() {
    in_time(|| {
        let other: Arc<OnceLock<Weak<Cache<u32, u32>>>> = Arc::default();
        let handle = Arc::clone(&other);
        let first = calling(Cache::builder().max_size(8), move |_, key, value, _| {
            if value < 3 {
                let other = handle.get().and_then(Weak::upgrade).expect("the test holds it");
                other.insert(key, value + 1);
            }
        });
        let handle = Arc::downgrade(&first);
        let second = calling(Cache::builder().max_size(8), move |_, key, value, _| {
            let first = handle.upgrade().expect("the test holds it");
            first.insert(key, value + 1);
        });
        other.set(Arc::downgrade(&second)).expect("set once");
        thread::scope(|scope| {
            for cache in [&first, &second] {
                for thread in 0..2 {
                    scope.spawn(move || {
                        (0..3_000).for_each(|key| _ = cache.insert(2 * key + thread, 0));
                    });
                }
            }
        });
        for cache in [&first, &second] {
            assert_eq!((cache.len(), cache.stats().listener_panics), (8, 0));
            check(cache, 0);
        }
    });
}

#[test]
fn a_listener_that_holds_the_cache_weakly_does_not_keep_it() {
    let cache = calling(Cache::builder(), |_, _, _, _| ());
    let handle = Arc::downgrade(&cache);
    cache.insert(1, 1);
    drop(cache);
    assert!(handle.upgrade().is_none());
}
