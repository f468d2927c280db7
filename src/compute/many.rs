//! Many: one compute for all keys of a call that are missing.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use crate::options::Options;
use crate::reads::{Read, Reads};
use crate::store::{Begun, Failure, KeyHash, Look, Request, Version, Wanted, Watch};
use crate::sync::{Arc, Weak};

use super::call::{Count, Parts};
use super::error::ComputeError;
use super::flight::Ground;
use super::host::Terms;
use super::leader::Leader;
use super::outcome::{Fault, Outcome};
use super::waiter::{Awaited, FlightHandle, Waiter};

/// Where values go that came without being asked for.
pub(crate) trait Extras<K, V> {
    /// By the cache's own hasher.
    fn hash_key(&self, key: &K) -> u64;

    fn store_extra(&self, key: K, value: V, watch: &Watch);
}

/// What a bulk compute came to, whatever its error type: keys and values, in any order.
pub(crate) type Answers<I> = Result<I, Failure>;

/// What becomes of keys whose compute failed.
pub(crate) trait OnFailure<K, E> {
    /// Takes the failure of one key. An error ends the whole call.
    fn fail(&mut self, key: K, error: ComputeError<E>) -> Result<(), ComputeError<E>>;
}

/// The first failure is that of the call.
pub(crate) struct FailWhole;

impl<K, E> OnFailure<K, E> for FailWhole {
    fn fail(&mut self, _: K, error: ComputeError<E>) -> Result<(), ComputeError<E>> {
        Err(error)
    }
}

/// Each key has a failure of its own.
impl<K: Hash + Eq, E> OnFailure<K, E> for HashMap<K, ComputeError<E>> {
    fn fail(&mut self, key: K, error: ComputeError<E>) -> Result<(), ComputeError<E>> {
        self.insert(key, error);
        Ok(())
    }
}

/// A key that is to be computed.
struct Missing<K, V> {
    key: K,
    hash: KeyHash,
    /// The value that is there, to be renewed or to stand in.
    version: Option<Version>,
    /// That value, if it may be handed out at once.
    served: Option<(V, Read)>,
    count: Count,
}

/// A key that is to be asked for again, and how it was counted.
type Again<K> = (K, Count);

/// What a compute came to for a key.
enum Settled<K, E> {
    /// Its value is found, if there is one.
    Done,
    Again(Again<K>),
    Failed(K, ComputeError<E>),
}

/// A key that waits for a flight; and which of that flight's keys it is, if there are several.
type Waiting<K, V> = (Missing<K, V>, Option<u32>);

/// A flight, and the keys that wait for it.
struct Waits<K, V> {
    /// `None` when it is over.
    waiter: Option<Waiter<V>>,
    keys: Vec<Waiting<K, V>>,
}

impl<K, V> Waits<K, V> {
    fn new(waiter: Waiter<V>, keys: Vec<Waiting<K, V>>) -> Self {
        Self { waiter: Some(waiter), keys }
    }
}

impl<K, V> Unpin for Waits<K, V> {}

/// The waiter comes back with it, to wait on where nothing has come yet.
impl<K, V: Clone + Send + Sync + 'static> Future for Waits<K, V> {
    type Output = (Waiter<V>, Vec<Waiting<K, V>>, Awaited<V>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waiter = self.waiter.as_mut().expect("it is not polled after its end");
        let awaited = ready!(waiter.poll_unpin(context));
        let waiter = self.waiter.take().expect("it was polled just now");
        Poll::Ready((waiter, mem::take(&mut self.keys), awaited))
    }
}

/// One call for several keys.
pub(crate) struct Many<'a, K, V, S, G> {
    parts: Parts<'a, K, V, S, G>,
    found: HashMap<K, V>,
    missing: Vec<Missing<K, V>>,
    /// What is there, and to be renewed.
    aged: Vec<Missing<K, V>>,
    joined: Vec<Waits<K, V>>,
    /// Where in `joined` a flight is.
    flights: HashMap<usize, usize>,
    owed: Owed<'a>,
}

/// What is counted in the end.
struct Owed<'a> {
    reads: &'a Reads,
    /// Keys that are not counted yet, for one because stale values may stand in.
    misses: usize,
    /// Misses, unless the call returns them.
    stale_hits: usize,
}

impl Owed<'_> {
    /// The call returns what it has found.
    fn answered(&mut self) {
        (0..mem::take(&mut self.stale_hits)).for_each(|_| self.reads.add(Read::StaleHit));
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        (0..self.misses + self.stale_hits).for_each(|_| self.reads.add(Read::Miss));
    }
}

impl<'a, K, V, S, G> Many<'a, K, V, S, G>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher,
    G: Ground<V> + Extras<K, V> + Sync + Send + 'static,
{
    pub(crate) fn new(parts: Parts<'a, K, V, S, G>) -> Self {
        Self {
            parts,
            found: HashMap::new(),
            missing: Vec::new(),
            aged: Vec::new(),
            joined: Vec::new(),
            flights: HashMap::new(),
            owed: Owed { reads: parts.store.reads(), misses: 0, stale_hits: 0 },
        }
    }

    /// The values of all keys that have one in the end.
    pub(crate) async fn get_or_compute<F, Fut, I, E>(
        mut self,
        keys: impl IntoIterator<Item = K>,
        make: F,
        into_answers: fn(Fut::Output) -> Answers<I>,
        failures: &mut impl OnFailure<K, E>,
    ) -> Result<HashMap<K, V>, ComputeError<E>>
    where
        F: FnOnce(Vec<K>) -> Fut,
        Fut: Future<Output: 'static> + Send + 'static,
        I: IntoIterator<Item = (K, V)> + 'static,
        E: Send + Sync + 'static,
    {
        let mut make = Some(make);
        let mut keys = distinct(keys, self.parts.hasher);
        self.found.reserve(keys.len());
        self.owed.misses = keys.len();
        loop {
            self.look_for_all(mem::take(&mut keys), failures)?;
            let mut awaited = FuturesUnordered::new();
            awaited.extend(self.compute(&mut make, into_answers));
            self.flights.clear();
            awaited.extend(mem::take(&mut self.joined));
            while let Some((waiter, waiting, outcome)) = awaited.next().await {
                if let Awaited::Slow = outcome {
                    awaited.extend(self.wait_on(waiter, waiting));
                    continue;
                }
                drop(waiter);
                for (missing, part) in waiting {
                    match self.settle::<E>(missing, part, &outcome) {
                        Settled::Done => {}
                        Settled::Again(again) => keys.push(again),
                        Settled::Failed(key, error) => failures.fail(key, error)?,
                    }
                }
            }
            // What others did not bring, or failed at with an error that cannot be told here, is asked
            // for again while this call can still compute it.
            if keys.is_empty() || make.is_none() {
                self.owed.answered();
                self.parts.store.catch_up();
                return Ok(self.found);
            }
        }
    }

    /// Looks for the values of these keys, and for flights to join.
    fn look_for_all<E>(
        &mut self,
        keys: Vec<Again<K>>,
        failures: &mut impl OnFailure<K, E>,
    ) -> Result<(), ComputeError<E>>
    where
        E: Send + Sync + 'static,
    {
        let mut ended = Ok(());
        for (key, count) in keys {
            // Also when one has ended the call: each is counted.
            if let Some((key, error)) = self.look(key, count) {
                let failed = failures.fail(key, error);
                ended = ended.and(failed);
            }
        }
        ended
    }

    /// Looks for the value of one key, and for a flight to join. Returns the failure that is remembered,
    /// if it can be told here.
    fn look<E>(&mut self, key: K, count: Count) -> Option<(K, ComputeError<E>)>
    where
        E: Send + Sync + 'static,
    {
        let Parts { store, hasher, .. } = self.parts;
        let hash = KeyHash::new(hasher.hash_one(&key));
        let terms = self.terms();
        let look = store.look(hash, &key, |flight: &FlightHandle<V>| flight.join(&terms));
        let mut missing = Missing { key, hash, version: None, served: None, count };
        match look {
            Look::Hit(value) => {
                self.count(&mut missing, Read::Hit);
                self.found.insert(missing.key, value);
            }
            Look::Old(value, version) => {
                self.count(&mut missing, Read::Hit);
                (missing.version, missing.served) = (Some(version), Some((value, Read::Hit)));
                self.aged.push(missing);
            }
            Look::Stale(value, Some(version)) => {
                (missing.version, missing.served) = (Some(version), Some((value, Read::StaleHit)));
                self.count_miss(&mut missing);
                self.aged.push(missing);
            }
            Look::Stale(value, None) => {
                self.count(&mut missing, Read::StaleHit);
                self.found.insert(missing.key, value);
            }
            Look::Flight(waiter, version) => {
                missing.version = version;
                self.join(missing, waiter);
            }
            Look::Failed(failure, version) => {
                missing.version = version;
                let error = told(&failure);
                if error.is_some() {
                    self.owed.reads.add(Read::RememberedFailure);
                }
                if self.stand_in(&mut missing) {
                    return None;
                }
                match error {
                    Some(error) => {
                        self.count(&mut missing, Read::Miss);
                        return Some((missing.key, error));
                    }
                    None => self.missing.push(missing),
                }
            }
            Look::Absent(version) => {
                missing.version = version;
                self.missing.push(missing);
            }
        }
        None
    }

    /// Begins to compute what is missing, and what is to be renewed.
    fn compute<F, Fut, I>(
        &mut self,
        make: &mut Option<F>,
        into_answers: fn(Fut::Output) -> Answers<I>,
    ) -> Option<Waits<K, V>>
    where
        F: FnOnce(Vec<K>) -> Fut,
        Fut: Future<Output: 'static> + Send + 'static,
        I: IntoIterator<Item = (K, V)> + 'static,
    {
        let mut keys = mem::take(&mut self.missing);
        let background = self.parts.host.open_background().filter(|_| keys.is_empty());
        let mut aged = mem::take(&mut self.aged);
        if background.is_some() || make.is_none() {
            for missing in &mut aged {
                self.serve(missing);
            }
        }
        keys.extend(aged);
        let own = self.lead(keys, make, into_answers)?;
        let Some(background) = background else { return Some(own) };
        own.waiter?.go_on(background);
        None
    }

    /// Hands stale values out in place of what is slow to come, and waits on for keys that have none. If there are
    /// no such keys, the compute goes on in the background.
    fn wait_on(&mut self, waiter: Waiter<V>, waiting: Vec<Waiting<K, V>>) -> Option<Waits<K, V>> {
        let Some(background) = self.parts.host.open_background() else {
            return Some(Waits::new(waiter, waiting));
        };
        let mut lacking = waiting;
        lacking.retain_mut(|(missing, _)| !self.stand_in(missing));
        if lacking.is_empty() {
            waiter.go_on(background);
            return None;
        }
        Some(Waits::new(waiter, lacking))
    }

    /// Begins flights for these keys, unless others have by now.
    fn lead<F, Fut, I>(
        &mut self,
        keys: Vec<Missing<K, V>>,
        make: &mut Option<F>,
        into_answers: fn(Fut::Output) -> Answers<I>,
    ) -> Option<Waits<K, V>>
    where
        F: FnOnce(Vec<K>) -> Fut,
        Fut: Future<Output: 'static> + Send + 'static,
        I: IntoIterator<Item = (K, V)> + 'static,
    {
        if keys.is_empty() || make.is_none() {
            return None;
        }
        let Parts { store, ground, .. } = self.parts;
        let terms = self.terms();
        let mut leader = Leader::of_many(ground, &terms);
        let ground = Arc::downgrade(ground);
        let watch = store.watch_removals();
        let (mut own, mut removed) = (Vec::with_capacity(keys.len()), store.leftovers());
        for mut missing in keys {
            let wanted = match missing {
                Missing { served: Some(_), version: Some(version), .. } => Wanted::Newer(version),
                _ => Wanted::Retried,
            };
            let (hash, is_counted) = (missing.hash, own.is_empty());
            let request = Request { hash, wanted, is_counted, is_timed: true };
            let join = |flight: &FlightHandle<V>| flight.join(&terms);
            let lead = |ticket, _| leader.add(ticket);
            match store.begin(request, missing.key.clone(), join, lead, &mut removed) {
                Begun::Leads => {
                    self.count_miss(&mut missing);
                    own.push((missing, u32::try_from(own.len()).ok()));
                }
                Begun::Found(value) => {
                    self.count(&mut missing, Read::Hit);
                    self.found.insert(missing.key, value);
                }
                Begun::Joined(waiter, _) => self.join(missing, waiter),
                Begun::NotNeeded | Begun::Failed(..) => self.serve(&mut missing),
            }
        }
        if own.is_empty() {
            return None;
        }
        let make = make.take()?;
        let order: Vec<K> = own.iter().map(|(missing, _)| missing.key.clone()).collect();
        let compute = || {
            make(order.clone())
                .map(into_answers)
                .map(move |answers| into_outcome(answers, &order, &ground, &watch))
        };
        let waiter = leader.share(compute, &terms);
        drop(removed);
        Some(Waits::new(waiter, own))
    }

    /// What a compute came to for one key.
    fn settle<E: 'static + Send + Sync>(
        &mut self,
        mut missing: Missing<K, V>,
        part: Option<u32>,
        awaited: &Awaited<V>,
    ) -> Settled<K, E> {
        let value = match (awaited, part) {
            (Awaited::Outcome(Outcome::Value(value)), _) => Some(value),
            (Awaited::Outcome(Outcome::Values(values)), Some(part)) => {
                values.get(part as usize).and_then(Option::as_ref)
            }
            (Awaited::Outcome(Outcome::Values(_)), None) => None,
            // Nothing has failed: whoever asks so has to know.
            (Awaited::Recursive, _) => {
                return Settled::Failed(missing.key, ComputeError::Recursive);
            }
            _ if self.stand_in(&mut missing) => return Settled::Done,
            (failed, _) => match failed.failure() {
                Some(error) => return Settled::Failed(missing.key, error),
                None => None,
            },
        };
        let served = missing.served.filter(|(_, read)| *read == Read::Hit);
        match value.cloned().or(served.map(|(value, _)| value)) {
            Some(value) => drop(self.found.insert(missing.key, value)),
            None => return Settled::Again((missing.key, missing.count)),
        }
        Settled::Done
    }

    /// Hands the value out that was there when the call began, if it may stand in now.
    fn stand_in(&mut self, missing: &mut Missing<K, V>) -> bool {
        if let Some((value, Read::Hit)) = &missing.served {
            self.found.insert(missing.key.clone(), value.clone());
            return true;
        }
        let Some(version) = missing.version else { return false };
        let is_served = missing.served.is_some();
        let Some(value) = self.parts.store.stand_in(missing.hash, version, is_served) else {
            return false;
        };
        self.count(missing, Read::StaleHit);
        self.found.insert(missing.key.clone(), value);
        true
    }

    /// Hands a value out that may be handed out at once.
    fn serve(&mut self, missing: &mut Missing<K, V>) {
        let Some((value, read)) = missing.served.clone() else { return };
        self.count(missing, read);
        self.found.insert(missing.key.clone(), value);
    }

    fn join(&mut self, mut missing: Missing<K, V>, mut waiter: Waiter<V>) {
        if missing.count == Count::NotYet {
            self.owed.reads.add(Read::Coalesced);
        }
        self.count_miss(&mut missing);
        let part = waiter.widen();
        match self.flights.entry(waiter.flight()) {
            Slot::Occupied(place) => self.joined[*place.get()].keys.push((missing, part)),
            Slot::Vacant(place) => {
                place.insert(self.joined.len());
                self.joined.push(Waits::new(waiter, vec![(missing, part)]));
            }
        }
    }

    fn terms(&self) -> Terms<'a> {
        self.parts.host.terms(&Options::<V>::DEFAULT, self.parts.store.clock())
    }

    fn count(&mut self, missing: &mut Missing<K, V>, read: Read) {
        let read = match mem::replace(&mut missing.count, Count::Done) {
            Count::NotYet => read,
            Count::Owed => read.late(),
            Count::Done => return,
        };
        self.owed.misses -= 1;
        match read {
            Read::StaleHit => self.owed.stale_hits += 1,
            _ => self.owed.reads.add(read),
        }
    }

    fn count_miss(&mut self, missing: &mut Missing<K, V>) {
        if missing.version.is_none() {
            self.count(missing, Read::Miss);
        } else if missing.count == Count::NotYet {
            missing.count = Count::Owed;
        }
    }
}

/// Puts the values in order. Those of other keys are stored here.
fn into_outcome<K, V, I, G>(
    answers: Answers<I>,
    order: &[K],
    ground: &Weak<G>,
    watch: &Watch,
) -> Outcome<V>
where
    K: Eq,
    I: IntoIterator<Item = (K, V)>,
    G: Extras<K, V>,
{
    let answers = match answers {
        Ok(answers) => answers,
        Err(failure) => return Outcome::failed(failure),
    };
    // With the last handle, those who waited have gone too.
    let Some(ground) = ground.upgrade() else { return Outcome::nothing() };
    let mut places = HashTable::with_capacity(order.len());
    let hash_at = |place: &usize| ground.hash_key(&order[*place]);
    for place in 0..order.len() {
        places.insert_unique(hash_at(&place), place, hash_at);
    }
    let mut values: Vec<Option<V>> = order.iter().map(|_| None).collect();
    for (key, value) in answers {
        match places.find(ground.hash_key(&key), |place| order[*place] == key) {
            Some(&place) => values[place] = Some(value),
            None => ground.store_extra(key, value, watch),
        }
    }
    Outcome::Values(Arc::new(values))
}

impl<V> Awaited<V> {
    /// The failure, if it is one that can be told to a caller with this error type.
    fn failure<E: Send + Sync + 'static>(&self) -> Option<ComputeError<E>> {
        match self {
            Self::Outcome(Outcome::Fault(fault)) => match &**fault {
                Fault::Failed(failure) => told(failure),
                Fault::Panicked(message) => Some(ComputeError::Panicked(Arc::clone(message))),
            },
            Self::TimedOut | Self::GivenUp(_) => Some(ComputeError::TimedOut),
            _ => None,
        }
    }
}

fn told<E: Send + Sync + 'static>(failure: &Failure) -> Option<ComputeError<E>> {
    Failure::clone(failure).downcast().ok().map(ComputeError::Failed)
}

/// Each key once, in the order in which they came.
fn distinct<K: Hash + Eq>(
    keys: impl IntoIterator<Item = K>,
    hasher: &impl BuildHasher,
) -> Vec<Again<K>> {
    let keys = keys.into_iter();
    let mut distinct: Vec<Again<K>> = Vec::with_capacity(keys.size_hint().0);
    let mut places = HashTable::with_capacity(keys.size_hint().0);
    for key in keys {
        let hash = hasher.hash_one(&key);
        let is_same = |&place: &usize| distinct[place].0 == key;
        let rehash = |&place: &usize| hasher.hash_one(&distinct[place].0);
        if let Place::Vacant(vacancy) = places.entry(hash, is_same, rehash) {
            vacancy.insert(distinct.len());
            distinct.push((key, Count::NotYet));
        }
    }
    distinct
}
