//! Idleness: what it costs when nothing is due, and when nothing ever can be.

use std::time::{Duration, Instant};

use ::mini_moka::sync::ConcurrentCacheExt;
use fleeting::Cache;

use crate::contender::{ETERNAL, FLEETING, MINI_MOKA, MOKA, TTL};
use crate::hand::Hand;
use crate::round::{self, Entrant};
use crate::scale::Scale;
use crate::table::{Measure, Row, Table, Unit};

use super::expiry::{Cleaning, MiniMoka, Moka};
use super::roomy;

pub(crate) const SWEEP: Measure =
    Measure::new("sweep with nothing due, 1 M live entries", Unit::Micros);
pub(crate) const WAKE_UPS: Measure =
    Measure::new("wake-ups and timers while nothing can expire", Unit::Count);

/// How many writes and reads ought to wake nobody.
const CALLS: u64 = 1000;

pub(crate) fn sweep(scale: &Scale) -> Vec<Table> {
    let capacity = roomy(scale.large);
    let moka = Moka::with_ttl(capacity, TTL);
    let mini_moka = MiniMoka::with_ttl(capacity, TTL);
    for key in 0..scale.large as u64 {
        moka.insert(key, key);
        mini_moka.insert(key, key);
    }
    moka.run_pending_tasks();
    mini_moka.sync();
    let (fleeting, eternal) = (filled(scale, TTL), filled(scale, Duration::MAX));
    let entrants = vec![
        entrant(FLEETING, scale, move || {
            fleeting.cleanup();
        }),
        entrant(ETERNAL, scale, move || {
            eternal.cleanup();
        }),
        entrant(MOKA, scale, move || moka.clean_up()),
        entrant(MINI_MOKA, scale, move || mini_moka.clean_up()),
    ];
    round::run(scale.rounds, &[SWEEP], entrants)
}

fn filled(scale: &Scale, ttl: Duration) -> Cache<u64, u64> {
    let builder = Cache::builder().ttl(ttl).max_size(roomy(scale.large));
    let cache = builder.build().expect("the settings are valid");
    (0..scale.large as u64).for_each(|key| {
        cache.insert(key, key);
    });
    cache
}

fn entrant(name: &'static str, scale: &Scale, mut sweep: impl FnMut() + 'static) -> Entrant {
    let measure = move |calls| {
        let begin = Instant::now();
        (0..calls).for_each(|_| sweep());
        begin.elapsed()
    };
    Entrant::timed(name, scale.sample, measure).map(|nanos| vec![nanos[0] / 1e3])
}

pub(crate) fn wake_ups() -> Vec<Table> {
    let hand = Hand::new();
    let builder = Cache::builder().runtime(hand.clone());
    let cache: Cache<u64, u64> = builder.build().expect("the settings are valid");
    for key in 0..CALLS {
        cache.insert(key, key);
        cache.get(&key);
        cache.remove(&(key / 2));
        hand.advance(Duration::from_secs(1));
        hand.poll();
    }
    #[expect(clippy::cast_precision_loss, reason = "there are few calls")]
    let wake_ups = hand.wake_ups() as f64;
    vec![WAKE_UPS.table(vec![Row::single(ETERNAL, wake_ups)])]
}
