//! Options: what the command line may say.

use std::path::PathBuf;

use clap::Parser;

use crate::scale::Scale;

/// Fewer rounds say little about spread.
const FEWEST_ROUNDS: u64 = 5;
const MOST_ROUNDS: u64 = 1000;

/// Compares fleeting with other caches, prints tables in Markdown, and writes `results.json` and
/// charts.
#[derive(Parser, Clone, Debug)]
pub(crate) struct Options {
    /// Writes the results and the charts into this folder
    #[arg(long, value_name = "DIR", default_value = "target/benches")]
    pub(crate) output: PathBuf,

    /// How many samples each contender takes of each workload
    #[arg(long, value_name = "COUNT", default_value_t = 7)]
    #[arg(value_parser = clap::value_parser!(u64).range(FEWEST_ROUNDS..=MOST_ROUNDS))]
    rounds: u64,

    /// Runs only the workloads that have this text in their names
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,

    /// Tiny sizes and short samples: shows in seconds that everything works, and nothing about speed
    #[arg(long)]
    pub(crate) quick: bool,

    /// Draws other random numbers
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

impl Options {
    pub(crate) fn scale(&self) -> Scale {
        let rounds = usize::try_from(self.rounds).unwrap_or(usize::MAX);
        let scale = if self.quick { Scale::quick } else { Scale::full };
        scale(rounds, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
