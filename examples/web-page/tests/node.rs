//! The cache as it is in WebAssembly: its tests run in Node.js, by the real clock.
#![cfg(target_family = "wasm")]

use std::time::Duration;

use fleeting::runtime::{Instant, Manual, Timer};
use fleeting::{Cache, ComputeError};
use futures::future::{Either, FutureExt, join, join_all, select};
use wasm_bindgen_test::wasm_bindgen_test;
use web_page::{Browser, Texts};

const TTL: Duration = Duration::from_millis(20);

/// When to give up waiting: far more than it takes.
const LIMIT: Duration = Duration::from_secs(60);

async fn sleep(duration: Duration) {
    Browser.sleep_until(Instant::now() + duration).await;
}

/// Waits until something that cannot be waited for is so.
async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "not so after {LIMIT:?}");
        sleep(Duration::from_millis(1)).await;
    }
}

#[wasm_bindgen_test]
async fn a_second_call_hits_and_is_counted() {
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    assert_eq!(cache.get(&1), None);
    assert_eq!(cache.get_or_compute(1, || async { 10 }).await, 10);
    assert_eq!(cache.get_or_compute(1, || async { 20 }).await, 10);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.computes, stats.inserts), (1, 2, 1, 1));
}

#[wasm_bindgen_test]
async fn many_callers_share_one_compute() {
    let cache: Cache<u32, u32> = Cache::builder().runtime(Browser).build().expect("valid settings");
    let slow = |value| sleep(TTL).map(move |()| value);
    let callers = (0..10).map(|number| cache.get_or_compute(1, move || slow(number)));
    assert_eq!(join_all(callers).await, [0; 10]);
    let stats = cache.stats();
    assert_eq!((stats.computes, stats.coalesced), (1, 9));
    assert!(stats.compute_time >= TTL, "{:?}", stats.compute_time);
}

#[wasm_bindgen_test]
async fn a_value_expires_by_the_real_clock() {
    let cache: Cache<u32, u32> = Cache::builder().ttl(TTL).build().expect("valid settings");
    let begun = Instant::now();
    cache.insert(1, 10);
    until(|| cache.get(&1).is_none()).await;
    assert!(begun.elapsed() >= TTL, "{:?}", begun.elapsed());
}

#[wasm_bindgen_test]
async fn what_expired_is_freed_in_the_background() {
    let builder = Cache::builder().ttl(TTL).runtime(Browser);
    let cache: Cache<u32, u32> = builder.build().expect("valid settings");
    cache.insert(1, 10);
    cache.entry(2).ttl(Duration::MAX).insert(20);
    until(|| cache.len() == 1).await;
    assert_eq!(cache.stats().expirations, 1);
    assert_eq!(cache.get(&2), Some(20));
}

#[wasm_bindgen_test]
async fn a_compute_that_hangs_is_given_up() {
    let builder = Cache::builder().compute_timeout(TTL).runtime(Browser);
    let cache: Cache<u32, u32> = builder.build().expect("valid settings");
    let outcome = cache.try_get_or_compute(1, std::future::pending::<Result<u32, ()>>).await;
    assert!(matches!(outcome, Err(ComputeError::TimedOut)), "{outcome:?}");
}

#[wasm_bindgen_test]
fn a_test_can_move_the_time() {
    let time = Manual::new();
    let builder = Cache::builder().ttl(Duration::from_secs(3600)).runtime(time.clone());
    let cache: Cache<u32, u32> = builder.build().expect("valid settings");
    cache.insert(1, 10);
    time.advance(Duration::from_secs(3599));
    assert_eq!(cache.get(&1), Some(10));
    time.advance(Duration::from_secs(1));
    assert_eq!(cache.len(), 0);
}

#[wasm_bindgen_test]
async fn a_wait_of_a_month_does_not_end_at_once() {
    let month = Browser.sleep_until(Instant::now() + Duration::from_secs(30 * 24 * 3600));
    let ended_first = select(month, Box::pin(sleep(TTL))).await;
    assert!(matches!(ended_first, Either::Right(_)));
}

#[wasm_bindgen_test]
async fn the_page_asks_once_for_a_text() {
    let texts = Texts::new().expect("valid settings");
    let address = "data:text/plain,hello";
    let (first, second) = join(texts.read(address), texts.read(address)).await;
    assert_eq!((first.expect("a text"), second.expect("a text")), ("hello".into(), "hello".into()));
    assert_eq!(texts.read(address).await.expect("a text"), "hello");
    let stats = texts.stats();
    assert_eq!((stats.computes, stats.coalesced, stats.hits), (1, 1, 1));
}

#[wasm_bindgen_test]
async fn the_page_is_told_why_there_is_no_text() {
    let texts = Texts::new().expect("valid settings");
    let error = texts.read("data:no comma").await.expect_err("no such text");
    assert_eq!(error.to_string(), "fetch failed");
    assert_eq!(texts.stats().compute_failures, 1);
}

#[wasm_bindgen_test]
async fn the_script_of_the_page_is_handed_texts() {
    let text = web_page::read("data:,hello".to_owned()).await;
    assert_eq!(text.ok(), Some("hello".to_owned()));
    assert_eq!(web_page::summary(), "reads: 1, requests: 1");
}
