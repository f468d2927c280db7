//! Stream: the requests to replay, in order, each a few bytes.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexSet;

use crate::key::{Key, KeyRef};
use crate::left_out::LeftOut;

/// Which of the stream's keys is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyId(u32);

/// The requests to replay, in order. Keys are held once; a request is the number of its key.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) keys: Arc<[Key]>,
    requests: Vec<KeyId>,
    /// When each request came; empty if the source does not say.
    times: Vec<Duration>,
    /// How long the answer to each may be kept; empty if the source does not say.
    ttls: Vec<Duration>,
    /// Lines of the source that are not among the requests.
    pub(crate) left_out: LeftOut,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) key: KeyId,
    pub(crate) at: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
}

/// One request as it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record<'a> {
    pub(crate) key: KeyRef<'a>,
    pub(crate) at: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
}

impl KeyId {
    /// The id of the key at `index`, if there may be that many.
    fn new(index: usize) -> Option<Self> {
        u32::try_from(index).ok().map(Self)
    }

    /// The ids of the first `count` keys.
    pub(crate) fn up_to(count: usize) -> impl Iterator<Item = Self> {
        (0..count).map_while(Self::new)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }
}

impl Stream {
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The request at a position.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub(crate) fn request(&self, position: usize) -> Request {
        Request {
            key: self.requests[position],
            at: self.times.get(position).copied(),
            ttl: self.ttls.get(position).copied(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Request> {
        (0..self.len()).map(|position| self.request(position))
    }

    pub(crate) fn key(&self, id: KeyId) -> &Key {
        &self.keys[id.index()]
    }

    /// Whether the requests say when they came.
    pub(crate) fn has_times(&self) -> bool {
        !self.times.is_empty()
    }

    /// Whether the requests say how long their answers may be kept.
    pub(crate) fn has_ttls(&self) -> bool {
        !self.ttls.is_empty()
    }

    /// The time from the first request to the last.
    pub(crate) fn span(&self) -> Duration {
        let (Some(first), Some(last)) = (self.times.first(), self.times.iter().max()) else {
            return Duration::ZERO;
        };
        last.saturating_sub(*first)
    }
}

/// Takes in the requests of a source, in order.
pub(crate) trait Sink {
    /// Adds a request.
    fn push(&mut self, record: &Record<'_>) -> Result<(), TooManyKeys>;

    /// How many requests were added.
    fn len(&self) -> usize;
}

/// A stream that is being read.
#[derive(Debug, Default)]
pub(crate) struct StreamBuilder {
    keys: IndexSet<Key, foldhash::quality::RandomState>,
    requests: Vec<KeyId>,
    times: Vec<Duration>,
    ttls: Vec<Duration>,
}

/// There are more distinct keys than a stream can number.
#[derive(Debug)]
pub(crate) struct TooManyKeys;

impl StreamBuilder {
    /// A stream that has these keys, whether they are requested or not.
    pub(crate) fn with_keys(keys: impl IntoIterator<Item = Key>) -> Self {
        Self { keys: keys.into_iter().collect(), ..Self::default() }
    }

    pub(crate) fn build(self, name: String, kind: &'static str, left_out: LeftOut) -> Stream {
        Stream {
            name,
            kind,
            keys: self.keys.into_iter().collect(),
            requests: self.requests,
            times: self.times,
            ttls: self.ttls,
            left_out,
        }
    }
}

impl Sink for StreamBuilder {
    /// Adds a request. Allocates for a key only when it is new.
    fn push(&mut self, record: &Record<'_>) -> Result<(), TooManyKeys> {
        let index = match self.keys.get_index_of(&record.key) {
            Some(index) => index,
            None => self.keys.insert_full(record.key.into()).0,
        };
        self.requests.push(KeyId::new(index).ok_or(TooManyKeys)?);
        self.times.extend(record.at);
        self.ttls.extend(record.ttl);
        Ok(())
    }

    fn len(&self) -> usize {
        self.requests.len()
    }
}
