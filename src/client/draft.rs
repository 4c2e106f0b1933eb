//! Decides how a producer says what it publishes, without the messages of the
//! contract.

use std::time::Duration;

use crate::base::clock::{Clock as _, SystemClock, Timestamp};
use crate::model::indicator::{Kind, RecommendedAction, Role};
use crate::model::marking::Tlp;
use crate::wire;
use crate::wire::proto::v1;

/// What is to be published: a value, how far it may travel, and what else is
/// known of it. The hub checks it; what it refuses it says in the verdict.
///
/// ```
/// use luytre::client::{Draft, RecommendedAction, Role, Tlp};
///
/// // Defanged or not: the hub finds the kind and the canonical form.
/// let phishing = Draft::new("hxxp://login[.]example/", Tlp::Green)
///     .label("phishing")
///     .confidence(80)
///     .role(Role::Infrastructure)
///     .action(RecommendedAction::Block);
///
/// // AMBER names its readers; the source is known to the owner and lead units.
/// let quiet = Draft::new("198.51.100.7", Tlp::Amber)
///     .for_organisation("organisations/ca-hanoi")
///     .for_group("groups/finance")
///     .masked_source();
/// # let _ = (phishing, quiet);
/// ```
#[derive(Clone, PartialEq)]
#[must_use = "a draft is published by PublishStream::push or Client::publish"]
pub struct Draft(v1::IndicatorDraft);

impl std::fmt::Debug for Draft {
    /// The label only: indicator values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tlp = self.0.marking.as_ref().map(v1::Marking::tlp);
        f.debug_struct("Draft").field("tlp", &tlp).finish_non_exhaustive()
    }
}

impl Draft {
    /// A value whose kind the hub finds. There is no default label: nothing is
    /// shared by accident.
    pub fn new(value: impl Into<String>, tlp: Tlp) -> Self {
        Self::about(wire::observable::of_text(None, value.into()), tlp)
    }

    /// A value of a kind that is known, or that cannot be told from the value.
    pub fn of_kind(kind: Kind, value: impl Into<String>, tlp: Tlp) -> Self {
        Self::about(wire::observable::of_text(Some(kind), value.into()), tlp)
    }

    fn about(observable: v1::Observable, tlp: Tlp) -> Self {
        Self(v1::IndicatorDraft {
            observable: Some(observable),
            marking: Some(v1::Marking { tlp: i32::from(tlp.number()), ..v1::Marking::default() }),
            ..v1::IndicatorDraft::default()
        })
    }

    /// Lets an organisation read, `organisations/{organisation}`. For AMBER and
    /// AMBER+STRICT.
    pub fn for_organisation(mut self, name: impl Into<String>) -> Self {
        self.marking().organisations.push(name.into());
        self
    }

    /// Lets the members of a group read, `groups/{group}`. For AMBER and
    /// AMBER+STRICT.
    pub fn for_group(mut self, name: impl Into<String>) -> Self {
        self.marking().groups.push(name.into());
        self
    }

    /// Lets one person read, by the SPIFFE identity that WhoAmI shows. For RED.
    pub fn for_person(mut self, identity: impl Into<String>) -> Self {
        self.marking().principals.push(identity.into());
        self
    }

    /// Only the owner and lead units learn who published it.
    pub fn masked_source(mut self) -> Self {
        self.caveats().masked_source = true;
        self
    }

    /// It is to be watched and must not be blocked.
    pub fn watch_do_not_block(mut self) -> Self {
        self.caveats().watch_do_not_block = true;
        self
    }

    /// Those who work for a reader may read it too. For AMBER.
    pub fn providers_may_read(mut self) -> Self {
        self.caveats().providers_may_read = true;
        self
    }

    /// It may not go into feeds for others.
    pub fn no_onward_feed(mut self) -> Self {
        self.caveats().no_onward_feed = true;
        self
    }

    /// Adds a label in lower-case kebab-case, such as `phishing`.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.0.labels.push(label.into());
        self
    }

    /// How sure the producer is, 0 to 100.
    pub const fn confidence(mut self, percent: u32) -> Self {
        self.0.confidence = Some(percent);
        self
    }

    /// What a reader should know.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.0.description = text.into();
        self
    }

    /// The family of malware.
    pub fn family(mut self, name: impl Into<String>) -> Self {
        self.0.family = name.into();
        self
    }

    /// The campaign.
    pub fn campaign(mut self, name: impl Into<String>) -> Self {
        self.0.campaign = name.into();
        self
    }

    /// Adds a technique of MITRE ATT&CK, such as `T1566` or `T1566.001`.
    pub fn technique(mut self, name: impl Into<String>) -> Self {
        self.0.attack_techniques.push(name.into());
        self
    }

    /// What to do on meeting it.
    pub fn action(mut self, action: RecommendedAction) -> Self {
        self.0.recommended_action = i32::from(action.number());
        self
    }

    /// What it is in the attack. A victim is never to be blocked.
    pub fn role(mut self, role: Role) -> Self {
        self.0.role = i32::from(role.number());
        self
    }

    /// When the assertion begins to hold.
    pub fn valid_from(mut self, at: Timestamp) -> Self {
        self.0.valid_from = Some(time(at));
        self
    }

    /// When it ceases to hold.
    pub fn valid_until(mut self, at: Timestamp) -> Self {
        self.0.valid_until = Some(time(at));
        self
    }

    /// How long it holds from now on: most values are worth blocking for weeks,
    /// not for ever. Saying it again another day makes a new version.
    pub fn valid_for(self, span: Duration) -> Self {
        let end = SystemClock.now().saturating_add(span);
        self.valid_until(end)
    }

    /// When the value was first and last seen.
    pub fn seen(mut self, first: Timestamp, last: Timestamp) -> Self {
        (self.0.first_seen, self.0.last_seen) = (Some(time(first)), Some(time(last)));
        self
    }

    /// Brings back what the organisation had revoked, and says why.
    pub fn reinstate(mut self, reason: impl Into<String>) -> Self {
        self.0.reinstate = Some(v1::Reinstatement { reason: reason.into() });
        self
    }

    /// The message of the contract, for what has no method here.
    #[must_use]
    pub fn into_message(self) -> v1::IndicatorDraft {
        self.0
    }

    fn marking(&mut self) -> &mut v1::Marking {
        self.0.marking.get_or_insert_default()
    }

    fn caveats(&mut self) -> &mut v1::Caveats {
        self.marking().caveats.get_or_insert_default()
    }
}

impl From<Draft> for v1::IndicatorDraft {
    fn from(draft: Draft) -> Self {
        draft.into_message()
    }
}

fn time(at: Timestamp) -> prost_types::Timestamp {
    wire::convert::time::write(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_says_to_the_hub_what_it_says_to_its_author() {
        let now = SystemClock.now();
        let draft = Draft::of_kind(Kind::Domain, "Bad.Example", Tlp::Amber)
            .for_organisation("organisations/a")
            .for_group("groups/g")
            .masked_source()
            .watch_do_not_block()
            .providers_may_read()
            .no_onward_feed()
            .label("phishing")
            .confidence(80)
            .description("words")
            .family("f")
            .campaign("c")
            .technique("T1566.001")
            .action(RecommendedAction::Monitor)
            .role(Role::Victim)
            .seen(now, now)
            .valid_from(now)
            .valid_for(Duration::from_secs(60))
            .reinstate("why");
        let read = wire::convert::draft::read(draft.into_message()).unwrap();
        assert_eq!(read.observable.as_text(), Some("bad.example"));
        assert_eq!(read.marking.tlp, Tlp::Amber);
        assert_eq!(read.marking.recipients.iter().count(), 2);
        assert_eq!(read.marking.caveats.bits().count_ones(), 4);
        assert_eq!((read.labels, read.confidence), (vec!["phishing".to_owned()], Some(80)));
        assert_eq!((read.description.as_str(), read.family.as_str()), ("words", "f"));
        assert_eq!((read.campaign.as_str(), read.reinstate.as_deref()), ("c", Some("why")));
        assert_eq!(read.techniques, ["T1566.001"]);
        assert_eq!((read.action, read.role), (Some(RecommendedAction::Monitor), Some(Role::Victim)));
        assert_eq!((read.first_seen, read.last_seen, read.valid_from), (Some(now), Some(now), Some(now)));
        assert!(read.valid_until.unwrap() >= now.saturating_add(Duration::from_secs(60)));
        let person = Draft::new("198.51.100.7", Tlp::Red).for_person("spiffe://a.example/org/a/user/b");
        let read = wire::convert::draft::read(person.into_message()).unwrap();
        assert_eq!(read.marking.recipients.iter().count(), 1);
    }

    #[test]
    fn nothing_of_a_value_is_printed() {
        let shown = format!("{:?}", Draft::new("secret.example", Tlp::Red));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
