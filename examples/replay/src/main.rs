//! Replays a stream of requests against SQLite, with the cache in front of it and without, and
//! shows what the cache did.

mod database;
mod drive;
mod error;
mod host;
mod interrupt;
mod key;
mod options;
mod progress;
mod report;
mod service;
mod session;
mod stream;
mod table;
mod tally;
mod trace;
mod virtual_time;
mod zipf;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use tempfile::TempDir;

use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::options::Options;
use crate::report::Report;
use crate::session::Session;

fn main() -> ExitCode {
    run(&Options::parse()).unwrap_or_else(|failure| {
        // There is nobody to tell that standard error is closed.
        let _ = writeln!(io::stderr(), "error: {failure}");
        failure.exit_code()
    })
}

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = TempDir::with_prefix("replay-").map_err(Failure::Folder)?;
    let interrupt = Interrupt::listen(folder.path().to_owned())?;
    let report = Session::open(options, folder.path(), &interrupt)?.run()?;
    print(&report, options.json)?;
    Ok(if interrupt.is_raised() { interrupt::EXIT_CODE.into() } else { ExitCode::SUCCESS })
}

/// Prints the report. If whoever read it has gone, that is the end and no failure.
fn print(report: &Report, as_json: bool) -> Result<(), Failure> {
    let text = if as_json { serde_json::to_string(report)? + "\n" } else { report.to_string() };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Report(error)),
        _ => Ok(()),
    }
}
