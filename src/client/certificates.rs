//! Decides how certificates are renewed, listed and revoked through the hub,
//! and how its authorities are rotated.

use std::time::Duration;

use prost::bytes::Bytes;

use crate::base::clock::Timestamp;
use crate::model::principal::SpiffeId;
use crate::pki::ask::certificate_request;
use crate::pki::issue::Key;
use crate::wire::proto::v1;
use v1::certificate_service_client::CertificateServiceClient;

use super::calls::{Client, MAX_MESSAGE, following, request_id};
use super::error::Error;
use super::issued::{Issued, no_key};

/// Certificates in a page.
const PAGE: i32 = 1_000;
/// Certificates that are confirmed with one request.
const MAX_CONFIRMED: usize = 200;

/// Which connections are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Severed {
    /// Those under a certificate, by its resource name.
    Certificate(String),
    /// Those of a SPIFFE identity.
    Principal(String),
    /// Those of an organisation, by its resource name.
    Organisation(String),
}

/// Which certificates are listed, the one that ends first before the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateWalk {
    /// Of this organisation alone, by its resource name; empty: of all.
    pub organisation: String,
    /// Those that end before this moment alone.
    pub expire_before: Option<Timestamp>,
    /// Also those that were superseded, revoked or ended.
    pub include_ended: bool,
}

impl Client {
    /// Trades the certificate of this connection for a new one with `key`,
    /// which must be new. See [`Identity::renew_over`](super::Identity), which
    /// also puts it to use.
    ///
    /// # Errors
    /// The hub's refusal, or an answer that fits neither the key nor `holder`.
    pub async fn renew(&self, key: Key, holder: &SpiffeId) -> Result<Issued, Error> {
        let certificate_request = certificate_request(&key, Some(holder)).map_err(no_key)?.into();
        let request = v1::RenewCertificateRequest { certificate_request };
        let answer = self
            .call(request, |request| async { self.certificates_service().renew_certificate(request).await })
            .await?;
        Issued::check(key, answer.certificate.unwrap_or_default(), Some(holder))
    }

    /// The authorities by which the hub proves itself: trust all of them.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn trust_bundle(&self) -> Result<v1::GetTrustBundleResponse, Error> {
        self.call(v1::GetTrustBundleRequest {}, |request| async {
            self.certificates_service().get_trust_bundle(request).await
        })
        .await
    }

    /// The revocation lists in force, in DER.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revocation_lists(&self) -> Result<Vec<Bytes>, Error> {
        let answer = self
            .call(v1::GetRevocationListRequest {}, |request| async {
                self.certificates_service().get_revocation_list(request).await
            })
            .await?;
        Ok(answer.lists)
    }

    /// Makes a one-time token for a system or person; a second person approves
    /// it. Without `ttl` it is good for a day.
    ///
    /// # Errors
    /// See [`Error`]. If the answer was lost on the way, the hub has the token
    /// and shows it no more: the answer then holds none.
    pub async fn issue_enrolment_token(
        &self,
        spiffe_id: &str,
        ttl: Option<Duration>,
        note: &str,
    ) -> Result<v1::IssueEnrollmentTokenResponse, Error> {
        let request = v1::IssueEnrollmentTokenRequest {
            request_id: request_id(),
            spiffe_id: spiffe_id.to_owned(),
            ttl: ttl.and_then(|ttl| ttl.try_into().ok()),
            note: note.to_owned(),
        };
        self.call(request, |request| async {
            self.certificates_service().issue_enrollment_token(request).await
        })
        .await
    }

    /// The tokens that can still be used or approved, oldest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn enrolment_tokens(&self) -> Result<Vec<v1::EnrollmentToken>, Error> {
        let answer = self
            .call(v1::ListEnrollmentTokensRequest {}, |request| async {
                self.certificates_service().list_enrollment_tokens(request).await
            })
            .await?;
        Ok(answer.enrollment_tokens)
    }

    /// Lets a token be used that another operator made, by its resource name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn approve_enrolment_token(&self, name: &str) -> Result<v1::EnrollmentToken, Error> {
        let request = v1::ApproveEnrollmentTokenRequest { request_id: request_id(), name: name.to_owned() };
        let answer = self
            .call(request, |request| async {
                self.certificates_service().approve_enrollment_token(request).await
            })
            .await?;
        Ok(answer.enrollment_token.unwrap_or_default())
    }

    /// Takes a token back, by its resource name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn cancel_enrolment_token(&self, name: &str) -> Result<(), Error> {
        let request = v1::CancelEnrollmentTokenRequest { request_id: request_id(), name: name.to_owned() };
        self.call(request, |request| async {
            self.certificates_service().cancel_enrollment_token(request).await
        })
        .await
        .map(|_| ())
    }

    /// A page of certificates, and the token of the next one; empty at the end.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn certificates(
        &self,
        walk: &CertificateWalk,
        page_token: &str,
    ) -> Result<(Vec<v1::Certificate>, String), Error> {
        let request = v1::ListCertificatesRequest {
            page_size: PAGE,
            page_token: page_token.to_owned(),
            organisation: walk.organisation.clone(),
            expire_before: walk.expire_before.map(timestamp),
            include_ended: walk.include_ended,
        };
        let page = self
            .call(request, |request| async { self.certificates_service().list_certificates(request).await })
            .await?;
        Ok((page.certificates, following(page.next_page_token, page_token)?))
    }

    /// One certificate, by its resource name.
    ///
    /// # Errors
    /// `NOT_FOUND`; see [`Error`].
    pub async fn certificate(&self, name: &str) -> Result<v1::Certificate, Error> {
        let request = v1::GetCertificateRequest { name: name.to_owned() };
        let answer = self
            .call(request, |request| async { self.certificates_service().get_certificate(request).await })
            .await?;
        Ok(answer.certificate.unwrap_or_default())
    }

    /// Revokes a certificate for good and ends its connections; `reason` is
    /// kept. When this returns, nothing more is accepted from it, and nothing
    /// more is sent to it. What it was renewed to and somebody has used goes
    /// with it only if `descendants` are named; the answer tells of those left.
    ///
    /// # Errors
    /// `NOT_FOUND`; see [`Error`].
    pub async fn revoke_certificate(
        &self,
        name: &str,
        reason: &str,
        descendants: bool,
    ) -> Result<v1::RevokeCertificateResponse, Error> {
        let request = v1::RevokeCertificateRequest {
            request_id: request_id(),
            name: name.to_owned(),
            reason: reason.to_owned(),
            descendants,
        };
        self.call(request, |request| async { self.certificates_service().revoke_certificate(request).await })
            .await
    }

    /// Has certificates taken, by their resource names, that wait for an
    /// operator's word; says how many did.
    ///
    /// # Errors
    /// `NOT_FOUND` if none of them waits; see [`Error`].
    pub async fn confirm_certificates(&self, names: &[String]) -> Result<i32, Error> {
        let mut confirmed = 0_i32;
        for names in names.chunks(MAX_CONFIRMED) {
            let request = v1::ConfirmCertificatesRequest { request_id: request_id(), names: names.to_vec() };
            let answer = self
                .call(request, |request| async {
                    self.certificates_service().confirm_certificates(request).await
                })
                .await?;
            confirmed = confirmed.saturating_add(answer.confirmed_count);
        }
        Ok(confirmed)
    }

    /// Ends connections, and revokes nothing; says how many. `reason` may be
    /// empty, and is kept.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sever(&self, target: Severed, reason: &str) -> Result<i32, Error> {
        use v1::sever_connections_request::Target;
        let target = match target {
            Severed::Certificate(name) => Target::Certificate(name),
            Severed::Principal(spiffe_id) => Target::SpiffeId(spiffe_id),
            Severed::Organisation(name) => Target::Organisation(name),
        };
        let request = v1::SeverConnectionsRequest {
            target: Some(target),
            request_id: request_id(),
            reason: reason.to_owned(),
        };
        let answer = self
            .call(request, |request| async { self.certificates_service().sever_connections(request).await })
            .await?;
        Ok(answer.severed_count)
    }

    /// Where the hierarchies of authorities stand.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn authorities(&self) -> Result<v1::ListAuthoritiesResponse, Error> {
        self.call(v1::ListAuthoritiesRequest {}, |request| async {
            self.certificates_service().list_authorities(request).await
        })
        .await
    }

    /// Takes the rotation of a hierarchy a step on or back, or, as a dry run,
    /// tells what stands in the way. The request id is set here.
    ///
    /// # Errors
    /// `ETAG_MISMATCH`, and what stands in the way; see [`Error`].
    pub async fn rotate_authority(
        &self,
        step: v1::RotateAuthorityRequest,
    ) -> Result<v1::RotateAuthorityResponse, Error> {
        let request = v1::RotateAuthorityRequest { request_id: request_id(), ..step };
        self.call(request, |request| async { self.certificates_service().rotate_authority(request).await })
            .await
    }

    fn certificates_service(&self) -> CertificateServiceClient<tonic::transport::Channel> {
        CertificateServiceClient::new(self.connection().channel()).max_decoding_message_size(MAX_MESSAGE)
    }
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(at.as_seconds()).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.subsec_micros() * 1_000).unwrap_or(0),
    }
}
