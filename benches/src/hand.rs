//! A runtime driven by hand: its clock moves when told, and its one task runs when polled.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fleeting::runtime::{Spawner, Task, Timer};
use futures::task::{ArcWake, waker};

/// A runtime for one cache. Clones are handles of the same.
#[derive(Clone)]
pub(crate) struct Hand(Arc<State>);

struct State {
    origin: Instant,
    /// Nanoseconds since the origin.
    elapsed: AtomicU64,
    task: Mutex<Option<Task>>,
    sleeps: AtomicUsize,
    wakes: Arc<Wakes>,
}

/// Counts how often the task was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Hand {
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            origin: Instant::now(),
            elapsed: AtomicU64::new(0),
            task: Mutex::default(),
            sleeps: AtomicUsize::new(0),
            wakes: Arc::default(),
        }))
    }

    /// Moves the clock on.
    pub(crate) fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).expect("a benchmark takes no centuries");
        self.0.elapsed.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Polls the task once, if there is one, and returns how long that took.
    pub(crate) fn poll(&self) -> Duration {
        let waker: Waker = waker(Arc::clone(&self.0.wakes));
        let mut task = self.task();
        let begin = Instant::now();
        if let Some(running) = task.as_mut()
            && running.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            *task = None;
        }
        begin.elapsed()
    }

    /// Polls the task for as long as it wakes itself. Each poll's time goes to `each`.
    pub(crate) fn run(&self, mut each: impl FnMut(Duration)) {
        let wakes = || self.0.wakes.0.load(Ordering::SeqCst);
        let mut before = None;
        while before.replace(wakes()) != Some(wakes()) {
            each(self.poll());
        }
    }

    /// How often the task was woken or has asked to be, and how often it has asked for a timer.
    pub(crate) fn wake_ups(&self) -> usize {
        self.0.wakes.0.load(Ordering::SeqCst) + self.0.sleeps.load(Ordering::SeqCst)
    }

    fn task(&self) -> MutexGuard<'_, Option<Task>> {
        self.0.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ArcWake for Wakes {
    fn wake_by_ref(wakes: &Arc<Self>) {
        wakes.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Spawner for Hand {
    fn spawn(&self, task: Task) {
        *self.task() = Some(task);
    }
}

impl Timer for Hand {
    fn now(&self) -> Instant {
        self.0.origin + Duration::from_nanos(self.0.elapsed.load(Ordering::SeqCst))
    }

    /// Wakes nobody: who polls by hand comes again.
    fn sleep_until(&self, deadline: Instant) -> Task {
        self.0.sleeps.fetch_add(1, Ordering::SeqCst);
        let clock = self.clone();
        Box::pin(futures::future::poll_fn(move |_| {
            if clock.now() >= deadline { Poll::Ready(()) } else { Poll::Pending }
        }))
    }
}
