//! Keys, values, hashers and closures that panic, collide, or call the cache back.

use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fleeting::runtime::{Spawner, Task, Timer};
use fleeting::{Cache, CacheBuilder, ComputeError};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::support::{Gate, check, on_every_runtime, poll_once};

/// A runtime that drops its tasks, and whose clock is moved by hand.
#[derive(Clone)]
struct HandClock {
    origin: Instant,
    elapsed: Arc<AtomicU64>,
}

impl HandClock {
    fn new() -> Self {
        Self { origin: Instant::now(), elapsed: Arc::default() }
    }

    fn builder<K, V>(&self) -> CacheBuilder<K, V> {
        Cache::builder().runtime(self.clone())
    }

    fn advance(&self, seconds: u64) {
        self.elapsed.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Spawner for HandClock {
    fn spawn(&self, task: Task) {
        drop(task);
    }
}

impl Timer for HandClock {
    fn now(&self) -> Instant {
        self.origin + Duration::from_secs(self.elapsed.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, _deadline: Instant) -> Task {
        futures::future::pending().boxed()
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Runs a case on a thread of its own, so that one which hangs fails.
fn without_hanging(case: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(case));
        // Nobody waits any more if it took too long.
        let _ = done.send(());
        result
    });
    ended.recv_timeout(Duration::from_secs(20)).expect("the case does not hang");
    thread.join().and_then(|result| result).unwrap_or_else(|panic| resume_unwind(panic));
}

fn panics<T>(code: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(code))
}

/// Polls a future to its end, which takes few polls when nothing holds it up.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..100 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    panic!("the future does not end");
}

thread_local! {
    /// At which call from now on the user's code panics; 0 is at none.
    static FUSE: Cell<u32> = const { Cell::new(0) };
}

fn burn() {
    let left = FUSE.get();
    FUSE.set(left.saturating_sub(1));
    assert!(left != 1, "the user's code panics");
}

/// A key whose `Hash`, `Eq` and `Clone` panic when the fuse has burnt down.
#[derive(Debug)]
struct Key(u32);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        burn();
        self.0.hash(state);
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
        Self(self.0)
    }
}

/// A value whose `Clone` panics when the fuse has burnt down.
#[derive(Debug, PartialEq)]
struct Value(u32);

impl Clone for Value {
    fn clone(&self) -> Self {
        burn();
        Self(self.0)
    }
}

/// Every key has the same hash.
#[derive(Clone, Default)]
struct Constant;

impl BuildHasher for Constant {
    type Hasher = ConstantHasher;

    fn build_hasher(&self) -> ConstantHasher {
        ConstantHasher
    }
}

struct ConstantHasher;

impl Hasher for ConstantHasher {
    fn write(&mut self, _bytes: &[u8]) {}

    fn finish(&self) -> u64 {
        0
    }
}

type Fragile = Cache<Key, Value, Constant>;

/// Key 0 is what operations work on; 1 to 3 stand by; 4 and 5 have expired; 6 is being computed.
struct Scene {
    cache: Fragile,
    flight: BoxFuture<'static, Value>,
}

const TARGET: u32 = 0;
const BYSTANDERS: std::ops::Range<u32> = 1..4;
const EXPIRED: u32 = 4;
const RUNNING: u32 = 6;
const ABSENT: u32 = 7;

impl Scene {
    fn new(max_size: usize) -> Self {
        let clock = HandClock::new();
        let builder = clock.builder().max_size(max_size).hasher(Constant);
        let cache: Fragile = builder.build().expect("valid settings");
        for key in TARGET..EXPIRED {
            cache.insert(Key(key), Value(key));
        }
        for key in EXPIRED..RUNNING {
            cache.entry(Key(key)).ttl(SECOND).insert(Value(key));
        }
        let caller = cache.clone();
        let mut flight =
            async move { caller.get_or_compute(Key(RUNNING), futures::future::pending).await }
                .boxed();
        assert_eq!(poll_once(&mut flight), None);
        clock.advance(1);
        Self { cache, flight }
    }

    /// After a panic: the other keys are as they were, and the target can be used.
    fn check(self, evicts: bool) {
        let Self { cache, flight } = self;
        for key in BYSTANDERS.skip(usize::from(evicts)) {
            assert_eq!(cache.get(&Key(key)), Some(Value(key)));
        }
        for key in [TARGET, EXPIRED, EXPIRED + 1, ABSENT] {
            cache.insert(Key(key), Value(100));
            assert_eq!(cache.get(&Key(key)), Some(Value(100)));
            assert_eq!(cache.remove(&Key(key)), Some(Value(100)));
        }
        drop(flight);
        check(&cache, 0);
        cache.remove(&Key(RUNNING));
        let computed = finish(cache.get_or_compute(Key(RUNNING), async || Value(200)));
        assert_eq!(computed, Value(200));
        check(&cache, 0);
        cache.clear();
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    }
}

type Operation = (&'static str, fn(&Fragile));

/// What an operation returns does not matter here.
fn ignore<T>(_: T) {}

const OPERATIONS: &[Operation] = &[
    ("get", |cache| ignore(cache.get(&Key(TARGET)))),
    ("get, absent", |cache| ignore(cache.get(&Key(ABSENT)))),
    ("get, expired", |cache| ignore(cache.get(&Key(EXPIRED)))),
    ("peek", |cache| ignore(cache.peek(&Key(TARGET)))),
    ("contains_key", |cache| assert!(cache.contains_key(&Key(TARGET)))),
    ("insert, over a value", |cache| ignore(cache.insert(Key(TARGET), Value(50)))),
    ("insert, absent", |cache| ignore(cache.insert(Key(ABSENT), Value(50)))),
    ("insert, expired", |cache| ignore(cache.insert(Key(EXPIRED), Value(50)))),
    ("insert, several", |cache| {
        for key in ABSENT..ABSENT + 4 {
            cache.insert(Key(key), Value(50));
        }
    }),
    ("insert, running", |cache| ignore(cache.insert(Key(RUNNING), Value(50)))),
    ("remove", |cache| ignore(cache.remove(&Key(TARGET)))),
    ("remove, expired", |cache| ignore(cache.remove(&Key(EXPIRED)))),
    ("remove, running", |cache| ignore(cache.remove(&Key(RUNNING)))),
    ("remove_if", |cache| ignore(cache.remove_if(&Key(TARGET), |_| true))),
    ("entry insert", |cache| ignore(cache.entry(Key(TARGET)).ttl(SECOND).insert(Value(50)))),
    ("entry_ref insert", |cache| ignore(cache.entry_ref(&Key(TARGET)).insert(Value(50)))),
    ("or_insert, present", |cache| ignore(cache.entry(Key(TARGET)).or_insert(Value(50)))),
    ("or_insert, absent", |cache| ignore(cache.entry_ref(&Key(ABSENT)).or_insert(Value(50)))),
    ("or_insert, expired", |cache| ignore(cache.entry(Key(EXPIRED)).or_insert(Value(50)))),
    ("or_insert, running", |cache| ignore(cache.entry(Key(RUNNING)).or_insert(Value(50)))),
    ("iter", |cache| ignore(cache.iter().collect::<Vec<_>>())),
    ("compute, hit", |cache| {
        finish(cache.get_or_compute(Key(TARGET), async || Value(50)));
    }),
    ("compute, absent", |cache| {
        finish(cache.get_or_compute(Key(ABSENT), async || Value(50)));
    }),
    ("compute, expired", |cache| {
        finish(cache.entry_ref(&Key(EXPIRED)).ttl(SECOND).get_or_compute(async || Value(50)));
    }),
    ("compute, joined", |cache| {
        let mut caller = pin!(cache.get_or_compute(Key(RUNNING), async || Value(50)));
        assert!(poll_once(&mut caller).is_none(), "it joins the flight that goes on");
    }),
    ("compute, failing", |cache| {
        let failed = cache.try_get_or_compute(Key(ABSENT), async || Err::<Value, _>("no"));
        assert!(finish(failed).is_err());
    }),
];

/// Runs each operation with a fuse of each length, until it is longer than the operation.
fn burn_every_operation(max_size: usize, wrap: fn(&Fragile, fn(&Fragile))) {
    for (name, operation) in OPERATIONS {
        let mut length = 1;
        loop {
            println!("{name}, a panic at call {length}");
            let scene = Scene::new(max_size);
            FUSE.set(length);
            drop(panics(|| wrap(&scene.cache, *operation)));
            let burnt = FUSE.replace(0) == 0;
            scene.check(max_size < 10);
            if !burnt {
                break;
            }
            length += 1;
            assert!(length < 1_000, "an operation calls the user's code a few times");
        }
        assert!(length > 1, "{name} calls the user's code");
    }
}

#[test]
fn a_panic_at_any_call_of_hash_eq_and_clone_leaves_the_cache_whole() {
    burn_every_operation(100, |cache, operation| operation(cache));
}

#[test]
fn a_panic_at_any_call_leaves_a_full_cache_whole() {
    burn_every_operation(6, |cache, operation| operation(cache));
}

#[test]
fn a_panic_in_a_waiters_clone_leaves_the_other_waiters_their_value() {
    for length in 1..20 {
        let cache: Fragile = Cache::builder().hasher(Constant).build().expect("valid settings");
        let gate = Gate::new();
        let mut callers: Vec<BoxFuture<'static, Result<Value, ComputeError<()>>>> = Vec::new();
        for _ in 0..4 {
            let (cache, passed) = (cache.clone(), gate.passed());
            callers.push(
                async move {
                    let compute = || async move {
                        passed.await;
                        Ok(Value(1))
                    };
                    cache.try_get_or_compute(Key(1), compute).await
                }
                .boxed(),
            );
        }
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        gate.open();
        FUSE.set(length);
        // One caller may panic; all others have an outcome, be it the panic's message.
        let mut panicked = 0;
        for mut caller in callers {
            match panics(|| poll_once(&mut caller)) {
                Ok(outcome) => drop(outcome.expect("nobody is left waiting")),
                Err(_) => panicked += 1,
            }
        }
        FUSE.set(0);
        assert!(panicked <= 1);
        check(&cache, 0);
        assert_eq!(finish(cache.get_or_compute(Key(2), async || Value(2))), Value(2));
    }
}

#[test]
fn thousands_of_keys_with_one_hash_do_not_mix_up() {
    let cache: Cache<u32, u32, Constant> =
        Cache::builder().hasher(Constant).build().expect("valid settings");
    for key in 0..3_000 {
        assert_eq!(cache.insert(key, key + 1), None);
    }
    for key in (0..3_000).step_by(3) {
        assert_eq!(cache.remove(&key), Some(key + 1));
    }
    for key in 0..3_000 {
        assert_eq!(cache.get(&key), (key % 3 != 0).then_some(key + 1));
    }
    check(&cache, 0);
}

#[test]
fn keys_with_one_hash_are_evicted_in_their_order() {
    let builder = Cache::builder().max_size(500).hasher(Constant);
    let cache: Cache<u32, u32, Constant> = builder.build().expect("valid settings");
    for key in 0..2_000 {
        cache.insert(key, key);
    }
    for key in 0..2_000 {
        assert_eq!(cache.get(&key), (key >= 1_500).then_some(key));
    }
    check(&cache, 0);
}

/// A hasher that passes integers through.
#[derive(Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Identity = BuildHasherDefault<IdentityHasher>;

#[test]
fn a_hasher_that_passes_integers_through_works_for_any_stride() {
    for shift in [0, 7, 16, 32, 48, 57] {
        let builder = Cache::builder().hasher(Identity::default());
        let cache: Cache<u64, u64, Identity> = builder.build().expect("valid settings");
        let keys = || (0..128_u64).map(|number| number << shift);
        for key in keys() {
            cache.insert(key, !key);
        }
        assert!(keys().all(|key| cache.get(&key) == Some(!key)));
        assert_eq!(cache.len(), 128);
        check(&cache, 0);
    }
}

#[test]
fn a_key_whose_hash_changes_is_lost_and_harms_nothing() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    #[derive(PartialEq, Eq)]
    struct Changing(u32);
    impl Hash for Changing {
        fn hash<H: Hasher>(&self, state: &mut H) {
            CALLS.fetch_add(1, Ordering::SeqCst).hash(state);
        }
    }
    let cache: Cache<Changing, u32> =
        Cache::builder().max_size(50).build().expect("valid settings");
    for key in 0..500 {
        cache.insert(Changing(key % 5), key);
        cache.get(&Changing(key % 5));
        cache.remove(&Changing(key % 5));
    }
    assert!(cache.len() <= 50);
    check(&cache, 0);
    cache.clear();
    assert_eq!(cache.len(), 0);
    check(&cache, 0);
}

#[test]
fn keys_that_are_all_equal_or_never_equal_harm_nothing() {
    struct Odd(u8, bool);
    impl Hash for Odd {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }
    impl PartialEq for Odd {
        fn eq(&self, _: &Self) -> bool {
            self.1
        }
    }
    impl Eq for Odd {}
    for always in [false, true] {
        let builder = Cache::builder().max_size(20).hasher(Constant);
        let cache: Cache<Odd, u8, Constant> = builder.build().expect("valid settings");
        for key in 0..100 {
            cache.insert(Odd(key, always), key);
            cache.entry(Odd(key, always)).or_insert(key);
            finish(cache.get_or_compute(Odd(key, always), || async move { key }));
        }
        assert_eq!(cache.len(), if always { 1 } else { 20 });
        check(&cache, 0);
    }
}

/// A value that runs something when its last copy is dropped.
#[derive(Clone)]
pub(crate) struct OnDrop(#[expect(dead_code, reason = "held to be dropped")] Option<Arc<Action>>);

struct Action(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Drop for Action {
    fn drop(&mut self) {
        let action = self.0.lock().expect("no panic while locked").take();
        if let Some(action) = action {
            action();
        }
    }
}

impl OnDrop {
    pub(crate) fn nothing() -> Self {
        Self(None)
    }

    pub(crate) fn run(action: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Arc::new(Action(Mutex::new(Some(Box::new(action)))))))
    }

    pub(crate) fn panic() -> Self {
        Self::run(|| panic!("the destructor panics"))
    }
}

impl Debug for OnDrop {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("OnDrop")
    }
}

type Dropping = Cache<u32, OnDrop>;
type Cause = (&'static str, fn(&Dropping, &HandClock));
type Reaction = (&'static str, fn(&Dropping));

/// The ways in which the value under key 0, with a TTL of a second, leaves a cache of two.
const CAUSES: &[Cause] = &[
    ("overwritten", |cache, _| drop(cache.insert(0, OnDrop::nothing()))),
    ("removed", |cache, _| drop(cache.remove(&0))),
    ("removed on a condition", |cache, _| drop(cache.remove_if(&0, |_| true))),
    ("cleared", |cache, _| cache.clear()),
    ("evicted by an insert", |cache, _| {
        for key in 1..3 {
            cache.insert(key, OnDrop::nothing());
        }
    }),
    ("evicted by or_insert", |cache, _| {
        for key in 1..3 {
            cache.entry(key).or_insert(OnDrop::nothing());
        }
    }),
    ("evicted by a compute", |cache, _| {
        for key in 1..3 {
            finish(cache.get_or_compute(key, async || OnDrop::nothing()));
        }
    }),
    ("expired, met by a get", |cache, clock| {
        clock.advance(1);
        assert!(cache.get(&0).is_none());
    }),
    ("expired, met by a remove", |cache, clock| {
        clock.advance(1);
        assert!(cache.remove(&0).is_none());
    }),
    ("expired, met by an insert", |cache, clock| {
        clock.advance(1);
        assert!(cache.insert(0, OnDrop::nothing()).is_none());
    }),
    ("expired, met by or_insert", |cache, clock| {
        clock.advance(1);
        cache.entry(0).or_insert(OnDrop::nothing());
    }),
    ("expired, met by a write of another key", |cache, clock| {
        clock.advance(1);
        cache.insert(1, OnDrop::nothing());
    }),
    ("expired, met by a cleanup", |cache, clock| {
        clock.advance(1);
        cache.cleanup();
    }),
    ("expired, met by a compute", |cache, clock| {
        clock.advance(1);
        finish(cache.get_or_compute(0, async || OnDrop::nothing()));
    }),
];

/// What a destructor does with the cache.
const REACTIONS: &[Reaction] = &[
    ("reads", |cache| drop((cache.get(&0), cache.peek(&1), cache.len(), cache.stats()))),
    ("stores its key", |cache| drop(cache.insert(0, OnDrop::nothing()))),
    ("stores another key", |cache| drop(cache.insert(9, OnDrop::nothing()))),
    ("stores unless present", |cache| drop(cache.entry(0).or_insert(OnDrop::nothing()))),
    ("removes", |cache| drop((cache.remove(&0), cache.remove(&1)))),
    ("clears", Cache::clear),
    ("cleans up", |cache| {
        cache.cleanup();
    }),
    ("iterates", |cache| assert!(cache.iter().count() <= 2)),
    ("computes another key", |cache| {
        finish(cache.get_or_compute(9, async || OnDrop::nothing()));
    }),
];

fn two_at_most(clock: &HandClock) -> Dropping {
    clock.builder().max_size(2).build().expect("valid settings")
}

#[test]
fn a_destructor_may_call_the_cache_back_whatever_removed_its_value() {
    without_hanging(|| {
        for (cause, leave) in CAUSES {
            for (reaction, react) in REACTIONS {
                println!("{cause}, and the destructor {reaction}");
                let clock = HandClock::new();
                let cache = two_at_most(&clock);
                let (handle, ran) = (cache.clone(), Arc::new(AtomicBool::new(false)));
                let (has_run, react) = (Arc::clone(&ran), *react);
                let value = OnDrop::run(move || {
                    react(&handle);
                    has_run.store(true, Ordering::SeqCst);
                });
                cache.entry(0).ttl(SECOND).insert(value);
                leave(&cache, &clock);
                assert!(ran.load(Ordering::SeqCst), "the value is dropped at once");
                check(&cache, 0);
                assert!(cache.len() <= 2);
                cache.insert(5, OnDrop::nothing());
                assert!(cache.get(&5).is_some());
            }
        }
    });
}

#[test]
fn a_destructor_that_panics_leaves_the_cache_whole_whatever_removed_its_value() {
    without_hanging(|| {
        for (cause, leave) in CAUSES {
            println!("{cause}");
            let clock = HandClock::new();
            let cache = two_at_most(&clock);
            cache.entry(0).ttl(SECOND).insert(OnDrop::panic());
            let passed_on = panics(|| leave(&cache, &clock)).is_err();
            // The value of a compute was stored by then: its caller gets it.
            assert_eq!(passed_on, *cause != "evicted by a compute");
            check(&cache, 0);
            for key in 0..10 {
                cache.insert(key, OnDrop::nothing());
                assert!(cache.get(&key).is_some());
            }
            assert_eq!(cache.len(), 2);
            check(&cache, 0);
        }
    });
}

#[test]
fn what_a_write_stored_stays_when_a_destructor_panics() {
    let clock = HandClock::new();
    let cache = two_at_most(&clock);
    cache.insert(0, OnDrop::panic());
    cache.insert(1, OnDrop::nothing());
    assert!(panics(|| cache.insert(2, OnDrop::nothing())).is_err());
    assert!(cache.get(&2).is_some());
    assert!(cache.get(&0).is_none());
    assert_eq!(cache.stats().evictions, 1);
    check(&cache, 0);
}

#[test]
fn clear_removes_everything_also_when_a_destructor_panics() {
    // Several times: the keys are spread over the shards at random.
    for _ in 0..20 {
        let cache: Dropping = Cache::builder().build().expect("valid settings");
        cache.insert(0, OnDrop::panic());
        for key in 1..100 {
            cache.insert(key, OnDrop::nothing());
        }
        assert!(panics(|| cache.clear()).is_err());
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    }
}

/// Fills a cache with values whose drops are counted.
fn count_drops(cache: &Dropping) -> Arc<AtomicUsize> {
    let drops = Arc::new(AtomicUsize::new(0));
    for key in 0..1_000 {
        let drops = Arc::clone(&drops);
        let count = move || {
            drops.fetch_add(1, Ordering::SeqCst);
        };
        cache.insert(key, OnDrop::run(count));
    }
    drops
}

#[test]
fn values_are_dropped_once_each_when_the_last_handle_goes() {
    on_every_runtime(async |host| {
        let cache: Dropping = host.builder().build().expect("valid settings");
        let drops = count_drops(&cache);
        drop(cache.clone());
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        drop(cache);
        assert_eq!(drops.load(Ordering::SeqCst), 1_000);
    });
}

#[test]
fn background_work_does_not_keep_values_that_no_handle_can_reach() {
    on_every_runtime(async |host| {
        let cache: Dropping = host.builder().ttl(60 * SECOND).build().expect("valid settings");
        let drops = count_drops(&cache);
        drop(cache);
        // The background task may be looking at the cache on another thread just now.
        let patience = Instant::now() + 20 * SECOND;
        while drops.load(Ordering::SeqCst) < 1_000 && Instant::now() < patience {
            std::thread::yield_now();
        }
        assert_eq!(drops.load(Ordering::SeqCst), 1_000);
    });
}

#[test]
fn a_destructor_that_panics_passes_out_of_the_last_handles_drop() {
    without_hanging(|| {
        let cache: Dropping = Cache::builder().build().expect("valid settings");
        cache.insert(0, OnDrop::panic());
        assert!(panics(move || drop(cache)).is_err());
    });
}

#[test]
fn a_value_may_hold_the_handle_of_its_own_cache_and_clear_frees_both() {
    let cache: Dropping = Cache::builder().build().expect("valid settings");
    let freed = Arc::new(AtomicBool::new(false));
    let (handle, is_freed) = (cache.clone(), Arc::clone(&freed));
    cache.insert(0, OnDrop::run(move || drop(handle)));
    cache.insert(1, OnDrop::run(move || is_freed.store(true, Ordering::SeqCst)));
    cache.remove(&0);
    drop(cache);
    assert!(freed.load(Ordering::SeqCst));
}

#[cfg(feature = "test-util")]
#[test]
fn the_last_handle_may_be_dropped_by_the_background_task() {
    crate::support::in_virtual_time(async |time| {
        let cache: Dropping = time.builder().build().expect("valid settings");
        let freed = Arc::new(AtomicBool::new(false));
        let (handle, is_freed) = (cache.clone(), Arc::clone(&freed));
        cache.entry(0).ttl(SECOND).insert(OnDrop::run(move || drop(handle)));
        cache.insert(1, OnDrop::run(move || is_freed.store(true, Ordering::SeqCst)));
        drop(cache);
        assert!(!freed.load(Ordering::SeqCst), "the value's own handle keeps it");
        time.advance(2 * SECOND).await;
        assert!(freed.load(Ordering::SeqCst));
    });
}

#[cfg(feature = "test-util")]
#[test]
fn a_destructor_may_call_the_cache_back_from_the_background_task() {
    crate::support::in_virtual_time(async |time| {
        for (reaction, react) in REACTIONS {
            println!("the destructor {reaction}");
            let cache: Dropping = time.builder().build().expect("valid settings");
            let (handle, react) = (cache.clone(), *react);
            cache.entry(0).ttl(SECOND).insert(OnDrop::run(move || react(&handle)));
            time.advance(SECOND).await;
            check(&cache, 0);
            // The background work goes on.
            cache.entry(1).ttl(SECOND).insert(OnDrop::nothing());
            let len = cache.len();
            time.advance(2 * SECOND).await;
            assert_eq!(cache.len(), len - 1);
        }
    });
}

#[cfg(feature = "test-util")]
#[test]
fn a_destructor_that_panics_does_not_end_the_background_work() {
    crate::support::in_virtual_time(async |time| {
        let cache: Dropping = time.builder().build().expect("valid settings");
        cache.entry(0).ttl(SECOND).insert(OnDrop::panic());
        cache.entry(1).ttl(SECOND).insert(OnDrop::nothing());
        cache.entry(2).ttl(9 * SECOND).insert(OnDrop::nothing());
        time.advance(2 * SECOND).await;
        assert_eq!(cache.len(), 1);
        time.advance(8 * SECOND).await;
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    });
}

/// A key that is equal to others of its number, and runs something when it is dropped.
#[derive(Debug)]
struct DroppingKey(u32, #[expect(dead_code, reason = "held to be dropped")] OnDrop);

impl DroppingKey {
    fn plain(number: u32) -> Self {
        Self(number, OnDrop::nothing())
    }
}

impl PartialEq for DroppingKey {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for DroppingKey {}

impl Hash for DroppingKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[test]
fn the_destructor_of_a_key_may_call_the_cache_back() {
    without_hanging(|| {
        type Keyed = Cache<DroppingKey, u32>;
        type Use = (&'static str, fn(&Keyed, DroppingKey));
        let uses: &[Use] = &[
            ("that is not needed to overwrite", |cache, key| {
                cache.insert(DroppingKey::plain(0), 1);
                cache.insert(key, 2);
            }),
            ("of a removed entry", |cache, key| {
                cache.insert(key, 1);
                cache.remove(&DroppingKey::plain(0));
            }),
            ("of an evicted entry", |cache, key| {
                cache.insert(key, 1);
                cache.insert(DroppingKey::plain(1), 1);
                cache.insert(DroppingKey::plain(2), 1);
            }),
            ("of a cleared entry", |cache, key| {
                cache.insert(key, 1);
                cache.clear();
            }),
            ("of a hit", |cache, key| {
                cache.insert(DroppingKey::plain(0), 1);
                finish(cache.get_or_compute(key, async || 2));
            }),
            ("of or_insert that finds a value", |cache, key| {
                cache.insert(DroppingKey::plain(0), 1);
                cache.entry(key).or_insert(2);
            }),
            ("of a compute that fails", |cache, key| {
                let failed = cache.try_get_or_compute(key, async || Err::<u32, _>(()));
                assert!(finish(failed).is_err());
            }),
            ("of a compute that is dropped", |cache, key| {
                let mut caller = pin!(cache.get_or_compute(key, futures::future::pending));
                assert!(poll_once(&mut caller).is_none());
            }),
            ("of a compute that is written over", |cache, key| {
                let mut caller = pin!(cache.get_or_compute(key, futures::future::pending));
                assert!(poll_once(&mut caller).is_none());
                cache.insert(DroppingKey::plain(0), 2);
            }),
            ("of a compute that is cleared", |cache, key| {
                let mut caller = pin!(cache.get_or_compute(key, futures::future::pending));
                assert!(poll_once(&mut caller).is_none());
                cache.clear();
            }),
        ];
        for (name, usage) in uses {
            for panicking in [false, true] {
                println!("the key {name}, panicking: {panicking}");
                let cache: Keyed = Cache::builder().max_size(2).build().expect("valid settings");
                let (handle, ran) = (cache.clone(), Arc::new(AtomicBool::new(false)));
                let has_run = Arc::clone(&ran);
                let action = OnDrop::run(move || {
                    handle.insert(DroppingKey::plain(0), 9);
                    handle.remove(&DroppingKey::plain(1));
                    handle.clear();
                    has_run.store(true, Ordering::SeqCst);
                    assert!(!panicking, "the destructor panics");
                });
                drop(panics(|| usage(&cache, DroppingKey(0, action))));
                assert!(ran.load(Ordering::SeqCst), "the key is dropped at once");
                check(&cache, 0);
                cache.insert(DroppingKey::plain(3), 3);
                assert_eq!(cache.get(&DroppingKey::plain(3)), Some(3));
            }
        }
    });
}

#[test]
fn a_condition_may_call_the_cache_back() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().max_size(2).build().expect("valid settings");
        cache.insert(0, 0);
        let removed = cache.remove_if(&0, |value| {
            cache.insert(1, *value);
            cache.get(&0);
            cache.remove_if(&1, |_| true).is_some() && cache.iter().count() == 1
        });
        assert_eq!(removed, Some(0));
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    });
}

#[test]
fn a_condition_that_panics_removes_nothing() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        cache.insert(0, 5);
        assert!(panics(|| cache.remove_if(&0, |_| panic!("the condition panics"))).is_err());
        assert_eq!(cache.get(&0), Some(5));
        check(&cache, 0);
    });
}

#[test]
fn a_ttl_closure_may_call_the_cache_back() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().max_size(2).build().expect("valid settings");
        let meddle = |value: u32| {
            let cache = cache.clone();
            move |_: &u32| {
                cache.insert(0, value);
                cache.remove(&1);
                cache.clear();
                cache.insert(0, value);
                1000 * SECOND
            }
        };
        assert_eq!(cache.entry(0).ttl_with(meddle(10)).insert(1), Some(10));
        assert_eq!(cache.get(&0), Some(1));
        cache.clear();
        assert_eq!(cache.entry(0).ttl_with(meddle(20)).or_insert(2), 20);
        cache.clear();
        // The write inside came first, so the compute's value is the caller's alone.
        assert_eq!(cache.entry(0).ttl_with(meddle(30)).get_or_compute(async || 3).await, 3);
        assert_eq!(cache.get(&0), Some(30));
        check(&cache, 0);
    });
}

#[test]
fn a_ttl_closure_that_panics_stores_nothing() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        cache.insert(0, 5);
        let fail = |_: &u32| -> Duration { panic!("the closure panics") };
        assert!(panics(|| cache.entry(0).ttl_with(fail).insert(6)).is_err());
        assert_eq!(cache.get(&0), Some(5));
        assert!(panics(|| cache.entry(1).ttl_with(fail).or_insert(6)).is_err());
        assert_eq!(cache.get(&1), None);
        let computed = cache.entry(2).ttl_with(fail).try_get_or_compute(async || Ok::<_, ()>(6));
        assert!(matches!(computed.await, Err(ComputeError::Panicked(_))));
        assert_eq!(cache.get(&2), None);
        assert_eq!(cache.get_or_compute(2, async || 7).await, 7);
        check(&cache, 0);
    });
}

#[test]
fn iteration_goes_on_after_a_panic_of_clone() {
    let cache: Cache<Key, Value> = Cache::builder().build().expect("valid settings");
    for key in 0..50 {
        cache.insert(Key(key), Value(key));
    }
    let mut items = cache.iter();
    FUSE.set(20);
    let mut seen = HashMap::new();
    let mut panicked = 0;
    loop {
        match panics(|| items.next()) {
            Ok(Some((key, value))) => assert_eq!(seen.insert(key.0, value.0), None),
            Ok(None) => break,
            Err(_) => panicked += 1,
        }
    }
    assert_eq!(panicked, 1);
    assert_eq!(seen.len(), 50);
    assert!(seen.iter().all(|(key, value)| key == value));
    check(&cache, 0);
}

/// A key whose destructor may panic.
#[derive(Clone, Debug)]
struct Brittle {
    id: u32,
    is_broken: bool,
}

impl Brittle {
    fn whole(id: u32) -> Self {
        Self { id, is_broken: false }
    }

    fn broken(id: u32) -> Self {
        Self { id, is_broken: true }
    }
}

impl PartialEq for Brittle {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Brittle {}

impl Hash for Brittle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        assert!(!self.is_broken || std::thread::panicking(), "the key breaks");
    }
}

#[test]
fn a_value_that_was_to_be_returned_is_dropped_where_the_destructor_of_a_key_panics() {
    let case = |is_told: bool, act: fn(&Cache<Brittle, Arc<u32>>, Arc<u32>)| {
        let builder = Cache::builder().max_size(1);
        let builder = if is_told { builder.on_removal(|_, _, _| ()) } else { builder };
        let cache = builder.build().expect("valid settings");
        let value = Arc::new(7);
        let acted = panics(|| act(&cache, Arc::clone(&value)));
        assert!(is_told || acted.is_err(), "the key has broken");
        drop(acted);
        cache.clear();
        assert_eq!(Arc::strong_count(&value), 1);
        check(&cache, 0);
    };
    for is_told in [false, true] {
        case(is_told, |cache, value| {
            cache.insert(Brittle::whole(1), value);
            cache.insert(Brittle::broken(1), Arc::new(8));
        });
        case(is_told, |cache, value| {
            cache.insert(Brittle::broken(1), Arc::new(8));
            cache.entry(Brittle::whole(2)).or_insert(value);
        });
        case(is_told, |cache, value| {
            cache.insert(Brittle::broken(1), value);
            cache.remove(&Brittle::whole(1));
        });
        case(is_told, |cache, value| {
            cache.insert(Brittle::broken(1), value);
            cache.remove_if(&Brittle::whole(1), |_| true);
        });
    }
}

/// A capture whose destructor panics.
struct Splinter;

impl Drop for Splinter {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the capture breaks");
    }
}

#[test]
fn a_value_that_was_to_be_returned_is_dropped_where_the_destructor_of_an_option_panics() {
    let cache: Cache<u8, Arc<u32>> = Cache::builder().build().expect("valid settings");
    let value = Arc::new(7);
    let unused = || {
        let splinter = Splinter;
        move |_: &Arc<u32>| {
            let _splinter = &splinter;
            SECOND
        }
    };
    let entry = |key| cache.entry(key).keep_if(|_| false).ttl_with(unused());
    assert!(panics(|| entry(1).or_insert(Arc::clone(&value))).is_err());
    assert!(panics(|| entry(2).insert(Arc::clone(&value))).is_err());
    assert!(panics(|| entry(3).update(|_| Some(Arc::clone(&value)))).is_err());
    let splinter = Splinter;
    let update = |_: Option<Arc<u32>>| {
        let _splinter = &splinter;
        Some(Arc::clone(&value))
    };
    let _ = panics(|| cache.entry(4).update(update));
    let _ = panics(|| drop(splinter));
    cache.clear();
    assert_eq!(Arc::strong_count(&value), 1);
    check(&cache, 0);
}

#[test]
fn a_computed_value_that_came_too_late_and_breaks_reaches_its_caller() {
    /// A copy breaks.
    struct Original(bool);
    impl Clone for Original {
        fn clone(&self) -> Self {
            Self(false)
        }
    }
    impl Drop for Original {
        fn drop(&mut self) {
            assert!(self.0 || std::thread::panicking(), "the copy breaks");
        }
    }
    let cache: Cache<u32, Original> = Cache::builder().build().expect("valid settings");
    let writes = cache.clone();
    let outcome = finish(cache.try_get_or_compute(1, move || async move {
        writes.remove(&1);
        Ok::<_, ()>(Original(true))
    }));
    assert!(outcome.is_ok_and(|value| value.0));
    let stats = cache.stats();
    assert_eq!((stats.computes, stats.compute_failures), (1, 0));
    check(&cache, 0);
}
