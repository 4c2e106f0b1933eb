//! Decides how `luytre cert` gets one's own certificate, renews it, and keeps it
//! renewed.

mod agent;
mod own;

use super::Environment;
use super::arguments::{Cert, CertAction, Hub};
use super::exit::Failure;
use super::{output, profile};
use own::Own;

/// Runs the command.
pub(super) async fn run(
    hub: &Hub,
    environment: &Environment,
    options: &Cert,
    quiet: bool,
) -> Result<(), Failure> {
    let settings = profile::settings(hub, environment)?;
    match &options.action {
        CertAction::Agent(options) => agent::run(settings, options, quiet).await,
        CertAction::Enrol(options) => {
            let own = Own::open(settings)?;
            let issued = own.enrol(&options.first, None).await?;
            own.store(&issued)?;
            tell(&own, quiet)
        }
        CertAction::Renew => {
            let mut own = Own::open(settings)?;
            let issued = own.renew().await?;
            own.store(&issued)?;
            tell(&own, quiet)
        }
        // Needs no hub, and no runtime.
        CertAction::Show { .. } => Ok(()),
    }
}

fn tell(own: &Own, quiet: bool) -> Result<(), Failure> {
    if let Some(held) = own.held()?.filter(|_| !quiet) {
        output::talk(&format!(
            "{} holds a certificate of {} until {}",
            own.chain().display(),
            held.identity,
            held.not_after
        ));
    }
    Ok(())
}
