//! Decides how the ceremonies around the authorities' keys are told: the next
//! generation, what goes to the signer, and encrypting a key.

use std::io::Write;
use std::path::Path;

use super::{Error, Passphrase};
use crate::base::clock::Timestamp;
use crate::pki::directory::{Directory, encrypt_key};
use crate::pki::issue::Hierarchy;

/// A hierarchy, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum HierarchyName {
    /// What signs the agencies' certificates
    Client,
    /// What signs the hub's certificate
    Server,
}

/// Makes the next generation.
pub(super) fn issuing(
    directory: &Directory,
    hierarchy: HierarchyName,
    talk: &mut dyn Write,
    now: Timestamp,
) -> Result<(), Error> {
    let hierarchy = match hierarchy {
        HierarchyName::Client => Hierarchy::Client,
        HierarchyName::Server => Hierarchy::Server,
    };
    let made = directory.next_issuing(hierarchy, now)?;
    writeln!(talk, "certificate {}", made.display())?;
    if let Some(name) = super::show::resource_name(&made) {
        writeln!(talk, "name        {name}")?;
    }
    writeln!(talk, "key         {}", made.with_extension("key").display())?;
    writeln!(
        talk,
        "next: luytre pki export-signer copies it to the signer; move the root's key offline again"
    )?;
    Ok(())
}

/// Copies the issuing authorities.
pub(super) fn export(directory: &Directory, to: &Path, talk: &mut dyn Write) -> Result<(), Error> {
    for exported in directory.export_for_signer(to)? {
        let done = if exported.was_there { "was there  " } else { "copied     " };
        writeln!(talk, "{done} {}", exported.certificate.display())?;
    }
    writeln!(talk, "next: give {} and all in it to the signer's user alone", to.display())?;
    Ok(())
}

/// Encrypts a key in its place.
pub(super) fn encrypt(key: &Path, passphrase: &Passphrase, talk: &mut dyn Write) -> Result<(), Error> {
    let passphrase = passphrase.read_new()?.ok_or(Error::PassphraseMissing)?;
    encrypt_key(key, &passphrase)?;
    writeln!(talk, "encrypted {}", key.display())?;
    Ok(())
}
