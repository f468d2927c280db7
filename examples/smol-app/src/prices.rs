//! The price server: answers from its cache, and asks the exchange for the rest.

use std::sync::Arc;

use anyhow::{Context, Result};
use fleeting::{Cache, ComputeError};
use futures::future::try_join_all;
use neutral_library::Resolver;

use crate::directory::Directory;
use crate::lines::{self, Handler};
use crate::quote::{Price, Quote};

/// The prices that are known, by name.
pub(crate) type Known = Cache<String, Price>;

/// A server of prices.
pub(crate) struct Prices {
    known: Known,
    origin: Arc<Origin>,
}

/// Where prices come from.
struct Origin {
    resolver: Resolver<Directory>,
}

impl Prices {
    pub(crate) fn new(known: Known, resolver: Resolver<Directory>) -> Self {
        Self { known, origin: Arc::new(Origin { resolver }) }
    }
}

impl Handler for Prices {
    /// Quotes all that the request names.
    async fn answer(&self, request: String) -> String {
        let quotes = request.split_whitespace().map(|name| self.quote(name));
        match try_join_all(quotes).await {
            Ok(quotes) => quotes.join(" "),
            Err(error) => format!("error: {error}"),
        }
    }
}

impl Prices {
    async fn quote(&self, name: &str) -> Result<String, ComputeError<anyhow::Error>> {
        let (origin, asked) = (Arc::clone(&self.origin), name.to_owned());
        let ask = || async move { origin.ask(asked).await };
        let price = self.known.entry_ref(name).try_get_or_compute(ask).await?;
        Ok(Quote { name: name.to_owned(), price }.to_string())
    }
}

impl Origin {
    /// Asks the exchange for a price.
    async fn ask(&self, name: String) -> Result<Price> {
        let addresses = self.resolver.resolve("exchange").await?;
        let address = addresses.first().context("the exchange has no address")?;
        let quote: Quote = lines::ask(*address, name).await?.parse()?;
        Ok(quote.price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Exchange;
    use crate::lines::Server;
    use fleeting::runtime::Smol;

    /// Returns a server of prices that come from an exchange, if there is one.
    fn prices(exchange: Option<&Server>) -> Prices {
        let directory = Directory::new(exchange.map(Server::address));
        let resolver = Resolver::builder(directory).build(Smol).expect("it is valid");
        Prices::new(Known::builder().runtime(Smol).build().expect("it is valid"), resolver)
    }

    #[test]
    fn only_what_is_missing_is_asked_for() {
        smol::block_on(async {
            let exchange = Arc::new(Exchange::new());
            exchange.open();
            let server = Server::start(Arc::clone(&exchange)).await.expect("a port is free");
            let prices = prices(Some(&server));
            assert_eq!(prices.answer("gold tin".to_owned()).await, "gold=84000 tin=33");
            assert_eq!(prices.answer("tin lead".to_owned()).await, "tin=33 lead=2");
            let asked: Vec<_> = exchange.asked().clone().into_iter().collect();
            assert_eq!(asked, [("gold", 1), ("lead", 1), ("tin", 1)].map(|(n, t)| (n.into(), t)));
        });
    }

    #[test]
    fn what_is_not_traded_has_no_price() {
        smol::block_on(async {
            let exchange = Arc::new(Exchange::new());
            exchange.open();
            let server = Server::start(exchange).await.expect("a port is free");
            let answer = prices(Some(&server)).answer("gold straw".to_owned()).await;
            assert_eq!(answer, "error: no price: straw is not traded");
        });
    }

    #[test]
    fn no_exchange_is_an_error_that_is_not_kept() {
        smol::block_on(async {
            let prices = prices(None);
            for _ in 0..2 {
                let answer = prices.answer("gold".to_owned()).await;
                assert_eq!(answer, "error: no service is called \"exchange\"");
            }
            assert_eq!(prices.known.stats().computes, 2);
        });
    }
}
