//! Decides which values a block list holds, and how lists for other programs
//! are written: the same bytes for the same values, whatever their order.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::model::indicator::{Kind, RecommendedAction, Role};

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
    /// All of them. Not for blocking.
    All,
}

/// What is said of one value by all who say something.
#[derive(Debug, Default, Clone, Copy)]
struct Stand {
    blocked: bool,
    objected: bool,
    is_domain: bool,
}

/// Values of which something is said, each once.
#[derive(Default)]
pub struct BlockList {
    values: BTreeMap<String, Stand>,
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
        let stand = self.values.entry(value).or_default();
        stand.blocked |= advice.blocks();
        stand.objected |= advice.objects();
        stand.is_domain |= kind == Kind::Domain;
    }

    /// Writes one value a line, sorted by its bytes.
    ///
    /// # Errors
    /// Whatever the output answers.
    pub fn write_plain(&self, which: Which, out: &mut impl Write) -> io::Result<()> {
        self.listed(which).try_for_each(|(value, _)| writeln!(out, "{value}"))
    }

    /// Writes the domains as a hosts file that sends them nowhere. The hosts of
    /// URLs are not among them: one page that is bad does not make its host so.
    ///
    /// # Errors
    /// Whatever the output answers.
    pub fn write_hosts(&self, which: Which, out: &mut impl Write) -> io::Result<()> {
        self.listed(which)
            .filter(|(_, stand)| stand.is_domain)
            .try_for_each(|(value, _)| writeln!(out, "0.0.0.0 {value}"))
    }

    fn listed(&self, which: Which) -> impl Iterator<Item = (&str, Stand)> {
        self.values
            .iter()
            .filter(move |(_, stand)| which == Which::All || stand.blocked && !stand.objected)
            .map(|(value, stand)| (value.as_str(), *stand))
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
            assert_eq!(written(&list, Which::All).0, "a.example\n");
        }
    }

    #[test]
    fn a_rule_is_no_line_of_a_list() {
        let mut list = BlockList::default();
        list.note(Kind::Yara, "rule a { condition: true }".into(), BLOCK);
        list.note(Kind::UserAgent, "evil\n0.0.0.0 good.example".into(), BLOCK);
        assert_eq!(written(&list, Which::All).0, "");
    }
}
