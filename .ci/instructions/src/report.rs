//! The comparison of each count with the recorded one: printed as it comes, summed up at the end.

use std::process::ExitCode;

use crate::RECORD;

/// A count may differ by so many percent from the recorded one.
const TOLERANCE: u64 = 5;

/// How a count compares with the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Worse,
    Better,
}

impl Verdict {
    fn new(recorded: u32, now: u32) -> Self {
        let (recorded, now) = (u64::from(recorded), u64::from(now) * 100);
        if now > recorded * (100 + TOLERANCE) {
            Self::Worse
        } else if now < recorded * (100 - TOLERANCE) {
            Self::Better
        } else {
            Self::Same
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Same => "ok",
            Self::Worse => "WORSE",
            Self::Better => "better",
        }
    }
}

/// The verdicts so far.
#[derive(Default)]
pub(crate) struct Report {
    verdicts: Vec<Verdict>,
}

impl Report {
    pub(crate) fn new() -> Self {
        println!("{:6}  {:14}  {:>8}  {:>8}  difference", "", "operation", "recorded", "now");
        Self::default()
    }

    /// Compares a count with the recorded one, and prints both.
    pub(crate) fn compare(&mut self, operation: &str, recorded: u32, now: u32) {
        let verdict = Verdict::new(recorded, now);
        let percent = 100.0 * f64::from(now) / f64::from(recorded) - 100.0;
        let word = verdict.word();
        println!("{word:6}  {operation:14}  {recorded:8}  {now:8}  {percent:+8.1} %");
        self.verdicts.push(verdict);
    }

    /// Prints what the sum of it is, and returns what the program exits with. `changed_tools` are
    /// told as a possible cause.
    pub(crate) fn finish(&self, changed_tools: &[String]) -> ExitCode {
        println!("{}", self.summary(changed_tools));
        if self.number(Verdict::Worse) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn summary(&self, changed_tools: &[String]) -> String {
        let (worse, better) = (self.number(Verdict::Worse), self.number(Verdict::Better));
        let mut lines = vec![format!(
            "{} counts: {worse} more than {TOLERANCE} % above the recorded one, {better} more than \
             {TOLERANCE} % below",
            self.verdicts.len()
        )];
        if worse + better > 0 {
            lines.extend(changed_tools.iter().map(|change| format!("may be why: {change}")));
        }
        if worse > 0 {
            lines.push(format!("if it must be so, record it: {RECORD}"));
        } else if better > 0 {
            lines.push(format!("record it, so that it stays so: {RECORD}"));
        }
        lines.join("\n")
    }

    fn number(&self, of: Verdict) -> usize {
        self.verdicts.iter().filter(|&&verdict| verdict == of).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counts: &[(u32, u32)]) -> Report {
        let mut report = Report::default();
        for &(recorded, now) in counts {
            report.compare("hit", recorded, now);
        }
        report
    }

    #[test]
    fn five_percent_are_tolerated_both_ways() {
        assert_eq!(Verdict::new(1000, 1050), Verdict::Same);
        assert_eq!(Verdict::new(1000, 1051), Verdict::Worse);
        assert_eq!(Verdict::new(1000, 950), Verdict::Same);
        assert_eq!(Verdict::new(1000, 949), Verdict::Better);
    }

    #[test]
    fn the_greatest_counts_are_compared_too() {
        assert_eq!(Verdict::new(u32::MAX, u32::MAX), Verdict::Same);
        assert_eq!(Verdict::new(0, 1), Verdict::Worse);
    }

    #[test]
    fn one_worse_count_fails_the_whole() {
        let report = report(&[(100, 100), (100, 106), (100, 50)]);
        assert_eq!(report.finish(&[]), ExitCode::FAILURE);
        assert!(report.summary(&[]).contains(RECORD));
    }

    #[test]
    fn a_better_count_is_to_be_recorded() {
        let report = report(&[(100, 94)]);
        assert_eq!(report.finish(&[]), ExitCode::SUCCESS);
        assert!(report.summary(&[]).contains(RECORD));
    }

    #[test]
    fn other_tools_are_told_when_a_count_changed() {
        let changed = ["rustc: 1.85 when recorded, 1.86 now".to_owned()];
        assert!(report(&[(100, 106)]).summary(&changed).contains(&changed[0]));
        assert_eq!(report(&[(100, 105)]).summary(&changed).lines().count(), 1);
    }
}
