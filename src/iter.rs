//! Iter: walks through the fresh entries, holding no lock between items.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::iter::{Zip, zip};
use std::vec;

use crate::cache::Cache;
use crate::hash::DefaultHashBuilder;
use crate::store::{Copied, Copies, Position};

/// An iterator over the fresh entries of a cache; made by [`Cache::iter`].
///
/// Weakly consistent: no lock is held between items.
pub struct Iter<K, V, S = DefaultHashBuilder> {
    cache: Cache<K, V, S>,
    /// Copies that were made under the lock, with their deadlines.
    batch: Zip<vec::IntoIter<K>, vec::IntoIter<Copied<V>>>,
    /// Where the next batch begins; `None` at the end.
    position: Option<Position>,
}

impl<K, V, S> Iter<K, V, S> {
    pub(crate) fn new(cache: Cache<K, V, S>) -> Self {
        Self { cache, batch: zip(Vec::new(), Vec::new()), position: Some(Position::default()) }
    }
}

impl<K, V, S> Iterator for Iter<K, V, S>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        let engine = &self.cache.engine;
        let store = &engine.store;
        loop {
            // A copy may expire while it waits for its turn, unless its deadline was put off.
            let has_passed = |deadline| store.clock().has_passed(deadline);
            let fresh = |(key, copy): &(K, Copied<V>)| {
                !has_passed(copy.deadline)
                    || !has_passed(store.deadline(engine.hash(key), key, copy.version))
            };
            if let Some((key, copy)) = self.batch.find(fresh) {
                return Some((key, copy.value));
            }
            let mut copies = Copies::default();
            self.position = store.copy(self.position?, &mut copies);
            self.batch = zip(copies.keys, copies.values);
        }
    }
}

/// Iterates over the fresh entries, as [`Cache::iter`] does.
impl<K, V, S> IntoIterator for &Cache<K, V, S>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    type Item = (K, V);
    type IntoIter = Iter<K, V, S>;

    fn into_iter(self) -> Iter<K, V, S> {
        self.iter()
    }
}

impl<K, V, S> fmt::Debug for Iter<K, V, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Iter").field("cache", &self.cache).finish_non_exhaustive()
    }
}
