//! Surcharge: what a listener adds to inserts into a full cache, and what weights do.

use std::hint::black_box;

use ::moka::sync;
use fleeting::{Cache, CacheBuilder};

use crate::contender::{FLEETING, MOKA, TTL};
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

use super::eviction::Eviction;

pub(crate) const SURCHARGE: Measure =
    Measure::new("insert + evict, capacity 100 k, with a listener or weights", Unit::Nanos);

/// Varying weights are from 1 to this.
const HEAVIEST: u64 = 8;

type Moka = sync::CacheBuilder<u64, u64, sync::Cache<u64, u64>>;

pub(crate) fn run(scale: &Scale) -> Vec<Table> {
    let eviction = &Eviction::new(scale);
    let size = scale.medium;
    let weight = size as u64;
    let sized = || Cache::builder().ttl(TTL).max_size(size);
    let weighed = |max_weight| Cache::builder().ttl(TTL).max_weight(max_weight);
    let moka = || sync::Cache::builder().max_capacity(weight).time_to_live(TTL);
    let entrants = vec![
        fleeting(FLEETING, eviction, sized()),
        fleeting("fleeting, on_removal", eviction, sized().on_removal(listen)),
        fleeting("fleeting, weights of 1", eviction, weighed(weight).weigher(|_, _| 1)),
        // As many entries, give or take a few.
        fleeting(
            "fleeting, weights of 1 to 8",
            eviction,
            weighed(weight * (1 + HEAVIEST) / 2).weigher(|key, _| 1 + key % HEAVIEST),
        ),
        enter_moka(MOKA, eviction, moka()),
        enter_moka(
            "moka, eviction_listener",
            eviction,
            moka().eviction_listener(|key, value, cause| listen(*key, value, cause)),
        ),
        enter_moka("moka, weights of 1", eviction, moka().weigher(|_, _| 1)),
    ];
    round::run(scale.rounds, &[SURCHARGE], entrants)
}

/// The least that a listener can do.
fn listen<C>(key: u64, value: u64, cause: C) {
    black_box((key, value, cause));
}

fn fleeting(name: &'static str, eviction: &Eviction, builder: CacheBuilder<u64, u64>) -> Entrant {
    let cache = builder.build().expect("the settings are valid");
    let insert = |cache: &Cache<_, _>, key| {
        cache.insert(key, key);
    };
    eviction.enter_cache(name, cache, insert, |_| ())
}

fn enter_moka(name: &'static str, eviction: &Eviction, builder: Moka) -> Entrant {
    let insert = |cache: &sync::Cache<_, _>, key| cache.insert(key, key);
    eviction.enter_cache(name, builder.build(), insert, sync::Cache::run_pending_tasks)
}
