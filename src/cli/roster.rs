//! Decides how `luytre roster` shows who takes part, what a change would do,
//! and what became of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::base::tasks;
use crate::client::Client;
use crate::interop::roster;
use crate::model::org::Happening;
use crate::model::roster::Roster;
use crate::wire::proto::v1;

use super::arguments::{RosterAction, RosterArguments};
use super::exit::Failure;
use super::output::{self, Data};
use super::{record, roster_edit};

/// Runs the command.
pub(super) async fn run(client: &Client, options: &RosterArguments, data: &mut Data) -> Result<(), Failure> {
    match &options.action {
        RosterAction::Export => Ok(data.bytes(&client.roster().await?.document)?),
        RosterAction::Diff { file } | RosterAction::Apply { file, dry_run: true } => {
            let (document, etag) = read(file).await?;
            compare(client, document, &etag, data).await
        }
        RosterAction::Apply { file, dry_run: false } => {
            let (document, etag) = read(file).await?;
            apply(client, document, &etag, data).await
        }
        RosterAction::Pending => pending(client, data).await,
        RosterAction::Approve { id } => {
            tell(&client.approve_change(&full_name(id)).await?, data)?;
            data.flush()?;
            output::talk("approved: each change holds from the day it names");
            Ok(())
        }
        RosterAction::Reject { id, reason } => {
            client.reject_change(&full_name(id), reason).await?;
            output::talk("rejected: nothing has changed");
            Ok(())
        }
        RosterAction::End(o) => change(client, data, o.effect.dry_run, |all| roster_edit::end(all, o)).await,
        RosterAction::Rename(o) => {
            change(client, data, o.effect.dry_run, |all| roster_edit::rename(all, o)).await
        }
        RosterAction::Suspend(o) => {
            let suspend =
                |all: &mut _| roster_edit::step(all, &o.organisation, Happening::Suspended, &o.effect);
            change(client, data, o.effect.dry_run, suspend).await
        }
        RosterAction::Resume(o) => {
            let resume = |all: &mut _| roster_edit::step(all, &o.organisation, Happening::Resumed, &o.effect);
            change(client, data, o.effect.dry_run, resume).await
        }
        RosterAction::Grant(o) => {
            let grant = |all: &mut _| {
                roster_edit::grant(all, o);
                Ok(())
            };
            change(client, data, o.dry_run, grant).await
        }
    }
}

/// Reads the roster, changes it, and brings it back.
async fn change(
    client: &Client,
    data: &mut Data,
    dry_run: bool,
    edit: impl FnOnce(&mut Roster) -> Result<(), String>,
) -> Result<(), Failure> {
    let exported = client.roster().await?;
    let mut all = roster::parse(&exported.document).map_err(|found| {
        let first = found.first().map(ToString::to_string).unwrap_or_default();
        Failure::Io(format!("this program does not read the hub's roster, use one of its release: {first}"))
    })?;
    edit(&mut all).map_err(Failure::NoInput)?;
    let document = roster::write(&all, &exported.etag).into_bytes();
    if dry_run {
        return compare(client, document, &exported.etag, data).await;
    }
    apply(client, document, &exported.etag, data).await
}

async fn compare(client: &Client, document: Vec<u8>, etag: &str, data: &mut Data) -> Result<(), Failure> {
    let compared = client.diff_roster(document, etag).await?;
    tell(&compared.differences, data)?;
    by_two(&compared.approvals);
    Ok(())
}

async fn apply(client: &Client, document: Vec<u8>, etag: &str, data: &mut Data) -> Result<(), Failure> {
    let applied = client.apply_roster(document, etag).await?;
    tell(&applied.differences, data)?;
    data.flush()?;
    told(&applied);
    Ok(())
}

fn full_name(id: &str) -> String {
    if id.starts_with("pendingChanges/") { id.to_owned() } else { format!("pendingChanges/{id}") }
}

fn tell(differences: &[String], data: &mut Data) -> Result<(), Failure> {
    if differences.is_empty() {
        output::talk("no difference");
    }
    for line in differences {
        data.line(line)?;
    }
    Ok(())
}

fn by_two(approvals: &[String]) {
    for line in approvals {
        output::talk(&format!("needs a second operator: {line}"));
    }
}

fn told(applied: &v1::ApplyRosterResponse) {
    match applied.outcome() {
        v1::RosterOutcome::Pending => {
            by_two(&applied.approvals);
            let id = id(&applied.pending_change);
            output::talk(&format!(
                "nothing has changed yet: another operator approves it within 7 days with: luytre roster approve {id}"
            ));
        }
        v1::RosterOutcome::Unchanged => output::talk("nothing to change"),
        v1::RosterOutcome::Applied | v1::RosterOutcome::Unspecified => {
            output::talk("applied: each change holds from the day it names");
        }
    }
}

fn id(name: &str) -> &str {
    name.strip_prefix("pendingChanges/").unwrap_or(name)
}

async fn pending(client: &Client, data: &mut Data) -> Result<(), Failure> {
    let waiting = client.pending_changes().await?;
    if waiting.is_empty() {
        output::talk("no change waits");
    }
    for change in waiting {
        let time = |at| record::time(at).unwrap_or_default();
        data.line(&format!(
            "{}  by {}  on {}  until {}",
            id(&change.name),
            change.author,
            time(change.create_time),
            time(change.expire_time)
        ))?;
        if change.outdated {
            data.line("  outdated: the roster has changed since; reject it and propose it anew")?;
        }
        for line in change.differences {
            data.line(&format!("  {line}"))?;
        }
    }
    Ok(())
}

/// Reads a roster file, and the etag of what it was made from.
async fn read(path: &Path) -> Result<(Vec<u8>, String), Failure> {
    let shown = path.display().to_string();
    let path = path.to_owned();
    let read = tasks::spawn_blocking(move || -> io::Result<Vec<u8>> {
        let mut document = Vec::new();
        let most = roster::MAX_BYTES as u64 + 1;
        if path.as_os_str() == "-" {
            io::stdin().lock().take(most).read_to_end(&mut document)?;
        } else {
            File::open(&path)?.take(most).read_to_end(&mut document)?;
        }
        Ok(document)
    });
    let document = match read.await.map_err(|error| Failure::Io(error.to_string()))? {
        Ok(document) => document,
        Err(error) => return Err(Failure::NoInput(format!("cannot read {shown}: {error}"))),
    };
    // Whatever else is wrong with it, the hub tells with its place.
    let etag = serde_json::from_slice::<serde_json::Value>(&document).ok();
    let etag = etag.as_ref().and_then(|document| document.get("etag")?.as_str()).unwrap_or_default();
    if etag.is_empty() {
        return Err(Failure::Usage(format!(
            "error: {shown} is no roster from `luytre roster export`: it is not JSON, or lacks its `etag`, which says what was changed"
        )));
    }
    let etag = etag.to_owned();
    Ok((document, etag))
}
