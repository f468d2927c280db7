//! The miss path: join the flight of a key, or lead a new one.

pub(crate) mod error;
pub(crate) mod flight;
mod recursion;
mod signal;

use std::future::Future;

use hashbrown::Equivalent;

use crate::expiry::Lifetime;
use crate::key::Source;
use crate::store::{Begun, Leftovers, Look, Store};
use crate::sync::Arc;

use error::ComputeError;
use flight::{Awaited, FlightHandle, Ground, Outcome, Waiter};

/// The first look of a request: for the value, then for a flight to join.
#[inline]
pub(crate) fn look<K, V, Q>(
    store: &Store<K, V, FlightHandle<V>>,
    hash: u64,
    key: &Q,
) -> Look<V, Waiter<V>>
where
    V: Clone + Send + Sync + 'static,
    Q: Equivalent<K> + ?Sized,
{
    store.look(hash, key, FlightHandle::join)
}

/// One caller's request for the value of a key.
pub(crate) struct Request<'a, K, V, P, G> {
    store: &'a Store<K, V, FlightHandle<V>>,
    ground: &'a Arc<G>,
    hash: u64,
    key: Key<K, P>,
    lifetime: Option<Lifetime<V>>,
    counted: bool,
}

enum Key<K, P> {
    Given(P),
    Owned(K),
    /// A flight has it.
    Gone,
}

/// How a request goes on.
enum Entered<V> {
    Hit(V),
    Waits(Waiter<V>),
}

impl<'a, K, V, P, G> Request<'a, K, V, P, G>
where
    K: Eq,
    V: Clone + Send + Sync + 'static,
    P: Source<K>,
    G: Ground<V> + 'static,
{
    pub(crate) fn new(
        store: &'a Store<K, V, FlightHandle<V>>,
        ground: &'a Arc<G>,
        hash: u64,
        key: P,
        lifetime: Lifetime<V>,
    ) -> Self {
        let (key, lifetime) = (Key::Given(key), Some(lifetime));
        Self { store, ground, hash, key, lifetime, counted: false }
    }

    /// Resolves to the cached value, or to the outcome of one shared compute, given what a first
    /// look found.
    ///
    /// A compute that failed with another type of error than this caller's cannot be told to it:
    /// then it asks again, and computes itself if it must.
    pub(crate) async fn resolve<F, Fut, E>(
        mut self,
        mut look: Look<V, Waiter<V>>,
        make: F,
    ) -> Result<V, ComputeError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        let mut make = Some(make);
        loop {
            let waiter = match self.enter(look, &mut make) {
                Entered::Hit(value) => return Ok(value),
                Entered::Waits(waiter) => waiter,
            };
            match waiter.await {
                Awaited::Outcome(Outcome::Value(value)) => return Ok(value),
                Awaited::Outcome(Outcome::Failed(error)) => {
                    if let Ok(error) = error.downcast() {
                        return Err(ComputeError::Failed(error));
                    }
                }
                Awaited::Outcome(Outcome::Panicked(message)) => {
                    return Err(ComputeError::Panicked(message));
                }
                Awaited::Recursive => return Err(ComputeError::Recursive),
            }
            look = self.look();
        }
    }

    fn look(&self) -> Look<V, Waiter<V>> {
        match &self.key {
            Key::Given(key) => look(self.store, self.hash, key.lookup()),
            Key::Owned(key) => look(self.store, self.hash, key),
            Key::Gone => unreachable!("the error of a request's own compute is of its own type"),
        }
    }

    /// Goes on with what was found: the value, a flight, or nothing; then a flight begins, with the
    /// closure in `make`.
    fn enter<F, Fut, E>(&mut self, look: Look<V, Waiter<V>>, make: &mut Option<F>) -> Entered<V>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        match look {
            Look::Hit(value) => self.hit(value),
            Look::Flight(waiter) => self.joined(waiter),
            Look::Absent => self.begin(make),
        }
    }

    #[inline(never)]
    fn begin<F, Fut, E>(&mut self, make: &mut Option<F>) -> Entered<V>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        // Made owned before the lock is taken: that is the user's code.
        let key = match std::mem::replace(&mut self.key, Key::Gone) {
            Key::Given(key) => key.into_key(),
            Key::Owned(key) => key,
            Key::Gone => unreachable!("a request looks before it begins"),
        };
        let ground: Arc<dyn Ground<V>> = Arc::<G>::clone(self.ground);
        let mut removed = Leftovers::new();
        let lifetime = &mut self.lifetime;
        let lead = |ticket| {
            let lifetime = lifetime.take().unwrap_or(Lifetime::Default);
            FlightHandle::new(ticket, ground, lifetime)
        };
        match self.store.begin(self.hash, key, FlightHandle::join, lead, &mut removed) {
            Begun::Found(value) => {
                drop(removed);
                self.hit(value)
            }
            Begun::Joined(waiter, key) => {
                drop(removed);
                self.key = Key::Owned(key);
                self.joined(waiter)
            }
            Begun::Leads(waiter) => {
                self.count_miss();
                let make = make.take().expect("a request leads once");
                waiter.launch(|| into_outcome(make()));
                // Not before, and not later: it may take long, ask for the key, or panic.
                drop(removed);
                Entered::Waits(waiter)
            }
        }
    }

    fn hit(&mut self, value: V) -> Entered<V> {
        if !self.counted {
            self.store.reads(self.hash).hit();
        }
        Entered::Hit(value)
    }

    fn joined(&mut self, waiter: Waiter<V>) -> Entered<V> {
        if !self.counted {
            self.store.reads(self.hash).coalesced();
        }
        self.count_miss();
        Entered::Waits(waiter)
    }

    fn count_miss(&mut self) {
        if !self.counted {
            self.store.reads(self.hash).miss();
        }
        self.counted = true;
    }
}

/// Erases the type of the error, so that callers with different ones can wait together.
async fn into_outcome<V, E: Send + Sync + 'static>(
    compute: impl Future<Output = Result<V, E>>,
) -> Outcome<V> {
    match compute.await {
        Ok(value) => Outcome::Value(value),
        Err(error) => Outcome::Failed(Arc::new(error)),
    }
}
