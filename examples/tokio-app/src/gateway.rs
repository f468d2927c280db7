//! The gateway: answers `GET /users/{id}` from its cache, and asks the backend for the rest.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fleeting::{Cache, ComputeError};
use neutral_library::Resolver;

use crate::client::Client;
use crate::directory::Directory;

/// The users that are known, by number.
pub(crate) type Users = Cache<u64, Arc<str>>;

/// What a request needs.
#[derive(Clone)]
pub(crate) struct Gateway {
    users: Users,
    origin: Origin,
}

/// Where users come from.
#[derive(Clone)]
struct Origin {
    resolver: Resolver<Directory>,
    client: Client,
}

/// Why there is no user to show.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("there is no such user")]
    Unknown,
    #[error("the backend gave no answer: {0}")]
    Unavailable(anyhow::Error),
}

impl Gateway {
    pub(crate) fn new(users: Users, resolver: Resolver<Directory>) -> Self {
        Self { users, origin: Origin { resolver, client: Client::new() } }
    }

    /// Returns the routes it serves.
    pub(crate) fn router(self) -> Router {
        Router::new().route("/users/{id}", get(user)).with_state(self)
    }
}

async fn user(State(gateway): State<Gateway>, Path(id): Path<u64>) -> Response {
    let Gateway { users, origin } = gateway;
    let user = users.try_get_or_compute(id, || async move { origin.user(id).await }).await;
    match user {
        Ok(user) => user.to_string().into_response(),
        Err(error) => (status(&error), error.to_string()).into_response(),
    }
}

fn status(error: &ComputeError<Failure>) -> StatusCode {
    match error {
        ComputeError::Failed(failure) if matches!(**failure, Failure::Unknown) => {
            StatusCode::NOT_FOUND
        }
        _ => StatusCode::BAD_GATEWAY,
    }
}

impl Origin {
    /// Asks the backend for a user.
    async fn user(&self, id: u64) -> Result<Arc<str>, Failure> {
        let (status, body) = self.ask(id).await.map_err(Failure::Unavailable)?;
        match status {
            StatusCode::OK => Ok(body.into()),
            StatusCode::NOT_FOUND => Err(Failure::Unknown),
            other => Err(Failure::Unavailable(anyhow::anyhow!("{other}"))),
        }
    }

    async fn ask(&self, id: u64) -> anyhow::Result<(StatusCode, String)> {
        let addresses = self.resolver.resolve("users").await?;
        let address = addresses.first().ok_or_else(|| anyhow::anyhow!("no address"))?;
        self.client.ask(&format!("http://{address}/users/{id}")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::server::Server;
    use fleeting::runtime::Tokio;

    /// Starts a gateway of which the backend is at `backend`, if it has one.
    fn start(backend: Option<&Backend>) -> (Server, Users) {
        let services = backend.map(|backend| ("users".to_owned(), backend.address()));
        let resolver = Resolver::builder(Directory::from_iter(services)).build(Tokio::current());
        let users = Users::builder().runtime(Tokio::current()).build().expect("it is valid");
        let gateway = Gateway::new(users.clone(), resolver.expect("it is valid"));
        (Server::start(gateway.router()).expect("a port is free"), users)
    }

    #[tokio::test]
    async fn an_unknown_user_is_asked_for_again() {
        let backend = Backend::start().expect("a port is free");
        backend.answer();
        let (gateway, users) = start(Some(&backend));
        let url = format!("http://{}/users/1000000", gateway.address());
        for _ in 0..2 {
            let (status, body) = Client::new().ask(&url).await.expect("the gateway answers");
            assert_eq!((status, &*body), (StatusCode::NOT_FOUND, "there is no such user"));
        }
        assert!(users.is_empty());
        assert_eq!(backend.stop().await.expect("it stops")[&1_000_000], 2);
    }

    #[tokio::test]
    async fn a_gateway_without_a_backend_says_so() {
        let (gateway, users) = start(None);
        let url = format!("http://{}/users/1", gateway.address());
        let (status, body) = Client::new().ask(&url).await.expect("the gateway answers");
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert!(body.contains("no service is called"), "{body}");
        assert_eq!(users.stats().compute_failures, 1);
    }
}
