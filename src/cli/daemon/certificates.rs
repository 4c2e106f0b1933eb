//! Decides how the machine's operator has a running hub read its certificates
//! anew, and how he settles what time it is.

use super::super::output::Data;
use super::{ClockAction, Failure, Place, Reload};
use crate::admin::{self, ClockAnswer, ClockRequest, ReloadAnswer, ReloadRequest};

/// Runs `reload`.
pub(super) fn reload(place: &Place, options: &Reload, data: &mut Data) -> Result<(), Failure> {
    let request = ReloadRequest { forced: options.force };
    let answer = ask(admin::ask_reload(&place.admin_socket, request))?;
    if options.json {
        data.json(&answer)?;
    }
    match answer {
        ReloadAnswer::Refused { reason, problem, epoch, changes, unread } => {
            let mut told =
                format!("certificates not reloaded ({reason}): {problem}\n  epoch {epoch} stays in force");
            for change in changes {
                told.push_str(&format!("\n  changed all the same: {change}"));
            }
            if let Some(unread) = unread {
                told.push_str(&format!("\n  nor limits and lists: {unread}"));
            }
            Err(Failure::Input(told))
        }
        ReloadAnswer::Reloaded { problem, .. } if options.json => unread(problem),
        ReloadAnswer::Reloaded {
            epoch,
            server_fingerprint,
            server_not_after,
            changes,
            anchors,
            severed,
            problem,
        } => {
            data.line(&format!("epoch {epoch} is in force"))?;
            data.line(&format!("hub's certificate {server_fingerprint}, until {server_not_after}"))?;
            for (name, fingerprint) in anchors {
                data.line(&format!("trusted {name}, {fingerprint}"))?;
            }
            if changes.is_empty() {
                data.line("nothing has changed")?;
            }
            for change in changes {
                data.line(&format!("changed: {change}"))?;
            }
            data.line(&format!("connections ended: {severed}"))?;
            unread(problem)
        }
    }
}

/// What is told of limits and lists that could not be read.
fn unread(problem: Option<String>) -> Result<(), Failure> {
    let told = |problem| {
        format!(
            "limits and lists not reloaded: {problem}\n  those that were read before stay in force; the certificates are new"
        )
    };
    problem.map_or(Ok(()), |problem| Err(Failure::Input(told(problem))))
}

/// Runs `clock`.
pub(super) fn clock(place: &Place, action: &ClockAction, data: &mut Data) -> Result<(), Failure> {
    let request = match action {
        ClockAction::Show => ClockRequest::Show,
        ClockAction::Accept => ClockRequest::Accept,
    };
    let ClockAnswer { time, machine, doubted } = ask(admin::ask_clock(&place.admin_socket, request))?;
    data.line(&format!("certificates are judged at {time}"))?;
    data.line(&format!("the machine's clock shows  {machine}"))?;
    if doubted {
        data.line("the machine's clock has jumped and is not believed")?;
    }
    Ok(())
}

pub(super) fn ask<A>(asked: impl Future<Output = Result<A, admin::Error>>) -> Result<A, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io(format!("cannot start: {error}")))?;
    runtime.block_on(asked).map_err(|error| Failure::TryLater(error.to_string()))
}
