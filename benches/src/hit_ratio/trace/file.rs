//! A trace in a file: a request in each line, compressed by gzip or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{Life, Request, Requests};

/// The first line of a trace with times to live.
const HEADER: &str = "# timestamp_s key size_bytes ttl_s op";

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How much is shown of a line that is not as expected.
const SHOWN: usize = 60;

/// What is wrong with a trace; names the file and the line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    #[error("{}: {error}", path.display())]
    Open { path: PathBuf, error: io::Error },
    #[error("{}:{line}: {error}", path.display())]
    Read { path: PathBuf, line: usize, error: io::Error },
    #[error("{}:{line}: the compressed data is cut off", path.display())]
    CutOff { path: PathBuf, line: usize },
    #[error("{}:{line}: expected {expected}, found {found:?}", path.display())]
    Unexpected { path: PathBuf, line: usize, expected: &'static str, found: String },
    #[error("{}: there is no request in it", path.display())]
    Empty { path: PathBuf },
}

/// Reads up to `limit` requests.
pub(super) fn read(path: &Path, limit: usize) -> Result<Requests, TraceError> {
    let mut reader =
        open(path).map_err(|error| TraceError::Open { path: path.to_owned(), error })?;
    let mut requests = Requests::default();
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        let read = reader.read_line(&mut text).map_err(|error| fault(path, line, error))?;
        if read == 0 || requests.keys.len() == limit {
            break;
        }
        if line == 1 && text.trim_end() == HEADER {
            requests.lives = Some(Vec::new());
            continue;
        }
        requests.push(text.trim_end()).map_err(|expected| {
            let found = text.trim_end().chars().take(SHOWN).collect();
            TraceError::Unexpected { path: path.to_owned(), line, expected, found }
        })?;
    }
    if requests.keys.is_empty() {
        return Err(TraceError::Empty { path: path.to_owned() });
    }
    Ok(requests)
}

/// Opens a file, and finds out whether it is compressed by what it begins with.
fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path)?);
    if file.fill_buf()?.starts_with(&GZIP_MAGIC) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(file))));
    }
    Ok(Box::new(file))
}

fn fault(path: &Path, line: usize, error: io::Error) -> TraceError {
    let path = path.to_owned();
    match error.kind() {
        // Only the decoder misses something at the end.
        ErrorKind::UnexpectedEof => TraceError::CutOff { path, line },
        _ => TraceError::Read { path, line, error },
    }
}

impl Requests {
    /// Adds the request in a line, or says what the line should have been.
    fn push(&mut self, line: &str) -> Result<(), &'static str> {
        let Some(lives) = &mut self.lives else {
            self.keys.push(line.parse().map_err(|_| "an unsigned 64-bit number")?);
            return Ok(());
        };
        let request = timed(line)?;
        self.keys.push(request.key);
        lives.push(request.life);
        Ok(())
    }
}

fn timed(line: &str) -> Result<Request, &'static str> {
    let mut fields = line.split_whitespace();
    let fields = [(); 6].map(|()| fields.next());
    let [Some(timestamp), Some(key), Some(_size), Some(ttl), Some(_operation), None] = fields
    else {
        return Err("the five fields `timestamp_s key size_bytes ttl_s op`");
    };
    let now = micros(timestamp).ok_or("seconds in the field timestamp_s")?;
    let key = key.parse().map_err(|_| "an unsigned 64-bit number in the field key")?;
    let ttl = micros(ttl).ok_or("seconds in the field ttl_s")?;
    Ok(Request { key, life: Life { now, ttl } })
}

fn micros(seconds: &str) -> Option<u64> {
    let time = std::time::Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    u64::try_from(time.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str], lives: Option<Vec<Life>>) -> Result<Requests, &'static str> {
        let mut requests = Requests { lives, ..Requests::default() };
        texts.iter().try_for_each(|line| requests.push(line))?;
        Ok(requests)
    }

    #[test]
    fn keys_are_numbers() {
        let requests = Requests { keys: vec![7, u64::MAX], lives: None };
        assert_eq!(parse(&["7", "18446744073709551615"], None), Ok(requests));
        assert!(parse(&["-7"], None).is_err());
        assert!(parse(&[""], None).is_err());
    }

    #[test]
    fn a_life_has_a_begin_and_a_length() {
        let life = Life { now: 1_500_000, ttl: 60_000_000 };
        let requests = Requests { keys: vec![7], lives: Some(vec![life]) };
        assert_eq!(parse(&["1.5 7 44 60 get"], Some(Vec::new())), Ok(requests));
    }

    #[test]
    fn each_field_is_checked() {
        let fault = |line| parse(&[line], Some(Vec::new())).expect_err("the line is wrong");
        assert!(fault("x 7 44 60 get").ends_with("timestamp_s"));
        assert!(fault("1 -7 44 60 get").ends_with("key"));
        assert!(fault("1 7 44 -1 get").ends_with("ttl_s"));
        assert!(fault("1 7 44 60").contains("five fields"));
        assert!(fault("1 7 44 60 get more").contains("five fields"));
    }
}
