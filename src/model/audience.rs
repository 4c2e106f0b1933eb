//! Decides what an audience class is: an owner and a marking, interned so that
//! a record carries a number and a check on the hot path is a bit test.

use super::marking::Marking;
use super::org::OrgSlug;

/// Number of an interned audience class; stored, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClassNo(pub u32);

/// What a class number stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassDefinition {
    /// Whose records these are.
    pub owner: OrgSlug,
    /// How far they may travel.
    pub marking: Marking,
}
