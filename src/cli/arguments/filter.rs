//! Decides by which options indicators are chosen, in every command that can.

use clap::Args;

use super::values::{kind, organisation, tlp};
use crate::model::indicator::Kind;
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
}

impl Filter {
    /// As the public contract spells it.
    pub(crate) fn to_wire(&self) -> v1::IndicatorFilter {
        v1::IndicatorFilter {
            kinds: self.kind.iter().map(|kind| i32::from(kind.number())).collect(),
            owners: self.owner.clone(),
            labels: self.label.clone(),
            tlps: self.tlp.iter().map(|tlp| i32::from(tlp.number())).collect(),
            states: Vec::new(),
            added: None,
        }
    }
}
