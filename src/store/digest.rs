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

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "halves are the point")]
    pub(super) fn digest(self) -> Digest {
        Digest((self.0 ^ self.0 >> 32) as u32)
    }
}

/// Half a hash, with something of both halves in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(u32);

impl Digest {
    /// A hash for a table, which uses both ends of it.
    #[inline]
    pub(super) fn spread(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}
