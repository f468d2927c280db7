//! Copies: entries as an iteration takes them from a shard, a few at a time.

use crate::clock::Tick;

use super::arrivals::Token;
use super::entry::Version;
use super::shard::Shard;
use super::{BATCH, Store};

/// Copies of entries: keys, and in the same order what belongs to them.
pub(crate) struct Copies<K, V> {
    pub(crate) keys: Vec<K>,
    pub(crate) values: Vec<Copied<V>>,
}

/// A copy of a value, and what was known of it then.
pub(crate) struct Copied<V> {
    pub(crate) value: V,
    pub(crate) deadline: Tick,
    pub(crate) version: Version,
    /// Whether a compute was running for its key.
    pub(crate) is_computed: bool,
}

impl<K, V> Default for Copies<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

/// How far an iteration has come.
#[derive(Clone, Copy, Default)]
pub(crate) struct Position {
    pub(super) shard: usize,
    pub(super) index: usize,
}

impl Position {
    /// Goes on in the same shard, or else at the begin of the next one.
    pub(super) fn next(self, index: Option<usize>) -> Self {
        match index {
            Some(index) => Self { index, ..self },
            None => Self { shard: self.shard + 1, index: 0 },
        }
    }
}

impl<K: Clone + Eq, V: Clone, F> Store<K, V, F> {
    /// Copies a batch of entries. Returns where the next one begins.
    pub(crate) fn copy(&self, position: Position, copies: &mut Copies<K, V>) -> Option<Position> {
        let slot = self.shards.get(position.shard)?;
        let next = slot.0.read().copy(position.index, BATCH, copies);
        Some(position.next(next))
    }
}

/// Iteration, a few entries at a time.
impl<K: Clone + Eq, V: Clone, F> Shard<K, V, F> {
    /// Copies the entries at up to `budget` indices from `from` on. Returns where to go on.
    pub(super) fn copy(
        &self,
        from: usize,
        budget: usize,
        copies: &mut Copies<K, V>,
    ) -> Option<usize> {
        for token in self.batch(from, budget) {
            let entry = self.entry(token);
            // One after the other: if the second panics, the first is dropped under no lock.
            copies.keys.push(entry.key.clone());
            copies.values.push(Copied {
                value: entry.value.clone(),
                deadline: entry.deadline(),
                version: entry.version(),
                is_computed: self.flights.has_running(self.roster.digest(token), &entry.key),
            });
        }
        self.batch_end(from, budget)
    }
}

impl<K, V, F> Shard<K, V, F> {
    /// Copies the keys at up to `budget` indices from `from` on. Returns where to go on.
    pub(super) fn copy_keys(&self, from: usize, budget: usize, keys: &mut Vec<K>) -> Option<usize>
    where
        K: Clone,
    {
        keys.extend(self.batch(from, budget).map(|token| self.entry(token).key.clone()));
        self.batch_end(from, budget)
    }

    fn batch(&self, from: usize, budget: usize) -> impl Iterator<Item = Token> {
        let end = self.roster.index_bound().min(from.saturating_add(budget));
        (from..end).filter_map(|index| self.roster.at(index))
    }

    fn batch_end(&self, from: usize, budget: usize) -> Option<usize> {
        let end = from.saturating_add(budget);
        (end < self.roster.index_bound()).then_some(end)
    }
}
