//! Hits: keys that are there, in a random order.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contender::{Contender, Enter, Key, Value};
use crate::keys::{Cycle, shuffled};
use crate::round::Entrant;
use crate::scale::Scale;

use super::filled;

pub(crate) struct Hit<K, V> {
    keys: Arc<[K]>,
    value: fn(&K) -> V,
    time: Duration,
}

pub(crate) fn small(scale: &Scale) -> Hit<u64, u64> {
    Hit { keys: shuffled(0, scale.small, scale.seed), value: |&key| key, time: scale.sample }
}

pub(crate) fn large(scale: &Scale) -> Hit<u64, u64> {
    Hit { keys: shuffled(0, scale.large, scale.seed), value: |&key| key, time: scale.sample }
}

/// Keys as programs have them, and values that are shared.
pub(crate) fn text(scale: &Scale) -> Hit<String, Arc<str>> {
    let keys = shuffled(0, scale.small, scale.seed);
    Hit {
        keys: keys.iter().map(|key| format!("user:{key:08}")).collect(),
        value: |key| key.as_str().into(),
        time: scale.sample,
    }
}

impl<K: Key, V: Value> Enter<K, V> for Hit<K, V> {
    fn enter<C: Contender<K, V>>(&self) -> Entrant {
        let cache: C = filled(&self.keys, self.value);
        let mut keys = Cycle::new(Arc::clone(&self.keys), 0);
        Entrant::timed(C::NAME, self.time, move |calls| {
            let begin = Instant::now();
            keys.visit(calls, |key| {
                black_box(cache.get(black_box(key)));
            });
            begin.elapsed()
        })
    }
}
