//! Decides how `luytre roster` shows who takes part, what a change would do,
//! and what became of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use time::Date;

use crate::base::tasks;
use crate::client::Client;
use crate::interop::roster;
use crate::model::org::Happening;
use crate::model::roster::Roster;
use crate::wire::proto::v1;

use super::arguments::{Effect, RosterAction, RosterArguments};
use super::changes::{self, Waiting};
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
            apply(client, document, &etag, "", data).await
        }
        RosterAction::Pending => Ok(changes::list(&pending(client).await?, data)?),
        RosterAction::Approve { id } => {
            let name = named(client, id).await?;
            Ok(changes::approved(&client.approve_change(&name).await?, data)?)
        }
        RosterAction::Reject { id, reason } => {
            client.reject_change(&named(client, id).await?, reason).await?;
            changes::rejected();
            Ok(())
        }
        RosterAction::End(o) => dated(client, data, &o.effect, |all| roster_edit::end(all, o)).await,
        RosterAction::Rename(o) => dated(client, data, &o.effect, |all| roster_edit::rename(all, o)).await,
        RosterAction::Suspend(o) => {
            let suspend =
                |all: &mut _| roster_edit::step(all, &o.organisation, Happening::Suspended, &o.effect);
            dated(client, data, &o.effect, suspend).await
        }
        RosterAction::Resume(o) => {
            let resume = |all: &mut _| roster_edit::step(all, &o.organisation, Happening::Resumed, &o.effect);
            dated(client, data, &o.effect, resume).await
        }
        RosterAction::Grant(o) => {
            change(client, data, o.dry_run, |all, today| roster_edit::grant(all, o, today)).await
        }
        RosterAction::Withdraw(o) => {
            change(client, data, o.dry_run, |all, _| roster_edit::withdraw(all, o)).await
        }
    }
}

/// A change that holds from a day on.
async fn dated(
    client: &Client,
    data: &mut Data,
    effect: &Effect,
    edit: impl FnOnce(&mut Roster) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let edit = |all: &mut Roster, today| edit(all).map(|()| roster_edit::begins(effect, today));
    change(client, data, effect.dry_run, edit).await
}

/// Reads the roster, changes it, and brings it back. The edit says what a
/// person should know beside the differences.
async fn change(
    client: &Client,
    data: &mut Data,
    dry_run: bool,
    edit: impl FnOnce(&mut Roster, Date) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let exported = client.roster().await?;
    let mut all = roster::parse(&exported.document).map_err(|found| {
        let first = found.first().map(ToString::to_string).unwrap_or_default();
        Failure::Io(format!("this program does not read the hub's roster, use one of its release: {first}"))
    })?;
    let form = time::macros::format_description!("[year]-[month]-[day]");
    let today = Date::parse(&exported.date, form).map_err(|_| {
        Failure::Io("this program does not read the hub's date, use one of its release".to_owned())
    })?;
    let say = edit(&mut all, today)?;
    let document = roster::write(&all, &exported.etag).into_bytes();
    if dry_run {
        compare(client, document, &exported.etag, data).await?;
        data.flush()?;
        output::talk(&format!("not applied; {say}"));
        return Ok(());
    }
    apply(client, document, &exported.etag, &say, data).await
}

async fn compare(client: &Client, document: Vec<u8>, etag: &str, data: &mut Data) -> Result<(), Failure> {
    let compared = client.diff_roster(document, etag).await?;
    tell(&compared.differences, data)?;
    by_two(&compared.approvals);
    Ok(())
}

async fn apply(
    client: &Client,
    document: Vec<u8>,
    etag: &str,
    say: &str,
    data: &mut Data,
) -> Result<(), Failure> {
    let applied = client.apply_roster(document, etag).await?;
    tell(&applied.differences, data)?;
    data.flush()?;
    told(&applied, say);
    Ok(())
}

/// The full name of the change that is meant.
async fn named(client: &Client, id: &str) -> Result<String, Failure> {
    let id = match changes::whole(id) {
        Some(id) => id,
        None => changes::chosen(&pending(client).await?, id).map_err(Failure::NoInput)?,
    };
    Ok(format!("pendingChanges/{id}"))
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
        output::talk(&changes::by_two(line));
    }
}

/// Tells what became of a change, and what the edit has to say of it.
fn told(applied: &v1::ApplyRosterResponse, say: &str) {
    let and_say = if say.is_empty() { String::new() } else { format!("; {say}") };
    match applied.outcome() {
        v1::RosterOutcome::Pending => {
            by_two(&applied.approvals);
            let id = id(&applied.pending_change);
            output::talk(&format!("nothing has changed yet{and_say}"));
            output::talk(&format!(
                "another operator approves it within 7 days with: luytre roster approve {id}"
            ));
        }
        v1::RosterOutcome::Unchanged => output::talk(&format!("nothing to change{and_say}")),
        v1::RosterOutcome::Applied | v1::RosterOutcome::Unspecified if say.is_empty() => {
            output::talk("applied; each change holds from the day it names");
        }
        v1::RosterOutcome::Applied | v1::RosterOutcome::Unspecified => {
            output::talk(&format!("applied{and_say}"));
        }
    }
}

fn id(name: &str) -> &str {
    name.strip_prefix("pendingChanges/").unwrap_or(name)
}

async fn pending(client: &Client) -> Result<Vec<Waiting>, Failure> {
    let waiting = client.pending_changes().await?.into_iter();
    let time = |at| record::time(at).unwrap_or_default();
    let waiting = waiting.map(|change| Waiting {
        id: id(&change.name).to_owned(),
        author: change.author,
        proposed: time(change.create_time),
        expires: time(change.expire_time),
        outdated: change.outdated,
        differences: change.differences,
        approvals: change.approvals,
    });
    Ok(waiting.collect())
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
