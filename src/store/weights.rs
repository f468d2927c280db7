//! Weights: how heavy each entry of a shard is, in caches that ask for it.

use super::arrivals::Token;

/// By the entry's index. Empty where nothing has a weight.
pub(super) struct Weights {
    is_kept: bool,
    each: Vec<u64>,
    /// The sum of all. That of the whole cache is a number, so this is one too.
    held: u64,
    /// Of what has left or become lighter, and was not [taken](Self::take_freed) yet.
    freed: u64,
}

impl Weights {
    pub(super) const fn new(is_kept: bool) -> Self {
        Self { is_kept, each: Vec::new(), held: 0, freed: 0 }
    }

    pub(super) fn of(&self, token: Token) -> u64 {
        self.each.get(token.index()).copied().unwrap_or(0)
    }

    /// Sets the weight of an entry that comes, or that gets another value.
    #[inline]
    pub(super) fn set(&mut self, token: Token, weight: u64) {
        if self.is_kept {
            self.change(token, weight);
        }
    }

    /// Lets go of an entry that leaves.
    #[inline]
    pub(super) fn leave(&mut self, token: Token) {
        if self.is_kept {
            self.change(token, 0);
        }
    }

    #[inline(never)]
    fn change(&mut self, token: Token, weight: u64) {
        if self.each.len() <= token.index() {
            self.each.resize(token.index() + 1, 0);
        }
        let old = std::mem::replace(&mut self.each[token.index()], weight);
        self.freed += old.saturating_sub(weight);
        self.held = self.held - old + weight;
    }

    /// What has left or become lighter under this very lock.
    pub(super) fn freed(&self) -> u64 {
        self.freed
    }

    /// The weight of what has left since this was last asked.
    pub(super) fn take_freed(&mut self) -> u64 {
        std::mem::take(&mut self.freed)
    }

    /// Takes everything out, to be freed elsewhere.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self {
            is_kept: self.is_kept,
            each: Vec::new(),
            held: 0,
            freed: self.freed + self.held,
        };
        std::mem::replace(self, empty)
    }

    /// Panics unless only these entries have weights, and the sum is right; returns it.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn validate(&self, present: impl Iterator<Item = Token>) -> u64 {
        let sum: u64 = present.map(|token| self.of(token)).sum();
        assert_eq!(sum, self.each.iter().sum::<u64>(), "what has left weighs nothing");
        assert_eq!(sum, self.held, "the sum is right");
        assert_eq!(self.freed, 0, "what has left is given back");
        sum
    }
}
