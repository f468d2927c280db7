//! The backend: knows the users, takes its time, and counts how often it is asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::watch;

use crate::server::Server;

/// How often each user was asked for.
pub(crate) type Asked = BTreeMap<u64, usize>;

/// There is no user of this number or a higher one.
const USERS: u64 = 1000;

/// A backend that answers nobody until it is told to.
pub(crate) struct Backend {
    server: Server,
    store: Arc<Store>,
}

struct Store {
    asked: Mutex<Asked>,
    answering: watch::Sender<bool>,
}

impl Backend {
    /// Starts it at a free port.
    pub(crate) fn start() -> Result<Self> {
        let store = Store { asked: Mutex::default(), answering: watch::Sender::new(false) };
        let store = Arc::new(store);
        let router = Router::new().route("/users/{id}", get(user)).with_state(Arc::clone(&store));
        Ok(Self { server: Server::start(router)?, store })
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Lets it answer, from now on at once.
    pub(crate) fn answer(&self) {
        self.store.answering.send_replace(true);
    }

    /// Stops it, and returns how often each user was asked for.
    pub(crate) async fn stop(self) -> Result<Asked> {
        self.server.stop().await?;
        Ok(self.store.asked().clone())
    }
}

impl Store {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn user(State(store): State<Arc<Store>>, Path(id): Path<u64>) -> Result<String, StatusCode> {
    *store.asked().entry(id).or_default() += 1;
    let answering = store.answering.subscribe().wait_for(|answering| *answering).await.is_ok();
    if !answering {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    if id >= USERS {
        return Err(StatusCode::NOT_FOUND);
    }
    Ok(format!("user {id}"))
}
