//! moka and mini-moka: `TinyLFU`.

use ::moka::sync;
use ahash::RandomState;
use mini_moka::unsync;

use super::{Cache, hasher};

/// Its bookkeeping is done after each call, so that it never holds more than it has room for.
pub(super) struct Strict(sync::Cache<u64, u64, RandomState>);

/// Its bookkeeping is done when it chooses to, about every 64 calls.
pub(super) struct AtItsPace(sync::Cache<u64, u64, RandomState>);

/// mini-moka.
pub(super) struct Mini(unsync::Cache<u64, u64, RandomState>);

impl Strict {
    pub(super) fn new(capacity: usize) -> Self {
        Self(build(capacity))
    }
}

impl Cache for Strict {
    fn get(&mut self, key: u64) -> Option<u64> {
        let value = self.0.get(&key);
        self.0.run_pending_tasks();
        value
    }

    fn insert(&mut self, key: u64, value: u64) {
        self.0.insert(key, value);
        self.0.run_pending_tasks();
    }
}

impl AtItsPace {
    pub(super) fn new(capacity: usize) -> Self {
        Self(build(capacity))
    }
}

impl Cache for AtItsPace {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    fn insert(&mut self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
}

fn build(capacity: usize) -> sync::Cache<u64, u64, RandomState> {
    sync::Cache::builder().max_capacity(capacity as u64).build_with_hasher(hasher())
}

impl Mini {
    pub(super) fn new(capacity: usize) -> Self {
        let builder = unsync::Cache::builder().max_capacity(capacity as u64);
        Self(builder.build_with_hasher(hasher()))
    }
}

impl Cache for Mini {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.0.get(&key).copied()
    }

    fn insert(&mut self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
}
