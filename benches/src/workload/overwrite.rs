//! Overwrites: other values for keys that are there.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contender::{Contender, Enter};
use crate::keys::{Cycle, shuffled};
use crate::round::Entrant;
use crate::scale::Scale;

use super::filled;

pub(crate) struct Overwrite {
    keys: Arc<[u64]>,
    time: Duration,
}

impl Overwrite {
    pub(crate) fn new(scale: &Scale) -> Self {
        Self { keys: shuffled(0, scale.small, scale.seed), time: scale.sample }
    }
}

impl Enter<u64, u64> for Overwrite {
    fn enter<C: Contender<u64, u64>>(&self) -> Entrant {
        let cache: C = filled(&self.keys, |&key| key);
        let mut keys = Cycle::new(Arc::clone(&self.keys), 0);
        let mut value = 0;
        Entrant::timed(C::NAME, self.time, move |calls| {
            value += 1;
            let begin = Instant::now();
            keys.visit(calls, |&key| cache.insert(black_box(key), black_box(value)));
            cache.settle();
            begin.elapsed()
        })
    }
}
