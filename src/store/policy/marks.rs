//! Marks: what hits leave behind, a byte for each entry.

use crate::store::arrivals::Token;
use crate::sync::{AtomicU8, Ordering};

/// The bits of a mark that count uses: up to three.
const USES: u8 = 0b11;

/// By the entry's index; empty where the policy asks for none. The bits that count no uses are the policy's.
///
/// Readers write to them side by side, so a use may be lost: they say roughly how often an entry was hit.
pub(in crate::store) struct Marks {
    marks: Vec<AtomicU8>,
}

impl Marks {
    /// The lowest bit that is the policy's.
    pub(super) const OWN: u8 = USES + 1;

    pub(in crate::store) const fn new() -> Self {
        Self { marks: Vec::new() }
    }

    /// Counts a use, under the lock for reading.
    #[inline]
    pub(in crate::store) fn touch(&self, token: Token) {
        let Some(place) = self.marks.get(token.index()) else { return };
        let mark = place.load(Ordering::Relaxed);
        if mark & USES < USES {
            place.store(mark + 1, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn uses(&self, token: Token) -> u8 {
        self.get(token) & USES
    }

    #[inline]
    pub(super) fn get(&self, token: Token) -> u8 {
        self.marks.get(token.index()).map_or(0, |mark| mark.load(Ordering::Relaxed))
    }

    /// Writes a mark; under the lock for writing, or a use may be lost.
    #[inline]
    pub(super) fn set(&self, token: Token, mark: u8) {
        if let Some(place) = self.marks.get(token.index()) {
            place.store(mark, Ordering::Relaxed);
        }
    }

    /// Sets the mark of an entry that has just come.
    #[inline]
    pub(super) fn enter(&mut self, token: Token) {
        match self.marks.get_mut(token.index()) {
            Some(mark) => *mark.get_mut() = 0,
            None => self.grow(token.index()),
        }
    }

    #[cold]
    fn grow(&mut self, index: usize) {
        let len = self.marks.len();
        if self.marks.capacity() <= index {
            self.marks.reserve_exact((len / 4).max(index + 1 - len));
        }
        self.marks.resize_with(index + 1, AtomicU8::default);
    }
}
