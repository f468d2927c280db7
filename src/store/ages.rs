//! Ages: when each value of a shard was stored, in caches that renew values before they expire.

use std::time::Duration;

use crate::clock::{Reading, Tick};
use crate::freshness::Age;

use super::arrivals::Token;

/// By the entry's index. Empty where nothing asks for ages.
pub(super) struct Ages {
    is_kept: bool,
    ages: Vec<Age>,
}

impl Ages {
    const UNKNOWN: Age = Age { born: Tick::START, cost: Duration::ZERO };

    pub(super) const fn new(is_kept: bool) -> Self {
        Self { is_kept, ages: Vec::new() }
    }

    #[inline]
    pub(super) fn note(&mut self, token: Token, now: &Reading<'_>, cost: Duration) {
        if self.is_kept {
            self.set(token, Age { born: now.tick(), cost });
        }
    }

    fn set(&mut self, token: Token, age: Age) {
        if self.ages.len() <= token.index() {
            self.ages.resize(token.index() + 1, Self::UNKNOWN);
        }
        self.ages[token.index()] = age;
    }

    pub(super) fn of(&self, token: Token) -> Age {
        self.ages.get(token.index()).copied().unwrap_or(Self::UNKNOWN)
    }

    /// Takes everything out, to be freed elsewhere.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.is_kept))
    }
}
