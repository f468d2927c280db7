//! foyer-memory: policies to choose from.

use foyer_memory::{
    Cache as Memory, CacheBuilder, EvictionConfig, LfuConfig, S3FifoConfig, SieveConfig,
};

use super::Cache;

pub(super) struct Foyer(Memory<u64, u64>);

impl Foyer {
    pub(super) fn s3_fifo(capacity: usize) -> Self {
        Self::new(capacity, S3FifoConfig::default())
    }

    /// W-TinyLFU with a window of a tenth.
    pub(super) fn lfu(capacity: usize) -> Self {
        Self::new(capacity, LfuConfig::default())
    }

    pub(super) fn sieve(capacity: usize) -> Self {
        Self::new(capacity, SieveConfig)
    }

    fn new(capacity: usize, config: impl Into<EvictionConfig>) -> Self {
        Self(CacheBuilder::new(capacity).with_shards(1).with_eviction_config(config).build())
    }
}

impl Cache for Foyer {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.0.get(&key).map(|entry| *entry.value())
    }

    fn insert(&mut self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
}
