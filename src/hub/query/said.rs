//! Decides when what a version says is read: the part that is asked for, once
//! it is.

use crate::model::position::Position;
use crate::wire::facts::{self, Numbers, Texts, Values};

use super::super::error::Error;
use super::super::fetch::damaged;

/// What a version says.
pub(super) struct Said<'a> {
    body: &'a [u8],
    at: Position,
    /// Asked for by orders, conditions and what is excepted from them.
    numbers: Option<Numbers>,
}

impl<'a> Said<'a> {
    /// Of the version there in this body.
    pub(super) const fn new(body: &'a [u8], at: Position) -> Self {
        Self { body, at, numbers: None }
    }

    /// In numbers.
    pub(super) fn numbers(&mut self) -> Result<&Numbers, Error> {
        if self.numbers.is_none() {
            self.numbers = facts::numbers(self.body);
        }
        self.numbers.as_ref().ok_or_else(|| damaged(self.at))
    }

    /// What it is about.
    pub(super) fn values(&self) -> Result<Values, Error> {
        facts::values(self.body).ok_or_else(|| damaged(self.at))
    }

    /// In words.
    pub(super) fn texts(&self) -> Result<Texts, Error> {
        facts::texts(self.body).ok_or_else(|| damaged(self.at))
    }
}
