//! Session: a stream, a database filled for it, and the runs over both.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use fleeting::runtime::Runtime;
use futures::executor::block_on;

use crate::database::{Database, PAYLOAD_BYTES};
use crate::drive::{self, Outcome, Plan};
use crate::error::Failure;
use crate::host::Host;
use crate::interrupt::Interrupt;
use crate::options::Options;
use crate::report::{Baseline, Counts, Report, Setup, Speed};
use crate::service::{Cached, Direct, Settings};
use crate::stream::Stream;
use crate::trace;
use crate::virtual_time::{self, VirtualClock};

/// A stream, a database filled for it, and what to do with them.
pub(crate) struct Session<'a> {
    options: &'a Options,
    interrupt: &'a Interrupt,
    stream: Arc<Stream>,
    database: Database,
    settings: Settings,
}

impl<'a> Session<'a> {
    /// Reads or makes up the stream, and fills a database in `folder`.
    pub(crate) fn open(
        options: &'a Options,
        folder: &Path,
        interrupt: &'a Interrupt,
    ) -> Result<Self, Failure> {
        let stream = Arc::new(stream(options, interrupt)?);
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let database = Database::create(folder, &stream.keys, threads, interrupt)?;
        let settings = Settings {
            max_size: options.max_size(stream.keys.len()),
            ttl: options.ttl(stream.has_ttls()),
            seed: options.seed,
        };
        Ok(Self { options, interrupt, stream, database, settings })
    }

    /// Runs as the options say.
    pub(crate) fn run(self) -> Result<Report, Failure> {
        let report = if self.options.is_virtual { self.run_virtual() } else { self.run_real() }?;
        self.database.close();
        Ok(report)
    }

    /// Runs in virtual time, with the cache only: without it, time would change nothing.
    fn run_virtual(&self) -> Result<Report, Failure> {
        let clock = VirtualClock::new();
        let cached = self.cached(Arc::new(clock.clone()))?;
        let sent = virtual_time::replay(&clock, &self.stream, &cached, self.interrupt)?;
        let setup = Setup {
            concurrency: 1,
            virtual_seconds: Some(self.stream.span().as_secs_f64()),
            ..self.setup()
        };
        Ok(Report {
            setup,
            counts: self.counts(sent, &cached),
            speed: None,
            without_cache: None,
            speedup: None,
            is_interrupted: self.interrupt.is_raised(),
        })
    }

    /// Runs in real time: with the cache, and then without it.
    fn run_real(&self) -> Result<Report, Failure> {
        let host = Host::start(self.options.runtime)?;
        let cached = self.cached(host.runtime())?;
        let outcome = self.drive_cached(&host, &cached)?;
        let counts = self.counts(outcome.tally.count(), &cached);
        drop(cached);
        let speed = Speed::new(&outcome, &counts);
        let without_cache = self.baseline(&host)?;
        let speedup = without_cache.as_ref().and_then(|baseline| baseline.speedup(&speed));
        let setup = Setup { runtime: Some(self.options.runtime.name()), ..self.setup() };
        Ok(Report {
            setup,
            counts,
            speed: Some(speed),
            without_cache,
            speedup,
            is_interrupted: self.interrupt.is_raised(),
        })
    }

    fn cached(&self, runtime: Arc<dyn Runtime>) -> Result<Cached, Failure> {
        let stream = Arc::clone(&self.stream);
        Ok(Cached::new(self.settings, runtime, stream, self.database.client())?)
    }

    fn drive_cached(&self, host: &Host, cached: &Cached) -> Result<Outcome, Failure> {
        let plan = Plan {
            title: "with the cache",
            concurrency: self.options.concurrency(),
            limit: None,
            interrupt: self.interrupt,
        };
        let outcome = drive::drive(&host.runtime(), &self.stream, cached, &plan)?;
        block_on(cached.close());
        Ok(outcome)
    }

    /// The same requests, tasks, database and runtime, without the cache. It comes second, when all
    /// the database's own caches are warm. `None` after an interruption.
    fn baseline(&self, host: &Host) -> Result<Option<Baseline>, Failure> {
        if self.interrupt.is_raised() {
            return Ok(None);
        }
        let plan = Plan {
            title: "without the cache",
            concurrency: self.options.concurrency(),
            limit: self.options.baseline(),
            interrupt: self.interrupt,
        };
        let direct = Direct { database: self.database.client() };
        let outcome = drive::drive(&host.runtime(), &self.stream, &direct, &plan)?;
        Ok(Some(Baseline::new(&outcome, self.stream.len())))
    }

    fn counts(&self, requests: u64, cached: &Cached) -> Counts {
        Counts::new(requests, self.database.queries(), cached)
    }

    fn setup(&self) -> Setup {
        Setup {
            source: self.stream.name.clone(),
            format: self.stream.kind,
            requests_in_source: self.stream.len(),
            left_out: self.stream.left_out,
            distinct_keys: self.stream.keys.len(),
            max_size: self.settings.max_size,
            ttl: self.settings.ttl.to_string(),
            runtime: None,
            concurrency: self.options.concurrency().min(self.stream.len()),
            database_threads: self.database.thread_count(),
            payload_bytes: PAYLOAD_BYTES,
            virtual_seconds: None,
        }
    }
}

/// Reads or makes up the requests.
fn stream(options: &Options, interrupt: &Interrupt) -> Result<Stream, Failure> {
    let Some(path) = &options.trace else { return Ok(options.workload().generate(interrupt)) };
    let stream = trace::read(path, options.format, options.request_limit(), interrupt)?;
    if options.is_virtual && !stream.has_times() && !interrupt.is_raised() {
        return Err(Failure::Timeless(stream.name));
    }
    Ok(stream)
}
