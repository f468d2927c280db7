//! Waiters: many tasks that want the same key at the same time, and one compute for all.
//!
//! Either they come as they are spawned, or the compute goes on only when all are there.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::console::tell;
use crate::contender::{BARE, Computing, Fleeting, MokaFuture, QuickCache, Spawned};
use crate::error::Failure;
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

const WORKERS: usize = 2;

/// A herd that is not done by then has been forgotten. So long is what it is taken to have needed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many keys there is room for: each herd has a new one.
const CAPACITY: usize = 1000;

/// A herd, and how long it waits.
pub(crate) struct Setting {
    herd: fn(&Scale) -> usize,
    awaits: usize,
    /// In all, and for each task.
    pub(crate) measures: [Measure; 2],
}

macro_rules! measures {
    ($title:literal) => {
        [Measure::new($title, Unit::Micros), Measure::new(concat!($title, ", each"), Unit::Nanos)]
    };
}

/// Tasks that come while the compute runs, or when it has ended: most find its value there.
pub(crate) const CALLERS: [Setting; 6] = [
    Setting::new(|_| 100, 1, measures!("100 callers of a compute of 1 await")),
    Setting::new(|_| 100, 20, measures!("100 callers of a compute of 20 awaits")),
    Setting::new(|scale| scale.small, 1, measures!("10 k callers of a compute of 1 await")),
    Setting::new(|scale| scale.small, 20, measures!("10 k callers of a compute of 20 awaits")),
    Setting::new(|scale| scale.medium, 1, measures!("100 k callers of a compute of 1 await")),
    Setting::new(|scale| scale.medium, 20, measures!("100 k callers of a compute of 20 awaits")),
];

/// Tasks that all wait: the compute's first await lasts until everybody is there.
pub(crate) const WAITERS: [Setting; 6] = [
    Setting::new(|_| 100, 1, measures!("100 waiters for a compute of 1 await")),
    Setting::new(|_| 100, 20, measures!("100 waiters for a compute of 20 awaits")),
    Setting::new(|scale| scale.small, 1, measures!("10 k waiters for a compute of 1 await")),
    Setting::new(|scale| scale.small, 20, measures!("10 k waiters for a compute of 20 awaits")),
    Setting::new(|scale| scale.medium, 1, measures!("100 k waiters for a compute of 1 await")),
    Setting::new(|scale| scale.medium, 20, measures!("100 k waiters for a compute of 20 awaits")),
];

impl Setting {
    const fn new(herd: fn(&Scale) -> usize, awaits: usize, measures: [Measure; 2]) -> Self {
        Self { herd, awaits, measures }
    }

    /// All together.
    pub(crate) const fn whole(&self) -> Measure {
        self.measures[0]
    }

    /// For each task.
    pub(crate) const fn each(&self) -> Measure {
        self.measures[1]
    }
}

/// The compute yields at each await.
pub(crate) fn callers(awaits: usize, scale: &Scale) -> Result<Vec<Table>, Failure> {
    run::<AtOnce>(&CALLERS, awaits, scale)
}

/// The compute waits for all at its first await, and yields at the others.
pub(crate) fn waiters(awaits: usize, scale: &Scale) -> Result<Vec<Table>, Failure> {
    run::<WhenAllAreThere>(&WAITERS, awaits, scale)
}

/// Herds of all sizes, for the first number of awaits or the second.
fn run<G: Gate>(
    settings: &[Setting; 6],
    awaits: usize,
    scale: &Scale,
) -> Result<Vec<Table>, Failure> {
    let runtime = runtime()?;
    let settings = || settings.iter().skip(awaits).step_by(2);
    let herds = || settings().map(|setting| Herd::new(setting, &runtime, scale));
    let join = |enter: fn(Herd) -> Entrant| Entrant::joined(herds().map(enter).collect());
    let entrants = vec![
        join(Herd::bare::<G>),
        join(Herd::enter::<Fleeting<u64, u64>, G>),
        join(Herd::enter::<Spawned, G>),
        join(Herd::enter::<QuickCache<u64, u64>, G>),
        join(Herd::enter::<MokaFuture, G>),
    ];
    let measures: Vec<_> = settings().flat_map(|setting| setting.measures).collect();
    Ok(round::run(scale.rounds, &measures, entrants))
}

/// The first await of a compute.
trait Gate: Send + Sync + 'static {
    fn for_herd(size: usize) -> Self;
    /// One more of the herd is there.
    fn arrive(&self);
    fn pass(&self) -> impl Future<Output = ()> + Send;
}

struct AtOnce;

struct WhenAllAreThere {
    missing: AtomicUsize,
    open: Notify,
}

impl Gate for AtOnce {
    fn for_herd(_size: usize) -> Self {
        Self
    }

    fn arrive(&self) {}

    fn pass(&self) -> impl Future<Output = ()> + Send {
        yield_now()
    }
}

impl Gate for WhenAllAreThere {
    fn for_herd(size: usize) -> Self {
        Self { missing: AtomicUsize::new(size), open: Notify::new() }
    }

    fn arrive(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.notify_one();
        }
    }

    fn pass(&self) -> impl Future<Output = ()> + Send {
        self.open.notified()
    }
}

pub(crate) fn runtime() -> Result<Arc<Runtime>, Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_time().build();
    runtime.map(Arc::new).map_err(Failure::Runtime)
}

/// Who waits, where and how long.
struct Herd {
    runtime: Arc<Runtime>,
    size: usize,
    awaits: usize,
    time: Duration,
}

impl Herd {
    fn new(setting: &Setting, runtime: &Arc<Runtime>, scale: &Scale) -> Self {
        let (size, awaits) = ((setting.herd)(scale), setting.awaits);
        Self { runtime: Arc::clone(runtime), size, awaits, time: scale.sample }
    }

    fn enter<C: Computing, G: Gate>(self) -> Entrant {
        // One whose computes are tasks takes this runtime for them.
        let cache = {
            let _entered = self.runtime.enter();
            C::with_capacity(CAPACITY)
        };
        let awaits = self.awaits;
        self.entrant::<G, _>(C::NAME, move |key, gate| {
            let cache = cache.clone();
            async move {
                gate.arrive();
                cache.get_or_compute(key, compute(key, awaits, gate)).await
            }
        })
    }

    /// What remains without a cache: one task computes, the others have nothing to wait for.
    fn bare<G: Gate>(self) -> Entrant {
        let awaits = self.awaits;
        let mut last = None;
        self.entrant::<G, _>(BARE, move |key, gate| {
            let is_first = last.replace(key) != Some(key);
            async move {
                gate.arrive();
                if is_first { compute(key, awaits, gate).await } else { key }
            }
        })
    }

    /// One call is a herd: from the first task's spawning to the last one's end.
    fn entrant<G, Fut>(
        self,
        name: &'static str,
        mut task: impl FnMut(u64, Arc<G>) -> Fut + 'static,
    ) -> Entrant
    where
        G: Gate,
        Fut: Future<Output = u64> + Send + 'static,
    {
        let runtime = self.runtime;
        let size = self.size;
        let mut key = 0;
        let measure = move |herds| {
            runtime.block_on(async {
                let begin = Instant::now();
                for _ in 0..herds {
                    key += 1;
                    let gate = Arc::new(G::for_herd(size));
                    let task = |_| tokio::spawn(task(key, Arc::clone(&gate)));
                    let tasks: Vec<_> = (0..size).map(task).collect();
                    let all = async {
                        for task in tasks {
                            let value = black_box(task.await).ok();
                            assert_eq!(value, Some(key), "{name} has the value");
                        }
                    };
                    if timeout(PATIENCE, all).await.is_err() {
                        tell(&format!("{name}: some of {size} tasks wait for ever"));
                    }
                }
                begin.elapsed()
            })
        };
        #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 tasks")]
        let tasks = size as f64;
        let entrant = Entrant::timed(name, self.time, measure);
        entrant.map(move |nanos| vec![nanos[0] / 1e3, nanos[0] / tasks])
    }
}

async fn compute<G: Gate>(key: u64, awaits: usize, gate: Arc<G>) -> u64 {
    gate.pass().await;
    for _ in 1..awaits {
        yield_now().await;
    }
    key
}
