//! Decides when a change of assets is complete and within its bounds, and how a
//! list is told.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::model::Invalid;
use crate::model::asset::{Asset, AssetChange, MAX_ASSETS};
use crate::model::org::OrgSlug;
use crate::wire::proto::v1;

use super::{name, text, time};

/// Longest etag, in bytes.
const MAX_ETAG_BYTES: usize = 64;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What names the request.
    pub id: Uuid,
    /// What is changed.
    pub change: AssetChange,
    /// The list that must stand.
    pub etag: Option<String>,
}

/// Reads a change.
///
/// # Errors
/// The first field that is missing or out of bounds.
pub fn read_change(pb: v1::ChangeAssetsRequest) -> Result<Request, Invalid> {
    let v1::ChangeAssetsRequest { request_id, add, remove, etag } = pb;
    let id = name::read_request_id(&request_id)?;
    let add = read_all("add", &add, Asset::parse)?;
    // What was registered by other bounds than today's is taken off all the same.
    let remove = read_all("remove", &remove, Asset::parse_by_any_bounds)?;
    let add: BTreeSet<_> = add.into_iter().collect();
    if let Some(both) = remove.iter().position(|asset| add.contains(asset)) {
        return Err(Invalid::new(format!("remove[{both}]"), "is added by the same request; decide for one"));
    }
    let etag = Some(text::bounded("etag", etag, MAX_ETAG_BYTES)?).filter(|etag| !etag.is_empty());
    Ok(Request { id, change: AssetChange { add, remove: remove.into_iter().collect() }, etag })
}

fn read_all(
    field: &str,
    texts: &[String],
    parse: fn(&str) -> Result<Asset, Invalid>,
) -> Result<Vec<Asset>, Invalid> {
    if texts.len() > MAX_ASSETS {
        return Err(Invalid::new(field, format!("at most {MAX_ASSETS}; these are {}", texts.len())));
    }
    let read = |(place, text): (usize, &String)| {
        parse(text).map_err(|invalid| invalid.under(format_args!("{field}[{place}]")))
    };
    texts.iter().enumerate().map(read).collect()
}

/// Writes an asset; `from` is whose it was, of one that is inherited.
#[must_use]
pub fn write(asset: &Asset, from: Option<&OrgSlug>) -> v1::Asset {
    v1::Asset { value: asset.to_string(), inherited_from: from.map(name::organisation).unwrap_or_default() }
}

/// Writes a list.
#[must_use]
pub fn write_list(assets: Vec<v1::Asset>, etag: String, changed: Option<Timestamp>) -> v1::Assets {
    v1::Assets { assets, etag, update_time: changed.map(time::write) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(add: &[&str], remove: &[&str]) -> v1::ChangeAssetsRequest {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        v1::ChangeAssetsRequest {
            request_id: "0f9c5a3e-5c1f-4a7b-9d53-2f6f0f3f8a11".into(),
            add: texts(add),
            remove: texts(remove),
            etag: String::new(),
        }
    }

    #[test]
    fn assets_reach_the_hub_in_their_canonical_forms_each_once() {
        let asked = request(&["198.51.100.9/24", "198[.]51[.]100.0/24", "Example.VN"], &["as64500"]);
        let Request { change, etag, .. } = read_change(asked).unwrap();
        let told = |assets: &BTreeSet<Asset>| assets.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told(&change.add), ["198.51.100.0/24", "example.vn"]);
        assert_eq!((told(&change.remove), etag), (vec!["AS64500".to_owned()], None));
    }

    #[test]
    fn a_refusal_names_the_field_and_the_place() {
        let field = |pb| read_change(pb).unwrap_err().field;
        assert_eq!(field(request(&["a.example", "0.0.0.0/0"], &[])), "add[1]");
        assert_eq!(field(request(&["gov.vn"], &[])), "add[0]");
        assert!(read_change(request(&[], &["gov.vn"])).is_ok(), "it may be there since it was no suffix");
        assert_eq!(field(request(&[], &["a.example", "not one"])), "remove[1]");
        assert_eq!(field(request(&["a.example"], &["AS1", "A.example"])), "remove[1]");
        assert_eq!(
            field(v1::ChangeAssetsRequest { request_id: "1".into(), ..request(&[], &[]) }),
            "request_id"
        );
        let long = v1::ChangeAssetsRequest { etag: "x".repeat(65), ..request(&[], &[]) };
        assert_eq!(field(long), "etag");
        let many = v1::ChangeAssetsRequest { add: vec!["a.example".into(); 4_097], ..request(&[], &[]) };
        assert_eq!(field(many), "add");
    }
}
