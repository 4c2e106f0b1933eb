//! Decides under which forms a value is looked for, and an entry kept: the
//! whole, the name of the host and what it is under, the address.

use std::borrow::Cow;
use std::hash::Hasher;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::indicator::{Kind, Observable, normalise};
use crate::model::warninglist::Matching;

/// What the table knows a value by.
pub(super) enum Key<'a> {
    /// The whole value, in lower case.
    Whole(Cow<'a, str>),
    /// A name, and all under it.
    Name(Cow<'a, str>),
}

impl Key<'_> {
    pub(super) fn write(&self, hasher: &mut impl Hasher) {
        let (kind, text) = match self {
            Self::Whole(text) => (0, text),
            Self::Name(text) => (1, text),
        };
        hasher.write_u8(kind);
        hasher.write(text.as_bytes());
    }

    /// The key of an entry that is no address; `None`: it says nothing.
    pub(super) fn of_entry(matching: Matching, entry: &str) -> Option<Key<'static>> {
        let under = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.'));
        if matching == Matching::Hostname || under.is_some() {
            return host(under.unwrap_or(entry)).map(|name| Key::Name(name.into()));
        }
        let whole = if entry.contains("://") {
            let url = normalise::observable(Kind::Url, entry).ok();
            url.map_or_else(
                || lower(entry).into_owned(),
                |url| lower(&url.observable.to_string()).into_owned(),
            )
        } else if entry.is_ascii() {
            lower(entry.strip_suffix('.').unwrap_or(entry)).into_owned()
        } else {
            host(entry).unwrap_or_else(|| entry.to_owned())
        };
        Some(Key::Whole(whole.into()))
    }
}

/// The canonical form of a host's name.
fn host(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() {
        None
    } else if name.bytes().all(plain) {
        Some(name.to_ascii_lowercase())
    } else if name.is_ascii() {
        None
    } else {
        Some(normalise::observable(Kind::Domain, name).ok()?.observable.to_string())
    }
}

fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// What a value is looked for as.
pub(super) struct Forms<'a> {
    whole: Option<Cow<'a, str>>,
    /// The name of the host, if it has one.
    pub(super) host: Option<&'a str>,
    /// Whether the value means all of that host.
    pub(super) all_of_host: bool,
    /// The addresses that it is, or is at.
    pub(super) network: Option<IpNet>,
}

impl<'a> Forms<'a> {
    pub(super) fn of(value: &'a Observable) -> Self {
        let none = Self { whole: None, host: None, all_of_host: true, network: None };
        match value {
            Observable::Ipv4(ip) => Self { network: Some(IpNet::from(IpAddr::from(*ip))), ..none },
            Observable::Ipv6(ip) => Self { network: Some(IpNet::from(IpAddr::from(*ip))), ..none },
            Observable::Endpoint(at) => Self { network: Some(IpNet::from(at.ip())), ..none },
            Observable::Cidr(net) => Self { network: Some(*net), ..none },
            Observable::Domain(name) => Self { host: Some(name), ..none },
            Observable::NamedEndpoint(text) => {
                Self { host: text.rsplit_once(':').map(|(host, _)| host), whole: Some(lower(text)), ..none }
            }
            Observable::Url(url) => {
                let (host, all_of_host) = host_of(url);
                let address = host
                    .map(|host| host.trim_matches(['[', ']']))
                    .and_then(|host| host.parse::<IpAddr>().ok());
                let host = host.filter(|_| address.is_none());
                let network = address.filter(|_| all_of_host).map(IpNet::from);
                Self { whole: Some(lower(url)), host, all_of_host, network }
            }
            Observable::Written(_) => {
                let text = value.as_text().unwrap_or_default();
                let host =
                    text.rsplit_once('@').filter(|_| value.kind() == Kind::Email).map(|(_, host)| host);
                Self { whole: Some(lower(text)), host, all_of_host: false, ..none }
            }
            hash => Self { whole: Some(Cow::Owned(hash.to_string())), ..none },
        }
    }

    /// Calls `look` with every key, and whether that is the value in full.
    pub(super) fn keys(&self, mut look: impl FnMut(&Key<'_>, bool)) {
        if let Some(whole) = &self.whole {
            look(&Key::Whole(Cow::Borrowed(whole)), true);
        }
        let Some(host) = self.host else { return };
        if self.all_of_host {
            look(&Key::Whole(Cow::Borrowed(host)), true);
        }
        let mut rest = host;
        loop {
            look(&Key::Name(Cow::Borrowed(rest)), self.all_of_host);
            match rest.split_once('.') {
                Some((_, under)) if !under.is_empty() => rest = under,
                _ => return,
            }
        }
    }

    /// The text of the value.
    pub(super) fn whole(&self, value: &Observable) -> Cow<'_, str> {
        match (&self.whole, self.host) {
            (Some(whole), _) => Cow::Borrowed(whole),
            (None, Some(host)) => Cow::Borrowed(host),
            (None, None) => Cow::Owned(value.to_string()),
        }
    }
}

/// The host of a canonical URL, and whether the URL says nothing further.
fn host_of(url: &str) -> (Option<&str>, bool) {
    let Some((_, rest)) = url.split_once("://") else { return (None, false) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    (Some(host).filter(|host| !host.is_empty()), matches!(path, "" | "/"))
}
