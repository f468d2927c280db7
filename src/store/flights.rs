//! Flights: the computes that are running for keys of one shard.

use std::mem;

use hashbrown::{Equivalent, HashTable};

use crate::panic::Postponed;

use super::digest::KeyHash;
use super::leftovers::Leftovers;

/// Room for more flights than this is given back when the last one ends.
const KEPT: usize = 256;

/// A compute that is running for a key. The handle is the caller's affair.
struct Flight<K, F> {
    hash: KeyHash,
    generation: u64,
    key: K,
    handle: F,
}

pub(super) struct Flights<K, F> {
    table: HashTable<Flight<K, F>>,
    last_generation: u64,
}

impl<K, F> Flights<K, F> {
    pub(super) const fn new() -> Self {
        Self { table: HashTable::new(), last_generation: 0 }
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub(super) fn find<Q: Equivalent<K> + ?Sized>(&self, hash: KeyHash, key: &Q) -> Option<&F> {
        if self.table.is_empty() {
            return None;
        }
        let spread = hash.digest().spread();
        let flight = self.table.find(spread, |flight| key.equivalent(&flight.key))?;
        Some(&flight.handle)
    }

    /// Registers a flight. There must be none for this key.
    #[inline]
    pub(super) fn begin(&mut self, hash: KeyHash, key: K, begin: impl FnOnce(u64) -> F) {
        self.last_generation += 1;
        let generation = self.last_generation;
        self.add(Flight { hash, generation, key, handle: begin(generation) });
    }

    /// Takes a flight out, if a write has not done so before. If it has not, nothing fresh stands
    /// under the key: what is stored there fences the flight off, and what had expired was removed
    /// when it began.
    #[inline]
    pub(super) fn end(&mut self, hash: KeyHash, generation: u64) -> Option<(K, F)> {
        let spread = hash.digest().spread();
        let found = self.table.find_entry(spread, |flight| flight.generation == generation);
        let (flight, _) = found.ok()?.remove();
        if self.table.is_empty() && self.table.capacity() > KEPT {
            self.table = HashTable::new();
        }
        Some((flight.key, flight.handle))
    }

    /// Puts a flight back that was ended under this very lock.
    #[cold]
    pub(super) fn resume(&mut self, hash: KeyHash, generation: u64, (key, handle): (K, F)) {
        self.add(Flight { hash, generation, key, handle });
    }

    /// Fences off the flight of a key: its outcome will not be stored.
    #[inline]
    pub(super) fn fence<Q: Equivalent<K> + ?Sized, V>(
        &mut self,
        hash: KeyHash,
        key: &Q,
        removed: &mut Leftovers<K, V>,
    ) {
        if self.table.is_empty() {
            return;
        }
        let spread = hash.digest().spread();
        if let Ok(found) = self.table.find_entry(spread, |flight| key.equivalent(&flight.key)) {
            removed.key(found.remove().0.key);
        }
    }

    /// Takes all of them; later ones get generations of their own.
    pub(super) fn take(&mut self) -> Self {
        Self { table: mem::take(&mut self.table), last_generation: self.last_generation }
    }

    /// Drops every key, also when some of them panic.
    pub(super) fn drop_contents(&mut self, postponed: &mut Postponed) {
        let flights = mem::take(&mut self.table).into_iter();
        flights.for_each(|flight| postponed.run(|| drop(flight)));
    }

    #[inline]
    fn add(&mut self, flight: Flight<K, F>) {
        let spread = flight.hash.digest().spread();
        self.table.insert_unique(spread, flight, |flight| flight.hash.digest().spread());
    }
}
