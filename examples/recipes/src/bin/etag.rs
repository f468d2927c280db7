//! Asks again for a cached page by its `ETag`: while it is unchanged, its body is not sent again.

use std::{sync::atomic::AtomicUsize, sync::atomic::Ordering::SeqCst, time::Duration};

use anyhow::{Context, Result, anyhow};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use axum::{Router, body::Body, body::Bytes, response::IntoResponse, routing::get};
use fleeting::Cache;
use http_body_util::BodyExt;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

type Page = (HeaderValue, Bytes);
/// How often the server sent its page, and how often a 304.
static ANSWERS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Gets the page, or learns that the stale one is still good.
async fn fetch(http: Client<HttpConnector, Body>, url: Uri, stale: Option<Page>) -> Result<Page> {
    let mut request = Request::get(url).body(Body::empty())?;
    request.headers_mut().extend(stale.iter().map(|page| (header::IF_NONE_MATCH, page.0.clone())));
    let answer = http.request(request).await?;
    if let (StatusCode::NOT_MODIFIED, Some(page)) = (answer.status(), stale) {
        return Ok(page);
    }
    let tag = answer.headers().get(header::ETAG).context("the page has no ETag")?.clone();
    Ok((tag, answer.into_body().collect().await?.to_bytes()))
}

/// The server: its page is another one after five requests.
async fn serve(headers: HeaderMap) -> impl IntoResponse {
    let edition = ANSWERS.iter().map(|count| count.load(SeqCst)).sum::<usize>() / 5;
    let tag = format!("\"{edition}\"");
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == tag);
    ANSWERS[usize::from(is_known)].fetch_add(1, SeqCst);
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let page = if is_known { String::new() } else { format!("edition {edition}") };
    (status, [(header::ETAG, tag)], page)
}

#[tokio::main]
async fn main() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url: Uri = format!("http://{}/", listener.local_addr()?).parse()?;
    tokio::spawn(axum::serve(listener, Router::new().route("/", get(serve))).into_future());
    let http = Client::builder(TokioExecutor::new()).build_http();
    let ttl = Duration::from_millis(50);
    // A page past its TTL is kept for a minute, to be asked for again or to bridge an outage.
    let cache = Cache::builder().ttl(ttl).stale_if_error(Duration::from_secs(60)).build()?;
    for edition in [0, 0, 0, 0, 0, 1, 1, 1, 1, 1] {
        let fetch = |stale| fetch(http.clone(), url.clone(), stale);
        let page = cache.entry_ref(&url).try_get_or_revalidate(fetch).await;
        assert_eq!(page.map_err(|error| anyhow!("{error:#}"))?.1, format!("edition {edition}"));
        tokio::time::sleep(ttl).await;
    }
    let [pages, unchanged] = ANSWERS.each_ref().map(|count| count.load(SeqCst));
    println!("10 requests: the server sent {pages} pages, and {unchanged} times a 304 without one");
    assert_eq!((pages, unchanged), (2, 8));
    Ok(())
}
