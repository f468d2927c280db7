//! Writes during calls for several keys: they win for the keys that they are of, and for no other.

use std::collections::HashMap;

use fleeting::Cache;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::flights::{on_every_runtime, steps};
use crate::many::{Calls, Numbers, ask, tens};
use crate::support::{Gate, Host, check, poll_once};

fn new_cache(host: &Host) -> Cache<u32, u32> {
    host.builder().build().expect("valid settings")
}

/// A bulk caller whose compute is pending twice.
fn many(cache: &Cache<u32, u32>) -> BoxFuture<'_, Numbers> {
    let compute = |missing: Vec<u32>| steps(2).map(|()| tens(missing));
    cache.get_or_compute_many([1, 2, 3], compute).boxed()
}

/// A write of key 2.
type Write = fn(&Cache<u32, u32>);

const INSERTS: [Write; 4] = [
    |cache| assert!(cache.insert(2, 99).is_none_or(|value| value == 20)),
    |cache| assert!(cache.entry(2).insert(99).is_none_or(|value| value == 20)),
    |cache| assert!(cache.entry_ref(&2).insert(99).is_none_or(|value| value == 20)),
    |cache| assert_eq!(cache.entry(2).or_insert(99), cache.peek(&2).expect("it is there")),
];

const REMOVALS: [Write; 2] = [
    |cache| assert!(cache.remove(&2).is_none_or(|value| value == 20)),
    |cache| {
        cache.insert(2, 0);
        assert_eq!(cache.remove_if(&2, |value| *value == 0), Some(0));
    },
];

/// Drives a bulk call and writes after so many polls. Tells whether it had ended by then.
async fn write_after(polls: usize, cache: &Cache<u32, u32>, write: Write) -> (bool, Numbers) {
    let mut caller = many(cache);
    let found = (0..polls).find_map(|_| poll_once(&mut caller));
    write(cache);
    match found {
        Some(found) => (true, found),
        None => (false, caller.await),
    }
}

#[test]
fn an_insert_wins_at_every_step_for_its_key_only() {
    on_every_runtime(async |host| {
        for (polls, (index, write)) in (0..5)
            .flat_map(|polls| INSERTS.into_iter().enumerate().map(move |indexed| (polls, indexed)))
        {
            let cache = new_cache(&host);
            let (ended, found) = write_after(polls, &cache, write).await;
            let is_kept = ended && index == 3;
            assert_eq!(found[&2], if polls == 0 { 99 } else { 20 }, "those who waited get theirs");
            assert_eq!((found[&1], found[&3], found.len()), (10, 30, 3));
            assert_eq!(cache.get(&2), Some(if is_kept { 20 } else { 99 }), "after {polls} polls");
            assert_eq!(cache.get_many(&[1, 3]), [Some(10), Some(30)]);
            assert_eq!(cache.stats().compute_failures, 0);
            check(&cache, 0);
        }
    });
}

#[test]
fn a_removal_wins_at_every_step_for_its_key_only() {
    on_every_runtime(async |host| {
        for (polls, write) in (1..5).flat_map(|polls| REMOVALS.map(|write| (polls, write))) {
            let cache = new_cache(&host);
            let (_, found) = write_after(polls, &cache, write).await;
            assert_eq!(found, tens([1, 2, 3]));
            assert_eq!(cache.get_many(&[1, 2, 3]), [Some(10), None, Some(30)]);
            check(&cache, 0);
        }
    });
}

#[test]
fn clearing_wins_at_every_step_for_all_keys() {
    on_every_runtime(async |host| {
        for polls in 1..5 {
            let cache = new_cache(&host);
            let (_, found) = write_after(polls, &cache, Cache::clear).await;
            assert_eq!(found, tens([1, 2, 3]));
            assert_eq!(cache.len(), 0);
            check(&cache, 0);
        }
    });
}

#[test]
fn later_callers_do_not_join_for_a_key_that_was_written() {
    on_every_runtime(async |host| {
        let (cache, calls) = (new_cache(&host), Calls::default());
        let (old_gate, new_gate) = (Gate::new(), Gate::new());
        let mut old = ask(&cache, &[1, 2, 3], &old_gate, &calls);
        assert_eq!(poll_once(&mut old), None);
        cache.remove(&2);
        check(&cache, 2);
        let new = |value| {
            let passed = new_gate.passed();
            let compute = move |missing: Vec<u32>| {
                assert_eq!(missing, [2], "the others are still computed by the first call");
                passed.map(move |()| Numbers::from([(2, value)]))
            };
            let mut new = cache.get_or_compute_many([3, 2], compute).boxed();
            assert_eq!(poll_once(&mut new), None);
            new
        };
        let (leads, joins) = (new(22), new(0));
        check(&cache, 3);
        old_gate.open();
        assert_eq!(old.await, tens([1, 2, 3]));
        assert_eq!(cache.get_many(&[1, 2, 3]), [Some(10), None, Some(30)]);
        new_gate.open();
        let expected = Numbers::from([(2, 22), (3, 30)]);
        assert_eq!((leads.await, joins.await), (expected.clone(), expected));
        assert_eq!(cache.get(&2), Some(22));
        check(&cache, 0);
    });
}

#[test]
fn a_bulk_caller_that_joined_gets_the_outcome_that_was_written_over() {
    on_every_runtime(async |host| {
        let (cache, calls, gate) = (new_cache(&host), Calls::default(), Gate::new());
        let passed = gate.passed();
        let mut single = cache.get_or_compute(1, || passed.map(|()| 11)).boxed();
        assert_eq!(poll_once(&mut single), None);
        let mut many = ask(&cache, &[1, 2], &gate, &calls);
        assert_eq!(poll_once(&mut many), None);
        cache.insert(1, 99);
        gate.open();
        assert_eq!(many.await, Numbers::from([(1, 11), (2, 20)]));
        assert_eq!(single.await, 11);
        assert_eq!(cache.get_many(&[1, 2]), [Some(99), Some(20)]);
        check(&cache, 0);
    });
}

#[test]
fn a_key_that_was_written_and_that_the_answer_lacks_is_what_was_written() {
    on_every_runtime(async |host| {
        let (cache, gate) = (new_cache(&host), Gate::new());
        let passed = gate.passed();
        let mut many = cache.get_or_compute_many([1, 2], |_| passed.map(|()| tens([1]))).boxed();
        assert_eq!(poll_once(&mut many), None);
        let mut joins = cache.get_or_compute(2, || async { unreachable!("it was stored") }).boxed();
        assert_eq!(poll_once(&mut joins), None);
        cache.insert(2, 99);
        gate.open();
        assert_eq!(many.await, tens([1]), "the call asked before");
        assert_eq!(joins.await, 99, "it asks again");
        check(&cache, 0);
    });
}

#[test]
fn a_failure_leaves_what_was_written() {
    on_every_runtime(async |host| {
        let (cache, gate) = (new_cache(&host), Gate::new());
        let passed = gate.passed();
        let compute = |_| passed.map(|()| Err::<Numbers, _>("down"));
        let mut many = cache.try_get_or_compute_many([1, 2], compute).boxed();
        assert!(poll_once(&mut many).is_none());
        cache.insert(2, 99);
        gate.open();
        assert!(many.await.is_err());
        assert_eq!(cache.get_many(&[1, 2]), [None, Some(99)]);
        check(&cache, 0);
    });
}

#[test]
fn values_that_nobody_asked_for_take_nobodys_place() {
    on_every_runtime(async |host| {
        let (cache, gate) = (new_cache(&host), Gate::new());
        cache.insert(2, 22);
        let passed = gate.passed();
        let compute = |_| passed.map(|()| tens([1, 2, 3, 4, 5]));
        let mut many = cache.get_or_compute_many([1], compute).boxed();
        assert_eq!(poll_once(&mut many), None);
        cache.insert(3, 33);
        let later = Gate::new();
        let passed = later.passed();
        let mut computes = cache.get_or_compute(4, || passed.map(|()| 44)).boxed();
        assert_eq!(poll_once(&mut computes), None);
        gate.open();
        assert_eq!(many.await, tens([1]));
        check(&cache, 1);
        let mut joins =
            cache.get_or_compute(4, || async { unreachable!("it is computed") }).boxed();
        assert_eq!(poll_once(&mut joins), None, "the compute is still the key's");
        later.open();
        assert_eq!((computes.await, joins.await), (44, 44));
        let expected = [Some(10), Some(22), Some(33), Some(44), Some(50)];
        assert_eq!(cache.get_many(&[1, 2, 3, 4, 5]), expected);
        assert_eq!((cache.stats().computes, cache.stats().inserts), (2, 5));
        check(&cache, 0);
    });
}

/// Something that another caller takes away meanwhile.
type Removal = fn(&Cache<u32, u32>);

#[test]
fn values_that_nobody_asked_for_do_not_come_back_after_a_removal() {
    on_every_runtime(async |host| {
        let removals: [Removal; 4] = [
            |cache| cache.clear(),
            |cache| assert_eq!(cache.remove(&2), None),
            |cache| assert_eq!(cache.retain(|_, _| false), 1),
            |cache| assert_eq!(cache.entry(2).update(|_| None), None),
        ];
        for remove in removals {
            let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
            cache.insert(3, 3);
            let gate = Gate::new();
            let passed = gate.passed();
            let mut call = Box::pin(cache.get_or_compute_many([1], |_| async move {
                passed.await;
                HashMap::from([(1, 10), (2, 20)])
            }));
            assert_eq!(poll_once(&mut call), None);
            remove(&cache);
            gate.open();
            assert_eq!(call.await, HashMap::from([(1, 10)]));
            assert_eq!(cache.get(&2), None);
            check(&cache, 0);
        }
    });
}
