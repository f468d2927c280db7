//! Resolves service names to addresses, and remembers each answer for as long as the answer says.
//!
//! Where answers come from is up to a [`Source`]: DNS, a service registry, a table. What a resolver
//! adds is its memory:
//!
//! - an answer is kept for its own time-to-live, and not longer than [`ResolverBuilder::max_ttl`];
//! - however many callers ask for a name at once, the source is asked once;
//! - a failure reaches everyone who waited for it and is not remembered: the next caller tries again.
//!
//! This library knows no runtime. The program hands it one, and background work, such as dropping
//! answers that nobody asks for any more, runs there. Any [`Runtime`] will do.
//!
//! # Examples
//!
//! ```
//! use std::io;
//! use std::time::Duration;
//! use neutral_library::{Answer, Resolver};
//! # use std::time::Instant;
//! # use neutral_library::runtime::{Spawner, Task, Timer};
//! # struct HostRuntime;
//! # impl Spawner for HostRuntime {
//! #     fn spawn(&self, task: Task) { drop(task) }
//! # }
//! # impl Timer for HostRuntime {
//! #     fn sleep_until(&self, _: Instant) -> Task { Box::pin(std::future::pending()) }
//! # }
//! # futures::executor::block_on(async {
//!
//! // In earnest, this sends a query.
//! let source = |name: String| async move {
//!     let address = ([192, 0, 2, 25], 25).into();
//!     match name.as_str() {
//!         "mail" => Ok(Answer::new([address], Duration::from_secs(60))),
//!         _ => Err(io::Error::from(io::ErrorKind::NotFound)),
//!     }
//! };
//! let resolver = Resolver::builder(source).max_names(10_000).build(HostRuntime)?;
//!
//! let addresses = resolver.resolve("mail").await?;
//! assert_eq!(addresses[0].port(), 25);
//! assert_eq!(resolver.resolve("mail").await?, addresses);
//! assert_eq!(resolver.stats().computes, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod answer;
mod builder;
mod resolver;
mod source;

pub use self::answer::Answer;
pub use self::builder::ResolverBuilder;
pub use self::resolver::Resolver;
pub use self::source::Source;

// What appears in the interface, so that callers need not depend on the cache themselves.
pub use fleeting::runtime::{self, Runtime};
pub use fleeting::{BuildError, ComputeError, Stats};
