//! A runtime for tests: virtual time, moved by hand, and tasks that run only when asked.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use slab::Slab;

use super::{Instant, Spawner, Task, Timer};
use crate::compute::apart;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};

/// Virtual time: a clock that moves only when told, and tasks that run only when driven.
///
/// A cache built with it expires, sweeps and waits by this clock, so a test of an hour takes
/// microseconds and gives the same result each time. Clones share one clock and one set of tasks.
/// When the last clone is dropped, so are the tasks.
///
/// Everything runs on the thread that calls [`advance`](Self::advance) or
/// [`block_on`](Self::block_on).
///
/// ```
/// use std::time::Duration;
/// use fleeting::{Cache, runtime::Manual};
///
/// let time = Manual::new();
/// let cache = Cache::builder().ttl(Duration::from_secs(60)).runtime(time.clone()).build()?;
/// cache.insert("key", 1);
///
/// time.advance(Duration::from_secs(59));
/// assert_eq!(cache.get("key"), Some(1));
///
/// time.advance(Duration::from_secs(1));
/// assert_eq!(cache.get("key"), None);
/// assert_eq!(cache.len(), 0); // Swept in the background, not only hidden.
/// # Ok::<(), fleeting::BuildError>(())
/// ```
#[derive(Clone, Default)]
pub struct Manual {
    world: Arc<World>,
}

struct World {
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Virtual time since `origin`.
    elapsed: Duration,
    /// Who to wake at which moment; the number tells sleeps with one deadline apart.
    timers: BTreeMap<(Instant, u64), Waker>,
    timers_made: u64,
    jobs: Slab<Arc<Job>>,
    ready: VecDeque<Arc<Job>>,
}

/// A spawned task and whether it waits for its turn.
struct Job {
    world: Weak<World>,
    key: usize,
    turn: Mutex<Turn>,
    queued: AtomicBool,
}

struct Turn {
    /// `None` while it is being polled, and when it has ended.
    task: Option<Task>,
    /// Its turn came while it was being polled (under a nested `advance`): it is owed another.
    is_owed: bool,
}

impl Manual {
    /// A new clock, with no tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward by `duration`, deadline by deadline.
    ///
    /// At each deadline on the way, all who sleep until it are woken, and tasks run until none can
    /// go on; sleeps they start are honoured if they end within `duration`. Tasks that could run
    /// before the clock moves do so first. So `advance(Duration::ZERO)` runs what is ready, without moving the
    /// clock. A time past what `Instant` can tell is cut to that.
    pub fn advance(&self, duration: Duration) {
        let end = self.world.after(duration);
        self.run_ready();
        while self.world.ring_next(end) {
            self.run_ready();
        }
        self.world.set_now(end);
    }

    /// Drives `future` to its end, and the tasks beside it. The clock stands still, unless the
    /// future or a task calls [`advance`](Self::advance).
    ///
    /// # Panics
    ///
    /// Panics when neither the future nor any task can make progress: what they wait for would
    /// never come.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            if woken.0.swap(false, Ordering::AcqRel) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    return output;
                }
            }
            // One turn each, so that the future has its turns beside tasks that never rest.
            let ran = self.run_round();
            assert!(
                ran || woken.0.load(Ordering::Acquire),
                "Manual::block_on: nothing can make progress: the future is pending, no task can \
                 run, and {} timers wait for `advance` to move the clock",
                self.world.state.lock().timers.len()
            );
        }
    }

    /// Runs tasks until none can go on.
    fn run_ready(&self) {
        while self.run_round() {}
    }

    /// Runs the tasks whose turn it is; tells whether there were any.
    fn run_round(&self) -> bool {
        let ready = self.world.state.lock().ready.len();
        let jobs = std::iter::from_fn(|| self.world.next_ready()).take(ready);
        jobs.map(Job::run).count() > 0
    }
}

impl Spawner for Manual {
    fn spawn(&self, task: Task) {
        let world = Arc::downgrade(&self.world);
        let job = {
            let mut state = self.world.state.lock();
            let vacancy = state.jobs.vacant_entry();
            let job = Arc::new(Job {
                world,
                key: vacancy.key(),
                turn: Mutex::from(Turn { task: Some(task), is_owed: false }),
                queued: AtomicBool::new(false),
            });
            vacancy.insert(Arc::clone(&job));
            job
        };
        job.wake();
    }
}

impl Timer for Manual {
    fn now(&self) -> Instant {
        self.world.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(Sleep { world: Arc::downgrade(&self.world), deadline, key: None })
    }
}

impl fmt::Debug for Manual {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.world.state.lock();
        formatter
            .debug_struct("Manual")
            .field("elapsed", &state.elapsed)
            .field("timers", &state.timers.len())
            .field("tasks", &state.jobs.len())
            .finish()
    }
}

impl Default for World {
    fn default() -> Self {
        #[expect(clippy::disallowed_methods, reason = "virtual time starts somewhere")]
        let origin = Instant::now();
        Self { origin, state: Mutex::default() }
    }
}

impl World {
    fn now(&self) -> Instant {
        self.origin + self.state.lock().elapsed
    }

    /// The moment `duration` from now, or the last one that `Instant` can tell.
    fn after(&self, duration: Duration) -> Instant {
        let now = self.now();
        let mut step = duration;
        loop {
            match now.checked_add(step) {
                Some(end) => return end,
                None => step /= 2,
            }
        }
    }

    /// Time never goes back, also when an `advance` runs inside another.
    fn set_now(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.origin);
        let mut state = self.state.lock();
        state.elapsed = state.elapsed.max(elapsed);
    }

    /// Moves to the next deadline up to `end` and wakes its sleepers; false if there is none.
    fn ring_next(&self, end: Instant) -> bool {
        let (deadline, wakers) = {
            let mut state = self.state.lock();
            let Some(&(deadline, _)) = state.timers.keys().next().filter(|key| key.0 <= end) else {
                return false;
            };
            let later = state.timers.split_off(&(deadline, u64::MAX));
            (deadline, std::mem::replace(&mut state.timers, later))
        };
        self.set_now(deadline);
        for waker in wakers.into_values() {
            waker.wake();
        }
        true
    }

    fn next_ready(&self) -> Option<Arc<Job>> {
        self.state.lock().ready.pop_front()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A waiting task is held by its own waker, somewhere: let go of it by hand.
        let jobs = std::mem::take(&mut self.state.lock().jobs);
        for (_, job) in jobs {
            let task = job.turn.lock().task.take();
            drop(task);
        }
    }
}

impl Job {
    fn run(self: Arc<Self>) {
        // From here on a wake counts for the next turn.
        self.queued.store(false, Ordering::Release);
        let task = {
            let mut turn = self.turn.lock();
            turn.is_owed = turn.task.is_none();
            turn.task.take()
        };
        let Some(mut task) = task else { return };
        // A task that panics has ended too.
        let ended = Ended(&self);
        let waker = Waker::from(Arc::clone(&self));
        // A compute that calls `advance` runs other tasks inside its poll: they are not part of it.
        let polled = apart(|| task.as_mut().poll(&mut Context::from_waker(&waker)));
        if polled.is_pending() {
            std::mem::forget(ended);
            let is_owed = {
                let mut turn = self.turn.lock();
                turn.task = Some(task);
                std::mem::take(&mut turn.is_owed)
            };
            if is_owed {
                self.wake();
            }
        }
    }

    fn enqueue(self: Arc<Self>) {
        if let Some(world) = self.world.upgrade() {
            world.state.lock().ready.push_back(self);
        }
    }
}

/// Takes a task that has ended off the list.
struct Ended<'a>(&'a Arc<Job>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if let Some(world) = self.0.world.upgrade() {
            let ended = world.state.lock().jobs.try_remove(self.0.key);
            drop(ended);
        }
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.enqueue();
        }
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// A wait for a moment of virtual time.
struct Sleep {
    world: Weak<World>,
    deadline: Instant,
    key: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Without its clock, the moment never comes.
        let Some(world) = self.world.upgrade() else { return Poll::Pending };
        if world.now() >= self.deadline {
            return Poll::Ready(());
        }
        let mut state = world.state.lock();
        let key = *self.key.get_or_insert_with(|| {
            state.timers_made += 1;
            state.timers_made
        });
        let replaced = state.timers.insert((self.deadline, key), context.waker().clone());
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let (Some(key), Some(world)) = (self.key, self.world.upgrade()) else { return };
        let waker = world.state.lock().timers.remove(&(self.deadline, key));
        drop(waker);
    }
}
