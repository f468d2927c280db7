//! Report: what a run found out, in the forms that people and programs read.

mod chart;
mod group;
mod json;
mod markdown;

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::error::Failure;
use crate::machine::Machine;
use crate::options::Options;
use crate::table::Tables;
use crate::target::{Verdict, verdicts};

use self::group::{Form, GROUPS};
use self::json::Results;

/// What a run found out.
pub(crate) struct Report {
    machine: Machine,
    rounds: usize,
    is_quick: bool,
    duration: Duration,
    tables: Tables,
    verdicts: Vec<Verdict>,
}

impl Report {
    pub(crate) fn new(
        machine: Machine,
        options: &Options,
        duration: Duration,
        tables: Tables,
    ) -> Self {
        Self {
            machine,
            rounds: options.scale().rounds,
            is_quick: options.quick,
            duration,
            verdicts: verdicts(&tables),
            tables,
        }
    }

    /// Writes the results as JSON, and the charts.
    pub(crate) fn write_into(&self, folder: &Path) -> Result<(), Failure> {
        let path = folder.join("results.json");
        let text = serde_json::to_string_pretty(&Results::of(self))?;
        fs::write(&path, text).map_err(|error| Failure::Write { path, error })?;
        for group in GROUPS {
            let tables = group.tables(&self.tables);
            let Some(name) = group.chart.filter(|_| !tables.is_empty()) else { continue };
            let path = folder.join(format!("{name}.svg"));
            let drawn = match group.form {
                Form::Bars => chart::bars(&path, group.title, &tables),
                Form::Lines(panels) => chart::lines(&path, group.title, panels, &self.tables),
            };
            drawn.map_err(|error| Failure::Chart { path, reason: error.to_string() })?;
        }
        Ok(())
    }
}
