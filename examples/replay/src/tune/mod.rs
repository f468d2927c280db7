//! Tune: which size, policy and TTL would give which hit rate, from one pass over a file.
//!
//! The file is read once, and only the requests for some of the keys are kept, picked by their
//! hashes: those of a share of the keys form a stream like the whole one, in which a cache of the
//! same share of the size has about the same hit rate. The library's own caches of that size are
//! then driven over what was kept, one for each point of the grid.
//!
//! Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015;
//! Waldspurger, Saemundson, Ahmad and Park, "Cache Modeling and Optimization using Miniature
//! Simulations", ATC 2017.

mod advice;
mod curve;
mod estimate;
mod grid;
mod miniature;
mod options;
mod plot;
mod policy;
mod refusal;
mod report;
mod sample;
mod table;

use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::options::Ttl;
use crate::trace;

use advice::Advice;
use grid::{Cell, Grid};
use report::Report;
use sample::{Sample, SampleBuilder};

pub(crate) use advice::MissedTarget;
pub(crate) use options::Options;
pub(crate) use plot::plot;
pub(crate) use refusal::Refusal;

/// Reads the file, simulates caches, and recommends one.
pub(crate) fn tune(options: &Options, interrupt: &Interrupt) -> Result<Report, Failure> {
    options.plot.as_deref().map_or(Ok(()), Refusal::check_plot)?;
    let mut sample = SampleBuilder::new(options.rate(), options.sample, options.seed);
    let (path, limit) = (&options.file, options.request_limit());
    let source = trace::read_into(&mut sample, path, options.format, limit, interrupt)?;
    let sample = sample.build();
    if interrupt.is_raised() {
        return Ok(Report::new(source, &sample, Vec::new(), true));
    }
    let grid = Grid::new(options, &source.name, &sample)?;
    let cells = grid.fill(&sample, options.seed, interrupt)?;
    let advice = advise(options, &sample, &cells, interrupt)?;
    let mut report = Report::new(source, &sample, cells, interrupt.is_raised());
    // Of half a grid the best is unknown.
    if !report.is_interrupted {
        report.advice = advice;
        report.missed_target = MissedTarget::new(&report.cells, options.wish());
    }
    Ok(report)
}

/// Recommends one of the cells, and a TTL where the file has times and the options leave it open.
fn advise(
    options: &Options,
    sample: &Sample,
    cells: &[Cell],
    interrupt: &Interrupt,
) -> Result<Option<Advice>, Failure> {
    let Some(advice) = Advice::new(cells, options.wish()) else { return Ok(None) };
    let Some(span) = sample.span else { return Ok(Some(advice.timeless())) };
    if advice.setting.ttl != Ttl::Fixed(None) || !options.ttls.is_empty() {
        return Ok(Some(advice));
    }
    let cells = Grid::of_ttls(advice.setting, span).fill(sample, options.seed, interrupt)?;
    Ok(Some(advice.with_ttl_of(&cells, span)))
}
