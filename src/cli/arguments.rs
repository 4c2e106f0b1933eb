//! Decides the words of `luytre` at the prompt.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::base::clock::Timestamp;
use crate::model::indicator::{Kind, State};
use crate::model::marking::Tlp;
use crate::model::org::OrgSlug;
use crate::wire::proto::v1;

use super::exit::Failure;
use super::output::Data;

/// Share and receive cyber-threat indicators through a Lũy Tre hub.
///
/// Chia sẻ và nhận dấu hiệu mối đe doạ an ninh mạng qua trung tâm Lũy Tre.
#[derive(Debug, Parser)]
#[command(
    name = "luytre",
    version,
    max_term_width = 100,
    after_long_help = "Examples:
  luytre whoami                                     who am I for the hub?
  luytre publish iocs.txt --tlp green               share a list, one value a line
  luytre subscribe --state fw.state --format plain  follow everything, go on after any break
  luytre lookup 198.51.100.7 example.net            is this known?
  luytre list --kind domain --since 2026-11-01      what is there?

The hub and your certificate are named in a profile, ~/.config/luytre/profile.toml:
  hub  = \"hub.example:7443\"
  ca   = \"hub-ca.pem\"        # relative to the profile
  cert = \"me.pem\"
  key  = \"me.key\"

stdout is data, stderr is talk. Exit codes: 0 done; 64 wrong arguments; 65 some items refused;
66 no such thing; 70 a fault of the hub or of this program; 73 it exists already; 74 input or output
failed; 75 try again later; 77 not allowed; 78 wrong profile."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) hub: Hub,
    #[command(flatten)]
    pub(super) talk: Talk,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Which hub, and as whom.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Hub")]
pub(super) struct Hub {
    /// Profile with the hub's address and your certificate [default:
    /// $LUYTRE_PROFILE or ~/.config/luytre/profile.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) profile: Option<PathBuf>,
    /// Address of the hub, instead of the profile's
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(super) hub: Option<String>,
    /// Certificates of the authorities that the hub's certificate comes from
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Your certificate chain
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
    /// Your private key
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Name in the hub's certificate, if not the host of its address
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) server_name: Option<String>,
    /// Longest wait for an answer, of a stream for the first one, retries included, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(super) timeout: u64,
}

/// How much to say on stderr.
#[derive(Debug, Args)]
#[command(next_help_heading = "Talk")]
pub(super) struct Talk {
    /// Only errors on stderr
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Say more on stderr
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what the hub makes of your certificate · Trung tâm nhận ra bạn là ai
    Whoami(Whoami),
    /// Publish indicators from a list or JSON lines · Công bố dấu hiệu
    Publish(Publish),
    /// Receive indicators as they are published · Nhận dấu hiệu liên tục
    Subscribe(Subscribe),
    /// Ask whether exact values are known · Tra cứu giá trị
    Lookup(Lookup),
    /// List indicators, newest first · Liệt kê dấu hiệu
    List(List),
    /// Show one indicator and its sightings · Xem một dấu hiệu
    Get(Get),
    /// Take back an indicator that you published · Thu hồi dấu hiệu
    Revoke(Revoke),
    /// Report that you met an indicator, or did not · Báo cáo đã gặp
    Sight(Sight),
    /// List who takes part and may be named as reader · Các đơn vị tham gia
    Organisations(Organisations),
    /// Make authorities, issue and revoke certificates · Chứng thư số
    Pki(super::pki::Args),
    /// Print completions for a shell
    Completions(Completions),
}

/// `whoami`.
#[derive(Debug, Args)]
pub(super) struct Whoami {
    /// `plain` for people, `jsonl` for programs
    #[arg(long, value_enum, default_value_t = PlainOrJson::Plain)]
    pub(super) format: PlainOrJson,
}

/// `publish`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre publish iocs.txt --tlp green --label phishing
  luytre publish - --tlp amber --to sa-ict --to pa05 --action block < list.txt
  luytre publish report.jsonl --rejects refused.jsonl

A plain list has one value a line; blank lines and comments (# ; //) are skipped. Values may be
defanged (hxxp, [.]); the hub detects their kinds. In JSON lines each line is an object:
  {\"value\": \"example[.]net\", \"tlp\": \"green\", \"labels\": [\"phishing\"], \"confidence\": 80}
with value (or md5, sha1, sha256), kind, tlp, to, labels, confidence, description, valid_from,
valid_until, first_seen, last_seen, action. Options fill in what a line leaves out; --label adds.

Publishing the same again changes nothing, so a broken run can simply be repeated.
Exit code 0: all accepted; 65: some refused, see the report on stderr.")]
pub(super) struct Publish {
    /// File to read, or - for stdin
    #[arg(value_name = "FILE")]
    pub(super) input: PathBuf,
    /// How the input is written; auto: JSON lines if the first line begins with {
    #[arg(long, value_enum, default_value_t = InputFormat::Auto)]
    pub(super) format: InputFormat,
    /// How far they may travel: clear, green, amber, amber+strict or red
    #[arg(long, value_name = "LABEL", value_parser = tlp)]
    pub(super) tlp: Option<Tlp>,
    /// Organisation that may read, for amber; repeat or separate by commas
    #[arg(long, value_name = "ORG", value_delimiter = ',', value_parser = organisation)]
    pub(super) to: Vec<String>,
    /// Label in kebab-case; repeat or separate by commas
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    pub(super) label: Vec<String>,
    /// How sure you are, 0 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) confidence: Option<u32>,
    /// What a reader should know
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
    /// When they cease to hold, as 2026-12-31 or 2026-12-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) valid_until: Option<Timestamp>,
    /// What you recommend to do
    #[arg(long, value_parser = PossibleValuesParser::new(["monitor", "block", "hunt", "isolate"]))]
    pub(super) action: Option<String>,
    /// Indicators in one request
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(super) batch: u16,
    /// Write refused lines with their reasons here, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(super) rejects: Option<PathBuf>,
    /// Bring back values that you revoked, for this reason
    #[arg(long, value_name = "REASON")]
    pub(super) reinstate: Option<String>,
}

/// Which indicators are wanted.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters (each repeatable; any value of a filter, all filters together)")]
pub(super) struct Filter {
    /// Kind: ipv4, ipv6, cidr, endpoint, domain, url, md5, sha1, sha256
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    pub(super) kind: Vec<Kind>,
    /// Organisation that published them
    #[arg(long, value_name = "ORG", value_delimiter = ',', value_parser = organisation)]
    pub(super) owner: Vec<String>,
    /// Label that they carry
    #[arg(long, value_delimiter = ',')]
    pub(super) label: Vec<String>,
    /// TLP label
    #[arg(long, value_delimiter = ',', value_parser = tlp)]
    pub(super) tlp: Vec<Tlp>,
}

impl Filter {
    /// As the public contract spells it.
    pub(super) fn to_wire(&self) -> v1::IndicatorFilter {
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

/// `subscribe`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre subscribe --from latest                        watch what comes
  luytre subscribe --state fw.state --format plain      everything, and go on after any break
  luytre subscribe --name siem --kind domain,url        the hub keeps your place
  luytre subscribe --from current-state                 what stands now, then what comes

With --state, the place is stored after the output is flushed; with --name, the hub keeps it. Either
way --from counts only the first time, and later runs go on exactly after the last event. Ends at
SIGINT or SIGTERM, with everything flushed.

jsonl gives every event: new, update, withdrawn, revoked, expired, sighted; first, with \"recall\": true,
what was taken back while you were away. Between state-begin and state-end lies what replaces all you
had. plain gives one canonical value a line for new and updated indicators, and nothing else.")]
pub(super) struct Subscribe {
    /// Name of a subscription whose place the hub keeps
    #[arg(long, conflicts_with = "state")]
    pub(super) name: Option<String>,
    /// Where to start the first time: earliest, latest, current-state, or a time
    #[arg(long, value_name = "PLACE", default_value = "earliest", value_parser = from)]
    pub(super) from: From,
    #[command(flatten)]
    pub(super) filter: Filter,
    /// How to write events
    #[arg(long, value_enum, default_value_t = PlainOrJson::Jsonl)]
    pub(super) format: PlainOrJson,
    /// File that remembers the place
    #[arg(long, value_name = "FILE")]
    pub(super) state: Option<PathBuf>,
    /// End after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// Also sightings that you may see
    #[arg(long)]
    pub(super) sightings: bool,
}

/// `lookup`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre lookup 198.51.100.7 hxxp://example[.]net/
  cut -f3 proxy.log | sort -u | luytre lookup - --format plain

jsonl gives a line for each value, in order; plain gives only the values that are known and active.")]
pub(super) struct Lookup {
    /// Values, or - for one value a line on stdin
    #[arg(required = true, value_name = "VALUE")]
    pub(super) values: Vec<String>,
    /// How to write what is found
    #[arg(long, value_enum, default_value_t = PlainOrJson::Jsonl)]
    pub(super) format: PlainOrJson,
}

/// `list`.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    pub(super) filter: Filter,
    /// State: active, revoked, expired [default: active]
    #[arg(long, value_delimiter = ',', value_parser = state)]
    pub(super) state: Vec<State>,
    /// Only versions added at or after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) since: Option<Timestamp>,
    /// Only versions added before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) until: Option<Timestamp>,
    /// At most this many; 0: all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) limit: u64,
    /// How to write them
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(super) format: ListFormat,
}

/// `get`.
#[derive(Debug, Args)]
pub(super) struct Get {
    /// Name of the indicator, `indicators/…` or its UUID alone
    #[arg(value_parser = indicator)]
    pub(super) name: String,
}

/// `revoke`.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  luytre revoke indicators/0b54… --reason false-positive --note \"our own mail server\"

Everyone who received the indicator is told to stop using it. Publishing the value again is refused
unless it is done with --reinstate.")]
pub(super) struct Revoke {
    /// Name of the indicator, `indicators/…` or its UUID alone
    #[arg(value_parser = indicator)]
    pub(super) name: String,
    /// Why
    #[arg(long, value_parser = PossibleValuesParser::new(["false-positive", "withdrawn", "superseded"]))]
    pub(super) reason: String,
    /// Explanation for the readers
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) note: String,
    /// Only if this version still stands
    #[arg(long, value_name = "VERSION", default_value = "")]
    pub(super) etag: String,
}

/// `sight`.
#[derive(Debug, Args)]
pub(super) struct Sight {
    /// Name of the indicator, `indicators/…` or its UUID alone
    #[arg(value_parser = indicator)]
    pub(super) name: String,
    /// What happened
    #[arg(long, value_parser = PossibleValuesParser::new(["seen-blocked", "seen-not-blocked", "searched-not-found", "false-positive"]))]
    pub(super) outcome: String,
    /// How often it was met
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) count: u64,
    /// Remark for the owner
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) note: String,
}

/// `organisations`.
#[derive(Debug, Args)]
pub(super) struct Organisations {
    /// Also those that are suspended, ended or planned
    #[arg(long)]
    pub(super) all: bool,
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(super) format: TableOrJson,
}

/// `completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints completions.
pub(super) fn completions(options: &Completions, data: &mut Data) -> Result<(), Failure> {
    use clap::CommandFactory as _;
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "luytre", &mut script);
    Ok(data.bytes(&script)?)
}

/// How an input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum InputFormat {
    /// By the first line.
    Auto,
    /// One value a line.
    Plain,
    /// One JSON object a line.
    Jsonl,
}

/// How an output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PlainOrJson {
    /// One value a line, or words for people.
    Plain,
    /// One JSON object a line.
    Jsonl,
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TableOrJson {
    /// Columns for people.
    Table,
    /// One JSON object a line.
    Jsonl,
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// Columns for people.
    Table,
    /// One value a line.
    Plain,
    /// One JSON object a line.
    Jsonl,
}

/// Where to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// At the oldest event.
    Earliest,
    /// At what comes.
    Latest,
    /// With what stands.
    CurrentState,
    /// At a time.
    Time(Timestamp),
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "earliest" => Ok(From::Earliest),
        "latest" => Ok(From::Latest),
        "current-state" => Ok(From::CurrentState),
        _ => time(text).map(From::Time).map_err(|_| {
            "write earliest, latest, current-state, or a time such as 2026-11-21 or 2026-11-21T08:00:00+07:00".to_owned()
        }),
    }
}

fn tlp(text: &str) -> Result<Tlp, String> {
    Tlp::parse(text).ok_or_else(|| "write clear, green, amber, amber+strict or red".to_owned())
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text).ok_or_else(|| format!("the kinds are {}", Kind::ALL.map(Kind::as_str).join(", ")))
}

fn state(text: &str) -> Result<State, String> {
    [State::Active, State::Revoked, State::Expired]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| "the states are active, revoked, expired".to_owned())
}

/// A moment as RFC 3339, or a day, which begins at midnight UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    use time::format_description::well_known::Rfc3339;
    use time::macros::format_description;
    let wrong = || "write a day such as 2026-11-21, or a time such as 2026-11-21T08:00:00+07:00".to_owned();
    let at = time::OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| {
            time::Date::parse(text, format_description!("[year]-[month]-[day]"))
                .map(|day| day.midnight().assume_utc())
        })
        .map_err(|_| wrong())?;
    Timestamp::from_offset(at).ok_or_else(wrong)
}

/// A slug or a resource name, as a resource name.
pub(super) fn organisation(text: &str) -> Result<String, String> {
    let slug = text.strip_prefix("organisations/").unwrap_or(text);
    OrgSlug::parse(slug).map(|slug| format!("organisations/{slug}")).map_err(|invalid| invalid.problem)
}

/// A UUID or a resource name, as a resource name.
fn indicator(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("indicators/").unwrap_or(text);
    uuid::Uuid::try_parse(id)
        .map(|id| format!("indicators/{id}"))
        .map_err(|_| "write the name that `luytre list` shows, such as indicators/4b3f7c1e-…".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_of_the_commands_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn days_begin_at_midnight_utc_and_offsets_are_heeded() {
        assert_eq!(time("2026-11-21").unwrap(), time("2026-11-21T00:00:00Z").unwrap());
        assert_eq!(time("2026-11-21T07:00:00+07:00").unwrap(), time("2026-11-21").unwrap());
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn names_are_completed() {
        assert_eq!(organisation("sa-ict").unwrap(), "organisations/sa-ict");
        assert_eq!(organisation("organisations/sa-ict").unwrap(), "organisations/sa-ict");
        assert!(organisation("Not A Slug").is_err());
        let id = "4b3f7c1e-0000-4000-8000-000000000001";
        assert_eq!(indicator(id).unwrap(), format!("indicators/{id}"));
    }

    #[test]
    fn a_name_and_a_state_file_exclude_each_other() {
        assert!(Arguments::try_parse_from(["luytre", "subscribe", "--name", "a", "--state", "b"]).is_err());
    }
}
