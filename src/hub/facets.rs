//! Decides by what an item of the log is found beyond what its header says: what
//! is recommended and how surely, when it was seen, where its host lies, the
//! words that are written about it, who met it and how; under what it is
//! counted; and what its filter terms are called.

use std::collections::BTreeSet;

use crate::base::clock::Timestamp;
use crate::model::indicator::{State, technique, wider};
use crate::model::position::Position;
use crate::model::text;
use crate::store::chunk::{ItemHeader, ItemView, Op};
use crate::store::counters::{Counted, Counts};
use crate::store::index::{Index, Otherwise};
use crate::store::keys::{self, Cut, Dimension};
use crate::store::postings::Posting;
use crate::store::term_names::{TermKind, TermName, TermNames};
use crate::store::{Store, db};
use crate::wire::facts::{self, Facts, Numbers, Texts, Values};

/// Most different words by which one version is found: those that come first.
pub const MAX_WORDS: usize = 512;

/// What was otherwise before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    /// Up to here what an item replaced may have been cut out, and was not
    /// counted then.
    pub(super) base: Position,
    /// Up to where it was indexed otherwise.
    pub(super) otherwise: Otherwise,
}

/// Adds an item to the index; `None`: its body is damaged.
///
/// # Errors
/// Whatever the store answers.
pub(super) fn index(
    store: &Store,
    item: &ItemView<'_>,
    Before { base, otherwise }: Before,
    to: &mut Index,
) -> Result<Option<()>, db::Error> {
    if item.header.op == Op::Sight {
        return Ok(sighting(item, to));
    }
    if !item.header.op.is_version() {
        return Ok(Some(()));
    }
    let Some(facts) = facts::read(item.body) else { return Ok(None) };
    let posting = Posting { position: item.position, handle: item.header.handle };
    let cut = if item.position <= otherwise.all_cut { Cut::All } else { Cut::Web };
    for (dimension, term) in terms(&facts, cut) {
        to.postings.add(dimension, term, posting);
    }
    if item.position > otherwise.dayless {
        for (dimension, seen) in days(&facts.numbers) {
            to.postings.add(dimension, seen, posting);
        }
    }
    to.postings.add(Dimension::Born, keys::born_term(item.header.handle), posting);
    if let Some(former) = former(store, &item.header, &facts.values)? {
        former.into_iter().for_each(|term| to.postings.add(Dimension::Former, term, posting));
    } else {
        return Ok(None);
    }
    let alone = item.position <= base && !is_left(store, item.header.previous)?;
    count(item, facts.numbers.created, alone, |record, by| to.counts.add(record, by));
    name(&facts, &mut to.names);
    Ok(Some(()))
}

/// Counts an item by kinds alone; `None`: its body is damaged. `base` as in
/// [`Before`].
///
/// # Errors
/// Whatever the store answers.
pub(super) fn count_kinds(
    store: &Store,
    item: &ItemView<'_>,
    base: Position,
    counts: &mut Counts,
) -> Result<Option<()>, db::Error> {
    if !item.header.op.is_version() {
        return Ok(Some(()));
    }
    let Some(said) = facts::numbers(item.body) else { return Ok(None) };
    let alone = item.position <= base && !is_left(store, item.header.previous)?;
    count(item, said.created, alone, |record, by| counts.add_kinds(record, by));
    Ok(Some(()))
}

/// Notes who met an indicator, and how.
fn sighting(item: &ItemView<'_>, to: &mut Index) -> Option<()> {
    let outcome = facts::outcome(item.body)?;
    let posting = Posting { position: item.position, handle: item.header.previous };
    to.postings.add(Dimension::SightedBy, u64::from(item.header.owner.0), posting);
    let term = u64::from(outcome.number());
    to.postings.add(Dimension::Outcome, term, posting);
    let class = Posting::numbered(item.position, item.header.class.0);
    to.postings.add(Dimension::OutcomeClass, term, class);
    Some(())
}

/// Counts a version among the records that hold, if it does, and the one
/// before among them no longer, if that did and it is not `alone`.
fn count(item: &ItemView<'_>, born: Timestamp, alone: bool, mut add: impl FnMut(&Counted<'_>, i64)) {
    let header = &item.header;
    let terms: Vec<_> = item.terms().collect();
    let held = !alone && !matches!(header.op, Op::Create | Op::Reinstate) && !header.lapsed;
    if held {
        let before: Vec<_> = item.previous_terms().collect();
        let before = if header.relabelled { &before } else { &terms };
        let (class, kind) = (header.previous_class, header.previous_kind);
        add(&Counted { born, class, kind, terms: before }, -1);
    }
    if header.state == State::Active {
        let (class, kind) = (header.class, header.kind);
        add(&Counted { born, class, kind, terms: &terms }, 1);
    }
}

/// Whether there is a version at a position still.
fn is_left(store: &Store, at: Position) -> Result<bool, db::Error> {
    let Some(chunk) = store.chunk_at(at)? else { return Ok(false) };
    let view = chunk.view().ok_or_else(|| db::Error::corrupt("chunk", at))?;
    Ok(view.item(at).is_some_and(|item| item.header.op.is_version()))
}

/// The terms of the hashes that the version before had and this one has not;
/// `None`: that is damaged.
fn former(store: &Store, header: &ItemHeader, values: &Values) -> Result<Option<Vec<u64>>, db::Error> {
    // Only a file is known by more than one value.
    let file = values.value.kind().is_hash();
    if header.op == Op::Create || header.previous == Position::ZERO || !file {
        return Ok(Some(Vec::new()));
    }
    let mut log = store.reader()?;
    let chunk = log.seek(header.previous)?;
    let view = chunk.and_then(|(first, bytes)| crate::store::chunk::View::parse(first, bytes));
    let before = view.and_then(|view| view.item(header.previous));
    let Some(before) = before.filter(|item| item.header.op.is_version()) else {
        store.gone(header.previous)?;
        return Ok(Some(Vec::new()));
    };
    let Some(before) = facts::values(before.body) else { return Ok(None) };
    let gone = before.iter().filter(|value| values.iter().all(|now| now != *value));
    Ok(Some(gone.map(|value| keys::value_term(&keys::value(value))).collect()))
}

/// What the filter terms of a version are called.
fn name(facts: &Facts, names: &mut TermNames) {
    let mut add = |term, kind, text: &str| {
        names.entry(term).or_insert_with(|| TermName { kind, text: text.to_owned() });
    };
    let Texts { labels, family, campaign, .. } = &facts.texts;
    for label in labels {
        add(keys::label_term(label), TermKind::Label, label);
    }
    if !family.is_empty() {
        add(keys::family_term(family), TermKind::Family, &family.to_lowercase());
    }
    if !campaign.is_empty() {
        add(keys::campaign_term(campaign), TermKind::Campaign, &campaign.to_lowercase());
    }
    for technique in &facts.techniques {
        for technique in technique::parent(technique).into_iter().chain([technique.as_str()]) {
            add(keys::technique_term(technique), TermKind::Technique, technique);
        }
    }
}

/// By what else than its header a version is found: terms by dimension, in
/// order, without repeats. What it does not say has none.
fn terms(facts: &Facts, cut: Cut) -> Vec<(Dimension, u64)> {
    let Facts { values, numbers: said, texts: words, .. } = facts;
    let mut terms = Vec::new();
    terms.extend(said.action.map(|action| (Dimension::Action, u64::from(action.number()))));
    terms.extend(said.confidence.map(|confidence| (Dimension::Confidence, u64::from(confidence))));
    terms.extend(said.first_seen.map(|_| (Dimension::FirstSeen, keys::seen_term(said.first_seen))));
    terms.extend(said.last_seen.map(|_| (Dimension::LastSeen, keys::seen_term(said.last_seen))));
    let early = said.valid_from.filter(|from| *from < said.created);
    terms.extend(early.map(|from| (Dimension::ValidFrom, keys::valid_from_term(from))));
    let long = values.iter().filter(|value| keys::is_digest(&keys::value(value)));
    terms.extend(
        long.map(|value| (Dimension::Beginning, keys::beginning_term(value.kind(), &value.to_string(), cut))),
    );
    if let Some(name) = wider::host_name(&values.value) {
        terms.extend(keys::host_terms(&name).map(|term| (Dimension::Host, term)));
    }
    terms.extend(texts(words.iter()));
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// The days on which a version says that it was seen.
fn days(said: &Numbers) -> impl Iterator<Item = (Dimension, u64)> {
    let seen = [(Dimension::FirstSeenDay, said.first_seen), (Dimension::LastSeenDay, said.last_seen)];
    seen.into_iter().filter_map(|(dimension, at)| Some((dimension, keys::day_term(at?))))
}

/// The terms of the words by which a version is found, and of those of them
/// that stand side by side: the first [`MAX_WORDS`] different ones of its
/// labels, its family, its campaign and its description.
fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<(Dimension, u64)> {
    let (mut words, mut terms) = (BTreeSet::new(), Vec::new());
    for text in texts {
        let mut left: Option<String> = None;
        for word in text::tokens(text) {
            let known = words.contains(&word);
            if !known && words.len() == MAX_WORDS {
                left = None;
                continue;
            }
            if let Some(left) = &left {
                terms.push((Dimension::Pair, keys::pair_term(left, &word)));
            }
            if !known {
                terms.push((Dimension::Text, keys::text_term(&word)));
                words.insert(word.clone());
            }
            left = Some(word);
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::model::indicator::{Draft, RecommendedAction, normalise};
    use crate::model::marking::{Marking, Tlp};
    use crate::model::org::OrgSlug;
    use crate::wire::event::{self, Decided};
    use crate::wire::seal::{KEY_BYTES, Sealer};

    fn draft(value: &str) -> Draft {
        Draft::new(normalise::detect(value).unwrap().observable, Marking::open(Tlp::Green))
    }

    /// What a draft's first version says.
    fn said(draft: &Draft) -> Facts {
        let owner = OrgSlug::parse("a").unwrap();
        let at = Position::from_raw(1 << 16);
        let decided = Decided {
            position: at,
            handle: at,
            state: State::Active,
            version: 5,
            created: Timestamp::EPOCH,
            revocation: None,
            reinstatement: None,
        };
        let sealer = Sealer::new(&[7; KEY_BYTES]).unwrap();
        let body = event::finish_indicator(&sealer, &event::encode_draft(draft, &owner, None), &decided).0;
        facts::read(&body).unwrap()
    }

    #[test]
    fn a_version_is_found_by_all_that_it_says_and_by_nothing_else() {
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        let full = Draft {
            labels: vec!["lừa-đảo".to_owned()],
            description: "Lừa tiền".to_owned(),
            family: "Họ A".to_owned(),
            campaign: "Hè".to_owned(),
            confidence: Some(80),
            action: Some(RecommendedAction::Block),
            first_seen: at(7_200),
            last_seen: at(7_201),
            ..draft("hxxps://a.b.example[.]vn/x")
        };
        let word = |word| (Dimension::Text, keys::text_term(word));
        let mut expected = vec![
            (Dimension::Action, 2),
            (Dimension::Confidence, 80),
            (Dimension::FirstSeen, 4),
            (Dimension::LastSeen, 5),
        ];
        expected.extend(
            ["vn", "example.vn", "b.example.vn"].map(|zone| (Dimension::Host, keys::host_term(zone))),
        );
        expected.extend(["lua", "dao", "tien", "ho", "a", "he"].map(word));
        // Side by side within one text.
        let pair = |(left, right)| (Dimension::Pair, keys::pair_term(left, right));
        expected.extend([("lua", "dao"), ("ho", "a"), ("lua", "tien")].map(pair));
        expected.sort_unstable();
        assert_eq!(terms(&said(&full), Cut::Web), expected);
        let of_days: Vec<_> = days(&said(&full).numbers).collect();
        assert_eq!(of_days, [(Dimension::FirstSeenDay, 0), (Dimension::LastSeenDay, 0)]);
        assert_eq!(days(&said(&draft("198.51.100.7")).numbers).count(), 0);
        assert_eq!(terms(&said(&draft("198.51.100.7")), Cut::Web), []);
    }

    #[test]
    fn a_name_is_what_its_term_is_made_of_however_it_was_spelt() {
        let spelt = |family: &str, techniques: &[&str]| {
            let techniques = techniques.iter().map(|technique| (*technique).to_owned()).collect();
            let labels = vec!["phishing".to_owned()];
            let draft = Draft { labels, family: family.to_owned(), techniques, ..draft("a.example") };
            let mut names = TermNames::new();
            name(&said(&draft), &mut names);
            names
        };
        let names = spelt("EMOTET", &["T1566.001"]);
        assert_eq!(names, spelt("Emotet", &["T1566.001"]));
        let found: BTreeSet<_> = names.into_iter().map(|(term, name)| (name.kind, name.text, term)).collect();
        let expected = [
            (TermKind::Label, "phishing", keys::label_term("phishing")),
            (TermKind::Family, "emotet", keys::family_term("Emotet")),
            (TermKind::Technique, "T1566", keys::technique_term("T1566")),
            (TermKind::Technique, "T1566.001", keys::technique_term("T1566.001")),
        ];
        assert_eq!(found, expected.map(|(kind, text, term)| (kind, text.to_owned(), term)).into());
    }

    #[test]
    fn what_one_version_costs_is_bounded_and_its_first_words_are_those_that_count() {
        let description: String = (0..4_000).map(|n| format!("{n:04} ")).collect();
        let found = texts(["label", "family", "", description.as_str()].into_iter());
        let word = |word: &str| found.contains(&(Dimension::Text, keys::text_term(word)));
        assert!(["label", "family", "0000", "0509"].into_iter().all(word) && !word("0510"));
        let pair = |left, right| found.contains(&(Dimension::Pair, keys::pair_term(left, right)));
        assert!(pair("0508", "0509") && !pair("0509", "0510") && !pair("label", "family"));
        let long = Draft { description, ..draft("a.example") };
        assert!(terms(&said(&long), Cut::Web).len() <= 2 * MAX_WORDS + 6);
    }

    #[test]
    fn words_that_come_again_beside_others_make_pairs_and_those_past_the_last_that_counts_do_not() {
        let many: String = (0..MAX_WORDS - 2).map(|n| format!("{n:04} ")).collect();
        let found = texts([many.as_str(), "a b a c a"].into_iter());
        let pairs: Vec<_> =
            found.into_iter().filter(|(dimension, _)| *dimension == Dimension::Pair).collect();
        let expected =
            [("a", "b"), ("b", "a")].map(|(left, right)| (Dimension::Pair, keys::pair_term(left, right)));
        assert!(pairs.ends_with(&expected) && !pairs.ends_with(&[expected, expected].concat()));
    }
}
