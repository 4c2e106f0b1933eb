//! Decides what a part of a report is about: by its headings, and by the
//! header of a table.

/// What a section lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Section {
    #[default]
    Unknown,
    /// Addresses, names and URLs.
    Network,
    /// Files, keys, processes and the like.
    Host,
    /// Certificates, whose fingerprints look like hashes of files.
    Certificate,
}

const CERTIFICATE: [&str; 3] = ["certificate", "thumbprint", "chứng thư"];
const NETWORK: [&str; 18] = [
    "network",
    "c&c",
    "c2",
    "domain",
    "ip address",
    "ip:",
    "ips",
    "url",
    "server",
    "download",
    "infrastructure",
    "website",
    "exfil",
    "phishing",
    "tên miền",
    "địa chỉ",
    "hosts",
    "máy chủ",
];
const HOST: [&str; 14] = [
    "file name",
    "filename",
    "file path",
    "files",
    "registry",
    "mutex",
    "detection",
    "named pipe",
    "process",
    "window",
    "user agent",
    "user-agent",
    "strings",
    "torrent",
];

/// Headings of what belongs to those who were attacked.
const VICTIMS: [&str; 7] =
    ["victim", "compromised", "hacked", "nạn nhân", "bị tấn công", "bị hại", "bị ảnh hưởng"];
/// The same, unless the heading is about the attack itself.
const AIMED_AT: [&str; 3] = ["target", "affected", "impacted"];
const OF_ATTACKERS: [&str; 7] = ["attack", "campaign", "indicator", "ioc", "c2", "c&c", "malware"];
/// Headings of what is not to be blocked, unless it is there for its abuse.
const SPARED: [&str; 10] = [
    "whitelist",
    "white list",
    "allowlist",
    "allow list",
    "false positive",
    "legitimate",
    "benign",
    "do not block",
    "không chặn",
    "danh sách trắng",
];
const ABUSED: [&str; 4] = ["abus", "imperson", "spoof", "lạm dụng"];
const CONTACT: [&str; 5] = ["contact", "liên hệ", "đầu mối", "report to", "about us"];

/// Where in the text we are.
#[derive(Debug, Default)]
pub(super) struct Sections {
    title: String,
    section: Section,
    block: bool,
    /// Within `|===`, and whether its first row was read.
    table: Option<bool>,
    /// What the table's header makes of it.
    of_table: Option<Section>,
}

impl Sections {
    /// Takes a line; `true` if it is no text but the frame of it.
    pub(super) fn take(&mut self, line: &str) -> bool {
        if line.is_empty() {
            return true;
        }
        if is_rule(line, &['-', '.', '_', '+'], 4) || line.starts_with("```") || line.starts_with("~~~") {
            self.block = !self.block;
            return true;
        }
        if line.starts_with("|=") && line.trim_start_matches('|').bytes().all(|b| b == b'=') {
            self.table = if self.table.is_some() { None } else { Some(false) };
            self.of_table = None;
            return true;
        }
        if self.block {
            return false;
        }
        if let Some(title) = heading(line) {
            self.enter(title);
            return true;
        }
        if line.starts_with(':') && line.matches(':').count() > 1
            || line.starts_with("[options")
            || is_rule(line, &['='], 4)
        {
            return true;
        }
        if self.table == Some(false) {
            self.table = Some(true);
            // Tables of files tell of the certificates that signed them, too.
            let lower = line.to_lowercase();
            let named = ["thumbprint", "serial number"].iter().any(|word| lower.contains(word));
            self.of_table = named.then_some(Section::Certificate);
        }
        // Advisories as text write headings as lines that end in a colon.
        if line.ends_with(':') && !line.contains("://") && line.len() < 200 {
            self.enter(line.trim_end_matches(':'));
        }
        false
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    pub(super) fn section(&self) -> Section {
        self.of_table.unwrap_or(self.section)
    }

    /// Whether the section, or the line itself, in lower case, says that what
    /// stands there belongs to those who were attacked.
    pub(super) fn names_victims(&self, line: &str) -> bool {
        let title = self.title.to_lowercase();
        let lines = ["compromised web", "compromised site", "hacked web", "hacked site"];
        contains(&title, &VICTIMS)
            || (contains(&title, &AIMED_AT) && !contains(&title, &OF_ATTACKERS))
            || contains(line, &lines)
    }

    /// Whether the section lists what must not be taken for bad.
    pub(super) fn spares(&self) -> bool {
        let title = self.title.to_lowercase();
        contains(&title, &SPARED) && !contains(&title, &ABUSED)
    }

    /// Whether the section says whom to ask.
    pub(super) fn is_for_contact(&self) -> bool {
        contains(&self.title.to_lowercase(), &CONTACT)
    }

    pub(super) const fn in_block(&self) -> bool {
        self.block
    }

    fn enter(&mut self, title: &str) {
        self.title = title.trim().trim_matches('*').chars().take(120).collect();
        self.section = section_of(&self.title);
    }
}

fn contains(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

fn section_of(title: &str) -> Section {
    let lower = title.to_lowercase();
    let names = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if names(&CERTIFICATE) {
        Section::Certificate
    } else if names(&HOST) {
        Section::Host
    } else if names(&NETWORK) {
        Section::Network
    } else {
        Section::Unknown
    }
}

/// The text of a heading of AsciiDoc or Markdown, or of a block's title.
fn heading(line: &str) -> Option<&str> {
    let mark = line.chars().next()?;
    match mark {
        '=' | '#' => {
            let text = line.trim_start_matches(mark);
            (text.starts_with(' ') && line.len() - text.len() <= 6).then(|| text.trim())
        }
        '.' => {
            line.strip_prefix('.').filter(|text| text.starts_with(char::is_uppercase) && text.contains(' '))
        }
        _ => None,
    }
}

/// Whether the line is one character over and over.
fn is_rule(line: &str, marks: &[char], least: usize) -> bool {
    let mut chars = line.chars();
    chars
        .next()
        .is_some_and(|first| marks.contains(&first) && line.len() >= least && chars.all(|c| c == first))
}
