//! Decides nothing: the tests of [`super`].

use std::path::Path;

use serde_json::json;
use time::macros::date;

use super::*;
use crate::model::org::Standing;

fn problems(roster: &Value) -> Vec<String> {
    parse(roster.to_string().as_bytes())
        .expect_err("the roster is refused")
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn org(slug: &str) -> Value {
    json!({ "slug": slug, "kind": "department", "names": [{ "vi": "Sở" }] })
}

fn with(mut record: Value, field: &str, value: Value) -> Value {
    record[field] = value;
    record
}

#[test]
fn a_sound_roster_is_read_whole() {
    let roster = parse(
        json!({
            "organisations": [
                with(org("so-cu"), "successors", json!(["so-moi"])),
                with(org("so-moi"), "predecessors", json!(["so-cu"])),
            ],
            "duties": [{ "duty": "lead_unit", "scope": "vn", "holder": "so-moi", "from": "2025-03-01", "legal_basis": "QĐ 1" }],
            "principals": [{ "id": "spiffe://a.example/org/so-moi/system/soc", "roles": ["publisher", "analyst"] }],
        })
        .to_string()
        .as_bytes(),
    )
    .expect("the roster is sound");
    let id = SpiffeId::parse("spiffe://a.example/org/so-moi/system/soc").expect("an identity");
    assert_eq!(roster.organisations.len(), 2);
    assert_eq!(roster.duties[0].duty, "lead-unit");
    assert_eq!(roster.duties[0].from, Some(date!(2025 - 03 - 01)));
    assert_eq!(
        roster.roles(&id, date!(2026 - 01 - 01)),
        Roles::NONE.with(Role::Publisher).with(Role::Analyst)
    );
}

#[test]
fn every_problem_is_reported_at_once_with_its_path() {
    let found = problems(&json!({
        "organisations": [
            org("Sở"),
            with(org("a"), "parent", json!("nobody")),
            with(with(org("b"), "valid_from", json!("2025-03-01")), "valid_to", json!("2025-03-01")),
            with(org("c"), "valid_from", json!("01/03/2025")),
            with(org("d"), "colour", json!("red")),
            org("a"),
        ],
        "principals": [
            { "id": "spiffe://a.example/org/a/robot/x", "roles": ["publisher"] },
            { "id": "spiffe://a.example/org/z/system/x", "roles": ["king"] },
        ],
    }));
    let starts = [
        "organisations[0].slug: ",
        "organisations[2].valid_to: ",
        "organisations[3].valid_from: ",
        "organisations[4]: unknown field `colour`",
        "principals[0].id: ",
        "principals[1].roles[0]: no such role",
        "organisations[5].slug: stands already at organisations[1]",
        "organisations[1].parent: ",
        "principals[1].id: no organisation has the slug z",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found} starts with {start}");
    }
}

#[test]
fn a_succession_is_named_from_both_ends() {
    let found = problems(&json!({
        "organisations": [with(org("a"), "successors", json!(["b"])), org("b"), with(org("c"), "predecessors", json!(["c"]))],
    }));
    assert_eq!(
        found,
        [
            "organisations[0].successors[0]: b does not name a among its predecessors",
            "organisations[2].predecessors[0]: a body does not follow itself",
        ]
    );
}

#[test]
fn superiors_that_go_round_in_a_circle_are_refused() {
    let found = problems(&json!({
        "organisations": [
            with(org("a"), "parent", json!("b")),
            with(org("b"), "parent", json!("a")),
            with(org("c"), "parent", json!("a")),
        ],
    }));
    assert_eq!(
        found,
        [
            "organisations[0].parent: the superior bodies go round in a circle",
            "organisations[1].parent: the superior bodies go round in a circle",
        ]
    );
}

#[test]
fn names_follow_one_another_without_overlap() {
    let names = json!([{ "vi": "Cũ", "to": "2019-11-01" }, { "vi": "Mới", "from": "2019-10-01" }]);
    let found = problems(&json!({ "organisations": [with(org("a"), "names", names)] }));
    assert_eq!(
        found,
        ["organisations[0].names[1].from: names follow one another, oldest first, without overlap"]
    );
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    let text = br#"{"organisations":[{"slug":"a","slug":"b","kind":"x","names":[{"vi":"A"}]}]}"#;
    let found = parse(text).expect_err("one of the two would win unseen");
    assert!(found[0].problem.contains("the field `slug` stands twice"), "{found:?}");
}

#[test]
fn principals_are_of_one_trust_domain() {
    let found = problems(&json!({
        "organisations": [org("a")],
        "principals": [
            { "id": "spiffe://a.example/org/a/system/x", "roles": ["publisher"] },
            { "id": "spiffe://b.example/org/a/system/x", "roles": ["publisher"] },
        ],
    }));
    assert_eq!(found, ["principals[1].id: every principal is of one trust domain, here a.example"]);
}

#[test]
fn the_flat_form_of_a_name_register_is_read() {
    let roster = parse(
        json!({
            "meta": { "title": "any" },
            "role_assignments": [{ "role": "lead_unit", "scope": "vn", "org": "a", "from": null, "to": null, "basis": "QĐ" }],
            "organisations": [{
                "slug": "a", "name_vi": "Sở", "name_en": "Department", "short_vi": "S", "kind": "lead_department",
                "parent": null, "valid_from": null, "valid_to": "2025-03-01", "predecessors": [], "successors": [],
                "gso_code": null, "verified": "memory", "note": "any",
            }],
        })
        .to_string()
        .as_bytes(),
    )
    .expect("the flat form is read");
    let a = &roster.organisations[&OrgSlug::parse("a").expect("a slug")];
    assert_eq!((a.names[0].short.as_str(), a.kind.as_str()), ("S", "lead-department"));
    assert_eq!(a.standing(date!(2025 - 03 - 01)), Standing::Ended);
}

#[test]
fn a_file_full_of_faults_gets_a_bounded_answer() {
    let found = problems(&json!({ "organisations": vec![org("Không"); 2 * MAX_PROBLEMS] }));
    assert_eq!(found.len(), MAX_PROBLEMS);
}

#[test]
fn no_bytes_make_the_reader_panic() {
    proptest::proptest!(|(bytes: Vec<u8>)| { let _: Result<_, _> = parse(&bytes); });
    for text in ["", "[]", "{}", "{\"organisations\":[1]}", "{\"organisations\":{}}"] {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
}

fn demo_roster() -> Roster {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/roster.json");
    parse(&std::fs::read(path).expect("the demo has a roster")).expect("the demo's roster is sound")
}

fn roles_on(roster: &Roster, id: &str, date: Date) -> Roles {
    roster.roles(&SpiffeId::parse(&format!("spiffe://luytre.example/org/{id}")).expect("an identity"), date)
}

#[test]
fn the_demo_roster_tells_the_story_of_2019_and_that_of_today() {
    let (roster, then, now) = (demo_roster(), date!(2019 - 12 - 10), date!(2026 - 11 - 21));
    for id in ["so-tttt/system/soc", "ca-hanoi/system/soc"] {
        assert!(roles_on(&roster, id, then).contains(Role::Publisher), "{id}");
    }
    for id in ["so-khcn-2025/system/soc", "ca-hanoi/system/soc"] {
        assert!(roles_on(&roster, id, now).contains(Role::Publisher), "{id}");
    }
    for id in ["ubnd-dong-da/system/soc", "bo-tttt/system/soc"] {
        assert!(roles_on(&roster, id, then).contains(Role::Subscriber), "{id}");
        assert_eq!(roles_on(&roster, id, now), Roles::NONE, "{id}");
    }
    let leads = |date| {
        let duties = roster.duties.iter().filter(|d| d.duty == "lead-unit-infosec");
        let held = duties.filter(|d| roster.duties_of(&d.holder, date).any(|held| held == *d));
        held.map(|d| d.holder.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((leads(then), leads(now)), (vec!["so-tttt".to_owned()], vec!["ca-hanoi".to_owned()]));
    let districts = roster.organisations.values().filter(|o| o.kind == "district");
    assert_eq!(districts.filter(|o| o.standing(then) == Standing::Active).count(), 30);
}

#[test]
fn the_shared_roster_is_read_where_it_is_present() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/roster.json");
    let Ok(text) = std::fs::read(&path) else {
        println!("skipped: {} is not here", path.display());
        return;
    };
    let roster = parse(&text).expect("the shared roster is sound");
    assert!(roster.organisations.len() > 80);
}

/// The page that describes the file.
const PAGE: &str = include_str!("../../../docs/roster.md");

/// The blocks of JSON of the page.
fn examples() -> Vec<&'static str> {
    PAGE.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The fields in the table under a heading of the page.
fn table(heading: &str) -> BTreeSet<String> {
    let section = PAGE.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    section.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned())).collect()
}

#[test]
fn the_examples_of_the_page_are_rosters() {
    let examples = examples();
    assert_eq!(examples.len(), 2);
    for example in examples {
        parse(example.as_bytes()).unwrap();
    }
}

#[test]
fn the_commands_of_the_guides_name_whom_their_roster_knows() {
    const OPERATING: &str = include_str!("../../../docs/operating.md");
    let pages = [
        OPERATING,
        include_str!("../../../docs/publishing.md"),
        include_str!("../../../docs/subscribing.md"),
    ];
    let file = OPERATING.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let roster = parse(file.as_bytes()).unwrap();
    let known = |word: &str| match word.strip_prefix("spiffe://hub.example.vn/org/") {
        Some(id) => roster.organisations.keys().any(|slug| id.starts_with(&format!("{slug}/"))),
        None => roster.organisations.keys().chain(roster.groups.keys()).any(|slug| slug.as_str() == word),
    };
    let mut named = 0;
    for line in pages
        .iter()
        .flat_map(|page| page.lines())
        .map(str::trim)
        .filter(|line| line.starts_with("luytre ") || line.starts_with("--operator"))
    {
        let words: Vec<_> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let names = [
                "--to",
                "--to-group",
                "--to-person",
                "--on-behalf-of",
                "--for",
                "--id",
                "--operator",
                "grant",
            ];
            if names.contains(&pair[0]) && !pair[1].starts_with("indicators/") {
                assert!(known(pair[1]), "{line}");
                named += 1;
            }
        }
    }
    assert!(named > 8, "the pages have such commands: {named}");
}

#[test]
fn the_example_of_the_page_uses_every_field_that_the_page_names_and_no_other() {
    let file: Value = serde_json::from_str(examples()[0]).unwrap();
    let all = |records: Vec<&Value>| -> BTreeSet<String> {
        records.iter().flat_map(|record| record.as_object().unwrap().keys().cloned()).collect()
    };
    let records = |field: &str| file[field].as_array().unwrap().iter().collect::<Vec<_>>();
    let names = records("organisations").into_iter().flat_map(|org| org["names"].as_array().unwrap());
    assert_eq!(all(vec![&file]), table("The file"));
    assert_eq!(all(records("organisations")), table("An organisation"));
    assert_eq!(all(names.collect()), table("A name"));
    assert_eq!(all(records("duties")), table("A duty"));
    assert_eq!(all(records("principals")), table("A principal"));
    let members = records("groups").into_iter().flat_map(|group| group["members"].as_array().unwrap());
    assert_eq!(all(records("groups")), table("A group"));
    assert_eq!(all(members.collect()), table("A member"));
    assert_eq!(all(records("relations")), table("A relation"));
    let orgs = records("organisations").into_iter();
    let steps = orgs.filter_map(|org| org["lifecycle"].as_array()).flatten();
    assert_eq!(all(steps.collect()), table("A step in its life"));
}

/// Rosters that hold together, from a few numbers.
fn rosters() -> impl proptest::strategy::Strategy<Value = Roster> {
    use proptest::prelude::*;
    let days = (0..4_i32, 0..4_i32).prop_map(|(from, more)| {
        let day = |n: i32| Date::from_julian_day(2_458_000 + n).ok();
        ((from > 0).then(|| day(from)).flatten(), (more > 0).then(|| day(from + more)).flatten())
    });
    let text = "[\\p{L}\"\\\\ 0-9,.&-]{1,20}";
    let org = (text, text, days.clone(), 1..9_u8, proptest::bool::ANY);
    let dated = (text, days, 0..6_usize, 0..6_usize, 1..64_u8);
    (proptest::collection::vec(org, 1..6), proptest::collection::vec(dated, 0..6)).prop_map(
        |(orgs, dated)| {
            let slug = |at: usize| OrgSlug::parse(&format!("o{}", at % orgs.len())).unwrap();
            let mut roster = Roster::default();
            for (at, (vi, short, (from, to), what, follows)) in orgs.iter().enumerate() {
                let name = |vi: &str, from, to| DatedName {
                    vi: vi.into(),
                    en: String::new(),
                    short: short.clone(),
                    from,
                    to,
                };
                let change = Date::from_julian_day(2_457_000).unwrap();
                let step = Step {
                    what: Happening::from_number(*what).unwrap(),
                    on: change,
                    legal_basis: vi.clone(),
                };
                roster.organisations.insert(
                    slug(at),
                    Organisation {
                        slug: slug(at),
                        names: vec![name(vi, None, Some(change)), name(short, Some(change), None)],
                        kind: "unit".into(),
                        parent: (at > 0).then(|| slug(at - 1)),
                        valid_from: *from,
                        valid_to: *to,
                        lifecycle: vec![step],
                        predecessors: (at > 0 && *follows).then(|| slug(at - 1)).into_iter().collect(),
                        successors: orgs
                            .get(at + 1)
                            .filter(|next| next.4)
                            .map(|_| slug(at + 1))
                            .into_iter()
                            .collect(),
                        protected: vec![Asset::parse(&format!("192.0.2.{at}")).unwrap()],
                    },
                );
            }
            for (at, (basis, (from, to), one, other, bits)) in dated.iter().enumerate() {
                let (from, to, legal_basis) = (*from, *to, basis.clone());
                let (duty, scope) = (format!("duty-{at}"), "vn".to_owned());
                roster.duties.push(Duty {
                    duty,
                    scope,
                    holder: slug(*one),
                    from,
                    to,
                    legal_basis: legal_basis.clone(),
                });
                let id =
                    SpiffeId::parse(&format!("spiffe://a.example/org/{}/user/u{at}", slug(*one))).unwrap();
                roster.principals.insert(id, Grant { roles: Roles::from_bits(*bits), from, to });
                let members = vec![Member { organisation: slug(*other), from, to }];
                let group = Group {
                    slug: OrgSlug::parse(&format!("g{at}")).unwrap(),
                    vi: basis.clone(),
                    en: String::new(),
                    members,
                };
                roster.groups.insert(group.slug.clone(), group);
                if slug(*one) != slug(*other) {
                    let kind = RelationKind::ALL[at % 2];
                    let (subject, object) = (slug(*one), slug(*other));
                    roster.relations.push(Relation { kind, subject, object, from, to, legal_basis });
                }
            }
            roster
        },
    )
}

proptest::proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same_roster(roster in rosters()) {
        let written = write(&roster, "e");
        proptest::prop_assert_eq!(parse(written.as_bytes()).map_err(|found| format!("{found:?}")), Ok(roster));
    }
}

#[test]
fn a_problem_is_told_by_its_place_in_the_file() {
    let text = json!({ "organisations": [org("b"), org("a")] }).to_string();
    let (_, places) = read(text.as_bytes()).unwrap();
    let place = |field: &str| places.place(Invalid::new(field, "wrong")).field;
    assert_eq!(place("organisations[a].valid_to"), "organisations[1].valid_to");
    assert_eq!(place("duties[0].to"), "duties[0].to");
    assert_eq!(place("organisations"), "organisations");
}

#[test]
fn no_organisation_and_no_group_takes_the_hubs_own_name() {
    let group = json!({ "slug": "luytre-hub", "vi": "Nhóm", "members": [] });
    let found = problems(&json!({ "organisations": [org("a"), org("luytre-hub")], "groups": [group] }));
    let told = "luytre-hub is the hub's own name for itself; choose another slug";
    for path in ["organisations[1].slug", "groups[0].slug"] {
        assert!(found.iter().any(|one| one.contains(path) && one.contains(told)), "{path}: {found:?}");
    }
    assert!(parse(json!({ "organisations": [org("luytre-hub-2")] }).to_string().as_bytes()).is_ok());
}
