//! Share: how the callers of a flight come to share it, after its first poll.

use std::mem;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::{Either, Ready, Shared, WeakShared, ready};

use crate::sync::Mutex;

use super::flight::{Flight, Outcome};

/// A flight after its first poll; or what that came to, for those who joined during it.
pub(super) type Shareable<V> = Either<Flight<V>, Ready<Outcome<V>>>;

/// Where a flight stands.
pub(super) struct Stage<V>(Mutex<Sharing<V>>);

enum Sharing<V> {
    /// The leader polls it for the first time; so many others wait for the end of that.
    NotYet { waiting: usize },
    /// Held here too for those who waited, until all of them have come for their shares.
    Owed { shared: Shared<Shareable<V>>, owed: usize },
    /// Held by its waiters only.
    Held(WeakShared<Shareable<V>>),
    /// Nobody can join any more.
    Over,
}

/// One waiter's share.
pub(super) enum Share<V> {
    /// To be had when the first poll is over.
    Owed,
    Taken(Shared<Shareable<V>>),
}

impl<V> Default for Stage<V> {
    fn default() -> Self {
        Self(Mutex::new(Sharing::NotYet { waiting: 0 }))
    }
}

impl<V> Stage<V> {
    /// A share for one more waiter; `None` if the last one has just left.
    pub(super) fn join(&self) -> Option<Share<V>> {
        match &mut *self.0.lock() {
            Sharing::NotYet { waiting } => {
                *waiting += 1;
                Some(Share::Owed)
            }
            Sharing::Owed { shared, .. } => Some(Share::Taken(shared.clone())),
            Sharing::Held(shared) => shared.upgrade().map(Share::Taken),
            Sharing::Over => None,
        }
    }

    /// Ends the first poll: from now on the flight is shared.
    pub(super) fn share(&self, shared: &Shared<Shareable<V>>) {
        let mut sharing = self.0.lock();
        *sharing = match *sharing {
            Sharing::NotYet { waiting: owed @ 1.. } => {
                Sharing::Owed { shared: shared.clone(), owed }
            }
            _ => Sharing::held(shared),
        };
    }

    /// Ends the first poll, which came to an outcome. Nobody joins any more.
    pub(super) fn end(&self, outcome: &Outcome<V>)
    where
        V: Clone,
    {
        if matches!(*self.0.lock(), Sharing::NotYet { waiting: 0 }) {
            return;
        }
        // The user's `clone`, under no lock.
        self.share(&Shareable::Right(ready(outcome.clone())).shared());
    }

    /// Hands the share that is owed to one waiter over, if the first poll is at its end.
    fn claim(&self) -> Option<Shared<Shareable<V>>> {
        let mut sharing = self.0.lock();
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
        if let Sharing::NotYet { waiting } = &mut *self.0.lock() {
            *waiting -= 1;
            return None;
        }
        self.claim()
    }
}

impl<V> Sharing<V> {
    fn held(shared: &Shared<Shareable<V>>) -> Self {
        shared.downgrade().map_or(Self::Over, Self::Held)
    }
}

impl<V: Clone> Share<V> {
    /// Polls the flight, if its first poll is at its end. All waking goes through its signal.
    pub(super) fn poll(&mut self, stage: &Stage<V>) -> Poll<Outcome<V>> {
        if let Self::Owed = self {
            let Some(shared) = stage.claim() else { return Poll::Pending };
            *self = Self::Taken(shared);
        }
        match self {
            Self::Owed => Poll::Pending,
            Self::Taken(shared) => shared.poll_unpin(&mut Context::from_waker(Waker::noop())),
        }
    }
}
