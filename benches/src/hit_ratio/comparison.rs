//! Comparison: the hit ratios of all contenders, on all traces and at all sizes.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rayon::prelude::*;

use crate::console::tell;

use super::contender::{Contender, Family};
use super::size::{Size, sizes};
use super::trace::Trace;

/// The hit ratios of all contenders.
pub(crate) struct Comparison {
    pub(crate) contenders: Vec<&'static Contender>,
    pub(crate) rows: Vec<Row>,
    /// For each contender, how long its replays took in all.
    pub(crate) seconds: Vec<f64>,
}

/// The hit ratios on one trace at one size.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) trace: String,
    pub(crate) kind: String,
    pub(crate) is_timed: bool,
    pub(crate) requests: usize,
    pub(crate) size: Size,
    /// For each contender, hits by requests; nothing, if it does not take part.
    pub(crate) ratios: Vec<Option<f64>>,
}

/// All runs of one contenders on one trace at one size.
struct Job<'a> {
    trace: &'a Trace,
    contender: &'static Contender,
    row: usize,
    column: usize,
}

/// What a job has found out.
struct Outcome {
    row: usize,
    column: usize,
    ratio: f64,
    seconds: f64,
}

impl Comparison {
    /// Replays all traces, several at a time.
    pub(crate) fn run(traces: &[Trace], contenders: Vec<&'static Contender>) -> Self {
        let mut rows = Vec::new();
        let mut jobs = Vec::new();
        for trace in traces {
            for size in sizes(trace.distinct, &trace.literature) {
                let columns = contenders.iter().enumerate();
                let columns = columns.filter(|(_, contender)| contender.takes_part_in(trace));
                let row = rows.len();
                jobs.extend(columns.map(|(column, contender)| Job {
                    trace,
                    contender,
                    row,
                    column,
                }));
                rows.push(Row::new(trace, size, contenders.len()));
            }
        }
        // The long ones first, or one of them would be left at the end for one core alone.
        jobs.sort_by_key(|job| Reverse(job.trace.len()));
        let mut seconds = vec![0.0; contenders.len()];
        for outcome in run_all(&jobs, &rows) {
            rows[outcome.row].ratios[outcome.column] = Some(outcome.ratio);
            seconds[outcome.column] += outcome.seconds;
        }
        Self { contenders, rows, seconds }
    }

    /// The columns of the contenders of a family.
    pub(crate) fn columns(&self, family: Family) -> impl Iterator<Item = usize> {
        let all = self.contenders.iter().enumerate();
        all.filter(move |(_, contender)| contender.family == family).map(|(column, _)| column)
    }

    /// The hit ratio of the best of a family, among those that keep to their room.
    pub(crate) fn best(&self, row: &Row, family: Family) -> Option<f64> {
        let columns = self.columns(family);
        let fair = columns.filter(|&column| self.contenders[column].is_fair_at(row.size));
        fair.filter_map(|column| row.ratios[column]).reduce(f64::max)
    }
}

impl Row {
    fn new(trace: &Trace, size: Size, columns: usize) -> Self {
        Self {
            trace: trace.name.clone(),
            kind: trace.kind.clone(),
            is_timed: trace.is_timed(),
            requests: trace.len(),
            size,
            ratios: vec![None; columns],
        }
    }
}

fn run_all(jobs: &[Job<'_>], rows: &[Row]) -> Vec<Outcome> {
    let begin = Instant::now();
    let done = AtomicUsize::new(0);
    let run = |job: &Job<'_>| {
        let outcome = job.run(rows[job.row].size);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(jobs.len().div_ceil(TOLD)) {
            let seconds = begin.elapsed().as_secs();
            tell(&format!("{done}/{} at {seconds} s: {}", jobs.len(), job.trace.name));
        }
        outcome
    };
    // In their order, unlike what comes of splitting the list.
    jobs.iter().par_bridge().map(run).collect()
}

/// How often it is told how far the replays are.
const TOLD: usize = 20;

impl Job<'_> {
    fn run(&self, size: Size) -> Outcome {
        let begin = Instant::now();
        let run = |_| (self.contender.replay)(self.trace, size.entries);
        let hits = (0..self.contender.runs).map(run).sum();
        let requests = self.trace.len() as u64 * u64::from(self.contender.runs);
        let (row, column) = (self.row, self.column);
        Outcome {
            row,
            column,
            ratio: share(hits, requests),
            seconds: begin.elapsed().as_secs_f64(),
        }
    }
}

/// A part of a whole.
#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 requests")]
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
