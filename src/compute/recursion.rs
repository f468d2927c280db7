//! Which flight waits for which: a compute that would wait for itself is told so.
//!
//! Two things are known without a runtime. While a flight is polled, it is on a stack of this
//! thread: whoever asks for a flight on the stack asks from inside it. And a flight whose compute
//! was left waiting for another has an edge to it: whoever would close a circle of edges is told,
//! also when the circle runs through several tasks. What a compute spawns and then waits for by
//! other means is not seen.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ptr;

use crate::sync::{Arc, Mutex, Weak};

use super::signal::{AnySignal, Origin, Progress};

thread_local! {
    /// The flights that are being polled on this thread, the innermost last.
    static STACK: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

struct Frame {
    signal: Arc<AnySignal>,
    progress: Progress,
}

/// The poll of a flight by one of its handles. At its end, also by unwinding, the signal is told.
pub(super) struct Polling(());

impl Polling {
    /// Begins to poll; `None` if this thread is inside that very flight.
    #[inline]
    pub(super) fn begin(signal: Arc<AnySignal>) -> Option<Self> {
        STACK.with_borrow_mut(|stack| {
            if stack.iter().any(|frame| is_same(&frame.signal, &signal)) {
                return None;
            }
            stack.push(Frame { signal, progress: Progress::Untouched });
            Some(Self(()))
        })
    }

    /// Called by the innermost flight itself, which only one handle can poll at a time.
    #[inline]
    pub(super) fn note(progress: Progress) {
        STACK.with_borrow_mut(|stack| {
            if let Some(frame) = stack.last_mut() {
                frame.progress = progress;
            }
        });
    }

    /// What the poll came to so far.
    #[expect(clippy::unused_self, reason = "there is a poll to ask about while it lives")]
    #[inline]
    pub(super) fn progress(&self) -> Progress {
        let innermost = STACK.with_borrow(|stack| stack.last().map(|frame| frame.progress));
        innermost.unwrap_or(Progress::Untouched)
    }

    /// The flight whose compute polls this one.
    #[expect(clippy::unused_self, reason = "there is a poll to ask about while it lives")]
    #[inline]
    pub(super) fn enclosing(&self) -> Option<Arc<AnySignal>> {
        STACK.with_borrow(|stack| {
            let outer = stack.len().checked_sub(2)?;
            Some(Arc::clone(&stack[outer].signal))
        })
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let frame = STACK.with_borrow_mut(Vec::pop);
        if let Some(Frame { signal, progress }) = frame {
            signal.polled(progress);
        }
    }
}

/// Whether the innermost flight is polled inside another one of the same cache.
pub(super) fn is_around(origin: Origin) -> bool {
    STACK.with_borrow(|stack| {
        let outer = stack.split_last().map_or(&[][..], |(_, outer)| outer);
        outer.iter().any(|frame| frame.signal.origin() == origin)
    })
}

/// Runs what has nothing to do with the flights that are being polled on this thread, such as
/// another task: what it asks for is not asked from inside them.
pub(crate) fn apart<T>(code: impl FnOnce() -> T) -> T {
    struct Restore(Vec<Frame>);

    impl Drop for Restore {
        fn drop(&mut self) {
            STACK.with_borrow_mut(|stack| std::mem::swap(stack, &mut self.0));
        }
    }

    let _restore = Restore(STACK.take());
    code()
}

/// The flights that one flight's compute was left waiting for.
#[derive(Default)]
pub(super) struct Dependencies(Mutex<Vec<Weak<AnySignal>>>);

impl Dependencies {
    fn snapshot(&self) -> Vec<Arc<AnySignal>> {
        self.0.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// The edges would be a circle.
#[derive(Debug)]
pub(super) struct Closed;

/// An edge: `waiting` was left waiting for `awaited`. It is gone when dropped.
pub(super) struct Dependency {
    waiting: Weak<AnySignal>,
    awaited: Weak<AnySignal>,
}

impl Dependency {
    /// Adds the edge.
    ///
    /// # Errors
    ///
    /// If it closes a circle.
    ///
    /// The edge is there before the circle is looked for, so of two that close one at the same
    /// time at least one sees it.
    pub(super) fn add(waiting: &Arc<AnySignal>, awaited: &Arc<AnySignal>) -> Result<Self, Closed> {
        waiting.dependencies().0.lock().push(Arc::downgrade(awaited));
        let edge = Self { waiting: Arc::downgrade(waiting), awaited: Arc::downgrade(awaited) };
        if reaches(awaited, waiting) { Err(Closed) } else { Ok(edge) }
    }
}

impl Drop for Dependency {
    fn drop(&mut self) {
        let Some(waiting) = self.waiting.upgrade() else { return };
        let mut edges = waiting.dependencies().0.lock();
        if let Some(index) = edges.iter().position(|edge| Weak::ptr_eq(edge, &self.awaited)) {
            edges.swap_remove(index);
        }
    }
}

/// Whether the edges lead from one flight to another.
fn reaches(from: &Arc<AnySignal>, target: &Arc<AnySignal>) -> bool {
    let mut next = vec![Arc::clone(from)];
    let mut seen = HashSet::from([Arc::as_ptr(from).cast::<()>()]);
    while let Some(signal) = next.pop() {
        for awaited in signal.dependencies().snapshot() {
            if is_same(&awaited, target) {
                return true;
            }
            if seen.insert(Arc::as_ptr(&awaited).cast()) {
                next.push(awaited);
            }
        }
    }
    false
}

fn is_same(left: &Arc<AnySignal>, right: &Arc<AnySignal>) -> bool {
    ptr::addr_eq(Arc::as_ptr(left), Arc::as_ptr(right))
}
