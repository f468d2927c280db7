//! Sources: where traces come from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::Failure;

use super::{Requests, Trace, TraceError, file, generator};

/// Where traces lie beside the repository.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces");

/// What the names of traces end with.
const ENDINGS: [&str; 2] = [".txt.gz", ".txt"];

/// Traces that could be read, in the order of their names.
pub(crate) struct Sources(Vec<Source>);

struct Source {
    name: String,
    origin: Origin,
}

enum Origin {
    File(PathBuf),
    Generator(generator::Generator),
}

impl Sources {
    /// The traces in a folder; without one those beside the repository, or made-up ones.
    pub(crate) fn find(folder: Option<&Path>) -> Result<Self, Failure> {
        if let Some(folder) = folder {
            return Self::in_folder(folder)
                .map_err(|error| Failure::Traces { path: folder.to_owned(), error });
        }
        Ok(Self::in_folder(Path::new(FOLDER)).unwrap_or_else(|_| Self::made_up()))
    }

    fn in_folder(folder: &Path) -> io::Result<Self> {
        let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        let files: Vec<_> = files.collect::<io::Result<_>>()?;
        let mut sources: Vec<_> = files.into_iter().filter_map(Source::of).collect();
        if sources.is_empty() {
            let endings = ENDINGS.join(" or ");
            return Err(io::Error::other(format!("there is no file ending with {endings} in it")));
        }
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self(sources))
    }

    fn made_up() -> Self {
        let source = |generator: generator::Generator| Source {
            name: generator.name.to_owned(),
            origin: Origin::Generator(generator),
        };
        Self(generator::ALL.map(source).into())
    }

    /// Keeps those with these names; all, if there are no names.
    pub(crate) fn only<T: AsRef<str>>(mut self, names: &[T]) -> Result<Self, Failure> {
        let is = |source: &Source, name: &T| source.name == name.as_ref();
        if let Some(unknown) = names.iter().find(|name| !self.0.iter().any(|one| is(one, name))) {
            let known: Vec<_> = self.0.iter().map(|source| source.name.as_str()).collect();
            let (name, known) = (unknown.as_ref().to_owned(), known.join(", "));
            return Err(Failure::NoTrace { name, known });
        }
        if !names.is_empty() {
            self.0.retain(|source| names.iter().any(|name| is(source, name)));
        }
        Ok(self)
    }

    /// Reads up to `limit` requests of each.
    pub(crate) fn load(&self, limit: usize) -> Result<Vec<Trace>, Failure> {
        let load = |source: &Source| Ok(Trace::new(&source.name, source.read(limit)?));
        self.0.par_iter().map(load).collect()
    }
}

impl Source {
    fn of(path: PathBuf) -> Option<Self> {
        let file = path.file_name()?.to_str()?;
        let name = ENDINGS.iter().find_map(|ending| file.strip_suffix(ending))?.to_owned();
        Some(Self { name, origin: Origin::File(path) })
    }

    fn read(&self, limit: usize) -> Result<Requests, TraceError> {
        match &self.origin {
            Origin::File(path) => file::read(path, limit),
            Origin::Generator(generator) => {
                Ok(Requests { keys: generator.make(limit), lives: None })
            }
        }
    }
}
