//! The order in which entries of a shard make way for others, by its policy.
//!
//! A hit leaves a [mark](marks) at most, under the lock for reading; queues are put in order when somebody
//! has to go. LRU alone does so at each hit.

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
pub(super) use marks::Marks;
use s3_fifo::S3Fifo;
use sieve::Sieve;
use tiny_lfu::TinyLfu;

/// How many entries are looked at to find one that goes, at most. Each that is passed over costs some
/// nanoseconds, and was used since it was last looked at; after so many, one is as good as another.
const STEPS: usize = 128;

/// What there is to do at a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heed {
    Nothing,
    /// It leaves a mark.
    Mark,
    /// The policy learns from it, too.
    Sample,
    /// All that, and the entry has another place in an order, or another deadline.
    Order,
}

impl Heed {
    pub(super) const fn of(policy: Policy) -> Self {
        match policy {
            Policy::Fifo => Self::Nothing,
            Policy::Sieve | Policy::S3Fifo => Self::Mark,
            Policy::TinyLfu | Policy::Adaptive => Self::Sample,
            Policy::Lru => Self::Order,
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

    #[inline]
    pub(super) const fn is_fifo(&self) -> bool {
        matches!(self, Self::Fifo)
    }

    pub(super) const fn is_lru(&self) -> bool {
        matches!(self, Self::Lru(_))
    }

    /// Learns from a hit, under the lock for reading.
    #[inline]
    pub(super) fn sample(&self, digest: Digest) {
        match self {
            Self::TinyLfu(tiny_lfu) => tiny_lfu.sample(digest),
            Self::Adaptive(adaptive) => adaptive.sample(digest),
            Self::Fifo | Self::Lru(_) | Self::Sieve(_) | Self::S3Fifo(_) => {}
        }
    }

    /// Puts an entry that was used in its place, under the lock for writing.
    pub(super) fn promote(&mut self, token: Token) {
        if let Self::Lru(lru) = self {
            lru.promote(token);
        }
    }

    pub(super) fn enter(
        &mut self,
        token: Token,
        digest: Digest,
        arrivals: &Arrivals,
        marks: &mut Marks,
    ) {
        if let Self::Lru(lru) = self {
            return lru.enter(token);
        }
        marks.enter(token);
        match self {
            Self::Fifo | Self::Lru(_) => {}
            Self::Sieve(sieve) => sieve.enter(token),
            Self::S3Fifo(s3_fifo) => s3_fifo.enter(token, digest, marks),
            Self::TinyLfu(tiny_lfu) => tiny_lfu.enter(token, digest, arrivals, marks),
            Self::Adaptive(adaptive) => adaptive.enter(token, digest, arrivals, marks),
        }
    }

    pub(super) fn leave(&mut self, token: Token, marks: &Marks) {
        match self {
            Self::Fifo => {}
            Self::Lru(lru) => lru.leave(token),
            Self::Sieve(sieve) => sieve.leave(token),
            Self::S3Fifo(s3_fifo) => s3_fifo.leave(token, marks),
            Self::TinyLfu(tiny_lfu) => tiny_lfu.leave(token, marks),
            Self::Adaptive(adaptive) => adaptive.leave(token, marks),
        }
    }

    /// Who is to be evicted.
    pub(super) fn victim(&mut self, arrivals: &Arrivals, marks: &Marks) -> Option<Token> {
        match self {
            Self::Fifo => arrivals.first(),
            Self::Lru(lru) => lru.victim(),
            Self::Sieve(sieve) => sieve.victim(marks),
            Self::S3Fifo(s3_fifo) => s3_fifo.victim(arrivals, marks),
            Self::TinyLfu(tiny_lfu) => tiny_lfu.victim(arrivals, marks),
            Self::Adaptive(adaptive) => adaptive.victim(arrivals, marks),
        }
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
