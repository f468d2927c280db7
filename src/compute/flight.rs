//! Flight: one running compute, shared by all who wait for it.
//!
//! The caller that leads polls it once, alone, unless it first has to drop what the compute replaces. If
//! that ends it, as it does where the compute has nothing to wait for, nothing needs to be shared. Else
//! it becomes a [`Shared`] future, held strongly by its waiters and weakly by its signal, which is how the
//! store reaches it: when the last waiter leaves, the compute is dropped. Whichever waiter is polled
//! drives it. Nothing panics inside `Shared`, which would poison every handle: what the user's code
//! throws is caught, also from destructors, and becomes an outcome.
//!
//! [`Shared`]: futures_util::future::Shared

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::slice;
use std::task::{Context, Poll, Waker, ready};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use futures_util::task::waker;

use crate::clock::{Clock, Tick};
use crate::options::Options;
use crate::panic::contain;
use crate::runtime::{Runtime, Task};
use crate::store::{Ending, Failure, Handle, Ticket};
use crate::sync::{Arc, Weak};

use super::patience::{Allowance, Lapse, Patience};
use super::permits::Permits;
use super::recursion::{Dependency, Polling, apart};
use super::share::{Share, Shareable, Stage};
use super::signal::{AnySignal, Origin, Progress, Signal};
use super::term::Term;

/// How a compute ended, whatever its callers' error types.
#[derive(Clone)]
pub(crate) enum Outcome<V> {
    Value(V),
    /// Those of several keys, by the order of their tickets.
    Values(Arc<[Option<V>]>),
    Failed(Failure),
    Panicked(Arc<str>),
}

impl<V> Outcome<V> {
    /// No value for any key.
    pub(super) fn nothing() -> Self {
        Self::Values(Arc::from([]))
    }

    fn replace_by_panic(&mut self, message: Arc<str>) {
        let replaced = mem::replace(self, Self::Panicked(message));
        let _ = contain(|| drop(replaced));
    }
}

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
}

/// Where flights land.
pub(crate) trait Ground<V>: Send + Sync {
    /// Stores the values, unless writes came first, and ends the flights of keys without one. May panic
    /// with the user's code, before anything was stored.
    fn land(&self, tickets: &[Ticket], outcome: &Outcome<V>, options: Options<V>);

    /// Ends a flight that brings no value to store.
    fn end(&self, ticket: Ticket, ending: Ending);
}

pub(super) type Compute<V> = BoxFuture<'static, Outcome<V>>;

/// The keys that a compute is for.
enum Tickets {
    One(Ticket),
    Many(Vec<Ticket>),
}

impl Tickets {
    fn as_slice(&self) -> &[Ticket] {
        match self {
            Self::One(ticket) => slice::from_ref(ticket),
            Self::Many(tickets) => tickets,
        }
    }
}

/// The future that is shared.
pub(super) struct Flight<V> {
    signal: Arc<Signal<Stage<V>>>,
    /// The signal, as the compute's waker.
    waker: Waker,
    /// `None` before it is made, and when it is over.
    compute: Option<Compute<V>>,
    ground: Weak<dyn Ground<V>>,
    tickets: Tickets,
    options: Options<V>,
    landed: bool,
}

impl<V> Flight<V> {
    /// Stores the outcome, if it is a value, and leaves the store.
    ///
    /// What is the user's is gone afterwards: `Shared` drops the rest, and must not see a panic.
    #[inline]
    fn land(&mut self, mut outcome: Outcome<V>) -> Outcome<V> {
        if let Err(message) = self.drop_compute() {
            outcome.replace_by_panic(message);
        }
        let options = self.options.take();
        let ground = self.ground.upgrade();
        let brings_values = matches!(outcome, Outcome::Value(_) | Outcome::Values(_))
            && !self.signal.content.term.is_given_up();
        let ended = match &ground {
            Some(ground) if brings_values => {
                contain(|| ground.land(self.tickets.as_slice(), &outcome, options))
            }
            _ => contain(|| drop(options)),
        };
        let has_landed = brings_values && ended.is_ok();
        if let Err(message) = ended {
            outcome.replace_by_panic(message);
        }
        if !has_landed {
            self.end(ground.as_deref(), Some(&outcome));
        }
        // Perhaps the last handle has gone meanwhile: then everything is dropped here.
        let _ = contain(|| drop(ground));
        self.landed = true;
        outcome
    }

    /// The compute goes on past its first poll: from here on its time is told exactly.
    #[inline]
    fn settle_in(&mut self, clock: &Clock) {
        // Of several keys it always is.
        if let Tickets::One(ticket) = &mut self.tickets {
            ticket.settle_in(clock);
        }
    }

    /// Leaves the store without a value. `None` if there is no outcome at all.
    #[cold]
    fn end(&self, ground: Option<&dyn Ground<V>>, outcome: Option<&Outcome<V>>) {
        let Some(ground) = ground else { return };
        let term = &self.signal.content.term;
        for &ticket in self.tickets.as_slice() {
            ground.end(
                ticket,
                match outcome {
                    _ if term.is_given_up() => Ending::GivenUp,
                    None if term.is_deserted() => Ending::GivenUp,
                    Some(Outcome::Failed(failure)) => Ending::Failed(Some(Failure::clone(failure))),
                    Some(Outcome::Panicked(_)) => Ending::Failed(None),
                    _ => Ending::Dropped,
                },
            );
        }
    }

    fn drop_compute(&mut self) -> Result<(), Arc<str>> {
        contain(|| drop(self.compute.take()))
    }
}

impl<V> Future for Flight<V> {
    type Output = Outcome<V>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Outcome<V>> {
        let flight = self.get_mut();
        flight.signal.polling();
        let compute = flight.compute.as_mut().expect("a flight has a compute until it is over");
        let mut context = Context::from_waker(&flight.waker);
        let outcome = match contain(|| compute.as_mut().poll(&mut context)) {
            Ok(Poll::Pending) => {
                Polling::note(Progress::Pending);
                return Poll::Pending;
            }
            Ok(Poll::Ready(outcome)) => outcome,
            Err(message) => Outcome::Panicked(message),
        };
        let outcome = flight.land(outcome);
        Polling::note(Progress::Done);
        Poll::Ready(outcome)
    }
}

impl<V> Drop for Flight<V> {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        let was_made = self.compute.is_some();
        // Nobody waits for it any more, so nobody is told that a destructor panicked.
        let _ = self.drop_compute();
        let _ = contain(|| drop(self.options.take()));
        let ground = self.ground.upgrade();
        self.end(ground.as_deref(), None);
        let _ = contain(|| drop(ground));
        if !was_made {
            // The caller that was to make it panicked, perhaps when others waited already.
            self.signal.content.call_off();
            self.signal.polled(Progress::Done);
        }
    }
}

/// The store's handle to a flight: does not keep it going.
pub(crate) struct FlightHandle<V> {
    signal: Weak<Signal<Stage<V>>>,
    /// Which of several keys it is for.
    part: Option<u32>,
}

impl<V: Clone + Send + Sync + 'static> FlightHandle<V> {
    /// One more waiter, unless the last one has just left, or the compute was given up.
    #[inline]
    pub(super) fn join(&self, terms: Terms<'_>) -> Option<Waiter<V>> {
        let signal = self.signal.upgrade()?;
        let term = &signal.content.term;
        if !term.is_open(terms.clock) {
            return None;
        }
        let share = Some(signal.content.join()?);
        term.extend(terms.allowance.limit(term.begun));
        let deadline = match terms.allowance {
            Allowance::OfCall(timeout) => terms.clock.now().after(timeout),
            _ => term.limit(),
        };
        let patience = terms.patience(deadline, term);
        Some(Waiter { signal, share, place: None, dependency: None, part: self.part, patience })
    }
}

impl<V> Handle for FlightHandle<V> {
    fn is_open(&self, clock: &Clock) -> bool {
        self.signal.upgrade().is_some_and(|signal| signal.content.term.is_open(clock))
    }

    fn overdue_since(&self, clock: &Clock) -> Option<Tick> {
        let signal = self.signal.upgrade()?;
        let term = &signal.content.term;
        (!term.is_open(clock)).then(|| term.limit())
    }
}

/// On which terms a caller waits.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) allowance: Allowance,
    pub(super) clock: &'a Clock,
    pub(super) runtime: Option<&'a Arc<dyn Runtime>>,
    pub(super) permits: Option<&'a Permits>,
}

impl Terms<'_> {
    /// Whether the compute may be given up.
    #[inline]
    pub(super) fn are_timed(self) -> bool {
        !matches!(self.allowance, Allowance::Endless)
    }

    #[inline]
    fn patience(self, deadline: Tick, term: &Term) -> Option<Box<Patience>> {
        let runtime = self.runtime.filter(|_| self.are_timed())?;
        Some(Box::new(Patience::until(deadline, term.limit(), self.clock, runtime)))
    }
}

/// The caller that is to make the compute. Dropped before, it ends the flight.
pub(super) struct Leader<V>(Flight<V>);

impl<V: Clone + Send + Sync + 'static> Leader<V> {
    /// Of the flight for one key.
    #[inline]
    pub(super) fn new(
        ticket: Ticket,
        ground: Weak<dyn Ground<V>>,
        options: Options<V>,
        allowance: Allowance,
    ) -> Self {
        let begun = ticket.begun();
        Self::begin(begun, Tickets::One(ticket), ground, options, allowance)
    }

    /// Of flights for several keys, none so far.
    pub(super) fn of_many(ground: Weak<dyn Ground<V>>, terms: Terms<'_>) -> Self {
        let begun = terms.clock.now();
        Self::begin(begun, Tickets::Many(Vec::new()), ground, Options::DEFAULT, terms.allowance)
    }

    #[inline]
    fn begin(
        begun: Tick,
        tickets: Tickets,
        ground: Weak<dyn Ground<V>>,
        options: Options<V>,
        allowance: Allowance,
    ) -> Self {
        let origin = Origin(Weak::as_ptr(&ground).cast::<()>().addr());
        let term = Term::new(begun, allowance.limit(begun));
        let signal = Arc::new(Signal::new(origin, Stage::new(term)));
        let waker = waker(Arc::clone(&signal));
        let (compute, landed) = (None, false);
        Self(Flight { signal, waker, compute, ground, tickets, options, landed })
    }

    /// The store's handle, for a flight of one key.
    #[inline]
    pub(super) fn handle(&self) -> FlightHandle<V> {
        FlightHandle { signal: Arc::downgrade(&self.0.signal), part: None }
    }

    /// Adds a key, and returns the store's handle for it.
    pub(super) fn add(&mut self, mut ticket: Ticket) -> FlightHandle<V> {
        let Tickets::Many(tickets) = &mut self.0.tickets else {
            unreachable!("keys are added to a flight of many");
        };
        // The last one, so that the compute is counted when all its values are stored.
        if let Some(previous) = tickets.last_mut() {
            previous.hand_over(&mut ticket);
        }
        tickets.push(ticket);
        let part =
            u32::try_from(tickets.len() - 1).expect("a call has fewer than four billion keys");
        FlightHandle { signal: Arc::downgrade(&self.0.signal), part: Some(part) }
    }
}

/// What the first poll came to.
pub(crate) enum Launched<V> {
    Ended(Awaited<V>),
    UnderWay(Waiter<V>),
}

impl<V: Clone + Send + Sync + 'static> Leader<V> {
    /// Makes the compute, and leaves the first poll to whoever waits.
    pub(super) fn share<F>(self, make: impl FnOnce() -> F, terms: Terms<'_>) -> Waiter<V>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let Self(mut flight) = self;
        flight.settle_in(terms.clock);
        let signal = Arc::clone(&flight.signal);
        // Inside the flight: a closure that asks for its own key is told so.
        let polling = Polling::begin(Arc::<Signal<Stage<V>>>::clone(&signal));
        let edge = polling.as_ref().and_then(Polling::edge);
        flight.compute = Some(match contain(make) {
            Ok(compute) => flight.admitted(compute.boxed(), terms.permits),
            Err(message) => std::future::ready(Outcome::Panicked(message)).boxed(),
        });
        // Perhaps the compute goes on in the background, and nobody here waits for it.
        drop(edge);
        drop(polling);
        let waker = flight.waker.clone();
        let shared = Shareable::Left(flight).shared();
        signal.content.share(&shared);
        waker.wake();
        Waiter::of(signal, shared, terms)
    }

    /// Makes the compute and polls it for the first time. A panic of `make` is the flight's outcome.
    ///
    /// Takes the leader out if it goes on: it is large, and mostly stays where it is.
    #[inline]
    pub(super) fn launch<F>(
        slot: &mut Option<Self>,
        make: impl FnOnce() -> F,
        terms: Terms<'_>,
        context: &mut Context<'_>,
    ) -> Launched<V>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let Self(flight) = slot.as_mut().expect("a call that leads has a leader");
        // Inside the flight: a closure that asks for its own key is told so. At the end of this scope
        // the signal is told how far it came, when all is ready for those who are then woken.
        let polling = Polling::begin(Arc::<Signal<Stage<V>>>::clone(&flight.signal));
        let polling = polling.expect("a new flight is not polled yet");
        let dependency = depend(&polling);
        if let Poll::Ready(outcome) = flight.first_poll(make, terms.permits) {
            flight.signal.content.end(&outcome);
            return Launched::Ended(Awaited::Outcome(outcome));
        }
        flight.settle_in(terms.clock);
        let Self(flight) = slot.take().expect("the leader is there");
        let signal = Arc::clone(&flight.signal);
        let shared = Shareable::Left(flight).shared();
        signal.content.share(&shared);
        let mut waiter = Waiter::of(signal, shared, terms);
        waiter.signal.register(&mut waiter.place, context.waker());
        waiter.dependency = dependency;
        if waiter.closes_circle() {
            return Launched::Ended(Awaited::Recursive);
        }
        match waiter.poll_patience(context) {
            Poll::Ready(awaited) => Launched::Ended(awaited),
            Poll::Pending => Launched::UnderWay(waiter),
        }
    }
}

/// Notes that the compute which polls a flight, if one does, waits for it. Before the poll: it may block
/// its thread, on what waits for that compute.
#[inline]
fn depend(polling: &Polling) -> Option<Box<Dependency>> {
    let dependency = polling.edge()?;
    dependency.lend_permits();
    Some(dependency)
}

impl<V> Flight<V> {
    /// The compute, which waits for a permit if it needs one.
    #[inline]
    fn admitted(&self, compute: Compute<V>, permits: Option<&Permits>) -> Compute<V>
    where
        V: Clone + Send + Sync + 'static,
    {
        match permits {
            Some(permits) => self.queued(compute, permits),
            None => compute,
        }
    }

    #[cold]
    fn queued(&self, compute: Compute<V>, permits: &Permits) -> Compute<V>
    where
        V: Clone + Send + Sync + 'static,
    {
        let signal: Arc<AnySignal> = Arc::<Signal<Stage<V>>>::clone(&self.signal);
        permits.admit(compute, signal).boxed()
    }

    #[inline]
    fn first_poll<F>(
        &mut self,
        make: impl FnOnce() -> F,
        permits: Option<&Permits>,
    ) -> Poll<Outcome<V>>
    where
        V: Clone + Send + Sync + 'static,
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        match contain(make) {
            Ok(compute) => {
                self.compute = Some(self.admitted(compute.boxed(), permits));
                self.poll_unpin(&mut Context::from_waker(Waker::noop()))
            }
            Err(message) => {
                let outcome = self.land(Outcome::Panicked(message));
                Polling::note(Progress::Done);
                Poll::Ready(outcome)
            }
        }
    }
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
    fn of(signal: Arc<Signal<Stage<V>>>, shared: Shared<Shareable<V>>, terms: Terms<'_>) -> Self {
        let term = &signal.content.term;
        let patience = terms.patience(terms.allowance.limit(term.begun), term);
        let share = Some(Share::Taken(shared));
        Self { signal, share, place: None, dependency: None, part: None, patience }
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
    pub(super) fn drive(&self) -> bool {
        self.signal.content.term.drive()
    }

    /// A task that drives the compute for as long as that may run, and has no use for its outcome.
    pub(super) fn driven(mut self) -> Task {
        if let Some(patience) = &mut self.patience {
            patience.last();
        }
        // Also where the runtime polls it inside another compute, which does not wait for it.
        poll_fn(move |context| apart(|| self.poll_unpin(context)).map(drop)).boxed()
    }

    /// Another waiter for the same flight.
    pub(super) fn accompany(&self, terms: Terms<'_>) -> Option<Self> {
        FlightHandle { signal: Arc::downgrade(&self.signal), part: None }.join(terms)
    }

    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<Awaited<V>> {
        let Some(patience) = &mut self.patience else { return Poll::Pending };
        let lapse = ready!(patience.poll(&self.signal.content.term, context));
        Poll::Ready(match lapse {
            Lapse::OfCaller => Awaited::TimedOut,
            Lapse::OfCompute(deadline) => Awaited::GivenUp(deadline),
        })
    }

    /// What is for this waiter of what the compute came to.
    #[inline]
    fn pick(&self, outcome: Outcome<V>) -> Awaited<V> {
        match (outcome, self.part) {
            (Outcome::Values(values), Some(part)) => {
                match contain(|| values.get(part as usize).cloned().flatten()) {
                    Ok(Some(value)) => Awaited::Outcome(Outcome::Value(value)),
                    Ok(None) => Awaited::Lacking,
                    Err(message) => Awaited::Outcome(Outcome::Panicked(message)),
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
        self.poll_patience(context)
    }

    /// Whether waiting would never end. Asked after the poll, which may have brought what it is about.
    #[inline]
    fn closes_circle(&self) -> bool {
        self.dependency.as_deref().is_some_and(Dependency::closes_circle)
    }
}

impl<V> Waiter<V> {
    #[inline]
    fn leave(&mut self) {
        self.dependency = None;
        self.signal.deregister(self.place.take());
        // Perhaps the last one: then the compute is dropped here.
        match self.share.take() {
            Some(Share::Owed) => drop(self.signal.content.forgo()),
            taken => drop(taken),
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Future for Waiter<V> {
    type Output = Awaited<V>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Awaited<V>> {
        let polled = self.poll_flight(context);
        if let Poll::Ready(awaited) = &polled {
            if let Awaited::TimedOut | Awaited::GivenUp(_) = awaited {
                self.signal.content.term.leave(true);
            }
            self.leave();
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
