//! Decides how a test works as the operator of a hub's authorities: the steps
//! of a rotation, renewals, revocations.

use std::collections::BTreeSet;
use std::fs;

use luytre::pki::authority::Generation;
use luytre::pki::key::Key;
use luytre::pki::pem;
use luytre::pki::revocation::List;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::RotationStep as Step;
use luytre::wire::proto::v1::certificate_service_client::CertificateServiceClient;
use tonic::Status;
use tonic::transport::Channel;
use uuid::Uuid;

use super::eventually;
use super::issuing::{Issuing, request};

/// What agencies trust.
pub(crate) const SERVER: v1::Hierarchy = v1::Hierarchy::Server;
/// What the hub trusts.
pub(crate) const CLIENT: v1::Hierarchy = v1::Hierarchy::Client;

/// A request id.
pub(crate) fn id() -> String {
    Uuid::new_v4().to_string()
}

impl Issuing {
    /// Where a hierarchy stands.
    pub(crate) async fn rotation(&self, hierarchy: v1::Hierarchy) -> v1::Rotation {
        let answer = self.machine().list_authorities(v1::ListAuthoritiesRequest {}).await.unwrap();
        let found = answer.into_inner().rotations.into_iter().find(|r| r.hierarchy() == hierarchy);
        found.expect("the hierarchy has begun")
    }

    /// The phase of a hierarchy.
    pub(crate) async fn phase(&self, hierarchy: v1::Hierarchy) -> v1::RotationPhase {
        self.rotation(hierarchy).await.phase()
    }

    /// A step as it would be asked for now, of the authority that the step
    /// names.
    pub(crate) async fn asked(&self, hierarchy: v1::Hierarchy, step: Step) -> v1::RotateAuthorityRequest {
        let stands = self.rotation(hierarchy).await;
        let authority = match step {
            Step::Prepare => self.newest(hierarchy),
            Step::Activate => stands.next.map(|next| next.name).unwrap_or_else(|| self.newest(hierarchy)),
            _ => String::new(),
        };
        v1::RotateAuthorityRequest {
            request_id: id(),
            hierarchy: hierarchy.into(),
            step: step.into(),
            authority,
            etag: stands.etag,
            ..Default::default()
        }
    }

    /// Takes a step.
    pub(crate) async fn step(
        &self,
        hierarchy: v1::Hierarchy,
        step: Step,
    ) -> Result<v1::RotateAuthorityResponse, Status> {
        let asked = self.asked(hierarchy, step).await;
        self.machine().rotate_authority(asked).await.map(tonic::Response::into_inner)
    }

    /// Asks what stands in the way of a step.
    pub(crate) async fn dry_run(&self, hierarchy: v1::Hierarchy, step: Step) -> v1::RotateAuthorityResponse {
        let asked = v1::RotateAuthorityRequest { dry_run: true, ..self.asked(hierarchy, step).await };
        self.machine().rotate_authority(asked).await.unwrap().into_inner()
    }

    /// Takes a step as soon as nothing stands in its way.
    pub(crate) async fn take(&self, hierarchy: v1::Hierarchy, step: Step) -> v1::Rotation {
        let mut blockers = Vec::new();
        let what = format!("{hierarchy:?} {step:?}");
        let taken = eventually(&what, async || match self.step(hierarchy, step).await {
            Ok(done) => Some(done.rotation.unwrap()),
            Err(status) => {
                if blockers.last().is_none_or(|last| last != status.message()) {
                    eprintln!("{hierarchy:?} {step:?}: {}", status.message());
                    blockers.push(status.message().to_owned());
                }
                None
            }
        });
        taken.await
    }

    /// Name of the authority of this hierarchy that was made last.
    pub(crate) fn newest(&self, hierarchy: v1::Hierarchy) -> String {
        let folder = if hierarchy == SERVER { "server" } else { "client" };
        let files = fs::read_dir(self.dir().join("keys").join(folder)).unwrap();
        let certificates =
            files.filter_map(|file| pem::certificates(&fs::read(file.unwrap().path()).ok()?).ok());
        let generations = certificates.flatten().filter_map(|der| Generation::from_der(0, der).ok());
        let newest = generations.max_by_key(|generation| number(&generation.name)).unwrap();
        format!("authorities/{}", newest.issuer.short())
    }

    /// Makes the next generation of these hierarchies offline, hands it to the
    /// signer, and takes the backup that is needed before it is prepared.
    pub(crate) async fn ready_next(&mut self, hierarchies: &[v1::Hierarchy], backup: &str) {
        for hierarchy in hierarchies {
            self.next_generation(if *hierarchy == SERVER { "server" } else { "client" });
        }
        self.kill_signer();
        self.sign().await;
        self.backup(backup);
    }

    /// Serial numbers of everything on the revocation lists in force.
    pub(crate) async fn listed(&self) -> BTreeSet<String> {
        let answer = self.machine().get_revocation_list(v1::GetRevocationListRequest {}).await.unwrap();
        let lists = answer.into_inner().lists;
        lists.iter().flat_map(|der| List::read(der).unwrap().revoked.into_keys()).collect()
    }

    /// Every certificate of the ledger, ended ones included.
    pub(crate) async fn certificates(&self) -> Vec<v1::Certificate> {
        let asked = v1::ListCertificatesRequest {
            page_size: 1_000,
            include_ended: true,
            ..v1::ListCertificatesRequest::default()
        };
        self.machine().list_certificates(asked).await.unwrap().into_inner().certificates
    }

    /// The certificates of `name` in `organisation`.
    pub(crate) async fn certificates_of(&self, organisation: &str, name: &str) -> Vec<v1::Certificate> {
        let identity = self.spiffe(organisation, name);
        self.certificates().await.into_iter().filter(|c| c.spiffe_id == identity).collect()
    }

    /// Revokes a certificate as the machine's operator.
    pub(crate) async fn revoke(&self, name: &str) -> v1::RevokeCertificateResponse {
        let asked = v1::RevokeCertificateRequest {
            request_id: id(),
            name: name.to_owned(),
            reason: "stolen".to_owned(),
            ..Default::default()
        };
        self.machine().revoke_certificate(asked).await.unwrap().into_inner()
    }
}

/// The number in the common name of a generation: `… G2 …`.
fn number(name: &str) -> u32 {
    let word = name.split(' ').find_map(|word| word.strip_prefix('G').and_then(|digits| digits.parse().ok()));
    word.expect("a generation has a number")
}

/// Asks for a new certificate over `channel`.
pub(crate) async fn renew(channel: Channel, key: &Key) -> Result<v1::IssuedCertificate, Status> {
    let asked = v1::RenewCertificateRequest { certificate_request: request(key).into() };
    let answer = CertificateServiceClient::new(channel).renew_certificate(asked).await?;
    Ok(answer.into_inner().certificate.unwrap())
}
