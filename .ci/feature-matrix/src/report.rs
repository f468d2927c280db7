//! The outcome of each step: printed as it comes, counted for the end.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

/// How a step ended; the error is what to show of one that failed.
pub(crate) type Outcome = Result<()>;

/// Counts the steps that passed and those that failed.
#[derive(Default)]
pub(crate) struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    /// Takes a step and prints how it ended and how long it took.
    pub(crate) fn step(&mut self, subject: &str, name: &str, step: impl FnOnce() -> Outcome) {
        let begun = Instant::now();
        let outcome = step();
        let seconds = begun.elapsed().as_secs_f64();
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("{word:6}  {subject:30}  {name:9}  {seconds:6.1} s");
        self.count(outcome);
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => {
                self.failed += 1;
                println!("{error:#}\n");
            }
        }
    }

    /// Prints the sum of all steps and returns what the program exits with.
    pub(crate) fn finish(&self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Fails with one line for each complaint, if there is any.
pub(crate) fn fail_unless_empty(complaints: impl IntoIterator<Item = String>) -> Outcome {
    let complaints: Vec<_> = complaints.into_iter().collect();
    if !complaints.is_empty() {
        bail!(complaints.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_the_whole_and_stops_nothing() {
        let mut report = Report::default();
        report.step("subject", "first", || fail_unless_empty(["a reason".to_owned()]));
        report.step("subject", "second", || fail_unless_empty([]));
        assert_eq!((report.passed, report.failed), (1, 1));
        assert_eq!(report.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn no_failure_is_success() {
        let mut report = Report::default();
        report.step("subject", "only", || Ok(()));
        assert_eq!(report.finish(), ExitCode::SUCCESS);
    }
}
