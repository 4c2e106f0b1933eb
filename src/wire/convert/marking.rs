//! Decides which markings this hub takes: a label is never guessed, and what
//! cannot be honoured is refused rather than widened.

use crate::model::Invalid;
use crate::model::invalid::Reason;
use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
use crate::model::org::OrgSlug;
use crate::wire::proto::v1;

use super::name;

/// Most organisations that one marking names.
pub const MAX_ORGANISATIONS: usize = 256;

/// What this release takes, for the refusals.
const TAKEN: &str = "this hub takes TLP:CLEAR, TLP:GREEN, and TLP:AMBER to named organisations";

/// Reads a marking.
///
/// # Errors
/// `MARKING_REQUIRED` without a label, `MARKING_UNSUPPORTED` for what this
/// release does not honour, `FIELD_INVALID` for what contradicts itself.
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
    let caveats = caveats.unwrap_or_default();
    refuse_unsupported(&groups, &principals, caveats)?;
    let organisations = match tlp {
        Tlp::Clear | Tlp::Green if organisations.is_empty() => Vec::new(),
        Tlp::Clear | Tlp::Green => {
            return Err(Invalid::new(
                "organisations",
                format!(
                    "{} names nobody: leave this empty, or use TLP:AMBER for named organisations",
                    tlp.as_str()
                ),
            ));
        }
        Tlp::Amber => audience(&organisations)?,
        Tlp::AmberStrict | Tlp::Red => return Err(unsupported("tlp", tlp.as_str())),
    };
    Ok(Marking {
        tlp,
        recipients: Recipients { organisations, groups: Vec::new(), principals: Vec::new() },
        caveats: if caveats.masked_source { Caveats::MASKED_SOURCE } else { Caveats::NONE },
    })
}

/// Reads a label on its own.
///
/// # Errors
/// None, or one without a meaning: an unknown label never becomes a wider one.
pub fn read_tlp(field: &str, number: i32) -> Result<Tlp, Invalid> {
    super::known(field, number, |number| Tlp::ALL.into_iter().find(|tlp| tlp.number() == number))
}

fn audience(names: &[String]) -> Result<Vec<OrgSlug>, Invalid> {
    if names.is_empty() {
        return Err(Invalid::new(
            "organisations",
            "TLP:AMBER names at least one organisation; without one it reaches nobody",
        ));
    }
    if names.len() > MAX_ORGANISATIONS {
        return Err(Invalid::new(
            "organisations",
            format!("at most {MAX_ORGANISATIONS}; these are {}", names.len()),
        ));
    }
    let mut slugs = names
        .iter()
        .enumerate()
        .map(|(i, text)| {
            name::read_organisation("", text)
                .map_err(|invalid| invalid.under(format_args!("organisations[{i}]")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    slugs.sort_unstable();
    slugs.dedup();
    Ok(slugs)
}

fn refuse_unsupported(groups: &[String], principals: &[String], caveats: v1::Caveats) -> Result<(), Invalid> {
    if !groups.is_empty() {
        return Err(unsupported("groups", "an audience of groups"));
    }
    if !principals.is_empty() {
        return Err(unsupported("principals", "an audience of persons"));
    }
    let v1::Caveats { watch_do_not_block, providers_may_read, masked_source: _, no_onward_feed } = caveats;
    for (set, field) in [
        (watch_do_not_block, "caveats.watch_do_not_block"),
        (providers_may_read, "caveats.providers_may_read"),
        (no_onward_feed, "caveats.no_onward_feed"),
    ] {
        if set {
            return Err(unsupported(field, "this caveat"));
        }
    }
    Ok(())
}

fn unsupported(field: &str, what: &str) -> Invalid {
    Invalid::new(
        field,
        format!(
            "{what} cannot be honoured yet and so is not stored: {TAKEN}, without caveats but masked_source"
        ),
    )
    .because(Reason::MarkingUnsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn amber_names_organisations_sorted_and_once() {
        let read_back =
            read(Some(pb(3, &["organisations/b", "organisations/a", "organisations/b"]))).unwrap();
        let slugs: Vec<_> = read_back.recipients.organisations.iter().map(OrgSlug::as_str).collect();
        assert_eq!((read_back.tlp, slugs), (Tlp::Amber, vec!["a", "b"]));
        assert_eq!(refusal(pb(3, &[])), ("organisations".to_owned(), Reason::FieldInvalid));
        assert_eq!(
            refusal(pb(3, &["organisations/a", "b"])),
            ("organisations[1]".to_owned(), Reason::FieldInvalid)
        );
        assert_eq!(
            refusal(pb(3, &["organisations/a"; 257])),
            ("organisations".to_owned(), Reason::FieldInvalid)
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        assert_eq!(refusal(pb(4, &["organisations/a"])), ("tlp".to_owned(), Reason::MarkingUnsupported));
        assert_eq!(refusal(pb(5, &[])), ("tlp".to_owned(), Reason::MarkingUnsupported));
        let groups = v1::Marking { groups: vec!["groups/x".into()], ..pb(3, &["organisations/a"]) };
        assert_eq!(refusal(groups), ("groups".to_owned(), Reason::MarkingUnsupported));
        let persons = v1::Marking { principals: vec!["spiffe://x".into()], ..pb(5, &[]) };
        assert_eq!(refusal(persons), ("principals".to_owned(), Reason::MarkingUnsupported));
        let caveats = v1::Caveats { no_onward_feed: true, ..Default::default() };
        let caveat = v1::Marking { caveats: Some(caveats), ..pb(1, &[]) };
        assert_eq!(refusal(caveat), ("caveats.no_onward_feed".to_owned(), Reason::MarkingUnsupported));
    }

    #[test]
    fn a_masked_source_stays_masked() {
        let caveats = v1::Caveats { masked_source: true, ..Default::default() };
        let marking = read(Some(v1::Marking { caveats: Some(caveats), ..pb(1, &[]) })).unwrap();
        assert!(marking.is_masked());
    }

    #[test]
    fn caveats_that_say_nothing_are_no_caveats() {
        assert!(read(Some(v1::Marking { caveats: Some(v1::Caveats::default()), ..pb(1, &[]) })).is_ok());
    }
}
