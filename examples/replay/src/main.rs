//! Replays a stream of requests against SQLite, with the cache in front of it and without, and
//! shows what the cache did; or tells which size, policy and TTL would do how much.

mod database;
mod drive;
mod error;
mod host;
mod interrupt;
mod key;
mod left_out;
mod options;
mod progress;
mod report;
mod service;
mod session;
mod stream;
mod table;
mod tally;
mod trace;
mod tune;
mod virtual_time;
mod zipf;

use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use tempfile::TempDir;

use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::options::{CommandLine, Options, Task};
use crate::session::Session;

fn main() -> ExitCode {
    run(&CommandLine::parse()).unwrap_or_else(|failure| {
        // There is nobody to tell that standard error is closed.
        let _ = writeln!(io::stderr(), "error: {failure}");
        failure.exit_code()
    })
}

fn run(line: &CommandLine) -> Result<ExitCode, Failure> {
    let interrupt = match &line.task {
        Some(Task::Tune(options)) => tune(options),
        None => replay(&line.options),
    }?;
    Ok(if interrupt.is_raised() { interrupt::EXIT_CODE.into() } else { ExitCode::SUCCESS })
}

fn replay(options: &Options) -> Result<Interrupt, Failure> {
    let folder = TempDir::with_prefix("replay-").map_err(Failure::Folder)?;
    let path = folder.path().to_owned();
    // Nothing is left to do about a folder that cannot be removed.
    let interrupt = Interrupt::listen(move || drop(fs::remove_dir_all(&path)))?;
    let report = Session::open(options, folder.path(), &interrupt)?.run()?;
    print(&report, options.json)?;
    Ok(interrupt)
}

fn tune(options: &tune::Options) -> Result<Interrupt, Failure> {
    let interrupt = Interrupt::listen(|| ())?;
    let report = tune::tune(options, &interrupt)?;
    print(&report, options.json)?;
    if let Some(path) = &options.plot {
        tune::plot(&report, path)?;
    }
    report.missed_target.map_or(Ok(interrupt), |missed| Err(missed.into()))
}

/// Prints a report. If whoever read it has gone, that is the end and no failure.
fn print(report: &(impl Display + Serialize), as_json: bool) -> Result<(), Failure> {
    let text = if as_json { serde_json::to_string(report)? + "\n" } else { report.to_string() };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Report(error)),
        _ => Ok(()),
    }
}
