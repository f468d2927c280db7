//! Random operations against a naive model, and a stress run whose end state is checked.
//!
//! All policies, weights, lifetimes, and a listener. After each operation its answer, the size, the weight,
//! every value with the time that it has left, every statistic and every notice are compared.
//! `PROPTEST_CASES` runs more cases.

mod ledger;
mod naive;
mod operation;
mod pair;
mod stress;

use proptest::prelude::*;

use operation::{operation, settings};
use pair::Pair;

fn config() -> ProptestConfig {
    let cases = ProptestConfig::default().cases;
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if is_set { cases } else { 300 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_operations_do_what_a_naive_model_does(
        settings in settings(),
        operations in prop::collection::vec(operation(), 1..100),
    ) {
        let mut pair = Pair::new(&settings);
        for operation in operations {
            pair.apply(operation);
            pair.check();
        }
        pair.close();
    }
}
