//! Decides what is published: a seeded mix of indicators shaped like public
//! threat data, encoded before anything is measured.

use std::fmt::Write as _;

use luytre::wire::proto::v1;
use prost::Message as _;

pub use super::load::Encoded;
pub use super::seeded::mix;
use super::seeded::{base36, known_hosts};

/// The organisation that may read whatever is TLP:AMBER here.
pub const RECEIVER: &str = "receiver";

/// What the items are labelled with.
pub const LABELS: [&str; 12] = [
    "phishing",
    "malware",
    "c2",
    "botnet",
    "scanner",
    "ransomware",
    "stealer",
    "loader",
    "brute-force",
    "apt",
    "fraud",
    "miner",
];
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

/// Another organisation that takes part.
pub fn other(number: usize) -> String {
    format!("other{number}")
}

/// The marking for all who take part.
pub fn green() -> v1::Marking {
    v1::Marking { tlp: v1::Tlp::Green.into(), ..Default::default() }
}

/// The marking for these organisations.
pub fn amber(organisations: &[&str]) -> v1::Marking {
    let organisations = organisations.iter().map(|slug| format!("organisations/{slug}")).collect();
    v1::Marking { tlp: v1::Tlp::Amber.into(), organisations, ..Default::default() }
}

/// The marking of an item in a list that is shared.
fn shared(number: usize, place: usize, others: usize) -> v1::Marking {
    let style = if number % 8 == 7 { place } else { number };
    match style % 4 {
        0 => v1::Marking { tlp: v1::Tlp::Clear.into(), ..Default::default() },
        1 => green(),
        _ => amber(&[RECEIVER, &other(number % others)]),
    }
}

/// A request of these items, encoded.
pub fn request(request_id: uuid::Uuid, indicators: Vec<v1::IndicatorDraft>) -> Encoded {
    let items = indicators.len();
    let request =
        v1::PublishIndicatorsRequest { request_id: request_id.to_string(), indicators, ..Default::default() };
    Encoded { bytes: request.encode_to_vec().into(), items }
}

/// Makes items, none twice.
#[derive(Debug)]
pub struct Items {
    seed: u64,
    next: u64,
    batches: u64,
    hosts: Vec<String>,
    /// Where the hosts' shapes come from.
    pub origin: String,
}

impl Items {
    /// A generator whose hosts are shaped like those in `DATA`, else in
    /// `../shared/data/threat/feeds`, else like invented ones.
    pub fn new(seed: u64) -> Self {
        let (hosts, origin) = known_hosts();
        Self { seed, next: 0, batches: 0, hosts, origin }
    }

    /// `count` requests of `size` items, encoded.
    pub fn requests(&mut self, count: usize, size: usize) -> Vec<Encoded> {
        (0..count).map(|_| self.request(size).0).collect()
    }

    /// `count` requests of `size` items: one in `visible` is TLP:GREEN, the
    /// others are the publisher's own.
    pub fn addressed(&mut self, count: usize, size: usize, visible: usize) -> Vec<Encoded> {
        let marking = |number: usize, _| {
            if number.is_multiple_of(visible) { green() } else { amber(&["agency"]) }
        };
        (0..count).map(|number| self.marked(number, size, &marking).0).collect()
    }

    /// `count` requests of `size` items that [`RECEIVER`] may see, under the
    /// markings that a hub knows: TLP:CLEAR, GREEN, AMBER to it and one of
    /// `others`, and lists that mix them item by item.
    pub fn shared(&mut self, count: usize, size: usize, others: usize) -> Vec<Encoded> {
        let marking = |number, place| shared(number, place, others);
        (0..count).map(|number| self.marked(number, size, &marking).0).collect()
    }

    /// The same, all of it TLP:CLEAR, and as many bytes: what compares is what
    /// it costs to decide, not what longer markings cost to send.
    pub fn clear(&mut self, count: usize, size: usize, others: usize) -> Vec<Encoded> {
        let clear = v1::Marking { tlp: v1::Tlp::Clear.into(), ..Default::default() };
        let one = |number: usize, items: &mut Self| {
            let (_, mut drafts) = items.marked(number, size, &|_, _| clear.clone());
            for (place, draft) in drafts.iter_mut().enumerate() {
                let more = shared(number, place, others).encoded_len() - clear.encoded_len();
                // The field's tag and length are two bytes of it.
                draft.description = "x".repeat(more.saturating_sub(2));
            }
            request(uuid::Uuid::from_u64_pair(mix(items.seed ^ 0x6161), items.next), drafts)
        };
        (0..count).map(|number| one(number, self)).collect()
    }

    /// The `number`th request, each item under the marking of its place, and
    /// its items.
    pub fn marked(
        &mut self,
        number: usize,
        size: usize,
        marking: &dyn Fn(usize, usize) -> v1::Marking,
    ) -> (Encoded, Vec<v1::IndicatorDraft>) {
        let mut indicators: Vec<_> = (0..size).map(|_| self.draft(false, true).1).collect();
        for (place, draft) in indicators.iter_mut().enumerate() {
            draft.marking = Some(marking(number, place));
        }
        let request_id = uuid::Uuid::from_u64_pair(mix(self.seed ^ 0x6161), self.next);
        (request(request_id, indicators.clone()), indicators)
    }

    /// A request and the canonical values in it.
    ///
    /// A list is published under one marking, as `luytre publish` does: five
    /// in eight TLP:GREEN, two TLP:AMBER; one in eight mixes item by item.
    pub fn request(&mut self, size: usize) -> (Encoded, Vec<String>) {
        let style = self.batches % 8;
        self.batches += 1;
        let mut values = Vec::with_capacity(size);
        let mut indicators = Vec::with_capacity(size);
        for place in 0..size as u64 {
            let amber = style == 5 || style == 6 || (style == 7 && place % 3 == 0);
            let (value, draft) = self.draft(amber, style.is_multiple_of(2));
            values.push(value);
            indicators.push(draft);
        }
        let request_id = uuid::Uuid::from_u64_pair(mix(self.seed ^ 0x5151), self.next);
        (request(request_id, indicators), values)
    }

    fn draft(&mut self, amber: bool, typed: bool) -> (String, v1::IndicatorDraft) {
        let number = self.next;
        self.next += 1;
        let random = mix(self.seed ^ number.wrapping_mul(0x9e37_79b9));
        let (value, observable) = self.observable(number, random);
        let observable = if typed { observable } else { v1::observable::Value::Text(value.clone()) };
        let label = |shift: u32| LABELS[(random >> shift) as usize % LABELS.len()].to_owned();
        let mut labels = vec![label(8)];
        if random & 1 == 1 {
            labels.push(label(16));
        }
        let marking = if amber { self::amber(&[RECEIVER]) } else { green() };
        let draft = v1::IndicatorDraft {
            observable: Some(v1::Observable { value: Some(observable) }),
            marking: Some(marking),
            labels,
            confidence: (random & 2 == 2).then_some((random >> 24) as u32 % 101),
            ..Default::default()
        };
        (value, draft)
    }

    fn observable(&self, number: u64, random: u64) -> (String, v1::observable::Value) {
        use v1::observable::Value;
        match mix(random) % 100 {
            0..45 => {
                let value = self.host(number, random);
                (value.clone(), Value::Domain(value))
            }
            45..70 => {
                // Public addresses, each once: an odd factor permutes.
                let spread = number.wrapping_mul(0x9e37_79b1) & 0x3fff_ffff;
                let [a, b, c, d] = (spread as u32).to_be_bytes();
                let value = format!("{}.{b}.{c}.{d}", 32 + a);
                (value.clone(), Value::Ipv4(value))
            }
            70..90 => {
                let digits = |count: usize| {
                    let mut text = String::with_capacity(64);
                    let mut state = random ^ number.rotate_left(17);
                    while text.len() < count {
                        state = mix(state);
                        let _ = write!(text, "{state:016x}");
                    }
                    text.truncate(count);
                    text
                };
                let file = |value: String| match value.len() {
                    64 => v1::FileHashes { sha256: value, ..Default::default() },
                    40 => v1::FileHashes { sha1: value, ..Default::default() },
                    _ => v1::FileHashes { md5: value, ..Default::default() },
                };
                let value = digits(match random % 10 {
                    0..7 => 64,
                    7..9 => 40,
                    _ => 32,
                });
                (value.clone(), Value::File(file(value)))
            }
            _ => {
                let host = self.host(number, random);
                let path = PATHS[(random >> 40) as usize % PATHS.len()];
                let value = format!("http://{host}/{path}?id={:x}", random >> 44);
                (value.clone(), Value::Url(value))
            }
        }
    }

    /// A host of a known shape whose first label is new.
    fn host(&self, number: u64, random: u64) -> String {
        let known = &self.hosts[(random >> 20) as usize % self.hosts.len()];
        let parent = known.split_once('.').map_or(known.as_str(), |(_, rest)| rest);
        let parent = if parent.contains('.') { parent } else { known };
        format!("{}.{parent}", base36(number.wrapping_mul(0x9e37_79b1) & 0xff_ffff_ffff))
    }
}
