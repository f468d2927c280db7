//! Signal: the state of one flight's polling, and whom to wake.
//!
//! `Shared` keeps a list of wakers of its own, but loses a wake that comes while one handle polls
//! and another registers (rust-lang/futures-rs#2706), and calls wakers under its lock. So its
//! handles are polled with a waker that does nothing, and all waking is done here:
//!
//! - The compute's waker is the signal. A wake notes that the compute wants to be polled; if nobody
//!   is polling it now, every registered waiter is woken, so that whichever still runs can poll it.
//! - A wake that comes during a poll is only noted. Who polled looks at the note when `Shared` is
//!   idle again, and wakes the waiters then: all that saw it busy are registered by that time.
//! - A waiter registers first and looks at the state afterwards, so one of both sees the other.
//! - Wakers are called when no lock is held.

use std::mem;
use std::task::Waker;

use futures_util::task::{ArcWake, AtomicWaker};
use slab::Slab;

use crate::panic::contain;
use crate::sync::{Arc, AtomicBool, AtomicU8, Mutex, Ordering};

use super::recursion::{Dependencies, apart};

/// The compute has been woken, and has not been polled since.
const WOKEN: u8 = 1;
/// A handle is polling.
const POLLING: u8 = 2;
/// The outcome is there.
const DONE: u8 = 4;

/// The compute has asked for a permit.
const ASKED: u8 = 1;
/// A compute that has a permit waits for this one.
const LENT: u8 = 2;

/// What became of one handle's poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Another handle was polling, or the outcome was there already.
    Untouched,
    /// This handle polled the compute, which goes on.
    Pending,
    /// This handle polled the compute to its end.
    Done,
}

/// What one flight's handles and its compute share; and by what the handles come to share the compute.
pub(super) struct Signal<C: ?Sized> {
    state: AtomicU8,
    /// The cache whose flight it is.
    origin: Origin,
    /// How it stands with a permit for the compute.
    permit: AtomicU8,
    /// Who is to be woken next. A waiter keeps its place until it leaves.
    waiters: Mutex<Slab<Option<Waker>>>,
    /// Whether a waiter ever registered, or a task.
    is_awaited: AtomicBool,
    /// A task alone polls the compute, and is woken when that is.
    is_spawned: AtomicBool,
    /// Woken under no lock, as all are.
    task: AtomicWaker,
    dependencies: Dependencies,
    pub(super) content: C,
}

/// A signal, whatever its content.
pub(super) type AnySignal = Signal<dyn Send + Sync>;

/// Tells caches apart, by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin(pub(super) usize);

impl<C> Signal<C> {
    /// Of a flight that is about to be polled for the first time.
    #[inline]
    pub(super) fn new(origin: Origin, content: C) -> Self {
        Self {
            state: AtomicU8::new(POLLING),
            origin,
            permit: AtomicU8::new(0),
            waiters: Mutex::default(),
            is_awaited: AtomicBool::new(false),
            is_spawned: AtomicBool::new(false),
            task: AtomicWaker::new(),
            dependencies: Dependencies::default(),
            content,
        }
    }

    /// Whether nobody ever waited, and no compute for another: what it holds is as when it was made.
    #[inline]
    pub(super) fn is_as_new(&self) -> bool {
        !self.is_awaited.load(Ordering::SeqCst) && self.dependencies.are_unknown()
    }

    /// A signal for another flight of the same cache: this one, if nobody else has it.
    #[inline]
    pub(super) fn renewed(mut this: Arc<Self>, content: C) -> Arc<Self> {
        if let Some(signal) = Arc::get_mut(&mut this).filter(|signal| signal.is_as_new()) {
            *signal.state.get_mut() = POLLING;
            *signal.permit.get_mut() = 0;
            signal.content = content;
            return this;
        }
        Arc::new(Self::new(this.origin, content))
    }
}

impl<C: ?Sized> Signal<C> {
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Notes that the compute needs a permit; returns whether it may run under that of another.
    pub(super) fn ask_for_permit(&self) -> bool {
        self.permit.fetch_or(ASKED, Ordering::SeqCst) & LENT != 0
    }

    /// Lets the compute run under the permit of another.
    pub(super) fn lend_permit(&self) {
        if self.permit.fetch_or(LENT, Ordering::SeqCst) == ASKED {
            self.note_wake();
        }
    }

    pub(super) fn dependencies(&self) -> &Dependencies {
        &self.dependencies
    }

    /// Whether the outcome is there.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.state.load(Ordering::SeqCst) & DONE != 0
    }

    /// Whether polling the flight now can bring a caller anything.
    #[inline]
    pub(super) fn is_worth_polling(&self) -> bool {
        let worth = if self.is_spawned() { DONE } else { WOKEN | DONE };
        self.state.load(Ordering::SeqCst) & worth != 0
    }

    /// Leaves the polling to a task, until that [is gone](Self::unspawn). For use before the compute is polled.
    pub(super) fn spawn(&self) {
        self.is_awaited.store(true, Ordering::SeqCst);
        self.is_spawned.store(true, Ordering::SeqCst);
    }

    #[inline]
    fn is_spawned(&self) -> bool {
        self.is_spawned.load(Ordering::SeqCst)
    }

    /// The task is gone, however it went: from here on the callers poll again.
    pub(super) fn unspawn(&self) {
        self.is_spawned.store(false, Ordering::SeqCst);
        // Those that came while there was a task have left a wake to it.
        if self.state.load(Ordering::SeqCst) & WOKEN != 0 {
            self.wake_registered();
        }
    }

    /// Whether the task is to poll the compute now. If not, it is woken when it is.
    pub(super) fn is_task_due(&self, waker: &Waker) -> bool {
        self.task.register(waker);
        self.state.load(Ordering::SeqCst) & WOKEN != 0
    }

    /// Registers who is to be woken next. `place` is where that waiter is registered.
    pub(super) fn register(&self, place: &mut Option<usize>, waker: &Waker) {
        let mut waiters = self.waiters.lock();
        let key = *place.get_or_insert_with(|| waiters.insert(None));
        self.is_awaited.store(true, Ordering::SeqCst);
        if waiters[key].as_ref().is_some_and(|registered| registered.will_wake(waker)) {
            return;
        }
        drop(waiters);
        // Wakers are the user's code: cloned and dropped when no lock is held.
        let waker = waker.clone();
        let replaced = self.waiters.lock()[key].replace(waker);
        drop(replaced);
    }

    pub(super) fn deregister(&self, place: Option<usize>) {
        let Some(key) = place else { return };
        let waker = self.waiters.lock().try_remove(key);
        drop(waker);
    }

    /// A handle begins to poll: wakes from here on are noted.
    #[inline]
    pub(super) fn polling(&self) {
        // A swap, to see what came before the wake that it takes note of.
        self.state.swap(POLLING, Ordering::SeqCst);
    }

    /// A handle has let go of `Shared`.
    #[inline]
    pub(super) fn polled(&self, progress: Progress) {
        match progress {
            Progress::Untouched => {}
            Progress::Pending => {
                // Another handle may have ended it since, before this one's waiter was registered.
                let before = self.state.fetch_and(!POLLING, Ordering::SeqCst);
                if before & DONE != 0 {
                    self.wake_all();
                } else if before & WOKEN != 0 {
                    self.wake_pollers();
                }
            }
            Progress::Done => {
                self.state.store(DONE, Ordering::SeqCst);
                self.wake_all();
            }
        }
    }

    /// The compute wants to be polled.
    fn note_wake(&self) {
        // If it was noted before, the waiters of that time were woken, and later ones saw the note.
        if self.state.fetch_or(WOKEN, Ordering::SeqCst) == 0 {
            self.wake_pollers();
        }
    }

    /// Wakes who can poll the compute: its task, or else each of its callers, because any may be parked.
    #[inline]
    fn wake_pollers(&self) {
        if self.is_spawned() {
            self.wake_task();
            // If the task is gone since, it may not have seen the wake.
            if self.is_spawned() {
                return;
            }
        }
        self.wake_all();
    }

    #[cold]
    fn wake_task(&self) {
        // It may be polled on the spot: not as part of the flights that are being polled.
        apart(|| drop(contain(|| self.task.wake())));
    }

    #[inline]
    fn wake_all(&self) {
        // A waiter notes that it is there before it looks at the state, which has changed before this.
        if self.is_awaited.load(Ordering::SeqCst) {
            self.wake_registered();
        }
    }

    fn wake_registered(&self) {
        if self.is_spawned() {
            self.wake_task();
        }
        let wakers: Vec<Waker> = {
            let mut waiters = self.waiters.lock();
            waiters.iter_mut().filter_map(|(_, waker)| mem::take(waker)).collect()
        };
        // A waker may poll on the spot: what it polls is no part of the flights that are being polled.
        apart(|| {
            for waker in wakers {
                // One waker that panics must not keep the others waiting.
                let _ = contain(|| waker.wake());
            }
        });
    }
}

impl<C: Send + Sync> ArcWake for Signal<C> {
    fn wake_by_ref(signal: &Arc<Self>) {
        signal.note_wake();
    }
}
