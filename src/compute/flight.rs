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

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::slice;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::task::waker;

use crate::clock::{Clock, Tick};
use crate::options::Options;
use crate::panic::contain;
use crate::store::{Ending, Failure, Ticket};
use crate::sync::{Arc, Weak};

use super::patience::Allowance;
use super::permits::Permits;
use super::recursion::Polling;
use super::share::{Shareable, Stage};
use super::signal::{AnySignal, Origin, Progress, Signal};
use super::term::Term;
use super::waiter::{Awaited, FlightHandle, Terms, Waiter, depend};

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
        FlightHandle::new(&self.0.signal, None)
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
        FlightHandle::new(&self.0.signal, Some(part))
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
        match waiter.begin(dependency, context) {
            Poll::Ready(awaited) => Launched::Ended(awaited),
            Poll::Pending => Launched::UnderWay(waiter),
        }
    }
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
