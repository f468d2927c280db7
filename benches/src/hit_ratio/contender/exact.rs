//! FIFO and LRU, exactly.

use std::collections::{HashMap, VecDeque};
use std::num::NonZero;

use ahash::RandomState;
use lru::LruCache;

use super::{Cache, hasher};

/// The entry goes that was stored first.
pub(super) struct Fifo {
    capacity: usize,
    values: HashMap<u64, u64, RandomState>,
    order: VecDeque<u64>,
}

/// The entry goes that was asked for least recently.
pub(super) struct Lru(LruCache<u64, u64, RandomState>);

impl Fifo {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, values: HashMap::with_hasher(hasher()), order: VecDeque::new() }
    }
}

impl Cache for Fifo {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.values.get(&key).copied()
    }

    fn insert(&mut self, key: u64, value: u64) {
        if self.values.insert(key, value).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.capacity {
            let first = self.order.pop_front().expect("there is an entry");
            self.values.remove(&first);
        }
    }
}

impl Lru {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = NonZero::new(capacity).expect("a capacity is at least 1");
        Self(LruCache::with_hasher(capacity, hasher()))
    }
}

impl Cache for Lru {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.0.get(&key).copied()
    }

    fn insert(&mut self, key: u64, value: u64) {
        self.0.put(key, value);
    }
}
