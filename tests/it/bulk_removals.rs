//! `retain` and `retain_keys` against computes that are under way: what is refused is not stored later
//! either.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleeting::Cache;
use futures::future::BoxFuture;

use crate::support::{Gate, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);

fn cache() -> Cache<u32, u32> {
    Cache::new(100)
}

/// A compute of `key` that has begun, and waits at the gate.
fn begun<'a>(cache: &'a Cache<u32, u32>, key: u32, gate: &Gate) -> BoxFuture<'a, u32> {
    let passed = gate.passed();
    let mut call: BoxFuture<'a, u32> = Box::pin(cache.refresh(key, move || async move {
        passed.await;
        key * 10
    }));
    assert_eq!(poll_once(&mut call), None);
    call
}

#[test]
fn a_compute_without_an_entry_is_fenced_off_by_retain_whatever_that_says() {
    for keeps in [true, false] {
        let (cache, gate) = (cache(), Gate::new());
        let mut call = begun(&cache, 1, &gate);
        assert_eq!(cache.retain(|_, _| keeps), 0);
        check(&cache, 0);
        let mut later = Box::pin(cache.get_or_compute(1, async || 5));
        assert_eq!(poll_once(&mut later), Some(5), "it is not joined");
        cache.remove(&1);
        gate.open();
        assert_eq!(poll_once(&mut call), Some(10));
        assert!(cache.is_empty());
        check(&cache, 0);
    }
}

#[test]
fn a_refresh_of_what_is_kept_goes_on_and_of_what_is_not_is_not_stored() {
    let (cache, gate) = (cache(), Gate::new());
    let mut calls = Vec::new();
    for key in 1..=4 {
        cache.insert(key, key);
        calls.push(begun(&cache, key, &gate));
    }
    assert_eq!(cache.retain(|key, _| key % 2 == 0), 2);
    check(&cache, 2);
    gate.open();
    for (key, call) in (1..).zip(&mut calls) {
        assert_eq!(poll_once(call), Some(key * 10));
    }
    assert_eq!(cache.get_many(&[1, 2, 3, 4]), [None, Some(20), None, Some(40)]);
    check(&cache, 0);
}

#[test]
fn a_refresh_that_ends_while_retain_asks_about_the_old_value_is_asked_about_too() {
    let (cache, gate) = (cache(), Gate::new());
    cache.insert(1, 1);
    let mut call = begun(&cache, 1, &gate);
    let mut asked = Vec::new();
    let removed = cache.retain(|_, value| {
        asked.push(*value);
        if asked.len() == 1 {
            gate.open();
            assert_eq!(poll_once(&mut call), Some(10));
        }
        false
    });
    assert_eq!(asked, [1, 10]);
    assert_eq!((removed, cache.get(&1)), (1, None));
    check(&cache, 0);
}

#[test]
fn a_refused_value_that_leaves_meanwhile_does_not_come_back_by_its_refresh() {
    let (cache, gate) = (Cache::<u32, u32>::new(1), Gate::new());
    cache.insert(1, 1);
    let mut call = begun(&cache, 1, &gate);
    // The closure makes it leave, by eviction: no write of its key.
    cache.retain(|key, _| {
        cache.insert(2, 2);
        *key != 1
    });
    gate.open();
    assert_eq!(poll_once(&mut call), Some(10));
    assert_eq!(cache.get(&1), None, "what it was refused as");
    check(&cache, 0);
}

#[cfg(feature = "test-util")]
#[test]
fn what_expires_before_retain_can_ask_does_not_come_back_by_its_refresh() {
    let time = fleeting::runtime::Manual::new();
    let cache: Cache<u32, u32> = Cache::builder()
        .ttl(10 * SECOND)
        .max_size(10)
        .runtime(time.clone())
        .build()
        .expect("the settings are valid");
    let gate = Gate::new();
    let mut calls = Vec::new();
    for key in 1..=2 {
        cache.insert(key, key);
        calls.push(begun(&cache, key, &gate));
    }
    let mut asked = Vec::new();
    cache.retain(|key, _| {
        asked.push(*key);
        time.advance(11 * SECOND);
        false
    });
    gate.open();
    for (key, call) in (1..).zip(&mut calls) {
        assert_eq!(poll_once(call), Some(key * 10));
    }
    assert_eq!(asked.len(), 1);
    assert!(
        cache.is_empty(),
        "{:?} came without being asked about",
        cache.iter().collect::<Vec<_>>()
    );
}

/// The first one that is asked about takes so long that the others expire, and are swept.
#[cfg(feature = "test-util")]
#[test]
fn what_is_swept_before_retain_comes_to_it_does_not_come_back_by_its_refresh() {
    let time = fleeting::runtime::Manual::new();
    let cache: Cache<u32, u32> = Cache::builder()
        .ttl(10 * SECOND)
        .max_size(1_000)
        .runtime(time.clone())
        .build()
        .expect("the settings are valid");
    let gate = Gate::new();
    let mut calls = Vec::new();
    for key in 1..=1_000 {
        cache.insert(key, key);
        calls.push(begun(&cache, key, &gate));
    }
    let mut asked = 0;
    cache.retain(|_, _| {
        asked += 1;
        time.advance(20 * SECOND);
        false
    });
    gate.open();
    for call in &mut calls {
        assert!(poll_once(call).is_some());
    }
    assert_eq!((asked, cache.len()), (1, 0));
    check(&cache, 0);
}

#[test]
fn a_refresh_that_begins_while_retain_asks_is_stored_if_its_value_is_kept() {
    let cache = cache();
    cache.insert(1, 1);
    cache.retain(|_, _| {
        let mut call = Box::pin(cache.refresh(1, async || 10));
        assert_eq!(poll_once(&mut call), Some(10));
        let mut call = Box::pin(cache.get_or_compute(2, async || 20));
        assert_eq!(poll_once(&mut call), Some(20));
        true
    });
    assert_eq!(cache.get_many(&[1, 2]), [Some(10), Some(20)]);
    check(&cache, 0);
}

#[test]
fn a_refresh_of_a_stale_value_is_fenced_off_where_that_is_refused() {
    in_virtual_time(async |time| {
        for keeps in [true, false] {
            let cache: Cache<u32, u32> = time
                .builder()
                .ttl(SECOND)
                .stale_if_error(60 * SECOND)
                .build()
                .expect("the settings are valid");
            cache.insert(1, 1);
            time.advance(2 * SECOND).await;
            let gate = Gate::new();
            let call = begun(&cache, 1, &gate);
            assert_eq!(cache.retain(|_, _| keeps), usize::from(!keeps));
            gate.open();
            assert_eq!(call.await, 10);
            assert_eq!(cache.get(&1), keeps.then_some(10));
            check(&cache, 0);
        }
    });
}

#[test]
fn uninvited_values_of_a_compute_begun_before_are_not_stored() {
    type Remove = fn(&Cache<u32, u32>) -> usize;
    let removals: [Remove; 3] = [
        |cache| cache.retain(|_, _| false),
        |cache| cache.retain(|_, _| true),
        |cache| cache.retain_keys(|key| *key != 2),
    ];
    for (remove, keeps_invited) in removals.into_iter().zip([false, false, true]) {
        let (cache, gate) = (cache(), Gate::new());
        let passed = gate.passed();
        let mut call = Box::pin(cache.get_or_compute_many([1], |_| async move {
            passed.await;
            [(1, 10), (2, 20)]
        }));
        assert!(poll_once(&mut call).is_none());
        assert_eq!(remove(&cache), 0);
        gate.open();
        let found = poll_once(&mut call).expect("it is done");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(1, 10)]);
        assert_eq!(cache.get(&2), None, "it was refused before it came");
        assert_eq!(cache.get(&1), keeps_invited.then_some(10));
        check(&cache, 0);
    }
}

#[test]
fn uninvited_values_of_a_compute_begun_afterwards_are_stored() {
    let cache = cache();
    cache.retain(|_, _| false);
    cache.retain_keys(|_| false);
    let mut call = Box::pin(cache.get_or_compute_many([1], async |_| [(1, 10), (2, 20)]));
    assert_eq!(poll_once(&mut call).map(|found| found.len()), Some(1));
    assert_eq!(cache.get_many(&[1, 2]), [Some(10), Some(20)]);
}

#[test]
fn retain_keys_fences_off_exactly_the_refused_keys() {
    let (cache, gate) = (cache(), Gate::new());
    // With entries and without.
    for key in 1..=20 {
        cache.insert(key, key);
    }
    let mut calls: Vec<_> = (11..=30).map(|key| begun(&cache, key, &gate)).collect();
    assert_eq!(cache.retain_keys(|key| key % 2 == 0), 10);
    check(&cache, 10);
    gate.open();
    for (key, call) in (11..).zip(&mut calls) {
        assert_eq!(poll_once(call), Some(key * 10));
    }
    for key in 1..=30 {
        let value = if key <= 10 { key } else { key * 10 };
        assert_eq!(cache.get(&key), (key % 2 == 0).then_some(value));
    }
    check(&cache, 0);
}

#[test]
fn retain_keys_fences_off_single_keys_of_a_compute_of_many() {
    let (cache, gate) = (cache(), Gate::new());
    let passed = gate.passed();
    let mut call = Box::pin(cache.get_or_compute_many(1..=4, |keys| async move {
        passed.await;
        keys.into_iter().map(|key| (key, key * 10))
    }));
    assert!(poll_once(&mut call).is_none());
    assert_eq!(cache.retain_keys(|key| *key > 2), 0);
    gate.open();
    assert_eq!(poll_once(&mut call).map(|found| found.len()), Some(4));
    assert_eq!(cache.get_many(&[1, 2, 3, 4]), [None, None, Some(30), Some(40)]);
    check(&cache, 0);
}

/// Counts its copies.
struct Counted(Arc<AtomicUsize>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&self.0))
    }
}

#[test]
fn retain_keys_copies_no_value() {
    let copies = Arc::new(AtomicUsize::new(0));
    let cache: Cache<u32, Counted> = Cache::new(1_000);
    for key in 0..1_000 {
        cache.insert(key, Counted(Arc::clone(&copies)));
    }
    assert_eq!(cache.retain_keys(|key| key % 4 == 0), 750);
    assert_eq!(copies.load(Ordering::SeqCst), 0);
    assert_eq!(cache.len(), 250);
    check(&cache, 0);
}

#[test]
fn a_closure_that_panics_leaves_the_cache_whole() {
    let (cache, gate) = (cache(), Gate::new());
    cache.insert(1, 1);
    cache.insert(2, 2);
    let mut call = begun(&cache, 3, &gate);
    let panicked =
        |run: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err();
    assert!(panicked(&|| {
        cache.retain_keys(|_| panic!("oh"));
    }));
    check(&cache, 1);
    assert!(panicked(&|| {
        cache.retain(|_, _| panic!("oh"));
    }));
    gate.open();
    assert_eq!(poll_once(&mut call), Some(30));
    assert_eq!(cache.get_many(&[1, 2]), [Some(1), Some(2)]);
    check(&cache, 0);
}

#[test]
fn the_closure_may_use_the_cache() {
    let cache = cache();
    for key in 0..10 {
        cache.insert(key, key);
    }
    assert_eq!(cache.retain_keys(|key| cache.get(key).is_some_and(|value| value < 5)), 5);
    assert_eq!(cache.retain(|key, value| cache.peek(key) == Some(*value)), 0);
    assert_eq!(cache.len(), 5);
    check(&cache, 0);
}
