//! Decides the options of `luytre sync`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::filter::Filter;
use super::values::seconds;
use crate::model::export::Format;

/// `sync`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre sync --state /var/lib/luytre/fw --plain /etc/nftables.d/blocked.txt --kind ipv4 \\
      --hook 'nft-reload'                                         # a firewall
  luytre sync --state /var/lib/luytre/dns --hosts /etc/blocked.hosts --kind domain \\
      --hook 'systemctl reload dnsmasq'                           # a resolver
  luytre sync --state /var/lib/luytre/siem --jsonl /srv/siem/luytre.jsonl --every 10
  luytre sync --state /var/lib/luytre/rpz --rpz /var/cache/bind/luytre.zone \\
      --hook 'rndc reload rpz.luytre.example'                     # BIND
  luytre sync --state /var/lib/luytre/ids --suricata /etc/suricata/rules/luytre.rules \\
      --hook 'suricatasc -c ruleset-reload-nonblocking'           # an IDS
  luytre sync --state DIR --plain list.txt --once                 # from cron: up to date, then the end

The files begin with the hub's current state and go on with every change. What stands and the place
in the stream lie in the state directory, which one sync at a time may use: after any break, kill or
restart it goes on exactly there. Where the hub does not know the place any more, the current state is
asked for anew, and the files stay as they are until it is there.

Each file is replaced as a whole, only when its content changes, and keeps its mode, owner and group.
A new one is readable for you alone (0600): make it beforehand with the mode that its reader needs.
  --plain     one canonical value a line, sorted, each once; rules (yara, sigma …) are left out, and
              so are names that are free text (file names, user agents, mutexes, registry keys),
              unless --kind asks for them
  --hosts     domains, as `0.0.0.0 name`; of URLs the hosts are not blocked
  --rpz       a response policy zone of BIND: domains, addresses, networks
  --suricata  rules of Suricata: domains, addresses, networks
  --iprep     a reputation list of Suricata: addresses and networks
  --csv       every indicator, comma-separated, safe to open in a spreadsheet
  --jsonl     every indicator, one JSON object a line, as `luytre query --format jsonl` writes it
`luytre export` writes the same formats once, and docs/exports.md describes them. The same values give
the same bytes, but for the serial number of a zone, which grows whenever the zone changes.

All but --csv and --jsonl are for blocking. They hold a value if an indicator of it recommends to
block (--action block), and leave it out if any indicator of the same value says that it is a
victim's or must be watched and not blocked, whosever that is. What everyone has or needs (private
addresses, public suffixes, nearly all addresses) is never in them, whoever recommends it.
--include-monitor writes all values but those of victims to --plain and --hosts, whatever is
recommended. A filter hides objections too: all but --kind are for lists to look at rather than for
blocking.

The hook runs after files changed, through `sh -c`, one at a time. What it prints goes to stderr. If
it fails it runs again with the next change, in a minute, or with the next start, whichever is first.

Exit codes: 0 asked to end, or --once is done; 74 a file could not be written, or with --once the hook
failed; 75 another sync uses the state, or with --once the hub is away; 77 the hub does not take the
certificate.")]
pub(crate) struct Sync {
    /// Directory of the state, made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Write values to block here, one a line; repeat
    #[arg(long, value_name = "FILE")]
    pub(crate) plain: Vec<PathBuf>,
    /// Write domains to block here, as a hosts file; repeat
    #[arg(long, value_name = "FILE")]
    pub(crate) hosts: Vec<PathBuf>,
    /// Write a response policy zone of BIND here; repeat
    #[arg(long, value_name = "FILE")]
    pub(crate) rpz: Vec<PathBuf>,
    /// Write rules of Suricata here; repeat
    #[arg(long, value_name = "FILE")]
    pub(crate) suricata: Vec<PathBuf>,
    /// Write a reputation list of Suricata here; repeat
    #[arg(long, value_name = "FILE")]
    pub(crate) iprep: Vec<PathBuf>,
    /// Write every indicator here, as comma-separated values; repeat
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Vec<PathBuf>,
    /// Write every indicator here, as JSON lines; repeat
    #[arg(long, value_name = "FILE")]
    pub(crate) jsonl: Vec<PathBuf>,
    /// Write values to --plain and --hosts that are not to be blocked as well
    #[arg(long)]
    pub(crate) include_monitor: bool,
    /// Name of a subscription, under which the hub shows how far this one is
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Command to run after files changed
    #[arg(long, value_name = "COMMAND")]
    pub(crate) hook: Option<String>,
    /// End the hook after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, requires = "hook")]
    pub(crate) hook_timeout: Duration,
    /// Write files at most this often, in seconds; a change waits no longer either
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) every: Duration,
    /// Bring the files up to date, then end
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

impl Sync {
    /// The files that are named, each with its format.
    pub(crate) fn files(&self) -> impl Iterator<Item = (Format, &PathBuf)> {
        let all = [
            (Format::Plain, &self.plain),
            (Format::Hosts, &self.hosts),
            (Format::Rpz, &self.rpz),
            (Format::Suricata, &self.suricata),
            (Format::Iprep, &self.iprep),
            (Format::Csv, &self.csv),
            (Format::JsonLines, &self.jsonl),
        ];
        all.into_iter().flat_map(|(format, paths)| paths.iter().map(move |path| (format, path)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Arguments, Command};
    use super::*;

    fn sync(words: &[&str]) -> Option<Sync> {
        match Arguments::try_parse_from([&["luytre", "sync"], words].concat()).ok()?.command {
            Command::Sync(options) => Some(*options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_state_is_asked_for_and_files_may_be_many() {
        assert!(sync(&["--plain", "a"]).is_none());
        let options = sync(&["--state", "d", "--plain", "a", "--plain", "b", "--every", "0.2"]).unwrap();
        assert_eq!((options.plain.len(), options.every), (2, Duration::from_millis(200)));
        assert!(sync(&["--state", "d", "--every", "0"]).is_none());
    }
}
