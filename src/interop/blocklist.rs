//! Decides which values a block list holds: the same bytes for the same values,
//! whatever their order.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::model::export::{Omission, Omitted};
use crate::model::indicator::everyones::is_everyones;
use crate::model::indicator::{Kind, Observable, Role, Shown};
use crate::model::marking::Tlp;

use super::export::List;

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
    /// The narrowest label of those that recommend to block it, or of all.
    tlp: Option<Tlp>,
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
    pub fn note(&mut self, shown: &Shown) {
        let (Some(kind), value) = (shown.kind, &shown.value) else { return };
        if kind.is_rule() || value.is_empty() || value.contains(char::is_control) {
            return;
        }
        let everyones = Observable::from_canonical(kind, value).is_none_or(|value| is_everyones(&value));
        let stand = self.values.entry((value.clone(), kind)).or_default();
        stand.blocked |= shown.blocks();
        stand.objected |= shown.objects();
        stand.is_victim |= shown.role == Some(Role::Victim);
        stand.is_everyones = everyones;
        stand.tlp = stand.tlp.max(shown.tlp);
    }

    /// The narrowest label of what a list holds; none: it is empty.
    #[must_use]
    pub fn tlp(&self, which: Which) -> Option<Tlp> {
        self.listed(which).filter_map(|(_, _, stand)| stand.tlp).max()
    }

    /// Writes the values, sorted by their bytes; counts what the format cannot
    /// hold.
    ///
    /// # Errors
    /// Whatever the output answers.
    pub fn write(&self, which: Which, list: &mut List, out: &mut impl Write) -> io::Result<Omitted> {
        let (mut omitted, mut written) = (Omitted::default(), Vec::new());
        for (value, kind, _) in self.listed(which) {
            let value = Observable::from_canonical(kind, value).ok_or(Omission::Spelling);
            written.clear();
            match value.and_then(|value| list.value(&value, &mut written)) {
                Ok(()) => out.write_all(&written)?,
                Err(why) => omitted.note(why),
            }
        }
        Ok(omitted)
    }

    /// How many values someone recommends to block that everyone has or needs,
    /// and that are therefore not listed.
    #[must_use]
    pub fn spared(&self) -> usize {
        self.values.values().filter(|stand| stand.blocked && stand.is_everyones).count()
    }

    fn listed(&self, which: Which) -> impl Iterator<Item = (&str, Kind, &Stand)> {
        let listed = self.values.iter().filter(move |(_, stand)| match which {
            Which::Blocked => stand.blocked && !stand.objected && !stand.is_everyones,
            Which::Watched => !stand.is_victim,
        });
        listed.map(|((value, kind), stand)| (value.as_str(), *kind, stand))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::export::Writer;
    use crate::model::export::Format;
    use crate::model::indicator::RecommendedAction;
    use crate::model::marking::Caveats;

    fn said(kind: Kind, value: &str) -> Shown {
        Shown { kind: Some(kind), value: value.to_owned(), tlp: Some(Tlp::Green), ..Shown::default() }
    }

    fn blocked(kind: Kind, value: &str) -> Shown {
        Shown { action: Some(RecommendedAction::Block), ..said(kind, value) }
    }

    fn of(all: &[Shown]) -> BlockList {
        let mut list = BlockList::default();
        all.iter().for_each(|shown| list.note(shown));
        list
    }

    fn written(list: &BlockList, which: Which) -> (String, String) {
        let write = |format| {
            let Writer::List(mut writer) = Writer::of(format, &[Kind::Mutex]) else { panic!("a list") };
            let mut out = Vec::new();
            list.write(which, &mut writer, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        (write(Format::Plain), write(Format::Hosts))
    }

    #[test]
    fn a_value_that_many_assert_stands_once_and_in_its_place() {
        let all = [
            (Kind::Url, "http://c.example/x"),
            (Kind::Domain, "b.example"),
            (Kind::Ipv4, "198.51.100.7"),
            (Kind::Domain, "a.example"),
            (Kind::Mutex, "a.example"),
            (Kind::Domain, "b.example"),
        ];
        let list = of(&all.map(|(kind, value)| blocked(kind, value)));
        let (plain, hosts) = written(&list, Which::Blocked);
        assert_eq!(plain, "198.51.100.7\na.example\nb.example\nhttp://c.example/x\n");
        assert_eq!(hosts, "0.0.0.0 a.example\n0.0.0.0 b.example\n");
    }

    #[test]
    fn only_what_someone_recommends_to_block_and_nobody_objects_to_is_blocked() {
        let silent = said(Kind::Domain, "a.example");
        let block = blocked(Kind::Domain, "a.example");
        let watch = Shown { caveats: Caveats::WATCH_DO_NOT_BLOCK, ..silent.clone() };
        let victim = Shown { role: Some(Role::Victim), ..silent.clone() };
        let monitor = Shown { action: Some(RecommendedAction::Monitor), ..silent.clone() };
        for (all, blocked) in [
            (vec![block.clone()], true),
            (vec![block.clone(), silent.clone()], true),
            (vec![block.clone(), monitor.clone()], true),
            (vec![Shown { role: Some(Role::Tool), ..block.clone() }], true),
            (vec![silent], false),
            (vec![monitor], false),
            (vec![Shown { action: Some(RecommendedAction::Hunt), ..block.clone() }], false),
            (vec![Shown { caveats: Caveats::WATCH_DO_NOT_BLOCK, ..block.clone() }], false),
            (vec![Shown { role: Some(Role::Victim), ..block.clone() }], false),
            (vec![block.clone(), watch], false),
            (vec![victim, block], false),
        ] {
            let list = of(&all);
            let (plain, hosts) = written(&list, Which::Blocked);
            assert_eq!((plain.is_empty(), hosts.is_empty()), (!blocked, !blocked), "{all:?}");
            assert_eq!(list.tlp(Which::Blocked), blocked.then_some(Tlp::Green));
            let has_victim = all.iter().any(|shown| shown.role == Some(Role::Victim));
            assert_eq!(written(&list, Which::Watched).0.is_empty(), has_victim, "{all:?}");
        }
    }

    #[test]
    fn what_one_kind_is_said_to_be_says_nothing_of_another() {
        let list = of(&[
            blocked(Kind::Domain, "bad.example"),
            Shown { role: Some(Role::Victim), ..said(Kind::Mutex, "bad.example") },
            said(Kind::Domain, "good.example"),
            blocked(Kind::Mutex, "good.example"),
        ]);
        assert_eq!(written(&list, Which::Blocked).1, "0.0.0.0 bad.example\n");
    }

    #[test]
    fn what_everyone_has_or_needs_is_blocked_by_nobody() {
        let all = [
            (Kind::Cidr, "0.0.0.0/0"),
            (Kind::Ipv4, "127.0.0.1"),
            (Kind::Domain, "com.vn"),
            (Kind::Domain, "a.com.vn"),
        ];
        let list = of(&all.map(|(kind, value)| blocked(kind, value)));
        let (plain, hosts) = written(&list, Which::Blocked);
        assert_eq!((plain.as_str(), hosts.as_str()), ("a.com.vn\n", "0.0.0.0 a.com.vn\n"));
        assert_eq!(list.spared(), 3);
    }

    #[test]
    fn a_rule_is_no_line_of_a_list() {
        let list = of(&[
            blocked(Kind::Yara, "rule a { condition: true }"),
            blocked(Kind::UserAgent, "evil\n0.0.0.0 good.example"),
        ]);
        assert_eq!(written(&list, Which::Watched).0, "");
    }

    #[test]
    fn a_list_is_marked_as_the_narrowest_of_what_it_holds() {
        let narrow = Shown { tlp: Some(Tlp::AmberStrict), ..said(Kind::Domain, "a.example") };
        let list = of(&[blocked(Kind::Domain, "a.example"), narrow.clone()]);
        assert_eq!(list.tlp(Which::Blocked), Some(Tlp::AmberStrict));
        let list = of(&[blocked(Kind::Domain, "a.example"), Shown { value: "b.example".into(), ..narrow }]);
        assert_eq!(list.tlp(Which::Blocked), Some(Tlp::Green));
    }
}
