//! Averages: what many rows come to, in groups.
//!
//! An average is the mean over traces of the mean over the rows of a trace: one with many sizes does
//! not weigh more.

use std::collections::{BTreeMap, BTreeSet};

use super::comparison::{Comparison, Row};
use super::contender::Family;
use super::size::{Choice, SHARES};

/// Rows that belong together.
pub(crate) struct Group<'a> {
    pub(crate) name: String,
    pub(crate) rows: Vec<&'a Row>,
}

/// From this size on, nobody's way to keep to it matters.
const LARGE: usize = 6_400;

/// The kind of traces of which there are many, all alike.
const SMALL: &str = "LIRS small";

impl<'a> Group<'a> {
    /// All groups of traces without times to live that have rows.
    pub(crate) fn all(comparison: &'a Comparison) -> Vec<Self> {
        let rows: Vec<_> = comparison.rows.iter().filter(|row| !row.is_timed).collect();
        let group = |name: String, contains: &dyn Fn(&Row) -> bool| Self {
            name,
            rows: rows.iter().copied().filter(|row| contains(row)).collect(),
        };
        let mut groups = vec![
            group("all rows".to_owned(), &|_| true),
            group(format!("{LARGE} entries and more"), &|row| row.size.entries >= LARGE),
            group("without the small LIRS traces".to_owned(), &|row| row.kind != SMALL),
        ];
        let places = places(&rows);
        for (half, name) in ["1st, 3rd, … trace", "2nd, 4th, … trace"].into_iter().enumerate() {
            groups.push(group(name.to_owned(), &|row| places[row.trace.as_str()] % 2 == half));
        }
        for choice in SHARES.map(Choice::Share) {
            groups.push(group(format!("{choice} of distinct"), &|row| row.size.choice == choice));
        }
        for kind in kinds(&rows) {
            groups.push(group(kind.to_owned(), &|row| row.kind == kind));
        }
        groups.retain(|group| !group.rows.is_empty());
        groups
    }

    pub(crate) fn traces(&self) -> usize {
        self.by_trace().len()
    }

    /// The average of what each row is worth; nothing, if a row is worth nothing.
    pub(crate) fn average(&self, worth: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
        let traces = self.by_trace();
        let of_trace = |rows: &Vec<&Row>| mean(rows.iter().map(|row| worth(row)));
        mean(traces.values().map(of_trace))
    }

    /// The average hit ratio of a contender.
    pub(crate) fn ratio(&self, column: usize) -> Option<f64> {
        self.average(|row| row.ratios[column])
    }

    /// The average of the best of a family in each row.
    pub(crate) fn best(&self, comparison: &Comparison, family: Family) -> Option<f64> {
        self.average(|row| comparison.best(row, family))
    }

    /// Tells whether a contender kept to its room in all rows.
    pub(crate) fn is_fair(&self, comparison: &Comparison, column: usize) -> bool {
        self.rows.iter().all(|row| comparison.contenders[column].is_fair_at(row.size))
    }

    fn by_trace(&self) -> BTreeMap<&str, Vec<&Row>> {
        let mut traces: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in &self.rows {
            traces.entry(row.trace.as_str()).or_default().push(*row);
        }
        traces
    }
}

/// By how much misses are fewer than another's, as a share of these; or where they are more, by how
/// much the other's are fewer, as a loss.
pub(crate) fn miss_reduction(ratio: f64, other: f64) -> f64 {
    let (misses, others) = (1.0 - ratio, 1.0 - other);
    let most = misses.max(others);
    if most == 0.0 { 0.0 } else { (others - misses) / most }
}

/// Each trace's place in the alphabet.
fn places<'a>(rows: &[&'a Row]) -> BTreeMap<&'a str, usize> {
    let names: BTreeSet<_> = rows.iter().map(|row| row.trace.as_str()).collect();
    names.into_iter().enumerate().map(|(place, name)| (name, place)).collect()
}

/// In the order of their first appearance.
fn kinds<'a>(rows: &[&'a Row]) -> Vec<&'a str> {
    let mut kinds = Vec::new();
    for row in rows {
        if !kinds.contains(&row.kind.as_str()) {
            kinds.push(row.kind.as_str());
        }
    }
    kinds
}

fn mean(values: impl ExactSizeIterator<Item = Option<f64>>) -> Option<f64> {
    let count = u32::try_from(values.len()).ok().filter(|&count| count > 0)?;
    Some(values.sum::<Option<f64>>()? / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hit_ratio::size::Size;

    fn row(trace: &str, ratio: f64) -> Row {
        Row {
            trace: trace.to_owned(),
            kind: "test".to_owned(),
            is_timed: false,
            requests: 100,
            size: Size { entries: 16, choice: Choice::Literature },
            ratios: vec![Some(ratio), None],
        }
    }

    #[test]
    fn a_trace_with_many_rows_does_not_weigh_more() {
        let rows = [row("a", 0.0), row("a", 0.2), row("a", 0.4), row("b", 0.8)];
        let group = Group { name: String::new(), rows: rows.iter().collect() };
        assert_eq!(group.traces(), 2);
        assert_eq!(group.ratio(0), Some(0.5));
        assert_eq!(group.ratio(1), None);
    }

    #[test]
    fn halves_go_by_the_alphabet() {
        let rows = vec![row("b", 0.2), row("a", 0.1), row("c", 0.3)];
        let comparison = Comparison { contenders: Vec::new(), rows, seconds: Vec::new() };
        let groups = Group::all(&comparison);
        let half = |begin| groups.iter().find(|group| group.name.starts_with(begin));
        let ratio = |begin| half(begin).and_then(|group| group.ratio(0));
        assert_eq!(ratio("1st"), Some(0.2));
        assert_eq!(ratio("2nd"), Some(0.2));
    }

    #[test]
    fn misses_are_compared_with_the_larger_number() {
        let percent = |ratio, other| format!("{:.0}", 100.0 * miss_reduction(ratio, other));
        assert_eq!(percent(0.5, 0.0), "50");
        assert_eq!(percent(0.0, 0.5), "-50");
        assert_eq!(percent(1.0, 1.0), "0");
    }
}
