//! JSON: a report for programs.

use serde::Serialize;

use crate::machine::Machine;
use crate::samples::Samples;
use crate::table::{Table, Unit};
use crate::target::Verdict;

use super::Report;

/// What is written.
#[derive(Serialize)]
pub(super) struct Results<'a> {
    machine: &'a Machine,
    rounds: usize,
    is_quick: bool,
    seconds: f64,
    tables: Vec<ResultTable<'a>>,
    targets: &'a [Verdict],
}

#[derive(Serialize)]
struct ResultTable<'a> {
    title: &'a str,
    unit: Unit,
    higher_is_better: bool,
    rows: Vec<ResultRow<'a>>,
}

#[derive(Serialize)]
struct ResultRow<'a> {
    contender: &'a str,
    median: f64,
    lower_quartile: f64,
    upper_quartile: f64,
    samples: &'a Samples,
}

impl<'a> Results<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        Self {
            machine: &report.machine,
            rounds: report.rounds,
            is_quick: report.is_quick,
            seconds: report.duration.as_secs_f64(),
            tables: report.tables.iter().map(ResultTable::of).collect(),
            targets: &report.verdicts,
        }
    }
}

impl<'a> ResultTable<'a> {
    fn of(table: &'a Table) -> Self {
        let rows = table.rows.iter().map(|row| ResultRow::of(&row.contender, &row.samples));
        Self {
            title: &table.title,
            unit: table.unit,
            higher_is_better: table.unit.is_better_when_higher(),
            rows: rows.collect(),
        }
    }
}

impl<'a> ResultRow<'a> {
    fn of(contender: &'a str, samples: &'a Samples) -> Self {
        let (lower_quartile, upper_quartile) = samples.quartiles();
        Self { contender, median: samples.median(), lower_quartile, upper_quartile, samples }
    }
}
