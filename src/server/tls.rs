//! Decides which TLS configuration is in force: what the files say if that is
//! sound, else what was in force before.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::Error;
use super::config::Grpc;
use super::connections::Connections;
use crate::base::clock::Clock;
use crate::base::files;
use crate::base::tasks;
use crate::pki::tls::{Material, Snapshot};

/// Reads the files of `grpc` and makes snapshot number `epoch` of them.
///
/// # Errors
/// What is wrong with the files, with the fix.
pub fn load(grpc: &Grpc, trust_domain: &str, epoch: u64, clock: &Arc<dyn Clock>) -> Result<Snapshot, Error> {
    if files::is_open_to_others(&grpc.key).unwrap_or(false) {
        return Err(Error::KeyOpen { path: grpc.key.clone() });
    }
    let anchors = read(&grpc.client_ca)?;
    let revocation_lists = read(&grpc.client_crl)?;
    let chain = read(&grpc.cert)?;
    let key = Zeroizing::new(read(&grpc.key)?);
    let material = Material::from_pem(&anchors, &revocation_lists, &chain, &key)?;
    Ok(Snapshot::build(material, trust_domain, epoch, clock, None)?)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Loads the files anew whenever `reload` moves, until `stopping`; what is
/// unsound is logged, and leaves what is in force.
pub(super) async fn follow(
    grpc: Grpc,
    current: Arc<ArcSwap<Snapshot>>,
    clock: Arc<dyn Clock>,
    connections: Arc<Connections>,
    mut reload: watch::Receiver<u64>,
    stopping: CancellationToken,
) {
    while let Some(Ok(())) = stopping.run_until_cancelled(reload.changed()).await {
        let (grpc, held, now) = (grpc.clone(), current.load_full(), Arc::clone(&clock));
        let loaded = tasks::spawn_blocking(move || {
            let next = load(&grpc, held.trust_domain(), held.epoch() + 1, &now)?;
            next.check_follows(&held)?;
            Ok::<_, Error>(next)
        });
        match loaded.await {
            Ok(Ok(next)) => {
                let next = Arc::new(next);
                current.store(Arc::clone(&next));
                // Swapped first, swept second: a connection that registers in
                // between checks itself against the new snapshot.
                let severed = connections.sweep(&next, clock.now());
                tracing::info!(
                    epoch = next.epoch(),
                    server_not_after = %next.server_not_after(),
                    revoked = next.revoked(),
                    severed,
                    "certificates reloaded"
                );
            }
            Ok(Err(error)) => {
                let epoch = current.load().epoch();
                tracing::error!(%error, epoch, "certificates not reloaded; the old ones stay in force");
            }
            Err(error) => {
                tracing::error!(%error, "reloading the certificates failed; the old ones stay in force")
            }
        }
    }
}
