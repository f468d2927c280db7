//! Inserts into a full cache, each with a time to live of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::contender::{CachedOwnTtl, Fibre, Fleeting, MokaOwnTtl, OwnTtl, Stretto};
use crate::keys::Cycle;
use crate::round::Entrant;
use crate::scale::Scale;

use super::warm_up;

const DAY: Duration = Duration::from_hours(24);

/// How many times to live are drawn.
const TTLS: usize = 1 << 16;

/// Those who can.
///
/// mini-moka, `quick_cache`, foyer, `TinyUFO`, scc and lru have no such time to live.
pub(crate) fn entrants(scale: &Scale) -> Vec<Entrant> {
    let mut random = StdRng::seed_from_u64(scale.seed);
    let ttls = (0..TTLS).map(|_| random.random_range(Duration::from_mins(1)..DAY)).collect();
    vec![
        enter::<Fleeting<u64, u64>>(scale, &ttls),
        enter::<CachedOwnTtl>(scale, &ttls),
        enter::<Fibre<u64, u64>>(scale, &ttls),
        enter::<Stretto<u64, u64>>(scale, &ttls),
        enter::<MokaOwnTtl>(scale, &ttls),
    ]
}

fn enter<C: OwnTtl>(scale: &Scale, ttls: &Arc<[Duration]>) -> Entrant {
    let cache = C::with_capacity(scale.medium);
    let mut keys = 0..;
    let fill = keys.by_ref().take(2 * scale.medium).zip(ttls.iter().cycle());
    warm_up(fill, |(key, &ttl)| cache.insert_for(key, key, ttl), || cache.settle());
    let mut ttls = Cycle::new(Arc::clone(ttls), 0);
    Entrant::timed(C::NAME, scale.sample, move |calls| {
        let begin = Instant::now();
        ttls.visit(calls, |&ttl| {
            let key = keys.next().expect("there are numbers enough");
            cache.insert_for(key, key, ttl);
        });
        cache.settle();
        begin.elapsed()
    })
}
