//! Contenders: the eviction policies that are compared, behind one interface.

mod exact;
mod fleeting;
mod foyer;
mod moka;
mod quick_cache;
mod s3_fifo;
mod sieve_cache;
mod tiny_ufo;

use ::fleeting::Policy;
use ahash::RandomState;

use crate::error::Failure;

use super::optimum;
use super::replay::replay;
use super::size::Size;
use super::trace::Trace;

use self::fleeting::{Lazy, replay_timed};

/// A cache of numbers with room for so many.
pub(crate) trait Cache {
    fn get(&mut self, key: u64) -> Option<u64>;
    /// Stores a value, also in place of another.
    fn insert(&mut self, key: u64, value: u64);
}

/// An eviction policy and what is known of it.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    /// How often it has to run, because its hashes differ.
    pub(crate) runs: u32,
    /// It holds more entries than it has room for, which matters below so many.
    fair_from: usize,
    /// It knows of time itself, and takes part only where there is time.
    pub(crate) needs_time: bool,
    /// Returns the hits of a cache with room for so many entries.
    pub(crate) replay: fn(&Trace, usize) -> u64,
}

/// What somebody is to the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Fleeting,
    Exact,
    Peer,
}

/// All of them, in the order in which they are shown.
static ALL: [Contender; 26] = [
    Contender::new("fleeting FIFO", Family::Fleeting, |trace, entries| {
        replay(trace, Lazy::new(Policy::Fifo, entries))
    }),
    Contender::new("fleeting LRU", Family::Fleeting, |trace, entries| {
        replay(trace, Lazy::new(Policy::Lru, entries))
    }),
    Contender::new("fleeting SIEVE", Family::Fleeting, |trace, entries| {
        replay(trace, Lazy::new(Policy::Sieve, entries))
    }),
    Contender::new("fleeting S3-FIFO", Family::Fleeting, |trace, entries| {
        replay(trace, Lazy::new(Policy::S3Fifo, entries))
    }),
    Contender::new("fleeting TinyLFU", Family::Fleeting, |trace, entries| {
        replay(trace, Lazy::new(Policy::TinyLfu, entries))
    }),
    Contender::new("fleeting Adaptive", Family::Fleeting, |trace, entries| {
        replay(trace, Lazy::new(Policy::Adaptive, entries))
    }),
    Contender::new("fleeting FIFO, own TTL", Family::Fleeting, |trace, entries| {
        replay_timed(trace, Policy::Fifo, entries)
    })
    .needing_time(),
    Contender::new("fleeting LRU, own TTL", Family::Fleeting, |trace, entries| {
        replay_timed(trace, Policy::Lru, entries)
    })
    .needing_time(),
    Contender::new("fleeting SIEVE, own TTL", Family::Fleeting, |trace, entries| {
        replay_timed(trace, Policy::Sieve, entries)
    })
    .needing_time(),
    Contender::new("fleeting S3-FIFO, own TTL", Family::Fleeting, |trace, entries| {
        replay_timed(trace, Policy::S3Fifo, entries)
    })
    .needing_time(),
    Contender::new("fleeting TinyLFU, own TTL", Family::Fleeting, |trace, entries| {
        replay_timed(trace, Policy::TinyLfu, entries)
    })
    .needing_time(),
    Contender::new("fleeting Adaptive, own TTL", Family::Fleeting, |trace, entries| {
        replay_timed(trace, Policy::Adaptive, entries)
    })
    .needing_time(),
    Contender::new("FIFO", Family::Exact, |trace, entries| {
        replay(trace, exact::Fifo::new(entries))
    }),
    Contender::new("LRU", Family::Exact, |trace, entries| replay(trace, exact::Lru::new(entries))),
    Contender::new("S3-FIFO", Family::Exact, |trace, entries| {
        replay(trace, s3_fifo::S3Fifo::new(entries))
    }),
    Contender::new("moka strict", Family::Peer, |trace, entries| {
        replay(trace, moka::Strict::new(entries))
    }),
    Contender::new("moka", Family::Peer, |trace, entries| {
        replay(trace, moka::AtItsPace::new(entries))
    })
    .fair_from(6_400),
    Contender::new("mini-moka", Family::Peer, |trace, entries| {
        replay(trace, moka::Mini::new(entries))
    }),
    Contender::new("quick_cache", Family::Peer, |trace, entries| {
        replay(trace, quick_cache::QuickCache::new(entries))
    }),
    Contender::new("TinyUFO", Family::Peer, |trace, entries| {
        replay(trace, tiny_ufo::TinyUfo::new(entries))
    })
    .running(3),
    Contender::new("TinyUFO compact", Family::Peer, |trace, entries| {
        replay(trace, tiny_ufo::TinyUfo::compact(entries))
    })
    .running(3),
    Contender::new("foyer S3-FIFO", Family::Peer, |trace, entries| {
        replay(trace, foyer::Foyer::s3_fifo(entries))
    }),
    Contender::new("foyer LFU", Family::Peer, |trace, entries| {
        replay(trace, foyer::Foyer::lfu(entries))
    }),
    Contender::new("foyer SIEVE", Family::Peer, |trace, entries| {
        replay(trace, foyer::Foyer::sieve(entries))
    }),
    Contender::new("sieve-cache", Family::Peer, |trace, entries| {
        replay(trace, sieve_cache::Sieve::new(entries))
    }),
    Contender::new("OPT", Family::Exact, optimum::replay),
];

impl Contender {
    const fn new(name: &'static str, family: Family, replay: fn(&Trace, usize) -> u64) -> Self {
        Self { name, family, runs: 1, fair_from: 0, needs_time: false, replay }
    }

    const fn running(self, runs: u32) -> Self {
        Self { runs, ..self }
    }

    const fn fair_from(self, fair_from: usize) -> Self {
        Self { fair_from, ..self }
    }

    const fn needing_time(self) -> Self {
        Self { needs_time: true, ..self }
    }

    pub(crate) fn takes_part_in(&self, trace: &Trace) -> bool {
        trace.is_timed() || !self.needs_time
    }

    /// Tells whether it holds no more entries than the others, or hardly so.
    pub(crate) fn is_fair_at(&self, size: Size) -> bool {
        size.entries >= self.fair_from
    }

    /// What it is called on the command line.
    pub(crate) fn option(&self) -> String {
        self.name.to_lowercase().replace(", ", "-").replace([' ', '_'], "-")
    }

    fn is_meant_by(&self, text: &str) -> bool {
        let option = self.option();
        let is_member = option.strip_prefix(text).is_some_and(|rest| rest.starts_with('-'));
        option == text || is_member || self.family.option() == text
    }
}

impl Family {
    fn option(self) -> &'static str {
        match self {
            Self::Fleeting => "fleeting",
            Self::Exact => "exact",
            Self::Peer => "peers",
        }
    }
}

/// Those who are meant by any of these words; all, if there are none.
pub(crate) fn chosen<T: AsRef<str>>(words: &[T]) -> Result<Vec<&'static Contender>, Failure> {
    let words: Vec<_> = words.iter().map(|word| word.as_ref().to_lowercase()).collect();
    if let Some(unknown) = words.iter().find(|word| !ALL.iter().any(|one| one.is_meant_by(word))) {
        let known: Vec<_> = ALL.iter().map(Contender::option).collect();
        return Err(Failure::NoPolicy { name: unknown.clone(), known: known.join(", ") });
    }
    let is_chosen = |contender: &&Contender| {
        words.is_empty() || words.iter().any(|word| contender.is_meant_by(word))
    };
    Ok(ALL.iter().filter(is_chosen).collect())
}

/// The one with this name on the command line.
pub(crate) fn named(option: &str) -> Option<&'static Contender> {
    ALL.iter().find(|contender| contender.option() == option)
}

/// The same in each run.
fn hasher() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<&'static str> {
        chosen(words).expect("there are some").iter().map(|contender| contender.name).collect()
    }

    #[test]
    fn one_word_may_choose_many() {
        assert_eq!(names(&["LRU", "moka-strict"]), ["LRU", "moka strict"]);
        assert_eq!(names(&["tinyufo"]), ["TinyUFO", "TinyUFO compact"]);
        assert_eq!(names(&["exact"]), ["FIFO", "LRU", "S3-FIFO", "OPT"]);
        assert_eq!(names(&[]).len(), ALL.len());
        assert!(chosen(&["peers", "lru2"]).is_err());
    }

    #[test]
    fn names_are_different() {
        let mut options: Vec<_> = ALL.iter().map(Contender::option).collect();
        options.sort();
        options.dedup();
        assert_eq!(options.len(), ALL.len());
    }
}
