//! What a cache leaves behind on its runtime when it is closed or dropped: nothing.

use std::future::pending;
use std::time::Duration;

use fleeting::Cache;
use fleeting::runtime::Manual;

use crate::support::{check, poll_once};

const SECOND: Duration = Duration::from_secs(1);

/// A cache with a refresh, a detached compute and a sweeper under way, none of which ever ends.
fn busy(time: &Manual) -> Cache<u32, u32> {
    let builder = Cache::builder().ttl(60 * SECOND).refresh_after(SECOND);
    let cache = builder.runtime(time.clone()).build().expect("the settings are valid");
    cache.insert(1, 1);
    time.advance(2 * SECOND);
    assert_eq!(time.block_on(cache.get_or_compute(1, pending)), 1);
    let mut call = Box::pin(cache.entry(2).detached().get_or_compute(pending));
    assert_eq!(poll_once(&mut call), None);
    drop(call);
    time.advance(Duration::ZERO);
    check(&cache, 2);
    assert_eq!(tasks(time), 3);
    cache
}

/// How many tasks the runtime holds.
fn tasks(time: &Manual) -> usize {
    let told = format!("{time:?}");
    let (_, count) = told.split_once("tasks: ").expect("the number of tasks is told");
    count.trim_end_matches(" }").parse().expect("it is a number")
}

#[test]
fn a_closed_cache_leaves_no_task_behind() {
    let time = Manual::new();
    let cache = busy(&time);
    time.block_on(cache.close());
    assert_eq!(tasks(&time), 0);
    check(&cache, 0);
    assert_eq!(cache.get(&1), Some(1));
}

#[test]
fn a_dropped_cache_leaves_no_task_behind() {
    let time = Manual::new();
    drop(busy(&time));
    time.advance(Duration::ZERO);
    assert_eq!(tasks(&time), 0);
}

#[test]
fn a_scope_that_is_dropped_leaves_no_task_behind() {
    let time = Manual::new();
    let cache = busy(&time);
    let handle = cache.clone();
    let mut scope = Box::pin(cache.scope(async |_| pending::<()>().await));
    assert_eq!(poll_once(&mut scope), None);
    drop(scope);
    time.advance(Duration::ZERO);
    assert_eq!(tasks(&time), 0);
    check(&handle, 0);
}
