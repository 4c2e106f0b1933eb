//! Decides how the commands about one thing print it: `whoami`, `get`,
//! `revoke`, `sight`.

use serde::Serialize;

use crate::client::{Client, Refusal};
use crate::model::indicator::RevocationReason;
use crate::model::sighting::Outcome;
use crate::wire::proto::v1;

use super::arguments::{Get, PlainOrJson, Revoke, Sight, Whoami};
use super::exit::Failure;
use super::output::{self, Data};
use super::record::{self, Record};

#[derive(Debug, Serialize)]
struct Me {
    identity: String,
    organisation: String,
    roles: Vec<String>,
    certificate_serial: String,
    certificate_expires: Option<String>,
    key_exchange: String,
    hub: String,
    hub_time: Option<String>,
    hub_version: String,
    /// From when on the hub renews the certificate.
    renew_time: Option<String>,
    renew_now: bool,
    /// Days until the certificate ends, where that is near.
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_warning_days: Option<i32>,
    /// What may be asked for, and what is left of it.
    limits: Vec<Limit>,
}

#[derive(Debug, Serialize)]
struct Limit {
    limit: String,
    /// `principal` or `organisation`.
    of: &'static str,
    most: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
}

impl Limit {
    fn of(allowance: v1::Allowance) -> Self {
        let v1::Allowance { limit, own, most, left } = allowance;
        Self { limit, of: if own { "principal" } else { "organisation" }, most, left }
    }
}

/// Runs `whoami`.
pub(super) async fn whoami(client: &Client, options: &Whoami, data: &mut Data) -> Result<(), Failure> {
    let answer = client.whoami().await?;
    let me = Me {
        identity: answer.spiffe_id,
        organisation: answer.organisation,
        roles: answer.roles,
        certificate_serial: answer.certificate_serial,
        certificate_expires: record::time(answer.certificate_expire_time),
        key_exchange: answer.key_exchange,
        hub: client.hub().to_owned(),
        hub_time: record::time(answer.server_time),
        hub_version: answer.server_version,
        renew_time: record::time(answer.renew_time),
        renew_now: answer.renew_now,
        expiry_warning_days: (answer.expiry_warning_days > 0).then_some(answer.expiry_warning_days),
        limits: answer.allowances.into_iter().map(Limit::of).collect(),
    };
    warn(&me);
    if options.format == PlainOrJson::Jsonl {
        return Ok(data.json(&me)?);
    }
    let roles =
        if me.roles.is_empty() { "none; ask the hub's operator".to_owned() } else { me.roles.join(", ") };
    for (name, value) in [
        ("identity", me.identity.as_str()),
        ("organisation", me.organisation.as_str()),
        ("roles", roles.as_str()),
        ("certificate", me.certificate_serial.as_str()),
        ("expires", me.certificate_expires.as_deref().unwrap_or_default()),
        ("renew from", if me.renew_now { "now" } else { me.renew_time.as_deref().unwrap_or_default() }),
        ("hub", me.hub.as_str()),
        ("hub time", me.hub_time.as_deref().unwrap_or_default()),
        ("hub version", me.hub_version.as_str()),
        ("key exchange", me.key_exchange.as_str()),
    ] {
        data.line(&format!("{:14}{value}", format!("{name}:")))?;
    }
    Ok(())
}

/// Tells on stderr what should not wait.
fn warn(me: &Me) {
    if let Some(days) = me.expiry_warning_days {
        let ends = if days == 1 { "tomorrow".to_owned() } else { format!("within {days} days") };
        output::talk(&format!(
            "luytre: warning: this certificate ends {ends}; run luytre cert renew, or keep luytre cert agent running"
        ));
    } else if me.renew_now {
        output::talk("luytre: warning: the hub asks to renew this certificate now: luytre cert renew");
    }
}

/// Runs `get`.
pub(super) async fn get(client: &Client, options: &Get, data: &mut Data) -> Result<(), Failure> {
    let answer = match options.as_of {
        Some(at) => client.get_as_of(&options.name, at).await?,
        None => client.get(&options.name).await?,
    };
    let indicator = answer.indicator.unwrap_or_default();
    Ok(data.json(&Record::of(indicator).with(answer.sightings, answer.collisions))?)
}

/// Runs `revoke`.
pub(super) async fn revoke(client: &Client, options: &Revoke, data: &mut Data) -> Result<(), Failure> {
    let reason = RevocationReason::from_name(&options.reason).map_or(0, |reason| i32::from(reason.number()));
    let revocation = v1::Revocation { reason, note: options.note.clone(), revoke_time: None };
    let answer = client
        .revoke(&options.name, revocation, &options.etag, options.on_behalf_of.as_deref().unwrap_or_default())
        .await?;
    Ok(data.json(&Record::of(answer.indicator.unwrap_or_default()))?)
}

/// Runs `sight`.
pub(super) async fn sight(client: &Client, options: &Sight, data: &mut Data) -> Result<(), Failure> {
    let outcome = Outcome::from_name(&options.outcome).map_or(0, |outcome| i32::from(outcome.number()));
    let sighting = v1::Sighting {
        indicator: options.name.clone(),
        outcome,
        sighted_count: options.count,
        note: options.note.clone(),
        ..v1::Sighting::default()
    };
    for result in client.sight(vec![sighting]).await? {
        match result.outcome {
            Some(v1::sighting_result::Outcome::Recorded(name)) => data.line(&name)?,
            Some(v1::sighting_result::Outcome::Rejected(status)) => {
                output::talk(&format!("luytre: {}", Refusal::from_item(&status)));
                return Err(Failure::SomeRefused);
            }
            None => return Err(Failure::Io("the hub gave no verdict".to_owned())),
        }
    }
    Ok(())
}
