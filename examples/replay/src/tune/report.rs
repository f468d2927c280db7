//! Report: what was found out, as data.

use serde::Serialize;

use crate::left_out::LeftOut;
use crate::trace::Source;

use super::advice::{Advice, MissedTarget};
use super::grid::Cell;
use super::sample::Sample;

/// What was found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) source: String,
    pub(crate) format: &'static str,
    pub(crate) requests: usize,
    #[serde(flatten)]
    pub(crate) left_out: LeftOut,
    /// Estimated, unless all keys are sampled.
    pub(crate) distinct_keys: usize,
    /// The time from the first timestamp to the last, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    /// The share of the keys that is sampled: 0 to 1.
    pub(crate) sampling_rate: f64,
    pub(crate) sampled_requests: usize,
    pub(crate) sampled_keys: usize,
    pub(crate) cells: Vec<Cell>,
    pub(crate) advice: Option<Advice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missed_target: Option<MissedTarget>,
    pub(crate) is_interrupted: bool,
}

impl Report {
    /// Without advice.
    pub(crate) fn new(
        source: Source,
        sample: &Sample,
        cells: Vec<Cell>,
        is_interrupted: bool,
    ) -> Self {
        Self {
            source: source.name,
            format: source.kind,
            requests: sample.requests_in_source,
            left_out: source.left_out,
            distinct_keys: sample.keys_in_source(),
            seconds: sample.span.map(|span| span.as_secs_f64()),
            sampling_rate: sample.rate(),
            sampled_requests: sample.len(),
            sampled_keys: sample.distinct(),
            cells,
            advice: None,
            missed_target: None,
            is_interrupted,
        }
    }

    /// Whether the figures are exact, because all keys are sampled.
    pub(crate) fn is_exact(&self) -> bool {
        self.sampling_rate >= 1.0
    }
}
