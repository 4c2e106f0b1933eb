//! Decides which words there are: for descriptions in Vietnamese and English,
//! and the names of labels, families, campaigns and techniques.

use std::collections::HashSet;

use super::seeded::Dice;

/// Words of both languages together.
const WORDS: usize = 10_000;
const LABELS: usize = 300;
const FAMILIES: usize = 800;
const CAMPAIGNS: usize = 2_000;
const TECHNIQUES: u64 = 200;

/// What reports say most, most frequent first.
const ENGLISH: [&str; 48] = [
    "the",
    "a",
    "server",
    "of",
    "malware",
    "command",
    "and",
    "control",
    "phishing",
    "page",
    "for",
    "to",
    "bank",
    "user",
    "credentials",
    "host",
    "observed",
    "in",
    "campaign",
    "against",
    "loader",
    "download",
    "payload",
    "email",
    "attachment",
    "scanner",
    "botnet",
    "brute",
    "force",
    "ssh",
    "stealer",
    "ransomware",
    "beacon",
    "domain",
    "registered",
    "recently",
    "fake",
    "login",
    "portal",
    "government",
    "victim",
    "exfiltration",
    "tunnel",
    "proxy",
    "dropper",
    "macro",
    "exploit",
    "update",
];
const VIETNAMESE: [&str; 48] = [
    "máy", "chủ", "điều", "khiển", "mã", "độc", "lừa", "đảo", "trang", "giả", "mạo", "ngân", "hàng", "của",
    "người", "dùng", "tài", "khoản", "mật", "khẩu", "tấn", "công", "vào", "cơ", "quan", "nhà", "nước", "thư",
    "điện", "tử", "tệp", "đính", "kèm", "địa", "chỉ", "quét", "cổng", "dịch", "vụ", "được", "phát", "hiện",
    "trong", "chiến", "dịch", "đánh", "cắp", "thông",
];
const ONSETS: [&str; 22] = [
    "b", "c", "ch", "d", "đ", "g", "h", "kh", "l", "m", "n", "ng", "nh", "ph", "qu", "r", "s", "t", "th",
    "tr", "v", "x",
];
const VOWELS: [[char; 6]; 11] = [
    ['a', 'á', 'à', 'ả', 'ã', 'ạ'],
    ['ă', 'ắ', 'ằ', 'ẳ', 'ẵ', 'ặ'],
    ['â', 'ấ', 'ầ', 'ẩ', 'ẫ', 'ậ'],
    ['e', 'é', 'è', 'ẻ', 'ẽ', 'ẹ'],
    ['ê', 'ế', 'ề', 'ể', 'ễ', 'ệ'],
    ['i', 'í', 'ì', 'ỉ', 'ĩ', 'ị'],
    ['o', 'ó', 'ò', 'ỏ', 'õ', 'ọ'],
    ['ô', 'ố', 'ồ', 'ổ', 'ỗ', 'ộ'],
    ['ơ', 'ớ', 'ờ', 'ở', 'ỡ', 'ợ'],
    ['u', 'ú', 'ù', 'ủ', 'ũ', 'ụ'],
    ['ư', 'ứ', 'ừ', 'ử', 'ữ', 'ự'],
];
const ENDS: [&str; 8] = ["", "n", "ng", "m", "nh", "c", "t", "i"];
const CONSONANTS: [&str; 20] =
    ["b", "c", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "cl", "dr", "st", "tr"];
const LATIN: [&str; 8] = ["a", "e", "i", "o", "u", "ai", "ea", "ou"];
const KNOWN_LABELS: [&str; 24] = [
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
    "webshell",
    "spam",
    "exploit",
    "backdoor",
    "skimmer",
    "dropper",
    "rat",
    "defacement",
    "ddos",
    "proxy",
    "tor-exit",
    "sinkhole",
];
const KNOWN_FAMILIES: [&str; 16] = [
    "AgentTesla",
    "Emotet",
    "Cobalt Strike",
    "PlugX",
    "RedLine",
    "Formbook",
    "Dridex",
    "Remcos",
    "AsyncRAT",
    "OceanLotus",
    "SideWinder",
    "Mustang Panda",
    "IcedID",
    "Lumma",
    "Vidar",
    "njRAT",
];

/// All of them.
#[derive(Debug)]
pub struct Words {
    english: Vec<String>,
    vietnamese: Vec<String>,
    pub labels: Vec<String>,
    pub families: Vec<String>,
    pub campaigns: Vec<String>,
    pub techniques: Vec<String>,
}

impl Words {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::of(seed, 0x77, 0);
        let half = WORDS / 2;
        let english = distinct(&ENGLISH, half, || english(&mut dice));
        let vietnamese = distinct(&VIETNAMESE, half, || vietnamese(&mut dice));
        let labels = distinct(&KNOWN_LABELS, LABELS, || format!("sector-{}", english_of(&mut dice, 2)));
        let families = distinct(&KNOWN_FAMILIES, FAMILIES, || capital(&english_of(&mut dice, 3)));
        let campaigns = distinct(&[], CAMPAIGNS, || {
            format!("{} {}", capital(&english_of(&mut dice, 2)), capital(&vietnamese_of(&mut dice)))
        });
        let techniques = (0..TECHNIQUES).flat_map(|number| {
            let parent = format!("T1{:03}", number * 3 + 1);
            let parts = (1..=number % 4).map(move |part| format!("T1{:03}.{part:03}", number * 3 + 1));
            std::iter::once(parent).chain(parts)
        });
        let mut techniques: Vec<_> = techniques.collect();
        // Which ones are frequent does not follow from their numbers.
        for place in (1..techniques.len()).rev() {
            techniques.swap(place, dice.below(place as u64 + 1) as usize);
        }
        Self { english, vietnamese, labels, families, campaigns, techniques }
    }

    /// A description of 5 to 20 words.
    pub fn description(&self, dice: &mut Dice) -> String {
        let language = if dice.chance(60) { &self.vietnamese } else { &self.english };
        let count = 5 + dice.below(16);
        let words: Vec<_> = (0..count).map(|_| dice.first_of(language).as_str()).collect();
        words.join(" ")
    }

    /// A name that can stand in a domain.
    pub fn host_name(&self, dice: &mut Dice) -> String {
        english_of(dice, 2)
    }
}

fn distinct(known: &[&str], count: usize, mut make: impl FnMut() -> String) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut words: Vec<String> = Vec::with_capacity(count);
    let first = known.iter().map(|word| (*word).to_owned());
    for word in first.chain(std::iter::repeat_with(&mut make)) {
        if words.len() == count {
            break;
        }
        if seen.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

fn english(dice: &mut Dice) -> String {
    let syllables = 2 + dice.below(3);
    english_of(dice, syllables)
}

fn english_of(dice: &mut Dice, syllables: u64) -> String {
    (0..syllables).fold(String::new(), |word, _| word + *dice.one(&CONSONANTS) + *dice.one(&LATIN))
}

fn vietnamese(dice: &mut Dice) -> String {
    vietnamese_of(dice)
}

fn vietnamese_of(dice: &mut Dice) -> String {
    let onset = *dice.one(&ONSETS);
    let tones = *dice.one(&VOWELS);
    let vowel = *dice.one(&tones);
    format!("{onset}{vowel}{}", dice.one(&ENDS))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
