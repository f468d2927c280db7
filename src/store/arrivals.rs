//! Arrivals: which entries a shard holds, in the order in which they came.
//!
//! A doubly linked list by index. It closes through the node at index 0, which stands for its end,
//! so that linking and unlinking know no special cases.

use std::num::NonZeroU32;

use super::digest::Digest;

/// Names an entry of one shard for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(NonZeroU32);

impl Token {
    /// The bit that no token has set, free for others to tell theirs from something else.
    pub(super) const SPARE_BIT: u32 = 1 << 31;

    /// # Panics
    ///
    /// Panics past two billion entries in one shard, which is past a hundred gigabytes.
    #[inline]
    fn new(index: usize) -> Self {
        let number = u32::try_from(index).ok().filter(|number| number & Self::SPARE_BIT == 0);
        let number = number.and_then(NonZeroU32::new);
        Self(number.expect("a shard holds fewer than two billion entries"))
    }

    /// The token of a number that is not zero.
    #[inline]
    pub(super) fn from_number(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    #[inline]
    pub(super) fn number(self) -> u32 {
        self.0.get()
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        self.0.get() as usize
    }
}

/// Room is made for at least so many entries at a time.
const LEAST_GROWTH: usize = 8;

/// The end of the list, before the first and after the last entry.
const END: u32 = 0;

/// What only writes touch of an entry. The rest of it lies in the table, and is found by the digest
/// and the token.
#[derive(Clone, Copy)]
struct Node {
    /// Its own index in a node that is free.
    previous: u32,
    /// The next free node in one that is free; none is `END`.
    next: u32,
    digest: Digest,
}

pub(super) struct Arrivals {
    /// Empty until the first entry comes; then the first node is the list's end.
    nodes: Vec<Node>,
    free: u32,
}

impl Arrivals {
    #[inline]
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), free: END }
    }

    /// Sets room aside; false if there is not that much memory.
    pub(super) fn reserve(&mut self, capacity: usize) -> bool {
        self.nodes.try_reserve(capacity.saturating_add(1)).is_ok()
    }

    /// Tokens' indices are below this.
    pub(super) fn index_bound(&self) -> usize {
        self.nodes.len()
    }

    /// The token of the entry at an index, if there is one.
    pub(super) fn at(&self, index: usize) -> Option<Token> {
        let token = Token::from_number(u32::try_from(index).ok()?)?;
        let node = self.nodes.get(index)?;
        (node.previous != token.number()).then_some(token)
    }

    #[inline]
    pub(super) fn digest(&self, token: Token) -> Digest {
        self.nodes[token.index()].digest
    }

    /// The entry that came first.
    #[inline]
    pub(super) fn first(&self) -> Option<Token> {
        self.nodes.first().and_then(|end| Token::from_number(end.next))
    }

    /// The entry that came next after this one.
    #[inline]
    pub(super) fn after(&self, token: Token) -> Option<Token> {
        Token::from_number(self.nodes[token.index()].next)
    }

    #[inline]
    pub(super) fn push(&mut self, digest: Digest) -> Token {
        if self.nodes.is_empty() {
            self.nodes.push(Node { previous: END, next: END, digest: Digest::default() });
        }
        let last = self.nodes[END as usize].previous;
        let node = Node { previous: last, next: END, digest };
        let token = if self.free == END {
            if self.nodes.len() == self.nodes.capacity() {
                self.grow();
            }
            self.nodes.push(node);
            Token::new(self.nodes.len() - 1)
        } else {
            let token = Token::new(self.free as usize);
            self.free = self.nodes[token.index()].next;
            self.nodes[token.index()] = node;
            token
        };
        self.nodes[last as usize].next = token.number();
        self.nodes[END as usize].previous = token.number();
        token
    }

    /// Grows by a part only: twice the size would be half empty for long.
    #[cold]
    fn grow(&mut self) {
        self.nodes.reserve_exact(self.nodes.len() / 4 + LEAST_GROWTH);
    }

    #[inline]
    pub(super) fn remove(&mut self, token: Token) {
        let Node { previous, next, digest } = self.nodes[token.index()];
        self.nodes[previous as usize].next = next;
        self.nodes[next as usize].previous = previous;
        self.nodes[token.index()] = Node { previous: token.number(), next: self.free, digest };
        self.free = token.number();
    }

    /// All entries, in order.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        std::iter::successors(self.first(), |token| self.after(*token))
    }
}
