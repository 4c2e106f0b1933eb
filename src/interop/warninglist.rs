//! Decides how a warninglist of MISP is read: one JSON object, within bounds.
//!
//! Source: the schema and the lists of <https://github.com/MISP/misp-warninglists>.

use serde::Deserialize;

use crate::model::Invalid;
use crate::model::indicator::Kind;
use crate::model::warninglist::{
    Kinds, MAX_ENTRIES, MAX_NAME_BYTES, MAX_SLUG_BYTES, Matching, Warninglist, is_slug,
};

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most types of attributes that a list names.
const MAX_ATTRIBUTES: usize = 1_024;

/// A list as it is written; what else it says is passed over.
#[derive(Deserialize)]
struct Written {
    name: String,
    version: Version,
    #[serde(rename = "type")]
    matching: String,
    #[serde(default)]
    matching_attributes: Vec<String>,
    list: Vec<String>,
}

/// A number, which some write as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Version {
    Number(u64),
    Text(String),
}

/// Reads a list, to be known by this short name.
///
/// # Errors
/// What is wrong with it, by field.
pub fn read(slug: &str, json: &[u8]) -> Result<Warninglist, Invalid> {
    if !is_slug(slug) {
        let problem =
            format!("the file's name is to be the list's: 1 to {MAX_SLUG_BYTES} of a-z, 0-9, - _ and .");
        return Err(Invalid::new("", problem));
    }
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let written: Written = serde_json::from_slice(json)
        .map_err(|error| Invalid::new("", format!("is no warninglist of MISP: {error}")))?;
    let Written { name, version, matching, matching_attributes, list } = written;
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        let problem = format!("give it 1 to {MAX_NAME_BYTES} bytes on one line");
        return Err(Invalid::new("name", problem));
    }
    let version = match version {
        Version::Number(version) => Some(version),
        Version::Text(text) => text.trim().parse().ok(),
    };
    let version =
        version.ok_or_else(|| Invalid::new("version", "is no number; count the list's versions"))?;
    let Some(matching) = Matching::from_name(&matching) else {
        let known: Vec<_> = Matching::ALL.iter().map(|matching| matching.as_str()).collect();
        return Err(Invalid::new("type", format!("is unknown; choose among {}", known.join(", "))));
    };
    if list.len() > MAX_ENTRIES {
        return Err(Invalid::new("list", format!("has more than {MAX_ENTRIES} entries; split it")));
    }
    if matching_attributes.len() > MAX_ATTRIBUTES {
        return Err(Invalid::new("matching_attributes", format!("names more than {MAX_ATTRIBUTES} types")));
    }
    let kinds = kinds(&matching_attributes);
    Ok(Warninglist { slug: slug.to_owned(), name, version, matching, kinds, entries: list })
}

/// The kinds of what MISP's types of attributes hold; of none: all.
fn kinds(attributes: &[String]) -> Kinds {
    if attributes.is_empty() || attributes.iter().any(|name| name.eq_ignore_ascii_case("all")) {
        return Kinds::values();
    }
    let parts = attributes.iter().flat_map(|name| name.split('|'));
    parts.fold(Kinds::NONE, |set, part| set.union(Kinds::of(of_attribute(part))))
}

fn of_attribute(name: &str) -> &'static [Kind] {
    // A hash's own name may stand behind what has it, as in imphash.
    match name {
        "ip-src" | "ip-dst" | "ip" => &[Kind::Ipv4, Kind::Ipv6, Kind::Cidr, Kind::Endpoint],
        "domain" | "hostname" => &[Kind::Domain, Kind::Endpoint],
        "url" | "uri" | "link" => &[Kind::Url],
        "md5" => &[Kind::Md5],
        "sha1" => &[Kind::Sha1],
        "sha256" => &[Kind::Sha256],
        "sha512" => &[Kind::Sha512],
        "imphash" => &[Kind::Imphash],
        "ssdeep" => &[Kind::Ssdeep],
        "tlsh" => &[Kind::Tlsh],
        "filename" => &[Kind::FileName],
        "size-in-bytes" => &[Kind::FileSize],
        "user-agent" => &[Kind::UserAgent],
        "mutex" => &[Kind::Mutex],
        "regkey" => &[Kind::RegistryKey],
        "AS" => &[Kind::Asn],
        "vulnerability" => &[Kind::Cve],
        "phone-number" | "whois-registrant-phone" => &[Kind::Phone],
        "iban" | "bic" | "bank-account-nr" => &[Kind::BankAccount],
        "btc" | "xmr" | "dash" => &[Kind::CryptoAddress],
        "ja3-fingerprint-md5" => &[Kind::Ja3],
        name if name.starts_with("x509-fingerprint-") => &[Kind::Certificate],
        name if name.starts_with("email") || name.ends_with("email") => &[Kind::Email],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &str = r#"{"name": "Ours", "version": 7, "description": "d", "type": "cidr",
        "matching_attributes": ["ip-dst", "domain|ip", "made-up"], "list": ["192.0.2.0/24"]}"#;

    fn problem(json: &str) -> String {
        read("ours", json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_list_is_read_as_misp_writes_it() {
        let list = read("ours", LIST.as_bytes()).unwrap();
        assert_eq!((list.slug.as_str(), list.name.as_str(), list.version), ("ours", "Ours", 7));
        assert_eq!((list.matching, list.entries), (Matching::Network, vec!["192.0.2.0/24".to_owned()]));
        let ip = [Kind::Ipv4, Kind::Ipv6, Kind::Cidr, Kind::Endpoint, Kind::Domain];
        assert_eq!(list.kinds, Kinds::of(&ip));
        let marked = format!("\u{feff}{}", LIST.replace("7", "\"7\""));
        assert_eq!(
            read("ours", marked.as_bytes()).unwrap().version,
            7,
            "a mark before it, a version as text"
        );
        let all = read("ours", br#"{"name":"n","version":1,"type":"string","list":[]}"#).unwrap();
        assert_eq!(all.kinds, Kinds::values());
        let others = LIST.replace(r#""ip-dst", "domain|ip", "#, "");
        assert_eq!(read("ours", others.as_bytes()).unwrap().kinds, Kinds::NONE, "of what no hub holds");
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_field() {
        assert!(problem("[]").starts_with("is no warninglist of MISP"));
        assert!(problem(&LIST.replace("Ours", "")).starts_with("name: "));
        assert!(problem(&LIST.replace("Ours", "a\\u0007")).starts_with("name: "));
        assert!(problem(&LIST.replace("cidr", "glob")).starts_with("type: is unknown; choose among string"));
        assert!(problem(&LIST.replace("7", "\"x\"")).starts_with("version: "));
        assert!(read("../x", LIST.as_bytes()).unwrap_err().problem.contains("file's name"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_the_reader_panic(slug in ".{0,70}", json in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&slug, &json);
        }
    }
}
