//! Decides what whoever wants a certificate asks for: a certificate request
//! (PKCS #10) that proves the possession of a key and names an identity.

use rcgen::{CertificateParams, DistinguishedName, SanType};

use super::issue::{Error, Key};
use crate::model::principal::SpiffeId;

/// A request for a certificate of `identity` for `key`, in DER; without an
/// identity, of whoever the authority takes the sender for. The subject is
/// empty: the identity stands in the one URI name.
///
/// # Errors
/// If the library refuses.
pub fn certificate_request(key: &Key, identity: Option<&SpiffeId>) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(identity) = identity {
        params.subject_alt_names = vec![SanType::URI(identity.as_str().try_into()?)];
    }
    Ok(params.serialize_request(key.pair())?.der().to_vec())
}

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    use x509_parser::prelude::FromDer as _;

    use super::*;

    #[test]
    fn a_request_proves_its_key_and_names_the_identity_and_nothing_else() {
        let key = Key::for_leaf().unwrap();
        let identity = SpiffeId::parse("spiffe://hub.example/org/soc/system/feed").unwrap();
        let der = certificate_request(&key, Some(&identity)).unwrap();

        let (rest, request) = X509CertificationRequest::from_der(&der).unwrap();
        assert!(rest.is_empty());
        request.verify_signature().unwrap();
        let info = &request.certification_request_info;
        assert_eq!(info.subject.iter().count(), 0);
        let names: Vec<_> = request.requested_extensions().unwrap().collect();
        let [ParsedExtension::SubjectAlternativeName(names)] = names.as_slice() else { panic!("{names:?}") };
        assert_eq!(names.general_names, [GeneralName::URI(identity.as_str())]);

        let nameless = certificate_request(&key, None).unwrap();
        let (_, nameless) = X509CertificationRequest::from_der(&nameless).unwrap();
        assert!(nameless.requested_extensions().is_none_or(|mut all| all.next().is_none()));
    }
}
