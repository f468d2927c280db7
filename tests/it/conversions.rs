//! Errors as they are passed on, and what the public types tell of themselves.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fleeting::{Cache, ComputeError, RemovalCause, SharedError, Stats};
use futures::executor::block_on;

type Anything = Box<dyn Error + Send + Sync>;

/// An error that wraps another one.
#[derive(Debug, PartialEq)]
struct Layer(&'static str, Option<Box<Layer>>);

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|layer| -> &(dyn Error + 'static) { layer })
    }
}

fn layers() -> Layer {
    Layer("no prices", Some(Box::new(Layer("no answer", Some(Box::new(Layer("no route", None)))))))
}

/// All messages of a chain, as error reports print them.
fn report(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn a_report_has_each_message_once() {
    let failed = ComputeError::Failed(Arc::new(layers()));
    assert_eq!(report(&failed), "no prices: no answer: no route");
    let boxed: Anything = failed.into();
    assert_eq!(report(&*boxed), "no prices: no answer: no route");
    let single = ComputeError::Failed(Arc::new(Layer("alone", None)));
    assert_eq!(report(&single), "alone");
    let others: [ComputeError<Layer>; 3] =
        [ComputeError::Panicked("oh".into()), ComputeError::TimedOut, ComputeError::Recursive];
    let reports = others.map(|error| {
        assert!(error.source().is_none());
        report(&error)
    });
    assert!(reports[0].contains("oh"));
    assert!(reports.iter().all(|report| !report.is_empty()));
}

#[test]
fn a_boxed_error_becomes_a_real_one_in_one_word() {
    #[expect(clippy::unused_async, reason = "as a real one")]
    async fn fetch(fails: bool) -> Result<u32, Anything> {
        if fails { Err(layers().into()) } else { Ok(1) }
    }
    async fn cached(cache: &Cache<u32, u32>, fails: bool) -> Result<u32, Anything> {
        let value = cache.try_get_or_compute(1, || fetch(fails)).await;
        Ok(value.map_err(ComputeError::into_error)?)
    }
    let cache = Cache::new(10);
    let error = block_on(cached(&cache, true)).expect_err("it fails");
    assert_eq!(report(&*error), "no prices: no answer: no route");
    let error: Box<ComputeError<SharedError<Anything>>> =
        error.downcast().expect("it is what it was made of");
    let inner = error.failed().expect("the compute failed").downcast_ref::<Layer>();
    assert_eq!(inner, Some(&layers()));
    assert_eq!(block_on(cached(&cache, false)).expect("it is computed now"), 1);
}

#[test]
fn a_shared_error_is_the_one_that_was_given() {
    let given: Arc<Anything> = Arc::new(layers().into());
    let error = ComputeError::Failed(Arc::clone(&given)).into_error();
    let ComputeError::Failed(shared) = &error else { panic!("it is still a failure") };
    let shared: &SharedError<Anything> = shared;
    assert!(Arc::ptr_eq(&shared.clone().into_inner(), &given));
    assert_eq!(format!("{shared:?}"), format!("{:?}", layers()));
    assert_eq!(shared.to_string(), "no prices");
    assert!(shared.is::<Layer>(), "the methods of the error are at hand");
    for (error, text) in [
        (ComputeError::<Anything>::TimedOut, "longer"),
        (ComputeError::Recursive, "same key"),
        (ComputeError::Panicked("oh".into()), "oh"),
    ] {
        let error = error.into_error();
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.source().is_none());
    }
}

#[test]
fn an_error_that_was_boxed_of_a_text_has_one_message() {
    let error: ComputeError<Anything> = ComputeError::Failed(Arc::new("no route".into()));
    assert_eq!(report(&error.into_error()), "no route");
}

#[test]
fn failures_are_taken_out_and_mapped() {
    let not_found = io::Error::new(io::ErrorKind::NotFound, "no file");
    let error = ComputeError::Failed(Arc::new(not_found));
    let kind = error.map_failed(|error| error.kind());
    assert_eq!(kind, ComputeError::Failed(Arc::new(io::ErrorKind::NotFound)));
    assert_eq!(kind.into_failed(), Ok(Arc::new(io::ErrorKind::NotFound)));
    let never = |_: Arc<u32>| -> u32 { unreachable!("there is no failure") };
    assert_eq!(ComputeError::<u32>::TimedOut.map_failed(never), ComputeError::TimedOut);
    assert_eq!(ComputeError::<u32>::Recursive.map_failed(never), ComputeError::Recursive);
    let panicked = ComputeError::<u32>::Panicked("oh".into());
    assert_eq!(panicked.clone().map_failed(never), ComputeError::Panicked("oh".into()));
    let why: ComputeError<Infallible> = panicked.into_failed().expect_err("it panicked");
    assert_eq!(why, ComputeError::Panicked("oh".into()));
    assert_eq!(ComputeError::<u32>::TimedOut.into_failed(), Err(ComputeError::TimedOut));
    assert_eq!(ComputeError::<u32>::Recursive.into_failed(), Err(ComputeError::Recursive));
    assert!(!report(&why).is_empty());
}

#[test]
fn all_who_wait_share_one_error() {
    let cache: Cache<u32, u32> = Cache::new(10);
    let call = || cache.try_get_or_compute(1, async || Err::<u32, _>(layers()));
    let gate = crate::support::Gate::new();
    let passed = gate.passed();
    let mut leader = Box::pin(cache.try_get_or_compute(1, || async move {
        passed.await;
        Err::<u32, _>(layers())
    }));
    assert!(crate::support::poll_once(&mut leader).is_none());
    let mut joined = Box::pin(call());
    assert!(crate::support::poll_once(&mut joined).is_none());
    gate.open();
    let errors = [block_on(leader), block_on(joined)];
    let [first, second] = errors.map(|error| error.expect_err("it fails").into_failed());
    let (first, second) = (first.expect("a failure"), second.expect("a failure"));
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn what_never_expires_says_so() {
    let builder = || Cache::<u32, u32>::builder();
    let plain = builder().build().expect("the settings are valid");
    let bounded =
        builder().max_size(5).tti(Duration::from_secs(3)).build().expect("the settings are valid");
    let endless = builder().ttl(Duration::MAX).build().expect("the settings are valid");
    for cache in [&plain, &bounded, &endless] {
        let text = format!("{cache:?}");
        assert!(
            !text.contains("18446744073709551615") && !text.contains("18446744073.7"),
            "{text}"
        );
        assert!(text.contains("ttl: never"), "{text}");
        assert!(format!("{cache:#?}").contains("ttl: never"));
    }
    assert!(format!("{bounded:?}").contains("tti: 3s"));
    for builder in [builder(), builder().ttl(Duration::MAX)] {
        let text = format!("{builder:?}");
        assert!(!text.contains("18446744073709551615"), "{text}");
    }
}

#[test]
fn causes_and_figures_are_words_for_a_log() {
    let causes = [
        (RemovalCause::Expired, "expired", true),
        (RemovalCause::Evicted, "evicted", true),
        (RemovalCause::Removed, "removed", false),
        (RemovalCause::Replaced, "replaced", false),
    ];
    for (cause, word, by_itself) in causes {
        assert_eq!(cause.to_string(), word);
        assert_eq!(format!("{cause:>9}|"), format!("{word:>9}|"));
        assert_eq!(cause.was_evicted(), by_itself);
    }
    assert_eq!(format!("{:?}", RemovalCause::Expired), "Expired");

    assert_eq!(Stats::default().to_string(), "hit rate 0.0 %");
    let cache: Cache<u32, u32> = Cache::new(1);
    cache.insert(1, 1);
    cache.get(&1);
    cache.get(&2);
    let text = cache.stats().to_string();
    assert_eq!(text, "hit rate 50.0 %: hits 1, misses 1, inserts 1");
    assert!(format!("{:?}", cache.stats()).contains("hits: 1"));
}

#[test]
fn handles_and_iterators_tell_no_contents() {
    let cache: Cache<&str, &str> = Cache::new(3);
    cache.insert("secret key", "secret value");
    let weak = cache.downgrade();
    for text in [format!("{weak:?}"), format!("{:?}", cache.iter()), format!("{cache:?}")] {
        assert!(text.contains("len: 1") && text.contains("max_size: Some(3)"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    assert!(format!("{weak:?}").starts_with("WeakCache"));
    assert!(format!("{:?}", cache.iter()).starts_with("Iter"));
    drop(cache);
    assert_eq!(format!("{weak:?}"), "WeakCache(gone)");
}
