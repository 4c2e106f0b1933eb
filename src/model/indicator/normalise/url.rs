//! Decides the canonical form of a URL: what the WHATWG URL Standard
//! serialises, with a host that is canonical by the rules of this hub.
//!
//! Browsers read a host name's case, its script and odd spellings of IPv4 the
//! same in every URL with a known scheme; here that holds for all schemes. A
//! host's final dot is dropped and an IPv4-mapped host becomes IPv4, so that a
//! URL's host and the same host published alone are one text.

use url::{Host, ParseError, Url};

use crate::model::Invalid;

use super::super::Observable;
use super::super::draft::MAX_VALUE_BYTES;
use super::refang::{self, Parts};
use super::{address, domain};

/// How often a URL is read until it stays the same.
const READINGS: usize = 3;

/// Reads `text` as a URL; without a scheme it must be a host and a path, and
/// is taken as `http`.
pub(super) fn url(text: &str) -> Result<Observable, Invalid> {
    if is_magnet(text) {
        return magnet(text);
    }
    let mut read = parse(text)?;
    // Escaping and `..` may bring up a mark of defanging that was not seen as
    // one before: what is canonical must be so to whoever reads it again.
    for _ in 0..READINGS {
        if !refang::has_tail_mark(&read) {
            return Ok(Observable::Url(read.into()));
        }
        let again = parse(&read)?;
        if again == read {
            return Ok(Observable::Url(read.into()));
        }
        read = again;
    }
    Err(Invalid::new("", "is not a URL that reads the same twice: write its path without marks of defanging"))
}

/// Whether `text` starts as a magnet link does.
pub(super) fn is_magnet(text: &str) -> bool {
    text.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet"))
        && text.get(6..).is_some_and(|rest| rest.starts_with([':', '[', '(']))
}

/// Reads a magnet link: the one URL without a host that names something by
/// itself.
fn magnet(text: &str) -> Result<Observable, Invalid> {
    let text = text.replace("[:]", ":").replace("(:)", ":").replace("[.]", ".");
    let url = Url::parse(&text).map_err(refused)?;
    let names = url.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("xt=urn:")));
    let text = String::from(url);
    let marked = ["[:]", "(:)", "[.]"].iter().any(|mark| text.contains(mark));
    if !names || marked || text.len() > MAX_VALUE_BYTES {
        return Err(Invalid::new("", "is not a magnet link: it starts with magnet:? and has an xt=urn:…"));
    }
    Ok(Observable::Url(text.into()))
}

fn parse(text: &str) -> Result<String, Invalid> {
    let parts = match refang::parts(text) {
        Some(parts) => parts,
        None => without_scheme(text)?,
    };
    domain::check_typography(&parts.host)?;
    let Parts { scheme, userinfo, host, tail } = &parts;
    check_scheme(scheme)?;
    check_file_host(scheme, userinfo)?;
    let mut url = Url::parse(&format!("{scheme}://{userinfo}{host}{tail}")).map_err(refused)?;
    canonicalise_host(&mut url)?;
    let text = String::from(url);
    if text.len() > MAX_VALUE_BYTES {
        return Err(Invalid::new(
            "",
            format!("is too long once escaped: a URL has at most {MAX_VALUE_BYTES} bytes"),
        ));
    }
    Ok(text)
}

/// A host, perhaps a port, and a path: nothing that could be anything else.
fn without_scheme(text: &str) -> Result<Parts<'_>, Invalid> {
    let (head, tail) = refang::split_authority(text);
    let host = refang::host(head);
    if tail.is_empty() {
        return Err(Invalid::new(
            "",
            "is not a URL: write the scheme, as in http://example.org/, or give a bare host as domain",
        ));
    }
    if host.is_empty() || text.contains("://") && !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(Invalid::new("", "is not a URL: it starts with neither a scheme and :// nor a host"));
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (&*host, None),
    };
    if !address::is_address(name) {
        domain::domain(name)?;
    } else if name.contains(':') && !name.starts_with('[') {
        return Err(Invalid::new(
            "",
            "is not a URL: an IPv6 host stands in brackets, as in http://[2001:db8::7]/",
        ));
    }
    if let Some(port) = port {
        address::port_number(port)?;
    }
    Ok(Parts { scheme: "http".into(), userinfo: "", host, tail: refang::tail(tail) })
}

/// `httpA://` is a slip or a trick: either way nobody knows what was meant.
fn check_scheme(scheme: &str) -> Result<(), Invalid> {
    if (scheme.starts_with("http") || scheme.starts_with("hxxp")) && !matches!(scheme, "http" | "https") {
        return Err(Invalid::new(
            "",
            "is not a URL: its scheme is spelt like http, but is not http or https",
        ));
    }
    Ok(())
}

/// `file://host@SSL/` is how Windows names a WebDAV share; to the URL Standard
/// the `@` is an error, to others `SSL` is the host. Nobody agrees: no guess.
fn check_file_host(scheme: &str, userinfo: &str) -> Result<(), Invalid> {
    if scheme == "file" && !userinfo.is_empty() {
        return Err(Invalid::new(
            "",
            "is not a URL: a file: URL has no @ before its path; for a WebDAV share written host@SSL give the host as \
             domain, or the share as an https:// URL",
        ));
    }
    Ok(())
}

fn canonicalise_host(url: &mut Url) -> Result<(), Invalid> {
    let Some(given) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(Invalid::new("", "is a URL without a host: only URLs that name a host are taken"));
    };
    // Parsed anew, because outside the known schemes the standard leaves a
    // host as it is written.
    let canonical = match Host::parse(given).map_err(refused)? {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(&name);
            domain::check(name)
                .map_err(|e| Invalid::new("", format!("is a URL whose host {}", e.problem)))?;
            name.to_owned()
        }
        Host::Ipv4(v4) => v4.to_string(),
        Host::Ipv6(v6) => v6.to_ipv4_mapped().map_or_else(|| format!("[{v6}]"), |v4| v4.to_string()),
    };
    if canonical != given {
        url.set_host(Some(&canonical)).map_err(refused)?;
    }
    Ok(())
}

fn refused(error: ParseError) -> Invalid {
    let problem = match error {
        ParseError::EmptyHost => "is a URL without a host: only URLs that name a host are taken",
        ParseError::InvalidPort => {
            "is a URL with a bad port: after the host comes a colon and a number up to 65535"
        }
        ParseError::InvalidIpv4Address => "is a URL whose host ends in a number but is not an IPv4 address",
        ParseError::InvalidIpv6Address => {
            "is a URL with a bad IPv6 host: write it as [2001:db8::7], without a zone id"
        }
        ParseError::IdnaError | ParseError::InvalidDomainCharacter => {
            "is a URL whose host is not a host name, even with [.] and the like read as dots"
        }
        _ => "is not a URL: write scheme://host/path, as in https://example.org/index.html",
    };
    Invalid::new("", problem)
}
