//! What a program that uses the files of `luytre sync` sees: a reader that
//! never stops reading, and what the files ought to hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use luytre::wire::observable::flat;
use luytre::wire::proto::v1;

use crate::harness::Peer;

/// The files of one sync.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) plain: PathBuf,
    pub(super) hosts: PathBuf,
    pub(super) jsonl: PathBuf,
}

/// What stands in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) plain: Vec<String>,
    pub(super) hosts: Vec<String>,
    /// Name to version.
    pub(super) jsonl: BTreeMap<String, u64>,
}

impl Files {
    pub(super) fn at(dir: &Path) -> Self {
        let [plain, hosts, jsonl] = ["plain.txt", "hosts", "all.jsonl"].map(|name| dir.join(name));
        Self { plain, hosts, jsonl }
    }

    /// Reads all three. Each must be whole.
    pub(super) fn read(&self) -> Result<Content, String> {
        Ok(Content { plain: plain(&self.plain)?, hosts: hosts(&self.hosts)?, jsonl: jsonl(&self.jsonl)? })
    }
}

fn lines(path: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(format!("{} ends within a line", path.display()));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

pub(super) fn plain(path: &Path) -> Result<Vec<String>, String> {
    let lines = lines(path)?;
    if !lines.is_sorted_by(|a, b| a < b) {
        return Err(format!("{} is not sorted, or repeats a line", path.display()));
    }
    Ok(lines)
}

fn hosts(path: &Path) -> Result<Vec<String>, String> {
    let name = |line: String| {
        let name = line.strip_prefix("0.0.0.0 ").filter(|name| name.ends_with(".example"));
        name.map(str::to_owned).ok_or_else(|| format!("no line of a hosts file: {line}"))
    };
    let mut lines = plain(path)?;
    // Before all names, as its first sign is.
    if lines.is_empty() || !lines.remove(0).starts_with("# Luy Tre: domains to block. ") {
        return Err(format!("{} has no head", path.display()));
    }
    lines.into_iter().map(name).collect()
}

fn jsonl(path: &Path) -> Result<BTreeMap<String, u64>, String> {
    let mut all = BTreeMap::new();
    for line in lines(path)? {
        let record: serde_json::Value =
            serde_json::from_str(&line).map_err(|error| format!("no JSON: {error}: {line}"))?;
        let (Some(name), Some(version)) = (record["name"].as_str(), record["version"].as_u64()) else {
            return Err(format!("no indicator: {line}"));
        };
        if all.insert(name.to_owned(), version).is_some() {
            return Err(format!("{name} stands twice"));
        }
    }
    Ok(all)
}

/// Reads the files over and over, as a firewall might at any moment.
pub(super) struct Reader {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), String>>,
}

impl Reader {
    /// `anchor` stands in the first file from the first time on that there is
    /// one: the file is never empty in between.
    pub(super) fn of(files: Files, anchor: &str) -> Self {
        let (stop, rounds) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (asked, counted, anchor) = (Arc::clone(&stop), Arc::clone(&rounds), anchor.to_owned());
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                if files.jsonl.exists() {
                    let content = files.read()?;
                    if !content.plain.contains(&anchor) || !content.hosts.contains(&anchor) {
                        return Err(format!("{anchor} is not there: {content:?}"));
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        Self { stop, rounds, thread }
    }

    /// Ends the reader: how often it has read, or what it saw.
    pub(super) fn end(self) -> Result<u64, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()?;
        Ok(self.rounds.load(Ordering::Relaxed))
    }
}

/// What the files ought to hold by what the hub lists.
pub(super) async fn expected(peer: &Peer) -> Content {
    let mut content = Content::default();
    // Value to whether it is recommended to block, whether anyone objects, and
    // whether it is a domain.
    let mut values: BTreeMap<String, (bool, bool, bool)> = BTreeMap::new();
    for indicator in list(peer).await {
        content.jsonl.insert(indicator.name.clone(), indicator.version);
        let caveats = indicator.marking.as_ref().and_then(|marking| marking.caveats.as_ref());
        let objects = caveats.is_some_and(|caveats| caveats.watch_do_not_block)
            || indicator.role() == v1::IndicatorRole::Victim;
        let blocks = indicator.recommended_action() == v1::RecommendedAction::Block;
        let (kind, value, _) = flat(indicator.observable);
        let said = values.entry(value).or_default();
        said.0 |= blocks;
        said.1 |= objects;
        said.2 |= kind.is_some_and(|kind| kind.as_str() == "domain");
    }
    let blocked = values.into_iter().filter(|(_, said)| said.0 && !said.1);
    for (value, (_, _, is_domain)) in blocked {
        if is_domain {
            content.hosts.push(value.clone());
        }
        content.plain.push(value);
    }
    content
}

/// All that stands for `peer`.
async fn list(peer: &Peer) -> Vec<v1::Indicator> {
    let mut client = peer.exchange();
    let (mut indicators, mut page_token) = (Vec::new(), String::new());
    loop {
        let filter =
            v1::IndicatorFilter { states: vec![v1::IndicatorState::Active.into()], ..Default::default() };
        let request = v1::ListIndicatorsRequest {
            filter: Some(filter),
            page_size: 500,
            page_token,
            ..Default::default()
        };
        let page = client.list_indicators(request).await.unwrap().into_inner();
        indicators.extend(page.indicators);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return indicators;
        }
    }
}
