//! Decides who is told why another sees a record: its owner, and for everyone
//! else the record is as absent as one that never was.

use uuid::Uuid;

use crate::model::org::OrgSlug;
use crate::model::principal::SpiffeId;
use crate::model::{Invalid, invalid};
use crate::policy::explain::{Explanation, explain};

use super::caller::Caller;
use super::engine::Hub;
use super::error::Error;
use super::fetch;

impl Hub {
    /// Why `org`, or `person` of it, sees a record of the caller's
    /// organisation today, or does not.
    ///
    /// # Errors
    /// `NOT_FOUND` unless the caller's organisation owns it;
    /// `ORGANISATION_UNKNOWN`; `FIELD_INVALID` for a person of another
    /// organisation.
    pub async fn explain(
        &self,
        caller: &Caller,
        id: Uuid,
        org: OrgSlug,
        person: Option<SpiffeId>,
    ) -> Result<Explanation, Error> {
        let handle = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let caller = caller.clone();
        self.blocking(move |shared| {
            let header = fetch::visible_header(shared, &caller, handle)?;
            let directory = shared.directory.load();
            let class = directory.class(header.class).filter(|_| header.owner == caller.org());
            let class = class.ok_or_else(Error::absent)?;
            if directory.number(&org).is_none() {
                let problem =
                    "this organisation is not in the hub's roster; `luytre organisations` shows who is";
                return Err(Invalid::new("organisation", problem)
                    .because(invalid::Reason::OrganisationUnknown)
                    .into());
            }
            if person.as_ref().is_some_and(|person| *person.org() != org) {
                let problem = "name a person of the organisation that you ask about";
                return Err(Invalid::new("principal", problem).into());
            }
            Ok(explain(&class.definition, directory.roster(), directory.date(), &org, person.as_ref()))
        })
        .await
    }
}
