//! Decides for whom a request writes: for the caller's own organisation, or for
//! one that it acts for.

use uuid::Uuid;

use crate::model::org::{OrgNo, OrgSlug};

use super::caller::Caller;
use super::directory::Directory;

/// What names a request, and for whom it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Chosen by the caller; the same on a retry.
    pub request_id: Uuid,
    /// For whom; `None`: for the caller's own organisation.
    pub on_behalf_of: Option<OrgSlug>,
}

impl From<Uuid> for Asked {
    fn from(request_id: Uuid) -> Self {
        Self { request_id, on_behalf_of: None }
    }
}

/// Whose records a request writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) slug: &'a OrgSlug,
    /// 0, which no organisation has, where the roster knows none of this name.
    pub(super) number: OrgNo,
    /// Who writes on its behalf, if it does not do so itself.
    pub(super) provider: Option<(OrgNo, &'a OrgSlug)>,
    /// Whether the caller may write for it. The writer asks again, under the
    /// roster that stands when it is the request's turn.
    pub(super) allowed: bool,
}

impl<'a> Owner<'a> {
    pub(super) fn of(caller: &'a Caller, asked: &'a Asked, directory: &Directory) -> Self {
        let own = caller.identity().org();
        match asked.on_behalf_of.as_ref().filter(|unit| *unit != own) {
            None => Self { slug: own, number: caller.org(), provider: None, allowed: true },
            Some(unit) => {
                let number = directory.number(unit);
                Self {
                    slug: unit,
                    number: number.unwrap_or(OrgNo(0)),
                    provider: Some((caller.org(), own)),
                    allowed: number.is_some_and(|unit| directory.acts_for(caller.org(), unit)),
                }
            }
        }
    }
}
