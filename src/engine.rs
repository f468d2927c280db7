//! What all handles of one cache share.

use std::hash::{BuildHasher, Hash};

use hashbrown::Equivalent;

use crate::clock::{Clock, Tick};
use crate::compute::flight::{FlightHandle, Ground};
use crate::expiry::{Expiry, Lifetime};
use crate::key::Source;
use crate::panic::contain;
use crate::store::{KeyHash, Leftovers, Store, Sweep, Ticket};
use crate::sweeper::{Sweepable, Sweeper};

pub(crate) struct Engine<K, V, S> {
    pub(crate) store: Store<K, V, FlightHandle<V>>,
    pub(crate) hasher: S,
    pub(crate) expiry: Expiry,
    pub(crate) sweeper: Option<Sweeper>,
}

impl<K, V, S> Engine<K, V, S> {
    /// Called after each write, with the deadline it set.
    #[inline]
    pub(crate) fn written(&self, deadline: Tick) {
        if let Some(sweeper) = &self.sweeper {
            sweeper.notice(deadline);
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
    pub(crate) fn insert<P>(&self, key: P, value: V, lifetime: Lifetime<V>) -> Option<V>
    where
        P: Source<K, Lookup: Hash>,
    {
        let ttl = self.expiry.ttl(lifetime, &value);
        let hash = self.hash(key.lookup());
        let mut removed = Leftovers::new();
        let mut value = value;
        if !P::IS_OWNED {
            match self.store.overwrite(hash, key.lookup(), value, ttl, &mut removed) {
                Ok((old, deadline)) => {
                    self.written(deadline);
                    drop(removed);
                    return Some(old);
                }
                Err(unused) => value = unused,
            }
        }
        let (old, deadline) = self.store.insert(hash, key.into_key(), value, ttl, &mut removed);
        self.written(deadline);
        drop(removed);
        old
    }

    /// Stores a value unless there is a fresh one; returns what is there then.
    pub(crate) fn insert_if_absent(&self, key: K, value: V, lifetime: Lifetime<V>) -> V {
        let ttl = self.expiry.ttl(lifetime, &value);
        let hash = self.hash(&key);
        let mut removed = Leftovers::new();
        let copy = value.clone();
        match self.store.insert_if_absent(hash, key, copy, ttl, &mut removed) {
            Ok(deadline) => {
                self.written(deadline);
                drop(removed);
                value
            }
            Err(present) => present,
        }
    }
}

impl<K, V, S> Ground<V> for Engine<K, V, S>
where
    K: Eq + Send + Sync,
    V: Clone + Send + Sync,
    S: Send + Sync,
{
    fn land(&self, ticket: Ticket, value: &V, lifetime: Lifetime<V>) {
        let ttl = self.expiry.ttl(lifetime, value);
        let mut removed = Leftovers::new();
        let deadline = self.store.land(ticket, value.clone(), ttl, &mut removed);
        // The value is stored: a destructor's panic is not the compute's.
        let _ = contain(|| drop(removed));
        if let Some(deadline) = deadline {
            self.written(deadline);
        }
    }

    fn abandon(&self, ticket: Ticket, failed: bool) {
        // The key's destructor may panic; the flight is over all the same.
        let _ = contain(|| self.store.ground(ticket, failed));
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
