//! Ghosts: who was evicted lately.
//!
//! A table of buckets, in which the oldest makes room: so the memory is bounded, whatever the traffic, and
//! nothing is linked. A ghost is known by 16 bits of its key's hash beside those that choose its bucket:
//! one stranger in some eight thousand is taken for one.

use crate::store::digest::Digest;

/// So many ghosts share a bucket.
const WAYS: usize = 8;
/// A bucket is meant to hold so many that matter: more would often push each other out too soon.
const WANTED: usize = 6;
/// Ages are told to a part in so many of what the table is made for.
const PRECISION: usize = 1 << 12;
/// Older than all that matter, in the middle of what 16 bits can tell.
const OLD: u16 = 1 << 15;

#[derive(Clone, Copy)]
struct Ghost {
    tag: u16,
    /// When it came, in units of the table.
    born: u16,
}

pub(super) struct Ghosts {
    buckets: Vec<[Ghost; WAYS]>,
    /// How many ghosts the table is made for.
    size: usize,
    /// How many have come since the table was made.
    came: usize,
}

impl Ghosts {
    pub(super) const fn new() -> Self {
        Self { buckets: Vec::new(), size: 0, came: 0 }
    }

    /// Takes in one that is evicted from a shard of `len` entries.
    #[inline]
    pub(super) fn add(&mut self, digest: Digest, len: usize) {
        if len > self.size || len < self.size / 4 {
            self.resize(len);
        }
        self.came += 1;
        let now = self.now();
        let oldest =
            self.bucket(digest).iter_mut().max_by_key(|ghost| now.wrapping_sub(ghost.born));
        if let Some(oldest) = oldest {
            *oldest = Ghost { tag: digest.tag(), born: now };
        }
    }

    /// Lets go of a ghost; false if it is not among the last `bound` that came.
    #[inline]
    pub(super) fn take(&mut self, digest: Digest, bound: usize) -> bool {
        let (now, limit) = (self.now(), bound.div_ceil(self.unit()));
        let of_key = |ghost: &&mut Ghost| {
            ghost.tag == digest.tag() && usize::from(now.wrapping_sub(ghost.born)) < limit
        };
        let Some(ghost) = self.bucket(digest).iter_mut().find(of_key) else { return false };
        ghost.born = now.wrapping_sub(OLD);
        true
    }

    /// A table for another number begins empty: only a changed bound makes shards larger that are full.
    #[cold]
    fn resize(&mut self, len: usize) {
        let size = len.saturating_add(len / 8).max(WANTED);
        let nobody = Ghost { tag: 0, born: 0 };
        self.buckets = vec![[nobody; WAYS]; size.div_ceil(WANTED)];
        self.size = size;
        self.came = usize::from(OLD) * self.unit();
    }

    /// The buckets of a digest: none before the first ghost has come.
    #[inline]
    fn bucket(&mut self, digest: Digest) -> &mut [Ghost] {
        let index = digest.pick(self.buckets.len());
        self.buckets.get_mut(index).map_or(&mut [], |bucket| bucket)
    }

    #[inline]
    fn unit(&self) -> usize {
        (self.size / PRECISION).max(1)
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the age is told modulo what 16 bits can tell"
    )]
    fn now(&self) -> u16 {
        (self.came / self.unit()) as u16
    }
}
