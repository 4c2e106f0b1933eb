//! A new user's first hour: the quick start is run as it stands, from `git
//! clone` to a synced block list, in a home that was empty before. And what
//! holds the other guides together: their languages, their links.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::patience::patience;

/// What stands in fences on the page: the language, and the text.
type Block = (String, String);

const ENGLISH: &str = "docs/quick-start.md";
const VIETNAMESE: &str = "docs/vi/quick-start.md";

/// Between the output of one block and that of the next.
const MARK: &str = "@@ block";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for line in text.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some((language, text))) => open = Some((language, text + line + "\n")),
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a fence of {page} stays open");
    blocks
}

/// What the page says and a test does otherwise, each exactly once. All else is
/// run as it stands.
fn substitutions() -> [(&'static str, String); 2] {
    let root = root().display();
    // A source archive is no repository.
    let clone = match self::root().join(".git").try_exists() {
        Ok(true) => format!("git clone --quiet '{root}' luytre"),
        _ => format!("ln -s '{root}' luytre"),
    };
    let build = Path::new(env!("CARGO_BIN_EXE_luytred")).parent().unwrap().display();
    let build = format!(
        "make --dry-run build >/dev/null\n\
         mkdir -p \"$HOME/.cache/luytre/target/debug\"\n\
         ln -s '{build}/luytred' '{build}/luytre' \"$HOME/.cache/luytre/target/debug\"\n"
    );
    [("git clone https://git.example.vn/luytre.git\n", clone + "\n"), ("make build\n", build)]
}

/// An address of the loopback net that is this process's alone, so that the
/// ports of the page are free on it.
fn address() -> String {
    let [_, second, third, fourth] = std::process::id().to_be_bytes();
    format!("127.{}.{third}.{}", second | 64, fourth.clamp(1, 254))
}

/// The blocks that are to be run, as one script that marks where each begins.
fn script(blocks: &[Block]) -> String {
    let mut script = String::from("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for (number, (_, text)) in blocks.iter().enumerate().filter(|(_, (language, _))| language == "sh") {
        script.push_str(&format!("printf '{MARK} {number}\\n'\n{text}"));
    }
    for (said, done) in substitutions() {
        assert_eq!(script.matches(said).count(), 1, "the page says once: {said}");
        script = script.replace(said, &done);
    }
    assert!(script.contains("127.0.0.1:7443") && script.contains("127.0.0.1:9464"));
    script.replace("127.0.0.1", &address())
}

/// Runs a script as a user who has nothing but a system and an empty home.
fn run(script: &str, home: &Path) -> Output {
    fs::write(home.join(".gitconfig"), "[safe]\n\tdirectory = *\n").unwrap();
    Command::new("timeout")
        .args(["--kill-after=5", &patience().as_secs().to_string(), "bash", "-c", script])
        .current_dir(home)
        .env_clear()
        .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LC_ALL", "C.UTF-8")])
        .env("HOME", home)
        .process_group(0)
        .output()
        .unwrap()
}

#[test]
fn a_new_users_first_hour_goes_as_the_quick_start_tells() {
    let blocks = blocks(ENGLISH);
    let home = tempfile::tempdir().unwrap();
    let ended = run(&script(&blocks), home.path());
    let told = String::from_utf8_lossy(&ended.stderr);
    let shown = String::from_utf8(ended.stdout).unwrap();
    let log = fs::read_to_string(home.path().join("hub/hub.log")).unwrap_or_default();
    assert!(ended.status.success(), "{}\n{shown}\n{told}\nthe hub's log:\n{log}", ended.status);

    // What the page shows below a block is all that the block prints at its end.
    let mut compared = 0;
    for (number, (language, expected)) in blocks.iter().enumerate() {
        if language != "text" {
            continue;
        }
        let printed = shown.split_once(&format!("{MARK} {}\n", number - 1)).unwrap().1;
        let printed = printed.split_once(MARK).map_or(printed, |(printed, _)| printed);
        assert!(printed.ends_with(expected), "block {number} shows\n{expected}but this came:\n{printed}");
        compared += 1;
    }
    assert_eq!(compared, 4, "the look-up, both lists and the check");

    // The outcome that the page promises: what the police published is in the
    // health department's list, but for what they took back.
    let list = fs::read_to_string(home.path().join("hub/blocked.txt")).unwrap();
    assert_eq!(list, "198.51.100.7\nhttp://files.example/update.exe\n");
    assert!(log.contains("stopped"), "the hub stopped in good order: {log}");
}

#[test]
fn both_quick_starts_say_the_same_commands() {
    let (english, vietnamese) = (blocks(ENGLISH), blocks(VIETNAMESE));
    for (number, (one, other)) in english.iter().zip(&vietnamese).enumerate() {
        assert_eq!(one, other, "block {number}");
    }
    assert_eq!(english.len(), vietnamese.len());
    let languages: Vec<_> = english.iter().map(|(language, _)| language.as_str()).collect();
    assert!(languages.iter().all(|language| ["sh", "text", "console"].contains(language)), "{languages:?}");
    // What goes on until Ctrl-C is shown and not run.
    let shown: Vec<_> = english.iter().filter(|(language, _)| language == "console").collect();
    assert_eq!(shown.len(), 1);
    assert!(shown[0].1.starts_with("luytre --profile health.toml sync ") && shown[0].1.contains(" --hook "));
}

/// The indented blocks of a page, without remarks.
fn indented(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    // What is fenced is no command there.
    let text: Vec<_> = text.split("```").step_by(2).collect();
    let lines = text.iter().flat_map(|part| part.lines()).filter_map(|line| line.strip_prefix("    "));
    lines.filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn both_operator_guides_say_the_same_commands_under_as_many_headings() {
    const GUIDES: [&str; 2] = ["docs/operating.md", "docs/vi/operating.md"];
    let [english, vietnamese] = GUIDES.map(indented);
    assert!(english.len() > 50, "{}", english.len());
    for (one, other) in english.iter().zip(&vietnamese) {
        assert_eq!(one, other);
    }
    assert_eq!(english.len(), vietnamese.len());
    let headings = |page: &str| {
        let text = fs::read_to_string(root().join(page)).unwrap();
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.find(' ')).collect::<Vec<_>>()
    };
    assert_eq!(headings(GUIDES[0]), headings(GUIDES[1]));
}

/// The calls of `luytre` in a page, without remarks.
fn asked(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let calls = text.lines().map(str::trim).filter(|line| line.starts_with("luytre "));
    let said = |line: &str| line.split("  #").next().unwrap_or_default().trim().to_owned();
    calls.map(said).filter(|line| !line.contains("rows, TLP")).collect()
}

#[test]
fn the_vietnamese_page_on_history_says_the_commands_of_the_english_ones() {
    const PAGES: [&str; 3] = ["docs/querying.md", "docs/history.md", "docs/exports.md"];
    let mut english: Vec<_> = PAGES.iter().flat_map(|page| asked(page)).collect();
    let mut vietnamese = asked("docs/vi/history.md");
    assert!(english.len() > 25, "{}", english.len());
    english.sort();
    vietnamese.sort();
    assert_eq!(english, vietnamese);
}

#[test]
fn the_vietnamese_page_on_receipts_says_the_commands_of_the_english_one() {
    let english = indented("docs/receipts.md");
    assert_eq!(english.len(), 4);
    assert_eq!(english, indented("docs/vi/receipts.md"));
}

#[test]
fn both_pages_on_own_assets_say_the_same_commands() {
    let [english, vietnamese] = ["docs/own-assets.md", "docs/vi/own-assets.md"].map(asked);
    assert!(english.len() >= 10, "{english:?}");
    assert_eq!(english, vietnamese);
}

fn pages(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect()
}

/// A heading as links name it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c => c.is_alphanumeric().then_some(c),
        })
        .collect()
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let mut pages = pages(&root().join("docs"));
    pages.extend([root().join("README.md"), root().join("clients/python/README.md")]);
    let (mut broken, mut seen) = (Vec::new(), 0);
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") {
                continue;
            }
            seen += 1;
            let (file, part) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let led = target.exists()
                && (part.is_empty()
                    || fs::read_to_string(&target)
                        .unwrap()
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line) == part));
            if !led {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(seen > 80, "{seen} links");
}
