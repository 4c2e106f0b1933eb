//! Decides who takes part: a hundred organisations of the kinds of a city and
//! its ministries, each with a system that publishes, and one with an analyst.

use luytre::model::principal::Role;
use serde_json::json;

use super::harness::{Builder, TestHub};

/// Those that publish.
pub const ORGANISATIONS: usize = 100;
/// The one that asks; it publishes nothing.
pub const ANALYST: &str = "analysis";
/// Who asks there.
pub const USER: &str = "user/an";
/// Who publishes for an organisation.
pub const FEED: &str = "system/feed";

/// Kinds, and how many there are of each.
const KINDS: [(&str, usize); 13] = [
    ("lead-department", 1),
    ("national-center", 4),
    ("police", 4),
    ("city-unit", 26),
    ("ministry-unit", 6),
    ("district", 30),
    ("ministry", 6),
    ("service-provider", 4),
    ("ward", 8),
    ("central-vertical", 5),
    ("central-agency", 3),
    ("military-unit", 2),
    ("city-government", 1),
];

/// The kind of the `place`th organisation.
pub fn kind(place: usize) -> &'static str {
    let kinds = KINDS.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
    // The busiest ones are of many kinds.
    kinds.clone().nth((place * 37) % ORGANISATIONS).unwrap_or("ward")
}

/// The slug of the `place`th organisation.
pub fn slug(place: usize) -> String {
    format!("{}-{place}", kind(place))
}

/// The resource name of an organisation.
pub fn name(slug: &str) -> String {
    format!("organisations/{slug}")
}

/// A hub with all of them.
pub fn builder() -> Builder {
    let organisations: Vec<_> = (0..ORGANISATIONS)
        .map(|place| {
            let slug = slug(place);
            json!({ "slug": slug, "name_vi": slug, "name_en": slug, "kind": kind(place) })
        })
        .collect();
    let mut builder = TestHub::builder().of_file(json!({ "organisations": organisations }));
    for place in 0..ORGANISATIONS {
        builder = builder.principal(&slug(place), FEED, &[Role::Publisher, Role::Subscriber]);
    }
    builder
        .principal(ANALYST, USER, &[Role::Analyst, Role::Subscriber])
        .config("[log]\nfilter = \"warn\"\n[limits]\nblock_cache_bytes = \"256MiB\"")
}
