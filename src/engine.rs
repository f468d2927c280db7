//! What all handles of one cache share.

use std::hash::{BuildHasher, Hash};

use hashbrown::Equivalent;

use crate::clock::{Clock, Tick};
use crate::compute::Parts;
use crate::compute::flight::{FlightHandle, Ground, Outcome};
use crate::compute::host::Host;
use crate::compute::many::Extras;
use crate::expiry::{Expiry, Ttl};
use crate::key::Source;
use crate::options::Options;
use crate::panic::contain;
use crate::store::{Ending, Handle, KeyHash, Leftovers, Request, Store, Sweep, Ticket, Wanted};
use crate::sweeper::{Sweepable, Sweeper};
use crate::sync::Arc;

pub(crate) struct Engine<K, V, S> {
    pub(crate) store: Store<K, V, FlightHandle<V>>,
    pub(crate) hasher: S,
    pub(crate) expiry: Expiry,
    pub(crate) sweeper: Sweeper,
    pub(crate) host: Host,
}

impl<K, V, S> Engine<K, V, S> {
    /// What compute calls need.
    #[inline]
    pub(crate) fn parts(self: &Arc<Self>) -> Parts<'_, K, V, S, Self> {
        Parts { store: &self.store, hasher: &self.hasher, ground: self, host: &self.host }
    }

    /// How long a value lives by these options; `None` if it is not to be stored. Runs the caller's
    /// closures: not for use under a lock.
    #[inline]
    pub(crate) fn ttl(&self, mut options: Options<V>, value: &V) -> Option<Ttl> {
        options.keeps(value).then(|| self.expiry.ttl(options.lifetime(), value))
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

    /// Ends the background work, and waits for its end.
    pub(crate) async fn close(&self) {
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
    pub(crate) fn insert<P>(&self, key: P, value: V, ttl: Ttl) -> Option<V>
    where
        P: Source<K, Lookup: Hash>,
    {
        let hash = self.hash(key.lookup());
        let mut removed = Leftovers::new();
        let mut value = value;
        if !P::IS_OWNED {
            match self.store.overwrite(hash, key.lookup(), value, ttl, &mut removed) {
                Ok((old, alarm)) => {
                    self.written(alarm);
                    drop(removed);
                    return old;
                }
                Err(unused) => value = unused,
            }
        }
        let (old, alarm) = self.store.insert(hash, key.into_key(), value, ttl, &mut removed);
        self.written(alarm);
        drop(removed);
        old
    }

    /// Stores a value unless there is a fresh one; returns what is there then.
    pub(crate) fn insert_if_absent(&self, key: K, value: V, ttl: Ttl) -> V {
        let hash = self.hash(&key);
        let mut removed = Leftovers::new();
        let copy = value.clone();
        match self.store.insert_if_absent(hash, key, copy, ttl, &mut removed) {
            Ok(alarm) => {
                self.written(alarm);
                drop(removed);
                value
            }
            Err(present) => present,
        }
    }
}

impl<K, V, S> Engine<K, V, S>
where
    K: Eq + Send + Sync,
    V: Clone + Send + Sync,
    S: Send + Sync,
{
    /// A copy to be stored, and for how long; `None` if it is not to be stored. Runs the user's code: not
    /// for use under a lock.
    #[inline]
    fn landing(&self, value: &V, options: Options<V>) -> Option<(V, Ttl)> {
        let ttl = self.ttl(options, value)?;
        Some((value.clone(), ttl))
    }

    #[inline]
    fn land_value(&self, ticket: Ticket, landing: Option<(V, Ttl)>) {
        let Some((value, ttl)) = landing else { return self.end(ticket, Ending::Dropped) };
        let mut removed = Leftovers::new();
        let alarm = self.store.land(ticket, value, ttl, &mut removed);
        // The value is stored: a destructor's panic is not the compute's.
        let _ = contain(|| drop(removed));
        if let Some(alarm) = alarm {
            self.written(alarm);
        }
    }
}

impl<K, V, S> Ground<V> for Engine<K, V, S>
where
    K: Eq + Send + Sync,
    V: Clone + Send + Sync,
    S: Send + Sync,
{
    fn land(&self, tickets: &[Ticket], outcome: &Outcome<V>, options: Options<V>) {
        match (outcome, tickets) {
            (Outcome::Value(value), &[ticket]) => {
                self.land_value(ticket, self.landing(value, options));
            }
            (Outcome::Values(values), tickets) => {
                let landing = |value| self.landing(value, Options::DEFAULT);
                // All of them before the first is stored: a copy that panics leaves nothing behind.
                let landings = values.iter().map(|value| value.as_ref().and_then(landing));
                let landings: Vec<_> = landings.collect();
                for (&ticket, landing) in tickets.iter().zip(landings) {
                    self.land_value(ticket, landing);
                }
            }
            _ => unreachable!("a flight for one key brings one value"),
        }
    }

    fn end(&self, ticket: Ticket, ending: Ending) {
        let mut removed = Leftovers::new();
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
    fn store_extra(&self, key: K, value: V) {
        let hash = self.hash(&key);
        let Some(ttl) = self.ttl(Options::DEFAULT, &value) else { return };
        let request = Request { hash, wanted: Wanted::Retried, is_counted: false };
        let (mut ticket, mut removed) = (None, Leftovers::new());
        // What is there, or is being computed, may be newer.
        let is_running =
            |flight: &FlightHandle<V>| flight.is_open(self.store.clock()).then_some(());
        let lead = |new| {
            ticket = Some(new);
            FlightHandle::landing()
        };
        drop(self.store.begin(request, key, is_running, lead, &mut removed));
        if let Some(ticket) = ticket {
            self.land_value(ticket, Some((value, ttl)));
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
        let mut removed = Leftovers::new();
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
