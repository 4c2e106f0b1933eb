//! Decides how a producer takes an indicator back.

use bytes::Bytes;
use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::indicator::lifecycle::Revocation;
use crate::store::requests;

use super::caller::Caller;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::fetch;
use super::proposal::{Change, Decision, Proposal, ProposedRevocation, Refusal};
use super::publish::Rejection;

impl Hub {
    /// Takes back an indicator of the caller's organisation, for good.
    /// Returns it as it now stands, an encoded `luytre.v1.Indicator`.
    ///
    /// # Errors
    /// `NOT_FOUND` where the caller may not see it; `ROLE_INSUFFICIENT` where
    /// he may, but another organisation owns it; `ETAG_MISMATCH`.
    pub async fn revoke(
        &self,
        caller: &Caller,
        request_id: Uuid,
        id: Uuid,
        revocation: Revocation,
        etag: Option<u64>,
    ) -> Result<Bytes, Error> {
        let handle = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let viewer = caller.clone();
        let header = self.blocking(move |shared| fetch::visible_header(shared, &viewer, handle)).await?;
        if header.owner != caller.org() {
            return Err(Error::new(
                Reason::RoleInsufficient,
                "only the organisation that published an indicator may revoke it; report a sighting `false-positive` instead",
            ));
        }
        let mut content = digest::Sha256::default();
        content.update(id.as_bytes());
        content.update(&[revocation.reason.number()]);
        content.update(&etag.unwrap_or_default().to_be_bytes());
        content.update(revocation.note.as_bytes());
        let change = ProposedRevocation { handle, owner: caller.org(), revocation, expected: etag };
        let (asked, revoker) = (caller.clone(), caller.clone());
        let decision = self
            .propose(|reply| Proposal {
                request: requests::request_key(asked.identity().as_str(), request_id.as_bytes()),
                content: requests::first_16(&content.finish()),
                salt: random::bytes(),
                caller: Some(asked),
                change: Change::Revoke(change),
                reply,
            })
            .await?
            .pop();
        let position = match decision {
            Some(Decision::Written { position, .. } | Decision::Unchanged { position, .. }) => position,
            Some(Decision::Refused(Refusal::Absent)) | None => return Err(Error::absent()),
            Some(Decision::Refused(refusal)) => {
                let Rejection { reason, problem, .. } = Rejection::refused(refusal);
                return Err(Error::new(reason, problem));
            }
        };
        self.blocking(move |shared| {
            let (header, body) = fetch::item(shared, position)?.ok_or_else(|| fetch::damaged(position))?;
            fetch::shown(shared, &revoker, header.class, &body, position)
        })
        .await
    }
}
