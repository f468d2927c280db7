//! Call: one compute call, from the look at the store to its answer.

use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::future::Map;

use crate::clock::Tick;
use crate::key::Source;
use crate::options::Options;
use crate::reads::Read;
use crate::store::{Begun, Failure, KeyHash, Leftovers, Look, Request, Store, Version, Wanted};
use crate::sync::Arc;

use super::error::ComputeError;
use super::flight::Ground;
use super::host::{Host, Terms};
use super::leader::{Launched, Leader};
use super::make::Make;
use super::outcome::{Fault, Outcome};
use super::waiter::{Awaited, FlightHandle, Waiter};

/// What a call needs of its cache.
pub(crate) struct Parts<'a, K, V, S, G> {
    pub(crate) store: &'a Store<K, V, FlightHandle<V>>,
    pub(crate) hasher: &'a S,
    pub(crate) ground: &'a Arc<G>,
    pub(crate) host: &'a Host,
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
pub(crate) struct Call<'a, K, V, S, G, P, M, T, A> {
    parts: Parts<'a, K, V, S, G>,
    key: Key<K, P>,
    options: Options<V>,
    /// Makes the compute; `None` when this call leads.
    make: Option<M>,
    /// Erases the type of the compute's error, so that callers with different ones share it.
    into_outcome: fn(T) -> Outcome<V>,
    waiter: Option<Waiter<V>>,
    count: Count,
    /// What stands in for the outcome if the compute fails.
    stand_in: Option<StandIn>,
    answer: PhantomData<fn() -> A>,
}

enum Key<K, P> {
    Given(P),
    Owned(K),
    /// To be computed now, whatever is there.
    Recomputed(K),
    /// A flight has it.
    Gone,
}

/// A compute whose error has no type any more.
type Erased<Fut, V> = Map<Fut, fn(<Fut as Future>::Output) -> Outcome<V>>;

/// What makes a compute, given the value that is to be renewed if it wants that; with an outcome of no
/// particular type.
#[inline]
fn erased<V, M: Make<V>>(
    make: M,
    into_outcome: fn(M::Output) -> Outcome<V>,
    stale: impl FnOnce() -> Option<V>,
) -> impl FnOnce() -> Erased<M::Future, V> {
    // Copied in there, because a panic of the user's `clone` is one of the compute.
    move || make.make(if M::WANTS_STALE { stale() } else { None }).map(into_outcome)
}

/// Whether the call was counted as a hit, a miss or a stale hit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    NotYet,
    Done,
    /// A miss, unless a stale value stands in.
    Owed,
}

/// A value that was there when the call began.
#[derive(Clone, Copy)]
enum StandIn {
    /// A stale one, which the store still has, unless a write came.
    Held {
        hash: KeyHash,
        version: Version,
        /// It could have been handed out at once.
        is_served: bool,
    },
    /// A fresh one that the call found, and renews. It lies with the options, where what is rare does.
    Found,
}

/// How a call goes on.
enum Entered<V> {
    /// It has its answer at once.
    Found(V),
    Ended(Awaited<V>),
    /// It led, and the compute goes on.
    Leads(Waiter<V>),
    Joins(Waiter<V>),
}

impl<'a, K, V, S, G, P, M, T, A> Call<'a, K, V, S, G, P, M, T, A> {
    #[inline]
    pub(crate) fn new(
        parts: Parts<'a, K, V, S, G>,
        key: P,
        options: Options<V>,
        make: M,
        into_outcome: fn(T) -> Outcome<V>,
    ) -> Self {
        Self {
            parts,
            key: Key::Given(key),
            options,
            make: Some(make),
            into_outcome,
            waiter: None,
            count: Count::NotYet,
            stand_in: None,
            answer: PhantomData,
        }
    }

    /// Computes also if there is a value.
    pub(crate) fn recomputing(mut self) -> Self
    where
        P: Source<K>,
    {
        if let Key::Given(key) = mem::replace(&mut self.key, Key::Gone) {
            self.key = Key::Recomputed(key.into_key());
        }
        self
    }
}

// Nothing in it is pinned: the compute itself is in a box.
impl<K, V, S, G, P, M, T, A> Unpin for Call<'_, K, V, S, G, P, M, T, A> {}

impl<K, V, S, G, P, M, T, A> Future for Call<'_, K, V, S, G, P, M, T, A>
where
    K: Hash + Eq,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher,
    G: Ground<V> + 'static,
    P: Source<K, Lookup: Hash>,
    M: Make<V, Output = T>,
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
                    if let Awaited::Slow = awaited {
                        match call.stand_in_while_slow() {
                            Some(value) => return Poll::Ready(A::answer(Ok(value))),
                            None => continue,
                        }
                    }
                    call.waiter = None;
                    awaited
                }
                None => match call.enter(context) {
                    Entered::Found(value) => return Poll::Ready(A::answer(Ok(value))),
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
            if let Some(result) = call.settle(awaited) {
                // If no stale value stood in.
                call.count(Read::Miss);
                call.parts.store.catch_up();
                return Poll::Ready(A::answer(result));
            }
        }
    }
}

impl<K, V, S, G, P, M, T, A> Call<'_, K, V, S, G, P, M, T, A>
where
    K: Hash + Eq,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher,
    G: Ground<V> + 'static,
    P: Source<K, Lookup: Hash>,
    M: Make<V, Output = T>,
    T: 'static,
    A: Answer<V>,
{
    /// Looks for the value, then for a flight to join; else begins one.
    #[inline]
    fn enter(&mut self, context: &mut Context<'_>) -> Entered<V> {
        let Parts { store, hasher, host, .. } = self.parts;
        let options = &self.options;
        let join = |flight: &FlightHandle<V>| flight.join(&host.terms(options, store.clock()));
        let hash;
        let look = match &self.key {
            Key::Given(key) => {
                hash = KeyHash::new(hasher.hash_one(key.lookup()));
                store.look(hash, key.lookup(), join)
            }
            Key::Owned(key) => {
                hash = KeyHash::new(hasher.hash_one(key));
                store.look(hash, key, join)
            }
            Key::Recomputed(key) => {
                hash = KeyHash::new(hasher.hash_one(key));
                return self.begin(hash, Wanted::Recomputed, context);
            }
            Key::Gone => panic!("a compute call was polled after its end"),
        };
        if let Look::Hit(value) = look {
            self.count(Read::Hit);
            return Entered::Found(value);
        }
        self.enter_past(hash, look, context)
    }

    /// Goes on where there is no fresh value, or an old one.
    #[inline(never)]
    fn enter_past(
        &mut self,
        hash: KeyHash,
        look: Look<V, Waiter<V>>,
        context: &mut Context<'_>,
    ) -> Entered<V> {
        let stand_in = |version| StandIn::Held { hash, version, is_served: false };
        match look {
            Look::Hit(value) => Entered::Found(value),
            Look::Old(value, version) => self.renew(hash, value, version, Read::Hit, context),
            Look::Stale(value, Some(version)) => {
                self.renew(hash, value, version, Read::StaleHit, context)
            }
            Look::Stale(value, None) => {
                self.count(Read::StaleHit);
                Entered::Found(value)
            }
            Look::Flight(waiter, version) => {
                self.stand_in = version.map(stand_in);
                self.joined(waiter)
            }
            Look::Failed(failure, version) => {
                self.stand_in = version.map(stand_in);
                self.failed(failure, hash, context)
            }
            Look::Absent(version) => {
                self.stand_in = version.map(stand_in);
                self.begin(hash, Wanted::Value, context)
            }
        }
    }

    /// Answers with a failure that is remembered, if it can be told to this caller.
    #[cold]
    fn failed(&mut self, failure: Failure, hash: KeyHash, context: &mut Context<'_>) -> Entered<V> {
        if failure.is::<A::Error>() {
            self.parts.store.reads().add(Read::RememberedFailure);
            self.count_miss();
            return Entered::Ended(Awaited::Outcome(Outcome::failed(failure)));
        }
        self.begin(hash, Wanted::Retried, context)
    }

    /// Hands a value out and sees to it that it is renewed: in the background, or else in this call.
    #[cold]
    fn renew(
        &mut self,
        hash: KeyHash,
        value: V,
        version: Version,
        read: Read,
        context: &mut Context<'_>,
    ) -> Entered<V> {
        let Parts { store, host, ground, .. } = self.parts;
        let background = host.open_background();
        let terms = host.terms(&self.options, store.clock());
        let is_detached = self.options.is_detached();
        let (mut leader, mut removed) = (Leader::new(ground), store.leftovers());
        let begun = self.lead(hash, Wanted::Newer(version), &terms, &mut leader, &mut removed);
        match (begun, background) {
            (Begun::Leads, Some(background)) => {
                let make = self.make.take().expect("a call leads once");
                let make = erased(make, self.into_outcome, || Some(value.clone()));
                let waiter = leader.share(make, &terms);
                drop(removed);
                waiter.go_on(background);
            }
            (Begun::Leads, None) => {
                if read == Read::Hit {
                    self.count(read);
                    self.stand_in = Some(StandIn::Found);
                    self.options.special().found = Some(value);
                } else {
                    self.stand_in = Some(StandIn::Held { hash, version, is_served: true });
                    self.count_miss();
                }
                return self.launch(&mut leader, &mut removed, &terms, is_detached, context);
            }
            _ => {}
        }
        self.count(read);
        Entered::Found(value)
    }

    #[inline(never)]
    fn begin(&mut self, hash: KeyHash, wanted: Wanted, context: &mut Context<'_>) -> Entered<V> {
        let Parts { store, host, ground, .. } = self.parts;
        let terms = host.terms(&self.options, store.clock());
        let is_detached = self.options.is_detached();
        let (mut leader, mut removed) = (Leader::new(ground), store.leftovers());
        match self.lead(hash, wanted, &terms, &mut leader, &mut removed) {
            Begun::Leads => {
                self.count_miss();
                self.launch(&mut leader, &mut removed, &terms, is_detached, context)
            }
            Begun::Found(value) => {
                drop(removed);
                self.count(Read::Hit);
                Entered::Found(value)
            }
            Begun::Joined(waiter, key) => {
                let is_recomputed = wanted == Wanted::Recomputed;
                self.key = if is_recomputed { Key::Recomputed(key) } else { Key::Owned(key) };
                self.joined(waiter)
            }
            Begun::Failed(failure, key) => {
                self.key = Key::Owned(key);
                self.failed(failure, hash, context)
            }
            Begun::NotNeeded => unreachable!("only a value that is there need not be computed"),
        }
    }

    /// Begins a flight, unless there is no need to.
    #[inline]
    fn lead(
        &mut self,
        hash: KeyHash,
        wanted: Wanted,
        terms: &Terms<'_>,
        leader: &mut Leader<'_, V, G>,
        removed: &mut Leftovers<K, V>,
    ) -> Begun<K, V, Waiter<V>> {
        // Made owned before the lock is taken: that is the user's code.
        let key = match mem::replace(&mut self.key, Key::Gone) {
            Key::Given(key) => key.into_key(),
            Key::Owned(key) | Key::Recomputed(key) => key,
            Key::Gone => unreachable!("a call looks before it begins"),
        };
        let options = &mut self.options;
        let lead = |ticket, spare| leader.begin(ticket, spare, options, terms.allowance);
        let join = |flight: &FlightHandle<V>| flight.join(terms);
        let is_timed = terms.are_timed();
        let request = Request { hash, wanted, is_counted: true, is_timed };
        self.parts.store.begin(request, key, join, lead, removed)
    }

    #[inline]
    fn launch(
        &mut self,
        leader: &mut Leader<'_, V, G>,
        removed: &mut Leftovers<K, V>,
        terms: &Terms<'_>,
        is_detached: bool,
        context: &mut Context<'_>,
    ) -> Entered<V> {
        let make = self.make.take().expect("a call leads once");
        let make = erased(make, self.into_outcome, || self.stale());
        if terms.task_runner().is_none() && removed.is_empty() {
            return match leader.launch(make, terms, context) {
                Launched::Ended(awaited) => Entered::Ended(awaited),
                Launched::UnderWay(waiter) => {
                    if is_detached {
                        waiter.detach(terms);
                    }
                    if waiter.is_timed() { Entered::Joins(waiter) } else { Entered::Leads(waiter) }
                }
            };
        }
        // Dropped when others can drive the compute, because it may take long, ask for the key, or
        // panic; and before the first poll, which may need what it holds.
        let waiter = leader.share(make, terms);
        removed.clear();
        if is_detached {
            waiter.detach(terms);
        }
        Entered::Joins(waiter)
    }

    fn joined(&mut self, waiter: Waiter<V>) -> Entered<V> {
        if self.count == Count::NotYet {
            self.parts.store.reads().add(Read::Coalesced);
        }
        self.count_miss();
        let Parts { store, host, .. } = self.parts;
        if self.options.is_detached() {
            waiter.detach(&host.terms(&self.options, store.clock()));
        }
        Entered::Joins(waiter)
    }

    /// The result of what was awaited. `None` if the call has to ask again.
    #[inline]
    fn settle(&mut self, awaited: Awaited<V>) -> Option<Result<V, ComputeError<A::Error>>> {
        let failure = match awaited {
            Awaited::Outcome(Outcome::Value(value)) => return Some(Ok(value)),
            // The outcome of a compute for several keys, of which this one was none.
            Awaited::Lacking | Awaited::Outcome(Outcome::Values(_)) => return None,
            Awaited::Recursive => {
                return Some(self.options.found().cloned().ok_or(ComputeError::Recursive));
            }
            Awaited::Outcome(Outcome::Fault(fault)) => match *fault {
                Fault::Failed(failure) => Some(failure),
                Fault::Panicked(message) => {
                    return Some(self.stand_in().ok_or(ComputeError::Panicked(message)));
                }
            },
            Awaited::GivenUp(deadline) if self.can_ask_again_until(deadline) => return None,
            Awaited::GivenUp(_) | Awaited::TimedOut => None,
            Awaited::Slow => unreachable!("a call that finds no stale value waits on"),
        };
        if let Some(value) = self.stand_in() {
            return Some(Ok(value));
        }
        match failure.map(Failure::downcast) {
            None => Some(Err(ComputeError::TimedOut)),
            Some(Ok(error)) => Some(Err(ComputeError::Failed(error))),
            // Another caller's error, of a type that cannot be told to this one: ask again, and compute
            // if need be.
            Some(Err(_)) => None,
        }
    }

    /// Whether there is time left for another compute, and this call has one; then it gets that time.
    #[cold]
    fn can_ask_again_until(&mut self, deadline: Tick) -> bool {
        // By the clock, not by when the compute was given up: the caller may come late.
        let left = deadline.since(self.parts.store.clock().now());
        if self.make.is_none() || left.is_zero() {
            return false;
        }
        self.options.special().timeout = Some(left);
        true
    }

    /// The value that was there when the call began, if it may stand in for an outcome now.
    #[cold]
    fn stand_in(&mut self) -> Option<V> {
        let value = self.stale()?;
        self.count(Read::StaleHit);
        Some(value)
    }

    /// The value that was there when the call began, in place of an outcome that has not come yet. The compute goes
    /// on in the background; where it could not, the call waits for it.
    #[cold]
    fn stand_in_while_slow(&mut self) -> Option<V> {
        let background = self.parts.host.open_background()?;
        let value = self.stand_in()?;
        self.waiter.take()?.go_on(background);
        Some(value)
    }

    fn stale(&self) -> Option<V> {
        match self.stand_in? {
            StandIn::Held { hash, version, is_served } => {
                self.parts.store.stand_in(hash, version, is_served)
            }
            StandIn::Found => self.options.found().cloned(),
        }
    }

    #[inline]
    fn count(&mut self, read: Read) {
        if self.count == Count::NotYet {
            self.count = Count::Done;
            self.parts.store.reads().add(read);
        } else if self.count == Count::Owed {
            self.pay(read);
        }
    }

    /// Counts a call that has waited: as a miss, whatever it found then, unless a stale value stood in.
    #[cold]
    fn pay(&mut self, read: Read) {
        self.count = Count::Done;
        self.parts.store.reads().add(read.late());
    }

    #[inline]
    fn count_miss(&mut self) {
        if self.stand_in.is_none() {
            self.count(Read::Miss);
        } else if self.count == Count::NotYet {
            self.count = Count::Owed;
        }
    }
}

impl<K, V, S, G, P, M, T, A> Drop for Call<'_, K, V, S, G, P, M, T, A> {
    #[inline]
    fn drop(&mut self) {
        if self.count == Count::Owed {
            self.parts.store.reads().add(Read::Miss);
        }
    }
}

impl<K, V, S, G> Clone for Parts<'_, K, V, S, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V, S, G> Copy for Parts<'_, K, V, S, G> {}
