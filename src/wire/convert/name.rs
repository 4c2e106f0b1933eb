//! Decides the resource names: what each looks like, and that every other
//! spelling is refused.

use uuid::Uuid;

use crate::model::Invalid;
use crate::model::org::OrgSlug;

/// Longest last segment of a subscription's name, in bytes.
pub const MAX_SUBSCRIPTION_BYTES: usize = 63;

const INDICATOR: &str = "a resource name of the form indicators/{indicator}, as the hub returned it";
const ORGANISATION: &str =
    "a resource name of the form organisations/{organisation}, such as organisations/so-cntt";
const GROUP: &str = "a resource name of the form groups/{group}, such as groups/ung-cuu";
const HELD: &str = "/held";
const SUBSCRIPTION: &str = "a resource name of the form organisations/{organisation}/subscriptions/{subscription}; the last \
     part has 1 to 63 of a-z, 0-9 and hyphens, starts with a letter, ends in none, and does not look like a UUID";

/// Writes `indicators/{indicator}`.
#[must_use]
pub fn indicator(id: Uuid) -> String {
    let mut name = String::with_capacity(11 + 36);
    name.push_str("indicators/");
    name.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    name
}

/// Reads `indicators/{indicator}`.
///
/// # Errors
/// Any other spelling.
pub fn read_indicator(field: &str, name: &str) -> Result<Uuid, Invalid> {
    name.strip_prefix("indicators/").and_then(lower_uuid).ok_or_else(|| Invalid::new(field, INDICATOR))
}

/// Writes `indicators/{indicator}/sightings/{sighting}`.
#[must_use]
pub fn sighting(indicator_id: Uuid, sighting: Uuid) -> String {
    let mut name = String::with_capacity(11 + 36 + 11 + 36);
    name.push_str("indicators/");
    name.push_str(indicator_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    name.push_str("/sightings/");
    name.push_str(sighting.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    name
}

/// Writes `indicators/{indicator}/held`.
#[must_use]
pub fn held(indicator_id: Uuid) -> String {
    format!("{}{HELD}", indicator(indicator_id))
}

/// Writes `indicators/{indicator}/hold`.
#[must_use]
pub fn hold(indicator_id: Uuid) -> String {
    format!("{}/hold", indicator(indicator_id))
}

/// Reads `indicators/{indicator}/held`: the indicator's id.
///
/// # Errors
/// Any other spelling.
pub fn read_held(field: &str, name: &str) -> Result<Uuid, Invalid> {
    let refused =
        || Invalid::new(field, "required: `indicators/{indicator}/held`, as a list of them shows it");
    let indicator = name.strip_suffix(HELD).ok_or_else(refused)?;
    read_indicator(field, indicator).map_err(|_| refused())
}

/// Writes `indicators/{indicator}/republications/{organisation}`.
#[must_use]
pub fn republication(indicator_id: Uuid, organisation: &OrgSlug) -> String {
    format!("{}/republications/{organisation}", indicator(indicator_id))
}

/// Writes `organisations/{organisation}`.
#[must_use]
pub fn organisation(slug: &OrgSlug) -> String {
    format!("organisations/{slug}")
}

/// Reads `organisations/{organisation}`.
///
/// # Errors
/// Any other spelling, the alias `organisations/me` among them.
pub fn read_organisation(field: &str, name: &str) -> Result<OrgSlug, Invalid> {
    name.strip_prefix("organisations/")
        .filter(|slug| *slug != "me")
        .and_then(|slug| OrgSlug::parse(slug).ok())
        .ok_or_else(|| Invalid::new(field, ORGANISATION))
}

/// Writes `groups/{group}`.
#[must_use]
pub fn group(slug: &OrgSlug) -> String {
    format!("groups/{slug}")
}

/// Reads `groups/{group}`.
///
/// # Errors
/// Any other spelling.
pub fn read_group(field: &str, name: &str) -> Result<OrgSlug, Invalid> {
    name.strip_prefix("groups/")
        .and_then(|slug| OrgSlug::parse(slug).ok())
        .ok_or_else(|| Invalid::new(field, GROUP))
}

/// Reads `organisations/{organisation}`, where `organisations/me` stands for
/// `own`.
///
/// # Errors
/// Any other spelling.
pub fn read_organisation_or_me(field: &str, name: &str, own: &OrgSlug) -> Result<OrgSlug, Invalid> {
    if name == "organisations/me" { Ok(own.clone()) } else { read_organisation(field, name) }
}

/// Writes `organisations/{organisation}/subscriptions/{subscription}`.
#[must_use]
pub fn subscription(owner: &OrgSlug, id: &str) -> String {
    format!("organisations/{owner}/subscriptions/{id}")
}

/// Reads a subscription's name: whose it is, and its last segment.
/// `organisations/me` stands for `own`.
///
/// # Errors
/// Any other spelling.
pub fn read_subscription(field: &str, name: &str, own: &OrgSlug) -> Result<(OrgSlug, String), Invalid> {
    let refused = || Invalid::new(field, SUBSCRIPTION);
    let (organisation, id) = name.split_once("/subscriptions/").ok_or_else(refused)?;
    let owner = read_organisation_or_me(field, organisation, own).map_err(|_| refused())?;
    if is_subscription_id(id) { Ok((owner, id.to_owned())) } else { Err(refused()) }
}

/// `^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`, and not shaped like a UUID.
fn is_subscription_id(id: &str) -> bool {
    let bytes = id.as_bytes();
    bytes.len() <= MAX_SUBSCRIPTION_BYTES
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(|&b| b != b'-')
        && bytes.iter().all(|&b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && Uuid::try_parse(id).is_err()
}

/// Reads a request's id: a UUID in any case, not the nil one.
///
/// # Errors
/// Not such a UUID.
pub fn read_request_id(text: &str) -> Result<Uuid, Invalid> {
    Uuid::try_parse(text).ok().filter(|id| text.len() == 36 && !id.is_nil()).ok_or_else(|| {
        Invalid::new(
            "request_id",
            "required: a UUID of your choice, new for every new content and the same on a retry",
        )
    })
}

/// Reads an etag: the decimal text of a version; empty asks nothing.
///
/// # Errors
/// Not such a text.
pub fn read_etag(text: &str) -> Result<Option<u64>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse()
        .ok()
        .filter(|_| digits)
        .map(Some)
        .ok_or_else(|| Invalid::new("etag", "the decimal text of the version last seen, or empty"))
}

/// A UUID as this hub writes it: lower case, with hyphens.
pub(super) fn lower_uuid(text: &str) -> Option<Uuid> {
    let canonical = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
    Uuid::try_parse(text).ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f9c5a3e-5c1f-4a7b-9d53-2f6f0f3f8a11";

    fn slug(text: &str) -> OrgSlug {
        OrgSlug::parse(text).unwrap()
    }

    #[test]
    fn names_survive_both_ways() {
        let id = Uuid::try_parse(ID).unwrap();
        assert_eq!(read_indicator("name", &indicator(id)).unwrap(), id);
        assert_eq!(indicator(id), format!("indicators/{ID}"));
        assert_eq!(sighting(id, id), format!("indicators/{ID}/sightings/{ID}"));
        let org = slug("so-cntt");
        assert_eq!(read_organisation("owner", &organisation(&org)).unwrap(), org);
        assert_eq!(read_group("groups", &group(&org)).unwrap(), org);
        assert!(read_group("groups", "so-cntt").is_err() && read_group("groups", "groups/A").is_err());
        let read = read_subscription("name", &subscription(&org, "siem-1"), &slug("other")).unwrap();
        assert_eq!(read, (org, "siem-1".to_owned()));
    }

    #[test]
    fn an_indicator_has_one_spelling() {
        let upper = ID.to_uppercase();
        let simple = ID.replace('-', "");
        for name in [
            "",
            "indicators/",
            ID,
            &format!("indicators/{upper}"),
            &format!("indicators/{simple}"),
            &format!("indicators/{ID}/"),
            &format!("/indicators/{ID}"),
        ] {
            assert_eq!(read_indicator("name", name).unwrap_err().field, "name", "{name}");
        }
    }

    #[test]
    fn me_is_an_alias_on_input_only_where_it_is_said() {
        let own = slug("a");
        assert_eq!(read_organisation_or_me("name", "organisations/me", &own).unwrap(), own);
        assert!(read_organisation("owner", "organisations/me").is_err());
        assert_eq!(read_subscription("name", "organisations/me/subscriptions/x", &own).unwrap().0, own);
    }

    #[test]
    fn subscription_ids_keep_to_their_form() {
        let long = "a".repeat(63);
        for id in ["a", "a1", "siem-north-2", &long] {
            assert!(is_subscription_id(id), "{id}");
        }
        let longer = "a".repeat(64);
        for id in [
            "",
            "1a",
            "-a",
            "a-",
            "A",
            "a_b",
            "a/b",
            "ạ",
            &longer,
            "af9c5a3e-5c1f-4a7b-9d53-2f6f0f3f8a11",
            "af9c5a3e5c1f4a7b9d532f6f0f3f8a11",
        ] {
            assert!(!is_subscription_id(id), "{id}");
        }
    }

    #[test]
    fn request_ids_are_uuids_and_etags_are_decimal() {
        assert!(read_request_id(ID).is_ok());
        for text in ["", "1", "00000000-0000-0000-0000-000000000000", "0f9c5a3e5c1f4a7b9d532f6f0f3f8a11"] {
            assert_eq!(read_request_id(text).unwrap_err().field, "request_id", "{text}");
        }
        assert_eq!(read_etag("").unwrap(), None);
        assert_eq!(read_etag("17").unwrap(), Some(17));
        for text in ["x", "+1", "-1", "01", "0", "18446744073709551616"] {
            assert_eq!(read_etag(text).unwrap_err().field, "etag", "{text}");
        }
    }
}
