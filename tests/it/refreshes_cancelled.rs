//! Refreshes that come to a bad end: callers that leave, user code that panics, a cache that goes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use fleeting::{Cache, ComputeError};
use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};

use crate::flights::{Bomb, Switch, in_time, on_every_runtime, steps, wait};
use crate::support::{Host, VirtualTime, check, in_virtual_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A cache whose key 1 has a value past its TTL, which is renewed inside the call.
async fn stale_and_closed(host: &Host) -> Cache<u32, u32> {
    let builder = host.builder().ttl(HOUR).stale_while_revalidate(HOUR);
    let cache: Cache<u32, u32> = builder.build().expect("valid settings");
    cache.close().await;
    cache.entry(1).ttl(Duration::from_nanos(1)).insert(1);
    cache
}

/// A compute that passes all switches, one after the other, and holds something meanwhile.
fn passing(switches: &[Switch], held: &Arc<()>) -> BoxFuture<'static, u32> {
    let waits: Vec<_> = switches.iter().map(Switch::is_on).collect();
    let held = Arc::clone(held);
    async move {
        for wait in waits {
            wait.await;
        }
        drop(held);
        10
    }
    .boxed()
}

#[test]
fn a_call_that_renews_may_be_dropped_at_every_await() {
    on_every_runtime(async |host| {
        for polls in 0..4 {
            let cache = stale_and_closed(&host).await;
            let (switches, held) = ([(); 3].map(|()| Switch::default()), Arc::new(()));
            let mut renews = cache.get_or_compute(1, || passing(&switches, &held)).boxed();
            for (poll, switch) in switches.iter().enumerate().take(polls) {
                assert!(poll_once(&mut renews).is_none());
                if poll + 1 < polls {
                    switch.turn_on();
                }
            }
            check(&cache, usize::from(polls > 0));
            drop(renews);
            assert_eq!(Arc::strong_count(&held), 1, "the compute goes along");
            check(&cache, 0);
            let stats = cache.stats();
            let begun = u64::from(polls > 0);
            assert_eq!((stats.computes, stats.refreshes), (begun, begun));
            assert_eq!((stats.hits, stats.misses, stats.stale_hits), (0, begun, 0));
            // The next call tries again at once: nothing has failed.
            assert_eq!(cache.get_or_compute(1, || async { 20 }).await, 20);
            assert_eq!(cache.get(&1), Some(20));
        }
    });
}

#[test]
fn who_joins_a_call_that_renews_does_not_notice_that_it_is_dropped() {
    on_every_runtime(async |host| {
        for polls in 1..4 {
            for dropped in 0..3 {
                let cache = stale_and_closed(&host).await;
                let (switches, held) = ([(); 3].map(|()| Switch::default()), Arc::new(()));
                let mut callers = vec![
                    cache.get_or_compute(1, || passing(&switches, &held)).boxed(),
                    cache.refresh(1, || async { unreachable!() }).boxed(),
                    cache.refresh(1, || async { unreachable!() }).boxed(),
                ];
                for (poll, switch) in switches.iter().enumerate().take(polls) {
                    assert!(callers.iter_mut().all(|caller| poll_once(caller).is_none()));
                    if poll + 1 < polls {
                        switch.turn_on();
                    }
                }
                drop(callers.remove(dropped));
                assert_eq!(cache.get_or_compute(1, || async { unreachable!() }).await, 1);
                switches.iter().for_each(Switch::turn_on);
                for caller in callers {
                    assert_eq!(caller.await, 10);
                }
                assert_eq!(cache.get(&1), Some(10));
                let stats = cache.stats();
                assert_eq!((stats.computes, stats.refreshes, stats.coalesced), (1, 1, 2));
                assert_eq!((stats.hits, stats.misses, stats.stale_hits), (1, 3, 1));
                check(&cache, 0);
            }
        }
    });
}

#[test]
fn who_waits_for_what_a_stale_value_stands_in_for_counts_once_however_it_ends() {
    on_every_runtime(async |host| {
        let builder = host.builder().ttl(Duration::from_nanos(1)).stale_if_error(HOUR);
        let cache: Cache<u32, u32> = builder.build().expect("valid settings");
        cache.insert(1, 1);
        let switch = Switch::default();
        let is_on = switch.is_on();
        let failing = || is_on.map(|()| Err::<u32, _>("down"));
        let mut leads = cache.try_get_or_compute(1, failing).boxed();
        assert!(poll_once(&mut leads).is_none());
        let join = || cache.get_or_compute(1, || async { unreachable!() }).boxed();
        let (mut joins, mut leaves, forgotten) = (join(), join(), join());
        assert!(poll_once(&mut joins).is_none());
        assert!(poll_once(&mut leaves).is_none());
        drop((leaves, forgotten));
        switch.turn_on();
        assert_eq!(futures::join!(leads, joins), (Ok(1), 1));
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.stale_hits), (0, 1, 2));
        assert_eq!(stats.coalesced, 2);
        check(&cache, 0);
    });
}

#[test]
fn a_call_that_has_its_answer_is_counted_before_it_is_dropped() {
    on_every_runtime(async |host| {
        let builder = host.builder().ttl(HOUR).stale_if_error(HOUR);
        let cache: Cache<u32, u32> = builder.build().expect("valid settings");
        cache.entry(1).ttl(Duration::from_nanos(1)).insert(1);
        let mut caller = cache.get_or_compute(1, || async { 2 }).boxed();
        assert_eq!(poll_once(&mut caller), Some(2));
        assert_eq!((cache.stats().misses, cache.stats().requests()), (1, 1));
        drop(caller);
        assert_eq!((cache.stats().misses, cache.stats().requests()), (1, 1));
    });
}

#[test]
fn a_call_that_asks_again_is_still_counted_once() {
    // What the second look finds, in place of the stale value that was there at the first.
    type Write = fn(&Cache<u32, u32>);
    let writes: [(Write, u32); 4] = [
        (|cache| _ = cache.remove(&1), 30),
        (Cache::clear, 30),
        (|cache| _ = cache.insert(1, 20), 20),
        (|cache| _ = cache.entry(1).ttl(Duration::ZERO).insert(20), 30),
    ];
    on_every_runtime(async move |host| {
        for (write, answer) in writes {
            let builder = host.builder().ttl(HOUR).stale_if_error(HOUR);
            let cache: Cache<u32, u32> = builder.build().expect("valid settings");
            cache.entry(1).ttl(Duration::from_nanos(1)).insert(1);
            let switch = Switch::default();
            let is_on = switch.is_on();
            let failing = || is_on.map(|()| Err::<u32, _>("an error of another type"));
            let mut leads = cache.try_get_or_compute(1, failing).boxed();
            assert!(poll_once(&mut leads).is_none());
            let mut joins = cache.get_or_compute(1, || async { 30 }).boxed();
            assert!(poll_once(&mut joins).is_none());
            write(&cache);
            switch.turn_on();
            assert!(leads.await.is_err(), "the value that stood in is gone");
            assert_eq!(joins.await, answer);
            let stats = cache.stats();
            assert_eq!((stats.hits, stats.misses, stats.stale_hits), (0, 2, 0));
            assert_eq!(stats.coalesced, 1);
            check(&cache, 0);
        }
    });
}

/// Ways in which the user's code panics during a refresh.
#[derive(Clone, Copy, Debug)]
enum Panics {
    Made,
    FirstPoll,
    LaterPoll,
    Destructor,
    KeepIf,
    TtlWith,
}

const PANICS: [Panics; 6] = [
    Panics::Made,
    Panics::FirstPoll,
    Panics::LaterPoll,
    Panics::Destructor,
    Panics::KeepIf,
    Panics::TtlWith,
];

/// A call for key 1 that begins a refresh which panics after the switch, if not before.
fn panicking<'a>(
    cache: &'a Cache<u32, u32>,
    panics: Panics,
    switch: &Switch,
    is_asked_for: bool,
) -> BoxFuture<'a, Result<u32, ComputeError<u8>>> {
    let is_on = switch.is_on();
    let compute = move || {
        assert!(!matches!(panics, Panics::Made), "bang");
        let bomb = matches!(panics, Panics::Destructor).then_some(Bomb("bang"));
        let mut compute = async move {
            assert!(!matches!(panics, Panics::FirstPoll), "bang");
            is_on.await;
            assert!(!matches!(panics, Panics::LaterPoll), "bang");
            Ok(2)
        }
        .boxed();
        poll_fn(move |context| {
            let _ = &bomb;
            compute.poll_unpin(context)
        })
    };
    let entry = cache.entry(1);
    let entry = entry.keep_if(move |_| {
        assert!(!matches!(panics, Panics::KeepIf), "bang");
        true
    });
    let entry = entry.ttl_with(move |_| {
        assert!(!matches!(panics, Panics::TtlWith), "bang");
        HOUR
    });
    if is_asked_for {
        entry.try_refresh(compute).boxed()
    } else {
        entry.try_get_or_compute(compute).boxed()
    }
}

#[test]
fn a_refresh_that_panics_leaves_the_cache_whole_and_is_told_to_who_waits() {
    in_virtual_time(async |time| {
        for panics in PANICS {
            println!("{panics:?}");
            let builder = time.builder().ttl(HOUR).refresh_after(SECOND).error_ttl(HOUR);
            let cache: Cache<u32, u32> = builder.build().expect("valid settings");
            cache.insert(1, 1);
            time.advance(SECOND).await;
            let told = |result: Result<u32, ComputeError<u8>>| match result {
                Err(ComputeError::Panicked(message)) => assert_eq!(&*message, "bang"),
                other => panic!("expected the panic, got {other:?}"),
            };
            // In the background: the caller has its value, and who joins is told.
            let switch = Switch::default();
            let caller = panicking(&cache, panics, &switch, false).await;
            assert_eq!(caller.ok(), Some(1));
            let mut joins = cache.try_refresh(1, || async { Ok::<_, u8>(3) }).boxed();
            let at_once = poll_once(&mut joins);
            switch.turn_on();
            told(match at_once {
                Some(result) => result,
                None => joins.await,
            });
            time.advance(Duration::ZERO).await;
            check(&cache, 0);
            // Asked for, with one who joins where that is possible.
            let switch = Switch::default();
            let mut leads = panicking(&cache, panics, &switch, true);
            if let Some(result) = poll_once(&mut leads) {
                told(result);
            } else {
                let mut joins = cache.try_refresh(1, || async { Ok::<_, u8>(3) }).boxed();
                assert!(poll_once(&mut joins).is_none());
                switch.turn_on();
                let (leads, joins) = futures::join!(leads, joins);
                told(leads);
                told(joins);
            }
            check(&cache, 0);
            let stats = cache.stats();
            assert_eq!((stats.computes, stats.compute_failures, stats.refreshes), (2, 2, 2));
            assert_eq!(cache.get(&1), Some(1), "the value that was there");
            // Inside the call: the value that is there stands in.
            cache.close().await;
            time.advance(10 * SECOND).await;
            let switch = Switch::default();
            switch.turn_on();
            assert_eq!(panicking(&cache, panics, &switch, false).await.ok(), Some(1));
            assert_eq!(cache.stats().compute_failures, 3);
            time.advance(10 * SECOND).await;
            assert_eq!(cache.get_or_compute(1, || async { 4 }).await, 4);
            assert_eq!(cache.get(&1), Some(4));
            check(&cache, 0);
        }
    });
}

/// A value whose clone panics when it is told to; before that it may wait.
struct Fragile(u32, Arc<Fuse>);

#[derive(Default)]
struct Fuse {
    /// How many clones there are to be until one panics; 0 for none that does.
    clones: AtomicUsize,
    before: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Fuse {
    fn panic_at(&self, clone: usize) {
        self.clones.store(clone, Ordering::SeqCst);
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        let left = self.1.clones.load(Ordering::SeqCst);
        self.1.clones.store(left.saturating_sub(1), Ordering::SeqCst);
        if left == 1 {
            if let Some(before) = self.1.before.lock().expect("not poisoned").take() {
                before();
            }
            panic!("the clone");
        }
        Self(self.0, Arc::clone(&self.1))
    }
}

fn fragile_cache(time: &VirtualTime, fuse: &Arc<Fuse>) -> Cache<u32, Fragile> {
    let builder = time.builder().ttl(10 * SECOND).stale_while_revalidate(10 * SECOND);
    let cache: Cache<u32, Fragile> = builder.stale_if_error(HOUR).build().expect("valid settings");
    cache.insert(1, Fragile(1, Arc::clone(fuse)));
    cache
}

#[test]
fn a_clone_that_panics_anywhere_in_a_refresh_leaves_the_cache_whole() {
    in_virtual_time(async |time| {
        for (past, is_closed) in [(10, false), (10, true), (20, false), (20, true)] {
            for clone in 1..6 {
                let fuse = Arc::<Fuse>::default();
                let cache = fragile_cache(&time, &fuse);
                if is_closed {
                    cache.close().await;
                }
                time.advance(past * SECOND).await;
                fuse.panic_at(clone);
                let new = Fragile(2, Arc::clone(&fuse));
                let compute = |_| async move { Ok::<_, u8>(new) };
                let call = cache.entry(1).try_get_or_revalidate(compute);
                let _ = AssertUnwindSafe(call).catch_unwind().await;
                time.advance(Duration::ZERO).await;
                check(&cache, 0);
                assert!(cache.stats().requests() <= 1);
                fuse.panic_at(0);
                time.advance(SECOND).await;
                let new = Fragile(3, Arc::clone(&fuse));
                assert!((1..=3).contains(&cache.refresh(1, || async move { new }).await.0));
                assert_eq!(cache.get(&1).map(|value| value.0), Some(3));
                check(&cache, 0);
            }
        }
    });
}

#[test]
fn a_clone_that_panics_for_the_closure_is_the_computes_panic() {
    in_virtual_time(async |time| {
        // The first clone that is made is the one for the closure.
        let fuse = Arc::<Fuse>::default();
        let cache = fragile_cache(&time, &fuse);
        time.advance(20 * SECOND).await;
        fuse.panic_at(1);
        let compute = |_| async { Err::<Fragile, u8>(1) };
        let answer = cache.entry(1).try_get_or_revalidate(compute).await;
        assert_eq!(answer.ok().map(|value| value.0), Some(1), "the stale one stands in");
        assert_eq!((cache.stats().computes, cache.stats().compute_failures), (1, 1));
        check(&cache, 0);
    });
}

#[test]
fn who_joined_before_a_clone_for_the_closure_panicked_is_not_left_waiting() {
    in_time(|| {
        let builder = Cache::builder().ttl(Duration::from_nanos(1)).stale_if_error(HOUR);
        let cache: Cache<u32, Fragile> = builder.build().expect("valid settings");
        let fuse = Arc::<Fuse>::default();
        cache.insert(1, Fragile(1, Arc::clone(&fuse)));
        let (cloning, begun) = mpsc::channel();
        let (go_on, joined) = mpsc::channel::<()>();
        fuse.panic_at(1);
        *fuse.before.lock().expect("not poisoned") = Some(Box::new(move || {
            cloning.send(()).expect("the other thread waits");
            joined.recv().expect("the other thread joins");
        }));
        let leads = {
            let cache = cache.clone();
            thread::spawn(move || {
                let compute = |_| async { unreachable!("it is not made") };
                catch_unwind(AssertUnwindSafe(|| {
                    wait(cache.entry(1).try_get_or_revalidate::<_, _, u8>(compute))
                        .map(|_: Fragile| ())
                }))
            })
        };
        begun.recv().expect("the compute is being made");
        let mut joins = cache.try_get_or_compute(1, || async { Err::<Fragile, u8>(1) }).boxed();
        assert!(poll_once(&mut joins).is_none());
        go_on.send(()).expect("the other thread waits");
        let answer = wait(joins);
        assert_eq!(answer.ok().map(|value| value.0), Some(1));
        assert_eq!(leads.join().expect("no panic here").ok(), Some(Ok(())));
        check(&cache, 0);
    });
}

/// Notes that it was dropped.
struct Noted(Arc<AtomicBool>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn dropping_the_last_handle_drops_the_refreshes_in_the_background() {
    in_virtual_time(async |time| {
        for is_polled in [false, true] {
            let builder = time.builder().ttl(HOUR).refresh_after(SECOND);
            let cache: Cache<u32, Arc<u32>> = builder.build().expect("valid settings");
            let value = Arc::new(1);
            let watch = Arc::downgrade(&value);
            cache.insert(1, value);
            time.advance(SECOND).await;
            let dropped = Arc::new(AtomicBool::new(false));
            let noted = Noted(Arc::clone(&dropped));
            let options = Arc::new(());
            let kept = Arc::clone(&options);
            let entry = cache.entry(1).keep_if(move |_| Arc::strong_count(&kept) > 0);
            let compute = |stale: Option<Arc<u32>>| async move {
                let _held = (stale, noted);
                std::future::pending().await
            };
            drop(entry.get_or_revalidate(compute).await);
            if is_polled {
                time.advance(Duration::ZERO).await;
            }
            check(&cache, 1);
            let other = cache.clone();
            drop(cache);
            assert!(!dropped.load(Ordering::SeqCst));
            drop(other);
            assert!(dropped.load(Ordering::SeqCst), "the compute");
            assert_eq!(Arc::strong_count(&options), 1, "its options");
            assert!(watch.upgrade().is_none(), "and the value, which the compute held too");
        }
    });
}

#[test]
fn closing_ends_the_refreshes_in_the_background_but_for_those_who_wait() {
    on_every_runtime(async |host| {
        for is_joined in [false, true] {
            let builder = host.builder().ttl(HOUR).stale_while_revalidate(HOUR);
            let cache: Cache<u32, u32> = builder.build().expect("valid settings");
            cache.entry(1).ttl(Duration::from_nanos(1)).insert(1);
            let (switch, held) = (Switch::default(), Arc::new(()));
            let mut caller =
                cache.get_or_compute(1, || passing(std::slice::from_ref(&switch), &held)).boxed();
            let Some(answer) = poll_once(&mut caller) else { continue };
            assert_eq!(answer, 1);
            let mut joins = cache.refresh(1, || async { unreachable!() }).boxed();
            if is_joined {
                assert!(poll_once(&mut joins).is_none());
            }
            cache.close().await;
            assert_eq!(Arc::strong_count(&held), 1 + usize::from(is_joined));
            check(&cache, usize::from(is_joined));
            if is_joined {
                switch.turn_on();
                assert_eq!(joins.await, 10);
                assert_eq!(cache.get(&1), Some(10));
            } else {
                // Not put off: nothing has failed.
                assert_eq!(cache.get_or_compute(1, || async { 20 }).await, 20);
            }
            check(&cache, 0);
        }
    });
}

#[test]
fn a_refresh_that_was_written_over_goes_on_beside_its_successor() {
    in_virtual_time(async |time| {
        let builder = time.builder().ttl(HOUR).refresh_after(SECOND);
        let cache: Cache<u32, u32> = builder.build().expect("valid settings");
        cache.insert(1, 1);
        time.advance(SECOND).await;
        let held = Arc::new(());
        let switch = [Switch::default()];
        assert_eq!(cache.get_or_compute(1, || passing(&switch, &held)).await, 1);
        steps(3).await;
        cache.remove(&1);
        assert_eq!(cache.get_or_compute(1, || async { 2 }).await, 2);
        assert_eq!(Arc::strong_count(&held), 2);
        switch[0].turn_on();
        time.advance(Duration::ZERO).await;
        assert_eq!((Arc::strong_count(&held), cache.get(&1)), (1, Some(2)));
        check(&cache, 0);
    });
}
