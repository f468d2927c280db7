//! Resize: a cache gets a tenth of its capacity while threads read from it. How long that takes, and what
//! the readers notice.
//!
//! They call without a pause, one for each core but that of the thread that resizes, and each call is
//! timed: that includes one look at the clock. They do the same before, while that thread sleeps. Who is
//! held up for long makes few calls meanwhile, so that the longest says what the tail does not.

use std::hint::black_box;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::contender::{Adaptive, Fifo, Fleeting, Foyer, MutexLru, QuickCache, Resizable, S3Fifo};
use crate::keys::{Cycle, shuffled};
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

use super::filled;
use super::refresh::{SAMPLES, histogram, nanos};

pub(crate) const MEASURES: [Measure; 5] = [
    Measure::new("resize from 1 M to 100 k", Unit::Micros),
    Measure::new("read before a resize, p99.9", Unit::Nanos),
    Measure::new("read during a resize, p99.9", Unit::Nanos),
    Measure::new("read before a resize, longest", Unit::Micros),
    Measure::new("read during a resize, longest", Unit::Micros),
];

/// Peers take a while to fill and to drop.
const MOST_PEER_ROUNDS: usize = 3;

pub(crate) fn run(scale: &Scale) -> Vec<Table> {
    let keys = shuffled(0, scale.large, scale.seed);
    let entrants = vec![
        enter::<Fleeting<u64, u64>>(&keys, scale),
        enter::<Fleeting<u64, u64, S3Fifo>>(&keys, scale),
        enter::<Fleeting<u64, u64, Adaptive>>(&keys, scale),
        enter::<QuickCache<u64, u64>>(&keys, scale).with_at_most(MOST_PEER_ROUNDS),
        enter::<MutexLru<u64, u64>>(&keys, scale).with_at_most(MOST_PEER_ROUNDS),
        enter::<Foyer<Fifo, u64, u64>>(&keys, scale).with_at_most(MOST_PEER_ROUNDS),
    ];
    round::run(scale.rounds, &MEASURES, entrants)
}

fn enter<C: Resizable>(keys: &Arc<[u64]>, scale: &Scale) -> Entrant {
    let (keys, time, capacity) = (Arc::clone(keys), scale.sample * SAMPLES, scale.medium);
    Entrant::new(C::NAME, move || {
        let cache: C = filled(&keys, |&key| key);
        let (_, before) = watch(&cache, &keys, || thread::sleep(time));
        let (taken, during) = watch(&cache, &keys, || cache.resize(capacity));
        let tails = [&before, &during].map(|calls| calls.value_at_quantile(0.999));
        let longest = [before.max(), during.max()];
        #[expect(clippy::cast_precision_loss, reason = "calls are short")]
        let [tails, longest] = [tails, longest].map(|pair| pair.map(|nanos| nanos as f64));
        let longest = longest.map(|nanos| nanos / 1e3);
        vec![taken.as_secs_f64() * 1e6, tails[0], tails[1], longest[0], longest[1]]
    })
}

/// Reads while something is done. Returns how long that took, and how long each call did.
fn watch<C: Resizable>(
    cache: &C,
    keys: &Arc<[u64]>,
    act: impl FnOnce(),
) -> (Duration, Histogram<u64>) {
    let readers = thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1);
    let (barrier, is_over) = (Barrier::new(readers + 1), AtomicBool::new(false));
    let read = |reader| {
        let (mut keys, mut calls) =
            (Cycle::new(Arc::clone(keys), reader * keys.len() / readers), histogram());
        barrier.wait();
        while !is_over.load(Ordering::Relaxed) {
            keys.visit(1, |key| {
                let begin = Instant::now();
                black_box(cache.get(black_box(key)));
                calls.saturating_record(nanos(begin.elapsed()));
            });
        }
        calls
    };
    thread::scope(|scope| {
        let read = &read;
        let threads = (0..readers).map(|reader| scope.spawn(move || read(reader)));
        let threads: Vec<_> = threads.collect();
        barrier.wait();
        let begin = Instant::now();
        act();
        let taken = begin.elapsed();
        is_over.store(true, Ordering::Relaxed);
        let mut calls = histogram();
        for thread in threads {
            calls += thread.join().expect("no reader panics");
        }
        (taken, calls)
    })
}
