//! The mix of real programs: asks for keys of which few are popular, and stores what is missing.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::contender::{Contender, Enter};
use crate::keys::{Cycle, zipf};
use crate::round::Entrant;
use crate::scale::Scale;

use super::warm_up;

pub(crate) struct Mix<const N: usize> {
    /// How many threads, for each of the measures.
    threads: [usize; N],
    trace: Arc<[u64]>,
    capacity: usize,
    time: Duration,
}

impl<const N: usize> Mix<N> {
    pub(crate) fn new(threads: [usize; N], scale: &Scale) -> Self {
        Self {
            threads,
            trace: zipf(scale.trace, scale.large, scale.seed),
            capacity: scale.large / 10,
            time: scale.sample,
        }
    }
}

impl<const N: usize> Enter<u64, u64> for Mix<N> {
    /// Samples are millions of calls a second, of all threads together: for each number of threads.
    fn enter<C: Contender<u64, u64>>(&self) -> Entrant {
        let cache = C::with_capacity(self.capacity);
        warm_up(&*self.trace, |&key| get_or_insert(&cache, key), || cache.settle());
        let cache = Arc::new(cache);
        let parts = self.threads.map(|threads| {
            let position = |thread| thread * self.trace.len() / threads;
            let trace = |thread| Cycle::new(Arc::clone(&self.trace), position(thread));
            let mut traces: Vec<_> = (0..threads).map(trace).collect();
            let cache = Arc::clone(&cache);
            Entrant::timed(C::NAME, self.time, move |calls| replay(&*cache, &mut traces, calls))
                .map(|nanos| vec![1e3 / nanos[0]])
        });
        Entrant::joined(parts.into())
    }
}

/// Divides the calls among threads. The time is that from the first one's start to the last one's
/// end.
fn replay<C: Contender<u64, u64>>(cache: &C, traces: &mut [Cycle<u64>], calls: usize) -> Duration {
    let barrier = Barrier::new(traces.len());
    let calls = calls.div_ceil(traces.len());
    let spans: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = traces
            .iter_mut()
            .map(|trace| {
                scope.spawn(|| {
                    barrier.wait();
                    let begin = Instant::now();
                    trace.visit(calls, |&key| get_or_insert(cache, key));
                    (begin, Instant::now())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no contender panics")).collect()
    });
    let begin = spans.iter().map(|&(begin, _)| begin).min();
    let end = spans.iter().map(|&(_, end)| end).max();
    let settling = Instant::now();
    cache.settle();
    let settling = settling.elapsed();
    let span = begin.zip(end).map(|(begin, end)| end - begin);
    span.expect("there is a thread") + settling
}

fn get_or_insert<C: Contender<u64, u64>>(cache: &C, key: u64) {
    if black_box(cache.get(&key)).is_none() {
        cache.insert(key, key);
    }
}
