//! Notes: what is written down of each value beside its entry, in caches whose settings ask for it.

use crate::clock::Reading;
use crate::expiry::Ttl;
use crate::freshness::Freshness;

use super::ages::Ages;
use super::arrivals::Token;
use super::entry::Stamp;
use super::limits::Limits;
use super::weights::Weights;

pub(super) struct Notes {
    /// Whether anything is written down at all.
    are_kept: bool,
    pub(super) ages: Ages,
    pub(super) limits: Limits,
    pub(super) weights: Weights,
}

impl Notes {
    /// Of nothing.
    pub(super) const NONE: Self = Self {
        are_kept: false,
        ages: Ages::new(false),
        limits: Limits::new(Ttl::ENDLESS),
        weights: Weights::new(false),
    };

    pub(super) fn new(freshness: &Freshness, tti: Ttl, is_weighed: bool) -> Self {
        let (ages, limits) = (Ages::new(freshness.watches_age()), Limits::new(tti));
        let are_kept = freshness.watches_age() || limits.are_kept() || is_weighed;
        Self { are_kept, ages, limits, weights: Weights::new(is_weighed) }
    }

    /// Notes that a value is stored now.
    #[inline]
    pub(super) fn note(&mut self, token: Token, now: &Reading<'_>, stamp: Stamp) {
        if self.are_kept {
            self.write_down(token, now, stamp);
        }
    }

    #[cold]
    fn write_down(&mut self, token: Token, now: &Reading<'_>, stamp: Stamp) {
        self.ages.note(token, now, stamp.cost);
        self.limits.note(token, now);
        self.weights.set(token, stamp.weight);
    }

    /// Lets go of an entry that leaves.
    #[inline]
    pub(super) fn leave(&mut self, token: Token) {
        if self.are_kept {
            self.weights.leave(token);
        }
    }

    /// Takes everything out, to be freed elsewhere.
    pub(super) fn take(&mut self) -> Self {
        Self {
            are_kept: self.are_kept,
            ages: self.ages.take(),
            limits: self.limits.take(),
            weights: self.weights.take(),
        }
    }
}
