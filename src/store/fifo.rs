//! First in, first out: the entry that was stored first is evicted first.

use slab::Slab;

use super::node::{Node, Order};
use super::ring::{Rings, Token};

const QUEUE: usize = 0;

/// The order of insertion. Overwriting a fresh entry does not change its place.
pub(crate) struct Fifo {
    rings: Rings<Order>,
}

impl Fifo {
    pub(super) const fn new() -> Self {
        Self { rings: Rings::new() }
    }

    pub(super) fn insert(&mut self, nodes: &mut Slab<Node>, token: Token) {
        self.rings.ensure(1);
        self.rings.push_back(nodes, QUEUE, token);
    }

    pub(super) fn remove(&mut self, nodes: &mut Slab<Node>, token: Token) {
        self.rings.unlink(nodes, token);
    }

    /// The entry to evict next.
    pub(super) fn victim(&self) -> Option<Token> {
        self.rings.front(QUEUE)
    }

    /// Every entry, the next victim first.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn iter<'a>(&'a self, nodes: &'a Slab<Node>) -> impl Iterator<Item = Token> + 'a {
        std::iter::successors(self.victim(), |token| self.rings.next(nodes, *token))
    }
}
