//! `quick_cache`: a modified Clock-PRO.

use super::Cache;

pub(super) struct QuickCache(::quick_cache::unsync::Cache<u64, u64>);

impl QuickCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self(::quick_cache::unsync::Cache::new(capacity))
    }
}

impl Cache for QuickCache {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.0.get(&key).copied()
    }

    fn insert(&mut self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
}
