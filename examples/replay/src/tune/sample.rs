//! Sample: the requests for some of the keys, picked by the keys' hashes.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::time::Duration;

use foldhash::quality::FixedState;

use crate::stream::{Record, Sink, TooManyKeys};

/// No more keys are let go when fewer than this many would be left: the hit rates of a few are not
/// those of all.
const LEAST_KEYS: usize = 4096;

/// Those bits of a hash that divide keys into parts.
const LOW_BITS: u64 = 1 << 16;

/// A key, of which only its hash is left: two of ten million meet with a chance of 1 to 300,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hashed(u64);

impl Hashed {
    /// To which of `parts` the key belongs. Does not depend on whether it is sampled.
    pub(crate) fn part(self, parts: usize) -> usize {
        // The low bits: the threshold looks at the high ones.
        usize::try_from(self.0 % LOW_BITS).unwrap_or_default() % parts
    }
}

/// The greatest hash that is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Threshold(u64);

impl Threshold {
    /// How many hashes there are.
    const HASHES: f64 = 18_446_744_073_709_551_616.0;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of all hashes, less one"
    )]
    fn of(rate: f64) -> Self {
        Self(((Self::HASHES * rate) as u128).saturating_sub(1) as u64)
    }

    fn admits(self, key: Hashed) -> bool {
        key.0 <= self.0
    }

    fn halved(self) -> Self {
        Self(self.0 / 2)
    }

    /// The share of all keys that is sampled.
    #[expect(clippy::cast_precision_loss, reason = "a share is rounded")]
    fn rate(self) -> f64 {
        (self.0 as f64 + 1.0) / Self::HASHES
    }
}

/// One request of the sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) key: Hashed,
    /// Since the first request of the source.
    pub(crate) at: Duration,
    /// How long the answer may be kept, if the source says so.
    pub(crate) ttl: Option<Duration>,
}

/// The requests for some of the keys, in order.
#[derive(Debug)]
pub(crate) struct Sample {
    requests: Requests,
    threshold: Threshold,
    distinct: usize,
    /// How many requests there were, of all keys.
    pub(crate) requests_in_source: usize,
    /// From the first request to the last, if they have times.
    pub(crate) span: Option<Duration>,
}

impl Sample {
    pub(crate) fn len(&self) -> usize {
        self.requests.keys.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Access> {
        let Requests { keys, times, ttls } = &self.requests;
        keys.iter().enumerate().map(|(position, &key)| Access {
            key,
            at: times.get(position).copied().unwrap_or_default(),
            ttl: ttls.get(position).copied(),
        })
    }

    /// How many keys are sampled.
    pub(crate) fn distinct(&self) -> usize {
        self.distinct
    }

    /// How many keys there are in all, as far as the sample tells.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as many as were read, if not all too well known"
    )]
    pub(crate) fn keys_in_source(&self) -> usize {
        ((self.distinct as f64 / self.rate()).round() as usize).min(self.requests_in_source)
    }

    /// The share of the keys that is sampled.
    pub(crate) fn rate(&self) -> f64 {
        self.threshold.rate()
    }

    /// Whether it has the requests for all keys.
    pub(crate) fn is_whole(&self) -> bool {
        self.threshold == Threshold(u64::MAX)
    }

    /// Whether the requests say how long their answers may be kept.
    pub(crate) fn has_ttls(&self) -> bool {
        !self.requests.ttls.is_empty()
    }
}

#[derive(Debug, Default)]
struct Requests {
    keys: Vec<Hashed>,
    /// Since the first request; empty if the source does not say.
    times: Vec<Duration>,
    /// Empty if the source does not say.
    ttls: Vec<Duration>,
}

impl Requests {
    fn distinct(&self, threshold: Threshold) -> usize {
        let keys = self.keys.iter().filter(|key| threshold.admits(**key));
        keys.collect::<HashSet<_, FixedState>>().len()
    }

    /// Lets go of the keys above a threshold.
    fn thin(&mut self, threshold: Threshold) {
        let admitted: Vec<_> = self.keys.iter().map(|key| threshold.admits(*key)).collect();
        retain(&mut self.keys, &admitted);
        retain(&mut self.times, &admitted);
        retain(&mut self.ttls, &admitted);
    }
}

/// Keeps those items that have a `true`; items without a word are none.
fn retain<T>(items: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    items.retain(|_| kept.next().is_some_and(|kept| *kept));
}

/// A sample that is being read.
#[derive(Debug)]
pub(crate) struct SampleBuilder {
    hasher: FixedState,
    threshold: Threshold,
    requests: Requests,
    /// The most requests to keep.
    room: usize,
    requests_in_source: usize,
    first: Option<Duration>,
    last: Option<Duration>,
}

impl SampleBuilder {
    /// Samples a share of the keys, and fewer when there are more requests than `room`.
    pub(crate) fn new(rate: f64, room: NonZeroUsize, seed: u64) -> Self {
        Self {
            hasher: FixedState::with_seed(seed),
            threshold: Threshold::of(rate),
            requests: Requests::default(),
            room: room.get(),
            requests_in_source: 0,
            first: None,
            last: None,
        }
    }

    /// Halves the sample until there is room again. Because a key that stays was sampled from the
    /// beginning, this is the sample that the lower threshold alone would have made.
    #[cold]
    fn make_room(&mut self) {
        while self.requests.keys.len() > self.room {
            let halved = self.threshold.halved();
            if self.requests.distinct(halved) < LEAST_KEYS {
                self.room *= 2;
            } else {
                self.requests.thin(halved);
                self.threshold = halved;
            }
        }
    }

    pub(crate) fn build(self) -> Sample {
        let span = self.last.zip(self.first).map(|(last, first)| last.saturating_sub(first));
        Sample {
            distinct: self.requests.distinct(self.threshold),
            requests: self.requests,
            threshold: self.threshold,
            requests_in_source: self.requests_in_source,
            span,
        }
    }
}

impl Sink for SampleBuilder {
    fn push(&mut self, record: &Record<'_>) -> Result<(), TooManyKeys> {
        self.requests_in_source += 1;
        self.first = self.first.or(record.at);
        self.last = self.last.max(record.at);
        let key = Hashed(self.hasher.hash_one(record.key));
        if !self.threshold.admits(key) {
            return Ok(());
        }
        self.requests.keys.push(key);
        let first = self.first.unwrap_or_default();
        self.requests.times.extend(record.at.map(|at| at.saturating_sub(first)));
        self.requests.ttls.extend(record.ttl);
        if self.requests.keys.len() > self.room {
            self.make_room();
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.requests_in_source
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyRef;

    /// Each of so many keys three times, at times a second apart.
    fn sample(keys: u64, rate: f64, room: usize) -> Sample {
        let room = NonZeroUsize::new(room).expect("there is room");
        let mut sample = SampleBuilder::new(rate, room, 1);
        for (second, number) in (0..3).flat_map(|_| 0..keys).enumerate() {
            let at = Some(Duration::from_secs(second as u64 + 1_000));
            let record = Record { key: KeyRef::Number(number), at, ttl: at };
            assert!(sample.push(&record).is_ok());
        }
        sample.build()
    }

    #[track_caller]
    fn close(found: usize, expected: usize) {
        assert!(found.abs_diff(expected) * 20 < expected, "{found} is not about {expected}");
    }

    #[test]
    fn with_room_for_all_nothing_is_let_go() {
        let sample = sample(10_000, 1.0, 30_000);
        assert!(sample.is_whole());
        assert_eq!(
            (sample.len(), sample.distinct(), sample.keys_in_source()),
            (30_000, 10_000, 10_000)
        );
        assert_eq!(sample.span, Some(Duration::from_secs(29_999)));
        let times = sample.iter().map(|access| access.at.as_secs());
        assert!(times.eq(0..30_000));
    }

    #[test]
    fn a_sampled_key_has_all_its_requests() {
        let sample = sample(100_000, 0.1, 1_000_000);
        assert!(!sample.is_whole());
        assert_eq!(sample.len(), 3 * sample.distinct());
        close(sample.distinct(), 10_000);
        close(sample.keys_in_source(), 100_000);
    }

    #[test]
    fn what_is_thinned_is_the_sample_of_a_lower_rate() {
        let (thinned, thin) = (sample(100_000, 1.0, 80_000), sample(100_000, 0.25, 80_000));
        assert_eq!(thinned.threshold, thin.threshold);
        let listed = |sample: &Sample| -> Vec<_> {
            sample.iter().map(|access| (access.key, access.at, access.ttl)).collect()
        };
        assert_eq!(listed(&thinned), listed(&thin));
    }

    #[test]
    fn a_few_keys_are_all_kept() {
        let sample = sample(5_000, 1.0, 10);
        assert!(sample.is_whole());
        assert_eq!(sample.len(), 15_000);
    }

    #[test]
    fn parts_are_of_one_size() {
        let sample = sample(100_000, 0.1, 1_000_000);
        for part in 0..8 {
            let keys = sample.iter().filter(|access| access.key.part(8) == part).count() / 3;
            assert!((1_050..1_450).contains(&keys), "{keys}");
        }
    }
}
