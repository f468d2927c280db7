//! sieve-cache: a SIEVE whose order is not that of the paper.

use ::sieve_cache::SieveCache;

use super::Cache;

pub(super) struct Sieve(SieveCache<u64, u64>);

impl Sieve {
    pub(super) fn new(capacity: usize) -> Self {
        Self(SieveCache::new(capacity).expect("a capacity is at least 1"))
    }
}

impl Cache for Sieve {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.0.get(&key).copied()
    }

    fn insert(&mut self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
}
