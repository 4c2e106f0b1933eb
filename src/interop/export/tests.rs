//! What every format holds, and what it leaves out.

use super::*;
use crate::model::indicator::State;
use crate::model::indicator::shown::Told;

const VALUES: [(Kind, &str); 12] = [
    (Kind::Domain, "evil.example"),
    (Kind::Domain, "xn--k-zma.example"),
    (Kind::Domain, "bad_name.example"),
    (Kind::Domain, "a b.example"),
    (Kind::Domain, "evil.rpz-ip"),
    (Kind::Ipv4, "198.51.100.7"),
    (Kind::Ipv6, "2001:db8::7"),
    (Kind::Cidr, "198.51.100.0/24"),
    (Kind::Url, "http://evil.example/x"),
    (Kind::Sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (Kind::Mutex, "0.0.0.0 good.example"),
    (Kind::Yara, "rule a { condition: true }"),
];

fn written(format: Format) -> (String, Vec<Omission>) {
    let Writer::List(mut list) = Writer::of(format, &[]) else { panic!("{format:?} is a list") };
    let mut out = Vec::new();
    list.head(Head { tlp: Some(Tlp::Green), serial: 1_785_000_000 }, &mut out);
    let left = VALUES.iter().filter_map(|&(kind, text)| {
        let before = out.len();
        let refused = list.value(&Observable::from_canonical(kind, text).unwrap(), &mut out).err();
        assert_eq!(refused.is_some(), out.len() == before, "{text}");
        refused
    });
    let left = left.collect();
    (String::from_utf8(out).unwrap(), left)
}

#[test]
fn a_plain_list_holds_values_and_nothing_else() {
    let (text, left) = written(Format::Plain);
    let expected: Vec<_> = VALUES.iter().take(10).map(|(_, text)| *text).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    assert_eq!(left, [Omission::Kind, Omission::Kind]);
}

#[test]
fn a_hosts_file_holds_domains_that_read_as_nothing_else() {
    let (text, left) = written(Format::Hosts);
    assert_eq!(
        text,
        "# Luy Tre: domains to block. TLP:GREEN\n0.0.0.0 evil.example\n0.0.0.0 xn--k-zma.example\n\
         0.0.0.0 bad_name.example\n0.0.0.0 evil.rpz-ip\n"
    );
    assert_eq!(left.iter().filter(|why| **why == Omission::Spelling).count(), 1);
    assert_eq!(left.iter().filter(|why| **why == Omission::Kind).count(), 7);
}

#[test]
fn a_response_policy_zone_holds_names_addresses_and_networks() {
    let (text, left) = written(Format::Rpz);
    assert_eq!(
        text,
        "; Luy Tre: policies for what is to be blocked. TLP:GREEN\n$TTL 300\n\
         @ IN SOA localhost. nobody.invalid. (\n  1785000000 ; serial\n  3600 ; refresh\n  600 ; retry\n  \
         1209600 ; expire\n  300 ) ; minimum\n@ IN NS localhost.\n\
         evil.example CNAME .\n*.evil.example CNAME .\nxn--k-zma.example CNAME .\n*.xn--k-zma.example CNAME .\n\
         bad_name.example CNAME .\n*.bad_name.example CNAME .\n32.7.100.51.198.rpz-ip CNAME .\n\
         128.7.zz.db8.2001.rpz-ip CNAME .\n24.0.100.51.198.rpz-ip CNAME .\n"
    );
    assert_eq!(left.iter().filter(|why| **why == Omission::Spelling).count(), 2);
}

#[test]
fn suricata_has_three_rules_for_a_domain_and_one_for_an_address() {
    let (text, left) = written(Format::Suricata);
    let count = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!(
        [count("alert dns"), count("alert tls"), count("alert http"), count("alert ip")],
        [4, 4, 4, 3]
    );
    assert!(text.starts_with("# Luy Tre: rules for what is to be blocked. TLP:GREEN\n"), "{text}");
    assert!(!text.contains("a b.example"));
    assert_eq!(left.len(), 5);
    let (text, left) = written(Format::Iprep);
    assert_eq!(
        text,
        "# Luy Tre: addresses and networks to block. TLP:GREEN\n198.51.100.7,1,127\n2001:db8::7,1,127\n\
         198.51.100.0/24,1,127\n"
    );
    assert_eq!(left.len(), 9);
}

#[test]
fn a_table_tells_all_that_is_shown() {
    let shown = || Shown {
        name: "indicators/x".into(),
        kind: Some(Kind::Domain),
        value: "evil.example".into(),
        tlp: Some(Tlp::Amber),
        organisations: vec!["a".into(), "b".into()],
        description: "=1+1".into(),
        state: Told::Known(State::Active),
        version: 7,
        ..Shown::default()
    };
    let tell = |format| {
        let Writer::Table(mut table) = Writer::of(format, &[]) else { panic!("{format:?} is a table") };
        let mut out = Vec::new();
        table.row(shown(), &mut out);
        (String::from_utf8(out).unwrap(), table.defused)
    };
    let json = r#"{"name":"indicators/x","value":"evil.example","kind":"domain","tlp":"TLP:AMBER","to":["a","b"],"description":"=1+1","state":"active","version":7}"#;
    assert_eq!(tell(Format::JsonLines), (format!("{json}\n"), 0));
    let csv = "indicators/x,domain,evil.example,TLP:AMBER,active,,,,,,,,,'=1+1,,,,,,7,,,,,,a b,,,,,,,,\r\n";
    assert_eq!(tell(Format::Csv), (csv.to_owned(), 1));
}
