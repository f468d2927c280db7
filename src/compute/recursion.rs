//! Which flight waits for which: a compute that would wait for itself is told so.
//!
//! Two things are known without a runtime. While a flight is polled, it is on a stack of this
//! thread: whoever asks for a flight on the stack asks from inside it. And a flight whose compute
//! polls another, or was left waiting for it, has an edge to it: whoever would close a circle of edges
//! is told, also when the circle runs through several tasks, and through threads that block. What a
//! compute spawns and then waits for by other means is not seen.
//!
//! Along the edges, those that wait lend their permits to those that they wait for.

use std::cell::RefCell;
use std::collections::HashSet;
use std::mem::{self, ManuallyDrop};
use std::ptr;

use slab::Slab;

use crate::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use super::signal::{AnySignal, Origin, Progress};

thread_local! {
    /// The flights that are being polled on this thread. Never destroyed: while a thread ends, what it
    /// drops may wake a compute, or call for one. What is on it leaves nothing behind.
    static STACK: RefCell<ManuallyDrop<Stack>> =
        const { RefCell::new(ManuallyDrop::new(Stack::EMPTY)) };
}

struct Frame {
    signal: Arc<AnySignal>,
    progress: Progress,
}

/// The common case, one flight, needs no allocation.
struct Stack {
    innermost: Option<Frame>,
    /// Those around it, the outermost first.
    outer: Vec<Frame>,
}

impl Stack {
    const EMPTY: Self = Self { innermost: None, outer: Vec::new() };

    #[inline]
    fn contains(&self, signal: &Arc<AnySignal>) -> bool {
        self.innermost.iter().chain(&self.outer).any(|frame| is_same(&frame.signal, signal))
    }

    #[inline]
    fn push(&mut self, frame: Frame) {
        match self.innermost.replace(frame) {
            None => {}
            Some(outer) => self.outer.push(outer),
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Frame> {
        if self.outer.capacity() == 0 { self.innermost.take() } else { self.pop_nested() }
    }

    #[cold]
    fn pop_nested(&mut self) -> Option<Frame> {
        let next = self.outer.pop();
        if next.is_none() {
            self.outer = Vec::new();
        }
        mem::replace(&mut self.innermost, next)
    }
}

/// The poll of a flight by one of its handles. At its end, also by unwinding, the signal is told.
pub(super) struct Polling {
    /// Whether another flight's compute does so.
    is_nested: bool,
}

impl Polling {
    /// Begins to poll; `None` if this thread is inside that very flight.
    #[inline]
    pub(super) fn begin(signal: Arc<AnySignal>) -> Option<Self> {
        STACK.with_borrow_mut(|stack| {
            let is_nested = stack.innermost.is_some();
            if is_nested && stack.contains(&signal) {
                return None;
            }
            stack.push(Frame { signal, progress: Progress::Untouched });
            Some(Self { is_nested })
        })
    }

    /// Called by the innermost flight itself, which only one handle can poll at a time.
    #[inline]
    pub(super) fn note(progress: Progress) {
        STACK.with_borrow_mut(|stack| {
            if let Some(frame) = &mut stack.innermost {
                frame.progress = progress;
            }
        });
    }

    /// What the poll came to so far.
    #[expect(clippy::unused_self, reason = "there is a poll to ask about while it lives")]
    #[inline]
    pub(super) fn progress(&self) -> Progress {
        let innermost =
            STACK.with_borrow(|stack| stack.innermost.as_ref().map(|frame| frame.progress));
        innermost.unwrap_or(Progress::Untouched)
    }

    /// The edge from the flight whose compute polls this one, if there is such a flight.
    #[inline]
    pub(super) fn edge(&self) -> Option<Box<Dependency>> {
        if self.is_nested { Self::innermost_edge() } else { None }
    }

    #[cold]
    fn innermost_edge() -> Option<Box<Dependency>> {
        let (waiting, awaited) = STACK.with_borrow(|stack| {
            let (outer, inner) = (stack.outer.last()?, stack.innermost.as_ref()?);
            Some((Arc::clone(&outer.signal), Arc::clone(&inner.signal)))
        })?;
        Some(Box::new(Dependency::add(&waiting, &awaited)))
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let frame = STACK.with_borrow_mut(|stack| stack.pop());
        if let Some(Frame { signal, progress }) = frame {
            signal.polled(progress);
        }
    }
}

/// Whether this thread is inside a compute: then others may wait for what it does.
pub(crate) fn is_polling() -> bool {
    STACK.with_borrow(|stack| stack.innermost.is_some())
}

/// Runs what has nothing to do with the flights that are being polled on this thread, such as
/// another task: what it asks for is not asked from inside them.
pub(crate) fn apart<T>(code: impl FnOnce() -> T) -> T {
    struct Restore(Stack);

    impl Drop for Restore {
        fn drop(&mut self) {
            STACK.with_borrow_mut(|stack| mem::swap(&mut **stack, &mut self.0));
        }
    }

    let _restore = Restore(STACK.with_borrow_mut(|stack| mem::replace(&mut **stack, Stack::EMPTY)));
    code()
}

/// The flights that one flight's compute waits for; and who waits for it. Mostly there are none.
#[derive(Default)]
pub(super) struct Dependencies(OnceLock<Box<Mutex<Edges>>>);

#[derive(Default)]
struct Edges {
    awaited: Slab<Weak<AnySignal>>,
    /// Other caches whose computes have waited for this one, directly or not.
    lenders: Vec<Origin>,
}

impl Dependencies {
    /// Whether there never were any.
    #[inline]
    pub(super) fn are_unknown(&self) -> bool {
        self.0.get().is_none()
    }

    fn edges(&self) -> MutexGuard<'_, Edges> {
        self.0.get_or_init(Box::default).lock()
    }

    fn awaited(&self) -> Vec<Arc<AnySignal>> {
        let Some(edges) = self.0.get() else { return Vec::new() };
        edges.lock().awaited.iter().filter_map(|(_, awaited)| awaited.upgrade()).collect()
    }
}

/// An edge: `waiting` waits for `awaited`. It is gone when dropped.
pub(super) struct Dependency {
    waiting: Weak<AnySignal>,
    awaited: Weak<AnySignal>,
    /// Where it is among those of `waiting`.
    place: usize,
}

impl Dependency {
    fn add(waiting: &Arc<AnySignal>, awaited: &Arc<AnySignal>) -> Self {
        let place = waiting.dependencies().edges().awaited.insert(Arc::downgrade(awaited));
        Self { waiting: Arc::downgrade(waiting), awaited: Arc::downgrade(awaited), place }
    }

    /// Whether it closes a circle.
    ///
    /// It is there before the circle is looked for, so of two that close one at the same time at least
    /// one sees it.
    pub(super) fn closes_circle(&self) -> bool {
        let (Some(waiting), Some(awaited)) = (self.waiting.upgrade(), self.awaited.upgrade())
        else {
            return false;
        };
        Walk::from(awaited).any(|signal| is_same(&signal, &waiting))
    }

    /// Lends the permits under which the compute runs that waits: else what it waits for might wait for
    /// them.
    ///
    /// The edge is there before that: whoever comes to wait for the one that waits goes along it.
    pub(super) fn lend_permits(&self) {
        let (Some(waiting), Some(awaited)) = (self.waiting.upgrade(), self.awaited.upgrade())
        else {
            return;
        };
        let mut lenders = waiting.dependencies().edges().lenders.clone();
        lenders.push(waiting.origin());
        Walk::from(awaited).for_each(|signal| borrow(&signal, &lenders));
    }
}

/// Lets a compute, and what it waits for, run under these permits.
fn borrow(signal: &AnySignal, lenders: &[Origin]) {
    for &lender in lenders {
        if lender == signal.origin() {
            signal.lend_permit();
            continue;
        }
        let known = &mut signal.dependencies().edges().lenders;
        if !known.contains(&lender) {
            known.push(lender);
        }
    }
}

impl Drop for Dependency {
    fn drop(&mut self) {
        let Some(waiting) = self.waiting.upgrade() else { return };
        let awaited = waiting.dependencies().edges().awaited.try_remove(self.place);
        drop(awaited);
    }
}

/// The flights that the edges lead to, and the one that they are followed from.
struct Walk {
    next: Vec<Arc<AnySignal>>,
    seen: HashSet<*const ()>,
}

impl Walk {
    fn from(signal: Arc<AnySignal>) -> Self {
        Self { next: vec![signal], seen: HashSet::new() }
    }
}

impl Iterator for Walk {
    type Item = Arc<AnySignal>;

    fn next(&mut self) -> Option<Arc<AnySignal>> {
        let signal = self.next.pop()?;
        for awaited in signal.dependencies().awaited() {
            if self.seen.insert(Arc::as_ptr(&awaited).cast()) {
                self.next.push(awaited);
            }
        }
        Some(signal)
    }
}

fn is_same(left: &Arc<AnySignal>, right: &Arc<AnySignal>) -> bool {
    ptr::addr_eq(Arc::as_ptr(left), Arc::as_ptr(right))
}
