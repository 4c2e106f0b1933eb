//! Decides how it is told why a record may be seen by an organisation today,
//! or may not: the ways of [`super::visibility::Audience::resolve`], named as
//! far as the owner who asks may know them. It knows the groups that it belongs
//! to and its own relations; of what others belong to, and of who works for
//! them, it is told the outcome and the rule, not with whom.

use time::Date;

use crate::model::audience::ClassDefinition;
use crate::model::marking::{Caveats, Tlp};
use crate::model::org::{OrgSlug, Standing};
use crate::model::principal::SpiffeId;
use crate::model::roster::{RelationKind, Roster};

/// Why, in one step. Numbers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Why {
    /// It is the owner.
    Owner = 1,
    /// TLP:CLEAR is for everyone.
    Everyone = 2,
    /// TLP:GREEN is for every member of the hub.
    Member = 3,
    /// The marking names the organisation.
    Named = 4,
    /// The marking names a group to which the organisation belongs.
    GroupMember = 5,
    /// It is a client of the organisation.
    ClientOf = 6,
    /// It works for the organisation, and the source lets providers read.
    ProviderFor = 7,
    /// It has the rights of the organisation, which ended on the date.
    SuccessorOf = 8,
    /// The marking names the person.
    NamedPerson = 9,
    /// Nothing in the marking leads to it.
    NotNamed = 10,
    /// It belongs to a named group from the date on.
    NotYetInGroup = 11,
    /// It belonged to a named group until the date.
    NoLongerInGroup = 12,
    /// It is a client of the organisation, but TLP:AMBER+STRICT is not for
    /// clients.
    NotForClients = 13,
    /// It works for the organisation, but the record is not for providers.
    NotForProviders = 14,
    /// TLP:RED is for named persons, and this is none of them.
    PersonNotNamed = 15,
    /// It is suspended: whatever it asks is refused.
    Suspended = 16,
    /// It ended on the date.
    Ended = 17,
    /// It begins on the date.
    NotYetBegun = 18,
}

/// One step on the way to an organisation, or what is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Why.
    pub why: Why,
    /// The organisation that the step starts from, or is about.
    pub organisation: Option<OrgSlug>,
    /// The group that it is about.
    pub group: Option<OrgSlug>,
    /// The person that it is about.
    pub person: Option<SpiffeId>,
    /// The day that it is about.
    pub date: Option<Date>,
}

impl Step {
    const fn new(why: Why) -> Self {
        Self { why, organisation: None, group: None, person: None, date: None }
    }

    fn of(why: Why, organisation: &OrgSlug) -> Self {
        Self { organisation: Some(organisation.clone()), ..Self::new(why) }
    }

    /// The step in words, in English and in Vietnamese.
    #[must_use]
    pub fn words(&self) -> [String; 2] {
        let org = self.organisation.as_ref().map(ToString::to_string).unwrap_or_default();
        let group = self.group.as_ref().map(ToString::to_string).unwrap_or_default();
        let person = self.person.as_ref().map(|person| person.as_str().to_owned()).unwrap_or_default();
        let on = self.date.map(|date| date.to_string()).unwrap_or_default();
        let since = if on.is_empty() { String::new() } else { format!(" (since {on})") };
        let since_vi = if on.is_empty() { String::new() } else { format!(" (từ {on})") };
        match self.why {
            Why::Owner => ["it owns the indicator".into(), "là đơn vị sở hữu dấu hiệu".into()],
            Why::Everyone => ["TLP:CLEAR is for everyone".into(), "TLP:CLEAR: không hạn chế".into()],
            Why::Member => {
                ["TLP:GREEN is for every member".into(), "TLP:GREEN: trong cộng đồng thành viên".into()]
            }
            Why::Named => [format!("the marking names {org}"), format!("nhãn nêu tên {org}")],
            Why::GroupMember if group.is_empty() => [
                "by membership of a group that the marking names".into(),
                "là thành viên của một nhóm được nhãn nêu".into(),
            ],
            Why::ClientOf if org.is_empty() => [
                "it is a client of one whom the marking reaches".into(),
                "là đơn vị được phục vụ bởi một đơn vị mà nhãn hướng tới".into(),
            ],
            Why::ProviderFor if org.is_empty() => [
                "it works for one whom the marking reaches, and providers may read".into(),
                "làm việc cho một đơn vị mà nhãn hướng tới, và bên cung cấp được đọc".into(),
            ],
            Why::SuccessorOf if org.is_empty() => {
                ["as successor of a member of that group".into(), "kế thừa một thành viên của nhóm đó".into()]
            }
            Why::GroupMember => [
                format!("{org} is a member of the named group {group}"),
                format!("{org} là thành viên của nhóm được nêu {group}"),
            ],
            Why::ClientOf => [format!("it is a client of {org}"), format!("là đơn vị được {org} phục vụ")],
            Why::ProviderFor => [
                format!("it works for {org}, and providers may read"),
                format!("làm việc cho {org}, và bên cung cấp được đọc"),
            ],
            Why::SuccessorOf => [format!("it succeeds {org}{since}"), format!("kế thừa {org}{since_vi}")],
            Why::NamedPerson => {
                [format!("the marking names {person}"), format!("nhãn nêu đích danh {person}")]
            }
            Why::NotNamed => ["the marking does not lead to it".into(), "nhãn không nêu đơn vị này".into()],
            Why::NotYetInGroup => [
                format!("it is a member of {group} only from {on} on"),
                format!("chỉ là thành viên của {group} từ {on}"),
            ],
            Why::NoLongerInGroup => [
                format!("it is no longer a member of {group} since {on}"),
                format!("không còn là thành viên của {group} từ {on}"),
            ],
            Why::NotForClients => [
                format!("it is a client of {org}, but TLP:AMBER+STRICT is not for clients"),
                format!(
                    "là đơn vị được {org} phục vụ, nhưng TLP:AMBER+STRICT không dành cho đơn vị được phục vụ"
                ),
            ],
            Why::NotForProviders => [
                format!("it works for {org}, but providers may not read"),
                format!("làm việc cho {org}, nhưng bên cung cấp không được đọc"),
            ],
            Why::PersonNotNamed => [
                "TLP:RED is for the persons it names only".into(),
                "TLP:RED: chỉ người nhận đích danh".into(),
            ],
            Why::Suspended => ["it is suspended".into(), "đang bị tạm đình chỉ".into()],
            Why::Ended => [format!("it ended on {on}"), format!("đã chấm dứt ngày {on}")],
            Why::NotYetBegun => [format!("it begins on {on}"), format!("bắt đầu từ {on}")],
        }
    }
}

/// Why an organisation may see a record, or may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the marking reaches it.
    pub reached: bool,
    /// Whether it sees the record: it is reached, and takes part.
    pub visible: bool,
    /// The steps: the first way that leads there, or all that is in the way.
    pub steps: Vec<Step>,
}

/// Why `org`, or `person` of it, may get records of `class` on `date`, or may
/// not.
#[must_use]
pub fn explain(
    class: &ClassDefinition,
    roster: &Roster,
    date: Date,
    org: &OrgSlug,
    person: Option<&SpiffeId>,
) -> Explanation {
    let search = Search { class, roster, date, org };
    let way = if class.owner == *org { Some(vec![Step::new(Why::Owner)]) } else { search.way(person) };
    let reached = way.is_some();
    let mut steps = match way {
        Some(way) => search.rules(way),
        None => search.known_obstacles(),
    };
    steps.extend(search.standing());
    Explanation { reached, visible: reached && roster.is_active(org, date), steps }
}

/// A search for ways from a marking to an organisation.
struct Search<'a> {
    class: &'a ClassDefinition,
    roster: &'a Roster,
    date: Date,
    org: &'a OrgSlug,
}

impl<'a> Search<'a> {
    fn way(&self, person: Option<&SpiffeId>) -> Option<Vec<Step>> {
        let marking = &self.class.marking;
        match marking.tlp {
            Tlp::Clear => Some(vec![Step::new(Why::Everyone)]),
            Tlp::Green => self.roster.exists(self.org, self.date).then(|| vec![Step::new(Why::Member)]),
            Tlp::Red => {
                let named = marking.recipients.principals.iter().filter(|named| named.org() == self.org);
                let named = named.filter(|named| person.is_none_or(|person| person == *named));
                let steps: Vec<_> = named
                    .map(|named| Step { person: Some(named.clone()), ..Step::new(Why::NamedPerson) })
                    .collect();
                (!steps.is_empty()).then_some(steps)
            }
            Tlp::Amber | Tlp::AmberStrict => {
                let clients = marking.tlp == Tlp::Amber;
                self.sources()
                    .find_map(|(source, step)| self.from(source, step, clients))
                    .or_else(|| self.from(&self.class.owner, None, false))
            }
        }
    }

    /// Whom the marking names, by itself or as a member of a group.
    fn sources(&self) -> impl Iterator<Item = (&'a OrgSlug, Option<Step>)> {
        let recipients = &self.class.marking.recipients;
        let (roster, date) = (self.roster, self.date);
        let named = recipients.organisations.iter().map(|org| (org, Some(Step::of(Why::Named, org))));
        named.chain(recipients.groups.iter().flat_map(move |group| {
            roster.members(group, date).map(move |org| {
                let step = Step { group: Some(group.clone()), ..Step::of(Why::GroupMember, org) };
                (org, Some(step))
            })
        }))
    }

    fn providers_may_read(&self) -> bool {
        let marking = &self.class.marking;
        marking.tlp == Tlp::Amber && marking.caveats.contains(Caveats::PROVIDERS_MAY_READ)
    }

    fn stands(&self, kind: RelationKind, to: &OrgSlug) -> bool {
        self.roster.subjects(kind, to, self.date).any(|subject| subject == self.org)
    }

    /// The way to the organisation from one that the marking reaches.
    fn from(&self, source: &OrgSlug, first: Option<Step>, clients: bool) -> Option<Vec<Step>> {
        self.roster.heirs(source, self.date).into_iter().find_map(|heir| {
            let mut steps: Vec<_> = first.clone().into_iter().collect();
            if heir != source {
                let ended = self.roster.organisations.get(source).and_then(|org| org.valid_to);
                steps.push(Step { date: ended, ..Step::of(Why::SuccessorOf, source) });
            }
            if heir != self.org {
                let why = if clients && self.stands(RelationKind::ClientOf, heir) {
                    Why::ClientOf
                } else if self.providers_may_read() && self.stands(RelationKind::ActsFor, heir) {
                    Why::ProviderFor
                } else {
                    return None;
                };
                steps.push(Step::of(why, heir));
            }
            Some(steps)
        })
    }

    /// A way as its owner may know it: what leads over a group or a relation
    /// that is not its own is told by the rule alone, and so is what follows
    /// from it, which would name a member.
    fn rules(&self, mut way: Vec<Step>) -> Vec<Step> {
        let mut veiled = false;
        for step in &mut way {
            veiled |= match step.why {
                Why::GroupMember => !self.owner_knows(step),
                Why::ClientOf | Why::ProviderFor => {
                    let own = self.owner_knows(step);
                    if !own {
                        step.organisation = None;
                    }
                    false
                }
                _ => false,
            };
            if veiled {
                *step = Step::new(step.why);
            }
        }
        way
    }

    /// What is in the way, without what the owner may not know.
    fn known_obstacles(&self) -> Vec<Step> {
        let mut steps = self.obstacles();
        steps.retain(|step| self.owner_knows(step));
        let told_otherwise = matches!(self.class.marking.tlp, Tlp::Clear | Tlp::Green);
        if steps.is_empty() && !told_otherwise {
            steps.push(Step::new(Why::NotNamed));
        }
        steps
    }

    /// Whether a step is about a group of the owner's, a relation of its own,
    /// or neither a group nor a relation.
    fn owner_knows(&self, step: &Step) -> bool {
        let owner = &self.class.owner;
        match step.why {
            Why::GroupMember | Why::NotYetInGroup | Why::NoLongerInGroup => step
                .group
                .as_ref()
                .is_some_and(|group| self.roster.members(group, self.date).any(|member| member == owner)),
            Why::ClientOf | Why::ProviderFor | Why::NotForClients | Why::NotForProviders => {
                step.organisation.as_ref() == Some(owner)
            }
            _ => true,
        }
    }

    /// What is in the way, as far as it can be named.
    fn obstacles(&self) -> Vec<Step> {
        let marking = &self.class.marking;
        match marking.tlp {
            Tlp::Red => vec![Step::new(Why::PersonNotNamed)],
            // Whoever does not exist is no member; its standing says so.
            Tlp::Clear | Tlp::Green => Vec::new(),
            Tlp::Amber | Tlp::AmberStrict => {
                let mut steps: Vec<_> =
                    marking.recipients.groups.iter().flat_map(|group| self.other_days(group)).collect();
                for heir in self.sources().flat_map(|(source, _)| self.roster.heirs(source, self.date)) {
                    if self.stands(RelationKind::ClientOf, heir) {
                        steps.push(Step::of(Why::NotForClients, heir));
                    }
                    if self.stands(RelationKind::ActsFor, heir) {
                        steps.push(Step::of(Why::NotForProviders, heir));
                    }
                }
                for heir in self.roster.heirs(&self.class.owner, self.date) {
                    if self.stands(RelationKind::ActsFor, heir) {
                        steps.push(Step::of(Why::NotForProviders, heir));
                    }
                }
                if steps.is_empty() {
                    steps.push(Step::new(Why::NotNamed));
                }
                steps
            }
        }
    }

    /// Days on which the organisation belongs to a group, and today is none.
    fn other_days(&self, group: &OrgSlug) -> impl Iterator<Item = Step> {
        let members = self.roster.groups.get(group).into_iter().flat_map(|group| &group.members);
        members.filter(|member| member.organisation == *self.org).filter_map(|member| {
            let (why, date) = match (member.from, member.to) {
                (Some(from), _) if from > self.date => (Why::NotYetInGroup, from),
                (_, Some(to)) if to <= self.date => (Why::NoLongerInGroup, to),
                _ => return None,
            };
            Some(Step { group: Some(group.clone()), date: Some(date), ..Step::new(why) })
        })
    }

    fn standing(&self) -> Option<Step> {
        let org = self.roster.organisations.get(self.org)?;
        let (why, date) = match org.standing(self.date) {
            Standing::Active => return None,
            Standing::Suspended => (Why::Suspended, None),
            Standing::Ended => (Why::Ended, org.valid_to),
            Standing::Planned => (Why::NotYetBegun, org.valid_from),
        };
        Some(Step { date, ..Step::new(why) })
    }
}

#[cfg(test)]
mod tests;
