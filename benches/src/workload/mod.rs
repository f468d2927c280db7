//! Workloads: what the contenders have to do, each under the name of its first table.

pub(crate) mod bulk;
pub(crate) mod compute;
pub(crate) mod eviction;
pub(crate) mod expiry;
pub(crate) mod footprint;
pub(crate) mod future_size;
pub(crate) mod growth;
pub(crate) mod hit;
pub(crate) mod idle;
pub(crate) mod idle_time;
pub(crate) mod lifetime;
pub(crate) mod miss;
pub(crate) mod mix;
pub(crate) mod outage;
pub(crate) mod overwrite;
pub(crate) mod own_ttl;
pub(crate) mod refresh;
pub(crate) mod removal;
pub(crate) mod resize;
pub(crate) mod surcharge;
pub(crate) mod waiters;

use std::time::{Duration, Instant};

use crate::contender::{Contender, Key, Value, line_up, line_up_computing, line_up_policies};
use crate::error::Failure;
use crate::keys::out_of_order;
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

use self::mix::Mix;

pub(crate) const HIT_SMALL: Measure = Measure::new("hit, 10 k resident", Unit::Nanos);
pub(crate) const HIT_LARGE: Measure = Measure::new("hit, 1 M resident", Unit::Nanos);
pub(crate) const HIT_TEXT: Measure = Measure::new("hit, 10 k resident, String to Arc", Unit::Nanos);
pub(crate) const MISS: Measure = Measure::new("miss, 10 k resident", Unit::Nanos);
pub(crate) const EVICTION: Measure = Measure::new("insert + evict, capacity 100 k", Unit::Nanos);
pub(crate) const OVERWRITE: Measure = Measure::new("overwrite, 10 k resident", Unit::Nanos);
pub(crate) const REMOVAL: Measure = Measure::new("remove + insert, 10 k resident", Unit::Nanos);
pub(crate) const OWN_TTL: Measure =
    Measure::new("insert + evict, a TTL each spread over a day, capacity 100 k", Unit::Nanos);
pub(crate) const MIX: [(usize, Measure); 4] = [
    (1, Measure::new("Zipf get-or-insert, 1 thread", Unit::MillionPerSecond)),
    (2, Measure::new("Zipf get-or-insert, 2 threads", Unit::MillionPerSecond)),
    (4, Measure::new("Zipf get-or-insert, 4 threads", Unit::MillionPerSecond)),
    (8, Measure::new("Zipf get-or-insert, 8 threads", Unit::MillionPerSecond)),
];
pub(crate) const POLICY_HIT: Measure = Measure::new("hit, 10 k resident, by policy", Unit::Nanos);
pub(crate) const POLICY_EVICTION: Measure =
    Measure::new("insert + evict, capacity 100 k, by policy", Unit::Nanos);
pub(crate) const POLICY_MIX: [(usize, Measure); 2] = [
    (1, Measure::new("Zipf get-or-insert, by policy, 1 thread", Unit::MillionPerSecond)),
    (2, Measure::new("Zipf get-or-insert, by policy, 2 threads", Unit::MillionPerSecond)),
];
pub(crate) const COMPUTE_HIT: Measure =
    Measure::new("get_or_compute hit, 10 k resident", Unit::Nanos);
pub(crate) const COMPUTE_MISS: Measure =
    Measure::new("get_or_compute miss, ready future, capacity 100 k", Unit::Nanos);

/// How long a contender may take to get ready.
const PATIENCE: Duration = Duration::from_secs(4);

/// After how many calls it is looked at what they have left for later.
const WARM_UP_BATCH: usize = 1000;

/// Something that all contenders, or those who can, have to do.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Scale) -> Result<Vec<Table>, Failure>,
}

/// All workloads, in the order of the report.
pub(crate) const ALL: &[Workload] = &[
    Workload {
        name: HIT_SMALL.title,
        run: |scale| Ok(one(HIT_SMALL, scale, line_up(&hit::small(scale)))),
    },
    Workload {
        name: HIT_LARGE.title,
        run: |scale| Ok(one(HIT_LARGE, scale, line_up(&hit::large(scale)))),
    },
    Workload {
        name: HIT_TEXT.title,
        run: |scale| Ok(one(HIT_TEXT, scale, line_up(&hit::text(scale)))),
    },
    Workload {
        name: MISS.title,
        run: |scale| Ok(one(MISS, scale, line_up(&miss::Miss::new(scale)))),
    },
    Workload {
        name: EVICTION.title,
        run: |scale| Ok(one(EVICTION, scale, line_up(&eviction::Eviction::new(scale)))),
    },
    Workload {
        name: OVERWRITE.title,
        run: |scale| Ok(one(OVERWRITE, scale, line_up(&overwrite::Overwrite::new(scale)))),
    },
    Workload {
        name: REMOVAL.title,
        run: |scale| Ok(one(REMOVAL, scale, line_up(&removal::Removal::new(scale)))),
    },
    Workload {
        name: OWN_TTL.title,
        run: |scale| Ok(one(OWN_TTL, scale, own_ttl::entrants(scale))),
    },
    Workload { name: "Zipf get-or-insert", run: |scale| Ok(mix(MIX, scale, line_up)) },
    Workload {
        name: POLICY_HIT.title,
        run: |scale| Ok(one(POLICY_HIT, scale, line_up_policies(&hit::small(scale)))),
    },
    Workload {
        name: POLICY_EVICTION.title,
        run: |scale| {
            Ok(one(POLICY_EVICTION, scale, line_up_policies(&eviction::Eviction::new(scale))))
        },
    },
    Workload {
        name: "Zipf get-or-insert, by policy",
        run: |scale| Ok(mix(POLICY_MIX, scale, line_up_policies)),
    },
    Workload { name: idle_time::IDLE_TIME.title, run: |scale| Ok(idle_time::run(scale)) },
    Workload { name: surcharge::SURCHARGE.title, run: |scale| Ok(surcharge::run(scale)) },
    Workload {
        name: COMPUTE_HIT.title,
        run: |scale| Ok(one(COMPUTE_HIT, scale, line_up_computing(&compute::Hit::new(scale)?))),
    },
    Workload {
        name: COMPUTE_MISS.title,
        run: |scale| Ok(one(COMPUTE_MISS, scale, line_up_computing(&compute::Miss::new(scale)?))),
    },
    Workload { name: "callers of a compute of 1 await", run: |scale| waiters::callers(0, scale) },
    Workload { name: "callers of a compute of 20 awaits", run: |scale| waiters::callers(1, scale) },
    Workload { name: "waiters for a compute of 1 await", run: |scale| waiters::waiters(0, scale) },
    Workload {
        name: "waiters for a compute of 20 awaits",
        run: |scale| waiters::waiters(1, scale),
    },
    Workload { name: bulk::BULK.title, run: |scale| Ok(bulk::run(scale)) },
    Workload { name: refresh::MEASURES[0].title, run: refresh::run },
    Workload { name: outage::MEASURES[0].title, run: outage::run },
    Workload { name: expiry::AT_ONCE[0].title, run: |scale| Ok(expiry::at_once(scale)) },
    Workload { name: expiry::SPREAD[0].title, run: |scale| Ok(expiry::spread_out(scale)) },
    Workload { name: idle::SWEEP.title, run: |scale| Ok(idle::sweep(scale)) },
    Workload { name: idle::WAKE_UPS.title, run: |_| Ok(idle::wake_ups()) },
    Workload { name: lifetime::MEASURES[0].title, run: |scale| Ok(lifetime::run(scale)) },
    Workload { name: resize::MEASURES[0].title, run: |scale| Ok(resize::run(scale)) },
    Workload { name: growth::MEASURES[0].title, run: |scale| Ok(growth::run(scale)) },
    Workload { name: future_size::BEYOND.title, run: |_| Ok(future_size::run()) },
    Workload { name: footprint::NAME, run: footprint::run },
];

/// A workload with one table.
fn one(measure: Measure, scale: &Scale, entrants: Vec<Entrant>) -> Vec<Table> {
    round::run(scale.rounds, &[measure], entrants)
}

/// A table for each number of threads.
fn mix<const N: usize>(
    measures: [(usize, Measure); N],
    scale: &Scale,
    line_up: fn(&Mix<N>) -> Vec<Entrant>,
) -> Vec<Table> {
    let workload = Mix::new(measures.map(|(threads, _)| threads), scale);
    round::run(scale.rounds, &measures.map(|(_, measure)| measure), line_up(&workload))
}

/// Room for so many entries in each shard too, although hashes do not divide them evenly.
pub(crate) fn roomy(entries: usize) -> usize {
    entries + entries / 4
}

/// Gets a cache ready with many calls, fewer if they take very long.
///
/// What they leave for later is done as well: every so often, and in the end.
pub(crate) fn warm_up<T>(
    items: impl IntoIterator<Item = T>,
    mut call: impl FnMut(T),
    settle: impl Fn(),
) {
    let begin = Instant::now();
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() && begin.elapsed() < PATIENCE {
        items.by_ref().take(WARM_UP_BATCH).for_each(&mut call);
        settle();
    }
}

/// A cache with these entries in it, stored out of order.
///
/// # Panics
///
/// Panics if it has lost more than a few of them: what is asked of it later would not be hits.
pub(crate) fn filled<K: Key, V: Value, C: Contender<K, V>>(
    keys: &[K],
    value: impl Fn(&K) -> V,
) -> C {
    let cache = C::with_capacity(roomy(keys.len()));
    for key in out_of_order(keys) {
        cache.insert(key.clone(), value(key));
    }
    cache.settle();
    let lost = keys.iter().filter(|key| cache.get(key).is_none()).count();
    assert!(lost <= keys.len() / 50, "{} has lost {lost} of {} entries", C::NAME, keys.len());
    cache.settle();
    cache
}
