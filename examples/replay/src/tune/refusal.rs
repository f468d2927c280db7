//! Refusal: what options ask for that cannot be told of this file.

use std::path::{Path, PathBuf};

/// What options ask for that cannot be told of this file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("--ttls: {0} has no timestamps; a TTL trace and an access log have")]
    Timeless(String),
    #[error("--ttls: {0} says nothing of TTLs; a TTL trace does")]
    Endless(String),
    #[error("--rate: {keys} keys of {file} are too few; {least} are needed")]
    TooFewKeys { file: String, keys: usize, least: usize },
    #[error("{option}: at least {least} entries are needed, as not all keys are sampled")]
    TooSmall { option: &'static str, least: usize },
    #[error("--plot: {}: {error}", path.display())]
    Plot { path: PathBuf, error: String },
}

impl Refusal {
    /// Refuses to write to a folder that is not there, before the work is done.
    pub(crate) fn check_plot(path: &Path) -> Result<(), Self> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.map_or(Ok(()), |parent| parent.read_dir().map(drop));
        folder.map_err(|error| Self::Plot { path: path.to_owned(), error: error.to_string() })
    }
}
