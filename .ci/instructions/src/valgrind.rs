//! Valgrind: runs this program, and counts the instructions that it takes.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use operations::Operation;
use tempfile::TempDir;

/// This program, to be run under valgrind.
pub(crate) struct Valgrind {
    program: PathBuf,
    folder: TempDir,
}

impl Valgrind {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { program: env::current_exe()?, folder: TempDir::new()? })
    }

    /// Counts the instructions of one call.
    ///
    /// Twice as many calls take so many more: what comes before and after the calls cancels out.
    pub(crate) fn count(&self, operation: Operation) -> Result<u32> {
        let calls = operation.calls();
        let once = self.run(operation, calls)?;
        let twice = self.run(operation, 2 * calls)?;
        per_call(once, twice, calls).with_context(|| operation.name())
    }

    /// Counts the instructions of the whole program that makes so many calls.
    fn run(&self, operation: Operation, calls: u32) -> Result<u64> {
        let written = self.folder.path().join("callgrind.out");
        let mut out_file = OsString::from("--callgrind-out-file=");
        out_file.push(&written);
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--tool=callgrind"]).arg(out_file).arg(&self.program).args([
            "repeat",
            &operation.name(),
            &calls.to_string(),
        ]);
        let output = command.stdin(Stdio::null()).output().context("valgrind cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
        total(&fs::read_to_string(written)?).context("callgrind wrote no total")
    }
}

/// Returns the instructions that callgrind counted: the only event, unless it is asked for more.
fn total(written: &str) -> Option<u64> {
    // At the end of the file, so it is whole. The summary at its head says the same.
    written.lines().rev().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// Returns the instructions of one call, to the nearest.
fn per_call(once: u64, twice: u64, calls: u32) -> Result<u32> {
    let calls = u64::from(calls);
    let more = twice.checked_sub(once).context("twice the calls took fewer instructions")?;
    Ok(u32::try_from((more + calls / 2) / calls)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_what_callgrind_says_at_the_end() {
        assert_eq!(total(WRITTEN), Some(19_100_580));
    }

    #[test]
    fn a_file_that_was_cut_off_has_no_total() {
        let (cut, _) = WRITTEN.split_once("totals").expect("it has a total");
        assert_eq!(total(cut), None);
        assert_eq!(total(""), None);
    }

    #[test]
    fn several_events_are_not_taken_for_one() {
        assert_eq!(total("totals: 19100580 42"), None);
    }

    #[test]
    fn what_is_not_a_call_cancels_out() {
        assert_eq!(per_call(1_000 + 80, 1_000 + 160, 8).expect("it is more"), 10);
    }

    #[test]
    fn counts_are_rounded_to_the_nearest() {
        assert_eq!(per_call(0, 83, 8).expect("it is more"), 10);
        assert_eq!(per_call(0, 84, 8).expect("it is more"), 11);
    }

    #[test]
    fn calls_that_take_less_than_nothing_are_an_error() {
        assert!(per_call(2, 1, 8).is_err());
    }

    const WRITTEN: &str = "\
# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 10365
cmd:  instructions repeat insert-evict 16384
part: 1

desc: Trigger: Program termination

positions: line
events: Ir
summary: 19100580

ob=(2) ???
fl=(52) ???
fn=(1456) 0x0000000004838030
0 1

totals: 19100580
";
}
