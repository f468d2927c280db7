//! Notices: which values have left and are still to be told to the listener, in the order they left.
//!
//! They are queued under the lock of the value's shard, which gives the order for one key, and told under
//! no lock of the store. One thread at a time tells, so that the order is kept, and others leave theirs to
//! it. Whoever finds too many waiting tells the next ones itself: so who removes faster than the listener
//! listens is slowed down, and the queue stays short.

use std::cell::Cell;
use std::collections::VecDeque;

use hashbrown::HashTable;

use crate::clock::Tick;
use crate::compute::is_polling;
use crate::listener::{Listener, RemovalCause};
use crate::panic::contain;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};

use super::entry::{Entry, Removed};

/// Who finds this many waiting waits for a turn to tell them.
const BACKLOG: usize = 1024;
/// How many a thread tells before it lets another one go on that waits for its turn.
const TURN: usize = 64;

pub(super) struct Notices<K, V> {
    listener: Listener<K, V>,
    queue: Mutex<VecDeque<Notice<K, V>>>,
    /// How many are queued. Written with the queue locked.
    queued: AtomicUsize,
    /// Held by the thread that tells.
    turn: Mutex<()>,
    /// How many threads wait for their turn.
    claims: AtomicUsize,
    panics: AtomicU64,
}

enum Notice<K, V> {
    One(K, V, RemovalCause),
    /// All that was cleared away at a time.
    All(HashTable<Entry<K, V>>, Tick),
}

/// How a turn ended.
#[derive(PartialEq, Eq)]
enum Turn {
    /// There was nothing left to tell.
    Done,
    /// Another thread goes on.
    PassedOn,
}

impl<K, V> Notices<K, V> {
    pub(super) fn new(listener: Listener<K, V>) -> Self {
        Self {
            listener,
            queue: Mutex::default(),
            queued: AtomicUsize::new(0),
            turn: Mutex::default(),
            claims: AtomicUsize::new(0),
            panics: AtomicU64::new(0),
        }
    }

    /// Queues the notice of a value that has just left: under the lock of its shard.
    #[cold]
    pub(super) fn push(&self, key: K, value: V, cause: RemovalCause) {
        self.enqueue(Notice::One(key, value, cause));
    }

    /// Queues the notices of all that has just been cleared away: under the lock of its shard.
    pub(super) fn push_all(&self, table: HashTable<Entry<K, V>>, now: Tick) {
        if !table.is_empty() {
            self.enqueue(Notice::All(table, now));
        }
    }

    fn enqueue(&self, notice: Notice<K, V>) {
        let mut queue = self.queue.lock();
        queue.push_back(notice);
        self.queued.store(queue.len(), Ordering::Release);
    }

    /// Whether something is to be told; true if this thread has left something and nobody took it.
    pub(super) fn are_waiting(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }

    /// Tells all that is queued, unless another thread is at it: then that one does. Runs the user's code:
    /// not for use under a lock. Inside the listener it does nothing.
    #[cold]
    pub(super) fn deliver(&self) {
        if !self.are_waiting() {
            return;
        }
        while let Some(turn) = self.turn() {
            let end = self.tell_queued();
            drop(turn);
            // Only now: who came before has seen the turn taken, and left its notice here. The queue's
            // lock orders the two.
            if end == Turn::PassedOn || self.queue.lock().is_empty() {
                return;
            }
        }
    }

    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        if let Some(turn) = self.turn.try_lock() {
            return Some(turn);
        }
        // Inside a listener, also that of another cache, nobody waits: two might wait for each other. Nor
        // inside a compute, which a listener may wait for: the call that asked for it does so afterwards.
        if self.queued.load(Ordering::Acquire) < BACKLOG || Telling::is_here() || is_polling() {
            return None;
        }
        self.claims.fetch_add(1, Ordering::SeqCst);
        let turn = self.turn.lock();
        self.claims.fetch_sub(1, Ordering::SeqCst);
        Some(turn)
    }

    fn tell_queued(&self) -> Turn {
        let _telling = Telling::begin();
        for told in 0.. {
            if told >= TURN && self.claims.load(Ordering::SeqCst) > 0 {
                return Turn::PassedOn;
            }
            let Some(notice) = self.pop() else { break };
            self.tell(notice);
        }
        Turn::Done
    }

    fn pop(&self) -> Option<Notice<K, V>> {
        // Spares the lock; what is missed is found when the turn is over.
        if !self.are_waiting() {
            return None;
        }
        let mut queue = self.queue.lock();
        let notice = queue.pop_front();
        self.queued.store(queue.len(), Ordering::Release);
        if queue.is_empty() && queue.capacity() > 2 * BACKLOG {
            *queue = VecDeque::new();
        }
        notice
    }

    fn tell(&self, notice: Notice<K, V>) {
        match notice {
            Notice::One(key, value, cause) => self.call(key, value, cause),
            Notice::All(table, now) => {
                for Removed { key, value, deadline, .. } in table.into_iter().map(Removed::from) {
                    let has_expired = deadline <= now;
                    let cause =
                        if has_expired { RemovalCause::Expired } else { RemovalCause::Removed };
                    self.call(key, value, cause);
                }
            }
        }
    }

    fn call(&self, key: K, value: V, cause: RemovalCause) {
        if contain(|| (self.listener)(key, value, cause)).is_err() {
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often the listener has panicked.
    pub(super) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(super) fn reset_panics(&self) {
        self.panics.store(0, Ordering::Relaxed);
    }

    /// Panics unless everything was told, for use at rest; inside the listener something may wait.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn validate(&self) {
        let queued = self.queue.lock().len();
        assert_eq!(queued, self.queued.load(Ordering::Acquire), "the notices are counted");
        assert!(queued == 0 || Telling::is_here(), "every notice is told");
    }
}

thread_local! {
    /// In how many listeners this thread is, one inside the other. Never destroyed: values may leave a
    /// cache while a thread ends.
    static TELLING: Cell<usize> = const { Cell::new(0) };
}

/// While it lives, this thread runs a listener.
pub(super) struct Telling;

impl Telling {
    fn begin() -> Self {
        TELLING.set(TELLING.get() + 1);
        Self
    }

    pub(super) fn is_here() -> bool {
        TELLING.get() > 0
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        TELLING.set(TELLING.get() - 1);
    }
}
