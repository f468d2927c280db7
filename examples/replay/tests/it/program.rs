//! The program under test, in a folder of its own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

/// A folder for traces and temporary files, from which the program is run.
pub(crate) struct Program {
    folder: TempDir,
}

impl Program {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        fs::create_dir(folder.path().join("tmp")).expect("a folder can be made");
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the program puts its temporary files.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path("tmp")
    }

    /// Whether the program has left nothing behind.
    pub(crate) fn is_clean(&self) -> bool {
        files(&self.temporary()).next().is_none()
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).expect("a file can be written");
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replay"));
        command.current_dir(self.folder.path()).args(arguments.split_whitespace());
        command.stdin(Stdio::null()).env("TMPDIR", self.temporary());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("the program can be started")
    }

    /// Runs it with `--json`, and returns what it says.
    pub(crate) fn report(&self, arguments: &str) -> Value {
        let output = self.run(&format!("{arguments} --json"));
        assert_eq!(text(&output.stderr), "", "{arguments}");
        assert_eq!(output.status.code(), Some(0), "{arguments}");
        assert!(self.is_clean(), "{arguments}: leaves something behind");
        serde_json::from_slice(&output.stdout).expect("the report is one JSON value")
    }
}

/// The entries of a folder.
pub(crate) fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    entries.map(|entry| entry.expect("the folder can be read").path())
}

pub(crate) fn gzip(contents: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(contents.as_ref()).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// Numbers, one a line.
pub(crate) fn lines(numbers: impl IntoIterator<Item = u64>) -> String {
    let mut lines = String::new();
    for number in numbers {
        lines += &number.to_string();
        lines.push('\n');
    }
    lines
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program prints text")
}

/// The whole number under a name of a report.
#[track_caller]
pub(crate) fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} is a whole number: {report}"))
}
