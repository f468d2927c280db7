//! Writes while a value is renewed: the write wins at each step, and later callers do not join.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleeting::Cache;
use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};

use crate::flights::{on_every_runtime, steps};
use crate::support::{Gate, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

type Write = fn(&Cache<u32, u32>);

/// What is written, and what is to be read afterwards.
const WRITES: [(&str, Write, Option<u32>); 8] = [
    ("insert", |cache| _ = cache.insert(1, 20), Some(20)),
    ("entry, insert", |cache| _ = cache.entry(1).insert(20), Some(20)),
    ("entry_ref, ttl, insert", |cache| _ = cache.entry_ref(&1).ttl(HOUR).insert(20), Some(20)),
    (
        "remove, or_insert",
        |cache| {
            cache.remove(&1);
            assert_eq!(cache.entry(1).or_insert(20), 20);
        },
        Some(20),
    ),
    ("remove", |cache| _ = cache.remove(&1), None),
    (
        "insert, remove_if",
        |cache| {
            cache.insert(1, 20);
            assert_eq!(cache.remove_if(&1, |value| *value == 20), Some(20));
        },
        None,
    ),
    ("clear", Cache::clear, None),
    (
        "refresh",
        |cache| {
            cache.remove(&1);
            assert_eq!(cache.refresh(1, || async { 20 }).now_or_never(), Some(20));
        },
        Some(20),
    ),
];

/// The steps of a refresh, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// In the closure that makes the compute.
    Made,
    /// After that, and before the task is polled, if there is one.
    NotPolled,
    FirstPoll,
    BetweenPolls,
    LastPoll,
    /// In the destructor of the compute, when its value is there.
    Dropped,
    /// In the closures that say whether and how long the value is kept.
    Judged,
    Measured,
}

const STEPS: [Step; 8] = [
    Step::Made,
    Step::NotPolled,
    Step::FirstPoll,
    Step::BetweenPolls,
    Step::LastPoll,
    Step::Dropped,
    Step::Judged,
    Step::Measured,
];

/// Writes once, when its step has come.
#[derive(Clone)]
struct Writer {
    cache: Cache<u32, u32>,
    pending: Arc<Mutex<Option<(Step, Write)>>>,
}

impl Writer {
    fn new(cache: &Cache<u32, u32>, step: Step, write: Write) -> Self {
        Self { cache: cache.clone(), pending: Arc::new(Mutex::new(Some((step, write)))) }
    }

    fn reach(&self, step: Step) {
        let due = self.pending.lock().expect("not poisoned").take_if(|(due, _)| *due == step);
        if let Some((_, write)) = due {
            write(&self.cache);
        }
    }

    fn has_written(&self) -> bool {
        self.pending.lock().expect("not poisoned").is_none()
    }
}

/// Reaches its step when it is dropped.
struct AtDrop(Writer);

impl Drop for AtDrop {
    fn drop(&mut self) {
        self.0.reach(Step::Dropped);
    }
}

/// How the value comes to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    InTheBackground,
    InTheCall,
    AskedFor,
}

const KINDS: [Kind; 3] = [Kind::InTheBackground, Kind::InTheCall, Kind::AskedFor];

/// Renews key 1, whose compute yields 10 after the gate; one who writes goes along.
fn renew<'a>(
    cache: &'a Cache<u32, u32>,
    kind: Kind,
    gate: &Gate,
    writer: &Writer,
) -> BoxFuture<'a, u32> {
    let (judge, measure, own) = (writer.clone(), writer.clone(), writer.clone());
    let passed = gate.passed();
    let compute = move || {
        own.reach(Step::Made);
        let end = AtDrop(own.clone());
        let mut steps = async move {
            own.reach(Step::FirstPoll);
            passed.await;
            own.reach(Step::LastPoll);
            10
        }
        .boxed();
        poll_fn(move |context| {
            let _ = &end;
            steps.poll_unpin(context)
        })
    };
    let entry = cache.entry(1);
    let entry = entry.keep_if(move |value| {
        judge.reach(Step::Judged);
        *value == 10
    });
    let entry = entry.ttl_with(move |_| {
        measure.reach(Step::Measured);
        HOUR
    });
    match kind {
        Kind::AskedFor => entry.refresh(compute).boxed(),
        _ => entry.get_or_compute(compute).boxed(),
    }
}

#[test]
fn a_write_wins_at_every_step_of_a_refresh() {
    in_virtual_time(async |time| {
        for (kind, step) in KINDS.into_iter().flat_map(|kind| STEPS.map(|step| (kind, step))) {
            for (name, write, left) in WRITES {
                println!("{kind:?}: {name} at {step:?}");
                let builder = time.builder().ttl(60 * SECOND).refresh_after(SECOND);
                let cache: Cache<u32, u32> = builder.build().expect("valid settings");
                if kind == Kind::InTheCall {
                    cache.close().await;
                }
                cache.insert(1, 1);
                time.advance(2 * SECOND).await;
                let writer = Writer::new(&cache, step, write);
                let gate = Gate::new();
                let mut caller = renew(&cache, kind, &gate, &writer);
                let answer = poll_once(&mut caller);
                assert_eq!(answer.is_some(), kind == Kind::InTheBackground);
                writer.reach(Step::NotPolled);
                steps(4).await;
                writer.reach(Step::BetweenPolls);
                check(&cache, usize::from(!writer.has_written()));
                gate.open();
                let answer = match answer {
                    Some(answer) => answer,
                    None => caller.await,
                };
                steps(4).await;
                assert!(writer.has_written());
                // Who waits for the outcome gets it all the same.
                assert_eq!(answer, if kind == Kind::InTheBackground { 1 } else { 10 });
                assert_eq!(cache.peek(&1), left);
                let later = cache.get_or_compute(1, || async { 30 }).await;
                assert_eq!(later, left.unwrap_or(30));
                check(&cache, 0);
            }
        }
    });
}

#[test]
fn nobody_joins_a_refresh_that_was_written_over() {
    in_virtual_time(async |time| {
        for kind in KINDS {
            for (name, write, left) in WRITES {
                println!("{kind:?}: {name}");
                let builder = time.builder().ttl(60 * SECOND).refresh_after(SECOND);
                let cache: Cache<u32, u32> = builder.build().expect("valid settings");
                if kind == Kind::InTheCall {
                    cache.close().await;
                }
                cache.insert(1, 1);
                time.advance(2 * SECOND).await;
                let (old_gate, new_gate) = (Gate::new(), Gate::new());
                let writer = Writer::new(&cache, Step::BetweenPolls, write);
                let mut old = renew(&cache, kind, &old_gate, &writer);
                let answer = poll_once(&mut old);
                writer.reach(Step::BetweenPolls);
                assert_eq!(cache.peek(&1), left);
                // The value that was written may grow old, and be renewed, before the old one is done.
                time.advance(2 * SECOND).await;
                let mut new = cache.refresh(1, || new_gate.passed().map(|()| 30)).boxed();
                assert!(poll_once(&mut new).is_none());
                check(&cache, 1);
                old_gate.open();
                if answer.is_none() {
                    assert_eq!(old.await, 10);
                }
                time.advance(Duration::ZERO).await;
                assert_eq!(cache.peek(&1), left, "the old one is not stored");
                check(&cache, 1);
                new_gate.open();
                assert_eq!(new.await, 30);
                assert_eq!(cache.peek(&1), Some(30));
                check(&cache, 0);
            }
        }
    });
}

#[test]
fn a_failure_of_a_refresh_that_was_written_over_is_nobodys() {
    in_virtual_time(async |time| {
        for (name, write, left) in WRITES {
            println!("{name}");
            let builder = time.builder().ttl(60 * SECOND).refresh_after(SECOND);
            let cache: Cache<u32, u32> =
                builder.error_ttl(60 * SECOND).build().expect("valid settings");
            cache.insert(1, 1);
            time.advance(2 * SECOND).await;
            let gate = Gate::new();
            let passed = gate.passed();
            let compute = || async move {
                passed.await;
                Err::<u32, _>("down")
            };
            assert_eq!(cache.try_get_or_compute(1, compute).await, Ok(1));
            write(&cache);
            gate.open();
            time.advance(Duration::ZERO).await;
            assert_eq!(cache.peek(&1), left);
            assert_eq!(cache.stats().compute_failures, 1);
            if left.is_some() {
                // Not put off either.
                time.advance(SECOND).await;
            }
            let compute = || async { Ok::<_, &str>(30) };
            let later = cache.try_get_or_compute(1, compute).await;
            assert_eq!(later, Ok(left.unwrap_or(30)));
            time.advance(Duration::ZERO).await;
            assert_eq!(cache.peek(&1), Some(30));
            check(&cache, 0);
        }
    });
}

type Action = Box<dyn FnOnce() + Send + Sync>;

/// A key that does something when it is made owned: after the look at the value that is there, and
/// before the refresh of it is begun.
struct Lent(u32, Mutex<Option<Action>>);

#[derive(PartialEq, Eq, Hash)]
struct Name(Lent);

impl PartialEq for Lent {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Lent {}

impl Hash for Lent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Borrow<Lent> for Name {
    fn borrow(&self) -> &Lent {
        &self.0
    }
}

impl ToOwned for Lent {
    type Owned = Name;

    fn to_owned(&self) -> Name {
        if let Some(action) = self.1.lock().expect("not poisoned").take() {
            action();
        }
        name()
    }
}

fn name() -> Name {
    Name(Lent(1, Mutex::new(None)))
}

#[test]
fn what_was_written_meanwhile_is_not_renewed() {
    type Write = fn(&Cache<Name, u32>);
    let writes: [(Write, Option<u32>); 3] = [
        (|cache| _ = cache.insert(name(), 20), Some(20)),
        (|cache| _ = cache.remove(&name()), None),
        (Cache::clear, None),
    ];
    in_virtual_time(async move |time| {
        for (write, left) in writes {
            for past in [2 * SECOND, 70 * SECOND, 100 * SECOND] {
                let builder = time.builder().ttl(60 * SECOND).refresh_after(SECOND);
                let builder = builder.stale_while_revalidate(20 * SECOND);
                let cache: Cache<Name, u32> =
                    builder.stale_if_error(HOUR).build().expect("valid settings");
                cache.insert(name(), 1);
                time.advance(past).await;
                let own = cache.clone();
                let lent = Lent(1, Mutex::new(Some(Box::new(move || write(&own)))));
                let answer = cache.entry_ref(&lent).get_or_compute(|| async { 30 }).await;
                time.advance(Duration::ZERO).await;
                let is_served = past < 80 * SECOND;
                let begun = u64::from(!is_served && left.is_none());
                assert_eq!(answer, if is_served { 1 } else { left.unwrap_or(30) });
                assert_eq!(cache.stats().computes, begun);
                assert_eq!(cache.stats().requests(), 1);
                check(&cache, 0);
            }
        }
    });
}

#[test]
fn a_write_wins_on_every_runtime() {
    on_every_runtime(async |host| {
        for (name, write, left) in WRITES {
            println!("{name}");
            let builder = host.builder().ttl(HOUR).stale_while_revalidate(HOUR);
            let cache: Cache<u32, u32> = builder.build().expect("valid settings");
            cache.entry(1).ttl(Duration::from_nanos(1)).insert(1);
            let gate = Gate::new();
            let (passed, held) = (gate.passed(), Arc::new(()));
            let watch = Arc::downgrade(&held);
            // The options go when the outcome has been stored, or not.
            let entry = cache.entry(1).keep_if(move |_| Arc::strong_count(&held) > 0);
            let mut caller = entry.get_or_compute(|| passed.map(|()| 10)).boxed();
            let answer = poll_once(&mut caller);
            write(&cache);
            gate.open();
            match answer {
                Some(answer) => assert_eq!(answer, 1),
                None => assert_eq!(caller.await, 10),
            }
            while watch.strong_count() > 0 {
                steps(1).await;
            }
            assert_eq!(cache.peek(&1), left);
            check(&cache, 0);
        }
    });
}
