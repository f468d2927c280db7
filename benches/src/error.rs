//! Failure: why a run ended without a result, and the exit code that tells so.

use std::io;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use crate::hit_ratio::TraceError;

/// What was asked for cannot be done: the options are to blame.
const BAD_INPUT: u8 = 2;

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("--only: no workload has {text:?} in its name; there are: {names}")]
    NothingToMeasure { text: String, names: String },
    #[error("--traces: {}: {error}", path.display())]
    Traces { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("--only: there is no trace {name:?}; there are: {known}")]
    NoTrace { name: String, known: String },
    #[error("--policies: there is no policy {name:?}; there are: {known}")]
    NoPolicy { name: String, known: String },
    #[error("{differing} hit ratios are not as they are published")]
    NotAsPublished { differing: usize },
    #[error("the threads: {0}")]
    Threads(String),
    #[error("{option}: {}: {error}", path.display())]
    Output { option: &'static str, path: PathBuf, error: io::Error },
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
            Self::NothingToMeasure { .. }
            | Self::Traces { .. }
            | Self::Trace(_)
            | Self::NoTrace { .. }
            | Self::NoPolicy { .. }
            | Self::Output { .. } => ExitCode::from(BAD_INPUT),
            _ => ExitCode::FAILURE,
        }
    }
}
