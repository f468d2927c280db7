//! The miss path: join the flight of a key, or lead a new one.

pub(crate) mod error;
pub(crate) mod flight;
mod recursion;
mod share;
mod signal;

#[cfg(feature = "test-util")]
pub(crate) use recursion::apart;

use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;

use crate::expiry::Lifetime;
use crate::key::Source;
use crate::reads::Read;
use crate::store::{Begun, KeyHash, Leftovers, Look, Store};
use crate::sync::Arc;

use error::ComputeError;
use flight::{Awaited, FlightHandle, Ground, Launched, Outcome, Waiter};

/// What a call needs of its cache.
pub(crate) struct Parts<'a, K, V, S, G> {
    pub(crate) store: &'a Store<K, V, FlightHandle<V>>,
    pub(crate) hasher: &'a S,
    pub(crate) ground: &'a Arc<G>,
}

/// What a call makes of its result.
pub(crate) trait Answer<V> {
    type Error: Send + Sync + 'static;
    type Output;

    fn answer(result: Result<V, ComputeError<Self::Error>>) -> Self::Output;
}

/// One compute call: resolves to the cached value, or to the outcome of one shared compute.
///
/// Written out by hand, because an `async fn` in an `async fn` holds its arguments several times.
pub(crate) struct Call<'a, K, V, S, G, P, F, T, A> {
    parts: Parts<'a, K, V, S, G>,
    key: Key<K, P>,
    lifetime: Lifetime<V>,
    /// Makes the compute; `None` when this call leads.
    make: Option<F>,
    /// Erases the type of the compute's error, so that callers with different ones share it.
    into_outcome: fn(T) -> Outcome<V>,
    waiter: Option<Waiter<V>>,
    /// As a hit or a miss.
    is_counted: bool,
    answer: PhantomData<fn() -> A>,
}

enum Key<K, P> {
    Given(P),
    Owned(K),
    /// A flight has it.
    Gone,
}

/// How a call goes on.
enum Entered<V> {
    Hit(V),
    /// It led, and has its answer at once.
    Ended(Awaited<V>),
    /// It led, and the compute goes on.
    Leads(Waiter<V>),
    Joins(Waiter<V>),
}

impl<'a, K, V, S, G, P, F, T, A> Call<'a, K, V, S, G, P, F, T, A> {
    #[inline]
    pub(crate) fn new(
        parts: Parts<'a, K, V, S, G>,
        key: P,
        lifetime: Lifetime<V>,
        make: F,
        into_outcome: fn(T) -> Outcome<V>,
    ) -> Self {
        Self {
            parts,
            key: Key::Given(key),
            lifetime,
            make: Some(make),
            into_outcome,
            waiter: None,
            is_counted: false,
            answer: PhantomData,
        }
    }
}

// Nothing in it is pinned: the compute itself is in a box.
impl<K, V, S, G, P, F, T, A> Unpin for Call<'_, K, V, S, G, P, F, T, A> {}

impl<K, V, S, G, P, F, Fut, T, A> Future for Call<'_, K, V, S, G, P, F, T, A>
where
    K: Hash + Eq,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher,
    G: Ground<V> + 'static,
    P: Source<K, Lookup: Hash>,
    F: FnOnce() -> Fut,
    Fut: Future<Output = T> + Send + 'static,
    T: 'static,
    A: Answer<V>,
{
    type Output = A::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.get_mut();
        loop {
            let awaited = match &mut call.waiter {
                Some(waiter) => {
                    let awaited = ready!(waiter.poll_unpin(context));
                    call.waiter = None;
                    awaited
                }
                None => match call.enter(context) {
                    Entered::Hit(value) => return Poll::Ready(A::answer(Ok(value))),
                    Entered::Ended(awaited) => awaited,
                    Entered::Leads(waiter) => {
                        call.waiter = Some(waiter);
                        return Poll::Pending;
                    }
                    Entered::Joins(waiter) => {
                        call.waiter = Some(waiter);
                        continue;
                    }
                },
            };
            return Poll::Ready(A::answer(match awaited {
                Awaited::Outcome(Outcome::Value(value)) => Ok(value),
                Awaited::Outcome(Outcome::Failed(error)) => match error.downcast() {
                    Ok(error) => Err(ComputeError::Failed(error)),
                    // Another caller's error, of a type that cannot be told to this one: ask again,
                    // and compute if need be.
                    Err(_) => continue,
                },
                Awaited::Outcome(Outcome::Panicked(message)) => {
                    Err(ComputeError::Panicked(message))
                }
                Awaited::Recursive => Err(ComputeError::Recursive),
            }));
        }
    }
}

impl<K, V, S, G, P, F, Fut, T, A> Call<'_, K, V, S, G, P, F, T, A>
where
    K: Hash + Eq,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher,
    G: Ground<V> + 'static,
    P: Source<K, Lookup: Hash>,
    F: FnOnce() -> Fut,
    Fut: Future<Output = T> + Send + 'static,
    T: 'static,
{
    /// Looks for the value, then for a flight to join; else begins one.
    #[inline]
    fn enter(&mut self, context: &mut Context<'_>) -> Entered<V> {
        let Parts { store, hasher, .. } = self.parts;
        let (hash, look) = match &self.key {
            Key::Given(key) => {
                let hash = KeyHash::new(hasher.hash_one(key.lookup()));
                (hash, store.look(hash, key.lookup(), FlightHandle::join))
            }
            Key::Owned(key) => {
                let hash = KeyHash::new(hasher.hash_one(key));
                (hash, store.look(hash, key, FlightHandle::join))
            }
            Key::Gone => panic!("a compute call was polled after its end"),
        };
        match look {
            Look::Hit(value) => self.hit(value),
            Look::Flight(waiter) => self.joined(waiter),
            Look::Absent => self.begin(hash, context),
        }
    }

    #[inline(never)]
    fn begin(&mut self, hash: KeyHash, context: &mut Context<'_>) -> Entered<V> {
        // Made owned before the lock is taken: that is the user's code.
        let key = match mem::replace(&mut self.key, Key::Gone) {
            Key::Given(key) => key.into_key(),
            Key::Owned(key) => key,
            Key::Gone => unreachable!("a call looks before it begins"),
        };
        let ground: Arc<dyn Ground<V>> = Arc::<G>::clone(self.parts.ground);
        let mut removed = Leftovers::new();
        let lifetime = &mut self.lifetime;
        let lead =
            |ticket| FlightHandle::new(ticket, ground, mem::replace(lifetime, Lifetime::Default));
        let store = self.parts.store;
        match store.begin(hash, key, FlightHandle::join, lead, &mut removed) {
            Begun::Found(value) => {
                drop(removed);
                self.hit(value)
            }
            Begun::Joined(waiter, key) => {
                drop(removed);
                self.key = Key::Owned(key);
                self.joined(waiter)
            }
            Begun::Leads(leader) => {
                self.count_miss();
                let make = self.make.take().expect("a call leads once");
                let into_outcome = self.into_outcome;
                let make = || make().map(into_outcome);
                if !removed.is_empty() {
                    // Dropped when others can drive the compute, because it may take long, ask for the
                    // key, or panic; and before the first poll, which may need what it holds.
                    let waiter = leader.share(make);
                    drop(removed);
                    return Entered::Joins(waiter);
                }
                match leader.launch(make, context) {
                    Launched::Ended(awaited) => Entered::Ended(awaited),
                    Launched::UnderWay(waiter) => Entered::Leads(waiter),
                }
            }
        }
    }

    #[inline]
    fn hit(&mut self, value: V) -> Entered<V> {
        if !self.is_counted {
            self.parts.store.reads().add(Read::Hit);
        }
        Entered::Hit(value)
    }

    fn joined(&mut self, waiter: Waiter<V>) -> Entered<V> {
        if !self.is_counted {
            self.parts.store.reads().add(Read::Coalesced);
        }
        self.count_miss();
        Entered::Joins(waiter)
    }

    #[inline]
    fn count_miss(&mut self) {
        if !self.is_counted {
            self.parts.store.reads().add(Read::Miss);
        }
        self.is_counted = true;
    }
}

impl<K, V, S, G> Clone for Parts<'_, K, V, S, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V, S, G> Copy for Parts<'_, K, V, S, G> {}
