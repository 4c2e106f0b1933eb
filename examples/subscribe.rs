//! Prints what is published, and goes on from a file where it left off:
//! `cargo run --example subscribe -- HUB:PORT CA CERT KEY TOKEN_FILE`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to whoever runs it")]
#![allow(clippy::disallowed_methods, reason = "an example stands for a program outside of the project")]

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use luytre::client::{Client, Connection, Endpoint, Identity, Start, Subscribe, values};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [hub, authorities, certificate, key, place] = arguments.as_slice() else {
        return Err("usage: subscribe HUB:PORT CA CERT KEY TOKEN_FILE".into());
    };
    let identity = Identity::from_files(certificate, key)?;
    let client = Connection::open(&Endpoint::new(hub, authorities)?, identity)?.client();
    run(&client, Path::new(place), None, &mut io::stdout().lock()).await
}

/// Prints events to `out`, `limit` of them or without end, and keeps the place
/// in the file `place`.
pub(crate) async fn run(
    client: &Client,
    place: &Path,
    limit: Option<u64>,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let start = match fs::read(place) {
        Ok(token) => Start::Token(token.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Start::Earliest,
        Err(error) => return Err(error.into()),
    };
    // At most 1,000 events are on their way or not confirmed: the bound of
    // memory here, and what the hub waits for.
    let wanted = Subscribe { window: 1_000, limit, ..Subscribe::from(start) };
    let mut subscription = client.subscribe(wanted);
    while let Some(delivery) = subscription.next().await? {
        for received in delivery.events() {
            if let Some(indicator) = received.stands() {
                for (kind, value) in values(indicator) {
                    writeln!(out, "{}\t{kind}\t{value}", indicator.name)?;
                }
            } else if let Some(name) = received.ended() {
                writeln!(out, "{name}\tended")?;
            }
        }
        out.flush()?;
        if let Some(token) = delivery.token() {
            // After the events, never before them. A database would take both
            // in one transaction.
            let beside = place.with_extension("new");
            fs::write(&beside, token)?;
            fs::rename(&beside, place)?;
            subscription.confirm(token).await?;
        }
    }
    Ok(subscription.close().await?)
}
