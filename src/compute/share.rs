//! Share: how the callers of a flight come to share it, after its first poll.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::{Either, Shared, WeakShared};

use crate::panic::contain;
use crate::sync::{AtomicBool, Mutex, Ordering};

use super::flight::Flight;
use super::outcome::Outcome;
use super::recursion::Polling;
use super::signal::Progress;
use super::term::Term;

/// A flight after its first poll; or what that came to, for those who joined during it.
pub(super) type Shareable<V> = Either<Flight<V>, Landed<V>>;

/// An outcome that is there. Whoever takes it first wakes all: others may have found it busy.
pub(super) struct Landed<V>(Option<Outcome<V>>);

impl<V> Unpin for Landed<V> {}

impl<V> Future for Landed<V> {
    type Output = Outcome<V>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Outcome<V>> {
        Polling::note(Progress::Done);
        Poll::Ready(self.0.take().expect("a future is not polled after its end"))
    }
}

/// Where a flight stands.
pub(super) struct Stage<V> {
    pub(super) term: Term,
    sharing: Mutex<Sharing<V>>,
    /// Whether it is not, or was not, the leader's alone. Set by the leader, or by who joins it, under the
    /// shard's lock, which the leader has taken once more before it looks.
    is_shared: AtomicBool,
}

enum Sharing<V> {
    /// The leader polls it for the first time; so many others wait for the end of that.
    NotYet { waiting: usize },
    /// Held here too for those who waited, until all of them have come for their shares.
    Owed { shared: Shared<Shareable<V>>, owed: usize },
    /// Held by its waiters only.
    Held(WeakShared<Shareable<V>>),
    /// There will be no compute.
    CalledOff,
}

/// One waiter's share.
pub(super) enum Share<V> {
    /// To be had when the first poll is over.
    Owed,
    Taken(Shared<Shareable<V>>),
}

impl<V> Stage<V> {
    #[inline]
    pub(super) fn new(term: Term) -> Self {
        let sharing = Mutex::new(Sharing::NotYet { waiting: 0 });
        Self { term, sharing, is_shared: AtomicBool::new(false) }
    }

    /// A share for one more waiter; `None` if the last one has just left.
    pub(super) fn join(&self) -> Option<Share<V>> {
        self.is_shared.store(true, Ordering::Relaxed);
        match &mut *self.sharing.lock() {
            Sharing::NotYet { waiting } => {
                *waiting += 1;
                Some(Share::Owed)
            }
            Sharing::Owed { shared, .. } => Some(Share::Taken(shared.clone())),
            Sharing::Held(shared) => shared.upgrade().map(Share::Taken),
            Sharing::CalledOff => None,
        }
    }

    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Ends the first poll: from now on the flight is shared.
    pub(super) fn share(&self, shared: &Shared<Shareable<V>>) {
        self.is_shared.store(true, Ordering::Relaxed);
        let mut sharing = self.sharing.lock();
        *sharing = match *sharing {
            Sharing::NotYet { waiting: owed @ 1.. } => {
                Sharing::Owed { shared: shared.clone(), owed }
            }
            _ => Sharing::held(shared),
        };
    }

    /// Tells those who wait for the end of the first poll that nothing comes of it.
    pub(super) fn call_off(&self) {
        *self.sharing.lock() = Sharing::CalledOff;
    }

    fn is_called_off(&self) -> bool {
        matches!(*self.sharing.lock(), Sharing::CalledOff)
    }

    /// Ends the first poll, which came to an outcome. Nobody joins any more; who has done so is woken when
    /// the poll is declared over.
    #[inline]
    pub(super) fn end(&self, outcome: &Outcome<V>)
    where
        V: Clone,
    {
        if self.is_shared() {
            // The user's `clone`, under no lock. If it panics, that is what the others are told.
            let copy = contain(|| outcome.clone()).unwrap_or_else(Outcome::panicked);
            let shared = Shareable::Right(Landed(Some(copy))).shared();
            self.share(&shared);
            // Perhaps nobody waits any more: a destructor's panic is not the leader's.
            let _ = contain(|| drop(shared));
            Polling::note(Progress::Done);
        }
    }

    /// Hands the share that is owed to one waiter over, if the first poll is at its end.
    fn claim(&self) -> Option<Shared<Shareable<V>>> {
        let mut sharing = self.sharing.lock();
        let Sharing::Owed { shared, owed } = &mut *sharing else { return None };
        *owed -= 1;
        if *owed > 0 {
            return Some(shared.clone());
        }
        let held = Sharing::held(shared);
        let Sharing::Owed { shared, .. } = mem::replace(&mut *sharing, held) else { return None };
        Some(shared)
    }

    /// Gives up the share that is owed to one waiter. What is returned is to be dropped: perhaps
    /// nobody else holds the flight.
    pub(super) fn forgo(&self) -> Option<Shared<Shareable<V>>> {
        if let Sharing::NotYet { waiting } = &mut *self.sharing.lock() {
            *waiting -= 1;
            return None;
        }
        self.claim()
    }
}

impl<V> Sharing<V> {
    fn held(shared: &Shared<Shareable<V>>) -> Self {
        Self::Held(shared.downgrade().expect("what was not polled is not over"))
    }
}

impl<V: Clone> Share<V> {
    /// Polls the flight, if its first poll is at its end. All waking goes through its signal.
    #[inline]
    pub(super) fn poll(&mut self, stage: &Stage<V>) -> Poll<Outcome<V>> {
        if let Self::Owed = self {
            match stage.claim() {
                Some(shared) => *self = Self::Taken(shared),
                // Nothing came of it: they ask again.
                None if stage.is_called_off() => return Poll::Ready(Outcome::nothing()),
                None => return Poll::Pending,
            }
        }
        match self {
            Self::Owed => Poll::Pending,
            Self::Taken(shared) => shared.poll_unpin(&mut Context::from_waker(Waker::noop())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use crate::sync::Arc;

    use crate::clock::Tick;

    use super::super::signal::{Origin, Signal};
    use super::*;

    struct Count(Mutex<u32>);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            *self.0.lock() += 1;
        }
    }

    #[test]
    fn whoever_takes_the_outcome_of_a_first_poll_wakes_those_who_found_it_busy() {
        let stage = Stage::new(Term::new(Tick::START, Tick::NEVER));
        let signal: Arc<Signal<Stage<u32>>> = Arc::new(Signal::new(Origin(0), stage));
        let mut share = signal.content.join().expect("a flight that begins can be joined");
        let busy = signal.content.join().expect("also by a second one");
        let wakes = Arc::new(Count(Mutex::new(0)));
        signal.register(&mut None, &Arc::clone(&wakes).into());
        signal.content.end(&Outcome::Value(7));
        let polling = Polling::begin(Arc::<Signal<Stage<u32>>>::clone(&signal));
        assert!(matches!(share.poll(&signal.content), Poll::Ready(Outcome::Value(7))));
        assert_eq!(*wakes.0.lock(), 0, "not before the share is let go of");
        drop(polling);
        assert_eq!(*wakes.0.lock(), 1);
        drop((share, busy));
    }
}
