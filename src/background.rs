//! Background: the tasks that a cache runs beside its callers, and how they end.
//!
//! The runtime has a shell that polls the task, so that closing the cache can take the task away,
//! whether the runtime still polls or not.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use slab::Slab;

use crate::panic::{Postponed, contain};
use crate::runtime::{Runtime, Task};
use crate::sync::{Arc, AtomicBool, AtomicU32, Mutex, Ordering};

/// How often a closing cache lets the runtime run before it stops looking for its tasks' ends.
const CLOSING_TURNS: usize = 64;

/// A runtime that has dropped a task is tried again each time that so many more are wanted.
const TRIED_EACH: u32 = 64;
/// A call that has a task to run asks more than once whether there is any use in it.
const TRIES: u32 = 4;

/// What a cache has under way on a runtime. Ends with it.
pub(crate) struct Background {
    runtime: Arc<dyn Runtime>,
    tasks: Arc<Tasks>,
}

#[derive(Default)]
struct Tasks {
    open: Mutex<Slab<Arc<Work>>>,
    is_closed: AtomicBool,
    /// How often a task was wanted since the runtime dropped one; zero if none was dropped since one was polled.
    refusals: AtomicU32,
}

/// A task, and what wakes its shell.
struct Work {
    /// `None` when it is over, or was taken away.
    task: async_lock::Mutex<Option<Task>>,
    /// Nobody else wakes a shell whose task was taken away.
    shell: AtomicWaker,
}

impl Work {
    /// Takes the task away, unless it is being polled.
    fn try_take(&self) -> Option<Task> {
        self.task.try_lock()?.take()
    }

    /// Drops a task that was taken away, and lets the shell end.
    fn end(&self, task: Option<Task>) {
        let mut postponed = Postponed::default();
        postponed.run(|| drop(task));
        postponed.run(|| self.shell.wake());
    }
}

impl Background {
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, tasks: Arc::default() }
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// Whether there is any use in running a task: the cache is not closed, and the runtime not gone. One that has
    /// dropped a task is tried again now and then.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_closed() && self.tasks.are_taken()
    }

    fn is_closed(&self) -> bool {
        self.tasks.is_closed.load(Ordering::SeqCst)
    }

    /// Runs a task beside the callers. Runs the user's spawner: not for use under a lock. If the cache
    /// is closed, or the spawner panics, the task is dropped.
    pub(crate) fn spawn(&self, task: Task) {
        let task = async_lock::Mutex::new(Some(task));
        let work = Arc::new(Work { task, shell: AtomicWaker::new() });
        let key = self.tasks.open.lock().insert(Arc::clone(&work));
        let shell = Shell { work, key, tasks: Arc::clone(&self.tasks) };
        // A spawner that refuses by panicking is one more that drops the task.
        let _ = contain(|| {
            // Looked at when the task is on the list: closing sees it, or it sees the closing.
            if !self.is_closed() {
                self.runtime.spawn(Box::pin(shell));
            }
        });
    }

    /// Ends all tasks, and waits for none: one that is being polled ends after that.
    pub(crate) fn stop(&self) {
        self.tasks.is_closed.store(true, Ordering::SeqCst);
        let mut postponed = Postponed::default();
        for work in self.tasks.open() {
            postponed.run(|| work.end(work.try_take()));
        }
    }

    /// Ends all tasks, and waits for polls that are under way. Inside one of them it waits for none: two
    /// that close might wait for each other.
    ///
    /// The shells that remain are empty; the runtime is given some turns to drop them, but not waited
    /// for, because it may never run again.
    pub(crate) async fn close(&self) {
        self.tasks.is_closed.store(true, Ordering::SeqCst);
        let open = self.tasks.open();
        if open.iter().any(is_polled_here) {
            return self.stop();
        }
        let mut postponed = Postponed::default();
        for work in open {
            let task = work.task.lock().await.take();
            postponed.run(|| work.end(task));
        }
        for _ in 0..CLOSING_TURNS {
            if self.tasks.open.lock().is_empty() {
                return;
            }
            // To the runtime's other threads, and to its other tasks.
            std::thread::yield_now();
            yield_now().await;
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Tasks {
    #[inline]
    fn are_taken(&self) -> bool {
        self.refusals.load(Ordering::SeqCst) == 0 || self.is_worth_a_try()
    }

    #[cold]
    fn is_worth_a_try(&self) -> bool {
        let count = |wanted: u32| (wanted > 0).then(|| wanted.wrapping_add(1));
        let wanted = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        wanted.map_or(true, |wanted| wanted % TRIED_EACH < TRIES)
    }

    fn open(&self) -> Vec<Arc<Work>> {
        self.open.lock().iter().map(|(_, work)| Arc::clone(work)).collect()
    }
}

thread_local! {
    /// The tasks that are being polled on this thread, by address. Never destroyed: a cache may be closed
    /// while a thread ends. It holds no memory when it is empty.
    static POLLED: RefCell<ManuallyDrop<Vec<*const Work>>> =
        const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

fn is_polled_here(work: &Arc<Work>) -> bool {
    POLLED.with_borrow(|polled| polled.contains(&Arc::as_ptr(work)))
}

/// Takes the innermost off the list again, also when its poll panics.
struct Polled;

impl Polled {
    fn begin(work: &Arc<Work>) -> Self {
        POLLED.with_borrow_mut(|polled| polled.push(Arc::as_ptr(work)));
        Self
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        POLLED.with_borrow_mut(|polled| {
            polled.pop();
            if polled.is_empty() {
                **polled = Vec::new();
            }
        });
    }
}

/// What the runtime runs.
struct Shell {
    work: Arc<Work>,
    key: usize,
    tasks: Arc<Tasks>,
}

impl Future for Shell {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.tasks.refusals.store(0, Ordering::SeqCst);
        self.work.shell.register(context.waker());
        // Whoever else has the lock is taking the task away.
        let Some(mut held) = self.work.task.try_lock() else { return Poll::Ready(()) };
        let Some(task) = held.as_mut() else { return Poll::Ready(()) };
        let polled = Polled::begin(&self.work);
        let poll = task.as_mut().poll(context);
        drop(polled);
        if poll.is_ready() || self.tasks.is_closed.load(Ordering::SeqCst) {
            let task = held.take();
            drop(held);
            drop(task);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let task = self.work.try_take();
        if task.is_some() {
            self.tasks.refusals.fetch_max(TRIES, Ordering::SeqCst);
        }
        drop(self.tasks.open.lock().try_remove(self.key));
        drop(task);
    }
}

/// Lets other tasks run.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
