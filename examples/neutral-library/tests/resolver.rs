//! The resolver on a runtime of this file's own, in a time that the tests move.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{FutureExt, join, join_all};
use neutral_library::runtime::{Spawner, Task, Timer};
use neutral_library::{Answer, ComputeError, Resolver, Source};

const TTL: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_secs(1);
const VALID: &str = "the settings are valid";

/// The least that is a runtime: a thread for each task, and a clock that stands until it is moved.
#[derive(Clone)]
struct TestRuntime {
    clock: Arc<Mutex<Clock>>,
}

struct Clock {
    now: Instant,
    sleepers: Vec<(Instant, oneshot::Sender<()>)>,
}

impl TestRuntime {
    fn new() -> Self {
        let clock = Clock { now: Instant::now(), sleepers: Vec::new() };
        Self { clock: Arc::new(Mutex::new(clock)) }
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().expect("nobody panics while they hold the clock")
    }

    /// Moves the clock, and wakes those who waited for a time that is past now.
    fn advance(&self, duration: Duration) {
        let mut clock = self.clock();
        clock.now += duration;
        let now = clock.now;
        // Dropping the sender wakes the sleeper.
        clock.sleepers.retain(|(deadline, _)| *deadline > now);
    }
}

impl Spawner for TestRuntime {
    fn spawn(&self, task: Task) {
        thread::spawn(|| block_on(task));
    }
}

impl Timer for TestRuntime {
    fn now(&self) -> Instant {
        self.clock().now
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let runtime = self.clone();
        Box::pin(async move {
            let (sender, woken) = oneshot::channel();
            {
                let mut clock = runtime.clock();
                if clock.now < deadline {
                    clock.sleepers.push((deadline, sender));
                }
            }
            woken.await.unwrap_or_default();
        })
    }
}

/// A registry of services that counts its callers and can be down.
#[derive(Clone, Default)]
struct Registry {
    asked: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Unreachable;

impl fmt::Display for Unreachable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the registry cannot be reached")
    }
}

impl std::error::Error for Unreachable {}

impl Registry {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

impl Source for Registry {
    type Error = Unreachable;

    async fn look_up(&self, _name: String) -> Result<Answer, Unreachable> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        // Whoever comes at the same time is to find the look-up running.
        yield_once().await;
        if self.down.load(Ordering::SeqCst) {
            return Err(Unreachable);
        }
        Ok(Answer::new([address(number)], TTL))
    }
}

/// Resolves a name that can be.
fn resolve<S: Source>(resolver: &Resolver<S>, name: &str) -> Arc<[SocketAddr]> {
    block_on(resolver.resolve(name)).expect("the source has an answer")
}

/// Suspends the caller once.
fn yield_once() -> impl Future<Output = ()> {
    let mut yielded = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
}

/// The address that the registry gives the `number`th time it is asked.
fn address(number: usize) -> SocketAddr {
    let port = u16::try_from(number).expect("a test asks less than that");
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn resolver() -> (Resolver<Registry>, Registry, TestRuntime) {
    let (registry, runtime) = (Registry::default(), TestRuntime::new());
    let resolver = Resolver::builder(registry.clone()).build(runtime.clone()).expect(VALID);
    (resolver, registry, runtime)
}

#[test]
fn callers_at_once_share_one_look_up() {
    let (answer, answered) = oneshot::channel();
    let answered = answered.shared();
    let source = move |_: String| {
        let answered = answered.clone();
        async { answered.await.map(|address| Answer::new([address], TTL)) }
    };
    let resolver = Resolver::builder(source).build(TestRuntime::new()).expect(VALID);
    let callers = join_all((0..100).map(|_| resolver.resolve("mail")));
    // All of them ask before there is an answer.
    let (answers, _) = block_on(join(callers, async { answer.send(address(7)) }));
    for answer in answers {
        assert_eq!(answer.expect("there is one")[..], [address(7)]);
    }
    let stats = resolver.stats();
    assert_eq!((stats.computes, stats.misses, stats.coalesced), (1, 100, 99));
}

#[test]
fn names_are_resolved_apart() {
    let (resolver, registry, _) = resolver();
    let mail = resolve(&resolver, "mail");
    let news = resolve(&resolver, "news");
    assert_ne!(mail, news);
    assert_eq!(registry.asked(), 2);
}

#[test]
fn an_answer_is_kept_as_long_as_it_says() {
    let (resolver, registry, runtime) = resolver();
    resolve(&resolver, "mail");
    runtime.advance(TTL / 2);
    assert_eq!(resolve(&resolver, "mail")[..], [address(0)]);
    runtime.advance(TTL / 2);
    assert_eq!(resolve(&resolver, "mail")[..], [address(1)]);
    assert_eq!(registry.asked(), 2);
}

#[test]
fn an_answer_that_nobody_asks_for_is_freed_by_the_callers_runtime() {
    let (resolver, _, runtime) = resolver();
    resolve(&resolver, "mail");
    // The work is done by a thread, sooner or later.
    let freed = (0..100_000).any(|_| {
        runtime.advance(TTL);
        thread::sleep(Duration::from_millis(1));
        resolver.stats().expirations == 1
    });
    assert!(freed);
}

#[test]
fn no_answer_is_kept_longer_than_the_resolver_says() {
    let (registry, runtime) = (Registry::default(), TestRuntime::new());
    let resolver = Resolver::builder(registry.clone()).max_ttl(TICK);
    let resolver = resolver.build(runtime.clone()).expect(VALID);
    resolve(&resolver, "mail");
    runtime.advance(TICK);
    resolve(&resolver, "mail");
    assert_eq!(registry.asked(), 2);
}

#[test]
fn a_failure_is_shared_and_not_kept() {
    let (resolver, registry, _) = resolver();
    registry.set_down(true);
    let failures = block_on(join_all((0..2).map(|_| resolver.resolve("mail"))));
    for failure in failures {
        let error = failure.expect_err("the registry is down");
        assert!(matches!(error, ComputeError::Failed(_)));
        assert_eq!(error.to_string(), Unreachable.to_string());
    }
    assert_eq!(registry.asked(), 1);
    registry.set_down(false);
    assert_eq!(resolve(&resolver, "mail")[..], [address(1)]);
    assert_eq!(resolver.stats().compute_failures, 1);
}

#[test]
fn a_forgotten_name_is_looked_up_again() {
    let (resolver, registry, _) = resolver();
    resolver.forget("mail");
    resolve(&resolver, "mail");
    resolver.forget("mail");
    resolve(&resolver, "mail");
    assert_eq!(registry.asked(), 2);
}

#[test]
fn only_so_many_names_are_remembered() {
    let (registry, runtime) = (Registry::default(), TestRuntime::new());
    let resolver = Resolver::builder(registry.clone()).max_names(2).build(runtime).expect(VALID);
    for name in ["a", "b", "c", "b", "c", "a"] {
        resolve(&resolver, name);
    }
    // a, b, c, and a once more, which c drove out.
    assert_eq!(registry.asked(), 4);
}

#[test]
fn with_no_room_for_any_name_each_is_asked_for() {
    let (registry, runtime) = (Registry::default(), TestRuntime::new());
    let resolver = Resolver::builder(registry.clone()).max_names(0).build(runtime).expect(VALID);
    for _ in 0..2 {
        resolve(&resolver, "mail");
    }
    assert_eq!(registry.asked(), 2);
}

#[test]
fn a_closed_resolver_goes_on() {
    let (resolver, registry, runtime) = resolver();
    let other = resolver.clone();
    resolve(&resolver, "mail");
    block_on(resolver.close());
    block_on(resolver.close());
    resolve(&other, "mail");
    assert_eq!(registry.asked(), 1);
    runtime.advance(TTL);
    resolve(&other, "mail");
    assert_eq!(registry.asked(), 2);
}

#[test]
fn resolving_can_be_spawned() {
    fn assert_send(_: &impl Send) {}
    let (resolver, ..) = resolver();
    assert_send(&resolver.resolve("mail"));
}
