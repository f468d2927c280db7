//! Expiry: a million entries whose time has come, at once or little by little.
//!
//! fleeting's sweeper runs on a clock moved by hand and is polled by hand: the longest poll is an
//! upper bound of how long any lock was held. What the machine does meanwhile is in the maxima too,
//! so that the least of the rounds says most. moka and mini-moka have no such clock: their entries
//! live for a real time, and are then removed by the one call meant for that.

use std::thread;
use std::time::{Duration, Instant};

use ::mini_moka::sync::ConcurrentCacheExt;
use fleeting::Cache;

use crate::contender::{FLEETING, MINI_MOKA, MOKA};
use crate::hand::Hand;
use crate::round::{self, Entrant, nanos_each};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

use super::roomy;

pub(crate) const AT_ONCE: [Measure; 2] = [
    Measure::new("1 M expire at once", Unit::Nanos),
    Measure::new("1 M expire at once: longest step", Unit::Micros),
];
pub(crate) const SPREAD: [Measure; 2] = [
    Measure::new("1 M expire spread over 1000 s", Unit::Nanos),
    Measure::new("1 M expire spread over 1000 s: longest step", Unit::Micros),
];

/// Within how many steps of the clock entries expire that do so little by little.
const STEPS: u64 = 1000;
const STEP: Duration = Duration::from_secs(1);

/// Who has to wait in reality does not do so for all rounds.
const MOST_REAL_ROUNDS: usize = 3;

/// More than any clock is late.
const MARGIN: Duration = Duration::from_millis(200);

/// How long removing everything took in all, and the longest step of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sweep {
    total: Duration,
    longest: Duration,
}

/// A cache whose entries expire before long.
pub(crate) trait Expiring: 'static {
    const NAME: &'static str;
    /// How many rounds are worth their time.
    const MOST_ROUNDS: usize;

    fn empty(scale: &Scale) -> Self;
    fn insert(&self, key: u64);
    /// Lets the time pass, and then removes everything.
    fn sweep(&self) -> Sweep;
}

pub(crate) fn at_once(scale: &Scale) -> Vec<Table> {
    let entrants = vec![
        enter::<AtOnce>(scale),
        enter::<ByAndBy<Moka>>(scale),
        enter::<ByAndBy<MiniMoka>>(scale),
    ];
    round::run(scale.rounds, &AT_ONCE, entrants)
}

pub(crate) fn spread_out(scale: &Scale) -> Vec<Table> {
    round::run(scale.rounds, &SPREAD, vec![enter::<Spread>(scale)])
}

fn enter<E: Expiring>(scale: &Scale) -> Entrant {
    let scale = *scale;
    let entrant = Entrant::new(E::NAME, move || {
        let cache = E::empty(&scale);
        (0..scale.large as u64).for_each(|key| cache.insert(key));
        let sweep = cache.sweep();
        vec![nanos_each(sweep.total, scale.large), sweep.longest.as_secs_f64() * 1e6]
    });
    entrant.with_at_most(E::MOST_ROUNDS)
}

/// fleeting, on a clock moved by hand; all entries have the same deadline.
pub(crate) struct AtOnce(Cache<u64, u64>, Hand);

/// fleeting, on a clock moved by hand; some entries expire with each step of it.
struct Spread(Cache<u64, u64>, Hand);

/// A cache whose entries expire in reality.
pub(crate) struct ByAndBy<C> {
    cache: C,
    ttl: Duration,
}

/// What is asked of a cache to see its entries expire in reality.
pub(crate) trait Cleaning: 'static {
    const NAME: &'static str;

    fn with_ttl(capacity: usize, ttl: Duration) -> Self;
    fn insert(&self, key: u64);
    fn clean_up(&self);
    fn count(&self) -> u64;
}

pub(crate) type Moka = moka::sync::Cache<u64, u64>;
pub(crate) type MiniMoka = mini_moka::sync::Cache<u64, u64>;

impl Expiring for AtOnce {
    const NAME: &'static str = FLEETING;
    const MOST_ROUNDS: usize = usize::MAX;

    fn empty(scale: &Scale) -> Self {
        let (cache, hand) = driven_by_hand(scale);
        Self(cache, hand)
    }

    fn insert(&self, key: u64) {
        self.0.insert(key, key);
    }

    fn sweep(&self) -> Sweep {
        // Past the time to live, and the interval between sweeps.
        self.1.advance(2 * STEP);
        sweep_by_hand(&self.0, &self.1)
    }
}

impl Expiring for Spread {
    const NAME: &'static str = FLEETING;
    const MOST_ROUNDS: usize = usize::MAX;

    fn empty(scale: &Scale) -> Self {
        let (cache, hand) = driven_by_hand(scale);
        Self(cache, hand)
    }

    fn insert(&self, key: u64) {
        let ttl = STEP * u32::try_from(key % STEPS + 1).expect("there are few steps");
        self.0.entry(key).ttl(ttl).insert(key);
    }

    fn sweep(&self) -> Sweep {
        sweep_by_hand(&self.0, &self.1)
    }
}

impl<C: Cleaning> Expiring for ByAndBy<C> {
    const NAME: &'static str = C::NAME;
    const MOST_ROUNDS: usize = MOST_REAL_ROUNDS;

    fn empty(scale: &Scale) -> Self {
        let ttl = scale.real_ttl;
        Self { cache: C::with_ttl(roomy(scale.large), ttl), ttl }
    }

    fn insert(&self, key: u64) {
        self.cache.insert(key);
    }

    fn sweep(&self) -> Sweep {
        thread::sleep(self.ttl + MARGIN);
        let mut sweep = Sweep::default();
        loop {
            let begin = Instant::now();
            self.cache.clean_up();
            sweep.add(begin.elapsed());
            if self.cache.count() == 0 {
                return sweep;
            }
        }
    }
}

impl Cleaning for Moka {
    const NAME: &'static str = MOKA;

    fn with_ttl(capacity: usize, ttl: Duration) -> Self {
        Self::builder().max_capacity(capacity as u64).time_to_live(ttl).build()
    }

    fn insert(&self, key: u64) {
        self.insert(key, key);
    }

    fn clean_up(&self) {
        self.run_pending_tasks();
    }

    fn count(&self) -> u64 {
        self.entry_count()
    }
}

impl Cleaning for MiniMoka {
    const NAME: &'static str = MINI_MOKA;

    fn with_ttl(capacity: usize, ttl: Duration) -> Self {
        Self::builder().max_capacity(capacity as u64).time_to_live(ttl).build()
    }

    fn insert(&self, key: u64) {
        self.insert(key, key);
    }

    fn clean_up(&self) {
        self.sync();
    }

    fn count(&self) -> u64 {
        self.entry_count()
    }
}

impl Sweep {
    fn add(&mut self, step: Duration) {
        self.total += step;
        self.longest = self.longest.max(step);
    }
}

/// Lets the sweeper do all that it wants to do, step by step of the clock, until nothing is left.
fn sweep_by_hand(cache: &Cache<u64, u64>, hand: &Hand) -> Sweep {
    let mut sweep = Sweep::default();
    while !cache.is_empty() {
        hand.advance(STEP);
        hand.run(|step| sweep.add(step));
    }
    sweep
}

fn driven_by_hand(scale: &Scale) -> (Cache<u64, u64>, Hand) {
    let hand = Hand::new();
    let builder = Cache::builder().ttl(STEP).max_size(roomy(scale.large)).runtime(hand.clone());
    (builder.build().expect("the settings are valid"), hand)
}
