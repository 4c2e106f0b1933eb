//! Decides which filters are measured, and how each is said to the hub.

use std::net::IpAddr;

use luytre::model::text::fold;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::observable::Value;

use super::corpus::{Corpus, moment};
use super::place::Made;
use super::roster;
use super::seeded::Dice;

/// One condition.
#[derive(Debug, Clone)]
pub enum Ask {
    All,
    Kind(v1::ObservableKind),
    Owner(String),
    OrgKind(&'static str),
    Tlp(v1::Tlp),
    State(v1::IndicatorState),
    Role(v1::IndicatorRole),
    Action(v1::RecommendedAction),
    Label(String),
    Family(String),
    Campaign(String),
    Technique(String),
    Confidence(u32, u32),
    Added(i64, i64),
    Published(i64, i64),
    FirstSeen(i64, i64),
    LastSeen(i64, i64),
    ValidAt(i64),
    SightedBy(String),
    SightedSince(i64),
    Outcome(v1::SightingOutcome),
    Exact(Value),
    Prefix(String),
    Suffix(String),
    Inside(String),
    Containing(String),
    Word(String),
    Phrase(String),
    Both(Box<(Self, Self)>),
    Not(Box<Self>),
}

impl Ask {
    fn both(one: Self, other: Self) -> Self {
        Self::Both(Box::new((one, other)))
    }

    /// The filter that says so.
    pub fn filter(&self) -> v1::IndicatorFilter {
        let mut filter = v1::IndicatorFilter::default();
        self.add(&mut filter);
        filter
    }

    /// The first page of what it finds, newest first.
    pub fn list(&self) -> v1::ListIndicatorsRequest {
        let page_size = super::ask::PAGE as i32;
        v1::ListIndicatorsRequest { filter: Some(self.filter()), page_size, ..Default::default() }
    }

    fn add(&self, filter: &mut v1::IndicatorFilter) {
        use v1::value_match::Match;
        let range =
            |from: i64, to: i64| Some(v1::TimeRange { start_time: moment(from), end_time: moment(to) });
        let mut value = |found: Match| filter.values.push(v1::ValueMatch { r#match: Some(found) });
        match self {
            Self::All => {}
            Self::Exact(observable) => {
                value(Match::Exact(v1::Observable { value: Some(observable.clone()) }));
            }
            Self::Prefix(text) => value(Match::Prefix(text.clone())),
            Self::Suffix(text) => value(Match::DomainSuffix(text.clone())),
            Self::Inside(text) => value(Match::InsideNetwork(text.clone())),
            Self::Containing(text) => value(Match::Containing(text.clone())),
            Self::Kind(kind) => filter.kinds.push((*kind).into()),
            Self::Owner(slug) => filter.owners.push(roster::name(slug)),
            Self::OrgKind(kind) => filter.organisation_kinds.push((*kind).to_owned()),
            Self::Tlp(tlp) => filter.tlps.push((*tlp).into()),
            Self::State(state) => filter.states.push((*state).into()),
            Self::Role(role) => filter.roles.push((*role).into()),
            Self::Action(action) => filter.recommended_actions.push((*action).into()),
            Self::Label(label) => filter.labels.push(label.clone()),
            Self::Family(family) => filter.families.push(family.clone()),
            Self::Campaign(campaign) => filter.campaigns.push(campaign.clone()),
            Self::Technique(technique) => filter.attack_techniques.push(technique.clone()),
            Self::Confidence(min, max) => {
                filter.confidence = Some(v1::ConfidenceRange { min: Some(*min), max: Some(*max) });
            }
            Self::Added(from, to) => filter.added = range(*from, *to),
            Self::Published(from, to) => filter.published = range(*from, *to),
            Self::FirstSeen(from, to) => filter.first_seen = range(*from, *to),
            Self::LastSeen(from, to) => filter.last_seen = range(*from, *to),
            Self::ValidAt(at) => filter.valid_at = moment(*at),
            Self::SightedBy(slug) => filter.sighted_by.push(roster::name(slug)),
            Self::SightedSince(at) => filter.sighted_since = moment(*at),
            Self::Outcome(outcome) => filter.sighting_outcomes.push((*outcome).into()),
            Self::Word(word) => filter.text.clone_from(word),
            Self::Phrase(phrase) => filter.text = format!("\"{phrase}\""),
            Self::Both(both) => {
                both.0.add(filter);
                both.1.add(filter);
            }
            Self::Not(not) => filter.except = Some(Box::new(not.filter())),
        }
    }
}

/// A row of the report.
pub struct Row {
    /// The target that it belongs to.
    pub row: &'static str,
    pub what: &'static str,
    /// Milliseconds that 99 in 100 may take.
    pub target: f64,
    make: fn(&Source<'_>, &mut Dice) -> Ask,
}

/// Where questions are drawn from.
pub struct Source<'a> {
    pub corpus: &'a Corpus,
    pub made: Made,
}

impl Source<'_> {
    /// An indicator that the analyst may see.
    pub fn number(&self, dice: &mut Dice) -> u64 {
        loop {
            let number = dice.below(self.corpus.rows);
            if !self.corpus.is_hidden(number) {
                return number;
            }
        }
    }

    /// What is true of an indicator that `tell` can be told of.
    fn of_one<T>(&self, dice: &mut Dice, tell: impl Fn(&Self, u64) -> Option<T>) -> T {
        loop {
            let number = self.number(dice);
            if let Some(told) = tell(self, number) {
                return told;
            }
        }
    }

    fn draft(&self, number: u64) -> v1::IndicatorDraft {
        self.corpus.draft(number, 0)
    }

    fn value(&self, dice: &mut Dice, wanted: fn(&Value) -> bool) -> String {
        self.of_one(dice, |own, number| {
            let (text, value) = own.corpus.value(number);
            wanted(&value).then_some(text)
        })
    }

    /// A span of the time in which all was published: from a hundredth to a
    /// quarter of it.
    fn while_made(&self, dice: &mut Dice) -> (i64, i64) {
        let whole = (self.made.ended - self.made.began).max(4);
        let part = (whole / *dice.one(&[4, 10, 30, 100])).max(1);
        let from = self.made.began + dice.below((whole - part).max(1) as u64) as i64;
        (from, from + part)
    }

    /// A day to three months of the last two years.
    fn span(&self, dice: &mut Dice) -> (i64, i64) {
        let days = *dice.one(&[1, 7, 30, 90]);
        let from = self.corpus.until - (days + dice.below(730 - days as u64) as i64) * 86_400;
        (from, from + days * 86_400)
    }

    /// Words of a description that stand beside each other, without marks.
    fn words(&self, dice: &mut Dice, count: usize) -> String {
        let place = dice.next() as usize;
        self.of_one(dice, |own, number| {
            let text = fold(&own.draft(number).description);
            let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
            let last = words.len().checked_sub(count)?;
            let first = place % (last + 1);
            Some(words[first..first + count].join(" "))
        })
    }
}

/// As often what an indicator says as any of all.
fn weighted(
    source: &Source<'_>,
    dice: &mut Dice,
    all: &[String],
    tell: fn(v1::IndicatorDraft) -> Option<String>,
) -> String {
    if dice.chance(50) {
        return dice.one(all).clone();
    }
    source.of_one(dice, |own, number| tell(own.draft(number)))
}

const KINDS: [v1::ObservableKind; 11] = [
    v1::ObservableKind::Domain,
    v1::ObservableKind::Url,
    v1::ObservableKind::Ipv4,
    v1::ObservableKind::Sha256,
    v1::ObservableKind::Email,
    v1::ObservableKind::Endpoint,
    v1::ObservableKind::Ipv6,
    v1::ObservableKind::Cidr,
    v1::ObservableKind::Sha1,
    v1::ObservableKind::Md5,
    v1::ObservableKind::Ja3,
];

fn label(source: &Source<'_>, dice: &mut Dice) -> Ask {
    Ask::Label(weighted(source, dice, &source.corpus.words.labels, |draft| draft.labels.first().cloned()))
}

fn family(source: &Source<'_>, dice: &mut Dice) -> Ask {
    let told = |draft: v1::IndicatorDraft| Some(draft.family).filter(|family| !family.is_empty());
    Ask::Family(weighted(source, dice, &source.corpus.words.families, told))
}

fn owner(source: &Source<'_>, dice: &mut Dice) -> Ask {
    let place = match dice.chance(50) {
        true => dice.below(roster::ORGANISATIONS as u64) as usize,
        false => source.corpus.owner(source.number(dice) / super::corpus::BATCH),
    };
    Ask::Owner(roster::slug(place))
}

fn address_of(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Every row of P13 and P14.
pub const ROWS: &[Row] = &[
    row("P13", "nothing (all of them)", 10.0, |_, _| Ask::All),
    row("P13", "kind", 10.0, |_, dice| Ask::Kind(*dice.one(&KINDS))),
    row("P13", "owner", 10.0, owner),
    row("P13", "kind of the owner", 10.0, |_, dice| {
        Ask::OrgKind(roster::kind(dice.below(roster::ORGANISATIONS as u64) as usize))
    }),
    row("P13", "TLP label", 10.0, |_, dice| {
        Ask::Tlp(*dice.one(&[v1::Tlp::Clear, v1::Tlp::Green, v1::Tlp::Amber, v1::Tlp::Red]))
    }),
    row("P13", "state: revoked, expired", 10.0, |_, dice| {
        Ask::State(*dice.one(&[v1::IndicatorState::Revoked, v1::IndicatorState::Expired]))
    }),
    row("P13", "role", 10.0, |_, dice| {
        use v1::IndicatorRole as Role;
        Ask::Role(*dice.one(&[Role::Infrastructure, Role::Tool, Role::Sink, Role::Victim]))
    }),
    row("P13", "recommended action", 10.0, |_, dice| {
        use v1::RecommendedAction as Action;
        Ask::Action(*dice.one(&[Action::Block, Action::Monitor, Action::Hunt, Action::Isolate]))
    }),
    row("P13", "label", 10.0, label),
    row("P13", "family", 10.0, family),
    row("P13", "campaign", 10.0, |source, dice| {
        let told = |draft: v1::IndicatorDraft| Some(draft.campaign).filter(|campaign| !campaign.is_empty());
        Ask::Campaign(weighted(source, dice, &source.corpus.words.campaigns, told))
    }),
    row("P13", "ATT&CK technique", 10.0, |source, dice| {
        let told = |draft: v1::IndicatorDraft| draft.attack_techniques.first().cloned();
        Ask::Technique(weighted(source, dice, &source.corpus.words.techniques, told))
    }),
    row("P13", "confidence", 10.0, |_, dice| {
        let min = dice.below(101) as u32;
        Ask::Confidence(min, (min + *dice.one(&[0, 5, 20, 100])).min(100))
    }),
    row("P13", "added", 10.0, |source, dice| {
        let (from, to) = source.while_made(dice);
        Ask::Added(from, to)
    }),
    row("P13", "published", 10.0, |source, dice| {
        let (from, to) = source.while_made(dice);
        Ask::Published(from, to)
    }),
    row("P13", "first seen", 10.0, |source, dice| {
        let (from, to) = source.span(dice);
        Ask::FirstSeen(from, to)
    }),
    row("P13", "last seen", 10.0, |source, dice| {
        let (from, to) = source.span(dice);
        Ask::LastSeen(from, to)
    }),
    row("P13", "valid at", 10.0, |source, dice| {
        Ask::ValidAt(source.corpus.until + (dice.below(400) as i64 - 30) * 86_400)
    }),
    row("P13", "sighted by", 10.0, |_, dice| {
        let place = if dice.chance(50) { dice.zipf(roster::ORGANISATIONS) } else { dice.below(100) as usize };
        Ask::SightedBy(roster::slug(place))
    }),
    row("P13", "sighted since", 10.0, |source, dice| Ask::SightedSince(source.while_made(dice).0)),
    row("P13", "outcome of a sighting", 10.0, |_, dice| {
        use v1::SightingOutcome as Outcome;
        let all = [
            Outcome::SeenBlocked,
            Outcome::SeenNotBlocked,
            Outcome::SearchedNotFound,
            Outcome::FalsePositive,
        ];
        Ask::Outcome(*dice.one(&all))
    }),
    row("P13", "value, exact", 10.0, |source, dice| Ask::Exact(source.corpus.value(source.number(dice)).1)),
    row("P13", "value, prefix", 10.0, |source, dice| {
        let (text, _) = source.corpus.value(source.number(dice));
        let length = 3 + dice.below(8) as usize;
        Ask::Prefix(text.chars().take(length).collect())
    }),
    row("P13", "network that values lie in", 10.0, |source, dice| {
        let text = source.value(dice, |value| matches!(value, Value::Ipv4(_)));
        let octets: Vec<_> = text.split('.').collect();
        Ask::Inside(match dice.below(3) {
            0 => format!("{}.0.0.0/8", octets[0]),
            1 => format!("{}.{}.0.0/16", octets[0], octets[1]),
            _ => format!("{}.{}.{}.0/24", octets[0], octets[1], octets[2]),
        })
    }),
    row("P13", "a word of the text", 10.0, |source, dice| Ask::Word(source.words(dice, 1))),
    row("P13", "not this label", 10.0, |source, dice| Ask::Not(Box::new(label(source, dice)))),
    row("P14", "label and kind", 40.0, |source, dice| {
        let number = source.number(dice);
        let draft = source.draft(number);
        let kind = kind_of(&source.corpus.value(number).1);
        Ask::both(Ask::Label(draft.labels.first().cloned().unwrap_or_default()), Ask::Kind(kind))
    }),
    row("P14", "family and technique", 40.0, |source, dice| {
        source.of_one(dice, |own, number| {
            let draft = own.draft(number);
            let technique = draft.attack_techniques.first()?.clone();
            let family = Some(draft.family).filter(|family| !family.is_empty())?;
            Some(Ask::both(Ask::Family(family), Ask::Technique(technique)))
        })
    }),
    row("P14", "owner and label", 40.0, |source, dice| {
        let number = source.number(dice);
        let owner = roster::slug(source.corpus.owner(number / super::corpus::BATCH));
        let label = source.draft(number).labels.last().cloned().unwrap_or_default();
        Ask::both(Ask::Owner(owner), Ask::Label(label))
    }),
    row("P14", "campaign and first seen", 40.0, |source, dice| {
        source.of_one(dice, |own, number| {
            let draft = own.draft(number);
            let campaign = Some(draft.campaign).filter(|campaign| !campaign.is_empty())?;
            let at = draft.first_seen?.seconds;
            Some(Ask::both(Ask::Campaign(campaign), Ask::FirstSeen(at - 15 * 86_400, at + 15 * 86_400)))
        })
    }),
    row("P14", "domain suffix", 40.0, |source, dice| match dice.below(8) {
        0 => Ask::Suffix((*dice.one(&["com.vn", "gov.vn", "edu.vn", "net.vn"])).to_owned()),
        _ => Ask::Suffix(source.corpus.values.busy_domain(&source.corpus.words, dice)),
    }),
    row("P14", "networks that contain an address", 40.0, |source, dice| {
        if dice.chance(30) {
            return Ask::Containing(source.value(dice, |value| matches!(value, Value::Ipv4(_))));
        }
        let net = source.value(dice, |value| matches!(value, Value::Cidr(_)));
        Ask::Containing(
            net.split('/').next().filter(|net| address_of(net).is_some()).unwrap_or_default().to_owned(),
        )
    }),
    row("P14", "a phrase of two words", 40.0, |source, dice| Ask::Phrase(source.words(dice, 2))),
    row("P14", "a phrase of four words", 40.0, |source, dice| Ask::Phrase(source.words(dice, 4))),
];

const fn row(
    row: &'static str,
    what: &'static str,
    target: f64,
    make: fn(&Source<'_>, &mut Dice) -> Ask,
) -> Row {
    Row { row, what, target, make }
}

impl Row {
    /// So many questions of this kind; another `salt` gives others.
    pub fn asks(&self, source: &Source<'_>, salt: u64, count: usize) -> Vec<Ask> {
        let name = self.what.bytes().fold(salt, |sum, byte| sum.rotate_left(5) ^ u64::from(byte));
        (0..count as u64).map(|number| (self.make)(source, &mut source.corpus.dice(name, number))).collect()
    }
}

pub fn kind_of(value: &Value) -> v1::ObservableKind {
    use v1::ObservableKind as Kind;
    match value {
        Value::Domain(_) => Kind::Domain,
        Value::Url(_) => Kind::Url,
        Value::Ipv4(_) => Kind::Ipv4,
        Value::Ipv6(_) => Kind::Ipv6,
        Value::Cidr(_) => Kind::Cidr,
        Value::Email(_) => Kind::Email,
        Value::Endpoint(_) => Kind::Endpoint,
        Value::File(file) if !file.sha256.is_empty() => Kind::Sha256,
        Value::File(file) if !file.sha1.is_empty() => Kind::Sha1,
        Value::File(_) => Kind::Md5,
        _ => Kind::Ja3,
    }
}
