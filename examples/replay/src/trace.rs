//! Trace: a file of requests, read line by line.

mod access_log;
mod format;
mod lines;
mod ttl;

use std::io;
use std::path::Path;

use crate::interrupt::Interrupt;
use crate::options::FormatChoice;
use crate::progress;
use crate::stream::{Sink, Stream, StreamBuilder};

use format::Format;
use lines::Lines;

/// How many lines are read between two looks at the world.
const TURN: u64 = 1 << 14;

/// What is wrong with a file; names the line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    #[error("{file}: {error}")]
    Open { file: String, error: io::Error },
    #[error("{file}:{line}: {fault}")]
    Line { file: String, line: u64, fault: Fault },
    #[error("{file}: none of its {lines} lines is a GET or HEAD request")]
    NothingToCache { file: String, lines: u64 },
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("expected more, but the compressed data is cut off")]
    CutOff,
    #[error(transparent)]
    Read(io::Error),
    #[error("expected {expected}, found {found}")]
    Unexpected { expected: &'static str, found: String },
    #[error("expected a line of at most {0} bytes")]
    TooLong(u64),
    #[error("expected a key seen before: there are more than fit into 32 bits")]
    TooManyKeys,
}

/// What a line should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expected(&'static str);

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
}

/// Reads up to `limit` requests of a file into a stream.
pub(crate) fn read(
    path: &Path,
    choice: FormatChoice,
    limit: usize,
    interrupt: &Interrupt,
) -> Result<Stream, TraceError> {
    let mut stream = StreamBuilder::default();
    let source = read_into(&mut stream, path, choice, limit, interrupt)?;
    Ok(stream.build(source.name, source.kind))
}

/// Reads up to `limit` requests of a file.
pub(crate) fn read_into(
    sink: &mut impl Sink,
    path: &Path,
    choice: FormatChoice,
    limit: usize,
    interrupt: &Interrupt,
) -> Result<Source, TraceError> {
    let mut lines = Lines::open(path)?;
    let format = match choice {
        FormatChoice::Auto => Format::detect(lines.peek()?),
        FormatChoice::Numbers => Format::Numbers,
        FormatChoice::Ttl => Format::Ttl,
        FormatChoice::AccessLog => Format::AccessLog,
        FormatChoice::Text => Format::Text,
    };
    fill(sink, &mut lines, format, limit, interrupt)?;
    if sink.len() == 0 && !interrupt.is_raised() {
        return Err(nothing(&lines, sink.skipped_lines()));
    }
    Ok(Source { name: lines.into_name(), kind: format.name() })
}

/// Moves requests from the lines to the sink.
fn fill(
    sink: &mut impl Sink,
    lines: &mut Lines,
    format: Format,
    limit: usize,
    interrupt: &Interrupt,
) -> Result<(), TraceError> {
    let bar = progress::counter("reading");
    if format == Format::Ttl {
        read_header(lines)?;
    }
    while sink.len() < limit {
        if lines.number() % TURN == 0 {
            bar.set(sink.len());
            if interrupt.is_raised() {
                break;
            }
        }
        if !lines.advance()? {
            break;
        }
        read_request(sink, lines.current(), format).map_err(|fault| lines.fault(fault))?;
    }
    Ok(())
}

fn read_header(lines: &mut Lines) -> Result<(), TraceError> {
    let expected = Expected(ttl::EXPECTED_HEADER);
    if !lines.advance()? {
        return Err(lines.fault_at_end(expected.but_found_end()));
    }
    if lines.current() != ttl::HEADER {
        return Err(lines.fault(expected.but_found(lines.current())));
    }
    Ok(())
}

fn read_request(sink: &mut impl Sink, line: &str, format: Format) -> Result<(), Fault> {
    match format.parse(line).map_err(|expected| expected.but_found(line))? {
        Some(record) => sink.push(&record).map_err(|_| Fault::TooManyKeys)?,
        None => sink.skip(),
    }
    Ok(())
}

/// What to say of a file without a request in it.
fn nothing(lines: &Lines, skipped: u64) -> TraceError {
    match skipped {
        0 => lines.fault_at_end(Expected("a request").but_found_end()),
        lines_skipped => {
            TraceError::NothingToCache { file: lines.name().to_owned(), lines: lines_skipped }
        }
    }
}

impl Expected {
    /// How much is shown of a line that is not as expected.
    const SHOWN: usize = 60;

    fn but_found(self, line: &str) -> Fault {
        let shown: String = line.chars().take(Self::SHOWN).collect();
        let dots = if shown.len() < line.len() { "..." } else { "" };
        Fault::Unexpected { expected: self.0, found: format!("{shown:?}{dots}") }
    }

    fn but_found_end(self) -> Fault {
        Fault::Unexpected { expected: self.0, found: "the end of the file".to_owned() }
    }
}
