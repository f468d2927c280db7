//! Compares fleeting with its peers.

use std::process::ExitCode;

fn main() -> ExitCode {
    benches::compare()
}
