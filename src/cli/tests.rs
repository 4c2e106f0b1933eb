//! Promises of whole commands, against the client's stub hub.

mod certificates;
mod taught;

use std::io;
use std::sync::Arc;

use clap::Parser as _;
use parking_lot::Mutex;

use crate::client::Client;
use crate::client::tests::{exchange, subscription};

use super::arguments::{Arguments, Command};
use super::exit::Failure;
use super::language::Language;
use super::output::Data;
use super::{lookup, publish, subscribe};

/// What a command printed.
#[derive(Clone, Default)]
pub(super) struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    /// All of it.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that went away.
struct Gone;

impl io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn run(
    client: &Client,
    arguments: &[&str],
    to: impl io::Write + Send + 'static,
) -> Result<(), Failure> {
    let arguments = Arguments::try_parse_from([&["luytre"], arguments].concat()).unwrap();
    let mut data = Data::to(to);
    match arguments.command {
        Command::Publish(options) => publish::run(client, &options, true).await,
        Command::Subscribe(options) => {
            subscribe::run(client, &options, (true, Language::En), &mut data).await
        }
        Command::Lookup(options) => lookup::run(client, &options, &mut data).await,
        other => panic!("{other:?}"),
    }
}

/// Runs `subscribe` and returns the versions it printed, which number the
/// stub's events.
async fn versions(client: &Client, arguments: &[&str]) -> Vec<u64> {
    let printed = Printed::default();
    run(client, arguments, printed.clone()).await.unwrap();
    let text = String::from_utf8(printed.0.lock().clone()).unwrap();
    text.lines()
        .map(|line| {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(json["event"], "new");
            json["version"].as_u64().unwrap()
        })
        .collect()
}

fn path(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_subscriber_with_a_state_file_goes_on_exactly_where_it_ended() {
    let hub = subscription::Stub::with(30, []).serve().await;
    let dir = tempfile::tempdir().unwrap();
    let state = path(&dir, "state");
    let arguments = ["subscribe", "--state", &state, "--count", "7"];
    assert_eq!(versions(&hub.client(), &arguments).await, (1..=7).collect::<Vec<_>>());
    assert_eq!(versions(&hub.client(), &arguments).await, (8..=14).collect::<Vec<_>>());
}

#[tokio::test]
async fn events_that_nobody_read_come_again_after_a_broken_pipe() {
    let hub = subscription::Stub::with(30, []).serve().await;
    let dir = tempfile::tempdir().unwrap();
    let state = path(&dir, "state");
    let arguments = ["subscribe", "--state", &state, "--count", "5"];
    let ended = run(&hub.client(), &arguments, Gone).await.unwrap_err();
    assert_eq!((ended.code(), ended.text()), (0, None));
    assert_eq!(versions(&hub.client(), &arguments).await, (1..=5).collect::<Vec<_>>());
}

#[tokio::test]
async fn lines_that_the_hub_or_we_refuse_are_reported_by_number_and_the_rest_is_published() {
    let stub = exchange::Stub::with([]);
    let hub = stub.serve().await;
    let dir = tempfile::tempdir().unwrap();
    let (input, rejects) = (path(&dir, "in.jsonl"), path(&dir, "rejects.jsonl"));
    let lines = "{\"value\":\"one\",\"tlp\":\"green\"}\n{\"value\":\"bad-two\",\"tlp\":\"green\"}\n\n{\"value\":\"four\"}\nnot json\n{\"value\":\"six\",\"tlp\":\"clear\"}\n";
    std::fs::write(&input, lines).unwrap();

    let ended =
        run(&hub.client(), &["publish", &input, "--rejects", &rejects], io::sink()).await.unwrap_err();

    assert_eq!(ended.code(), 65);
    let told = std::fs::read_to_string(&rejects).unwrap();
    let mut told: Vec<(u64, String)> = told
        .lines()
        .map(|line| {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            (json["line"].as_u64().unwrap(), json["reason"].as_str().unwrap().to_owned())
        })
        .collect();
    told.sort();
    let expected = [(2, "FIELD_INVALID"), (4, "MARKING_REQUIRED"), (5, "NOT_RECORD")];
    assert_eq!(told, expected.map(|(line, reason)| (line, reason.to_owned())));
    assert_eq!(stub.published(), 3, "one, bad-two and six reached the hub");
}

#[tokio::test]
async fn a_list_without_refused_lines_ends_well() {
    let stub = exchange::Stub::with([exchange::Cut::Quiet(1)]);
    let hub = stub.serve().await;
    let dir = tempfile::tempdir().unwrap();
    let input = path(&dir, "in.txt");
    let list: String = (0..1_234).map(|n| format!("value-{n}.example\n")).collect();
    std::fs::write(&input, format!("# head\n{list}")).unwrap();
    run(&hub.client(), &["publish", &input, "--tlp", "green", "--batch", "100"], io::sink()).await.unwrap();
    assert_eq!(stub.published(), 1_234);
}

#[tokio::test]
async fn a_plain_list_without_marking_is_not_even_begun() {
    let stub = exchange::Stub::with([]);
    let hub = stub.serve().await;
    let dir = tempfile::tempdir().unwrap();
    let input = path(&dir, "in.txt");
    std::fs::write(&input, "one\n").unwrap();
    let ended = run(&hub.client(), &["publish", &input], io::sink()).await.unwrap_err();
    assert_eq!(ended.code(), 64);
    assert_eq!(stub.published(), 0);
}

#[tokio::test]
async fn looked_up_values_are_answered_in_order_and_say_how_they_matched() {
    let hub = exchange::Stub::with([]).serve().await;
    let printed = Printed::default();
    run(&hub.client(), &["lookup", "a"], printed.clone()).await.unwrap();
    let text = String::from_utf8(printed.0.lock().clone()).unwrap();
    assert_eq!(
        text,
        "{\"value\":\"a\",\"known\":true,\"matches\":[{\"name\":\"a\",\"masked\":true,\"state\":\"\",\"how\":\"host\",\"matched\":\"host\"}],\"truncated\":true}\n"
    );
    let printed = Printed::default();
    run(&hub.client(), &["lookup", "--exact", "b", "a"], printed.clone()).await.unwrap();
    let text = String::from_utf8(printed.0.lock().clone()).unwrap();
    assert_eq!(
        text,
        "{\"value\":\"b\",\"known\":true,\"matches\":[{\"name\":\"b\",\"masked\":true,\"state\":\"\"}]}\n{\"value\":\"a\",\"known\":true,\"matches\":[{\"name\":\"a\",\"masked\":true,\"state\":\"\"}]}\n"
    );
}
