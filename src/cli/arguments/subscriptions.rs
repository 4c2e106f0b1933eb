//! Decides the options of the commands that receive events.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use clap::{Args, Subcommand};

use super::filter::Filter;
use super::values::{PlainOrJson, TableOrJson, time};
use crate::base::clock::Timestamp;

/// `subscribe`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre subscribe --from latest                        # watch what comes
  luytre subscribe --state siem.state >> events.jsonl   # everything, and go on after any break
  luytre subscribe --name siem --kind domain,url        # the hub keeps your place
  luytre subscribe --from current-state                 # what stands now, then what comes
  luytre subscribe --from earliest --count 10 | jq .    # the ten oldest events

With --state, the place is stored after the output is flushed; with --name, the hub keeps it. Either
way --from counts only the first time, and later runs go on exactly after the last event. With
neither, the command ends by naming the place on stderr, as --from token:…. Ends at SIGINT or
SIGTERM, with everything flushed, and after --count events; no more are asked of the hub.

jsonl gives every event, named by its field \"event\":
  new, update            use the indicator; it stands as it is told here
  revoked, expired       stop using it: its owner took it back, or its time is over
  withdrawn              drop it: you may no longer see it, or it left your filter
  state-begin, state-end what lies between replaces all that you had (--from current-state)
  sighted                somebody met it, or did not (--sightings); that one of yours is a false
                         positive comes with --notices too, and is told on stderr
  collision              somebody published what an indicator of yours holds and which he may not
                         see (--notices)
  republication          leave to share further was asked of you, or what you asked for was given,
                         refused or withdrawn (--notices): luytre leave
  held                   what a list of the hub holds back waits for your second person, or was
                         answered (--notices): luytre held
  contained              the unit that leads holds an indicator of yours for a day, or that is over
                         (--notices)
What was taken back while you were away comes first, with \"recall\": true. plain gives one canonical
value a line for new and updated indicators, and nothing else: none of the role victim, for such
lists feed what blocks.")]
pub(crate) struct Subscribe {
    /// Name of a subscription whose place the hub keeps
    #[arg(long, conflicts_with = "state")]
    pub(crate) name: Option<String>,
    /// Where to start the first time: earliest, latest, current-state, a time,
    /// or a token that an earlier run gave (`token:…`)
    #[arg(long, value_name = "PLACE", default_value = "earliest", value_parser = from)]
    pub(crate) from: From,
    /// How to write events
    #[arg(long, value_enum, default_value_t = PlainOrJson::Jsonl)]
    pub(crate) format: PlainOrJson,
    /// File that remembers the place
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// End after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Also sightings that you may see
    #[arg(long)]
    pub(crate) sightings: bool,
    /// Also notices: another member published what an indicator of yours holds
    /// which it may not see; leave to republish is asked of you, or answered;
    /// somebody says that an indicator of yours is a false positive
    #[arg(long)]
    pub(crate) notices: bool,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// `subscriptions`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre subscriptions list
  luytre subscriptions delete siem")]
pub(crate) struct Subscriptions {
    #[command(subcommand)]
    pub(crate) action: SubscriptionsAction,
}

/// What to do with named subscriptions.
#[derive(Debug, Subcommand)]
pub(crate) enum SubscriptionsAction {
    /// List them by name · Liệt kê
    List(ListSubscriptions),
    /// Delete one and the place that the hub keeps for it · Xóa
    Delete(DeleteSubscription),
}

/// `subscriptions list`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre subscriptions list
  luytre subscriptions list --format jsonl")]
pub(crate) struct ListSubscriptions {
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(crate) format: TableOrJson,
}

/// `subscriptions delete`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre subscriptions delete siem

A process that receives under the name is cut off (SUBSCRIPTION_DISPLACED). Who subscribes under it
again makes a new one, with filters of its own, and begins at --from.")]
pub(crate) struct DeleteSubscription {
    /// Its name, as `luytre subscriptions list` shows it
    pub(crate) name: String,
}

/// Where to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// At the oldest event.
    Earliest,
    /// At what comes.
    Latest,
    /// With what stands.
    CurrentState,
    /// At a time.
    Time(Timestamp),
    /// After a token of an earlier run.
    Token(Bytes),
}

/// Longest token that is read; the hub's are far shorter.
const MAX_TOKEN: usize = 1_024;

fn from(text: &str) -> Result<From, String> {
    if let Some(token) = text.strip_prefix("token:") {
        return URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .filter(|token| (1..=MAX_TOKEN).contains(&token.len()))
            .map(|token| From::Token(token.into()))
            .ok_or_else(|| "the token is damaged; give it whole, as the earlier run printed it".to_owned());
    }
    match text {
        "earliest" => Ok(From::Earliest),
        "latest" => Ok(From::Latest),
        "current-state" => Ok(From::CurrentState),
        _ => time(text).map(From::Time).map_err(|_| {
            "write earliest, latest, current-state, token:…, or a time such as 2026-11-21 or 2026-11-21T08:00:00+07:00"
                .to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Arguments;
    use super::*;

    #[test]
    fn a_place_is_an_end_a_time_or_a_token() {
        assert_eq!(from("latest"), Ok(From::Latest));
        assert_eq!(from("token:AAEC_w"), Ok(From::Token(Bytes::from_static(&[0, 1, 2, 0xff]))));
        for wrong in ["token:", "token:AAEC_w==", "token:?", "soon"] {
            assert!(from(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_and_a_state_file_exclude_each_other() {
        assert!(Arguments::try_parse_from(["luytre", "subscribe", "--name", "a", "--state", "b"]).is_err());
    }
}
