//! A page that reads texts through a cache, so that the server is asked at most once in ten seconds for each.
//!
//! `index.html` tells how to build and open it. Elsewhere than in WebAssembly this crate is empty.
#![cfg(target_family = "wasm")]

mod browser;
mod texts;

use std::sync::LazyLock;

use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

pub use crate::browser::Browser;
pub use crate::texts::{FetchError, Texts};

/// The one cache of the page.
static TEXTS: LazyLock<Texts> = LazyLock::new(|| Texts::new().expect("valid settings"));

/// The text at an address, for the page's script.
///
/// # Errors
///
/// If the server cannot be reached, or says that there is no such text.
#[wasm_bindgen]
pub async fn read(address: String) -> Result<String, JsError> {
    Ok(TEXTS.read(&address).await?)
}

/// What the cache has done so far, in words.
#[must_use]
#[wasm_bindgen]
pub fn summary() -> String {
    let stats = TEXTS.stats();
    format!("reads: {}, requests: {}", stats.requests(), stats.computes)
}
