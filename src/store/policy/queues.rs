//! Queues: lists of entries, from which any can be taken at any time.
//!
//! Doubly linked by index, over one table: an entry is in one queue at most. Each queue closes through a
//! node of its own, which stands for its end, so that linking and unlinking know no special cases.

use crate::store::arrivals::Token;

/// Room is made for at least so many entries at a time.
const LEAST_GROWTH: usize = 8;

/// Which of several queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queue(pub(super) u32);

#[derive(Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
}

/// `N` queues, none of which is empty of its end.
pub(super) struct Queues<const N: usize> {
    links: Vec<Link>,
}

impl<const N: usize> Queues<N> {
    pub(super) const fn new() -> Self {
        Self { links: Vec::new() }
    }

    /// The ends of the queues come first; tokens' indices begin with 1.
    #[inline]
    fn index(token: Token) -> usize {
        token.index() + N - 1
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "there are few queues")]
    fn token(link: u32) -> Option<Token> {
        Token::from_number((link + 1).saturating_sub(N as u32))
    }

    /// The first of a queue.
    #[inline]
    pub(super) fn first(&self, queue: Queue) -> Option<Token> {
        self.links.get(queue.0 as usize).and_then(|end| Self::token(end.next))
    }

    /// The one behind this one.
    #[inline]
    pub(super) fn after(&self, token: Token) -> Option<Token> {
        Self::token(self.links[Self::index(token)].next)
    }

    /// Puts an entry that is in no queue at the end of one.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "tokens are smaller by far")]
    pub(super) fn push(&mut self, queue: Queue, token: Token) {
        let index = Self::index(token);
        if index >= self.links.len() {
            self.grow(index);
        }
        let last = self.links[queue.0 as usize].previous;
        self.links[index] = Link { previous: last, next: queue.0 };
        self.links[last as usize].next = index as u32;
        self.links[queue.0 as usize].previous = index as u32;
    }

    /// Grows by a part only: twice the size would be half empty for long.
    #[cold]
    #[expect(clippy::cast_possible_truncation, reason = "tokens are smaller by far")]
    fn grow(&mut self, index: usize) {
        if self.links.capacity() <= index {
            let len = self.links.len();
            self.links.reserve_exact((len / 4 + LEAST_GROWTH).max(index + 1 - len));
        }
        for index in self.links.len()..=index {
            self.links.push(Link { previous: index as u32, next: index as u32 });
        }
    }

    /// Takes an entry out of its queue.
    #[inline]
    pub(super) fn remove(&mut self, token: Token) {
        let Link { previous, next } = self.links[Self::index(token)];
        self.links[previous as usize].next = next;
        self.links[next as usize].previous = previous;
    }

    /// Puts an entry at the end of a queue, out of the one that it is in.
    #[inline]
    pub(super) fn shift(&mut self, queue: Queue, token: Token) {
        self.remove(token);
        self.push(queue, token);
    }

    /// All of a queue, in order.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn iter(&self, queue: Queue) -> impl Iterator<Item = Token> {
        std::iter::successors(self.first(queue), |token| self.after(*token))
    }
}
