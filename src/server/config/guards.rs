//! Decides how it is written which lists values are held against, and what is
//! done where one names a value.

use std::collections::BTreeMap;
use std::path::Path;

use super::section::Section;
use crate::model::Invalid;
use crate::model::warninglist::{MAX_LISTS, Mode, Settings, is_slug};

/// The directory of the lists unless the section names another.
const DIRECTORY: &str = "warninglists";

/// What the section says.
pub(super) fn read(
    mut section: Section,
    base: &Path,
    data_dir: &Path,
    problems: &mut Vec<Invalid>,
) -> Settings {
    let directory = section.path("directory", base, problems).unwrap_or_else(|| data_dir.join(DIRECTORY));
    let at = section.at("modes");
    let written: BTreeMap<String, String> = section.or("modes", BTreeMap::new(), problems);
    section.finish(problems);
    if written.len() > MAX_LISTS {
        problems.push(Invalid::new(&at, format!("names more than {MAX_LISTS} lists")));
    }
    let mut modes = BTreeMap::new();
    for (slug, mode) in written {
        let at = format!("{at}.{slug}");
        match Mode::from_name(&mode) {
            _ if !is_slug(&slug) => problems.push(Invalid::new(at, "is no short name of a list")),
            Some(mode) => drop(modes.insert(slug, mode)),
            None => {
                let known: Vec<_> = Mode::ALL.iter().map(|mode| mode.as_str()).collect();
                let problem = format!("is {mode:?}; choose among {}", known.join(", "));
                problems.push(Invalid::new(at, problem));
            }
        }
    }
    Settings { directory, modes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Settings, Vec<String>) {
        let mut problems = Vec::new();
        let mut root = Section::root(toml::from_str(text).unwrap());
        let section = root.section("guards", &mut problems);
        let read = read(section, Path::new("/etc/luytre"), Path::new("/data"), &mut problems);
        root.finish(&mut problems);
        (read, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_written_holds_and_the_lists_lie_beside_the_store_unless_told() {
        let text =
            "[guards]\ndirectory = \"lists\"\n[guards.modes]\nrfc1918 = \"block\"\ngoogle = \"inform\"\n";
        let (settings, problems) = read_text(text);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(settings.directory, Path::new("/etc/luytre/lists"));
        assert_eq!((settings.mode("rfc1918"), settings.mode("google")), (Mode::Block, Mode::Inform));
        assert_eq!(read_text("").0.directory, Path::new("/data/warninglists"));
    }

    #[test]
    fn a_mode_that_is_none_is_told_with_its_place() {
        let (_, problems) =
            read_text("[guards]\nlists = 1\n[guards.modes]\n\"a/b\" = \"hold\"\nc = \"warn\"\n");
        let all = problems.join("\n");
        for told in [
            "guards.lists: is no key",
            "guards.modes.a/b: is no short",
            "guards.modes.c: is \"warn\"; choose among inform",
        ] {
            assert!(all.contains(told), "{told}: {all}");
        }
    }
}
