//! Decides what the indicators are about: values of every common kind, each
//! number's its own, under domains that many share.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use luytre::wire::proto::v1;
use luytre::wire::proto::v1::observable::Value;

use super::seeded::{Dice, base36, known_hosts};
use super::words::Words;

/// Indicators to one registrable domain, on average of those that have one.
const TO_A_DOMAIN: u64 = 6;
/// Endings, the most frequent first.
const ENDINGS: [&str; 14] = [
    "com", "vn", "com.vn", "net", "top", "xyz", "info", "gov.vn", "org", "shop", "edu.vn", "online", "cc",
    "net.vn",
];
const SUBDOMAINS: [&str; 10] =
    ["www", "mail", "login", "cdn", "api", "secure", "vpn", "portal", "static", "download"];
const PATHS: [&str; 8] = [
    "index.php",
    "wp-content/uploads/doc.zip",
    "login/verify",
    "a/b/update.exe",
    "images/logo.gif",
    "api/v1/gate.php",
    "vn/khuyen-mai",
    "panel/admin.php",
];

/// The values of a seed.
#[derive(Debug)]
pub struct Values {
    seed: u64,
    rows: u64,
    known: Vec<String>,
    /// Where the shapes of hosts come from.
    pub origin: String,
}

impl Values {
    /// Those for so many indicators.
    pub fn new(seed: u64, rows: u64) -> Self {
        let (known, origin) = known_hosts();
        Self { seed, rows, known, origin }
    }

    /// The `number`th, and its canonical text; of a file that of its longest hash.
    pub fn of(&self, words: &Words, number: u64) -> (String, Value) {
        let mut dice = Dice::of(self.seed, 0x7a, number);
        let share = dice.below(100);
        let text = match share {
            0..34 => self.host(words, number, &mut dice),
            34..52 => {
                let host = self.host(words, number, &mut dice);
                let path = *dice.one(&PATHS);
                format!("https://{host}/{path}?id={}", base36(number))
            }
            52..69 => address(number).to_string(),
            69..72 => address6(number, &mut dice).to_string(),
            72..74 => network(&mut dice),
            74..90 => return file(number, &mut dice),
            90..95 => {
                let domain = self.domain(words, dice.zipf(self.domains()) as u64);
                format!("{}.{}@{domain}", words.host_name(&mut dice), base36(number))
            }
            95..98 => format!("{}:{}", address(number), [443, 4444, 8080, 8443][dice.below(4) as usize]),
            _ => digits(number, &mut dice, 32),
        };
        let value = match share {
            0..34 => Value::Domain(text.clone()),
            34..52 => Value::Url(text.clone()),
            52..69 => Value::Ipv4(text.clone()),
            69..72 => Value::Ipv6(text.clone()),
            72..74 => Value::Cidr(text.clone()),
            90..95 => Value::Email(text.clone()),
            95..98 => Value::Endpoint(text.clone()),
            _ => Value::Ja3(text.clone()),
        };
        (text, value)
    }

    fn domains(&self) -> usize {
        (self.rows / TO_A_DOMAIN).max(16) as usize
    }

    /// A host of this number's own.
    fn host(&self, words: &Words, number: u64, dice: &mut Dice) -> String {
        let domain = self.domain(words, dice.zipf(self.domains()) as u64);
        let own = base36(number);
        if dice.chance(30) {
            format!("{}.{own}.{domain}", dice.one(&SUBDOMAINS))
        } else {
            format!("{own}.{domain}")
        }
    }

    /// The `place`th domain; low ones are the busiest.
    pub fn domain(&self, words: &Words, place: u64) -> String {
        let mut dice = Dice::of(self.seed, 0xd0, place);
        if dice.chance(30) {
            let host = dice.one(&self.known);
            let labels = host.split('.').count();
            // Short ones may be a public suffix, of which nothing is asserted.
            if labels > 2 {
                return host.clone();
            }
        }
        let name = words.host_name(&mut dice);
        format!("{name}{}.{}", base36(place), dice.first_of(&ENDINGS))
    }

    /// A domain above many hosts: the busy ones more often.
    pub fn busy_domain(&self, words: &Words, dice: &mut Dice) -> String {
        let place = dice.zipf(self.domains()) as u64;
        self.domain(words, place)
    }
}

/// Public addresses, each once: an odd factor permutes.
fn address(number: u64) -> Ipv4Addr {
    let spread = number.wrapping_mul(0x9e37_79b1) & 0x3fff_ffff;
    Ipv4Addr::from_bits(0x2000_0000 + spread as u32)
}

fn address6(number: u64, dice: &mut Dice) -> Ipv6Addr {
    let site = 0x2a00_0000_u128 + u128::from(dice.below(4_096));
    Ipv6Addr::from_bits((site << 96) | (u128::from(dice.below(1 << 20)) << 64) | u128::from(number + 1))
}

/// Around an address that may be another's.
fn network(dice: &mut Dice) -> String {
    let length = *dice.one(&[16, 19, 20, 22, 23, 24, 24, 24, 24, 28_u32]);
    let bits = address(dice.next() >> 8).to_bits() & (u32::MAX << (32 - length));
    format!("{}/{length}", Ipv4Addr::from_bits(bits))
}

fn digits(number: u64, dice: &mut Dice, count: usize) -> String {
    let mut text = String::with_capacity(count + 16);
    let _ = write!(text, "{:016x}", super::seeded::mix(number));
    while text.len() < count {
        let _ = write!(text, "{:016x}", dice.next());
    }
    text.truncate(count);
    text
}

fn file(number: u64, dice: &mut Dice) -> (String, Value) {
    let mut hashes = v1::FileHashes::default();
    let style = dice.below(10);
    if style < 7 {
        hashes.sha256 = digits(number, dice, 64);
    }
    if style < 4 || style == 7 || style == 8 {
        hashes.sha1 = digits(number, dice, 40);
    }
    if style < 4 || style == 9 {
        hashes.md5 = digits(number, dice, 32);
    }
    let longest = [&hashes.sha256, &hashes.sha1, &hashes.md5].into_iter().find(|hash| !hash.is_empty());
    (longest.cloned().unwrap_or_default(), Value::File(hashes))
}
