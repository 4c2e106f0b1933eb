//! Decides how `luytre roster` shows who takes part, what a change would do,
//! and what became of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::base::tasks;
use crate::client::Client;
use crate::interop::roster::MAX_BYTES;
use crate::wire::proto::v1;

use super::arguments::{RosterAction, RosterArguments};
use super::exit::Failure;
use super::output::{self, Data};
use super::record;

/// Runs the command.
pub(super) async fn run(client: &Client, options: &RosterArguments, data: &mut Data) -> Result<(), Failure> {
    match &options.action {
        RosterAction::Export => Ok(data.bytes(&client.roster().await?.document)?),
        RosterAction::Diff { file } | RosterAction::Apply { file, dry_run: true } => {
            let (document, etag) = read(file).await?;
            let compared = client.diff_roster(document, &etag).await?;
            tell(&compared.differences, data)?;
            by_two(&compared.approvals);
            Ok(())
        }
        RosterAction::Apply { file, dry_run: false } => {
            let (document, etag) = read(file).await?;
            let applied = client.apply_roster(document, &etag).await?;
            tell(&applied.differences, data)?;
            data.flush()?;
            told(&applied);
            Ok(())
        }
        RosterAction::Pending => pending(client, data).await,
        RosterAction::Approve { id } => {
            tell(&client.approve_change(&full_name(id)).await?, data)?;
            data.flush()?;
            output::talk("approved: it holds from now on");
            Ok(())
        }
        RosterAction::Reject { id, reason } => {
            client.reject_change(&full_name(id), reason).await?;
            output::talk("rejected: nothing has changed");
            Ok(())
        }
    }
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
            output::talk("applied: it holds from now on");
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
        let most = MAX_BYTES as u64 + 1;
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
