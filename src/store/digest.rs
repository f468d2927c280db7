//! Digest: what a shard keeps of a key's hash, to find the entry again without the key.

/// Half a hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(u32);

impl Digest {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "halves are the point")]
    pub(super) fn of(hash: u64) -> Self {
        Self((hash ^ hash >> 32) as u32)
    }

    /// A hash for a table, which uses both ends of it.
    #[inline]
    pub(super) fn spread(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}
