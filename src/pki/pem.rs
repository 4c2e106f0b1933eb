//! Decides what a PEM file holds: every section of it, of the one kind
//! expected, or an error; a half-written file is never half-read.

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::base::secret::Secret;

/// Why a PEM text is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A section is cut short, or its base64 is broken.
    #[error(
        "{what}: section {section} is cut short or damaged; write the file beside its place and rename it"
    )]
    Damaged {
        /// What was expected.
        what: &'static str,
        /// Which section, from 1.
        section: usize,
    },
    /// A section of another kind stands in the file.
    #[error("{what}: the file holds a section of another kind; keep one kind to a file")]
    Foreign {
        /// What was expected.
        what: &'static str,
    },
    /// Nothing of the kind stands in the file.
    #[error("{what}: the file holds none")]
    Empty {
        /// What was expected.
        what: &'static str,
    },
    /// More than one where one belongs.
    #[error("{what}: the file holds {count}, and one belongs there")]
    Several {
        /// What was expected.
        what: &'static str,
        /// How many there are.
        count: usize,
    },
}

/// Every certificate in `text`, at least one.
///
/// # Errors
/// If any part of the text is damaged or of another kind.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    sections("certificate", text)
}

/// Every certificate revocation list in `text`, at least one.
///
/// # Errors
/// If any part of the text is damaged or of another kind.
pub fn revocation_lists(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    sections("certificate revocation list", text)
}

/// The one private key in `text`.
///
/// # Errors
/// If there is none, more than one, or anything else.
pub fn private_key(text: &[u8]) -> Result<Secret<PrivateKeyDer<'static>>, Error> {
    const WHAT: &str = "private key";
    let mut keys: Vec<PrivateKeyDer<'static>> = sections(WHAT, text)?;
    match (keys.pop(), keys.len()) {
        (Some(key), 0) => Ok(Secret::new(key)),
        (_, others) => Err(Error::Several { what: WHAT, count: others + 1 }),
    }
}

/// DER as one PEM section with a label of our choosing.
#[must_use]
pub fn encode(label: Label, der: &[u8]) -> String {
    use base64::Engine as _;
    let label = label.as_str();
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The kinds of section that are written; private keys are written by whoever
/// holds them, so that they pass through no further buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A certificate.
    Certificate,
    /// A certificate revocation list.
    RevocationList,
}

impl Label {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::RevocationList => "X509 CRL",
        }
    }
}

fn sections<T: PemObject>(what: &'static str, text: &[u8]) -> Result<Vec<T>, Error> {
    // Every section is read whatever its kind: an iterator over one kind skips
    // the others in silence, and so would lose a mislabelled authority.
    let all = <(SectionKind, Vec<u8>)>::pem_slice_iter(text)
        .enumerate()
        .map(|(index, section)| section.map_err(|_| Error::Damaged { what, section: index + 1 }))
        .collect::<Result<Vec<_>, _>>()?;
    let opened = text
        .split(|&byte| byte == b'\n')
        .filter(|line| line.trim_ascii_start().starts_with(b"-----BEGIN "))
        .count();
    if opened != all.len() {
        return Err(Error::Foreign { what });
    }
    if all.is_empty() {
        return Err(Error::Empty { what });
    }
    all.into_iter().map(|(kind, der)| T::from_pem(kind, der).ok_or(Error::Foreign { what })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(content: &[u8]) -> String {
        encode(Label::Certificate, content)
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let text = certificate(&[7; 200]) + &certificate(&[8; 48]);
        let read = certificates(text.as_bytes()).unwrap();
        assert_eq!(read.iter().map(|der| der.as_ref().len()).collect::<Vec<_>>(), [200, 48]);
    }

    #[test]
    fn a_whole_section_before_half_a_section_is_refused_as_a_whole() {
        let text = certificate(&[7; 200]);
        let cut = format!("{text}{}", &text[..text.len() / 2]);
        assert!(certificates(cut.as_bytes()).is_err());
    }

    #[test]
    fn a_section_of_another_kind_is_refused() {
        let text = certificate(&[7; 20]) + &encode(Label::RevocationList, &[1; 20]);
        assert!(matches!(certificates(text.as_bytes()), Err(Error::Foreign { .. })));
    }

    #[test]
    fn a_section_of_unknown_kind_is_refused() {
        let text = certificate(&[7; 20]) + &certificate(&[1; 20]).replace("CERTIFICATE", "CERTIFICAET");
        assert!(matches!(certificates(text.as_bytes()), Err(Error::Foreign { .. })));
    }

    #[test]
    fn an_empty_file_is_refused() {
        assert!(matches!(certificates(b"\n"), Err(Error::Empty { .. })));
    }

    #[test]
    fn a_key_file_holds_one_key() {
        let one = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(private_key(one.as_bytes()).is_ok());
        assert!(matches!(private_key(one.repeat(2).as_bytes()), Err(Error::Several { count: 2, .. })));
    }
}
