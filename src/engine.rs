//! What all handles of one cache share.

use std::hash::{BuildHasher, Hash};

use hashbrown::Equivalent;

use crate::clock::{Clock, Tick};
use crate::compute::call::Parts;
use crate::compute::flight::Ground;
use crate::compute::host::Host;
use crate::compute::many::Extras;
use crate::compute::outcome::Outcome;
use crate::compute::waiter::FlightHandle;
use crate::expiry::Ttl;
use crate::key::{Owned, Source};
use crate::options::Options;
use crate::panic::contain;
use crate::rules::{Lease, Rules};
use crate::store::{Ending, Item, KeyHash, Leftovers, Store, Sweep, Ticket, Watch};
use crate::sweeper::{Sweepable, Sweeper};
use crate::sync::Arc;

pub(crate) struct Engine<K, V, S> {
    pub(crate) store: Store<K, V, FlightHandle<V>>,
    pub(crate) hasher: S,
    pub(crate) rules: Rules<K, V>,
    pub(crate) sweeper: Sweeper,
    pub(crate) host: Host,
}

impl<K, V, S> Engine<K, V, S> {
    /// What compute calls need.
    #[inline]
    pub(crate) fn parts(self: &Arc<Self>) -> Parts<'_, K, V, S, Self> {
        Parts { store: &self.store, hasher: &self.hasher, ground: self, host: &self.host }
    }

    /// Called after each write, with the moment from which on the sweeper is needed.
    #[inline]
    pub(crate) fn written(&self, alarm: Tick) {
        if let Some(background) = &self.host.background {
            self.sweeper.notice(alarm, background);
        }
    }

    /// Ends the background work, without waiting.
    pub(crate) fn stop(&self) {
        if let Some(background) = &self.host.background {
            self.sweeper.stop();
            background.stop();
        }
    }

    /// Ends the background work, and waits for its end. Not inside a listener: the background work may wait
    /// for that to return.
    pub(crate) async fn close(&self) {
        if Store::<K, V, FlightHandle<V>>::is_telling() {
            return self.stop();
        }
        if let Some(background) = &self.host.background {
            self.sweeper.stop();
            background.close().await;
        }
    }
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Engine<K, V, S> {
    #[inline]
    pub(crate) fn hash<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> KeyHash {
        KeyHash::new(self.hasher.hash_one(key))
    }

    /// Stores a value; returns the fresh one that it replaced.
    #[inline]
    pub(crate) fn insert<P>(&self, key: P, value: V, lease: Lease) -> Option<V>
    where
        P: Source<K, Lookup: Hash>,
    {
        let hash = self.hash(key.lookup());
        if self.store.has_listener() {
            return self.insert_told(hash, key.into_key(), value, lease);
        }
        let mut removed = Leftovers::new();
        let mut value = value;
        if !P::IS_OWNED {
            match self.store.overwrite(hash, key.lookup(), value, lease, &mut removed) {
                Ok((old, alarm)) => {
                    self.written(alarm);
                    removed.clear();
                    return old;
                }
                Err(unused) => value = unused,
            }
        }
        let (old, alarm) = self.store.insert(hash, key.into_key(), value, lease, &mut removed);
        self.written(alarm);
        removed.clear();
        old
    }

    #[cold]
    #[inline(never)]
    fn insert_told(&self, hash: KeyHash, key: K, value: V, lease: Lease) -> Option<V> {
        let mut removed = self.store.leftovers();
        let (old, alarm) = self.store.insert_told(hash, key, value, lease, &mut removed);
        self.written(alarm);
        removed.clear();
        old
    }

    /// Stores a value as the options say; returns the fresh one that it replaced.
    pub(crate) fn insert_with<P>(&self, key: P, value: V, mut options: Options<V>) -> Option<V>
    where
        P: Source<K, Lookup: Hash>,
    {
        if !options.keeps(&value) {
            return None;
        }
        let own = options.ttl(&value);
        let keeps_ttl = options.keeps_ttl();
        options.clear();
        if !self.rules.need_key(own) {
            let lease = self.rules.lease_of_any(own);
            return self.insert(key, value, Lease { keeps_ttl, ..lease });
        }
        let key = key.into_key();
        let lease = self.rules.lease(&key, &value, own);
        self.insert(Owned(key), value, Lease { keeps_ttl, ..lease })
    }

    /// Stores a value unless there is a fresh one; returns what is there then.
    pub(crate) fn insert_if_absent(&self, key: K, value: V, mut options: Options<V>) -> V {
        if !options.keeps(&value) {
            options.clear();
            return value;
        }
        let lease = self.rules.lease(&key, &value, options.ttl(&value));
        options.clear();
        let mut removed = self.store.leftovers();
        let mut item = Item::new(self.hash(&key), key, value.clone());
        let there = match self.store.insert_if_absent(&mut item, lease, &mut removed) {
            Ok(alarm) => {
                self.written(alarm);
                value
            }
            Err(present) => present,
        };
        removed.clear();
        there
    }
}

impl<K, V, S> Engine<K, V, S>
where
    K: Eq + Send + Sync,
    V: Clone + Send + Sync,
    S: Send + Sync,
{
    /// A copy to be stored, and with what; `None` if it is not to be stored. Runs the user's code: not
    /// for use under a lock.
    #[inline]
    fn landing(&self, ticket: Ticket, value: &V, options: &mut Options<V>) -> Option<(V, Lease)> {
        let is_kept = options.keeps(value);
        let own = if is_kept { options.ttl(value) } else { None };
        let keeps_ttl = options.keeps_ttl();
        // Before the value is copied: a destructor that panics finds no other's to panic beside it.
        options.clear();
        is_kept.then(|| {
            let lease = self.lease(ticket, value, own);
            (value.clone(), Lease { keeps_ttl, ..lease })
        })
    }

    #[inline]
    fn land_value(&self, ticket: Ticket, landing: Option<(V, Lease)>) {
        let Some((value, lease)) = landing else { return self.end(ticket, Ending::Unkept) };
        let mut removed = self.store.leftovers();
        let alarm = self.store.land(ticket, value, lease, &mut removed);
        if !removed.is_empty() {
            // The value is stored: a destructor's panic is not the compute's.
            let _ = contain(|| drop(removed));
        }
        if let Some(alarm) = alarm {
            self.written(alarm);
        }
    }

    /// With what the value of a flight is stored.
    #[inline]
    fn lease(&self, ticket: Ticket, value: &V, own: Option<Ttl>) -> Lease {
        if !self.rules.need_key(own) {
            return self.rules.lease_of_any(own);
        }
        // Without a key, a write came first: then the value is not stored.
        let key = self.store.flight_key(ticket);
        key.map_or_else(|| self.rules.lease_of_any(own), |key| self.rules.lease(&key, value, own))
    }
}

impl<K, V, S> Ground<V> for Engine<K, V, S>
where
    K: Eq + Send + Sync,
    V: Clone + Send + Sync,
    S: Send + Sync,
{
    fn land(&self, tickets: &[Ticket], outcome: &Outcome<V>, options: &mut Options<V>) {
        match (outcome, tickets) {
            (Outcome::Value(value), &[ticket]) => {
                self.land_value(ticket, self.landing(ticket, value, options));
            }
            (Outcome::Values(values), tickets) => {
                // All of them before the first is stored: a copy that panics leaves nothing behind.
                let landings = tickets.iter().zip(values.iter()).map(|(&ticket, value)| {
                    value.as_ref().and_then(|value| self.landing(ticket, value, options))
                });
                let landings: Vec<_> = landings.collect();
                for (&ticket, landing) in tickets.iter().zip(landings) {
                    self.land_value(ticket, landing);
                }
            }
            _ => unreachable!("a flight for one key brings one value"),
        }
    }

    fn end(&self, ticket: Ticket, ending: Ending) {
        let mut removed = self.store.leftovers();
        let alarm = self.store.ground(ticket, ending, &mut removed);
        // The key's destructor may panic; the flight is over all the same.
        let _ = contain(|| drop(removed));
        if let Some(alarm) = alarm {
            self.written(alarm);
        }
    }
}

impl<K, V, S> Extras<K, V> for Engine<K, V, S>
where
    K: Hash + Eq + Send + Sync,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync,
{
    fn hash_key(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    fn store_extra(&self, key: K, value: V, watch: &Watch) {
        let lease = self.rules.lease(&key, &value, None);
        let mut removed = self.store.leftovers();
        let mut item = Item::new(self.hash(&key), key, value);
        if let Some(alarm) = self.store.insert_extra(&mut item, lease, watch, &mut removed) {
            self.written(alarm);
        }
    }
}

impl<K, V, S> Sweepable for Engine<K, V, S>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    fn sweep(&self, sweep: &mut Sweep) -> bool {
        let mut removed = self.store.leftovers();
        let goes_on = self.store.sweep(sweep, &mut removed);
        // A destructor that panics must not end the background work.
        let _ = contain(|| drop(removed));
        goes_on
    }

    fn next_alarm(&self) -> Option<Tick> {
        self.store.next_alarm()
    }

    fn clock(&self) -> &Clock {
        self.store.clock()
    }
}
