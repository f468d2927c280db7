//! Tally: how long each answer took, by where it came from.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use thread_local::ThreadLocal;

use crate::service::Source;

/// What takes longer is counted as this long.
const LONGEST: Duration = Duration::from_secs(3600);

/// Times are told apart if they differ in so many leading digits.
const DIGITS: u8 = 2;

/// Tallies that all tasks write to: one for each thread, because there may be many more tasks.
#[derive(Debug, Default)]
pub(crate) struct Tallies(ThreadLocal<Mutex<Tally>>);

impl Tallies {
    pub(crate) fn record(&self, source: Source, time: Duration) {
        let tally = self.0.get_or_default();
        // A tally is whole after each step: a panic elsewhere does no harm to it.
        tally.lock().unwrap_or_else(PoisonError::into_inner).record(source, time);
    }

    pub(crate) fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in &self.0 {
            sum.add(&tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
        sum
    }
}

/// The times of the answers that one thread, or all of them, received.
#[derive(Debug)]
pub(crate) struct Tally {
    hits: Histogram<u32>,
    misses: Histogram<u32>,
}

/// What is told of many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Latency {
    median_ns: u64,
    p99_ns: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { hits: histogram(), misses: histogram() }
    }
}

impl Tally {
    fn record(&mut self, source: Source, time: Duration) {
        let histogram = match source {
            Source::Cache => &mut self.hits,
            Source::Database => &mut self.misses,
        };
        histogram.saturating_record(nanos(time));
    }

    fn add(&mut self, other: &Self) {
        self.hits += &other.hits;
        self.misses += &other.misses;
    }

    /// The times of answers that were there at once; `None` if there was no such answer.
    pub(crate) fn hits(&self) -> Option<Latency> {
        Latency::of(&self.hits)
    }

    /// The times of answers that were waited for; `None` if there was no such answer.
    pub(crate) fn misses(&self) -> Option<Latency> {
        Latency::of(&self.misses)
    }

    /// How many answers there were.
    pub(crate) fn count(&self) -> u64 {
        self.hits.len() + self.misses.len()
    }
}

impl Latency {
    fn of(histogram: &Histogram<u32>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self {
            median_ns: histogram.value_at_quantile(0.5),
            p99_ns: histogram.value_at_quantile(0.99),
        })
    }

    pub(crate) fn median(&self) -> Duration {
        Duration::from_nanos(self.median_ns)
    }

    pub(crate) fn p99(&self) -> Duration {
        Duration::from_nanos(self.p99_ns)
    }
}

fn histogram() -> Histogram<u32> {
    Histogram::new_with_max(nanos(LONGEST), DIGITS).expect("the bounds are valid")
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
