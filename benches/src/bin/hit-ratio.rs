//! Replays traces through fleeting's policies and those of its peers.

use std::process::ExitCode;

fn main() -> ExitCode {
    benches::compare_hit_ratios()
}
