//! Inserts into a full cache: each key is new, and something has to go.

use std::time::{Duration, Instant};

use crate::contender::{Contender, Enter};
use crate::round::Entrant;
use crate::scale::Scale;

use super::warm_up;

pub(crate) struct Eviction {
    capacity: usize,
    time: Duration,
}

impl Eviction {
    pub(crate) fn new(scale: &Scale) -> Self {
        Self { capacity: scale.medium, time: scale.sample }
    }

    /// Enters a cache with this capacity, given how to insert and how to do what is left for later.
    pub(crate) fn enter_cache<C: 'static>(
        &self,
        name: &'static str,
        cache: C,
        insert: impl Fn(&C, u64) + 'static,
        settle: impl Fn(&C) + 'static,
    ) -> Entrant {
        let mut keys = 0..;
        // Twice: shards and queues of ghosts are full too.
        let fill = keys.by_ref().take(2 * self.capacity);
        warm_up(fill, |key| insert(&cache, key), || settle(&cache));
        Entrant::timed(name, self.time, move |calls| {
            let begin = Instant::now();
            keys.by_ref().take(calls).for_each(|key| insert(&cache, key));
            settle(&cache);
            begin.elapsed()
        })
    }
}

impl Enter<u64, u64> for Eviction {
    fn enter<C: Contender<u64, u64>>(&self) -> Entrant {
        let cache = C::with_capacity(self.capacity);
        self.enter_cache(C::NAME, cache, |cache, key| cache.insert(key, key), C::settle)
    }
}
