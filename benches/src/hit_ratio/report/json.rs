//! JSON: a report for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::hit_ratio::average::Group;
use crate::hit_ratio::comparison::{Comparison, Row};
use crate::hit_ratio::contender::Family;
use crate::machine::Machine;

use super::Report;

/// What is written. Hit ratios are in percent, by the names of the contenders.
#[derive(Serialize)]
pub(super) struct Results<'a> {
    machine: &'a Machine,
    is_quick: bool,
    seconds: f64,
    seconds_each: Named<f64>,
    averages: Vec<ResultAverage>,
    rows: Vec<ResultRow<'a>>,
}

type Named<T> = BTreeMap<&'static str, T>;

#[derive(Serialize)]
struct ResultAverage {
    group: String,
    traces: usize,
    rows: usize,
    hit_ratios: Named<f64>,
    best_peer: Option<f64>,
    best_of_fleeting: Option<f64>,
}

#[derive(Serialize)]
struct ResultRow<'a> {
    trace: &'a str,
    kind: &'a str,
    has_ttl: bool,
    requests: usize,
    size: String,
    entries: usize,
    hit_ratios: Named<f64>,
}

impl<'a> Results<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let comparison = &report.comparison;
        Self {
            machine: &report.machine,
            is_quick: report.is_quick,
            seconds: report.duration.as_secs_f64(),
            seconds_each: named(comparison, |column| Some(comparison.seconds[column])),
            averages: Group::all(comparison)
                .iter()
                .map(|group| ResultAverage::of(comparison, group))
                .collect(),
            rows: comparison.rows.iter().map(|row| ResultRow::of(comparison, row)).collect(),
        }
    }
}

impl ResultAverage {
    fn of(comparison: &Comparison, group: &Group<'_>) -> Self {
        let best = |family| group.best(comparison, family).map(percent);
        Self {
            group: group.name.clone(),
            traces: group.traces(),
            rows: group.rows.len(),
            hit_ratios: named(comparison, |column| group.ratio(column).map(percent)),
            best_peer: best(Family::Peer),
            best_of_fleeting: best(Family::Fleeting),
        }
    }
}

impl<'a> ResultRow<'a> {
    fn of(comparison: &Comparison, row: &'a Row) -> Self {
        Self {
            trace: &row.trace,
            kind: &row.kind,
            has_ttl: row.is_timed,
            requests: row.requests,
            size: row.size.choice.to_string(),
            entries: row.size.entries,
            hit_ratios: named(comparison, |column| row.ratios[column].map(percent)),
        }
    }
}

/// What there is of each contender.
fn named(comparison: &Comparison, value: impl Fn(usize) -> Option<f64>) -> Named<f64> {
    let contenders = comparison.contenders.iter().enumerate();
    contenders.filter_map(|(column, contender)| Some((contender.name, value(column)?))).collect()
}

fn percent(share: f64) -> f64 {
    100.0 * share
}
