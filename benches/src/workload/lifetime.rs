//! A cache's lifetime: filling it with a million entries, and dropping it.

use std::time::Instant;

use crate::contender::{Contender, Enter, line_up};
use crate::round::{self, Entrant, nanos_each};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

use super::roomy;

pub(crate) const MEASURES: [Measure; 2] = [
    Measure::new("build of 1 M entries, an entry", Unit::Nanos),
    Measure::new("drop of 1 M entries, an entry", Unit::Nanos),
];

struct Lifetime {
    entries: usize,
}

pub(crate) fn run(scale: &Scale) -> Vec<Table> {
    round::run(scale.rounds, &MEASURES, line_up(&Lifetime { entries: scale.large }))
}

impl Enter<u64, u64> for Lifetime {
    fn enter<C: Contender<u64, u64>>(&self) -> Entrant {
        let entries = self.entries;
        Entrant::new(C::NAME, move || {
            let begin = Instant::now();
            let cache = C::with_capacity(roomy(entries));
            (0..entries as u64).for_each(|key| cache.insert(key, key));
            cache.settle();
            let built = begin.elapsed();
            let begin = Instant::now();
            drop(cache);
            vec![nanos_each(built, entries), nanos_each(begin.elapsed(), entries)]
        })
    }
}
