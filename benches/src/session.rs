//! Session: one run, from the options to the report.

use std::fs;
use std::time::Instant;

use crate::console::{print, tell};
use crate::error::Failure;
use crate::machine::Machine;
use crate::options::Options;
use crate::report::Report;
use crate::table::Tables;
use crate::workload::{self, Workload, footprint};

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let begin = Instant::now();
    let workloads = chosen(options)?;
    let folder = &options.output;
    let no_folder = |error| Failure::Output { option: "--output", path: folder.clone(), error };
    fs::create_dir_all(folder).map_err(no_folder)?;
    let scale = options.scale();
    let mut tables = Tables::default();
    for (index, workload) in workloads.iter().enumerate() {
        let (number, seconds) = (index + 1, begin.elapsed().as_secs());
        tell(&format!("{number}/{} at {seconds} s: {}", workloads.len(), workload.name));
        tables.add((workload.run)(&scale)?);
    }
    let report = Report::new(Machine::look(), options, begin.elapsed(), tables);
    report.write_into(folder)?;
    print(&report.to_string())
}

pub(crate) fn count_allocations(options: &Options) -> Result<(), Failure> {
    let tables = footprint::measure(&options.scale())?;
    print(&serde_json::to_string(&tables)?)
}

/// The workloads that the options choose; at least one.
fn chosen(options: &Options) -> Result<Vec<&'static Workload>, Failure> {
    let text = options.only.as_deref().unwrap_or_default();
    let chosen: Vec<_> =
        workload::ALL.iter().filter(|workload| workload.name.contains(text)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = workload::ALL.iter().map(|workload| workload.name).collect();
        return Err(Failure::NothingToMeasure { text: text.to_owned(), names: names.join("; ") });
    }
    Ok(chosen)
}
