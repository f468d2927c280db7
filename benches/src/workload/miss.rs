//! Misses: keys that are not there, asked of a cache that is not empty.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contender::{Contender, Enter};
use crate::keys::{Cycle, shuffled};
use crate::round::Entrant;
use crate::scale::Scale;

use super::filled;

pub(crate) struct Miss {
    resident: Arc<[u64]>,
    others: Arc<[u64]>,
    time: Duration,
}

impl Miss {
    pub(crate) fn new(scale: &Scale) -> Self {
        Self {
            resident: shuffled(0, scale.small, scale.seed),
            others: shuffled(scale.small, scale.small, scale.seed),
            time: scale.sample,
        }
    }
}

impl Enter<u64, u64> for Miss {
    fn enter<C: Contender<u64, u64>>(&self) -> Entrant {
        let cache: C = filled(&self.resident, |&key| key);
        let mut keys = Cycle::new(Arc::clone(&self.others), 0);
        Entrant::timed(C::NAME, self.time, move |calls| {
            let begin = Instant::now();
            keys.visit(calls, |key| {
                black_box(cache.get(black_box(key)));
            });
            begin.elapsed()
        })
    }
}
