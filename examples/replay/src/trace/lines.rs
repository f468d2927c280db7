//! Lines: the text of a file, one line at a time, compressed or not.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;
use std::str;

use flate2::bufread::MultiGzDecoder;

use super::{Fault, TraceError};

/// How many lines tell what a file is.
const PEEKED: usize = 16;

/// The longest line there may be: no key is that long.
const LONGEST: u64 = 64 * 1024;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads a file by lines, and skips those that are blank.
pub(super) struct Lines {
    name: String,
    reader: Box<dyn BufRead>,
    /// Lines that were looked at before their turn.
    peeked: VecDeque<(u64, Vec<u8>)>,
    /// How many lines were read from the file.
    read: u64,
    /// The present line and its number, the first being 1.
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, TraceError> {
        let name = path.display().to_string();
        let reader = match open(path) {
            Ok(reader) => reader,
            Err(error) => return Err(TraceError::Open { file: name, error }),
        };
        let line = Vec::new();
        Ok(Self { name, reader, peeked: VecDeque::new(), read: 0, line, number: 0 })
    }

    /// Those of the first lines that are text; all will be read again.
    pub(super) fn peek(&mut self) -> Result<impl Iterator<Item = &str>, TraceError> {
        while self.peeked.len() < PEEKED && self.read_line()? {
            self.peeked.push_back((self.number, self.line.clone()));
        }
        Ok(self.peeked.iter().filter_map(|(_, line)| str::from_utf8(line).ok()))
    }

    /// Goes to the next line; false if there is none.
    pub(super) fn advance(&mut self) -> Result<bool, TraceError> {
        let Some(peeked) = self.peeked.pop_front() else { return self.read_line() };
        (self.number, self.line) = peeked;
        Ok(true)
    }

    /// The present line, if it is text.
    pub(super) fn current(&self) -> Result<&str, Fault> {
        str::from_utf8(&self.line).map_err(|_| Fault::not_text(&self.line))
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn into_name(self) -> String {
        self.name
    }

    /// A fault of the present line.
    pub(super) fn fault(&self, fault: Fault) -> TraceError {
        TraceError::Line { file: self.name.clone(), line: self.number, fault }
    }

    /// A fault of the line that is missing after the last.
    pub(super) fn fault_at_end(&self, fault: Fault) -> TraceError {
        TraceError::Line { file: self.name.clone(), line: self.read + 1, fault }
    }

    /// Reads from the file up to the end of a line that is not blank; false at the end of the file.
    fn read_line(&mut self) -> Result<bool, TraceError> {
        loop {
            self.line.clear();
            let read = self.reader.by_ref().take(LONGEST + 1).read_until(b'\n', &mut self.line);
            if read.map_err(|error| self.fault_at_end(error.into()))? == 0 {
                return Ok(false);
            }
            self.read += 1;
            self.number = self.read;
            if self.line.len() as u64 > LONGEST {
                return Err(self.fault(Fault::TooLong(LONGEST)));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        self.line.truncate(without_line_end(&self.line).len());
        Ok(true)
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Opens a file, and finds out whether it is compressed by what it begins with.
fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path)?);
    if file.fill_buf()?.starts_with(&GZIP_MAGIC) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(file))));
    }
    Ok(Box::new(file))
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Only the decoder misses something at the end.
            ErrorKind::UnexpectedEof => Self::CutOff,
            _ => Self::Read(error),
        }
    }
}
