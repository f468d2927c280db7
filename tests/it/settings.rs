//! The builder: what each setting does, and what it refuses.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleeting::{BuildError, Cache, CacheBuilder, DefaultHashBuilder};

use crate::support::{check, on_every_runtime};

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> CacheBuilder<u32, u32> {
    Cache::builder()
}

fn refused(builder: CacheBuilder<u32, u32>) -> BuildError {
    builder.build().expect_err("the setting breaks its rule")
}

#[test]
fn a_cache_without_settings_keeps_everything_for_ever() {
    let cache = builder().build().expect("valid settings");
    assert_eq!(cache.max_size(), None);
    for key in 0..10_000 {
        cache.insert(key, key);
    }
    assert_eq!(cache.len(), 10_000);
    assert_eq!(cache.cleanup(), 0);
    assert_eq!(cache.iter().count(), 10_000);
    check(&cache, 0);
}

#[test]
fn a_cleanup_interval_of_zero_is_refused_with_or_without_a_runtime() {
    on_every_runtime(async |host| {
        let error = refused(host.builder().cleanup_interval(Duration::ZERO));
        assert_eq!(error.to_string(), "cleanup_interval must be more than zero");
        assert_eq!(error.setting(), "cleanup_interval");
    });
}

#[test]
fn an_initial_capacity_beyond_all_memory_is_refused() {
    for capacity in [usize::MAX, usize::MAX - 1, usize::MAX / 2, isize::MAX as usize / 16] {
        let error = refused(builder().initial_capacity(capacity));
        assert_eq!(error.to_string(), "initial_capacity must fit into memory");
        assert_eq!(error.setting(), "initial_capacity");
    }
    let unbounded = refused(builder().max_size(usize::MAX).initial_capacity(usize::MAX));
    assert_eq!(unbounded.setting(), "initial_capacity");
}

#[test]
fn an_error_is_a_small_value_like_any_other() {
    let error = refused(builder().max_concurrent_computes(0));
    assert_eq!(error.clone(), error);
    assert_ne!(error, refused(builder().cleanup_interval(Duration::ZERO)));
    assert!(format!("{error:?}").contains("max_concurrent_computes"));
    let boxed: Box<dyn Error + Send + Sync> = Box::new(error);
    assert!(boxed.source().is_none());
}

#[test]
fn the_last_call_of_a_setting_counts() {
    let cache = builder()
        .max_size(0)
        .max_size(5)
        .cleanup_interval(Duration::ZERO)
        .cleanup_interval(SECOND)
        .ttl(Duration::ZERO)
        .ttl(SECOND * 1000)
        .initial_capacity(usize::MAX)
        .initial_capacity(1)
        .build()
        .expect("valid settings");
    assert_eq!(cache.max_size(), Some(5));
    cache.insert(1, 1);
    assert_eq!(cache.get(&1), Some(1));
}

#[test]
fn max_size_is_told_and_held() {
    for max_size in [1, 2, 3, 7, 100, 1023, 1024, 1025, 5000] {
        let cache = builder().max_size(max_size).build().expect("valid settings");
        assert_eq!(cache.max_size(), Some(max_size));
        for key in 0..6000 {
            cache.insert(key, key);
            assert!(cache.len() <= max_size);
        }
        assert_eq!(cache.len(), max_size, "all of it is used");
        check(&cache, 0);
    }
    let endless = builder().max_size(usize::MAX).build().expect("valid settings");
    endless.insert(1, 1);
    assert_eq!((endless.max_size(), endless.len()), (Some(usize::MAX), 1));
}

#[test]
fn initial_capacity_is_cut_to_max_size() {
    let cache = builder().max_size(3).initial_capacity(usize::MAX).build().expect("it fits");
    for key in 0..10 {
        cache.insert(key, key);
    }
    assert_eq!(cache.len(), 3);
    check(&cache, 0);
}

#[test]
fn initial_capacity_is_neither_a_bound_nor_a_content() {
    for capacity in [0, 1, 7, 100, 10_000] {
        let cache = builder().initial_capacity(capacity).build().expect("it fits");
        assert!(cache.is_empty());
        for key in 0..200 {
            cache.insert(key, key);
        }
        assert_eq!(cache.len(), 200);
        cache.clear();
        assert!(cache.is_empty());
        cache.insert(1, 1);
        assert_eq!(cache.get(&1), Some(1));
        check(&cache, 0);
    }
}

#[test]
fn absurd_durations_are_settings_like_any_other() {
    let year = SECOND * 86_400 * 365;
    let times = [
        Duration::from_nanos(1),
        Duration::from_millis(1),
        year,
        year * 584,
        year * 585,
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ];
    on_every_runtime(async |host| {
        for ttl in times {
            for interval in times {
                let builder: CacheBuilder<u32, u32> = host.builder();
                let cache = builder.ttl(ttl).cleanup_interval(interval).build().expect("valid");
                cache.insert(1, 1);
                cache.entry(2).ttl(interval).insert(2);
                cache.get_or_compute(3, || async { 3 }).await;
                let is_long = ttl >= year;
                assert!(!is_long || cache.get(&1) == Some(1), "{ttl:?} is not over yet");
                cache.cleanup();
                check(&cache, 0);
                cache.close().await;
            }
        }
    });
}

#[test]
fn a_ttl_of_zero_stores_what_nobody_can_read() {
    on_every_runtime(async |host| {
        let builder: CacheBuilder<u32, u32> = host.builder();
        let cache = builder.ttl(Duration::ZERO).build().expect("valid settings");
        assert_eq!(cache.insert(1, 1), None);
        assert_eq!(cache.insert(1, 2), None);
        assert_eq!((cache.get(&1), cache.peek(&1), cache.remove(&1)), (None, None, None));
        assert_eq!(cache.get_or_compute(1, || async { 3 }).await, 3);
        assert!(!cache.contains_key(&1));
        assert_eq!(cache.iter().count(), 0);
        assert_eq!(cache.entry(1).ttl(SECOND * 1000).insert(4), None);
        assert_eq!(cache.get(&1), Some(4), "an entry may live longer than the cache's TTL");
        check(&cache, 0);
    });
}

/// Counts the hashes it makes.
#[derive(Clone, Default)]
struct Counting {
    hashes: Arc<AtomicUsize>,
    keys: RandomState,
}

impl BuildHasher for Counting {
    type Hasher = std::hash::DefaultHasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.hashes.fetch_add(1, Ordering::SeqCst);
        self.keys.build_hasher()
    }
}

type Call = fn(&Cache<String, u32, Counting>);

#[test]
fn the_hasher_that_was_given_is_used_once_a_call() {
    let hasher = Counting::default();
    let made = Arc::clone(&hasher.hashes);
    let cache: Cache<String, u32, Counting> =
        Cache::builder().hasher(hasher).max_size(100).build().expect("valid settings");
    let calls: [Call; 8] = [
        |cache| assert_eq!(cache.insert("one".to_owned(), 1), None),
        |cache| assert_eq!(cache.get("one"), Some(1)),
        |cache| assert_eq!(cache.peek("one"), Some(1)),
        |cache| assert!(cache.contains_key("one")),
        |cache| assert_eq!(cache.entry_ref("one").insert(1), Some(1)),
        |cache| {
            let call = cache.get_or_compute("one".to_owned(), || async { 2 });
            assert_eq!(futures::executor::block_on(call), 1);
        },
        |cache| assert_eq!(cache.remove("one"), Some(1)),
        |cache| {
            let call = cache.get_or_compute("one".to_owned(), || async { 2 });
            assert_eq!(futures::executor::block_on(call), 2);
        },
    ];
    for (index, call) in calls.iter().enumerate() {
        let before = made.load(Ordering::SeqCst);
        call(&cache);
        assert_eq!(made.load(Ordering::SeqCst), before + 1, "call {index}");
    }
    // Growth does not hash keys again.
    let before = made.load(Ordering::SeqCst);
    for key in 0..1_000 {
        cache.insert(key.to_string(), key);
    }
    assert_eq!(made.load(Ordering::SeqCst), before + 1_000);
    check(&cache, 0);
}

/// Gives every key the same hash.
#[derive(Default)]
struct Constant;

impl Hasher for Constant {
    fn finish(&self) -> u64 {
        0x5EED
    }

    fn write(&mut self, _: &[u8]) {}
}

/// Gives an integer itself as its hash: high bits are all alike.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().rev() {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }
}

/// A hash of 32 bits that stands in both halves, because tables use both ends.
#[derive(Default)]
struct Doubled(u32);

impl Hasher for Doubled {
    fn finish(&self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

/// Counts how often keys are compared on this thread.
#[derive(Clone, Debug, Eq)]
struct Compared(u32);

impl Hash for Compared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

thread_local! {
    static COMPARISONS: Cell<usize> = const { Cell::new(0) };
}

impl PartialEq for Compared {
    fn eq(&self, other: &Self) -> bool {
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.0 == other.0
    }
}

#[test]
fn a_hasher_whose_halves_are_alike_is_as_good_as_one_of_them() {
    let cache: Cache<Compared, u32, BuildHasherDefault<Doubled>> =
        Cache::builder().hasher(BuildHasherDefault::default()).build().expect("valid settings");
    for key in 0..1_000 {
        cache.insert(Compared(key), key);
    }
    COMPARISONS.set(0);
    for key in 0..1_000 {
        assert_eq!(cache.get(&Compared(key)), Some(key));
    }
    let comparisons = COMPARISONS.get();
    assert!(comparisons < 3_000, "{comparisons} comparisons for 1,000 hits");
}

fn tells_keys_apart<H: Hasher + Default + Send + Sync + 'static>() {
    let cache: Cache<u32, u32, BuildHasherDefault<H>> =
        Cache::builder().hasher(BuildHasherDefault::default()).build().expect("valid settings");
    for key in 0..2_000 {
        cache.insert(key, key + 1);
    }
    for key in 0..2_000 {
        assert_eq!(cache.get(&key), Some(key + 1));
    }
    assert_eq!(cache.get(&2_000), None);
    for key in (0..2_000).step_by(2) {
        assert_eq!(cache.remove(&key), Some(key + 1));
    }
    assert_eq!((cache.len(), cache.get(&4), cache.get(&5)), (1_000, None, Some(6)));
    check(&cache, 0);
}

#[test]
fn a_poor_hasher_costs_time_only() {
    tells_keys_apart::<Constant>();
    tells_keys_apart::<Identity>();
}

#[test]
fn setting_the_hasher_keeps_the_other_settings() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32, RandomState> = host
            .builder()
            .ttl(Duration::ZERO)
            .max_size(2)
            .initial_capacity(2)
            .hasher(RandomState::new())
            .build()
            .expect("valid settings");
        cache.insert(1, 1);
        assert_eq!((cache.get(&1), cache.max_size()), (None, Some(2)));
        let builder = Cache::<u32, u32>::builder().cleanup_interval(Duration::ZERO);
        assert!(builder.hasher(RandomState::new()).build().is_err());
    });
}

#[test]
fn each_default_hasher_has_keys_of_its_own() {
    let (one, other) = (DefaultHashBuilder::default(), DefaultHashBuilder::default());
    let same = (0..64_u64).filter(|key| one.hash_one(key) == other.hash_one(key)).count();
    assert!(same < 8, "{same} of 64 hashes are the same");
    assert_eq!(one.hash_one("key"), one.clone().hash_one("key"));
    assert_eq!(format!("{one:?}"), "DefaultHashBuilder { .. }", "its keys are secret");
}

#[test]
fn a_builder_tells_its_settings() {
    let text = format!("{:?}", builder().ttl(SECOND * 5).max_size(10).initial_capacity(3));
    for part in [
        "CacheBuilder",
        "ttl: 5s",
        "max_size: Some(10)",
        "initial_capacity: 3",
        "has_runtime: false",
        "cleanup_interval: 1s",
    ] {
        assert!(text.contains(part), "{part} is in {text}");
    }
    on_every_runtime(async |host| {
        let builder: CacheBuilder<u32, u32> = host.builder();
        let has_runtime = format!("has_runtime: {}", host.runtime.is_some());
        assert!(format!("{builder:?}").contains(&has_runtime));
    });
}

#[test]
fn a_cache_tells_its_size_and_settings_but_no_contents() {
    let cache: Cache<&str, &str> =
        Cache::builder().ttl(SECOND * 5).max_size(10).build().expect("valid settings");
    cache.insert("secret key", "secret value");
    let text = format!("{cache:?}");
    assert!(text.contains("len: 1") && text.contains("max_size: Some(10)"), "{text}");
    assert!(text.contains("ttl: 5s") && !text.contains("secret"), "{text}");
    let entry = format!("{:?}", cache.entry("key"));
    assert!(entry.contains("Entry") && entry.contains("\"key\""), "{entry}");
}

#[test]
fn a_refresh_after_is_more_than_zero_and_less_than_the_ttl() {
    for ttl in [SECOND, Duration::ZERO, Duration::MAX] {
        let error = refused(builder().ttl(ttl).refresh_after(Duration::ZERO));
        assert_eq!(error.to_string(), "refresh_after must be more than zero");
        assert_eq!(error.setting(), "refresh_after");
    }
    for (ttl, age) in [(SECOND, SECOND), (SECOND, 2 * SECOND), (Duration::ZERO, SECOND)] {
        for builder in [
            builder().ttl(ttl).refresh_after(age),
            builder().refresh_after(age).ttl(ttl),
            builder().refresh_after(age).ttl(ttl).stale_while_revalidate(Duration::MAX),
        ] {
            let error = refused(builder);
            assert_eq!(error.to_string(), "refresh_after must be less than ttl");
            assert_eq!(error.setting(), "refresh_after");
        }
    }
    let least = Duration::from_nanos(1);
    assert!(builder().ttl(SECOND).refresh_after(SECOND.saturating_sub(least)).build().is_ok());
    assert!(builder().ttl(SECOND).refresh_after(least).build().is_ok());
    assert!(builder().refresh_after(Duration::MAX).build().is_ok(), "a value that never expires");
}

#[test]
fn an_early_refresh_is_a_finite_number_from_zero_up() {
    for beta in [-1.0, -f64::MIN_POSITIVE, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = refused(builder().early_refresh(beta));
        assert_eq!(error.to_string(), "early_refresh must be a number from 0.0 up");
        assert_eq!(error.setting(), "early_refresh");
    }
    for beta in [0.0, -0.0, f64::MIN_POSITIVE, 1.0, f64::MAX] {
        assert!(builder().early_refresh(beta).build().is_ok());
    }
}

#[test]
fn times_past_the_ttl_and_for_failures_may_be_of_any_length() {
    for time in [Duration::ZERO, Duration::from_nanos(1), SECOND, Duration::MAX] {
        for ttl in [Duration::ZERO, SECOND, Duration::MAX] {
            let cache = builder()
                .ttl(ttl)
                .stale_while_revalidate(time)
                .stale_if_error(time)
                .error_ttl(time)
                .build()
                .expect("valid settings");
            cache.insert(1, 1);
            let failed = futures::executor::block_on(
                cache.try_get_or_compute(2, || async { Err::<u32, _>("down") }),
            );
            assert!(failed.is_err());
            assert_eq!(cache.get(&1).is_some(), !ttl.is_zero());
            cache.cleanup();
            check(&cache, 0);
        }
    }
}
