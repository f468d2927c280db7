//! Flight: one running compute, shared by all who wait for it.
//!
//! The caller that leads polls it once, alone, unless it first has to drop what the compute replaces. If
//! that ends it, as it does where the compute has nothing to wait for, nothing needs to be shared: neither
//! the flight, nor the cache that it lands in. Else it becomes a [`Shared`] future, held strongly by its
//! waiters and weakly by its signal, which is how the store reaches it: when the last waiter leaves, the
//! compute is dropped. Whichever waiter is polled drives it. Nothing panics inside `Shared`, which would
//! poison every handle: what the user's code throws is caught, also from destructors, and becomes an
//! outcome.
//!
//! [`Shared`]: futures_util::future::Shared

use std::future::Future;
use std::mem::{self, ManuallyDrop};
use std::pin::Pin;
use std::slice;
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::options::Options;
use crate::panic::contain;
use crate::runtime::RuntimeContext;
use crate::store::{Ending, Failure, Ticket};
use crate::sync::{Arc, Weak};

use super::outcome::{Fault, Outcome};
use super::recursion::Polling;
use super::share::Stage;
use super::signal::{Progress, Signal};

/// Where flights land.
pub(crate) trait Ground<V>: Send + Sync {
    /// Stores the values, unless writes came first, and ends the flights of keys without one. May panic
    /// with the user's code, before anything was stored; else the options are used up.
    fn land(&self, tickets: &[Ticket], outcome: &Outcome<V>, options: &mut Options<V>);

    /// Ends a flight that brings no value to store.
    fn end(&self, ticket: Ticket, ending: Ending);
}

pub(super) type Compute<V> = BoxFuture<'static, Outcome<V>>;

/// The keys that a compute is for.
pub(super) enum Tickets {
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

/// Where a flight comes from that goes on without its leader.
pub(super) struct Home<V> {
    /// In which the compute is polled and dropped.
    pub(super) context: RuntimeContext,
    pub(super) ground: Weak<dyn Ground<V>>,
}

/// The future that is shared.
pub(super) struct Flight<V> {
    pub(super) signal: Arc<Signal<Stage<V>>>,
    /// The signal, as the compute's waker. Wakes nobody while a leader has the flight.
    pub(super) waker: Waker,
    /// `None` before it is made, and when it is over.
    pub(super) compute: Option<Compute<V>>,
    /// `None` while a leader has the flight, which is all the time of most. Dropped by hand for that.
    pub(super) home: ManuallyDrop<Option<Home<V>>>,
    pub(super) tickets: Tickets,
    pub(super) options: Options<V>,
    pub(super) landed: bool,
}

impl<V> Flight<V> {
    /// Stores the outcome, if it is a value, and leaves the store. The compute is dropped by now; `dropped` says
    /// whether its destructor panicked.
    ///
    /// What is the user's is gone afterwards: `Shared` drops the rest, and must not see a panic.
    #[inline]
    pub(super) fn land(
        &mut self,
        mut outcome: Outcome<V>,
        dropped: Result<(), Arc<str>>,
        ground: Option<&dyn Ground<V>>,
    ) -> Outcome<V> {
        if let Err(message) = dropped {
            outcome.replace_by_panic(message);
        }
        let brings_values = outcome.brings_values() && !self.signal.content.term.is_given_up();
        let ended = match ground {
            Some(ground) if brings_values => {
                contain(|| ground.land(self.tickets.as_slice(), &outcome, &mut self.options))
            }
            _ => contain(|| self.options.clear()),
        };
        let has_landed = brings_values && ended.is_ok();
        if let Err(message) = ended {
            outcome.replace_by_panic(message);
            let _ = contain(|| self.options.clear());
        }
        self.landed = true;
        if !has_landed {
            self.end(ground, Some(&outcome));
        }
        outcome
    }

    /// The compute goes on past its first poll: from here on its time is told exactly.
    #[inline]
    pub(super) fn settle_in(&mut self, clock: &Clock) {
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
        let fault = match outcome {
            Some(Outcome::Fault(fault)) => Some(&**fault),
            _ => None,
        };
        for &ticket in self.tickets.as_slice() {
            let ending = match fault {
                _ if term.is_given_up() => Ending::GivenUp,
                Some(Fault::Failed(failure)) => Ending::Failed(Some(Failure::clone(failure))),
                Some(Fault::Panicked(_)) => Ending::Failed(None),
                None if outcome.is_none() && term.is_deserted() => Ending::GivenUp,
                None => Ending::Dropped,
            };
            // The runtime's clock may panic.
            let _ = contain(|| ground.end(ticket, ending));
        }
    }

    fn drop_compute(&mut self) -> Result<(), Arc<str>> {
        let compute = self.compute.take();
        contain(|| self.run(|| drop(compute)))
    }

    /// Runs what is part of the compute in its context.
    fn run<T>(&self, code: impl FnOnce() -> T) -> T {
        match &*self.home {
            Some(home) => home.context.run(code),
            None => code(),
        }
    }

    fn ground(&self) -> Option<Arc<dyn Ground<V>>> {
        self.home.as_ref()?.ground.upgrade()
    }
}

impl<V> Future for Flight<V> {
    type Output = Outcome<V>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Outcome<V>> {
        let flight = self.get_mut();
        flight.signal.polling();
        let mut compute = flight.compute.take().expect("a flight has a compute until it is over");
        let mut context = Context::from_waker(&flight.waker);
        let polled = poll_contained(|| flight.run(|| compute.as_mut().poll(&mut context)));
        flight.compute = Some(compute);
        let Poll::Ready(outcome) = polled else {
            Polling::note(Progress::Pending);
            return Poll::Pending;
        };
        let dropped = flight.drop_compute();
        let ground = flight.ground();
        let outcome = flight.land(outcome, dropped, ground.as_deref());
        // Perhaps the last handle has gone meanwhile: then everything is dropped here.
        let _ = contain(|| drop(ground));
        Polling::note(Progress::Done);
        Poll::Ready(outcome)
    }
}

/// What polling a compute comes to. A panic is an outcome.
#[inline]
pub(super) fn poll_contained<V>(poll: impl FnOnce() -> Poll<Outcome<V>>) -> Poll<Outcome<V>> {
    contain(poll).unwrap_or_else(|message| Poll::Ready(Outcome::panicked(message)))
}

impl<V> Drop for Flight<V> {
    #[inline]
    fn drop(&mut self) {
        if self.home.is_some() || !self.landed {
            self.leave();
        }
    }
}

impl<V> Flight<V> {
    #[cold]
    fn leave(&mut self) {
        if !self.landed {
            self.abandon();
        }
        drop(mem::take(&mut *self.home));
    }

    fn abandon(&mut self) {
        // Nobody waits for it any more, so nobody is told that a destructor panicked.
        let _ = self.drop_compute();
        let _ = contain(|| self.options.clear());
        let ground = self.ground();
        self.end(ground.as_deref(), None);
        let _ = contain(|| drop(ground));
        // Perhaps its leader panicked, when others waited for the first poll already.
        self.signal.content.call_off();
        self.signal.polled(Progress::Done);
    }
}
