//! Calls for several keys: one compute for all that are missing, shared key by key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};

use crate::flights::{Wakes, in_time, on_every_runtime, poll_for, steps, wait};
use crate::hostile_code::OnDrop;
use crate::support::{Gate, Host, check, poll_once};

pub(crate) type Numbers = HashMap<u32, u32>;

/// Ten times each key.
pub(crate) fn tens(keys: impl IntoIterator<Item = u32>) -> Numbers {
    keys.into_iter().map(|key| (key, key * 10)).collect()
}

/// Which keys bulk computes were asked for.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<Vec<u32>>>>);

impl Calls {
    fn note(&self, keys: &[u32]) {
        self.0.lock().expect("nobody panics here").push(keys.to_vec());
    }

    pub(crate) fn all(&self) -> Vec<Vec<u32>> {
        self.0.lock().expect("nobody panics here").clone()
    }
}

/// A bulk caller whose compute answers with ten times each key when the gate is open.
pub(crate) fn ask<'a>(
    cache: &'a Cache<u32, u32>,
    keys: &[u32],
    gate: &Gate,
    calls: &Calls,
) -> BoxFuture<'a, Numbers> {
    let (keys, passed, calls) = (keys.to_vec(), gate.passed(), calls.clone());
    let compute = move |missing: Vec<u32>| {
        calls.note(&missing);
        passed.map(move |()| tens(missing))
    };
    cache.get_or_compute_many(keys, compute).boxed()
}

/// A bulk caller that waits.
fn begun<'a>(
    cache: &'a Cache<u32, u32>,
    keys: &[u32],
    gate: &Gate,
    calls: &Calls,
) -> BoxFuture<'a, Numbers> {
    let mut caller = ask(cache, keys, gate, calls);
    assert_eq!(poll_once(&mut caller), None, "the gate is shut");
    caller
}

/// A caller of one key whose compute answers with `value` when the gate is open.
fn single<'a>(cache: &'a Cache<u32, u32>, key: u32, value: u32, gate: &Gate) -> BoxFuture<'a, u32> {
    let passed = gate.passed();
    let mut caller = cache.get_or_compute(key, move || passed.map(move |()| value)).boxed();
    assert_eq!(poll_once(&mut caller), None, "the gate is shut");
    caller
}

fn new_cache(host: &Host) -> Cache<u32, u32> {
    host.builder().build().expect("valid settings")
}

/// Hits, misses, coalesced, computes.
fn counts(cache: &Cache<u32, u32>) -> (u64, u64, u64, u64) {
    let stats = cache.stats();
    (stats.hits, stats.misses, stats.coalesced, stats.computes)
}

#[test]
fn several_values_are_read_in_the_order_asked() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        cache.insert(1, 10);
        cache.insert(3, 30);
        let keys = [3, 2, 1, 3];
        assert_eq!(cache.get_many(&keys), [Some(30), None, Some(10), Some(30)]);
        assert_eq!(counts(&cache), (3, 1, 0, 0), "one for each that was asked");
        assert_eq!(cache.get_many(&[] as &[u32]), []);
        let named: Cache<String, u32> = host.builder().build().expect("valid settings");
        named.insert("one".to_owned(), 1);
        assert_eq!(named.get_many(["two", "one"]), [None, Some(1)]);
    });
}

#[test]
fn one_compute_is_for_all_missing_keys_in_the_order_asked_and_once_each() {
    on_every_runtime(async |host| {
        let (cache, calls, gate) = (new_cache(&host), Calls::default(), Gate::new());
        gate.open();
        cache.insert(4, 1);
        let keys = [9, 4, 2, 9, 7, 2, 4];
        let found = ask(&cache, &keys, &gate, &calls).await;
        assert_eq!(found, HashMap::from([(9, 90), (4, 1), (2, 20), (7, 70)]));
        assert_eq!(calls.all(), [[9, 2, 7]]);
        assert_eq!(counts(&cache), (1, 3, 0, 1), "one for each key, however often it was asked");
        assert_eq!(cache.get_many(&keys[..3]), [Some(90), Some(1), Some(20)]);
        check(&cache, 0);
    });
}

#[test]
fn nothing_is_computed_when_nothing_is_missing() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let never = |_| async { crate::support::panics::<HashMap<_, _>>("nothing is missing") };
        assert_eq!(cache.get_or_compute_many([], never).await, HashMap::new());
        cache.insert(1, 10);
        cache.insert(2, 20);
        assert_eq!(cache.get_or_compute_many([2, 1, 2], never).await, tens([1, 2]));
        let never =
            |_| async { crate::support::panics::<Result<HashMap<_, _>, _>>("nothing is missing") };
        let found: Result<_, ComputeError<u8>> = cache.try_get_or_compute_many([1], never).await;
        assert_eq!(found, Ok(tens([1])));
        assert_eq!(counts(&cache), (3, 0, 0, 0));
    });
}

#[test]
fn a_call_that_is_never_polled_does_nothing() {
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let keys = std::iter::from_fn(|| -> Option<u32> { unreachable!("nobody asks") });
    drop(cache.get_or_compute_many(keys, |_| async {
        crate::support::panics::<HashMap<_, _>>("nobody waits")
    }));
    assert_eq!(counts(&cache), (0, 0, 0, 0));
    check(&cache, 0);
}

#[test]
fn a_bulk_call_joins_the_computes_that_run_for_some_of_its_keys() {
    on_every_runtime(async |host| {
        let (cache, calls) = (new_cache(&host), Calls::default());
        let (slow, gate) = (Gate::new(), Gate::new());
        let first = single(&cache, 1, 11, &slow);
        let second = single(&cache, 2, 22, &slow);
        let mut many = begun(&cache, &[2, 3, 1, 4], &gate, &calls);
        assert_eq!(calls.all(), [[3, 4]]);
        assert_eq!(counts(&cache), (0, 6, 2, 3));
        check(&cache, 4);
        gate.open();
        assert_eq!(poll_once(&mut many), None, "it waits for the others too");
        assert_eq!(cache.get(&3), Some(30), "what it computed is there for all");
        // Nobody else drives them.
        drop((first, second));
        slow.open();
        assert_eq!(many.await, HashMap::from([(1, 11), (2, 22), (3, 30), (4, 40)]));
        assert_eq!(cache.get_many(&[1, 2]), [Some(11), Some(22)]);
        check(&cache, 0);
    });
}

#[test]
fn a_bulk_call_that_finds_all_its_keys_computed_by_others_computes_nothing() {
    on_every_runtime(async |host| {
        let (cache, gate) = (new_cache(&host), Gate::new());
        let (first, second) = (single(&cache, 1, 11, &gate), single(&cache, 2, 22, &gate));
        let never = |_| async { crate::support::panics::<HashMap<_, _>>("others compute") };
        let mut many = cache.get_or_compute_many([1, 2], never).boxed();
        assert_eq!(poll_once(&mut many), None);
        gate.open();
        assert_eq!(many.await, HashMap::from([(1, 11), (2, 22)]));
        assert_eq!((first.await, second.await), (11, 22));
        assert_eq!(counts(&cache), (0, 4, 2, 2));
        check(&cache, 0);
    });
}

#[test]
fn callers_of_single_keys_join_a_bulk_call() {
    on_every_runtime(async |host| {
        let (cache, calls, gate) = (new_cache(&host), Calls::default(), Gate::new());
        let many = begun(&cache, &[1, 2, 3], &gate, &calls);
        let singles: Vec<_> = [3, 1, 2, 3].map(|key| single(&cache, key, 0, &gate)).into();
        assert_eq!(counts(&cache), (0, 7, 4, 1));
        check(&cache, 3);
        gate.open();
        assert_eq!(join_all(singles).await, [30, 10, 20, 30]);
        assert_eq!(many.await, tens([1, 2, 3]));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.inserts), (1, 3));
        check(&cache, 0);
    });
}

#[test]
fn bulk_calls_that_overlap_compute_each_key_once() {
    on_every_runtime(async |host| {
        let (cache, calls, gate) = (new_cache(&host), Calls::default(), Gate::new());
        let first = begun(&cache, &[1, 2, 3], &gate, &calls);
        let second = begun(&cache, &[5, 3, 4, 2], &gate, &calls);
        let third = begun(&cache, &[4, 1, 6], &gate, &calls);
        assert_eq!(calls.all(), [vec![1, 2, 3], vec![5, 4], vec![6]]);
        assert_eq!(counts(&cache), (0, 10, 4, 3));
        check(&cache, 6);
        gate.open();
        assert_eq!(third.await, tens([1, 4, 6]));
        assert_eq!(second.await, tens([2, 3, 4, 5]));
        assert_eq!(first.await, tens([1, 2, 3]));
        assert_eq!(cache.stats().inserts, 6);
        check(&cache, 0);
    });
}

#[test]
fn a_parked_bulk_caller_holds_nobody_up() {
    on_every_runtime(async |host| {
        let (cache, calls, gate) = (new_cache(&host), Calls::default(), Gate::new());
        let mut parked = begun(&cache, &[1, 2], &gate, &calls);
        let other = begun(&cache, &[2, 3], &gate, &calls);
        gate.open();
        assert_eq!(single_joined(&cache, 1).await, 10);
        assert_eq!(other.await, tens([2, 3]));
        assert_eq!(poll_once(&mut parked), Some(tens([1, 2])), "all has come meanwhile");
        check(&cache, 0);
    });
}

/// A caller of one key that computes nothing itself.
fn single_joined(cache: &Cache<u32, u32>, key: u32) -> BoxFuture<'_, u32> {
    cache.get_or_compute(key, || async { unreachable!("another compute runs") }).boxed()
}

#[test]
fn bulk_callers_that_wait_for_each_other_need_only_one_to_be_polled() {
    on_every_runtime(async |host| {
        let (cache, calls, gate) = (new_cache(&host), Calls::default(), Gate::new());
        let (one, other) = (single(&cache, 1, 10, &gate), single(&cache, 4, 40, &gate));
        let left = begun(&cache, &[1, 2, 4], &gate, &calls);
        let right = begun(&cache, &[2, 3, 1], &gate, &calls);
        gate.open();
        assert_eq!(right.await, tens([1, 2, 3]));
        drop((one, other));
        assert_eq!(left.await, tens([1, 2, 4]));
        check(&cache, 0);
    });
}

#[test]
fn a_dropped_bulk_caller_is_not_noticed_by_those_who_joined() {
    on_every_runtime(async |host| {
        let (cache, calls, gate) = (new_cache(&host), Calls::default(), Gate::new());
        let many = begun(&cache, &[1, 2, 3], &gate, &calls);
        let joins = single(&cache, 2, 0, &gate);
        let other = begun(&cache, &[3, 4], &gate, &calls);
        drop(many);
        check(&cache, 4);
        gate.open();
        assert_eq!(joins.await, 20);
        assert_eq!(other.await, tens([3, 4]));
        assert_eq!(cache.get(&1), Some(10), "computed with the others, so stored");
        check(&cache, 0);
    });
}

#[test]
fn the_last_caller_that_is_dropped_drops_the_compute() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let drops = Arc::new(AtomicU32::new(0));
        let guard = OnDrop::run({
            let drops = Arc::clone(&drops);
            move || {
                drops.fetch_add(1, Ordering::SeqCst);
            }
        });
        let compute = move |_| async move {
            let _guard = guard;
            std::future::pending::<Numbers>().await
        };
        let mut many = cache.get_or_compute_many([1, 2], compute).boxed();
        assert_eq!(poll_once(&mut many), None);
        let mut joins = single_joined(&cache, 1);
        assert_eq!(poll_once(&mut joins), None);
        drop(many);
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        drop(joins);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        check(&cache, 0);
        assert_eq!(counts(&cache), (0, 3, 1, 1));
        assert_eq!(cache.get_or_compute(2, || async { 5 }).await, 5, "the key is free");
    });
}

#[test]
fn what_the_answer_lacks_is_absent_and_computed_by_those_who_joined_for_it() {
    on_every_runtime(async |host| {
        let (cache, gate) = (new_cache(&host), Gate::new());
        let passed = gate.passed();
        let mut many =
            cache.get_or_compute_many([1, 2, 3, 4], |_| passed.map(|()| tens([2]))).boxed();
        assert_eq!(poll_once(&mut many), None);
        let (lacks, has) = (single(&cache, 1, 7, &gate), single(&cache, 2, 0, &gate));
        let calls = Calls::default();
        let other = begun(&cache, &[4, 2, 3], &gate, &calls);
        assert_eq!(calls.all(), Vec::<Vec<u32>>::new(), "all are being computed");
        gate.open();
        assert_eq!(many.await, tens([2]));
        assert_eq!(cache.get(&3), None);
        assert_eq!((lacks.await, has.await), (7, 20));
        assert_eq!(other.await, tens([2, 3, 4]));
        assert_eq!(calls.all(), [[4, 3]], "in one call, in the order asked");
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.inserts, stats.compute_failures), (3, 4, 0));
        check(&cache, 0);
    });
}

#[test]
fn values_of_keys_that_were_not_asked_for_are_stored_and_not_returned() {
    on_every_runtime(async |host| {
        let cache = new_cache(&host);
        let found = cache.get_or_compute_many([1], |_| async { tens([1, 2, 3]) }).await;
        assert_eq!(found, tens([1]));
        assert_eq!(cache.get_many(&[1, 2, 3]), [Some(10), Some(20), Some(30)]);
        assert_eq!((cache.stats().inserts, cache.stats().computes), (3, 1));
        check(&cache, 0);
    });
}

#[test]
fn one_failure_reaches_all_who_waited() {
    on_every_runtime(async |host| {
        let (cache, gate) = (new_cache(&host), Gate::new());
        let many = |keys: Vec<u32>| {
            let passed = gate.passed();
            cache
                .try_get_or_compute_many(keys, |_| {
                    passed.map(|()| Err::<HashMap<u32, u32>, _>("down"))
                })
                .boxed()
        };
        let mut first = many(vec![1, 2]);
        assert!(poll_once(&mut first).is_none());
        let mut second = many(vec![2]);
        assert!(poll_once(&mut second).is_none());
        let mut joins = cache.try_get_or_compute(1, || async { Err::<u32, _>("mine") }).boxed();
        assert!(poll_once(&mut joins).is_none());
        gate.open();
        let (first, second, joins) = (first.await, second.await, joins.await);
        let Err(ComputeError::Failed(first)) = first else { panic!("it failed") };
        let Err(ComputeError::Failed(second)) = second else { panic!("it failed") };
        let Err(ComputeError::Failed(joins)) = joins else { panic!("it failed") };
        assert!(Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&first, &joins));
        assert_eq!((cache.stats().computes, cache.stats().compute_failures), (1, 1));
        check(&cache, 0);
    });
}

#[test]
fn the_failure_of_a_single_compute_is_that_of_the_bulk_call_that_joined_it() {
    on_every_runtime(async |host| {
        let (cache, gate) = (new_cache(&host), Gate::new());
        let passed = gate.passed();
        let mut fails = cache.try_get_or_compute(1, || passed.map(|()| Err("down"))).boxed();
        assert!(poll_once(&mut fails).is_none());
        let compute = |_| std::future::pending::<Result<Numbers, &str>>();
        let mut many = cache.try_get_or_compute_many([1, 2], compute).boxed();
        assert!(poll_once(&mut many).is_none());
        gate.open();
        assert_eq!(many.await, Err(ComputeError::Failed(Arc::new("down"))));
        assert!(fails.await.is_err());
        check(&cache, 0);
    });
}

#[test]
fn callers_with_another_error_type_compute_for_themselves() {
    on_every_runtime(async |host| {
        let (cache, gate, calls) = (new_cache(&host), Gate::new(), Calls::default());
        let passed = gate.passed();
        let mut fails = cache
            .try_get_or_compute_many([1, 2, 3, 4], |_| passed.map(|()| Err::<Numbers, _>("down")))
            .boxed();
        assert!(poll_once(&mut fails).is_none());
        let alone = single(&cache, 1, 11, &gate);
        let mut numbered = cache.try_get_or_compute(2, || async { Err::<u32, _>(404) }).boxed();
        assert!(poll_once(&mut numbered).is_none());
        let other = begun(&cache, &[4, 3], &gate, &calls);
        gate.open();
        assert_eq!(fails.await, Err(ComputeError::Failed(Arc::new("down"))));
        assert_eq!(alone.await, 11);
        assert_eq!(numbered.await, Err(ComputeError::Failed(Arc::new(404))));
        assert_eq!(other.await, tens([3, 4]));
        assert_eq!(calls.all(), [[4, 3]]);
        check(&cache, 0);
    });
}

#[test]
fn a_bulk_call_computes_what_others_failed_at_with_an_error_of_another_type() {
    on_every_runtime(async |host| {
        let (cache, gate, calls) = (new_cache(&host), Gate::new(), Calls::default());
        let passed = gate.passed();
        let mut fails = cache.try_get_or_compute(1, || passed.map(|()| Err("down"))).boxed();
        assert!(poll_once(&mut fails).is_none());
        let alone = begun(&cache, &[1], &gate, &calls);
        let mixed = begun(&cache, &[1, 2], &gate, &calls);
        gate.open();
        assert!(fails.await.is_err());
        assert_eq!(alone.await, tens([1]));
        assert_eq!(mixed.await, tens([2]), "it has called its closure for the other key");
        assert_eq!(calls.all(), [[2], [1]]);
        check(&cache, 0);
    });
}

#[test]
fn a_bulk_call_may_be_dropped_at_every_await() {
    on_every_runtime(async |host| {
        for polls in 0..8 {
            let cache = new_cache(&host);
            let mut other = cache.get_or_compute(3, || steps(2).map(|()| 30)).boxed();
            assert_eq!(poll_once(&mut other), None);
            let compute = |missing: Vec<u32>| steps(4).map(|()| tens(missing));
            let mut many = cache.get_or_compute_many([1, 2, 3], compute).boxed();
            let ended = (0..polls).any(|_| poll_once(&mut many).is_some());
            let asked = if polls == 0 { 1 } else { 4 };
            assert_eq!(cache.stats().requests(), asked, "dropped after {polls} polls");
            drop(many);
            assert_eq!(other.await, 30);
            check(&cache, 0);
            assert_eq!(cache.get(&1).is_some(), ended || cache.stats().inserts == 3);
            let again = cache.get_or_compute_many([1, 2, 3], |missing| async { tens(missing) });
            assert_eq!(again.await, tens([1, 2, 3]));
        }
    });
}

#[test]
fn each_waiter_is_woken_for_what_it_waits_for() {
    on_every_runtime(async |host| {
        let (cache, calls) = (new_cache(&host), Calls::default());
        let (gate, slow) = (Gate::new(), Gate::new());
        let _slow = single(&cache, 3, 30, &slow);
        let (many_wakes, single_wakes) = (Wakes::new(), Wakes::new());
        let mut many = ask(&cache, &[1, 2, 3], &gate, &calls);
        assert_eq!(poll_for(&mut many, &many_wakes), None);
        let mut joins = single_joined(&cache, 2);
        assert_eq!(poll_for(&mut joins, &single_wakes), None);
        let woken = many_wakes.count();
        gate.open();
        assert!(many_wakes.count() > woken && single_wakes.count() > 0);
        assert_eq!(poll_for(&mut many, &many_wakes), None);
        assert_eq!(poll_for(&mut joins, &single_wakes), Some(20));
        let woken = many_wakes.count();
        slow.open();
        assert!(many_wakes.count() > woken);
        assert_eq!(poll_for(&mut many, &many_wakes), Some(tens([1, 2, 3])));
    });
}

#[test]
fn bulk_calls_on_many_threads_compute_no_key_twice_at_a_time() {
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder().max_size(40).build().expect("valid settings");
        let running: Arc<[AtomicU32; 64]> = Arc::new([const { AtomicU32::new(0) }; 64]);
        let requests = AtomicU64::new(0);
        thread::scope(|scope| {
            for seed in 0..4_u32 {
                let (cache, running, requests) = (&cache, &running, &requests);
                scope.spawn(move || {
                    for round in 0..1_500 {
                        let first = seed.wrapping_mul(17).wrapping_add(round * 7) % 64;
                        let keys: Vec<u32> =
                            (first..first + 1 + round % 9).map(|key| key % 64).collect();
                        requests.fetch_add(keys.len() as u64, Ordering::SeqCst);
                        let running = Arc::clone(running);
                        let compute = move |missing: Vec<u32>| async move {
                            for &key in &missing {
                                let others = running[key as usize].fetch_add(1, Ordering::SeqCst);
                                assert_eq!(others, 0, "key {key} is computed twice at a time");
                            }
                            steps(round as usize % 3).await;
                            for &key in &missing {
                                running[key as usize].fetch_sub(1, Ordering::SeqCst);
                            }
                            tens(missing)
                        };
                        let found = wait(cache.get_or_compute_many(keys.clone(), compute));
                        assert_eq!(found, tens(keys));
                        if round % 5 == 0 {
                            cache
                                .get_or_compute(first, || async move { first * 10 })
                                .now_or_never();
                            requests.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        let stats = cache.stats();
        assert_eq!(stats.requests(), requests.load(Ordering::SeqCst));
        assert!(stats.computes + stats.coalesced <= stats.misses + stats.hits);
        check(&cache, 0);
    });
}

/// Compiles where what is given is `Send`.
fn is_send<T: Send>(_: &T) {}

/// A key that is no more than it must be.
#[derive(Clone, Hash, PartialEq, Eq)]
struct Plain;

#[test]
fn a_call_is_send_where_its_parts_are() {
    let cache: Cache<Plain, u8> = Cache::builder().build().expect("valid settings");
    is_send(&cache.get_or_compute_many([Plain], |_| async { HashMap::new() }));
    let fails = |_| async { Err::<HashMap<_, _>, String>(String::new()) };
    is_send(&cache.try_get_or_compute_many([Plain], fails));
    // The closure and the keys' iterator need not be, and what they are made of need not live on.
    let local = std::rc::Rc::new([Plain]);
    let keys = local.iter().cloned();
    let found = wait(cache.get_or_compute_many(keys, |missing| {
        let count = u8::try_from(local.len()).expect("there is one");
        async move { missing.into_iter().map(|key| (key, count)).collect::<HashMap<_, _>>() }
    }));
    assert_eq!(found.len(), 1);
}

#[test]
fn bulk_calls_in_tasks_of_their_own_share_their_computes() {
    on_every_runtime(async |host| {
        for _ in 0..20 {
            let cache = new_cache(&host);
            let tasks = (0..8_u32).map(|task| {
                let cache = cache.clone();
                host.spawn(async move {
                    let keys: Vec<u32> = (task..task + 4).collect();
                    let compute = |missing: Vec<u32>| steps(3).map(|()| tens(missing));
                    cache.get_or_compute_many(keys.clone(), compute).await == tens(keys)
                })
            });
            assert_eq!(join_all(tasks).await, [true; 8]);
            let stats = cache.stats();
            assert_eq!((stats.inserts, stats.requests()), (11, 32), "each key is computed once");
            check(&cache, 0);
        }
    });
}
