//! The bound on the size of the whole cache: room for one entry at a time.

use crate::sync::{AtomicUsize, Ordering};

/// The most entries, and how many hold a place. Written only while the cache fills or shrinks: a
/// full one passes the place of what it evicts on to what it stores.
pub(crate) struct Bound {
    /// `UNBOUNDED`: then nothing is counted here.
    limit: AtomicUsize,
    /// What callers are told: lags behind the limit while what is too much goes.
    max_size: AtomicUsize,
    taken: AtomicUsize,
}

const UNBOUNDED: usize = usize::MAX;
/// As good as no bound, but counted.
const GREATEST: usize = UNBOUNDED - 1;

impl Bound {
    pub(super) fn new(max_size: Option<usize>) -> Self {
        let limit = max_size.map_or(UNBOUNDED, |max_size| max_size.min(GREATEST));
        Self {
            limit: AtomicUsize::new(limit),
            max_size: AtomicUsize::new(limit),
            taken: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(super) fn max_size(&self) -> Option<usize> {
        match self.max_size.load(Ordering::Acquire) {
            UNBOUNDED => None,
            GREATEST => Some(usize::MAX),
            max_size => Some(max_size),
        }
    }

    #[inline]
    fn limit(&self) -> Option<usize> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit != UNBOUNDED)
    }

    /// Begins to bound what holds `taken` entries. For use while nobody else can store or remove.
    pub(super) fn begin(&self, max_size: usize, taken: usize) {
        self.taken.store(taken, Ordering::Release);
        self.limit.store(max_size.min(GREATEST), Ordering::Release);
    }

    /// Lets no more than this be stored; false if there is no bound yet.
    pub(super) fn narrow(&self, max_size: usize) -> bool {
        let is_bounded = self.limit().is_some();
        if is_bounded {
            self.limit.store(max_size.min(GREATEST), Ordering::Release);
        }
        is_bounded
    }

    /// How many are to go until the limit holds.
    pub(super) fn excess(&self) -> usize {
        let taken = self.taken.load(Ordering::Acquire);
        self.limit().map_or(0, |limit| taken.saturating_sub(limit))
    }

    /// Tells callers of the limit: it holds now.
    pub(super) fn announce(&self) {
        self.max_size.store(self.limit.load(Ordering::Acquire), Ordering::Release);
    }

    /// Places taken; `None` if they are not counted.
    pub(super) fn taken(&self) -> Option<usize> {
        self.limit().map(|_| self.taken.load(Ordering::Acquire))
    }

    /// Whether no place is free.
    #[inline]
    pub(super) fn is_reached(&self) -> bool {
        self.limit().is_some_and(|limit| self.taken.load(Ordering::Relaxed) >= limit)
    }

    /// A place for one entry, if one is free.
    #[inline]
    pub(super) fn reserve(&self) -> Option<Place<'_>> {
        if let Some(limit) = self.limit() {
            let grow = |taken| (taken < limit).then_some(taken + 1);
            self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, grow).ok()?;
        }
        Some(Place { bound: self })
    }

    /// Gives back the places of `count` entries that were removed.
    #[inline]
    pub(super) fn release(&self, count: usize) {
        if count > 0 && self.limit().is_some() {
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
