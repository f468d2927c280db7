//! Digest: what a shard keeps of a key's hash, to find the entry again without the key.

/// A key's hash, mixed so that both halves of it are good: hashers that users bring may leave bits
/// empty, or make one half of the other, and those of integers may be in step with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a product has two halves")]
    pub(crate) fn new(hash: u64) -> Self {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 over the golden ratio (Knuth, TAOCP 6.4)
        let product = u128::from(hash) * u128::from(GOLDEN);
        Self(product as u64 ^ (product >> 64) as u64)
    }

    /// A number below `count`, spread evenly (Lemire, "Fast random integer generation in an interval",
    /// ACM TOMACS 2019). It has nothing to do with the digest, or a shard's table would use only a part
    /// of itself.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub(super) fn pick(self, count: usize) -> usize {
        ((u64::from(self.0 as u32) * count as u64) >> 32) as usize
    }

    #[inline]
    pub(super) fn digest(self) -> Digest {
        Digest((self.0 >> 32) as u32)
    }
}

/// Half a hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(u32);

impl Digest {
    /// A hash for a table: its lower end is where a search begins, its upper end tells entries apart.
    ///
    /// A search reads 16 marks of the table at a time. It begins at a multiple of that: so those it reads
    /// lie in one line of the cache, and entries that are removed leave fewer marks behind.
    #[inline]
    pub(super) fn spread(self) -> u64 {
        const GROUP_BITS: u32 = 4;
        u64::from(self.0) << 32 | u64::from(self.0) << GROUP_BITS
    }

    /// A number below `count`, spread evenly.
    #[inline]
    pub(super) fn pick(self, count: usize) -> usize {
        ((u64::from(self.0) * count as u64) >> 32) as usize
    }

    #[inline]
    pub(super) fn number(self) -> u32 {
        self.0
    }

    #[inline]
    pub(super) fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Other bits, which have little to do with those that [`pick`](Self::pick) goes by.
    #[inline]
    pub(super) fn stirred(self) -> u32 {
        self.0.wrapping_mul(0x9E37_79B1) // 2^32 over the golden ratio
    }

    /// True of one digest in so many, which is a power of two, and always of the same: those true of twice
    /// as many are among them.
    #[inline]
    pub(super) fn is_one_in(self, rarity: u32) -> bool {
        // Other parts of the digest choose its places in tables.
        self.0.wrapping_mul(0x85EB_CA6B) & (rarity - 1) == 0 // odd, of MurmurHash3
    }

    /// Bits that have little to do with [`pick`](Self::pick).
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub(super) fn tag(self) -> u16 {
        self.0 as u16
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::KeyHash;

    #[test]
    fn keys_in_sequence_are_spread_evenly_whatever_the_seed() {
        const COUNT: usize = 8;
        for seed in 0..2_000 {
            let shared = foldhash::SharedSeed::from_u64(seed);
            // Seeds live as long as the process, here as there.
            let shared = Box::leak(Box::new(shared));
            let hasher = foldhash::fast::SeedableRandomState::with_seed(seed, shared);
            let mut held = [0_u32; COUNT];
            for key in 0..1_000_u32 {
                held[KeyHash::new(hasher.hash_one(key)).pick(COUNT)] += 1;
            }
            // 125 each, give or take five times the standard deviation.
            assert!(held.iter().all(|held| (70..180).contains(held)), "seed {seed}: {held:?}");
        }
    }
}
