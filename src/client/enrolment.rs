//! Decides how a system gets its first certificate: with a one-time token, from
//! a hub that it knows by the root in that token.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tonic::Code;
use zeroize::Zeroizing;

use crate::pki::ask::certificate_request;
use crate::pki::issue::Key;
use crate::pki::tls::{self, FirstTrust};
use crate::pki::token::EnrolmentToken;
use crate::wire::proto::v1;
use v1::enrollment_service_client::EnrollmentServiceClient;

use super::connection::Connection;
use super::endpoint::Address;
use super::error::Error;
use super::identity::{certificates, read_pem, wrong};
use super::issued::{Issued, no_key};

/// A first certificate that is asked for.
///
/// ```no_run
/// # async fn example(token: &str) -> Result<(), luytre::client::Error> {
/// use luytre::client::{Connection, Endpoint, Enrolment, Keep};
///
/// let keep = Keep::open("soc.pem", "soc.key")?.with_authorities("hub-ca.pem");
/// let issued = Enrolment::new("hub.example:7444", token)?.enrol(keep.pending_key()?).await?;
/// keep.store(&issued)?;
/// let endpoint = Endpoint::new("hub.example:7443", "hub-ca.pem")?;
/// let hub = Connection::open(&endpoint, issued.identity())?.client();
/// # Ok(())
/// # }
/// ```
pub struct Enrolment {
    address: Address,
    token: EnrolmentToken,
    authorities: Option<PathBuf>,
    deadline: Duration,
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Enrolment").field(&self.address).finish()
    }
}

impl Enrolment {
    /// At the hub's enrolment address, with a token as the operator gave it.
    ///
    /// # Errors
    /// An address or a token that cannot be read.
    pub fn new(address: &str, token: &str) -> Result<Self, Error> {
        let token = EnrolmentToken::parse(token).map_err(|error| Error::Settings(error.to_string()))?;
        Ok(Self {
            address: Address::parse(address)?,
            token,
            authorities: None,
            deadline: Duration::from_secs(30),
        })
    }

    /// The name that the hub's certificate must carry, where it is not the
    /// host of the address.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        Self { address: self.address.named(name), ..self }
    }

    /// Trusts the authorities in this file rather than the root in the token.
    #[must_use]
    pub fn authorities(self, file: impl Into<PathBuf>) -> Self {
        Self { authorities: Some(file.into()), ..self }
    }

    /// Another deadline than 30 seconds, retries included.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Trades the token for a certificate for `key`. The same token with the
    /// same key gives the same certificate for some minutes, so that a lost
    /// answer can be asked for again; see [`Keep::pending_key`](super::Keep).
    ///
    /// # Errors
    /// `ENROLMENT_TOKEN_INVALID` and others of the hub; see [`Error`].
    pub async fn enrol(&self, key: Key) -> Result<Issued, Error> {
        let trust = match &self.authorities {
            None => FirstTrust::Digest(*self.token.root()),
            Some(path) => FirstTrust::Authorities(certificates(path, &read_pem(path)?)?),
        };
        let config = tls::first_contact_config(trust).map_err(|error| match &self.authorities {
            Some(path) => wrong(path, format!("holds no authority that can be used: {error}")),
            None => Error::Settings(format!("TLS cannot be set up: {error}")),
        })?;
        let connection = Connection::without_identity(&self.address, config)?;
        self.enrol_over(&connection, key).await
    }

    /// The same over a connection that is there already.
    pub(super) async fn enrol_over(&self, connection: &Connection, key: Key) -> Result<Issued, Error> {
        let certificate_request = certificate_request(&key, None).map_err(no_key)?.into();
        let token: Zeroizing<String> = self.token.reveal();
        let request = v1::EnrollSystemRequest { token: token.to_string(), certificate_request };
        let client = connection.client().with_deadline(self.deadline);
        let answer = client
            .call(request, |request| async {
                EnrollmentServiceClient::new(connection.channel()).enroll_system(request).await
            })
            .await
            .map_err(|error| self.explain(error))?;
        Issued::check(key, answer.certificate.unwrap_or_default(), None)
    }

    /// Says what only whoever enrols can know.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Untrusted { hub, cause } if self.authorities.is_none() => Error::Untrusted {
                hub,
                cause: format!(
                    "{cause} (the root whose digest stands in the token must be in its chain: is this the hub's enrolment address, and the token of this hub?)"
                ),
            },
            Error::Refused(refusal) if refusal.code == Code::Unimplemented => Error::Settings(format!(
                "{} does not enrol; give the hub's enrolment address, which is another than that of its calls",
                self.address.shown()
            )),
            other => other,
        }
    }
}
