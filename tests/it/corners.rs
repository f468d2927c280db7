//! Corner cases of runtimes, the sweeper, virtual time and memory that once went wrong.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use fleeting::Cache;
use fleeting::runtime::{Manual, Spawner, Task, Timer};
use futures::FutureExt;
use futures::executor::block_on;

use crate::runtimes::{Hands, in_time};
use crate::support::check;

const SECOND: Duration = Duration::from_secs(1);

/// Runs tasks where they are woken.
struct OnTheSpot(Hands);

struct SpotJob {
    task: Mutex<Option<Task>>,
    again: AtomicBool,
}

impl Wake for SpotJob {
    fn wake(self: Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        while self.again.swap(false, Ordering::SeqCst) {
            let Some(mut task) = self.task.lock().expect("the job").take() else { return };
            let waker = Waker::from(Arc::clone(&self));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                *self.task.lock().expect("the job") = Some(task);
            }
        }
    }
}

impl Spawner for OnTheSpot {
    fn spawn(&self, task: Task) {
        let job = SpotJob { task: Mutex::new(Some(task)), again: AtomicBool::new(false) };
        Arc::new(job).wake();
    }
}

impl Timer for OnTheSpot {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(pending())
    }
}

#[test]
fn a_runtime_may_run_a_task_where_it_is_woken() {
    in_time(|| {
        let clock = Hands::new();
        let cache: Cache<u32, u32> = Cache::builder()
            .ttl(SECOND * 10)
            .runtime(OnTheSpot(clock.clone()))
            .build()
            .expect("valid");
        cache.insert(1, 1);
        // Earlier: the task is woken, and runs inside this call.
        cache.entry(2).ttl(SECOND).insert(2);
        clock.forward(SECOND * 2);
        assert_eq!(cache.cleanup(), 1);
        block_on(cache.close());
        check(&cache, 0);
    });
}

/// Counts the sleeps that a cache begins, and the polls of its task.
struct Counting {
    time: Manual,
    sleeps: Arc<AtomicUsize>,
    polls: Arc<AtomicUsize>,
}

impl Spawner for Counting {
    fn spawn(&self, mut task: Task) {
        let polls = Arc::clone(&self.polls);
        self.time.spawn(Box::pin(futures::future::poll_fn(move |context| {
            polls.fetch_add(1, Ordering::SeqCst);
            task.as_mut().poll(context)
        })));
    }
}

impl Timer for Counting {
    fn now(&self) -> Instant {
        self.time.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.sleeps.fetch_add(1, Ordering::SeqCst);
        self.time.sleep_until(deadline)
    }
}

#[test]
fn a_crowd_of_entries_is_freed_at_its_deadline() {
    for entries in [64, 65] {
        let time = Manual::new();
        let cache: Cache<u32, u32> = Cache::builder()
            .ttl(SECOND * 60)
            .max_size(1000)
            .runtime(time.clone())
            .build()
            .expect("valid settings");
        for key in 0..entries {
            cache.insert(key, key);
        }
        time.advance(SECOND * 60);
        assert_eq!(cache.len(), 0, "of {entries}");
    }
}

#[test]
fn a_crowd_does_not_wake_the_task_over_and_over() {
    let time = Manual::new();
    let sleeps = Arc::new(AtomicUsize::new(0));
    let cache: Cache<u32, u32> = Cache::builder()
        .ttl(Duration::from_micros(10_486 + 900))
        .cleanup_interval(Duration::from_micros(1))
        .max_size(1000)
        .runtime(Counting {
            time: time.clone(),
            sleeps: Arc::clone(&sleeps),
            polls: Arc::default(),
        })
        .build()
        .expect("valid settings");
    for key in 0..65 {
        cache.insert(key, key);
    }
    time.advance(SECOND * 60);
    assert_eq!(cache.len(), 0);
    assert!(
        sleeps.load(Ordering::SeqCst) < 20,
        "{} sleeps for one deadline",
        sleeps.load(Ordering::SeqCst)
    );
}

#[test]
fn an_endless_cleanup_interval_does_not_wake_the_task_at_each_write() {
    let time = Manual::new();
    let polls = Arc::new(AtomicUsize::new(0));
    let cache: Cache<u32, u32> = Cache::builder()
        .ttl(SECOND)
        .cleanup_interval(Duration::MAX)
        .max_size(1000)
        .runtime(Counting { time: time.clone(), sleeps: Arc::default(), polls: Arc::clone(&polls) })
        .build()
        .expect("valid settings");
    cache.insert(0, 0);
    time.advance(SECOND);
    let before = polls.load(Ordering::SeqCst);
    for key in 0..50 {
        cache.insert(key, key);
        time.advance(Duration::ZERO);
    }
    // Once, to hear that there is something that will expire.
    assert_eq!(polls.load(Ordering::SeqCst), before + 1);
}

#[test]
fn manual_block_on_lets_the_future_run_beside_a_busy_task() {
    in_time(|| {
        let time = Manual::new();
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        time.spawn(Box::pin(futures::future::poll_fn(move |context| {
            if seen.load(Ordering::SeqCst) {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })));
        time.block_on(async {
            let mut yielded = false;
            futures::future::poll_fn(|context| {
                if std::mem::replace(&mut yielded, true) {
                    return std::task::Poll::Ready(());
                }
                context.waker().wake_by_ref();
                std::task::Poll::Pending
            })
            .await;
            over.store(true, Ordering::SeqCst);
        });
    });
}

#[test]
fn manual_wakes_all_sleepers_of_a_moment_before_tasks_run() {
    in_time(|| {
        let time = Manual::new();
        let over = Arc::new(AtomicBool::new(false));
        let (seen, clock) = (Arc::clone(&over), time.clone());
        let sleep = clock.sleep_until(clock.now() + SECOND);
        time.spawn(Box::pin(async move {
            sleep.await;
            futures::future::poll_fn(move |context| {
                if seen.load(Ordering::SeqCst) {
                    return std::task::Poll::Ready(());
                }
                context.waker().wake_by_ref();
                std::task::Poll::Pending
            })
            .await;
        }));
        let sleep = clock.sleep_until(clock.now() + SECOND);
        let tell = Arc::clone(&over);
        time.spawn(Box::pin(async move {
            sleep.await;
            tell.store(true, Ordering::SeqCst);
        }));
        time.advance(SECOND);
        assert!(over.load(Ordering::SeqCst));
    });
}

#[test]
fn flights_abandoned_together_leave_nothing() {
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let info = allocation_counter::measure(|| {
        let mut calls: Vec<_> =
            (0..100_000).map(|key| Box::pin(cache.get_or_compute(key, pending))).collect();
        for call in &mut calls {
            assert!(call.as_mut().now_or_never().is_none());
        }
        drop(calls);
    });
    assert!(info.bytes_current < 65_536, "{} bytes are kept", info.bytes_current);
}

#[test]
fn a_task_that_panicked_is_no_task_of_manual_any_more() {
    let time = Manual::new();
    time.spawn(Box::pin(async { panic!("this task panics") }));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| time.advance(SECOND)));
    assert!(outcome.is_err());
    assert!(format!("{time:?}").contains("tasks: 0"), "{time:?}");
}

#[test]
fn a_call_is_hardly_larger_than_what_it_is_given() {
    const ROOM: usize = 256;
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let compute = || async { 1 };
    assert!(size_of_val(&cache.get_or_compute(1, compute)) <= ROOM);
    assert!(size_of_val(&cache.entry(1).get_or_compute(compute)) <= ROOM);
    assert!(size_of_val(&cache.try_get_or_compute(1, || async { Ok::<_, String>(1) })) <= ROOM);

    let moved = [1_u8; 512];
    let future = async move {
        std::future::ready(()).await;
        u32::from(moved[1])
    };
    let size = size_of_val(&future);
    assert!(size_of_val(&cache.get_or_compute(1, move || future)) <= size + ROOM);
}

#[test]
fn tasks_that_run_inside_a_compute_are_not_part_of_it() {
    let time = Manual::new();
    let cache: Cache<u32, u32> =
        Cache::builder().runtime(time.clone()).build().expect("valid settings");
    let values = Arc::new(Mutex::new(Vec::new()));
    for task in 0..3 {
        let (cache, values, clock) = (cache.clone(), Arc::clone(&values), time.clone());
        time.spawn(Box::pin(async move {
            let compute = || async move {
                clock.advance(SECOND);
                task
            };
            let value = cache.get_or_compute(1, compute).await;
            values.lock().expect("not poisoned").push(value);
        }));
    }
    time.advance(SECOND);
    assert_eq!(*values.lock().expect("not poisoned"), [0, 0, 0]);
    check(&cache, 0);
}

#[test]
fn every_kind_of_write_cleans_its_share() {
    const EXPIRED: usize = 100;
    type Write = fn(&Cache<u32, u32>);
    let writes: [(&str, Write); 4] = [
        ("an overwrite through a borrowed key", |cache| {
            assert_eq!(cache.entry_ref(&1000).ttl(Duration::MAX).insert(0), Some(0));
        }),
        ("a removal", |cache| assert_eq!(cache.remove(&1001), None)),
        ("a conditional removal", |cache| assert_eq!(cache.remove_if(&1000, |_| false), None)),
        ("a compute that fails", |cache| {
            let failed = block_on(cache.try_get_or_compute(1001, || async { Err::<u32, _>(()) }));
            assert_eq!(failed, Err(fleeting::ComputeError::Failed(Arc::new(()))));
        }),
    ];
    for (name, write) in writes {
        let time = Manual::new();
        let cache: Cache<u32, u32> =
            Cache::builder().max_size(1000).runtime(time.clone()).build().expect("valid settings");
        time.block_on(cache.close());
        cache.insert(1000, 0);
        for key in 0..100 {
            cache.entry(key).ttl(SECOND).insert(key);
        }
        time.advance(2 * SECOND);
        (0..EXPIRED).for_each(|_| write(&cache));
        // A condition that does not hold is no write.
        let left = if name == "a conditional removal" { EXPIRED } else { 0 };
        assert_eq!(cache.len(), 1 + left, "{name}");
        check(&cache, 0);
    }
}

#[test]
fn a_cache_may_be_used_across_a_caught_panic() {
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let got = std::panic::catch_unwind(|| cache.get(&1));
    assert_eq!(got.expect("no panic"), None);
}

#[test]
fn a_scope_closes_also_when_its_closure_makes_no_future() {
    let time = Manual::new();
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND).runtime(time.clone()).build().expect("valid settings");
    cache.insert(1, 1);
    let handle = cache.clone();
    let run = |_: &Cache<u32, u32>| -> std::future::Ready<()> { panic!("no future") };
    let ended = std::panic::AssertUnwindSafe(handle.scope(run)).catch_unwind();
    assert!(time.block_on(ended).is_err());
    time.advance(2 * SECOND);
    assert_eq!(cache.len(), 1, "nothing sweeps any more");
}
