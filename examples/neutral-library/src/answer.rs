//! What a source knows of a name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The addresses of a name, and for how long they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where the service is, the preferred address first.
    pub addresses: Arc<[SocketAddr]>,
    /// How long the answer may be remembered; with zero, it is for those who asked and nobody else.
    pub ttl: Duration,
}

impl Answer {
    /// Creates an answer.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>, ttl: Duration) -> Self {
        Self { addresses: addresses.into_iter().collect(), ttl }
    }
}
