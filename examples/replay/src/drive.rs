//! Drive: many tasks that send the requests of a stream, one after the other each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use fleeting::runtime::{Runtime, Spawner};
use futures_lite::future::yield_now;

use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::progress;
use crate::service::Service;
use crate::stream::{Request, Stream};
use crate::tally::{Tallies, Tally};

/// How long to wait for tasks between two looks at the world.
const TICK: Duration = Duration::from_millis(50);

/// After how many requests a task lets others run: answers from the cache come at once, so it
/// would not by itself.
const TURN: u32 = 256;

/// How to run.
pub(crate) struct Plan<'a> {
    pub(crate) title: &'static str,
    pub(crate) concurrency: usize,
    /// When to end, done or not.
    pub(crate) limit: Option<Duration>,
    pub(crate) interrupt: &'a Interrupt,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) elapsed: Duration,
}

/// Sends the requests of a stream, as planned.
pub(crate) fn drive<S: Service>(
    runtime: &Arc<dyn Runtime>,
    stream: &Arc<Stream>,
    service: &S,
    plan: &Plan<'_>,
) -> Result<Outcome, Failure> {
    let run = Arc::new(Run::new(Arc::clone(stream), plan.interrupt.is_raised()));
    let tasks = plan.concurrency.min(stream.len());
    let (sender, ends) = mpsc::channel();
    let begun = Instant::now();
    for _ in 0..tasks {
        let (run, service, sender) = (Arc::clone(&run), service.clone(), sender.clone());
        runtime.spawn(Box::pin(async move {
            let end = work(&run, &service).await;
            // Nobody waits for it if another task has failed.
            let _ = sender.send(end);
        }));
    }
    drop(sender);
    let ended = wait(&ends, tasks, &run, begun, plan);
    run.halt();
    ended?;
    Ok(Outcome { elapsed: begun.elapsed(), tally: run.tallies.sum() })
}

/// What the tasks of a run share.
struct Run {
    stream: Arc<Stream>,
    /// The first request that no task has taken yet.
    next: AtomicUsize,
    is_halted: AtomicBool,
    tallies: Tallies,
}

impl Run {
    /// A run that is halted from the start sends nothing: the database may lack rows then.
    fn new(stream: Arc<Stream>, is_halted: bool) -> Self {
        let (next, is_halted) = (AtomicUsize::new(0), AtomicBool::new(is_halted));
        Self { stream, next, is_halted, tallies: Tallies::default() }
    }

    fn take(&self) -> Option<Request> {
        if self.is_halted.load(Ordering::Relaxed) {
            return None;
        }
        let position = self.next.fetch_add(1, Ordering::Relaxed);
        (position < self.stream.len()).then(|| self.stream.request(position))
    }

    fn taken(&self) -> usize {
        self.next.load(Ordering::Relaxed).min(self.stream.len())
    }

    fn halt(&self) {
        self.is_halted.store(true, Ordering::Relaxed);
    }
}

/// One task: takes requests until there are no more.
async fn work<S: Service>(run: &Run, service: &S) -> Result<(), Failure> {
    let mut done = 0_u32;
    let mut begun = Instant::now();
    while let Some(request) = run.take() {
        let (row, source) = service.answer(request).await?;
        if !row.belongs_to(request.key) {
            return Err(Failure::WrongRow { asked: run.stream.key(request.key).to_string() });
        }
        // The end of one request is the begin of the next: the clock is read once for both.
        let ended = Instant::now();
        run.tallies.record(source, ended - begun);
        begun = ended;
        done = done.wrapping_add(1);
        if done % TURN == 0 {
            yield_now().await;
            begun = Instant::now();
        }
    }
    Ok(())
}

/// Waits for all tasks, watches the time, and shows how far they are.
fn wait(
    ends: &Receiver<Result<(), Failure>>,
    tasks: usize,
    run: &Run,
    begun: Instant,
    plan: &Plan<'_>,
) -> Result<(), Failure> {
    let bar = progress::bar(plan.title, run.stream.len());
    let mut ended = 0;
    while ended < tasks {
        let is_over = plan.limit.is_some_and(|limit| begun.elapsed() >= limit);
        if is_over || plan.interrupt.is_raised() {
            run.halt();
        }
        bar.set(run.taken());
        match ends.recv_timeout(TICK) {
            Ok(end) => end?,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::LostTask),
        }
        ended += 1;
    }
    Ok(())
}
