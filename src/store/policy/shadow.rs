//! Shadow: a cache in miniature that holds no values, to learn what a window of its size would do
//! (Waldspurger, Saemundsson, Ahmad and Park, "Cache Modeling and Optimization using Miniature
//! Simulations", USENIX ATC 2017).

use crate::store::arrivals::Token;
use crate::store::digest::Digest;

use super::marks::Marks;
use super::segments::{Segments, Share};

/// Where no entry is. A key with this digest is taken for its neighbour.
const NOBODY: u32 = 0;
const NEIGHBOUR: u32 = 1;

/// Digests in the order of segments with a window of one size.
pub(super) struct Shadow {
    segments: Segments,
    marks: Marks,
    /// By the token's index; so few that they can be looked through. The first is no entry's.
    digests: Vec<u32>,
}

impl Shadow {
    pub(super) fn new() -> Self {
        Self { segments: Segments::new(), marks: Marks::new(), digests: vec![NOBODY] }
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Uses an entry; false if it is not there, and is put in.
    pub(super) fn replay(
        &mut self,
        digest: Digest,
        capacity: usize,
        window: Share,
        wins: impl Fn(Digest, Digest) -> bool,
    ) -> bool {
        let number = digest.number().max(NEIGHBOUR);
        if let Some(token) = self.find(number) {
            self.marks.touch(token);
            return true;
        }
        while self.len() >= capacity && self.evict(window, &wins) {}
        let token = self.vacancy();
        self.digests[token.index()] = number;
        self.marks.enter(token);
        self.segments.enter(token, window, &self.marks, &|_| ());
        false
    }

    /// Keeps only some digests.
    pub(super) fn retain(&mut self, keep: impl Fn(Digest) -> bool) {
        for index in 1..self.digests.len() {
            let number = self.digests[index];
            if number != NOBODY && !keep(Digest::from_number(number)) {
                self.remove(Self::token(index));
            }
        }
    }

    fn evict(&mut self, window: Share, wins: impl Fn(Digest, Digest) -> bool) -> bool {
        let digest = |token: Token| Digest::from_number(self.digests[token.index()]);
        let wins = |candidate, rival| wins(digest(candidate), digest(rival));
        let victim = self.segments.victim(window, &self.marks, &|_| (), wins);
        victim.map(|victim| self.remove(victim)).is_some()
    }

    fn remove(&mut self, token: Token) {
        self.digests[token.index()] = NOBODY;
        self.segments.leave(token, &self.marks);
    }

    fn vacancy(&mut self) -> Token {
        self.find(NOBODY).unwrap_or_else(|| {
            self.digests.push(NOBODY);
            Self::token(self.digests.len() - 1)
        })
    }

    fn find(&self, number: u32) -> Option<Token> {
        // Several are looked at at once, which a search for the place of one does not.
        if !self.digests.contains(&number) {
            return None;
        }
        let index = self.digests.iter().skip(1).position(|held| *held == number)?;
        Some(Self::token(index + 1))
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are few")]
    fn token(index: usize) -> Token {
        Token::from_number(index as u32).expect("the first is no entry's")
    }
}
