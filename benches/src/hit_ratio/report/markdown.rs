//! Markdown: a report for people.

use std::fmt;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table as Grid};

use crate::hit_ratio::average::{Group, miss_reduction};
use crate::hit_ratio::comparison::{Comparison, Row};
use crate::hit_ratio::contender::{Contender, Family};

use super::Report;
use super::distance::Distance;

/// What stands where somebody did not take part.
const NOTHING: &str = "–";

const RULES: &str = "\
Hit ratios in percent: one thread, one pass, cold start. Each request is a `get`, and if it misses, an \
`insert` of an entry that weighs 1. Sizes are shares of the distinct keys, and those of earlier work (lit). \
FIFO, LRU and S3-FIFO without a prefix are exact, as in the papers; OPT is Belady's policy with bypass: none \
can be above it. moka does its bookkeeping after each call (strict), or when it chooses to; then it holds some \
64 entries too many, so below 6,400 it stands in brackets. TinyUFO: the mean of three runs. Bold: the best \
peer, and the best of fleeting.";

const AVERAGES: &str = "\
The mean over traces of the mean over the rows of a trace. The best of each row are several: no single one \
reaches that.";

const REDUCTION: &str = "\
By how much of FIFO's misses there are fewer; where there are more, by how much of its own FIFO has fewer. \
Percent, mean over the traces.";

const DISTANCE: &str = "\
The gap to the best peer of each row, in percentage points; below 0 where it is better. How many rows have no \
gap, the mean over traces, the worst row; and the mean gap to the best of fleeting's policies.";

const TIMED: &str = "\
Answers have times to live. The value stored is the time of expiry, an expired entry stays until it is read or \
evicted; with an own TTL, fleeting expires them itself.";

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_header(formatter)?;
        let comparison = &self.comparison;
        let groups = Group::all(comparison);
        if let Some(all) = groups.first() {
            writeln!(
                formatter,
                "\n## Averages\n\n{AVERAGES}\n\n{}",
                averages(comparison, &groups)
            )?;
            if let Some(grid) = reductions(comparison, &groups) {
                writeln!(formatter, "\n## Fewer misses than FIFO\n\n{REDUCTION}\n\n{grid}")?;
            }
            if let Some(grid) = distances(comparison, all) {
                writeln!(formatter, "\n## Distance from the best peer\n\n{DISTANCE}\n\n{grid}")?;
            }
            writeln!(formatter, "\n## All rows\n\n{}", rows(comparison, false))?;
        }
        if comparison.rows.iter().any(|row| row.is_timed) {
            writeln!(
                formatter,
                "\n## With times to live\n\n{TIMED}\n\n{}",
                rows(comparison, true)
            )?;
        }
        self.write_charts(formatter)
    }
}

impl Report {
    fn write_header(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(formatter, "# Hit ratios of fleeting and its peers\n\n{RULES}\n")?;
        let versions = machine.versions.iter();
        let versions = versions.filter(|(crate_name, _)| COMPARED.contains(crate_name));
        let versions = versions.map(|(name, version)| format!("{name} {version}"));
        writeln!(formatter, "- {}", versions.collect::<Vec<_>>().join(", "))?;
        let (traces, rows) = (self.traces().count(), self.comparison.rows.len());
        let seconds = self.duration.as_secs();
        writeln!(formatter, "- {}; {traces} traces, {rows} rows, {seconds} s", machine.date)?;
        if self.is_quick {
            writeln!(formatter, "\nA quick run: only the begin of each trace.")?;
        }
        Ok(())
    }

    fn write_charts(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "\n## Curves\n")?;
        for name in self.traces().map(|rows| &rows[0].trace) {
            writeln!(formatter, "![{name}]({name}.svg)")?;
        }
        Ok(())
    }
}

/// The crates whose versions matter here.
const COMPARED: [&str; 7] =
    ["fleeting", "TinyUFO", "foyer-memory", "mini-moka", "moka", "quick_cache", "sieve-cache"];

/// A row for each group.
fn averages(comparison: &Comparison, groups: &[Group<'_>]) -> Grid {
    let columns = shown(comparison, false);
    let best = [("best of fleeting", Family::Fleeting), ("best peer", Family::Peer)];
    let header = ["group", "traces", "rows"].into_iter();
    let header = header.chain(names(comparison, &columns)).chain(best.map(|(name, _)| name));
    let mut grid = grid(header, 1);
    for group in groups {
        let fair = |column| group.is_fair(comparison, column);
        let cells = cells(comparison, &columns, |column| group.ratio(column), fair);
        let best = best.map(|(_, family)| number(group.best(comparison, family)));
        let counts = [group.traces(), group.rows.len()].map(|count| count.to_string());
        let begin = [group.name.clone()].into_iter().chain(counts);
        grid.add_row(begin.chain(cells).chain(best));
    }
    grid
}

/// A row for each share of the distinct keys. Nothing without FIFO.
fn reductions(comparison: &Comparison, groups: &[Group<'_>]) -> Option<Grid> {
    let fifo = comparison.contenders.iter().position(|contender| contender.name == "FIFO")?;
    let columns = shown(comparison, false);
    let header = ["size", "traces"].into_iter().chain(names(comparison, &columns));
    let mut grid = grid(header, 1);
    for group in groups.iter().filter(|group| group.name.ends_with("of distinct")) {
        let reduction =
            |row: &Row, column: usize| Some(miss_reduction(row.ratios[column]?, row.ratios[fifo]?));
        let of = |column| group.average(|row| reduction(row, column));
        let cells =
            columns.iter().map(|&column| of(column).map_or_else(|| NOTHING.to_owned(), tenths));
        grid.add_row([group.name.clone(), group.traces().to_string()].into_iter().chain(cells));
    }
    Some(grid)
}

/// A row for each contender but the optimum. Nothing without peers.
fn distances(comparison: &Comparison, all: &Group<'_>) -> Option<Grid> {
    let header = [
        "policy",
        "rows without a gap",
        "mean gap",
        "worst gap",
        "where",
        "mean gap to fleeting's",
    ];
    let mut grid = grid(header, 1);
    for column in shown(comparison, false) {
        let contender = comparison.contenders[column];
        if contender.name == "OPT" || !all.is_fair(comparison, column) {
            continue;
        }
        let distance = Distance::new(comparison, all, column, Family::Peer)?;
        let own = Distance::new(comparison, all, column, Family::Fleeting);
        grid.add_row([
            title(contender),
            format!("{} of {}", distance.reached, distance.rows),
            format!("{:.2}", distance.mean),
            format!("{:.2}", distance.worst_gap),
            format!("{} at {}", distance.worst.trace, distance.worst.size.entries),
            own.map_or_else(|| NOTHING.to_owned(), |distance| format!("{:.2}", distance.mean)),
        ]);
    }
    Some(grid)
}

/// A row for each trace and size.
fn rows(comparison: &Comparison, are_timed: bool) -> Grid {
    let columns = shown(comparison, are_timed);
    let header = ["trace", "size", "entries"].into_iter().chain(names(comparison, &columns));
    let mut grid = grid(header, 2);
    let mut last = "";
    for row in comparison.rows.iter().filter(|row| row.is_timed == are_timed) {
        let fair = |column: usize| comparison.contenders[column].is_fair_at(row.size);
        let cells = cells(comparison, &columns, |column| row.ratios[column], fair);
        let trace = if row.trace == last { "" } else { row.trace.as_str() };
        let size = [row.size.choice.to_string(), row.size.entries.to_string()];
        grid.add_row([trace.to_owned()].into_iter().chain(size).chain(cells));
        last = &row.trace;
    }
    grid
}

/// Hit ratios; the best of fleeting and of its peers are bold, and those in brackets whose are not fair.
fn cells(
    comparison: &Comparison,
    columns: &[usize],
    ratio: impl Fn(usize) -> Option<f64>,
    is_fair: impl Fn(usize) -> bool,
) -> Vec<String> {
    let best = |family| {
        let members = comparison.columns(family).filter(|column| columns.contains(column));
        members
            .filter(|&column| is_fair(column))
            .map(|column| number(ratio(column)))
            .max_by(by_value)
    };
    let (best_own, best_peer) = (best(Family::Fleeting), best(Family::Peer));
    let cell = |&column: &usize| {
        let text = number(ratio(column));
        let best = match comparison.contenders[column].family {
            Family::Fleeting => &best_own,
            Family::Peer => &best_peer,
            Family::Exact => &None,
        };
        match ratio(column) {
            Some(_) if !is_fair(column) => format!("({text})"),
            Some(_) if best.as_ref() == Some(&text) => format!("**{text}**"),
            _ => text,
        }
    };
    columns.iter().map(cell).collect()
}

/// Compares what is shown, so that what looks the same is the same.
fn by_value(one: &String, other: &String) -> std::cmp::Ordering {
    let value = |text: &String| text.parse().unwrap_or(f64::NEG_INFINITY);
    value(one).total_cmp(&value(other))
}

/// Those who took part.
fn shown(comparison: &Comparison, are_timed: bool) -> Vec<usize> {
    let mut rows = comparison.rows.iter().filter(|row| row.is_timed == are_timed);
    let Some(row) = rows.next() else { return Vec::new() };
    (0..row.ratios.len()).filter(|&column| row.ratios[column].is_some()).collect()
}

fn names(comparison: &Comparison, columns: &[usize]) -> impl Iterator<Item = &'static str> {
    columns.iter().map(|&column| comparison.contenders[column].name)
}

fn title(contender: &Contender) -> String {
    match contender.family {
        Family::Fleeting => format!("**{}**", contender.name),
        Family::Exact | Family::Peer => contender.name.to_owned(),
    }
}

/// Percent with a digit behind the point; what rounds to nothing has no sign.
fn tenths(share: f64) -> String {
    format!("{:.1}", (1000.0 * share).round() / 10.0 + 0.0)
}

fn number(share: Option<f64>) -> String {
    share.map_or_else(|| NOTHING.to_owned(), |share| format!("{:.2}", 100.0 * share))
}

/// The first columns are of text, the others of numbers.
fn grid<'a>(header: impl IntoIterator<Item = &'a str>, texts: usize) -> Grid {
    let mut grid = Grid::new();
    grid.load_preset(ASCII_MARKDOWN).set_header(header.into_iter().collect::<Vec<_>>());
    for column in grid.column_iter_mut().skip(texts) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    grid
}
