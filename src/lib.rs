//! An asynchronous in-memory cache with time-to-live, for any runtime.
//!
//! Programs repeat expensive operations: calls of other services, queries, computations. This cache
//! gives back the stored result in nanoseconds, or lets one caller compute it while all others
//! who want it wait for the same outcome.
//!
//! - [Usage](#usage)
//! - [Choosing the TTL and the size](#choosing-the-ttl-and-the-size), and
//!   [what to keep](#choosing-what-to-keep)
//! - [Computing what is missing](#computing-what-is-missing)
//! - [When values leave](#when-values-leave)
//! - [Staying fresh](#staying-fresh)
//! - [When computes fail, hang or swarm](#when-computes-fail-hang-or-swarm)
//! - [Many keys at once](#many-keys-at-once)
//! - [Runtimes](#runtimes) and [without a runtime](#without-a-runtime)
//! - [Embedding it in a library](#embedding-it-in-a-library)
//! - [Testing with virtual time](#testing-with-virtual-time)
//! - [Guarantees](#guarantees)
//! - [Performance](#performance)
//! - [Features](#features)
//!
//! # Usage
//!
//! ```
//! use std::time::Duration;
//! use fleeting::Cache;
//!
//! async fn load_name(id: u64) -> String {
//!     format!("user {id}") // A query, say.
//! }
//!
//! # futures::executor::block_on(async {
//! let cache: Cache<u64, String> = Cache::builder()
//!     .ttl(Duration::from_secs(300))
//!     .max_size(1000)
//!     .build()?;
//!
//! // Computed once, however many ask at the same time.
//! let name = cache.get_or_compute(7, || load_name(7)).await;
//! assert_eq!(name, "user 7");
//!
//! // Plain reads and writes never wait, so they need no `await`.
//! assert_eq!(cache.get(&7), Some("user 7".to_owned()));
//! cache.insert(8, "somebody".to_owned());
//! cache.remove(&7);
//! # Ok::<(), fleeting::BuildError>(())
//! # }).unwrap();
//! ```
//!
//! A [`Cache`] is a cheap handle: clone it into every task that needs it. Values are cloned out, so
//! wrap what is expensive to clone in an [`Arc`](std::sync::Arc). Keys are looked up by anything
//! that is [`Equivalent`] to them: a `Cache<String, _>` by `&str`.
//!
//! # Choosing the TTL and the size
//!
//! The TTL is how stale a value may be. Start from what the reader tolerates, not from what makes
//! the hit rate look good, and then let the numbers speak: [`Cache::stats`] tells hits, misses, the
//! [hit rate](Stats::hit_rate) and the [mean time of a compute](Stats::mean_compute_time).
//!
//! - Many [`expirations`](Stats::expirations), few [`evictions`](Stats::evictions): the TTL limits
//!   the hit rate.
//! - Many evictions: the size does, or [what is kept](#choosing-what-to-keep).
//! - Many [`coalesced`](Stats::coalesced) misses: callers come in herds, which the cache holds off.
//!
//! One call can choose another TTL, also from the value itself:
//!
//! ```
//! # use std::time::Duration;
//! # use fleeting::Cache;
//! #[derive(Clone)]
//! struct Token { text: String, valid_for: Duration }
//! # async fn sign_in() -> Token { Token { text: "t".into(), valid_for: Duration::from_secs(60) } }
//!
//! # futures::executor::block_on(async {
//! # let cache: Cache<String, Token> = Cache::builder().build().unwrap();
//! let token = cache
//!     .entry("service".to_owned())
//!     .ttl_with(|token: &Token| token.valid_for)
//!     .get_or_compute(sign_in)
//!     .await;
//! # assert_eq!(token.text, "t");
//! # });
//! ```
//!
//! [`CacheBuilder::expiry`] does so for the whole cache, and [`CacheBuilder::ttl_jitter`] keeps what was
//! stored together from expiring together. What is left of a TTL can be [read](Cache::remaining_ttl) and
//! [changed](Cache::set_ttl), and so can [the bound](Cache::set_max_size).
//!
//! A TTL bounds how old a value gets, however much it is used. To let go of what nobody uses, as with
//! sessions, there is [`CacheBuilder::tti`]: a value is fresh for this long since it was last read or
//! written. Set it beside a TTL if values change at their source, because reads alone would keep an old one
//! for ever; whichever ends first counts.
//!
//! A TTL counts from the moment the value is stored, by the monotonic clock, which stands still
//! while the machine is suspended on some systems (Linux and macOS among them). It is exact to the
//! nanosecond, but one of a minute or more may end some milliseconds early on Linux, by a tick of the
//! kernel's clock: never late.
//!
//! # Choosing what to keep
//!
//! A new entry in a full cache takes the place of one that has expired, or else of one that the
//! [`Policy`] chooses. First in, first out is the default: the cheapest, and as good as any while what
//! expires makes the room. Where evictions are many, another policy can be worth more than a cache of
//! twice the size, as on one trace of a database, where FIFO hits 37 % with 2,000 entries and S3-FIFO 41 %
//! with 1,000:
//!
//! | | goes first | hit ratio | a hit | an insert that evicts |
//! |---|---|--:|--:|--:|
//! | [`Fifo`](Policy::Fifo) | what was stored first | 32.8 % | 146 | 533 |
//! | [`Lru`](Policy::Lru) | what was used least recently | 34.5 % | 333 | 640 |
//! | [`Sieve`](Policy::Sieve) | the oldest that was not used lately | 32.9 % | 158 | 673 |
//! | [`S3Fifo`](Policy::S3Fifo) | what is new and not used again soon | 38.2 % | 158 | 778 |
//! | [`TinyLfu`](Policy::TinyLfu) | what was used less often | 41.6 % | 184 | 1327 |
//! | [`Adaptive`](Policy::Adaptive) | what would hit least, by trial | 43.0 % | 183 | 1902 |
//!
//! Hit ratios: the mean over 20 recorded traces of databases, disks, web sites and others, each at several
//! sizes (the best of six other caches has 38.7 %, and no cache could have more than 49.8 %). Costs:
//! instructions of one call, of which some ten are a nanosecond as long as nothing waits for memory. Take
//! [`Adaptive`](Policy::Adaptive) where a miss costs microseconds or more, and [`Sieve`](Policy::Sieve) or
//! [`S3Fifo`](Policy::S3Fifo) where it costs less. `cargo run --release -p replay -- tune FILE` in the
//! repository tells what your own traffic would hit, from an access log.
//!
//! Where entries differ in size, bound what they weigh together instead of their number, or both:
//!
//! ```
//! # use fleeting::{Cache, Policy};
//! let pages: Cache<String, Vec<u8>> = Cache::builder()
//!     .max_weight(256 << 20) // bytes
//!     .weigher(|url: &String, page: &Vec<u8>| (url.len() + page.len() + 64) as u64)
//!     .policy(Policy::Adaptive)
//!     .build()?;
//! # Ok::<(), fleeting::BuildError>(())
//! ```
//!
//! # Computing what is missing
//!
//! [`Cache::get_or_compute`] and [`Cache::try_get_or_compute`] run at most one compute for a key at
//! a time. All callers that are waiting drive it together, so it goes on as long as one of them is
//! polled; when the last one is dropped, so is the compute. A write to the key meanwhile
//! ([`insert`](Cache::insert), [`remove`](Cache::remove), [`clear`](Cache::clear)) wins: the
//! compute's outcome goes to the callers that were waiting, and is not stored.
//!
//! Errors are not stored, and come as [`ComputeError::Failed`] to all who waited:
//!
//! ```
//! # use fleeting::{Cache, ComputeError};
//! # futures::executor::block_on(async {
//! # let cache: Cache<String, u32> = Cache::builder().build().unwrap();
//! let port = cache
//!     .try_get_or_compute("PORT".to_owned(), || async { "http".parse::<u32>() })
//!     .await;
//! match port {
//!     Ok(port) => println!("port {port}"),
//!     Err(ComputeError::Failed(error)) => println!("no number: {error}"),
//!     Err(other) => println!("no answer: {other}"),
//! }
//! # });
//! ```
//!
//! That there is nothing is a result too: make the value an `Option`, and let its TTL depend on which it
//! is.
//!
//! ```
//! # use std::time::Duration;
//! # use fleeting::Cache;
//! # async fn find_user(_: u64) -> Option<String> { None }
//! # futures::executor::block_on(async {
//! # let cache: Cache<u64, Option<String>> = Cache::builder().build().unwrap();
//! let user = cache
//!     .entry(7)
//!     .ttl_with(|user: &Option<_>| Duration::from_secs(if user.is_some() { 300 } else { 10 }))
//!     .get_or_compute(|| find_user(7))
//!     .await;
//! # assert_eq!(user, None);
//! # });
//! ```
//!
//! [`Entry::keep_if`] keeps a value out of the cache altogether, and [`Entry::detached`] lets a compute
//! go on when all its callers have left.
//!
//! # When values leave
//!
//! A listener is told of each value that has left, once, with its key and the [cause](RemovalCause): to give
//! back what it stands for, to pass it on to a slower store, or to count. It runs under no lock, on the
//! thread that removed something or that tells already; what takes long belongs into a channel. See
//! [`CacheBuilder::on_removal`] for what it may rely on.
//!
//! ```
//! # use std::path::PathBuf;
//! use std::sync::mpsc;
//! use fleeting::Cache;
//!
//! let (sender, unused) = mpsc::channel();
//! let downloads: Cache<String, PathBuf> = Cache::builder()
//!     .max_size(1)
//!     .on_removal(move |_url, path, _cause| drop(sender.send(path)))
//!     .build()?;
//!
//! downloads.insert("https://a.example".to_owned(), PathBuf::from("/tmp/1"));
//! downloads.insert("https://b.example".to_owned(), PathBuf::from("/tmp/2"));
//! // Elsewhere, files are deleted whose paths come out here.
//! assert_eq!(unused.recv(), Ok(PathBuf::from("/tmp/1")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Staying fresh
//!
//! When the value of a popular key expires, all who want it wait for the next one. These settings renew
//! it before that, or after, while the old one is still handed out:
//!
//! | setting | a compute call that finds | gets |
//! |---|---|---|
//! | [`refresh_after`](CacheBuilder::refresh_after) | a fresh value older than this | it, and renews it |
//! | [`early_refresh`](CacheBuilder::early_refresh) | a fresh value near its deadline | it, and by chance renews it |
//! | [`stale_while_revalidate`](CacheBuilder::stale_while_revalidate) | a value past its TTL, up to this long | it, and renews it |
//!
//! A value is renewed once at a time, in the background if there is a runtime, and else inside the call
//! that found it old. [`Cache::refresh`] renews it when you say so. Where the old value helps to make the
//! new one, as an `ETag` does, [`Entry::get_or_revalidate`] hands it to the compute. Only compute calls
//! are given values past their TTL, and only so far: [`Cache::get`] and the others never are.
//!
//! ```
//! # use std::time::Duration;
//! # use fleeting::Cache;
//! # let builder: fleeting::CacheBuilder<u64, String> = Cache::builder();
//! let cache = builder
//!     .ttl(Duration::from_secs(300))
//!     .refresh_after(Duration::from_secs(240))
//!     .stale_while_revalidate(Duration::from_secs(30))
//!     .build()?;
//! # Ok::<(), fleeting::BuildError>(())
//! ```
//!
//! # When computes fail, hang or swarm
//!
//! - [`stale_if_error`](CacheBuilder::stale_if_error): for this long past its TTL, a value stands in when
//!   the compute fails. An outage goes unnoticed.
//! - [`error_ttl`](CacheBuilder::error_ttl): a failure is told to all who ask in this time, without a new
//!   compute. A service that is down is not asked again for each request.
//! - [`stale_if_slow`](CacheBuilder::stale_if_slow): a caller waits no longer than this while a stale value is
//!   there; the compute goes on and fills the cache.
//! - [`compute_timeout`](CacheBuilder::compute_timeout) and [`Entry::timeout`]: a compute that takes
//!   longer is dropped, and its key is free for the next. Use one of them wherever a compute could hang:
//!   else the key's callers hang with it.
//! - [`max_concurrent_computes`](CacheBuilder::max_concurrent_computes): a cold cache does not ask
//!   for ten thousand keys at once.
//!
//! # Many keys at once
//!
//! [`Cache::get_or_compute_many`] asks for all that are missing in one go, as a database likes it, and
//! shares that with whoever wants one of them meanwhile.
//!
//! # Runtimes
//!
//! Values expire on time with or without a runtime, because every read checks the deadline. With
//! one, what has expired is also freed when nobody calls the cache. Pass one to the builder; each
//! adapter has a Cargo feature, and [`runtime`] shows how to bring another.
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! # use std::time::Duration;
//! use fleeting::{Cache, runtime::Tokio};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), fleeting::BuildError> {
//! let cache: Cache<String, u32> =
//!     Cache::builder().ttl(Duration::from_secs(300)).runtime(Tokio::current()).build()?;
//! # Ok(()) }
//! ```
//!
//! The background task begins with the first value that will expire, sleeps until the earliest
//! deadline, never wakes when nothing can expire, and ends when the last handle is dropped. If the
//! runtime shuts down, the cache goes on without. [`Cache::close`] ends the task and waits for its
//! end; [`Cache::scope`] does so when a piece of code is over.
//!
//! # The context of a compute
//!
//! Any caller may poll a compute: a task of another runtime, or a plain thread. So every poll of it, and its
//! destructor, run inside the runtime in which it was born. That is the cache's runtime. Without one, and with the
//! feature `tokio`, it is the tokio runtime that the first caller was in. Timers, sockets and `spawn` work after any
//! await, whoever polls. If that runtime has shut down, a compute finds what its caller finds.
//!
//! | a compute uses | it finds |
//! |---|---|
//! | timers, sockets, `tokio::spawn`, `Handle::current` | the runtime in which it was born |
//! | a task-local | that of the caller who polls, or none in a background refresh |
//! | `tokio::task::block_in_place` | a worker of the runtime, if it is [spawned](CacheBuilder::spawn_computes) |
//! | a thread-local, a tracing span | that of whoever polls |
//!
//! A compute that needs a task-local sets it itself:
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use fleeting::Cache;
//!
//! tokio::task_local! { static TENANT: u32; }
//!
//! async fn load() -> String {
//!     format!("tenant {}", TENANT.get())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let cache = Cache::new(100);
//! let tenant = 7;
//! let name = cache.get_or_compute(tenant, || TENANT.scope(tenant, load())).await;
//! assert_eq!(name, "tenant 7");
//! # }
//! ```
//!
//! With [`spawn_computes`](CacheBuilder::spawn_computes), computes run as tasks of the runtime, and callers only wait.
//! That pays where many callers wait for computes with many awaits: an await then wakes one task, not every caller.
//!
//! # In a browser
//!
//! The crate compiles for `wasm32-unknown-unknown`, with [`runtime::Instant`] from the web-time crate. Implement
//! [`Spawner`](runtime::Spawner) by `spawn_local` and [`Timer`](runtime::Timer) by `setTimeout`, as
//! `examples/web-page` in the repository does; its page fetches through a
//! cache. The futures of a browser are not `Send`: wrap them with the `send_wrapper` crate.
//!
//! # Without a runtime
//!
//! A valid state, not an error. Values expire on time when read, each write does a small share of
//! cleaning, and [`Cache::cleanup`] does all of it. Values are renewed inside the call that found them
//! old. What is missing is that memory is freed while nobody calls, [timeouts](Entry::timeout), and
//! computes that [outlive their callers](Entry::detached).
//!
//! # Embedding it in a library
//!
//! A library that is not tied to a runtime depends on `fleeting` with no feature and takes the
//! runtime from its caller:
//!
//! ```
//! # use std::time::Duration;
//! use fleeting::{BuildError, Cache, runtime::Runtime};
//!
//! pub struct Resolver { answers: Cache<String, [u8; 4]> }
//!
//! impl Resolver {
//!     pub fn new(runtime: impl Runtime) -> Result<Self, BuildError> {
//!         let ttl = Duration::from_secs(60);
//!         Ok(Self { answers: Cache::builder().ttl(ttl).runtime(runtime).build()? })
//!     }
//! }
//! ```
//!
//! The caller passes `Tokio::current()`, `Smol`, or an implementation of its own. Features only
//! add, so it does not matter which ones other crates in the program turn on.
//!
//! # Testing with virtual time
//!
//! With the feature `test-util`, `runtime::Manual` is a clock that moves when told: a test of an
//! hour takes microseconds, and gives the same result each time. It drives tasks and the background
//! sweep too. Add it to your `[dev-dependencies]` only.
//!
#![cfg_attr(feature = "test-util", doc = "```")]
#![cfg_attr(not(feature = "test-util"), doc = "```ignore")]
//! use std::time::Duration;
//! use fleeting::{Cache, runtime::Manual};
//!
//! let time = Manual::new();
//! let cache = Cache::builder().ttl(Duration::from_secs(60)).runtime(time.clone()).build()?;
//!
//! let value = time.block_on(cache.get_or_compute("key", || async { 1 }));
//! assert_eq!(value, 1);
//!
//! time.advance(Duration::from_secs(60));
//! assert_eq!(cache.get("key"), None);
//! assert!(cache.is_empty());
//! # Ok::<(), fleeting::BuildError>(())
//! ```
//!
//! With the `Tokio` adapter, tokio's own paused time works as well:
//! `#[tokio::test(start_paused = true)]` and `tokio::time::advance`.
//!
//! # Guarantees
//!
//! 1. An expired value is never returned, except where the builder allowed stale ones. The clock is read
//!    after the lock is taken.
//! 2. [`len`](Cache::len) never exceeds [`max_size`](CacheBuilder::max_size), nor
//!    [`weight`](Cache::weight) [`max_weight`](CacheBuilder::max_weight), at any moment that any thread
//!    can look.
//! 3. At most one compute runs for a key at a time, whatever the callers' error types. All callers
//!    present get its outcome. (One that a write has fenced off goes on for those who still wait, beside
//!    the next one.)
//! 4. Any caller can drive the compute: one that is parked, or was polled once and forgotten, holds
//!    nobody up. Whoever drives it, the compute is polled [inside the runtime](#the-context-of-a-compute) in which it
//!    was born.
//! 5. A caller may be dropped at any await: no other caller notices. When the last one is dropped,
//!    so is the compute, unless it is [detached](Entry::detached).
//! 6. A panic in a compute, in its destructor, or in the closure that makes it reaches all who wait
//!    for it as [`ComputeError::Panicked`]; nothing is stored, and the next call starts afresh.
//! 7. A write wins over a compute that began before it: the outcome goes to those who were waiting,
//!    is not stored, and is not joined by later callers.
//! 8. A compute that asks its own cache for its own key gets [`ComputeError::Recursive`], also
//!    through other keys, instead of hanging. What it spawns as another task is not seen.
//! 9. No user code runs under a lock but `Hash`, `Eq`, `V::clone`, for [`iter`](Cache::iter) and
//!    [`retain`](Cache::retain) `K::clone`, and the runtime's clock
//!    ([`Timer::now`](runtime::Timer::now)), so these must not call the cache. If user code panics, the
//!    cache stays whole.
//! 10. The cache stays correct when its runtime is gone; only promptness is lost. Nothing panics, and a timeout that
//!     has passed is noticed when a caller is next polled.
//! 11. Dropping the last handle frees everything at once and ends the background work.
//! 12. No call does unbounded maintenance, and the background task works in small batches and
//!     yields between them. What the caller asks for is another matter: [`clear`](Cache::clear) and
//!     [`cleanup`](Cache::cleanup) do all of it. As in a hash map, an insert now and then moves its
//!     shard's table, when that is full of entries or of the marks of removed ones: that takes some 30 ns
//!     for each of the shard's entries.
//! 13. Statistics are exact when nothing is running.
//! 14. The [removal listener](CacheBuilder::on_removal) is told of each value that leaves exactly once, and of
//!     those of one key in order. A panic in it is counted and goes no further.
//!
//! # Performance
//!
//! A hit hashes the key once, takes one shard's lock for reading, finds the value in the table and
//! compares its deadline with a coarse clock. It allocates nothing, and it writes two cache lines: that
//! of the lock, and one of the thread's own, where it counts. (With a `tti` it also writes the entry's
//! deadline, if that moves; timers find out when they come to it, once in a `tti`. With a policy other than
//! FIFO it leaves a mark of a byte, where there is none yet.) Inserts, evictions and expiry are constant
//! time: no policy looks at more than 128 entries to find one that goes. As long as deadlines come in order,
//! as with one TTL for all, the order of arrival serves as the timer queue too; what breaks the order is
//! linked into a hierarchical timing wheel. Large caches are divided into shards, so that threads rarely
//! meet; a cache of up to 2,047 entries has one.
//!
//! A miss whose compute has nothing to wait for costs one allocation: the boxed future. (The state that
//! callers share is that of the last such compute of the shard, unless somebody still has it.) One that
//! waits costs six more. All who wait are woken together.
//!
//! How it compares with other caches, and where it loses, is measured by `cargo run --release -p benches`
//! in the repository; the README shows one run.
//!
//! ## On many cores
//!
//! What threads share decides how a cache scales: a cache line that one core writes has to travel before
//! another can write it. By operation, on x86-64 (a shard's lock, and what a reader needs of its table, lie
//! in one line, and no two shards share one):
//!
//! | | lines written that others write too | lines written by this thread or under the lock only | locked instructions |
//! |---|---|---|---|
//! | hit, miss | 1: the lock of the key's shard | 1: the thread's counters | 2 |
//! | overwrite | 1: the lock | 1 or 2: the entry, the shard's statistics | 2 |
//! | insert that evicts | 1: the lock | 8 to 10: two entries and their tags, three nodes of the order of arrival, the heads of the shard | 2 |
//! | compute that hits | 1: the lock | 1 | 2 |
//! | compute that misses, and ends at once | 1: the lock, three times | those of an insert, and 4 of its own state | 11 |
//!
//! Nothing is written by all: a full cache passes the place of what it evicts on to what it stores, and
//! only while it fills does each insert write the one counter of entries. The clock is only read. Shards
//! are four to eight for each core, so on 64 cores two calls for random keys want
//! the same lock once in some hundred.
//!
//! What each call pays is that the lock's line was most likely last written by another core, and has to
//! come from there. On two cores that took a hit from 12 ns to 32 (a thousand keys, two threads). From
//! socket to socket a line takes some 100 ns; as all cores wait side by side, 64 of them would make 600
//! million calls a second for keys that are all alike.
//!
//! The limit is the lock line of a hot key. Two cores that want the same one make 28 million calls a
//! second, where one alone makes 100 million: with more of them it will be 10 to 20 million, whatever
//! their number. Under Zipf 0.99 over a million keys the first key has 6.5 % of all requests, so there
//! throughput should stop growing at 150 to 300 million calls a second, from some 16 to 32 cores on. The
//! figures for two cores are measured (AMD EPYC, 2026-11-25), those for more are computed from them.
//!
//! A hit would have to write no shared line to lift that: readers that announce themselves in lines of
//! their own (BRAVO, Dice and Kogan, USENIX ATC 2019) at the price of slower writes, or copies of the few
//! hottest entries for each thread, which writes would have to call back. Neither is built; a program that
//! needs more from one key keeps its value for a moment where it uses it.
//!
//! # Features
//!
//! None is on by default, and all may be on at once: a feature only adds. See [`runtime`].
//!
//! | feature | adds |
//! |---|---|
//! | `tokio` | the adapter `runtime::Tokio` |
//! | `smol` | the adapter `runtime::Smol` |
//! | `async-std` | the adapter `runtime::AsyncStd`; async-std is discontinued (RUSTSEC-2025-0052) |
//! | `test-util` | virtual time: `runtime::Manual`, and adapters that read their runtime's own clock |

#![forbid(unsafe_code)]
#![warn(clippy::disallowed_methods, clippy::disallowed_types)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod background;
mod builder;
mod cache;
mod chance;
mod clock;
mod compute;
mod computing;
mod engine;
mod entry;
mod expiry;
mod freshness;
mod hash;
mod iter;
pub mod key;
mod listener;
mod options;
mod panic;
mod policy;
mod reads;
mod rules;
pub mod runtime;
mod scope;
mod stats;
mod store;
mod sweeper;
mod sync;
mod update;
mod weak;

pub use builder::{BuildError, CacheBuilder};
pub use cache::Cache;
pub use compute::error::{ComputeError, SharedError};
pub use entry::Entry;
pub use hash::DefaultHashBuilder;
pub use hashbrown::Equivalent;
pub use iter::Iter;
pub use listener::RemovalCause;
pub use policy::Policy;
pub use stats::Stats;
pub use weak::WeakCache;

/// The examples of the README are tested with those of the guide.
#[cfg(all(doctest, feature = "tokio", feature = "smol"))]
#[doc = include_str!("../README.md")]
struct Readme;
