//! Decides how the directory is stored: organisations, duties, principals and
//! audience classes, one record each.

use prost::Message as _;
use time::Date;

use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
use crate::model::org::{DatedName, OrgNo, OrgSlug, Organisation};
use crate::model::principal::{Roles, SpiffeId};
use crate::model::roster::{Duty, Grant, Roster};

use super::batch::Batch;
use super::db::{Error, Store};
use super::keys::{self, Family};
use super::proto;

const ORGANISATION: u8 = b'o';
const PRINCIPAL: u8 = b'p';
const DUTY: u8 = b'd';
const CLASS: u8 = b'c';

fn day(date: Option<Date>) -> i32 {
    // Julian day 1,721,426 is 0001-01-01, stored as day 1.
    date.map_or(0, |date| date.to_julian_day() - 1_721_425)
}

fn date(day: i32) -> Option<Date> {
    (day != 0).then(|| Date::from_julian_day(day.saturating_add(1_721_425)).ok()).flatten()
}

fn slug(text: &str) -> Result<OrgSlug, Error> {
    OrgSlug::parse(text).map_err(|_| Error::corrupt("slug", text))
}

fn slugs(all: &[String]) -> Result<Vec<OrgSlug>, Error> {
    all.iter().map(|text| slug(text)).collect()
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// An organisation for storage under `number`.
#[must_use]
pub fn encode_organisation(org: &Organisation, number: u32) -> proto::Organisation {
    proto::Organisation {
        slug: org.slug.to_string(),
        names: org
            .names
            .iter()
            .map(|name| proto::DatedName {
                vi: name.vi.clone(),
                en: name.en.clone(),
                short_name: name.short.clone(),
                from: day(name.from),
                to: day(name.to),
            })
            .collect(),
        kind: org.kind.clone(),
        parent: org.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        valid_from: day(org.valid_from),
        valid_to: day(org.valid_to),
        suspended: org.suspended,
        predecessors: texts(&org.predecessors),
        successors: texts(&org.successors),
        number,
    }
}

/// An organisation from storage, with its number.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn decode_organisation(stored: &proto::Organisation) -> Result<(OrgNo, Organisation), Error> {
    let org = Organisation {
        slug: slug(&stored.slug)?,
        names: stored
            .names
            .iter()
            .map(|name| DatedName {
                vi: name.vi.clone(),
                en: name.en.clone(),
                short: name.short_name.clone(),
                from: date(name.from),
                to: date(name.to),
            })
            .collect(),
        kind: stored.kind.clone(),
        parent: (!stored.parent.is_empty()).then(|| slug(&stored.parent)).transpose()?,
        valid_from: date(stored.valid_from),
        valid_to: date(stored.valid_to),
        suspended: stored.suspended,
        predecessors: slugs(&stored.predecessors)?,
        successors: slugs(&stored.successors)?,
    };
    Ok((OrgNo(stored.number), org))
}

fn encode_duty(duty: &Duty) -> proto::Duty {
    proto::Duty {
        duty: duty.duty.clone(),
        scope: duty.scope.clone(),
        holder: duty.holder.to_string(),
        from: day(duty.from),
        to: day(duty.to),
        legal_basis: duty.legal_basis.clone(),
    }
}

fn decode_duty(stored: &proto::Duty) -> Result<Duty, Error> {
    Ok(Duty {
        duty: stored.duty.clone(),
        scope: stored.scope.clone(),
        holder: slug(&stored.holder)?,
        from: date(stored.from),
        to: date(stored.to),
        legal_basis: stored.legal_basis.clone(),
    })
}

fn encode_principal(id: &SpiffeId, grant: &Grant) -> proto::Principal {
    proto::Principal {
        spiffe_id: id.to_string(),
        roles: u32::from(grant.roles.bits()),
        from: day(grant.from),
        to: day(grant.to),
    }
}

fn decode_principal(stored: &proto::Principal) -> Result<(SpiffeId, Grant), Error> {
    let id =
        SpiffeId::parse(&stored.spiffe_id).map_err(|_| Error::corrupt("principal", &stored.spiffe_id))?;
    let roles = Roles::from_bits(u8::try_from(stored.roles).unwrap_or_default());
    Ok((id, Grant { roles, from: date(stored.from), to: date(stored.to) }))
}

/// A roster for an entry of the log.
#[must_use]
pub fn encode_roster(roster: &Roster) -> proto::Roster {
    proto::Roster {
        organisations: roster.organisations.values().map(|org| encode_organisation(org, 0)).collect(),
        duties: roster.duties.iter().map(encode_duty).collect(),
        principals: roster.principals.iter().map(|(id, grant)| encode_principal(id, grant)).collect(),
    }
}

/// A roster from an entry of the log.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn decode_roster(stored: &proto::Roster) -> Result<Roster, Error> {
    Ok(Roster {
        organisations: stored
            .organisations
            .iter()
            .map(|org| decode_organisation(org).map(|(_, org)| (org.slug.clone(), org)))
            .collect::<Result<_, _>>()?,
        duties: stored.duties.iter().map(decode_duty).collect::<Result<_, _>>()?,
        principals: stored.principals.iter().map(decode_principal).collect::<Result<_, _>>()?,
    })
}

/// An audience class for storage.
#[must_use]
pub fn encode_class(number: ClassNo, class: &ClassDefinition) -> proto::AudienceClass {
    proto::AudienceClass {
        number: number.0,
        owner: class.owner.to_string(),
        tlp: u32::from(class.marking.tlp.number()),
        organisations: texts(&class.marking.recipients.organisations),
        groups: texts(&class.marking.recipients.groups),
        principals: texts(&class.marking.recipients.principals),
        caveats: u32::from(class.marking.caveats.bits()),
    }
}

/// An audience class from storage. An unknown label is read as RED.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn decode_class(stored: &proto::AudienceClass) -> Result<(ClassNo, ClassDefinition), Error> {
    let principals = stored
        .principals
        .iter()
        .map(|text| SpiffeId::parse(text).map_err(|_| Error::corrupt("principal", text)))
        .collect::<Result<_, _>>()?;
    let caveats = u8::try_from(stored.caveats).ok().and_then(Caveats::from_bits);
    let definition = ClassDefinition {
        owner: slug(&stored.owner)?,
        marking: Marking {
            tlp: Tlp::from_number_or_red(u8::try_from(stored.tlp).unwrap_or_default()),
            recipients: Recipients {
                organisations: slugs(&stored.organisations)?,
                groups: slugs(&stored.groups)?,
                principals,
            },
            caveats: caveats.ok_or_else(|| Error::corrupt("caveats", stored.caveats))?,
        },
    };
    Ok((ClassNo(stored.number), definition))
}

impl Batch<'_> {
    /// An organisation under its slug.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn organisation(&mut self, number: OrgNo, org: &Organisation) -> Result<(), Error> {
        let record = encode_organisation(org, number.0).encode_to_vec();
        self.directory(ORGANISATION, org.slug.as_str().as_bytes(), &record)
    }

    /// A principal under its identity.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn principal(&mut self, id: &SpiffeId, grant: &Grant) -> Result<(), Error> {
        self.directory(PRINCIPAL, id.as_str().as_bytes(), &encode_principal(id, grant).encode_to_vec())
    }

    /// A duty under its place in the roster.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn duty(&mut self, place: u32, duty: &Duty) -> Result<(), Error> {
        self.directory(DUTY, &place.to_be_bytes(), &encode_duty(duty).encode_to_vec())
    }

    /// An audience class under its number.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn class(&mut self, number: ClassNo, class: &ClassDefinition) -> Result<(), Error> {
        self.directory(CLASS, &number.0.to_be_bytes(), &encode_class(number, class).encode_to_vec())
    }
}

/// The directory as it is stored.
#[derive(Debug, Default)]
pub struct StoredDirectory {
    /// Who takes part.
    pub roster: Roster,
    /// Numbers of the organisations.
    pub numbers: Vec<(OrgNo, OrgSlug)>,
    /// Audience classes, by number.
    pub classes: Vec<(ClassNo, ClassDefinition)>,
}

impl Store {
    /// Reads the whole directory.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn directory(&self) -> Result<StoredDirectory, Error> {
        let mut out = StoredDirectory::default();
        let mut records = self.records(Family::Meta, &keys::directory(ORGANISATION, b""))?;
        while let Some((key, value)) = records.next_record()? {
            let (number, org) = decode_organisation(&message(&key, &value)?)?;
            out.numbers.push((number, org.slug.clone()));
            out.roster.organisations.insert(org.slug.clone(), org);
        }
        let mut records = self.records(Family::Meta, &keys::directory(PRINCIPAL, b""))?;
        while let Some((key, value)) = records.next_record()? {
            let (id, grant) = decode_principal(&message(&key, &value)?)?;
            out.roster.principals.insert(id, grant);
        }
        let mut records = self.records(Family::Meta, &keys::directory(DUTY, b""))?;
        while let Some((key, value)) = records.next_record()? {
            out.roster.duties.push(decode_duty(&message(&key, &value)?)?);
        }
        let mut records = self.records(Family::Meta, &keys::directory(CLASS, b""))?;
        while let Some((key, value)) = records.next_record()? {
            out.classes.push(decode_class(&message(&key, &value)?)?);
        }
        Ok(out)
    }
}

fn message<M: prost::Message + Default>(key: &[u8], value: &[u8]) -> Result<M, Error> {
    M::decode(value).map_err(|_| Error::corrupt("directory record", key))
}
