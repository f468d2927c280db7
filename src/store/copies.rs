//! Copies: entries as an iteration takes them from a shard, a few at a time.

use crate::clock::Tick;

use super::entry::Version;
use super::shard::Shard;

/// Copies of entries: keys, and in the same order values with their deadlines and versions.
pub(crate) struct Copies<K, V> {
    pub(crate) keys: Vec<K>,
    pub(crate) values: Vec<(V, Tick, Version)>,
}

impl<K, V> Default for Copies<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

/// Iteration, a few entries at a time.
impl<K: Clone, V: Clone, F> Shard<K, V, F> {
    /// Copies the entries at up to `budget` indices from `from` on. Returns where to go on.
    pub(super) fn copy(
        &self,
        from: usize,
        budget: usize,
        copies: &mut Copies<K, V>,
    ) -> Option<usize> {
        let bound = self.roster.index_bound();
        let end = bound.min(from.saturating_add(budget));
        for token in (from..end).filter_map(|index| self.roster.at(index)) {
            let entry = self.entry(token);
            // One after the other: if the second panics, the first is dropped under no lock.
            copies.keys.push(entry.key.clone());
            copies.values.push((entry.value.clone(), entry.deadline(), entry.version()));
        }
        (end < bound).then_some(end)
    }
}
