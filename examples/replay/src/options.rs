//! Options: what the command line may say.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::EXIT_CODES;
use crate::tune;
use crate::zipf::Workload;

/// The most requests and keys: a request takes 4 bytes of memory, a key about 100.
pub(crate) const MOST_REQUESTS: u64 = 1_000_000_000;
const MOST_KEYS: i64 = 100_000_000;
const MOST_TASKS: u64 = 65_536;

/// How many requests are made up, unless the options say.
const DEFAULT_REQUESTS: u64 = 1_000_000;

/// What is kept is fresh for this long, unless the options or the trace say otherwise.
const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// The share of the keys that the cache has room for, unless the options say.
const DEFAULT_SHARE: Share = Share(10.0);

/// Replays a stream of requests against a SQLite database, with a cache in front of it and
/// without, and shows what the cache did.
#[derive(Parser, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) task: Option<Task>,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// What else the program can do.
#[derive(Subcommand, Debug)]
pub(crate) enum Task {
    Tune(tune::Options),
}

// No doc comment: it would be the program's.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Replays this file, plain or gzip: numbers, one a line; a TTL trace; an HTTP access log in
    /// the common or combined format; or any text, one key a line. Without it, a stream of Zipf's
    /// distribution is made up.
    ///
    /// Of an access log, those requests count that a cache could answer: GET and HEAD, with a status
    /// that is cacheable by default (200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501: RFC
    /// 9110, section 15.1), or 304. The rest is left out and counted.
    ///
    /// Malformed lines are left out and counted, too: those of an access log that have another form,
    /// and of any file those that are not in UTF-8. When most lines are, the file is refused, unless
    /// --format says what it is.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// What the file is, where its first lines are misleading
    #[arg(long, value_enum, requires = "trace", default_value_t)]
    pub(crate) format: FormatChoice,

    /// How many keys to make up
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, conflicts_with = "trace")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MOST_KEYS))]
    keys: u32,

    /// How much more popular some made-up keys are than others: the key of rank n is asked for
    /// n^SKEW times less often than the first
    #[arg(long, default_value_t = 1.0, conflicts_with = "trace", value_parser = skew)]
    skew: f64,

    /// Draws other random numbers
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Ends after this many requests [default: those of the file, or 1000000 that are made up]
    #[arg(long, value_name = "COUNT")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MOST_REQUESTS))]
    requests: Option<u64>,

    /// Who runs the tasks. That of smol has one thread, unless `SMOL_THREADS` says otherwise
    #[arg(long, value_enum, default_value_t)]
    pub(crate) runtime: RuntimeChoice,

    /// How many tasks send requests at once; with --virtual, one
    #[arg(long, value_name = "TASKS", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MOST_TASKS))]
    concurrency: u64,

    /// For how long what is cached is fresh, such as 300s or 5m, or `none` for ever [default: what
    /// the trace says of each request, or else 5m]
    #[arg(long, value_name = "TIME")]
    ttl: Option<Limit>,

    /// How many entries the cache may hold: a count such as 10000, a share of the distinct keys
    /// such as 10%, or `none` for no limit [default: 10%; with --virtual, none]
    #[arg(long, value_name = "SIZE")]
    max_size: Option<MaxSize>,

    /// Replays a trace on its own timestamps in virtual time, one request after the other. Finds
    /// out what the TTLs do, and nothing about speed
    #[arg(long = "virtual", requires = "trace")]
    pub(crate) is_virtual: bool,

    /// For how long to run without the cache, for comparison, or `none` to the end
    #[arg(long, value_name = "TIME", default_value = "5s")]
    baseline: Limit,

    /// Prints one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a file may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatChoice {
    /// Looks at the first lines: what most of them are, or else an access log if any resembles one
    #[default]
    Auto,
    /// One number of 64 bits a line
    Numbers,
    /// A header, then a time, a key, a size, a TTL and an operation a line
    Ttl,
    /// The common or combined format of web servers
    AccessLog,
    /// Any text is a key, one a line
    Text,
}

/// Who runs the tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeChoice {
    #[default]
    Tokio,
    Smol,
    AsyncStd,
}

/// How long something may last, if not for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(Option<Duration>);

/// How many entries a cache may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MaxSize {
    Unbounded,
    Entries(NonZeroUsize),
    Share(Share),
}

/// More than none, and up to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(f64);

/// How long what is cached is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ttl {
    /// As the trace says of each request.
    OfRequest,
    /// For all alike; `None` is for ever.
    Fixed(Option<Duration>),
}

impl Options {
    pub(crate) fn workload(&self) -> Workload {
        let requests = self.requests.unwrap_or(DEFAULT_REQUESTS);
        let requests = usize::try_from(requests).unwrap_or(usize::MAX);
        Workload { requests, keys: self.keys, skew: self.skew, seed: self.seed }
    }

    /// The most requests to read.
    pub(crate) fn request_limit(&self) -> usize {
        let limit = self.requests.unwrap_or(MOST_REQUESTS);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    pub(crate) fn concurrency(&self) -> usize {
        usize::try_from(self.concurrency).unwrap_or(usize::MAX)
    }

    /// The most entries, of a stream of so many keys.
    pub(crate) fn max_size(&self, keys: usize) -> Option<usize> {
        let default =
            if self.is_virtual { MaxSize::Unbounded } else { MaxSize::Share(DEFAULT_SHARE) };
        match self.max_size.unwrap_or(default) {
            MaxSize::Unbounded => None,
            MaxSize::Entries(entries) => Some(entries.get()),
            MaxSize::Share(share) => Some(share.of(keys)),
        }
    }

    /// How long what is cached is fresh; `has_ttls` tells whether the requests say so themselves.
    pub(crate) fn ttl(&self, has_ttls: bool) -> Ttl {
        match self.ttl {
            Some(Limit(ttl)) => Ttl::Fixed(ttl),
            None if has_ttls => Ttl::OfRequest,
            None => Ttl::Fixed(Some(DEFAULT_TTL)),
        }
    }

    /// How long the run without the cache may last.
    pub(crate) fn baseline(&self) -> Option<Duration> {
        self.baseline.0
    }
}

impl RuntimeChoice {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let limit = humantime::parse_duration(text)
            .map_err(|error| format!("expected a time such as 300s or 5m, or `none`: {error}"))?;
        if limit.is_zero() {
            return Err("must be more than 0".to_owned());
        }
        Ok(Self(Some(limit)))
    }
}

impl FromStr for MaxSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Unbounded);
        }
        if let Some(percent) = text.strip_suffix('%') {
            return percent.parse().map(Self::Share);
        }
        let entries: usize = text
            .parse()
            .map_err(|_| "expected a count such as 10000, a share such as 10%, or `none`")?;
        let entries = NonZeroUsize::new(entries).ok_or("must be at least 1")?;
        Ok(Self::Entries(entries))
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent: f64 = text.trim().parse().map_err(|_| "expected a number before the `%`")?;
        if !(percent > 0.0 && percent <= 100.0) {
            return Err("a share must be more than 0% and at most 100%".to_owned());
        }
        Ok(Self(percent))
    }
}

impl Share {
    /// This share of `keys`, rounded up: at least one.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the result lies between 0 and the number of keys, which fits into 32 bits"
    )]
    pub(crate) fn of(self, keys: usize) -> usize {
        let share = (keys as f64 * self.0 / 100.0).ceil() as usize;
        share.max(1)
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfRequest => formatter.write_str("of each request"),
            Self::Fixed(None) => formatter.write_str("none"),
            Self::Fixed(Some(ttl)) => humantime::format_duration(*ttl).fmt(formatter),
        }
    }
}

fn skew(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(skew) if skew.is_finite() && skew >= 0.0 => Ok(skew),
        _ => Err("expected a number that is not negative, such as 1.0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_consistent() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_share_is_rounded_up() {
        let max_size = |text: &str, keys| match text.parse() {
            Ok(MaxSize::Share(share)) => share.of(keys),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(max_size("10%", 20_484), 2_049);
        assert_eq!(max_size("100%", 954), 954);
        assert_eq!(max_size("0.001%", 10), 1);
    }

    #[test]
    fn a_share_outside_of_its_range_is_refused() {
        for text in ["0%", "-1%", "100.1%", "NaN%", "inf%", "%", "0", "-1", "", "ten", "1.5"] {
            assert!(text.parse::<MaxSize>().is_err(), "{text}");
        }
    }
}
