//! When values expire: to the nanosecond, however long they live and whatever overwrites them.

#![expect(clippy::unchecked_time_subtraction, reason = "an underflow fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleeting::Cache;
use fleeting::runtime::Manual;

use crate::support::{VirtualTime, check, in_virtual_time, on_every_runtime, poll_once};

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
/// The timing wheel's finest slot.
const SLOT: Duration = Duration::from_nanos(1 << 20);

type Numbers = Cache<u32, u32>;
/// A call, by its name, and what it returns of the value 10 under the key 1.
type Ask = (&'static str, fn(&Numbers) -> Option<u32>);

fn plain(time: &VirtualTime) -> Numbers {
    time.builder().build().expect("valid settings")
}

/// A cache whose clock is moved by hand, and that has no background work.
async fn unswept(time: &VirtualTime) -> Numbers {
    let cache = plain(time);
    cache.close().await;
    cache
}

/// A cache in `Manual` time that has no background work.
fn unswept_manual() -> (Manual, Numbers) {
    let time = Manual::new();
    let cache = Cache::builder().runtime(time.clone()).build().expect("valid settings");
    time.block_on(cache.close());
    (time, cache)
}

#[test]
fn a_value_is_fresh_to_its_last_nanosecond_and_not_beyond_whoever_asks() {
    let asks: &[Ask] = &[
        ("get", |cache| cache.get(&1)),
        ("peek", |cache| cache.peek(&1)),
        ("contains_key", |cache| cache.contains_key(&1).then_some(10)),
        ("iter", |cache| cache.iter().next().map(|(_, value)| value)),
        ("insert", |cache| cache.insert(1, 20)),
        ("remove", |cache| cache.remove(&1)),
        ("remove_if", |cache| cache.remove_if(&1, |_| true)),
        ("or_insert", |cache| Some(cache.entry(1).or_insert(20)).filter(|value| *value == 10)),
        ("get_or_compute", |cache| {
            let computed = poll_once(&mut Box::pin(cache.get_or_compute(1, async || 20)));
            computed.filter(|value| *value == 10)
        }),
    ];
    in_virtual_time(async |time| {
        for (name, ask) in asks {
            for ttl in [2 * NANO, SLOT - NANO, SLOT, SLOT + NANO, SECOND, 400 * DAY] {
                println!("{name} after {ttl:?}");
                let (early, late) = (unswept(&time).await, unswept(&time).await);
                for cache in [&early, &late] {
                    cache.entry(1).ttl(ttl).insert(10);
                }
                time.advance(ttl - NANO).await;
                assert_eq!(ask(&early), Some(10));
                time.advance(NANO).await;
                assert_eq!(ask(&late), None);
                check(&early, 0);
                check(&late, 0);
            }
        }
    });
}

#[test]
fn values_with_no_ttl_never_expire() {
    in_virtual_time(async |time| {
        let cache = plain(&time);
        cache.insert(1, 1);
        cache.entry(2).ttl(Duration::MAX).insert(2);
        time.advance(500 * YEAR).await;
        assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), Some(2)));
        assert_eq!(cache.cleanup(), 0);
        check(&cache, 0);
    });
}

#[test]
fn a_frozen_clock_tells_old_from_new_all_the_same() {
    in_virtual_time(async |time| {
        let cache: Numbers = time.builder().ttl(SECOND).build().expect("valid settings");
        cache.insert(1, 1);
        cache.clear();
        assert_eq!(cache.get(&1), None);
        cache.insert(1, 2);
        assert_eq!(cache.get(&1), Some(2));
        cache.remove(&1);
        assert_eq!(cache.get(&1), None);
        check(&cache, 0);
    });
}

#[test]
fn a_value_with_no_time_to_live_is_never_readable() {
    in_virtual_time(async |time| {
        let zero: Numbers = time.builder().ttl(Duration::ZERO).build().expect("valid settings");
        let endless = unswept(&time).await;
        zero.insert(1, 1);
        endless.entry(1).ttl(Duration::ZERO).insert(1);
        for cache in [&zero, &endless] {
            assert_eq!(cache.peek(&1), None);
            assert!(!cache.contains_key(&1));
            assert_eq!(cache.iter().count(), 0);
            assert_eq!(cache.get(&1), None);
            assert_eq!(cache.remove(&1), None);
        }
        // Computed, but not kept.
        assert_eq!(zero.get_or_compute(1, async || 2).await, 2);
        assert_eq!(zero.get_or_compute(1, async || 3).await, 3);
        assert_eq!(zero.entry(1).or_insert(4), 4);
        assert_eq!(zero.entry(1).ttl(SECOND).or_insert(5), 5);
        assert_eq!(zero.get(&1), Some(5), "the call's TTL outranks the cache's");
        check(&zero, 0);
        check(&endless, 0);
    });
}

#[test]
fn overwriting_with_no_time_to_live_takes_the_old_value_away() {
    in_virtual_time(async |time| {
        for cache in [plain(&time), unswept(&time).await] {
            cache.insert(1, 1);
            assert_eq!(cache.entry(1).ttl(Duration::ZERO).insert(2), Some(1));
            assert_eq!(cache.get(&1), None);
            assert_eq!(cache.insert(1, 3), None, "the old value is returned once");
            assert_eq!(cache.get(&1), Some(3));
            check(&cache, 0);
        }
    });
}

#[test]
fn no_ttl_is_too_short_or_too_long() {
    let millis = |bits: u32, off: i64| {
        Duration::from_millis((1_u64 << bits).checked_add_signed(off).expect("in range"))
    };
    let ttls = [
        Duration::ZERO,
        NANO,
        Duration::from_nanos(999),
        Duration::from_millis(1),
        millis(36, -1),
        millis(36, 0),
        millis(36, 1),
        365 * DAY,
        146 * YEAR,
        500 * YEAR,
        Duration::from_nanos(u64::MAX - 1),
        Duration::from_nanos(u64::MAX),
        584 * YEAR,
        585 * YEAR,
        Duration::from_secs(u64::MAX),
        Duration::MAX - NANO,
        Duration::MAX,
    ];
    // One and two centuries into the clock's life, a long TTL ends past what the clock can tell.
    for begin in [Duration::ZERO, 100 * YEAR, 200 * YEAR] {
        for ttl in ttls {
            in_virtual_time(async |time| {
                let global: Numbers = time.builder().ttl(ttl).build().expect("valid settings");
                let caches = [global, plain(&time), unswept(&time).await];
                time.advance(begin).await;
                caches[0].insert(1, 1);
                caches[1].entry(1).ttl(ttl).insert(1);
                caches[2].entry(1).ttl_with(move |_| ttl).insert(1);
                if begin + 300 * YEAR > ttl.saturating_add(begin) && !ttl.is_zero() {
                    time.advance(ttl - NANO).await;
                    assert!(caches.iter().all(|cache| cache.get(&1) == Some(1)), "{ttl:?}");
                    time.advance(NANO).await;
                } else {
                    time.advance(300 * YEAR).await;
                }
                let lives = ttl > 300 * YEAR;
                for cache in &caches {
                    assert_eq!(cache.get(&1), lives.then_some(1), "{ttl:?} from {begin:?}");
                    cache.cleanup();
                    assert_eq!(cache.len(), usize::from(lives));
                    check(cache, 0);
                }
            });
        }
    }
}

#[test]
fn a_ttl_counts_from_the_moment_its_value_is_stored() {
    in_virtual_time(async |time| {
        let cache: Numbers = time.builder().ttl(SECOND).build().expect("valid settings");
        let entry = cache.entry(1);
        time.advance(10 * SECOND).await;
        entry.insert(1);
        time.advance(SECOND - NANO).await;
        assert_eq!(cache.get(&1), Some(1));
        // Overwriting begins anew.
        cache.insert(1, 2);
        time.advance(SECOND - NANO).await;
        assert_eq!(cache.get(&1), Some(2));
        // Reading does not.
        time.advance(NANO).await;
        assert_eq!(cache.get(&1), None);
    });
}

#[test]
fn a_slow_computes_value_lives_from_its_end() {
    in_virtual_time(async |time| {
        let cache: Numbers = time.builder().ttl(5 * SECOND).build().expect("valid settings");
        let gate = crate::support::Gate::new();
        let passed = gate.passed();
        let handle = cache.clone();
        let mut caller = Box::pin(async move {
            let compute = || async move {
                passed.await;
                1
            };
            handle.get_or_compute(1, compute).await
        });
        assert_eq!(poll_once(&mut caller), None);
        time.advance(10 * SECOND).await;
        gate.open();
        assert_eq!(poll_once(&mut caller), Some(1));
        time.advance(5 * SECOND - NANO).await;
        assert_eq!(cache.get(&1), Some(1));
        time.advance(NANO).await;
        assert_eq!(cache.get(&1), None);
        assert_eq!(cache.stats().compute_time, 10 * SECOND);
        check(&cache, 0);
    });
}

#[test]
fn the_calls_own_ttl_outranks_the_caches() {
    in_virtual_time(async |time| {
        let cache: Numbers = time.builder().ttl(10 * SECOND).build().expect("valid settings");
        let by_value = |value: &u32| SECOND * *value;
        cache.entry(1).ttl(SECOND).insert(1);
        cache.entry(2).ttl_with(by_value).insert(2);
        cache.entry(3).ttl_with(by_value).or_insert(3);
        cache.entry(4).ttl(4 * SECOND).get_or_compute(async || 4).await;
        cache.entry_ref(&5).ttl_with(by_value).get_or_compute(async || 5).await;
        cache.insert(10, 10);
        cache.entry(20).ttl(20 * SECOND).insert(20);
        // The last one said counts.
        cache.entry(6).ttl(SECOND).ttl_with(by_value).insert(6);
        cache.entry(7).ttl_with(by_value).ttl(7 * SECOND).insert(0);
        for second in 1..=20 {
            time.advance(SECOND - NANO).await;
            assert!(
                cache.contains_key(&second)
                    || [8, 9].contains(&second)
                    || second > 10 && second < 20
            );
            time.advance(NANO).await;
            assert!(!cache.contains_key(&second));
        }
        check(&cache, 0);
    });
}

#[test]
fn the_last_ttl_counts_however_often_it_was_changed() {
    const ENDLESS: Duration = Duration::MAX;
    let chains: &[&[Duration]] = &[
        &[10 * SECOND, 2 * SECOND],
        &[2 * SECOND, 10 * SECOND],
        &[2 * SECOND, ENDLESS],
        &[ENDLESS, 2 * SECOND],
        &[2 * SECOND, 20 * SECOND, 5 * SECOND],
        &[2 * SECOND, ENDLESS, 5 * SECOND],
        &[10 * SECOND, NANO, 5 * SECOND, 3 * SECOND],
        &[Duration::ZERO, 3 * SECOND],
        &[3 * SECOND, Duration::ZERO],
        &[YEAR, SLOT, 100 * YEAR],
        &[SECOND, 100 * YEAR, DAY, ENDLESS, 2 * DAY],
    ];
    in_virtual_time(async |time| {
        for chain in chains {
            println!("{chain:?}");
            for cache in [plain(&time), unswept(&time).await] {
                for ttl in *chain {
                    cache.entry(1).ttl(*ttl).insert(1);
                    check(&cache, 0);
                }
                let last = *chain.last().expect("a chain has an end");
                if last == ENDLESS {
                    time.advance(100 * YEAR).await;
                    assert_eq!(cache.get(&1), Some(1));
                    assert_eq!(cache.cleanup(), 0);
                } else if last.is_zero() {
                    assert_eq!(cache.get(&1), None);
                } else {
                    time.advance(last - NANO).await;
                    assert_eq!(cache.cleanup(), 0, "it is not swept early");
                    assert_eq!(cache.get(&1), Some(1));
                    time.advance(NANO).await;
                    assert_eq!(cache.get(&1), None);
                }
                check(&cache, 0);
            }
        }
    });
}

#[test]
fn a_prolonged_value_is_swept_at_its_new_time() {
    in_virtual_time(async |time| {
        let cache = plain(&time);
        cache.entry(1).ttl(2 * SECOND).insert(1);
        for _ in 0..10 {
            time.advance(SECOND).await;
            cache.entry(1).ttl(2 * SECOND).insert(1);
        }
        time.advance(2 * SECOND - NANO).await;
        assert_eq!(cache.len(), 1);
        // It may have been looked at just now, and is looked at again an interval later.
        time.advance(2 * SECOND).await;
        assert_eq!(cache.len(), 0);
        assert_eq!(cache.stats().expirations, 1);
        check(&cache, 0);
    });
}

#[test]
fn cleanup_counts_to_the_nanosecond() {
    in_virtual_time(async |time| {
        let cache = unswept(&time).await;
        // Around the edges of the wheel's slots of several levels.
        let edges = [SLOT, 2 * SLOT, 64 * SLOT, 65 * SLOT, 4_096 * SLOT, SECOND, DAY];
        let moments: Vec<Duration> = edges
            .iter()
            .flat_map(|edge| [*edge - 2 * NANO, *edge - NANO, *edge, *edge + NANO])
            .collect();
        for (key, moment) in (0..).zip(&moments) {
            cache.entry(key).ttl(*moment).insert(key);
        }
        let mut sorted = moments;
        sorted.sort_unstable();
        let mut now = Duration::ZERO;
        for (gone, moment) in sorted.iter().enumerate() {
            if *moment > now + NANO {
                time.advance(*moment - NANO - now).await;
                assert_eq!(cache.cleanup(), 0);
                now = *moment - NANO;
            }
            time.advance(*moment - now).await;
            now = *moment;
            assert_eq!(cache.cleanup(), 1, "at {moment:?}");
            assert_eq!(cache.len(), sorted.len() - gone - 1);
            assert_eq!(cache.cleanup(), 0);
            check(&cache, 0);
        }
    });
}

#[test]
fn cleanup_frees_any_number_at_once() {
    in_virtual_time(async |time| {
        let cache = unswept(&time).await;
        for key in 0..5_000 {
            cache.entry(key).ttl(if key % 5 == 0 { DAY } else { SECOND }).insert(key);
        }
        time.advance(SECOND).await;
        assert_eq!(cache.len(), 5_000, "what has expired is held until it is freed");
        assert_eq!(cache.iter().count(), 1_000);
        assert_eq!(cache.cleanup(), 4_000);
        assert_eq!(cache.len(), 1_000);
        assert_eq!(cache.stats().expirations, 4_000);
        check(&cache, 0);
    });
}

#[test]
fn what_is_found_expired_is_freed_and_counted() {
    in_virtual_time(async |time| {
        type Counted = Cache<u32, Arc<()>>;
        let asks: &[fn(&Counted)] = &[
            |cache| drop(cache.get(&1)),
            |cache| drop(cache.remove(&1)),
            |cache| drop(cache.insert(1, Arc::default())),
            |cache| drop(cache.entry(1).or_insert(Arc::default())),
            |cache| {
                poll_once(&mut Box::pin(cache.get_or_compute(1, async || Arc::default())));
            },
        ];
        for ask in asks {
            let cache: Counted = time.builder().build().expect("valid settings");
            cache.close().await;
            let value = Arc::new(());
            cache.entry(1).ttl(SECOND).insert(Arc::clone(&value));
            time.advance(SECOND).await;
            assert_eq!((cache.len(), Arc::strong_count(&value)), (1, 2));
            ask(&cache);
            assert_eq!(Arc::strong_count(&value), 1);
            assert_eq!(cache.stats().expirations, 1);
            check(&cache, 0);
        }
    });
}

#[test]
fn peeking_frees_nothing() {
    in_virtual_time(async |time| {
        let cache = unswept(&time).await;
        cache.entry(1).ttl(SECOND).insert(1);
        time.advance(SECOND).await;
        assert_eq!(cache.peek(&1), None);
        assert!(!cache.contains_key(&1));
        assert_eq!(cache.remove_if(&1, |_| true), None);
        assert_eq!(cache.iter().count(), 0);
        assert!(!cache.is_empty());
        assert_eq!(cache.stats().expirations, 0);
    });
}

#[test]
fn each_write_frees_a_few_of_those_that_have_expired() {
    in_virtual_time(async |time| {
        let cache: Numbers = time.builder().max_size(1_000).build().expect("valid settings");
        cache.close().await;
        for key in 0..500 {
            cache.entry(key).ttl(SECOND).insert(key);
        }
        time.advance(2 * SECOND).await;
        cache.insert(1_000, 0);
        let left = cache.len();
        assert!(left > 400, "one write does not do all the cleaning");
        for value in 1..500 {
            cache.insert(1_000, value);
        }
        assert_eq!(cache.len(), 1, "many writes do");
        assert_eq!(cache.stats().expirations, 500);
        check(&cache, 0);
    });
}

#[test]
fn an_item_that_expires_while_it_waits_its_turn_is_not_yielded() {
    in_virtual_time(async |time| {
        let cache = plain(&time);
        for key in 0..100 {
            cache.entry(key).ttl(SECOND).insert(key);
        }
        let mut items = cache.iter();
        assert!(items.next().is_some());
        time.advance(SECOND - NANO).await;
        assert!(items.next().is_some());
        time.advance(NANO).await;
        assert_eq!(items.next(), None);
    });
}

/// A generator of numbers that gives the same ones each time (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Up to 400 days, and as often short as long.
    fn ttl(&mut self) -> Duration {
        let limit = (400 * DAY).as_nanos() >> (self.next() % 40);
        Duration::from_nanos(1 + self.next() % u64::try_from(limit).expect("400 days fit"))
    }
}

/// A second at a time for a day, then an hour, then a day, and at last one jump.
fn steps() -> impl Iterator<Item = Duration> {
    let seconds = std::iter::repeat_n(SECOND, 24 * 3_600);
    let hours = std::iter::repeat_n(DAY / 24, 24 * 30);
    let days = std::iter::repeat_n(DAY, 60);
    seconds.chain(hours).chain(days).chain([400 * DAY])
}

#[test]
fn for_a_year_each_value_is_there_until_its_deadline_and_freed_at_it() {
    let (time, cache) = unswept_manual();
    let mut random = Random(0x5EED);
    let mut deadlines: BTreeMap<Duration, Vec<u32>> = BTreeMap::new();
    for key in 0..100_000 {
        let ttl = random.ttl();
        cache.entry(key).ttl(ttl).insert(key);
        deadlines.entry(ttl).or_default().push(key);
    }
    let mut now = Duration::ZERO;
    let mut left = 100_000;
    for step in steps() {
        time.advance(step);
        now += step;
        let later = deadlines.split_off(&(now + NANO));
        let due: Vec<u32> =
            std::mem::replace(&mut deadlines, later).into_values().flatten().collect();
        assert!(due.iter().all(|key| !cache.contains_key(key)));
        if let Some((_, next)) = deadlines.first_key_value() {
            assert!(next.iter().all(|key| cache.contains_key(key)));
        }
        assert_eq!(cache.cleanup(), due.len(), "at {now:?}");
        left -= due.len();
        assert_eq!(cache.len(), left);
    }
    assert_eq!(left, 0);
    check(&cache, 0);
}

#[test]
fn in_the_background_each_value_is_freed_within_an_interval_of_its_deadline() {
    in_virtual_time(async |time| {
        let interval = 3 * SECOND;
        let builder = time.builder().cleanup_interval(interval);
        let cache: Numbers = builder.build().expect("valid settings");
        let mut random = Random(0xFEED);
        let mut deadlines: Vec<Duration> = (0..2_000)
            .map(|key| {
                let ttl = random.ttl();
                cache.entry(key).ttl(ttl).insert(key);
                ttl
            })
            .collect();
        deadlines.sort_unstable();
        let mut now = Duration::ZERO;
        for step in std::iter::repeat_n(SECOND, 60).chain([DAY; 10]).chain([400 * DAY]) {
            time.advance(step).await;
            // A second leap brings a paused runtime's timers, which are in milliseconds, up.
            time.advance(interval).await;
            now += step + interval;
            let live = deadlines.len() - deadlines.partition_point(|deadline| *deadline <= now);
            let lagging = deadlines.partition_point(|deadline| *deadline + interval <= now);
            assert!(cache.len() >= live);
            assert!(cache.len() <= deadlines.len() - lagging, "at {now:?}");
        }
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    });
}

#[test]
fn in_real_time_a_value_is_readable_before_its_deadline_and_not_after() {
    on_every_runtime(async |host| {
        if host.name == "Manual" {
            return;
        }
        let ttl = Duration::from_millis(40);
        let cache: Numbers = host.builder().ttl(ttl).build().expect("valid settings");
        let before = Instant::now();
        cache.insert(1, 1);
        let after = Instant::now();
        for _ in 0..10_000_000 {
            let asked = Instant::now();
            if cache.get(&1).is_none() {
                assert!(before.elapsed() >= ttl, "it did not expire early");
                return;
            }
            assert!(asked < after + ttl, "it did not outlive its deadline");
        }
        panic!("the value never expired");
    });
}
