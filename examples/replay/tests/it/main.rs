//! Runs the program, and looks at what it prints and exits with.

mod errors;
mod formats;
mod models;
mod program;
mod runs;
#[cfg(unix)]
mod signals;
mod tune;
