//! The miss path: join the flight of a key, or lead a new one.
//!
//! A [`call`] looks for the value. If it is fresh, that is all. Else the store knows the key's flight, if
//! there is one: then the call joins it, as a waiter. If not, the call is its [`leader`]: it [`make`]s the
//! compute, polls it once, and if that did not end it becomes a waiter like the others.
//!
//! - [`flight`]: one running compute; [`outcome`]: what it comes to; [`waiter`]: a caller that waits for
//!   it; [`share`]: how they come to share it; [`signal`]: how the one that is polled wakes the others.
//! - [`driver`]: a task that polls the compute in place of its callers.
//! - [`recursion`]: which flight waits for which, so that none waits for itself.
//! - [`patience`]: how long a caller waits; [`term`]: how long the compute may run for all of them;
//!   [`permits`]: how many run at once.
//! - [`many`]: a flight of many keys at once.
//! - [`host`]: what is the same for all computes of a cache; [`error`]: what callers are told.
//!
//! Who lands a flight, and what becomes of a value that is renewed meanwhile, is the store's affair: see
//! `store/landing.rs`.

pub(crate) mod call;
mod driver;
pub(crate) mod error;
pub(crate) mod flight;
pub(crate) mod host;
mod leader;
pub(crate) mod make;
pub(crate) mod many;
pub(crate) mod outcome;
mod patience;
pub(crate) mod permits;
mod recursion;
mod share;
mod signal;
mod term;
pub(crate) mod waiter;

#[cfg(feature = "test-util")]
pub(crate) use recursion::apart;
pub(crate) use recursion::is_polling;
