//! The order in which entries of a shard make way for others, by its policy.
//!
//! A hit tells by a [mark](marks) at most, under the lock for reading; queues are put in order when
//! somebody has to go. LRU alone does so at each hit.

mod adaptive;
mod ghosts;
mod lru;
mod marks;
mod queues;
mod recent;
mod s3_fifo;
mod segments;
mod shadow;
mod sieve;
mod sketch;
mod tiny_lfu;

use crate::policy::Policy;

use super::arrivals::{Arrivals, Token};
use super::digest::Digest;

use adaptive::Adaptive;
use lru::Lru;
use s3_fifo::S3Fifo;
use sieve::Sieve;
use tiny_lfu::TinyLfu;

/// How many entries are looked at to find one that goes, at most. Each that is passed over costs some
/// nanoseconds, and was used since it was last looked at; after so many, one is as good as another.
const STEPS: usize = 128;

/// What of a hit the policy has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heed {
    Nothing,
    /// A mark will do.
    Mark,
    /// Its place in the order.
    Order,
}

impl Heed {
    pub(super) const fn of(policy: Policy) -> Self {
        match policy {
            Policy::Fifo => Self::Nothing,
            Policy::Lru => Self::Order,
            Policy::Sieve | Policy::S3Fifo | Policy::TinyLfu | Policy::Adaptive => Self::Mark,
        }
    }
}

pub(super) enum Order {
    /// Arrivals are the order.
    Fifo,
    Lru(Lru),
    Sieve(Sieve),
    S3Fifo(S3Fifo),
    TinyLfu(Box<TinyLfu>),
    Adaptive(Box<Adaptive>),
}

impl Order {
    pub(super) fn new(policy: Policy) -> Self {
        match policy {
            Policy::Fifo => Self::Fifo,
            Policy::Lru => Self::Lru(Lru::new()),
            Policy::Sieve => Self::Sieve(Sieve::new()),
            Policy::S3Fifo => Self::S3Fifo(S3Fifo::new()),
            Policy::TinyLfu => Self::TinyLfu(Box::new(TinyLfu::new())),
            Policy::Adaptive => Self::Adaptive(Box::new(Adaptive::new())),
        }
    }

    /// Notes a hit, under the lock for reading.
    #[inline]
    pub(super) fn touch(&self, token: Token, digest: Digest) {
        match self {
            Self::Fifo | Self::Lru(_) => {}
            Self::Sieve(sieve) => sieve.touch(token),
            Self::S3Fifo(s3_fifo) => s3_fifo.touch(token),
            Self::TinyLfu(tiny_lfu) => tiny_lfu.touch(token, digest),
            Self::Adaptive(adaptive) => adaptive.touch(token, digest),
        }
    }

    #[inline]
    const fn is_fifo(&self) -> bool {
        matches!(self, Self::Fifo)
    }

    /// Notes a use, under the lock for writing.
    #[inline]
    pub(super) fn promote(&mut self, token: Token, digest: Digest) {
        if !self.is_fifo() {
            self.promote_queued(token, digest);
        }
    }

    fn promote_queued(&mut self, token: Token, digest: Digest) {
        match self {
            Self::Lru(lru) => lru.promote(token),
            others => others.touch(token, digest),
        }
    }

    #[inline]
    pub(super) fn enter(&mut self, token: Token, digest: Digest) {
        if !self.is_fifo() {
            self.enter_queue(token, digest);
        }
    }

    fn enter_queue(&mut self, token: Token, digest: Digest) {
        match self {
            Self::Fifo => {}
            Self::Lru(lru) => lru.enter(token),
            Self::Sieve(sieve) => sieve.enter(token),
            Self::S3Fifo(s3_fifo) => s3_fifo.enter(token, digest),
            Self::TinyLfu(tiny_lfu) => tiny_lfu.enter(token, digest),
            Self::Adaptive(adaptive) => adaptive.enter(token, digest),
        }
    }

    #[inline]
    pub(super) fn leave(&mut self, token: Token) {
        if !self.is_fifo() {
            self.leave_queue(token);
        }
    }

    fn leave_queue(&mut self, token: Token) {
        match self {
            Self::Fifo => {}
            Self::Lru(lru) => lru.leave(token),
            Self::Sieve(sieve) => sieve.leave(token),
            Self::S3Fifo(s3_fifo) => s3_fifo.leave(token),
            Self::TinyLfu(tiny_lfu) => tiny_lfu.leave(token),
            Self::Adaptive(adaptive) => adaptive.leave(token),
        }
    }

    /// Who is to be evicted.
    #[inline]
    pub(super) fn victim(&mut self, arrivals: &Arrivals) -> Option<Token> {
        if self.is_fifo() { arrivals.first() } else { self.queued_victim(arrivals) }
    }

    fn queued_victim(&mut self, arrivals: &Arrivals) -> Option<Token> {
        match self {
            Self::Fifo => arrivals.first(),
            Self::Lru(lru) => lru.victim(),
            Self::Sieve(sieve) => sieve.victim(),
            Self::S3Fifo(s3_fifo) => s3_fifo.victim(arrivals),
            Self::TinyLfu(tiny_lfu) => tiny_lfu.victim(arrivals),
            Self::Adaptive(adaptive) => adaptive.victim(arrivals),
        }
    }

    /// Who is to be evicted in place of this one, which was chosen.
    pub(super) fn next_victim(&self, spared: Token, arrivals: &Arrivals) -> Option<Token> {
        if let Self::Lru(lru) = self {
            return lru.after(spared);
        }
        // Who came first of the others: it is rare that one which has just been written is to go.
        arrivals.first().filter(|first| *first != spared).or_else(|| arrivals.after(spared))
    }

    /// As new.
    pub(super) fn renewed(&self) -> Self {
        Self::new(self.policy())
    }

    fn policy(&self) -> Policy {
        match self {
            Self::Fifo => Policy::Fifo,
            Self::Lru(_) => Policy::Lru,
            Self::Sieve(_) => Policy::Sieve,
            Self::S3Fifo(_) => Policy::S3Fifo,
            Self::TinyLfu(_) => Policy::TinyLfu,
            Self::Adaptive(_) => Policy::Adaptive,
        }
    }

    /// Panics unless everybody is in a queue, and nobody else.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn validate(&self, arrivals: &Arrivals) {
        let mut queued: Vec<Token> = match self {
            Self::Fifo => return,
            Self::Lru(lru) => lru.iter().collect(),
            Self::Sieve(sieve) => sieve.iter().collect(),
            Self::S3Fifo(s3_fifo) => s3_fifo.iter().collect(),
            Self::TinyLfu(tiny_lfu) => tiny_lfu.iter().collect(),
            Self::Adaptive(adaptive) => adaptive.iter().collect(),
        };
        let mut arrived: Vec<Token> = arrivals.iter().collect();
        queued.sort_unstable_by_key(|token| token.index());
        arrived.sort_unstable_by_key(|token| token.index());
        assert_eq!(queued, arrived, "who has arrived is in a queue, once");
    }
}
