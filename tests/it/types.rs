//! What the public types are: `Send`, `Sync`, `Clone`, `Debug` and the like.

use std::cell::Cell;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::hash::RandomState;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fleeting::runtime::{Runtime, Spawner, Task, Timer};
use fleeting::{
    BuildError, Cache, CacheBuilder, ComputeError, DefaultHashBuilder, Entry, RemovalCause, Stats,
};
use static_assertions::{assert_impl_all, assert_not_impl_any, assert_obj_safe};

/// A key, or a value, that is no more than it must be.
#[derive(Hash, PartialEq, Eq)]
struct Key;

#[derive(Clone)]
struct Value;

assert_impl_all!(Cache<Key, Value>: Clone, Debug, Send, Sync, Unpin);
assert_impl_all!(Cache<Key, Value, RandomState>: Clone, Debug, Send, Sync, Unpin);
assert_not_impl_any!(Cache<Key, Value>: Copy);
assert_impl_all!(CacheBuilder<Key, Value>: Debug, Send, Sync, Unpin);
assert_impl_all!(CacheBuilder<Rc<()>, Cell<u8>>: Debug, Send, Sync, Unpin);
assert_impl_all!(BuildError: Clone, Debug, Display, Error, PartialEq, Eq, Send, Sync, Unpin);
assert_impl_all!(BuildError: UnwindSafe, RefUnwindSafe);
assert_impl_all!(Stats: Clone, Debug, Default, PartialEq, Eq, Send, Sync, Unpin);
assert_impl_all!(RemovalCause: Clone, Copy, Debug, PartialEq, Eq, std::hash::Hash, Send, Sync);
assert_impl_all!(Stats: UnwindSafe, RefUnwindSafe);
assert_impl_all!(DefaultHashBuilder: Clone, Debug, Default, Send, Sync, Unpin);
assert_impl_all!(Entry<'static, String, Value>: Debug, Send, Unpin);
assert_not_impl_any!(Entry<'static, String, Value>: Clone, Copy);

// Errors are shared between callers, so what is in them need not be `Clone`.
assert_impl_all!(ComputeError<std::io::Error>: Clone, Debug, Display, Error, Send, Sync, Unpin);
assert_impl_all!(ComputeError<Box<dyn Error + Send + Sync>>: Clone, Debug, Display, Send, Sync);
assert_not_impl_any!(ComputeError<Rc<()>>: Send, Sync);
assert_not_impl_any!(ComputeError<Key>: Display, Error);

assert_impl_all!(Task: Send, Unpin);
assert_obj_safe!(Spawner, Timer, Runtime);
assert_impl_all!(Arc<dyn Runtime>: Runtime, Spawner, Timer, Clone, Send, Sync);
assert_impl_all!(Arc<dyn Spawner>: Spawner);
assert_impl_all!(Arc<dyn Timer>: Timer);
assert_not_impl_any!(Arc<dyn Spawner>: Timer, Runtime);

#[cfg(feature = "tokio")]
mod tokio_adapter {
    use fleeting::runtime::{Runtime, Tokio};
    use static_assertions::{assert_impl_all, assert_not_impl_any};
    use std::fmt::Debug;

    assert_impl_all!(Tokio: Clone, Debug, From<tokio::runtime::Handle>, Runtime, Send, Sync, Unpin);
    assert_not_impl_any!(Tokio: Default);
}
#[cfg(feature = "smol")]
assert_impl_all!(fleeting::runtime::Smol: Clone, Copy, Debug, Default, Runtime, Send, Sync, Unpin);
#[cfg(feature = "async-std")]
assert_impl_all!(fleeting::runtime::AsyncStd: Clone, Copy, Debug, Default, Runtime, Send, Sync);
#[cfg(feature = "test-util")]
assert_impl_all!(fleeting::runtime::Manual: Clone, Debug, Default, Runtime, Send, Sync, Unpin);

/// Takes what a multi-threaded executor spawns.
fn spawnable<T>(future: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> {
    future
}

/// Takes what such an executor drives in place.
fn sendable<T>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> {
    future
}

#[test]
fn the_futures_of_all_calls_can_go_to_another_thread() {
    let cache: Cache<String, u32> = Cache::builder().build().expect("valid settings");
    futures::executor::block_on(async {
        assert_eq!(sendable(cache.get_or_compute("a".to_owned(), || async { 1 })).await, 1);
        let call = cache.try_get_or_compute("b".to_owned(), || async { Ok::<_, ()>(2) });
        assert_eq!(sendable(call).await.ok(), Some(2));
        assert_eq!(sendable(cache.entry("c".to_owned()).get_or_compute(|| async { 3 })).await, 3);
        assert_eq!(sendable(cache.entry_ref("d").get_or_compute(|| async { 4 })).await, 4);
        let options = cache.entry_ref("e").ttl_with(|value| Duration::from_secs((*value).into()));
        let call = options.try_get_or_compute(|| async { Ok::<_, String>(5) });
        assert_eq!(sendable(call).await.ok(), Some(5));
        sendable(cache.close()).await;
    });
    assert_eq!(cache.len(), 5);
}

#[test]
fn calls_can_be_spawned_with_a_handle_of_their_own() {
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let (one, two) = (cache.clone(), cache.clone());
    let spawned = [
        futures::FutureExt::boxed(spawnable_call(one)),
        futures::FutureExt::boxed(spawnable(async move { two.close().await })),
        futures::FutureExt::boxed(spawnable(cache.scope(async |cache| {
            cache.get_or_compute(2, || async { 2 }).await;
        }))),
    ];
    for future in spawned {
        futures::executor::block_on(future);
    }
}

async fn spawnable_call(cache: Cache<u32, u32>) {
    let call = async move { cache.get_or_compute(1, || async { 1 }).await };
    assert_eq!(spawnable(call).await, 1);
}

/// The call's future is as `Send` as the closure; only the compute must be.
#[test]
fn the_closure_that_makes_a_compute_need_not_be_send() {
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let local = Rc::new(Cell::new(0));
    let seen = Rc::clone(&local);
    let call = cache.get_or_compute(1, move || {
        seen.set(7);
        async { 1 }
    });
    assert_eq!(futures::executor::block_on(call), 1);
    assert_eq!(local.get(), 7);
}

#[test]
fn a_scope_may_hold_what_is_not_send() {
    let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
    let local = Rc::new(3);
    let output = futures::executor::block_on(cache.scope(async |cache| {
        cache.insert(1, 1);
        Rc::clone(&local)
    }));
    assert_eq!(*output, 3);
}

#[test]
fn closures_and_scopes_may_borrow() {
    let cache: Cache<String, usize> = Cache::builder().build().expect("valid settings");
    let text = String::from("borrowed");
    let output = futures::executor::block_on(async {
        let length = cache.get_or_compute(text.clone(), || {
            let length = text.len();
            async move { length }
        });
        length.await
    });
    assert_eq!(output, 8);
    let borrowed = &text;
    let scope = cache.scope(async |cache| cache.get(borrowed.as_str()));
    assert_eq!(futures::executor::block_on(scope), Some(8));
}

#[test]
fn a_key_need_be_neither_clone_nor_debug() {
    let cache: Cache<Key, Value> = Cache::builder().max_size(1).build().expect("valid settings");
    assert!(cache.insert(Key, Value).is_none());
    assert!(cache.get(&Key).is_some());
    futures::executor::block_on(cache.get_or_compute(Key, || async { Value }));
    assert!(cache.remove(&Key).is_some());
    assert!(format!("{cache:?}").contains("Cache"));
}

#[test]
fn keys_are_looked_up_by_what_they_lend() {
    let by_text: Cache<String, u32> = Cache::builder().build().expect("valid settings");
    by_text.insert("key".to_owned(), 1);
    assert_eq!(by_text.get("key"), Some(1));
    assert_eq!(by_text.get(&"key".to_owned()), Some(1));
    let by_bytes: Cache<Vec<u8>, u32> = Cache::builder().build().expect("valid settings");
    by_bytes.insert(vec![1, 2], 2);
    assert_eq!(by_bytes.get([1, 2].as_slice()), Some(2));
    let by_path: Cache<std::path::PathBuf, u32> = Cache::builder().build().expect("valid");
    by_path.entry_ref(std::path::Path::new("/tmp")).insert(3);
    assert_eq!(by_path.get(std::path::Path::new("/tmp")), Some(3));
    let by_pair: Cache<(u32, String), u32> = Cache::builder().build().expect("valid settings");
    by_pair.insert((1, "a".to_owned()), 4);
    assert_eq!(by_pair.get(&Pair(1, "a")), Some(4));
}

/// Looks a pair up without making the text owned.
#[derive(Hash)]
struct Pair<'a>(u32, &'a str);

impl fleeting::Equivalent<(u32, String)> for Pair<'_> {
    fn equivalent(&self, key: &(u32, String)) -> bool {
        (self.0, self.1) == (key.0, key.1.as_str())
    }
}

#[test]
fn a_cache_is_a_small_handle() {
    assert_eq!(size_of::<Cache<String, String>>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Cache<String, String>>>(), size_of::<usize>());
}
