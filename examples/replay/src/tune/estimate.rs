//! Estimate: what the misses of a sample say of the hit rate of all requests, and how surely.

use serde::Serialize;

use super::sample::Sample;

/// Into how many samples a sample is divided, to see how much they differ.
pub(crate) const PARTS: usize = 8;

/// The 97.5th percentile of Student's t, with one degree of freedom less than there are parts.
const STUDENT: f64 = 2.365;

/// A hit rate, and how far from it the true one may be: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) hit_rate: f64,
    pub(crate) error: f64,
}

impl Estimate {
    /// The hit rate of requests that were all sent.
    pub(crate) fn exact(sample: &Sample, misses: u64) -> Self {
        Self::new(float(misses) / float(sample.len() as u64), 0.0)
    }

    /// By the misses of a sample and those of its parts.
    ///
    /// They are compared with how many requests there are for such a share of the keys on average.
    /// Where the sample has more of them or fewer, that is because a few keys are much asked for, and
    /// those hit: the paper's SHARDS-adj.
    pub(crate) fn of(sample: &Sample, misses: u64, part_misses: &[u64]) -> Self {
        let requests = float(sample.requests_in_source as u64) * sample.rate();
        let parts = float(part_misses.len() as u64);
        let part_requests = requests / parts;
        let part_rates: Vec<_> =
            part_misses.iter().map(|misses| float(*misses) / part_requests).collect();
        Self::new(float(misses) / requests, STUDENT * error_of_mean(&part_rates))
    }

    fn new(miss_rate: f64, error: f64) -> Self {
        Self { hit_rate: (1.0 - miss_rate).clamp(0.0, 1.0), error }
    }
}

/// The standard error of the mean of some values.
fn error_of_mean(values: &[f64]) -> f64 {
    let count = float(values.len() as u64);
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0) / count).sqrt()
}

#[expect(clippy::cast_precision_loss, reason = "what is estimated is not that exact")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_that_of_the_mean() {
        assert!(error_of_mean(&[0.5; 8]) < 1e-9);
        // The deviation is one, and the root of three is for the mean.
        assert!((error_of_mean(&[1.0, 2.0, 3.0]) - (1.0_f64 / 3.0).sqrt()).abs() < 1e-9);
    }
}
