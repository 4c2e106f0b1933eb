//! Decides X.509 and TLS: certificate to identity, issuance, the TLS snapshot.
