//! Decides the options of `luytre tail-publish`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::publish::Publish;
use super::values::seconds;

/// `tail-publish`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre tail-publish /var/log/honeypot.jsonl --state /var/lib/luytre/hp --tlp green
  luytre tail-publish /srv/feeds --state /var/lib/luytre/feeds --feed chongluadao --rejects refused.jsonl
  luytre tail-publish /var/log/c2.log --state DIR --input-format plain --tlp amber --to sa-ict

A file is a log: what stands in it is published, then every line that is added, once the line has its
end. Rotation is followed, by rename as well as by copying and truncating. A directory is a drop box:
every file in it is published, and what is added to one. Names that begin with a dot or end in ~,
.tmp or .part are passed over, and directories in it too: write under such a name and rename. A last
line without its end, and what can be read as a whole only (gzip, zstd, UTF-16, prose, rules), counts
once its file has not changed for --settle seconds; in a log, a last line never does.

How far each file was published is kept in the state directory, after the hub has confirmed it. After
a kill at any moment nothing is missing; what comes twice changes nothing on the hub. While the hub is
away, it waits. Lines that are refused are told on stderr, go to --rejects FILE, which grows, and stop
nothing. All other options are those of `luytre publish`; its --help tells of formats and markings.

Ends at SIGINT or SIGTERM with 0; 75 if another process uses the state, 77 if the hub does not take the
certificate.")]
pub(crate) struct TailPublish {
    /// Log files and directories to follow; a log need not be there yet
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Directory of the state, made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Look for what is new this often, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) poll: Duration,
    /// Take a file in a directory as complete once it has not changed for so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) settle: Duration,
    #[command(flatten)]
    pub(crate) how: Publish,
}
