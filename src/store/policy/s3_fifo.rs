//! S3-FIFO: newcomers pass a small queue, and only who is used there comes to the main one (Yang, Zhang,
//! Qiu, Yue and Rashmi, "FIFO Queues are All You Need for Cache Eviction", SOSP 2023).

use crate::store::arrivals::{Arrivals, Token};
use crate::store::digest::Digest;

use super::STEPS;
use super::ghosts::Ghosts;
use super::marks::Marks;
use super::queues::{Queue, Queues};

const SMALL: Queue = Queue(0);
const MAIN: Queue = Queue(1);

/// The small queue has one entry in so many.
const SMALL_SHARE: usize = 10;
/// Who was used so often comes from the small queue to the main one.
const PROMOTED_FROM: u8 = 2;

/// Set in the marks of those in the main queue.
const IN_MAIN: u8 = Marks::OWN;

pub(in crate::store) struct S3Fifo {
    queues: Queues<2>,
    ghosts: Ghosts,
    small: usize,
    main: usize,
}

impl S3Fifo {
    pub(super) const fn new() -> Self {
        Self { queues: Queues::new(), ghosts: Ghosts::new(), small: 0, main: 0 }
    }

    #[inline]
    pub(super) fn enter(&mut self, token: Token, digest: Digest, marks: &Marks) {
        if self.ghosts.take(digest, self.most_ghosts()) {
            self.main += 1;
            self.queues.push(MAIN, token);
            marks.set(token, IN_MAIN);
        } else {
            self.small += 1;
            self.queues.push(SMALL, token);
        }
    }

    #[inline]
    pub(super) fn leave(&mut self, token: Token, marks: &Marks) {
        self.queues.remove(token);
        if marks.get(token) & IN_MAIN == 0 {
            self.small -= 1;
        } else {
            self.main -= 1;
        }
    }

    #[inline]
    pub(super) fn victim(&mut self, arrivals: &Arrivals, marks: &Marks) -> Option<Token> {
        for _ in 0..STEPS {
            if self.is_small_queue_due() {
                let token = self.queues.first(SMALL)?;
                if marks.uses(token) < PROMOTED_FROM {
                    self.ghosts.add(arrivals.digest(token), self.len());
                    return Some(token);
                }
                self.promote(token, marks);
            } else {
                let token = self.queues.first(MAIN)?;
                if marks.uses(token) == 0 {
                    return Some(token);
                }
                marks.set(token, marks.get(token) - 1);
                self.queues.shift(MAIN, token);
            }
        }
        self.queues.first(SMALL).or_else(|| self.queues.first(MAIN))
    }

    #[inline]
    fn len(&self) -> usize {
        self.small + self.main
    }

    /// As many as the main queue has entries when both have their shares.
    #[inline]
    fn most_ghosts(&self) -> usize {
        self.len() - self.len() / SMALL_SHARE
    }

    #[inline]
    fn is_small_queue_due(&self) -> bool {
        self.main == 0 || self.small >= (self.len() / SMALL_SHARE).max(1)
    }

    fn promote(&mut self, token: Token, marks: &Marks) {
        self.queues.shift(MAIN, token);
        marks.set(token, IN_MAIN);
        self.small -= 1;
        self.main += 1;
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        self.queues.iter(SMALL).chain(self.queues.iter(MAIN))
    }
}
