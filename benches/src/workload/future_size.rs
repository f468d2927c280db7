//! The size of a compute call's future, beyond that of the user's own.

use std::mem::size_of_val;

use fleeting::Cache;

use crate::contender::FLEETING;
use crate::table::{Measure, Row, Table, Unit};

pub(crate) const BEYOND: Measure =
    Measure::new("future of get_or_compute, beyond the user's own", Unit::Bytes);

pub(crate) fn run() -> Vec<Table> {
    let cache: Cache<u64, u64> = Cache::builder().build().expect("the settings are valid");
    // It captures nothing, so that there is no closure to count.
    let compute = || async {
        tokio::task::yield_now().await;
        0
    };
    let whole = size_of_val(&cache.get_or_compute(0, compute));
    #[expect(clippy::cast_precision_loss, reason = "futures are small")]
    let beyond = whole as f64 - size_of_val(&compute()) as f64;
    vec![BEYOND.table(vec![Row::single(FLEETING, beyond)])]
}
