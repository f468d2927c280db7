//! Catalogue: what is known of traces beside their requests.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// What is known of one trace.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: String,
    #[serde(default)]
    sizes: Vec<usize>,
}

static CATALOGUE: LazyLock<BTreeMap<String, Entry>> = LazyLock::new(|| {
    let text = include_str!("../../../traces.toml");
    toml::from_str(text).expect("a test has read it")
});

/// Of a trace that is not in the catalogue.
const OTHER: &str = "other";

/// What the requests of a trace are of.
pub(super) fn kind(name: &str) -> String {
    CATALOGUE.get(name).map_or_else(|| OTHER.to_owned(), |entry| entry.kind.clone())
}

/// Sizes of caches at which earlier work looked at a trace.
pub(super) fn sizes(name: &str) -> Vec<usize> {
    CATALOGUE.get(name).map(|entry| entry.sizes.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_can_be_read() {
        assert_eq!(kind("arc-oltp"), "database");
        assert_eq!(sizes("lirs-gli"), [500, 1000, 2000]);
        assert_eq!((kind("mine"), sizes("mine")), (OTHER.to_owned(), Vec::new()));
    }
}
