//! W-TinyLFU: newcomers wait in a window, then meet the entry of the main part that was unused for longest;
//! the one that was used more often stays (Einziger, Friedman and Manes, "`TinyLFU`: A Highly Efficient Cache
//! Admission Policy", ACM TOS 2017). The window climbs to the size at which hits are most (Einziger, Eytan,
//! Friedman and Manes, "Adaptive Software Cache Management", Middleware 2018).

use crate::store::arrivals::{Arrivals, Token};
use crate::store::digest::Digest;
use crate::sync::{AtomicU32, Ordering};

use super::marks::Marks;
use super::segments::{Segments, Share};
use super::sketch::Sketch;

/// The window's share of the entries at first.
const AT_FIRST: f32 = 0.1;
/// What the share may be: Caffeine's.
const LEAST: f32 = 0.01;
const MOST: f32 = 0.8;
/// How far the share moves at first, and when the traffic has changed: Caffeine's.
const STEP: f32 = 0.0625;
/// Of a step, so much is left for the next: Caffeine's.
const DECAY: f32 = 0.98;
/// The traffic has changed if the hit ratio did by this much: Caffeine's.
const CHANGE: f32 = 0.05;
/// A step is judged after so many uses an entry. (Caffeine takes 10; 4 learns sooner.)
const USES_AN_ENTRY: usize = 4;
/// Of the keys of a large shard, uses of one in so many are counted: each count writes a line that readers
/// share.
const COUNTED_OF_LARGE: u32 = 16;
/// A shard with more entries is large.
const LARGE: usize = 1 << 12;

pub(in crate::store) struct TinyLfu {
    segments: Segments,
    sketch: Sketch,
    climber: Climber,
    /// Of keys one in so many is counted; a power of two.
    rarity: u32,
    /// Since the last step of the climber.
    hits: AtomicU32,
    misses: u32,
}

/// Looks for the share of the window at which hits are most.
struct Climber {
    share: f32,
    step: f32,
    /// The hit ratio of the last sample.
    ratio: Option<f32>,
}

impl Climber {
    /// Takes a step: on, if the last one was good, or else back.
    fn climb(&mut self, ratio: f32) {
        let Some(last) = self.ratio.replace(ratio) else { return };
        let change = ratio - last;
        let step = if change < 0.0 { -self.step } else { self.step };
        self.share = (self.share + step).clamp(LEAST, MOST);
        self.step = if change.abs() < CHANGE { step * DECAY } else { STEP.copysign(step) };
    }
}

impl TinyLfu {
    pub(super) const fn new() -> Self {
        Self {
            segments: Segments::new(),
            sketch: Sketch::new(),
            climber: Climber { share: AT_FIRST, step: STEP, ratio: None },
            rarity: 1,
            hits: AtomicU32::new(0),
            misses: 0,
        }
    }

    /// Notes a hit, under the lock for reading.
    #[inline]
    pub(super) fn sample(&self, digest: Digest) {
        if digest.is_one_in(self.rarity) {
            self.hits.store(self.hits.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
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
        self.segments.enter(token, Share(self.climber.share), marks, &seen);
        self.sketch.add(digest);
        self.sketch.age(self.segments.len());
        self.misses = self.misses.saturating_add(digest.is_one_in(self.rarity).into());
    }

    pub(super) fn leave(&mut self, token: Token, marks: &Marks) {
        self.segments.leave(token, marks);
    }

    pub(super) fn victim(&mut self, arrivals: &Arrivals, marks: &Marks) -> Option<Token> {
        self.sketch.fit(self.segments.len());
        self.climb();
        let seen = |token| self.sketch.add(arrivals.digest(token));
        let count = |token| self.sketch.count(arrivals.digest(token));
        self.segments.victim(Share(self.climber.share), marks, &seen, |candidate, rival| {
            count(candidate) > count(rival)
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio need not be exact")]
    fn climb(&mut self) {
        let (hits, len) = (*self.hits.get_mut(), self.segments.len());
        let uses = hits.saturating_add(self.misses);
        if (uses as usize).saturating_mul(self.rarity as usize) < len * USES_AN_ENTRY {
            return;
        }
        let rarity = if len > LARGE { COUNTED_OF_LARGE } else { 1 };
        // Of other keys than those of the last sample the ratio is another.
        if rarity == self.rarity && uses > 0 {
            self.climber.climb(hits as f32 / uses as f32);
        } else {
            self.climber.ratio = None;
        }
        self.rarity = rarity;
        (self.hits, self.misses) = (AtomicU32::new(0), 0);
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        self.segments.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Digest, Marks, TinyLfu};

    #[test]
    fn where_nobody_has_to_go_misses_are_counted_as_far_as_numbers_go() {
        let (mut arrivals, mut marks) = (Arrivals::new(), Marks::new());
        let mut tiny_lfu = TinyLfu::new();
        tiny_lfu.misses = u32::MAX;
        let token = arrivals.push(Digest::default());
        marks.enter(token);
        tiny_lfu.enter(token, Digest::default(), &arrivals, &marks);
        assert_eq!(tiny_lfu.misses, u32::MAX);
    }
}
