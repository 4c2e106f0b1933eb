//! Keeps a file of the domains that are to be blocked:
//! `cargo run --example block_list -- HUB:PORT CA CERT KEY STATE_DIRECTORY FILE`.
//!
//! `luytre sync` does this and more; here is how a program of one's own does.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to whoever runs it")]
#![allow(clippy::disallowed_methods, reason = "an example stands for a program outside of the project")]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use luytre::client::{
    Client, Collection, Connection, Endpoint, Identity, Kind, Mirror, Start, Subscribe, v1, values,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [hub, authorities, certificate, key, state, file] = arguments.as_slice() else {
        return Err("usage: block_list HUB:PORT CA CERT KEY STATE_DIRECTORY FILE".into());
    };
    let identity = Identity::from_files(certificate, key)?;
    let client = Connection::open(&Endpoint::new(hub, authorities)?, identity)?.client();
    let (mut mirror, file) = (open(&client, Path::new(state))?, Path::new(file));
    loop {
        follow(&mut mirror, file).await?;
        println!("{} indicators stand", mirror.collection().len());
    }
}

/// Opens the state: what stands for us, and where we are, in one directory.
pub(crate) fn open(client: &Client, state: &Path) -> Result<Mirror, Box<dyn Error>> {
    let filter = v1::IndicatorFilter { kinds: vec![v1::ObservableKind::Domain.into()], ..Default::default() };
    Ok(Mirror::open(client, state, Subscribe { filter, ..Subscribe::from(Start::CurrentState) })?)
}

/// Waits until the hub has told all there is for now, and writes the file.
///
/// A process that is killed anywhere finds its set, its place and a whole file.
pub(crate) async fn follow(mirror: &mut Mirror, file: &Path) -> Result<(), Box<dyn Error>> {
    let mut changed = false;
    loop {
        let news = mirror.next().await?;
        changed |= news.changed;
        // Before that it is not known what stands: the old file stays.
        if mirror.collection().is_complete() && (changed || news.caught_up) {
            let beside = file.with_extension("new");
            fs::write(&beside, list(mirror.collection()))?;
            fs::rename(&beside, file)?;
            return Ok(());
        }
    }
}

/// The domains that somebody recommends to block and nobody merely to watch.
fn list(collection: &Collection) -> String {
    let (mut block, mut watch) = (BTreeSet::new(), BTreeSet::new());
    for indicator in collection.iter() {
        let caveats = indicator.marking.as_ref().and_then(|marking| marking.caveats);
        let to_block = indicator.recommended_action() == v1::RecommendedAction::Block;
        let domains = values(&indicator).into_iter().filter(|(kind, _)| *kind == Kind::Domain);
        if caveats.is_some_and(|caveats| caveats.watch_do_not_block) {
            watch.extend(domains.map(|(_, domain)| domain));
        } else if to_block {
            block.extend(domains.map(|(_, domain)| domain));
        }
    }
    block.difference(&watch).map(|domain| format!("{domain}\n")).collect()
}
