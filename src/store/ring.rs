//! Circular lists through the nodes of a slab, linked by index; each list has an end of its own.
//!
//! Because a list closes through its end, a node is unlinked without knowing which list it is in.

use std::marker::PhantomData;
use std::num::NonZeroU32;

use slab::Slab;

use super::node::Node;

/// A node of the slab, or the end of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(NonZeroU32);

/// Set in the token of a ring's end; the rest is the ring's number.
const END: u32 = 1 << 31;

impl Token {
    /// The node at `index` of the slab.
    ///
    /// # Panics
    ///
    /// Panics past two billion entries in one shard, which is past a terabyte.
    pub(crate) fn node(index: usize) -> Self {
        let number = u32::try_from(index + 1).ok().filter(|number| *number < END);
        let number = number.expect("a shard holds fewer than two billion entries");
        Self(NonZeroU32::new(number).expect("one more than an index is not zero"))
    }

    fn end(ring: u32) -> Self {
        Self(NonZeroU32::new(END | ring).expect("the end bit is set"))
    }

    pub(crate) fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// Which ring this is the end of.
    fn ring(self) -> Option<usize> {
        let number = self.0.get();
        (number & END != 0).then_some((number & !END) as usize)
    }
}

/// The neighbours in a ring. What stands alone is its own neighbour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    previous: Token,
    next: Token,
}

impl Links {
    pub(crate) fn alone(token: Token) -> Self {
        Self { previous: token, next: token }
    }
}

/// Which of a node's links a set of rings runs through.
pub(crate) trait Thread {
    fn links(node: &Node) -> &Links;
    fn links_mut(node: &mut Node) -> &mut Links;
}

/// A set of rings through the same links: a node is in one of them, or in none.
pub(crate) struct Rings<T> {
    ends: Vec<Links>,
    thread: PhantomData<T>,
}

impl<T: Thread> Rings<T> {
    pub(crate) const fn new() -> Self {
        Self { ends: Vec::new(), thread: PhantomData }
    }

    /// Makes room for rings numbered up to `count`.
    pub(crate) fn ensure(&mut self, count: u32) {
        let present = u32::try_from(self.ends.len()).expect("rings are few");
        self.ends.extend((present..count).map(|ring| Links::alone(Token::end(ring))));
    }

    pub(crate) fn front(&self, ring: usize) -> Option<Token> {
        let first = self.ends.get(ring)?.next;
        first.ring().is_none().then_some(first)
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn next(&self, nodes: &Slab<Node>, token: Token) -> Option<Token> {
        let next = self.links(nodes, token).next;
        next.ring().is_none().then_some(next)
    }

    pub(crate) fn is_linked(&self, nodes: &Slab<Node>, token: Token) -> bool {
        self.links(nodes, token).next != token
    }

    pub(crate) fn push_back(&mut self, nodes: &mut Slab<Node>, ring: usize, token: Token) {
        let last = self.ends[ring].previous;
        let end = Token::end(u32::try_from(ring).expect("rings are few"));
        *self.links_mut(nodes, token) = Links { previous: last, next: end };
        self.links_mut(nodes, last).next = token;
        self.ends[ring].previous = token;
    }

    /// Takes a node out of its ring, if it is in one; tells which ring that left empty.
    pub(crate) fn unlink(&mut self, nodes: &mut Slab<Node>, token: Token) -> Option<usize> {
        let Links { previous, next } = *self.links(nodes, token);
        if next == token {
            return None;
        }
        self.links_mut(nodes, previous).next = next;
        self.links_mut(nodes, next).previous = previous;
        *self.links_mut(nodes, token) = Links::alone(token);
        if previous == next { next.ring() } else { None }
    }

    /// Moves all of one ring to the back of another.
    pub(crate) fn append(&mut self, nodes: &mut Slab<Node>, from: usize, to: usize) {
        let Some(first) = self.front(from) else { return };
        let last = self.ends[from].previous;
        let end = |ring| Token::end(u32::try_from(ring).expect("rings are few"));
        let before = self.ends[to].previous;
        self.links_mut(nodes, before).next = first;
        self.links_mut(nodes, first).previous = before;
        self.links_mut(nodes, last).next = end(to);
        self.ends[to].previous = last;
        self.ends[from] = Links::alone(end(from));
    }

    fn links<'a>(&'a self, nodes: &'a Slab<Node>, token: Token) -> &'a Links {
        match token.ring() {
            Some(ring) => &self.ends[ring],
            None => T::links(&nodes[token.index()]),
        }
    }

    fn links_mut<'a>(&'a mut self, nodes: &'a mut Slab<Node>, token: Token) -> &'a mut Links {
        match token.ring() {
            Some(ring) => &mut self.ends[ring],
            None => T::links_mut(&mut nodes[token.index()]),
        }
    }
}
