//! Decides who may see a record: one function, used by every path.

use time::Date;

use crate::model::audience::ClassDefinition;
use crate::model::marking::{Caveats, Marking, Tlp};
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::principal::SpiffeId;
use crate::model::roster::{RelationKind, Roster};

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

impl Purpose {
    /// Whether what is addressed to persons is for this.
    #[must_use]
    pub const fn reaches_persons(self) -> bool {
        matches!(self, Self::Deliver | Self::Get)
    }
}

/// Who wants to see it.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    /// His organisation.
    pub org: OrgNo,
    /// He himself, for what is addressed to persons.
    pub principal: &'a SpiffeId,
}

/// An audience class resolved against a roster and a day: a bit per
/// organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    owner: OrgNo,
    reach: Reach,
    /// Whether it may leave the hub.
    onward: bool,
    /// Where the source is masked: who leads, and is told it.
    leads: Option<Bits>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reach {
    Everyone,
    Organisations(Bits),
    Principals(Vec<SpiffeId>),
}

/// A set of organisations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, OrgNo(n): OrgNo) {
        let (word, bit) = (n as usize / 64, n % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    fn contains(&self, OrgNo(n): OrgNo) -> bool {
        self.0.get(n as usize / 64).is_some_and(|word| word & (1 << (n % 64)) != 0)
    }
}

impl Audience {
    /// Resolves a class on `date`. `number` knows the organisations of the
    /// roster; a name that it does not know reaches nobody.
    ///
    /// * CLEAR reaches anyone, GREEN every organisation that exists.
    /// * AMBER reaches the named organisations, the members of the named
    ///   groups, and their clients (TLP 2.0); providers that act for one of
    ///   them only with `providers_may_read`. AMBER+STRICT reaches the named
    ///   and the members alone.
    /// * RED reaches the named persons.
    /// * Where an organisation has ended, its successors have its rights, but
    ///   never to RED.
    pub fn resolve(
        class: &ClassDefinition,
        roster: &Roster,
        date: Date,
        number: impl Fn(&OrgSlug) -> Option<OrgNo>,
    ) -> Self {
        let Marking { tlp, recipients, caveats } = &class.marking;
        let mut bits = Bits::default();
        let mut reach = |slug: &OrgSlug| {
            if let Some(number) = number(slug) {
                bits.insert(number);
            }
        };
        let reach = match tlp {
            Tlp::Clear => Reach::Everyone,
            Tlp::Red => Reach::Principals(recipients.principals.clone()),
            Tlp::Green => {
                roster.organisations.keys().filter(|slug| roster.exists(slug, date)).for_each(reach);
                Reach::Organisations(bits)
            }
            Tlp::Amber | Tlp::AmberStrict => {
                let named = recipients
                    .organisations
                    .iter()
                    .chain(recipients.groups.iter().flat_map(|group| roster.members(group, date)));
                let amber = *tlp == Tlp::Amber;
                let providers = amber && caveats.contains(Caveats::PROVIDERS_MAY_READ);
                for heir in named.flat_map(|slug| roster.heirs(slug, date)) {
                    reach(heir);
                    if amber {
                        roster.subjects(RelationKind::ClientOf, heir, date).for_each(&mut reach);
                    }
                    if providers {
                        roster.subjects(RelationKind::ActsFor, heir, date).for_each(&mut reach);
                    }
                }
                for heir in roster.heirs(&class.owner, date) {
                    reach(heir);
                    if providers {
                        roster.subjects(RelationKind::ActsFor, heir, date).for_each(&mut reach);
                    }
                }
                Reach::Organisations(bits)
            }
        };
        Self {
            owner: number(&class.owner).unwrap_or(OrgNo(0)),
            reach,
            onward: !caveats.contains(Caveats::NO_ONWARD_FEED),
            leads: class.marking.is_masked().then(|| {
                let mut leads = Bits::default();
                roster.lead_units(date).filter_map(&number).for_each(|org| leads.insert(org));
                leads
            }),
        }
    }

    /// Whether everyone in `org` may get the records: what is addressed to
    /// persons is not for their organisation.
    #[must_use]
    pub fn reaches(&self, org: OrgNo) -> bool {
        org == self.owner
            || match &self.reach {
                Reach::Everyone => true,
                Reach::Organisations(bits) => bits.contains(org),
                Reach::Principals(_) => false,
            }
    }
}

/// Whether `viewer` may see the records of `audience` for `purpose`. The
/// owner's organisation may for every purpose; RED is delivered to and got by
/// its named persons, and never searched, counted, exported or fed; what has
/// the caveat `no_onward_feed` leaves the hub in no feed.
#[must_use]
pub fn visible(viewer: Viewer<'_>, audience: &Audience, purpose: Purpose) -> bool {
    if viewer.org == audience.owner {
        return true;
    }
    if purpose == Purpose::Feed && !audience.onward {
        return false;
    }
    match &audience.reach {
        Reach::Everyone => true,
        Reach::Organisations(bits) => bits.contains(viewer.org),
        Reach::Principals(named) => purpose.reaches_persons() && named.contains(viewer.principal),
    }
}

/// Whether `viewer` is told whose the records of `audience` are, and to whom
/// they are addressed, when it sees them for `purpose`. Where the source is
/// masked, only the owner's organisation is, and the organisations that lead:
/// those only of what they may see anyway, since no duty gives a right to
/// read.
#[must_use]
pub fn discloses(viewer: Viewer<'_>, audience: &Audience, purpose: Purpose) -> bool {
    visible(viewer, audience, purpose)
        && audience
            .leads
            .as_ref()
            .is_none_or(|leads| viewer.org == audience.owner || leads.contains(viewer.org))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::marking::Recipients;
    use crate::model::org::Organisation;
    use crate::model::roster::Duty;

    const PURPOSES: [Purpose; 6] =
        [Purpose::Deliver, Purpose::Get, Purpose::Search, Purpose::Aggregate, Purpose::Export, Purpose::Feed];

    fn org(n: u32) -> OrgSlug {
        OrgSlug::parse(&format!("org-{n}")).unwrap()
    }

    fn number(slug: &OrgSlug) -> Option<OrgNo> {
        slug.as_str().strip_prefix("org-")?.parse().ok().map(OrgNo)
    }

    const DAY: Date = time::macros::date!(2026 - 01 - 01);

    fn organisation(n: u32) -> Organisation {
        Organisation::plain(org(n))
    }

    fn roster() -> Roster {
        Roster { organisations: (1..200).map(|n| (org(n), organisation(n))).collect(), ..Roster::default() }
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
        Audience::resolve(&ClassDefinition { owner: org(1), marking }, &roster(), DAY, number)
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

    /// A masked audience of organisation 1's to organisations 2 and 3, where
    /// 3, 4 and, until the day before, 5 lead.
    fn masked(tlp: Tlp) -> Audience {
        let duty = |duty: &str, holder, to| Duty {
            duty: duty.into(),
            scope: "city".into(),
            holder: org(holder),
            from: None,
            to,
            legal_basis: "a law".into(),
        };
        let duties = vec![
            duty("lead-unit-infosec", 3, None),
            duty("lead-unit", 4, None),
            duty("lead-unit-infosec", 5, Some(DAY)),
            duty("national-lead-unit", 2, None),
        ];
        let recipients = Recipients {
            organisations: vec![org(2), org(3), org(5)],
            groups: vec![],
            principals: vec![person(3)],
        };
        let marking = Marking { tlp, recipients, caveats: Caveats::MASKED_SOURCE };
        let roster = Roster { duties, ..roster() };
        Audience::resolve(&ClassDefinition { owner: org(1), marking }, &roster, DAY, number)
    }

    fn told(n: u32, audience: &Audience, purpose: Purpose) -> bool {
        discloses(Viewer { org: OrgNo(n), principal: &person(n) }, audience, purpose)
    }

    #[test]
    fn a_masked_source_is_told_to_the_owner_and_to_who_leads_and_may_see_it() {
        for tlp in [Tlp::Amber, Tlp::AmberStrict] {
            let audience = masked(tlp);
            for purpose in PURPOSES {
                let seen = [1, 2, 3, 4, 5, 6].map(|n| sees(n, &audience, purpose));
                assert_eq!(seen, [true, true, true, false, true, false], "{tlp:?} {purpose:?}");
                let told = [1, 2, 3, 4, 5, 6].map(|n| told(n, &audience, purpose));
                assert_eq!(told, [true, false, true, false, false, false], "{tlp:?} {purpose:?}");
            }
        }
        let green = masked(Tlp::Green);
        assert_eq!([1, 2, 3, 4, 5].map(|n| told(n, &green, Purpose::Get)), [true, false, true, true, false]);
        let red = masked(Tlp::Red);
        assert!(
            told(3, &red, Purpose::Get) && !told(3, &red, Purpose::Search) && !told(4, &red, Purpose::Get)
        );
    }

    #[test]
    fn an_open_source_is_told_to_whoever_sees_the_record() {
        let audience = audience(Tlp::Amber, &[2]);
        for purpose in PURPOSES {
            assert_eq!([1, 2, 3].map(|n| told(n, &audience, purpose)), [true, true, false]);
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
