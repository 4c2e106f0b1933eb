//! Decides what a held publication is: an indicator went out as `monitor`
//! because a list names its value, and what its publisher recommended waits for
//! a second person.

use super::audience::ClassNo;
use super::indicator::RecommendedAction;
use super::numbered::numbered;
use super::org::OrgNo;
use super::position::Position;
use super::principal::SpiffeId;
use super::republication::Answer;
use super::warninglist::ListName;
use crate::base::clock::Timestamp;

/// Most held publications of one organisation's indicators that wait.
pub const MAX_WAITING: u32 = 256;
/// Most of them that one person published, so that a colleague finds places left.
pub const MAX_WAITING_EACH: u32 = MAX_WAITING / 2;
/// Longest note of an answer, in bytes.
pub const MAX_NOTE_BYTES: usize = 1_024;

numbered! {
    /// Where a held publication stands. Numbers are stored and sent.
    pub enum HeldState {
        /// A second person has not answered yet.
        Waiting = 1 is "waiting",
        /// A second person agreed, and it went out as it was sent.
        Approved = 2 is "approved",
        /// A second person refused, and it stays as it went out.
        Rejected = 3 is "rejected",
    }
}

/// What an indicator's publisher recommended and a list keeps back. It belongs
/// to one version, and ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Owner of the indicator.
    pub owner: OrgNo,
    /// Audience class of the version.
    pub class: ClassNo,
    /// Where it was told last how it stands.
    pub at: Position,
    /// Digest of what was sent.
    pub wanted: u64,
    /// What is recommended there.
    pub action: RecommendedAction,
    /// The lists that keep it back.
    pub lists: Vec<ListName>,
    /// Who published it.
    pub requester: SpiffeId,
    /// His organisation: the owner, or one that acts for it.
    pub by: OrgNo,
    /// When.
    pub time: Timestamp,
    /// Where it stands.
    pub state: HeldState,
    /// Who answered, when and why.
    pub answer: Option<Answer>,
}

impl Held {
    /// Whether it stands for what was sent with this digest, as far as these
    /// lists speak against it: a list that nobody was asked about is a new
    /// question. Another version of a list is not.
    #[must_use]
    pub fn covers<'a>(&self, wanted: u64, lists: impl IntoIterator<Item = &'a str>) -> bool {
        let known = |slug: &str| self.lists.iter().any(|list| list.slug == slug);
        self.wanted == wanted && lists.into_iter().all(known)
    }

    /// What an answer makes of it, told at `at`.
    #[must_use]
    pub fn answered(self, state: HeldState, answer: Answer, at: Position) -> Self {
        Self { state, answer: Some(answer), at, ..self }
    }
}

/// Who may release a held publication on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deciders<T> {
    /// Somebody of the organisations that lead: the record is within their
    /// audience.
    Lead(Vec<T>),
    /// A second person of the owner's organisation, or of those that follow it.
    Own(Vec<T>),
    /// Nobody holds the duty to lead, and the record is for everyone: it waits.
    Nobody,
}

impl<T> Deciders<T> {
    /// The organisations, of either kind.
    pub fn into_all(self) -> Vec<T> {
        match self {
            Self::Lead(all) | Self::Own(all) => all,
            Self::Nobody => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        let list = |slug: &str| ListName { slug: slug.into(), name: "N".into(), version: 3 };
        Held {
            owner: OrgNo(1),
            class: ClassNo(1),
            at: Position::from_raw(2_048),
            wanted: 7,
            action: RecommendedAction::Block,
            lists: vec![list("a"), list("b")],
            requester: SpiffeId::parse("spiffe://t.example/org/a/user/an").unwrap(),
            by: OrgNo(1),
            time: Timestamp::EPOCH,
            state: HeldState::Waiting,
            answer: None,
        }
    }

    #[test]
    fn a_list_that_nobody_was_asked_about_is_a_new_question() {
        for (wanted, lists, covered) in
            [(7, &["a", "b"][..], true), (7, &["b"], true), (7, &["a", "c"], false), (8, &["a", "b"], false)]
        {
            assert_eq!(held().covers(wanted, lists.iter().copied()), covered, "{wanted} {lists:?}");
        }
    }
}
