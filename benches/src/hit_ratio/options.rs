//! Options: what the command line may say.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use clap::Parser;

/// Replays traces through fleeting's eviction policies, those of other caches and the best there can
/// be, prints tables in Markdown, and writes them, `hit-ratio.json` and a chart for each trace.
#[derive(Parser, Clone, Debug)]
#[command(name = "hit-ratio")]
pub(crate) struct Options {
    /// Replays the traces in this folder. Without it those in ../shared/traces, and if there are none,
    /// made-up ones
    #[arg(long, value_name = "DIR")]
    pub(crate) traces: Option<PathBuf>,

    /// Writes the results and the charts into this folder
    #[arg(long, value_name = "DIR", default_value = "target/hit-ratio")]
    pub(crate) out: PathBuf,

    /// Replays only the traces with these names
    #[arg(long, value_name = "TRACE", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Compares only these policies, such as `lru` or `fleeting-lru`, and whole families: `fleeting`,
    /// `peers`, `exact`, `moka`
    #[arg(long, value_name = "POLICY", value_delimiter = ',')]
    pub(crate) policies: Vec<String>,

    /// How many replays run at a time [default: as many as there are cores]
    #[arg(long, value_name = "COUNT")]
    jobs: Option<NonZero<usize>>,

    /// Only the begin of each trace: shows in seconds that everything works
    #[arg(long)]
    pub(crate) quick: bool,

    /// Replays only what others have published, and compares
    #[arg(long, conflicts_with_all = ["policies", "quick"])]
    pub(crate) check: bool,
}

impl Options {
    pub(crate) fn jobs(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, Into::into);
        self.jobs.map_or_else(cores, Into::into)
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
