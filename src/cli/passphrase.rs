//! Decides how a command is told where a passphrase comes from: that of the
//! authorities' keys, or that of a backup.

use std::path::PathBuf;

use crate::base::secret::Secret;
use crate::signer::passphrase::{Error, Source};

/// What it is the passphrase of, where keys are meant.
pub(super) const PURPOSE: &str = "of the authorities' keys";

/// Where the passphrase comes from, if one is needed.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(multiple = false)]
pub(super) struct Passphrase {
    /// Ask at the terminal for the passphrase
    #[arg(long)]
    ask_passphrase: bool,
    /// Read the passphrase from this open descriptor
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// Read the passphrase from this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Passphrase {
    /// Where it comes from, if it was said.
    pub(super) fn source(&self) -> Option<Source> {
        match (self.passphrase_fd, &self.passphrase_file) {
            (Some(number), _) => Some(Source::Descriptor(number)),
            (None, Some(path)) => Some(Source::File(path.clone())),
            (None, None) => self.ask_passphrase.then_some(Source::Terminal),
        }
    }

    /// The passphrase that keys were encrypted with, if there is one.
    pub(super) fn read(&self) -> Result<Option<Secret<Vec<u8>>>, Error> {
        self.source().map(|source| source.read(PURPOSE)).transpose()
    }

    /// The passphrase to encrypt keys with, if there is one.
    pub(super) fn read_new(&self) -> Result<Option<Secret<Vec<u8>>>, Error> {
        self.source().map(|source| source.read_new(PURPOSE)).transpose()
    }
}
