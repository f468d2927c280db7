//! Sketch: about how often digests were seen lately, in four bits each (Cormode and Muthukrishnan, "An
//! improved data stream summary: the count-min sketch and its applications", Journal of Algorithms 2005;
//! aged as in Einziger, Friedman and Manes, "`TinyLFU`", ACM TOS 2017).

use crate::store::digest::Digest;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// All counters of a digest are in one block, which is a cache line.
const WORDS_A_BLOCK: usize = 8;
/// A digest has so many counters; the least of them counts.
const DEPTH: u32 = 4;
/// Where a counter ends.
const MOST: u64 = 15;
/// Words of 16 counters for each four entries, which is 6 bytes an entry. (On recorded traces the hit ratio
/// was 0.1 to 0.2 points lower with 4 bytes, and as much higher with 8.)
const WORDS_OF_FOUR: usize = 3;
/// Counts are halved each time there were so many uses an entry: the paper's sample.
const USES_AN_ENTRY: usize = 10;
/// How many blocks each call halves while a halving is under way.
const BLOCKS_AT_ONCE: usize = 4;
/// The lower three bits of each counter.
const HALVES: u64 = 0x7777_7777_7777_7777;

type Block = [AtomicU64; WORDS_A_BLOCK];

pub(super) struct Sketch {
    blocks: Vec<Block>,
    /// All blocks from here on are still to be halved, and count half until then: so a halving, which goes
    /// on for many calls, changes all counts at one moment.
    halved: usize,
    /// Since the last halving.
    uses: AtomicU32,
}

impl Sketch {
    pub(super) const fn new() -> Self {
        Self { blocks: Vec::new(), halved: 0, uses: AtomicU32::new(0) }
    }

    /// Makes room for the counts of so many entries; to be called with each eviction. Made for far fewer or
    /// far more, it begins anew.
    ///
    /// Nothing is counted before the first eviction: what came while there was room is worth no more than
    /// what comes now.
    #[inline]
    pub(super) fn fit(&mut self, entries: usize) {
        let wanted = (entries * WORDS_OF_FOUR / 4).div_ceil(WORDS_A_BLOCK).max(1);
        let present = self.blocks.len();
        if present < wanted.div_ceil(2) || present / 4 > wanted {
            self.begin_anew(wanted);
        }
    }

    #[cold]
    fn begin_anew(&mut self, blocks: usize) {
        self.blocks = std::iter::repeat_with(Block::default).take(blocks).collect();
        self.halved = blocks;
        self.uses = AtomicU32::new(0);
    }

    /// Counts a digest.
    #[inline]
    pub(super) fn add(&self, digest: Digest) {
        let Some(block) = self.blocks.get(digest.pick(self.blocks.len())) else { return };
        self.uses.store(self.uses.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        for row in 0..DEPTH {
            let (word, shift) = counter(digest, row);
            let counters = block[word].load(Ordering::Relaxed);
            if counters >> shift & MOST < MOST {
                block[word].store(counters + (1 << shift), Ordering::Relaxed);
            }
        }
    }

    /// About how often the digest was counted lately.
    pub(super) fn count(&self, digest: Digest) -> u64 {
        let index = digest.pick(self.blocks.len());
        let Some(block) = self.blocks.get(index) else { return 0 };
        let count = |row| {
            let (word, shift) = counter(digest, row);
            block[word].load(Ordering::Relaxed) >> shift & MOST
        };
        let least = (0..DEPTH).map(count).min().unwrap_or(0);
        if index >= self.halved { least / 2 } else { least }
    }

    /// Halves all counts when it is time, as far as anyone can see; to be called with each newcomer.
    #[inline]
    pub(super) fn age(&mut self, entries: usize) {
        // Where most entries have left, there are more blocks than entries.
        let entries = entries.max(self.blocks.len());
        if *self.uses.get_mut() as usize >= entries.saturating_mul(USES_AN_ENTRY) {
            self.sweep(usize::MAX);
            self.halved = 0;
            self.uses = AtomicU32::new(0);
        }
        if self.halved < self.blocks.len() {
            self.sweep(BLOCKS_AT_ONCE);
        }
    }

    /// Halves some blocks that are due.
    fn sweep(&mut self, blocks: usize) {
        let end = self.halved.saturating_add(blocks).min(self.blocks.len());
        for word in self.blocks[self.halved..end].as_flattened_mut() {
            let counters = word.get_mut();
            *counters = *counters >> 1 & HALVES;
        }
        self.halved = end;
    }
}

/// Which word of its block, and where in it, a digest's counter of a row is.
#[inline]
fn counter(digest: Digest, row: u32) -> (usize, u32) {
    let bits = digest.stirred() >> (row * 5 + 7);
    ((row * 2 + (bits & 1)) as usize, (bits >> 1 & 15) * 4)
}

#[cfg(test)]
mod tests {
    use super::{Digest, Sketch};

    #[test]
    fn where_few_entries_are_left_counts_are_seldom_halved() {
        let mut sketch = Sketch::new();
        sketch.fit(100_000);
        let blocks = sketch.blocks.len();
        for use_ in 1..blocks * 10 {
            sketch.add(Digest::from_number(u32::try_from(use_).expect("they are few")));
            sketch.age(1);
            assert_eq!(sketch.halved, blocks, "after {use_} uses");
        }
        sketch.add(Digest::from_number(0));
        sketch.age(1);
        assert!(sketch.halved < blocks);
    }
}
