//! Miniature: caches as much smaller than the one meant as the sample is than the stream.

use std::time::Duration;

use fleeting::{BuildError, Cache};
use foldhash::quality::FixedState;
use serde::Serialize;

use crate::interrupt::Interrupt;
use crate::options::Ttl;
use crate::virtual_time::VirtualClock;

use super::policy::PolicyChoice;
use super::sample::{Access, Hashed, Sample};

/// How many requests are sent between two looks at the world.
const TURN: usize = 1 << 12;

/// How often what has expired is freed: as often as a cache with a runtime does so by itself.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What a cache is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    #[serde(serialize_with = "serialize_ttl")]
    pub(crate) ttl: Ttl,
    pub(crate) policy: PolicyChoice,
    pub(crate) max_size: usize,
}

fn serialize_ttl<S: serde::Serializer>(ttl: &Ttl, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&super::table::ttl_name(*ttl))
}

/// Caches that share the sampled keys out among themselves.
pub(crate) struct Miniature {
    caches: Vec<Cache<Hashed, (), FixedState>>,
    misses: Vec<u64>,
    ttl: Ttl,
    clock: VirtualClock,
    next_sweep: Duration,
}

impl Miniature {
    /// Makes so many caches that are together `rate` times as large as the one meant.
    pub(crate) fn new(
        setting: Setting,
        rate: f64,
        parts: usize,
        seed: u64,
    ) -> Result<Self, BuildError> {
        let clock = VirtualClock::new();
        let max_size = scaled(setting.max_size, rate, parts);
        let cache = |_| {
            let builder = Cache::builder().max_size(max_size).policy(setting.policy.into());
            let builder = match setting.ttl {
                Ttl::Fixed(None) => builder,
                Ttl::Fixed(Some(ttl)) => builder.ttl(ttl).runtime(clock.clone()),
                Ttl::OfRequest => builder.runtime(clock.clone()),
            };
            builder.hasher(FixedState::with_seed(seed)).build()
        };
        let caches = (0..parts).map(cache).collect::<Result<_, _>>()?;
        let (ttl, misses) = (setting.ttl, vec![0; parts]);
        Ok(Self { caches, misses, ttl, clock, next_sweep: Duration::ZERO })
    }

    /// Sends all requests of a sample. Returns the misses of each cache; `None` after an
    /// interruption.
    pub(crate) fn misses(mut self, sample: &Sample, interrupt: &Interrupt) -> Option<Vec<u64>> {
        for (position, access) in sample.iter().enumerate() {
            if position % TURN == 0 && interrupt.is_raised() {
                return None;
            }
            self.send(access);
        }
        Some(self.misses)
    }

    fn send(&mut self, access: Access) {
        if self.ttl != Ttl::Fixed(None) {
            self.move_to(access.at);
        }
        let part = access.key.part(self.caches.len());
        let cache = &self.caches[part];
        if cache.get(&access.key).is_some() {
            return;
        }
        self.misses[part] += 1;
        match (self.ttl, access.ttl) {
            (Ttl::OfRequest, Some(Duration::ZERO)) => {}
            (Ttl::OfRequest, Some(ttl)) => drop(cache.entry(access.key).ttl(ttl).insert(())),
            _ => drop(cache.insert(access.key, ())),
        }
    }

    fn move_to(&mut self, time: Duration) {
        if self.clock.move_to(time) && time >= self.next_sweep {
            for cache in &self.caches {
                cache.cleanup();
            }
            self.next_sweep = time + SWEEP_INTERVAL;
        }
    }
}

/// The size of each of so many miniatures of a cache: at least one entry.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes of a cache are rounded anyway"
)]
fn scaled(max_size: usize, rate: f64, parts: usize) -> usize {
    ((max_size as f64 * rate / parts as f64).round() as usize).max(1)
}
