//! Decides how a look-up is asked for and answered.

use crate::model::Invalid;
use crate::model::indicator::Observable;
use crate::wire::observable::of_text;
use crate::wire::proto::v1;

/// Whether a look-up goes past the values themselves.
///
/// # Errors
/// A scope without a meaning.
pub fn read_scope(field: &str, number: i32) -> Result<bool, Invalid> {
    match v1::LookupScope::try_from(number) {
        Ok(v1::LookupScope::Unspecified | v1::LookupScope::Exact) => Ok(false),
        Ok(v1::LookupScope::Wide) => Ok(true),
        Err(_) => Err(super::unknown(field)),
    }
}

/// A canonical value under the field of its kind.
#[must_use]
pub fn observable(value: &Observable) -> v1::Observable {
    of_text(Some(value.kind()), value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::indicator::wider::Relation;

    #[test]
    fn a_scope_that_is_not_known_is_refused() {
        let read = [0, 1, 2].map(|number| read_scope("scope", number).unwrap());
        assert_eq!(read, [false, false, true]);
        for number in [3, -1] {
            assert_eq!(read_scope("scope", number).unwrap_err().field, "scope");
        }
    }

    #[test]
    fn relations_of_the_contract_and_of_the_model_are_numbered_alike() {
        for relation in Relation::ALL {
            let contract = v1::LookupRelation::try_from(i32::from(relation.number())).unwrap();
            let name = relation.as_str().to_uppercase().replace('-', "_");
            assert_eq!(contract.as_str_name(), format!("LOOKUP_RELATION_{name}"));
        }
        assert!(v1::LookupRelation::try_from(8).is_err());
    }
}
