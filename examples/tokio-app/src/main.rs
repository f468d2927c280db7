//! A web gateway that keeps what its backend says: serves itself a few hundred requests, and checks
//! that none of them was one too many for the backend.

mod backend;
mod client;
mod directory;
mod gateway;
mod server;

use std::fmt;
use std::iter;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Result, ensure};
use fleeting::{Cache, Stats, runtime::Tokio};
use neutral_library::Resolver;
use tokio::task::JoinSet;

use crate::backend::{Asked, Backend};
use crate::client::Client;
use crate::directory::Directory;
use crate::gateway::{Gateway, Users};
use crate::server::Server;

/// The users asked for.
const USERS: Range<u64> = 0..10;

/// How often each is asked for at once.
const TIMES: usize = 30;

/// How long a user is kept: longer than this program can run.
const TTL: Duration = Duration::from_secs(60 * 60);

/// When to give up: far more than it takes.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    let summary = run().await?;
    println!("{summary}");
    summary.check()
}

/// What is known at the end.
#[derive(Debug)]
struct Summary {
    users: Stats,
    names: Stats,
    /// How often the backend was asked for each user.
    asked: Asked,
}

/// Does it all, or gives up.
async fn run() -> Result<Summary> {
    tokio::time::timeout(LIMIT, start_and_stop()).await?
}

/// Starts a backend and a gateway, sends requests to the gateway, and shuts down.
async fn start_and_stop() -> Result<Summary> {
    let backend = Backend::start()?;
    let directory = Directory::from_iter([("users".to_owned(), backend.address())]);
    let resolver = Resolver::builder(directory).build(Tokio::current())?;
    let users: Users =
        Cache::builder().ttl(TTL).max_size(1000).runtime(Tokio::current()).build()?;
    let users = users.scope(async |users| serve(users, &resolver, &backend).await).await?;
    resolver.close().await;
    Ok(Summary { users, names: resolver.stats(), asked: backend.stop().await? })
}

/// Serves two waves of requests: while the backend is thinking, and when it has answered.
async fn serve(users: &Users, resolver: &Resolver<Directory>, backend: &Backend) -> Result<Stats> {
    let gateway = Gateway::new(users.clone(), resolver.clone());
    let server = Server::start(gateway.router())?;
    let client = Client::new();

    let wave = client.get_all(urls(server.address()));
    until(|| users.stats().requests() == wave.len() as u64).await;
    backend.answer();
    receive_all(wave).await?;

    receive_all(client.get_all(urls(server.address()))).await?;
    server.stop().await?;
    Ok(users.stats())
}

/// Returns where the gateway at `gateway` has each user, many times over.
fn urls(gateway: SocketAddr) -> impl Iterator<Item = String> {
    let users = USERS.flat_map(|user| iter::repeat_n(user, TIMES));
    users.map(move |user| format!("http://{gateway}/users/{user}"))
}

/// Waits for the answers, and fails if one of them is wrong.
async fn receive_all(mut wave: JoinSet<Result<(String, String)>>) -> Result<()> {
    while let Some(answer) = wave.join_next().await {
        let (url, user) = answer??;
        ensure!(url.rsplit('/').next() == user.strip_prefix("user "), "{url}: {user}");
    }
    Ok(())
}

/// Waits until something that cannot be waited for is so.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Summary {
    /// Fails unless every request was answered at the least cost there can be.
    fn check(&self) -> Result<()> {
        let distinct = USERS.end - USERS.start;
        let wave = distinct * TIMES as u64;
        let Stats { hits, misses, computes, coalesced, .. } = self.users;
        ensure!(self.asked == USERS.map(|user| (user, 1)).collect(), "asked: {:?}", self.asked);
        ensure!(computes == distinct, "{computes} computes for {distinct} users");
        ensure!(coalesced == wave - distinct, "{coalesced} callers joined a compute");
        ensure!((misses, hits) == (wave, wave), "{misses} misses, {hits} hits");
        ensure!(self.names.computes == 1, "the directory was asked {} times", self.names.computes);
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, names, .. } = self;
        writeln!(formatter, "requests        {:6}", users.requests())?;
        writeln!(formatter, "hit rate        {:6.3}", users.hit_rate())?;
        writeln!(formatter, "computes        {:6}", users.computes)?;
        writeln!(formatter, "coalesced       {:6}", users.coalesced)?;
        writeln!(formatter, "mean compute    {:6.1?}", users.mean_compute_time())?;
        write!(
            formatter,
            "names resolved  {:6} times by {} look-up",
            names.requests(),
            names.computes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_request_costs_the_least() {
        run().await.expect("it runs").check().expect("it costs the least");
    }

    #[tokio::test]
    async fn a_request_too_many_is_noticed() {
        let mut summary = run().await.expect("it runs");
        summary.asked.insert(USERS.start, 2);
        assert!(summary.check().is_err());
    }
}
