//! Asks web servers.

use anyhow::{Result, bail};
use axum::http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;

/// A client that keeps its connections for the next request.
#[derive(Clone)]
pub(crate) struct Client(legacy::Client<HttpConnector, Empty<axum::body::Bytes>>);

impl Client {
    pub(crate) fn new() -> Self {
        Self(legacy::Client::builder(TokioExecutor::new()).build_http())
    }

    /// Returns the answer to one request, whatever it is.
    pub(crate) async fn ask(&self, url: &str) -> Result<(StatusCode, String)> {
        let response = self.0.get(url.parse()?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.into())?))
    }

    /// Returns what is found at `url`.
    pub(crate) async fn get(&self, url: &str) -> Result<String> {
        match self.ask(url).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, body) => bail!("{url}: {status}: {body}"),
        }
    }

    /// Asks for all of it at once; each answer comes with its question.
    pub(crate) fn get_all(
        &self,
        urls: impl IntoIterator<Item = String>,
    ) -> JoinSet<Result<(String, String)>> {
        let ask = |url: String| {
            let client = self.clone();
            async move { client.get(&url).await.map(|body| (url, body)) }
        };
        urls.into_iter().map(ask).collect()
    }
}
