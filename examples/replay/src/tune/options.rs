//! Options: what the command line may say after `tune`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use indexmap::IndexSet;

use crate::error::EXIT_CODES;
use crate::options::{FormatChoice, MOST_REQUESTS, Share, Ttl};

use super::advice::Wish;
use super::policy::PolicyChoice;

/// Shows which size, policy and TTL would give which hit rate, and recommends one of each.
///
/// The file is read once. Of a large one, only the requests for some of its keys are kept, picked
/// by hash as in SHARDS (Waldspurger et al., FAST 2015), and caches that are smaller by the same
/// share are driven over them, each request at its own time.
///
/// The error that this brings is measured: the sampled keys are divided into 8 parts, and what is
/// shown after `±` is the 95 % confidence by how much these differ. Of 621 hit rates of five recorded
/// traces, at 3 to 50 % of their keys, 94 % were that close to the true ones. It knows nothing of
/// what all 8 have in common: a key that gets much of all requests is in one part at most.
///
/// What is recommended: the shortest TTL within one point of the best hit rate; with it, up to
/// --max-size, the smallest size within one point of the best; there, the cheapest policy that is:
/// the first of those that --policies names. (A tenth of a low hit rate is less than a point, and
/// counts instead.) Without --max-size the bound is the knee of the curve: the point that is furthest
/// above the straight line from no cache to the largest. With --target, the goal is that hit rate
/// instead.
///
/// Where of the TTLs of an access log only `never` is good enough, round times from 1s to 365d are
/// tried with the size and policy that are recommended: the shortest that keeps 99 % of the hit rate
/// without a TTL is recommended with them. How old a value may be, no trace knows: leave TTLs that are
/// too long out of --ttls. With --ttls, no other is recommended.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// What to read, plain or gzip: numbers, one a line; a TTL trace; an HTTP access log in the
    /// common or combined format; or any text, one key a line.
    ///
    /// Of an access log, those requests count that a cache could answer: GET and HEAD, with a status
    /// that is cacheable by default (200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501: RFC
    /// 9110, section 15.1), or 304. The rest is left out and counted.
    ///
    /// Malformed lines are left out and counted, too: those of an access log that have another form,
    /// and of any file those that are not in UTF-8. When most lines are, the file is refused, unless
    /// --format says what it is.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// What the file is, where its first lines are misleading
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: FormatChoice,

    /// Ends after this many requests [default: those of the file]
    #[arg(long, value_name = "COUNT")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MOST_REQUESTS))]
    requests: Option<u64>,

    /// How many entries: counts such as 10000 and shares of the distinct keys such as 10%, with
    /// commas between them [default: 16 from 0.1% to 100%]
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    pub(crate) sizes: Vec<Size>,

    /// Which policies, with commas between them, those first that are preferred
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = PolicyChoice::ALL)]
    policies: Vec<PolicyChoice>,

    /// For how long what is cached is fresh: times such as 60s, `never` for without end, or `trace`
    /// for what the trace says of each request, with commas between them [default: `trace` for a
    /// TTL trace; 1m, 5m, 1h and `never` for an access log; `never` for what has no timestamps]
    #[arg(long, value_name = "TIMES", value_delimiter = ',')]
    pub(crate) ttls: Vec<Lifetime>,

    /// Recommends no more entries than this
    #[arg(long, value_name = "ENTRIES")]
    pub(crate) max_size: Option<NonZeroUsize>,

    /// Recommends what reaches this hit rate, such as 80%. If nothing does, the report says what the
    /// best is, and the exit code is 3
    #[arg(long, value_name = "SHARE")]
    target: Option<Percent>,

    /// Draws the curves into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    /// Keeps at most so many requests in memory: when there are more, those for every second key
    /// are let go, unless few keys were left
    #[arg(long, value_name = "COUNT", default_value = "1000000")]
    pub(crate) sample: NonZeroUsize,

    /// Keeps the requests for this share of the keys to begin with
    #[arg(long, value_name = "SHARE", default_value = "100%")]
    rate: Percent,

    /// Samples other keys
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Prints one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// The most requests to read.
    pub(crate) fn request_limit(&self) -> usize {
        usize::try_from(self.requests.unwrap_or(MOST_REQUESTS)).unwrap_or(usize::MAX)
    }

    /// The share of the keys to keep to begin with.
    pub(crate) fn rate(&self) -> f64 {
        self.rate.0
    }

    /// The policies to try, each once.
    pub(crate) fn policies(&self) -> IndexSet<PolicyChoice> {
        self.policies.iter().copied().collect()
    }

    /// What the recommendation is to keep to.
    pub(crate) fn wish(&self) -> Wish {
        let target = self.target.map(|Percent(share)| share);
        Wish { max_size: self.max_size.map(NonZeroUsize::get), target }
    }
}

/// How many entries a cache has room for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Size {
    Entries(NonZeroUsize),
    Share(Share),
}

impl Size {
    /// The most entries, of a stream of so many keys.
    pub(crate) fn of(self, keys: usize) -> usize {
        match self {
            Self::Entries(entries) => entries.get(),
            Self::Share(share) => share.of(keys),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(percent) = text.strip_suffix('%') {
            return percent.parse().map(Self::Share);
        }
        let entries: usize =
            text.parse().map_err(|_| "expected a count such as 10000, or a share such as 10%")?;
        NonZeroUsize::new(entries).map(Self::Entries).ok_or("must be at least 1".to_owned())
    }
}

/// How long what is cached is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime(pub(crate) Ttl);

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ttl = match text {
            "never" | "none" => Ttl::Fixed(None),
            "trace" => Ttl::OfRequest,
            text => Ttl::Fixed(Some(time(text)?)),
        };
        Ok(Self(ttl))
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| {
        format!("expected a time such as 300s or 5m, `never` or `trace`: {error}")
    })?;
    if time.is_zero() {
        return Err("must be more than 0".to_owned());
    }
    Ok(time)
}

/// A share as people write it: more than 0, and up to 1.
#[derive(Clone, Copy, Debug)]
struct Percent(f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').map(str::trim_end).map(str::parse::<f64>);
        match percent {
            Some(Ok(percent)) if percent > 0.0 && percent <= 100.0 => Ok(Self(percent / 100.0)),
            _ => Err("expected a share such as 80%: more than 0% and at most 100%".to_owned()),
        }
    }
}
