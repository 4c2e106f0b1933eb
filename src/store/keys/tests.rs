//! What keys promise: order, and that none is two.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn key_order_is_position_order(a: u64, b: u64) {
        let (pa, pb) = (Position::from_raw(a), Position::from_raw(b));
        prop_assert_eq!(log(pa).cmp(&log(pb)), a.cmp(&b));
        prop_assert_eq!(number_of(&log(pa)), Some(a));
        prop_assert_eq!(posting_term(&posting(Dimension::Expiry, a, pb)), Some(a));
        prop_assert_eq!(
            posting(Dimension::Kind, 5, pa).cmp(&posting(Dimension::Kind, 5, pb)),
            a.cmp(&b)
        );
    }

    #[test]
    fn the_key_of_a_sighting_tells_it_and_sorts_by_indicator_reporter_and_position(
        a: (u64, u32, u64), b: (u64, u32, u64)
    ) {
        let key = |(of, by, at): (u64, u32, u64)| sighting(Position::from_raw(of), OrgNo(by), Position::from_raw(at));
        prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        prop_assert_eq!(
            read_sighting(&key(a)),
            Some((Position::from_raw(a.0), OrgNo(a.1), Position::from_raw(a.2)))
        );
        prop_assert!(key(a).starts_with(&sightings(Position::from_raw(a.0))));
        prop_assert_eq!(read_sighting(&key(a)[..20]), None);
    }

    #[test]
    fn address_keys_sort_as_addresses(a: u32, b: u32) {
        let key = |n: u32| value(&Observable::Ipv4(Ipv4Addr::from(n)));
        prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
    }

    #[test]
    fn the_key_of_a_network_tells_it(v4: u32, v6: u128, short in 0..32_u8, long in 0..128_u8) {
        for (ip, length) in [(IpAddr::from(v4.to_be_bytes()), short), (IpAddr::from(v6.to_be_bytes()), long)] {
            let net = IpNet::new(ip, length).unwrap().trunc();
            prop_assert_eq!(network_of(&value(&Observable::Cidr(net))), Some(net));
        }
        prop_assert_eq!(network_of(&value(&Observable::Ipv4(Ipv4Addr::from(v4)))), None);
    }

    #[test]
    fn unequal_values_have_unequal_keys(a in "[a-z]{1,90}", b in "[a-z]{1,90}") {
        let key = |text: &str| value(&Observable::Url(text.into()));
        prop_assert_eq!(key(&a) == key(&b), a == b);
    }
}

#[test]
fn key_kinds_keep_their_bytes() {
    let bytes: Vec<u8> = [
        KeyKind::Meta,
        KeyKind::Log,
        KeyKind::Value,
        KeyKind::Latest,
        KeyKind::Posting,
        KeyKind::Counter,
        KeyKind::TermName,
        KeyKind::Sighting,
        KeyKind::Usage,
        KeyKind::Request,
        KeyKind::Directory,
        KeyKind::Certificate,
        KeyKind::Leave,
        KeyKind::Held,
        KeyKind::Containment,
        KeyKind::Asset,
        KeyKind::Record,
        KeyKind::Audit,
        KeyKind::Tile,
        KeyKind::Cursor,
        KeyKind::Receipt,
    ]
    .map(KeyKind::byte)
    .to_vec();
    assert_eq!(
        bytes,
        [
            0x01, 0x10, 0x20, 0x21, 0x30, 0x31, 0x32, 0x33, 0x34, 0x40, 0x50, 0x51, 0x52, 0x54, 0x55, 0x56,
            0x60, 0x70, 0x71, 0x80, 0x81
        ]
    );
}

#[test]
fn a_retired_dimension_leaves_its_number_to_nobody() {
    let numbers = Dimension::ALL.map(|dimension| dimension as u8);
    assert!(RETIRED_DIMENSIONS.iter().all(|retired| !numbers.contains(retired)));
    let distinct: std::collections::BTreeSet<_> = numbers.iter().collect();
    assert_eq!(distinct.len(), Dimension::ALL.len());
    let key = |dimension| [&[KeyKind::Posting.byte(), dimension][..], &[0; 16]].concat();
    for retired in RETIRED_DIMENSIONS {
        assert!(is_retired(&key(retired)) && posting_dimension(&key(retired)).is_none());
    }
    assert!(numbers.iter().all(|number| !is_retired(&key(*number))));
}

#[test]
fn kinds_and_spellings_of_an_endpoint_never_share_a_key() {
    let of = |kind, text: &str| value(&Observable::from_canonical(kind, text).unwrap());
    let text = "e7d705a3286e19ea42f587b344ee6865";
    let keys = [
        of(Kind::Md5, text),
        of(Kind::Imphash, text),
        of(Kind::Ja3, text),
        of(Kind::Mutex, text),
        of(Kind::Endpoint, "192.0.2.1:80"),
        of(Kind::Endpoint, "[2001:db8::1]:80"),
        of(Kind::Endpoint, "a.example:80"),
        of(Kind::Domain, "a.example"),
    ];
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn what_is_said_of_the_attack_has_terms_of_its_own() {
    let labels = ["victim", "a"].map(str::to_owned);
    let techniques = ["T1059", "T1566.001", "T1566.002"].map(str::to_owned);
    let all = terms(&labels, 1, "a", "A", &techniques);
    assert_eq!(
        all,
        [
            vec![label_term("victim"), label_term("a"), role_term(1), family_term("A"), campaign_term("a")],
            ["T1059", "T1566", "T1566.001", "T1566.002"].map(technique_term).to_vec()
        ]
        .concat()
    );
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 9);
    assert!(terms(&[], 0, "", "", &[]).is_empty());
}

#[test]
fn a_value_of_65_bytes_stands_as_its_digest() {
    assert_eq!(value(&Observable::Url("u".repeat(64).into())).len(), 3 + 64);
    assert_eq!(value(&Observable::Url("u".repeat(65).into())).len(), 3 + 32);
}

#[test]
fn a_time_has_a_term_that_rises_and_tells_the_whole_hour() {
    let at = |micros| seen_term(Some(Timestamp::from_micros_clamped(micros)));
    const HOUR: u64 = 3_600_000_000;
    assert_eq!(seen_term(None), NOT_SEEN);
    assert_eq!([0, 1, HOUR - 1, HOUR, HOUR + 1, 2 * HOUR].map(at), [1, 1, 1, 2, 3, 4]);
    assert_eq!([Some(0), Some(100), None].map(confidence_term), [0, 100, NO_CONFIDENCE]);
}

#[test]
fn a_host_is_found_by_its_last_three_labels_and_by_what_lies_above() {
    let all = |name| host_terms(name).collect::<Vec<_>>();
    assert_eq!(all("a.b.example.com"), ["com", "example.com", "b.example.com"].map(host_term));
    assert_eq!(all("evil.vn"), ["vn", "evil.vn"].map(host_term));
    assert_eq!(all("vn"), [host_term("vn")]);
    assert_eq!(host_term("a.b.example.com"), host_term("b.example.com"));
    assert_ne!(host_term("a.example.com"), host_term("example.com"));
}

#[test]
fn words_with_a_prefix_are_a_range_of_terms() {
    for (prefix, within, without) in [
        ("", vec!["a", "điện"], vec![]),
        ("phi", vec!["phi", "phishing", "phi2"], vec!["phj", "ph", "qhi"]),
        ("phishing", vec!["phishing", "phishings"], vec!["phishinh", "phishin"]),
        ("phishingkit", vec!["phishing", "phishingkit"], vec!["phishin"]),
    ] {
        let range = text_terms(prefix);
        assert!(within.iter().all(|word| range.contains(&text_term(word))), "{prefix}");
        assert!(!without.iter().any(|word| range.contains(&text_term(word))), "{prefix}");
    }
    assert_eq!(text_terms("lazarus1"), text_term("lazarus1")..=text_term("lazarus1"));
}

#[test]
fn terms_that_are_made_here_keep_their_numbers() {
    let pairs = [("lua", "dao"), ("dao", "lua"), ("phishing", "kits")];
    assert_eq!(pairs.map(|(left, right)| pair_term(left, right)), [1_398, 514, 269]);
    // Of 16,384 entries.
    let born = |epoch, counter| born_term(crate::model::position::Seq::new(epoch, counter).at(9));
    assert_eq!([born(0, 0), born(0, 16_383), born(0, 16_384), born(0, 40_000)], [0, 0, 1, 2]);
    assert!(born(1, 0) > born(0, 1 << 39));
}
