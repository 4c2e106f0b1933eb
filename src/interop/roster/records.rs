//! Decides the fields of a roster file, record by record.

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default, rename = "title")]
    _title: Option<Value>,
    #[serde(default, rename = "meta")]
    _meta: Option<Value>,
    #[serde(default, rename = "etag")]
    _etag: Option<Value>,
    pub(super) organisations: Vec<Record>,
    #[serde(default, alias = "role_assignments")]
    pub(super) duties: Vec<Record>,
    #[serde(default)]
    pub(super) principals: Vec<Record>,
    #[serde(default)]
    pub(super) groups: Vec<Record>,
    #[serde(default)]
    pub(super) relations: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrganisationRecord {
    pub(super) slug: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) names: Vec<NameRecord>,
    pub(super) name_vi: Option<String>,
    pub(super) name_en: Option<String>,
    pub(super) short_vi: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) valid_from: Option<String>,
    pub(super) valid_to: Option<String>,
    #[serde(default)]
    pub(super) predecessors: Vec<String>,
    #[serde(default)]
    pub(super) successors: Vec<String>,
    #[serde(default)]
    pub(super) lifecycle: Vec<StepRecord>,
    #[serde(default)]
    pub(super) protected: Vec<String>,
    #[serde(default, rename = "note")]
    _note: Option<Value>,
    #[serde(default, rename = "gso_code")]
    _gso_code: Option<Value>,
    #[serde(default, rename = "verified")]
    _verified: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NameRecord {
    pub(super) vi: String,
    #[serde(default)]
    pub(super) en: String,
    #[serde(default)]
    pub(super) short: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepRecord {
    pub(super) what: String,
    pub(super) on: String,
    pub(super) legal_basis: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DutyRecord {
    #[serde(alias = "role")]
    pub(super) duty: String,
    pub(super) scope: String,
    #[serde(alias = "org")]
    pub(super) holder: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    #[serde(alias = "basis")]
    pub(super) legal_basis: String,
    #[serde(default, rename = "note")]
    _note: Option<Value>,
    #[serde(default, rename = "from_precision")]
    _from_precision: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrincipalRecord {
    pub(super) id: String,
    pub(super) roles: Vec<String>,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    #[serde(default, rename = "note")]
    _note: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupRecord {
    pub(super) slug: String,
    pub(super) vi: String,
    #[serde(default)]
    pub(super) en: String,
    pub(super) members: Vec<MemberRecord>,
    #[serde(default, rename = "note")]
    _note: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberRecord {
    pub(super) organisation: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RelationRecord {
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) object: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) legal_basis: String,
    #[serde(default, rename = "note")]
    _note: Option<Value>,
}

/// An object not yet read, so that one bad record does not hide the others.
/// A field that stands twice is refused here: the last one would win unseen.
pub(super) struct Record(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Record;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Record, A::Error> {
                let mut fields = Map::new();
                while let Some((key, value)) = access.next_entry::<String, Value>()? {
                    if fields.contains_key(&key) {
                        return Err(de::Error::custom(format_args!("the field `{key}` stands twice")));
                    }
                    fields.insert(key, value);
                }
                Ok(Record(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
