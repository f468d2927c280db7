//! Threads that end: what their thread-local values do when they are dropped.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::thread;
#[cfg(feature = "tokio")]
use std::time::Duration;
use std::time::Instant;

use fleeting::Cache;
use fleeting::runtime::{Spawner, Task, Timer};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::pending;

use crate::support::{check, poll_once};

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Calls a closure when it is dropped.
struct Last(Box<dyn FnMut()>);

impl Drop for Last {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs a thread that calls `last` when it ends, and calls `uses` before or after it sets that up: what
/// was set up later is dropped first.
fn at_the_end_of_a_thread(
    uses_it_first: bool,
    uses: impl Fn() + Send + 'static,
    last: impl FnMut() + Send + 'static,
) {
    let thread = thread::spawn(move || {
        if uses_it_first {
            uses();
        }
        LAST.set(Some(Last(Box::new(last))));
        uses();
    });
    thread.join().expect("the thread ends");
}

#[test]
fn a_thread_that_ends_can_wake_a_compute() {
    for uses_it_first in [true, false] {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let (sender, receiver) = oneshot::channel();
        let mut call = cache.get_or_compute(1, || receiver.map(|sent| sent.unwrap_or(7))).boxed();
        assert!(poll_once(&mut call).is_none());
        let (handle, mut sender) = (cache.clone(), Some(sender));
        let uses =
            move || assert_eq!(handle.refresh(100, || async { 100 }).now_or_never(), Some(100));
        at_the_end_of_a_thread(uses_it_first, uses, move || drop(sender.take()));
        assert_eq!(block_on(call), 7);
        check(&cache, 0);
    }
}

#[test]
fn a_thread_that_ends_can_compute() {
    for uses_it_first in [true, false] {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let (handle, last) = (cache.clone(), cache.clone());
        let uses =
            move || assert_eq!(handle.refresh(100, || async { 100 }).now_or_never(), Some(100));
        at_the_end_of_a_thread(uses_it_first, uses, move || {
            assert_eq!(last.get_or_compute(1, || async { 1 }).now_or_never(), Some(1));
        });
        assert_eq!(cache.get(&1), Some(1));
        check(&cache, 0);
    }
}

/// A runtime that keeps its tasks for those who run them by hand.
#[derive(Default)]
struct ByHand(Mutex<Vec<Task>>);

impl Spawner for ByHand {
    fn spawn(&self, task: Task) {
        self.0.lock().expect("no panic at the tasks").push(task);
    }
}

impl Timer for ByHand {
    fn sleep_until(&self, _: Instant) -> Task {
        pending().boxed()
    }
}

#[test]
fn a_thread_that_ends_can_close_a_cache() {
    for uses_it_first in [true, false] {
        let runtime = Arc::new(ByHand::default());
        let builder = Cache::builder().runtime(Arc::clone(&runtime));
        let cache: Cache<u32, u32> = builder.build().expect("valid settings");
        assert!(poll_once(&mut cache.entry(1).detached().get_or_compute(pending)).is_none());
        check(&cache, 1);
        let (tasks, last) = (Arc::clone(&runtime), cache.clone());
        let uses = move || {
            for task in &mut *tasks.0.lock().expect("no panic at the tasks") {
                assert!(poll_once(task).is_none(), "the compute goes on");
            }
        };
        at_the_end_of_a_thread(uses_it_first, uses, move || {
            let _ = last.close().now_or_never();
        });
        check(&cache, 0);
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_thread_that_ends_can_use_a_cache_on_tokio() {
    use fleeting::runtime::Tokio;

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for uses_it_first in [true, false] {
        let builder = Cache::builder().ttl(Duration::from_secs(5));
        let builder = builder.runtime(Tokio::from(runtime.handle().clone()));
        let cache: Cache<u32, u32> = builder.build().expect("valid settings");
        let (handle, last) = (cache.clone(), cache.clone());
        let uses = move || {
            handle.insert(1, 1);
        };
        let call = cache.clone();
        let mut call = Some(async move { call.get_or_compute(2, pending).await }.boxed());
        assert!(call.as_mut().is_some_and(|call| poll_once(call).is_none()));
        // tokio's own values of the thread are gone by then, or not.
        at_the_end_of_a_thread(uses_it_first, uses, move || {
            drop(call.take());
            last.insert(3, 3);
            assert_eq!(last.get(&1), Some(1));
        });
        assert_eq!(cache.get(&3), Some(3));
        check(&cache, 0);
    }
}
