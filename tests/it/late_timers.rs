//! Timers that come late: the time of a compute is up, and nobody has been told yet. Or that never come.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use fleeting::runtime::{Spawner, Task, Timer};
use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::pending;

use crate::support::{Gate, check, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A clock that is moved by hand, on a runtime so busy that its tasks do not run, and that its timers are
/// seen to be over only by those who look.
struct Busy {
    now: Arc<Mutex<Instant>>,
    tasks: Mutex<Vec<Task>>,
}

impl Busy {
    fn new() -> Arc<Self> {
        Arc::new(Self { now: Arc::new(Mutex::new(Instant::now())), tasks: Mutex::default() })
    }

    fn advance(&self, duration: Duration) {
        *self.now.lock().expect("no panic at the clock") += duration;
    }
}

impl Spawner for Busy {
    fn spawn(&self, task: Task) {
        self.tasks.lock().expect("no panic at the tasks").push(task);
    }
}

impl Timer for Busy {
    fn now(&self) -> Instant {
        *self.now.lock().expect("no panic at the clock")
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let now = Arc::clone(&self.now);
        poll_fn(move |_| match *now.lock().expect("no panic at the clock") {
            now if now >= deadline => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .boxed()
    }
}

#[test]
fn a_refresh_whose_time_is_up_is_put_off_also_before_its_timer_comes() {
    let busy = Busy::new();
    let cache: Cache<u32, u32> = Cache::builder()
        .runtime(Arc::clone(&busy))
        .refresh_after(SECOND)
        .compute_timeout(SECOND)
        .build()
        .expect("valid settings");
    cache.insert(1, 1);
    let read = || cache.get_or_compute(1, pending).now_or_never();
    busy.advance(SECOND);
    for (attempt, put_off) in (1..).zip([100, 200, 400]) {
        assert_eq!(read(), Some(1));
        assert_eq!(cache.stats().computes, attempt);
        busy.advance(SECOND);
        assert_eq!(read(), Some(1));
        assert_eq!(cache.stats().computes, attempt, "the one whose time is up has failed");
        busy.advance((put_off - 1) * MILLISECOND);
        assert_eq!(read(), Some(1));
        assert_eq!(cache.stats().computes, attempt, "the next is put off");
        busy.advance(MILLISECOND);
    }
    assert_eq!(read(), Some(1));
    assert_eq!(cache.stats().computes, 4);
    busy.tasks.lock().expect("no panic at the tasks").clear();
}

#[test]
fn a_caller_whose_own_time_is_up_too_does_not_compute_again() {
    let busy = Busy::new();
    let cache: Cache<u32, u32> =
        Cache::builder().runtime(Arc::clone(&busy)).build().expect("valid settings");
    let call =
        |timeout| cache.entry(1).timeout(timeout).try_get_or_compute(pending::<Result<_, u8>>);
    let mut leads = call(SECOND);
    assert!(poll_once(&mut leads).is_none());
    busy.advance(500 * MILLISECOND);
    let (mut patient, mut late) = (call(5 * SECOND).boxed(), call(5 * SECOND).boxed());
    assert!(poll_once(&mut patient).is_none());
    assert!(poll_once(&mut late).is_none());
    busy.advance(4_600 * MILLISECOND);
    assert!(poll_once(&mut patient).is_none(), "the compute's time is up, and it has some left");
    assert_eq!(cache.stats().computes, 2);
    busy.advance(399 * MILLISECOND);
    assert!(poll_once(&mut patient).is_none());
    busy.advance(MILLISECOND);
    assert_eq!(poll_once(&mut patient), Some(Err(ComputeError::TimedOut)));
    assert_eq!(poll_once(&mut late), Some(Err(ComputeError::TimedOut)), "it is as late as that");
    assert_eq!(cache.stats().computes, 2);
    drop((leads, patient, late));
    check(&cache, 0);
}

/// A runtime that is gone: its timers panic, and are counted as often as they do.
#[derive(Default)]
struct Gone(Arc<AtomicUsize>);

impl Spawner for Gone {
    fn spawn(&self, _: Task) {}
}

impl Timer for Gone {
    fn sleep_until(&self, _: Instant) -> Task {
        let panics = Arc::clone(&self.0);
        poll_fn(move |_| {
            panics.fetch_add(1, Ordering::SeqCst);
            panic!("there is no runtime")
        })
        .boxed()
    }
}

#[test]
fn a_timer_that_panics_is_not_asked_again() {
    let gone = Gone::default();
    let panics = Arc::clone(&gone.0);
    let cache: Cache<u32, u32> =
        Cache::builder().runtime(gone).compute_timeout(SECOND).build().expect("valid settings");
    let gate = Gate::new();
    let passed = gate.passed();
    let mut leads = cache.get_or_compute(1, || passed.map(|()| 1));
    let mut joins = cache.get_or_compute(1, pending);
    for _ in 0..10 {
        assert!(poll_once(&mut leads).is_none());
        assert!(poll_once(&mut joins).is_none());
    }
    assert_eq!(panics.load(Ordering::SeqCst), 2, "once for each that waits");
    gate.open();
    assert_eq!((poll_once(&mut joins), poll_once(&mut leads)), (Some(1), Some(1)));
    check(&cache, 0);
}
