//! fleeting, as its users have it.

use std::time::Duration;

use ::fleeting::{Cache as Fleeting, Policy};
use ahash::RandomState;

use crate::hand::Hand;
use crate::hit_ratio::trace::Trace;

use super::{Cache, hasher};

/// Entries stay until they are read or evicted, as with the peers.
pub(super) struct Lazy(Fleeting<u64, u64, RandomState>);

impl Lazy {
    pub(super) fn new(policy: Policy, capacity: usize) -> Self {
        let builder = Fleeting::builder().policy(policy).max_size(capacity).hasher(hasher());
        Self(builder.build().expect("a capacity is at least 1"))
    }
}

impl Cache for Lazy {
    fn get(&mut self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    fn insert(&mut self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
}

/// Returns the hits of a cache that knows of time: its entries expire as the trace says.
pub(super) fn replay_timed(trace: &Trace, policy: Policy, capacity: usize) -> u64 {
    let hand = Hand::new();
    let builder = Fleeting::builder().policy(policy).max_size(capacity).hasher(hasher());
    let cache = builder.runtime(hand.clone()).build().expect("a capacity is at least 1");
    let mut hits = 0;
    let mut clock = 0;
    for request in trace.requests() {
        let passed = request.life.now.saturating_sub(clock);
        if passed > 0 {
            clock += passed;
            hand.advance(Duration::from_micros(passed));
            hand.run(drop);
        }
        if cache.get(&request.key).is_some() {
            hits += 1;
        } else {
            cache.entry(request.key).ttl(Duration::from_micros(request.life.ttl)).insert(0);
        }
    }
    hits
}
