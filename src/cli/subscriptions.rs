//! Decides how `luytre subscriptions` shows the named subscriptions of the
//! caller's organisation, and how one is deleted.

use serde::Serialize;

use crate::client::Client;
use crate::model::indicator::{Kind, Role};
use crate::wire::proto::v1;

use super::arguments::{
    DeleteSubscription, ListSubscriptions, Subscriptions, SubscriptionsAction, TableOrJson,
};
use super::exit::Failure;
use super::output::{self, Data};
use super::record;

#[derive(Debug, Serialize)]
struct Record {
    subscription: String,
    organisation: String,
    create_time: Option<String>,
    /// `null`: nothing was acknowledged yet.
    ack_time: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kinds: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    owners: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tlps: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    families: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    campaigns: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    techniques: Vec<String>,
    sightings: bool,
    notices: bool,
}

/// Runs the command.
pub(super) async fn run(
    client: &Client,
    options: &Subscriptions,
    quiet: bool,
    data: &mut Data,
) -> Result<(), Failure> {
    match &options.action {
        SubscriptionsAction::List(options) => list(client, options, data).await,
        SubscriptionsAction::Delete(options) => delete(client, options, quiet).await,
    }
}

/// The full name of a subscription of the caller's organisation.
pub(super) async fn full_name(client: &Client, name: &str) -> Result<String, Failure> {
    if name.starts_with("organisations/") {
        return Ok(name.to_owned());
    }
    let organisation = client.whoami().await?.organisation;
    Ok(format!("{organisation}/subscriptions/{name}"))
}

async fn list(client: &Client, options: &ListSubscriptions, data: &mut Data) -> Result<(), Failure> {
    let mut token = String::new();
    if options.format == TableOrJson::Table {
        data.line(&row("SUBSCRIPTION", "CREATED", "ACKNOWLEDGED", "WANTS"))?;
    }
    loop {
        let (page, next) = client.named_subscriptions(&token).await?;
        for subscription in page {
            let record = Record::of(subscription);
            match options.format {
                TableOrJson::Table => data.line(&record.row())?,
                TableOrJson::Jsonl => data.json(&record)?,
            }
        }
        data.flush()?;
        if next.is_empty() {
            return Ok(());
        }
        token = next;
    }
}

async fn delete(client: &Client, options: &DeleteSubscription, quiet: bool) -> Result<(), Failure> {
    let name = full_name(client, &options.name).await?;
    client.delete_subscription(&name).await?;
    if !quiet {
        output::talk(&format!("luytre: {name} is deleted, and its place with it"));
    }
    Ok(())
}

impl Record {
    fn of(subscription: v1::Subscription) -> Self {
        let filter = subscription.filter.unwrap_or_default();
        let (organisation, name) =
            subscription.name.split_once("/subscriptions/").unwrap_or(("", &subscription.name));
        let number = |value: i32| u8::try_from(value).ok();
        Self {
            subscription: name.to_owned(),
            organisation: record::slug(organisation).to_owned(),
            create_time: record::time(subscription.create_time),
            ack_time: record::time(subscription.ack_time),
            kinds: filter
                .kinds
                .into_iter()
                .map(|kind| number(kind).and_then(Kind::from_number).map_or("unknown", Kind::as_str))
                .collect(),
            owners: filter.owners.iter().map(|owner| record::slug(owner).to_owned()).collect(),
            labels: filter.labels,
            tlps: filter.tlps.into_iter().map(record::tlp).collect(),
            roles: filter
                .roles
                .into_iter()
                .map(|role| number(role).and_then(Role::from_number).map_or("unknown", Role::as_str))
                .collect(),
            families: filter.families,
            campaigns: filter.campaigns,
            techniques: filter.attack_techniques,
            sightings: subscription.include_sightings,
            notices: subscription.include_notices,
        }
    }

    /// A line of the table; what is wanted reads as the options that ask for it.
    fn row(&self) -> String {
        let mut wants: Vec<String> = [
            ("kind", self.kinds.join(",")),
            ("owner", self.owners.join(",")),
            ("label", self.labels.join(",")),
            ("tlp", self.tlps.join(",")),
            ("role", self.roles.join(",")),
            ("technique", self.techniques.join(",")),
        ]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(option, values)| format!("--{option} {values}"))
        .collect();
        for (option, names) in [("family", &self.families), ("campaign", &self.campaigns)] {
            wants.extend(names.iter().map(|name| format!("--{option} '{}'", output::on_one_line(name))));
        }
        if wants.is_empty() {
            wants.push("everything".to_owned());
        }
        if self.sightings {
            wants.push("--sightings".to_owned());
        }
        if self.notices {
            wants.push("--notices".to_owned());
        }
        row(
            &self.subscription,
            self.create_time.as_deref().unwrap_or_default(),
            self.ack_time.as_deref().unwrap_or("never"),
            &wants.join(" "),
        )
    }
}

fn row(name: &str, created: &str, acknowledged: &str, wants: &str) -> String {
    format!("{name:24}  {created:27}  {acknowledged:27}  {wants}")
}
