//! Promises of the rotation of authorities: nobody notices it who does what he
//! is asked to, and nobody is cut off whom the operator has not named.

mod crash;
mod full;
mod offline;
mod refusals;
mod restore;
mod system;

use luytre::model::principal::Role;

use crate::harness::TestHub;
use crate::harness::issuing::Issuing;

/// The operator who is a person.
const OPERATOR: &str = "user/lan";

/// A hub of these organisations with one feed each, and an operator.
async fn hub_of(organisations: &[String]) -> Issuing {
    let roles = [Role::Publisher, Role::Subscriber];
    let builder = TestHub::builder().principal("hub", OPERATOR, &[Role::Operator]);
    let builder = organisations
        .iter()
        .fold(builder, |builder, organisation| builder.principal(organisation, system::NAME, &roles));
    builder.start_issuing().await
}

/// So many organisations.
fn organisations(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("u{number:03}")).collect()
}
