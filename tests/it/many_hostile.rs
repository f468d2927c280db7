//! Calls for several keys whose keys, values and computes panic, or call the cache back.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleeting::runtime::{Manual, Spawner, Task, Timer};
use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::flights::{in_time, on_every_runtime, steps, wait};
use crate::hostile_code::OnDrop;
use crate::many::{Numbers, tens};
use crate::support::{Gate, check, poll_once};

const SECOND: Duration = Duration::from_secs(1);

thread_local! {
    /// After how many steps of the user's code the next one panics; 0 is never.
    static FUSE: Cell<u32> = const { Cell::new(0) };
    /// Called with each key that is cloned, unless it is running.
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

type Hook = Box<dyn FnMut(u32)>;

fn burn() {
    let left = FUSE.get();
    FUSE.set(left.saturating_sub(1));
    assert!(left != 1, "the user's code panics");
}

/// Removes the fuse. Tells whether it had not burnt down.
fn remove_fuse() -> bool {
    FUSE.replace(0) > 0
}

/// A key whose code burns the fuse.
#[derive(Debug)]
struct Key(u32);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        burn();
        // Few hashes, so that keys are compared.
        (self.0 % 2).hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        burn();
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Clone for Key {
    fn clone(&self) -> Self {
        burn();
        if let Some(mut hook) = HOOK.take() {
            hook(self.0);
            HOOK.set(Some(hook));
        }
        Self(self.0)
    }
}

/// A value whose clones burn a fuse.
#[derive(Debug, PartialEq)]
struct Fragile(u32);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        burn();
        Self(self.0)
    }
}

/// Ten times each key, and a value that nobody asked for.
async fn answer_with_extra(missing: Vec<Key>) -> HashMap<Key, Fragile> {
    let keys = missing.into_iter().chain([Key(9)]);
    keys.map(|Key(key)| (Key(key), Fragile(key * 10))).collect()
}

#[test]
fn whatever_code_of_keys_and_values_panics_the_cache_stays_whole() {
    in_time(|| {
        for fuse in 1.. {
            let cache: Cache<Key, Fragile> = Cache::builder().build().expect("valid settings");
            cache.insert(Key(4), Fragile(40));
            let gate = Gate::new();
            let three = || gate.passed().map(|()| Ok::<_, ()>(Fragile(3)));
            let mut single = cache.try_get_or_compute(Key(3), three);
            assert!(poll_once(&mut single).is_none());
            gate.open();
            FUSE.set(fuse);
            let found = catch_unwind(AssertUnwindSafe(|| {
                let compute = |missing| answer_with_extra(missing).map(Ok::<_, ()>);
                wait(cache.try_get_or_compute_many([1, 2, 3, 4, 5].map(Key), compute))
            }));
            let is_over = remove_fuse();
            // The bulk call has driven this compute too, and stored its value.
            let single = wait(single);
            assert!(matches!(single, Ok(Fragile(3)) | Err(ComputeError::Panicked(_))));
            check(&cache, 0);
            let stats = cache.stats();
            assert_eq!(stats.inserts, cache.len() as u64, "fuse {fuse}");
            let begun = stats.computes == 2 || stats.requests() > 1;
            assert_eq!(stats.requests(), if begun { 6 } else { 1 }, "fuse {fuse}");
            match found {
                Ok(Ok(found)) => assert_eq!(found.len(), 5, "fuse {fuse}"),
                Ok(Err(error)) => assert!(matches!(error, ComputeError::Panicked(_))),
                Err(_) => assert!(!is_over),
            }
            let again =
                wait(cache.get_or_compute_many([1, 2, 3, 4, 5].map(Key), answer_with_extra));
            assert_eq!(again[&Key(5)], Fragile(50), "fuse {fuse}");
            check(&cache, 0);
            if is_over {
                println!("{fuse} steps");
                return;
            }
        }
    });
}

#[test]
fn a_clone_of_a_value_that_panics_stores_all_of_the_answer_or_nothing() {
    in_time(|| {
        let time = Manual::new();
        for fuse in 1.. {
            let builder = Cache::builder().runtime(time.clone());
            let cache: Cache<u32, Fragile> = builder.build().expect("valid settings");
            let gate = Gate::new();
            let passed = gate.passed();
            let answer = |missing: Vec<u32>| {
                Ok::<_, ()>(
                    missing.into_iter().map(|key| (key, Fragile(key))).collect::<HashMap<_, _>>(),
                )
            };
            let compute = |missing| passed.map(move |()| answer(missing));
            let mut many = cache.try_get_or_compute_many([1, 2, 3], compute).boxed();
            assert!(poll_once(&mut many).is_none());
            let mut joins =
                cache.try_get_or_compute(3, || async { Ok::<_, ()>(Fragile(0)) }).boxed();
            assert!(poll_once(&mut joins).is_none());
            time.advance(SECOND);
            FUSE.set(fuse);
            gate.open();
            let found = catch_unwind(AssertUnwindSafe(|| wait(many)));
            let joined = catch_unwind(AssertUnwindSafe(|| wait(joins)));
            let is_over = remove_fuse();
            let stats = cache.stats();
            assert!(cache.len() == 3 || cache.is_empty(), "{} are stored", cache.len());
            assert_eq!(stats.inserts, cache.len() as u64);
            assert_eq!((stats.computes, stats.compute_time), (1, SECOND), "fuse {fuse}");
            match found {
                Ok(Ok(found)) => assert_eq!(found.len(), 3),
                Ok(Err(error)) => {
                    assert!(matches!(error, ComputeError::Panicked(_)));
                    assert!(matches!(joined, Ok(Err(ComputeError::Panicked(_)))));
                    assert_eq!((cache.len(), stats.compute_failures), (0, 1));
                }
                Err(_) => assert_eq!((cache.len(), stats.compute_failures), (3, 0)),
            }
            check(&cache, 0);
            if is_over {
                return;
            }
        }
    });
}

#[test]
fn a_comparison_that_panics_when_values_are_stored_is_counted_once() {
    in_time(|| {
        let time = Manual::new();
        for fuse in 1.. {
            let builder = Cache::builder().runtime(time.clone());
            let cache: Cache<Key, u32> = builder.build().expect("valid settings");
            let gate = Gate::new();
            let passed = gate.passed();
            let answer = |missing: Vec<Key>| {
                Ok::<_, ()>(missing.into_iter().map(|key| (key, 7)).collect::<HashMap<_, _>>())
            };
            let compute = |missing| passed.map(move |()| answer(missing));
            let mut many = cache.try_get_or_compute_many([1, 3, 5, 7].map(Key), compute).boxed();
            assert!(poll_once(&mut many).is_none());
            time.advance(SECOND);
            FUSE.set(fuse);
            gate.open();
            let found = catch_unwind(AssertUnwindSafe(|| wait(many)));
            let is_over = remove_fuse();
            let stats = cache.stats();
            assert_eq!((stats.computes, stats.compute_time), (1, SECOND), "fuse {fuse}");
            let failed = matches!(found, Ok(Err(ComputeError::Panicked(_))));
            assert_eq!(stats.compute_failures, u64::from(failed), "fuse {fuse}");
            assert_eq!(stats.inserts, cache.len() as u64);
            check(&cache, 0);
            if is_over {
                return;
            }
        }
    });
}

/// Calls `hook` on each clone of a key on this thread, while `case` runs.
fn hooked<T>(hook: impl FnMut(u32) + 'static, case: impl FnOnce() -> T) -> std::thread::Result<T> {
    HOOK.set(Some(Box::new(hook)));
    let result = catch_unwind(AssertUnwindSafe(case));
    HOOK.set(None);
    result
}

fn sevens(missing: Vec<Key>) -> HashMap<Key, u32> {
    missing.into_iter().map(|key| (key, 7)).collect()
}

fn owned_call(
    cache: &Cache<Key, u32>,
    compute: impl Future<Output = u32> + Send + 'static,
) -> BoxFuture<'static, u32> {
    let cache = cache.clone();
    async move { cache.get_or_compute(Key(1), || compute).await }.boxed()
}

#[test]
fn those_who_joined_a_call_that_panics_before_it_computes_ask_again() {
    in_time(|| {
        let cache: Cache<Key, u32> = Cache::builder().build().expect("valid settings");
        let joined = Rc::new(RefCell::new(Vec::new()));
        let hook = {
            let (cache, joined) = (cache.clone(), Rc::clone(&joined));
            move |key| {
                // The flight of key 1 has begun when key 2 is cloned for its own.
                if key == 2 && cache.validate() == 1 {
                    let mut call = owned_call(&cache, async { 5 });
                    assert_eq!(poll_once(&mut call), None, "it joins");
                    joined.borrow_mut().push(call);
                    let mut many = {
                        let cache = cache.clone();
                        async move {
                            cache.get_or_compute_many([Key(1)], async |keys| sevens(keys)).await
                        }
                    }
                    .boxed();
                    assert_eq!(poll_once(&mut many), None, "it joins");
                    drop(many);
                    panic!("the clone panics");
                }
            }
        };
        let found = hooked(hook, || {
            wait(cache.get_or_compute_many([Key(1), Key(2)], async |keys| sevens(keys)))
        });
        assert!(found.is_err());
        let call = joined.borrow_mut().pop().expect("one has joined");
        assert_eq!(wait(call), 5);
        check(&cache, 0);
        let stats = cache.stats();
        assert_eq!((stats.misses, stats.coalesced, stats.inserts), (4, 2, 1));
    });
}

#[test]
fn a_compute_that_others_begin_while_the_call_begins_its_own_is_joined_and_counted() {
    in_time(|| {
        let cache: Cache<Key, u32> = Cache::builder().build().expect("valid settings");
        let gate = Gate::new();
        let other = Rc::new(RefCell::new(None));
        let hook = {
            let (cache, gate, other) = (cache.clone(), gate.clone(), Rc::clone(&other));
            let mut clones = 0;
            move |key| {
                clones += u32::from(key == 2);
                if key == 2 && clones == 1 {
                    let mut call = owned_call(&cache, gate.passed().map(|()| 5));
                    assert_eq!(poll_once(&mut call), None);
                    *other.borrow_mut() = Some(call);
                }
            }
        };
        let mut many =
            cache.get_or_compute_many([Key(2), Key(1)], async |keys| sevens(keys)).boxed_local();
        let polled = hooked(hook, || poll_once(&mut many)).expect("nothing panics");
        assert_eq!(polled, None);
        gate.open();
        assert_eq!(wait(many), HashMap::from([(Key(2), 7), (Key(1), 5)]));
        drop(other.borrow_mut().take());
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.coalesced, stats.computes), (0, 3, 1, 2));
        check(&cache, 0);
    });
}

#[test]
fn a_value_that_others_store_while_the_call_begins_its_compute_is_a_hit() {
    in_time(|| {
        let cache: Cache<Key, u32> = Cache::builder().build().expect("valid settings");
        let hook = {
            let cache = cache.clone();
            let mut clones = 0;
            move |key| {
                clones += u32::from(key == 2);
                if key == 2 && clones == 1 {
                    cache.insert(Key(1), 5);
                }
            }
        };
        let many = cache.get_or_compute_many([Key(2), Key(1)], async |keys| sevens(keys));
        let found = hooked(hook, || wait(many)).expect("nothing panics");
        assert_eq!(found, HashMap::from([(Key(2), 7), (Key(1), 5)]));
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.computes), (1, 1, 1));
        check(&cache, 0);
    });
}

#[test]
fn a_panic_of_the_closure_or_the_compute_reaches_all_who_wait() {
    on_every_runtime(async |host| {
        type Panics = fn(Gate) -> BoxFuture<'static, Numbers>;
        let panics: [Panics; 3] = [
            |_| panic!("the closure panics"),
            |gate| gate.passed().map(|()| panic!("the compute panics")).boxed(),
            |gate| {
                let guard = OnDrop::panic();
                async move {
                    let _guard = guard;
                    gate.passed().await;
                    tens([1, 2])
                }
                .boxed()
            },
        ];
        for (index, make) in panics.into_iter().enumerate() {
            let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
            let gate = Gate::new();
            let compute = |_| make(gate.clone()).map(Ok::<_, ()>);
            let mut many = cache.try_get_or_compute_many([1, 2], compute).boxed();
            if index == 0 {
                let Err(ComputeError::Panicked(message)) = many.await else { panic!("it panics") };
                assert_eq!(&*message, "the closure panics");
            } else {
                assert!(poll_once(&mut many).is_none());
                let mut joins = cache.try_get_or_compute(2, || async { Ok::<_, ()>(5) }).boxed();
                assert!(poll_once(&mut joins).is_none());
                let never = |_| async { Ok::<_, ()>(Numbers::new()) };
                let mut bulk = cache.try_get_or_compute_many([1], never).boxed();
                assert!(poll_once(&mut bulk).is_none());
                gate.open();
                assert!(matches!(many.await, Err(ComputeError::Panicked(_))));
                assert!(matches!(joins.await, Err(ComputeError::Panicked(_))));
                assert!(matches!(bulk.await, Err(ComputeError::Panicked(_))));
            }
            assert_eq!((cache.len(), cache.stats().compute_failures), (0, 1));
            check(&cache, 0);
            let again = cache.get_or_compute_many([1, 2], |missing| async { tens(missing) }).await;
            assert_eq!(again, tens([1, 2]));
        }
    });
}

#[test]
fn the_call_without_try_panics_with_a_clear_message() {
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let panics = |_: Vec<u32>| async { crate::support::panics::<HashMap<_, _>>("out of luck") };
    let call = AssertUnwindSafe(cache.get_or_compute_many([1], panics));
    let panic = catch_unwind(|| wait(call)).expect_err("it panics");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("out of luck"), "{message}");
    check(&cache, 0);
}

#[test]
fn a_bulk_compute_that_asks_for_one_of_its_own_keys_is_told_so() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let inside = cache.clone();
        let compute = move |missing: Vec<u32>| async move {
            let single = inside.try_get_or_compute(2, || async { Ok::<_, ()>(5) }).await;
            assert_eq!(single, Err(ComputeError::Recursive));
            let never = |_| async { Ok::<_, ()>(Numbers::new()) };
            let bulk = inside.try_get_or_compute_many([7, 1], never).await;
            assert_eq!(bulk, Err(ComputeError::Recursive));
            steps(1).await;
            let again = inside.try_get_or_compute_many([3], never).await;
            assert_eq!(again, Err(ComputeError::Recursive));
            let others = inside.get_or_compute_many([8, 9], |missing| async { tens(missing) });
            assert_eq!(others.await, tens([8, 9]), "other keys are no circle");
            tens(missing)
        };
        assert_eq!(cache.get_or_compute_many([1, 2, 3], compute).await, tens([1, 2, 3]));
        check(&cache, 0);
        let inside = cache.clone();
        let closure = move |missing: Vec<u32>| {
            let call = inside.try_get_or_compute(4, || async { Ok::<_, ()>(5) });
            assert_eq!(call.now_or_never(), Some(Err(ComputeError::Recursive)));
            async { tens(missing) }
        };
        assert_eq!(cache.get_or_compute_many([4], closure).await, tens([4]));
        check(&cache, 0);
    });
}

#[test]
fn a_circle_through_bulk_calls_and_single_ones_is_told() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let (outer, inner) = (cache.clone(), cache.clone());
        let compute = move |missing: Vec<u32>| async move {
            let single = async move || {
                let never = |_| async { Ok::<_, ()>(Numbers::new()) };
                let told = inner.try_get_or_compute_many([5, 2], never).await;
                assert_eq!(told, Err(ComputeError::Recursive));
                30
            };
            assert_eq!(outer.get_or_compute(3, single).await, 30);
            tens(missing)
        };
        assert_eq!(cache.get_or_compute_many([1, 2], compute).await, tens([1, 2]));
        check(&cache, 0);
    });
}

#[test]
fn being_recursive_is_no_failure_that_a_stale_value_stands_in_for() {
    in_time(|| {
        let builder = Cache::builder().ttl(Duration::ZERO).stale_if_error(60 * SECOND);
        let cache: Cache<u32, u32> = builder.build().expect("valid settings");
        cache.insert(1, 1);
        let inside = cache.clone();
        let compute = move |missing: Vec<u32>| async move {
            let single = inside.try_get_or_compute(1, || async { Ok::<_, ()>(5) }).await;
            assert_eq!(single, Err(ComputeError::Recursive));
            let never = |_| async { Ok::<_, ()>(Numbers::new()) };
            let bulk = inside.try_get_or_compute_many([1], never).await;
            assert_eq!(bulk, Err(ComputeError::Recursive));
            tens(missing)
        };
        assert_eq!(wait(cache.get_or_compute_many([1], compute)), tens([1]));
        check(&cache, 0);
    });
}

#[test]
fn a_bulk_compute_needs_one_permit_and_lends_it_to_what_it_asks_for() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> =
            host.builder().max_concurrent_computes(1).build().expect("valid settings");
        let (inside, gate) = (cache.clone(), Gate::new());
        let passed = gate.passed();
        let compute = move |missing: Vec<u32>| async move {
            passed.await;
            let others =
                inside.get_or_compute_many([7, 8], |missing| async { tens(missing) }).await;
            assert_eq!(others.len(), 2);
            tens(missing)
        };
        let mut many = cache.get_or_compute_many([1, 2, 3], compute).boxed();
        assert_eq!(poll_once(&mut many), None);
        let mut waits =
            cache.get_or_compute_many([4, 5], |missing| async { tens(missing) }).boxed();
        assert_eq!(poll_once(&mut waits), None, "there is one permit");
        // One that asks for both waits for both.
        let mut both =
            cache.get_or_compute_many([1, 5, 6], |missing| async { tens(missing) }).boxed();
        assert_eq!(poll_once(&mut both), None);
        gate.open();
        assert_eq!(many.await, tens([1, 2, 3]));
        assert_eq!(both.await, tens([1, 5, 6]));
        assert_eq!(waits.await, tens([4, 5]));
        check(&cache, 0);
    });
}

#[test]
fn what_the_compute_itself_stores_for_its_keys_wins() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let inside = cache.clone();
        let compute = move |missing: Vec<u32>| async move {
            inside.insert(2, 99);
            tens(missing)
        };
        assert_eq!(cache.get_or_compute_many([1, 2], compute).await, tens([1, 2]));
        assert_eq!(cache.get_many(&[1, 2]), [Some(10), Some(99)]);
        let error: Arc<str> = Arc::from("down");
        let fails = |_| async { Err::<Numbers, _>(error) };
        let found = cache.try_get_or_compute_many([1, 2, 2], fails).await;
        assert_eq!(found, Ok(Numbers::from([(1, 10), (2, 99)])));
        check(&cache, 0);
    });
}

/// A runtime whose timers write to the cache.
#[derive(Clone)]
struct Busybody {
    time: Manual,
    cache: Arc<Mutex<Option<Cache<u32, u32>>>>,
}

impl Spawner for Busybody {
    fn spawn(&self, task: Task) {
        self.time.spawn(task);
    }
}

impl Timer for Busybody {
    fn now(&self) -> Instant {
        self.time.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let cache = self.cache.lock().expect("nobody panics here").clone();
        if let Some(cache) = cache {
            cache.insert(9, 9);
        }
        self.time.sleep_until(deadline)
    }
}

#[test]
fn a_runtime_is_asked_for_timers_under_no_lock() {
    in_time(|| {
        let runtime = Busybody { time: Manual::new(), cache: Arc::default() };
        let builder = Cache::builder().max_size(10).runtime(runtime.clone());
        let cache: Cache<u32, u32> =
            builder.compute_timeout(5 * SECOND).build().expect("valid settings");
        *runtime.cache.lock().expect("nobody panics here") = Some(cache.clone());
        let hangs = |_| std::future::pending::<Result<Numbers, ()>>();
        let mut many = cache.try_get_or_compute_many([1, 2], hangs).boxed();
        assert!(poll_once(&mut many).is_none());
        let mut joins = cache.try_get_or_compute_many([2, 1], hangs).boxed();
        assert!(poll_once(&mut joins).is_none());
        let mut single =
            cache.try_get_or_compute(1, std::future::pending::<Result<u32, ()>>).boxed();
        assert!(poll_once(&mut single).is_none());
        runtime.time.advance(5 * SECOND);
        assert_eq!(wait(many), Err(ComputeError::TimedOut));
        assert_eq!(wait(joins), Err(ComputeError::TimedOut));
        assert_eq!(wait(single), Err(ComputeError::TimedOut));
        // The cache and its runtime hold each other.
        drop(runtime.cache.lock().expect("nobody panics here").take());
        check(&cache, 0);
    });
}
