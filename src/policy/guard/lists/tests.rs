//! Promises of the lists: what each way of matching holds, and what it makes of
//! an item.

use proptest::prelude::*;

use super::*;
use crate::model::asset::Asset;
use crate::model::indicator::{Kind, normalise};
use crate::model::marking::{Marking, Tlp};
use crate::model::warninglist::Kinds;

fn list(slug: &str, matching: Matching, entries: &[&str]) -> Warninglist {
    Warninglist {
        slug: slug.to_owned(),
        name: format!("List {slug}"),
        version: 3,
        matching,
        kinds: Kinds::values(),
        entries: entries.iter().map(|&entry| entry.to_owned()).collect(),
    }
}

fn guard(matching: Matching, mode: Mode, entries: &[&str]) -> Guard {
    Guard::new(vec![(list("ours", matching, entries), mode)], |_| Mode::Inform)
}

fn value(text: &str) -> Observable {
    normalise::detect(text).unwrap().observable
}

fn slugs(guard: &Guard, value: &Observable) -> Vec<String> {
    let found = guard.judge_value(value, None, None, &Matcher::default());
    found.into_iter().flat_map(|found| found.lists).map(|list| list.slug).collect()
}

/// Whether a list of these entries holds each value.
fn holds(matching: Matching, entries: &[&str], values: &[(&str, bool)]) {
    let guard = guard(matching, Mode::Inform, entries);
    assert_eq!(guard.lists().last().unwrap().passed_over, 0, "{entries:?}");
    for (text, expected) in values {
        assert_eq!(slugs(&guard, &value(text)).contains(&"ours".to_owned()), *expected, "{text}");
    }
}

#[test]
fn each_way_of_matching_holds_what_misp_means_by_it() {
    let hash = "d41d8cd98f00b204e9800998ecf8427e";
    holds(
        Matching::Exact,
        &["Play.Example", ".under.example", "192.0.2.7", "D41D8CD98F00B204E9800998ECF8427E", "cốccốc.vn"],
        &[
            ("play.example", true),
            ("www.play.example", false),
            ("notplay.example", false),
            ("a.under.example", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("192.0.2.7:443", true),
            (hash, true),
            ("http://play.example/", true),
            ("play.example:8443", true),
            ("cốccốc.vn", true),
        ],
    );
    holds(
        Matching::Hostname,
        &["shared.example", "*.cdn.example.", "198.51.100.1"],
        &[
            ("shared.example", true),
            ("a.b.shared.example", true),
            ("unshared.example", false),
            ("x.cdn.example", true),
            ("someone@shared.example", true),
            ("http://a.shared.example/x", true),
            ("198.51.100.1", true),
        ],
    );
    holds(
        Matching::Network,
        &["198.51.100.0/24", "2001:DB8:1::/48", "::ffff:203.0.113.0/120", "192.0.2.1"],
        &[
            ("198.51.100.255", true),
            ("198.51.101.0", false),
            ("198.51.100.128/25", true),
            ("198.51.0.0/16", true),
            ("198.52.0.0/16", false),
            ("2001:db8:1::7", true),
            ("2001:db8:2::7", false),
            ("203.0.113.9", true),
            ("192.0.2.0/24", true),
            ("198.51.100.4:80", true),
        ],
    );
    holds(Matching::Substring, &["Sandbox"], &[("my.sandbox.example", true), ("my.sand.box.example", false)]);
    holds(
        Matching::Regex,
        &[r"/^(soc|abuse)\@.*\..*$/i", r"^\+8424\d{4}$"],
        &[("SOC@unit.example", true), ("boss@unit.example", false)],
    );
}

#[test]
fn a_list_speaks_of_its_kinds_only() {
    let only =
        Warninglist { kinds: Kinds::of(&[Kind::Email]), ..list("ours", Matching::Substring, &["shared"]) };
    let guard = Guard::new(vec![(only, Mode::Inform)], |_| Mode::Inform);
    assert_eq!(slugs(&guard, &value("a@shared.example")), ["ours"]);
    assert_eq!(slugs(&guard, &value("shared.example")), Vec::<String>::new());
    let none = Warninglist { kinds: Kinds::NONE, ..list("ours", Matching::Exact, &["shared.example"]) };
    let guard = Guard::new(vec![(none, Mode::Block)], |_| Mode::Inform);
    assert_eq!(guard.lists().last().map(|list| (list.entries, list.passed_over)), Some((0, 1)));
}

#[test]
fn entries_that_say_nothing_are_counted_and_do_no_harm() {
    let long = "x".repeat(2_000);
    for (matching, entries) in [
        (Matching::Network, vec!["", "10.0.0.0/40", "name.example"]),
        (Matching::Hostname, vec!["a b", "", "/path"]),
        (Matching::Substring, vec!["", "ab", &long]),
        (Matching::Regex, vec!["(?=look)ahead", "(((", "\\w{5000}{5000}"]),
        (Matching::Exact, vec!["", "  ", &long]),
    ] {
        let guard = guard(matching, Mode::Block, &entries);
        let listed = guard.lists().last().unwrap().clone();
        assert_eq!((listed.entries, listed.passed_over), (0, entries.len()), "{matching:?}");
        assert_eq!(slugs(&guard, &value("anything.example")), Vec::<String>::new());
    }
}

fn draft(text: &str, action: Option<RecommendedAction>, role: Option<Role>) -> Draft {
    Draft { action, role, ..Draft::new(value(text), Marking::open(Tlp::Green)) }
}

#[test]
fn a_block_is_held_or_refused_and_all_else_is_told() {
    use RecommendedAction::{Block, Hunt, Isolate, Monitor};
    let judged = |mode, action, role| {
        let guard = guard(Matching::Hostname, mode, &["shared.example"]);
        guard.judge(&draft("a.shared.example", action, role), &Matcher::default()).map(|found| found.outcome)
    };
    for action in [Block, Isolate] {
        assert_eq!(judged(Mode::Inform, Some(action), None), Some(Outcome::Informed));
        assert_eq!(judged(Mode::Hold, Some(action), None), Some(Outcome::Held));
        assert_eq!(judged(Mode::Block, Some(action), None), Some(Outcome::Refused));
    }
    for action in [None, Some(Monitor), Some(Hunt)] {
        assert_eq!(judged(Mode::Hold, action, None), Some(Outcome::Informed), "{action:?}");
        assert_eq!(judged(Mode::Block, action, None), Some(Outcome::Refused), "{action:?}");
    }
    let victim = judged(Mode::Block, Some(Monitor), Some(Role::Victim));
    assert_eq!(victim, Some(Outcome::Informed), "of those who were attacked others are to hear");
}

#[test]
fn a_page_on_a_shared_host_is_not_the_host() {
    let guard = guard(Matching::Hostname, Mode::Hold, &["shared.example"]);
    let block = |text| {
        guard
            .judge(&draft(text, Some(RecommendedAction::Block), None), &Matcher::default())
            .map(|f| f.outcome)
    };
    assert_eq!(block("https://shared.example/login?x=1"), Some(Outcome::Informed));
    assert_eq!(block("https://shared.example/"), Some(Outcome::Held));
    assert_eq!(block("shared.example"), Some(Outcome::Held));
}

#[test]
fn what_no_list_has_to_say_is_protected() {
    let guard = Guard::default();
    for (text, expected) in [
        ("gov.vn", &["government-names", "public-suffixes"][..]),
        ("mod.gov.kh", &["government-names"]),
        ("x.mfaic.gov.kh", &["government-names"]),
        ("nasa.gov", &["government-names"]),
        ("com.vn", &["public-suffixes"]),
        ("ngrok.io", &["public-suffixes"]),
        ("evil.ngrok.io", &[]),
        ("moge.go.kr", &["government-names"]),
        ("portal.service.gov.uk", &["government-names"]),
        ("go.de", &[]),
        ("gov.de", &[]),
        ("danviet.vn", &[]),
        ("gov.evil.example", &[]),
        ("10.1.2.3", &["reserved-networks"]),
        ("0.0.0.0/4", &["reserved-networks"]),
        ("fe80::1", &["reserved-networks"]),
        ("198.51.100.0/24", &[]),
        ("http://192.168.1.1/", &["reserved-networks"]),
    ] {
        let found = guard.judge(&draft(text, Some(RecommendedAction::Block), None), &Matcher::default());
        let outcome = (!expected.is_empty()).then_some(Outcome::Held);
        assert_eq!(found.as_ref().map(|found| found.outcome), outcome, "{text}");
        let named: Vec<_> = found.into_iter().flat_map(|found| found.lists).map(|list| list.slug).collect();
        assert_eq!(named, expected, "{text}");
    }
}

#[test]
fn every_hash_of_a_file_is_looked_for() {
    let guard = guard(Matching::Exact, Mode::Block, &["d41d8cd98f00b204e9800998ecf8427e"]);
    let sha1 = value("da39a3ee5e6b4b0d3255bfef95601890afd80709");
    let file = Draft {
        aliases: vec![value("d41d8cd98f00b204e9800998ecf8427e")],
        ..Draft::new(sha1, Marking::open(Tlp::Green))
    };
    assert_eq!(guard.judge(&file, &Matcher::default()).map(|found| found.outcome), Some(Outcome::Refused));
}

#[test]
fn what_members_call_their_own_is_held_and_a_page_or_an_address_of_theirs_is_told() {
    let own = ["danviet.example", "203.0.113.0/24", "AS64500"].map(|text| Asset::parse(text).unwrap());
    let members = Matcher::new(&own);
    let guard = Guard::new(Vec::new(), |_| Mode::Hold);
    for (text, outcome) in [
        ("danviet.example", Some(Outcome::Held)),
        ("www.danviet.example", Some(Outcome::Held)),
        ("http://www.danviet.example/", Some(Outcome::Held)),
        ("203.0.113.9", Some(Outcome::Held)),
        ("203.0.112.0/22", Some(Outcome::Held)),
        ("http://danviet.example/broken/into", Some(Outcome::Informed)),
        ("boss@danviet.example", Some(Outcome::Informed)),
        ("notdanviet.example", None),
        ("198.51.100.9", None),
    ] {
        let found = guard.judge(&draft(text, Some(RecommendedAction::Block), None), &members);
        let told = found.map(|found| (found.outcome, found.lists[0].slug.clone()));
        assert_eq!(told, outcome.map(|outcome| (outcome, "members-own".to_owned())), "{text}");
        let others = guard.judge(&draft(text, Some(RecommendedAction::Block), None), &Matcher::default());
        let reserved = text.starts_with("203.") || text.starts_with("198.");
        assert!(others.is_none() || reserved, "{text}");
    }
}

#[test]
fn the_lists_whose_word_it_is_are_named_and_not_too_many() {
    let lists = (0..20).map(|n| {
        let mode = if n == 13 { Mode::Hold } else { Mode::Inform };
        (list(&format!("list-{n:02}"), Matching::Exact, &["a.example"]), mode)
    });
    let guard = Guard::new(lists.collect(), |_| Mode::Inform);
    let found =
        guard.judge(&draft("a.example", Some(RecommendedAction::Block), None), &Matcher::default()).unwrap();
    let only = ListName { slug: "list-13".to_owned(), name: "List list-13".to_owned(), version: 3 };
    assert_eq!((found.outcome, found.lists), (Outcome::Held, vec![only]));
    let found = guard.judge(&draft("a.example", None, None), &Matcher::default()).unwrap();
    assert_eq!((found.outcome, found.lists.len()), (Outcome::Informed, MAX_NAMED));
}

#[test]
fn another_generation_is_other_lists_or_other_modes() {
    let of = |entries: &[&str], mode| guard(Matching::Exact, mode, entries).generation();
    let one = of(&["a.example"], Mode::Hold);
    assert_eq!(one, of(&["a.example"], Mode::Hold));
    assert_ne!(one, of(&["b.example"], Mode::Hold));
    assert_ne!(one, of(&["a.example"], Mode::Inform));
    assert_ne!(Guard::default().generation(), Guard::new(Vec::new(), |_| Mode::Inform).generation());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn networks_are_found_as_by_looking_at_each(
        nets in proptest::collection::vec((0_u32..64, 20_u8..=32), 1..20),
        asked in (0_u32..64, 20_u8..=32),
    ) {
        let net = |(host, length): (u32, u8)| {
            let ip = std::net::Ipv4Addr::from(0xc633_6400_u32.wrapping_add(host.wrapping_mul(37)));
            ipnet::IpNet::from(ipnet::Ipv4Net::new(ip, length).unwrap().trunc())
        };
        let all: Vec<_> = nets.into_iter().map(net).collect();
        let lists = all.iter().enumerate().map(|(n, net)| {
            (list(&format!("l{n}"), Matching::Network, &[&net.to_string()]), Mode::Inform)
        });
        let guard = Guard::new(lists.collect(), |_| Mode::Inform);
        let asked = net(asked);
        let mut hits = Hits::default();
        let value = normalise::observable(Kind::Cidr, &asked.to_string()).unwrap().observable;
        guard.look(&value, &Matcher::default(), &mut hits);
        let mut found: Vec<_> = hits.0.iter().map(|(list, _)| usize::from(*list) - BuiltIn::ALL.len()).collect();
        found.sort_unstable();
        let expected: Vec<_> = (0..all.len()).filter(|n| all[*n].contains(&asked) || asked.contains(&all[*n])).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_entry_and_no_value_make_the_guard_panic(entry in ".{0,40}", text in "\\PC{1,60}") {
        for matching in Matching::ALL {
            let guard = guard(*matching, Mode::Hold, &[&entry]);
            if let Ok(read) = normalise::detect(&text) {
                let _ = guard.judge_value(&read.observable, Some(RecommendedAction::Block), None, &Matcher::default());
            }
        }
    }
}
