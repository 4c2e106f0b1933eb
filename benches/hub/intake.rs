//! Decides how it is measured how fast files are taken in: the real feeds with
//! `luytre publish`, or a list of this benchmark's hosts where there are none.

use std::path::{Path, PathBuf};
use std::time::Instant;

use luytre::wire::observable::flat;

use super::harness::{TestHub, luytre};
use super::items::Items;
use super::process;
use super::rows::{Readings, end, hub};

/// Values of the list where there are no feeds.
const INVENTED: usize = 100_000;

/// P22: every file of the feeds, one after another: tried out, published, and
/// published once more, when nothing changes.
pub async fn import(items: &mut Items, out: &mut Readings) {
    let hub = hub().await;
    let mut files = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/threat/feeds"), &mut files);
    if files.is_empty() {
        let (_, drafts) = items.marked(0, INVENTED, &|_, _| super::items::green());
        let lines: Vec<_> = drafts.into_iter().map(|draft| flat(draft.observable).1).collect();
        let path = hub.dir().join("list.txt");
        std::fs::write(&path, lines.join("\n")).expect("a list is written");
        files.push(path);
    }
    let tried = take(&hub, &files, &["--dry-run"]).await;
    let before = process::cpu(hub.pid());
    let first = take(&hub, &files, &[]).await;
    let cpu = (process::cpu(hub.pid()) - before).as_secs_f64();
    let again = take(&hub, &files, &[]).await;
    assert_eq!((tried.values, again.values), (first.values, first.values), "each run takes the same");
    out.insert("p22.rate", first.rate());
    out.insert("p22.cpu", cpu * 1e6 / first.values as f64);
    out.insert("p22.again", again.rate());
    out.insert("p22.tried", tried.rate());
    println!("  P22: {} files, {} values", files.len(), first.values);
    end(hub).await;
}

/// What the runs over all files took in, and in how long.
struct Taken {
    values: u64,
    seconds: f64,
}

impl Taken {
    fn rate(&self) -> f64 {
        self.values as f64 / self.seconds
    }
}

async fn take(hub: &TestHub, files: &[PathBuf], more: &[&str]) -> Taken {
    let started = Instant::now();
    let mut values = 0;
    for path in files {
        let words = [&["publish", path.to_str().expect("a path in UTF-8"), "--tlp", "green"], more].concat();
        let ended = luytre(hub, "agency", "system/feed", &words).await;
        assert!(matches!(ended.code, 0 | 65), "{ended:?}");
        values += accepted(&ended.stderr);
    }
    Taken { values, seconds: started.elapsed().as_secs_f64() }
}

fn accepted(report: &str) -> u64 {
    let rest = report.rsplit_once("accepted ").expect("a report").1;
    let digits: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    digits.replace(',', "").parse().expect("a number")
}

/// Files under a folder, licences left out.
pub fn find(path: &Path, out: &mut Vec<PathBuf>) {
    if let Ok(entries) = std::fs::read_dir(path) {
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().for_each(|path| find(path, out));
    } else if path.is_file()
        && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("LICENSE"))
    {
        out.push(path.to_owned());
    }
}
