//! Outage: a stale value, callers who want a fresh one, and computes that fail after one await.
//!
//! Either each comes when the one before has its answer, or all come as they are spawned. Of those, some
//! share a compute, and most of the time is that of spawning them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleeting::{Cache, CacheBuilder};
use tokio::runtime::Runtime;
use tokio::task::yield_now;

use crate::contender::{FLEETING, REMEMBERING, TTL};
use crate::error::Failure;
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

use super::waiters::runtime;

/// For those who come in turn, and for those who come at once.
pub(crate) const MEASURES: [Measure; 4] = [
    Measure::new("10 k callers in an outage, in turn, each", Unit::Nanos),
    Measure::new("10 k callers in an outage, in turn: computes", Unit::Count),
    Measure::new("10 k callers in an outage, at once, each", Unit::Nanos),
    Measure::new("10 k callers in an outage, at once: computes", Unit::Count),
];

const KEY: u64 = 1;

/// The TTL of a value that is stale as soon as it is stored.
const NO_TIME: Duration = Duration::from_nanos(1);

/// What a compute fails with.
struct Unavailable;

pub(crate) fn run(scale: &Scale) -> Result<Vec<Table>, Failure> {
    let runtime = runtime()?;
    let plain = || Cache::builder().ttl(NO_TIME);
    let enter = |name, builder: fn(CacheBuilder<u64, u64>) -> CacheBuilder<u64, u64>| {
        let part = |come| entrant(name, builder(plain()), come, &runtime, scale);
        Entrant::joined(vec![part(Come::InTurn), part(Come::AtOnce)])
    };
    let entrants = vec![
        enter(FLEETING, |plain| plain),
        enter("fleeting, stale_if_error", |plain| plain.stale_if_error(TTL)),
        enter(REMEMBERING, |plain| plain.error_ttl(TTL)),
        enter("fleeting, both", |plain| plain.stale_if_error(TTL).error_ttl(TTL)),
    ];
    Ok(round::run(scale.rounds, &MEASURES, entrants))
}

/// How callers come.
#[derive(Clone, Copy)]
enum Come {
    InTurn,
    AtOnce,
}

/// One call is an outage, with all of its callers.
fn entrant(
    name: &'static str,
    builder: CacheBuilder<u64, u64>,
    come: Come,
    runtime: &Arc<Runtime>,
    scale: &Scale,
) -> Entrant {
    let cache = builder.build().expect("the settings are valid");
    let (counted, runtime, callers) = (cache.clone(), Arc::clone(runtime), scale.small);
    let entrant = Entrant::timed(name, scale.sample, move |outages| {
        let begin = Instant::now();
        for _ in 0..outages {
            // Makes forgotten that computes have failed.
            cache.insert(KEY, KEY);
            runtime.block_on(come.callers(callers, &cache));
        }
        begin.elapsed()
    });
    entrant.map(move |nanos| {
        let stats = counted.stats();
        counted.reset_stats();
        let [callers, computes, outages] = [callers as u64, stats.computes, stats.inserts]
            .map(|count| f64::from(u32::try_from(count).expect("there are few")));
        vec![nanos[0] / callers, computes / outages]
    })
}

impl Come {
    async fn callers(self, count: usize, cache: &Cache<u64, u64>) {
        match self {
            Self::InTurn => {
                for _ in 0..count {
                    call(cache).await;
                }
            }
            Self::AtOnce => {
                let caller = |cache: Cache<_, _>| async move { call(&cache).await };
                let callers = (0..count).map(|_| tokio::spawn(caller(cache.clone())));
                for caller in callers.collect::<Vec<_>>() {
                    caller.await.expect("no caller panics");
                }
            }
        }
    }
}

async fn call(cache: &Cache<u64, u64>) {
    let answer = cache.try_get_or_compute(KEY, || async {
        yield_now().await;
        Err(Unavailable)
    });
    black_box(answer.await.ok());
}
