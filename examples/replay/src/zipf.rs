//! The stream of requests that is made up when none is given: few keys are asked for often.

use rand::SeedableRng;
use rand::distr::Distribution;
use rand::rngs::StdRng;
use rand_distr::Zipf;

use crate::interrupt::Interrupt;
use crate::key::KeyRef;
use crate::left_out::LeftOut;
use crate::stream::{Record, Sink, Stream, StreamBuilder};

/// What to make up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) requests: usize,
    pub(crate) keys: u32,
    /// The key of rank n is asked for n^skew times less often than the first.
    pub(crate) skew: f64,
    pub(crate) seed: u64,
}

impl Workload {
    /// Draws the requests; the same seed draws the same ones.
    pub(crate) fn generate(&self, interrupt: &Interrupt) -> Stream {
        let zipf = Zipf::new(f64::from(self.keys), self.skew);
        let zipf = zipf.expect("the options are checked: there is a key, and the skew is a number");
        let ranks = zipf.sample_iter(StdRng::seed_from_u64(self.seed));
        let mut stream = StreamBuilder::with_keys((1..=self.keys).map(|rank| scatter(rank).into()));
        for rank in ranks.take(self.requests).take_while(|_| !interrupt.is_raised()) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rank is a whole number from 1 to the number of keys"
            )]
            let key = scatter(rank as u32);
            let pushed = stream.push(&Record { key, at: None, ttl: None });
            pushed.expect("every rank is a key already, and a u32 numbers them");
        }
        let name = format!("Zipf, skew {}, seed {}", self.skew, self.seed);
        stream.build(name, "generated", LeftOut::default())
    }
}

/// The key of a rank: popular keys are no neighbours in the database.
fn scatter(rank: u32) -> KeyRef<'static> {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 over the golden ratio: odd, so no two ranks meet
    KeyRef::Number(u64::from(rank).wrapping_mul(GOLDEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generate(seed: u64) -> Stream {
        Workload { requests: 1000, keys: 50, skew: 1.0, seed }.generate(&Interrupt::default())
    }

    fn ids(stream: &Stream) -> Vec<usize> {
        stream.iter().map(|request| request.key.index()).collect()
    }

    #[test]
    fn a_seed_names_a_stream() {
        assert_eq!(ids(&generate(1)), ids(&generate(1)));
        assert_ne!(ids(&generate(1)), ids(&generate(2)));
    }

    #[test]
    fn the_first_rank_is_the_most_popular() {
        let ids = ids(&generate(1));
        let count = |id| ids.iter().filter(|&&other| other == id).count();
        assert!(count(0) > count(1) && count(1) > count(20));
        assert_eq!(generate(1).keys.len(), 50);
    }
}
