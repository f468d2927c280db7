//! Policy: what a full cache gives up for a new entry, by the names that the options have for it.

use std::fmt;

use clap::ValueEnum;
use fleeting::CacheBuilder;
use serde::Serialize;

/// What a full cache gives up for a new entry. The simplest come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum PolicyChoice {
    Fifo,
}

impl PolicyChoice {
    pub(crate) const ALL: [Self; 1] = [Self::Fifo];

    /// Tells a builder.
    pub(crate) fn set<K, V, S>(self, builder: CacheBuilder<K, V, S>) -> CacheBuilder<K, V, S> {
        match self {
            Self::Fifo => builder,
        }
    }

    /// As its authors write it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Fifo => "FIFO",
        }
    }
}

/// As the library writes it.
impl fmt::Display for PolicyChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}
