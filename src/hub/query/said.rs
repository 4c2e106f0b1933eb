//! Decides when what a version says is read: once it is asked for, and once.

use crate::model::position::Position;
use crate::wire::facts::{self, Facts};

use super::super::error::Error;
use super::super::fetch::damaged;

/// What a version says.
pub(super) struct Said<'a> {
    body: &'a [u8],
    at: Position,
    facts: Option<Facts>,
}

impl<'a> Said<'a> {
    /// Of the version there in this body.
    pub(super) const fn new(body: &'a [u8], at: Position) -> Self {
        Self { body, at, facts: None }
    }

    /// All of it.
    pub(super) fn facts(&mut self) -> Result<&Facts, Error> {
        if self.facts.is_none() {
            self.facts = facts::read(self.body);
        }
        self.facts.as_ref().ok_or_else(|| damaged(self.at))
    }
}
