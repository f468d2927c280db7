//! A price as it is written in an answer: `gold=84000`.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// A price in whole units of the currency, for a kilogram.
pub(crate) type Price = u32;

/// What something costs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) name: String,
    pub(crate) price: Price,
}

/// Why something is no quote.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuoteError {
    #[error("no price: {0}")]
    NoPrice(String),
    #[error("the price of {name:?} is no number")]
    NoNumber { name: String, source: ParseIntError },
}

impl fmt::Display for Quote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.name, self.price)
    }
}

impl FromStr for Quote {
    type Err = QuoteError;

    fn from_str(text: &str) -> Result<Self, QuoteError> {
        let Some((name, price)) = text.split_once('=') else {
            return Err(QuoteError::NoPrice(text.to_owned()));
        };
        let name = name.to_owned();
        match price.parse() {
            Ok(price) => Ok(Self { name, price }),
            Err(source) => Err(QuoteError::NoNumber { name, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let quote = Quote { name: "gold".to_owned(), price: 84_000 };
        assert_eq!(quote.to_string(), "gold=84000");
        assert_eq!("gold=84000".parse::<Quote>().expect("it is a quote"), quote);
    }

    #[test]
    fn what_is_no_quote_is_an_error() {
        assert!(matches!("gold".parse::<Quote>(), Err(QuoteError::NoPrice(_))));
        assert!(matches!("gold=x".parse::<Quote>(), Err(QuoteError::NoNumber { .. })));
    }
}
