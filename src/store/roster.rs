//! Decides how the directory is stored: organisations, duties, principals,
//! groups, relations, roster generations and audience classes, one record
//! each.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use time::Date;

use crate::base::digest;
use crate::model::amendment::{PendingChange, RosterDigest};
use crate::model::asset::Asset;
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::indicator::wider::PrefixLengths;
use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
use crate::model::org::{DatedName, Happening, OrgNo, OrgSlug, Organisation, Step};
use crate::model::position::Position;
use crate::model::principal::{Roles, SpiffeId};
use crate::model::roster::{Duty, Grant, Group, Member, Relation, RelationKind, Roster};

use super::batch::Batch;
use super::db::{Error, Store};
use super::keys::{self, Family};
use super::proto;

const ORGANISATION: u8 = b'o';
const PRINCIPAL: u8 = b'p';
const DUTY: u8 = b'd';
const CLASS: u8 = b'c';
const GROUP: u8 = b'g';
const RELATION: u8 = b'r';
const GENERATION: u8 = b't';
/// Digest of a whole roster: the first bytes of its SHA-256.
#[must_use]
pub fn roster_digest(roster: &Roster) -> RosterDigest {
    let whole = digest::sha256(&encode_roster(roster).encode_to_vec());
    std::array::from_fn(|at| whole.get(at).copied().unwrap_or_default())
}

pub(super) fn day(date: Option<Date>) -> i32 {
    // Julian day 1,721,426 is 0001-01-01, stored as day 1.
    date.map_or(0, |date| date.to_julian_day() - 1_721_425)
}

pub(super) fn date(day: i32) -> Option<Date> {
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
        predecessors: texts(&org.predecessors),
        successors: texts(&org.successors),
        number,
        lifecycle: org.lifecycle.iter().map(encode_step).collect(),
        protected: org.protected.iter().map(ToString::to_string).collect(),
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
        lifecycle: stored.lifecycle.iter().map(decode_step).collect::<Result<_, _>>()?,
        predecessors: slugs(&stored.predecessors)?,
        successors: slugs(&stored.successors)?,
        protected: stored.protected.iter().map(|text| protected(text)).collect::<Result<_, _>>()?,
    };
    Ok((OrgNo(stored.number), org))
}

fn protected(text: &str) -> Result<Asset, Error> {
    Asset::from_canonical(text).ok_or_else(|| Error::corrupt("organisation", "protected"))
}

fn encode_step(step: &Step) -> proto::Step {
    proto::Step {
        what: u32::from(step.what.number()),
        on: day(Some(step.on)),
        legal_basis: step.legal_basis.clone(),
    }
}

fn decode_step(stored: &proto::Step) -> Result<Step, Error> {
    let damaged = || Error::corrupt("lifecycle", stored.what);
    let what = u8::try_from(stored.what).ok().and_then(Happening::from_number).ok_or_else(damaged)?;
    let on = date(stored.on).ok_or_else(damaged)?;
    Ok(Step { what, on, legal_basis: stored.legal_basis.clone() })
}

pub(super) fn encode_duty(duty: &Duty) -> proto::Duty {
    proto::Duty {
        duty: duty.duty.clone(),
        scope: duty.scope.clone(),
        holder: duty.holder.to_string(),
        from: day(duty.from),
        to: day(duty.to),
        legal_basis: duty.legal_basis.clone(),
    }
}

pub(super) fn decode_duty(stored: &proto::Duty) -> Result<Duty, Error> {
    Ok(Duty {
        duty: stored.duty.clone(),
        scope: stored.scope.clone(),
        holder: slug(&stored.holder)?,
        from: date(stored.from),
        to: date(stored.to),
        legal_basis: stored.legal_basis.clone(),
    })
}

pub(super) fn encode_principal(id: &SpiffeId, grant: &Grant) -> proto::Principal {
    proto::Principal {
        spiffe_id: id.to_string(),
        roles: u32::from(grant.roles.bits()),
        from: day(grant.from),
        to: day(grant.to),
    }
}

pub(super) fn decode_principal(stored: &proto::Principal) -> Result<(SpiffeId, Grant), Error> {
    let id =
        SpiffeId::parse(&stored.spiffe_id).map_err(|_| Error::corrupt("principal", &stored.spiffe_id))?;
    let roles = Roles::from_bits(u8::try_from(stored.roles).unwrap_or_default());
    Ok((id, Grant { roles, from: date(stored.from), to: date(stored.to) }))
}

pub(super) fn encode_group(group: &Group) -> proto::Group {
    let member = |member: &Member| proto::Member {
        organisation: member.organisation.to_string(),
        from: day(member.from),
        to: day(member.to),
    };
    proto::Group {
        slug: group.slug.to_string(),
        vi: group.vi.clone(),
        en: group.en.clone(),
        members: group.members.iter().map(member).collect(),
        removed: false,
    }
}

pub(super) fn decode_group(stored: &proto::Group) -> Result<Group, Error> {
    let member = |member: &proto::Member| {
        let organisation = slug(&member.organisation)?;
        Ok::<_, Error>(Member { organisation, from: date(member.from), to: date(member.to) })
    };
    Ok(Group {
        slug: slug(&stored.slug)?,
        vi: stored.vi.clone(),
        en: stored.en.clone(),
        members: stored.members.iter().map(member).collect::<Result<_, _>>()?,
    })
}

pub(super) fn encode_relation(relation: &Relation) -> proto::Relation {
    proto::Relation {
        kind: u32::from(relation.kind.number()),
        subject: relation.subject.to_string(),
        object: relation.object.to_string(),
        from: day(relation.from),
        to: day(relation.to),
        legal_basis: relation.legal_basis.clone(),
    }
}

pub(super) fn decode_relation(stored: &proto::Relation) -> Result<Relation, Error> {
    let kind = u8::try_from(stored.kind).ok().and_then(RelationKind::from_number);
    Ok(Relation {
        kind: kind.ok_or_else(|| Error::corrupt("relation", stored.kind))?,
        subject: slug(&stored.subject)?,
        object: slug(&stored.object)?,
        from: date(stored.from),
        to: date(stored.to),
        legal_basis: stored.legal_basis.clone(),
    })
}

/// A roster for an entry of the log.
#[must_use]
pub fn encode_roster(roster: &Roster) -> proto::Roster {
    proto::Roster {
        organisations: roster.organisations.values().map(|org| encode_organisation(org, 0)).collect(),
        duties: roster.duties.iter().map(encode_duty).collect(),
        principals: roster.principals.iter().map(|(id, grant)| encode_principal(id, grant)).collect(),
        groups: roster.groups.values().map(encode_group).collect(),
        relations: roster.relations.iter().map(encode_relation).collect(),
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
        groups: stored
            .groups
            .iter()
            .map(|group| decode_group(group).map(|group| (group.slug.clone(), group)))
            .collect::<Result<_, _>>()?,
        relations: stored.relations.iter().map(decode_relation).collect::<Result<_, _>>()?,
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
    /// Who takes part, in place of what stands: `numbers` knows every
    /// organisation, `before` is what stands.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn roster(
        &mut self,
        roster: &Roster,
        before: &Roster,
        number: impl Fn(&OrgSlug) -> Option<OrgNo>,
    ) -> Result<(), Error> {
        for (slug, org) in &roster.organisations {
            if let Some(OrgNo(number)) = number(slug).filter(|_| before.organisations.get(slug) != Some(org))
            {
                let record = encode_organisation(org, number).encode_to_vec();
                self.directory(ORGANISATION, slug.as_str().as_bytes(), Some(&record))?;
            }
        }
        for (id, grant) in &roster.principals {
            if before.principals.get(id) != Some(grant) {
                let record = encode_principal(id, grant).encode_to_vec();
                self.directory(PRINCIPAL, id.as_str().as_bytes(), Some(&record))?;
            }
        }
        for id in before.principals.keys().filter(|id| !roster.principals.contains_key(id)) {
            self.directory(PRINCIPAL, id.as_str().as_bytes(), None)?;
        }
        for (slug, group) in &roster.groups {
            if before.groups.get(slug) != Some(group) {
                let record = encode_group(group).encode_to_vec();
                self.directory(GROUP, slug.as_str().as_bytes(), Some(&record))?;
            }
        }
        for slug in before.groups.keys().filter(|slug| !roster.groups.contains_key(slug)) {
            self.directory(GROUP, slug.as_str().as_bytes(), None)?;
        }
        let duties = roster.duties.iter().map(|duty| encode_duty(duty).encode_to_vec()).collect();
        self.list(DUTY, duties, before.duties.len())?;
        let relations = roster.relations.iter().map(|r| encode_relation(r).encode_to_vec()).collect();
        self.list(RELATION, relations, before.relations.len())
    }

    /// A list in place of one of `before` records, each under its place.
    fn list(&mut self, noun: u8, records: Vec<Vec<u8>>, before: usize) -> Result<(), Error> {
        let gone = records.len()..before.max(records.len());
        let records = records.into_iter().map(Some).chain(gone.map(|_| None));
        for (place, record) in (0_u32..).zip(records) {
            self.directory(noun, &place.to_be_bytes(), record.as_deref())?;
        }
        Ok(())
    }

    /// A roster generation under the position of its entry.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn generation(&mut self, at: Position, today: Date) -> Result<(), Error> {
        let record = proto::Generation { date: day(Some(today)) }.encode_to_vec();
        self.directory(GENERATION, &at.raw().to_be_bytes(), Some(&record))
    }

    /// An audience class under its number.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn class(&mut self, number: ClassNo, class: &ClassDefinition) -> Result<(), Error> {
        let record = encode_class(number, class).encode_to_vec();
        self.directory(CLASS, &number.0.to_be_bytes(), Some(&record))
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
    /// Where each roster generation began, and its day; oldest first.
    pub generations: Vec<(Position, Date)>,
    /// Changes that wait for a second person.
    pub pending: BTreeMap<Position, Arc<PendingChange>>,
    /// Lengths of prefix that networks of an audience class have had.
    pub lengths: BTreeMap<ClassNo, PrefixLengths>,
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
        let mut records = self.records(Family::Meta, &keys::directory(GROUP, b""))?;
        while let Some((key, value)) = records.next_record()? {
            let group = decode_group(&message(&key, &value)?)?;
            out.roster.groups.insert(group.slug.clone(), group);
        }
        let mut records = self.records(Family::Meta, &keys::directory(RELATION, b""))?;
        while let Some((key, value)) = records.next_record()? {
            out.roster.relations.push(decode_relation(&message(&key, &value)?)?);
        }
        let mut records = self.records(Family::Meta, &keys::directory(GENERATION, b""))?;
        while let Some((key, value)) = records.next_record()? {
            let damaged = || Error::corrupt("roster generation", &key);
            let generation: proto::Generation = message(&key, &value)?;
            let at = key.last_chunk::<8>().ok_or_else(damaged)?;
            let at = Position::from_raw(u64::from_be_bytes(*at));
            out.generations.push((at, date(generation.date).ok_or_else(damaged)?));
        }
        out.pending = self.pending_changes()?;
        out.lengths = self.prefix_lengths()?;
        let mut records = self.records(Family::Meta, &keys::directory(CLASS, b""))?;
        while let Some((key, value)) = records.next_record()? {
            out.classes.push(decode_class(&message(&key, &value)?)?);
        }
        Ok(out)
    }
}

pub(super) fn message<M: prost::Message + Default>(key: &[u8], value: &[u8]) -> Result<M, Error> {
    M::decode(value).map_err(|_| Error::corrupt("directory record", key))
}
