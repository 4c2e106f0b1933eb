//! Decides what the assertions about one value and the sightings of it come to
//! together: who holds to it, where they disagree, how often it was met, and
//! how much attention it deserves.

use std::collections::{BTreeMap, BTreeSet};

use time::Date;
use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::model::numbered::numbered;

use super::indicator::score::{self, Score};
use super::indicator::{Kind, Observable, RecommendedAction, RevocationReason, Role, State};
use super::org::OrgSlug;
use super::sighting::Outcome;

/// Most names on one side of a conflict.
pub const MAX_SIDE: usize = 20;

/// What one assertion says of a value, as far as the reader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Public id of the indicator.
    pub id: Uuid,
    /// Its owner; none where the reader is not told.
    pub owner: Option<OrgSlug>,
    /// Where it stands.
    pub state: State,
    /// Why it was taken back, if it was.
    pub revoked: Option<RevocationReason>,
    /// The producer's confidence.
    pub confidence: Option<u8>,
    /// What it recommends.
    pub action: Option<RecommendedAction>,
    /// What the value is in the attack.
    pub role: Option<Role>,
    /// Whether it repeats another's assertion.
    pub republication: bool,
    /// When the value was first met.
    pub first_seen: Option<Timestamp>,
    /// When it was last met.
    pub last_seen: Option<Timestamp>,
    /// When the first version was published.
    pub created: Timestamp,
    /// When this version was added.
    pub added: Timestamp,
}

impl Claim {
    /// Whether it holds to the value: says today that it serves an attack.
    fn holds(&self) -> bool {
        self.state == State::Active && self.role != Some(Role::Victim)
    }

    fn blocks(&self) -> bool {
        let to_stop = matches!(self.action, Some(RecommendedAction::Block | RecommendedAction::Isolate));
        self.state == State::Active && to_stop
    }

    fn is_taken_back(&self) -> bool {
        matches!(self.revoked, Some(RevocationReason::FalsePositive | RevocationReason::Withdrawn))
    }
}

/// What one sighting says, as far as the reader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// Public id of the indicator.
    pub indicator: Uuid,
    /// Who reported it; none where the reader is not told.
    pub reporter: Option<OrgSlug>,
    /// Kind of that organisation; empty where the reader is not told.
    pub reporter_kind: String,
    /// What happened.
    pub outcome: Outcome,
    /// How often.
    pub count: u64,
    /// First time.
    pub first_seen: Option<Timestamp>,
    /// Last time.
    pub last_seen: Option<Timestamp>,
    /// When it was recorded.
    pub recorded: Timestamp,
}

impl Met {
    const fn is_of_the_threat(&self) -> bool {
        matches!(self.outcome, Outcome::SeenBlocked | Outcome::SeenNotBlocked)
    }

    fn first(&self) -> Timestamp {
        self.first_seen.or(self.last_seen).unwrap_or(self.recorded)
    }

    fn last(&self) -> Timestamp {
        self.last_seen.or(self.first_seen).unwrap_or(self.recorded)
    }
}

/// What sightings come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Kind of the reporters; empty where the reader is not told.
    pub kind: String,
    /// Day at the hub's place.
    pub day: Date,
    /// What happened.
    pub outcome: Outcome,
    /// How often.
    pub count: u64,
    /// In how many reports.
    pub reports: u32,
}

numbered! {
    /// What a disagreement is about.
    pub enum ConflictKind {
        /// To block what another calls a victim's.
        BlockAVictim = 1 is "block-a-victim",
        /// To block what was met and found harmless.
        BlockTheHarmless = 2 is "block-the-harmless",
        /// To hold to what another took back.
        TakenBack = 3 is "taken-back",
    }
}

/// A disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What it is about.
    pub kind: ConflictKind,
    /// The one side.
    pub indicators: Vec<Uuid>,
    /// The other.
    pub against: Vec<Uuid>,
}

/// A score and what went into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scored {
    /// The score.
    pub score: Score,
    /// Sources that hold to the value.
    pub sources: u32,
    /// Organisations that found it harmless.
    pub false_positives: u32,
    /// When it was last heard of.
    pub heard: Timestamp,
    /// Half-life of its kind, in days.
    pub half_life_days: u32,
}

/// What all of it comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Owners who hold to the value.
    pub owners: BTreeSet<OrgSlug>,
    /// Whether there are others, of whom the reader is not told who.
    pub others: bool,
    /// Where they disagree.
    pub conflicts: Vec<Conflict>,
    /// When the value was first met.
    pub first_seen: Option<Timestamp>,
    /// When it was last met.
    pub last_seen: Option<Timestamp>,
    /// When the first assertion was published.
    pub first_published: Option<Timestamp>,
    /// Sightings, newest day first.
    pub totals: Vec<Total>,
    /// How much attention it deserves; none unless somebody holds to it.
    pub scored: Option<Scored>,
}

/// What these come to at the moment `now`.
#[must_use]
pub fn summarise(kind: Kind, claims: &[Claim], met: &[Met], now: Timestamp) -> Summary {
    let holding = || claims.iter().filter(|claim| claim.holds() && !claim.republication);
    let threats = || met.iter().filter(|met| met.is_of_the_threat());
    let firsts = claims.iter().filter_map(|claim| claim.first_seen.or(claim.last_seen));
    let lasts = claims.iter().filter_map(|claim| claim.last_seen.or(claim.first_seen));
    Summary {
        owners: holding().filter_map(|claim| claim.owner.clone()).collect(),
        others: holding().any(|claim| claim.owner.is_none()),
        conflicts: conflicts(claims, met),
        first_seen: firsts.chain(threats().map(Met::first)).min(),
        last_seen: lasts.chain(threats().map(Met::last)).max(),
        first_published: claims.iter().map(|claim| claim.created).min(),
        totals: totals(met),
        scored: scored(kind, claims, met, now),
    }
}

fn scored(kind: Kind, claims: &[Claim], met: &[Met], now: Timestamp) -> Option<Scored> {
    // By source; how many stand behind those that are not told is not told by
    // the score either.
    let mut sources: BTreeMap<Option<&OrgSlug>, Option<u8>> = BTreeMap::new();
    // Of a record that repeats another's, that one speaks, where it is there.
    let holding: Vec<_> = claims.iter().filter(|claim| claim.holds()).collect();
    let own = holding.iter().any(|claim| !claim.republication);
    for claim in holding.iter().filter(|claim| !(own && claim.republication)) {
        let said = claim.confidence.unwrap_or(score::UNSAID);
        let most = sources.entry(claim.owner.as_ref()).or_default();
        *most = Some(most.map_or(said, |most| most.max(said)));
    }
    let said = holding.iter().map(|claim| claim.last_seen.unwrap_or(claim.added));
    let heard = said.chain(met.iter().filter(|met| met.is_of_the_threat()).map(Met::last)).max()?;
    let harmless = met.iter().filter(|met| met.outcome == Outcome::FalsePositive);
    let harmless: BTreeSet<_> = harmless.map(|met| met.reporter.as_ref()).collect();
    let (confidences, number) =
        (sources.values().copied().collect::<Vec<_>>(), |n| u32::try_from(n).unwrap_or(u32::MAX));
    let (sources, false_positives) = (number(sources.len()), number(harmless.len()));
    (sources > 0).then(|| Scored {
        score: score::score(kind, &confidences, now.since(heard), false_positives),
        sources,
        false_positives,
        heard,
        half_life_days: score::half_life_days(kind),
    })
}

fn conflicts(claims: &[Claim], met: &[Met]) -> Vec<Conflict> {
    let of = |is: &dyn Fn(&Claim) -> bool| -> Vec<Uuid> {
        claims.iter().filter(|claim| is(claim)).map(|claim| claim.id).collect()
    };
    let harmless: BTreeSet<_> =
        met.iter().filter(|met| met.outcome == Outcome::FalsePositive).map(|met| met.indicator).collect();
    let blocking = of(&Claim::blocks);
    let victims = of(&|claim| claim.state == State::Active && claim.role == Some(Role::Victim));
    let harmless = of(&|claim| harmless.contains(&claim.id));
    let sides = [
        (ConflictKind::BlockAVictim, blocking.clone(), victims),
        (ConflictKind::BlockTheHarmless, blocking, harmless),
        (ConflictKind::TakenBack, of(&Claim::holds), of(&Claim::is_taken_back)),
    ];
    let both = sides.into_iter().filter(|(_, one, other)| !one.is_empty() && !other.is_empty());
    both.map(|(kind, mut indicators, mut against)| {
        indicators.truncate(MAX_SIDE);
        against.truncate(MAX_SIDE);
        Conflict { kind, indicators, against }
    })
    .collect()
}

fn totals(met: &[Met]) -> Vec<Total> {
    let mut totals: BTreeMap<_, (u64, u32)> = BTreeMap::new();
    for met in met {
        let key = (std::cmp::Reverse(met.last().day()), met.reporter_kind.as_str(), met.outcome.number());
        let (count, reports) = totals.entry(key).or_default();
        *count = count.saturating_add(met.count);
        *reports = reports.saturating_add(1);
    }
    let total = |((day, kind, outcome), (count, reports)): ((std::cmp::Reverse<Date>, &str, u8), _)| {
        let outcome = Outcome::from_number(outcome)?;
        Some(Total { kind: kind.to_owned(), day: day.0, outcome, count, reports })
    };
    totals.into_iter().filter_map(total).collect()
}

numbered! {
    /// How a value is related to another. The numbers of those that are also
    /// relations of a look-up are theirs.
    pub enum Kinship {
        /// Another hash of the same file.
        SameFile = 1 is "same-file",
        /// A network that contains it.
        ContainingNetwork = 2 is "containing-network",
        /// A domain above it.
        ParentDomain = 3 is "parent-domain",
        /// Its host.
        Host = 4 is "host",
        /// A network that contains its host.
        HostNetwork = 5 is "host-network",
        /// A domain above its host.
        HostParentDomain = 6 is "host-parent-domain",
        /// Its host and port.
        Endpoint = 7 is "endpoint",
        /// Under the same registrable domain.
        SameDomain = 8 is "same-domain",
        /// Of the same campaign.
        SameCampaign = 9 is "same-campaign",
        /// Of the same family of malware.
        SameFamily = 10 is "same-family",
    }
}

/// A value that is related to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relative {
    /// The value.
    pub value: Observable,
    /// Public id of an assertion about it.
    pub id: Uuid,
    /// Where that stands.
    pub state: State,
}

/// Values that have the same in common with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kin {
    /// How they are related to it.
    pub kinship: Kinship,
    /// What they have in common.
    pub shared: String,
    /// They.
    pub values: Vec<Relative>,
    /// Whether there are more.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_225_600_000_000;
    const DAY: u64 = 86_400_000_000;

    fn at(days: u64) -> Timestamp {
        Timestamp::from_micros(NOW - days * DAY).unwrap()
    }

    fn slug(name: &str) -> OrgSlug {
        OrgSlug::parse(name).unwrap()
    }

    fn claim(id: u128, owner: &str) -> Claim {
        Claim {
            id: Uuid::from_u128(id),
            owner: (!owner.is_empty()).then(|| slug(owner)),
            state: State::Active,
            revoked: None,
            confidence: Some(60),
            action: None,
            role: None,
            republication: false,
            first_seen: None,
            last_seen: None,
            created: at(9),
            added: at(4),
        }
    }

    fn met(indicator: u128, reporter: &str, outcome: Outcome) -> Met {
        Met {
            indicator: Uuid::from_u128(indicator),
            reporter: (!reporter.is_empty()).then(|| slug(reporter)),
            reporter_kind: if reporter.is_empty() { String::new() } else { "unit".to_owned() },
            outcome,
            count: 3,
            first_seen: None,
            last_seen: None,
            recorded: at(2),
        }
    }

    fn summary(claims: &[Claim], met: &[Met]) -> Summary {
        summarise(Kind::Domain, claims, met, at(0))
    }

    #[test]
    fn those_who_hold_to_a_value_corroborate_it_and_masked_ones_are_not_counted() {
        let republished = Claim { republication: true, ..claim(3, "c") };
        let victim = Claim { role: Some(Role::Victim), ..claim(4, "d") };
        let expired = Claim { state: State::Expired, ..claim(5, "e") };
        let all = [claim(1, "b"), claim(2, "a"), republished, victim, expired];
        let told = summary(&all, &[]);
        assert_eq!(told.owners.iter().map(OrgSlug::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert!(!told.others);
        let [one, two] = [1, 2].map(|masked| {
            let masked = (0..masked).map(|id| claim(10 + id, ""));
            summary(&all.iter().cloned().chain(masked).collect::<Vec<_>>(), &[])
        });
        assert!(one.others);
        assert_eq!(one, two, "how many masked sources there are shows nowhere");
    }

    #[test]
    fn disagreements_name_both_sides() {
        let blocks = Claim { action: Some(RecommendedAction::Block), ..claim(1, "a") };
        let victim = Claim { role: Some(Role::Victim), ..claim(2, "b") };
        let back =
            Claim { state: State::Revoked, revoked: Some(RevocationReason::FalsePositive), ..claim(3, "c") };
        let replaced = Claim { revoked: Some(RevocationReason::Superseded), ..back.clone() };
        let told = |claims: &[Claim], met: &[Met]| {
            let side = |ids: &[Uuid]| ids.iter().map(|id| id.as_u128()).collect::<Vec<_>>();
            let all = summary(claims, met).conflicts;
            all.iter().map(|c| (c.kind, side(&c.indicators), side(&c.against))).collect::<Vec<_>>()
        };
        let found = [met(1, "d", Outcome::FalsePositive)];
        assert_eq!(
            told(&[blocks.clone(), victim.clone(), back], &found),
            [
                (ConflictKind::BlockAVictim, vec![1], vec![2]),
                (ConflictKind::BlockTheHarmless, vec![1], vec![1]),
                (ConflictKind::TakenBack, vec![1], vec![3]),
            ]
        );
        assert_eq!(told(&[blocks, replaced], &[met(1, "d", Outcome::SeenBlocked)]), []);
        assert_eq!(told(&[victim], &found), []);
    }

    #[test]
    fn a_value_was_met_when_assertions_and_sightings_say_so() {
        let told = Claim { first_seen: Some(at(30)), last_seen: Some(at(20)), ..claim(1, "a") };
        let nothing = met(1, "b", Outcome::SearchedNotFound);
        let quiet = summary(&[claim(2, "b"), told.clone()], std::slice::from_ref(&nothing));
        assert_eq!((quiet.first_seen, quiet.last_seen), (Some(at(30)), Some(at(20))));
        assert_eq!(quiet.first_published, Some(at(9)));
        let loud = summary(&[told], &[nothing, met(1, "b", Outcome::SeenNotBlocked)]);
        assert_eq!((loud.first_seen, loud.last_seen), (Some(at(30)), Some(at(2))));
        assert_eq!(summary(&[], &[]), Summary::default());
    }

    #[test]
    fn sightings_are_summed_by_kind_day_and_outcome_newest_day_first() {
        let seen =
            |reporter, days| Met { last_seen: Some(at(days)), ..met(1, reporter, Outcome::SeenBlocked) };
        let total = |kind: &str, days, count, reports| Total {
            kind: kind.to_owned(),
            day: at(days).day(),
            outcome: Outcome::SeenBlocked,
            count,
            reports,
        };
        assert_eq!(
            summary(&[], &[seen("a", 5), seen("b", 1), seen("c", 5), seen("", 5)]).totals,
            [total("unit", 1, 3, 1), total("", 5, 3, 1), total("unit", 5, 6, 2)]
        );
    }

    #[test]
    fn a_score_counts_each_source_once_and_ages_from_when_the_value_was_last_heard_of() {
        let scored =
            |claims: &[Claim], met: &[Met]| summary(claims, met).scored.map(|s| (s.score.value, s.sources));
        assert_eq!(scored(&[], &[]), None);
        assert_eq!(scored(&[Claim { state: State::Revoked, ..claim(1, "a") }], &[]), None);
        let fresh = |id, owner| Claim { last_seen: Some(at(0)), ..claim(id, owner) };
        assert_eq!(scored(&[fresh(1, "a")], &[]), Some((60, 1)));
        assert_eq!(scored(&[fresh(1, "a"), fresh(2, "a")], &[]), Some((60, 1)));
        assert_eq!(scored(&[fresh(1, "a"), fresh(2, "b")], &[]), Some((84, 2)));
        let again = Claim { republication: true, ..fresh(2, "b") };
        assert_eq!(scored(&[fresh(1, "a"), again.clone()], &[]), Some((60, 1)));
        assert_eq!(scored(&[again], &[]), Some((60, 1)), "its original is no longer there");
        let old = Claim { last_seen: Some(at(30)), ..claim(1, "a") };
        assert_eq!(scored(std::slice::from_ref(&old), &[]), Some((30, 1)));
        assert_eq!(scored(std::slice::from_ref(&old), &[met(1, "b", Outcome::SeenBlocked)]), Some((58, 1)));
        let wrong = |reporter| met(1, reporter, Outcome::FalsePositive);
        assert_eq!(scored(std::slice::from_ref(&old), &[wrong("b"), wrong("b")]), Some((15, 1)));
        assert_eq!(scored(&[old], &[wrong("b"), wrong("c")]), Some((10, 1)));
    }
}
