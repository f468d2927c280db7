//! Policies: which entry makes way for a new one, in contenders that leave the choice to their users.

#[derive(Clone, Copy)]
pub(crate) struct Fifo;
#[derive(Clone, Copy)]
pub(crate) struct Lru;
#[derive(Clone, Copy)]
pub(crate) struct Sieve;
#[derive(Clone, Copy)]
pub(crate) struct S3Fifo;
#[derive(Clone, Copy)]
pub(crate) struct TinyLfu;
#[derive(Clone, Copy)]
pub(crate) struct Adaptive;
