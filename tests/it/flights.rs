//! Sharing computes: one compute for all who ask, its value, its error or its panic for each of
//! them, and no wake lost on the way.

use std::borrow::Borrow;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::{Future, pending};
use std::hash::{BuildHasher, Hasher};
use std::mem;
use std::panic::{AssertUnwindSafe, panic_any, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all, poll_fn};

use crate::support::{self, Gate, Host, check, poll_once};

/// Far more than any machine needs for a case that does not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `case` on a thread of its own, so that a lost wake fails rather than hangs.
pub(crate) fn in_time(case: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        case();
        drop(done);
    });
    match ended.recv_timeout(PATIENCE) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        Err(RecvTimeoutError::Timeout) => panic!("the case hangs"),
    }
}

/// Runs `case` on every runtime, so that a lost wake fails rather than hangs.
pub(crate) fn on_every_runtime(case: impl AsyncFn(Host) + Send + 'static) {
    in_time(move || support::on_every_runtime(case));
}

/// Drives a future to its end, also inside code that is being driven so itself.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future once, on behalf of `wakes`.
pub(crate) fn poll_for<F: Future + Unpin>(future: &mut F, wakes: &Arc<Wakes>) -> Option<F::Output> {
    poll_with(future, &Waker::from(Arc::clone(wakes)))
}

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Option<F::Output> {
    match future.poll_unpin(&mut Context::from_waker(waker)) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A compute that is pending this many times, and wakes itself each time.
pub(crate) async fn steps(count: usize) {
    for _ in 0..count {
        let mut yielded = false;
        poll_fn(|context| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// Reaches the thread that wakes computes.
pub(crate) type Alarm = mpsc::Sender<(Arc<AtomicBool>, Waker)>;

/// A compute that is pending this many times, and is woken each time by another thread, which may
/// be before, while or after it is polled.
pub(crate) struct WokenFromAfar {
    left: usize,
    ready: Arc<AtomicBool>,
    alarm: Arc<Alarm>,
}

impl WokenFromAfar {
    pub(crate) fn new(times: usize, alarm: &Arc<Alarm>) -> Self {
        Self { left: times, ready: Arc::new(AtomicBool::new(true)), alarm: Arc::clone(alarm) }
    }

    /// The thread that wakes. It ends with the last sender.
    pub(crate) fn alarm() -> Arc<Alarm> {
        let (alarm, rings) = mpsc::channel::<(Arc<AtomicBool>, Waker)>();
        thread::spawn(move || {
            for (ready, waker) in rings {
                ready.store(true, Ordering::Release);
                waker.wake();
            }
        });
        Arc::new(alarm)
    }
}

impl Future for WokenFromAfar {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Woken once for each time: a wake that is lost is not made up for.
        if !self.ready.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        if self.left == 0 {
            return Poll::Ready(());
        }
        self.left -= 1;
        let ring = (Arc::clone(&self.ready), context.waker().clone());
        self.alarm.send(ring).expect("the alarm thread listens");
        Poll::Pending
    }
}

/// A gate that calls wakers when it holds no lock of its own, whatever they do.
#[derive(Clone, Default)]
pub(crate) struct Switch(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Switch {
    pub(crate) fn turn_on(&self) {
        let wakers = {
            let mut state = self.0.lock().expect("not poisoned");
            state.0 = true;
            mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_on(&self) -> impl Future<Output = ()> + Send + use<> {
        let this = self.clone();
        poll_fn(move |context| {
            let mut state = this.0.lock().expect("not poisoned");
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(context.waker().clone());
            Poll::Pending
        })
    }
}

/// Panics when it is dropped, unless the thread is panicking already.
pub(crate) struct Bomb(pub(crate) &'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(thread::panicking(), "{}", self.0);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Refused(u32);

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "refused with code {}", self.0)
    }
}

impl Error for Refused {}

type Answer<'a, V, E> = Pin<Box<dyn Future<Output = Result<V, ComputeError<E>>> + Send + 'a>>;

fn new_cache() -> Cache<u32, Arc<u32>> {
    Cache::builder().build().expect("valid settings")
}

/// A caller whose compute waits at the gate and then yields `value`.
fn behind_gate<'a>(
    cache: &'a Cache<u32, Arc<u32>>,
    gate: &Gate,
    value: u32,
) -> BoxFuture<'a, Arc<u32>> {
    let passed = gate.passed();
    let compute = move || async move {
        passed.await;
        Arc::new(value)
    };
    cache.get_or_compute(1, compute).boxed()
}

fn message<E: fmt::Debug>(result: Result<Arc<u32>, ComputeError<E>>) -> String {
    match result {
        Err(ComputeError::Panicked(message)) => message.to_string(),
        other => panic!("expected a panic's message, got {other:?}"),
    }
}

fn is_panicked<V, E>(result: &Result<V, ComputeError<E>>) -> bool {
    matches!(result, Err(ComputeError::Panicked(_)))
}

#[test]
fn callers_at_the_same_time_share_one_compute_and_its_value() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let mut callers: Vec<_> = (0..8).map(|n| behind_gate(&cache, &gate, n)).collect();
        for caller in &mut callers {
            assert!(poll_once(caller).is_none(), "the gate is shut");
        }
        check(&cache, 1);
        gate.open();
        let values = join_all(callers).await;
        assert!(values.iter().all(|value| Arc::ptr_eq(value, &values[0])), "one value for all");
        assert_eq!(*values[0], 0, "the first caller's compute");
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.misses, stats.coalesced, stats.hits), (1, 8, 7, 0));
        assert_eq!((stats.inserts, stats.compute_failures), (1, 0));
        check(&cache, 0);
    });
}

#[test]
fn ten_thousand_callers_are_polled_at_most_three_times_each() {
    const CALLERS: usize = 10_000;
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let polls = AtomicUsize::new(0);
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let mut caller = behind_gate(&cache, &gate, 7);
                let polls = &polls;
                poll_fn(move |context| {
                    polls.fetch_add(1, Ordering::Relaxed);
                    caller.poll_unpin(context)
                })
            })
            .collect();
        let opens = async {
            steps(1).await;
            gate.open();
        };
        // Before the last of these is polled, each caller was.
        let (values, ()) = futures::join!(join_all(callers), opens);
        assert!(values.iter().all(|value| Arc::ptr_eq(value, &values[0])), "one value for all");
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.misses, stats.coalesced), (1, 10_000, 9_999));
        let polls = polls.into_inner();
        assert!(polls <= 3 * CALLERS, "{polls} polls of {CALLERS} callers");
        check(&cache, 0);
    });
}

#[test]
fn a_hit_is_ready_at_once_and_runs_no_closure() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        cache.insert(1, 10);
        let never = || -> BoxFuture<'static, u32> { panic!("not called") };
        let hit = poll_once(&mut cache.get_or_compute(1, never).boxed_local());
        assert_eq!(hit, Some(10));
        let never = || -> BoxFuture<'static, Result<u32, Refused>> { panic!("not called") };
        let hit = poll_once(&mut cache.entry(1).try_get_or_compute(never).boxed_local());
        assert_eq!(hit.expect("ready at once").ok(), Some(10));
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.computes), (2, 0, 0));
        check(&cache, 0);
    });
}

#[test]
fn a_caller_that_is_never_polled_does_nothing() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let never = || -> BoxFuture<'static, u32> { panic!("not called") };
        drop(cache.get_or_compute(1, never));
        drop(cache.entry(1).get_or_compute(never));
        assert_eq!(cache.stats(), fleeting::Stats::default());
        check(&cache, 0);
    });
}

#[test]
fn an_error_reaches_all_callers_and_is_not_stored() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let ask = |code| {
            let passed = gate.passed();
            let compute = move || passed.map(move |()| Err::<u32, _>(Refused(code)));
            cache.try_get_or_compute(1, compute).boxed()
        };
        let mut callers: Vec<_> = (0..5).map(ask).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        gate.open();
        let errors = join_all(callers).await.into_iter().map(|result| match result {
            Err(ComputeError::Failed(error)) => error,
            other => panic!("expected the error, got {other:?}"),
        });
        let errors: Vec<Arc<Refused>> = errors.collect();
        assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])), "one error for all");
        assert_eq!(*errors[0], Refused(0));
        assert_eq!(cache.get(&1), None);
        let value = cache.try_get_or_compute(1, || async { Ok::<_, Refused>(2) }).await;
        assert_eq!(value.ok(), Some(2));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.inserts), (2, 1, 1));
        assert_eq!((stats.misses, stats.coalesced), (7, 4), "five callers, a get, one caller");
        check(&cache, 0);
    });
}

#[test]
fn an_error_passes_on_the_message_and_the_source() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let failed = cache.try_get_or_compute(1, || async { Err(Refused(3)) }).await;
        let error = failed.expect_err("the compute failed");
        assert_eq!(error.to_string(), "refused with code 3");
        assert!(error.source().is_none(), "the message is not repeated");
        assert_eq!(error.clone().failed(), Some(&Refused(3)));
        let panicked = cache.try_get_or_compute(1, || async { bang::<Refused>() }).await;
        let error = panicked.expect_err("the compute panicked");
        assert!(error.to_string().contains("bang"), "{error}");
        assert!(error.source().is_none());
        check(&cache, 0);
    });
}

fn bang<E>() -> Result<u32, E> {
    panic!("bang")
}

#[test]
fn errors_need_not_be_cloneable_nor_errors() {
    struct Opaque;
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let failed = cache.try_get_or_compute(1, || async { Err(Opaque) }).await;
        assert!(matches!(failed, Err(ComputeError::Failed(_))));
        let failed = cache.try_get_or_compute(1, || async { Err("text") }).await;
        assert_eq!(failed.expect_err("the compute failed").failed(), Some(&"text"));
        check(&cache, 0);
    });
}

#[test]
fn callers_with_different_error_types_share_a_compute_that_succeeds() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let mut plain = behind_gate(&cache, &gate, 5);
        let passed = gate.passed();
        let compute = || async { passed.map(|()| Ok::<_, Refused>(Arc::new(6))).await };
        let mut refusing: Answer<_, Refused> = cache.try_get_or_compute(1, compute).boxed();
        let passed = gate.passed();
        let compute = || async { passed.map(|()| Ok::<_, String>(Arc::new(7))).await };
        let mut texts: Answer<_, String> = cache.entry(1).try_get_or_compute(compute).boxed();
        assert!(poll_once(&mut refusing).is_none());
        assert!(poll_once(&mut plain).is_none());
        assert!(poll_once(&mut texts).is_none());
        gate.open();
        let (plain, refusing, texts) = futures::join!(plain, refusing, texts);
        assert_eq!(*plain, 6, "the compute of the first");
        assert!(Arc::ptr_eq(&plain, &refusing.expect("a value")));
        assert!(Arc::ptr_eq(&plain, &texts.expect("a value")));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.misses, stats.coalesced), (1, 3, 2));
        check(&cache, 0);
    });
}

#[test]
fn callers_that_cannot_be_told_the_error_share_a_compute_of_their_own() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let compute = || async { passed.map(|()| Err(Refused(1))).await };
        let mut refused: Answer<_, Refused> = cache.try_get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut refused).is_none());
        let second = Gate::new();
        second.open();
        let mut plain = behind_gate(&cache, &second, 5);
        let compute = || async { Ok::<_, String>(Arc::new(6)) };
        let mut texts: Answer<_, String> = cache.try_get_or_compute(1, compute).boxed();
        let compute = || async { Ok::<_, u8>(Arc::new(7)) };
        let mut bytes: Answer<_, u8> = cache.try_get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut plain).is_none());
        assert!(poll_once(&mut texts).is_none());
        assert!(poll_once(&mut bytes).is_none());
        gate.open();
        let (refused, plain, texts, bytes) = futures::join!(refused, plain, texts, bytes);
        assert_eq!(refused.expect_err("the compute failed").failed(), Some(&Refused(1)));
        assert!(Arc::ptr_eq(&plain, &texts.expect("a value")));
        assert!(Arc::ptr_eq(&plain, &bytes.expect("a value")));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures), (2, 1));
        assert_eq!((stats.misses, stats.coalesced, stats.hits), (4, 3, 0), "each counted once");
        check(&cache, 0);
    });
}

#[test]
fn a_chain_of_errors_of_other_types_ends_with_each_callers_own() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let compute = || async { passed.map(|()| Err(Refused(1))).await };
        let mut first: Answer<_, Refused> = cache.try_get_or_compute(1, compute).boxed();
        let mut second: Answer<_, String> =
            cache.entry_ref(&1).try_get_or_compute(|| async { Err("two".to_owned()) }).boxed();
        let mut third: Answer<_, u8> = cache.try_get_or_compute(1, || async { Err(3) }).boxed();
        assert!(poll_once(&mut first).is_none());
        assert!(poll_once(&mut second).is_none());
        assert!(poll_once(&mut third).is_none());
        gate.open();
        let (first, second, third) = futures::join!(first, second, third);
        assert_eq!(first.expect_err("failed").failed(), Some(&Refused(1)));
        assert_eq!(second.expect_err("failed").failed(), Some(&"two".to_owned()));
        assert_eq!(third.expect_err("failed").failed(), Some(&3));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.misses), (3, 3, 3));
        check(&cache, 0);
    });
}

#[test]
fn a_panic_in_a_compute_reaches_all_callers_and_the_next_call_starts_afresh() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let ask = |_| {
            let passed = gate.passed();
            let compute = || async move {
                passed.await;
                bang::<Refused>().map(Arc::new)
            };
            cache.try_get_or_compute(1, compute).boxed()
        };
        let mut callers: Vec<_> = (0..100).map(ask).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        gate.open();
        for result in join_all(callers).await {
            assert_eq!(message(result), "bang");
        }
        check(&cache, 0);
        assert_eq!(cache.get(&1), None);
        assert_eq!(*cache.get_or_compute(1, || async { Arc::new(2) }).await, 2);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.inserts), (2, 1, 1));
        check(&cache, 0);
    });
}

#[test]
fn a_panic_reaches_a_caller_that_came_while_it_was_on_its_way() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let late = Arc::new(Mutex::new(None));
        let inner = (cache.clone(), Arc::clone(&late));
        let compute = || async move {
            let (cache, late) = inner;
            let joined = thread::spawn(move || {
                let caller = async move {
                    cache.try_get_or_compute(1, || async { Ok::<_, u8>(Arc::new(9)) }).await
                };
                let mut caller = caller.boxed();
                let wakes = Wakes::new();
                assert!(poll_for(&mut caller, &wakes).is_none());
                *late.lock().expect("not poisoned") = Some((caller, wakes));
            });
            joined.join().expect("no panic");
            bang::<u8>().map(Arc::new)
        };
        let first = cache.try_get_or_compute(1, compute).await;
        assert_eq!(message(first), "bang");
        let (mut caller, wakes) = late.lock().expect("not poisoned").take().expect("joined");
        assert_eq!(wakes.count(), 1);
        let result = poll_once(&mut caller).expect("the outcome is there");
        assert_eq!(message(result), "bang");
        drop(caller);
        check(&cache, 0);
    });
}

#[test]
fn a_panic_in_the_closure_reaches_those_who_joined_meanwhile() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let other = cache.clone();
        let mut joined = None;
        let wakes = Wakes::new();
        let closure = || -> BoxFuture<'static, Result<Arc<u32>, u8>> {
            let joins = || {
                let caller = async move {
                    other.try_get_or_compute(1, || async { Ok::<_, u8>(Arc::new(9)) }).await
                };
                let mut caller = caller.boxed();
                assert!(poll_for(&mut caller, &wakes).is_none());
                caller
            };
            joined = thread::scope(|scope| scope.spawn(joins).join().ok());
            panic!("the closure")
        };
        let first = cache.try_get_or_compute(1, closure).await;
        assert_eq!(message(first), "the closure");
        assert_eq!(wakes.count(), 1);
        let mut caller = joined.expect("joined");
        assert_eq!(message(poll_once(&mut caller).expect("over")), "the closure");
        drop(caller);
        check(&cache, 0);
        assert_eq!(*cache.get_or_compute(1, || async { Arc::new(2) }).await, 2);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures), (2, 1));
        check(&cache, 0);
    });
}

#[test]
fn the_calls_without_try_panic_with_the_reason() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let compute = || passed.map(|()| -> u32 { panic!("bang") });
        let leads = AssertUnwindSafe(cache.get_or_compute(1, compute));
        let mut leads = leads.catch_unwind().boxed();
        let joins = AssertUnwindSafe(cache.entry(1).get_or_compute(|| async { 2 }));
        let mut joins = joins.catch_unwind().boxed();
        assert!(poll_once(&mut leads).is_none());
        assert!(poll_once(&mut joins).is_none());
        gate.open();
        let (leads, joins) = futures::join!(leads, joins);
        for panic in [leads, joins] {
            let panic = panic.expect_err("a panic");
            let text = panic.downcast_ref::<String>().expect("a text");
            assert!(text.contains("bang"), "{text}");
        }
        assert_eq!(cache.get(&1), None);
        check(&cache, 0);
    });
}

#[test]
fn a_panic_with_any_payload_is_contained() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let compute = || async {
            let formatted = 42;
            panic!("formatted {formatted}");
            #[expect(unreachable_code, reason = "it gives the compute its type")]
            Ok::<u32, Refused>(0)
        };
        let panicked = cache.try_get_or_compute(1, compute).await;
        assert!(panicked.expect_err("a panic").to_string().contains("formatted 42"));
        // The payload's own destructor panics.
        let compute = || async {
            panic_any(Bomb("the payload"));
            #[expect(unreachable_code, reason = "it gives the compute its type")]
            Ok::<u32, Refused>(0)
        };
        let panicked = cache.try_get_or_compute(1, compute).await;
        assert!(is_panicked(&panicked));
        check(&cache, 0);
    });
}

#[test]
fn a_ttl_closure_that_panics_is_an_outcome_like_any_panic() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let compute = || async { passed.map(|()| Ok::<_, Refused>(Arc::new(1))).await };
        let leads = cache.entry(1).ttl_with(|_| panic!("no ttl")).try_get_or_compute(compute);
        let mut leads = leads.boxed();
        assert!(poll_once(&mut leads).is_none());
        let compute = || async { Ok::<_, Refused>(Arc::new(2)) };
        let mut joins = cache.try_get_or_compute(1, compute).boxed();
        assert!(poll_once(&mut joins).is_none());
        gate.open();
        let (leads, joins) = futures::join!(leads, joins);
        assert_eq!(message(leads), "no ttl");
        assert_eq!(message(joins), "no ttl");
        assert_eq!(cache.len(), 0);
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.compute_failures, stats.inserts), (1, 1, 0));
        check(&cache, 0);
    });
}

#[test]
fn the_ttl_closure_of_the_caller_that_leads_sees_the_value_once() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let compute = || async { passed.map(|()| Arc::new(1)).await };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let entry = cache.entry(1).ttl_with(move |value: &Arc<u32>| {
            notes.lock().expect("not poisoned").push(Arc::clone(value));
            Duration::MAX
        });
        let mut leads = entry.get_or_compute(compute).boxed();
        assert!(poll_once(&mut leads).is_none());
        let entry = cache.entry(1).ttl_with(|_| panic!("another caller's"));
        let joins = entry.get_or_compute(|| async { Arc::new(2) });
        gate.open();
        let (value, _) = futures::join!(leads, joins);
        let seen = mem::take(&mut *seen.lock().expect("not poisoned"));
        assert_eq!(seen.len(), 1);
        assert!(Arc::ptr_eq(&seen[0], &value));
        check(&cache, 0);
    });
}

#[test]
fn a_ttl_of_zero_gives_the_value_to_the_callers_and_to_nobody_else() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let compute = || async { passed.map(|()| Arc::new(1)).await };
        let mut leads = cache.entry(1).ttl(Duration::ZERO).get_or_compute(compute).boxed();
        assert!(poll_once(&mut leads).is_none());
        let mut joins = cache.get_or_compute(1, || async { Arc::new(2) }).boxed();
        assert!(poll_once(&mut joins).is_none());
        gate.open();
        let (leads, joins) = futures::join!(leads, joins);
        assert!(Arc::ptr_eq(&leads, &joins));
        assert_eq!(cache.get(&1), None);
        let again = cache.entry(1).ttl_with(|_| Duration::MAX);
        assert_eq!(*again.get_or_compute(|| async { Arc::new(3) }).await, 3);
        assert_eq!(cache.get(&1).as_deref(), Some(&3));
        assert_eq!(cache.stats().computes, 2);
        check(&cache, 0);
    });
}

thread_local! {
    static MADE_OWNED: Cell<usize> = const { Cell::new(0) };
}

/// A key that is lent, and counts how often it is made owned on this thread.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Lent(u32);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Given(Lent);

impl Borrow<Lent> for Given {
    fn borrow(&self) -> &Lent {
        &self.0
    }
}

impl ToOwned for Lent {
    type Owned = Given;

    fn to_owned(&self) -> Given {
        MADE_OWNED.set(MADE_OWNED.get() + 1);
        Given(Self(self.0))
    }
}

#[test]
fn a_lent_key_is_made_owned_only_to_begin_a_compute() {
    on_every_runtime(async |host| {
        MADE_OWNED.set(0);
        let cache: Cache<Given, u32> = host.builder().build().expect("valid settings");
        let gate = Gate::new();
        let passed = gate.passed();
        let mut leads = cache.entry_ref(&Lent(1)).get_or_compute(|| passed.map(|()| 10)).boxed();
        assert!(poll_once(&mut leads).is_none());
        assert_eq!(MADE_OWNED.get(), 1, "for the compute that begins");
        let mut joins = cache.entry_ref(&Lent(1)).get_or_compute(|| async { 11 }).boxed();
        assert!(poll_once(&mut joins).is_none());
        assert_eq!(MADE_OWNED.get(), 1, "not to join");
        gate.open();
        assert_eq!(futures::join!(leads, joins), (10, 10));
        assert_eq!(cache.entry_ref(&Lent(1)).get_or_compute(|| async { 12 }).await, 10);
        assert_eq!(MADE_OWNED.get(), 1, "not for a hit");
        assert_eq!(cache.get(&Lent(1)), Some(10));
        check(&cache, 0);
    });
}

#[test]
fn a_caller_is_woken_through_the_waker_it_was_last_polled_with() {
    let cache = new_cache();
    let gate = Gate::new();
    let mut leads = behind_gate(&cache, &gate, 1);
    let mut joins = behind_gate(&cache, &gate, 2);
    let (old, new) = (Wakes::new(), Wakes::new());
    for caller in [&mut leads, &mut joins] {
        assert!(poll_for(caller, &old).is_none());
        assert!(poll_for(caller, &new).is_none());
    }
    assert_eq!(Arc::strong_count(&old), 1, "the old waker is let go of");
    gate.open();
    assert_eq!((old.count(), new.count()), (0, 2));
    let value = poll_for(&mut joins, &new).expect("ready");
    assert!(Arc::ptr_eq(&value, &poll_for(&mut leads, &new).expect("ready")));
    assert_eq!(Arc::strong_count(&new), 1, "nothing is left of the callers");
    check(&cache, 0);
}

#[test]
fn a_waker_that_changes_while_the_compute_is_woken_is_not_lost() {
    const ROUNDS: u32 = 20_000;
    in_time(|| {
        let cache = new_cache();
        let (alarm, rings) = mpsc::channel::<Gate>();
        let opener = thread::spawn(move || rings.into_iter().for_each(|gate| gate.open()));
        for round in 0..ROUNDS {
            let gate = Gate::new();
            let passed = gate.passed();
            let compute = move || passed.map(move |()| Arc::new(round));
            let mut caller = cache.get_or_compute(round, compute).boxed();
            let (old, new) = (Wakes::new(), Wakes::new());
            let mut value = poll_for(&mut caller, &old);
            alarm.send(gate).expect("the opener listens");
            value = value.or_else(|| poll_for(&mut caller, &new));
            while value.is_none() {
                // Polled only when the new waker says so.
                while new.count() == 0 {
                    thread::yield_now();
                }
                value = poll_for(&mut caller, &new);
            }
            assert_eq!(value.as_deref(), Some(&round));
            drop(caller);
            assert_eq!(Arc::strong_count(&old), 1);
        }
        drop(alarm);
        opener.join().expect("no panic");
        check(&cache, 0);
    });
}

#[test]
fn a_caller_that_left_is_not_woken() {
    let cache = new_cache();
    let gate = Gate::new();
    let (stays, leaves) = (Wakes::new(), Wakes::new());
    let mut first = behind_gate(&cache, &gate, 1);
    let mut second = behind_gate(&cache, &gate, 2);
    assert!(poll_for(&mut first, &leaves).is_none());
    assert!(poll_for(&mut second, &stays).is_none());
    drop(first);
    assert_eq!(Arc::strong_count(&leaves), 1, "its waker is let go of");
    gate.open();
    assert_eq!((leaves.count(), stays.count()), (0, 1));
    assert_eq!(poll_for(&mut second, &stays).as_deref(), Some(&1));
    drop(second);
    check(&cache, 0);
}

/// What a waker does when it is called.
struct OnWake<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn on_wake(act: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(OnWake(act)))
}

/// A caller that owns its handle of the cache.
fn owned_caller(
    cache: &Cache<u32, Arc<u32>>,
    switch: &Switch,
    value: u32,
) -> BoxFuture<'static, Arc<u32>> {
    let (cache, is_on) = (cache.clone(), switch.is_on());
    let compute = move || is_on.map(move |()| Arc::new(value));
    async move { cache.get_or_compute(1, compute).await }.boxed()
}

#[test]
fn a_waker_may_drop_the_other_callers() {
    in_time(|| {
        let cache = new_cache();
        let switch = Switch::default();
        let others = Arc::new(Mutex::new(Vec::new()));
        let victims = Arc::clone(&others);
        let waker = on_wake(move || {
            let dropped = mem::take(&mut *victims.lock().expect("not poisoned"));
            drop(dropped);
        });
        let mut caller = owned_caller(&cache, &switch, 1);
        assert!(poll_with(&mut caller, &waker).is_none());
        for _ in 0..3 {
            let mut other = owned_caller(&cache, &switch, 2);
            assert!(poll_with(&mut other, &waker).is_none());
            others.lock().expect("not poisoned").push(other);
        }
        switch.turn_on();
        assert!(others.lock().expect("not poisoned").is_empty());
        assert_eq!(*wait(caller), 1);
        check(&cache, 0);
    });
}

#[test]
fn a_waker_may_drop_its_own_caller_and_the_compute_with_it() {
    in_time(|| {
        let cache = new_cache();
        let switch = Switch::default();
        let slot = Arc::new(Mutex::new(None));
        let victim = Arc::clone(&slot);
        let waker = on_wake(move || {
            let caller: Option<BoxFuture<'static, Arc<u32>>> =
                victim.lock().expect("not poisoned").take();
            drop(caller);
        });
        let mut caller = owned_caller(&cache, &switch, 1);
        assert!(poll_with(&mut caller, &waker).is_none());
        *slot.lock().expect("not poisoned") = Some(caller);
        switch.turn_on();
        assert!(slot.lock().expect("not poisoned").is_none());
        check(&cache, 0);
        assert_eq!(cache.get(&1), None);
    });
}

/// A task that is polled on the spot by whoever wakes it.
#[derive(Default)]
pub(crate) struct Inline<T> {
    future: Mutex<Option<BoxFuture<'static, T>>>,
    woken: AtomicBool,
    output: Mutex<Option<T>>,
}

impl<T: Send + 'static> Inline<T> {
    pub(crate) fn start(future: BoxFuture<'static, T>) -> Arc<Self> {
        let task = Arc::new(Self {
            future: Mutex::new(Some(future)),
            woken: AtomicBool::new(false),
            output: Mutex::new(None),
        });
        Arc::clone(&task).wake();
        task
    }

    pub(crate) fn output(&self) -> Option<T> {
        self.output.lock().expect("not poisoned").take()
    }
}

impl<T: Send + 'static> Wake for Inline<T> {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        let future = self.future.lock().expect("not poisoned").take();
        // While it is being polled, whoever polls it sees to the wake.
        let Some(mut future) = future else { return };
        while self.woken.swap(false, Ordering::SeqCst) {
            if let Some(output) = poll_with(&mut future, &Waker::from(Arc::clone(&self))) {
                *self.output.lock().expect("not poisoned") = Some(output);
                return;
            }
        }
        *self.future.lock().expect("not poisoned") = Some(future);
    }
}

#[test]
fn a_waker_may_poll_its_caller_on_the_spot() {
    in_time(|| {
        let cache = new_cache();
        let switch = Switch::default();
        let tasks: Vec<_> =
            (0..5).map(|value| Inline::start(owned_caller(&cache, &switch, value))).collect();
        check(&cache, 1);
        switch.turn_on();
        let values: Vec<_> =
            tasks.iter().map(|task| task.output().expect("polled on the spot")).collect();
        assert!(values.iter().all(|value| Arc::ptr_eq(value, &values[0])), "one value for all");
        check(&cache, 0);
    });
}

#[test]
fn a_waker_may_use_the_cache_and_wait_for_its_computes() {
    in_time(|| {
        let cache = new_cache();
        let switch = Switch::default();
        let other = cache.clone();
        let waker = on_wake(move || {
            other.insert(2, Arc::new(20));
            other.remove(&3);
            assert_eq!(*wait(other.get_or_compute(4, || async { Arc::new(40) })), 40);
            assert_eq!(*wait(other.get_or_compute(1, || async { Arc::new(11) })), 10);
        });
        let mut caller = owned_caller(&cache, &switch, 10);
        assert!(poll_with(&mut caller, &waker).is_none());
        switch.turn_on();
        assert_eq!(*wait(caller), 10);
        assert_eq!(cache.len(), 3);
        check(&cache, 0);
    });
}

#[test]
fn a_waker_that_panics_keeps_no_other_caller_waiting() {
    let cache = new_cache();
    let switch = Switch::default();
    let wakes = Wakes::new();
    let mut callers: Vec<_> = (0..3).map(|value| owned_caller(&cache, &switch, value)).collect();
    let panics = on_wake(|| panic!("the waker"));
    assert!(poll_with(&mut callers[0], &panics).is_none());
    assert!(poll_for(&mut callers[1], &wakes).is_none());
    assert!(poll_with(&mut callers[2], &panics).is_none());
    switch.turn_on();
    assert_eq!(wakes.count(), 1);
    for caller in &mut callers {
        assert_eq!(poll_once(caller).as_deref(), Some(&0));
    }
    drop(callers);
    check(&cache, 0);
}

/// Polls the first caller, and during that poll does `meanwhile` on another thread and then wakes
/// the compute. Returns the first caller, which has not been polled since.
fn polled_while(
    cache: &Cache<u32, Arc<u32>>,
    first: &Arc<Wakes>,
    meanwhile: impl FnOnce() + Send + 'static,
) -> BoxFuture<'static, Arc<u32>> {
    let mut meanwhile = Some(meanwhile);
    let compute = poll_fn(move |context| {
        let Some(meanwhile) = meanwhile.take() else { return Poll::Ready(Arc::new(1)) };
        thread::spawn(meanwhile).join().expect("no panic");
        context.waker().wake_by_ref();
        Poll::Pending
    });
    let cache = cache.clone();
    let mut caller = async move { cache.get_or_compute(1, || compute).await }.boxed();
    assert!(poll_for(&mut caller, first).is_none());
    caller
}

#[test]
fn a_wake_during_a_poll_reaches_a_caller_that_came_meanwhile() {
    // rust-lang/futures-rs#2706, with the caller that polled parked, and with it dropped.
    for parked in [true, false] {
        in_time(move || {
            let cache = new_cache();
            let (first, second) = (Wakes::new(), Wakes::new());
            let late = Arc::new(Mutex::new(None));
            let meanwhile = {
                let (cache, second, late) = (cache.clone(), Arc::clone(&second), Arc::clone(&late));
                move || {
                    let mut caller = owned_caller(&cache, &Switch::default(), 2);
                    assert!(poll_for(&mut caller, &second).is_none(), "the first is polling");
                    *late.lock().expect("not poisoned") = Some(caller);
                }
            };
            let leads = polled_while(&cache, &first, meanwhile);
            assert_eq!((first.count(), second.count()), (1, 1), "both are woken");
            let leads = parked.then_some(leads);
            let mut late = late.lock().expect("not poisoned").take().expect("came meanwhile");
            assert_eq!(poll_for(&mut late, &second).as_deref(), Some(&1));
            drop((leads, late));
            check(&cache, 0);
        });
    }
}

#[test]
fn the_end_of_a_compute_wakes_a_caller_that_came_during_its_last_poll() {
    in_time(|| {
        let cache = new_cache();
        let wakes = Wakes::new();
        let late = Arc::new(Mutex::new(None));
        let other = (cache.clone(), Arc::clone(&wakes), Arc::clone(&late));
        let compute = || async move {
            let joins = move || {
                let (cache, wakes, late) = other;
                let mut caller = owned_caller(&cache, &Switch::default(), 2);
                assert!(poll_for(&mut caller, &wakes).is_none(), "the first is polling");
                *late.lock().expect("not poisoned") = Some(caller);
            };
            thread::spawn(joins).join().expect("no panic");
            Arc::new(1)
        };
        assert_eq!(*wait(cache.get_or_compute(1, compute)), 1);
        assert_eq!(wakes.count(), 1);
        let mut late = late.lock().expect("not poisoned").take().expect("came meanwhile");
        assert_eq!(poll_for(&mut late, &wakes).as_deref(), Some(&1));
        drop(late);
        check(&cache, 0);
    });
}

#[test]
fn a_compute_woken_after_its_end_does_nothing() {
    let cache = new_cache();
    let slot = Arc::new(Mutex::new(None));
    let keeps = Arc::clone(&slot);
    let compute = poll_fn(move |context| {
        *keeps.lock().expect("not poisoned") = Some(context.waker().clone());
        Poll::Ready(Arc::new(1))
    });
    let caller_wakes = Wakes::new();
    let mut caller = cache.get_or_compute(1, || compute).boxed();
    assert!(poll_for(&mut caller, &caller_wakes).is_some());
    let woken = caller_wakes.count();
    let compute_waker = slot.lock().expect("not poisoned").take().expect("polled");
    compute_waker.wake_by_ref();
    drop(caller);
    compute_waker.wake();
    assert_eq!(caller_wakes.count(), woken);
    check(&cache, 0);
}

#[test]
fn a_waker_that_outlives_its_compute_does_not_wake_the_next_one() {
    let cache: Cache<u32, u32> = Cache::builder().max_size(100).build().expect("valid settings");
    let slot = Arc::new(Mutex::new(None));
    let keeps = Arc::clone(&slot);
    let first = cache.get_or_compute(1, || {
        poll_fn(move |context| {
            *keeps.lock().expect("not poisoned") = Some(context.waker().clone());
            Poll::Ready(1)
        })
    });
    assert_eq!(first.now_or_never(), Some(1));
    // Of the same shard: there is only one.
    let wakes = Wakes::new();
    let mut second = cache.get_or_compute(2, pending).boxed();
    assert!(poll_for(&mut second, &wakes).is_none());
    slot.lock().expect("not poisoned").take().expect("polled").wake();
    assert_eq!(wakes.count(), 0);
    drop(second);
    check(&cache, 0);
}

#[test]
fn a_compute_inside_a_destructor_that_runs_when_another_lands_is_one_of_its_own() {
    struct Asks(Arc<Mutex<Option<Cache<u32, Value>>>>);
    #[derive(Clone)]
    struct Value(#[expect(dead_code, reason = "held to be dropped")] Option<Arc<Asks>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            let Some(cache) = self.0.lock().expect("not poisoned").take() else { return };
            let asked = cache.try_get_or_compute(3, async || Ok::<_, ()>(Value(None)));
            assert!(matches!(asked.now_or_never(), Some(Ok(_))));
        }
    }
    let cache: Cache<u32, Value> = Cache::builder().max_size(1).build().expect("valid settings");
    let slot = Arc::new(Mutex::new(None));
    cache.insert(1, Value(Some(Arc::new(Asks(Arc::clone(&slot))))));
    // The second is given what the first has begun with, and evicts its value while it lands.
    assert!(cache.get_or_compute(2, async || Value(None)).now_or_never().is_some());
    cache.insert(1, Value(Some(Arc::new(Asks(Arc::clone(&slot))))));
    *slot.lock().expect("not poisoned") = Some(cache.clone());
    assert!(cache.get_or_compute(4, async || Value(None)).now_or_never().is_some());
    assert!(slot.lock().expect("not poisoned").is_none(), "the destructor has asked");
    check(&cache, 0);
}

#[test]
fn a_caller_is_polled_in_vain_without_polling_the_compute() {
    let cache = new_cache();
    let polls = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&polls);
    let compute = poll_fn(move |_| {
        counts.fetch_add(1, Ordering::SeqCst);
        Poll::<Arc<u32>>::Pending
    });
    let mut callers: Vec<_> = (0..3).map(|_| owned_caller(&cache, &Switch::default(), 1)).collect();
    let mut leads = cache.get_or_compute(1, || compute).boxed();
    assert!(poll_once(&mut leads).is_none());
    for caller in &mut callers {
        assert!(poll_once(caller).is_none());
        assert!(poll_once(caller).is_none());
    }
    assert_eq!(polls.load(Ordering::SeqCst), 1, "it was woken by nobody");
    drop((callers, leads));
    check(&cache, 0);
}

#[test]
fn computes_of_different_keys_run_side_by_side() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = host.builder().build().expect("valid settings");
        let gates: Vec<_> = (0..64).map(|_| Gate::new()).collect();
        let mut callers: Vec<_> = (0..64_u32)
            .zip(&gates)
            .map(|(key, gate)| {
                let passed = gate.passed();
                cache.get_or_compute(key, move || passed.map(move |()| key * 2)).boxed()
            })
            .collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        check(&cache, 64);
        // The last to begin are the first to end.
        for (key, gate) in (0..64).zip(&gates).rev() {
            gate.open();
            let caller = callers.pop().expect("one for each key");
            assert_eq!(caller.await, key * 2);
            assert_eq!(cache.get(&key), Some(key * 2));
        }
        check(&cache, 0);
    });
}

#[test]
fn keys_of_one_hash_do_not_share_a_compute() {
    on_every_runtime(async |host| {
        let builder = host.builder::<u32, u32>().hasher(OneHash);
        let cache = builder.build().expect("valid settings");
        let gate = Gate::new();
        let ask = |key: u32| {
            let passed = gate.passed();
            cache.get_or_compute(key, move || passed.map(move |()| key)).boxed()
        };
        let mut callers: Vec<_> = (0..20).map(ask).collect();
        assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
        check(&cache, 20);
        gate.open();
        assert_eq!(join_all(callers).await, (0..20).collect::<Vec<_>>());
        check(&cache, 0);
    });
}

/// Puts all keys into one shard, under one hash.
#[derive(Clone, Default)]
pub(crate) struct OneHash;

impl BuildHasher for OneHash {
    type Hasher = SameHash;

    fn build_hasher(&self) -> SameHash {
        SameHash
    }
}

pub(crate) struct SameHash;

impl Hasher for SameHash {
    fn finish(&self) -> u64 {
        42
    }

    fn write(&mut self, _: &[u8]) {}
}

#[test]
fn tasks_of_the_runtime_share_one_compute() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = host.builder().build().expect("valid settings");
        let computes = Arc::new(AtomicUsize::new(0));
        let tasks = (0..8).map(|n| {
            let (cache, computes) = (cache.clone(), Arc::clone(&computes));
            host.spawn(async move {
                let compute = move || async move {
                    computes.fetch_add(1, Ordering::SeqCst);
                    steps(20).await;
                    Arc::new(n)
                };
                cache.get_or_compute(1, compute).await
            })
        });
        let values = join_all(tasks.collect::<Vec<_>>()).await;
        assert!(values.iter().all(|value| Arc::ptr_eq(value, &values[0])), "one value for all");
        assert_eq!(computes.load(Ordering::SeqCst), 1);
        check(&cache, 0);
    });
}

#[test]
fn threads_that_ask_at_once_begin_one_compute_for_each_key() {
    const ROUNDS: u32 = 3_000;
    const THREADS: u32 = 4;
    in_time(|| {
        let cache = new_cache();
        let alarm = WokenFromAfar::alarm();
        let computes = Arc::new(AtomicUsize::new(0));
        let barrier = Arc::new(Barrier::new(THREADS as usize));
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (cache, alarm) = (cache.clone(), Arc::clone(&alarm));
                let (computes, barrier) = (Arc::clone(&computes), Arc::clone(&barrier));
                thread::spawn(move || {
                    let ask = |round| {
                        barrier.wait();
                        let alarm = Arc::clone(&alarm);
                        let computes = Arc::clone(&computes);
                        let compute = move || async move {
                            computes.fetch_add(1, Ordering::SeqCst);
                            WokenFromAfar::new((round % 3) as usize, &alarm).await;
                            Arc::new(thread)
                        };
                        wait(cache.get_or_compute(round, compute))
                    };
                    (0..ROUNDS).map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        let values: Vec<Vec<_>> =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        for others in &values[1..] {
            for (round, value) in others.iter().enumerate() {
                assert!(Arc::ptr_eq(value, &values[0][round]), "one value for all");
            }
        }
        assert_eq!(computes.load(Ordering::SeqCst), ROUNDS as usize);
        let stats = cache.stats();
        assert_eq!(stats.requests(), u64::from(ROUNDS * THREADS));
        assert_eq!(stats.misses - stats.coalesced, u64::from(ROUNDS));
        assert_eq!((stats.computes, stats.inserts), (u64::from(ROUNDS), u64::from(ROUNDS)));
        check(&cache, 0);
    });
}

/// Something that only one value at a time may hold.
#[derive(Clone)]
struct Exclusive(#[expect(dead_code, reason = "held to be dropped")] Arc<Held>);

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn an_expired_value_is_gone_before_its_successor_is_computed() {
    let cache: Cache<u32, Exclusive> = Cache::builder().build().expect("valid settings");
    let holders = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let holders = Arc::clone(&holders);
        let open = || async move {
            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "nobody else holds it");
            Exclusive(Arc::new(Held(holders)))
        };
        // Stored, and past its time at once.
        let call = cache.entry(1).ttl(Duration::from_nanos(1)).get_or_compute(open);
        drop(wait(call));
    }
    check(&cache, 0);
}

#[test]
fn all_who_join_during_a_first_poll_get_its_outcome() {
    const ROUNDS: u32 = 3_000;
    const THREADS: u32 = 4;
    in_time(|| {
        let cache = new_cache();
        let barrier = Arc::new(Barrier::new(THREADS as usize));
        let threads = (0..THREADS).map(|_| {
            let (cache, barrier) = (cache.clone(), Arc::clone(&barrier));
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    barrier.wait();
                    let observer = cache.clone();
                    // Over in one poll, which goes on until all others wait for its end.
                    let compute = move || async move {
                        let all = u64::from((round + 1) * (THREADS - 1));
                        while observer.stats().coalesced < all {
                            thread::yield_now();
                        }
                        Arc::new(7)
                    };
                    assert_eq!(*wait(cache.get_or_compute(round, compute)), 7);
                }
            })
        });
        for thread in threads.collect::<Vec<_>>() {
            thread.join().expect("no panic");
        }
        check(&cache, 0);
    });
}

#[test]
fn no_wake_is_lost_when_threads_poll_one_compute() {
    const ROUNDS: u32 = 400;
    const CALLERS: usize = 3;
    in_time(|| {
        let cache = new_cache();
        let alarm = WokenFromAfar::alarm();
        for round in 0..ROUNDS {
            let barrier = Arc::new(Barrier::new(CALLERS));
            let threads: Vec<_> = (0..CALLERS)
                .map(|_| {
                    let (cache, alarm) = (cache.clone(), Arc::clone(&alarm));
                    let barrier = Arc::clone(&barrier);
                    thread::spawn(move || {
                        let compute = move || async move {
                            WokenFromAfar::new(50, &alarm).await;
                            Arc::new(round)
                        };
                        barrier.wait();
                        wait(cache.get_or_compute(round, compute))
                    })
                })
                .collect();
            for thread in threads {
                assert_eq!(*thread.join().expect("no panic"), round);
            }
        }
        check(&cache, 0);
    });
}

#[test]
fn no_wake_is_lost_when_callers_leave_and_are_parked_meanwhile() {
    const ROUNDS: u32 = 1_500;
    in_time(|| {
        let cache = new_cache();
        let alarm = WokenFromAfar::alarm();
        for round in 0..ROUNDS {
            let barrier = Arc::new(Barrier::new(3));
            let ask = |cache: Cache<u32, Arc<u32>>| {
                let alarm = Arc::clone(&alarm);
                let compute = move || async move {
                    WokenFromAfar::new(8, &alarm).await;
                    Arc::new(round)
                };
                async move { cache.get_or_compute(round, compute).await }.boxed()
            };
            let (stays, mut leaves, mut parks) =
                (ask(cache.clone()), ask(cache.clone()), ask(cache.clone()));
            let stays = {
                let barrier = Arc::clone(&barrier);
                thread::spawn(move || {
                    barrier.wait();
                    wait(stays)
                })
            };
            let leaves = {
                let barrier = Arc::clone(&barrier);
                thread::spawn(move || {
                    barrier.wait();
                    for _ in 0..round % 7 {
                        if poll_once(&mut leaves).is_some() {
                            break;
                        }
                    }
                    drop(leaves);
                })
            };
            barrier.wait();
            for _ in 0..round % 5 {
                if poll_once(&mut parks).is_some() {
                    break;
                }
            }
            assert_eq!(*stays.join().expect("no panic"), round);
            leaves.join().expect("no panic");
        }
        check(&cache, 0);
    });
}

#[test]
fn a_caller_is_woken_though_another_ends_the_compute_right_after_its_poll() {
    const ROUNDS: u32 = 5_000;
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        // The round that is being polled for the first time, and the one that was joined then.
        let (begun, joined) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let spins = {
            let (cache, begun, joined) = (cache.clone(), Arc::clone(&begun), Arc::clone(&joined));
            thread::spawn(move || {
                for round in 1..=ROUNDS {
                    spin_until(&begun, round);
                    let mut caller = cache.get_or_compute(round, || async { 0 }).boxed();
                    assert!(poll_once(&mut caller).is_none(), "the other is polling");
                    joined.store(round as usize, Ordering::SeqCst);
                    // Polls without being woken, and so takes the next poll when it can.
                    let mut polls = 0_u32;
                    while poll_once(&mut caller).is_none() {
                        polls += 1;
                        if polls % 1_024 == 0 {
                            thread::yield_now();
                        }
                    }
                }
            })
        };
        let alarm = WokenFromAfar::alarm();
        for round in 1..=ROUNDS {
            let (begun, joined) = (Arc::clone(&begun), Arc::clone(&joined));
            let mut woken = WokenFromAfar::new(1, &alarm);
            let mut is_first = true;
            let compute = poll_fn(move |context| {
                if mem::take(&mut is_first) {
                    begun.store(round as usize, Ordering::SeqCst);
                    spin_until(&joined, round);
                }
                woken.poll_unpin(context).map(|()| round)
            });
            assert_eq!(wait(cache.get_or_compute(round, || compute)), round);
        }
        spins.join().expect("no panic");
        check(&cache, 0);
    });
}

fn spin_until(round: &AtomicUsize, expected: u32) {
    while round.load(Ordering::SeqCst) < expected as usize {
        thread::yield_now();
    }
}

/// A value whose destructor panics when it is armed, once.
#[derive(Clone)]
struct Armed(Arc<AtomicBool>);

impl Drop for Armed {
    fn drop(&mut self) {
        assert!(!self.0.swap(false, Ordering::SeqCst), "the value's destructor");
    }
}

#[test]
fn a_value_that_is_not_stored_and_whose_destructor_panics_leaves_no_caller_hanging() {
    in_time(|| {
        let cache: Cache<u32, Armed> = Cache::builder().build().expect("valid settings");
        let armed = Arc::new(AtomicBool::new(false));
        let (arms, value) = (Arc::clone(&armed), Armed(armed));
        let switch = Switch::default();
        let is_on = switch.is_on();
        let entry = cache.entry(1).ttl_with(move |_| {
            arms.store(true, Ordering::SeqCst);
            panic!("no ttl")
        });
        let leads = entry.try_get_or_compute(|| is_on.map(|()| Ok::<_, u8>(value)));
        let mut leads = AssertUnwindSafe(leads).catch_unwind().boxed();
        assert!(poll_once(&mut leads).is_none());
        let mut joins = cache.try_get_or_compute(1, || async { Err(2) }).boxed();
        assert!(poll_once(&mut joins).is_none());
        switch.turn_on();
        let leads = wait(leads).expect("the panic is contained");
        assert!(matches!(leads, Err(ComputeError::Panicked(_))));
        assert!(matches!(wait(joins), Err(ComputeError::Panicked(_))));
        check(&cache, 0);
    });
}

#[test]
fn a_ttl_closure_that_is_not_needed_and_whose_destructor_panics_leaves_no_caller_hanging() {
    in_time(|| {
        let cache: Cache<u32, u32> = Cache::builder().build().expect("valid settings");
        let switch = Switch::default();
        let is_on = switch.is_on();
        let bomb = Bomb("the closure's destructor");
        let entry = cache.entry(1).ttl_with(move |_| {
            let _ = &bomb;
            Duration::MAX
        });
        let leads = entry.try_get_or_compute(|| is_on.map(|()| Err::<u32, u8>(1)));
        let mut leads = AssertUnwindSafe(leads).catch_unwind().boxed();
        assert!(poll_once(&mut leads).is_none());
        let mut joins = cache.try_get_or_compute(1, || async { Ok::<_, u8>(2) }).boxed();
        assert!(poll_once(&mut joins).is_none());
        switch.turn_on();
        let leads = wait(leads).expect("the panic is contained");
        assert!(leads.is_err());
        assert!(wait(joins).is_err(), "the same outcome");
        check(&cache, 0);
    });
}
