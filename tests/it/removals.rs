//! The removal listener: which values it is told of, with which cause, and in which order.

use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fleeting::runtime::Manual;
use fleeting::{Cache, CacheBuilder, RemovalCause};
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use proptest::prelude::*;

use RemovalCause::{Evicted, Expired, Removed, Replaced};

use crate::support::{check, in_virtual_time, on_every_runtime, poll_once};

const SECOND: Duration = Duration::from_secs(1);

/// What the listener was told.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Notice>>>);

type Notice = (u32, u32, RemovalCause);

impl Told {
    pub(crate) fn builder(&self) -> CacheBuilder<u32, u32> {
        self.listen(Cache::builder())
    }

    pub(crate) fn listen(&self, builder: CacheBuilder<u32, u32>) -> CacheBuilder<u32, u32> {
        let told = self.clone();
        builder.on_removal(move |key, value, cause| told.add(key, value, cause))
    }

    pub(crate) fn add(&self, key: u32, value: u32, cause: RemovalCause) {
        self.0.lock().expect("no panic at the list").push((key, value, cause));
    }

    /// What is new since the last time.
    pub(crate) fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.0.lock().expect("no panic at the list"))
    }

    fn take_sorted(&self) -> Vec<Notice> {
        let mut notices = self.take();
        notices.sort_unstable_by_key(|(key, value, _)| (*key, *value));
        notices
    }
}

/// A cache of one shard whose values live for ten seconds of virtual time. Without background work: what
/// has expired stays until somebody comes across it.
fn cache(told: &Told) -> (Cache<u32, u32>, Manual) {
    let time = Manual::new();
    let builder = told.builder().ttl(10 * SECOND).max_size(100).runtime(time.clone());
    let cache = builder.build().expect("valid settings");
    block_on(cache.close());
    (cache, time)
}

#[test]
fn causes_tell_who_let_the_value_go() {
    assert!(Expired.was_evicted() && Evicted.was_evicted());
    assert!(!Removed.was_evicted() && !Replaced.was_evicted());
}

#[test]
fn what_is_replaced_is_told() {
    let told = Told::default();
    let (cache, _time) = cache(&told);
    assert_eq!(cache.insert(1, 10), None);
    assert_eq!(told.take(), []);
    assert_eq!(cache.insert(1, 11), Some(10));
    assert_eq!(cache.entry(1).insert(12), Some(11));
    assert_eq!(cache.entry_ref(&1).insert(13), Some(12));
    assert_eq!(cache.entry(1).update(|_| Some(14)), Some(14));
    assert_eq!(cache.entry_ref(&1).update(|_| Some(15)), Some(15));
    assert_eq!(block_on(cache.refresh(1, || ready(16))), 16);
    assert_eq!(cache.entry(1).or_insert(17), 16, "stores nothing");
    assert_eq!(block_on(cache.get_or_compute(1, || ready(18))), 16);
    assert_eq!(told.take(), [10, 11, 12, 13, 14, 15].map(|value| (1, value, Replaced)));
    check(&cache, 0);
}

#[test]
fn what_is_removed_is_told() {
    let told = Told::default();
    let (cache, _time) = cache(&told);
    (1..=7).for_each(|key| _ = cache.insert(key, 10 * key));
    assert_eq!(cache.remove(&1), Some(10));
    assert_eq!(cache.remove(&1), None);
    assert_eq!(cache.remove_if(&2, |_| false), None);
    assert_eq!(cache.remove_if(&2, |_| true), Some(20));
    assert_eq!(cache.entry(3).update(|_| None), None);
    assert_eq!(cache.entry_ref(&4).update(|_| None), None);
    assert_eq!(cache.retain(|key, _| *key != 5), 1);
    assert_eq!(told.take(), [1, 2, 3, 4, 5].map(|key| (key, 10 * key, Removed)));
    cache.clear();
    assert_eq!(told.take_sorted(), [(6, 60, Removed), (7, 70, Removed)]);
    cache.clear();
    assert_eq!(told.take(), []);
    check(&cache, 0);
}

#[test]
fn what_makes_way_is_told() {
    let told = Told::default();
    let cache = told.builder().max_size(2).build().expect("valid settings");
    (1..=3).for_each(|key| _ = cache.insert(key, 10 * key));
    assert_eq!(told.take(), [(1, 10, Evicted)]);
    assert_eq!(block_on(cache.get_or_compute(4, || ready(40))), 40);
    assert_eq!(told.take(), [(2, 20, Evicted)]);
    cache.set_max_size(1).expect("a valid size");
    assert_eq!(told.take(), [(3, 30, Evicted)]);
    check(&cache, 0);
}

#[test]
fn what_makes_way_in_another_shard_is_told() {
    let told = Told::default();
    let cache = told.builder().max_size(2_048).build().expect("valid settings");
    (0..2_048).for_each(|key| _ = cache.insert(key, key));
    // Many shards, all but a few of which are empty.
    cache.set_max_size(2).expect("a valid size");
    assert_eq!(told.take().len(), 2_046);
    (2_048..2_148).for_each(|key| _ = cache.insert(key, key));
    let notices = told.take();
    assert_eq!(notices.len(), 100);
    assert!(notices.iter().all(|(_, _, cause)| *cause == Evicted));
    check(&cache, 0);
}

#[test]
fn what_has_expired_is_told_so_whatever_comes_across_it() {
    type Finds = fn(&Cache<u32, u32>);
    let ways: [(&str, Finds); 13] = [
        ("get", |cache| assert_eq!(cache.get(&1), None)),
        ("insert", |cache| assert_eq!(cache.insert(1, 11), None)),
        ("entry_ref", |cache| assert_eq!(cache.entry_ref(&1).insert(11), None)),
        ("or_insert", |cache| assert_eq!(cache.entry(1).or_insert(11), 11)),
        ("remove", |cache| assert_eq!(cache.remove(&1), None)),
        ("update", |cache| assert_eq!(cache.entry(1).update(|_| Some(11)), Some(11))),
        ("update to nothing", |cache| assert_eq!(cache.entry(1).update(|_| None), None)),
        ("compute", |cache| assert_eq!(block_on(cache.get_or_compute(1, || ready(11))), 11)),
        ("refresh", |cache| assert_eq!(block_on(cache.refresh(1, || ready(11))), 11)),
        ("cleanup", |cache| assert_eq!(cache.cleanup(), 1)),
        ("clear", Cache::clear),
        ("another write", |cache| assert_eq!(cache.insert(2, 20), None)),
        ("another bound", |cache| {
            cache.insert(2, 20);
            cache.set_max_size(1).expect("a valid size");
        }),
    ];
    for (way, finds) in ways {
        println!("{way}");
        let told = Told::default();
        let (cache, time) = cache(&told);
        cache.insert(1, 10);
        time.advance(10 * SECOND);
        assert_eq!(told.take(), []);
        finds(&cache);
        assert_eq!(told.take(), [(1, 10, Expired)]);
        check(&cache, 0);
    }
}

#[test]
fn what_expires_as_it_is_stored_is_told() {
    let told = Told::default();
    let cache = told.builder().max_size(1).build().expect("valid settings");
    cache.insert(1, 10);
    // In a full cache it is not even stored.
    cache.entry(2).ttl(Duration::ZERO).insert(20);
    assert_eq!(told.take(), [(2, 20, Expired)]);
    cache.entry(1).ttl(Duration::ZERO).insert(11);
    assert_eq!(told.take(), [(1, 10, Replaced)]);
    cache.cleanup();
    assert_eq!(told.take(), [(1, 11, Expired)]);
    assert!(cache.is_empty());
}

#[test]
fn an_idle_cache_with_a_runtime_tells_at_the_deadline() {
    in_virtual_time(async |time| {
        let told = Told::default();
        let cache = told.listen(time.builder()).ttl(10 * SECOND).build().expect("valid settings");
        cache.insert(1, 10);
        time.advance(9 * SECOND).await;
        assert_eq!(told.take(), []);
        time.advance(SECOND).await;
        assert_eq!(told.take(), [(1, 10, Expired)]);
        drop(cache);
    });
}

#[test]
fn a_value_that_is_kept_past_its_deadline_is_told_when_it_leaves() {
    let (told, time) = (Told::default(), Manual::new());
    let builder = told.builder().ttl(10 * SECOND).stale_while_revalidate(10 * SECOND);
    let cache = builder.max_size(2).runtime(time.clone()).build().expect("valid settings");
    (1..=2).for_each(|key| _ = cache.insert(key, 10 * key));
    time.advance(15 * SECOND);
    assert_eq!((cache.get(&1), told.take()), (None, vec![]));
    // Renewed in the background.
    assert_eq!(time.block_on(cache.get_or_compute(1, || ready(11))), 10);
    time.advance(Duration::ZERO);
    assert_eq!(told.take(), [(1, 10, Expired)]);
    assert_eq!(cache.get(&1), Some(11));
    time.advance(5 * SECOND);
    assert_eq!(told.take(), [(2, 20, Expired)]);
    // Now one that has to make way, as the statistics have it.
    time.advance(7 * SECOND);
    (3..=4).for_each(|key| _ = cache.insert(key, 10 * key));
    assert_eq!((told.take(), cache.stats().evictions), (vec![(1, 11, Evicted)], 1));
    // And one that is removed.
    time.advance(15 * SECOND);
    assert_eq!((cache.remove(&3), told.take()), (None, vec![(3, 30, Expired)]));
    assert_eq!((cache.retain(|_, _| false), told.take()), (1, vec![(4, 40, Expired)]));
    check(&cache, 0);
}

#[test]
fn what_was_never_stored_is_not_told() {
    let told = Told::default();
    let (cache, _time) = cache(&told);
    assert_eq!(cache.entry(1).keep_if(|_| false).insert(1), None);
    assert_eq!(block_on(cache.entry(1).keep_if(|_| false).get_or_compute(|| ready(1))), 1);
    assert_eq!(cache.entry(1).keep_if(|_| false).update(|_| Some(1)), Some(1));
    // The outcome of a compute that a write came before.
    let (sender, receiver) = oneshot::channel();
    let mut late = cache.get_or_compute(1, || receiver.map(|sent| sent.unwrap_or(0))).boxed();
    assert_eq!(poll_once(&mut late), None);
    cache.insert(1, 10);
    sender.send(2).expect("the compute waits");
    assert_eq!(block_on(late), 2);
    // An update that is called again.
    let updated = cache.entry(1).update(|value| match value {
        Some(10) => {
            cache.insert(1, 11);
            Some(3)
        }
        value => value.map(|value| value + 1),
    });
    assert_eq!(updated, Some(12));
    assert_eq!(told.take(), [(1, 10, Replaced), (1, 11, Replaced)]);
    check(&cache, 0);
}

#[test]
fn extra_values_are_told_when_they_leave() {
    let told = Told::default();
    let (cache, time) = cache(&told);
    cache.insert(2, 20);
    let many =
        || cache.get_or_compute_many([1], |_| ready(HashMap::from([(1, 11), (2, 21), (3, 31)])));
    assert_eq!(block_on(many()), HashMap::from([(1, 11)]));
    assert_eq!(told.take(), [], "a fresh value stays");
    time.advance(10 * SECOND);
    assert_eq!(block_on(many()), HashMap::from([(1, 11)]));
    assert_eq!(told.take_sorted(), [(1, 11, Expired), (2, 20, Expired), (3, 31, Expired)]);
    check(&cache, 0);
}

#[test]
fn nobody_is_told_when_the_cache_is_closed_or_dropped() {
    let (told, time) = (Told::default(), Manual::new());
    let cache = told.listen(Cache::builder()).runtime(time.clone()).build().expect("valid");
    cache.insert(1, 10);
    time.block_on(cache.close());
    assert_eq!(cache.get(&1), Some(10));
    drop(cache);
    assert_eq!(told.take(), []);
    assert_eq!(Arc::strong_count(&told.0), 1, "the listener is gone");
}

#[test]
fn the_settings_tell_whether_somebody_listens() {
    let told = Told::default();
    assert!(format!("{:?}", Cache::<u32, u32>::builder()).contains("has_listener: false"));
    let builder = told.builder().hasher(std::hash::RandomState::new());
    assert!(format!("{builder:?}").contains("has_listener: true"));
    let cache = builder.build().expect("valid settings");
    cache.insert(1, 10);
    cache.remove(&1);
    assert_eq!(told.take(), [(1, 10, Removed)]);
}

#[test]
fn each_runtime_tells_also_after_the_listener_has_panicked() {
    on_every_runtime(async |host| {
        let (sender, mut told) = futures::channel::mpsc::unbounded();
        let is_first = AtomicBool::new(true);
        let builder = host.builder().ttl(Duration::ZERO).cleanup_interval(Duration::from_nanos(1));
        let builder = builder.on_removal(move |key: u32, _: u32, cause| {
            sender.unbounded_send((key, cause)).expect("the test listens");
            assert!(!is_first.swap(false, Ordering::Relaxed), "the listener is not ready yet");
        });
        let cache = builder.build().expect("valid settings");
        (1..=3).for_each(|key| _ = cache.insert(key, 10));
        if host.runtime.is_none() {
            cache.cleanup();
        }
        let mut notices: Vec<_> = (&mut told).take(3).collect().await;
        notices.sort_unstable_by_key(|(key, _)| *key);
        assert_eq!(notices, [(1, Expired), (2, Expired), (3, Expired)]);
        assert_eq!(cache.stats().listener_panics, 1);
        cache.reset_stats();
        assert_eq!(cache.stats().listener_panics, 0);
    });
}

/// What the random tests do to a key, or to all.
#[derive(Clone, Copy, Debug)]
enum Step {
    Insert,
    InsertRef,
    InsertFor(u32),
    OrInsert,
    Update,
    UpdateRef,
    UpdateAway,
    Compute,
    ComputeLate,
    Refresh,
    Many,
    SetTtl(u32),
    Remove,
    RemoveIf,
    Get,
    Retain,
    Clear,
    Cleanup,
    SetMaxSize,
    Advance(u32),
}

fn steps() -> impl Strategy<Value = Vec<(u32, Step)>> {
    let step = prop_oneof![
        Just(Step::Insert),
        Just(Step::InsertRef),
        (0..4_u32).prop_map(Step::InsertFor),
        Just(Step::OrInsert),
        Just(Step::Update),
        Just(Step::UpdateRef),
        Just(Step::UpdateAway),
        Just(Step::Compute),
        Just(Step::ComputeLate),
        Just(Step::Refresh),
        Just(Step::Many),
        (0..4_u32).prop_map(Step::SetTtl),
        Just(Step::Remove),
        Just(Step::RemoveIf),
        Just(Step::Get),
        Just(Step::Retain),
        Just(Step::Clear),
        Just(Step::Cleanup),
        Just(Step::SetMaxSize),
        (0..4_u32).prop_map(Step::Advance),
    ];
    prop::collection::vec((0..6_u32, step), 1..80)
}

/// What a random test knows of the values.
#[derive(Default)]
struct Known {
    last: u32,
    /// Those that were stored, by key, in order.
    stored: HashMap<u32, Vec<u32>>,
    /// Those that were handed back, and what is to be told of them.
    handed: HashMap<u32, RemovalCause>,
    told: HashMap<u32, Vec<u32>>,
    causes: HashMap<u32, RemovalCause>,
}

impl Known {
    /// A value that there was not before.
    fn new_value(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn stored(&mut self, key: u32, value: u32) {
        self.stored.entry(key).or_default().push(value);
    }

    fn handed(&mut self, value: Option<u32>, cause: RemovalCause) {
        self.handed.extend(value.map(|value| (value, cause)));
    }

    fn told(&mut self, notices: Vec<Notice>) {
        for (key, value, cause) in notices {
            assert_eq!(self.causes.insert(value, cause), None, "{value} is told once");
            self.told.entry(key).or_default().push(value);
        }
    }

    fn count(&self, cause: RemovalCause) -> u64 {
        self.causes.values().filter(|told| **told == cause).count() as u64
    }

    fn step(&mut self, cache: &Cache<u32, u32>, time: &Manual, key: u32, step: Step) {
        let value = self.new_value();
        match step {
            Step::Insert => {
                self.handed(cache.insert(key, value), Replaced);
                self.stored(key, value);
            }
            Step::InsertRef => {
                self.handed(cache.entry_ref(&key).insert(value), Replaced);
                self.stored(key, value);
            }
            Step::InsertFor(seconds) => {
                self.handed(cache.entry(key).ttl(seconds * SECOND).insert(value), Replaced);
                self.stored(key, value);
            }
            Step::OrInsert => {
                if cache.entry(key).or_insert(value) == value {
                    self.stored(key, value);
                }
            }
            Step::Update | Step::UpdateRef => {
                let update = |present| {
                    self.handed(present, Replaced);
                    Some(value)
                };
                match step {
                    Step::Update => cache.entry(key).update(update),
                    _ => cache.entry_ref(&key).update(update),
                };
                self.stored(key, value);
            }
            Step::UpdateAway => {
                _ = cache.entry_ref(&key).update(|present| {
                    self.handed(present, Removed);
                    None
                });
            }
            Step::Compute => {
                let mut is_computed = false;
                let compute = || {
                    is_computed = true;
                    ready(value)
                };
                time.block_on(cache.get_or_compute(key, compute));
                if is_computed {
                    self.stored(key, value);
                }
            }
            Step::ComputeLate => {
                let (sender, receiver) = oneshot::channel();
                let compute = || receiver.map(|sent| sent.expect("the test sends"));
                let mut call = cache.refresh(key, compute).boxed();
                assert_eq!(poll_once(&mut call), None);
                self.handed(cache.remove(&key), Removed);
                sender.send(value).expect("the compute waits");
                assert_eq!(time.block_on(call), value);
            }
            Step::Refresh => {
                time.block_on(cache.refresh(key, || ready(value)));
                self.stored(key, value);
            }
            Step::Many => {
                let extra = self.new_value();
                let mut asked = false;
                let other = (key + 1) % 6;
                let is_there = cache.contains_key(&other);
                let compute = |_| {
                    asked = true;
                    ready(HashMap::from([(key, value), (other, extra)]))
                };
                time.block_on(cache.get_or_compute_many([key], compute));
                if asked {
                    self.stored(key, value);
                    if !is_there {
                        self.stored(other, extra);
                    }
                }
            }
            Step::SetTtl(seconds) => _ = cache.set_ttl(&key, seconds * SECOND),
            Step::Remove => self.handed(cache.remove(&key), Removed),
            Step::RemoveIf => self.handed(cache.remove_if(&key, |value| value % 2 == 0), Removed),
            Step::Get => _ = cache.get(&key),
            Step::Retain => _ = cache.retain(|_, value| value % 3 != 0),
            Step::Clear => {
                // Else what has expired is told so, and not counted.
                cache.cleanup();
                cache.clear();
            }
            Step::Cleanup => _ = cache.cleanup(),
            Step::SetMaxSize => cache.set_max_size(key as usize + 1).expect("a valid size"),
            Step::Advance(seconds) => time.advance(seconds * SECOND),
        }
    }
}

fn is_told_exactly_once(steps: Vec<(u32, Step)>, builder: CacheBuilder<u32, u32>, has_grace: bool) {
    let (told, time, mut known) = (Told::default(), Manual::new(), Known::default());
    let builder = told.listen(builder).ttl(2 * SECOND).runtime(time.clone());
    let cache = builder.build().expect("valid settings");
    for (key, step) in steps {
        known.step(&cache, &time, key, step);
        known.told(told.take());
        check(&cache, 0);
        if !has_grace {
            let stats = cache.stats();
            assert_eq!(known.count(Evicted), stats.evictions);
            assert_eq!(known.count(Expired), stats.expirations);
        }
        let stored: usize = known.stored.values().map(Vec::len).sum();
        assert_eq!(stored, known.causes.len() + cache.len(), "what is not told is there");
    }
    cache.clear();
    known.told(told.take());
    assert_eq!(known.stored, known.told, "all that was stored, in that order");
    for (value, cause) in known.handed {
        assert_eq!(known.causes.get(&value), Some(&cause), "{value} was handed back");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_value_that_leaves_is_told_exactly_once(steps in steps()) {
        is_told_exactly_once(steps, Cache::builder().max_size(4), false);
    }

    #[test]
    fn so_is_every_value_that_is_kept_past_its_deadline(steps in steps()) {
        let builder = Cache::builder().max_size(4).stale_if_error(2 * SECOND);
        is_told_exactly_once(steps, builder, true);
    }
}

#[test]
fn many_threads_are_told_exactly_once_and_in_order() {
    const THREADS: u32 = 4;
    const KEYS: u32 = 64;
    let (told, next) = (Told::default(), AtomicU32::new(0));
    // Some shards, most of the time full.
    let cache = told.builder().max_size(2_048).build().expect("valid settings");
    cache.set_max_size(KEYS as usize / 2).expect("a valid size");
    let rounds = |thread: u32| {
        // What a compute brings is not stored if another thread has removed something meanwhile.
        let (mut stored, mut computed) = (Vec::new(), Vec::new());
        for round in 0..2_000_u32 {
            // Each key is stored by one thread, so that its order is known.
            let key = round.wrapping_mul(7) % (KEYS / THREADS) * THREADS + thread;
            let value = next.fetch_add(1, Ordering::Relaxed);
            match round % 8 {
                0 => _ = cache.entry(key).update(|_| Some(value)),
                1 => _ = block_on(cache.refresh(key, || ready(value))),
                2 => _ = cache.entry(key).ttl(Duration::ZERO).insert(value),
                _ => _ = cache.insert(key, value),
            }
            if round % 8 == 1 { &mut computed } else { &mut stored }.push(value);
            match round % 100 {
                0 => cache.clear(),
                1..20 => _ = cache.remove(&(round % KEYS)),
                20..30 => _ = cache.get(&(round % KEYS)),
                30 => _ = cache.retain(|key, _| key % 3 > 0),
                _ => {}
            }
        }
        (stored, computed)
    };
    let (stored, computed): (Vec<_>, Vec<_>) = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || rounds(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).unzip()
    });
    let mut stored: BTreeSet<u32> = stored.into_iter().flatten().collect();
    check(&cache, 0);
    cache.clear();
    let notices = told.take();
    let values: BTreeSet<u32> = notices.iter().map(|(_, value, _)| *value).collect();
    assert_eq!(notices.len(), values.len(), "each is told once");
    stored.extend(computed.into_iter().flatten().filter(|value| values.contains(value)));
    assert_eq!(values, stored);
    let mut last = HashMap::new();
    for (key, value, _) in notices {
        assert!(last.insert(key, value).is_none_or(|last| last < value), "{key} is in order");
    }
}
