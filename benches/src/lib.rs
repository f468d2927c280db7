//! Compares fleeting with other caches: in the same process and run, in turns.
//!
//! ```sh
//! cargo run --release --package benches
//! ```

mod contender;
mod error;
mod hand;
mod keys;
mod machine;
mod options;
mod report;
mod round;
mod samples;
mod scale;
mod session;
mod table;
mod target;
mod workload;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::error::Failure;
use crate::options::Options;

/// Runs all workloads and reports; the program `benches`.
#[must_use]
pub fn compare() -> ExitCode {
    exit(session::run(&Options::parse()))
}

/// Counts what is allocated, and prints it as JSON; the program `memory`, whose allocator counts.
#[must_use]
pub fn count_allocations() -> ExitCode {
    exit(session::count_allocations(&Options::parse()))
}

fn exit(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    // There is nobody to tell that standard error is closed.
    let _ = writeln!(io::stderr(), "error: {failure}");
    failure.exit_code()
}
