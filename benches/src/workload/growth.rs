//! Growth: how much slower a hit is among ten times as many entries. Some of that is the machine's
//! memory, which a bare hash table with the same hasher shows.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleeting::{Cache, DefaultHashBuilder};
use hashbrown::HashMap;

use crate::contender::{ETERNAL, FLEETING, HASHBROWN, TTL};
use crate::keys::{Cycle, shuffled};
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

pub(crate) const MEASURES: [Measure; 3] = [
    Measure::new("growth: hit, 1 M resident", Unit::Nanos),
    Measure::new("growth: hit, 10 M resident", Unit::Nanos),
    Measure::new("growth: from 1 M to 10 M", Unit::Times),
];

pub(crate) fn run(scale: &Scale) -> Vec<Table> {
    let small = shuffled(0, scale.large, scale.seed);
    let large = shuffled(0, scale.huge, scale.seed);
    let caches = |ttl| move |keys: &[u64]| cache(keys, ttl);
    let entrants = vec![
        enter(FLEETING, scale, [&small, &large], caches(TTL)),
        enter(ETERNAL, scale, [&small, &large], caches(Duration::MAX)),
        enter(HASHBROWN, scale, [&small, &large], map),
    ];
    round::run(scale.rounds, &MEASURES, entrants)
}

/// What is grown.
trait Lookup: 'static {
    fn lookup(&self, key: u64) -> Option<u64>;
}

impl Lookup for Cache<u64, u64> {
    fn lookup(&self, key: u64) -> Option<u64> {
        self.get(&key)
    }
}

impl Lookup for HashMap<u64, u64, DefaultHashBuilder> {
    fn lookup(&self, key: u64) -> Option<u64> {
        self.get(&key).copied()
    }
}

fn cache(keys: &[u64], ttl: Duration) -> Cache<u64, u64> {
    let cache = Cache::builder().ttl(ttl).build().expect("the settings are valid");
    for &key in keys {
        cache.insert(key, key);
    }
    cache
}

fn map(keys: &[u64]) -> HashMap<u64, u64, DefaultHashBuilder> {
    let mut map = HashMap::default();
    for &key in keys {
        map.insert(key, key);
    }
    map
}

fn enter<L: Lookup>(
    name: &'static str,
    scale: &Scale,
    sizes: [&Arc<[u64]>; 2],
    build: impl Fn(&[u64]) -> L,
) -> Entrant {
    let [mut small, mut large] = sizes.map(|keys| {
        let filled = build(keys);
        let mut keys = Cycle::new(Arc::clone(keys), 0);
        Entrant::timed(name, scale.sample, move |calls| {
            let begin = Instant::now();
            keys.visit(calls, |&key| {
                black_box(filled.lookup(black_box(key)));
            });
            begin.elapsed()
        })
    });
    Entrant::new(name, move || {
        let (small, large) = (small.sample()[0], large.sample()[0]);
        vec![small, large, large / small]
    })
}
