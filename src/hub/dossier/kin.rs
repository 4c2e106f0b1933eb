//! Decides which values are related to a value, and by what: the other hashes
//! of its file, what contains it, what lies under its domain, and what shares
//! its campaign or its family.

use bytes::Bytes;
use rustc_hash::FxHashSet;

use crate::model::dossier::{Kin, Kinship, Relative};
use crate::model::indicator::wider::{Relation, host_name};
use crate::model::indicator::{Observable, State};
use crate::model::position::Position;
use crate::policy::visibility::Purpose;
use crate::store::chunk::{Chunk, ItemHeader};
use crate::store::keys::{self, Dimension};
use crate::store::postings::Posting;
use crate::store::record::Assertion;
use crate::wire::convert::dossier::{self as read, Said};

use super::super::error::Error;
use super::super::fetch::{self, damaged, viewer};
use super::super::shared::Shared as HubShared;
use super::super::store_error;
use super::{Asking, Known, speaker};

/// Most values of one group.
const MAX_VALUES: usize = 20;
/// Longest of them, in bytes: rules, and very long URLs, are left out.
const MAX_VALUE_BYTES: usize = 2_048;
/// Most campaigns, and most families, whose values are told.
const MAX_NAMES: usize = 5;
/// How far is looked for one of them.
const NAMED: Looks = Looks { seen: 1_000, hidden: 10_000, evenly: false };
/// How far is looked for what lies under a domain. Anybody may ask for any
/// domain, and is not to tell by what it costs whether something hidden does.
const UNDER_DOMAIN: Looks = Looks { seen: EVEN_READS, hidden: MOST_READS - EVEN_READS, evenly: true };
/// Reads that an even look comes to, or four times as many, up to the most.
const EVEN_READS: usize = 256;
const MOST_READS: usize = 4_096;

/// What contains a value, and assertions about it that the caller may see.
pub(super) type Around = (Relation, Observable, Vec<Assertion>);

/// What some values share.
struct Shared<'a> {
    kinship: Kinship,
    name: String,
    term: (Dimension, u64),
    looks: Looks,
    /// Whether a record that carries the term has it in common indeed.
    has: &'a dyn Fn(&Said) -> bool,
}

/// How far is looked, from the newest version back. What the caller may not see
/// takes no place of what he may, or he could count it by what goes missing; it
/// has a ceiling of its own, far above. Whichever bound is reached, what was
/// found until then is told, and nothing says that there was a bound, or which:
/// the answer is that of a hub where nothing older shares the term.
#[derive(Clone, Copy)]
struct Looks {
    /// Most versions of records that the caller may see.
    seen: usize,
    /// Most others.
    hidden: usize,
    /// Whether reads are added, so that their number tells next to nothing of
    /// what is hidden: nothing below [`EVEN_READS`], and a magnitude above.
    evenly: bool,
}

/// What was looked at.
enum Look {
    /// Nothing that the caller may see.
    Hidden,
    /// Something that he may see, and the value if it is one to be told.
    Seen(Option<Relative>),
}

/// Reads versions, and remembers the chunk of the last one: neighbours are
/// often in the same.
#[derive(Default)]
struct Reader {
    held: Option<Chunk>,
    reads: usize,
}

impl Asking<'_> {
    /// Values that are related to those of `own`, of which `known` is known.
    pub(super) fn kin(
        self,
        own: &[Observable],
        known: &[Known],
        around: Vec<Around>,
    ) -> Result<Vec<Kin>, Error> {
        let mut told: FxHashSet<Observable> = own.iter().cloned().collect();
        let mut kin = Vec::new();
        kin.extend(self.hashes(&mut told, known));
        kin.extend(self.containing(&mut told, around));
        if let Some(domain) = own.first().and_then(registrable) {
            let below = |value: &Observable| {
                let rest = |name: &str| name.strip_suffix(domain.as_str()).map(str::to_owned);
                let rest = host_name(value).and_then(|name| rest(&name));
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            let has = |said: &Said| said.values.iter().any(below);
            let term = (Dimension::Host, keys::host_term(&domain));
            let looks = UNDER_DOMAIN;
            let (kinship, name) = (Kinship::SameDomain, domain.clone());
            kin.extend(self.sharing(&mut told, &Shared { kinship, name, term, looks, has: &has })?);
        }
        let looks = NAMED;
        for name in names(known, |said| &said.campaign) {
            let has = |said: &Said| said.campaign.to_lowercase() == name.to_lowercase();
            let term = (Dimension::Label, keys::campaign_term(name));
            let (kinship, name) = (Kinship::SameCampaign, name.to_owned());
            kin.extend(self.sharing(&mut told, &Shared { kinship, name, term, looks, has: &has })?);
        }
        for name in names(known, |said| &said.family) {
            let has = |said: &Said| said.family.to_lowercase() == name.to_lowercase();
            let term = (Dimension::Label, keys::family_term(name));
            let (kinship, name) = (Kinship::SameFamily, name.to_owned());
            kin.extend(self.sharing(&mut told, &Shared { kinship, name, term, looks, has: &has })?);
        }
        Ok(kin)
    }

    fn relative(self, value: Observable, handle: Position, state: State) -> Relative {
        Relative { value, id: self.shared.sealer.id(handle), state }
    }

    /// Other hashes of the same file, as one assertion or another says.
    fn hashes(self, told: &mut FxHashSet<Observable>, known: &[Known]) -> Option<Kin> {
        let mut values = Vec::new();
        for Known { assertion, said, .. } in known {
            for value in said.values.iter().filter(|value| value.kind().is_hash()) {
                if told.insert(value.clone()) {
                    values.push(self.relative(value.clone(), assertion.handle, assertion.state));
                }
            }
        }
        group(Kinship::SameFile, String::new(), values)
    }

    /// What contains the value, a group for each way to.
    fn containing(self, told: &mut FxHashSet<Observable>, around: Vec<Around>) -> Vec<Kin> {
        let mut groups: Vec<(Kinship, Vec<Relative>)> = Vec::new();
        for (relation, value, assertions) in around {
            let (Some(kinship), Some(speaker)) =
                (Kinship::from_number(relation.number()), speaker(&assertions))
            else {
                continue;
            };
            if !told.insert(value.clone()) {
                continue;
            }
            let relative = self.relative(value, speaker.handle, speaker.state);
            match groups.iter_mut().find(|(known, _)| *known == kinship) {
                Some((_, values)) => values.push(relative),
                None => groups.push((kinship, vec![relative])),
            }
        }
        groups.into_iter().filter_map(|(kinship, values)| group(kinship, String::new(), values)).collect()
    }

    /// Values of the newest records that share something, but for what was
    /// taken back.
    fn sharing(self, told: &mut FxHashSet<Observable>, shared: &Shared<'_>) -> Result<Option<Kin>, Error> {
        let (dimension, term) = shared.term;
        let end = self.shared.tail.committed().next();
        let mut back = self.shared.store.postings_back(dimension, term, end).map_err(store_error)?;
        let (mut values, mut left, mut reader) = (Vec::new(), shared.looks, Reader::default());
        'looking: while let Some(block) = back.next_block().map_err(store_error)? {
            for posting in block.into_iter().rev() {
                if values.len() > MAX_VALUES || left.seen == 0 || left.hidden == 0 {
                    break 'looking;
                }
                match self.sharer(told, &mut reader, posting, shared.has)? {
                    Look::Hidden => left.hidden -= 1,
                    Look::Seen(value) => {
                        left.seen -= 1;
                        values.extend(value);
                    }
                }
            }
        }
        if shared.looks.evenly {
            self.look_aside(reader.reads, end)?;
        }
        Ok(group(shared.kinship, shared.name.clone(), values))
    }

    /// Looks into the log before `end`, here and there, for nothing, as often
    /// as an even look is to be made up to.
    fn look_aside(self, reads: usize, end: Position) -> Result<(), Error> {
        let mut even = EVEN_READS;
        while even < reads {
            even *= 4;
        }
        let step = end.raw() / (even as u64 + 1);
        for number in (1..).take(even - reads) {
            let aside = Position::from_raw(step * number);
            self.shared.store.chunk_at(aside).map_err(store_error)?;
        }
        Ok(())
    }

    /// A version that carries a term.
    fn sharer(
        self,
        told: &mut FxHashSet<Observable>,
        reader: &mut Reader,
        posting: Posting,
        has: &dyn Fn(&Said) -> bool,
    ) -> Result<Look, Error> {
        let at = posting.position;
        let Some((header, body)) = reader.item(self.shared, at)? else { return Ok(Look::Hidden) };
        let seen = |class| self.shared.directory.load().visible(viewer(self.caller), class, Purpose::Search);
        if !header.op.is_version() || !seen(header.class) {
            return Ok(Look::Hidden);
        }
        let latest = self.shared.store.latest(&[header.handle]).map_err(store_error)?.pop().flatten();
        if let Some(later) = latest.filter(|latest| latest.newest != at) {
            // Of a record that is hidden by now this is hidden as well.
            return Ok(if seen(later.class) { Look::Seen(None) } else { Look::Hidden });
        }
        if header.state == State::Revoked {
            return Ok(Look::Seen(None));
        }
        let said = read::said(&body).ok_or_else(|| damaged(at))?;
        let short = |value: &&Observable| value.as_text().is_none_or(|text| text.len() <= MAX_VALUE_BYTES);
        let value = said.values.first().filter(short).filter(|_| has(&said));
        let value = value.filter(|value| told.insert((*value).clone())).cloned();
        Ok(Look::Seen(value.map(|value| self.relative(value, header.handle, header.state))))
    }
}

impl Reader {
    fn item(&mut self, shared: &HubShared, at: Position) -> Result<Option<(ItemHeader, Bytes)>, Error> {
        let held = self.held.take().filter(|chunk| chunk.first <= at);
        let known = held.as_ref().map_or(Ok(None), |chunk| fetch::item_of(chunk, at))?;
        if let Some(item) = known {
            self.held = held;
            return Ok(Some(item));
        }
        self.reads += 1;
        self.held = shared.store.chunk_at(at).map_err(store_error)?;
        let item = self.held.as_ref().map_or(Ok(None), |chunk| fetch::item_of(chunk, at))?;
        if item.is_none() {
            shared.store.gone(at).map_err(store_error)?;
        }
        Ok(item)
    }
}

/// The domain below a public suffix under which the host of a value lies.
fn registrable(value: &Observable) -> Option<String> {
    let name = host_name(value)?;
    psl::domain_str(&name).map(str::to_owned)
}

/// What the assertions call something, newest first, in whatever case.
fn names<'a>(known: &'a [Known], of: impl Fn(&'a Said) -> &'a String) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for name in known.iter().map(|known| of(&known.said).as_str()).filter(|name| !name.is_empty()) {
        if names.len() < MAX_NAMES && !names.iter().any(|known| known.to_lowercase() == name.to_lowercase()) {
            names.push(name);
        }
    }
    names
}

/// A group of values, if there are any, cut to what is told.
fn group(kinship: Kinship, shared: String, mut values: Vec<Relative>) -> Option<Kin> {
    let more = values.len() > MAX_VALUES;
    values.truncate(MAX_VALUES);
    (!values.is_empty()).then_some(Kin { kinship, shared, values, more })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::hub::testing;
    use crate::model::indicator::{Draft, normalise};
    use crate::model::marking::{Marking, Tlp};

    #[tokio::test]
    async fn a_bound_on_what_is_looked_at_shows_as_if_there_were_nothing_older() {
        let (_dir, hub, caller) = testing::hub(&["a", "b"]);
        let viewer = testing::caller(&hub, "spiffe://test.example/org/b/system/feed");
        for (value, tlp) in [
            ("oldest.example", Tlp::Green),
            ("older.example", Tlp::Green),
            ("hidden-1.example", Tlp::AmberStrict),
            ("hidden-2.example", Tlp::AmberStrict),
        ] {
            let value = normalise::detect(value).unwrap().observable;
            let draft = Draft { campaign: "Hè".to_owned(), ..Draft::new(value, Marking::open(tlp)) };
            hub.publish(&caller, Uuid::new_v4(), vec![Ok(draft)]).await.unwrap().remove(0).unwrap();
        }
        let told = |seen, hidden| {
            let looks = Looks { seen, hidden, evenly: false };
            let (kinship, name) = (Kinship::SameCampaign, "Hè".to_owned());
            let term = (Dimension::Label, keys::campaign_term(&name));
            let shared = Shared { kinship, name, term, looks, has: &|_| true };
            let asking = Asking { shared: &hub.shared, caller: &viewer };
            let kin = asking.sharing(&mut FxHashSet::default(), &shared).unwrap();
            kin.map(|kin| (kin.values.iter().map(|one| one.value.to_string()).collect::<Vec<_>>(), kin.more))
        };
        let texts = |texts: &[&str]| Some((texts.iter().map(|&text| text.to_owned()).collect(), false));
        assert_eq!(told(2, 3), texts(&["older.example", "oldest.example"]));
        assert_eq!(told(1, 3), texts(&["older.example"]));
        assert_eq!(told(2, 2), None);
        hub.close().await;
    }
}
