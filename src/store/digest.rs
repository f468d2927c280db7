//! Digest: what a shard keeps of a key's hash, to find the entry again without the key.

/// A key's hash, mixed so that all parts of it are good, also if the user's hasher is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    #[inline]
    pub(crate) fn new(hash: u64) -> Self {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 over the golden ratio (Knuth, TAOCP 6.4)
        Self(hash.wrapping_mul(GOLDEN))
    }

    /// A number below `count`, which is at most 2^16. It has nothing to do with the digest, or a shard's
    /// table would use only a part of itself.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub(super) fn pick(self, count: usize) -> usize {
        (self.0 as u32 >> 16) as usize * count >> 16
    }

    #[inline]
    pub(super) fn digest(self) -> Digest {
        Digest((self.0 >> 32) as u32)
    }
}

/// The better half of a hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(u32);

impl Digest {
    /// A hash for a table, which uses both ends of it.
    #[inline]
    pub(super) fn spread(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}
