//! Goes through an outage: callers see the last price, and few of them ask the service that is down.

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration, time::Instant};

use anyhow::Result;
use fleeting::{Cache, Stats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::{net::TcpListener, net::TcpStream, time::sleep};

type Prices = Cache<&'static str, String>;
const ERROR_TTL: Duration = Duration::from_millis(150);

async fn price(service: SocketAddr) -> io::Result<String> {
    let mut price = String::new();
    TcpStream::connect(service).await?.read_to_string(&mut price).await?;
    Ok(price)
}

/// The service: tells a price to whoever connects.
async fn serve(listener: TcpListener, price: &str) -> io::Result<()> {
    loop {
        listener.accept().await?.0.write_all(price.as_bytes()).await?;
    }
}

/// Lets a hundred callers come one after the other, and returns what they saw.
async fn visit(phase: &str, prices: &Prices, service: SocketAddr) -> Result<BTreeSet<String>> {
    sleep(ERROR_TTL).await; // By then the last price is stale, and failures are forgotten.
    prices.reset_stats();
    let (begin, mut seen) = (Instant::now(), BTreeSet::new());
    for _ in 0..100 {
        seen.insert(prices.try_get_or_compute("tea", || price(service)).await?);
        sleep(Duration::from_millis(3)).await;
    }
    let Stats { computes, compute_failures: failed, .. } = prices.stats();
    println!("{phase}: 100 callers saw {seen:?}, which took {computes} requests, {failed} in vain");
    assert_eq!(failed > 0, phase == "during");
    assert!(u128::from(failed) <= 1 + begin.elapsed().as_millis() / ERROR_TTL.as_millis());
    Ok(seen)
}

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = tokio::spawn(serve(listener, "10 EUR"));
    let prices: Prices = Cache::builder()
        .ttl(Duration::from_millis(20))
        .stale_if_error(Duration::from_secs(60 * 60))
        .error_ttl(ERROR_TTL)
        .build()?;
    let before = visit("before", &prices, address).await?;
    service.abort();
    let during = visit("during", &prices, address).await?;
    tokio::spawn(serve(TcpListener::bind(address).await?, "12 EUR"));
    let after = visit("after", &prices, address).await?;
    assert!(before.iter().eq(["10 EUR"]) && during == before && after.iter().eq(["12 EUR"]));
    Ok(())
}
