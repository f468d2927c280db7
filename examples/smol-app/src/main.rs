//! A price server that keeps what the exchange says: serves itself a few hundred requests, and checks
//! that none of them was one too many for the exchange.

mod directory;
mod exchange;
mod lines;
mod prices;
mod quote;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use fleeting::{Cache, Stats, runtime::Smol};
use neutral_library::Resolver;

use crate::directory::Directory;
use crate::exchange::{Asked, Exchange, PRICES};
use crate::lines::Server;
use crate::prices::{Known, Prices};

/// How many requests are sent at once: one connection each, and not more than may wait to be accepted.
const REQUESTS: usize = 120;

/// How many prices each of them asks for.
const NAMES: usize = 3;

/// How long a price is kept: longer than this program can run.
const TTL: Duration = Duration::from_secs(60 * 60);

/// When to give up: far more than it takes.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let summary = run()?;
    println!("{summary}");
    summary.check()
}

/// What is known at the end.
struct Summary {
    prices: Stats,
    names: Stats,
    asked: Asked,
}

/// Does it all, or gives up.
fn run() -> Result<Summary> {
    smol::block_on(smol::future::or(start_and_stop(), give_up()))
}

async fn give_up<T>() -> Result<T> {
    smol::Timer::after(LIMIT).await;
    bail!("not done after {LIMIT:?}")
}

/// Starts an exchange and a price server, sends requests to it, and shuts down.
async fn start_and_stop() -> Result<Summary> {
    let exchange = Arc::new(Exchange::new());
    let exchange_server = Server::start(Arc::clone(&exchange)).await?;
    let directory = Directory::new(Some(exchange_server.address()));
    let resolver = Resolver::builder(directory).build(Smol)?;
    let known: Known = Cache::builder().ttl(TTL).max_size(1000).runtime(Smol).build()?;
    let server = Server::start(Arc::new(Prices::new(known.clone(), resolver.clone()))).await?;

    // One wave while the exchange is closed, so that all of it waits at once, and one after.
    let wave = send_all(server.address());
    until(|| known.stats().requests() == (REQUESTS * NAMES) as u64).await;
    exchange.open();
    receive_all(wave).await?;
    receive_all(send_all(server.address())).await?;

    known.close().await;
    resolver.close().await;
    let asked = exchange.asked().clone();
    Ok(Summary { prices: known.stats(), names: resolver.stats(), asked })
}

/// A request, and the answer to come.
type Asking = (String, smol::Task<std::io::Result<String>>);

/// Sends requests for prices next to each other in the list, so that they overlap.
fn send_all(server: SocketAddr) -> Vec<Asking> {
    let requests = (0..REQUESTS).map(|number| {
        let names = PRICES.iter().map(|(name, _)| *name).cycle().skip(number % PRICES.len());
        names.take(NAMES).collect::<Vec<_>>().join(" ")
    });
    requests.map(|request| (request.clone(), smol::spawn(lines::ask(server, request)))).collect()
}

/// Waits for the answers, and fails if one of them is wrong.
async fn receive_all(wave: Vec<Asking>) -> Result<()> {
    for (request, answer) in wave {
        let answer = answer.await?;
        let names = answer.split(' ').filter_map(|quote| quote.split('=').next());
        ensure!(names.eq(request.split(' ')), "{request}: {answer}");
    }
    Ok(())
}

/// Waits until something that cannot be waited for is so.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        smol::Timer::after(Duration::from_millis(1)).await;
    }
}

impl Summary {
    /// Fails unless every request was answered at the least cost there can be.
    fn check(&self) -> Result<()> {
        let (distinct, wave) = (PRICES.len() as u64, (REQUESTS * NAMES) as u64);
        let Stats { hits, misses, computes, coalesced, .. } = self.prices;
        let once = PRICES.iter().map(|(name, _)| ((*name).to_owned(), 1)).collect();
        ensure!(self.asked == once, "asked: {:?}", self.asked);
        ensure!(computes == distinct, "{computes} computes for {distinct} prices");
        ensure!(coalesced == wave - distinct, "{coalesced} joined a compute");
        ensure!((misses, hits) == (wave, wave), "{misses} misses, {hits} hits");
        ensure!(self.names.computes == 1, "the directory was asked {} times", self.names.computes);
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prices, names, .. } = self;
        writeln!(formatter, "prices          {:6}", prices.requests())?;
        writeln!(formatter, "hit rate        {:6.3}", prices.hit_rate())?;
        writeln!(formatter, "computes        {:6}", prices.computes)?;
        writeln!(formatter, "coalesced       {:6}", prices.coalesced)?;
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

    #[test]
    fn every_request_costs_the_least() {
        run().expect("it runs").check().expect("it costs the least");
    }

    #[test]
    fn a_request_too_many_is_noticed() {
        let mut summary = run().expect("it runs");
        summary.asked.insert("gold".to_owned(), 2);
        assert!(summary.check().is_err());
    }
}
