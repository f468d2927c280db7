//! Segments: a window for newcomers, and a main part of two queues: on probation, and protected
//! (Einziger, Eytan, Friedman and Manes, "Adaptive Software Cache Management", Middleware 2018).
//!
//! Hits move nothing. An entry that was used moves when its turn comes to be looked at, as in CLOCK.

use crate::store::arrivals::Token;

use super::STEPS;
use super::marks::Marks;
use super::queues::{Queue, Queues};

/// How many entries leave a window that is too large, for each newcomer: more than one, or it would never
/// shrink.
const MOVES: usize = 4;
/// Up to so many fifths of the main part are protected: Caffeine's 80 %.
const PROTECTED_FIFTHS: usize = 4;

const WINDOW: Queue = Queue(0);
const PROBATION: Queue = Queue(1);
const PROTECTED: Queue = Queue(2);

/// The bits of a mark that name its entry's queue, in units of this.
const QUEUE: u8 = Marks::OWN;

/// A share of all entries.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Share(pub(super) f32);

/// Who is in which segment, in what order.
pub(super) struct Segments {
    queues: Queues<3>,
    counts: [usize; 3],
}

/// What a call has to go by.
struct Look<'a, F> {
    marks: &'a Marks,
    /// Told of those that were used since they were last looked at, once for all their uses.
    seen: &'a F,
    /// How many entries may still be passed over.
    steps: usize,
}

impl Segments {
    pub(super) const fn new() -> Self {
        Self { queues: Queues::new(), counts: [0; 3] }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Puts a newcomer in the window, which is to have such a share of all entries. Those that are found used
    /// are told to `seen`.
    pub(super) fn enter(
        &mut self,
        token: Token,
        window: Share,
        marks: &Marks,
        seen: &impl Fn(Token),
    ) {
        self.push(WINDOW, token, marks);
        let mut look = Look { marks, seen, steps: STEPS };
        for _ in 0..MOVES {
            if self.count(WINDOW) <= self.part(window) {
                return;
            }
            let Some(oldest) = self.idle(WINDOW, &mut look) else { return };
            self.shift(PROBATION, oldest, marks);
        }
    }

    pub(super) fn leave(&mut self, token: Token, marks: &Marks) {
        self.counts[usize::from(marks.get(token) / QUEUE)] -= 1;
        self.queues.remove(token);
    }

    /// Chooses whom to evict: of a window that has its share the oldest, unless `wins` says that it deserves
    /// the place of the first in the main part. Those that are found used are told to `seen`.
    pub(super) fn victim(
        &mut self,
        window: Share,
        marks: &Marks,
        seen: &impl Fn(Token),
        wins: impl FnOnce(Token, Token) -> bool,
    ) -> Option<Token> {
        let mut look = Look { marks, seen, steps: STEPS };
        if self.count(WINDOW) < self.part(window) {
            return self.idle_in_main(&mut look).or_else(|| self.idle(WINDOW, &mut look));
        }
        let Some(candidate) = self.idle(WINDOW, &mut look) else {
            return self.idle_in_main(&mut look);
        };
        let Some(rival) = self.idle_in_main(&mut look) else { return Some(candidate) };
        if wins(candidate, rival) {
            self.shift(PROBATION, candidate, marks);
            return Some(rival);
        }
        // Another is asked next time: one that was popular long ago would turn all others away.
        self.shift(PROBATION, rival, marks);
        Some(candidate)
    }

    /// How many entries a share of all is.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share need not be exact, and is not negative"
    )]
    fn part(&self, share: Share) -> usize {
        ((self.len() as f32 * share.0) as usize).max(1)
    }

    fn idle_in_main(&mut self, look: &mut Look<'_, impl Fn(Token)>) -> Option<Token> {
        self.idle(PROBATION, look).or_else(|| self.idle(PROTECTED, look))
    }

    /// The first of a queue that was not used, or with which the steps are used up. Those before it move: to
    /// the end, or from probation to the protected.
    fn idle(&mut self, queue: Queue, look: &mut Look<'_, impl Fn(Token)>) -> Option<Token> {
        loop {
            let token = self.queues.first(queue)?;
            if look.steps == 0 || look.marks.uses(token) == 0 {
                return Some(token);
            }
            look.steps -= 1;
            (look.seen)(token);
            if queue == PROBATION {
                self.protect(token, look);
            } else {
                self.shift(queue, token, look.marks);
            }
        }
    }

    /// Moves an entry to the protected, and if they are too many, another one back on probation.
    fn protect(&mut self, token: Token, look: &mut Look<'_, impl Fn(Token)>) {
        self.shift(PROTECTED, token, look.marks);
        let main = self.count(PROBATION) + self.count(PROTECTED);
        if self.count(PROTECTED) <= main * PROTECTED_FIFTHS / 5 {
            return;
        }
        if let Some(idle) = self.idle(PROTECTED, look) {
            self.shift(PROBATION, idle, look.marks);
        }
    }

    fn count(&self, queue: Queue) -> usize {
        self.counts[queue.0 as usize]
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are three queues")]
    fn push(&mut self, queue: Queue, token: Token, marks: &Marks) {
        self.queues.push(queue, token);
        self.counts[queue.0 as usize] += 1;
        marks.set(token, queue.0 as u8 * QUEUE);
    }

    fn shift(&mut self, queue: Queue, token: Token, marks: &Marks) {
        self.leave(token, marks);
        self.push(queue, token, marks);
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        [WINDOW, PROBATION, PROTECTED].into_iter().flat_map(|queue| self.queues.iter(queue))
    }
}
