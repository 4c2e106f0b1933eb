//! Decides what a handler knows of its caller: what the layers established
//! before anything was decoded.

use tonic::{Request, Status};

use crate::hub::audit::Trail;
use crate::hub::error::{Error, Reason};
use crate::hub::{Account, Caller, Hub, PeerCertificate};
use crate::policy::access::{self, Method};

use super::status;

/// One call, authenticated and allowed.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Who calls.
    pub(super) caller: Caller,
    /// The certificate that says so.
    pub(super) peer: PeerCertificate,
    /// What is called.
    pub(super) method: Method,
    /// What is charged for it.
    pub(super) account: Account,
}

impl Call {
    /// Admits a call: a certificate that the hub accepts, and a role that may
    /// call `method`; `trail` gathers what its audit record says.
    pub(super) fn admit(
        hub: &Hub,
        peer: PeerCertificate,
        method: Method,
        trail: Trail,
    ) -> Result<Self, Error> {
        let caller = hub.authenticate(&peer)?.with_trail(trail);
        if access::allowed(method, caller.roles()) {
            let account = hub.account(&caller);
            Ok(Self { caller, peer, method, account })
        } else {
            Err(Error::new(
                Reason::RoleInsufficient,
                "your certificate holds no role that may call this method; WhoAmI shows its roles",
            ))
        }
    }

    /// Takes the call that the layers put beside a request.
    pub(super) fn take<T>(request: &mut Request<T>) -> Result<Self, Status> {
        request
            .extensions_mut()
            .remove::<Self>()
            .ok_or_else(|| status::status(Error::internal("a request reached its handler around the layers")))
    }

    /// Admits the caller once more: on a long stream, certificate and roles
    /// may have changed since the last message. What it does then has an audit
    /// record of its own.
    pub(super) fn again(&self, hub: &Hub) -> Result<Caller, Error> {
        let admitted = Self::admit(hub, self.peer.clone(), self.method, Trail::default())?;
        Ok(admitted.caller.with_trail(self.caller.trail().portion(hub.now())))
    }

    /// Resolves to the reason once the caller's certificate is no longer good.
    pub(super) async fn severed(&self, hub: &Hub) -> Error {
        self.caller.severed().await;
        self.again(hub).err().unwrap_or_else(|| {
            Error::new(
                Reason::CertificateExpired,
                "your certificate expired or was revoked; connect again with a new one",
            )
        })
    }
}
