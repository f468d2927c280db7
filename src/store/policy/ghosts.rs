//! Ghosts: who was evicted lately.
//!
//! A table of buckets, in each of which the oldest makes room: so the memory is bounded, whatever the
//! traffic, and nothing is linked. A ghost is known by 16 bits of its key's hash beside those that choose
//! its bucket: one stranger in some nine thousand is taken for one.

use crate::store::digest::Digest;

/// So many ghosts share a bucket: with what else is in it, half a cache line.
const WAYS: usize = 7;
/// A bucket is meant to hold so many that matter: more would often push each other out too soon.
const WANTED: usize = 5;
/// Ages are told to a part in so many of what the table is made for, or twice as exactly.
const PRECISION: usize = 1 << 12;
/// Older than all that matter, in the middle of what 16 bits can tell.
const OLD: u16 = 1 << 15;

#[derive(Clone, Copy)]
#[repr(align(32))]
struct Bucket {
    /// Bits of the ghosts' digests.
    tags: [u16; WAYS],
    /// When each came, in units of the table.
    born: [u16; WAYS],
    /// Who makes room next: they came in turn.
    oldest: u16,
}

impl Bucket {
    const EMPTY: Self = Self { tags: [0; WAYS], born: [0; WAYS], oldest: 0 };
}

pub(super) struct Ghosts {
    buckets: Vec<Bucket>,
    /// How many ghosts the table is made for.
    size: usize,
    /// How many have come since the table was made.
    came: usize,
    /// The unit of ages is so many that came, as a power of two.
    unit: u32,
}

impl Ghosts {
    pub(super) const fn new() -> Self {
        Self { buckets: Vec::new(), size: 0, came: 0, unit: 0 }
    }

    /// Takes in one that is evicted from a shard of `len` entries.
    #[inline]
    pub(super) fn add(&mut self, digest: Digest, len: usize) {
        if len > self.size || len < self.size / 4 {
            self.begin_anew(len);
        }
        self.came += 1;
        let (now, index) = (self.now(), digest.pick(self.buckets.len()));
        let Some(bucket) = self.buckets.get_mut(index) else { return };
        let oldest = usize::from(bucket.oldest) % WAYS;
        (bucket.tags[oldest], bucket.born[oldest]) = (digest.tag(), now);
        bucket.oldest = if oldest + 1 == WAYS { 0 } else { bucket.oldest + 1 };
    }

    /// Lets go of a ghost; false if it is not among the last `bound` that came.
    #[inline]
    pub(super) fn take(&mut self, digest: Digest, bound: usize) -> bool {
        let (now, limit) = (self.now(), bound.div_ceil(1 << self.unit));
        let index = digest.pick(self.buckets.len());
        let Some(bucket) = self.buckets.get_mut(index) else { return false };
        // All are compared, which the processor does at once: mostly there is none.
        let is_known = bucket.tags.iter().fold(false, |known, tag| known | (*tag == digest.tag()));
        is_known && bucket.take(digest.tag(), now, limit)
    }

    /// A table for another number begins empty: only a changed bound makes shards larger that are full.
    #[cold]
    fn begin_anew(&mut self, len: usize) {
        self.size = len.saturating_add(len / 8).max(WANTED);
        self.buckets = vec![Bucket::EMPTY; self.size.div_ceil(WANTED)];
        self.unit = (self.size / PRECISION).max(1).ilog2();
        self.came = usize::from(OLD) << self.unit;
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "ages are told modulo what 16 bits can tell"
    )]
    fn now(&self) -> u16 {
        (self.came >> self.unit) as u16
    }
}

impl Bucket {
    #[cold]
    fn take(&mut self, tag: u16, now: u16, limit: usize) -> bool {
        let is_here = |index: &usize| {
            self.tags[*index] == tag && usize::from(now.wrapping_sub(self.born[*index])) < limit
        };
        let Some(index) = (0..WAYS).find(is_here) else { return false };
        self.born[index] = now.wrapping_sub(OLD);
        true
    }
}
