//! Decides the words for how an input is written.

use clap::ValueEnum;
use serde::Deserialize;

use crate::interop::{Encoding, Format};

/// How an input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InputFormat {
    /// By the first lines.
    #[default]
    Auto,
    /// One value a line.
    Plain,
    /// AdBlock rules.
    Adblock,
    /// A hosts file.
    Hosts,
    /// Trails of maltrail.
    Maltrail,
    /// Cells apart by commas.
    Csv,
    /// Cells apart by semicolons.
    CsvSemicolon,
    /// Cells apart by tabs.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// Text for people.
    Prose,
}

impl InputFormat {
    /// The format; `None`: it is to be guessed.
    pub(crate) const fn format(self) -> Option<Format> {
        match self {
            Self::Auto => None,
            Self::Plain => Some(Format::Plain),
            Self::Adblock => Some(Format::Adblock),
            Self::Hosts => Some(Format::Hosts),
            Self::Maltrail => Some(Format::Maltrail),
            Self::Csv => Some(Format::Csv),
            Self::CsvSemicolon => Some(Format::Semicolons),
            Self::Tsv => Some(Format::Tsv),
            Self::Jsonl => Some(Format::Jsonl),
            Self::Prose => Some(Format::Prose),
        }
    }
}

/// How its text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InputEncoding {
    /// By the first bytes, then line by line.
    #[default]
    Auto,
    /// UTF-8 alone.
    #[value(name = "utf-8")]
    #[serde(rename = "utf-8")]
    Utf8,
    /// Windows-1252, of which Latin-1 is a part.
    #[value(name = "latin-1", alias = "windows-1252")]
    #[serde(rename = "latin-1", alias = "windows-1252")]
    Latin1,
    /// UTF-16, least significant byte first.
    #[value(name = "utf-16le")]
    #[serde(rename = "utf-16le")]
    Utf16Le,
    /// UTF-16, most significant byte first.
    #[value(name = "utf-16be")]
    #[serde(rename = "utf-16be")]
    Utf16Be,
}

impl From<InputEncoding> for Encoding {
    fn from(named: InputEncoding) -> Self {
        match named {
            InputEncoding::Auto => Self::Auto,
            InputEncoding::Utf8 => Self::Utf8,
            InputEncoding::Latin1 => Self::Latin1,
            InputEncoding::Utf16Le => Self::Utf16Le,
            InputEncoding::Utf16Be => Self::Utf16Be,
        }
    }
}
