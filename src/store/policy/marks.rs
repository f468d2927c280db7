//! Marks: what hits leave behind, a byte for each entry.

use crate::store::arrivals::Token;
use crate::sync::{AtomicU8, Ordering};

/// By the entry's index.
///
/// Readers write to them side by side, so a mark may be lost: it says roughly how often an entry was hit.
pub(super) struct Marks {
    marks: Vec<AtomicU8>,
}

impl Marks {
    pub(super) const fn new() -> Self {
        Self { marks: Vec::new() }
    }

    #[inline]
    pub(super) fn get(&self, token: Token) -> u8 {
        self.marks.get(token.index()).map_or(0, |mark| mark.load(Ordering::Relaxed))
    }

    /// Writes a mark; under the lock for writing, or else another's may be lost.
    #[inline]
    pub(super) fn set(&self, token: Token, mark: u8) {
        if let Some(place) = self.marks.get(token.index()) {
            place.store(mark, Ordering::Relaxed);
        }
    }

    /// Sets the mark of an entry that has just come.
    #[inline]
    pub(super) fn enter(&mut self, token: Token, mark: u8) {
        if self.marks.len() <= token.index() {
            self.grow(token.index());
        }
        *self.marks[token.index()].get_mut() = mark;
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
