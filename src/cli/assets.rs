//! Decides how `luytre assets` shows and changes what an organisation calls its
//! own, and reads it from a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::Serialize;

use crate::client::Client;
use crate::interop::assets::{Listed, read};
use crate::model::asset::Asset;
use crate::wire::proto::v1;

use super::arguments::{Assets, AssetsAction, ImportAssets, TableOrJson};
use super::exit::Failure;
use super::output::{self, Data, for_eyes};
use super::record::slug;
use super::terminal::pad;

/// Most bytes of a list that are read: more assets than an organisation may have.
const MAX_BYTES: u64 = 4 << 20;
/// Width of the column of assets: an IPv6 network.
const ASSET: usize = 43;

#[derive(Debug, Serialize)]
struct Shown<'a> {
    asset: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    inherited_from: &'a str,
}

/// Runs the command.
pub(super) async fn run(client: &Client, options: &Assets, data: &mut Data) -> Result<(), Failure> {
    match &options.action {
        AssetsAction::List(options) => {
            let list = client.assets().await?;
            for asset in &list.assets {
                show(asset, options.format, data)?;
            }
            if list.assets.is_empty() {
                output::talk("luytre: no asset is registered; luytre assets add --help tells how");
            }
            Ok(())
        }
        AssetsAction::Add(options) => change(client, options.assets.clone(), Vec::new(), data).await,
        AssetsAction::Remove(options) => change(client, Vec::new(), options.assets.clone(), data).await,
        AssetsAction::Import(options) => import(client, options, data).await,
    }
}

fn show(asset: &v1::Asset, format: TableOrJson, data: &mut Data) -> Result<(), Failure> {
    let shown = Shown { asset: &asset.value, inherited_from: slug(&asset.inherited_from) };
    match format {
        TableOrJson::Jsonl => data.json(&shown)?,
        TableOrJson::Table if shown.inherited_from.is_empty() => data.line(shown.asset)?,
        TableOrJson::Table => {
            data.line(&format!("{}  from {}", pad(shown.asset, ASSET), shown.inherited_from))?;
        }
    }
    Ok(())
}

async fn change(
    client: &Client,
    add: Vec<String>,
    remove: Vec<String>,
    data: &mut Data,
) -> Result<(), Failure> {
    let before = client.assets().await?;
    let after = client.change_assets(add, remove, "").await?;
    tell(&before, &after, data)
}

/// Prints what differs.
fn tell(before: &v1::Assets, after: &v1::Assets, data: &mut Data) -> Result<(), Failure> {
    let by_value = |list: &v1::Assets| -> BTreeMap<String, String> {
        list.assets.iter().map(|asset| (asset.value.clone(), asset.inherited_from.clone())).collect()
    };
    let (was, is) = (by_value(before), by_value(after));
    for (value, _) in is.iter().filter(|(value, from)| was.get(*value) != Some(from)) {
        data.line(&format!("+ {value}"))?;
    }
    for value in was.keys().filter(|value| !is.contains_key(*value)) {
        data.line(&format!("- {value}"))?;
    }
    if was == is {
        output::talk("luytre: nothing to change; the list is so already");
    }
    Ok(())
}

async fn import(client: &Client, options: &ImportAssets, data: &mut Data) -> Result<(), Failure> {
    let listed = open(&options.input)?;
    let refused = listed.iter().filter(|listed| listed.read.is_err()).count();
    if options.dry_run || refused > 0 {
        for line in &listed {
            let Listed { number, text, read } = line;
            match read {
                Ok(asset) if options.dry_run => data.line(&format!("{number}: {asset}"))?,
                Ok(_) => {}
                Err(problem) => output::talk(&format!("luytre: line {number}: {} {problem}", for_eyes(text))),
            }
        }
    }
    if refused > 0 {
        output::talk(&format!("luytre: {refused} lines are no assets; nothing was registered"));
        return Err(Failure::SomeRefused);
    }
    let assets: BTreeSet<Asset> = listed.into_iter().filter_map(|listed| listed.read.ok()).collect();
    if options.dry_run {
        return Ok(());
    }
    let before = client.assets().await?;
    let texts: BTreeSet<String> = assets.iter().map(ToString::to_string).collect();
    let add = missing(&texts, &before);
    let gone = before.assets.iter().filter(|asset| options.replace && !texts.contains(&asset.value));
    let remove = gone.map(|asset| asset.value.clone()).collect();
    // Whoever replaces a list has seen it.
    let etag = if options.replace { before.etag.as_str() } else { "" };
    let after = client.change_assets(add, remove, etag).await?;
    tell(&before, &after, data)
}

/// What is to be registered. What is watched because another registered it is
/// not: it would be gone with that one's list.
fn missing(texts: &BTreeSet<String>, before: &v1::Assets) -> Vec<String> {
    let own = before.assets.iter().filter(|asset| asset.inherited_from.is_empty());
    let known: BTreeSet<&str> = own.map(|asset| asset.value.as_str()).collect();
    texts.iter().filter(|text| !known.contains(text.as_str())).cloned().collect()
}

fn open(path: &Path) -> Result<Vec<Listed>, Failure> {
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let failed = |error: io::Error| {
            let text = format!("cannot open {}: {error}", path.display());
            if error.kind() == io::ErrorKind::NotFound { Failure::NoInput(text) } else { Failure::Io(text) }
        };
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut input = BufReader::new(input.take(MAX_BYTES + 1));
    let listed = read(&mut input).map_err(|error| Failure::Io(error.to_string()))?;
    if input.into_inner().limit() == 0 {
        return Err(Failure::Usage(format!("luytre: {} is longer than any list of assets", path.display())));
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_watched_through_another_is_registered_by_an_import() {
        let asset = |value: &str, from: &str| v1::Asset { value: value.into(), inherited_from: from.into() };
        let assets = vec![asset("a.example", ""), asset("b.example", "organisations/ended")];
        let before = v1::Assets { assets, ..v1::Assets::default() };
        let texts = ["a.example", "b.example", "c.example"].map(str::to_owned).into();
        assert_eq!(missing(&texts, &before), ["b.example", "c.example"]);
    }
}
