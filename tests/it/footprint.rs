//! What the cache allocates, and that it gives it back.
//!
//! Allocations are counted for each thread by itself, so other tests do not disturb these.

use std::collections::HashMap;
use std::future::{pending, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::executor::block_on;

use crate::support::check;

const SECOND: Duration = Duration::from_secs(1);
/// What a hit costs does not depend on luck, so some more of them show it.
const CALLS: u32 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

fn assert_allocates_nothing(code: impl FnOnce()) {
    let info = measure(code);
    assert_eq!((info.count_total, info.bytes_total), (0, 0));
}

/// Bytes that are still held after `code`.
fn bytes_kept(code: impl FnOnce()) -> i64 {
    measure(code).bytes_current
}

fn cache() -> Cache<u32, u32> {
    Cache::builder().ttl(SECOND * 1000).build().expect("valid settings")
}

#[test]
fn the_counter_counts() {
    let info: AllocationInfo = measure(|| drop(std::hint::black_box(Box::new([0_u8; 100]))));
    assert_eq!((info.count_total, info.bytes_total, info.bytes_current), (1, 100, 0));
}

#[test]
fn a_hit_allocates_nothing() {
    let cache = cache();
    for key in 0..1_000 {
        cache.insert(key, key);
    }
    assert_allocates_nothing(|| {
        for call in 0..CALLS {
            let key = call % 1_000;
            assert_eq!(cache.get(&key), Some(key));
        }
    });
}

#[test]
fn what_only_looks_allocates_nothing() {
    let cache = cache();
    cache.insert(1, 1);
    assert_allocates_nothing(|| {
        for _ in 0..100 {
            assert_eq!((cache.get(&2), cache.peek(&1), cache.peek(&2)), (None, Some(1), None));
            assert!(cache.contains_key(&1) && !cache.contains_key(&2));
            assert_eq!((cache.len(), cache.remove(&2), cache.entry(1).or_insert(5)), (1, None, 1));
            assert_eq!((cache.stats().inserts, cache.cleanup()), (1, 0));
            drop(cache.clone());
        }
    });
}

#[test]
fn overwriting_allocates_nothing() {
    let cache = cache();
    for key in 0..100 {
        cache.insert(key, 0);
    }
    // The first ones may still make room in the wheel.
    assert_allocates_nothing(|| {
        for value in 0..100 {
            for key in 0..100 {
                assert_eq!(cache.insert(key, value + 1), Some(value));
            }
        }
    });
}

#[test]
fn a_compute_call_that_hits_is_ready_at_once_and_allocates_nothing() {
    let cache = cache();
    let text: Cache<String, u32> = Cache::builder().build().expect("valid settings");
    cache.insert(1, 10);
    text.insert("key".to_owned(), 20);
    let mut context = Context::from_waker(Waker::noop());
    assert_allocates_nothing(|| {
        for _ in 0..CALLS {
            let call = pin!(cache.get_or_compute(1, || async { 0 }));
            assert_eq!(call.poll(&mut context), Poll::Ready(10));
            let call = pin!(text.entry_ref("key").ttl(SECOND).get_or_compute(|| async { 0 }));
            assert_eq!(call.poll(&mut context), Poll::Ready(20));
            let compute = || async { Err::<u32, String>(String::from("unused")) };
            let call = pin!(cache.try_get_or_compute(1, compute));
            assert!(matches!(call.poll(&mut context), Poll::Ready(Ok(10))));
        }
    });
}

#[test]
fn a_compute_call_allocates_nothing_before_it_is_polled() {
    let cache = cache();
    assert_allocates_nothing(|| drop(cache.get_or_compute(1, || async { 0 })));
}

#[test]
fn a_compute_that_ends_at_once_allocates_only_itself() {
    let cache: Cache<u32, u32> = Cache::builder().max_size(100).build().expect("valid settings");
    let compute = |keys: std::ops::Range<u32>| {
        for key in keys {
            assert_eq!(cache.get_or_compute(key, || async move { key }).now_or_never(), Some(key));
        }
    };
    compute(0..1_000);
    let info = measure(|| compute(1_000..2_000));
    assert_eq!((info.count_total, info.bytes_current), (1_000, 0));
}

#[test]
fn a_borrowed_key_is_made_owned_only_to_be_stored() {
    let cache: Cache<String, u32> = Cache::builder().build().expect("valid settings");
    cache.insert("key".to_owned(), 1);
    assert_allocates_nothing(|| {
        assert_eq!(cache.entry_ref("key").or_insert(2), 1);
        assert_eq!(cache.get("key"), Some(1));
        assert_eq!(cache.get("other"), None);
    });
}

#[test]
fn a_bound_without_end_costs_no_room() {
    let info = measure(|| {
        let cache: Cache<u64, u64> =
            Cache::builder().max_size(usize::MAX).build().expect("valid settings");
        cache.insert(1, 1);
        check(&cache, 0);
    });
    assert!(info.bytes_max < 1 << 20, "{} bytes", info.bytes_max);
    assert_eq!(info.bytes_current, 0);
}

#[test]
fn room_that_was_set_aside_is_there() {
    let cache: Cache<u64, u64> =
        Cache::builder().max_size(1_000).initial_capacity(1_000).build().expect("valid settings");
    let kept = bytes_kept(|| {
        for key in 0..1_000 {
            cache.insert(key, key);
        }
    });
    // Storing takes no more than the heads of some lists.
    assert!(kept < 1_024, "{kept} bytes");
    assert_eq!(cache.len(), 1_000);
}

#[test]
fn computes_that_were_abandoned_one_after_the_other_leave_nothing() {
    let cache = cache();
    let abandon = |keys: std::ops::Range<u32>| {
        for key in keys {
            let mut call = Box::pin(cache.get_or_compute(key, pending));
            assert!(call.as_mut().now_or_never().is_none());
        }
    };
    // The tables find their size.
    abandon(0..1_000);
    let kept = bytes_kept(|| abandon(1_000..CALLS));
    assert_eq!(kept, 0);
    assert!(cache.is_empty());
    check(&cache, 0);
}

#[test]
fn computes_that_ended_in_errors_and_panics_leave_nothing() {
    let cache = cache();
    let fail = |keys: std::ops::Range<u32>| {
        for key in keys {
            let failed = block_on(cache.try_get_or_compute(key, || ready(Err("no"))));
            assert!(matches!(failed, Err(ComputeError::Failed(_))));
        }
    };
    fail(0..1_000);
    assert_eq!(bytes_kept(|| fail(1_000..5_000)), 0);
    check(&cache, 0);
}

/// Asserts that a compute which stores a large value keeps the room of no other when it has landed.
fn assert_room_is_given_back(compute: impl Fn(&Cache<u32, [u64; 1_000]>, u32)) {
    let cache = Cache::builder().max_size(1).build().expect("valid settings");
    compute(&cache, 1);
    assert!(cache.get_or_compute(2, || ready([7; 1_000])).now_or_never().is_some());
    let kept = bytes_kept(|| compute(&cache, 3));
    assert!(kept <= 0, "{kept} bytes");
    check(&cache, 0);
}

#[test]
fn what_a_compute_was_shared_by_is_given_back_when_it_has_landed() {
    assert_room_is_given_back(|cache, key| {
        let (sender, receiver) = oneshot::channel();
        let compute = async { receiver.await.expect("the sender sends") };
        let mut first = Box::pin(cache.get_or_compute(key, || compute));
        assert!(first.as_mut().now_or_never().is_none());
        let mut others: Vec<_> =
            (0..100).map(|_| Box::pin(cache.get_or_compute(key, pending))).collect();
        for other in &mut others {
            assert!(other.as_mut().now_or_never().is_none());
        }
        sender.send([7; 1_000]).expect("the receiver waits");
        assert!(first.now_or_never().is_some());
        assert!(others.into_iter().all(|other| other.now_or_never().is_some()));
    });
}

#[test]
fn what_a_compute_for_several_keys_was_shared_by_is_given_back_when_it_has_landed() {
    assert_room_is_given_back(|cache, key| {
        let values = async move |_| HashMap::from([(key, [7; 1_000])]);
        assert_eq!(block_on(cache.get_or_compute_many([key], values)).len(), 1);
    });
}

#[test]
fn many_waiters_leave_nothing() {
    let cache = cache();
    let wait = || {
        let mut callers: Vec<_> =
            (0..1_000).map(|_| Box::pin(cache.get_or_compute(1, pending))).collect();
        for caller in &mut callers {
            assert!(caller.as_mut().now_or_never().is_none());
        }
    };
    wait();
    assert_eq!(bytes_kept(wait), 0);
    check(&cache, 0);
}

/// Writes new keys, reading none.
fn churn(cache: &Cache<u32, u32>, keys: std::ops::Range<u32>) {
    for key in keys {
        cache.insert(key, key);
    }
}

#[test]
fn churn_takes_no_more_room_than_the_bound() {
    for max_size in [1, 100, 5_000] {
        let cache: Cache<u32, u32> =
            Cache::builder().ttl(SECOND * 1000).max_size(max_size).build().expect("valid settings");
        churn(&cache, 0..CALLS / 2);
        let kept = bytes_kept(|| churn(&cache, CALLS / 2..CALLS));
        // The shards of a big cache shift a little against each other.
        assert!(kept <= 64 * i64::try_from(max_size).expect("small"), "{kept} bytes");
        assert_eq!(cache.len(), max_size);
        check(&cache, 0);
    }
}

#[test]
fn removing_what_was_inserted_takes_no_more_room() {
    let cache = cache();
    let turn_over = |keys: std::ops::Range<u32>| {
        for key in keys {
            cache.insert(key, key);
            assert_eq!(cache.remove(&key), Some(key));
        }
    };
    turn_over(0..10_000);
    assert_eq!(bytes_kept(|| turn_over(10_000..CALLS)), 0);
    check(&cache, 0);
}

#[test]
fn clearing_gives_the_room_back() {
    let cache = cache();
    let fill_and_clear = || {
        churn(&cache, 0..20_000);
        cache.clear();
    };
    fill_and_clear();
    assert_eq!(bytes_kept(fill_and_clear), 0);
    let peak = measure(fill_and_clear).bytes_max;
    assert!(peak > 20_000 * 16, "it was there meanwhile");
}

#[test]
fn a_dropped_cache_leaves_nothing() {
    let use_and_drop = || {
        let cache: Cache<u32, String> =
            Cache::builder().max_size(50).build().expect("valid settings");
        for key in 0..100 {
            cache.insert(key, key.to_string());
        }
        block_on(cache.get_or_compute(1, || async { "computed".to_owned() }));
        let mut abandoned = Box::pin(cache.get_or_compute(1_000, pending));
        assert!(abandoned.as_mut().now_or_never().is_none());
    };
    use_and_drop();
    assert_eq!(bytes_kept(use_and_drop), 0);
}

#[test]
fn a_cache_dropped_with_a_hundred_computes_under_way_leaves_nothing() {
    let drop_with_flights = || {
        let (sender, receiver) = oneshot::channel::<()>();
        let receiver = receiver.shared();
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let mut calls: Vec<_> = (0..100)
            .map(|key| {
                let (cache, opened) = (cache.clone(), receiver.clone());
                Box::pin(async move {
                    let compute = move || opened.map(move |_| key);
                    cache.get_or_compute(key, compute).await
                })
            })
            .collect();
        for call in &mut calls {
            assert!(call.as_mut().now_or_never().is_none());
        }
        drop(cache);
        drop(sender);
        let values = calls.into_iter().map(block_on);
        assert!(values.eq(0..100), "callers get their values all the same");
    };
    drop_with_flights();
    assert_eq!(bytes_kept(drop_with_flights), 0);
}

/// Polls on a stack of 2 MiB.
fn on_a_small_stack(code: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(code);
    thread.expect("a thread").join().expect("no panic on the small stack");
}

#[test]
fn a_thousand_nested_computes_fit_on_a_small_stack() {
    fn nested(cache: Cache<u32, u32>, key: u32) -> futures::future::BoxFuture<'static, u32> {
        Box::pin(async move {
            if key == NESTED {
                return 0;
            }
            let inner = cache.clone();
            cache.get_or_compute(key, move || nested(inner, key + 1)).await + 1
        })
    }
    // Frames are several times larger without optimization.
    const NESTED: u32 = if cfg!(debug_assertions) { 200 } else { 1_000 };
    on_a_small_stack(|| {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        assert_eq!(block_on(nested(cache.clone(), 0)), NESTED);
        assert_eq!(cache.len(), NESTED as usize);
        check(&cache, 0);
    });
}

#[test]
fn the_future_of_a_compute_call_does_not_hold_the_compute() {
    let cache = cache();
    let small = cache.get_or_compute(1, || async { 1 });
    let large = cache.get_or_compute(1, || async {
        let room = std::hint::black_box([1_u8; 4_096]);
        ready(()).await;
        u32::from(room[0])
    });
    assert_eq!(size_of_val(&small), size_of_val(&large));
}

#[cfg(feature = "test-util")]
mod with_a_runtime {
    use super::{Cache, SECOND, block_on, bytes_kept, check, measure, pending};
    use fleeting::runtime::Manual;
    use futures::FutureExt;
    use std::time::Duration;

    #[test]
    fn what_expired_gives_its_room_back() {
        const LASTING: u64 = 500;
        let entries = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
        for (initial_capacity, lasting) in [(0, 0), (1, 0), (0, LASTING), (1_000, LASTING)] {
            let time = Manual::new();
            let cache: Cache<u64, u64> = Cache::builder()
                .initial_capacity(initial_capacity)
                .ttl(SECOND * 60)
                .runtime(time.clone())
                .build()
                .expect("valid");
            let mut held = 0;
            let kept = bytes_kept(|| {
                held = bytes_kept(|| {
                    for key in 0..entries {
                        let ttl = if key < lasting { 180 } else { 60 };
                        cache.entry(key).ttl(SECOND * ttl).insert(key);
                    }
                });
                // All but a few go, and then those.
                time.advance(SECOND * 120);
                assert_eq!(cache.len() as u64, lasting);
                time.advance(SECOND * 120);
            });
            assert_eq!(cache.len(), 0);
            assert!(kept * 10 < held, "{kept} of {held} bytes are kept");
            check(&cache, 0);
        }
    }

    #[test]
    fn a_thousand_caches_leave_no_tasks_and_no_bytes() {
        let time = Manual::new();
        let live_and_die = |count: u32| {
            for round in 0..count {
                let cache: Cache<u32, u32> = Cache::builder()
                    .ttl(SECOND)
                    .max_size(100)
                    .runtime(time.clone())
                    .build()
                    .expect("valid settings");
                cache.insert(round, round);
                assert_eq!(block_on(cache.get_or_compute(1_000_000, || async { 1 })), 1);
                let mut abandoned = Box::pin(cache.get_or_compute(2_000_000, pending));
                assert!(abandoned.as_mut().now_or_never().is_none());
                match round % 4 {
                    0 => time.advance(Duration::ZERO),
                    1 => time.advance(SECOND * 2),
                    2 => time.block_on(cache.close()),
                    _ => {}
                }
            }
            time.advance(Duration::ZERO);
        };
        live_and_die(1_000);
        assert_eq!(bytes_kept(|| live_and_die(1_000)), 0);
        assert!(format!("{time:?}").contains("timers: 0, tasks: 0"), "{time:?}");
    }

    #[test]
    fn background_work_takes_little_room() {
        let time = Manual::new();
        let cache: Cache<u32, u32> = Cache::builder()
            .ttl(SECOND)
            .max_size(100)
            .runtime(time.clone())
            .build()
            .expect("valid");
        let turn = || {
            for key in 0..100 {
                cache.insert(key, key);
                time.advance(SECOND / 10);
            }
            time.advance(SECOND * 3);
        };
        // One shard, so that chance has no part in how its table grows.
        turn();
        let info = measure(turn);
        assert_eq!(cache.len(), 0);
        assert!(info.bytes_current <= 0, "{} bytes are kept", info.bytes_current);
        assert!(info.bytes_max < 16_384, "{} bytes at most", info.bytes_max);
    }
}
