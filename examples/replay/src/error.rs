//! Failure: why a replay ended without a result, and the exit code that tells so.

use std::io;
use std::process::ExitCode;

use fleeting::{BuildError, ComputeError};

use crate::database::QueryError;
use crate::trace::TraceError;
use crate::tune::{MissedTarget, Refusal};

/// What was asked for cannot be done: options or the trace are to blame.
const BAD_INPUT: u8 = 2;

/// The report is there, and says that a goal is out of reach.
const MISSED_TARGET: u8 = 3;

/// For `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  The report is complete
    1  Something failed, such as writing it
    2  The options or the file do not allow for one
    3  --target is out of reach: the report of `tune` says what the best is
  130  Ctrl-C was pressed: the report says how far it went";

/// Why a replay ended without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("--virtual: {0} has no timestamps; a TTL trace and an access log have")]
    Timeless(String),
    #[error(transparent)]
    Tune(#[from] Refusal),
    #[error(transparent)]
    MissedTarget(#[from] MissedTarget),
    #[error("the cache: {0}")]
    Build(#[from] BuildError),
    #[error("the temporary folder: {0}")]
    Folder(io::Error),
    #[error("the database: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the database: {0}")]
    Query(#[from] ComputeError<QueryError>),
    #[error("the runtime: {0}")]
    Runtime(io::Error),
    #[error("Ctrl-C cannot be listened to: {0}")]
    Interrupt(#[from] ctrlc::Error),
    #[error("the answer to a request for {asked} was the row of another key")]
    WrongRow { asked: String },
    #[error("a task ended without a result")]
    LostTask,
    #[error("the report: {0}")]
    Report(io::Error),
    #[error("the report: {0}")]
    Json(#[from] serde_json::Error),
}

impl Failure {
    /// What the program exits with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Trace(_) | Self::Timeless(_) | Self::Tune(_) => ExitCode::from(BAD_INPUT),
            Self::MissedTarget(_) => ExitCode::from(MISSED_TARGET),
            _ => ExitCode::FAILURE,
        }
    }
}
