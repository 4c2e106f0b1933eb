//! Decides whether one audience is at most as wide as another: from what the
//! two say alone, so that it holds under any roster and on any day.

use crate::model::audience::ClassDefinition;
use crate::model::marking::{Caveats, Tlp};
use crate::model::org::OrgSlug;

/// Whether `inner` reaches nobody whom `outer` does not reach, its own owner
/// aside. Where that cannot be told without a roster, such as whether an
/// organisation is of a group, the answer is no.
///
/// The advice to watch and not to block concerns no reader.
#[must_use]
pub fn at_most_as_wide(inner: &ClassDefinition, outer: &ClassDefinition) -> bool {
    keeps_restrictions(inner, outer) && reaches_no_further(inner, outer)
}

fn keeps_restrictions(inner: &ClassDefinition, outer: &ClassDefinition) -> bool {
    [Caveats::MASKED_SOURCE, Caveats::NO_ONWARD_FEED]
        .into_iter()
        .all(|caveat| inner.marking.caveats.contains(caveat) || !outer.marking.caveats.contains(caveat))
}

fn reaches_no_further(inner: &ClassDefinition, outer: &ClassDefinition) -> bool {
    let (asked, given) = (&inner.marking, &outer.marking);
    if asked.tlp < given.tlp {
        return false;
    }
    let named = |org: &OrgSlug| given.recipients.organisations.contains(org);
    // The owner reads in any case, but neither do its clients by that.
    let reads = |org: &OrgSlug| *org == outer.owner || named(org);
    let groups = || asked.recipients.groups.iter().all(|group| given.recipients.groups.contains(group));
    match (given.tlp, asked.tlp) {
        (Tlp::Clear | Tlp::Green, _) => true,
        (Tlp::Red, _) => {
            let persons = &given.recipients.principals;
            // As its owner, an organisation reads as a whole.
            inner.owner == outer.owner
                && asked
                    .recipients
                    .principals
                    .iter()
                    .all(|id| *id.org() == outer.owner || persons.contains(id))
        }
        (_, Tlp::Red) => asked.recipients.principals.iter().all(|id| reads(id.org())),
        (_, Tlp::Amber) => {
            let providers = asked.caveats.contains(Caveats::PROVIDERS_MAY_READ);
            asked.recipients.organisations.iter().all(named)
                && groups()
                // With them come those of its own owner.
                && (!providers
                    || given.caveats.contains(Caveats::PROVIDERS_MAY_READ) && reads(&inner.owner))
        }
        _ => asked.recipients.organisations.iter().all(reads) && groups(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::Date;

    use super::*;
    use crate::model::marking::{Marking, Recipients};
    use crate::model::org::{OrgNo, Organisation};
    use crate::model::principal::SpiffeId;
    use crate::model::roster::{Group, Member, Relation, RelationKind, Roster};
    use crate::policy::visibility::{Audience, Purpose, Viewer, visible};

    const DAY: Date = time::macros::date!(2026 - 01 - 01);
    const PURPOSES: [Purpose; 6] =
        [Purpose::Deliver, Purpose::Get, Purpose::Search, Purpose::Aggregate, Purpose::Export, Purpose::Feed];
    const ORGS: u32 = 6;

    fn org(n: u32) -> OrgSlug {
        OrgSlug::parse(&format!("org-{n}")).unwrap()
    }

    fn group(n: u32) -> OrgSlug {
        OrgSlug::parse(&format!("group-{n}")).unwrap()
    }

    fn person(org: u32, name: u32) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://t.example/org/org-{org}/user/u{name}")).unwrap()
    }

    fn number(slug: &OrgSlug) -> Option<OrgNo> {
        slug.as_str().strip_prefix("org-")?.parse().ok().map(OrgNo)
    }

    fn organisation(n: u32) -> Organisation {
        Organisation::plain(org(n))
    }

    prop_compose! {
        fn roster()(
            members in proptest::collection::vec((1..3_u32, 1..=ORGS), 0..5),
            relations in proptest::collection::vec((any::<bool>(), 1..=ORGS, 1..=ORGS), 0..6),
        ) -> Roster {
            let mut roster = Roster {
                organisations: (1..=ORGS).map(|n| (org(n), organisation(n))).collect(),
                ..Roster::default()
            };
            for (of, member) in members {
                let all = roster.groups.entry(group(of)).or_insert_with(|| Group {
                    slug: group(of), vi: String::new(), en: String::new(), members: Vec::new(),
                });
                all.members.push(Member { organisation: org(member), from: None, to: None });
            }
            roster.relations = relations
                .into_iter()
                .map(|(client, subject, object)| Relation {
                    kind: if client { RelationKind::ClientOf } else { RelationKind::ActsFor },
                    subject: org(subject),
                    object: org(object),
                    from: None,
                    to: None,
                    legal_basis: String::new(),
                })
                .collect();
            roster
        }
    }

    prop_compose! {
        fn class()(
            tlp in proptest::sample::select(Tlp::ALL.to_vec()),
            owner in 1..3_u32,
            orgs in proptest::collection::btree_set(1..=ORGS, 0..4),
            groups in proptest::collection::btree_set(1..3_u32, 0..2),
            persons in proptest::collection::btree_set((1..=ORGS, 1..3_u32), 0..4),
            caveats in 0..16_u8,
        ) -> ClassDefinition {
            let bodies = matches!(tlp, Tlp::Amber | Tlp::AmberStrict);
            let recipients = Recipients {
                organisations: if bodies { orgs.into_iter().map(org).collect() } else { vec![] },
                groups: if bodies { groups.into_iter().map(group).collect() } else { vec![] },
                principals: match tlp {
                    Tlp::Red => persons.into_iter().map(|(org, name)| person(org, name)).collect(),
                    _ => vec![],
                },
            };
            let caveats = Caveats::from_bits(caveats).unwrap();
            ClassDefinition { owner: org(owner), marking: Marking { tlp, recipients, caveats } }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_at_most_as_wide_shows_nobody_more_under_any_roster(
            inner in class(), outer in class(), roster in roster()
        ) {
            if at_most_as_wide(&inner, &outer) {
                let resolved = |class| Audience::resolve(class, &roster, DAY, number);
                let (narrow, wide) = (resolved(&inner), resolved(&outer));
                for viewer in (1..=ORGS).flat_map(|org| [person(org, 1), person(org, 2)]) {
                    let seen = Viewer { org: number(viewer.org()).unwrap(), principal: &viewer };
                    for purpose in PURPOSES {
                        prop_assert!(
                            *viewer.org() == inner.owner
                                || !visible(seen, &narrow, purpose)
                                || visible(seen, &wide, purpose),
                            "{viewer} {purpose:?}"
                        );
                    }
                }
            }
        }

        #[test]
        fn every_audience_is_at_most_as_wide_as_itself(class in class()) {
            prop_assert!(at_most_as_wide(&class, &class));
        }
    }

    fn marked(owner: u32, tlp: Tlp, orgs: &[u32]) -> ClassDefinition {
        let recipients =
            Recipients { organisations: orgs.iter().map(|&n| org(n)).collect(), ..Recipients::default() };
        ClassDefinition { owner: org(owner), marking: Marking { tlp, recipients, caveats: Caveats::NONE } }
    }

    fn grouped(owner: u32, tlp: Tlp, of: u32) -> ClassDefinition {
        let mut class = marked(owner, tlp, &[]);
        class.marking.recipients.groups = vec![group(of)];
        class
    }

    fn red(owner: u32, persons: &[(u32, u32)]) -> ClassDefinition {
        let mut class = marked(owner, Tlp::Red, &[]);
        class.marking.recipients.principals = persons.iter().map(|&(org, name)| person(org, name)).collect();
        class
    }

    fn with(mut class: ClassDefinition, caveat: Caveats) -> ClassDefinition {
        class.marking.caveats = caveat;
        class
    }

    #[test]
    fn what_is_narrower_in_each_respect_is_taken() {
        let amber = marked(1, Tlp::Amber, &[2, 3]);
        for (inner, outer) in [
            (marked(2, Tlp::Green, &[]), marked(1, Tlp::Clear, &[])),
            (marked(2, Tlp::Amber, &[3]), marked(1, Tlp::Green, &[])),
            (marked(2, Tlp::Amber, &[3]), amber.clone()),
            (marked(2, Tlp::AmberStrict, &[1, 3]), amber.clone()),
            (grouped(2, Tlp::AmberStrict, 1), grouped(1, Tlp::Amber, 1)),
            (red(2, &[(3, 1), (1, 1)]), amber.clone()),
            (red(1, &[(3, 1)]), red(1, &[(2, 1), (3, 1)])),
            (marked(2, Tlp::Amber, &[3]), with(amber.clone(), Caveats::WATCH_DO_NOT_BLOCK)),
            (
                with(marked(2, Tlp::Amber, &[3]), Caveats::PROVIDERS_MAY_READ),
                with(amber, Caveats::PROVIDERS_MAY_READ),
            ),
        ] {
            assert!(at_most_as_wide(&inner, &outer), "{inner:?} {outer:?}");
        }
    }

    #[test]
    fn what_is_wider_in_any_respect_is_not() {
        let amber = marked(1, Tlp::Amber, &[2, 3]);
        for (inner, outer) in [
            (marked(2, Tlp::Clear, &[]), marked(1, Tlp::Green, &[])),
            (marked(2, Tlp::Green, &[]), amber.clone()),
            (marked(2, Tlp::Amber, &[2, 4]), amber.clone()),
            // The clients of the owner would read what it alone may.
            (marked(2, Tlp::Amber, &[1]), amber.clone()),
            (marked(2, Tlp::Amber, &[2]), marked(1, Tlp::AmberStrict, &[2])),
            (grouped(2, Tlp::Amber, 2), grouped(1, Tlp::Amber, 1)),
            (red(2, &[(4, 1)]), amber.clone()),
            (red(1, &[(3, 2)]), red(1, &[(3, 1)])),
            // As owner its whole organisation would read it.
            (red(3, &[(3, 1)]), red(1, &[(3, 1)])),
            (with(amber.clone(), Caveats::PROVIDERS_MAY_READ), amber.clone()),
            (amber.clone(), with(amber, Caveats::NO_ONWARD_FEED)),
        ] {
            assert!(!at_most_as_wide(&inner, &outer), "{inner:?} {outer:?}");
        }
    }
}
