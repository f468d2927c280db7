//! Adaptive: W-TinyLFU whose window is as large as it pays, from a hundredth of the entries to nearly all.
//!
//! Four [shadows](super::shadow) replay a sample of the traffic, each with a window of another size; they
//! are told of every miss, and of hits that were [noted](super::recent). The window's share is the mean of
//! those that do best, as of an exponentially weighted forecaster (Cesa-Bianchi and Lugosi, "Prediction,
//! Learning, and Games", Cambridge 2006). With a window of nearly all it is LRU, as CLOCK does it; with one
//! of a hundredth, frequency alone decides, and of a loop that is larger than the cache a part stays.

use crate::store::arrivals::{Arrivals, Token};
use crate::store::digest::Digest;

use super::marks::Marks;
use super::recent::Recent;
use super::segments::{Segments, Share};
use super::shadow::Shadow;
use super::sketch::Sketch;

/// The windows that are tried: for frequency, S3-FIFO's tenth, half and half, for recency.
const SHARES: [f32; 4] = [0.01, 0.1, 0.5, 0.99];
/// That which is taken until more is known.
const AT_FIRST: f32 = SHARES[1];
/// A shadow has no more entries than this. (On recorded traces, 32 lose 0.3 points of hit ratio.)
const SHADOW_ENTRIES: usize = 64;
/// A hit counts for about as long as it takes to replay so many uses for each entry of a shadow.
const HORIZON: f32 = 30.0;
/// A shadow that is behind the best by this part of its hits has no say, and one that is nearer the more.
const MARGIN: f32 = 0.03;
/// With fewer hits than this the shadows know nothing.
const FEW_HITS: f32 = 4.0;
/// With a window less than this share, between the first and the second, frequency is to ward off a loop.
const LOOP_SHARE: f32 = 0.03;

pub(in crate::store) struct Adaptive {
    segments: Segments,
    sketch: Sketch,
    recent: Recent,
    trials: [Trial; SHARES.len()],
    /// Of keys one in so many is replayed; a power of two.
    rarity: u32,
    /// The window's share of the entries.
    share: f32,
    /// Whether anybody had to go: before that, nobody knows how many entries there is room for.
    is_full: bool,
}

/// A shadow, and how it does.
struct Trial {
    shadow: Shadow,
    /// Its hits, of which the older count less.
    score: f32,
}

impl Adaptive {
    pub(super) fn new() -> Self {
        Self {
            segments: Segments::new(),
            sketch: Sketch::new(),
            recent: Recent::new(),
            trials: std::array::from_fn(|_| Trial { shadow: Shadow::new(), score: 0.0 }),
            rarity: 1,
            share: AT_FIRST,
            is_full: false,
        }
    }

    /// Notes a hit, under the lock for reading.
    #[inline]
    pub(super) fn sample(&self, digest: Digest) {
        if digest.is_one_in(self.rarity) {
            self.recent.push(digest);
        }
    }

    pub(super) fn enter(
        &mut self,
        token: Token,
        digest: Digest,
        arrivals: &Arrivals,
        marks: &Marks,
    ) {
        let seen = |token| self.sketch.add(arrivals.digest(token));
        self.segments.enter(token, Share(self.share), marks, &seen);
        self.sketch.add(digest);
        self.sketch.age(self.segments.len());
        self.learn(digest);
    }

    pub(super) fn leave(&mut self, token: Token, marks: &Marks) {
        self.segments.leave(token, marks);
    }

    pub(super) fn victim(&mut self, arrivals: &Arrivals, marks: &Marks) -> Option<Token> {
        self.is_full = true;
        self.sketch.fit(self.segments.len());
        let (sketch, share) = (&self.sketch, self.share);
        let seen = |token| sketch.add(arrivals.digest(token));
        self.segments.victim(Share(share), marks, &seen, |candidate, rival| {
            wins(sketch, share, arrivals.digest(candidate), arrivals.digest(rival))
        })
    }

    /// Lets the shadows see what was used since the last time, and who came.
    fn learn(&mut self, newcomer: Digest) {
        for digest in self.recent.take().chain([newcomer]) {
            if digest.is_one_in(self.rarity) {
                self.replay(digest);
                self.share = self.best_share();
            }
        }
        self.fit();
    }

    #[expect(clippy::cast_precision_loss, reason = "it is at most 64")]
    fn replay(&mut self, digest: Digest) {
        let entries = self.segments.len();
        // Until the cache is full, a shadow is a sample of all that came.
        let capacity =
            if self.is_full { (entries / self.rarity as usize).max(1) } else { usize::MAX };
        let kept = 1.0 - 1.0 / (HORIZON * entries.clamp(1, SHADOW_ENTRIES) as f32);
        for (trial, share) in self.trials.iter_mut().zip(SHARES) {
            let wins = |candidate, rival| wins(&self.sketch, share, candidate, rival);
            let is_hit = trial.shadow.replay(digest, capacity, Share(share), wins);
            trial.score = trial.score * kept + f32::from(u8::from(is_hit));
        }
    }

    /// Samples fewer keys when there are more than shadows hold, and more when there are much fewer.
    fn fit(&mut self) {
        if self.trials[0].shadow.len() > SHADOW_ENTRIES {
            self.rarity *= 2;
            for trial in &mut self.trials {
                trial.shadow.retain(|digest| digest.is_one_in(self.rarity));
            }
        } else if self.is_full
            && self.rarity > 1
            && self.segments.len() / (self.rarity as usize) < SHADOW_ENTRIES / 4
        {
            self.rarity /= 2;
        }
    }

    /// The geometric mean of the shares of those that are nearly as good as the best.
    fn best_share(&self) -> f32 {
        let best = self.trials.iter().map(|trial| trial.score).fold(0.0, f32::max);
        if best < FEW_HITS {
            return AT_FIRST;
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for (trial, share) in self.trials.iter().zip(SHARES) {
            let weight = (1.0 - (best - trial.score) / (best * MARGIN + 1.0)).max(0.0);
            sum += weight * share.ln();
            weights += weight;
        }
        (sum / weights).exp()
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        self.segments.iter()
    }
}

/// Whether the sketch speaks for the candidate. Against a loop it takes twice what the rival has: all of a
/// loop is used equally often, and counts differ by chance.
fn wins(sketch: &Sketch, share: f32, candidate: Digest, rival: Digest) -> bool {
    let (candidate, rival) = (sketch.count(candidate), sketch.count(rival));
    let lead = if share < LOOP_SHARE { rival } else { 0 };
    candidate > rival + lead
}
