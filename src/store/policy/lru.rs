//! LRU: who was used least recently goes.

use crate::store::arrivals::Token;

use super::queues::{Queue, Queues};

/// From the least to the most recently used.
const BY_USE: Queue = Queue(0);

pub(in crate::store) struct Lru {
    queue: Queues<1>,
}

impl Lru {
    pub(super) const fn new() -> Self {
        Self { queue: Queues::new() }
    }

    #[inline]
    pub(super) fn enter(&mut self, token: Token) {
        self.queue.push(BY_USE, token);
    }

    #[inline]
    pub(super) fn leave(&mut self, token: Token) {
        self.queue.remove(token);
    }

    #[inline]
    pub(super) fn promote(&mut self, token: Token) {
        self.queue.shift(BY_USE, token);
    }

    #[inline]
    pub(super) fn victim(&self) -> Option<Token> {
        self.queue.first(BY_USE)
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        self.queue.iter(BY_USE)
    }
}
