//! Digest: what a shard keeps of a key's hash, to find the entry again without the key.

/// A key's hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    #[inline]
    pub(crate) fn new(hash: u64) -> Self {
        Self(hash)
    }

    /// A number below `count`, spread evenly (Lemire, "Fast random integer generation in an interval",
    /// ACM TOMACS 2019). It has little to do with the digest, or a shard's table would use only a part
    /// of itself.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub(super) fn pick(self, count: usize) -> usize {
        ((u64::from(self.0 as u32) * count as u64) >> 32) as usize
    }

    /// Mixed once more, because a table uses both ends of it, and hashers that users bring may leave one
    /// end empty, or make one half of the other.
    #[inline]
    pub(super) fn digest(self) -> Digest {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 over the golden ratio (Knuth, TAOCP 6.4)
        Digest((self.0.wrapping_mul(GOLDEN) >> 32) as u32)
    }
}

/// Half a hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(u32);

impl Digest {
    /// A hash for a table, which uses both ends of it.
    #[inline]
    pub(super) fn spread(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}
