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
