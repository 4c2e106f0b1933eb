//! Two applies of one log give one state, and verification sees every
//! difference between the two.

use luytre::hub::verify;
use proptest::prelude::*;

use super::model::{self, Model};
use super::support::{Engine, block_on};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn two_applies_of_one_log_give_one_digest(ops in model::ops(24), reopened in any::<prop::sample::Index>()) {
        block_on(async {
            let mut engine = Engine::new();
            let mut model = Model::default();
            for (place, op) in ops.iter().enumerate() {
                if place == reopened.index(ops.len()) {
                    engine = engine.reopen(|_| ()).await;
                }
                engine.clock.advance(place as u64 % 3);
                model.apply(&engine, op).await;
            }
            let path = engine.path().to_owned();
            let dir = engine.close().await;
            let report = verify(&path, |_| ()).unwrap();
            prop_assert!(report.is_clean(), "{:?}", report.differences);
            drop(dir);
            Ok(())
        })?;
    }
}
