//! Compares fleeting with other caches: in the same process and run, in turns.
//!
//! ```sh
//! cargo run --release --package benches
//! ```
//!
//! For each workload, all contenders are made ready. Then come the rounds: in each, every contender
//! takes one sample, and each round begins with another one, so that a machine that becomes slower
//! does so for all. A sample is a loop of as many calls as take about 40 ms, after some that are
//! not timed. Keys are prepared beforehand.
//!
//! What calls leave for later counts: a sample of writes ends when the cache has done it. Caches
//! have room for a quarter more than is to stay in them, because shards do not fill evenly. Values
//! are `u64`, as keys are, unless the workload says otherwise.
//!
//! What is timed uses the system's allocator as it is. What is allocated is counted by another
//! program of this package, `memory`, which the first one builds and runs. How many requests the
//! eviction policies find is replayed by a third, `hit-ratio`.

mod console;
mod contender;
mod drawing;
mod error;
mod hand;
mod hit_ratio;
mod keys;
mod machine;
mod number;
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

/// Replays traces through many eviction policies; the program `hit-ratio`.
#[must_use]
pub fn compare_hit_ratios() -> ExitCode {
    exit(hit_ratio::run(&hit_ratio::Options::parse()))
}

fn exit(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    // There is nobody to tell that standard error is closed.
    let _ = writeln!(io::stderr(), "error: {failure}");
    failure.exit_code()
}
