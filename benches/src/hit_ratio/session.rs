//! Session: one run, from the options to the report.

use std::fs;
use std::time::Instant;

use rayon::ThreadPoolBuilder;

use crate::console::{print, tell};
use crate::error::Failure;
use crate::machine::Machine;

use super::check;
use super::comparison::Comparison;
use super::contender;
use super::options::Options;
use super::report::Report;
use super::trace::Sources;

/// How many requests of a trace are replayed in a quick run.
const QUICK: usize = 3_000;

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let pool = ThreadPoolBuilder::new().num_threads(options.jobs()).build();
    pool.map_err(|error| Failure::Threads(error.to_string()))?.install(|| compare(options))
}

fn compare(options: &Options) -> Result<(), Failure> {
    let begin = Instant::now();
    let contenders = contender::chosen(&options.policies)?;
    let sources = Sources::find(options.traces.as_deref())?;
    if options.check {
        return check::run(sources, &options.only);
    }
    let sources = sources.only(&options.only)?;
    let folder = &options.out;
    let no_folder = |error| Failure::Output { option: "--out", path: folder.clone(), error };
    fs::create_dir_all(folder).map_err(no_folder)?;
    let traces = sources.load(if options.quick { QUICK } else { usize::MAX })?;
    tell(&format!("{} traces, read in {} s", traces.len(), begin.elapsed().as_secs()));
    let comparison = Comparison::run(&traces, contenders);
    let report = Report {
        machine: Machine::look(),
        is_quick: options.quick,
        duration: begin.elapsed(),
        comparison,
    };
    report.write_into(folder)?;
    print(&report.to_string())
}
