//! `TinyUFO`: S3-FIFO with `TinyLFU`. Its hashes differ in each run.

use super::Cache;

pub(super) struct TinyUfo(::tinyufo::TinyUfo<u64, u64>);

/// All entries weigh the same.
const WEIGHT: u16 = 1;

impl TinyUfo {
    pub(super) fn new(capacity: usize) -> Self {
        Self(::tinyufo::TinyUfo::new(capacity, capacity))
    }

    /// Takes less memory, and counts in less room.
    pub(super) fn compact(capacity: usize) -> Self {
        Self(::tinyufo::TinyUfo::new_compact(capacity, capacity))
    }
}

impl Cache for TinyUfo {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    fn insert(&mut self, key: u64, value: u64) {
        self.0.put(key, value, WEIGHT);
    }
}
