//! A web server on the loopback interface, from start to stop.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How many connections may wait to be accepted; one more is turned away and tries again a second
/// later.
const BACKLOG: u32 = 1024;

/// A server that runs until it is stopped.
pub(crate) struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Serves `router` at a free port.
    pub(crate) fn start(router: Router) -> Result<Self> {
        let listener = listen()?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = axum::serve(listener, router)
            .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
        Ok(Self { address, stop, running: tokio::spawn(server.into_future()) })
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what has been asked, and stops.
    pub(crate) async fn stop(self) -> Result<()> {
        drop(self.stop);
        Ok(self.running.await??)
    }
}

/// Listens at a free port, with room for a wave of connections.
fn listen() -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    Ok(socket.listen(BACKLOG)?)
}
