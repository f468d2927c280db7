//! Counts the instructions of a call of each kind, and fails when one takes more than was recorded
//! in `counts.toml`: the arguments, and the order of the work.

mod counts;
mod report;
mod tools;
mod valgrind;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use operations::Operation;

use crate::counts::Record;
use crate::report::Report;
use crate::tools::Tools;
use crate::valgrind::Valgrind;

const COUNTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.toml");
const RECORD: &str = "cargo run --release --locked -p instructions -- --record";

/// Counts the instructions of a call of each kind under valgrind, and fails when one takes over 5 %
/// more than counts.toml says.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Arguments {
    /// Writes what was counted to counts.toml, and compares nothing
    #[arg(long)]
    record: bool,
    #[command(subcommand)]
    inner: Option<Inner>,
}

/// What the program asks of itself, under valgrind.
#[derive(Subcommand)]
enum Inner {
    #[command(hide = true)]
    Repeat { operation: Operation, calls: u32 },
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Inner::Repeat { operation, calls }) = arguments.inner {
        operation.repeat(calls);
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(!cfg!(debug_assertions), "counts are those of a release build: cargo run --release");
    let tools = Tools::here()?;
    let valgrind = Valgrind::new()?;
    if arguments.record { record(&valgrind, tools) } else { check(&valgrind, &tools) }
}

fn record(valgrind: &Valgrind, tools: Tools) -> Result<ExitCode> {
    let mut record = Record { tools, counts: BTreeMap::new() };
    for &operation in Operation::value_variants() {
        let count = valgrind.count(operation)?;
        println!("{:14}  {count:8}", operation.name());
        record.counts.insert(operation.name(), count);
    }
    record.write(Path::new(COUNTS))?;
    println!("recorded in {COUNTS}");
    Ok(ExitCode::SUCCESS)
}

fn check(valgrind: &Valgrind, tools: &Tools) -> Result<ExitCode> {
    let record = Record::read(Path::new(COUNTS))?;
    let operations = Operation::value_variants();
    record.has_exactly(&operations.iter().map(|operation| operation.name()).collect())?;
    let mut report = Report::new();
    for &operation in operations {
        let name = operation.name();
        report.compare(&name, record.counts[&name], valgrind.count(operation)?);
    }
    Ok(report.finish(&record.tools.changes(tools)))
}
