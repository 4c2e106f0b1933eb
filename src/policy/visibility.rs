//! Decides who may see a record: one function, used by every path.

use crate::model::audience::ClassDefinition;
use crate::model::marking::Tlp;
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::principal::SpiffeId;

/// What a record is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Delivery to a subscription.
    Deliver,
    /// Fetching by id.
    Get,
    /// Listing and looking up.
    Search,
    /// Counting.
    Aggregate,
    /// Export to the caller.
    Export,
    /// A feed that leaves the hub.
    Feed,
}

/// Who wants to see it.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    /// His organisation.
    pub org: OrgNo,
    /// He himself, for what is addressed to persons.
    pub principal: &'a SpiffeId,
}

/// An audience class resolved against a roster: a bit per organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    owner: OrgNo,
    reach: Reach,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reach {
    Everyone,
    Organisations(Vec<u64>),
    Principals(Vec<SpiffeId>),
}

impl Audience {
    /// Resolves a class. `number` knows the organisations of the roster; a
    /// name that it does not know reaches nobody.
    pub fn resolve(
        class: &ClassDefinition,
        owner: OrgNo,
        number: impl Fn(&OrgSlug) -> Option<OrgNo>,
    ) -> Self {
        let recipients = &class.marking.recipients;
        let reach = match class.marking.tlp {
            Tlp::Clear | Tlp::Green => Reach::Everyone,
            Tlp::Amber | Tlp::AmberStrict => {
                let mut bits = Vec::new();
                for OrgNo(n) in recipients.organisations.iter().filter_map(number) {
                    let (word, bit) = (n as usize / 64, n % 64);
                    if bits.len() <= word {
                        bits.resize(word + 1, 0_u64);
                    }
                    if let Some(word) = bits.get_mut(word) {
                        *word |= 1 << bit;
                    }
                }
                Reach::Organisations(bits)
            }
            Tlp::Red => Reach::Principals(recipients.principals.clone()),
        };
        Self { owner, reach }
    }
}

/// Whether `viewer` may see the records of `audience` for `purpose`. The
/// owner's organisation may for every purpose; RED is delivered to and got by
/// its named persons, and never searched, counted, exported or fed.
#[must_use]
pub fn visible(viewer: Viewer<'_>, audience: &Audience, purpose: Purpose) -> bool {
    if viewer.org == audience.owner {
        return true;
    }
    match &audience.reach {
        Reach::Everyone => true,
        Reach::Organisations(bits) => {
            let (word, bit) = (viewer.org.0 as usize / 64, viewer.org.0 % 64);
            bits.get(word).is_some_and(|word| word & (1 << bit) != 0)
        }
        Reach::Principals(named) => {
            matches!(purpose, Purpose::Deliver | Purpose::Get) && named.contains(viewer.principal)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::marking::{Caveats, Marking, Recipients};

    const PURPOSES: [Purpose; 6] =
        [Purpose::Deliver, Purpose::Get, Purpose::Search, Purpose::Aggregate, Purpose::Export, Purpose::Feed];

    fn org(n: u32) -> OrgSlug {
        OrgSlug::parse(&format!("org-{n}")).unwrap()
    }

    fn number(slug: &OrgSlug) -> Option<OrgNo> {
        slug.as_str().strip_prefix("org-")?.parse().ok().map(OrgNo)
    }

    fn person(n: u32) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://t.example/org/org-{n}/user/u")).unwrap()
    }

    fn audience(tlp: Tlp, recipients: &[u32]) -> Audience {
        let recipients = Recipients {
            organisations: recipients.iter().map(|&n| org(n)).collect(),
            groups: vec![],
            principals: recipients.iter().map(|&n| person(n)).collect(),
        };
        let marking = Marking { tlp, recipients, caveats: Caveats::NONE };
        Audience::resolve(&ClassDefinition { owner: org(1), marking }, OrgNo(1), number)
    }

    fn sees(n: u32, audience: &Audience, purpose: Purpose) -> bool {
        visible(Viewer { org: OrgNo(n), principal: &person(n) }, audience, purpose)
    }

    proptest! {
        #[test]
        fn a_narrower_label_never_widens_the_audience(
            viewer in 1_u32..200, named in proptest::collection::vec(1_u32..200, 0..6)
        ) {
            for purpose in PURPOSES {
                let seen = Tlp::ALL.map(|tlp| sees(viewer, &audience(tlp, &named), purpose));
                prop_assert!(seen.windows(2).all(|w| w[0] || !w[1]), "{seen:?}");
            }
        }

        #[test]
        fn amber_reaches_exactly_the_owner_and_the_named(
            viewer in 1_u32..200, named in proptest::collection::vec(1_u32..200, 0..6)
        ) {
            let expected = viewer == 1 || named.contains(&viewer);
            prop_assert_eq!(sees(viewer, &audience(Tlp::Amber, &named), Purpose::Search), expected);
        }
    }

    #[test]
    fn an_empty_audience_reaches_nobody_but_the_owner() {
        for tlp in [Tlp::Amber, Tlp::AmberStrict, Tlp::Red] {
            for purpose in PURPOSES {
                assert!(sees(1, &audience(tlp, &[]), purpose));
                assert!(!sees(2, &audience(tlp, &[]), purpose));
            }
        }
    }

    #[test]
    fn red_is_never_searched_even_by_its_named_persons() {
        let red = audience(Tlp::Red, &[2]);
        assert!(sees(2, &red, Purpose::Deliver) && sees(2, &red, Purpose::Get));
        for purpose in [Purpose::Search, Purpose::Aggregate, Purpose::Export, Purpose::Feed] {
            assert!(!sees(2, &red, purpose));
        }
    }
}
