//! Promises of the help and of the documentation: what they tell a reader to
//! type is understood.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};

use super::super::arguments::Arguments;
use super::super::{daemon, manual};

/// What a name stands for that only a hub can give: `indicators/…`, or `$name`.
const INDICATOR: &str = "indicators/4b3f7c1e-0000-4000-8000-000000000001";

fn programs() -> [Command; 2] {
    [Arguments::command(), daemon::definition()].map(|program| program.disable_help_subcommand(true))
}

/// The commands of a shell text, each in words; heredocs and redirections are
/// left out. As much of a shell as documentation uses.
fn commands(text: &str) -> Vec<Vec<String>> {
    let text = text.replace("\\\n", " ");
    let (mut commands, mut lines) = (vec![Vec::new()], text.lines());
    while let Some(line) = lines.next() {
        let mut ending = None;
        let mut rest = line.trim();
        loop {
            rest = rest.trim_start();
            let Some(first) = rest.chars().next() else { break };
            if first == '#' {
                break;
            }
            if let Some(after) = rest.strip_prefix("<<") {
                let (word, after) = word(after);
                ending = Some(word);
                rest = after;
            } else if let Some(at) =
                rest.find(['<', '>']).filter(|&at| matches!(&rest[..at], "" | "1" | "2" | "3"))
            {
                let after = rest[at..].trim_start_matches(['<', '>', '&', ' ']);
                rest = word(after).1;
            } else if "|&;(){}".contains(first) {
                commands.push(Vec::new());
                rest = &rest[1..];
            } else {
                let (word, after) = word(rest);
                commands.last_mut().unwrap().push(word);
                rest = after;
            }
        }
        if let Some(ending) = ending {
            lines.by_ref().find(|line| *line == ending);
        }
        commands.push(Vec::new());
    }
    commands.retain(|words| !words.is_empty());
    commands
}

/// The first word, without its quotes, and what follows it.
fn word(text: &str) -> (String, &str) {
    let (mut word, mut quote) = (String::new(), None);
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() || "|&;<>".contains(c) => return (word, &text[at..]),
            _ => word.push(c),
        }
    }
    assert_eq!(quote, None, "a quote stays open: {text}");
    (word, "")
}

/// The words of a call of one of our programs, the program first.
fn call(mut words: Vec<String>) -> Option<Vec<String>> {
    if words.first().is_some_and(|word| word == "runuser" || word == "sudo") {
        let from = words.iter().position(|word| word == "--")?;
        words.drain(..=from);
    }
    let assignments = words.iter().take_while(|word| word.contains('=') && !word.starts_with('-')).count();
    words.drain(..assignments);
    let program = words.first()?.rsplit('/').next()?.to_owned();
    if program != "luytre" && program != "luytred" {
        return None;
    }
    words[0] = program;
    for word in &mut words {
        if word.starts_with("indicators/") && word.ends_with('…') || word == "$name" {
            *word = INDICATOR.to_owned();
        }
    }
    Some(words)
}

/// Every call of our programs in a shell text.
fn calls(text: &str) -> Vec<Vec<String>> {
    commands(text).into_iter().filter_map(call).collect()
}

/// What clap says against a call.
fn problem(words: &[String]) -> Option<String> {
    let mut program = programs().into_iter().find(|program| program.get_name() == words[0]).unwrap();
    let error = program.try_get_matches_from_mut(words).err()?;
    let asked =
        matches!(error.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion);
    (!asked).then(|| format!("{}\n{error}", words.join(" ")))
}

/// The commands that a call names, such as `roster grant`.
fn path_of(words: &[String]) -> Vec<String> {
    let mut program = programs().into_iter().find(|program| program.get_name() == words[0]).unwrap();
    let matches = program.try_get_matches_from_mut(words).unwrap();
    let (mut path, mut at) = (vec![words[0].clone()], &matches);
    while let Some((name, below)) = at.subcommand() {
        path.push(name.to_owned());
        at = below;
    }
    path
}

fn each(command: &Command, above: &[String], check: &mut impl FnMut(&Command, &[String])) {
    let path = [above, &[command.get_name().to_owned()]].concat();
    check(command, &path);
    command.get_subcommands().for_each(|below| each(below, &path, check));
}

#[test]
fn the_help_of_every_command_shows_examples_of_it_that_are_understood() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for program in programs() {
        each(&program, &[], &mut |command, path| {
            let calls = calls(&manual::taught(command).0);
            let shown = path.join(" ");
            let problems: Vec<_> = calls.iter().filter_map(|call| problem(call)).collect();
            seen += calls.len();
            if !problems.is_empty() {
                wrong.push(format!("{shown}: {}", problems.join("\n")));
            } else if !calls.iter().any(|call| path_of(call).starts_with(path)) {
                wrong.push(format!("{shown}: no example of it; its help begins another way than with \"Examples:\", or shows others"));
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 60, "{seen} examples");
}

/// The shell texts of a page: fenced as such or as nothing, or indented.
fn shell(page: &str) -> Vec<String> {
    let (mut texts, mut fence) = (Vec::new(), None::<bool>);
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(matches!(language, "" | "sh" | "console")) };
            texts.push(String::new());
        } else if let Some(text) = if fence == Some(true) {
            Some(line)
        } else {
            line.strip_prefix("    ").filter(|_| fence.is_none())
        } {
            let last = texts.last_mut().unwrap();
            last.push_str(text);
            last.push('\n');
        } else if texts.last().is_none_or(|text| !text.is_empty()) {
            texts.push(String::new());
        }
    }
    texts
}

fn pages(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect()
}

#[test]
fn every_command_in_the_documentation_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = pages(&root.join("docs"));
    pages.push(root.join("README.md"));
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for call in shell(&text).iter().flat_map(|text| calls(text)) {
            seen += 1;
            wrong.extend(problem(&call).map(|problem| format!("{}: {problem}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 60, "{seen} commands");
}

#[test]
fn every_command_has_a_manual_page_that_shows_its_examples() {
    let dir = tempfile::tempdir().unwrap();
    let options = manual::Manual { to: dir.path().to_owned() };
    for (program, section) in programs().into_iter().zip(["1", "8"]) {
        manual::write(program.clone(), section, &options).unwrap();
        each(&program, &[], &mut |command, path| {
            let name = format!("{}.{section}", path.join("-"));
            let page = fs::read_to_string(dir.path().join(&name)).unwrap();
            assert!(page.contains(".SH EXAMPLES\n"), "{name}");
            let first = manual::taught(command).0.lines().next().unwrap().trim().replace('\\', "\\\\");
            let escaped = first.replace('-', "\\-").replace('\'', "\\*(Aq");
            assert!(page.contains(&escaped) || page.contains(&first.replace('-', "\\-")), "{name}: {first}");
        });
    }
    let missing = manual::Manual { to: dir.path().join("absent") };
    assert!(
        manual::write(daemon::definition(), "8", &missing)
            .unwrap_err()
            .to_string()
            .contains("name a directory")
    );
}
