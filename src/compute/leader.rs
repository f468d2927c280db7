//! Leader: the caller that makes a flight's compute, and mostly is the first to poll it.
//!
//! While it has the flight to itself it holds the cache by reference, and the flight needs no count of
//! its own in it: that is one place in memory, which all computes of a cache would write to.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::task::{ArcWake, waker, waker_ref};

use crate::options::Options;
use crate::panic::contain;
use crate::runtime::RuntimeContext;
use crate::store::Ticket;
use crate::sync::Arc;

use super::driver::Driver;
use super::flight::{Compute, Flight, Ground, Home, Tickets, poll_contained};
use super::host::Terms;
use super::outcome::Outcome;
use super::patience::Allowance;
use super::recursion::Polling;
use super::share::{Shareable, Stage};
use super::signal::{AnySignal, Origin, Progress, Signal};
use super::term::Term;
use super::waiter::{Awaited, FlightHandle, Waiter, depend};

/// Who is to make the compute of a flight. Dropped before, it ends the flight.
pub(super) struct Leader<'a, V, G: Ground<V> + 'static> {
    /// `None` before it begins, and when it is shared.
    flight: Option<Flight<V>>,
    ground: &'a Arc<G>,
}

/// What the first poll came to.
pub(super) enum Launched<V> {
    Ended(Awaited<V>),
    UnderWay(Waiter<V>),
}

impl<'a, V, G> Leader<'a, V, G>
where
    V: Clone + Send + Sync + 'static,
    G: Ground<V> + 'static,
{
    /// Of no flight so far.
    #[inline]
    pub(super) fn new(ground: &'a Arc<G>) -> Self {
        Self { flight: None, ground }
    }

    /// Of a flight for several keys, none so far.
    pub(super) fn of_many(ground: &'a Arc<G>, terms: &Terms<'_>) -> Self {
        let mut leader = Self::new(ground);
        let (begun, tickets) = (terms.clock.now(), Tickets::Many(Vec::new()));
        let term = Term::new(begun, terms.allowance.limit(begun));
        let signal = Arc::new(Signal::new(leader.origin(), Stage::new(term)));
        leader.take_on(signal, tickets, Options::DEFAULT);
        leader
    }

    /// Begins the flight for one key; returns the store's handle to it. `spare` is one to a flight that
    /// has landed.
    #[inline]
    pub(super) fn begin(
        &mut self,
        ticket: Ticket,
        spare: Option<FlightHandle<V>>,
        options: &mut Options<V>,
        allowance: Allowance,
    ) -> FlightHandle<V> {
        let begun = ticket.begun();
        let stage = Stage::new(Term::new(begun, allowance.limit(begun)));
        let signal = match spare {
            Some(spare) => spare.renewed(stage),
            None => Arc::new(Signal::new(self.origin(), stage)),
        };
        let handle = FlightHandle::new(&signal, None);
        self.take_on(signal, Tickets::One(ticket), options.take());
        handle
    }

    fn origin(&self) -> Origin {
        Origin(Arc::as_ptr(self.ground).addr())
    }

    #[inline]
    fn take_on(&mut self, signal: Arc<Signal<Stage<V>>>, tickets: Tickets, options: Options<V>) {
        self.flight = Some(Flight {
            signal,
            waker: Waker::noop().clone(),
            compute: None,
            home: ManuallyDrop::new(None),
            tickets,
            options,
            landed: false,
        });
    }

    /// Adds a key to a flight for several; returns the store's handle for it.
    pub(super) fn add(&mut self, mut ticket: Ticket) -> FlightHandle<V> {
        let flight = self.flight.as_mut();
        let Some(Flight { signal, tickets: Tickets::Many(tickets), .. }) = flight else {
            unreachable!("keys are added to a flight of many");
        };
        // The last one, so that the compute is counted when all its values are stored.
        if let Some(previous) = tickets.last_mut() {
            previous.hand_over(&mut ticket);
        }
        tickets.push(ticket);
        let part =
            u32::try_from(tickets.len() - 1).expect("a call has fewer than four billion keys");
        FlightHandle::new(signal, Some(part))
    }

    /// Lets go of the flight, which finds its own way to the ground from here on.
    fn release(&mut self, terms: &Terms<'_>) -> Flight<V> {
        let mut flight = self.flight.take().expect("a leader has a flight until it is shared");
        flight.settle_in(terms.clock);
        *flight.home = Some(home(self.ground, RuntimeContext::of(terms.runtime())));
        flight.waker = waker(Arc::clone(&flight.signal));
        flight
    }

    /// Makes the compute, and leaves the first poll to its task, or else to whoever waits.
    pub(super) fn share<F>(&mut self, make: impl FnOnce() -> F, terms: &Terms<'_>) -> Waiter<V>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let mut flight = self.release(terms);
        let signal = Arc::clone(&flight.signal);
        // Inside the flight: a closure that asks for its own key is told so.
        let polling = Polling::begin(Arc::<Signal<Stage<V>>>::clone(&signal));
        let edge = polling.as_ref().and_then(Polling::edge);
        flight.compute = Some(match contain(|| terms.within(make)) {
            Ok(compute) => admitted(compute, terms, &flight.signal),
            Err(message) => std::future::ready(Outcome::panicked(message)).boxed(),
        });
        // Perhaps the compute goes on in the background, and nobody here waits for it.
        drop(edge);
        drop(polling);
        let driver = terms.task_runner().map(|runner| (Driver::new(&signal), runner));
        let shared = Shareable::Left(flight).shared();
        signal.content.share(&shared);
        // As if there had been a first poll, during which the compute was woken.
        ArcWake::wake_by_ref(&signal);
        signal.polled(Progress::Pending);
        let waiter = Waiter::of(signal, shared, terms);
        if let Some((driver, runner)) = driver {
            runner.spawn(driver.boxed());
        }
        waiter
    }

    /// Makes the compute and polls it for the first time. A panic of `make` is the flight's outcome.
    #[inline]
    pub(super) fn launch<F>(
        &mut self,
        make: impl FnOnce() -> F,
        terms: &Terms<'_>,
        context: &mut Context<'_>,
    ) -> Launched<V>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let flight = self.flight.as_mut().expect("a call that leads has a flight");
        // Inside the flight: a closure that asks for its own key is told so. At the end of this scope
        // the signal is told how far it came, when all is ready for those who are then woken.
        let polling = Polling::begin(Arc::<Signal<Stage<V>>>::clone(&flight.signal));
        let polling = polling.expect("a new flight is not polled yet");
        let dependency = depend(&polling);
        let polled = match terms.runtime() {
            None => flight.first_poll(make, terms),
            Some(_) => flight.first_poll_within(make, terms),
        };
        if let Poll::Ready(outcome) = polled {
            let dropped = match terms.runtime() {
                None => contain(|| drop(flight.compute.take())),
                Some(_) => flight.drop_within(terms),
            };
            let outcome = flight.land(outcome, dropped, Some(&**self.ground));
            flight.signal.content.end(&outcome);
            return Launched::Ended(Awaited::Outcome(outcome));
        }
        Polling::note(Progress::Pending);
        let flight = self.release(terms);
        let signal = Arc::clone(&flight.signal);
        let shared = Shareable::Left(flight).shared();
        signal.content.share(&shared);
        let mut waiter = Waiter::of(signal, shared, terms);
        if waiter.begin(dependency, context) {
            Launched::UnderWay(waiter)
        } else {
            Launched::Ended(Awaited::Recursive)
        }
    }
}

impl<V, G: Ground<V> + 'static> Leader<'_, V, G> {
    /// Lets the flight find its own way, because the leader panicked.
    #[cold]
    fn let_go(&mut self) {
        if let Some(flight) = &mut self.flight {
            *flight.home = Some(home(self.ground, RuntimeContext::Unknown));
        }
    }
}

impl<V, G: Ground<V> + 'static> Drop for Leader<'_, V, G> {
    #[inline]
    fn drop(&mut self) {
        if self.flight.as_ref().is_some_and(|flight| !flight.landed) {
            self.let_go();
        }
    }
}

fn home<V, G: Ground<V> + 'static>(ground: &Arc<G>, context: RuntimeContext) -> Home<V> {
    Home { context, ground: Arc::<G>::downgrade(ground) }
}

/// The compute, which waits for a permit if it needs one.
#[inline]
fn admitted<V: Clone + Send + Sync + 'static>(
    compute: impl Future<Output = Outcome<V>> + Send + 'static,
    terms: &Terms<'_>,
    signal: &Arc<Signal<Stage<V>>>,
) -> Compute<V> {
    match terms.permits() {
        None => compute.boxed(),
        Some(permits) => {
            let signal: Arc<AnySignal> = Arc::<Signal<Stage<V>>>::clone(signal);
            permits.admit(compute.boxed(), signal).boxed()
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Flight<V> {
    #[inline]
    fn first_poll<F>(&mut self, make: impl FnOnce() -> F, terms: &Terms<'_>) -> Poll<Outcome<V>>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let Self { signal, compute, .. } = self;
        let poll = || {
            let compute = compute.insert(admitted(make(), terms, signal));
            compute.poll_unpin(&mut Context::from_waker(&waker_ref(signal)))
        };
        poll_contained(poll)
    }

    /// The same, where the compute finds the runtime of its cache.
    #[inline(never)]
    fn first_poll_within<F>(
        &mut self,
        make: impl FnOnce() -> F,
        terms: &Terms<'_>,
    ) -> Poll<Outcome<V>>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        poll_contained(|| terms.within(|| self.first_poll(make, terms)))
    }

    #[inline(never)]
    fn drop_within(&mut self, terms: &Terms<'_>) -> Result<(), Arc<str>> {
        contain(|| terms.within(|| drop(self.compute.take())))
    }
}
