//! Generators: made-up traces with the shapes that recorded ones have, always the same.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// Makes up so many requests.
pub(super) struct Generator {
    pub(super) name: &'static str,
    make: fn(usize) -> Vec<u64>,
}

pub(super) const ALL: [Generator; 5] = [
    Generator { name: "loop", make: looping },
    Generator { name: "mix", make: mix },
    Generator { name: "scans", make: scans },
    Generator { name: "shifting-zipf", make: shifting_zipf },
    Generator { name: "zipf", make: zipf },
];

/// The length of a made-up trace.
const LENGTH: usize = 500_000;

/// How many requests there are for each key that there might be.
const REQUESTS_A_KEY: usize = 10;

/// The key of rank n is asked for n^0.9 times less often.
const SKEW: f64 = 0.9;

/// How often what is popular changes.
const SHIFTS: usize = 10;

/// Of how many requests one is a part of a scan, if the time of one has come.
const SCAN_PERIOD: usize = 4;

/// Keys that are asked for once.
const FIRST_SCANNED: u64 = 1 << 32;

const SEED: u64 = 0x7ACE;

impl Generator {
    pub(super) fn make(&self, limit: usize) -> Vec<u64> {
        (self.make)(limit.min(LENGTH))
    }
}

/// Few keys are popular.
fn zipf(length: usize) -> Vec<u64> {
    ranks(length).collect()
}

/// Few keys are popular, and now and then others.
fn shifting_zipf(length: usize) -> Vec<u64> {
    let shift = |position| (position / length.div_ceil(SHIFTS)) as u64;
    let step = (keys(length) / SHIFTS) as u64;
    ranks(length).enumerate().map(|(position, rank)| rank + shift(position) * step).collect()
}

/// Few keys are popular, and in between come keys that are asked for once.
fn scans(length: usize) -> Vec<u64> {
    let is_scan = |position: usize| position / keys(length) % SCAN_PERIOD == SCAN_PERIOD - 1;
    let scanned = |position: usize| FIRST_SCANNED + position as u64;
    ranks(length)
        .enumerate()
        .map(|(position, rank)| if is_scan(position) { scanned(position) } else { rank })
        .collect()
}

/// All keys in turn, again and again.
fn looping(length: usize) -> Vec<u64> {
    let keys = keys(length) as u64;
    (0..length as u64).map(|position| position % keys).collect()
}

/// Popular keys, then a loop, then what was asked for a moment ago.
fn mix(length: usize) -> Vec<u64> {
    let part = length / 3;
    let mut requests = zipf(part);
    requests.extend(looping(part));
    requests.extend(recent(length - requests.len()));
    requests
}

/// New keys, and those of a moment ago.
fn recent(length: usize) -> Vec<u64> {
    let mut random = StdRng::seed_from_u64(SEED);
    let distance = (keys(length) as u64 / 100).max(1);
    let request = |position: u64| {
        let back = if random.random() { random.random_range(0..distance) } else { 0 };
        FIRST_SCANNED + position.saturating_sub(back)
    };
    (0..length as u64).map(request).collect()
}

/// How many keys there might be.
fn keys(length: usize) -> usize {
    (length / REQUESTS_A_KEY).max(1)
}

fn ranks(length: usize) -> impl Iterator<Item = u64> {
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 keys")]
    let zipf = Zipf::new(keys(length) as f64, SKEW).expect("there is a key, and the skew is right");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is a whole number from 1 to the number of keys"
    )]
    zipf.sample_iter(StdRng::seed_from_u64(SEED)).take(length).map(|rank: f64| rank as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_makes_up_the_same_again() {
        for generator in ALL {
            let requests = generator.make(3_001);
            assert_eq!(requests.len(), 3_001, "{}", generator.name);
            assert_eq!(requests, generator.make(3_001), "{}", generator.name);
        }
    }

    #[test]
    fn what_is_popular_shifts() {
        let requests = shifting_zipf(10_000);
        let popular = |part: &[u64], key| part.iter().filter(|&&other| other == key).count();
        assert!(popular(&requests[..1_000], 1) > popular(&requests[9_000..], 1));
        assert!(popular(&requests[..1_000], 901) < popular(&requests[9_000..], 901));
    }
}
