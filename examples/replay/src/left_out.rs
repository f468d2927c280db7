//! Left out: the lines of a source that are not replayed, and why.

use std::fmt;

use serde::Serialize;

use crate::table::count;

/// How many lines of a source are not replayed, and why.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct LeftOut {
    /// Lines with a request that no cache could answer.
    pub(crate) skipped_lines: u64,
    /// Lines that are no text, or do not have the format.
    pub(crate) malformed_lines: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_malformed_line: Option<u64>,
}

impl LeftOut {
    /// Counts the malformed line that has a number.
    pub(crate) fn add_malformed(&mut self, line: u64) {
        self.malformed_lines += 1;
        self.first_malformed_line.get_or_insert(line);
    }
}

/// A line for each reason; nothing if nothing is left out.
impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.skipped_lines > 0 {
            let skipped = count(self.skipped_lines);
            writeln!(formatter, "lines left out as not cacheable, by method or status: {skipped}")?;
        }
        let Some(line) = self.first_malformed_line else { return Ok(()) };
        let malformed = count(self.malformed_lines);
        writeln!(formatter, "lines left out as malformed: {malformed}, the first is line {line}")
    }
}
