//! Refresh: what a reader of a hot key notices of its being renewed in the background, again and again.
//!
//! The reader calls without a pause, and each of its calls is timed: that includes one look at the
//! clock. The same reader without any refresh is beside it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleeting::{Cache, runtime::Tokio};
use hdrhistogram::Histogram;
use tokio::runtime::{Builder, Runtime};

use crate::contender::{FLEETING, REFRESHED, TTL};
use crate::error::Failure;
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

pub(crate) const MEASURES: [Measure; 3] = [
    Measure::new("hit on a hot key, p99.9", Unit::Nanos),
    Measure::new("hit on a hot key, median", Unit::Nanos),
    Measure::new("refreshes of a hot key in 200 ms", Unit::Count),
];

const KEY: u64 = 1;

/// Or some milliseconds later: at the next step of the coarse clock, when the worker gets its turn.
const REFRESH_AFTER: Duration = Duration::from_millis(1);
/// How long a refresh takes.
const COMPUTE: Duration = Duration::from_millis(2);

/// How many times longer a sample takes than those of means: a tail is a few calls of many.
pub(crate) const SAMPLES: u32 = 5;

/// Longer than any call takes.
const LONGEST: Duration = Duration::from_mins(1);

/// Three significant digits.
const DIGITS: u8 = 3;

pub(crate) fn run(scale: &Scale) -> Result<Vec<Table>, Failure> {
    // One worker to renew, beside the reader.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.map(Arc::new).map_err(Failure::Runtime)?;
    let builder = || Cache::builder().ttl(TTL).runtime(Tokio::from(runtime.handle().clone()));
    let plain = builder().build().expect("the settings are valid");
    let refreshed =
        builder().refresh_after(REFRESH_AFTER).build().expect("it is less than the TTL");
    let entrants = vec![
        entrant(FLEETING, plain, &runtime, scale),
        entrant(REFRESHED, refreshed, &runtime, scale),
    ];
    Ok(round::run(scale.rounds, &MEASURES, entrants))
}

fn entrant(
    name: &'static str,
    cache: Cache<u64, u64>,
    runtime: &Arc<Runtime>,
    scale: &Scale,
) -> Entrant {
    let runtime = Arc::clone(runtime);
    let time = scale.sample * SAMPLES;
    let mut calls = histogram();
    runtime.block_on(cache.get_or_compute(KEY, compute));
    Entrant::new(name, move || {
        calls.reset();
        cache.reset_stats();
        runtime.block_on(read(&cache, time, &mut calls));
        let refreshes = cache.stats().refreshes;
        let quantiles = [0.999, 0.5].map(|quantile| calls.value_at_quantile(quantile));
        #[expect(clippy::cast_precision_loss, reason = "calls are short, and refreshes few")]
        [quantiles[0], quantiles[1], refreshes].map(|value| value as f64).to_vec()
    })
}

/// Reads for so long, and records how long each call took.
async fn read(cache: &Cache<u64, u64>, time: Duration, calls: &mut Histogram<u64>) {
    let end = Instant::now() + time;
    loop {
        let begin = Instant::now();
        if begin >= end {
            return;
        }
        black_box(cache.get_or_compute(black_box(KEY), compute).await);
        calls.saturating_record(nanos(begin.elapsed()));
    }
}

async fn compute() -> u64 {
    tokio::time::sleep(COMPUTE).await;
    KEY
}

/// Of how long calls take, in nanoseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(nanos(LONGEST), DIGITS).expect("the bounds are valid")
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
