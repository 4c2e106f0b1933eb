//! Decides how `luytre ca` shows where the hierarchies of authorities stand, and
//! how a step is taken from the state that was looked at.

use serde::Serialize;

use crate::client::Client;
use crate::wire::proto::v1;

use super::arguments::{Ca, CaAction, Step, TableOrJson, WhichHierarchy};
use super::certs;
use super::exit::Failure;
use super::output::{self, Data};
use super::record;

#[derive(Debug, Serialize)]
struct Rotation {
    hierarchy: &'static str,
    phase: &'static str,
    since: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    due: String,
    etag: String,
    current: Option<Authority>,
    next: Option<Authority>,
}

#[derive(Debug, Serialize)]
struct Authority {
    name: String,
    display_name: String,
    generation: i32,
    expires: Option<String>,
    revocation_list_number: i64,
    revocation_list_due: Option<String>,
    live_certificates: i32,
    connections: i32,
}

impl Rotation {
    fn of(one: v1::Rotation) -> Self {
        Self {
            hierarchy: hierarchy(one.hierarchy()),
            phase: phase(one.phase()),
            since: record::time(one.since),
            due: one.due,
            etag: one.etag,
            current: one.current.map(Authority::of),
            next: one.next.map(Authority::of),
        }
    }

    fn tell(&self, data: &mut Data) -> Result<(), Failure> {
        let since = self.since.as_deref().map(|at| format!(" since {at}")).unwrap_or_default();
        data.line(&format!("{}: {}{since}", self.hierarchy, self.phase))?;
        for (role, authority) in [("current", &self.current), ("next", &self.next)] {
            if let Some(authority) = authority {
                authority.tell(role, data)?;
            }
        }
        if !self.due.is_empty() {
            data.line(&format!("  due: luytre ca {} {}", output::on_one_line(&self.due), self.hierarchy))?;
        }
        Ok(())
    }
}

impl Authority {
    fn of(one: v1::Authority) -> Self {
        Self {
            name: one.name,
            display_name: one.display_name,
            generation: one.generation,
            expires: record::time(one.expire_time),
            revocation_list_number: one.revocation_list_number,
            revocation_list_due: record::time(one.revocation_list_next_update_time),
            live_certificates: one.live_certificate_count,
            connections: one.connection_count,
        }
    }

    fn tell(&self, role: &str, data: &mut Data) -> Result<(), Failure> {
        data.line(&format!(
            "  {role:8} {}  {}, generation {}, until {}",
            self.name,
            output::on_one_line(&self.display_name),
            self.generation,
            self.expires.as_deref().unwrap_or_default()
        ))?;
        let list = self
            .revocation_list_due
            .as_deref()
            .map(|due| format!("; revocation list {} until {due}", self.revocation_list_number));
        data.line(&format!(
            "           {} live certificates, {} connections{}",
            self.live_certificates,
            self.connections,
            list.unwrap_or_default()
        ))?;
        Ok(())
    }
}

/// Runs the command.
pub(super) async fn run(client: &Client, options: &Ca, data: &mut Data) -> Result<(), Failure> {
    use v1::RotationStep as To;
    let none: (&str, &[String]) = ("", &[]);
    match &options.action {
        CaAction::Status { format } => status(client, *format, data).await,
        CaAction::Prepare(o) => take(client, &o.step, To::Prepare, (&o.authority, &[]), data).await,
        CaAction::Activate(o) => take(client, &o.step, To::Activate, (&o.authority, &[]), data).await,
        CaAction::Switch(o) => take(client, &o.step, To::Switch, ("", &o.accept_cutting_off), data).await,
        CaAction::Taint(step) => take(client, step, To::Taint, none, data).await,
        CaAction::Retire(o) => take(client, &o.step, To::Retire, ("", &o.accept_cutting_off), data).await,
        CaAction::Rollback(step) => take(client, step, To::Rollback, none, data).await,
    }
}

async fn status(client: &Client, format: TableOrJson, data: &mut Data) -> Result<(), Failure> {
    let answer = client.authorities().await?;
    if answer.unconfirmed_count > 0 {
        output::talk(&certs::waiting(answer.unconfirmed_count));
    }
    let all = answer.rotations;
    if all.is_empty() {
        output::talk("no authority is rotated by this hub; those of its files are made with luytre pki");
    }
    for one in all.into_iter().map(Rotation::of) {
        match format {
            TableOrJson::Table => one.tell(data)?,
            TableOrJson::Jsonl => data.json(&one)?,
        }
    }
    Ok(())
}

/// Takes a step from where the hierarchy stands now. `words` name the
/// authority, and who may be cut off.
async fn take(
    client: &Client,
    options: &Step,
    step: v1::RotationStep,
    (authority, cut_off): (&str, &[String]),
    data: &mut Data,
) -> Result<(), Failure> {
    let which = match options.hierarchy {
        WhichHierarchy::Server => v1::Hierarchy::Server,
        WhichHierarchy::Client => v1::Hierarchy::Client,
    };
    let all = client.authorities().await?.rotations;
    let stands = all.into_iter().find(|one| one.hierarchy() == which).ok_or_else(|| {
        Failure::NoInput(format!(
            "this hub rotates no {} authorities; see luytre ca status",
            hierarchy(which)
        ))
    })?;
    let authority = match authority {
        "" => String::new(),
        name if name.starts_with("authorities/") => name.to_owned(),
        id => format!("authorities/{id}"),
    };
    let request = v1::RotateAuthorityRequest {
        hierarchy: which.into(),
        step: step.into(),
        authority,
        etag: stands.etag,
        dry_run: options.dry_run,
        accept_cutting_off: cut_off.to_vec(),
        ..v1::RotateAuthorityRequest::default()
    };
    let answer = client.rotate_authority(request).await?;
    if let Some(stands) = answer.rotation {
        Rotation::of(stands).tell(data)?;
    }
    data.flush()?;
    told(options.dry_run, &answer.blockers, &answer.cut_off)
}

/// Tells what stands in the way.
fn told(dry_run: bool, blockers: &[String], cut_off: &[String]) -> Result<(), Failure> {
    for blocker in blockers {
        output::talk(&format!("in the way: {}", output::on_one_line(blocker)));
    }
    for identity in cut_off {
        output::talk(&format!("would be cut off: {}", output::on_one_line(identity)));
    }
    match (dry_run, blockers.is_empty()) {
        (true, true) => output::talk("nothing stands in the way; nothing was done"),
        (true, false) => output::talk("nothing was done"),
        (false, true) => output::talk("done"),
        (false, false) => {
            output::talk("luytre: not done");
            return Err(Failure::SomeRefused);
        }
    }
    Ok(())
}

const fn hierarchy(hierarchy: v1::Hierarchy) -> &'static str {
    match hierarchy {
        v1::Hierarchy::Server => "server",
        v1::Hierarchy::Client => "client",
        v1::Hierarchy::Unspecified => "",
    }
}

const fn phase(phase: v1::RotationPhase) -> &'static str {
    match phase {
        v1::RotationPhase::Stable => "stable",
        v1::RotationPhase::Prepared => "prepared",
        v1::RotationPhase::Distributed => "distributed",
        v1::RotationPhase::Active => "active",
        v1::RotationPhase::Switched => "switched",
        v1::RotationPhase::Draining => "draining",
        v1::RotationPhase::Rollback => "rolling back",
        v1::RotationPhase::Unspecified => "",
    }
}
