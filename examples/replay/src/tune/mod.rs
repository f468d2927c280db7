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
use crate::trace;

use advice::Advice;
use grid::Grid;
use report::Report;
use sample::SampleBuilder;

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
    let is_interrupted = interrupt.is_raised();
    let mut report = Report::new(source, &sample, cells, is_interrupted);
    // Of half a grid the best is unknown.
    if !is_interrupted {
        report.advice = Advice::new(&report.cells, options.wish());
        report.missed_target = MissedTarget::new(&report.cells, options.wish());
    }
    Ok(report)
}
