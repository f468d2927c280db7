//! Table: a report for people.

use std::fmt;
use std::time::Duration;

use comfy_table::{CellAlignment, ColumnConstraint, Table, presets};
use indexmap::IndexSet;

use crate::options::Ttl;
use crate::table::{percent, size};

use super::advice::{Advice, KEPT, MissedTarget, Rule, TtlRule};
use super::estimate::{Estimate, PARTS};
use super::grid::Cell;
use super::policy::PolicyChoice;
use super::report::Report;

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = if self.is_exact() { "" } else { "about " };
        let (requests, keys) = (size(self.requests), size(self.distinct_keys));
        writeln!(
            formatter,
            "{} ({}): {requests} requests, {about}{keys} keys",
            self.source, self.format
        )?;
        self.left_out.fmt(formatter)?;
        if !self.cells.is_empty() {
            writeln!(formatter, "{}\n{}", self.method(), self.table())?;
        }
        self.notes().iter().try_for_each(|note| writeln!(formatter, "{note}"))?;
        self.advice.iter().try_for_each(|advice| advice.fmt(formatter))
    }
}

impl Report {
    /// How the figures came about.
    fn method(&self) -> String {
        let ttls = self.ttls();
        let ttl = match ttls.first() {
            Some(ttl) if ttls.len() == 1 => format!(" with the TTL `{}`", ttl_name(*ttl)),
            _ => String::new(),
        };
        if self.is_exact() {
            return format!("hit rates in %{ttl}:");
        }
        format!(
            "hit rates in %{ttl}, by {} requests for {} of the keys; ± is 95 % confidence, as \
             {PARTS} parts of these keys differ:",
            size(self.sampled_requests),
            percent(self.sampling_rate)
        )
    }

    /// A row for each TTL and size, and a column for each policy.
    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        let policies = self.policies();
        let titles = policies.iter().map(|policy| policy.title());
        table.set_header(["TTL", "entries"].into_iter().chain(titles));
        for (ttl, max_size) in self.rows() {
            let estimate = |policy: &PolicyChoice| self.estimate(ttl, max_size, *policy);
            let estimates = policies.iter().map(estimate);
            table.add_row([ttl_name(ttl), size(max_size)].into_iter().chain(estimates));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if let (1, Some(column)) = (self.ttls().len(), table.column_mut(0)) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
        table
    }

    pub(crate) fn policies(&self) -> IndexSet<PolicyChoice> {
        self.cells.iter().map(|cell| cell.setting.policy).collect()
    }

    pub(crate) fn ttls(&self) -> IndexSet<Ttl> {
        self.cells.iter().map(|cell| cell.setting.ttl).collect()
    }

    fn rows(&self) -> IndexSet<(Ttl, usize)> {
        self.cells.iter().map(|cell| (cell.setting.ttl, cell.setting.max_size)).collect()
    }

    /// What is known of a setting: nothing, perhaps, after an interruption.
    fn estimate(&self, ttl: Ttl, max_size: usize, policy: PolicyChoice) -> String {
        let is_meant = |cell: &&Cell| {
            let setting = cell.setting;
            (setting.ttl, setting.max_size, setting.policy) == (ttl, max_size, policy)
        };
        let cell = self.cells.iter().find(is_meant);
        cell.map(|cell| self.show(cell.estimate)).unwrap_or_default()
    }

    /// In percent. The error is rounded up: it is no less than what is shown.
    fn show(&self, Estimate { hit_rate, error }: Estimate) -> String {
        if self.is_exact() {
            return format!("{:.2}", 100.0 * hit_rate);
        }
        format!("{:.1} ± {:.1}", 100.0 * hit_rate, (1000.0 * error).ceil() / 10.0)
    }

    /// What must be known to read the table.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(MissedTarget { target, best }) = self.missed_target {
            let (target, best) = (percent(target), percent(best));
            notes.push(format!(
                "The target of {target} cannot be reached with what the table has: the best is {best}."
            ));
        }
        if self.is_interrupted {
            notes
                .push("Interrupted: not all was simulated, and nothing is recommended.".to_owned());
        } else if self.advice.is_none() {
            notes.push("Nothing is recommended: no size hits.".to_owned());
        }
        notes
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hit_rate = percent(self.estimate.hit_rate);
        writeln!(formatter, "Recommended, for a hit rate of {hit_rate}: {}", self.rule)?;
        self.ttl_note().iter().try_for_each(|note| writeln!(formatter, "{note}"))?;
        writeln!(formatter, "\n{}", self.builder)
    }
}

impl Advice {
    /// Where the TTL comes from, or has to come from.
    fn ttl_note(&self) -> Option<String> {
        let note = match (self.ttl_rule, self.setting.ttl) {
            (TtlRule::Keeps { without_ttl, shorter_span }, ttl) => {
                return Some(kept_note(ttl, without_ttl, shorter_span));
            }
            (TtlRule::Timeless, _) => {
                "The file has no timestamps: add `.ttl(..)`, by how stale a value may be."
            }
            (TtlRule::OfSize, Ttl::OfRequest) => {
                "Each value's own TTL is for `expiry`, or `entry(key).ttl(..)`."
            }
            (TtlRule::OfSize, Ttl::Fixed(None)) => {
                "Without a TTL a value may be stale for ever: add `.ttl(..)`, by how stale it may be."
            }
            (TtlRule::OfSize, Ttl::Fixed(Some(_))) => return None,
        };
        Some(note.to_owned())
    }
}

fn kept_note(ttl: Ttl, without_ttl: Estimate, shorter_span: Option<Duration>) -> String {
    let (name, kept, hit_rate) = (ttl_name(ttl), 100.0 * KEPT, percent(without_ttl.hit_rate));
    let bound = shorter_span.map(|span| {
        let span = ttl_name(Ttl::Fixed(Some(span)));
        format!(" The file spans only {span}: it shows nothing of longer ones.")
    });
    format!(
        "The TTL {name} is the shortest of round times that keeps {kept} % of the hit rate without a \
         TTL, {hit_rate}.{}",
        bound.unwrap_or_default()
    )
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = "the shortest TTL, then the smallest size, then the cheapest policy";
        let near = "within one point of the best (within a tenth, if that is less)";
        match self {
            Self::Target { hit_rate } => {
                write!(formatter, "{order} to reach {}.", percent(*hit_rate))
            }
            Self::MissedTarget { hit_rate } => {
                write!(formatter, "{order} {near}; {} is out of reach.", percent(*hit_rate))
            }
            Self::MaxSize { entries } => {
                write!(formatter, "{order} {near} up to {} entries.", size(*entries))
            }
            Self::Knee { entries } => {
                write!(formatter, "{order} {near} up to {} entries, ", size(*entries))?;
                formatter.write_str("the knee of the curve.")
            }
        }
    }
}

/// A TTL as the options have it.
pub(crate) fn ttl_name(ttl: Ttl) -> String {
    match ttl {
        Ttl::OfRequest => "trace".to_owned(),
        Ttl::Fixed(None) => "never".to_owned(),
        Ttl::Fixed(Some(ttl)) => humantime::format_duration(ttl).to_string(),
    }
}
