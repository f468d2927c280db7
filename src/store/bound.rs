//! The bound on the size of the whole cache: room for one entry at a time.

use crate::sync::{AtomicUsize, Ordering};

/// The most entries, and how many hold a place. Written only while the cache fills or shrinks: a
/// full one passes the place of what it evicts on to what it stores.
pub(crate) struct Bound {
    /// `None` is unbounded, and then nothing is counted here.
    max_size: Option<usize>,
    taken: AtomicUsize,
}

impl Bound {
    pub(super) const fn new(max_size: Option<usize>) -> Self {
        Self { max_size, taken: AtomicUsize::new(0) }
    }

    #[inline]
    pub(super) fn max_size(&self) -> Option<usize> {
        self.max_size
    }

    /// Places taken; `None` if they are not counted.
    pub(super) fn taken(&self) -> Option<usize> {
        self.max_size.map(|_| self.taken.load(Ordering::Acquire))
    }

    /// Whether no place is free.
    #[inline]
    pub(super) fn is_reached(&self) -> bool {
        self.max_size.is_some_and(|max_size| self.taken.load(Ordering::Relaxed) >= max_size)
    }

    /// A place for one entry, if one is free.
    #[inline]
    pub(super) fn reserve(&self) -> Option<Place<'_>> {
        if let Some(max_size) = self.max_size {
            let grow = |taken| (taken < max_size).then_some(taken + 1);
            self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, grow).ok()?;
        }
        Some(Place { bound: self })
    }

    /// Gives back the places of `count` entries that were removed.
    #[inline]
    pub(super) fn release(&self, count: usize) {
        if count > 0 && self.max_size.is_some() {
            self.taken.fetch_sub(count, Ordering::AcqRel);
        }
    }

    /// The place of an entry that was just removed, to be given back or passed on.
    #[inline]
    pub(super) fn vacated(&self) -> Place<'_> {
        Place { bound: self }
    }
}

/// The right to hold one entry. Given back when dropped, unless it was [used](Place::used).
#[must_use]
pub(super) struct Place<'a> {
    bound: &'a Bound,
}

impl Place<'_> {
    /// The entry is stored: the place is its own until it is removed.
    #[inline]
    pub(super) fn used(self) {
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    #[inline]
    fn drop(&mut self) {
        self.bound.release(1);
    }
}
