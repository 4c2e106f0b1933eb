//! Publishes the lines of a file, one value each, as TLP:GREEN:
//! `cargo run --example publish -- HUB:PORT CA CERT KEY FILE`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};

use luytre::client::{Client, Connection, Draft, Endpoint, Identity, Tlp, Verdict};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [hub, authorities, certificate, key, file] = arguments.as_slice() else {
        return Err("usage: publish HUB:PORT CA CERT KEY FILE".into());
    };
    let identity = Identity::from_files(certificate, key)?;
    let client = Connection::open(&Endpoint::new(hub, authorities)?, identity)?.client();
    let published = run(&client, BufReader::new(File::open(file)?)).await?;
    println!("{published} published");
    Ok(())
}

/// Publishes every line; says which were refused, and how many were taken.
///
/// Run it again after a kill: the same content again changes nothing.
pub(crate) async fn run(client: &Client, lines: impl BufRead) -> Result<u64, Box<dyn Error>> {
    let mut published = 0;
    let mut note = |verdict: Verdict| match verdict.outcome() {
        Ok(_) => published += 1,
        // The reason is for programs, the rest for people.
        Err(refusal) => eprintln!("line {}: {}: {}", verdict.index + 1, refusal.reason, refusal.message),
    };
    // Up to `window` batches are on their way at once. When the connection
    // breaks, what was not answered is sent again under the same request ids.
    let mut stream = client.publish_stream(Default::default());
    for line in lines.lines() {
        let draft = Draft::new(line?, Tlp::Green).label("phishing").confidence(70);
        stream.push(draft).await?.into_iter().for_each(&mut note);
    }
    stream.finish().await?.into_iter().for_each(&mut note);
    Ok(published)
}
