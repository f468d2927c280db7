//! Flight: one running compute, shared by all who wait for it.
//!
//! It is a [`Shared`] future, held strongly by its waiters and weakly by the store: when the last
//! waiter leaves, the compute is dropped. Whichever waiter is polled drives it. Nothing panics
//! inside `Shared`, which would poison every handle: what the user's code throws is caught, also
//! from destructors, and becomes an outcome.

use std::any::Any;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use futures_util::task::waker;

use crate::expiry::Lifetime;
use crate::panic::contain;
use crate::store::Ticket;
use crate::sync::{Arc, Mutex, Weak};

use super::recursion::{Dependency, Polling};
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

/// The compute on its way from the caller that leads to whoever polls first.
type Handover<V> = Mutex<Option<Compute<V>>>;

/// The shared future.
struct Flight<V> {
    signal: Arc<Signal<Handover<V>>>,
    /// The signal, as the compute's waker.
    waker: Waker,
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
        Polling::note(Progress::Pending);
        if flight.compute.is_none() {
            flight.compute = flight.signal.compute.lock().take();
        }
        let Some(compute) = flight.compute.as_mut() else { return Poll::Pending };
        let mut context = Context::from_waker(&flight.waker);
        let outcome = match contain(|| compute.as_mut().poll(&mut context)) {
            Ok(Poll::Pending) => return Poll::Pending,
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
        if self.compute.is_none() {
            self.compute = self.signal.compute.lock().take();
        }
        // Nobody waits for it any more, so nobody is told that a destructor panicked.
        let _ = self.drop_compute();
        let _ = contain(|| self.lifetime = Lifetime::Default);
        self.ground.abandon(self.ticket, false);
    }
}

/// The store's handle to a flight: does not keep it going.
pub(crate) struct FlightHandle<V> {
    flight: WeakShared<Flight<V>>,
    signal: Weak<Signal<Handover<V>>>,
}

impl<V: Clone + Send + Sync + 'static> FlightHandle<V> {
    /// A new flight, and its first waiter, which is to [launch](Waiter::launch) it.
    pub(crate) fn new(
        ticket: Ticket,
        ground: Arc<dyn Ground<V>>,
        lifetime: Lifetime<V>,
    ) -> (Self, Waiter<V>) {
        let signal = Arc::new(Signal::<Handover<V>>::default());
        let flight = Flight {
            signal: Arc::clone(&signal),
            waker: waker(Arc::clone(&signal)),
            compute: None,
            ground,
            ticket,
            lifetime,
            landed: false,
        };
        let flight = flight.shared();
        let weak = flight.downgrade().expect("a flight that was not polled is not over");
        let handle = Self { flight: weak, signal: Arc::downgrade(&signal) };
        (handle, Waiter { flight: Some(flight), signal, place: None, dependency: None })
    }

    /// One more waiter, unless the last one has just left.
    pub(crate) fn join(&self) -> Option<Waiter<V>> {
        let flight = Some(self.flight.upgrade()?);
        let signal = self.signal.upgrade()?;
        Some(Waiter { flight, signal, place: None, dependency: None })
    }
}

/// One caller's share in a flight.
pub(crate) struct Waiter<V> {
    /// `None` when it has left.
    flight: Option<Shared<Flight<V>>>,
    signal: Arc<Signal<Handover<V>>>,
    place: Option<usize>,
    /// That another flight's compute is left waiting here.
    dependency: Option<Dependency>,
}

impl<V: Clone + Send + Sync + 'static> Waiter<V> {
    /// Makes the compute and sets the flight going. A panic of `make` is the flight's outcome.
    pub(crate) fn launch<F>(&self, make: impl FnOnce() -> F)
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        // Inside the flight: a closure that asks for its own key is told so.
        let polling = Polling::begin(self.any_signal());
        let compute = match contain(make) {
            Ok(compute) => compute.boxed(),
            Err(message) => futures_util::future::ready(Outcome::Panicked(message)).boxed(),
        };
        drop(polling);
        *self.signal.compute.lock() = Some(compute);
        self.signal.launch();
    }

    fn any_signal(&self) -> Arc<AnySignal> {
        Arc::<Signal<Handover<V>>>::clone(&self.signal)
    }

    fn poll_flight(&mut self, context: &mut Context<'_>) -> Poll<Awaited<V>> {
        let Some(polling) = Polling::begin(self.any_signal()) else {
            return Poll::Ready(Awaited::Recursive);
        };
        let flight = self.flight.as_mut().expect("a waiter is not polled after its end");
        let mut registered = false;
        loop {
            if self.signal.is_worth_polling() {
                // All waking goes through the signal.
                let polled = flight.poll_unpin(&mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(outcome) = polled {
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
        if let (None, Some(enclosing)) = (&self.dependency, polling.enclosing()) {
            self.dependency = Dependency::add(&enclosing, &self.any_signal());
            if self.dependency.is_none() {
                return Poll::Ready(Awaited::Recursive);
            }
        }
        Poll::Pending
    }
}

impl<V> Waiter<V> {
    fn leave(&mut self) {
        self.dependency = None;
        self.signal.deregister(self.place.take());
        // Perhaps the last one: then the compute is dropped here.
        self.flight = None;
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
