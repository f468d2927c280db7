//! The bound on the size of the whole cache: room for one entry at a time.

use crate::sync::{AtomicUsize, Mutex, Ordering};

/// The most entries, and how many hold a place. Written only while the cache fills or shrinks: a
/// full one passes the place of what it evicts on to what it stores.
pub(crate) struct Bound {
    /// `UNBOUNDED`: then nothing is counted here.
    limit: AtomicUsize,
    /// What callers are told: lags behind the limit while what is too much goes, and never is below it.
    max_size: AtomicUsize,
    taken: AtomicUsize,
    /// How often the limit was changed.
    changes: Mutex<u64>,
}

/// Names a change of the limit.
#[derive(Clone, Copy)]
pub(super) struct Change(u64);

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
            changes: Mutex::new(0),
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
        Some(self.limit.load(Ordering::Acquire)).filter(|limit| *limit != UNBOUNDED)
    }

    /// Begins a change of the limit, or tells that there is none yet. Whoever reads the limit from now on
    /// reads the new one; who has done so before may still fill up to the old one, under a shard's lock.
    pub(super) fn change(&self, max_size: usize) -> Option<Change> {
        let mut changes = self.changes.lock();
        self.limit()?;
        Some(self.set(max_size, &mut changes))
    }

    /// Begins to bound what holds `taken` entries. For use while nobody else can store or remove.
    pub(super) fn begin(&self, max_size: usize, taken: usize) -> Change {
        let mut changes = self.changes.lock();
        if self.limit().is_none() {
            self.taken.store(taken, Ordering::Release);
        }
        self.set(max_size, &mut changes)
    }

    fn set(&self, max_size: usize, changes: &mut u64) -> Change {
        let limit = max_size.min(GREATEST);
        // First: more than callers were told of must not be stored.
        self.max_size.fetch_max(limit, Ordering::AcqRel);
        self.limit.store(limit, Ordering::Release);
        *changes += 1;
        Change(*changes)
    }

    /// How many are to go until the limit holds.
    pub(super) fn excess(&self) -> usize {
        let taken = self.taken.load(Ordering::Acquire);
        self.limit().map_or(0, |limit| taken.saturating_sub(limit))
    }

    /// Tells callers of the limit: it holds now. Not if it was changed again: then that change does so.
    pub(super) fn announce(&self, change: Change) {
        let changes = self.changes.lock();
        if *changes == change.0 {
            self.max_size.store(self.limit.load(Ordering::Acquire), Ordering::Release);
        }
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
