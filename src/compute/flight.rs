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

use std::any::Any;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::task::waker;

use crate::expiry::Lifetime;
use crate::panic::contain;
use crate::store::Ticket;
use crate::sync::{Arc, Weak};

use super::recursion::{Closed, Dependency, Polling};
use super::share::{Share, Shareable, Stage};
use super::signal::{AnySignal, Progress, Signal};

/// How a compute ended, whatever its callers' error types.
#[derive(Clone)]
pub(crate) enum Outcome<V> {
    Value(V),
    Failed(Arc<dyn Any + Send + Sync>),
    Panicked(Arc<str>),
}

impl<V> Outcome<V> {
    fn replace_by_panic(&mut self, message: Arc<str>) {
        let replaced = mem::replace(self, Self::Panicked(message));
        let _ = contain(|| drop(replaced));
    }
}

/// What a waiter gets.
pub(crate) enum Awaited<V> {
    Outcome(Outcome<V>),
    /// Waiting would never end: the waiter is part of the compute that it waits for.
    Recursive,
}

/// Where flights land.
pub(crate) trait Ground<V>: Send + Sync {
    /// Stores the value, unless a write came first. May panic with the user's code, before
    /// anything was stored.
    fn land(&self, ticket: Ticket, value: &V, lifetime: Lifetime<V>);

    /// Ends a flight that brings no value.
    fn abandon(&self, ticket: Ticket, failed: bool);
}

type Compute<V> = BoxFuture<'static, Outcome<V>>;

/// The future that is shared.
pub(super) struct Flight<V> {
    signal: Arc<Signal<Stage<V>>>,
    /// The signal, as the compute's waker.
    waker: Waker,
    /// `None` before it is made, and when it is over.
    compute: Option<Compute<V>>,
    ground: Arc<dyn Ground<V>>,
    ticket: Ticket,
    lifetime: Lifetime<V>,
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
        let lifetime = mem::replace(&mut self.lifetime, Lifetime::Default);
        let ended = match &outcome {
            Outcome::Value(value) => contain(|| self.ground.land(self.ticket, value, lifetime)),
            _ => contain(|| drop(lifetime)),
        };
        if let Err(message) = ended {
            outcome.replace_by_panic(message);
        }
        if !matches!(outcome, Outcome::Value(_)) {
            self.ground.abandon(self.ticket, true);
        }
        self.landed = true;
        outcome
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
        // Nobody waits for it any more, so nobody is told that a destructor panicked.
        let _ = self.drop_compute();
        let _ = contain(|| self.lifetime = Lifetime::Default);
        self.ground.abandon(self.ticket, false);
    }
}

/// The store's handle to a flight: does not keep it going.
pub(crate) struct FlightHandle<V> {
    signal: Weak<Signal<Stage<V>>>,
}

impl<V: Clone + Send + Sync + 'static> FlightHandle<V> {
    /// A new flight, and its leader.
    #[inline]
    pub(crate) fn new(
        ticket: Ticket,
        ground: Arc<dyn Ground<V>>,
        lifetime: Lifetime<V>,
    ) -> (Self, Leader<V>) {
        let signal = Arc::new(Signal::default());
        let handle = Self { signal: Arc::downgrade(&signal) };
        let waker = waker(Arc::clone(&signal));
        let landed = false;
        (handle, Leader(Flight { signal, waker, compute: None, ground, ticket, lifetime, landed }))
    }

    /// One more waiter, unless the last one has just left.
    #[inline]
    pub(crate) fn join(&self) -> Option<Waiter<V>> {
        let signal = self.signal.upgrade()?;
        let share = Some(signal.content.join()?);
        Some(Waiter { signal, share, place: None, dependency: None })
    }
}

/// The caller that is to make the compute. Dropped before, it ends the flight.
pub(crate) struct Leader<V>(Flight<V>);

/// What the first poll came to.
pub(crate) enum Launched<V> {
    Ended(Awaited<V>),
    UnderWay(Waiter<V>),
}

impl<V: Clone + Send + Sync + 'static> Leader<V> {
    /// Makes the compute, and leaves the first poll to whoever waits.
    pub(crate) fn share<F>(self, make: impl FnOnce() -> F) -> Waiter<V>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let Self(mut flight) = self;
        let signal = Arc::clone(&flight.signal);
        // Inside the flight: a closure that asks for its own key is told so.
        let polling = Polling::begin(Arc::<Signal<Stage<V>>>::clone(&signal));
        flight.compute = Some(match contain(make) {
            Ok(compute) => compute.boxed(),
            Err(message) => std::future::ready(Outcome::Panicked(message)).boxed(),
        });
        drop(polling);
        let waker = flight.waker.clone();
        let shared = Shareable::Left(flight).shared();
        signal.content.share(&shared);
        waker.wake();
        Waiter { signal, share: Some(Share::Taken(shared)), place: None, dependency: None }
    }

    /// Makes the compute and polls it for the first time. A panic of `make` is the flight's outcome.
    #[inline]
    pub(crate) fn launch<F>(
        self,
        make: impl FnOnce() -> F,
        context: &mut Context<'_>,
    ) -> Launched<V>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let Self(mut flight) = self;
        // Inside the flight: a closure that asks for its own key is told so. At the end of this scope
        // the signal is told how far it came, when all is ready for those who are then woken.
        let polling = Polling::begin(Arc::<Signal<Stage<V>>>::clone(&flight.signal));
        let polling = polling.expect("a new flight is not polled yet");
        if let Poll::Ready(outcome) = flight.first_poll(make) {
            flight.signal.content.end(&outcome);
            return Launched::Ended(Awaited::Outcome(outcome));
        }
        let signal = Arc::clone(&flight.signal);
        let shared = Shareable::Left(flight).shared();
        signal.content.share(&shared);
        let share = Some(Share::Taken(shared));
        let mut waiter = Waiter { signal, share, place: None, dependency: None };
        waiter.signal.register(&mut waiter.place, context.waker());
        match waiter.depend(&polling) {
            Ok(()) => Launched::UnderWay(waiter),
            Err(Closed) => Launched::Ended(Awaited::Recursive),
        }
    }
}

impl<V> Flight<V> {
    #[inline]
    fn first_poll<F>(&mut self, make: impl FnOnce() -> F) -> Poll<Outcome<V>>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        match contain(make) {
            Ok(compute) => {
                self.compute = Some(compute.boxed());
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
    /// That another flight's compute is left waiting here.
    dependency: Option<Dependency>,
}

impl<V: Clone + Send + Sync + 'static> Waiter<V> {
    fn any_signal(&self) -> Arc<AnySignal> {
        Arc::<Signal<Stage<V>>>::clone(&self.signal)
    }

    fn poll_flight(&mut self, context: &mut Context<'_>) -> Poll<Awaited<V>> {
        let Some(polling) = Polling::begin(self.any_signal()) else {
            return Poll::Ready(Awaited::Recursive);
        };
        let share = self.share.as_mut().expect("a waiter is not polled after its end");
        let mut registered = false;
        loop {
            if self.signal.is_worth_polling() {
                if let Poll::Ready(outcome) = share.poll(&self.signal.content) {
                    return Poll::Ready(Awaited::Outcome(outcome));
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
        match self.depend(&polling) {
            Ok(()) => Poll::Pending,
            Err(Closed) => Poll::Ready(Awaited::Recursive),
        }
    }

    /// Notes which compute is left waiting here, if one is.
    #[inline]
    fn depend(&mut self, polling: &Polling) -> Result<(), Closed> {
        if self.dependency.is_some() {
            return Ok(());
        }
        let Some(enclosing) = polling.enclosing() else { return Ok(()) };
        self.dependency = Some(Dependency::add(&enclosing, &self.any_signal())?);
        Ok(())
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
        if polled.is_ready() {
            self.leave();
        }
        polled
    }
}

impl<V> Drop for Waiter<V> {
    fn drop(&mut self) {
        self.leave();
    }
}
