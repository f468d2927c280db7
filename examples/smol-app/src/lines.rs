//! The protocol: a line is a request, and the line after it the answer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use smol::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use smol::net::{TcpListener, TcpStream};
use smol::stream::StreamExt;

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Returns the answer to one request, without its line end.
    fn answer(&self, request: String) -> impl Future<Output = String> + Send;
}

/// A server on the loopback interface, which runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    _running: smol::Task<io::Result<()>>,
}

impl Server {
    /// Serves at a free port.
    pub(crate) async fn start(handler: Arc<impl Handler>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, _running: smol::spawn(accept(listener, handler)) })
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, handler: Arc<impl Handler>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // A connection that breaks is a matter for its client.
        smol::spawn(serve(stream, Arc::clone(&handler))).detach();
    }
}

async fn serve(stream: TcpStream, handler: Arc<impl Handler>) -> io::Result<()> {
    let mut answers = stream.clone();
    let mut requests = BufReader::new(stream).lines();
    while let Some(request) = requests.next().await {
        send(&mut answers, handler.answer(request?).await).await?;
    }
    Ok(())
}

/// Sends one request to the server at `address` and returns the answer.
pub(crate) async fn ask(address: SocketAddr, request: String) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    send(&mut stream, request).await?;
    let answer = BufReader::new(stream).lines().next().await;
    answer.ok_or(io::ErrorKind::UnexpectedEof)?
}

async fn send(stream: &mut TcpStream, mut line: String) -> io::Result<()> {
    line.push('\n');
    stream.write_all(line.as_bytes()).await
}
