//! Service: who answers requests. The cache in front of the database, or the database alone.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use fleeting::runtime::Runtime;
use fleeting::{BuildError, Cache, ComputeError, Stats};
use foldhash::quality::FixedState;

use crate::database::{Client, QueryError, Row};
use crate::key::Key;
use crate::options::Ttl;
use crate::stream::{Request, Stream};

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It was there already.
    Cache,
    /// It was waited for.
    Database,
}

/// Answers requests.
pub(crate) trait Service: Clone + Send + Sync + 'static {
    /// Returns the row of the request's key.
    fn answer(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<(Row, Source), ComputeError<QueryError>>> + Send;
}

/// The database alone.
#[derive(Clone)]
pub(crate) struct Direct {
    pub(crate) database: Client,
}

impl Service for Direct {
    async fn answer(&self, request: Request) -> Result<(Row, Source), ComputeError<QueryError>> {
        match self.database.clone().read(request.key).await {
            Ok(row) => Ok((row, Source::Database)),
            Err(error) => Err(ComputeError::Failed(Arc::new(error))),
        }
    }
}

/// What a cache is built with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) max_size: Option<usize>,
    pub(crate) ttl: Ttl,
    pub(crate) seed: u64,
}

/// The cache, and the database behind it.
#[derive(Clone)]
pub(crate) struct Cached {
    /// Keys of a fixed seed spread over the cache alike each time, so that a run can be repeated.
    cache: Cache<Key, Row, FixedState>,
    ttl: Ttl,
    stream: Arc<Stream>,
    database: Client,
    peak: Arc<AtomicUsize>,
}

impl Cached {
    pub(crate) fn new(
        settings: Settings,
        runtime: Arc<dyn Runtime>,
        stream: Arc<Stream>,
        database: Client,
    ) -> Result<Self, BuildError> {
        let mut builder = Cache::builder().runtime(runtime);
        if let Some(max_size) = settings.max_size {
            builder = builder.max_size(max_size);
        }
        if let Ttl::Fixed(Some(ttl)) = settings.ttl {
            builder = builder.ttl(ttl);
        }
        let cache = builder.hasher(FixedState::with_seed(settings.seed)).build()?;
        Ok(Self { cache, ttl: settings.ttl, stream, database, peak: Arc::default() })
    }

    pub(crate) fn stats(&self) -> Stats {
        self.cache.stats()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    /// The most entries there were.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Frees what has expired.
    pub(crate) fn clean_up(&self) {
        self.cache.cleanup();
    }

    /// Ends the background work.
    pub(crate) async fn close(&self) {
        self.cache.close().await;
    }

    fn note_size(&self) {
        self.peak.fetch_max(self.len(), Ordering::Relaxed);
    }

    /// Answers from the cache, or by one query for all who wait for the same row.
    async fn get_or_query(
        &self,
        request: Request,
        ttl: Option<Duration>,
    ) -> Result<(Row, Source), ComputeError<QueryError>> {
        let mut queried = false;
        let query = || {
            queried = true;
            self.database.clone().read(request.key)
        };
        let entry = self.cache.entry(self.stream.key(request.key).clone());
        let entry = match ttl {
            Some(ttl) => entry.ttl(ttl),
            None => entry,
        };
        let (row, waited) = watch(entry.try_get_or_compute(query)).await;
        if !waited && !queried {
            return Ok((row?, Source::Cache));
        }
        self.note_size();
        Ok((row?, Source::Database))
    }

    /// Answers from the cache if it can, and keeps nothing.
    async fn get_or_pass(
        &self,
        request: Request,
    ) -> Result<(Row, Source), ComputeError<QueryError>> {
        match self.cache.get(self.stream.key(request.key)) {
            Some(row) => Ok((row, Source::Cache)),
            None => Direct { database: self.database.clone() }.answer(request).await,
        }
    }
}

impl Service for Cached {
    async fn answer(&self, request: Request) -> Result<(Row, Source), ComputeError<QueryError>> {
        match (self.ttl, request.ttl) {
            (Ttl::OfRequest, Some(Duration::ZERO)) => self.get_or_pass(request).await,
            (Ttl::OfRequest, ttl) => self.get_or_query(request, ttl).await,
            (Ttl::Fixed(_), _) => self.get_or_query(request, None).await,
        }
    }
}

/// Awaits a future, and tells whether it had to wait.
async fn watch<F: Future>(future: F) -> (F::Output, bool) {
    let mut future = pin!(future);
    match futures::poll!(future.as_mut()) {
        Poll::Ready(output) => (output, false),
        Poll::Pending => (future.await, true),
    }
}
