//! Distance: how far a contender is from the best of others, row by row.

use crate::hit_ratio::average::Group;
use crate::hit_ratio::comparison::{Comparison, Row};
use crate::hit_ratio::contender::Family;

/// How far a contender is from the best of others. Hit ratios are in percent.
pub(super) struct Distance<'a> {
    pub(super) rows: usize,
    /// Rows in which it is as good as the best, to the last digit that is shown.
    pub(super) reached: usize,
    /// The average gap; below nothing, where it is better.
    pub(super) mean: f64,
    /// The row in which it falls behind most.
    pub(super) worst: &'a Row,
    pub(super) worst_gap: f64,
}

/// Hit ratios that are this close are shown as the same, in percent.
const SAME: f64 = 0.005;

impl<'a> Distance<'a> {
    /// Nothing, if the contender did not take part, or there was nobody else.
    pub(super) fn new(
        comparison: &Comparison,
        group: &Group<'a>,
        column: usize,
        others: Family,
    ) -> Option<Self> {
        let gap = |row: &Row| Some(100.0 * (comparison.best(row, others)? - row.ratios[column]?));
        let mean = group.average(gap)?;
        let gaps = group.rows.iter().filter_map(|row| Some((gap(row)?, *row)));
        let (worst_gap, worst) =
            gaps.clone().max_by(|(one, _), (other, _)| one.total_cmp(other))?;
        let reached = gaps.filter(|&(gap, _)| gap < SAME).count();
        Some(Self { rows: group.rows.len(), reached, mean, worst, worst_gap })
    }
}
