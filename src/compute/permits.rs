//! Permits: how many computes of one cache may run at once.
//!
//! A permit that is given back goes to the compute that has waited longest, whether it looks at once or
//! not: so none that comes later is before it. A compute that is asked for by another of the same cache
//! needs no permit of its own: the other, which has one, waits for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures_util::FutureExt;

use crate::panic::Postponed;
use crate::sync::{Arc, Mutex};

use super::flight::Compute;
use super::outcome::Outcome;
use super::signal::AnySignal;

/// The permits of one cache.
#[derive(Clone)]
pub(crate) struct Permits(Arc<Mutex<Desk>>);

struct Desk {
    /// None while somebody waits.
    free: usize,
    /// The computes that wait, by their numbers: the first has waited longest.
    waiting: BTreeMap<u64, Waker>,
    last_number: u64,
}

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        let desk = Desk { free: count, waiting: BTreeMap::new(), last_number: 0 };
        Self(Arc::new(Mutex::new(desk)))
    }

    /// The compute, which runs when there is a permit for it.
    pub(super) fn admit<V>(&self, compute: Compute<V>, signal: Arc<AnySignal>) -> Admission<V> {
        let permits = self.clone();
        Admission { standing: Standing::Comes, permits, signal, compute: Some(compute) }
    }

    /// Takes a permit, or else a place in the queue.
    fn take(&self, waker: &Waker) -> Standing {
        let mut desk = self.0.lock();
        if desk.free > 0 {
            desk.free -= 1;
            return Standing::Runs;
        }
        desk.last_number += 1;
        let number = desk.last_number;
        desk.waiting.insert(number, waker.clone());
        Standing::Waits(number)
    }

    fn is_waiting(&self, number: u64) -> bool {
        self.0.lock().waiting.contains_key(&number)
    }

    /// Gives a place in the queue up, or the permit that came of it.
    fn leave(&self, number: u64) {
        let place = self.0.lock().waiting.remove(&number);
        if place.is_none() {
            self.give_back();
        }
    }

    /// Gives a permit to the next compute.
    fn give_back(&self) {
        let mut desk = self.0.lock();
        let Some((_, next)) = desk.waiting.pop_first() else {
            desk.free += 1;
            return;
        };
        // Woken under no lock: it may be polled on the spot.
        drop(desk);
        next.wake();
    }
}

/// A compute that needs a permit.
pub(super) struct Admission<V> {
    standing: Standing,
    permits: Permits,
    /// Tells whether somebody waits for it who has a permit.
    signal: Arc<AnySignal>,
    /// `None` when it is over.
    compute: Option<Compute<V>>,
}

#[derive(Clone, Copy)]
enum Standing {
    Comes,
    /// In the queue, by its number; with a permit if it is not there any more.
    Waits(u64),
    Runs,
    /// Under the permit of a compute that waits for it.
    RunsAlong,
    Left,
}

impl<V> Admission<V> {
    fn poll_permit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.standing = match self.standing {
            Standing::Comes | Standing::Waits(_) if self.signal.ask_for_permit() => {
                self.leave();
                Standing::RunsAlong
            }
            Standing::Comes => self.permits.take(context.waker()),
            Standing::Waits(number) if !self.permits.is_waiting(number) => Standing::Runs,
            standing => standing,
        };
        if let Standing::Waits(_) = self.standing { Poll::Pending } else { Poll::Ready(()) }
    }

    fn leave(&mut self) {
        match std::mem::replace(&mut self.standing, Standing::Left) {
            Standing::Waits(number) => self.permits.leave(number),
            Standing::Runs => self.permits.give_back(),
            Standing::Comes | Standing::RunsAlong | Standing::Left => {}
        }
    }
}

impl<V> Future for Admission<V> {
    type Output = Outcome<V>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<V>> {
        ready!(self.poll_permit(context));
        let compute = self.compute.as_mut().expect("a compute is not polled after its end");
        compute.poll_unpin(context)
    }
}

impl<V> Drop for Admission<V> {
    fn drop(&mut self) {
        // First the compute, whose destructor may panic, and then its permit.
        let mut postponed = Postponed::default();
        postponed.run(|| drop(self.compute.take()));
        self.leave();
    }
}
