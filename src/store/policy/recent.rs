//! Recent: some of the last hits, passed from readers to whoever writes next.

use crate::store::digest::Digest;
use crate::sync::{AtomicU32, AtomicUsize, Ordering};

/// More hits than this between two writes are not noted: there is little to learn while all are hits.
const MOST: usize = 32;

/// A list of digests. Of two added at once, one may be lost.
pub(super) struct Recent {
    digests: [AtomicU32; MOST],
    count: AtomicUsize,
}

impl Recent {
    pub(super) const fn new() -> Self {
        Self { digests: [const { AtomicU32::new(0) }; MOST], count: AtomicUsize::new(0) }
    }

    #[inline]
    pub(super) fn push(&self, digest: Digest) {
        let count = self.count.load(Ordering::Relaxed);
        if let Some(place) = self.digests.get(count) {
            place.store(digest.number(), Ordering::Relaxed);
            self.count.store(count + 1, Ordering::Relaxed);
        }
    }

    /// Takes all, in the order in which they came.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Digest> + use<> {
        let count = std::mem::take(self.count.get_mut()).min(MOST);
        let digests: [u32; MOST] = std::array::from_fn(|index| *self.digests[index].get_mut());
        digests.into_iter().take(count).map(Digest::from_number)
    }
}
