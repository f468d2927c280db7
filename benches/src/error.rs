//! Failure: why a run ended without a result, and the exit code that tells so.

use std::io;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

/// What was asked for cannot be done: the options are to blame.
const BAD_INPUT: u8 = 2;

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("--only: no workload has {text:?} in its name; there are: {names}")]
    NothingToMeasure { text: String, names: String },
    #[error("--output: {}: {error}", path.display())]
    Output { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("the report: {0}")]
    Report(io::Error),
    #[error("the report: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the chart {}: {reason}", path.display())]
    Chart { path: PathBuf, reason: String },
    #[error("the runtime: {0}")]
    Runtime(io::Error),
    #[error("the program that counts allocations: {0}")]
    Memory(io::Error),
    #[error("the program that counts allocations ended with {0}")]
    MemoryStatus(ExitStatus),
}

impl Failure {
    /// What the program exits with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::NothingToMeasure { .. } | Self::Output { .. } => ExitCode::from(BAD_INPUT),
            _ => ExitCode::FAILURE,
        }
    }
}
