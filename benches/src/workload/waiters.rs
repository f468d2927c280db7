//! Waiters: many tasks that want the same key at the same time, and one compute for all.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

use crate::contender::{BARE, Computing, Fleeting, MokaFuture, QuickCache};
use crate::error::Failure;
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

const WORKERS: usize = 2;

/// How many keys there is room for: each herd has a new one.
const CAPACITY: usize = 1000;

/// A herd, and how long it waits.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    waiters: fn(&Scale) -> usize,
    awaits: usize,
    pub(crate) measures: [Measure; 2],
}

pub(crate) const SETTINGS: [Setting; 6] = [
    Setting::new(
        |_| 100,
        1,
        "100 waiters, compute of 1 await",
        "100 waiters, compute of 1 await, a waiter",
    ),
    Setting::new(
        |_| 100,
        20,
        "100 waiters, compute of 20 awaits",
        "100 waiters, compute of 20 awaits, a waiter",
    ),
    Setting::new(
        |scale| scale.small,
        1,
        "10 k waiters, compute of 1 await",
        "10 k waiters, compute of 1 await, a waiter",
    ),
    Setting::new(
        |scale| scale.small,
        20,
        "10 k waiters, compute of 20 awaits",
        "10 k waiters, compute of 20 awaits, a waiter",
    ),
    Setting::new(
        |scale| scale.medium,
        1,
        "100 k waiters, compute of 1 await",
        "100 k waiters, compute of 1 await, a waiter",
    ),
    Setting::new(
        |scale| scale.medium,
        20,
        "100 k waiters, compute of 20 awaits",
        "100 k waiters, compute of 20 awaits, a waiter",
    ),
];

impl Setting {
    const fn new(
        waiters: fn(&Scale) -> usize,
        awaits: usize,
        name: &'static str,
        each: &'static str,
    ) -> Self {
        let measures = [Measure::new(name, Unit::Micros), Measure::new(each, Unit::Nanos)];
        Self { name, waiters, awaits, measures }
    }
}

pub(crate) fn run(index: usize, scale: &Scale) -> Result<Vec<Table>, Failure> {
    let setting = &SETTINGS[index];
    let (waiters, awaits) = ((setting.waiters)(scale), setting.awaits);
    let runtime = runtime()?;
    let time = scale.sample;
    let entrants = vec![
        bare(&runtime, waiters, awaits, time),
        enter::<Fleeting<u64, u64>>(&runtime, waiters, awaits, time),
        enter::<QuickCache<u64, u64>>(&runtime, waiters, awaits, time),
        enter::<MokaFuture>(&runtime, waiters, awaits, time),
    ];
    Ok(round::run(scale.rounds, &setting.measures, entrants))
}

pub(crate) fn runtime() -> Result<Arc<Runtime>, Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).build();
    runtime.map(Arc::new).map_err(Failure::Runtime)
}

fn enter<C: Computing>(
    runtime: &Arc<Runtime>,
    waiters: usize,
    awaits: usize,
    time: Duration,
) -> Entrant {
    let cache = C::with_capacity(CAPACITY);
    entrant(C::NAME, runtime, waiters, time, move |key| {
        let cache = cache.clone();
        async move { cache.get_or_compute(key, compute(key, awaits)).await }
    })
}

/// What remains without a cache: the first task computes, the others have nothing to wait for.
fn bare(runtime: &Arc<Runtime>, waiters: usize, awaits: usize, time: Duration) -> Entrant {
    let mut last = None;
    entrant(BARE, runtime, waiters, time, move |key| {
        let is_first = last.replace(key) != Some(key);
        compute(key, if is_first { awaits } else { 0 })
    })
}

/// One call is a herd: from the first task's spawning to the last one's end.
fn entrant<Fut>(
    name: &'static str,
    runtime: &Arc<Runtime>,
    waiters: usize,
    time: Duration,
    mut waiter: impl FnMut(u64) -> Fut + 'static,
) -> Entrant
where
    Fut: Future<Output = u64> + Send + 'static,
{
    let runtime = Arc::clone(runtime);
    let mut key = 0;
    let measure = move |herds| {
        runtime.block_on(async {
            let begin = Instant::now();
            for _ in 0..herds {
                key += 1;
                let tasks: Vec<_> = (0..waiters).map(|_| tokio::spawn(waiter(key))).collect();
                for task in tasks {
                    assert_eq!(black_box(task.await).ok(), Some(key), "{name}: the value is right");
                }
            }
            begin.elapsed()
        })
    };
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 waiters")]
    let count = waiters as f64;
    Entrant::timed(name, time, measure).map(move |nanos| vec![nanos[0] / 1e3, nanos[0] / count])
}

async fn compute(key: u64, awaits: usize) -> u64 {
    for _ in 0..awaits {
        yield_now().await;
    }
    key
}
