//! Pair: the cache beside the model, and the calls that wait for computes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleeting::runtime::Manual;
use fleeting::{Cache, ComputeError, RemovalCause};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;

use super::ledger::Ledger;
use super::naive::{Counts, FlightId, LAST_MOMENT, Naive, Nanos, Value};
use super::operation::{Draft, Ending, KEYS, Key, Operation, Settings, Weights};
use crate::support::{check, poll_once};

/// How a compute ends. A sender that is dropped makes it panic.
type End = Result<Value, &'static str>;
type Outcome = Result<Value, ComputeError<&'static str>>;

/// A call that waits for a compute.
struct Call {
    flight: FlightId,
    future: BoxFuture<'static, Outcome>,
}

struct Flight {
    key: Key,
    begun: Nanos,
    ttl: Option<Duration>,
    /// Taken when the compute ends.
    end: Option<oneshot::Sender<End>>,
}

pub(super) struct Pair {
    settings: Settings,
    cache: Cache<Key, Value>,
    time: Manual,
    model: Naive,
    ledger: Ledger,
    flights: Vec<Flight>,
    calls: Vec<Call>,
    values: u64,
}

impl Pair {
    pub(super) fn new(settings: &Settings) -> Self {
        let (time, ledger) = (Manual::new(), Ledger::default());
        let cache = build(settings, &time, &ledger);
        if !settings.sweeps {
            time.block_on(cache.close());
        }
        Self {
            settings: settings.clone(),
            cache,
            time,
            model: Naive::new(settings),
            ledger,
            flights: Vec::new(),
            calls: Vec::new(),
            values: 0,
        }
    }

    /// A value that no other call stores.
    fn value(&mut self, draft: Draft) -> Value {
        self.values += 1;
        Value { number: self.values, weight: draft.weight, life: draft.life }
    }

    pub(super) fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Get(key) => self.get(key),
            Operation::GetMany(keys) => {
                let found = self.cache.get_many(&keys);
                let expected: Vec<_> = keys.iter().map(|key| self.request(*key)).collect();
                assert_eq!(found, expected);
            }
            Operation::Peek(key) => assert_eq!(self.cache.peek(&key), self.model.get(key)),
            Operation::Contains(key) => {
                assert_eq!(self.cache.contains_key(&key), self.model.get(key).is_some());
            }
            Operation::Insert(key, draft) => self.insert(key, draft),
            Operation::InsertByRef(key, draft) => self.insert_by_ref(key, draft),
            Operation::OrInsert(key, draft) => self.or_insert(key, draft),
            Operation::Update(key, draft) => self.update(key, draft, false),
            Operation::UpdateByRef(key, draft) => self.update(key, draft, true),
            Operation::Remove(key) => {
                self.model.running.remove(&key);
                assert_eq!(self.cache.remove(&key), self.model.remove(key));
            }
            Operation::RemoveIf(key, holds) => {
                let removed = self.cache.remove_if(&key, |_| holds);
                let expected = if holds { self.model.remove(key) } else { None };
                assert_eq!(removed, expected);
            }
            Operation::Retain(remainder) => {
                let keep = |value: &Value| value.number % 3 != remainder;
                let removed = self.cache.retain(|_, value| keep(value));
                assert_eq!(removed, self.model.retain(keep));
            }
            Operation::RetainKeys(remainder) => {
                let keep = |key: Key| u32::from(key) % 3 != remainder;
                let removed = self.cache.retain_keys(|key| keep(*key));
                assert_eq!(removed, self.model.retain_keys(keep));
            }
            Operation::SetTtl(key, ttl) => {
                assert_eq!(self.cache.set_ttl(&key, ttl), self.model.set_ttl(key, ttl));
            }
            Operation::SetMaxSize(max_size) => self.set_max_size(max_size),
            Operation::Clear => {
                self.model.clear();
                self.cache.clear();
                assert_eq!(self.cache.len(), 0);
            }
            Operation::Cleanup => {
                let removed = self.cache.cleanup();
                assert_eq!(removed, self.model.unswept);
                assert_eq!(self.cache.len(), self.model.len());
            }
            Operation::Iterate => {
                let items: BTreeMap<Key, Value> = self.cache.iter().collect();
                assert_eq!(items, self.model.iter().collect());
                assert_eq!(self.cache.iter().count(), items.len());
            }
            Operation::ResetStatistics => {
                self.cache.reset_stats();
                self.model.counts = Counts::default();
            }
            Operation::Compute(key, ttl, ending) => self.compute(key, ttl, ending),
            Operation::Call(key, ttl) => self.call(key, ttl),
            Operation::End(call, ending) if !self.calls.is_empty() => {
                let flight = self.calls[call.index(self.calls.len())].flight;
                self.end(flight, ending);
            }
            Operation::Abandon(call) if !self.calls.is_empty() => {
                let call = self.calls.swap_remove(call.index(self.calls.len()));
                self.abandon(call);
            }
            Operation::End(..) | Operation::Abandon(_) => {}
            Operation::Advance(duration) => self.advance(duration.as_nanos()),
            Operation::AdvanceTo(which, off) => {
                let deadlines = self.model.deadlines();
                if !deadlines.is_empty() {
                    let deadline = deadlines[which.index(deadlines.len())];
                    self.advance((deadline - 1 + Nanos::from(off)).saturating_sub(self.model.now));
                }
            }
        }
    }

    fn advance(&mut self, nanos: Nanos) {
        if self.model.now + nanos <= LAST_MOMENT {
            let nanos = u64::try_from(nanos).expect("that is less than 584 years");
            let duration = Duration::from_nanos(nanos);
            self.time.advance(duration);
            self.model.advance(duration);
        }
    }

    /// What a request finds, which is a use and is counted.
    fn request(&mut self, key: Key) -> Option<Value> {
        let value = self.model.touch(key);
        match value {
            Some(_) => self.model.counts.hits += 1,
            None => self.model.counts.misses += 1,
        }
        value
    }

    fn get(&mut self, key: Key) {
        let value = self.request(key);
        assert_eq!(self.cache.get(&key), value);
    }

    fn insert(&mut self, key: Key, draft: Draft) {
        let value = self.value(draft);
        let old = match draft.ttl {
            Some(ttl) => self.cache.entry(key).ttl(ttl).insert(value),
            None => self.cache.insert(key, value),
        };
        assert_eq!(old, self.store(key, value, draft.ttl));
    }

    fn insert_by_ref(&mut self, key: Key, draft: Draft) {
        let value = self.value(draft);
        let entry = self.cache.entry_ref(&key);
        let old = match draft.ttl {
            Some(ttl) => entry.ttl_with(move |_| ttl).insert(value),
            None => entry.insert(value),
        };
        assert_eq!(old, self.store(key, value, draft.ttl));
    }

    fn or_insert(&mut self, key: Key, draft: Draft) {
        let value = self.value(draft);
        let entry = self.cache.entry(key);
        let entry = match draft.ttl {
            Some(ttl) => entry.ttl(ttl),
            None => entry,
        };
        let stored = entry.or_insert(value);
        if let Some(present) = self.model.touch(key) {
            assert_eq!(stored, present);
        } else {
            assert_eq!(stored, value);
            self.store(key, value, draft.ttl);
        }
    }

    fn update(&mut self, key: Key, draft: Option<Draft>, by_ref: bool) {
        let value = draft.map(|draft| self.value(draft));
        let mut seen = Vec::new();
        let update = |present| {
            seen.push(present);
            value
        };
        let ttl = draft.and_then(|draft| draft.ttl);
        let updated = match (by_ref, ttl) {
            (false, None) => self.cache.entry(key).update(update),
            (false, Some(ttl)) => self.cache.entry(key).ttl(ttl).update(update),
            (true, None) => self.cache.entry_ref(&key).update(update),
            (true, Some(ttl)) => self.cache.entry_ref(&key).ttl(ttl).update(update),
        };
        assert_eq!((seen, updated), (vec![self.model.get(key)], value));
        if let Some(value) = value {
            self.store(key, value, ttl);
        } else {
            self.model.running.remove(&key);
            self.model.remove(key);
        }
    }

    /// Tells the model of what the cache has just stored; returns what that replaced.
    fn store(&mut self, key: Key, value: Value, ttl: Option<Duration>) -> Option<Value> {
        let victims = self.victims(Some(key));
        self.ledger.store(key, value);
        self.model.running.remove(&key);
        self.model.store(key, value, ttl, &victims)
    }

    fn set_max_size(&mut self, max_size: usize) {
        self.cache.set_max_size(max_size).expect("it is at least 1");
        assert_eq!(self.cache.max_size(), Some(max_size));
        let victims = self.victims(None);
        if !victims.is_empty() {
            assert_eq!(self.cache.len(), max_size, "as many go as are too much");
        }
        self.model.set_max_size(max_size, &victims);
    }

    /// Who was fresh before the cache did something, and was evicted then: as the listener was told, or as
    /// the cache shows. The newcomer is not among them.
    fn victims(&self, newcomer: Option<Key>) -> Vec<Key> {
        if self.settings.listens {
            let is_victim = |(key, value): &(Key, Value)| self.model.get(*key) == Some(*value);
            return self
                .ledger
                .evicted()
                .into_iter()
                .filter(is_victim)
                .map(|(key, _)| key)
                .collect();
        }
        let is_gone = |(key, _): &(Key, Value)| !self.cache.contains_key(key);
        let others = self.model.iter().filter(|(key, _)| Some(*key) != newcomer);
        others.filter(is_gone).map(|(key, _)| key).collect()
    }

    /// Begins a compute call and polls it once. Its compute ends as the sender of a new flight says.
    fn begin(&mut self, key: Key, ttl: Option<Duration>) -> (Call, Option<Outcome>) {
        let (end, ended) = oneshot::channel::<End>();
        let cache = self.cache.clone();
        let compute = || async move { ended.await.expect("the compute panics") };
        let mut future: BoxFuture<'static, Outcome> = async move {
            match ttl {
                Some(ttl) => cache.entry_ref(&key).ttl(ttl).try_get_or_compute(compute).await,
                None => cache.try_get_or_compute(key, compute).await,
            }
        }
        .boxed();
        let present = self.request(key);
        let outcome = poll_once(&mut future);
        let Some(present) = present else {
            assert!(outcome.is_none(), "nothing was there, so there is something to wait for");
            let flight = self.join_or_lead(key, ttl, end);
            return (Call { flight, future }, None);
        };
        assert_eq!(outcome.as_ref().and_then(|outcome| outcome.clone().ok()), Some(present));
        (Call { flight: usize::MAX, future }, outcome)
    }

    fn join_or_lead(
        &mut self,
        key: Key,
        ttl: Option<Duration>,
        end: oneshot::Sender<End>,
    ) -> FlightId {
        if let Some(flight) = self.model.running.get(&key) {
            self.model.counts.coalesced += 1;
            return *flight;
        }
        self.model.counts.computes += 1;
        let flight = self.flights.len();
        self.flights.push(Flight { key, begun: self.model.now, ttl, end: Some(end) });
        self.model.running.insert(key, flight);
        flight
    }

    fn call(&mut self, key: Key, ttl: Option<Duration>) {
        let (call, outcome) = self.begin(key, ttl);
        if outcome.is_none() {
            self.calls.push(call);
        }
    }

    fn compute(&mut self, key: Key, ttl: Option<Duration>, ending: Ending) {
        let (call, outcome) = self.begin(key, ttl);
        if outcome.is_none() {
            let flight = call.flight;
            self.calls.push(call);
            self.end(flight, ending);
        }
    }

    /// Ends a compute, and with it all calls that wait for it.
    fn end(&mut self, id: FlightId, ending: Ending) {
        let value = match ending {
            Ending::Value(draft) => Ok(self.value(draft)),
            Ending::Error | Ending::Panic => Err("failed"),
        };
        let end = self.flights[id].end.take().expect("a compute ends once");
        match ending {
            Ending::Value(_) | Ending::Error => end.send(value).expect("the compute waits"),
            Ending::Panic => drop(end),
        }
        for index in (0..self.calls.len()).rev() {
            if self.calls[index].flight == id {
                let mut call = self.calls.swap_remove(index);
                let outcome = poll_once(&mut call.future).expect("the compute has ended");
                match (ending, outcome) {
                    (Ending::Value(_), Ok(outcome)) => assert_eq!(Ok(outcome), value),
                    (Ending::Error, Err(ComputeError::Failed(error))) => {
                        assert_eq!(*error, "failed");
                    }
                    (Ending::Panic, Err(ComputeError::Panicked(message))) => {
                        assert!(message.contains("the compute panics"));
                    }
                    (_, outcome) => panic!("{ending:?} became {outcome:?}"),
                }
            }
        }
        let is_current = self.leave(id);
        match value {
            Ok(value) if is_current => {
                let Flight { key, ttl, .. } = self.flights[id];
                self.store(key, value, ttl);
            }
            Ok(_) => {}
            Err(_) => self.model.counts.compute_failures += 1,
        }
    }

    fn abandon(&mut self, call: Call) {
        let flight = call.flight;
        drop(call);
        if self.calls.iter().all(|call| call.flight != flight) {
            self.leave(flight);
        }
    }

    /// A compute is over. Tells whether no write had come before.
    fn leave(&mut self, id: FlightId) -> bool {
        let Flight { key, begun, .. } = self.flights[id];
        self.model.counts.compute_time += self.model.now - begun;
        let is_current = self.model.running.get(&key) == Some(&id);
        if is_current {
            self.model.running.remove(&key);
        }
        is_current
    }

    /// Compares all that can be seen.
    pub(super) fn check(&mut self) {
        let (len, fresh) = (self.cache.len(), self.model.len());
        assert!(len <= self.model.max_size, "the bound holds");
        assert!(fresh <= len, "nothing fresh is missing");
        assert!(len - fresh <= self.model.unswept, "what was freed does not come back");
        assert_eq!(self.cache.is_empty(), len == 0);
        if std::mem::take(&mut self.model.is_short_of_room) && self.settings.is_one_shard() {
            assert_eq!(len, fresh, "what is over goes first");
        }
        if self.settings.listens {
            self.settle_told(len - fresh);
        } else {
            self.settle_untold(len - fresh);
        }
        self.check_weight();
        for key in 0..KEYS {
            assert_eq!(self.cache.peek(&key), self.model.get(key));
            assert_eq!(self.cache.remaining_ttl(&key), self.model.remaining_ttl(key));
        }
        assert_eq!(Counts::from(self.cache.stats()), self.model.counts);
        check(&self.cache, self.model.running.len());
    }
    /// What has left was told, each with its cause, and the victims in their order. Else only what is over
    /// may have been told.
    fn settle_told(&mut self, held: usize) {
        let mut departures = std::mem::take(&mut self.model.departures);
        if self.model.knows_victims() {
            let victims = departures.iter().filter(|(_, _, cause)| *cause == RemovalCause::Evicted);
            let victims: Vec<_> = victims.map(|(key, value, _)| (*key, *value)).collect();
            assert_eq!(self.ledger.evicted(), victims);
        }
        for notice in self.ledger.read() {
            if let Some(index) = departures.iter().position(|departure| *departure == notice) {
                departures.remove(index);
                continue;
            }
            let (key, value, cause) = notice;
            let index = self.model.over.iter().position(|over| *over == (key, value));
            assert_eq!(
                (cause, index.is_some()),
                (RemovalCause::Expired, true),
                "{value:?} was over"
            );
            self.model.over.remove(index.expect("it was over"));
            self.model.unswept -= 1;
            self.model.counts.expirations += 1;
        }
        assert_eq!(departures, [], "what has left is told");
        assert_eq!((self.model.over.len(), self.model.unswept), (held, held), "the rest is there");
        let keys: BTreeSet<Key> = self.model.over.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys.len(), held, "a key has one value");
        assert!(keys.iter().all(|key| self.model.get(*key).is_none()), "a key has one value");
    }

    /// How many expired entries were freed by now is the cache's affair, but each is counted.
    fn settle_untold(&mut self, held: usize) {
        self.model.counts.expirations += (self.model.unswept - held) as u64;
        self.model.unswept = held;
        self.model.departures.clear();
        let fresh: BTreeSet<Key> = self.model.iter().map(|(key, _)| key).collect();
        self.model.over.retain(|(key, _)| held > 0 && !fresh.contains(key));
    }

    /// What is over may weigh something, too.
    fn check_weight(&self) {
        let (weight, fresh) = (u128::from(self.cache.weight()), self.model.weight());
        if !self.settings.is_weighed() {
            assert_eq!(weight, self.cache.len() as u128);
            return;
        }
        assert!(weight <= u128::from(self.settings.max_weight()), "the bound holds");
        let over: u128 = self.model.over.iter().map(|(_, value)| u128::from(value.weight)).sum();
        let is_known = self.settings.listens || self.model.unswept == 0;
        let least = if is_known { fresh + over } else { fresh };
        assert!((least..=fresh + over).contains(&weight), "the weight is that of what is there");
    }

    /// Removes everything: then all that was stored is accounted for.
    pub(super) fn close(mut self) {
        self.apply(Operation::Clear);
        self.check();
        if self.settings.listens {
            self.ledger.close();
        }
    }
}

fn build(settings: &Settings, time: &Manual, ledger: &Ledger) -> Cache<Key, Value> {
    let mut builder = Cache::builder().runtime(time.clone()).policy(settings.policy);
    builder = builder.ttl(settings.ttl).tti(settings.tti);
    if let Some(max_size) = settings.max_size {
        builder = builder.max_size(max_size);
    }
    if settings.is_weighed() {
        builder = builder.weigher(|_, value: &Value| value.weight);
    }
    if let Weights::Bounded(max_weight) = settings.weights {
        builder = builder.max_weight(max_weight);
    }
    if settings.is_ruled {
        builder = builder.expiry(|_, value| value.life);
    }
    if settings.listens {
        builder = ledger.listen(builder);
    }
    builder.build().expect("valid settings")
}
