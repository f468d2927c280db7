//! The background task: when it wakes, what it frees, and what it survives.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use fleeting::runtime::{Manual, Runtime, Spawner, Task, Timer};
use fleeting::{Cache, CacheBuilder};
use futures::FutureExt;
use futures::future::poll_fn;

use crate::support::{VirtualTime, check, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A runtime that counts what the sweeper asks of it.
#[derive(Clone)]
pub(crate) struct Watched {
    runtime: Arc<dyn Runtime>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    spawns: AtomicUsize,
    ended: AtomicUsize,
    polls: AtomicUsize,
    sleeps: Mutex<Vec<Instant>>,
    /// How many entries are held, asked before each poll.
    length: OnceLock<Box<dyn Fn() -> usize + Send + Sync>>,
    lengths: Mutex<Vec<usize>>,
}

impl Watched {
    pub(crate) fn new(time: &VirtualTime) -> Self {
        Self { runtime: time.runtime(), seen: Arc::default() }
    }

    /// A small cache: it has one shard, so a sweep of a few entries is one poll.
    pub(crate) fn builder<V>(&self) -> CacheBuilder<u32, V> {
        Cache::builder().max_size(100).runtime(self.clone())
    }

    pub(crate) fn spawns(&self) -> usize {
        self.seen.spawns.load(Ordering::SeqCst)
    }

    fn ended(&self) -> usize {
        self.seen.ended.load(Ordering::SeqCst)
    }

    pub(crate) fn polls(&self) -> usize {
        self.seen.polls.load(Ordering::SeqCst)
    }

    fn sleeps(&self) -> usize {
        self.seen.sleeps.lock().expect("sleeps").len()
    }

    fn last_sleep(&self) -> Option<Instant> {
        self.seen.sleeps.lock().expect("sleeps").last().copied()
    }
}

impl Spawner for Watched {
    fn spawn(&self, mut task: Task) {
        let seen = Arc::clone(&self.seen);
        seen.spawns.fetch_add(1, Ordering::SeqCst);
        let counted = poll_fn(move |context| {
            seen.polls.fetch_add(1, Ordering::SeqCst);
            if let Some(length) = seen.length.get() {
                seen.lengths.lock().expect("lengths").push(length());
            }
            let polled = task.poll_unpin(context);
            seen.ended.fetch_add(usize::from(polled.is_ready()), Ordering::SeqCst);
            polled
        });
        self.runtime.spawn(Box::pin(counted));
    }
}

impl Timer for Watched {
    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.seen.sleeps.lock().expect("sleeps").push(deadline);
        self.runtime.sleep_until(deadline)
    }
}

/// Lets tasks run, at the present moment.
async fn settle(time: &VirtualTime) {
    time.advance(Duration::ZERO).await;
}

#[test]
fn nothing_runs_while_nothing_can_expire() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().build().expect("valid");
        for key in 0..200 {
            cache.insert(key, key);
            cache.entry(key).ttl(Duration::MAX).insert(key);
            cache.get_or_compute(key + 1000, || async { 1 }).await;
        }
        time.advance(HOUR * 24).await;
        assert_eq!((runtime.spawns(), runtime.polls(), runtime.sleeps()), (0, 0, 0));
        check(&cache, 0);
    });
}

#[test]
fn an_empty_cache_wakes_nobody() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().ttl(SECOND).build().expect("valid");
        cache.insert(1, 1);
        time.advance(SECOND * 2).await;
        assert_eq!(cache.len(), 0);
        let (polls, sleeps) = (runtime.polls(), runtime.sleeps());
        time.advance(HOUR * 24).await;
        assert_eq!((runtime.polls(), runtime.sleeps()), (polls, sleeps));
        assert_eq!(runtime.spawns(), 1);
    });
}

#[test]
fn what_lives_for_ever_wakes_nobody() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().build().expect("valid");
        cache.entry(1).ttl(SECOND).insert(1);
        cache.insert(2, 2);
        time.advance(SECOND * 2).await;
        let polls = runtime.polls();
        for key in 10..20 {
            cache.insert(key, key);
        }
        time.advance(HOUR * 24).await;
        assert_eq!(runtime.polls(), polls);
        assert_eq!(cache.len(), 11);
        check(&cache, 0);
    });
}

#[test]
fn what_has_expired_is_freed_at_its_deadline_without_a_call() {
    in_virtual_time(async |time| {
        let value = Arc::new(());
        let cache = time.builder().ttl(SECOND * 10).build().expect("valid");
        for key in 0..50 {
            cache.insert(key, Arc::clone(&value));
        }
        time.advance(Duration::from_millis(9_999)).await;
        assert_eq!((cache.len(), Arc::strong_count(&value)), (50, 51));
        time.advance(Duration::from_millis(1)).await;
        assert_eq!((cache.len(), Arc::strong_count(&value)), (0, 1));
        let stats = cache.stats();
        assert_eq!((stats.expirations, stats.misses, stats.hits), (50, 0, 0));
        check(&cache, 0);
    });
}

#[test]
fn the_task_wakes_once_for_each_deadline() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().build().expect("valid");
        let deadlines = 20;
        for key in 1..=deadlines {
            for twin in 0..3 {
                cache.entry(key + twin * 1000).ttl(SECOND * 10 * key).insert(key);
            }
        }
        for left in (0..deadlines).rev() {
            time.advance(SECOND * 10).await;
            assert_eq!(cache.len(), 3 * left as usize);
        }
        time.advance(HOUR).await;
        let most = deadlines as usize + 2;
        assert!(runtime.polls() <= most, "{} polls", runtime.polls());
        assert!(runtime.sleeps() <= most, "{} sleeps", runtime.sleeps());
        check(&cache, 0);
    });
}

#[test]
fn the_task_sleeps_until_the_earliest_deadline_exactly() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().build().expect("valid");
        let begin = runtime.now();
        let odd = Duration::new(77, 123_456_789);
        for (key, ttl) in [(1, HOUR), (2, odd), (3, HOUR * 24 * 400), (4, odd * 2)] {
            cache.entry(key).ttl(ttl).insert(key);
        }
        settle(&time).await;
        assert_eq!(runtime.last_sleep(), Some(begin + odd));
    });
}

#[test]
fn a_million_deadlines_in_one_moment_take_few_sleeps() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache: Cache<u32, u32> =
            Cache::builder().runtime(runtime.clone()).ttl(HOUR).build().expect("valid");
        // As many as make each slot of the wheel crowded; a tenth of the million without
        // optimization.
        let entries = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
        for key in 0..entries {
            cache.insert(key, key);
        }
        time.advance(SECOND * 3_599).await;
        assert_eq!(cache.len(), entries as usize);
        time.advance(SECOND).await;
        for _ in 0..100 {
            // A sweep of this size takes paused tokio more than one look.
            time.advance(Duration::from_millis(20)).await;
        }
        assert_eq!(cache.len(), 0);
        assert_eq!(cache.stats().expirations, u64::from(entries));
        let sleeps = runtime.sleeps();
        assert!(sleeps <= 16, "one for each level of the wheel and each sweep, not {sleeps}");
        check(&cache, 0);
    });
}

#[test]
fn a_later_deadline_wakes_nobody() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().ttl(SECOND * 20).build().expect("valid");
        cache.entry(0).ttl(SECOND * 10).insert(0);
        settle(&time).await;
        let (polls, sleeps) = (runtime.polls(), runtime.sleeps());
        for key in 1..90 {
            cache.insert(key, key);
            cache.get_or_compute(key, || async { 1 }).await;
            cache.entry(key).ttl(SECOND * 10).insert(key);
            cache.remove(&key);
            settle(&time).await;
        }
        assert_eq!((runtime.polls(), runtime.sleeps()), (polls, sleeps));
    });
}

#[test]
fn an_earlier_deadline_wakes_the_task_early() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().ttl(HOUR).build().expect("valid");
        let begin = runtime.now();
        cache.insert(0, 0);
        settle(&time).await;
        let polls = runtime.polls();
        cache.entry(1).ttl(SECOND * 10).insert(1);
        settle(&time).await;
        assert_eq!(runtime.polls(), polls + 1);
        assert_eq!(runtime.last_sleep(), Some(begin + SECOND * 10));
        let compute = || async { 2 };
        cache.entry(2).ttl(SECOND * 5).get_or_compute(compute).await;
        settle(&time).await;
        assert_eq!(runtime.polls(), polls + 2);
        assert_eq!(runtime.last_sleep(), Some(begin + SECOND * 5));
        time.advance(SECOND * 5).await;
        assert_eq!((cache.len(), cache.stats().expirations), (2, 1));
        time.advance(SECOND * 5).await;
        assert_eq!((cache.len(), cache.stats().expirations), (1, 2));
    });
}

type Write = fn(&Cache<u32, u32>) -> futures::future::BoxFuture<'_, ()>;

#[test]
fn every_kind_of_write_brings_its_deadline_to_the_task() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time.builder().build().expect("valid");
        let writes: [Write; 5] = [
            |cache| {
                Box::pin(async {
                    cache.entry(1).ttl(SECOND).insert(1);
                })
            },
            |cache| {
                Box::pin(async {
                    cache.entry(1).ttl(SECOND).or_insert(1);
                })
            },
            |cache| {
                Box::pin(async {
                    cache.entry_ref(&1).ttl(SECOND).insert(1);
                })
            },
            |cache| {
                Box::pin(async {
                    cache.entry(1).ttl_with(|_| SECOND).insert(1);
                })
            },
            |cache| {
                Box::pin(async {
                    let compute = || async { Ok::<_, ()>(1) };
                    let computed = cache.entry(1).ttl(SECOND).try_get_or_compute(compute).await;
                    assert!(computed.is_ok());
                })
            },
        ];
        for write in writes {
            write(&cache).await;
            assert_eq!(cache.len(), 1);
            // The last sweep was a second ago, and there is one a second at most.
            time.advance(SECOND).await;
            assert_eq!(cache.len(), 0);
        }
    });
}

#[test]
fn sweeps_are_at_least_the_cleanup_interval_apart() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let interval = SECOND * 2;
        let cache = runtime.builder().cleanup_interval(interval).build().expect("valid");
        for key in 1..=60_u32 {
            cache.entry(key).ttl(SECOND / 10 * key).insert(key);
        }
        let mut sweeps = Vec::new();
        for tenth in 1..=120_u32 {
            let before = cache.len();
            time.advance(SECOND / 10).await;
            if cache.len() != before {
                sweeps.push(SECOND / 10 * tenth);
            }
            // What is kept longer is not readable.
            assert_eq!(cache.iter().count(), 60_usize.saturating_sub(tenth as usize));
        }
        let tenths = |tenths: u32| SECOND / 10 * tenths;
        assert_eq!(sweeps, [tenths(1), tenths(21), tenths(41), tenths(61)]);
        assert_eq!(cache.len(), 0);
        assert!(runtime.polls() <= 6, "{} polls", runtime.polls());
        check(&cache, 0);
    });
}

#[test]
fn a_deadline_within_the_cleanup_interval_wakes_nobody_early() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().cleanup_interval(SECOND * 60).build().expect("valid");
        cache.entry(0).ttl(SECOND).insert(0);
        cache.entry(1).ttl(SECOND * 30).insert(1);
        time.advance(SECOND).await;
        assert_eq!(cache.len(), 1);
        let polls = runtime.polls();
        for key in 10..20 {
            cache.entry(key).ttl(SECOND).insert(key);
            settle(&time).await;
        }
        assert_eq!(runtime.polls(), polls);
        time.advance(SECOND * 59).await;
        assert_eq!(cache.len(), 11);
        time.advance(SECOND).await;
        assert_eq!(cache.len(), 0);
    });
}

#[test]
fn a_deadline_that_moved_later_is_honoured() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().ttl(SECOND * 10).build().expect("valid");
        cache.insert(1, 1);
        for round in 0..10 {
            time.advance(SECOND * 6).await;
            assert_eq!(cache.get(&1), Some(round + 1), "read after {round} rounds");
            cache.insert(1, round + 2);
            check(&cache, 0);
        }
        time.advance(Duration::new(9, 999_999_999)).await;
        assert_eq!(cache.len(), 1);
        time.advance(SECOND * 2).await;
        assert_eq!(cache.len(), 0);
        assert!(runtime.polls() <= 12, "{} polls", runtime.polls());
    });
}

#[test]
fn a_deadline_that_moved_to_never_is_honoured() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time.builder().build().expect("valid");
        cache.entry(1).ttl(SECOND).insert(1);
        cache.entry(1).ttl(Duration::MAX).insert(2);
        time.advance(HOUR * 24 * 400).await;
        assert_eq!(cache.get(&1), Some(2));
        cache.entry(1).ttl(SECOND).insert(3);
        time.advance(SECOND).await;
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    });
}

#[test]
fn a_sweep_goes_in_batches_and_lets_others_in() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache: Cache<u32, u32> = Cache::builder()
            .runtime(runtime.clone())
            .ttl(SECOND)
            .cleanup_interval(Duration::from_millis(1))
            .build()
            .expect("valid");
        let entries = 20_000;
        for key in 0..entries {
            cache.insert(key, key);
        }
        let seen = cache.clone();
        let length = move || seen.len();
        assert!(runtime.seen.length.set(Box::new(length)).is_ok());
        time.advance(SECOND).await;
        time.advance(Duration::from_millis(10)).await;
        assert_eq!(cache.len(), 0);
        let lengths = runtime.seen.lengths.lock().expect("lengths");
        let turns = lengths.windows(2).map(|turn| turn[0] - turn[1]);
        let most = turns.max().expect("some turns");
        assert!((1..=256).contains(&most), "{most} entries were removed in one turn");
    });
}

/// Lets other tasks run.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[test]
fn what_is_stored_while_a_sweep_is_under_way_is_swept_in_its_time() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(SECOND)
            .cleanup_interval(Duration::from_millis(1))
            .build()
            .expect("valid");
        for key in 0..2_000 {
            cache.insert(key, key);
        }
        let (runtime, inner, clock) = (time.runtime(), cache.clone(), time.runtime());
        runtime.spawn(Box::pin(async move {
            clock.sleep_until(clock.now() + SECOND).await;
            for key in 0..2_000 {
                inner.insert(key, key + 1);
                inner.entry(key + 5_000).ttl(SECOND * 3).insert(key);
                yield_now().await;
            }
        }));
        time.advance(SECOND).await;
        settle(&time).await;
        settle(&time).await;
        assert_eq!(cache.len(), 4_000);
        assert_eq!(cache.get(&7), Some(8));
        time.advance(SECOND).await;
        time.advance(Duration::from_millis(10)).await;
        assert_eq!(cache.len(), 2_000);
        time.advance(SECOND * 2).await;
        time.advance(Duration::from_millis(10)).await;
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    });
}

#[test]
fn the_task_ends_with_the_last_handle() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().ttl(HOUR).build().expect("valid");
        let value = Arc::new(());
        cache.insert(1, Arc::clone(&value));
        let other = cache.clone();
        settle(&time).await;
        drop(cache);
        settle(&time).await;
        assert_eq!((runtime.spawns(), runtime.ended()), (1, 0));
        drop(other);
        assert_eq!(Arc::strong_count(&value), 1, "freed at once");
        settle(&time).await;
        assert_eq!(runtime.ended(), 1);
    });
}

#[test]
fn the_task_ends_when_the_last_handle_goes_before_its_first_turn() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().ttl(HOUR).build().expect("valid");
        cache.insert(1, 1);
        drop(cache);
        settle(&time).await;
        assert_eq!((runtime.spawns(), runtime.ended()), (1, 1));
        assert_eq!(runtime.sleeps(), 0);
    });
}

/// Takes tasks, refuses them, or lets go of those it has, as it is told.
#[derive(Clone)]
struct Fickle {
    time: Manual,
    refuses: Arc<AtomicBool>,
    spawns: Arc<AtomicUsize>,
    lets_go: Arc<AtomicBool>,
}

impl Fickle {
    fn new() -> Self {
        let time = Manual::new();
        Self { time, refuses: Arc::default(), spawns: Arc::default(), lets_go: Arc::default() }
    }

    fn spawns(&self) -> usize {
        self.spawns.load(Ordering::SeqCst)
    }

    /// Drops the tasks it has when they are polled next, which is in a while.
    fn let_go(&self) {
        self.lets_go.store(true, Ordering::SeqCst);
    }
}

impl Spawner for Fickle {
    fn spawn(&self, task: Task) {
        self.spawns.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return;
        }
        let lets_go = Arc::clone(&self.lets_go);
        lets_go.store(false, Ordering::SeqCst);
        let mut task = Some(task);
        self.time.spawn(Box::pin(poll_fn(move |context| {
            if lets_go.load(Ordering::SeqCst) {
                task = None;
            }
            task.as_mut().map_or(std::task::Poll::Ready(()), |task| task.poll_unpin(context))
        })));
    }
}

impl Timer for Fickle {
    fn now(&self) -> Instant {
        self.time.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.time.sleep_until(deadline)
    }
}

#[test]
fn a_task_that_was_refused_is_tried_again_by_a_later_write() {
    let runtime = Fickle::new();
    runtime.refuses.store(true, Ordering::SeqCst);
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND).runtime(runtime.clone()).build().expect("valid");
    for key in 0..100 {
        cache.insert(key, key);
    }
    assert_eq!(runtime.spawns(), 1, "not tried again within the cleanup interval");
    runtime.time.advance(SECOND);
    for key in 0..100 {
        cache.insert(key, key);
    }
    assert_eq!(runtime.spawns(), 2);
    runtime.refuses.store(false, Ordering::SeqCst);
    runtime.time.advance(SECOND);
    cache.insert(0, 0);
    assert_eq!(runtime.spawns(), 3);
    runtime.time.advance(SECOND);
    assert_eq!(cache.len(), 0, "swept by the task that was taken at last");
    runtime.time.advance(HOUR);
    cache.insert(1, 1);
    runtime.time.advance(SECOND);
    assert_eq!((cache.len(), runtime.spawns()), (0, 3));
    check(&cache, 0);
}

#[test]
fn a_task_that_its_runtime_dropped_is_replaced_by_a_later_write() {
    let runtime = Fickle::new();
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND).runtime(runtime.clone()).build().expect("valid");
    for round in 1..=5 {
        cache.insert(1, 1);
        assert_eq!(runtime.spawns(), round);
        runtime.time.advance(SECOND);
        assert_eq!(cache.len(), 0);
        cache.insert(2, 2);
        runtime.let_go();
        runtime.time.advance(SECOND * 2);
        assert_eq!(cache.len(), 1, "nobody sweeps");
        assert_eq!(cache.get(&2), None);
    }
    check(&cache, 0);
}

#[test]
fn a_refused_task_leaves_cleaning_to_writes() {
    let runtime = Fickle::new();
    runtime.refuses.store(true, Ordering::SeqCst);
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND).runtime(runtime.clone()).build().expect("valid");
    for key in 0..1_000 {
        cache.insert(key, key);
    }
    runtime.time.advance(SECOND * 2);
    for key in 10_000..11_000 {
        cache.insert(key, key);
    }
    assert!(cache.len() <= 1_100, "{} are held", cache.len());
    check(&cache, 0);
}

/// Panics when it is dropped, if it is told to.
#[derive(Clone)]
struct Explosive {
    armed: Arc<AtomicBool>,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Explosive {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        let explodes = self.armed.load(Ordering::SeqCst) && !std::thread::panicking();
        assert!(!explodes, "this destructor panics");
    }
}

#[test]
fn destructors_that_panic_do_not_end_the_task() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache = runtime.builder().build().expect("valid");
        let value = Explosive { armed: Arc::default(), dropped: Arc::default() };
        let (armed, dropped) = (Arc::clone(&value.armed), Arc::clone(&value.dropped));
        let entries = 12;
        for key in 0..entries {
            // Some alone in their batch, some together.
            cache.entry(key).ttl(SECOND * 2 * (1 + key / 3)).insert(value.clone());
        }
        armed.store(true, Ordering::SeqCst);
        time.advance(SECOND * 10).await;
        assert_eq!((cache.len(), dropped.load(Ordering::SeqCst)), (0, entries as usize));
        assert_eq!((runtime.spawns(), runtime.ended()), (1, 0));
        armed.store(false, Ordering::SeqCst);
        cache.entry(1).ttl(SECOND).insert(value.clone());
        time.advance(SECOND * 2).await;
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    });
}

/// Does something when it is dropped.
#[derive(Clone)]
struct Reentrant(#[expect(dead_code, reason = "dropped with the last copy")] Arc<OnDrop>);

struct OnDrop(Box<dyn Fn() + Send + Sync>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Reentrant {
    fn new(on_drop: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(OnDrop(Box::new(on_drop))))
    }
}

#[test]
fn a_swept_values_destructor_may_use_the_cache() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, Reentrant> = time.builder().ttl(SECOND).build().expect("valid");
        let inner = cache.clone();
        let value = Reentrant::new(move || {
            inner.remove(&2);
            inner.entry(3).ttl(SECOND * 5).insert(Reentrant::new(|| ()));
            inner.cleanup();
            assert!(!inner.is_empty());
        });
        cache.insert(1, value);
        cache.entry(2).ttl(HOUR).insert(Reentrant::new(|| ()));
        time.advance(SECOND).await;
        assert_eq!(cache.len(), 1);
        assert!(cache.contains_key(&3));
        time.advance(SECOND * 5).await;
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    });
}

#[test]
fn a_swept_value_may_hold_the_last_handle_of_its_cache() {
    in_virtual_time(async |time| {
        let runtime = Watched::new(&time);
        let cache: Cache<u32, Reentrant> =
            Cache::builder().runtime(runtime.clone()).build().expect("valid");
        let freed = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&freed);
        let slot: Arc<OnceLock<Cache<u32, Reentrant>>> = Arc::default();
        assert!(slot.set(cache.clone()).is_ok(), "set once");
        let last = Mutex::new(Some(slot));
        let holder = Reentrant::new(move || drop(last.lock().expect("the slot").take()));
        cache.entry(1).ttl(SECOND).insert(holder);
        let told = Reentrant::new(move || tell.store(true, Ordering::SeqCst));
        cache.entry(2).ttl(HOUR).insert(told);
        drop(cache);
        settle(&time).await;
        assert!(!freed.load(Ordering::SeqCst), "the value keeps its cache");
        time.advance(SECOND).await;
        assert!(freed.load(Ordering::SeqCst), "freed by its own sweep");
        settle(&time).await;
        assert_eq!((runtime.spawns(), runtime.ended()), (1, 1));
    });
}

#[test]
fn a_swept_values_destructor_may_panic_on_the_last_handle() {
    let time = Manual::new();
    let cache: Cache<u32, Explosive> =
        Cache::builder().runtime(time.clone()).build().expect("valid");
    let value = Explosive { armed: Arc::default(), dropped: Arc::default() };
    cache.entry(1).ttl(HOUR).insert(value.clone());
    value.armed.store(true, Ordering::SeqCst);
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(cache)));
    assert!(dropped.is_err(), "the panic reaches whoever drops the last handle");
    time.advance(HOUR * 2);
    assert!(format!("{time:?}").contains("tasks: 0"), "the task has ended: {time:?}");
    value.armed.store(false, Ordering::SeqCst);
}

#[cfg(feature = "tokio")]
#[test]
fn paused_tokio_time_moves_on_by_itself_and_entries_expire_by_it() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("tokio starts");
    runtime.block_on(async {
        let tokio = fleeting::runtime::Tokio::current();
        let watched = Watched { runtime: Arc::new(tokio), seen: Arc::default() };
        let cache = watched.builder().build().expect("valid");
        for key in 1..=10 {
            cache.entry(key).ttl(SECOND * 60 * key).insert(key);
        }
        tokio::time::sleep(SECOND * 60 * 5 + SECOND).await;
        assert_eq!(cache.len(), 5);
        tokio::time::sleep(HOUR).await;
        assert_eq!(cache.len(), 0);
        tokio::time::sleep(HOUR * 24).await;
        assert!(watched.polls() <= 12, "{} polls", watched.polls());
        check(&cache, 0);
    });
}
