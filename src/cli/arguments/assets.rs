//! Decides the options of `luytre assets` and of `luytre watch`, which goes by
//! them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::super::language::Language;
use super::values::{TableOrJson, moment};
use crate::base::clock::Timestamp;

/// `watch`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre assets add 198.51.100.0/24 example.gov.vn AS64500   # once: what is yours
  luytre watch                                   # what stands about it, then what comes
  luytre watch --once                            # what stands, and end
  luytre watch --once --since 7d                 # what was told of it in a week, and end
  luytre watch --state watch.state --json        # for a SIEM: go on after any break
  luytre watch --lang vi

Whatever you may see about an asset of your organisation is told: an address in one of its networks
or a network that overlaps one, a name in one of its domains, a URL, an endpoint or an e-mail address
with such a host, an autonomous system; and what others found of such an indicator. Each line names
the asset, the marking, who published it unless that is masked, since when, and what to do:
  new, update        the indicator as it stands; look at the asset
  revoked, expired   its publisher took it back, or its time is over
  withdrawn          you may see it no longer, or it is about none of your assets any more
  sighted            somebody met it, or did not
What is registered or taken off while it runs counts at once: what stands about a new asset comes as
new. --json gives what luytre subscribe gives, and \"assets\" and \"advice\".

Exit codes: 0 done, or ended by SIGINT or SIGTERM; 66 --once, and no asset is registered; 75 the hub
does not answer; 77 the certificate may not subscribe.")]
pub(crate) struct Watch {
    /// End once all there is has been told
    #[arg(long)]
    pub(crate) once: bool,
    /// Start with what was told since this time, such as 7d or 2026-11-21, not with what stands. What
    /// was told before an asset was registered is not in it: luytre query --own-assets finds that
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Timestamp>,
    /// File that remembers the place; later runs go on exactly there
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave out sightings
    #[arg(long)]
    pub(crate) no_sightings: bool,
    /// Tell times in UTC, not in Vietnam
    #[arg(long)]
    pub(crate) utc: bool,
    /// Language of the words [default: that of LUYTRE_LANG, LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Language>,
}

/// `assets`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre assets list
  luytre assets add 198.51.100.0/24 2001:db8::/32 example.gov.vn AS64500
  luytre assets remove example.gov.vn
  luytre assets import networks.csv --dry-run
  luytre query --own-assets --since 7d
  luytre watch

Networks, domains with all below them, and autonomous systems: the list is your organisation's alone,
and nobody else can tell that there is one, not even the hub's operator. It gives no right: luytre
watch and --own-assets find what you may see anyway. IPv4 networks from /8 on, IPv6 networks from /16
on, no public suffix such as gov.vn; at most 4,096. Reading it takes the role analyst, publisher or
subscriber, changing it the role publisher.

Where the roster says that your organisation follows one that has ended, that one's assets are watched
for you too, until you remove them.")]
pub(crate) struct Assets {
    #[command(subcommand)]
    pub(crate) action: AssetsAction,
}

/// What to do about assets.
#[derive(Debug, Subcommand)]
pub(crate) enum AssetsAction {
    /// List what is watched for your organisation · Liệt kê
    List(ListAssets),
    /// Register assets · Thêm
    Add(NamedAssets),
    /// Take assets off · Bỏ
    Remove(RemovedAssets),
    /// Register the assets of a list or table · Nhập từ tệp
    Import(ImportAssets),
}

/// `assets list`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre assets list
  luytre assets list --format jsonl")]
pub(crate) struct ListAssets {
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(crate) format: TableOrJson,
}

/// `assets add`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre assets add 198.51.100.0/24 2001:db8::/32
  luytre assets add example.gov.vn AS64500

All of them or, if one is refused, none. What changes is printed, with + in front.")]
pub(crate) struct NamedAssets {
    /// Networks, addresses, domains or autonomous systems, in any form
    #[arg(value_name = "ASSET", required = true)]
    pub(crate) assets: Vec<String>,
}

/// `assets remove`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre assets remove 198.51.100.0/24 example.gov.vn

What is not there changes nothing. What changes is printed, with - in front.")]
pub(crate) struct RemovedAssets {
    /// Assets, in any form
    #[arg(value_name = "ASSET", required = true)]
    pub(crate) assets: Vec<String>,
}

/// `assets import`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre assets import networks.txt --dry-run
  luytre assets import networks.csv
  luytre assets import networks.csv --replace

One asset a line, or in the first column of a table with commas, semicolons or tabs; a head such as
network is passed over, and comments after #. --dry-run prints the canonical form of each line, or what
is wrong with it, and changes nothing. Nothing is registered unless every line can be read.

Exit codes: 0 done; 65 lines that are no assets; 66 no such file; 75 the list changed meanwhile
(--replace): run it again.")]
pub(crate) struct ImportAssets {
    /// File, or - for stdin
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Only tell what would be registered
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take off whatever is not in the file
    #[arg(long)]
    pub(crate) replace: bool,
}
