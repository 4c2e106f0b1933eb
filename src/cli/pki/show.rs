//! Decides how a certificate or a revocation list is shown: as what the hub
//! would read in it.

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use rustls::pki_types::CertificateRevocationListDer;
use x509_parser::certificate::X509Certificate;

use super::Error;
use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::pki::identity::IssuerDigest;
use crate::pki::issue::DAY;
use crate::pki::revocation::List;
use crate::pki::{identity, issue, pem};

/// Shows each certificate of a file, or each revocation list.
pub(super) fn show(path: &Path, data: &mut dyn Write, now: Timestamp) -> Result<(), Error> {
    let text = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if let Ok(lists) = pem::revocation_lists(&text) {
        return show_lists(&lists, data, now);
    }
    let certificates =
        pem::certificates(&text).map_err(|source| Error::Pem { path: path.to_owned(), source })?;
    for (index, der) in certificates.iter().enumerate() {
        if index > 0 {
            writeln!(data)?;
        }
        show_one(der, data, now)?;
    }
    Ok(())
}

/// How `luytre ca` calls the authority of a file.
pub(super) fn resource_name(path: &Path) -> Option<String> {
    let der = pem::certificates(&std::fs::read(path).ok()?).ok()?.into_iter().next()?;
    identity::parse(&der).ok().map(|certificate| name_of(&certificate))
}

fn name_of(certificate: &X509Certificate<'_>) -> String {
    format!("authorities/{}", IssuerDigest::of(certificate.subject().as_raw()).short())
}

fn show_lists(
    lists: &[CertificateRevocationListDer<'_>],
    data: &mut dyn Write,
    now: Timestamp,
) -> Result<(), Error> {
    for (index, der) in lists.iter().enumerate() {
        if index > 0 {
            writeln!(data)?;
        }
        let list = List::read(der)?;
        writeln!(data, "revocations {}", printable(&list.authority))?;
        writeln!(data, "number      {}", digest::hex(&list.number))?;
        let due = if now >= list.next_update { ", OVERDUE: no client can connect" } else { "" };
        writeln!(data, "valid       {} to {}{due}", list.this_update, list.next_update)?;
        writeln!(data, "revoked     {}", list.revoked.len())?;
        for (serial, when) in &list.revoked {
            writeln!(data, "  {serial}  {when}")?;
        }
    }
    Ok(())
}

fn show_one(der: &[u8], data: &mut dyn Write, now: Timestamp) -> Result<(), Error> {
    let certificate = identity::parse(der)?;
    let authority = issue::check_authority(&certificate).is_ok();
    let purpose = certificate.extended_key_usage().ok().flatten().map(|purpose| purpose.value);
    let serves = purpose.is_some_and(|purpose| purpose.server_auth);
    if authority {
        writeln!(data, "authority   {}", plain(certificate.subject()))?;
        writeln!(data, "name        {}", name_of(&certificate))?;
    } else if serves {
        writeln!(data, "server      {}", names(&certificate).join(", "))?;
    } else {
        match identity::read_of_any_domain(der) {
            Ok(read) => writeln!(data, "identity    {}", read.spiffe_id)?,
            Err(reason) => writeln!(data, "identity    none: {reason}")?,
        }
    }
    writeln!(data, "serial      {}", identity::serial_hex(certificate.raw_serial()).unwrap_or_default())?;
    writeln!(data, "issuer      {}", plain(certificate.issuer()))?;
    if let Ok((not_before, not_after)) = issue::validity_of(&certificate) {
        writeln!(data, "valid       {not_before} to {not_after}, {}", standing(not_before, not_after, now))?;
    }
    let uses = purpose.map_or_else(|| "none".to_owned(), |purpose| uses(purpose).join(", "));
    writeln!(data, "purposes    {uses}")?;
    Ok(())
}

/// A name from a foreign certificate, fit for a terminal.
fn plain(name: &x509_parser::x509::X509Name<'_>) -> String {
    printable(&name.to_string())
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn standing(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> String {
    if now < not_before {
        "not valid yet; check the clocks".to_owned()
    } else if now >= not_after {
        "EXPIRED".to_owned()
    } else {
        format!("{} days left", not_after.since(now).as_secs() / DAY.as_secs())
    }
}

fn uses(purpose: &x509_parser::extensions::ExtendedKeyUsage<'_>) -> Vec<&'static str> {
    [
        (purpose.client_auth, "clientAuth"),
        (purpose.server_auth, "serverAuth"),
        (purpose.any, "anyExtendedKeyUsage"),
        (purpose.code_signing, "codeSigning"),
        (purpose.email_protection, "emailProtection"),
        (purpose.time_stamping, "timeStamping"),
        (purpose.ocsp_signing, "OCSPSigning"),
    ]
    .into_iter()
    .filter_map(|(held, name)| held.then_some(name))
    .collect()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let names = certificate.subject_alternative_name().ok().flatten();
    names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).escape_debug().to_string(),
            GeneralName::IPAddress(raw) => address(raw),
            _ => "a name of another kind".to_owned(),
        })
        .collect()
}

fn address(raw: &[u8]) -> String {
    let v4 = <[u8; 4]>::try_from(raw).map(IpAddr::from);
    let either = v4.or_else(|_| <[u8; 16]>::try_from(raw).map(IpAddr::from));
    either.map_or_else(|_| "a damaged address".to_owned(), |address| address.to_string())
}
