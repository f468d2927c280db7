//! Circles of computes that wait for each other on threads that block, in the background, and in calls
//! for many keys.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use fleeting::runtime::{Spawner, Task, Timer};
use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};

use crate::flights::{Inline, Switch, in_time, on_every_runtime, steps, wait};
use crate::support::{Host, check, poll_once};

/// A compute was told that it waits for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told;

type Outcome = Result<u32, ComputeError<Told>>;

fn pass_on<V>(result: Result<V, ComputeError<Told>>) -> Result<V, Told> {
    result.map_err(|error| match error {
        ComputeError::Recursive | ComputeError::Failed(_) => Told,
        other => panic!("{other:?}"),
    })
}

fn is_told(outcome: &Outcome) -> bool {
    matches!(outcome, Err(ComputeError::Failed(_)))
}

fn new_cache(host: &Host) -> Cache<u32, u32> {
    host.builder().build().expect("valid settings")
}

/// Asks for `other`, whose compute has begun by now.
async fn follow(cache: &Cache<u32, u32>, other: u32) -> Result<u32, Told> {
    pass_on(cache.try_get_or_compute(other, || async { Err(Told) }).await)
}

/// A caller of `key`, whose compute asks for `other` when the switch is on.
fn asks_later(
    cache: &Cache<u32, u32>,
    key: u32,
    other: u32,
    switch: &Switch,
) -> BoxFuture<'static, Outcome> {
    let (cache, inner, is_on) = (cache.clone(), cache.clone(), switch.is_on());
    let compute = move || async move {
        is_on.await;
        follow(&inner, other).await
    };
    async move { cache.try_get_or_compute(key, compute).await }.boxed()
}

/// Where a compute asks for the next.
#[derive(Clone, Copy, Debug)]
enum Place {
    FirstPoll,
    LaterPoll,
    Closure,
}

/// A caller of `key` whose compute blocks its thread on the next key, which need not have begun.
fn blocks(
    cache: &Cache<u32, u32>,
    keys: Vec<u32>,
    place: Place,
    told: &Arc<AtomicUsize>,
) -> BoxFuture<'static, Outcome> {
    let (cache, told) = (cache.clone(), Arc::clone(told));
    let key = keys[0];
    let closure = {
        let (cache, told) = (cache.clone(), Arc::clone(&told));
        move || {
            let block = move || {
                let mut rest = keys;
                rest.rotate_left(1);
                let result = wait(blocks(&cache, rest, place, &told));
                if matches!(result, Err(ComputeError::Recursive)) {
                    told.fetch_add(1, Ordering::SeqCst);
                }
                pass_on(result)
            };
            let (early, block) = match place {
                Place::Closure => (Some(block()), None),
                _ => (None, Some(block)),
            };
            async move {
                if let Place::LaterPoll = place {
                    steps(2).await;
                }
                early.unwrap_or_else(|| block.expect("not early")())
            }
        }
    };
    async move { cache.try_get_or_compute(key, closure).await }.boxed()
}

#[test]
fn circles_of_computes_that_block_their_threads_all_end() {
    const ROUNDS: u32 = 300;
    for place in [Place::FirstPoll, Place::LaterPoll, Place::Closure] {
        for length in [2_u32, 3, 4] {
            in_time(move || {
                let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
                let barrier = Arc::new(Barrier::new(length as usize));
                let told = Arc::new(AtomicUsize::new(0));
                let threads: Vec<_> = (0..length)
                    .map(|index| {
                        let (cache, told) = (cache.clone(), Arc::clone(&told));
                        let barrier = Arc::clone(&barrier);
                        thread::spawn(move || {
                            for round in 0..ROUNDS {
                                let mut keys: Vec<u32> =
                                    (0..length).map(|key| round * length + key).collect();
                                keys.rotate_left(index as usize);
                                barrier.wait();
                                let outcome = wait(blocks(&cache, keys, place, &told));
                                assert!(is_told(&outcome), "{outcome:?}");
                            }
                        })
                    })
                    .collect();
                for thread in threads {
                    thread.join().expect("no panic");
                }
                assert!(told.load(Ordering::SeqCst) >= ROUNDS as usize, "each round is a circle");
                check(&cache, 0);
            });
        }
    }
}

/// Three threads: the first polls the compute of 1 inside that of 0, where it blocks on 2; whose compute
/// then blocks on 0.
fn a_circle_through_a_nested_poll(first_poll: bool) {
    in_time(move || {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let switch = Switch::default();
        let (begun, is_nested) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (inner, nested, on) = (cache.clone(), Arc::clone(&is_nested), switch.clone());
        let one = move || async move {
            on.is_on().await;
            nested.wait();
            wait(follow(&inner, 2))
        };
        // Begun by somebody who polls it no more, or else by the compute of 0.
        let mut other = cache.try_get_or_compute(1, one.clone()).boxed();
        if !first_poll {
            assert!(poll_once(&mut other).is_none());
        }
        switch.turn_on();
        let (inner, waits) = (cache.clone(), Arc::clone(&begun));
        let first = thread::spawn({
            let cache = cache.clone();
            move || {
                let zero = || async move {
                    waits.wait();
                    pass_on(wait(inner.try_get_or_compute(1, one)))
                };
                wait(cache.try_get_or_compute(0, zero))
            }
        });
        let inner = cache.clone();
        let two = || async move {
            begun.wait();
            is_nested.wait();
            wait(follow(&inner, 0))
        };
        let outcome = wait(cache.try_get_or_compute(2, two));
        assert!(is_told(&outcome), "{outcome:?}");
        assert!(is_told(&first.join().expect("no panic")));
        drop(other);
        check(&cache, 0);
    });
}

#[test]
fn a_circle_is_found_though_a_thread_blocks_in_a_poll_inside_another() {
    for _ in 0..50 {
        a_circle_through_a_nested_poll(false);
    }
}

#[test]
fn a_circle_is_found_though_a_thread_blocks_in_a_first_poll_inside_another() {
    for _ in 0..50 {
        a_circle_through_a_nested_poll(true);
    }
}

#[test]
fn what_a_poll_brings_need_not_be_waited_for() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let (asks, goes_on) = (Switch::default(), Switch::default());
        let mut one = asks_later(&cache, 1, 2, &asks);
        assert!(poll_once(&mut one).is_none());
        // The compute of 2 waits for 1, but not for ever.
        let (inner, is_over) = (cache.clone(), goes_on.is_on());
        let compute = || async move {
            let one = async { follow(&inner, 1).await }.boxed();
            drop(futures::future::select(one, is_over.boxed()).await);
            Ok::<u32, Told>(20)
        };
        let mut two = cache.try_get_or_compute(2, compute).boxed();
        assert!(poll_once(&mut two).is_none());
        goes_on.turn_on();
        asks.turn_on();
        assert_eq!(poll_once(&mut one), Some(Ok(20)), "polled before the circle is looked for");
        assert_eq!(two.await, Ok(20));
        check(&cache, 0);
    });
}

#[test]
fn circles_of_calls_for_many_keys_are_found() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let switch = Switch::default();
        let many = |keys: [u32; 2], others: [u32; 2]| {
            let (cache, inner, is_on) = (cache.clone(), cache.clone(), switch.is_on());
            let compute = move |_: Vec<u32>| async move {
                is_on.await;
                let fallback = |_| async { Err::<HashMap<u32, u32>, _>(Told) };
                pass_on(inner.try_get_or_compute_many(others, fallback).await)
            };
            async move { cache.try_get_or_compute_many(keys, compute).await }.boxed()
        };
        // One asks for a key of the other, and of its own: through a third, a compute of one key.
        let mut callers = [many([1, 2], [2, 3]), many([3, 4], [5, 6])];
        let mut single = asks_later(&cache, 5, 1, &switch);
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        assert!(poll_once(&mut single).is_none());
        check(&cache, 5);
        switch.turn_on();
        let [first, second] = callers;
        let (first, second, single) = futures::join!(first, second, single);
        assert!(matches!(first, Err(ComputeError::Failed(_))));
        assert!(matches!(second, Err(ComputeError::Failed(_))));
        assert!(is_told(&single));
        check(&cache, 0);
    });
}

#[test]
fn circles_of_detached_computes_are_found() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let switch = Switch::default();
        let detached = |key: u32, other: u32| {
            let (cache, inner, is_on) = (cache.clone(), cache.clone(), switch.is_on());
            let compute = move || async move {
                is_on.await;
                follow(&inner, other).await
            };
            async move { cache.entry(key).detached().try_get_or_compute(compute).await }.boxed()
        };
        let mut callers = [detached(1, 2), detached(2, 3), detached(3, 1)];
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        switch.turn_on();
        assert!(join_all(callers).await.iter().all(is_told));
        check(&cache, 0);
    });
}

/// Runs each task at once where it is spawned or woken, inside whatever is being polled there.
struct OnTheSpot;

impl Spawner for OnTheSpot {
    fn spawn(&self, task: Task) {
        drop(Inline::start(task));
    }
}

impl Timer for OnTheSpot {
    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(pending())
    }
}

#[test]
fn a_refresh_is_no_part_of_the_compute_that_sets_it_off() {
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder()
            .ttl(Duration::from_nanos(1))
            .stale_while_revalidate(Duration::from_secs(3600))
            .runtime(OnTheSpot)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        let (inner, switch) = (cache.clone(), Switch::default());
        let is_on = switch.is_on();
        let compute = || async move {
            let back = inner.clone();
            // It asks for the very compute that has set it off, and waits for that.
            let renew = || async move { follow(&back, 2).await };
            let old = inner.try_get_or_compute(1, renew).await;
            assert_eq!(old, Ok(1));
            is_on.await;
            Ok::<u32, Told>(20)
        };
        let mut outer = cache.try_get_or_compute(2, compute).boxed();
        assert!(poll_once(&mut outer).is_none());
        check(&cache, 2);
        switch.turn_on();
        assert_eq!(wait(outer), Ok(20));
        let stats = cache.stats();
        assert_eq!((stats.refreshes, stats.compute_failures), (1, 0));
        check(&cache, 0);
    });
}

#[test]
fn a_refresh_that_closes_a_circle_is_told_so_and_the_value_stays() {
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder()
            .ttl(Duration::from_nanos(1))
            .stale_while_revalidate(Duration::from_secs(3600))
            .runtime(OnTheSpot)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        let switch = Switch::default();
        // The refresh of 1 waits for 2, whose compute asks for a newer 1.
        let (inner, is_on) = (cache.clone(), switch.is_on());
        let compute = || async move {
            is_on.await;
            pass_on(inner.try_refresh(1, || async { Err(Told) }).await)
        };
        let mut two = cache.try_get_or_compute(2, compute).boxed();
        assert!(poll_once(&mut two).is_none());
        let inner = cache.clone();
        let renew = || async move { follow(&inner, 2).await };
        assert_eq!(wait(cache.try_get_or_compute(1, renew)), Ok(1));
        check(&cache, 2);
        switch.turn_on();
        assert!(is_told(&wait(two)));
        assert_eq!(wait(cache.try_get_or_compute(1, || async { Err(Told) })), Ok(1), "as before");
        assert_eq!(cache.stats().compute_failures, 2);
        check(&cache, 0);
    });
}
