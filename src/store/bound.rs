//! The bound on the size of the whole cache: room for one entry at a time.

use crate::sync::{AtomicUsize, Ordering};

use super::limit::{Change, Limit};

/// The most entries, and how many hold a place. Written only while the cache fills or shrinks: a
/// full one passes the place of what it evicts on to what it stores.
pub(crate) struct Bound {
    /// `UNBOUNDED`: then nothing is counted here.
    limit: Limit,
    taken: AtomicUsize,
}

const UNBOUNDED: u64 = u64::MAX;
/// As good as no bound, but counted.
const GREATEST: u64 = UNBOUNDED - 1;

impl Bound {
    pub(super) fn new(max_size: Option<usize>) -> Self {
        let limit = max_size.map_or(UNBOUNDED, counted);
        Self { limit: Limit::new(limit), taken: AtomicUsize::new(0) }
    }

    #[inline]
    pub(super) fn max_size(&self) -> Option<usize> {
        match self.limit.published() {
            UNBOUNDED => None,
            GREATEST => Some(usize::MAX),
            max_size => Some(usize::try_from(max_size).unwrap_or(usize::MAX)),
        }
    }

    #[inline]
    fn limit(&self) -> Option<usize> {
        let limit = Some(self.limit.current()).filter(|limit| *limit != UNBOUNDED);
        limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// Whether nothing at all may be stored.
    #[cold]
    pub(super) fn is_zero(&self) -> bool {
        self.limit() == Some(0)
    }

    /// Begins a change of the limit, unless there is none yet.
    pub(super) fn change(&self, max_size: usize) -> Option<Change> {
        let mut changes = self.limit.changes();
        self.limit()?;
        Some(self.limit.set(counted(max_size), &mut changes))
    }

    /// Begins to bound what holds `taken` entries. For use while nobody else can store or remove.
    pub(super) fn begin(&self, max_size: usize, taken: usize) -> Change {
        let mut changes = self.limit.changes();
        if self.limit().is_none() {
            self.taken.store(taken, Ordering::Release);
        }
        self.limit.set(counted(max_size), &mut changes)
    }

    /// How many are to go until the limit holds.
    pub(super) fn excess(&self) -> usize {
        let taken = self.taken.load(Ordering::Acquire);
        self.limit().map_or(0, |limit| taken.saturating_sub(limit))
    }

    pub(super) fn publish(&self, change: Change) {
        self.limit.publish(change);
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

/// As a limit that is counted.
fn counted(max_size: usize) -> u64 {
    (max_size as u64).min(GREATEST)
}
