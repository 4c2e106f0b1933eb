//! Proves the floors of `src/lib.rs`: a module uses only lower floors, modules
//! of one floor never use each other, and what one module alone may name is
//! named there alone. The table in the crate's documentation is the law here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines. There are no exceptions.
const MAX_LINES: usize = 500;

/// Whoever may name the generated protobuf types: their module, the boundary
/// that translates them, and the faces that speak them.
const SPEAK_PROTOBUF: [&str; 4] = ["wire", "rpc", "client", "cli"];

#[test]
fn every_module_stands_on_exactly_one_floor() {
    let root = fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared = root.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut declared: Vec<_> = declared.map(str::to_owned).collect();
    declared.sort();
    let floors: Vec<_> = floors(&root).into_keys().collect();
    assert_eq!(declared, floors, "the modules of src/lib.rs are those of its table of floors");
}

#[test]
fn a_module_uses_only_lower_floors() {
    let floors = floors(&fs::read_to_string(source().join("lib.rs")).unwrap());
    let mut broken = Vec::new();
    for file in sources() {
        let Some(home) = file.module.first() else { continue };
        let floor = floors[home];
        for (line, path) in &file.paths {
            let Some(used) = path.first().filter(|used| *used != home) else { continue };
            // Whatever is not a module of the table is an item of the crate's
            // root, and the root has none.
            match floors.get(used) {
                Some(below) if *below < floor => {}
                Some(above) => broken.push(format!(
                    "{}:{line}: {home} (floor {floor}) uses {} (floor {above})",
                    file.shown,
                    path.join("::")
                )),
                None => broken.push(format!("{}:{line}: no floor has {}", file.shown, path.join("::"))),
            }
        }
    }
    assert!(broken.is_empty(), "these reach up or sideways:\n{}", broken.join("\n"));
}

#[test]
fn only_the_store_names_rocksdb() {
    let named = sources().into_iter().filter(|file| file.module.first().is_none_or(|home| home != "store"));
    let broken: Vec<_> = named.filter_map(|file| file.line_of(&["rocksdb"])).collect();
    assert!(broken.is_empty(), "RocksDB is named outside of the store:\n{}", broken.join("\n"));
}

#[test]
fn generated_types_stop_at_the_boundary() {
    let mut broken = Vec::new();
    for file in sources() {
        if file.module.first().is_some_and(|home| SPEAK_PROTOBUF.contains(&home.as_str())) {
            continue;
        }
        broken.extend(file.line_of(&["proto", "v1"]));
        let named = file.paths.iter().filter(|(_, path)| path.starts_with(&["wire".into(), "proto".into()]));
        broken.extend(named.map(|(line, _)| format!("{}:{line}", file.shown)));
    }
    assert!(broken.is_empty(), "wire::proto is named inside the hub:\n{}", broken.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    let mut broken = Vec::new();
    for file in sources() {
        if !file.text.starts_with("//! ") {
            broken.push(format!("{}: does not begin with //!", file.shown));
        }
        let lines = file.text.lines().count();
        if lines > MAX_LINES {
            broken.push(format!("{}: {lines} lines, more than {MAX_LINES}; split it by noun", file.shown));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_scan_sees_every_way_of_naming_a_module() {
    let seen = |text: &str| {
        let paths = paths(&tokens(text), &["hub".into(), "publish".into()]);
        paths.into_iter().map(|(_, path)| path.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(seen("use crate::rpc::layers;"), ["rpc::layers"]);
    assert_eq!(seen("use crate::{base::{clock, files as f}, rpc};"), ["base::clock", "base::files", "rpc"]);
    assert_eq!(seen("use super::super::cli::output;"), ["cli::output"]);
    assert_eq!(seen("use super::{super::web, error};"), ["web", "hub::error"]);
    assert_eq!(seen("mod tests { use super::super::x; } use super::y;"), ["hub::x", "hub::y"]);
    assert_eq!(seen("fn f() -> crate::pki::Error { self::g() }"), ["pki::Error", "hub::publish::g"]);
    assert_eq!(seen("pub(in crate::hub) fn f() { $crate::store::x!() }"), ["hub", "store::x"]);
    assert_eq!(
        seen("use ::luytre::rpc::x; // crate::cli\n/* crate::cli /* */ */ \"crate::cli\""),
        ["rpc::x"]
    );
    assert_eq!(seen("r#\"crate::\"cli\"# '\"' b'\\'' 'a crate::base::*"), ["base"]);
}

/// One file under `src/`, read.
struct Source {
    /// Its path as people write it.
    shown: String,
    text: String,
    /// Its module's path; empty for the crate's root and the binaries.
    module: Vec<String>,
    tokens: Vec<Token>,
    /// What it names within the crate, from the root.
    paths: Vec<(usize, Vec<String>)>,
}

impl Source {
    /// Where the path `segments` is first named.
    fn line_of(&self, segments: &[&str]) -> Option<String> {
        let wanted: Vec<_> = segments.join(" :: ").split(' ').map(str::to_owned).collect();
        let mut windows = self.tokens.windows(wanted.len());
        let found = windows.find(|window| window.iter().map(|token| &token.text).eq(&wanted))?;
        Some(format!("{}:{}", self.shown, found[0].line))
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every module's floor, from the table in the crate's documentation.
fn floors(root: &str) -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    for line in root.lines() {
        let mut cells = line.strip_prefix("//! |").into_iter().flat_map(|row| row.split('|'));
        let (Some(floor), Some(modules)) = (cells.next(), cells.next()) else { continue };
        let Ok(floor) = floor.trim().parse() else { continue };
        for module in modules.split('`').skip(1).step_by(2) {
            assert_eq!(floors.insert(module.to_owned(), floor), None, "{module} stands on two floors");
        }
    }
    assert!(floors.len() > 5, "src/lib.rs has a table of floors");
    floors
}

fn sources() -> Vec<Source> {
    let (root, mut found) = (source(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(read(&root, &path));
            }
        }
    }
    found.sort_by(|a, b| a.shown.cmp(&b.shown));
    assert!(found.len() > 20, "the sources are where they should be");
    found
}

fn read(root: &Path, path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let below = path.strip_prefix(root).unwrap();
    let mut module: Vec<_> =
        below.with_extension("").iter().map(|segment| segment.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|name| name == "mod" || name == "lib") {
        module.pop();
    }
    if module.first().is_some_and(|name| name == "bin") {
        module.clear();
    }
    let tokens = tokens(&text);
    let paths = paths(&tokens, &module);
    Source { shown: format!("src/{}", below.display()), text, module, tokens, paths }
}

/// A word, `::`, or any other single character.
struct Token {
    line: usize,
    text: String,
}

/// The code without its comments, strings and characters.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let start = i;
        match (at(i), at(i + 1)) {
            ('/', '/') => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            ('/', '*') => i = after_block_comment(&chars, i),
            ('"', _) => i = after_string(&chars, i),
            ('r', '"' | '#') if raw_string_hashes(&chars, i + 1).is_some() => {
                i = after_raw_string(&chars, i + 1);
            }
            // A lifetime is a quote that no quote ends.
            ('\'', '\\') => i = after_escaped_character(&chars, i),
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            (':', ':') => {
                tokens.push(Token { line, text: "::".into() });
                i += 2;
            }
            (c, _) if is_word(c) => {
                while is_word(at(i)) && !(at(i) == 'r' && raw_string_hashes(&chars, i + 1).is_some()) {
                    i += 1;
                }
                tokens.push(Token { line, text: chars[start..i].iter().collect() });
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push(Token { line, text: c.into() });
                }
                i += 1;
            }
        }
        line += chars[start..i].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn after_block_comment(chars: &[char], mut i: usize) -> usize {
    let mut depth = 0;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i.min(chars.len())
}

fn after_string(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn after_escaped_character(chars: &[char], start: usize) -> usize {
    let end = (start + 3..chars.len()).find(|i| chars[*i] == '\'');
    end.map_or(chars.len(), |end| end + 1)
}

/// How many hashes open the raw string at `i`, behind its `r`.
fn raw_string_hashes(chars: &[char], i: usize) -> Option<usize> {
    let hashes = chars[i.min(chars.len())..].iter().take_while(|c| **c == '#').count();
    (chars.get(i + hashes) == Some(&'"')).then_some(hashes)
}

fn after_raw_string(chars: &[char], i: usize) -> usize {
    let hashes = raw_string_hashes(chars, i).unwrap();
    let mut end = vec!['"'];
    end.resize(hashes + 1, '#');
    let body = i + hashes + 1;
    let length = chars[body..].windows(end.len()).position(|window| window == end);
    length.map_or(chars.len(), |length| body + length + end.len())
}

/// Every path that starts at `crate`, `self`, `super` or the crate's name, from
/// the root. Paths of a `use` tree are given one by one.
fn paths(tokens: &[Token], module: &[String]) -> Vec<(usize, Vec<String>)> {
    let word = |i: usize| tokens.get(i).map(|token| token.text.as_str()).unwrap_or_default();
    let (mut found, mut inline, mut depth, mut i) = (Vec::new(), Vec::new(), 0, 0);
    while i < tokens.len() {
        match word(i) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|(opened, _)| *opened == depth);
            }
            "mod" if word(i + 2) == "{" => inline.push((depth, word(i + 1).to_owned())),
            "crate" | "self" | "super" | "luytre" if word(i + 1) == "::" => {
                let mut here = module.to_vec();
                here.extend(inline.iter().map(|(_, name)| name.clone()));
                i = tree(tokens, i, here, &mut found);
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    found
}

fn is_segment(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '>')
}

/// Reads one path, or one tree of a `use`; returns where it ends.
fn tree(
    tokens: &[Token],
    mut i: usize,
    mut path: Vec<String>,
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let start = tokens[i].line;
    loop {
        match tokens.get(i).map(|token| token.text.as_str()) {
            Some("crate" | "luytre") => path.clear(),
            Some("super") => drop(path.pop()),
            Some("self") => {}
            Some("{") => {
                i += 1;
                while tokens.get(i).is_some_and(|token| token.text != "}") {
                    i = match tokens[i].text.as_str() {
                        "," => i + 1,
                        // The new name of `x as y` is no path.
                        "as" => i + 2,
                        _ => tree(tokens, i, path.clone(), found),
                    };
                }
                return i + 1;
            }
            Some(segment) if is_segment(segment) && !segment.starts_with('>') => {
                path.push(segment.to_owned())
            }
            // A glob, or the angle bracket of a turbofish.
            _ => {
                found.push((start, path));
                return i + 1;
            }
        }
        if tokens.get(i + 1).is_none_or(|token| token.text != "::") {
            found.push((start, path));
            return i + 1;
        }
        i += 2;
    }
}
