//! Idle time: hits in caches whose entries expire when nobody reads them, so that each hit puts that off.
//!
//! One of a second or a minute is a question for the exact clock; a long one is not.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::moka::sync;
use fleeting::{Cache, CacheBuilder};

use crate::contender::{ETERNAL, FLEETING, MOKA, TTL};
use crate::keys::{Cycle, out_of_order, shuffled};
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

use super::roomy;

pub(crate) const IDLE_TIME: Measure =
    Measure::new("hit, 10 k resident, with an idle time", Unit::Nanos);

const LONG: Duration = TTL;
/// Much longer than a sample takes.
const SHORT: Duration = Duration::from_secs(5);
/// Later than any idle time.
const DAY: Duration = Duration::from_hours(24);

/// What is asked of a cache here.
trait Reads: 'static {
    fn read(&self, key: u64) -> Option<u64>;
    fn write(&self, key: u64);
    fn settle(&self) {}
}

impl Reads for Cache<u64, u64> {
    fn read(&self, key: u64) -> Option<u64> {
        self.get(&key)
    }

    fn write(&self, key: u64) {
        self.insert(key, key);
    }
}

impl Reads for sync::Cache<u64, u64> {
    fn read(&self, key: u64) -> Option<u64> {
        self.get(&key)
    }

    fn write(&self, key: u64) {
        self.insert(key, key);
    }

    fn settle(&self) {
        self.run_pending_tasks();
    }
}

pub(crate) fn run(scale: &Scale) -> Vec<Table> {
    let room = roomy(scale.small);
    let keys = shuffled(0, scale.small, scale.seed);
    let ours = |name, builder: CacheBuilder<u64, u64>| {
        let cache = builder.max_size(room).build().expect("the settings are valid");
        enter(name, cache, &keys, scale)
    };
    let moka = || sync::Cache::builder().max_capacity(room as u64);
    let entrants = vec![
        ours(FLEETING, Cache::builder().ttl(TTL)),
        ours(ETERNAL, Cache::builder()),
        ours("fleeting, tti of 1 h", Cache::builder().tti(LONG)),
        ours("fleeting, tti of 1 h and TTL", Cache::builder().tti(LONG).ttl(DAY)),
        ours("fleeting, tti of 5 s", Cache::builder().tti(SHORT)),
        ours("fleeting, tti of 5 s and TTL", Cache::builder().tti(SHORT).ttl(DAY)),
        enter(MOKA, moka().time_to_live(TTL).build(), &keys, scale),
        enter("moka, time_to_idle of 1 h", moka().time_to_idle(LONG).build(), &keys, scale),
    ];
    round::run(scale.rounds, &[IDLE_TIME], entrants)
}

fn enter<C: Reads>(name: &'static str, cache: C, keys: &Arc<[u64]>, scale: &Scale) -> Entrant {
    let all = Arc::clone(keys);
    let mut keys = Cycle::new(Arc::clone(keys), 0);
    Entrant::timed(name, scale.sample, move |calls| {
        // What has expired while others took their turns is there again.
        for &key in out_of_order(&all) {
            if cache.read(key).is_none() {
                cache.write(key);
            }
        }
        cache.settle();
        let begin = Instant::now();
        keys.visit(calls, |&key| {
            black_box(cache.read(black_box(key)));
        });
        begin.elapsed()
    })
}
