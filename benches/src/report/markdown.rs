//! Markdown: a report for people.

use std::fmt;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table as Grid};

use crate::number::number;
use crate::samples::Samples;
use crate::table::Table;
use crate::target::{Finding, Mark, Verdict};

use super::Report;
use super::group::{GROUPS, Group};

/// What stands where nothing was measured.
const NOTHING: &str = "–";

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_header(formatter)?;
        for group in GROUPS {
            let tables = group.tables(&self.tables);
            if !tables.is_empty() {
                write_group(formatter, group, &tables)?;
            }
        }
        let verdicts: Vec<_> = self.verdicts.iter().filter(|verdict| verdict.is_known()).collect();
        if verdicts.is_empty() {
            return Ok(());
        }
        writeln!(formatter, "\n## Targets\n\n{}", targets(&verdicts))
    }
}

impl Report {
    fn write_header(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(formatter, "# fleeting and its peers\n")?;
        writeln!(
            formatter,
            "- {}, {} cores, {}",
            machine.processor, machine.cores, machine.system
        )?;
        writeln!(formatter, "- rustc {}", machine.compiler)?;
        let versions = machine.versions.iter().map(|(name, version)| format!("{name} {version}"));
        writeln!(formatter, "- {}", versions.collect::<Vec<_>>().join(", "))?;
        let seconds = self.duration.as_secs();
        writeln!(formatter, "- {}; {} rounds, {seconds} s", machine.date, self.rounds)?;
        writeln!(formatter, "\nMedians of the rounds, and in brackets their quartiles.")?;
        if self.is_quick {
            writeln!(formatter, "\nA quick run: sizes are tiny, whatever the titles say.")?;
        }
        Ok(())
    }
}

/// A row for each contender, a column for each table.
fn write_group(
    formatter: &mut fmt::Formatter<'_>,
    group: &Group,
    tables: &[&Table],
) -> fmt::Result {
    let header = tables.iter().map(|table| format!("{}, {}", table.title, table.unit.name()));
    let mut grid = grid(["contender".to_owned()].into_iter().chain(header));
    for contender in contenders(tables) {
        let cells = tables.iter().map(|table| table.samples(contender));
        let cells = cells.map(|samples| samples.map_or_else(|| NOTHING.to_owned(), cell));
        grid.add_row([contender.to_owned()].into_iter().chain(cells));
    }
    for column in grid.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(formatter, "\n## {}\n\n{grid}", group.title)
}

/// All who are in any of the tables, in the order of their first appearance.
fn contenders<'a>(tables: &[&'a Table]) -> Vec<&'a str> {
    let mut contenders = Vec::new();
    for row in tables.iter().flat_map(|table| &table.rows) {
        if !contenders.contains(&row.contender.as_str()) {
            contenders.push(row.contender.as_str());
        }
    }
    contenders
}

fn targets(verdicts: &[&Verdict]) -> Grid {
    let mut grid = grid(["target", "measured", "must be", ""].map(str::to_owned));
    for verdict in verdicts {
        let measured = verdict.findings.iter().map(measured).collect::<Vec<_>>().join("; ");
        let limits = verdict.findings.iter().map(|finding| finding.limit.as_str());
        let limits = limits.collect::<Vec<_>>().join("; ");
        grid.add_row([verdict.row.to_owned(), measured, limits, verdict.mark.to_string()]);
    }
    grid
}

/// What falls short is marked where a row has several limits.
fn measured(finding: &Finding) -> String {
    match finding.mark {
        Mark::Missed => format!("{} {}", finding.text, finding.mark),
        Mark::Met | Mark::Unknown => finding.text.clone(),
    }
}

fn grid(header: impl IntoIterator<Item = String>) -> Grid {
    let mut grid = Grid::new();
    grid.load_preset(ASCII_MARKDOWN).set_header(header.into_iter().collect::<Vec<_>>());
    grid
}

fn cell(samples: &Samples) -> String {
    let (lower, upper) = samples.quartiles();
    let [median, lower, upper] = [samples.median(), lower, upper].map(number);
    if lower == upper { median } else { format!("{median} ({lower}–{upper})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_shown_where_there_is_one() {
        assert_eq!(cell(&Samples::new(vec![1.0, 2.0, 3.0])), "2 (1.50–2.50)");
        assert_eq!(cell(&Samples::new(vec![2.0])), "2");
    }
}
