//! Decides when what a version says is read: the part that is asked for, once
//! it is.

use std::cell::OnceCell;

use crate::model::position::Position;
use crate::wire::facts::{self, Numbers, Texts, Values};

use super::super::error::Error;
use super::super::fetch::damaged;

/// What a version says.
pub(super) struct Said<'a> {
    body: &'a [u8],
    at: Position,
    numbers: Read<Numbers>,
    values: Read<Values>,
    texts: Read<Texts>,
}

/// A part of it once it was read; `None`: it is damaged.
type Read<T> = OnceCell<Option<T>>;

impl<'a> Said<'a> {
    /// Of the version there in this body.
    pub(super) const fn new(body: &'a [u8], at: Position) -> Self {
        Self { body, at, numbers: OnceCell::new(), values: OnceCell::new(), texts: OnceCell::new() }
    }

    /// In numbers.
    pub(super) fn numbers(&self) -> Result<&Numbers, Error> {
        self.part(&self.numbers, facts::numbers)
    }

    /// What it is about.
    pub(super) fn values(&self) -> Result<&Values, Error> {
        self.part(&self.values, facts::values)
    }

    /// In words.
    pub(super) fn texts(&self) -> Result<&Texts, Error> {
        self.part(&self.texts, facts::texts)
    }

    fn part<'s, T>(&'s self, part: &'s Read<T>, read: fn(&[u8]) -> Option<T>) -> Result<&'s T, Error> {
        part.get_or_init(|| read(self.body)).as_ref().ok_or_else(|| damaged(self.at))
    }
}
