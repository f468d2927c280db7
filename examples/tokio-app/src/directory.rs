//! Where services are: in earnest, this would ask DNS or a registry.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use neutral_library::{Answer, Source};

/// For how long an answer holds.
const TTL: Duration = Duration::from_secs(60 * 60);

/// A table of services.
pub(crate) struct Directory(HashMap<String, SocketAddr>);

/// The directory has no such service.
#[derive(Debug, thiserror::Error)]
#[error("no service is called {0:?}")]
pub(crate) struct UnknownService(String);

impl FromIterator<(String, SocketAddr)> for Directory {
    fn from_iter<I: IntoIterator<Item = (String, SocketAddr)>>(services: I) -> Self {
        Self(services.into_iter().collect())
    }
}

impl Source for Directory {
    type Error = UnknownService;

    async fn look_up(&self, name: String) -> Result<Answer, UnknownService> {
        match self.0.get(&name) {
            Some(&address) => Ok(Answer::new([address], TTL)),
            None => Err(UnknownService(name)),
        }
    }
}
