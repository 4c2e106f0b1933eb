//! Decides by which options indicators are chosen, in every command that can.

use clap::Args;

use super::values::{kind, organisation, role, technique, tlp};
use crate::model::indicator::{Kind, Role};
use crate::model::marking::Tlp;
use crate::wire::proto::v1;

/// Which indicators are wanted. Flattened last: its heading holds for what
/// follows it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters (each repeatable; any value of a filter, all filters together)")]
pub(crate) struct Filter {
    /// Kind, such as domain or sha256; any other word lists them all
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    pub(crate) kind: Vec<Kind>,
    /// Organisation that published them
    #[arg(long, value_name = "ORG", value_delimiter = ',', value_parser = organisation)]
    pub(crate) owner: Vec<String>,
    /// Label that they carry
    #[arg(long, value_delimiter = ',')]
    pub(crate) label: Vec<String>,
    /// TLP label
    #[arg(long, value_delimiter = ',', value_parser = tlp)]
    pub(crate) tlp: Vec<Tlp>,
    /// Role in the attack: victim, infrastructure, tool, sink
    #[arg(long, value_delimiter = ',', value_parser = role)]
    pub(crate) role: Vec<Role>,
    /// Family of malware, in upper or lower case
    #[arg(long, value_name = "NAME")]
    pub(crate) family: Vec<String>,
    /// Campaign, in upper or lower case
    #[arg(long, value_name = "NAME")]
    pub(crate) campaign: Vec<String>,
    /// Technique of MITRE ATT&CK, such as T1566; its sub-techniques too
    #[arg(long, value_name = "T1566", value_delimiter = ',', value_parser = technique)]
    pub(crate) technique: Vec<String>,
    /// Only what is about your organisation's own assets, as luytre assets list shows them
    #[arg(long)]
    pub(crate) own_assets: bool,
}

impl Filter {
    /// Refuses to list those who were attacked, and nobody else, where values
    /// are written alone: such lists are for blocking.
    pub(crate) fn check_plain(&self) -> Result<(), String> {
        if self.role.is_empty() || self.role.iter().any(|role| *role != Role::Victim) {
            return Ok(());
        }
        Err("luytre: --format plain leaves victims out, for such lists feed what blocks; --format jsonl tells of them"
            .to_owned())
    }

    /// As the public contract spells it.
    pub(crate) fn to_wire(&self) -> v1::IndicatorFilter {
        v1::IndicatorFilter {
            kinds: self.kind.iter().map(|kind| i32::from(kind.number())).collect(),
            owners: self.owner.clone(),
            labels: self.label.clone(),
            tlps: self.tlp.iter().map(|tlp| i32::from(tlp.number())).collect(),
            roles: self.role.iter().map(|role| i32::from(role.number())).collect(),
            families: self.family.clone(),
            campaigns: self.campaign.clone(),
            attack_techniques: self.technique.clone(),
            own_assets: self.own_assets,
            ..v1::IndicatorFilter::default()
        }
    }
}
