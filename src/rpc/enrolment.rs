//! Decides nothing: unpacks the one call of `EnrollmentService`, hands it to
//! the hub, and wraps what it answers.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::hub::Hub;
use crate::hub::error::{Error, Reason};
use crate::pki::token::EnrolmentToken;
use crate::wire::proto::v1;
use crate::wire::proto::v1::enrollment_service_server::{EnrollmentService, EnrollmentServiceServer};

use super::certificate::show_issued;
use super::status::status;

/// Largest request, in bytes: a token, and a certificate request of 16 KiB.
const MAX_BYTES: usize = 20 * 1024;

/// Who would enrol, as the listener tells; stands among the extensions of each
/// request.
#[derive(Debug, Clone)]
pub struct Stranger {
    /// Where it calls from; one address for all that one host may have.
    pub source: IpAddr,
    /// Cancelled once it has shown a token that the hub knows.
    pub admitted: CancellationToken,
}

/// The call of `EnrollmentService`.
#[derive(Debug, Clone)]
struct Enrolment(Arc<Hub>);

/// Everything that is served to whoever has no certificate yet.
#[must_use]
pub fn routes(hub: Arc<Hub>) -> Routes {
    Routes::new(EnrollmentServiceServer::new(Enrolment(hub)).max_decoding_message_size(MAX_BYTES)).prepare()
}

#[tonic::async_trait]
impl EnrollmentService for Enrolment {
    async fn enroll_system(
        &self,
        mut request: Request<v1::EnrollSystemRequest>,
    ) -> Result<Response<v1::EnrollSystemResponse>, Status> {
        let stranger = request.extensions_mut().remove::<Stranger>();
        let Stranger { source, admitted } =
            stranger.ok_or_else(|| status(Error::internal("nobody says who would enrol")))?;
        let v1::EnrollSystemRequest { token, certificate_request } = request.into_inner();
        let token = EnrolmentToken::parse(&token)
            .map_err(|error| status(Error::new(Reason::EnrolmentTokenInvalid, error.to_string())))?;
        let admitted = || admitted.cancel();
        let issued = self.0.enrol(source, &token, &certificate_request, admitted).await.map_err(status)?;
        let certificate = Some(show_issued(issued, &self.0));
        Ok(Response::new(v1::EnrollSystemResponse { certificate }))
    }
}
