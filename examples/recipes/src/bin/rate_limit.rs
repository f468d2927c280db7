//! Asks an API that answers so many requests at a time and refuses more: the cache keeps within that.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::{Router, body::Body, extract::Path, http::StatusCode, routing::get};
use fleeting::{Cache, ComputeError, runtime::Tokio};
use futures::future::join_all;
use http_body_util::BodyExt;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

const LIMIT: usize = 4;
static FREE: Semaphore = Semaphore::const_new(LIMIT);
static MOST: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// The API: knows the prices of all things, but never answers for number 13.
async fn serve(Path(number): Path<u32>) -> (StatusCode, String) {
    let Ok(_permit) = FREE.try_acquire() else {
        REFUSED.fetch_add(1, SeqCst);
        return (StatusCode::TOO_MANY_REQUESTS, String::new());
    };
    MOST.fetch_max(LIMIT - FREE.available_permits(), SeqCst);
    sleep(if number == 13 { Duration::MAX } else { Duration::from_millis(5) }).await;
    (StatusCode::OK, format!("{number} EUR"))
}

async fn fetch(http: Client<HttpConnector, Body>, port: u16, id: u32) -> Result<String> {
    let answer = http.get(format!("http://127.0.0.1:{port}/{id}").parse()?).await?;
    ensure!(answer.status() == StatusCode::OK, "the API says {}", answer.status());
    Ok(String::from_utf8(answer.into_body().collect().await?.to_bytes().into())?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(axum::serve(listener, Router::new().route("/{id}", get(serve))).into_future());
    let prices: Cache<u32, String> = Cache::builder()
        .max_concurrent_computes(LIMIT)
        // Or the request that is never answered would keep its permit for ever.
        .compute_timeout(Duration::from_secs(1))
        .runtime(Tokio::current())
        .build()?;

    let http = &Client::builder(TokioExecutor::new()).build_http();
    let ask = |id| prices.try_get_or_compute(id, move || fetch(http.clone(), port, id));
    let answers = join_all((0..50).map(ask)).await;
    let answered = answers.iter().flatten().count();
    let late = answers.iter().filter(|price| matches!(price, Err(ComputeError::TimedOut))).count();
    let (most, refused) = (MOST.load(SeqCst), REFUSED.load(SeqCst));
    println!("50 requests, {most} at once: {answered} answered, {refused} refused, {late} late");
    assert_eq!((most, answered, refused, late), (LIMIT, 49, 0, 1));
    Ok(())
}
