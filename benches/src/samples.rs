//! Samples: what was measured of one contender, round by round, and what is told of it.

use serde::{Deserialize, Serialize};

/// One value for each round; at least one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn new(values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "there are samples");
        Self(values)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn least(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(crate) fn quartiles(&self) -> (f64, f64) {
        (self.quantile(0.25), self.quantile(0.75))
    }

    /// How many times more than `other`: the median of the rounds' own ratios.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        let ratios = self.0.iter().zip(&other.0).map(|(ours, theirs)| ours / theirs);
        Self(ratios.collect()).median()
    }

    /// Interpolated between the two nearest values.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position lies between the first value and the last, and there are few"
    )]
    fn quantile(&self, share: f64) -> f64 {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        let position = share * (values.len() - 1) as f64;
        let (below, above) = (position.floor() as usize, position.ceil() as usize);
        values[below] + (values[above] - values[below]) * position.fract()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples::new(values.to_vec())
    }

    fn is_near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!(is_near(samples(&[3.0, 1.0, 2.0]).median(), 2.0));
        assert!(is_near(samples(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5));
        assert!(is_near(samples(&[7.0]).median(), 7.0));
    }

    #[test]
    fn quartiles_enclose_half_of_the_values() {
        let (lower, upper) = samples(&[5.0, 1.0, 4.0, 2.0, 3.0]).quartiles();
        assert!(is_near(lower, 2.0) && is_near(upper, 4.0));
        let (lower, upper) = samples(&[1.0, 2.0]).quartiles();
        assert!(is_near(lower, 1.25) && is_near(upper, 1.75));
    }

    #[test]
    fn the_least_is_the_least() {
        assert!(is_near(samples(&[3.0, 1.0, 2.0]).least(), 1.0));
    }

    #[test]
    fn a_ratio_cancels_what_slows_a_round_down() {
        let (ours, theirs) = (samples(&[10.0, 50.0, 11.0]), samples(&[20.0, 100.0, 20.0]));
        assert!(is_near(ours.ratio(&theirs), 0.5));
    }

    #[test]
    fn a_ratio_takes_the_rounds_that_both_have() {
        assert!(is_near(samples(&[1.0, 2.0, 9.0]).ratio(&samples(&[2.0, 4.0])), 0.5));
    }
}
