//! Decides on what terms the hub shakes hands with whoever has no certificate
//! yet: the hub proves itself, and the client proves itself by its token.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;

use super::{ALPN, Error, certified, provider};
use crate::base::secret::Secret;

/// A configuration that asks for no certificate. `chain` is the hub's own and
/// goes up to the root, by whose digest a token knows it.
///
/// # Errors
/// Key and chain do not belong together.
pub fn greeting(
    chain: Vec<CertificateDer<'static>>,
    key: &Secret<PrivateKeyDer<'static>>,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider()?;
    let certified = certified(chain, key, &provider)?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.send_tls13_tickets = 0;
    server.max_tls13_tickets = 0;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.max_early_data_size = 0;
    Ok(Arc::new(server))
}
