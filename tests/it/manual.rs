//! Virtual time: the order of what happens in it, and what keeps it moving.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use fleeting::Cache;
use fleeting::runtime::{Manual, Spawner, Timer};
use futures::channel::oneshot;
use futures::future::poll_fn;

use crate::support::{check, poll_once};

const SECOND: Duration = Duration::from_secs(1);

/// What happened, and how long after the beginning.
#[derive(Clone)]
struct Log {
    time: Manual,
    begin: std::time::Instant,
    lines: Arc<Mutex<Vec<(u64, &'static str)>>>,
}

impl Log {
    fn new(time: &Manual) -> Self {
        Self { time: time.clone(), begin: time.now(), lines: Arc::default() }
    }

    fn note(&self, line: &'static str) {
        let seconds = self.time.now().duration_since(self.begin).as_secs();
        self.lines.lock().expect("the log").push((seconds, line));
    }

    fn lines(&self) -> Vec<(u64, &'static str)> {
        self.lines.lock().expect("the log").clone()
    }

    /// Spawns a task that sleeps for some seconds and then notes it.
    fn sleeper(&self, seconds: u32, line: &'static str) {
        let (log, sleep) = (self.clone(), self.sleep(seconds));
        self.time.spawn(Box::pin(async move {
            sleep.await;
            log.note(line);
        }));
    }

    fn sleep(&self, seconds: u32) -> fleeting::runtime::Task {
        self.time.sleep_until(self.time.now() + SECOND * seconds)
    }
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn time_stands_still_until_it_is_advanced() {
    let time = Manual::new();
    let begin = time.now();
    std::thread::yield_now();
    assert_eq!(time.now(), begin);
    time.advance(Duration::ZERO);
    assert_eq!(time.now(), begin);
    time.advance(Duration::from_nanos(1));
    assert_eq!(time.now(), begin + Duration::from_nanos(1));
    assert!(!time.is_system_clock());
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines_at_those_moments() {
    let time = Manual::new();
    let log = Log::new(&time);
    for (seconds, line) in [(3, "third"), (1, "first"), (5, "late"), (2, "second")] {
        log.sleeper(seconds, line);
    }
    time.advance(SECOND * 4);
    assert_eq!(log.lines(), [(1, "first"), (2, "second"), (3, "third")]);
    time.advance(SECOND);
    assert_eq!(log.lines().last(), Some(&(5, "late")));
}

#[test]
fn sleepers_of_one_deadline_wake_in_the_order_in_which_they_began_to_wait() {
    let time = Manual::new();
    let log = Log::new(&time);
    for line in ["a", "b", "c"] {
        log.sleeper(1, line);
    }
    time.advance(SECOND);
    assert_eq!(log.lines(), [(1, "a"), (1, "b"), (1, "c")]);
}

#[test]
fn sleeps_that_begin_on_the_way_are_honoured() {
    let time = Manual::new();
    let log = Log::new(&time);
    let chain = log.clone();
    time.spawn(Box::pin(async move {
        for line in ["one", "two", "three", "four"] {
            chain.sleep(1).await;
            chain.note(line);
        }
    }));
    time.advance(SECOND * 3);
    assert_eq!(log.lines(), [(1, "one"), (2, "two"), (3, "three")]);
    time.advance(Duration::from_nanos(999_999_999));
    assert_eq!(log.lines().len(), 3);
    time.advance(Duration::from_nanos(1));
    assert_eq!(log.lines().len(), 4);
}

#[test]
fn a_deadline_that_is_past_does_not_wait() {
    let time = Manual::new();
    let now = time.now();
    assert_eq!(poll_once(&mut time.sleep_until(now)), Some(()));
    time.advance(SECOND);
    assert_eq!(poll_once(&mut time.sleep_until(now)), Some(()));
}

#[test]
fn a_sleep_waits_for_nothing_until_it_is_polled_and_after_it_is_dropped() {
    let time = Manual::new();
    let mut sleep = time.sleep_until(time.now() + SECOND);
    assert!(format!("{time:?}").contains("timers: 0"));
    assert_eq!(poll_once(&mut sleep), None);
    assert_eq!(poll_once(&mut sleep), None);
    assert!(format!("{time:?}").contains("timers: 1"));
    drop(sleep);
    assert!(format!("{time:?}").contains("timers: 0"));
    time.advance(SECOND * 2);
}

#[test]
fn a_sleep_is_woken_by_the_waker_that_it_was_polled_with_last() {
    let time = Manual::new();
    let mut sleep = time.sleep_until(time.now() + SECOND);
    assert_eq!(poll_once(&mut sleep), None);
    let log = Log::new(&time);
    let moved = log.clone();
    time.spawn(Box::pin(async move {
        sleep.await;
        moved.note("awake");
    }));
    time.advance(SECOND);
    assert_eq!(log.lines(), [(1, "awake")]);
}

#[test]
fn a_sleep_outlives_its_clock_and_never_ends() {
    let time = Manual::new();
    let mut polled = time.sleep_until(time.now() + SECOND);
    assert_eq!(poll_once(&mut polled), None);
    let mut unpolled = time.sleep_until(time.now());
    drop(time);
    assert_eq!(poll_once(&mut polled), None);
    assert_eq!(poll_once(&mut unpolled), None);
}

#[test]
fn an_advance_inside_another_moves_the_time_once() {
    let time = Manual::new();
    let log = Log::new(&time);
    log.sleeper(3, "between");
    log.sleeper(20, "after");
    let inner = log.clone();
    time.spawn(Box::pin(async move {
        inner.sleep(1).await;
        inner.time.advance(SECOND * 10);
        inner.note("nested");
        inner.sleep(2).await;
        inner.note("slept on");
    }));
    time.advance(SECOND * 5);
    assert_eq!(log.lines(), [(3, "between"), (11, "nested")]);
    assert_eq!(time.now(), log.begin + SECOND * 11, "time does not go back to the outer end");
    time.advance(SECOND * 9);
    assert_eq!(log.lines()[2..], [(13, "slept on"), (20, "after")]);
}

#[test]
fn a_task_that_is_woken_while_it_advances_the_time_has_another_turn() {
    let time = Manual::new();
    let turns = Arc::new(AtomicUsize::new(0));
    let (clock, seen) = (time.clone(), Arc::clone(&turns));
    let mut sleep = time.sleep_until(time.now() + SECOND);
    time.spawn(Box::pin(poll_fn(move |context| {
        if seen.fetch_add(1, Ordering::SeqCst) > 0 {
            return Poll::Ready(());
        }
        assert!(sleep.as_mut().poll(context).is_pending());
        // Rings this very task.
        clock.advance(SECOND);
        Poll::Pending
    })));
    time.advance(Duration::ZERO);
    assert_eq!(turns.load(Ordering::SeqCst), 2);
}

#[test]
fn advancing_runs_what_was_ready_before() {
    let time = Manual::new();
    let log = Log::new(&time);
    let inner = log.clone();
    time.spawn(Box::pin(async move { inner.note("ran") }));
    assert_eq!(log.lines(), []);
    time.advance(SECOND * 7);
    assert_eq!(log.lines(), [(0, "ran")]);
}

#[test]
fn tasks_may_spawn_tasks() {
    fn spawn_chain(time: &Manual, left: usize, count: &Arc<AtomicUsize>) {
        let (clock, counter) = (time.clone(), Arc::clone(count));
        time.spawn(Box::pin(async move {
            counter.fetch_add(1, Ordering::SeqCst);
            if left > 0 {
                spawn_chain(&clock, left - 1, &counter);
            }
        }));
    }
    let time = Manual::new();
    let count = Arc::new(AtomicUsize::new(0));
    spawn_chain(&time, 999, &count);
    time.advance(Duration::ZERO);
    assert_eq!(count.load(Ordering::SeqCst), 1000);
    assert!(format!("{time:?}").contains("tasks: 0"));
}

#[test]
fn a_task_that_wakes_itself_runs_on_within_one_advance() {
    let time = Manual::new();
    let log = Log::new(&time);
    let inner = log.clone();
    time.spawn(Box::pin(async move {
        for _ in 0..100 {
            yield_now().await;
        }
        inner.note("done");
    }));
    time.advance(Duration::ZERO);
    assert_eq!(log.lines(), [(0, "done")]);
}

#[test]
fn several_wakes_before_a_turn_make_one_turn() {
    let time = Manual::new();
    let polls = Arc::new(AtomicUsize::new(0));
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let (count, keep) = (Arc::clone(&polls), Arc::clone(&slot));
    time.spawn(Box::pin(poll_fn(move |context| {
        count.fetch_add(1, Ordering::SeqCst);
        *keep.lock().expect("the waker") = Some(context.waker().clone());
        Poll::Pending
    })));
    time.advance(Duration::ZERO);
    let waker = slot.lock().expect("the waker").clone().expect("was polled");
    for _ in 0..10 {
        waker.wake_by_ref();
    }
    time.advance(Duration::ZERO);
    assert_eq!(polls.load(Ordering::SeqCst), 2);
}

#[test]
fn a_wake_after_the_tasks_end_does_nothing() {
    let time = Manual::new();
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let keep = Arc::clone(&slot);
    time.spawn(Box::pin(poll_fn(move |context| {
        let before = keep.lock().expect("the waker").replace(context.waker().clone());
        assert!(before.is_none(), "polled once only");
        Poll::Ready(())
    })));
    time.advance(Duration::ZERO);
    let waker = slot.lock().expect("the waker").take().expect("was polled");
    waker.wake_by_ref();
    time.advance(SECOND);
    drop(time);
    waker.wake();
}

#[test]
fn wakes_come_from_any_thread() {
    let time = Manual::new();
    let log = Log::new(&time);
    let (sender, receiver) = oneshot::channel();
    let inner = log.clone();
    time.spawn(Box::pin(async move {
        let line = receiver.await.expect("sent");
        inner.note(line);
    }));
    time.advance(SECOND);
    std::thread::spawn(move || sender.send("from afar")).join().expect("no panic").expect("sent");
    assert_eq!(log.lines(), [], "tasks run only when they are driven");
    time.advance(Duration::ZERO);
    assert_eq!(log.lines(), [(1, "from afar")]);
}

#[test]
fn tasks_may_be_spawned_from_any_thread() {
    let time = Manual::new();
    let count = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (time, count) = (time.clone(), Arc::clone(&count));
            std::thread::spawn(move || {
                for _ in 0..100 {
                    let count = Arc::clone(&count);
                    time.spawn(Box::pin(async move { _ = count.fetch_add(1, Ordering::SeqCst) }));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
    time.advance(Duration::ZERO);
    assert_eq!(count.load(Ordering::SeqCst), 400);
}

#[test]
fn block_on_returns_what_the_future_yields_and_runs_tasks_beside_it() {
    let time = Manual::new();
    let (sender, receiver) = oneshot::channel();
    time.spawn(Box::pin(async move {
        yield_now().await;
        sender.send(7).expect("the future waits");
    }));
    let begin = time.now();
    let text = String::from("borrowed, and not Send: ");
    let shared = std::rc::Rc::new(text.as_str());
    let output = time.block_on(async { format!("{shared}{}", receiver.await.expect("sent")) });
    assert_eq!(output, "borrowed, and not Send: 7");
    assert_eq!(time.now(), begin, "the clock stands still");
}

#[test]
fn block_on_lets_the_future_advance_the_time() {
    let time = Manual::new();
    let log = Log::new(&time);
    log.sleeper(2, "task");
    time.block_on(async {
        let sleep = log.sleep(3);
        let advance = async { time.advance(SECOND * 3) };
        futures::join!(sleep, advance);
        log.note("future");
    });
    assert_eq!(log.lines(), [(2, "task"), (3, "future")]);
}

#[test]
fn block_on_may_be_called_inside_block_on() {
    let time = Manual::new();
    let output = time.block_on(async {
        let inner = time.block_on(async {
            yield_now().await;
            20
        });
        yield_now().await;
        inner + 1
    });
    assert_eq!(output, 21);
}

#[test]
fn block_on_panics_with_its_sentence_when_nothing_can_make_progress() {
    let time = Manual::new();
    let log = Log::new(&time);
    log.sleeper(1, "first");
    log.sleeper(2, "second");
    let blocked = catch_unwind(AssertUnwindSafe(|| time.block_on(pending::<()>())));
    let panic = blocked.expect_err("it cannot go on");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("Manual::block_on: nothing can make progress"), "{message}");
    assert!(message.contains("2 timers wait for `advance`"), "{message}");
    // It is none the worse for it.
    time.advance(SECOND * 2);
    assert_eq!(log.lines(), [(1, "first"), (2, "second")]);
    assert_eq!(time.block_on(async { 1 }), 1);
}

#[test]
fn a_panic_in_a_task_reaches_the_caller_and_spares_the_others() {
    let time = Manual::new();
    let log = Log::new(&time);
    time.spawn(Box::pin(async { panic!("this task panics") }));
    let inner = log.clone();
    time.spawn(Box::pin(async move { inner.note("spared") }));
    let outcome = catch_unwind(AssertUnwindSafe(|| time.advance(Duration::ZERO)));
    let panic = outcome.expect_err("the panic comes through");
    assert_eq!(panic.downcast_ref(), Some(&"this task panics"));
    time.advance(Duration::ZERO);
    assert_eq!(log.lines(), [(0, "spared")]);
}

#[test]
fn dropping_the_last_clone_frees_the_tasks() {
    let time = Manual::new();
    let other = time.clone();
    let held = Arc::new(());
    let (sender, receiver) = oneshot::channel::<()>();
    let (waits, sleeps, unpolled) = (Arc::clone(&held), Arc::clone(&held), Arc::clone(&held));
    time.spawn(Box::pin(async move {
        let _ = receiver.await;
        drop(waits);
    }));
    let sleep = time.sleep_until(time.now() + SECOND);
    time.spawn(Box::pin(async move {
        sleep.await;
        drop(sleeps);
    }));
    time.advance(Duration::ZERO);
    time.spawn(Box::pin(async move { drop(unpolled) }));
    drop(time);
    assert_eq!(Arc::strong_count(&held), 4, "a clone is left");
    drop(other);
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(sender.is_canceled());
}

#[test]
fn clones_share_one_clock_and_one_set_of_tasks() {
    let time = Manual::new();
    let log = Log::new(&time);
    log.sleeper(1, "task");
    let clone = time.clone();
    clone.advance(SECOND);
    assert_eq!(time.now(), clone.now());
    assert_eq!(log.lines(), [(1, "task")]);
    assert_eq!(Manual::default().block_on(async { 3 }), 3);
}

#[test]
fn its_debug_output_tells_the_time_and_what_waits() {
    let time = Manual::new();
    time.advance(SECOND * 90);
    let log = Log::new(&time);
    log.sleeper(1, "task");
    time.advance(Duration::ZERO);
    assert_eq!(format!("{time:?}"), "Manual { elapsed: 90s, timers: 1, tasks: 1 }");
}

#[test]
fn advancing_past_the_end_of_time_is_cut_short() {
    let time = Manual::new();
    let log = Log::new(&time);
    log.sleeper(100, "long before");
    for _ in 0..3 {
        let before = time.now();
        time.advance(Duration::MAX);
        assert!(time.now() >= before);
    }
    assert_eq!(log.lines(), [(100, "long before")]);
    assert!(time.now() > log.begin + SECOND * u32::MAX);
    time.advance(SECOND);
}

#[test]
fn a_cache_outlives_the_end_of_time() {
    let time = Manual::new();
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND * 60).runtime(time.clone()).build().expect("valid");
    cache.insert(1, 1);
    cache.entry(2).ttl(Duration::MAX).insert(2);
    time.advance(Duration::MAX);
    assert_eq!((cache.get(&1), cache.get(&2)), (None, Some(2)));
    assert_eq!(cache.len(), 1);
    cache.insert(3, 3);
    time.advance(Duration::MAX);
    time.block_on(cache.get_or_compute(4, || async { 4 }));
    check(&cache, 0);
    time.block_on(cache.close());
}

#[test]
fn one_manual_serves_many_caches() {
    let time = Manual::new();
    let caches: Vec<Cache<u32, u32>> = (1..=50)
        .map(|seconds| {
            let builder = Cache::builder().ttl(SECOND * seconds);
            builder.runtime(time.clone()).build().expect("valid")
        })
        .collect();
    for cache in &caches {
        cache.insert(1, 1);
    }
    for expired in 1..=50 {
        time.advance(SECOND);
        assert_eq!(caches.iter().filter(|cache| cache.is_empty()).count(), expired);
    }
    drop(caches);
    time.advance(Duration::ZERO);
    assert!(format!("{time:?}").contains("timers: 0, tasks: 0"), "{time:?}");
}

#[test]
fn a_cache_keeps_its_clock_when_the_test_lets_go_of_it() {
    let time = Manual::new();
    let ended = Arc::new(AtomicBool::new(false));
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND).runtime(time.clone()).build().expect("valid");
    let tell = Arc::clone(&ended);
    time.spawn(Box::pin(async move {
        tell.store(true, Ordering::SeqCst);
    }));
    drop(time);
    cache.insert(1, 1);
    assert_eq!(cache.get(&1), Some(1));
    drop(cache);
    assert!(!ended.load(Ordering::SeqCst), "freed, not run");
    assert_eq!(Arc::strong_count(&ended), 1);
}
