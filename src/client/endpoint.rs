//! Decides how the address of a hub is written, and what proves that it is the
//! hub.

use std::path::{Path, PathBuf};

use http::Uri;
use rustls::pki_types::ServerName;

use super::error::Error;

/// Host, port, and the name that the certificate there must carry.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    server_name: String,
}

impl Address {
    /// Reads `host:port` or `[v6]:port`.
    pub(super) fn parse(address: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::Settings(format!(
                "`{address}` is not an address of a hub; write host:port, such as hub.example:7443 or [2001:db8::7]:7443"
            ))
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(v6) => v6,
            None if host.contains([':', '/', '[', ']', '@']) => return Err(wrong()),
            None => host,
        };
        if host.is_empty() || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port, server_name: host.to_owned() })
    }

    /// The same host under another name in its certificate.
    pub(super) fn named(self, name: impl Into<String>) -> Self {
        Self { server_name: name.into(), ..self }
    }

    /// The address, for people.
    pub(super) fn shown(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The URI that requests name. Its scheme is `http` because TLS is inside
    /// the connector, which knows no other way to connect.
    pub(super) fn uri(&self) -> Result<Uri, Error> {
        let name = &self.server_name;
        let authority = if name.contains(':') {
            format!("[{name}]:{}", self.port)
        } else {
            format!("{name}:{}", self.port)
        };
        Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query("/")
            .build()
            .map_err(|_| Error::Settings(format!("`{name}` is not a host name; see --server-name")))
    }

    /// The name as TLS asks for it.
    pub(super) fn tls_name(&self) -> Result<ServerName<'static>, Error> {
        ServerName::try_from(self.server_name.clone()).map_err(|_| {
            Error::Settings(format!(
                "`{}` is not a host name or address that a certificate can carry; see --server-name",
                self.server_name
            ))
        })
    }
}

/// Where the hub is, and how it proves itself.
#[derive(Debug, Clone)]
pub struct Endpoint {
    address: Address,
    authorities: PathBuf,
}

impl Endpoint {
    /// The hub at `address` (`host:port`, `[v6]:port`), whose certificate must
    /// come from one of the `authorities`, a PEM file.
    ///
    /// # Errors
    /// An address that cannot be read.
    pub fn new(address: &str, authorities: impl Into<PathBuf>) -> Result<Self, Error> {
        Ok(Self { address: Address::parse(address)?, authorities: authorities.into() })
    }

    /// The name that the hub's certificate must carry, where it is not the
    /// host of the address.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        Self { address: self.address.named(name), ..self }
    }

    /// The address, for people.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.shown()
    }

    pub(super) const fn place(&self) -> &Address {
        &self.address
    }

    pub(super) fn authorities(&self) -> &Path {
        &self.authorities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_a_host_and_a_port() {
        for good in ["hub.example:7443", "127.0.0.1:1", "[2001:db8::7]:7443"] {
            assert_eq!(Endpoint::new(good, "ca.pem").unwrap().address(), good);
        }
        for bad in
            ["hub.example", "hub:0", ":7443", "2001:db8::7:7443", "https://hub:7443", "hub:70000", "u@hub:1"]
        {
            assert!(Endpoint::new(bad, "ca.pem").is_err(), "{bad}");
        }
    }

    #[test]
    fn the_server_name_is_the_host_unless_one_is_given() {
        let endpoint = Endpoint::new("127.0.0.1:7443", "ca.pem").unwrap();
        assert_eq!(endpoint.place().uri().unwrap().host(), Some("127.0.0.1"));
        let named = endpoint.server_name("hub.example");
        assert_eq!(named.place().uri().unwrap().host(), Some("hub.example"));
    }
}
