//! Iter: walks through the fresh entries, holding no lock between items.

use std::hash::{BuildHasher, Hash};
use std::iter::{Zip, zip};
use std::vec;

use crate::cache::Cache;
use crate::clock::Tick;
use crate::store::{Copies, Position, Version};

pub(crate) struct Iter<K, V, S> {
    cache: Cache<K, V, S>,
    /// Copies that were made under the lock, with their deadlines.
    batch: Zip<vec::IntoIter<K>, vec::IntoIter<(V, Tick, Version)>>,
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
            let fresh = |(key, (_, deadline, version)): &(K, (V, Tick, Version))| {
                !has_passed(*deadline)
                    || !has_passed(store.deadline(engine.hash(key), key, *version))
            };
            if let Some((key, (value, ..))) = self.batch.find(fresh) {
                return Some((key, value));
            }
            let mut copies = Copies::default();
            self.position = store.copy(self.position?, &mut copies);
            self.batch = zip(copies.keys, copies.values);
        }
    }
}
