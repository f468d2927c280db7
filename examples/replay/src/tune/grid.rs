//! Grid: every TTL with every policy and size, and what hit rate each has.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fleeting::BuildError;
use serde::Serialize;

use crate::interrupt::Interrupt;
use crate::options::Ttl;
use crate::progress;

use super::estimate::{Estimate, PARTS};
use super::miniature::{Miniature, Setting};
use super::options::Options;
use super::refusal::Refusal;
use super::sample::Sample;

/// Smaller miniatures say little of large caches: 16 entries for each of the parts.
const LEAST_ENTRIES: usize = 16 * PARTS;

/// What is tried of an access log, unless the options say.
const TTLS: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(3600)];

/// What is tried with the size that is recommended, where none of these is enough: round times in
/// seconds, from one to a year, the shortest first.
const ROUND_TIMES: [u64; 24] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000,
];

/// How many sizes are tried, unless the options say; the least is this share of the keys.
const SIZES: i32 = 16;
const LEAST_SHARE: f64 = 0.001;

/// Every TTL with every policy and size.
#[derive(Debug)]
pub(crate) struct Grid {
    settings: Vec<Setting>,
}

/// What hit rate a setting has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Cell {
    #[serde(flatten)]
    pub(crate) setting: Setting,
    #[serde(flatten)]
    pub(crate) estimate: Estimate,
}

impl Grid {
    /// What the options ask for, or else what suits the sample of a file.
    pub(crate) fn new(options: &Options, file: &str, sample: &Sample) -> Result<Self, Refusal> {
        let (ttls, sizes) = (ttls(options, file, sample)?, sizes(options, file, sample)?);
        let mut settings = Vec::new();
        for ttl in ttls {
            for policy in options.policies() {
                settings.extend(sizes.iter().map(|&max_size| Setting { ttl, policy, max_size }));
            }
        }
        Ok(Self { settings })
    }

    /// One setting with round times as its TTL: those shorter than the sample, and one that is longer.
    pub(crate) fn of_ttls(setting: Setting, span: Duration) -> Self {
        let times = ROUND_TIMES.map(Duration::from_secs);
        let shorter = times.iter().take_while(|time| **time <= span).count();
        let times = times.into_iter().take(shorter + 1);
        let with_ttl = |time| Setting { ttl: Ttl::Fixed(Some(time)), ..setting };
        Self { settings: times.map(with_ttl).collect() }
    }

    /// Tries every setting, on all processors; those not yet tried are absent after an interruption.
    pub(crate) fn fill(
        &self,
        sample: &Sample,
        seed: u64,
        interrupt: &Interrupt,
    ) -> Result<Vec<Cell>, BuildError> {
        let bar = progress::bar("simulating", self.settings.len());
        let next = AtomicUsize::new(0);
        let work = || {
            let mut cells = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(&setting) = self.settings.get(place) else { return Ok(cells) };
                bar.set(place);
                let Some(estimate) = estimate(setting, sample, seed, interrupt)? else {
                    return Ok(cells);
                };
                cells.push((place, Cell { setting, estimate }));
            }
        };
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let results: Vec<Result<Vec<_>, BuildError>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().expect("a simulation does not panic")
            };
            threads.into_iter().map(join).collect()
        });
        let mut cells = results.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        cells.sort_unstable_by_key(|(place, _)| *place);
        Ok(cells.into_iter().map(|(_, cell)| cell).collect())
    }
}

/// The hit rate of a setting; `None` after an interruption.
fn estimate(
    setting: Setting,
    sample: &Sample,
    seed: u64,
    interrupt: &Interrupt,
) -> Result<Option<Estimate>, BuildError> {
    let misses = |parts| -> Result<_, BuildError> {
        let miniature = Miniature::new(setting, sample.rate(), parts, seed)?;
        Ok(miniature.misses(sample, interrupt))
    };
    let Some(whole) = misses(1)? else { return Ok(None) };
    if sample.is_whole() {
        return Ok(Some(Estimate::exact(sample, whole[0])));
    }
    let parts = misses(PARTS)?;
    Ok(parts.map(|parts| Estimate::of(sample, whole[0], &parts)))
}

/// The TTLs to try, the shortest first.
fn ttls(options: &Options, file: &str, sample: &Sample) -> Result<Vec<Ttl>, Refusal> {
    let mut ttls: Vec<_> = options.ttls.iter().map(|lifetime| lifetime.0).collect();
    if ttls.is_empty() {
        return Ok(default_ttls(sample));
    }
    if ttls.contains(&Ttl::OfRequest) && !sample.has_ttls() {
        return Err(Refusal::Endless(file.to_owned()));
    }
    if sample.span.is_none() && ttls.iter().any(|ttl| *ttl != Ttl::Fixed(None)) {
        return Err(Refusal::Timeless(file.to_owned()));
    }
    ttls.sort_by_key(|ttl| match ttl {
        Ttl::OfRequest => Duration::ZERO,
        Ttl::Fixed(ttl) => ttl.unwrap_or(Duration::MAX),
    });
    ttls.dedup();
    Ok(ttls)
}

fn default_ttls(sample: &Sample) -> Vec<Ttl> {
    if sample.has_ttls() {
        return vec![Ttl::OfRequest];
    }
    let span = sample.span.unwrap_or_default();
    let shorter = TTLS.into_iter().filter(|ttl| *ttl < span).map(|ttl| Ttl::Fixed(Some(ttl)));
    shorter.chain([Ttl::Fixed(None)]).collect()
}

/// The sizes to try, the smallest first.
fn sizes(options: &Options, file: &str, sample: &Sample) -> Result<Vec<usize>, Refusal> {
    let least = least_size(sample);
    check_keys(file, sample)?;
    if options.max_size.is_some_and(|max_size| max_size.get() < least) {
        return Err(Refusal::TooSmall { option: "--max-size", least });
    }
    let keys = sample.keys_in_source();
    let mut sizes: Vec<_> = options.sizes.iter().map(|size| size.of(keys)).collect();
    if sizes.iter().any(|size| *size < least) {
        return Err(Refusal::TooSmall { option: "--sizes", least });
    }
    if sizes.is_empty() {
        sizes.extend(default_sizes(keys).filter(|size| *size >= least));
    }
    sizes.extend(options.max_size.map(NonZeroUsize::get));
    sizes.sort_unstable();
    sizes.dedup();
    Ok(sizes)
}

/// The least size of which a sample can tell something.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sample has keys, and their share is not that small"
)]
fn least_size(sample: &Sample) -> usize {
    if sample.is_whole() {
        return 1;
    }
    (LEAST_ENTRIES as f64 / sample.rate()).ceil() as usize
}

fn check_keys(file: &str, sample: &Sample) -> Result<(), Refusal> {
    let (keys, least) = (sample.distinct(), LEAST_ENTRIES);
    if sample.is_whole() || keys >= least {
        return Ok(());
    }
    Err(Refusal::TooFewKeys { file: file.to_owned(), keys, least })
}

/// Sizes at equal ratios up to that of all keys, each as a number with two digits.
#[expect(clippy::cast_precision_loss, reason = "the sizes are rounded")]
fn default_sizes(keys: usize) -> impl Iterator<Item = usize> {
    (0..SIZES).map(move |step| {
        let share = LEAST_SHARE.powf(f64::from(step) / f64::from(SIZES - 1));
        round_up(keys as f64 * share)
    })
}

/// The next number with two digits that count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a size is not negative, and a little more than the number of keys at most"
)]
fn round_up(size: f64) -> usize {
    let size = size.ceil() as usize;
    let unit = 10_usize.pow(size.max(1).ilog10().saturating_sub(1));
    size.div_ceil(unit) * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_that_can_be_remembered() {
        let sizes = [0.2, 1.0, 9.4, 99.5, 101.0, 20_484.0].map(round_up);
        assert_eq!(sizes, [1, 1, 10, 100, 110, 21_000]);
        let sizes: Vec<_> = default_sizes(100_000).collect();
        assert_eq!((sizes.len(), sizes[0], sizes[15]), (16, 100_000, 100));
    }
}
