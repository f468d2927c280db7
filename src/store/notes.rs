//! Notes: what is written down of each value beside its entry, in caches whose settings ask for it.

use std::time::Duration;

use crate::clock::Reading;
use crate::expiry::Ttl;
use crate::freshness::Freshness;

use super::ages::Ages;
use super::arrivals::Token;
use super::limits::Limits;

pub(super) struct Notes {
    /// Whether anything is written down at all.
    are_kept: bool,
    pub(super) ages: Ages,
    pub(super) limits: Limits,
}

impl Notes {
    /// Of nothing.
    pub(super) const NONE: Self =
        Self { are_kept: false, ages: Ages::new(false), limits: Limits::new(Ttl::ENDLESS) };

    pub(super) fn new(freshness: &Freshness, tti: Ttl) -> Self {
        let (ages, limits) = (Ages::new(freshness.watches_age()), Limits::new(tti));
        Self { are_kept: freshness.watches_age() || limits.are_kept(), ages, limits }
    }

    /// Notes that a value is stored now.
    #[inline]
    pub(super) fn note(&mut self, token: Token, now: &Reading<'_>, cost: Duration) {
        if self.are_kept {
            self.write_down(token, now, cost);
        }
    }

    #[cold]
    fn write_down(&mut self, token: Token, now: &Reading<'_>, cost: Duration) {
        self.ages.note(token, now, cost);
        self.limits.note(token, now);
    }

    /// Takes everything out, to be freed elsewhere.
    pub(super) fn take(&mut self) -> Self {
        Self { are_kept: self.are_kept, ages: self.ages.take(), limits: self.limits.take() }
    }
}
