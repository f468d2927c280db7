//! Policy: what a full cache gives up for a new entry, by the names that the options have for it.

use std::fmt;

use clap::ValueEnum;
use fleeting::Policy;
use serde::Serialize;

/// What a full cache gives up for a new entry: the library's policies, those first whose hits cost
/// the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
pub(crate) enum PolicyChoice {
    /// What was stored first
    Fifo,
    /// The oldest that was not used since it was last looked at
    Sieve,
    /// What is new and not used again soon
    #[value(name = "s3-fifo")]
    S3Fifo,
    /// What was used less often
    TinyLfu,
    /// What suits the traffic
    Adaptive,
    /// What was used least recently
    Lru,
}

impl PolicyChoice {
    pub(crate) const ALL: [Self; 6] =
        [Self::Fifo, Self::Sieve, Self::S3Fifo, Self::TinyLfu, Self::Adaptive, Self::Lru];

    /// As its authors write it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Fifo => "FIFO",
            Self::Sieve => "SIEVE",
            Self::S3Fifo => "S3-FIFO",
            Self::TinyLfu => "TinyLFU",
            Self::Adaptive => "Adaptive",
            Self::Lru => "LRU",
        }
    }
}

impl From<PolicyChoice> for Policy {
    fn from(choice: PolicyChoice) -> Self {
        match choice {
            PolicyChoice::Fifo => Self::Fifo,
            PolicyChoice::Sieve => Self::Sieve,
            PolicyChoice::S3Fifo => Self::S3Fifo,
            PolicyChoice::TinyLfu => Self::TinyLfu,
            PolicyChoice::Adaptive => Self::Adaptive,
            PolicyChoice::Lru => Self::Lru,
        }
    }
}

/// As Rust has it.
impl fmt::Display for PolicyChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Policy::from(*self), formatter)
    }
}
