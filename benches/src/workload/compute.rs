//! `get_or_compute`, with the value there and with a compute that is ready at once.
//!
//! All calls of a sample are awaited one after the other by one future, so that the executor's own
//! cost is not among what is measured.

use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use tokio::runtime::Runtime;

use crate::contender::{Computing, EnterComputing};
use crate::error::Failure;
use crate::keys::shuffled;
use crate::round::Entrant;
use crate::scale::Scale;

use super::roomy;
use super::waiters::runtime;

pub(crate) struct Hit {
    keys: Arc<[u64]>,
    time: Duration,
    runtime: Arc<Runtime>,
}

pub(crate) struct Miss {
    capacity: usize,
    time: Duration,
    runtime: Arc<Runtime>,
}

impl Hit {
    pub(crate) fn new(scale: &Scale) -> Result<Self, Failure> {
        let keys = shuffled(0, scale.small, scale.seed);
        Ok(Self { keys, time: scale.sample, runtime: runtime()? })
    }
}

impl Miss {
    pub(crate) fn new(scale: &Scale) -> Result<Self, Failure> {
        Ok(Self { capacity: scale.medium, time: scale.sample, runtime: runtime()? })
    }
}

impl EnterComputing for Hit {
    fn enter<C: Computing>(&self) -> Entrant {
        let cache = C::with_capacity(roomy(self.keys.len()));
        let _runtime = self.runtime.enter();
        fill(&cache, &self.keys);
        let keys = Arc::clone(&self.keys);
        let mut position = 0;
        entrant(C::NAME, &self.runtime, self.time, async move |calls| {
            let begin = Instant::now();
            for _ in 0..calls {
                let key = keys[position];
                position = if position + 1 == keys.len() { 0 } else { position + 1 };
                black_box(cache.get_or_compute(black_box(key), ready(key)).await);
            }
            begin.elapsed()
        })
    }
}

impl EnterComputing for Miss {
    fn enter<C: Computing>(&self) -> Entrant {
        let cache = C::with_capacity(self.capacity);
        let mut next = 0;
        let mut miss = async move |calls| {
            let begin = Instant::now();
            for key in next..next + calls as u64 {
                black_box(cache.get_or_compute(black_box(key), ready(key)).await);
            }
            next += calls as u64;
            begin.elapsed()
        };
        let _runtime = self.runtime.enter();
        block_on(miss(2 * self.capacity));
        entrant(C::NAME, &self.runtime, self.time, miss)
    }
}

/// Computes all keys, and makes sure that they are there.
fn fill<C: Computing>(cache: &C, keys: &[u64]) {
    let pass = || {
        let computes = Arc::new(AtomicUsize::new(0));
        for &key in keys {
            let computes = Arc::clone(&computes);
            block_on(cache.get_or_compute(key, async move {
                computes.fetch_add(1, Ordering::Relaxed);
                key
            }));
        }
        computes.load(Ordering::Relaxed)
    };
    assert_eq!(pass(), keys.len(), "{}: nothing is there yet", C::NAME);
    assert_eq!(pass(), 0, "{}: there is room for all", C::NAME);
}

/// Whoever wants a tokio runtime finds one.
fn entrant(
    name: &'static str,
    runtime: &Arc<Runtime>,
    time: Duration,
    mut measure: impl AsyncFnMut(usize) -> Duration + 'static,
) -> Entrant {
    let runtime = Arc::clone(runtime);
    Entrant::timed(name, time, move |calls| {
        let _runtime = runtime.enter();
        block_on(measure(calls))
    })
}
