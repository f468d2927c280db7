//! Values past their time to live: held for the grace, seen by compute calls only, and then freed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;

use crate::support::{Gate, VirtualTime, check, in_virtual_time, on_every_runtime, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// TTL 10 s, served for 5 s more, and standing in for 20 s more.
fn new_cache(time: &VirtualTime) -> Cache<u32, u32> {
    time.builder()
        .ttl(10 * SECOND)
        .stale_while_revalidate(5 * SECOND)
        .stale_if_error(20 * SECOND)
        .build()
        .expect("valid settings")
}

async fn fail<V: Clone + Send + Sync + 'static>(
    cache: &Cache<u32, V>,
) -> Result<V, ComputeError<&'static str>> {
    cache.try_get_or_compute(1, || async { Err("down") }).await
}

fn down<V>() -> Result<V, ComputeError<&'static str>> {
    Err(ComputeError::Failed(Arc::new("down")))
}

#[test]
fn calls_that_do_not_compute_never_see_them() {
    in_virtual_time(async |time| {
        let late = [10 * SECOND, 12 * SECOND, 16 * SECOND, 29 * SECOND];
        for past in late {
            let cache = new_cache(&time);
            for key in 1..=10 {
                cache.insert(key, key);
            }
            time.advance(past).await;
            assert_eq!((cache.len(), cache.is_empty()), (10, false));
            assert_eq!(
                (cache.get(&1), cache.peek(&1), cache.contains_key(&1)),
                (None, None, false)
            );
            assert_eq!(cache.get_many([&1, &2]), [None, None]);
            assert_eq!(cache.iter().count(), 0);
            assert_eq!(cache.remove_if(&2, |_| panic!("nothing to ask about")), None);
            assert_eq!(cache.len(), 10, "all that was for compute calls is still there");
            assert_eq!(cache.remove(&3), None);
            assert_eq!(cache.insert(4, 40), None);
            assert_eq!(cache.entry(5).insert(50), None);
            assert_eq!(cache.entry_ref(&6).insert(60), None);
            assert_eq!(cache.entry(7).or_insert(70), 70);
            assert_eq!(cache.entry_ref(&8).or_insert(80), 80);
            assert_eq!(cache.len(), 9, "removed and replaced");
            let mut values: Vec<_> = cache.iter().map(|(_, value)| value).collect();
            values.sort_unstable();
            assert_eq!(values, [40, 50, 60, 70, 80]);
            cache.clear();
            assert_eq!(cache.len(), 0);
            check(&cache, 0);
        }
    });
}

#[test]
fn they_are_held_for_the_longest_grace_and_then_freed_in_the_background() {
    in_virtual_time(async |time| {
        for (revalidate, error) in [(0, 20), (20, 0), (5, 20), (20, 5)] {
            let cache: Cache<u32, Arc<u32>> = time
                .builder()
                .ttl(10 * SECOND)
                .stale_while_revalidate(revalidate * SECOND)
                .stale_if_error(error * SECOND)
                .build()
                .expect("valid settings");
            let values: Vec<_> = (0..1_000).map(Arc::new).collect();
            let held: Vec<Weak<u32>> = values.iter().map(Arc::downgrade).collect();
            (0..).zip(values).for_each(|(key, value)| drop(cache.insert(key, value)));
            time.advance((30 * SECOND).saturating_sub(MILLISECOND)).await;
            assert_eq!((cache.len(), cache.cleanup()), (1_000, 0));
            time.advance(MILLISECOND).await;
            assert_eq!(cache.len(), 0);
            assert!(held.iter().all(|value| value.upgrade().is_none()));
            assert_eq!((cache.stats().expirations, cache.stats().evictions), (1_000, 0));
            check(&cache, 0);
        }
    });
}

#[test]
fn without_a_runtime_a_cleanup_frees_them_when_their_time_is_over() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.close().await;
        for key in 0..1_000 {
            cache.insert(key, key);
        }
        time.advance((30 * SECOND).saturating_sub(MILLISECOND)).await;
        assert_eq!((cache.cleanup(), cache.len()), (0, 1_000));
        time.advance(MILLISECOND).await;
        assert_eq!(cache.len(), 1_000);
        assert_eq!((cache.cleanup(), cache.len()), (1_000, 0));
        check(&cache, 0);
    });
}

#[test]
fn each_time_to_live_has_its_own_grace() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.entry(1).ttl(100 * SECOND).insert(1);
        cache.entry(2).ttl(MILLISECOND).insert(2);
        time.advance(20 * SECOND).await;
        assert_eq!(cache.len(), 2);
        time.advance(MILLISECOND).await;
        assert_eq!(cache.len(), 1);
        // A value that lives shorter than the one it replaces.
        cache.entry(1).ttl(MILLISECOND).insert(1);
        time.advance(20 * SECOND).await;
        assert_eq!((cache.len(), fail(&cache).await), (1, Ok(1)));
        time.advance(MILLISECOND).await;
        assert_eq!((cache.len(), fail(&cache).await), (0, down()));
    });
}

#[test]
fn a_grace_without_end_holds_them_for_ever() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(10 * SECOND)
            .stale_if_error(Duration::MAX)
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        time.advance(1_000_000 * SECOND).await;
        assert_eq!((cache.cleanup(), cache.len(), cache.get(&1)), (0, 1, None));
        assert_eq!(fail(&cache).await, Ok(1));
        check(&cache, 0);
    });
}

#[test]
fn the_bound_holds_with_them() {
    in_virtual_time(async |time| {
        for max_size in [1, 10, 1_000, 3_000] {
            let cache: Cache<u32, u32> = time
                .builder()
                .ttl(10 * SECOND)
                .stale_while_revalidate(1_000 * SECOND)
                .max_size(max_size)
                .build()
                .expect("valid settings");
            let count = u32::try_from(max_size).expect("a small number");
            (0..count).for_each(|key| _ = cache.insert(key, key));
            time.advance(11 * SECOND).await;
            assert_eq!(cache.len(), max_size);
            for key in count..3 * count {
                cache.insert(key, key);
                assert!(cache.len() <= max_size);
            }
            assert_eq!(cache.len(), max_size);
            assert!(cache.stats().evictions >= u64::from(count));
            // A renewed value takes up no second place.
            time.advance(11 * SECOND).await;
            for key in 2 * count..3 * count {
                cache.get_or_compute(key, || async move { key }).await;
                assert!(cache.len() <= max_size);
            }
            time.advance(Duration::ZERO).await;
            // In one shard the last ones that came are there.
            assert!(max_size > 1_000 || cache.stats().refreshes == u64::from(count));
            assert_eq!(cache.len(), max_size);
            check(&cache, 0);
        }
    });
}

#[test]
fn a_value_that_is_evicted_while_it_is_renewed_is_stored_anew() {
    in_virtual_time(async |time| {
        let builder = time.builder().ttl(10 * SECOND).stale_while_revalidate(100 * SECOND);
        let cache: Cache<u32, u32> = builder.max_size(2).build().expect("valid settings");
        cache.insert(1, 1);
        time.advance(11 * SECOND).await;
        let gate = Gate::new();
        let passed = gate.passed();
        assert_eq!(cache.get_or_compute(1, || passed.map(|()| 2)).await, 1);
        cache.insert(3, 3);
        cache.insert(4, 4);
        assert_eq!(cache.len(), 2);
        let mut joins = cache.get_or_compute(1, || async { unreachable!() }).boxed();
        assert!(poll_once(&mut joins).is_none(), "there is nothing to hand out any more");
        gate.open();
        assert_eq!((joins.await, cache.get(&1), cache.len()), (2, Some(2), 2));
        check(&cache, 0);
    });
}

#[test]
fn they_are_served_and_stand_in_to_the_very_end_of_their_time() {
    in_virtual_time(async |time| {
        // Past the TTL: served, or standing in, or gone.
        let cases: [(Duration, Result<u32, ComputeError<_>>, u64); 6] = [
            (Duration::ZERO, Ok(1), 1),
            ((5 * SECOND).saturating_sub(MILLISECOND), Ok(1), 1),
            (5 * SECOND, Ok(1), 1),
            ((20 * SECOND).saturating_sub(MILLISECOND), Ok(1), 1),
            (20 * SECOND, down(), 0),
            (40 * SECOND, down(), 0),
        ];
        for (past, expected, stale_hits) in cases {
            let cache = new_cache(&time);
            cache.insert(1, 1);
            time.advance(10 * SECOND + past).await;
            let gate = Gate::new();
            let passed = gate.passed();
            let compute = || async move {
                passed.await;
                Err::<u32, _>("down")
            };
            let mut caller = cache.try_get_or_compute(1, compute).boxed();
            let at_once = poll_once(&mut caller);
            let is_served = past < 5 * SECOND;
            assert_eq!(at_once.is_some(), is_served, "{past:?} past the TTL");
            gate.open();
            let answer = match at_once {
                Some(answer) => answer,
                None => caller.await,
            };
            time.advance(Duration::ZERO).await;
            assert_eq!(answer, expected, "{past:?} past the TTL");
            let stats = cache.stats();
            assert_eq!((stats.stale_hits, stats.misses), (stale_hits, 1 - stale_hits));
            assert_eq!((stats.computes, stats.compute_failures), (1, 1));
            assert_eq!(stats.refreshes, u64::from(is_served), "where nobody had to wait");
            check(&cache, 0);
        }
    });
}

#[test]
fn one_whose_time_ends_while_the_compute_runs_does_not_stand_in() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.insert(1, 1);
        time.advance(29 * SECOND).await;
        let gate = Gate::new();
        let passed = gate.passed();
        let compute = || async move {
            passed.await;
            Err::<u32, _>("down")
        };
        let mut caller = cache.try_get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut caller).is_none());
        time.advance(SECOND).await;
        gate.open();
        assert_eq!(caller.await, down());
        assert_eq!((cache.stats().stale_hits, cache.stats().misses), (0, 1));
    });
}

#[test]
fn one_stands_in_for_a_panic_and_for_a_compute_that_takes_too_long() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.insert(1, 1);
        time.advance(20 * SECOND).await;
        assert_eq!(cache.get_or_compute(1, || async { panic!("bang") }).await, 1);
        let made = cache.get_or_compute(1, || -> std::future::Ready<u32> { panic!("bang") });
        assert_eq!(made.await, 1);
        let entry = cache.entry(1).timeout(SECOND);
        let mut hung = entry.get_or_compute(std::future::pending).boxed();
        assert!(poll_once(&mut hung).is_none());
        time.advance(SECOND).await;
        assert_eq!(hung.await, 1);
        let stats = cache.stats();
        assert_eq!((stats.stale_hits, stats.misses), (3, 0));
        assert_eq!((stats.computes, stats.compute_failures, stats.timeouts), (3, 2, 1));
        check(&cache, 0);
    });
}

#[test]
fn all_who_wait_get_the_value_that_stands_in() {
    on_every_runtime(async |host| {
        let builder = host.builder().ttl(Duration::from_nanos(1));
        let cache: Cache<u32, u32> =
            builder.stale_if_error(3600 * SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        let gate = Gate::new();
        let passed = gate.passed();
        let compute = || async move {
            passed.await;
            Err::<u32, _>("down")
        };
        let mut leads = cache.try_get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut leads).is_none());
        let mut joins = cache.get_or_compute(1, || async { unreachable!() }).boxed();
        assert!(poll_once(&mut joins).is_none());
        let mut refreshes = cache.try_refresh(1, || async { Ok::<u32, &str>(0) }).boxed();
        assert!(poll_once(&mut refreshes).is_none());
        gate.open();
        let (leads, joins, refreshes) = futures::join!(leads, joins, refreshes);
        assert_eq!((leads, joins), (Ok(1), 1));
        assert_eq!(refreshes, down(), "no old value for who asks for a new one");
        let stats = cache.stats();
        assert_eq!((stats.stale_hits, stats.misses, stats.coalesced), (2, 1, 2));
        assert_eq!(stats.requests(), 3);
        check(&cache, 0);
    });
}

#[test]
fn one_that_was_written_over_or_removed_does_not_stand_in() {
    type Write = fn(&Cache<u32, u32>);
    let writes: [(Write, Option<u32>); 4] = [
        (|cache| _ = cache.insert(1, 2), Some(2)),
        (|cache| _ = cache.entry_ref(&1).insert(2), Some(2)),
        (|cache| _ = cache.remove(&1), None),
        (Cache::clear, None),
    ];
    on_every_runtime(async move |host| {
        for (write, left) in writes {
            let builder = host.builder().ttl(3600 * SECOND);
            let cache: Cache<u32, u32> =
                builder.stale_if_error(3600 * SECOND).build().expect("valid settings");
            cache.entry(1).ttl(Duration::from_nanos(1)).insert(1);
            let gate = Gate::new();
            let passed = gate.passed();
            let compute = || async move {
                passed.await;
                Err::<u32, _>("down")
            };
            let mut caller = cache.try_get_or_compute(1, compute).boxed();
            assert!(poll_once(&mut caller).is_none());
            write(&cache);
            gate.open();
            assert_eq!(caller.await, down());
            assert_eq!(cache.peek(&1), left);
            assert_eq!((cache.stats().stale_hits, cache.stats().misses), (0, 1));
            check(&cache, 0);
        }
    });
}

#[test]
fn a_compute_is_handed_the_value_that_it_renews() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(10 * SECOND)
            .refresh_after(5 * SECOND)
            .stale_while_revalidate(10 * SECOND)
            .stale_if_error(20 * SECOND)
            .build()
            .expect("valid settings");
        let revalidate = async |value| {
            let handed = Arc::new(std::sync::Mutex::new(Vec::new()));
            let noted = Arc::clone(&handed);
            let compute = move |stale| async move {
                noted.lock().expect("not poisoned").push(stale);
                value
            };
            let got = cache.entry_ref(&1).get_or_revalidate(compute).await;
            time.advance(Duration::ZERO).await;
            let handed = handed.lock().expect("not poisoned").clone();
            (got, handed)
        };
        assert_eq!(revalidate(1).await, (1, vec![None]), "there is none");
        assert_eq!(revalidate(0).await, (1, vec![]), "a fresh one");
        time.advance(5 * SECOND).await;
        assert_eq!(revalidate(2).await, (1, vec![Some(1)]), "an old one");
        time.advance(15 * SECOND).await;
        assert_eq!(revalidate(3).await, (2, vec![Some(2)]), "one past its TTL");
        time.advance(20 * SECOND).await;
        assert_eq!(revalidate(4).await, (4, vec![Some(3)]), "one that could stand in");
        time.advance(30 * SECOND).await;
        assert_eq!(revalidate(5).await, (5, vec![None]), "its time is over");
        cache.remove(&1);
        assert_eq!(revalidate(6).await, (6, vec![None]), "it was removed");
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.stale_hits, stats.misses), (2, 1, 4));
        assert_eq!((stats.computes, stats.refreshes), (6, 2));
        cache.close().await;
        time.advance(5 * SECOND).await;
        assert_eq!(revalidate(7).await, (7, vec![Some(6)]), "inside the call");
        time.advance(10 * SECOND).await;
        assert_eq!(revalidate(8).await, (8, vec![Some(7)]), "inside the call, past its TTL");
        check(&cache, 0);
    });
}

#[test]
fn a_compute_that_renews_in_vain_leaves_what_it_was_handed() {
    in_virtual_time(async |time| {
        let cache = new_cache(&time);
        cache.insert(1, 1);
        time.advance(20 * SECOND).await;
        let vain = |stale: Option<u32>| async move {
            assert_eq!(stale, Some(1));
            Err("down")
        };
        assert_eq!(cache.entry(1).try_get_or_revalidate(vain).await, Ok(1));
        let half = |stale: Option<u32>| async move { stale.map(|value| value + 1).ok_or("none") };
        assert_eq!(cache.entry(1).try_get_or_revalidate(half).await, Ok(2));
        assert_eq!(cache.get(&1), Some(2));
        time.advance(40 * SECOND).await;
        let none: Result<u32, _> = cache.entry(1).try_get_or_revalidate(half).await;
        assert_eq!(none, Err(ComputeError::Failed(Arc::new("none"))));
    });
}
