//! S10, 2025: departments merge, roles pass on, the districts are gone. On
//! 01/03/2025 so-tttt and the old so-khcn become so-khcn-2025, and on
//! 01/07/2025 the districts end. What was recorded in 2019 stays as it was;
//! who follows reads from its day on what was addressed to the organisation
//! before it, never what was addressed to persons.
//!
//! Not here: open incidents, their deadlines and their handing over, which
//! belong to a later part of the hub. It addresses nothing by role: whoever
//! writes to "the lead unit" asks who that is, and writes to it.

use luytre::wire::proto::v1::{self, EventKind, OrganisationState};
use time::macros::date;
use tonic::Code;

use super::{ROLES, new, person, red, strict, system, told, with_systems};
use crate::harness::told::Event;
use crate::harness::{Served, TestHub, Witness, amber, draft, eventually};
use crate::lifecycle::shared;

const SYSTEMS: [&str; 13] = [
    "so-tttt",
    "so-khcn",
    "so-khcn-2025",
    "ca-hanoi",
    "so-gddt",
    "vncert",
    "a05",
    "ttanm-qg",
    "ubnd-dong-da",
    "ubnd-cau-giay",
    "ubnd-long-bien",
    "ubnd-p-ngoc-ha",
    "ubnd-p-cua-nam",
];

async fn hub(file: serde_json::Value) -> Served {
    with_systems(TestHub::builder().of_file(file), &SYSTEMS)
        .principal("so-khcn", "user/an", &ROLES)
        .principal("so-khcn-2025", "user/an", &ROLES)
        // So that a quiet stream looks at its rights soon.
        .config("[limits]\nheartbeat = \"1s\"")
        .serve_on(date!(2019 - 12 - 15))
        .await
}

/// Who leads, as the hub tells.
async fn lead_units(who: &Witness) -> Vec<String> {
    let request = v1::ListOrganisationsRequest { page_size: 1_000, ..Default::default() };
    let answer: v1::ListOrganisationsResponse =
        who.call("DirectoryService/ListOrganisations", &request).await.unwrap();
    let lead = answer.organisations.into_iter().filter(|found| {
        assert!(answer.next_page_token.is_empty());
        found.duties.iter().any(|duty| duty == "lead-unit-infosec")
    });
    lead.map(|found| found.name.trim_start_matches("organisations/").to_owned()).collect()
}

fn inactive() -> (Code, String) {
    (Code::PermissionDenied, "ORGANISATION_INACTIVE".to_owned())
}

fn absent() -> (Code, String) {
    (Code::NotFound, "NOT_FOUND".to_owned())
}

/// Whether a call is let in, and else why not.
async fn admitted(who: &Witness) -> Result<(), (Code, String)> {
    let answer = who.call::<v1::WhoAmIResponse>("DirectoryService/WhoAmI", &v1::WhoAmIRequest {}).await;
    answer.map(|_| ()).map_err(|status| crate::harness::witness::refusal(&status))
}

/// What `who` is shown of the whole log, up to the newest open record.
async fn shown(who: &Witness, newest: &str) -> Vec<Event> {
    who.watch_all().await.up_to_indicator(newest).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_2025_successors_read_from_their_day_on_and_the_past_keeps_its_names() {
    let Some(file) = shared() else { return };
    let hub = hub(file).await;
    let of = |slug| system(&hub, slug);
    let (police, schools, lead) = (of("ca-hanoi"), of("so-gddt"), of("so-tttt"));
    let (science, national, heir) = (of("so-khcn"), of("a05"), of("so-khcn-2025"));
    let (an, heirs_an) = (person(&hub, "so-khcn", "user/an"), person(&hub, "so-khcn-2025", "user/an"));
    let (district, ward, other_ward) = (of("ubnd-cau-giay"), of("ubnd-p-ngoc-ha"), of("ubnd-p-cua-nam"));

    // 2019: the records of the day.
    let open = lead.publish(draft("open.example")).await;
    let to_persons = police.publish(red("red.example", &[&hub.spiffe("so-khcn", "user/an")])).await;
    let own_red = science.publish(red("own-red.example", &[&hub.spiffe("so-khcn", "user/an")])).await;
    let to_science = police.publish(amber(draft("amber.example"), &["so-khcn"])).await;
    let strictly = police.publish(strict("strict.example", &["so-khcn"])).await;
    let own_amber = science.publish(amber(draft("own.example"), &["ca-hanoi"])).await;
    let to_centre = police.publish(amber(draft("centre.example"), &["vncert"])).await;
    let to_district = police.publish(amber(draft("district.example"), &["ubnd-cau-giay"])).await;
    let to_no_heir = police.publish(amber(draft("no-heir.example"), &["ubnd-long-bien"])).await;
    let mut masked = amber(draft("masked.example"), &["so-tttt", "ca-hanoi"]);
    let caveats = v1::Caveats { masked_source: true, ..v1::Caveats::default() };
    masked.marking.as_mut().unwrap().caveats = Some(caveats);
    let masked = of("ubnd-dong-da").publish(masked).await;
    let owner = async |who: &Witness| who.get(&masked).await.unwrap().indicator.unwrap().owner;
    assert_eq!(owner(&lead).await, "organisations/ubnd-dong-da", "it leads");
    assert_eq!(owner(&police).await, "");
    assert_eq!(an.get(&to_persons).await.unwrap().indicator.unwrap().owner, "organisations/ca-hanoi");
    assert_eq!(lead_units(&schools).await, ["so-tttt"]);
    assert_eq!(lead.organisation("so-tttt").await.short_name, "Sở TT&TT");
    let first = schools.publish(draft("first.example")).await;
    let seen_by_science = told(&shown(&science, &first).await);
    assert_eq!(seen_by_science, new(&[&open, &own_red, &to_science, &strictly, &own_amber, &first]));

    // 28/02/2025, the day before: nothing has passed on, and a message to the
    // lead unit goes to so-tttt.
    let mut lead_hears = lead.watch_all().await;
    let mut national_hears = national.watch_all().await;
    assert_eq!(told(&national_hears.up_to_indicator(&first).await), new(&[&open, &first]));
    hub.clock.set_noon(date!(2025 - 02 - 28));
    eventually("a body that began in 2023 is there", async || {
        (schools.organisation("bql-hoa-lac").await.state() == OrganisationState::Active).then_some(())
    })
    .await;
    assert_eq!(admitted(&heir).await, Err(inactive()), "not yet");
    let leads = lead_units(&schools).await;
    assert_eq!(leads, ["so-tttt"]);
    let in_february = schools.publish(amber(draft("february.example"), &[&leads[0]])).await;
    let heard = lead_hears.up_to_indicator(&in_february).await;
    assert_eq!(heard.last().unwrap().kind, EventKind::New as i32);
    assert!(national.get(&to_centre).await.is_err() && police.get(&in_february).await.is_err());

    // 01/03/2025: merged. Streams of bodies that ended end, those that follow
    // read from now on.
    hub.clock.set_noon(date!(2025 - 03 - 01));
    let heard = national_hears.up_to_indicator(&to_centre).await;
    assert_eq!(told(&heard), new(&[&to_centre]), "on the effective day, in the open stream");
    assert_eq!(lead_hears.end().await, inactive());
    for ended in [&lead, &science, &an] {
        assert_eq!(admitted(ended).await, Err(inactive()));
        assert_eq!(ended.watch(crate::harness::witness::from_the_beginning()).await.err(), Some(inactive()));
    }
    let expected = new(&[&open, &to_science, &strictly, &own_amber, &masked, &first, &in_february]);
    let march = schools.publish(draft("march.example")).await;
    let expected = [expected, new(&[&march])].concat();
    for successor in [&heir, &heirs_an] {
        assert_eq!(told(&shown(successor, &march).await), expected);
        for red in [&to_persons, &own_red] {
            assert_eq!(successor.get(red).await.unwrap_err(), absent(), "RED passes to nobody");
        }
        assert!(successor.lookup("red.example").await.is_empty());
        assert!(!successor.was_told(&to_persons[11..]) && !successor.was_told("red.example"));
    }
    assert_eq!(lead_units(&schools).await, [""; 0], "nobody is named between");
    assert_eq!(owner(&heir).await, "", "it follows the body, not its duty");

    // The past keeps the names of its day.
    let old = schools.get(&open).await.unwrap().indicator.unwrap();
    assert_eq!(old.owner, "organisations/so-tttt");
    let publisher = schools.organisation("so-tttt").await;
    assert_eq!((publisher.short_name.as_str(), publisher.state()), ("Sở TT&TT", OrganisationState::Ended));
    assert_eq!(publisher.successors, ["organisations/so-khcn-2025"]);
    let namesakes = [schools.organisation("so-khcn").await, schools.organisation("so-khcn-2025").await];
    assert_eq!(namesakes[0].display_name, namesakes[1].display_name, "one name, two bodies");
    let listed = schools.list().await;
    let of_2019 = listed.iter().find(|indicator| indicator.name == open).unwrap();
    assert_eq!(of_2019.owner, "organisations/so-tttt");

    // 30/06 and 01/07/2025: the districts end, one ward follows Cầu Giấy, and
    // the police lead.
    hub.clock.set_noon(date!(2025 - 06 - 30));
    let mut district_hears = district.watch_all().await;
    let heard = district_hears.up_to_indicator(&march).await;
    assert_eq!(told(&heard), new(&[&open, &to_district, &first, &march]));
    assert_eq!(admitted(&ward).await, Err(inactive()));
    hub.clock.set_noon(date!(2025 - 07 - 01));
    assert_eq!(district_hears.end().await, inactive(), "with a certificate that is good for months");
    assert_eq!(admitted(&district).await, Err(inactive()));
    eventually("the ward has what was the district's", async || ward.get(&to_district).await.ok()).await;
    assert_eq!(told(&shown(&ward, &march).await), new(&[&open, &to_district, &first, &march]));
    assert_eq!(told(&shown(&other_ward, &march).await), new(&[&open, &first, &march]));
    for who in [&ward, &other_ward, &schools, &heir, &national] {
        assert_eq!(who.get(&to_no_heir).await.unwrap_err(), absent(), "nobody follows Long Biên");
    }
    assert_eq!(police.get(&to_no_heir).await.unwrap().indicator.unwrap().name, to_no_heir);
    assert_eq!(lead_units(&schools).await, ["ca-hanoi"]);
    assert_eq!(owner(&police).await, "organisations/ubnd-dong-da", "now it leads");

    // 01/08/2025: a message to the lead unit goes to another body.
    hub.clock.set_noon(date!(2025 - 08 - 01));
    let leads = lead_units(&schools).await;
    assert_eq!(leads, ["ca-hanoi"]);
    let in_august = schools.publish(amber(draft("august.example"), &[&leads[0]])).await;
    assert_eq!(police.get(&in_august).await.unwrap().indicator.unwrap().name, in_august);
    assert_eq!(police.get(&in_february).await.unwrap_err(), absent());
    assert_eq!(heir.get(&in_august).await.unwrap_err(), absent());
    assert_eq!(heir.get(&in_february).await.unwrap().indicator.unwrap().name, in_february);
    drop((lead_hears, national_hears, district_hears));
    hub.stop().await;
}
