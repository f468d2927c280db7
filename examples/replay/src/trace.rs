//! Trace: a file of requests, read line by line.

mod access_log;
mod format;
mod lines;
mod ttl;

use std::io;
use std::path::Path;

use crate::interrupt::Interrupt;
use crate::left_out::LeftOut;
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
    #[error("{first}; read as {format}, {malformed} of {lines} lines are malformed{remedy}")]
    Malformed { first: Box<Self>, format: &'static str, malformed: u64, lines: u64, remedy: String },
    #[error(
        "{file}: none of its {requests} requests is cacheable: a GET or HEAD with a status such as 200"
    )]
    NothingToCache { file: String, requests: u64 },
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("expected more, but the compressed data is cut off")]
    CutOff,
    #[error(transparent)]
    Read(io::Error),
    #[error("expected text in UTF-8, found {found}")]
    NotText { found: String },
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
    pub(crate) left_out: LeftOut,
}

/// Lines that were left out, and the error that the first malformed one is.
#[derive(Debug, Default)]
struct Rest {
    left_out: LeftOut,
    first: Option<TraceError>,
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
    Ok(stream.build(source.name, source.kind, source.left_out))
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
    let rest = fill(sink, &mut lines, format, limit, interrupt)?;
    let left_out = rest.left_out;
    if !interrupt.is_raised() {
        rest.check(choice, format, sink.len() as u64)?;
    }
    if sink.len() == 0 && !interrupt.is_raised() {
        return Err(nothing(&lines, left_out.skipped_lines));
    }
    Ok(Source { name: lines.into_name(), kind: format.name(), left_out })
}

/// Moves requests from the lines to the sink. Returns what is left out.
fn fill(
    sink: &mut impl Sink,
    lines: &mut Lines,
    format: Format,
    limit: usize,
    interrupt: &Interrupt,
) -> Result<Rest, TraceError> {
    let bar = progress::counter("reading");
    let mut rest = Rest::default();
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
        match read_request(sink, lines, format) {
            Ok(true) => {}
            Ok(false) => rest.left_out.skipped_lines += 1,
            Err(fault) if fault.is_passed_over(format) => {
                rest.add(lines.fault(fault), lines.number());
            }
            Err(fault) => return Err(lines.fault(fault)),
        }
    }
    Ok(rest)
}

fn read_header(lines: &mut Lines) -> Result<(), TraceError> {
    let expected = Expected(ttl::EXPECTED_HEADER);
    if !lines.advance()? {
        return Err(lines.fault_at_end(expected.but_found_end()));
    }
    let line = lines.current().map_err(|fault| lines.fault(fault))?;
    if line != ttl::HEADER {
        return Err(lines.fault(expected.but_found(line)));
    }
    Ok(())
}

/// Moves the request of the present line to the sink; false if it has one that nobody would cache.
fn read_request(sink: &mut impl Sink, lines: &Lines, format: Format) -> Result<bool, Fault> {
    let line = lines.current()?;
    let record = format.parse(line).map_err(|expected| expected.but_found(line))?;
    let Some(record) = record else { return Ok(false) };
    sink.push(&record).map_err(|_| Fault::TooManyKeys)?;
    Ok(true)
}

impl Rest {
    fn add(&mut self, error: TraceError, line: u64) {
        self.left_out.add_malformed(line);
        self.first.get_or_insert(error);
    }

    /// Refuses a file of which nothing has the format; or less than half, if it was only detected.
    fn check(self, choice: FormatChoice, format: Format, requests: u64) -> Result<(), TraceError> {
        let Some(first) = self.first else { return Ok(()) };
        let (malformed, others) =
            (self.left_out.malformed_lines, self.left_out.skipped_lines + requests);
        if malformed <= others || choice != FormatChoice::Auto && others > 0 {
            return Ok(());
        }
        Err(TraceError::Malformed {
            first: Box::new(first),
            format: format.name(),
            malformed,
            lines: malformed + others,
            remedy: format.remedy(others > 0),
        })
    }
}

/// What to say of a file without a request in it.
fn nothing(lines: &Lines, skipped: u64) -> TraceError {
    match skipped {
        0 => lines.fault_at_end(Expected("a request").but_found_end()),
        requests => TraceError::NothingToCache { file: lines.name().to_owned(), requests },
    }
}

impl Fault {
    fn not_text(line: &[u8]) -> Self {
        Self::NotText { found: shown(&String::from_utf8_lossy(line)) }
    }

    /// Whether a line that has it is left out, and the rest is read all the same.
    fn is_passed_over(&self, format: Format) -> bool {
        match self {
            Self::NotText { .. } => true,
            Self::Unexpected { .. } => format.may_have_malformed_lines(),
            _ => false,
        }
    }
}

/// How much is shown of a line that is not as expected.
const SHOWN: usize = 60;

fn shown(line: &str) -> String {
    let shown: String = line.chars().take(SHOWN).collect();
    let dots = if shown.len() < line.len() { "..." } else { "" };
    format!("{shown:?}{dots}")
}

impl Expected {
    fn but_found(self, line: &str) -> Fault {
        Fault::Unexpected { expected: self.0, found: shown(line) }
    }

    fn but_found_end(self) -> Fault {
        Fault::Unexpected { expected: self.0, found: "the end of the file".to_owned() }
    }
}
