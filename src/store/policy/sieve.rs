//! SIEVE: a hand goes from the oldest entry to the newest, and takes the first that was not used since it
//! last came by (Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is Simpler than LRU", NSDI 2024).

use crate::store::arrivals::Token;

use super::STEPS;
use super::marks::Marks;
use super::queues::{Queue, Queues};

/// From the oldest to the newest.
const BY_AGE: Queue = Queue(0);

pub(in crate::store) struct Sieve {
    queue: Queues<1>,
    /// Who is looked at next; the oldest if nobody.
    hand: Option<Token>,
}

impl Sieve {
    pub(super) const fn new() -> Self {
        Self { queue: Queues::new(), hand: None }
    }

    #[inline]
    pub(super) fn enter(&mut self, token: Token) {
        self.queue.push(BY_AGE, token);
    }

    #[inline]
    pub(super) fn leave(&mut self, token: Token) {
        if self.hand == Some(token) {
            self.hand = self.queue.after(token);
        }
        self.queue.remove(token);
    }

    pub(super) fn victim(&mut self, marks: &Marks) -> Option<Token> {
        for _ in 0..STEPS {
            let token = self.pass()?;
            if marks.uses(token) == 0 {
                return Some(token);
            }
            marks.set(token, 0);
        }
        self.pass()
    }

    /// Moves the hand past the next entry. From the newest it comes back to the oldest, also if another
    /// arrives meanwhile.
    fn pass(&mut self) -> Option<Token> {
        let token = self.hand.or_else(|| self.queue.first(BY_AGE))?;
        self.hand = self.queue.after(token);
        Some(token)
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        self.queue.iter(BY_AGE)
    }
}
