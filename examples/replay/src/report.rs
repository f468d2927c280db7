//! Report: what a replay found out, as data.

use serde::Serialize;

use crate::drive::Outcome;
use crate::left_out::LeftOut;
use crate::service::Cached;
use crate::tally::Latency;

/// What a replay found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) setup: Setup,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// What cannot be told of virtual time is absent there.
    #[serde(flatten)]
    pub(crate) speed: Option<Speed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) without_cache: Option<Baseline>,
    /// How many times more requests a second there are with the cache than without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) speedup: Option<f64>,
    pub(crate) is_interrupted: bool,
}

/// What was replayed, and how.
#[derive(Debug, Serialize)]
pub(crate) struct Setup {
    pub(crate) source: String,
    pub(crate) format: &'static str,
    pub(crate) requests_in_source: usize,
    #[serde(flatten)]
    pub(crate) left_out: LeftOut,
    pub(crate) distinct_keys: usize,
    pub(crate) max_size: Option<usize>,
    pub(crate) ttl: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runtime: Option<&'static str>,
    pub(crate) concurrency: usize,
    pub(crate) database_threads: usize,
    pub(crate) payload_bytes: usize,
    /// The time from the first timestamp to the last, of a replay in virtual time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) virtual_seconds: Option<f64>,
}

/// What the cache did.
#[derive(Debug, Serialize)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) hit_rate: f64,
    pub(crate) database_queries: u64,
    pub(crate) database_queries_avoided: u64,
    /// The share of requests that led to no query: 0 to 1.
    pub(crate) avoided_rate: f64,
    pub(crate) coalesced: u64,
    pub(crate) evictions: u64,
    pub(crate) expirations: u64,
    pub(crate) peak_entries: usize,
    /// How many entries were left at the end.
    pub(crate) entries: usize,
}

/// How fast it was.
#[derive(Debug, Serialize)]
pub(crate) struct Speed {
    pub(crate) seconds: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) hit_latency: Option<Latency>,
    pub(crate) miss_latency: Option<Latency>,
}

/// The same requests without the cache.
#[derive(Debug, Serialize)]
pub(crate) struct Baseline {
    pub(crate) requests: u64,
    /// The time was over before all requests were sent.
    pub(crate) is_cut_short: bool,
    pub(crate) seconds: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) latency: Option<Latency>,
}

impl Counts {
    pub(crate) fn new(requests: u64, queries: u64, cached: &Cached) -> Self {
        let stats = cached.stats();
        let avoided = requests.saturating_sub(queries);
        Self {
            requests,
            hits: stats.hits,
            misses: stats.misses,
            hit_rate: stats.hit_rate(),
            database_queries: queries,
            database_queries_avoided: avoided,
            avoided_rate: ratio(avoided, requests),
            coalesced: stats.coalesced,
            evictions: stats.evictions,
            expirations: stats.expirations,
            peak_entries: cached.peak(),
            entries: cached.len(),
        }
    }
}

impl Speed {
    pub(crate) fn new(outcome: &Outcome, counts: &Counts) -> Self {
        // Who joins a query that is just ending does not wait either: that alone makes no hits.
        let hit_latency = outcome.tally.hits().filter(|_| counts.hits > 0);
        Self {
            seconds: outcome.elapsed.as_secs_f64(),
            requests_per_second: rate(outcome),
            hit_latency,
            miss_latency: outcome.tally.misses(),
        }
    }
}

impl Baseline {
    /// Of a run that had `requests` to send.
    pub(crate) fn new(outcome: &Outcome, requests: usize) -> Self {
        Self {
            requests: outcome.tally.count(),
            is_cut_short: outcome.tally.count() < requests as u64,
            seconds: outcome.elapsed.as_secs_f64(),
            requests_per_second: rate(outcome),
            latency: outcome.tally.misses(),
        }
    }

    /// How many times more requests a second there are with the cache.
    pub(crate) fn speedup(&self, with: &Speed) -> Option<f64> {
        (self.requests > 0).then(|| with.requests_per_second / self.requests_per_second)
    }
}

/// Requests a second; 0 if there was no time.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn rate(outcome: &Outcome) -> f64 {
    let seconds = outcome.elapsed.as_secs_f64();
    if seconds > 0.0 { outcome.tally.count() as f64 / seconds } else { 0.0 }
}

/// A share of a whole; 0 if there is nothing.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 0.0 }
}
