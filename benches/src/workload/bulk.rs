//! Bulk: many missing keys, in a call each or in one call for all, with computes that are ready at once.
//!
//! Two maps are among what is measured, for there is no call for all without them: that in which the
//! compute hands over its values, and that in which the call returns them.

use std::collections::HashMap;
use std::future::ready;
use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use fleeting::Cache;
use futures::executor::block_on;

use crate::contender::TTL;
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

pub(crate) const BULK: Measure =
    Measure::new("10 k missing keys, ready future, capacity 100 k, a key", Unit::Nanos);

pub(crate) fn run(scale: &Scale) -> Vec<Table> {
    let entrants = vec![
        entrant("fleeting, a call each", scale, one_by_one),
        entrant("fleeting, one call for all", scale, together),
    ];
    round::run(scale.rounds, &[BULK], entrants)
}

/// All keys are new, and the cache is full.
fn entrant(
    name: &'static str,
    scale: &Scale,
    ask: impl AsyncFn(&Cache<u64, u64>, Range<u64>) + 'static,
) -> Entrant {
    let (keys, capacity) = (scale.small, scale.medium);
    let builder = Cache::builder().ttl(TTL).max_size(capacity);
    let cache = builder.build().expect("the settings are valid");
    let mut next = 0;
    let mut batch = move || {
        let begin = next;
        next += keys as u64;
        block_on(ask(&cache, begin..next));
    };
    (0..2 * capacity / keys).for_each(|_| batch());
    let entrant = Entrant::timed(name, scale.sample, move |batches| {
        let begin = Instant::now();
        (0..batches).for_each(|_| batch());
        begin.elapsed()
    });
    #[expect(clippy::cast_precision_loss, reason = "there are few keys")]
    let keys = keys as f64;
    entrant.map(move |nanos| vec![nanos[0] / keys])
}

async fn one_by_one(cache: &Cache<u64, u64>, keys: Range<u64>) {
    for key in keys {
        black_box(cache.get_or_compute(black_box(key), || ready(key)).await);
    }
}

async fn together(cache: &Cache<u64, u64>, keys: Range<u64>) {
    let found = cache.get_or_compute_many(black_box(keys), |missing| ready(values(missing))).await;
    black_box(found);
}

/// The value of a key is the key.
fn values(keys: Vec<u64>) -> HashMap<u64, u64> {
    keys.into_iter().map(|key| (key, key)).collect()
}
