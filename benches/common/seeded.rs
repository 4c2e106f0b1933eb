//! Decides what is random in a benchmark, and where the shapes of hosts come
//! from.

use std::path::{Path, PathBuf};

/// Hosts for a machine without the lists.
const INVENTED: [&str; 12] = [
    "login.example.com",
    "cdn.update-service.example.net",
    "mail.example.org",
    "vn.bank-online.example.com",
    "www.example.info",
    "static.files.example.net",
    "portal.example.vn",
    "api.pay.example.com",
    "shop.example.xyz",
    "secure-account.example.top",
    "download.example.org",
    "news.hanoi.example.vn",
];

/// Hosts like those in `DATA`, else in `../shared/data/threat/feeds`, else
/// invented ones, and which these are.
pub fn known_hosts() -> (Vec<String>, String) {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/threat/feeds");
    let directory = std::env::var_os("DATA").map_or(beside, PathBuf::from);
    let mut hosts = Vec::new();
    read_hosts(&directory, &mut hosts);
    if hosts.is_empty() {
        return (
            INVENTED.map(str::to_owned).to_vec(),
            "invented hosts (DATA=DIR names real lists)".to_owned(),
        );
    }
    let origin = format!("{} real hosts in {}", hosts.len(), directory.display());
    (hosts, origin)
}

fn read_hosts(directory: &Path, hosts: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if hosts.len() >= 20_000 {
            return;
        }
        if path.is_dir() {
            read_hosts(&path, hosts);
        } else if path.extension().is_some_and(|ending| ending == "txt") {
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            hosts.extend(
                text.lines().map(str::trim).filter(|line| is_host(line)).take(2_000).map(str::to_owned),
            );
        }
    }
}

fn is_host(line: &str) -> bool {
    let label = |label: &str| {
        (1..=40).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.as_bytes().get(2..4) != Some(b"--")
    };
    line.len() < 120
        && line.split('.').all(label)
        && line
            .rsplit_once('.')
            .is_some_and(|(_, tld)| tld.len() > 1 && tld.bytes().all(|b| b.is_ascii_lowercase()))
}

/// A number in digits and small letters.
pub fn base36(mut number: u64) -> String {
    let mut text = String::new();
    loop {
        text.push(char::from(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]));
        number /= 36;
        if number == 0 {
            return text;
        }
    }
}

/// SplitMix64.
pub const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A sequence of random numbers that its seed repeats.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of the `number`th of what `salt` stands for.
    pub const fn of(seed: u64, salt: u64, number: u64) -> Self {
        Self(mix(mix(seed ^ salt.rotate_left(32)) ^ number.wrapping_mul(0x9e37_79b9)))
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `count`, which is not 0.
    pub const fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    /// True in `percent` of a hundred.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number below `count`: `n` about as often as 1/(n+1).
    pub fn zipf(&mut self, count: usize) -> usize {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (((count as f64 + 1.0).powf(share) - 1.0) as usize).min(count - 1)
    }

    /// One of these, each as often as the others.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// One of these, the first most often.
    pub fn first_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.zipf(of.len())]
    }
}
