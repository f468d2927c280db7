//! Console: what a program prints, and what it tells while it works.

use std::io::{self, ErrorKind, Write};

use crate::error::Failure;

/// Tells on standard error what goes on. That nobody listens is no failure.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints to standard output. If whoever read it has gone, that is the end and no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Report(error)),
        _ => Ok(()),
    }
}
