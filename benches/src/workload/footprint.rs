//! Footprint: memory held and allocations made. Measured by the program `memory`, of this package,
//! whose allocator counts.

use std::env;
use std::future::ready;
use std::hint::black_box;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use stats_alloc::{INSTRUMENTED_SYSTEM, Stats};

use crate::contender::{
    Computing, Contender, Enter, EnterComputing, Fleeting, line_up, line_up_computing,
    line_up_own_policies,
};
use crate::error::Failure;
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Table, Unit};

use super::expiry::{AtOnce, ByAndBy, Expiring, MiniMoka, Moka};
use super::waiters::runtime;
use super::{filled, roomy};

pub(crate) const NAME: &str = "bytes and allocations";

pub(crate) const BYTES: Measure = Measure::new("bytes an entry, 1 M, u64 to u64", Unit::Bytes);
pub(crate) const FULL_BYTES: Measure =
    Measure::new("bytes an entry, 1 M of 2 M stored, u64 to u64", Unit::Bytes);
pub(crate) const HIT: Measure = Measure::new("allocations in 1000 hits", Unit::Count);
pub(crate) const COMPUTE_HIT: Measure =
    Measure::new("allocations in 1000 get_or_compute hits", Unit::Count);
pub(crate) const FULL: Measure = Measure::new("bytes before 1 M expire", Unit::Bytes);
pub(crate) const LEFT: Measure =
    Measure::new("bytes left when 1 M have expired, beyond those of an empty cache", Unit::Bytes);

/// How many hits are looked at.
const HITS: u64 = 1000;

const ATTEMPTS: usize = 3;

const WAIT: Duration = Duration::from_millis(20);
const MOST_WAITS: usize = 200;

/// In bytes.
const NEARLY_NOTHING: f64 = 10_000.0;

/// What the program is called.
const PROGRAM: &str = "memory";

/// Runs the program and reads what it says.
pub(crate) fn run(scale: &Scale) -> Result<Vec<Table>, Failure> {
    build().map_err(Failure::Memory)?;
    let mut command = Command::new(program().map_err(Failure::Memory)?);
    command.args(scale.arguments()).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(Failure::Memory)?;
    if !output.status.success() {
        return Err(Failure::MemoryStatus(output.status));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// `cargo run` builds no program but the one that it runs.
fn build() -> io::Result<()> {
    let Some(cargo) = env::var_os("CARGO") else { return Ok(()) };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", env!("CARGO_PKG_NAME"), "--bin", PROGRAM]);
    command.args((!cfg!(debug_assertions)).then_some("--release"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    match command.status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("cargo build ended with {status}"))),
    }
}

/// Beside this program.
fn program() -> io::Result<PathBuf> {
    let name = format!("{PROGRAM}{}", env::consts::EXE_SUFFIX);
    Ok(env::current_exe()?.with_file_name(name))
}

/// What the program does.
pub(crate) fn measure(scale: &Scale) -> Result<Vec<Table>, Failure> {
    let footprint = Footprint { entries: scale.large };
    let mut entrants = line_up(&footprint);
    entrants.extend(line_up_own_policies(&footprint));
    let mut tables = round::run(1, &[BYTES, HIT], entrants);
    let full = FullFootprint { capacity: scale.large };
    let mut entrants = vec![full.enter::<Fleeting<u64, u64>>()];
    entrants.extend(line_up_own_policies(&full));
    tables.extend(round::run(1, &[FULL_BYTES], entrants));
    let runtime = runtime()?;
    let _runtime = runtime.enter();
    tables.extend(round::run(1, &[COMPUTE_HIT], line_up_computing(&footprint)));
    let entrants = vec![
        expire::<AtOnce>(scale),
        expire::<ByAndBy<Moka>>(scale),
        expire::<ByAndBy<MiniMoka>>(scale),
    ];
    tables.extend(round::run(1, &[FULL, LEFT], entrants));
    Ok(tables)
}

struct Footprint {
    entries: usize,
}

impl Enter<u64, u64> for Footprint {
    fn enter<C: Contender<u64, u64>>(&self) -> Entrant {
        let keys: Vec<u64> = (0..self.entries as u64).collect();
        Entrant::new(C::NAME, move || {
            let before = live();
            let cache: C = filled(&keys, |&key| key);
            let bytes = live() - before;
            let allocations = allocations(|| {
                (0..HITS).for_each(|key| {
                    black_box(cache.get(&key));
                });
            });
            #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 entries")]
            let entries = keys.len() as f64;
            drop(cache);
            wait_for(|| live() - before < NEARLY_NOTHING);
            vec![bytes / entries, allocations]
        })
    }
}

/// Of a cache that had to evict, and may remember whom.
struct FullFootprint {
    capacity: usize,
}

impl Enter<u64, u64> for FullFootprint {
    fn enter<C: Contender<u64, u64>>(&self) -> Entrant {
        let capacity = self.capacity;
        Entrant::new(C::NAME, move || {
            let before = live();
            let cache = C::with_capacity(capacity);
            (0..2 * capacity as u64).for_each(|key| cache.insert(key, key));
            cache.settle();
            #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 entries")]
            let entries = capacity as f64;
            vec![(live() - before) / entries]
        })
    }
}

impl EnterComputing for Footprint {
    fn enter<C: Computing>(&self) -> Entrant {
        Entrant::new(C::NAME, || {
            let cache = C::with_capacity(roomy(1000));
            let ask = async || {
                for key in 0..HITS {
                    black_box(cache.get_or_compute(key, ready(key)).await);
                }
            };
            block_on(ask());
            vec![allocations(|| block_on(ask()))]
        })
    }
}

fn expire<E: Expiring>(scale: &Scale) -> Entrant {
    let scale = *scale;
    Entrant::new(E::NAME, move || {
        let cache = E::empty(&scale);
        let empty = live();
        (0..scale.large as u64).for_each(|key| cache.insert(key));
        let full = live();
        cache.sweep();
        vec![full - empty, live() - empty]
    })
}

/// Some caches are freed by threads of their own. Not waited for longer than that may take.
fn wait_for(is_done: impl Fn() -> bool) {
    for _ in 0..MOST_WAITS {
        if is_done() {
            return;
        }
        thread::sleep(WAIT);
    }
}

/// How many bytes are allocated now.
#[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 bytes")]
fn live() -> f64 {
    let Stats { bytes_allocated, bytes_deallocated, .. } = INSTRUMENTED_SYSTEM.stats();
    bytes_allocated as f64 - bytes_deallocated as f64
}

/// How many allocations are made meanwhile. The least of some attempts: other threads allocate too.
#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 allocations")]
fn allocations(run: impl Fn()) -> f64 {
    let attempt = |_| {
        let before = INSTRUMENTED_SYSTEM.stats().allocations;
        run();
        INSTRUMENTED_SYSTEM.stats().allocations - before
    };
    (0..ATTEMPTS).map(attempt).min().unwrap_or_default() as f64
}
