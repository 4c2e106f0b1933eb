//! Decides which values everyone has or needs: blocked by all who read it, such
//! a value would break more than it mends.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::Observable;

/// Whether nobody should block the value, whoever recommends it.
#[must_use]
pub fn is_everyones(observable: &Observable) -> bool {
    match observable {
        // A name of one label is a machine of one's own, or a top-level domain.
        Observable::Domain(name) => !name.contains('.') || is_suffix(name),
        other => is_local(other),
    }
}

/// Whether everyone may register names under this one: a public suffix that is
/// no private body's.
#[must_use]
pub fn is_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes()).is_some_and(|suffix| {
        suffix.is_known() && suffix.typ() == Some(psl::Type::Icann) && suffix.as_bytes() == name.as_bytes()
    })
}

/// Whether the value is, or leads to, an address that means another machine to
/// each who reads it, or a network that holds almost all addresses.
#[must_use]
pub fn is_local(observable: &Observable) -> bool {
    match observable {
        Observable::Ipv4(ip) => is_local_address((*ip).into()),
        Observable::Ipv6(ip) => is_local_address((*ip).into()),
        Observable::Endpoint(at) => is_local_address(at.ip()),
        Observable::Cidr(net) => {
            is_local_address(net.network()) && is_local_address(net.broadcast())
                || net.prefix_len() < if matches!(net, IpNet::V4(_)) { 8 } else { 16 }
        }
        Observable::Url(url) => match Url::parse(url).ok().as_ref().and_then(Url::host) {
            Some(Host::Ipv4(ip)) => is_local_address(ip.into()),
            Some(Host::Ipv6(ip)) => is_local_address(ip.into()),
            // Outside of the known schemes the standard leaves a host as it is.
            Some(Host::Domain(name)) => name.parse().is_ok_and(is_local_address),
            None => false,
        },
        _ => false,
    }
}

/// Whether the address means another machine to each who reads it.
#[must_use]
pub fn is_local_address(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, ..] = ip.octets();
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || first == 0 || first >= 224
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn what_everyone_has_or_needs_is_told_from_what_somebody_has() {
        for (kind, value, expected) in [
            (Kind::Cidr, "0.0.0.0/0", true),
            (Kind::Cidr, "::/0", true),
            (Kind::Cidr, "10.1.0.0/16", true),
            (Kind::Cidr, "198.51.100.0/24", false),
            (Kind::Ipv4, "127.0.0.1", true),
            (Kind::Ipv4, "198.51.100.7", false),
            (Kind::Ipv6, "fe80::1", true),
            (Kind::Domain, "com.vn", true),
            (Kind::Domain, "localhost", true),
            (Kind::Domain, "shop.com.vn", false),
            (Kind::Url, "http://192.168.1.1/x", true),
        ] {
            let observable = Observable::from_canonical(kind, value).unwrap();
            assert_eq!(is_everyones(&observable), expected, "{value}");
        }
    }
}
