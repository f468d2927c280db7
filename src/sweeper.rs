//! The background task: frees what has expired, when it expires.
//!
//! The task sleeps until the earliest deadline and is woken early only when a write brings an
//! earlier one. It holds its cache weakly, and upgrades for one batch at a time, so it ends with
//! the last handle. It begins with the first value that will expire. Nothing depends on it: a
//! runtime that is gone, or drops the task, costs promptness only, and a later write tries again.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::select;
use futures_util::task::AtomicWaker;

use crate::background::{Background, yield_now};
use crate::clock::{Clock, Tick};
use crate::panic::contain;
use crate::runtime::{Runtime, Task};
use crate::store::Sweep;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, Weak};

/// What is swept.
pub(crate) trait Sweepable: Send + Sync + 'static {
    /// Frees the next batch of what has expired. Returns false when the sweep is at its end.
    fn sweep(&self, sweep: &mut Sweep) -> bool;

    /// A moment before which nothing is due.
    fn next_alarm(&self) -> Option<Tick>;

    fn clock(&self) -> &Clock;
}

/// The cache's hold on its background task.
pub(crate) struct Sweeper {
    target: Weak<dyn Sweepable>,
    /// The least time between two sweeps.
    interval: Duration,
    bell: Arc<Bell>,
}

/// How writes reach the task.
struct Bell {
    /// Wakes the task under no lock, which matters to a runtime that polls where it is woken.
    waker: AtomicWaker,
    has_news: AtomicBool,
    /// A deadline before this moment is news to the task; in nanoseconds, as in [`Tick`].
    news_before: AtomicU64,
    /// A task was spawned and was not dropped yet.
    is_running: AtomicBool,
    is_closed: AtomicBool,
    /// When a task may be spawned again, should the last one have been dropped.
    respawn_at: AtomicU64,
}

const ANY: u64 = Tick::NEVER.nanos();
const NONE: u64 = 0;

impl Sweeper {
    pub(crate) fn new(target: Weak<dyn Sweepable>, interval: Duration) -> Self {
        let bell = Bell {
            waker: AtomicWaker::new(),
            has_news: AtomicBool::new(false),
            news_before: AtomicU64::new(ANY),
            is_running: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            respawn_at: AtomicU64::new(0),
        };
        Self { target, interval, bell: Arc::new(bell) }
    }

    /// Tells the task of a deadline, if that is news to it. Runs the user's spawner or waker: not
    /// for use under a lock.
    #[inline]
    pub(crate) fn notice(&self, deadline: Tick, background: &Background) {
        if deadline.nanos() < self.bell.news_before.load(Ordering::SeqCst) {
            self.tell(deadline, background);
        }
    }

    #[cold]
    fn tell(&self, deadline: Tick, background: &Background) {
        self.bell.news_before.fetch_min(deadline.nanos(), Ordering::SeqCst);
        if self.bell.is_running.load(Ordering::SeqCst) {
            self.bell.ring();
        } else {
            self.spawn(background);
        }
    }

    fn spawn(&self, background: &Background) {
        let Some(target) = self.target.upgrade() else { return };
        let now = target.clock().now();
        let bell = &self.bell;
        if bell.is_closed.load(Ordering::SeqCst) {
            bell.news_before.store(NONE, Ordering::SeqCst);
            return;
        }
        if now.nanos() < bell.respawn_at.load(Ordering::SeqCst)
            || bell.is_running.swap(true, Ordering::SeqCst)
        {
            // Told again by the next write.
            bell.news_before.store(ANY, Ordering::SeqCst);
            return;
        }
        bell.respawn_at.store(now.after(self.interval).nanos(), Ordering::SeqCst);
        let running = Running(Arc::clone(bell));
        let rounds = Rounds {
            target: Weak::clone(&self.target),
            bell: Arc::clone(bell),
            interval: self.interval,
            swept_at: None,
        };
        let runtime = Arc::downgrade(background.runtime());
        background.spawn(Box::pin(async move {
            let _running = running;
            rounds.run(runtime).await;
        }));
    }

    /// The task ends for good as soon as it is polled.
    pub(crate) fn stop(&self) {
        self.bell.stop();
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        // The task finds its cache gone, and ends.
        self.bell.ring();
    }
}

impl Bell {
    fn stop(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.news_before.store(NONE, Ordering::SeqCst);
        self.ring();
    }

    fn ring(&self) {
        self.has_news.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Completes when the bell was rung since it was last [silenced](Self::silence).
    fn rung(&self) -> impl Future<Output = ()> + Unpin + '_ {
        poll_fn(|context| {
            self.waker.register(context.waker());
            if self.has_news.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    fn silence(&self) {
        self.has_news.store(false, Ordering::SeqCst);
    }
}

/// Tells that the task is gone, however it went.
struct Running(Arc<Bell>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::SeqCst);
        if !self.0.is_closed.load(Ordering::SeqCst) {
            self.0.news_before.store(ANY, Ordering::SeqCst);
        }
    }
}

/// The task's own state.
struct Rounds {
    target: Weak<dyn Sweepable>,
    bell: Arc<Bell>,
    interval: Duration,
    swept_at: Option<Tick>,
}

/// What to do next.
enum Next {
    Sweep,
    Sleep(Task),
    /// Nothing can expire: wait for a write.
    Listen,
    End,
}

impl Rounds {
    async fn run(mut self, runtime: Weak<dyn Runtime>) {
        loop {
            // Silence first, look afterwards: what a write brings between the two is not missed.
            self.bell.silence();
            match self.next(&runtime) {
                Next::Sweep => self.sweep().await,
                Next::Sleep(sleep) => drop(select(sleep, self.bell.rung()).await),
                Next::Listen => self.bell.rung().await,
                Next::End => return,
            }
        }
    }

    fn next(&self, runtime: &Weak<dyn Runtime>) -> Next {
        self.bell.news_before.store(ANY, Ordering::SeqCst);
        if self.bell.is_closed.load(Ordering::SeqCst) {
            self.bell.news_before.store(NONE, Ordering::SeqCst);
            return Next::End;
        }
        let (Some(target), Some(runtime)) = (self.target.upgrade(), runtime.upgrade()) else {
            return Next::End;
        };
        let next = self.plan(&*target, &*runtime);
        // Perhaps the last handle has gone meanwhile: then everything is dropped here.
        let _ = contain(|| drop((target, runtime)));
        next
    }

    fn plan(&self, target: &dyn Sweepable, runtime: &dyn Runtime) -> Next {
        let Some(alarm) = target.next_alarm() else { return Next::Listen };
        let earliest = self.swept_at.map_or(Tick::START, |swept_at| swept_at.after(self.interval));
        let next = alarm.max(earliest);
        if target.clock().now() >= next {
            return Next::Sweep;
        }
        // While it may not sweep earlier anyway, no deadline is news.
        let news = if next == earliest { NONE } else { next.nanos() };
        self.bell.news_before.store(news, Ordering::SeqCst);
        match target.clock().instant(next) {
            Some(moment) => Next::Sleep(runtime.sleep_until(moment)),
            None => Next::Listen,
        }
    }

    async fn sweep(&mut self) {
        let mut sweep = Sweep::default();
        loop {
            let Some(target) = self.target.upgrade() else { return };
            if self.bell.is_closed.load(Ordering::SeqCst) {
                return;
            }
            let goes_on = target.sweep(&mut sweep);
            self.swept_at = Some(target.clock().now());
            // Perhaps the last handle has gone meanwhile: then everything is dropped here.
            let _ = contain(|| drop(target));
            if !goes_on {
                return;
            }
            yield_now().await;
        }
    }
}
