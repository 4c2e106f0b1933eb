//! Decides which values a block list holds, and how lists for other programs
//! are written: the same bytes for the same values, whatever their order.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::model::indicator::{Kind, Observable, RecommendedAction, Role};

use super::everyones::is_everyones;

/// What one indicator says of its value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Advice {
    /// What its owner recommends.
    pub action: Option<RecommendedAction>,
    /// What the value is in the attack.
    pub role: Option<Role>,
    /// Its owner asks to watch and not to block.
    pub watch_only: bool,
}

impl Advice {
    /// Whether it asks that the value be blocked.
    #[must_use]
    pub fn blocks(self) -> bool {
        self.action == Some(RecommendedAction::Block) && !self.objects()
    }

    /// Whether it asks that the value not be blocked, whoever recommends it:
    /// who blocks a victim does harm, and who blocks what is watched ends the
    /// watch.
    #[must_use]
    pub fn objects(self) -> bool {
        self.watch_only || self.role == Some(Role::Victim)
    }
}

/// Which values a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that someone recommends to block, and nobody objects to.
    Blocked,
    /// All but those of victims, whatever is recommended. Not for blocking.
    Watched,
}

/// What is said of one value by all who say something.
#[derive(Debug, Default, Clone, Copy)]
struct Stand {
    blocked: bool,
    objected: bool,
    is_victim: bool,
    /// Everyone has or needs it: nobody should block it.
    is_everyones: bool,
}

/// Values of which something is said, each once.
#[derive(Default)]
pub struct BlockList {
    /// By kind too: a mutex of a domain's name says nothing of the domain.
    values: BTreeMap<(String, Kind), Stand>,
}

impl std::fmt::Debug for BlockList {
    /// The number only: values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockList({})", self.values.len())
    }
}

impl BlockList {
    /// Notes what an indicator says of its canonical value. Rules are no
    /// values: they stand for many.
    pub fn note(&mut self, kind: Kind, value: String, advice: Advice) {
        if kind.is_rule() || value.is_empty() || value.contains(char::is_control) {
            return;
        }
        let everyones = Observable::from_canonical(kind, &value).is_none_or(|value| is_everyones(&value));
        let stand = self.values.entry((value, kind)).or_default();
        stand.blocked |= advice.blocks();
        stand.objected |= advice.objects();
        stand.is_victim |= advice.role == Some(Role::Victim);
        stand.is_everyones = everyones;
    }

    /// Writes one value a line, sorted by its bytes.
    ///
    /// # Errors
    /// Whatever the output answers.
    pub fn write_plain(&self, which: Which, out: &mut impl Write) -> io::Result<()> {
        let mut last = None;
        for (value, _) in self.listed(which) {
            // One text may be a value of two kinds.
            if last.replace(value) != Some(value) {
                writeln!(out, "{value}")?;
            }
        }
        Ok(())
    }

    /// Writes the domains as a hosts file that sends them nowhere. The hosts of
    /// URLs are not among them: one page that is bad does not make its host so.
    ///
    /// # Errors
    /// Whatever the output answers.
    pub fn write_hosts(&self, which: Which, out: &mut impl Write) -> io::Result<()> {
        let mut domains = self.listed(which).filter(|(_, kind)| *kind == Kind::Domain);
        domains.try_for_each(|(value, _)| writeln!(out, "0.0.0.0 {value}"))
    }

    /// How many values someone recommends to block that everyone has or needs,
    /// and that are therefore not listed.
    #[must_use]
    pub fn spared(&self) -> usize {
        self.values.values().filter(|stand| stand.blocked && stand.is_everyones).count()
    }

    fn listed(&self, which: Which) -> impl Iterator<Item = (&str, Kind)> {
        let listed = self.values.iter().filter(move |(_, stand)| match which {
            Which::Blocked => stand.blocked && !stand.objected && !stand.is_everyones,
            Which::Watched => !stand.is_victim,
        });
        listed.map(|((value, kind), _)| (value.as_str(), *kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Advice = Advice { action: Some(RecommendedAction::Block), role: None, watch_only: false };

    fn written(list: &BlockList, which: Which) -> (String, String) {
        let (mut plain, mut hosts) = (Vec::new(), Vec::new());
        list.write_plain(which, &mut plain).unwrap();
        list.write_hosts(which, &mut hosts).unwrap();
        (String::from_utf8(plain).unwrap(), String::from_utf8(hosts).unwrap())
    }

    #[test]
    fn a_value_that_many_assert_stands_once_and_in_its_place() {
        let mut list = BlockList::default();
        for (kind, value) in [
            (Kind::Url, "http://c.example/x"),
            (Kind::Domain, "b.example"),
            (Kind::Ipv4, "198.51.100.7"),
            (Kind::Domain, "a.example"),
            (Kind::Domain, "b.example"),
        ] {
            list.note(kind, value.to_owned(), BLOCK);
        }
        let (plain, hosts) = written(&list, Which::Blocked);
        assert_eq!(plain, "198.51.100.7\na.example\nb.example\nhttp://c.example/x\n");
        assert_eq!(hosts, "0.0.0.0 a.example\n0.0.0.0 b.example\n");
    }

    #[test]
    fn only_what_someone_recommends_to_block_and_nobody_objects_to_is_blocked() {
        let watch = Advice { watch_only: true, ..Advice::default() };
        let victim = Advice { role: Some(Role::Victim), ..Advice::default() };
        let monitor = Advice { action: Some(RecommendedAction::Monitor), ..Advice::default() };
        for (advices, blocked) in [
            (&[BLOCK][..], true),
            (&[BLOCK, Advice::default()], true),
            (&[BLOCK, monitor], true),
            (&[Advice { role: Some(Role::Tool), ..BLOCK }], true),
            (&[Advice::default()], false),
            (&[monitor], false),
            (&[Advice { action: Some(RecommendedAction::Hunt), ..BLOCK }], false),
            (&[Advice { watch_only: true, ..BLOCK }], false),
            (&[Advice { role: Some(Role::Victim), ..BLOCK }], false),
            (&[BLOCK, watch], false),
            (&[victim, BLOCK], false),
        ] {
            let mut list = BlockList::default();
            advices.iter().for_each(|advice| list.note(Kind::Domain, "a.example".into(), *advice));
            let (plain, hosts) = written(&list, Which::Blocked);
            assert_eq!((plain.is_empty(), hosts.is_empty()), (!blocked, !blocked), "{advices:?}");
            let has_victim = advices.iter().any(|advice| advice.role == Some(Role::Victim));
            assert_eq!(written(&list, Which::Watched).0.is_empty(), has_victim, "{advices:?}");
        }
    }

    #[test]
    fn what_one_kind_is_said_to_be_says_nothing_of_another() {
        let mut list = BlockList::default();
        let victim = Advice { role: Some(Role::Victim), ..Advice::default() };
        list.note(Kind::Domain, "bad.example".into(), BLOCK);
        list.note(Kind::Mutex, "bad.example".into(), victim);
        list.note(Kind::Domain, "good.example".into(), Advice::default());
        list.note(Kind::Mutex, "good.example".into(), BLOCK);
        assert_eq!(written(&list, Which::Blocked).1, "0.0.0.0 bad.example\n");
    }

    #[test]
    fn what_everyone_has_or_needs_is_blocked_by_nobody() {
        let mut list = BlockList::default();
        for (kind, value) in [
            (Kind::Cidr, "0.0.0.0/0"),
            (Kind::Ipv4, "127.0.0.1"),
            (Kind::Domain, "com.vn"),
            (Kind::Domain, "a.com.vn"),
        ] {
            list.note(kind, value.to_owned(), BLOCK);
        }
        let (plain, hosts) = written(&list, Which::Blocked);
        assert_eq!((plain.as_str(), hosts.as_str()), ("a.com.vn\n", "0.0.0.0 a.com.vn\n"));
        assert_eq!(list.spared(), 3);
    }

    #[test]
    fn a_rule_is_no_line_of_a_list() {
        let mut list = BlockList::default();
        list.note(Kind::Yara, "rule a { condition: true }".into(), BLOCK);
        list.note(Kind::UserAgent, "evil\n0.0.0.0 good.example".into(), BLOCK);
        assert_eq!(written(&list, Which::Watched).0, "");
    }
}
