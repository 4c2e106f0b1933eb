//! Decides which markings this hub takes: a label is never guessed, and what
//! cannot be honoured is refused rather than widened.

use crate::model::Invalid;
use crate::model::invalid::Reason;
use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
use crate::model::principal::SpiffeId;
use crate::wire::proto::v1;

use super::name;

/// Most organisations that one marking names.
pub const MAX_ORGANISATIONS: usize = 256;
/// Most groups that one marking names.
pub const MAX_GROUPS: usize = 64;
/// Most persons that one marking names.
pub const MAX_PRINCIPALS: usize = 64;

/// Reads a marking. Whether those whom it names take part is the roster's to
/// say, and with it whether they are of this hub's trust domain.
///
/// # Errors
/// `MARKING_REQUIRED` without a label, `FIELD_INVALID` for what contradicts
/// itself.
pub fn read(pb: Option<v1::Marking>) -> Result<Marking, Invalid> {
    let Some(v1::Marking { tlp, organisations, groups, principals, caveats }) = pb else {
        return Err(Invalid::new("", "a marking is required; nothing is shared without one")
            .because(Reason::MarkingRequired));
    };
    if tlp == 0 {
        return Err(Invalid::new("tlp", "a TLP label is required; nothing is shared without one")
            .because(Reason::MarkingRequired));
    }
    let tlp = read_tlp("tlp", tlp)?;
    refuse_misaddressed(tlp, &organisations, &groups, &principals)?;
    let recipients = Recipients {
        organisations: names("organisations", &organisations, MAX_ORGANISATIONS, |text| {
            name::read_organisation("", text)
        })?,
        groups: names("groups", &groups, MAX_GROUPS, |text| name::read_group("", text))?,
        principals: names("principals", &principals, MAX_PRINCIPALS, SpiffeId::parse)?,
    };
    Ok(Marking { tlp, recipients, caveats: read_caveats(tlp, caveats.unwrap_or_default())? })
}

/// Writes a marking whole, for readers who know whom it names.
#[must_use]
pub fn write(marking: &Marking) -> v1::Marking {
    let Marking { tlp, recipients, caveats } = marking;
    let has = |caveat| caveats.contains(caveat);
    v1::Marking {
        tlp: i32::from(tlp.number()),
        organisations: recipients.organisations.iter().map(name::organisation).collect(),
        groups: recipients.groups.iter().map(name::group).collect(),
        principals: recipients.principals.iter().map(ToString::to_string).collect(),
        caveats: (*caveats != Caveats::NONE).then(|| v1::Caveats {
            watch_do_not_block: has(Caveats::WATCH_DO_NOT_BLOCK),
            providers_may_read: has(Caveats::PROVIDERS_MAY_READ),
            masked_source: has(Caveats::MASKED_SOURCE),
            no_onward_feed: has(Caveats::NO_ONWARD_FEED),
        }),
    }
}

/// Reads a label on its own.
///
/// # Errors
/// None, or one without a meaning: an unknown label never becomes a wider one.
pub fn read_tlp(field: &str, number: i32) -> Result<Tlp, Invalid> {
    super::known(field, number, |number| Tlp::ALL.into_iter().find(|tlp| tlp.number() == number))
}

/// Refuses a label that is addressed to nobody though it names its readers, or
/// to those whom it does not name: guessing which of the two was meant would
/// widen one of them.
fn refuse_misaddressed(
    tlp: Tlp,
    organisations: &[String],
    groups: &[String],
    principals: &[String],
) -> Result<(), Invalid> {
    let label = tlp.as_str();
    let (bodies, persons, fix) = match tlp {
        Tlp::Clear | Tlp::Green => (
            false,
            false,
            "names nobody: leave this empty, or use TLP:AMBER for named organisations and groups and TLP:RED for named persons",
        ),
        Tlp::Amber | Tlp::AmberStrict => (
            true,
            false,
            "names organisations and groups: leave this empty, or use TLP:RED for named persons alone",
        ),
        Tlp::Red => (
            false,
            true,
            "names persons alone: list them under principals, or use TLP:AMBER+STRICT for whole organisations and groups",
        ),
    };
    let misplaced = [
        ("organisations", bodies || organisations.is_empty()),
        ("groups", bodies || groups.is_empty()),
        ("principals", persons || principals.is_empty()),
    ];
    if let Some((field, _)) = misplaced.into_iter().find(|(_, fits)| !fits) {
        return Err(Invalid::new(field, format!("{label} {fix}")));
    }
    if bodies && organisations.is_empty() && groups.is_empty() {
        let problem =
            format!("{label} names at least one organisation or group; without one it reaches nobody");
        return Err(Invalid::new("organisations", problem));
    }
    if persons && principals.is_empty() {
        let problem = format!("{label} names at least one person, by SPIFFE identity");
        return Err(Invalid::new("principals", problem));
    }
    Ok(())
}

/// Reads names: each well-formed; sorted and without repeats.
fn names<T: Ord>(
    field: &str,
    texts: &[String],
    most: usize,
    read: impl Fn(&str) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    if texts.len() > most {
        return Err(Invalid::new(field, format!("at most {most}; these are {}", texts.len())));
    }
    let mut names = texts
        .iter()
        .enumerate()
        .map(|(i, text)| read(text).map_err(|invalid| invalid.under(format_args!("{field}[{i}]"))))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn read_caveats(tlp: Tlp, caveats: v1::Caveats) -> Result<Caveats, Invalid> {
    let v1::Caveats { watch_do_not_block, providers_may_read, masked_source, no_onward_feed } = caveats;
    if providers_may_read && tlp != Tlp::Amber {
        return Err(Invalid::new(
            "caveats.providers_may_read",
            format!(
                "goes with TLP:AMBER alone: {} leaves no choice whether providers read; leave it out",
                tlp.as_str()
            ),
        ));
    }
    let set = [
        (watch_do_not_block, Caveats::WATCH_DO_NOT_BLOCK),
        (providers_may_read, Caveats::PROVIDERS_MAY_READ),
        (masked_source, Caveats::MASKED_SOURCE),
        (no_onward_feed, Caveats::NO_ONWARD_FEED),
    ];
    Ok(set.into_iter().filter(|(set, _)| *set).fold(Caveats::NONE, |all, (_, caveat)| all.with(caveat)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::org::OrgSlug;

    fn pb(tlp: i32, organisations: &[&str]) -> v1::Marking {
        v1::Marking {
            tlp,
            organisations: organisations.iter().map(|&o| o.to_owned()).collect(),
            ..Default::default()
        }
    }

    fn refusal(pb: v1::Marking) -> (String, Reason) {
        let invalid = read(Some(pb)).unwrap_err();
        (invalid.field, invalid.reason)
    }

    #[test]
    fn a_missing_label_is_never_a_default() {
        assert_eq!(read(None).unwrap_err().reason, Reason::MarkingRequired);
        assert_eq!(refusal(pb(0, &[])), ("tlp".to_owned(), Reason::MarkingRequired));
    }

    #[test]
    fn an_unknown_label_is_refused() {
        for number in [6, -1, 257, i32::MAX] {
            assert_eq!(refusal(pb(number, &[])), ("tlp".to_owned(), Reason::FieldInvalid), "{number}");
        }
    }

    #[test]
    fn clear_and_green_name_nobody() {
        assert_eq!(read(Some(pb(1, &[]))).unwrap(), Marking::open(Tlp::Clear));
        assert_eq!(read(Some(pb(2, &[]))).unwrap(), Marking::open(Tlp::Green));
        assert_eq!(refusal(pb(2, &["organisations/a"])), ("organisations".to_owned(), Reason::FieldInvalid));
    }

    #[test]
    fn a_marking_is_read_as_it_was_written() {
        let caveats = v1::Caveats { masked_source: true, no_onward_feed: true, ..Default::default() };
        let amber = v1::Marking {
            groups: vec!["groups/x".into()],
            caveats: Some(caveats),
            ..pb(3, &["organisations/a"])
        };
        let person = "spiffe://t.example/org/a/user/an".to_owned();
        for pb in [pb(2, &[]), amber, v1::Marking { principals: vec![person], ..pb(5, &[]) }] {
            assert_eq!(write(&read(Some(pb.clone())).unwrap()), pb);
        }
    }

    #[test]
    fn amber_names_organisations_and_groups_sorted_and_once() {
        for (number, tlp) in [(3, Tlp::Amber), (4, Tlp::AmberStrict)] {
            let named = pb(number, &["organisations/b", "organisations/a", "organisations/b"]);
            let read_back =
                read(Some(v1::Marking { groups: vec!["groups/x".into(), "groups/c".into()], ..named }))
                    .unwrap();
            let slugs = |all: &[OrgSlug]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(read_back.tlp, tlp);
            assert_eq!(slugs(&read_back.recipients.organisations), ["a", "b"]);
            assert_eq!(slugs(&read_back.recipients.groups), ["c", "x"]);
            let group_alone = v1::Marking { groups: vec!["groups/x".into()], ..pb(number, &[]) };
            assert!(read(Some(group_alone)).unwrap().recipients.organisations.is_empty());
            let invalid = |field: &str| (field.to_owned(), Reason::FieldInvalid);
            assert_eq!(refusal(pb(number, &[])), invalid("organisations"));
            assert_eq!(refusal(pb(number, &["organisations/a", "b"])), invalid("organisations[1]"));
            assert_eq!(refusal(pb(number, &["organisations/a"; 257])), invalid("organisations"));
            let groups = |groups: Vec<String>| v1::Marking { groups, ..pb(number, &[]) };
            assert_eq!(refusal(groups(vec!["organisations/a".into()])), invalid("groups[0]"));
            assert_eq!(refusal(groups(vec!["groups/a".into(); 65])), invalid("groups"));
        }
    }

    fn red(principals: &[&str]) -> v1::Marking {
        v1::Marking { principals: principals.iter().map(|&p| p.to_owned()).collect(), ..pb(5, &[]) }
    }

    const AN: &str = "spiffe://hub.example/org/a/user/an";
    const BINH: &str = "spiffe://hub.example/org/a/user/binh";

    #[test]
    fn red_names_persons_sorted_and_once_and_at_least_one() {
        let read_back = read(Some(red(&[BINH, AN, BINH]))).unwrap();
        let persons: Vec<_> = read_back.recipients.principals.iter().map(SpiffeId::as_str).collect();
        assert_eq!((read_back.tlp, persons), (Tlp::Red, vec![AN, BINH]));
        let invalid = |field: &str| (field.to_owned(), Reason::FieldInvalid);
        assert_eq!(refusal(red(&[])), invalid("principals"));
        assert_eq!(refusal(red(&[AN, "an"])), invalid("principals[1]"));
        assert_eq!(refusal(red(&[AN; 65])), invalid("principals"));
        assert!(read(Some(red(&[AN; 64]))).is_ok());
    }

    #[test]
    fn a_label_that_contradicts_whom_it_names_is_refused_with_the_way_out() {
        let groups = |tlp| v1::Marking { groups: vec!["groups/x".into()], ..pb(tlp, &[]) };
        let persons = |tlp| v1::Marking { principals: vec![AN.into()], ..pb(tlp, &["organisations/a"]) };
        for (pb, field, way_out) in [
            (
                v1::Marking { organisations: vec!["organisations/a".into()], ..red(&[AN]) },
                "organisations",
                "AMBER+STRICT",
            ),
            (v1::Marking { groups: vec!["groups/x".into()], ..red(&[AN]) }, "groups", "AMBER+STRICT"),
            (groups(1), "groups", "TLP:AMBER"),
            (groups(2), "groups", "TLP:AMBER"),
            (v1::Marking { organisations: vec![], ..persons(2) }, "principals", "TLP:RED"),
            (persons(3), "principals", "TLP:RED"),
            (persons(4), "principals", "TLP:RED"),
        ] {
            let invalid = read(Some(pb)).unwrap_err();
            assert_eq!((invalid.field.as_str(), invalid.reason), (field, Reason::FieldInvalid));
            assert!(invalid.problem.contains(way_out), "{invalid}");
        }
    }

    fn with(tlp: i32, caveats: v1::Caveats) -> v1::Marking {
        let marking = match tlp {
            3 | 4 => pb(tlp, &["organisations/a"]),
            5 => red(&[AN]),
            _ => pb(tlp, &[]),
        };
        v1::Marking { caveats: Some(caveats), ..marking }
    }

    #[test]
    fn caveats_are_kept_and_those_that_say_nothing_are_none() {
        assert_eq!(read(Some(with(1, v1::Caveats::default()))).unwrap().caveats, Caveats::NONE);
        let both = v1::Caveats { watch_do_not_block: true, no_onward_feed: true, ..Default::default() };
        for tlp in 1..=5 {
            let expected = Caveats::WATCH_DO_NOT_BLOCK.with(Caveats::NO_ONWARD_FEED);
            assert_eq!(read(Some(with(tlp, both))).unwrap().caveats, expected);
        }
        let providers = v1::Caveats { providers_may_read: true, ..Default::default() };
        assert_eq!(read(Some(with(3, providers))).unwrap().caveats, Caveats::PROVIDERS_MAY_READ);
        for tlp in [1, 2, 4, 5] {
            let field = "caveats.providers_may_read".to_owned();
            assert_eq!(refusal(with(tlp, providers)), (field, Reason::FieldInvalid));
        }
    }

    #[test]
    fn a_masked_source_stays_masked() {
        let masked = v1::Caveats { masked_source: true, ..Default::default() };
        for tlp in 1..=5 {
            assert!(read(Some(with(tlp, masked))).unwrap().is_masked());
        }
    }
}
