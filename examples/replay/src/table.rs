//! Table: a report for people.

use std::fmt;
use std::time::Duration;

use comfy_table::{CellAlignment, ColumnConstraint, Table, presets};
use indicatif::HumanCount;

use crate::report::{Baseline, Counts, Report, Setup, Speed};
use crate::tally::Latency;

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.setup)?;
        writeln!(formatter, "{}", self.table())?;
        self.notes().iter().try_for_each(|note| writeln!(formatter, "{note}"))
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, keys) = (size(self.requests_in_source), size(self.distinct_keys));
        writeln!(formatter, "{} ({}): {requests} requests, {keys} keys", self.source, self.format)?;
        self.left_out.fmt(formatter)?;
        writeln!(
            formatter,
            "SQLite, a row of {} bytes for each key, read by {} threads",
            self.payload_bytes, self.database_threads
        )?;
        let room = self.max_size.map(|max_size| format!("at most {} entries", size(max_size)));
        let room = room.as_deref().unwrap_or("any number of entries");
        write!(formatter, "cache: {room}, TTL {}; ", self.ttl)?;
        match (self.runtime, self.virtual_seconds) {
            (Some(runtime), _) => write!(formatter, "{} tasks on {runtime}", self.concurrency),
            (None, seconds) => {
                write!(formatter, "{} s of virtual time", seconds.unwrap_or_default())
            }
        }
    }
}

/// A line of the table: a title, then what is true with the cache, and without it.
type Row = [String; 3];

/// The column of what is true without the cache.
const WITHOUT: usize = 2;

impl Report {
    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["", "with the cache", "without it"]);
        table.add_rows(self.counts.rows(self.without_cache.as_ref()));
        if let Some(speed) = &self.speed {
            table.add_rows(speed.rows(self.without_cache.as_ref(), self.speedup));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if let (None, Some(column)) = (&self.without_cache, table.column_mut(WITHOUT)) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
        table
    }

    /// What must be known to read the table.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_interrupted {
            let (requests, all) = (self.counts.requests, self.setup.requests_in_source);
            notes.push(format!("Interrupted: {} of {} requests.", count(requests), size(all)));
        }
        if let Some(baseline) = self.without_cache.as_ref().filter(|baseline| baseline.is_cut_short)
        {
            let (requests, seconds) = (count(baseline.requests), baseline.seconds);
            notes.push(format!("Without: only the first {requests} requests, in {seconds:.1} s."));
        }
        notes
    }
}

impl Counts {
    fn rows(&self, without: Option<&Baseline>) -> Vec<Row> {
        let avoided = count(self.database_queries_avoided);
        let asked = || without.map(|baseline| count(baseline.requests)).unwrap_or_default();
        vec![
            row("requests", count(self.requests), asked()),
            alone("hit rate", percent(self.hit_rate)),
            row("database queries", count(self.database_queries), asked()),
            alone("queries avoided", format!("{avoided} = {}", percent(self.avoided_rate))),
            alone("coalesced", count(self.coalesced)),
            alone("evictions", count(self.evictions)),
            alone("expirations", count(self.expirations)),
            alone("entries at most", size(self.peak_entries)),
            alone("entries at the end", size(self.entries)),
        ]
    }
}

impl Speed {
    fn rows(&self, without: Option<&Baseline>, speedup: Option<f64>) -> Vec<Row> {
        let (hits, misses) = (self.hit_latency, self.miss_latency);
        let rate = without.map(|baseline| per_second(baseline.requests_per_second));
        let latency = without.and_then(|baseline| baseline.latency);
        let speedup = speedup.map(|speedup| format!("{speedup:.1} ×"));
        vec![
            row(
                "requests a second",
                per_second(self.requests_per_second),
                rate.unwrap_or_default(),
            ),
            alone("speed-up", speedup.unwrap_or_default()),
            alone("hit: median time", time(hits, Latency::median)),
            alone("hit: 99th percentile", time(hits, Latency::p99)),
            row("miss: median time", time(misses, Latency::median), time(latency, Latency::median)),
            row("miss: 99th percentile", time(misses, Latency::p99), time(latency, Latency::p99)),
        ]
    }
}

fn row(title: &str, with: String, without: String) -> Row {
    [title.to_owned(), with, without]
}

fn alone(title: &str, with: String) -> Row {
    row(title, with, String::new())
}

pub(crate) fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

pub(crate) fn size(size: usize) -> String {
    count(size as u64)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive")]
fn per_second(rate: f64) -> String {
    count(rate.round() as u64)
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn time(latency: Option<Latency>, of: impl Fn(&Latency) -> Duration) -> String {
    latency.map(|latency| format!("{:.1?}", of(&latency))).unwrap_or_default()
}
