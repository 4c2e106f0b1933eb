//! Decides how a producer takes an indicator back.

use bytes::Bytes;
use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::indicator::lifecycle::Revocation;
use crate::model::marking::Recipients;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::store::requests;
use crate::wire::event;

use super::asked::{Asked, Owner};
use super::caller::Caller;
use super::engine::Hub;
use super::error::{Error, Kind, Reason};
use super::fetch;
use super::proposal::{Change, Decision, Proposal, ProposedRevocation, Refusal};
use super::publish::Rejection;

const NOT_YOURS: &str = "only the organisation that published an indicator may revoke it; report a sighting `false-positive` instead";

impl Hub {
    /// Takes back an indicator of the caller's organisation, or of one that it
    /// acts for, for good. Returns it as it now stands, an encoded
    /// `luytre.v1.Indicator`, of which a caller that may not see it gets only
    /// what he knows.
    ///
    /// # Errors
    /// `STATE_SECRET_SUSPECTED`; `NOT_FOUND` where the caller may not see it; `ROLE_INSUFFICIENT` where
    /// he may, but another organisation owns it; `DELEGATION_MISSING`;
    /// `ETAG_MISMATCH`.
    pub async fn revoke(
        &self,
        caller: &Caller,
        asked: impl Into<Asked>,
        id: Uuid,
        revocation: Revocation,
        etag: Option<u64>,
    ) -> Result<Bytes, Error> {
        let asked = asked.into();
        self.guard_text(caller.identity().as_str(), "revoke", "revocation.note", &revocation.note)?;
        let (handle, owner, provider) = self.owned(caller, &asked, id).await?;
        let mut content = digest::Sha256::default();
        content.update(id.as_bytes());
        content.update(&[revocation.reason.number()]);
        content.update(&etag.unwrap_or_default().to_be_bytes());
        // Where a slug ends, so that no note makes another of it.
        content.update(asked.on_behalf_of.as_ref().map_or("", |unit| unit.as_str()).as_bytes());
        content.update(&[0]);
        content.update(revocation.note.as_bytes());
        let change = ProposedRevocation { handle, owner, provider, revocation, expected: etag };
        let author = caller.clone();
        let decision = self
            .propose(|reply| Proposal {
                request: Some(requests::request_key(author.identity().as_str(), asked.request_id.as_bytes())),
                content: requests::first_16(&content.finish()),
                salt: random::bytes(),
                caller: Some(author),
                change: Change::Revoke(change),
                reply,
            })
            .await?
            .pop();
        let (position, version) = match decision {
            Some(
                Decision::Written { position, version, .. } | Decision::Unchanged { position, version, .. },
            ) => (position, version),
            Some(Decision::Refused(Refusal::Absent)) | None => return Err(Error::absent()),
            Some(Decision::Refused(refusal)) => {
                let Rejection { reason, problem, .. } = Rejection::refused(refusal, &Recipients::default());
                return Err(Error::new(reason, problem));
            }
        };
        let viewer = caller.clone();
        self.blocking(move |shared| {
            if provider.is_some()
                && let Err(error) = fetch::visible_header(shared, &viewer, handle)
            {
                return if error.kind() == Kind::Absent {
                    Ok(event::revoked_unseen(id, version).into())
                } else {
                    Err(error)
                };
            }
            let (header, body) = fetch::kept(shared, position)?.ok_or_else(Error::absent)?;
            fetch::shown(shared, &viewer, &header, &body)
        })
        .await
    }

    /// The caller's own indicator, or that of the organisation he acts for;
    /// whose it is, and who takes it back on its behalf.
    async fn owned(
        &self,
        caller: &Caller,
        asked: &Asked,
        id: Uuid,
    ) -> Result<(Position, OrgNo, Option<OrgNo>), Error> {
        // First: for whom he may ask does not depend on the id, so the answer
        // must not either. Of a hidden one it would tell that it is.
        let (number, provider) = self.spoken_for(caller, asked)?;
        let handle = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let viewer = caller.clone();
        let header = self
            .blocking(move |shared| match provider {
                Some(_) => fetch::header_of(shared, number, handle),
                None => fetch::visible_header(shared, &viewer, handle),
            })
            .await?;
        if header.owner != number {
            return Err(Error::new(Reason::RoleInsufficient, NOT_YOURS));
        }
        Ok((handle, number, provider))
    }

    /// For whom the caller speaks, and who he is if that is another.
    ///
    /// # Errors
    /// `DELEGATION_MISSING`.
    pub(super) fn spoken_for(&self, caller: &Caller, asked: &Asked) -> Result<(OrgNo, Option<OrgNo>), Error> {
        let directory = self.shared.directory.load();
        let owner = Owner::of(caller, asked, &directory);
        if !owner.allowed {
            let Rejection { reason, problem, .. } =
                Rejection::refused(Refusal::NotDelegated, &Recipients::default());
            return Err(Error::new(reason, problem));
        }
        Ok((owner.number, owner.provider.map(|(number, _)| number)))
    }
}
