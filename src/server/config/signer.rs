//! Decides what a signer is told: one TOML file of its own, every problem
//! reported at once with its fix.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use rustls::pki_types::DnsName;

use super::section::Section;
use super::{Error, Log, MAX_SOCKET_PATH_BYTES, Span, parse, read_log, seconds, sound, text_of};
use crate::model::Invalid;
use crate::model::principal::check_trust_domain;
use crate::signer::{Profile, Settings};

/// Where the machine's users are listed.
const USERS: &str = "/etc/passwd";
const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// Everything that an operator decides about one signer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerConfig {
    /// What it is run with.
    pub settings: Settings,
    /// What is logged, and how.
    pub log: Log,
}

impl SignerConfig {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let (text, path) = text_of(path)?;
        // A machine whose users are elsewhere has none here: write numbers.
        Self::read(&text, &path, &fs::read_to_string(USERS).unwrap_or_default())
    }

    /// Reads `text` as if it stood in the file at `path`, on a machine with
    /// these `users` (passwd(5)).
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(text: &str, path: &Path, users: &str) -> Result<Self, Error> {
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let mut problems = Vec::new();
        let config = assemble(Section::root(parse(text, path)?), base, users, &mut problems);
        sound(path, config, problems)
    }
}

fn assemble(mut root: Section, base: &Path, users: &str, problems: &mut Vec<Invalid>) -> SignerConfig {
    let trust_domain: Option<String> = root.optional("trust_domain", problems);
    match trust_domain.as_deref().map(check_trust_domain) {
        Some(Ok(())) => {}
        Some(Err(invalid)) => problems.push(invalid.under("trust_domain")),
        None => problems
            .push(Invalid::new("trust_domain", "is missing; write the hub's, such as \"hub.example.vn\"")),
    }
    let names: Vec<String> = root.or("server_names", Vec::new(), problems);
    for name in &names {
        if name.parse::<IpAddr>().is_err() && DnsName::try_from(name.as_str()).is_err() {
            problems.push(Invalid::new(
                "server_names",
                format!("{name:?} is neither a DNS name nor an IP address"),
            ));
        }
    }
    let keys = root.required_path("keys", base, "the directory of keys", problems);
    let state = root.required_path("state", base, "the directory of the journal", problems);
    let socket = root.path("socket", base, problems).unwrap_or_else(|| state.join("signer.sock"));
    check_socket(&socket, problems);
    let allowed: Vec<String> = root.or("allow_users", Vec::new(), problems);
    let allowed = allowed.iter().filter_map(|user| uid(user, users, problems)).collect();
    let profile = Profile::new(trust_domain.unwrap_or_default(), names.into_iter().collect::<BTreeSet<_>>());
    let profile = read_limits(root.section("limits", problems), profile, problems);
    let log = read_log(root.section("log", problems), problems);
    root.finish(problems);
    SignerConfig { settings: Settings { keys, state, socket, allowed, profile }, log }
}

fn check_socket(socket: &Path, problems: &mut Vec<Invalid>) {
    if socket.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        let shown = socket.display();
        problems.push(Invalid::new(
            "socket",
            format!("{shown} is longer than the {MAX_SOCKET_PATH_BYTES} bytes that Linux allows a socket; name a shorter path"),
        ));
    }
}

fn read_limits(mut section: Section, usual: Profile, problems: &mut Vec<Invalid>) -> Profile {
    let mut lifetime =
        |key, usual, most| section.bounded(key, Span(usual), (seconds(HOUR), seconds(most)), problems).0;
    let client_lifetime = lifetime("client_lifetime", usual.client_lifetime, 397 * DAY);
    let server_lifetime = lifetime("server_lifetime", usual.server_lifetime, 397 * DAY);
    let mut rate = |key, usual| section.bounded(key, usual, (1, 100_000), problems);
    let leaves_per_hour = rate("leaves_per_hour", usual.leaves_per_hour);
    let lists_per_hour = rate("lists_per_hour", usual.lists_per_hour);
    section.finish(problems);
    Profile { client_lifetime, server_lifetime, leaves_per_hour, lists_per_hour, ..usual }
}

/// The number of a user given by number or name.
fn uid(user: &str, users: &str, problems: &mut Vec<Invalid>) -> Option<u32> {
    let listed = || {
        let mut fields = users.lines().map(|line| line.split(':'));
        fields.find_map(|mut fields| {
            let name = fields.next()?;
            (name == user).then(|| fields.nth(1)).flatten()?.parse().ok()
        })
    };
    let found = user.parse().ok().or_else(listed);
    if found.is_none() {
        problems.push(Invalid::new(
            "allow_users",
            format!("{user:?} is no user in {USERS}; write a name from there, or the user's number"),
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\nluytre:x:991:990::/:/usr/sbin/nologin\n";

    fn read(text: &str) -> Result<SignerConfig, Error> {
        SignerConfig::read(text, Path::new("/etc/luytre/signer.toml"), USERS)
    }

    #[test]
    fn the_packaged_configuration_is_understood() {
        let text = include_str!("../../../packaging/signer.toml");
        let settings = read(text).unwrap().settings;
        assert_eq!(settings.keys, Path::new("/etc/luytre/signer"));
        assert_eq!(settings.allowed, BTreeSet::from([991]));
        assert_eq!(settings.profile.leaves_per_hour, 1_000);
        // What stands behind # are the values that hold anyway.
        let all: String = text
            .lines()
            .map(|line| {
                line.strip_prefix('#')
                    .filter(|line| line.contains(" = ") && !line.starts_with(' '))
                    .unwrap_or(line)
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(read(&all).unwrap(), read(text).unwrap());
    }

    #[test]
    fn every_problem_is_said_at_once() {
        let text = "trust_domain = \"Hub\"\nserver_names = [\"a b\"]\nstate = \"s\"\nkye = \"k\"\n\
            allow_users = [\"nobody-here\", \"12\"]\n[limits]\nclient_lifetime = \"9000000h\"\n";
        let problems = read(text).unwrap_err().to_string();
        for key in ["trust_domain", "server_names", "keys", "kye", "allow_users", "limits.client_lifetime"] {
            assert!(problems.contains(key), "{key}: {problems}");
        }
        assert!(problems.contains("6 problems"), "{problems}");
    }
}
