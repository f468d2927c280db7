//! User code that panics, or calls the cache back, at the worst moment.

use std::cell::Cell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use fleeting::runtime::Manual;
use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::hostile_code::OnDrop;
use crate::support::{Gate, check, poll_once};

const SECOND: Duration = Duration::from_secs(1);

fn without_hanging(case: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(case));
        let _ = done.send(());
        result
    });
    ended.recv_timeout(Duration::from_secs(5)).expect("the case does not hang");
    thread.join().and_then(|r| r).unwrap_or_else(|p| std::panic::resume_unwind(p));
}

thread_local! {
    static FUSE: Cell<u32> = const { Cell::new(0) };
}
fn burn() {
    let left = FUSE.get();
    FUSE.set(left.saturating_sub(1));
    assert!(left != 1, "the user's code panics");
}

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
    fn write(&mut self, _: &[u8]) {}
    fn finish(&self) -> u64 {
        0
    }
}

/// Calls the cache when dropped.
struct Caller(u32, Option<Cache<Caller, Callee, Constant>>);
impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(cache) = self.1.take() {
            cache.clear();
        }
    }
}
impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        burn();
        self.0 == other.0
    }
}
impl Eq for Caller {}
impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl Clone for Caller {
    fn clone(&self) -> Self {
        Self(self.0, self.1.clone())
    }
}
struct Callee(u32, Option<Cache<Caller, Callee, Constant>>);
impl Drop for Callee {
    fn drop(&mut self) {
        if let Some(cache) = self.1.take() {
            cache.clear();
        }
    }
}
impl Clone for Callee {
    fn clone(&self) -> Self {
        burn();
        Self(self.0, self.1.clone())
    }
}

#[test]
fn the_value_of_an_insert_is_not_dropped_under_the_lock_when_eq_panics() {
    without_hanging(|| {
        let cache: Cache<Caller, Callee, Constant> =
            Cache::builder().hasher(Constant).build().expect("valid settings");
        cache.insert(Caller(1, None), Callee(1, None));
        FUSE.set(1);
        let handle = Some(cache.clone());
        let result =
            catch_unwind(AssertUnwindSafe(|| cache.insert(Caller(1, None), Callee(2, handle))));
        assert!(result.is_err());
        check(&cache, 0);
    });
}

#[test]
fn the_key_of_a_compute_is_not_dropped_under_the_lock_when_eq_panics() {
    without_hanging(|| {
        for fuse in 1..5 {
            let cache: Cache<Caller, Callee, Constant> =
                Cache::builder().hasher(Constant).build().expect("valid settings");
            let other = cache.clone();
            let compute = futures::future::pending;
            let mut flight =
                async move { other.get_or_compute(Caller(2, None), compute).await }.boxed();
            assert!(poll_once(&mut flight).is_none());
            // The third call is the one in `begin_flight`.
            FUSE.set(fuse);
            let key = Caller(1, Some(cache.clone()));
            drop(catch_unwind(AssertUnwindSafe(|| {
                let mut call = cache.get_or_compute(key, async || Callee(1, None)).boxed_local();
                drop(poll_once(&mut call));
            })));
            FUSE.set(0);
        }
    });
}

#[test]
fn the_copied_key_is_not_dropped_under_the_lock_when_clone_panics() {
    without_hanging(|| {
        let cache: Cache<Caller, Callee, Constant> =
            Cache::builder().hasher(Constant).build().expect("valid settings");
        cache.insert(Caller(1, Some(cache.clone())), Callee(1, None));
        FUSE.set(1);
        let result = catch_unwind(AssertUnwindSafe(|| cache.iter().count()));
        FUSE.set(0);
        assert!(result.is_err());
    });
}

#[test]
fn who_joined_a_compute_is_not_left_waiting_when_its_leader_met_a_panicking_destructor() {
    let time = Manual::new();
    let cache: Cache<u32, OnDrop> = Cache::builder().runtime(time.clone()).build().expect("valid");
    time.block_on(cache.close());
    let gate = Gate::new();
    let joiner: Arc<Mutex<Option<BoxFuture<'static, OnDrop>>>> = Arc::default();
    let (slot, handle) = (Arc::clone(&joiner), cache.clone());
    let expired = OnDrop::run(move || {
        // What another thread could do at this moment.
        let mut call =
            async move { handle.get_or_compute(1, async || OnDrop::nothing()).await }.boxed();
        assert!(poll_once(&mut call).is_none());
        *slot.lock().expect("lock") = Some(call);
        panic!("the destructor panics");
    });
    cache.entry(1).ttl(SECOND).insert(expired);
    time.advance(SECOND);
    let passed = gate.passed();
    let leader = catch_unwind(AssertUnwindSafe(|| {
        let compute = || async move {
            passed.await;
            OnDrop::nothing()
        };
        poll_once(&mut cache.get_or_compute(1, compute).boxed_local())
    }));
    assert!(leader.is_err());
    gate.open();
    let mut call = joiner.lock().expect("lock").take().expect("the destructor ran");
    assert!((0..3).any(|_| poll_once(&mut call).is_some()));
    check(&cache, 0);
}

#[test]
fn a_destructor_may_ask_for_the_key_whose_compute_found_it() {
    without_hanging(|| {
        let time = Manual::new();
        let cache: Cache<u32, OnDrop> =
            Cache::builder().runtime(time.clone()).build().expect("valid");
        time.block_on(cache.close());
        let handle = cache.clone();
        let expired = OnDrop::run(move || {
            let value = handle.get_or_compute(1, async || OnDrop::nothing());
            drop(futures::executor::block_on(value));
        });
        cache.entry(1).ttl(SECOND).insert(expired);
        time.advance(SECOND);
        let mut leader = cache.get_or_compute(1, async || OnDrop::nothing()).boxed_local();
        assert!(poll_once(&mut leader).is_some());
    });
}

#[test]
fn clear_drops_every_value_also_when_one_destructor_panics() {
    let cache: Cache<u32, OnDrop> = Cache::builder().max_size(200).build().expect("valid");
    let drops = Arc::new(AtomicUsize::new(0));
    cache.insert(0, OnDrop::panic());
    for key in 1..100 {
        let drops = Arc::clone(&drops);
        cache.insert(
            key,
            OnDrop::run(move || {
                drops.fetch_add(1, Ordering::SeqCst);
            }),
        );
    }
    assert!(catch_unwind(AssertUnwindSafe(|| cache.clear())).is_err());
    assert_eq!(drops.load(Ordering::SeqCst), 99);
}

/// Runs this test in a process of its own, so that one which ends the process fails.
fn in_a_child(case: impl FnOnce()) {
    if std::env::var_os("SUSPECT_CHILD").is_some() {
        case();
        return;
    }
    let this = std::thread::current();
    let name = this.name().expect("a test's thread has its name");
    let output = std::process::Command::new(std::env::current_exe().expect("a test has a path"))
        .args(["--exact", name, "--nocapture"])
        .env("SUSPECT_CHILD", "1")
        .output()
        .expect("the test runs");
    assert!(output.status.success(), "{:?}", output.status);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("1 passed"), "the child ran {name}: {printed}");
}

/// Its destructor panics, and so do those of its clones, if it is armed.
#[derive(Clone)]
struct Mine {
    is_armed: bool,
}

impl Drop for Mine {
    fn drop(&mut self) {
        assert!(!self.is_armed, "the destructor panics");
    }
}

#[test]
fn copies_whose_destructors_panic_do_not_abort_when_a_caller_left_during_the_first_poll() {
    in_a_child(|| {
        let cache: Cache<u32, Mine> = Cache::builder().build().expect("valid");
        let other = cache.clone();
        let compute = || async move {
            let join_and_leave = move || {
                let unused = || async { Mine { is_armed: false } };
                assert!(poll_once(&mut other.get_or_compute(1, unused).boxed()).is_none());
            };
            std::thread::scope(|scope| scope.spawn(join_and_leave).join()).expect("it joins");
            Mine { is_armed: true }
        };
        let polled = poll_once(&mut cache.get_or_compute(1, compute).boxed_local());
        std::mem::forget(polled.expect("the leader gets its value"));
        std::mem::forget(cache.remove(&1));
        check(&cache, 0);
    });
}

/// Its n-th clone panics.
struct Brittle(Arc<AtomicUsize>);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        assert_ne!(self.0.fetch_sub(1, Ordering::SeqCst), 1, "the clone panics");
        Self(Arc::clone(&self.0))
    }
}

#[test]
fn a_clone_that_panics_leaves_nobody_waiting_who_joined_during_the_first_poll() {
    for nth in 1..4 {
        let cache: Cache<u32, Brittle> = Cache::builder().build().expect("valid");
        let value = Brittle(Arc::new(AtomicUsize::new(nth)));
        let joined: Arc<Mutex<Option<BoxFuture<'static, _>>>> = Arc::default();
        let (other, late) = (cache.clone(), Arc::clone(&joined));
        let compute = || async move {
            let join = move || {
                let unused = || async { Err::<Brittle, ()>(()) };
                let call = async move { other.try_get_or_compute(1, unused).await };
                let mut call = call.boxed();
                assert!(poll_once(&mut call).is_none());
                *late.lock().expect("not poisoned") = Some(call);
            };
            std::thread::scope(|scope| scope.spawn(join).join()).expect("it joins");
            value
        };
        let mut leader = cache.get_or_compute(1, compute).boxed_local();
        drop(catch_unwind(AssertUnwindSafe(|| drop(poll_once(&mut leader)))));
        let mut call = joined.lock().expect("not poisoned").take().expect("it joined");
        let polled = catch_unwind(AssertUnwindSafe(|| poll_once(&mut call).is_some()));
        assert!(polled.unwrap_or(true), "{nth}: it waits for ever");
        drop((leader, call));
        check(&cache, 0);
    }
}

#[test]
fn a_replaced_value_is_not_dropped_under_the_lock_when_eq_panics() {
    without_hanging(|| {
        for fuse in 1..6 {
            let cache: Cache<Caller, Callee, Constant> =
                Cache::builder().hasher(Constant).build().expect("valid");
            cache.insert(Caller(1, None), Callee(1, Some(cache.clone())));
            let other = cache.clone();
            let compute = async move {
                other.get_or_compute(Caller(2, None), futures::future::pending).await
            };
            let mut flight = compute.boxed();
            assert!(poll_once(&mut flight).is_none());
            FUSE.set(fuse);
            let key = Caller(1, None);
            let inserted =
                catch_unwind(AssertUnwindSafe(|| cache.entry_ref(&key).insert(Callee(2, None))));
            FUSE.set(0);
            drop((inserted, flight));
            check(&cache, 0);
        }
    });
}

#[test]
fn two_destructors_that_panic_in_one_sweep_do_not_abort() {
    in_a_child(|| {
        let time = Manual::new();
        let cache: Cache<u32, OnDrop> =
            Cache::builder().max_size(10).runtime(time.clone()).build().expect("valid");
        for key in 0..2 {
            cache.entry(key).ttl(SECOND).insert(OnDrop::panic());
        }
        time.advance(2 * SECOND);
        assert_eq!(cache.len(), 0);
    });
}

#[test]
fn two_destructors_that_panic_in_one_write_do_not_abort() {
    in_a_child(|| {
        let time = Manual::new();
        let cache: Cache<u32, OnDrop> =
            Cache::builder().max_size(10).runtime(time.clone()).build().expect("valid");
        time.block_on(cache.close());
        for key in 0..2 {
            cache.entry(key).ttl(SECOND).insert(OnDrop::panic());
        }
        time.advance(2 * SECOND);
        let _ = catch_unwind(AssertUnwindSafe(|| cache.insert(5, OnDrop::nothing())));
        assert_eq!(cache.len(), 1);
    });
}

#[derive(PartialEq, Eq, Hash)]
struct Counted(u32);
thread_local! {
    static OWNED: Cell<u32> = const { Cell::new(0) };
}
impl Clone for Counted {
    fn clone(&self) -> Self {
        OWNED.set(OWNED.get() + 1);
        Self(self.0)
    }
}

#[test]
fn entry_ref_makes_no_owned_key_to_overwrite_a_value() {
    let cache: Cache<Counted, u32> = Cache::builder().build().expect("valid");
    cache.insert(Counted(1), 1);
    assert_eq!(cache.entry_ref(&Counted(1)).insert(2), Some(1));
    assert_eq!(OWNED.get(), 0);
}

#[derive(Clone)]
struct Bomb(u32, bool);
impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.1 || std::thread::panicking(), "the destructor panics");
    }
}
impl PartialEq for Bomb {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Bomb {}
impl Hash for Bomb {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[test]
fn the_background_task_hears_of_a_shorter_ttl_also_when_the_spare_key_panics() {
    let time = Manual::new();
    let cache: Cache<Bomb, u32> = Cache::builder().runtime(time.clone()).build().expect("valid");
    cache.entry(Bomb(1, false)).ttl(1000 * SECOND).insert(1);
    time.advance(SECOND);
    let overwrite =
        catch_unwind(AssertUnwindSafe(|| cache.entry(Bomb(1, true)).ttl(SECOND).insert(2)));
    assert!(overwrite.is_err());
    assert_eq!(cache.get(&Bomb(1, false)), Some(2));
    time.advance(10 * SECOND);
    assert_eq!(cache.len(), 0);
}

#[test]
fn a_value_that_is_never_readable_takes_nobodys_place() {
    let cache: Cache<u32, u32> = Cache::builder().max_size(2).build().expect("valid");
    cache.insert(1, 1);
    cache.insert(2, 2);
    cache.entry(3).ttl(Duration::ZERO).insert(3);
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), Some(2)));
}

#[test]
fn cleanup_goes_on_in_spite_of_a_destructor_that_panics() {
    for _ in 0..10 {
        let time = Manual::new();
        let cache: Cache<u32, OnDrop> =
            Cache::builder().runtime(time.clone()).build().expect("valid");
        time.block_on(cache.close());
        for key in 0..100 {
            let value = if key == 0 { OnDrop::panic() } else { OnDrop::nothing() };
            cache.entry(key).ttl(SECOND).insert(value);
        }
        time.advance(SECOND);
        let _ = catch_unwind(AssertUnwindSafe(|| cache.cleanup()));
        assert_eq!(cache.len(), 0);
    }
}

/// Panics when dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("the closure's destructor panics");
    }
}

#[test]
fn the_destructor_of_a_ttl_closure_that_was_not_needed_holds_nobody_up() {
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let gate = Gate::new();
    let (grenade, passed) = (Grenade, gate.passed());
    let failing = cache.entry(1).ttl_with(move |_| {
        let _held = &grenade;
        SECOND
    });
    let mut leader =
        failing.try_get_or_compute(|| passed.map(|()| Err::<u32, _>("failed"))).boxed();
    assert!(poll_once(&mut leader).is_none());
    let mut other = cache.try_get_or_compute(1, || async { Ok::<_, &str>(1) }).boxed();
    assert!(poll_once(&mut other).is_none());
    gate.open();
    let is_panic = |ended| matches!(ended, Some(Err(ComputeError::Panicked(_))));
    assert!(is_panic(poll_once(&mut leader)));
    assert!(is_panic(poll_once(&mut other)));
    check(&cache, 0);
}
