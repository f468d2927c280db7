//! Closing a cache, and scopes that do it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use fleeting::Cache;
use futures::executor::block_on;
use futures::future::{join_all, poll_fn};
use futures::{FutureExt, pin_mut};

use crate::runtimes::{in_time, ways_to_treat_a_task};
use crate::support::{Gate, Host, check, on_every_runtime, poll_once};

const SECOND: Duration = Duration::from_secs(1);

/// A cache whose background task is under way.
fn at_work(host: &Host) -> Cache<u32, u32> {
    let cache = host.builder().ttl(SECOND * 1000).build().expect("valid");
    cache.insert(1, 1);
    cache
}

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

async fn works_lazily(cache: &Cache<u32, u32>) {
    cache.insert(10_010, 1);
    assert_eq!(cache.insert(10_010, 2), Some(1));
    assert_eq!(cache.get(&10_010), Some(2));
    assert_eq!(cache.entry(10_011).ttl(Duration::ZERO).insert(1), None);
    assert_eq!(cache.get(&10_011), None);
    assert_eq!(cache.get_or_compute(10_012, || async { 3 }).await, 3);
    assert_eq!(cache.remove(&10_012), Some(3));
    cache.cleanup();
    check(cache, 0);
}

#[test]
fn values_stay_and_the_cache_goes_on_lazily() {
    on_every_runtime(async |host| {
        let cache = at_work(&host);
        cache.close().await;
        assert_eq!(cache.get(&1), Some(1));
        works_lazily(&cache).await;
        let other = cache.clone();
        drop(cache);
        works_lazily(&other).await;
    });
}

#[test]
fn closing_again_does_nothing() {
    on_every_runtime(async |host| {
        let cache = at_work(&host);
        for _ in 0..3 {
            cache.close().await;
            cache.clone().close().await;
            works_lazily(&cache).await;
        }
    });
}

#[test]
fn a_cache_may_be_closed_before_it_was_used() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().ttl(SECOND * 1000).build().expect("valid");
        cache.close().await;
        works_lazily(&cache).await;
    });
}

#[test]
fn concurrent_closes_all_end() {
    on_every_runtime(async |host| {
        for _ in 0..20 {
            let cache = at_work(&host);
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let cache = cache.clone();
                    host.spawn(async move { cache.close().await })
                })
                .collect();
            join_all((0..4).map(|_| cache.close())).await;
            join_all(tasks).await;
            works_lazily(&cache).await;
        }
    });
}

#[test]
fn closing_while_others_write_ends() {
    on_every_runtime(async |host| {
        for round in 0..10 {
            let cache = at_work(&host);
            let writer = cache.clone();
            let task = std::thread::spawn(move || {
                for key in 0..500 {
                    writer.entry(key).ttl(Duration::from_micros(u64::from(key))).insert(round);
                }
            });
            cache.close().await;
            task.join().expect("the writer does not panic");
            cache.close().await;
            works_lazily(&cache).await;
        }
    });
}

#[test]
fn a_close_that_is_dropped_half_way_can_be_repeated() {
    on_every_runtime(async |host| {
        let cache = at_work(&host);
        {
            let close = cache.close();
            pin_mut!(close);
            // Dropped after its first poll.
            let _ = poll_once(&mut close);
        }
        works_lazily(&cache).await;
        cache.close().await;
        works_lazily(&cache).await;
    });
}

#[test]
fn computes_go_on_through_a_close() {
    on_every_runtime(async |host| {
        let cache = at_work(&host);
        let gate = Gate::new();
        let (inner, passed) = (cache.clone(), gate.passed());
        let call = async move {
            let compute = || async {
                passed.await;
                5
            };
            inner.get_or_compute(2, compute).await
        };
        let mut call = Box::pin(call);
        assert_eq!(poll_once(&mut call), None);
        cache.close().await;
        check(&cache, 1);
        gate.open();
        assert_eq!(call.await, 5);
        assert_eq!(cache.get(&2), Some(5));
        check(&cache, 0);
    });
}

#[test]
fn close_never_hangs_on_a_runtime_that_mistreats_the_task() {
    in_time(|| {
        for (name, runtime) in ways_to_treat_a_task() {
            println!("a runtime that {name}");
            let clock = runtime.clock.clone();
            let cache = Cache::builder().ttl(SECOND).runtime(runtime).build().expect("valid");
            cache.insert(1, 1);
            block_on(cache.close());
            block_on(join_all([cache.close(), cache.close()]));
            assert_eq!(cache.get(&1), Some(1));
            clock.forward(SECOND);
            assert_eq!(cache.get(&1), None);
            block_on(works_lazily(&cache));
        }
    });
}

#[cfg(feature = "test-util")]
mod in_virtual_time {
    use super::{Arc, Cache, Duration, SECOND, block_on, check, in_time, poll_once};
    use crate::support::in_virtual_time;
    use fleeting::runtime::{Manual, Spawner, Task, Timer};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn after_a_close_nobody_sweeps_any_more() {
        in_virtual_time(async |time| {
            let cache: Cache<u32, u32> =
                time.builder().ttl(SECOND).max_size(100).build().expect("valid");
            cache.insert(1, 1);
            cache.close().await;
            cache.insert(2, 2);
            time.advance(SECOND * 60).await;
            assert_eq!(cache.len(), 2);
            assert_eq!((cache.get(&1), cache.len()), (None, 1), "what is read late is removed");
            cache.insert(3, 3);
            assert_eq!(cache.len(), 1, "a write cleans");
            time.advance(SECOND * 60).await;
            assert_eq!(cache.cleanup(), 1);
            check(&cache, 0);
        });
    }

    #[test]
    fn the_task_is_gone_when_close_returns() {
        let time = Manual::new();
        let cache: Cache<u32, u32> =
            Cache::builder().ttl(SECOND).runtime(time.clone()).build().expect("valid");
        cache.insert(1, 1);
        time.advance(Duration::ZERO);
        assert!(format!("{time:?}").contains("timers: 1, tasks: 1"), "{time:?}");
        time.block_on(cache.close());
        assert!(format!("{time:?}").contains("timers: 0, tasks: 0"), "{time:?}");
    }

    #[test]
    fn closing_needs_no_turn_of_a_runtime_that_stands_still() {
        in_time(|| {
            let time = Manual::new();
            let cache: Cache<u32, u32> =
                Cache::builder().ttl(SECOND).runtime(time.clone()).build().expect("valid");
            cache.insert(1, 1);
            time.advance(Duration::ZERO);
            // Nobody drives the tasks, and still it ends, and lets go of the timer.
            block_on(cache.close());
            assert!(format!("{time:?}").contains("timers: 0"), "{time:?}");
            time.advance(SECOND);
            assert!(format!("{time:?}").contains("tasks: 0"), "{time:?}");
            assert_eq!(cache.len(), 1);
        });
    }

    /// Counts spawns.
    struct Counting(Manual, Arc<AtomicUsize>);

    impl Spawner for Counting {
        fn spawn(&self, task: Task) {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.spawn(task);
        }
    }

    impl Timer for Counting {
        fn now(&self) -> std::time::Instant {
            self.0.now()
        }

        fn sleep_until(&self, deadline: std::time::Instant) -> Task {
            self.0.sleep_until(deadline)
        }
    }

    #[test]
    fn a_closed_cache_spawns_nothing() {
        for begins_before in [false, true] {
            let (time, spawns) = (Manual::new(), Arc::new(AtomicUsize::new(0)));
            let runtime = Counting(time.clone(), Arc::clone(&spawns));
            let cache: Cache<u32, u32> =
                Cache::builder().ttl(SECOND).runtime(runtime).build().expect("valid");
            if begins_before {
                cache.insert(0, 0);
            }
            let before = spawns.load(Ordering::SeqCst);
            time.block_on(cache.close());
            for key in 0..50 {
                cache.insert(key, key);
                time.advance(SECOND);
            }
            assert_eq!(spawns.load(Ordering::SeqCst), before);
        }
    }

    #[test]
    fn a_scope_that_is_dropped_half_way_stops_the_task() {
        let time = Manual::new();
        let cache: Cache<u32, u32> = Cache::builder()
            .ttl(SECOND)
            .max_size(100)
            .runtime(time.clone())
            .build()
            .expect("valid");
        let kept = cache.clone();
        let mut scope = Box::pin(cache.scope(async |cache| {
            cache.insert(1, 1);
            std::future::pending::<()>().await;
        }));
        assert_eq!(poll_once(&mut scope), None);
        time.advance(Duration::ZERO);
        drop(scope);
        time.advance(SECOND * 60);
        assert_eq!(kept.len(), 1, "nobody sweeps");
        assert!(format!("{time:?}").contains("timers: 0, tasks: 0"), "{time:?}");
        kept.insert(2, 2);
        time.advance(SECOND * 60);
        assert_eq!(kept.len(), 1, "closed for good");
    }

    #[test]
    fn a_scope_stops_the_task_when_it_ends_and_when_it_panics() {
        for panics in [false, true] {
            let time = Manual::new();
            let cache: Cache<u32, u32> =
                Cache::builder().ttl(SECOND).runtime(time.clone()).build().expect("valid");
            let kept = cache.clone();
            let scope = cache.scope(async |cache| {
                cache.insert(1, 1);
                super::yield_now().await;
                assert!(!panics, "this scope panics");
            });
            let outcome = time.block_on(super::caught(scope));
            assert_eq!(outcome.is_err(), panics);
            assert!(format!("{time:?}").contains("timers: 0, tasks: 0"), "{time:?}");
            kept.insert(2, 2);
            time.advance(SECOND * 60);
            assert_eq!(kept.len(), 2, "closed for good");
        }
    }
}

/// The outcome of a future, a panic included.
async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let outcome = AssertUnwindSafe(future).catch_unwind().await;
    outcome.map_err(|panic| (*panic.downcast_ref::<&str>().expect("a message")).to_owned())
}

#[test]
fn a_scope_returns_what_its_closure_returns() {
    on_every_runtime(async |host| {
        let cache = at_work(&host);
        let kept = cache.clone();
        let base = String::from("sum: ");
        let text = cache
            .scope(async |cache| {
                let computed = cache.get_or_compute(2, || async { 20 }).await;
                format!("{base}{}", computed + cache.get(&1).expect("was inserted"))
            })
            .await;
        assert_eq!(text, "sum: 21");
        assert_eq!(kept.get(&2), Some(20), "values stay");
        works_lazily(&kept).await;
    });
}

#[test]
fn a_scope_passes_errors_on() {
    on_every_runtime(async |host| {
        let outcome: Result<(), std::num::ParseIntError> = at_work(&host)
            .scope(async |cache| {
                cache.insert(1, "x".parse()?);
                Ok(())
            })
            .await;
        assert!(outcome.is_err());
    });
}

#[test]
fn a_panic_in_a_scope_comes_through_after_closing() {
    on_every_runtime(async |host| {
        let cache = at_work(&host);
        let kept = cache.clone();
        let scope = cache.scope(async |cache| {
            cache.insert(2, 2);
            yield_now().await;
            panic!("this scope panics");
        });
        let outcome: Result<(), String> = caught(scope).await;
        assert_eq!(outcome, Err("this scope panics".to_owned()));
        assert_eq!(kept.get(&2), Some(2));
        works_lazily(&kept).await;
    });
}

#[test]
fn a_closure_that_panics_before_it_returns_a_future_comes_through_too() {
    on_every_runtime(async |host| {
        let cache = at_work(&host);
        let kept = cache.clone();
        let run = |_: &Cache<u32, u32>| -> std::future::Ready<()> { panic!("no future") };
        assert_eq!(caught(cache.scope(run)).await, Err("no future".to_owned()));
        works_lazily(&kept).await;
    });
}

#[test]
fn a_scope_drops_its_handle() {
    on_every_runtime(async |host| {
        let value = Arc::new(());
        let cache: Cache<u32, Arc<()>> = host.builder().ttl(SECOND * 1000).build().expect("valid");
        cache.scope(async |cache| drop(cache.insert(1, Arc::clone(&value)))).await;
        assert_eq!(Arc::strong_count(&value), 1, "nobody else had the cache");
    });
}

#[test]
fn scopes_nest() {
    on_every_runtime(async |host| {
        let outer = at_work(&host);
        let inner = at_work(&host);
        let sum = outer
            .scope(async |outer| {
                let inner = inner.scope(async |inner| inner.get(&1).expect("is there")).await;
                inner + outer.get(&1).expect("is there")
            })
            .await;
        assert_eq!(sum, 2);
    });
}

#[test]
fn a_scope_may_close_by_itself() {
    on_every_runtime(async |host| {
        at_work(&host)
            .scope(async |cache| {
                cache.close().await;
                works_lazily(cache).await;
            })
            .await;
    });
}

#[test]
fn a_scope_can_be_spawned() {
    on_every_runtime(async |host| {
        let cache = at_work(&host);
        let add = 1;
        let task = cache.scope(async move |cache| {
            yield_now().await;
            cache.get_or_compute(7, || async { 41 }).await + add
        });
        assert_eq!(host.spawn(task).await, 42);
    });
}
