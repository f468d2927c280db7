//! Waiter: one caller's share in a flight, and how the store hands them out.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::Shared;

use crate::background::Background;
use crate::clock::{Clock, Tick};
use crate::panic::contain;
use crate::runtime::Task;
use crate::store::Handle;
use crate::sync::Arc;

use super::host::Terms;
use super::outcome::Outcome;
use super::patience::{Allowance, Lapse, Patience};
use super::recursion::{Dependency, Polling, apart};
use super::share::{Share, Shareable, Stage};
use super::signal::{AnySignal, Progress, Signal};

/// What a waiter gets.
pub(crate) enum Awaited<V> {
    Outcome(Outcome<V>),
    /// The compute was for several keys, and brought nothing for this one.
    Lacking,
    /// Waiting would never end: the waiter is part of the compute that it waits for.
    Recursive,
    TimedOut,
    /// The compute was given up, and this waiter has time until then.
    GivenUp(Tick),
    /// Nothing yet: a stale value will do by now. The waiter goes on if there is none.
    Slow,
}

/// The store's handle to a flight: does not keep it going.
pub(crate) struct FlightHandle<V> {
    signal: Arc<Signal<Stage<V>>>,
    /// Which of several keys it is for.
    part: Option<u32>,
}

impl<V: Clone + Send + Sync + 'static> FlightHandle<V> {
    #[inline]
    pub(super) fn new(signal: &Arc<Signal<Stage<V>>>, part: Option<u32>) -> Self {
        Self { signal: Arc::clone(signal), part }
    }

    /// The signal for another flight of the same cache, when this one has landed.
    #[inline]
    pub(super) fn renewed(self, stage: Stage<V>) -> Arc<Signal<Stage<V>>> {
        Signal::renewed(self.signal, stage)
    }

    /// One more waiter, unless the last one has just left, or the compute was given up.
    #[inline]
    pub(super) fn join(&self, terms: &Terms<'_>) -> Option<Waiter<V>> {
        let signal = Arc::clone(&self.signal);
        let term = &signal.content.term;
        if !term.is_open(terms.clock) {
            return None;
        }
        // First: the runtime's clock may panic, and who has joined has to leave.
        let slow_from = terms.slow_from();
        let deadline = match terms.allowance {
            Allowance::OfCall(timeout) => Some(terms.clock.now().after(timeout)),
            _ => None,
        };
        let share = Some(signal.content.join()?);
        term.extend(terms.allowance.limit(term.begun));
        let deadline = deadline.unwrap_or_else(|| term.limit());
        let patience = terms.patience(deadline, slow_from, term);
        Some(Waiter { signal, share, place: None, dependency: None, part: self.part, patience })
    }
}

impl<V> Handle for FlightHandle<V> {
    fn is_open(&self, clock: &Clock) -> bool {
        self.signal.content.term.is_open(clock)
    }

    fn overdue_since(&self, clock: &Clock) -> Option<Tick> {
        let term = &self.signal.content.term;
        (!term.is_open(clock)).then(|| term.limit())
    }

    #[inline]
    fn is_reusable(&self) -> bool {
        !self.signal.content.is_shared()
    }
}

/// Notes that the compute which polls a flight, if one does, waits for it. Before the poll: it may block
/// its thread, on what waits for that compute.
#[inline]
pub(super) fn depend(polling: &Polling) -> Option<Box<Dependency>> {
    let dependency = polling.edge()?;
    dependency.lend_permits();
    Some(dependency)
}

/// One caller's share in a flight.
pub(crate) struct Waiter<V> {
    signal: Arc<Signal<Stage<V>>>,
    /// `None` when it has left.
    share: Option<Share<V>>,
    place: Option<usize>,
    /// That another flight's compute waits here.
    dependency: Option<Box<Dependency>>,
    /// Which of several keys it waits for; `None` is for all of them.
    part: Option<u32>,
    patience: Option<Box<Patience>>,
}

impl<V: Clone + Send + Sync + 'static> Waiter<V> {
    /// The leader's.
    pub(super) fn of(
        signal: Arc<Signal<Stage<V>>>,
        shared: Shared<Shareable<V>>,
        terms: &Terms<'_>,
    ) -> Self {
        let term = &signal.content.term;
        let deadline = terms.allowance.limit(term.begun);
        let patience = terms.patience(deadline, terms.slow_from(), term);
        let share = Some(Share::Taken(shared));
        Self { signal, share, place: None, dependency: None, part: None, patience }
    }

    /// Begins to wait, after a first poll that did not end the compute. False if waiting would never end.
    #[inline]
    pub(super) fn begin(
        &mut self,
        dependency: Option<Box<Dependency>>,
        context: &mut Context<'_>,
    ) -> bool {
        self.signal.register(&mut self.place, context.waker());
        self.dependency = dependency;
        let is_endless = self.closes_circle();
        if is_endless {
            self.leave();
        }
        !is_endless
    }

    /// Whether it may end before the compute does: then it is to be polled before it is left waiting.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.patience.is_some()
    }

    /// Has no more to wait for.
    #[inline]
    fn end(&mut self, awaited: &Awaited<V>) {
        match awaited {
            Awaited::Slow => return,
            Awaited::TimedOut | Awaited::GivenUp(_) => self.signal.content.term.leave(true),
            _ => {}
        }
        self.leave();
    }

    /// Lets the waiter speak for all keys of its flight. Returns the one that it spoke for.
    pub(super) fn widen(&mut self) -> Option<u32> {
        self.part.take()
    }

    /// Tells flights apart while there is a waiter for them.
    pub(super) fn flight(&self) -> usize {
        Arc::as_ptr(&self.signal).addr()
    }

    /// Notes that a task is to drive the compute; false if one does.
    fn drive(&self) -> bool {
        self.signal.content.term.drive()
    }

    /// Lets the compute go on in the background, and waits for it no more.
    pub(super) fn go_on(self, background: &Background) {
        if self.drive() {
            background.spawn(self.driven());
        }
    }

    /// Lets the compute go on when its callers have left, if there is something to run it on.
    pub(super) fn detach(&self, terms: &Terms<'_>) {
        let Some(background) = terms.host.open_background() else { return };
        if !self.drive() {
            return;
        }
        if let Some(driver) = FlightHandle::new(&self.signal, None).join(terms) {
            background.spawn(driver.driven());
        }
    }

    /// A task that drives the compute for as long as that may run, and has no use for its outcome.
    fn driven(mut self) -> Task {
        // No compute waits here any more.
        self.dependency = None;
        if let Some(patience) = &mut self.patience {
            patience.last();
        }
        // Also where the runtime polls it inside another compute, which does not wait for it.
        poll_fn(move |context| apart(|| self.poll_unpin(context)).map(drop)).boxed()
    }

    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<Awaited<V>> {
        let Some(patience) = &mut self.patience else { return Poll::Pending };
        patience.poll(&self.signal.content.term, context).map(Awaited::from)
    }

    /// Whether a time is up while the compute still runs, and nobody was woken.
    #[inline]
    fn overdue(&mut self, context: &mut Context<'_>) -> Option<Awaited<V>> {
        let patience = self.patience.as_deref_mut().filter(|_| !self.signal.is_done())?;
        patience.overdue(&self.signal.content.term, context).map(Awaited::from)
    }

    /// What is for this waiter of what the compute came to.
    #[inline]
    fn pick(&self, outcome: Outcome<V>) -> Awaited<V> {
        match (outcome, self.part) {
            (Outcome::Values(values), Some(part)) => {
                match contain(|| values.get(part as usize).cloned().flatten()) {
                    Ok(Some(value)) => Awaited::Outcome(Outcome::Value(value)),
                    Ok(None) => Awaited::Lacking,
                    Err(message) => Awaited::Outcome(Outcome::panicked(message)),
                }
            }
            (outcome, _) => Awaited::Outcome(outcome),
        }
    }

    fn any_signal(&self) -> Arc<AnySignal> {
        Arc::<Signal<Stage<V>>>::clone(&self.signal)
    }

    fn poll_flight(&mut self, context: &mut Context<'_>) -> Poll<Awaited<V>> {
        let Some(polling) = Polling::begin(self.any_signal()) else {
            return Poll::Ready(Awaited::Recursive);
        };
        let is_new = self.dependency.is_none();
        if is_new {
            self.dependency = depend(&polling);
        }
        let overdue = self.overdue(context);
        if let Some(awaited @ (Awaited::TimedOut | Awaited::GivenUp(_))) = overdue {
            return Poll::Ready(awaited);
        }
        let share = self.share.as_mut().expect("a waiter is not polled after its end");
        let mut registered = false;
        loop {
            if self.signal.is_worth_polling() {
                if let Poll::Ready(outcome) = share.poll(&self.signal.content) {
                    return Poll::Ready(self.pick(outcome));
                }
            }
            // Registered before the poll is declared over, or before a busy flight is looked at
            // again: either way no wake is missed.
            if registered {
                break;
            }
            self.signal.register(&mut self.place, context.waker());
            registered = true;
            if polling.progress() == Progress::Pending {
                break;
            }
        }
        if is_new && self.closes_circle() {
            return Poll::Ready(Awaited::Recursive);
        }
        overdue.map_or_else(|| self.poll_patience(context), Poll::Ready)
    }

    /// Whether waiting would never end. Asked after the poll, which may have brought what it is about.
    #[inline]
    fn closes_circle(&self) -> bool {
        self.dependency.as_deref().is_some_and(Dependency::closes_circle)
    }
}

impl<V> From<Lapse> for Awaited<V> {
    fn from(lapse: Lapse) -> Self {
        match lapse {
            Lapse::OfCaller => Self::TimedOut,
            Lapse::OfCompute(deadline) => Self::GivenUp(deadline),
            Lapse::Slow => Self::Slow,
        }
    }
}

impl<V> Waiter<V> {
    #[inline]
    fn leave(&mut self) {
        self.dependency = None;
        // Perhaps the last one: then the compute is dropped at the end of this, also when a waker panics.
        let _share = match self.share.take() {
            Some(Share::Owed) => self.signal.content.forgo(),
            Some(Share::Taken(shared)) => Some(shared),
            None => None,
        };
        self.signal.deregister(self.place.take());
    }
}

impl<V: Clone + Send + Sync + 'static> Future for Waiter<V> {
    type Output = Awaited<V>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Awaited<V>> {
        let polled = self.poll_flight(context);
        if let Poll::Ready(awaited) = &polled {
            self.end(awaited);
        }
        polled
    }
}

impl<V> Drop for Waiter<V> {
    fn drop(&mut self) {
        if self.share.is_some() {
            self.signal.content.term.leave(false);
        }
        self.leave();
    }
}
