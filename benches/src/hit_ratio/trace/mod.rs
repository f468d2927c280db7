//! Trace: requests in their order, and what is known of them beforehand.

mod catalogue;
mod file;
mod generator;
mod source;

use std::collections::HashMap;

use ahash::RandomState;

pub(crate) use self::file::TraceError;
pub(crate) use self::source::Sources;

/// Requests in their order.
pub(crate) struct Trace {
    pub(crate) name: String,
    /// What the requests are of, such as web pages.
    pub(crate) kind: String,
    /// Sizes of caches at which earlier work looked at the trace.
    pub(crate) literature: Vec<usize>,
    pub(crate) distinct: usize,
    keys: Vec<u64>,
    /// For each request, the position of the next one of the same key.
    next: Vec<u32>,
    lives: Option<Vec<Life>>,
}

/// The requests of a trace, and when they came if that is known.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Requests {
    pub(crate) keys: Vec<u64>,
    pub(crate) lives: Option<Vec<Life>>,
}

/// When a request came, and how long its answer lives; both in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) now: u64,
    pub(crate) ttl: u64,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) key: u64,
    pub(crate) life: Life,
}

impl Life {
    /// Of a trace without times.
    const ENDLESS: Self = Self { now: 0, ttl: u64::MAX };

    pub(crate) fn expiry(self) -> u64 {
        self.now.saturating_add(self.ttl)
    }
}

impl Trace {
    /// Stands for the next request where there is none.
    pub(crate) const NEVER: u32 = u32::MAX;

    pub(crate) fn new(name: &str, requests: Requests) -> Self {
        let Requests { keys, lives } = requests;
        let (next, distinct) = next_uses(&keys);
        let (kind, literature) = (catalogue::kind(name), catalogue::sizes(name));
        Self { name: name.to_owned(), kind, literature, distinct, keys, next, lives }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Tells whether the answers have times to live.
    pub(crate) fn is_timed(&self) -> bool {
        self.lives.is_some()
    }

    pub(crate) fn requests(&self) -> impl Iterator<Item = Request> {
        (0..self.len()).map(|position| self.request(position))
    }

    pub(crate) fn request(&self, position: usize) -> Request {
        let life = self.lives.as_ref().map_or(Life::ENDLESS, |lives| lives[position]);
        Request { key: self.keys[position], life }
    }

    /// For each request, the position of the next one of the same key, or [`NEVER`](Self::NEVER).
    pub(crate) fn next_uses(&self) -> &[u32] {
        &self.next
    }
}

/// For each key, the position at which it comes again; and how many distinct keys there are.
fn next_uses(keys: &[u64]) -> (Vec<u32>, usize) {
    let mut next = vec![Trace::NEVER; keys.len()];
    let mut last_seen = HashMap::with_hasher(RandomState::with_seeds(1, 2, 3, 4));
    for (position, &key) in keys.iter().enumerate().rev() {
        let here = u32::try_from(position).expect("a trace has less than 2^32 requests");
        next[position] = last_seen.insert(key, here).unwrap_or(Trace::NEVER);
    }
    (next, last_seen.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_uses_are_known() {
        let (next, distinct) = next_uses(&[5, 6, 5, 5, 7]);
        assert_eq!(next, [2, Trace::NEVER, 3, Trace::NEVER, Trace::NEVER]);
        assert_eq!(distinct, 3);
    }
}
