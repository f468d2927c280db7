//! Computes that ask for what is being computed: told so when they wait for themselves, and left
//! alone when they do not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all, select};

use crate::flights::{
    Alarm, OneHash, Switch, Wakes, WokenFromAfar, in_time, on_every_runtime, poll_for, steps, wait,
};
use crate::support::{Gate, Host, check, poll_once};

/// What the computes of these tests yield when all goes well, and why they have no value else.
type Outcome = Result<u32, ComputeError<Told>>;

/// A compute was told that it waits for itself, at this key.
#[derive(Debug, PartialEq, Eq)]
struct Told(u32);

fn new_cache(host: &Host) -> Cache<u32, u32> {
    host.builder().build().expect("valid settings")
}

/// Asks for `key`, whose compute asks for the next of `path` in turn, and adds one.
fn follow(cache: Cache<u32, u32>, key: u32, mut path: Vec<u32>) -> BoxFuture<'static, Outcome> {
    let others = cache.clone();
    let compute = move || async move {
        if path.is_empty() {
            return Ok(0);
        }
        let next = path.remove(0);
        match follow(others, next, path).await {
            Ok(value) => Ok(value + 1),
            Err(ComputeError::Recursive) => Err(Told(next)),
            Err(ComputeError::Failed(error)) => Err(Told(error.0)),
            Err(other) => panic!("{other:?}"),
        }
    };
    async move { cache.try_get_or_compute(key, compute).await }.boxed()
}

fn told(outcome: Outcome) -> u32 {
    match outcome {
        Err(ComputeError::Failed(told)) => told.0,
        other => panic!("expected to be told of a circle, got {other:?}"),
    }
}

/// The error that a compute gets is what it returns.
fn pass_on<V>(result: Result<V, ComputeError<Told>>) -> Result<V, Told> {
    result.map_err(|error| match error {
        ComputeError::Recursive => Told(0),
        ComputeError::Failed(told) => Told(told.0),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_compute_that_asks_for_its_own_key_is_told_so() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        assert_eq!(told(follow(cache.clone(), 1, vec![1]).await), 1);
        check(&cache, 0);
        assert_eq!(cache.get(&1), None);
        assert_eq!(follow(cache.clone(), 1, vec![]).await.ok(), Some(0), "the key is free");
        check(&cache, 0);
    });
}

#[test]
fn a_compute_may_go_on_after_it_was_told() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let own = cache.clone();
        let compute = || async move {
            let again = own.try_get_or_compute(1, || async { Ok::<_, Told>(5) }).await;
            assert!(matches!(again, Err(ComputeError::Recursive)));
            steps(3).await;
            let lent = own.entry_ref(&1).try_get_or_compute(|| async { Ok::<_, Told>(5) }).await;
            assert!(matches!(lent, Err(ComputeError::Recursive)));
            7
        };
        assert_eq!(cache.get_or_compute(1, compute).await, 7);
        assert_eq!(cache.get(&1), Some(7));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures), (1, 0));
        check(&cache, 0);
    });
}

#[test]
fn without_try_the_circle_is_a_panic_that_says_so() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let own = cache.clone();
        let compute = || async move { Ok::<_, Told>(own.get_or_compute(1, || async { 5 }).await) };
        let panicked = cache.try_get_or_compute(1, compute).await;
        match panicked {
            Err(ComputeError::Panicked(message)) => {
                assert!(message.contains("asked for that same key"), "{message}");
            }
            other => panic!("expected a panic, got {other:?}"),
        }
        check(&cache, 0);
    });
}

#[test]
fn a_circle_through_other_keys_is_found() {
    on_every_runtime(async |host| {
        for length in 1..10 {
            let cache = new_cache(&host);
            let circle: Vec<u32> = (1..length).chain([0]).collect();
            assert_eq!(told(follow(cache.clone(), 0, circle).await), 0);
            check(&cache, 0);
            // Not at its begin, too.
            let loop_in_the_end: Vec<u32> = (1..=length).chain([length]).collect();
            assert_eq!(told(follow(cache.clone(), 0, loop_in_the_end).await), length);
            check(&cache, 0);
        }
    });
}

#[test]
fn a_circle_through_another_cache_is_found() {
    on_every_runtime(async |host| {
        let names: Cache<u32, String> = host.builder().build().expect("valid settings");
        let numbers = new_cache(&host);
        let (inner_names, inner_numbers) = (names.clone(), numbers.clone());
        let compute = || async move {
            let compute = || async move {
                let name = inner_names.try_get_or_compute(1, || async { Ok(String::new()) }).await;
                pass_on(name).map(|_| 1)
            };
            pass_on(inner_numbers.try_get_or_compute(1, compute).await).map(|_| String::new())
        };
        let circle = names.try_get_or_compute(1, compute).await;
        assert_eq!(circle.expect_err("a circle").failed(), Some(&Told(0)));
        check(&names, 0);
        check(&numbers, 0);
    });
}

#[test]
fn the_same_key_of_another_cache_is_no_circle() {
    on_every_runtime(async |host| {
        let (outer, inner) = (new_cache(&host), new_cache(&host));
        let nested = inner.clone();
        let compute = || async move { nested.get_or_compute(1, || async { 1 }).await + 1 };
        assert_eq!(outer.get_or_compute(1, compute).await, 2);
        check(&outer, 0);
        check(&inner, 0);
    });
}

#[test]
fn keys_of_one_hash_are_no_circle() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32, OneHash> =
            host.builder().hasher(OneHash).build().expect("valid settings");
        let nested = cache.clone();
        let compute = || async move { nested.get_or_compute(2, || async { 1 }).await + 1 };
        assert_eq!(cache.get_or_compute(1, compute).await, 2);
        check(&cache, 0);
    });
}

#[test]
fn computes_nest_a_hundred_deep_in_a_cache_of_one_entry() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().max_size(1).build().expect("valid settings");
        assert_eq!(follow(cache.clone(), 0, (1..=100).collect()).await.ok(), Some(100));
        assert_eq!((cache.len(), cache.get(&0)), (1, Some(100)));
        assert_eq!(cache.stats().evictions, 100);
        check(&cache, 0);
    });
}

#[test]
fn nested_computes_that_wait_are_woken_through_all_levels() {
    const DEPTH: u32 = 100;
    fn nest(cache: Cache<u32, u32>, level: u32, switch: Switch) -> BoxFuture<'static, u32> {
        let inner = cache.clone();
        let compute = move || async move {
            if level == DEPTH {
                switch.is_on().await;
                return 0;
            }
            nest(inner, level + 1, switch).await + 1
        };
        async move { cache.get_or_compute(level, compute).await }.boxed()
    }
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let switch = Switch::default();
        let mut caller = nest(cache.clone(), 0, switch.clone());
        let wakes = Wakes::new();
        assert!(poll_for(&mut caller, &wakes).is_none());
        check(&cache, 101);
        switch.turn_on();
        assert_eq!(wakes.count(), 1);
        assert_eq!(poll_for(&mut caller, &wakes), Some(100));
        check(&cache, 0);
        // And dropped through all levels.
        cache.clear();
        let mut caller = nest(cache.clone(), 0, Switch::default());
        assert!(poll_once(&mut caller).is_none());
        check(&cache, 101);
        drop(caller);
        check(&cache, 0);
    });
}

#[test]
fn a_diamond_is_no_circle() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let inner = cache.clone();
        let compute = || async move {
            let left = follow(inner.clone(), 2, vec![4]);
            let right = follow(inner.clone(), 3, vec![4]);
            let (left, right, bottom) = futures::join!(left, right, follow(inner, 4, vec![]));
            Ok::<_, Told>(pass_on(left)? + pass_on(right)? + pass_on(bottom)?)
        };
        assert_eq!(cache.try_get_or_compute(1, compute).await.ok(), Some(2));
        check(&cache, 0);
    });
}

#[test]
fn many_computes_may_wait_for_one() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let switch = Switch::default();
        let mut callers: Vec<_> = (10..40)
            .map(|key| {
                let (inner, switch) = (cache.clone(), switch.clone());
                let compute = move || async move {
                    let base = inner.get_or_compute(1, || switch.is_on().map(|()| 5)).await;
                    let again = inner.get_or_compute(1, || async { 6 }).await;
                    base + again + key
                };
                cache.get_or_compute(key, compute).boxed()
            })
            .collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        check(&cache, 31);
        switch.turn_on();
        assert_eq!(join_all(callers).await, (20..50).collect::<Vec<_>>());
        check(&cache, 0);
    });
}

/// A caller of `key`, whose compute asks for `other` when the switch is on.
fn asks_later(
    cache: &Cache<u32, u32>,
    switch: &Switch,
    key: u32,
    other: u32,
) -> BoxFuture<'static, Outcome> {
    let (cache, inner, is_on) = (cache.clone(), cache.clone(), switch.is_on());
    let compute = move || async move {
        is_on.await;
        let fallback = || async { Ok::<_, Told>(100) };
        pass_on(inner.try_get_or_compute(other, fallback).await)
    };
    async move { cache.try_get_or_compute(key, compute).await }.boxed()
}

#[test]
fn a_circle_that_several_tasks_close_is_found() {
    on_every_runtime(async |host| {
        for length in 2..6 {
            let cache = new_cache(&host);
            let switch = Switch::default();
            let mut callers: Vec<_> = (0..length)
                .map(|key| asks_later(&cache, &switch, key, (key + 1) % length))
                .collect();
            assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
            switch.turn_on();
            let outcomes = join_all(callers).await;
            // Only the one that closed the circle was told; the others have its error from it.
            assert!(outcomes.into_iter().all(|outcome| told(outcome) == 0));
            check(&cache, 0);
            assert_eq!(
                follow(cache.clone(), 0, (1..length).collect()).await.ok(),
                Some(length - 1)
            );
            check(&cache, 0);
        }
    });
}

#[test]
fn a_circle_is_found_by_the_task_that_closes_it() {
    on_every_runtime(async |host| {
        for length in 2..6 {
            let cache = new_cache(&host);
            let switches: Vec<_> = (0..length).map(|_| Switch::default()).collect();
            let mut callers: Vec<_> = (0..length)
                .zip(&switches)
                .map(|(key, switch)| asks_later(&cache, switch, key, (key + 1) % length))
                .collect();
            assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
            // One after the other begins to wait for the next, which is not being polled then.
            let mut last = callers.pop().expect("there are callers");
            for (caller, switch) in callers.iter_mut().zip(&switches) {
                switch.turn_on();
                assert!(poll_once(caller).is_none(), "no circle yet");
            }
            switches.iter().for_each(Switch::turn_on);
            assert_eq!(told(poll_once(&mut last).expect("told at once")), 0);
            for outcome in join_all(callers).await {
                assert_eq!(told(outcome), 0, "from the one that was told");
            }
            drop(last);
            check(&cache, 0);
        }
    });
}

#[test]
fn a_wait_that_was_given_up_is_no_part_of_a_circle() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let (leaves, ends, asks) = (Switch::default(), Switch::default(), Switch::default());
        // The compute of 1 waits for 2, gives that up, and goes on.
        let (inner, given_up, may_end) = (cache.clone(), leaves.is_on(), ends.is_on());
        let compute = || async move {
            let two = inner.try_get_or_compute(2, || async { Err(Told(9)) }).boxed();
            drop(select(two, given_up.boxed()).await);
            may_end.await;
            10
        };
        let mut two = asks_later(&cache, &asks, 2, 1);
        assert!(poll_once(&mut two).is_none());
        let mut one = cache.get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut one).is_none());
        check(&cache, 2);
        leaves.turn_on();
        assert!(poll_once(&mut one).is_none());
        // Now the same compute of 2 may wait for 1.
        asks.turn_on();
        assert!(poll_once(&mut two).is_none());
        check(&cache, 2);
        ends.turn_on();
        assert_eq!(two.await.ok(), Some(10));
        assert_eq!(one.await, 10);
        check(&cache, 0);
    });
}

#[test]
fn a_wait_that_is_over_is_no_part_of_a_circle() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let (first, second) = (Switch::default(), Switch::default());
        let (inner, is_on, goes_on) = (cache.clone(), first.is_on(), second.is_on());
        let compute = || async move {
            let two = inner.get_or_compute(2, || is_on.map(|()| 20)).await;
            goes_on.await;
            two + 1
        };
        let mut one = cache.get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut one).is_none());
        first.turn_on();
        assert!(poll_once(&mut one).is_none());
        cache.remove(&2);
        let two = follow(cache.clone(), 2, vec![1]);
        second.turn_on();
        let (one, two) = futures::join!(one, two);
        assert_eq!((one, two.ok()), (21, Some(22)));
        check(&cache, 0);
    });
}

#[test]
fn a_caller_that_waits_for_two_keys_is_no_circle() {
    on_every_runtime(async |host| {
        // No compute: nothing waits for the caller itself.
        let cache = new_cache(&host);
        let switch = Switch::default();
        let ask = |key: u32| {
            let is_on = switch.is_on();
            cache.get_or_compute(key, move || is_on.map(move |()| key)).boxed()
        };
        let mut callers = vec![ask(1), ask(2), ask(1), ask(2)];
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        switch.turn_on();
        assert_eq!(join_all(callers).await, [1, 2, 1, 2]);
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_frees_its_own_key_may_ask_for_it() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let own = cache.clone();
        let compute = || async move {
            own.remove(&1);
            own.get_or_compute(1, || async { 5 }).await + 1
        };
        assert_eq!(cache.get_or_compute(1, compute).await, 6);
        assert_eq!(cache.get(&1), Some(5), "the later compute's");
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_stored_its_own_key_reads_it() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let own = cache.clone();
        let compute = || async move {
            assert_eq!(own.get(&1), None);
            own.insert(1, 5);
            own.get_or_compute(1, || async { 6 }).await + 1
        };
        assert_eq!(cache.get_or_compute(1, compute).await, 6);
        assert_eq!(cache.get(&1), Some(5));
        check(&cache, 0);
    });
}

#[test]
fn code_that_blocks_on_its_own_key_is_told_so() {
    type Ask = fn(&Cache<u32, u32>) -> bool;
    let ask: Ask = |cache| {
        let own = wait(cache.try_get_or_compute(1, || async { Ok::<_, Told>(5) }));
        matches!(own, Err(ComputeError::Recursive))
    };
    on_every_runtime(async move |host| {
        let cache = new_cache(&host);
        // The closure.
        let closure = || {
            assert!(ask(&cache));
            async { 1 }
        };
        assert_eq!(cache.get_or_compute(1, closure).await, 1);
        cache.remove(&1);
        // The compute.
        let own = cache.clone();
        let compute = || async move {
            steps(2).await;
            assert!(ask(&own));
            2
        };
        assert_eq!(cache.get_or_compute(1, compute).await, 2);
        cache.remove(&1);
        // The closure that tells the TTL.
        let own = cache.clone();
        let entry = cache.entry(1).ttl_with(move |_| {
            assert!(ask(&own));
            Duration::MAX
        });
        assert_eq!(entry.get_or_compute(|| async { 3 }).await, 3);
        // The compute of another key, on which the closure blocks.
        cache.remove(&1);
        let own = cache.clone();
        let closure = || {
            let compute = || async move { if ask(&own) { 4 } else { 0 } };
            let other = wait(cache.get_or_compute(2, compute));
            async move { other }
        };
        assert_eq!(cache.get_or_compute(1, closure).await, 4);
        check(&cache, 0);
    });
}

#[test]
fn a_circle_ends_also_for_those_who_only_watch() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let switch = Switch::default();
        let mut callers =
            vec![asks_later(&cache, &switch, 1, 2), asks_later(&cache, &switch, 2, 1)];
        // These join the computes, and a third compute waits for one of them.
        callers.push(follow(cache.clone(), 1, vec![]));
        callers.push(follow(cache.clone(), 2, vec![]));
        callers.push(follow(cache.clone(), 3, vec![1]));
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        check(&cache, 3);
        switch.turn_on();
        assert!(join_all(callers).await.into_iter().all(|outcome| told(outcome) == 0));
        check(&cache, 0);
    });
}

#[test]
fn a_compute_whose_caller_is_parked_may_be_waited_for() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let gate = Gate::new();
        // The compute of 1 waits for 2, and its only caller is never polled again.
        let (inner, passed) = (cache.clone(), gate.passed());
        let compute = || async move { inner.get_or_compute(2, || passed.map(|()| 20)).await };
        let mut one = cache.get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut one).is_none());
        // The compute of 3 waits for 1, and what 2 is waiting for has nothing to do with it.
        let mut three = follow(cache.clone(), 3, vec![1]);
        assert!(poll_once(&mut three).is_none());
        check(&cache, 3);
        gate.open();
        assert_eq!(three.await.ok(), Some(21));
        assert_eq!(one.await, 20);
        check(&cache, 0);
    });
}

#[test]
fn tasks_of_the_runtime_that_close_a_circle_all_end() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        for round in 0..50 {
            let switch = Switch::default();
            let key = |index: u32| round * 10 + index % 3;
            let tasks: Vec<_> = (0..3)
                .map(|index| host.spawn(asks_later(&cache, &switch, key(index), key(index + 1))))
                .collect();
            steps((round % 4) as usize).await;
            switch.turn_on();
            join_all(tasks).await;
            check(&cache, 0);
        }
    });
}

#[test]
fn closures_and_computes_that_block_on_each_others_key_all_end() {
    const ROUNDS: u32 = 1_000;
    for in_closure in [[true, true], [true, false], [false, false]] {
        in_time(move || {
            let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
            let barrier = Arc::new(Barrier::new(2));
            let threads = [0, 1].map(|index| {
                let (cache, barrier) = (cache.clone(), Arc::clone(&barrier));
                let blocks_in_closure = in_closure[index as usize];
                thread::spawn(move || {
                    for round in 0..ROUNDS {
                        let (own, other) = (round * 2 + index, round * 2 + 1 - index);
                        let inner = cache.clone();
                        let block = move || {
                            let fallback = || async { Ok::<_, Told>(7) };
                            pass_on(wait(inner.try_get_or_compute(other, fallback)))
                        };
                        barrier.wait();
                        let closure = || {
                            let early = blocks_in_closure.then(&block);
                            async move { early.unwrap_or_else(block) }
                        };
                        drop(wait(cache.try_get_or_compute(own, closure)));
                    }
                })
            });
            for thread in threads {
                thread.join().expect("no panic");
            }
            check(&cache, 0);
        });
    }
}

#[test]
fn threads_that_collide_in_a_circle_all_end() {
    const ROUNDS: u32 = 3_000;
    for length in [2_u32, 3] {
        in_time(move || {
            let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
            let alarm = WokenFromAfar::alarm();
            let barrier = Arc::new(Barrier::new(length as usize));
            let told = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..length)
                .map(|index| {
                    let (cache, barrier) = (cache.clone(), Arc::clone(&barrier));
                    let (alarm, told) = (Arc::clone(&alarm), Arc::clone(&told));
                    thread::spawn(move || {
                        for round in 0..ROUNDS {
                            let key = |index| round * 4 + index % length;
                            let (inner, alarm) = (cache.clone(), Arc::clone(&alarm));
                            let (told, next) = (Arc::clone(&told), key(index + 1));
                            let compute = move || async move {
                                WokenFromAfar::new((round % 3) as usize, &alarm).await;
                                let fallback = || async { Ok::<_, Told>(100) };
                                let result = inner.try_get_or_compute(next, fallback).await;
                                if matches!(result, Err(ComputeError::Recursive)) {
                                    told.fetch_add(1, Ordering::SeqCst);
                                }
                                pass_on(result)
                            };
                            barrier.wait();
                            drop(wait(cache.try_get_or_compute(key(index), compute)));
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().expect("no panic");
            }
            println!("{} circles of {ROUNDS}", told.load(Ordering::SeqCst));
            check(&cache, 0);
        });
    }
}

#[test]
fn threads_that_collide_on_a_tree_are_told_of_no_circle() {
    const ROUNDS: u32 = 2_000;
    in_time(|| {
        // Every key asks for smaller ones only.
        fn ask(
            cache: Cache<u32, u32>,
            base: u32,
            key: u32,
            alarm: Arc<Alarm>,
        ) -> BoxFuture<'static, u32> {
            let inner = cache.clone();
            let compute = move || async move {
                WokenFromAfar::new((key % 2) as usize, &alarm).await;
                let below = (0..key).map(|key| ask(inner.clone(), base, key, Arc::clone(&alarm)));
                join_all(below.collect::<Vec<_>>()).await.iter().sum::<u32>() + 1
            };
            async move { cache.get_or_compute(base + key, compute).await }.boxed()
        }
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let alarm = WokenFromAfar::alarm();
        let barrier = Arc::new(Barrier::new(3));
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (cache, barrier) = (cache.clone(), Arc::clone(&barrier));
                let alarm = Arc::clone(&alarm);
                thread::spawn(move || {
                    for round in 0..ROUNDS {
                        let key = 3 + (round + thread) % 3;
                        barrier.wait();
                        let value = wait(ask(cache.clone(), round * 8, key, Arc::clone(&alarm)));
                        assert_eq!(value, 1 << key);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no circle");
        }
        check(&cache, 0);
    });
}
