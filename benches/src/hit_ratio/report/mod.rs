//! Report: what was found out, in the forms that people and programs read.

mod curve;
mod distance;
mod json;
mod markdown;

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::error::Failure;
use crate::machine::Machine;

use super::comparison::{Comparison, Row};

use self::json::Results;

/// What was found out.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) is_quick: bool,
    pub(crate) duration: Duration,
    pub(crate) comparison: Comparison,
}

impl Report {
    /// Writes the tables, the results as JSON, and a chart for each trace.
    pub(crate) fn write_into(&self, folder: &Path) -> Result<(), Failure> {
        write(&folder.join("hit-ratio.md"), &self.to_string())?;
        let json = serde_json::to_string_pretty(&Results::of(self))?;
        write(&folder.join("hit-ratio.json"), &json)?;
        for rows in self.traces() {
            let path = folder.join(format!("{}.svg", rows[0].trace));
            curve::draw(&path, &self.comparison.contenders, rows)
                .map_err(|error| Failure::Chart { path, reason: error.to_string() })?;
        }
        Ok(())
    }

    /// The rows of each trace.
    fn traces(&self) -> impl Iterator<Item = &[Row]> {
        self.comparison.rows.chunk_by(|row, next| row.trace == next.trace)
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::Write { path: path.to_owned(), error })
}
