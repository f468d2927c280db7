//! Cases that somebody would try who wants to break a guarantee.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use fleeting::runtime::{Instant, Manual, Spawner, Task, Timer};
use fleeting::{Cache, ComputeError};
use futures::executor::block_on;

use crate::support::{Gate, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_bound_that_begins_while_threads_write_and_clear_holds() {
    for round in 0..30 {
        let cache: Cache<u32, u32> = Cache::default();
        for key in 0..5_000 {
            cache.insert(key, key);
        }
        let (start, done) = (Barrier::new(4), AtomicBool::new(false));
        thread::scope(|scope| {
            for thread in 0..3_u32 {
                let (cache, start, done) = (&cache, &start, &done);
                scope.spawn(move || {
                    start.wait();
                    let mut number = thread + round;
                    while !done.load(Ordering::SeqCst) {
                        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let key = number >> 18;
                        match number % 64 {
                            0 => cache.clear(),
                            1 => _ = cache.retain_keys(|key| key % 2 == 0),
                            2..20 => _ = cache.remove(&key),
                            _ => _ = cache.insert(key, key),
                        }
                        let (most, len) = (cache.max_size(), cache.len());
                        assert!(most.is_none_or(|most| len <= most), "{len} of {most:?}");
                    }
                });
            }
            start.wait();
            for max_size in [3_000, 1_000, 100, 7] {
                cache.set_max_size(max_size).expect("every size is valid");
                assert!(cache.len() <= max_size);
            }
            done.store(true, Ordering::SeqCst);
        });
        check(&cache, 0);
        for key in 0..100 {
            cache.insert(key, key);
        }
        assert_eq!(cache.len(), 7, "no place was lost");
    }
}

/// Runs nothing, and never wakes.
struct Dead;

impl Spawner for Dead {
    fn spawn(&self, task: Task) {
        drop(task);
    }
}

impl Timer for Dead {
    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(futures::future::pending())
    }
}

#[test]
fn a_runtime_that_drops_all_tasks_holds_no_spawned_compute_up() {
    let cache: Cache<u32, u32> =
        Cache::builder().runtime(Dead).spawn_computes(true).build().expect("valid settings");
    let gate = Gate::new();
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (cache, passed) = (cache.clone(), gate.passed());
            thread::spawn(move || {
                block_on(cache.get_or_compute(1, || async move {
                    passed.await;
                    7
                }))
            })
        })
        .collect();
    gate.open();
    assert!(calls.into_iter().all(|call| call.join().expect("no panic") == 7));
    assert_eq!(block_on(cache.entry(2).spawned().detached().get_or_compute(async || 2)), 2);
    check(&cache, 0);
}

/// Keeps all tasks, and lets them be run or dropped by hand.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<Task>>>);

impl Spawner for Shelf {
    fn spawn(&self, task: Task) {
        self.0.lock().expect("no panic").push(task);
    }
}

impl Timer for Shelf {
    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(futures::future::pending())
    }
}

#[test]
fn a_runtime_that_drops_the_task_half_way_wakes_those_who_wait() {
    for polls in 0..3 {
        let shelf = Shelf::default();
        let cache: Cache<u32, u32> = Cache::builder()
            .runtime(shelf.clone())
            .spawn_computes(true)
            .build()
            .expect("valid settings");
        let gate = Gate::new();
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (cache, passed) = (cache.clone(), gate.passed());
                thread::spawn(move || {
                    block_on(cache.get_or_compute(polls, || async move {
                        passed.await;
                        7
                    }))
                })
            })
            .collect();
        while shelf.0.lock().expect("no panic").is_empty() {
            thread::yield_now();
        }
        let mut tasks = std::mem::take(&mut *shelf.0.lock().expect("no panic"));
        for _ in 0..polls {
            for task in &mut tasks {
                assert!(poll_once(task).is_none());
            }
        }
        if polls == 2 {
            gate.open();
        }
        drop(tasks);
        gate.open();
        for caller in callers {
            assert_eq!(caller.join().expect("no panic"), 7);
        }
        check(&cache, 0);
    }
}

#[test]
fn spawned_computes_of_two_keys_that_ask_for_each_other_are_told() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> =
            time.builder().spawn_computes(true).build().expect("valid settings");
        let (first, second) = (cache.clone(), cache.clone());
        let innermost = cache.clone();
        let result = cache
            .try_get_or_compute(1, || async move {
                let inner = first.try_get_or_compute(2, || async move {
                    let circle = second.try_get_or_compute(1, || async move {
                        Ok::<_, &str>(innermost.stats().misses).map(|_| 0)
                    });
                    match circle.await {
                        Err(ComputeError::Recursive) => Err("a circle"),
                        _ => Ok(0),
                    }
                });
                inner.await.map_err(|error| *error.failed().expect("it failed"))
            })
            .await;
        assert_eq!(result.expect_err("it is told").failed(), Some(&"a circle"));
        check(&cache, 0);
    });
}

#[test]
fn callers_of_a_spawned_compute_come_and_go_and_none_is_forgotten() {
    let shelf = Shelf::default();
    let stop = Arc::new(AtomicBool::new(false));
    let worker = {
        let (shelf, stop) = (shelf.clone(), Arc::clone(&stop));
        thread::spawn(move || {
            let mut tasks: Vec<Task> = Vec::new();
            let mut round = 0_u32;
            while !stop.load(Ordering::SeqCst) {
                tasks.append(&mut shelf.0.lock().expect("no panic"));
                tasks.retain_mut(|task| poll_once(task).is_none());
                round += 1;
                if round % 97 == 0 {
                    // The runtime gives some up.
                    tasks.truncate(tasks.len() / 2);
                }
                thread::yield_now();
            }
        })
    };
    let cache: Cache<u32, u32> = Cache::builder()
        .runtime(shelf)
        .spawn_computes(true)
        .max_concurrent_computes(2)
        .build()
        .expect("valid settings");
    let calls = Arc::new(AtomicU32::new(0));
    thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (cache, calls) = (&cache, &calls);
            scope.spawn(move || {
                for number in 0..400_u32 {
                    let key = number / 4;
                    let mut call = Box::pin(cache.get_or_compute(key, || async move {
                        let mut turns = 3;
                        futures::future::poll_fn(|context| {
                            if turns == 0 {
                                return std::task::Poll::Ready(());
                            }
                            turns -= 1;
                            context.waker().wake_by_ref();
                            std::task::Poll::Pending
                        })
                        .await;
                        key
                    }));
                    if (number + thread) % 3 == 0 {
                        // Polled once and dropped.
                        let _ = poll_once(&mut call);
                        continue;
                    }
                    assert_eq!(block_on(call), key);
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    stop.store(true, Ordering::SeqCst);
    worker.join().expect("no panic");
    assert!(calls.load(Ordering::SeqCst) > 1_000);
    check(&cache, 0);
}

#[test]
fn each_value_of_a_bound_that_shrinks_is_told_once_while_threads_write() {
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let cache: Cache<u32, u32> = Cache::builder()
        .max_size(5_000)
        .max_weight(50_000)
        .weigher(|_, value| u64::from(*value % 20))
        .on_removal(move |_, _, _| _ = counted.fetch_add(1, Ordering::SeqCst))
        .build()
        .expect("valid settings");
    thread::scope(|scope| {
        for thread in 0..3_u32 {
            let cache = &cache;
            scope.spawn(move || {
                for number in 0..3_000_u32 {
                    let key = (number * 7 + thread) % 2_000;
                    match number % 7 {
                        0 => _ = cache.entry(key).ttl(Duration::ZERO).insert(number),
                        1 => _ = cache.entry(key).keep_ttl().insert(number),
                        2 => _ = cache.entry(key).update(|old| Some(old.unwrap_or(0) / 2 + 3)),
                        _ => _ = cache.insert(key, number),
                    }
                }
            });
        }
        for step in (1..=50).rev() {
            cache.set_max_weight(step * 200).expect("there is a weigher");
            cache.set_max_size(usize::try_from(step).expect("it is small") * 50).expect("valid");
        }
    });
    cache.clear();
    cache.cleanup();
    let stats = cache.stats();
    assert_eq!(told.load(Ordering::SeqCst) as u64, stats.inserts);
    assert_eq!((cache.len(), cache.weight()), (0, 0));
    check(&cache, 0);
}

#[test]
fn a_stale_value_is_not_handed_out_for_slowness_after_it_was_made_void() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(SECOND)
            .stale_if_error(100 * SECOND)
            .stale_if_slow(SECOND)
            .build()
            .expect("valid settings");
        for void in [true, false] {
            cache.insert(1, 1);
            time.advance(2 * SECOND).await;
            let gate = Gate::new();
            let passed = gate.passed();
            let mut call = Box::pin(cache.get_or_compute(1, || async move {
                passed.await;
                5
            }));
            assert_eq!(poll_once(&mut call), None);
            if void {
                cache.entry(1).ttl(Duration::ZERO).insert(3);
            }
            time.advance(3 * SECOND).await;
            assert_eq!(poll_once(&mut call), (!void).then_some(1));
            gate.open();
            if void {
                assert_eq!(call.await, 5);
                assert_eq!(cache.get(&1), None, "the write came later");
            }
            time.advance(Duration::ZERO).await;
            cache.clear();
            check(&cache, 0);
        }
    });
}

/// Pairs, and then a panic.
struct Breaks(u32);

impl Iterator for Breaks {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        self.0 += 1;
        assert!(self.0 < 3, "oh");
        Some((self.0, self.0))
    }
}

impl Drop for Breaks {
    fn drop(&mut self) {
        // Beside the other panic this would end the process.
        assert!(thread::panicking() || self.0 > 100, "dropped too early");
    }
}

#[test]
fn a_compute_of_many_that_panics_while_it_is_gone_through_leaves_no_key_busy() {
    let cache: Cache<u32, u32> = Cache::new(100);
    let mut call =
        Box::pin(cache.try_get_or_compute_many([1, 2, 3], async |_| Ok::<_, ()>(Breaks(0))));
    let result = poll_once(&mut call).expect("it is over");
    assert!(matches!(result, Err(ComputeError::Panicked(_))));
    check(&cache, 0);
    assert!(cache.is_empty());
}

#[test]
fn an_answer_that_asks_for_its_own_keys_while_it_is_gone_through_is_told_so() {
    let cache: Cache<u32, u32> = Cache::new(100);
    let inner = cache.clone();
    let mut call = Box::pin(cache.get_or_compute_many([1, 2], async move |_| {
        (1..=3).map(move |key| {
            let own = block_on(inner.try_get_or_compute(2, async || Ok::<_, ()>(0)));
            // Below, it is written meanwhile.
            assert_eq!(own, if key < 3 { Err(ComputeError::Recursive) } else { Ok(22) });
            // Others are free, and a write wins over what comes.
            assert_eq!(block_on(inner.get_or_compute(key + 10, async || 5)), 5);
            if key == 2 {
                inner.insert(2, 22);
            }
            (key, key * 10)
        })
    }));
    let found = poll_once(&mut call).expect("it is over");
    assert_eq!((found[&1], found[&2]), (10, 20));
    assert_eq!(cache.get_many(&[1, 2, 3]), [Some(10), Some(22), Some(30)]);
    check(&cache, 0);
}

#[test]
fn an_answer_that_clears_the_cache_while_it_is_gone_through_is_not_stored() {
    let cache: Cache<u32, u32> = Cache::new(100);
    let inner = cache.clone();
    let mut call = Box::pin(cache.get_or_compute_many([1, 2], async move |_| {
        (0..=3).map(move |key| {
            if key == 3 {
                inner.clear();
            }
            (key, key * 10)
        })
    }));
    assert_eq!(poll_once(&mut call).map(|found| found.len()), Some(2));
    assert!(cache.is_empty());
    check(&cache, 0);
}

#[test]
fn a_listener_may_change_the_bounds_while_much_leaves() {
    let slot: Arc<std::sync::OnceLock<fleeting::WeakCache<u32, u32>>> = Arc::default();
    let (own, told) = (Arc::clone(&slot), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&told);
    let cache: Cache<u32, u32> = Cache::builder()
        .max_size(20_000)
        .max_weight(20_000)
        .weigher(|_, _| 1)
        .on_removal(move |_, _, _| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let Some(cache) = own.get().and_then(fleeting::WeakCache::upgrade) else { return };
            match number {
                10 => cache.set_max_size(5_000).expect("every size is valid"),
                20 => cache.set_max_weight(2_000).expect("there is a weigher"),
                30 => _ = cache.retain_keys(|key| key % 2 == 0),
                40 => cache.set_max_weight(10_000).expect("there is a weigher"),
                _ => {}
            }
        })
        .build()
        .expect("valid settings");
    assert!(slot.set(cache.downgrade()).is_ok());
    thread::scope(|scope| {
        for thread in 0..3_u32 {
            let cache = &cache;
            scope.spawn(move || {
                for number in 0..12_000 {
                    cache.insert(number * 3 + thread, number);
                }
            });
        }
    });
    assert!(cache.len() <= 5_000);
    cache.clear();
    cache.cleanup();
    assert_eq!(u64::from(told.load(Ordering::SeqCst)), cache.stats().inserts);
    check(&cache, 0);
}

#[test]
fn an_update_whose_value_ends_while_it_is_made_is_asked_again() {
    for kept in [false, true] {
        let time = Manual::new();
        let cache: Cache<u32, u32> = Cache::builder()
            .ttl(10 * SECOND)
            .stale_if_error(100 * SECOND)
            .runtime(time.clone())
            .build()
            .expect("valid settings");
        let entry = || if kept { cache.entry(1).keep_ttl() } else { cache.entry(1) };
        cache.insert(1, 1);
        let mut seen = Vec::new();
        let value = entry().update(|present| {
            seen.push(present);
            match seen.len() {
                1 => time.advance(11 * SECOND),
                2 => _ = cache.entry(1).ttl(5 * SECOND).insert(7),
                3 => assert!(cache.set_ttl(&1, Duration::ZERO)),
                _ => {}
            }
            Some(present.unwrap_or(100) + 1)
        });
        assert_eq!(seen, [Some(1), None, Some(7), None]);
        assert_eq!((value, cache.get(&1)), (Some(101), Some(101)));
        assert_eq!(cache.remaining_ttl(&1), Some(10 * SECOND));
        check(&cache, 0);
    }
}

#[test]
fn a_value_whose_ttl_is_kept_to_its_last_nanosecond_is_neither_void_nor_endless() {
    let time = Manual::new();
    for grace in [Duration::ZERO, SECOND] {
        let cache: Cache<u32, u32> = Cache::builder()
            .ttl(100 * SECOND)
            .stale_if_error(grace)
            .runtime(time.clone())
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        time.advance(Duration::from_nanos(99_999_999_999));
        if cache.get(&1).is_none() {
            // A long one may end some milliseconds early.
            continue;
        }
        assert_eq!(cache.entry(1).keep_ttl().insert(2), Some(1));
        assert_eq!(cache.get(&1), Some(2));
        assert_eq!(cache.entry_ref(&1).keep_ttl().update(|_| Some(3)), Some(3));
        assert_eq!(cache.get(&1), Some(3));
        time.advance(Duration::from_nanos(1));
        assert_eq!(cache.get(&1), None);
        check(&cache, 0);
    }
}

#[test]
fn remove_if_of_what_ends_meanwhile_does_not_let_its_refresh_bring_it_back() {
    let time = Manual::new();
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND).runtime(time.clone()).build().expect("valid settings");
    cache.insert(1, 1);
    let gate = Gate::new();
    let passed = gate.passed();
    let mut refresh = Box::pin(cache.refresh(1, || async move {
        passed.await;
        2
    }));
    assert_eq!(poll_once(&mut refresh), None);
    let removed = cache.remove_if(&1, |_| {
        time.advance(2 * SECOND);
        true
    });
    assert_eq!(removed, None);
    gate.open();
    assert_eq!(poll_once(&mut refresh), Some(2));
    assert_eq!(cache.get(&1), None);
    check(&cache, 0);
}

/// Refuses one task, and runs the others.
struct Choosy {
    time: Manual,
    refused: AtomicBool,
    ran: Arc<AtomicU32>,
}

impl Spawner for Choosy {
    fn spawn(&self, task: Task) {
        if self.refused.swap(true, Ordering::SeqCst) {
            self.ran.fetch_add(1, Ordering::SeqCst);
            self.time.spawn(task);
        }
    }
}

impl Timer for Choosy {
    fn now(&self) -> Instant {
        self.time.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.time.sleep_until(deadline)
    }
}

#[test]
fn a_runtime_that_drops_one_task_is_tried_again() {
    let (time, ran) = (Manual::new(), Arc::new(AtomicU32::new(0)));
    let runtime = Choosy { time: time.clone(), refused: false.into(), ran: Arc::clone(&ran) };
    let cache: Cache<u32, u32> =
        Cache::builder().runtime(runtime).spawn_computes(true).build().expect("valid settings");
    for key in 0..100 {
        assert_eq!(time.block_on(cache.get_or_compute(key, async move || key)), key);
        time.advance(60 * SECOND);
    }
    assert!(ran.load(Ordering::SeqCst) > 0);
    check(&cache, 0);
}
