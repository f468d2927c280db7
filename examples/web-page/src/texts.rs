//! Texts by their addresses, fetched once for all who ask.

use std::time::Duration;

use fleeting::{BuildError, Cache, ComputeError, Stats};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Response, Window};

use crate::browser::Browser;

/// How long a text is kept.
const TTL: Duration = Duration::from_secs(10);

/// How many texts are kept.
const MOST: usize = 100;

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(String);

/// The cache, and how what it lacks is fetched.
#[derive(Clone, Debug)]
pub struct Texts {
    cache: Cache<String, String>,
}

impl Texts {
    /// None so far.
    ///
    /// # Errors
    ///
    /// If the settings of the cache do not go together.
    pub fn new() -> Result<Self, BuildError> {
        let builder = Cache::builder().ttl(TTL).max_size(MOST).runtime(Browser);
        Ok(Self { cache: builder.build()? })
    }

    /// The text at an address.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached, or says that there is no such text.
    pub async fn read(&self, address: &str) -> Result<String, ComputeError<FetchError>> {
        // What awaits a promise is not `Send`, and a compute must be, because any of its callers may drive
        // it, on any thread. The wrapper says that it is, and panics on another thread: a page has one.
        let compute = || SendWrapper::new(fetch(address.to_owned()));
        self.cache.entry_ref(address).try_get_or_compute(compute).await
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.cache.stats()
    }
}

async fn fetch(address: String) -> Result<String, FetchError> {
    // Windows, workers and Node.js have it by the same name.
    let global: Window = js_sys::global().unchecked_into();
    let response = JsFuture::from(global.fetch_with_str(&address)).await?;
    let response: Response = response.dyn_into()?;
    if !response.ok() {
        return Err(FetchError(format!("{address}: status {}", response.status())));
    }
    let text = JsFuture::from(response.text()?).await?;
    text.as_string().ok_or_else(|| FetchError(format!("{address}: not a text")))
}

impl From<JsValue> for FetchError {
    fn from(thrown: JsValue) -> Self {
        let message = thrown.dyn_ref().map(|error: &js_sys::Error| error.message().into());
        Self(message.unwrap_or_else(|| format!("{thrown:?}")))
    }
}
