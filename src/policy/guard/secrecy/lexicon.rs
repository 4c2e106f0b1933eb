//! Decides which words mean what to the guard. Each stands without marks,
//! and, where the marks make it another word, with them.

use super::words::{Caps, Word};

/// Longest word of [`SYLLABLES`], in bytes.
pub(super) const MAX_SYLLABLE: usize = 9;

/// What runs of single letters are cut into, in order.
const SYLLABLES: [&str; 45] = [
    "an", "ban", "bao", "bi", "cao", "cap", "cong", "cua", "dau", "dien", "dinh", "do", "ho", "hoach", "ke",
    "kem", "la", "lieu", "loai", "luc", "mat", "muc", "nay", "nha", "nuoc", "phan", "phu", "quyet", "secret",
    "so", "state", "tai", "theo", "thong", "thuoc", "to", "toi", "top", "trinh", "tuyet", "va", "van", "ve",
    "vien", "viet",
];

/// Whether it is a word that a run is cut into.
pub(super) fn is_syllable(word: &str) -> bool {
    SYLLABLES.binary_search(&word).is_ok()
}

/// How to cut what is written together: the lengths of its words.
pub(super) fn together(folded: &str) -> Vec<usize> {
    match folded {
        "tuyetmat" => vec![5, 3],
        "toimat" => vec![3, 3],
        "domat" => vec![2, 3],
        "mucdomat" => vec![3, 2, 3],
        "tailieumat" => vec![3, 4, 3],
        "topsecret" => vec![3, 6],
        _ => Vec::new(),
    }
}

/// A word without its marks and with them, apart from their letters.
pub(super) type Spelling = (&'static str, &'static str);

pub(super) const MAT: Spelling = ("mat", "ma\u{323}\u{302}t");
pub(super) const TOI: Spelling = ("toi", "to\u{302}\u{301}i");
pub(super) const TUYET: Spelling = ("tuyet", "tuye\u{323}\u{302}t");
pub(super) const DO: Spelling = ("do", "đo\u{323}\u{302}");
pub(super) const LA: Spelling = ("la", "la\u{300}");

/// What comes before `mật` in the names of a field that tells how secret
/// something is.
pub(super) const KEY_WORDS: [Spelling; 4] =
    [DO, ("cap", "ca\u{302}\u{301}p"), ("muc", "mu\u{31b}\u{301}c"), ("dau", "da\u{302}\u{301}u")];

/// Names of such fields that have no `mật` in them, or not at their end; the
/// last word of each decides where the field's content begins.
pub(super) const KEYS: [&[&str]; 15] = [
    &["bao", "mat"],
    &["phan", "loai"],
    &["phan", "loai", "tai", "lieu"],
    &["phan", "loai", "van", "ban"],
    &["muc", "do"],
    &["muc", "mat"],
    &["classification"],
    &["classification", "level"],
    &["classified"],
    &["secrecy"],
    &["secrecy", "level"],
    &["document", "class"],
    &["dau"],
    &["loai"],
    &["mat"],
];

/// Kinds of papers, of one word or two.
const PAPERS: [&[&str]; 45] = [
    &["tai", "lieu"],
    &["van", "ban"],
    &["van", "kien"],
    &["cong", "van"],
    &["cong", "dien"],
    &["ho", "so"],
    &["bao", "cao"],
    &["ke", "hoach"],
    &["phuong", "an"],
    &["chi", "thi"],
    &["quyet", "dinh"],
    &["nghi", "quyet"],
    &["to", "trinh"],
    &["thong", "bao"],
    &["thong", "tri"],
    &["bien", "ban"],
    &["phu", "luc"],
    &["ban", "do"],
    &["so", "do"],
    &["ban", "ve"],
    &["de", "an"],
    &["danh", "sach"],
    &["phieu", "trinh"],
    &["phieu", "chuyen"],
    &["ket", "luan"],
    &["menh", "lenh"],
    &["giay", "to"],
    &["cong", "ham"],
    &["giay", "moi"],
    &["huong", "dan"],
    &["chuong", "trinh"],
    &["du", "thao"],
    &["tap", "tin"],
    &["to", "khai"],
    &["so", "lieu"],
    &["chuyen", "de"],
    &["theo", "dien"],
    &["buc", "dien"],
    &["theo", "ban"],
    &["file"],
    &["document"],
    &["report"],
    &["letter"],
    &["cv"],
    &["bc"],
];

/// What `tối mật` and `tuyệt mật` make a paper of, and `mật` alone does not.
const CONTENTS: [&[&str]; 13] = [
    &["thong", "tin"],
    &["noi", "dung"],
    &["du", "lieu"],
    &["ban"],
    &["phan"],
    &["muc"],
    &["cap"],
    &["loai"],
    &["dien"],
    &["hang"],
    &["xep"],
    &["marked"],
    &["la", "ban"],
];

/// Whether the words end with one of the names.
fn ends_with(words: &[Word], names: &[&[&str]]) -> Option<usize> {
    let ends = |name: &&&[&str]| {
        words.len() >= name.len()
            && words.iter().rev().zip(name.iter().rev()).all(|(word, part)| word.folded == **part)
    };
    names.iter().filter(ends).map(|name| name.len()).max()
}

/// How many words the kind of paper takes that these words end with.
pub(super) fn paper(words: &[Word]) -> Option<usize> {
    // What is spelt `mặt` and the like never comes here; the kinds of paper
    // are not confused with other words.
    ends_with(words, &PAPERS)
}

/// The same of what `tối mật` and `tuyệt mật` are said of.
pub(super) fn content(words: &[Word]) -> Option<usize> {
    ends_with(words, &CONTENTS)
}

/// Whether it is an English kind of paper, whose level stands before it.
pub(super) fn english_paper(word: &Word) -> bool {
    const PAPERS: [&str; 8] = ["report", "document", "annex", "memo", "letter", "file", "plan", "map"];
    PAPERS.contains(&word.folded.as_str())
}

/// Whether a line without marks is Vietnamese, and an office's: `MAT` is not
/// the short name of something then.
pub(super) fn is_office(words: &[Word]) -> bool {
    const WORDS: [&str; 27] = [
        "khong", "chi", "cua", "cac", "ket", "qua", "duoc", "trong", "ngay", "gui", "danh", "sach", "theo",
        "ve", "so", "nhung", "dung", "pho", "thanh", "tb", "bc", "kh", "cv", "qd", "ttr", "ubnd", "ban",
    ];
    words.iter().any(|word| WORDS.contains(&word.folded.as_str()))
}

/// Whether a kind of paper is named among these words.
pub(super) fn names_paper(words: &[Word]) -> bool {
    (1..=words.len()).any(|end| words.get(..end).is_some_and(|words| paper(words).is_some()))
}

/// Words that `mật` is the first half of, the second half with and without
/// marks.
const AFTER: [Spelling; 25] = [
    ("khau", "kha\u{302}\u{309}u"),
    ("ma", "ma\u{303}"),
    ("ong", "ong"),
    ("do", "đo\u{323}\u{302}"),
    ("danh", "danh"),
    ("vu", "vu\u{323}"),
    ("thiet", "thie\u{302}\u{301}t"),
    ("tham", "tha\u{301}m"),
    ("thu", "thu\u{31b}"),
    ("dam", "đa\u{300}m"),
    ("nghi", "nghi\u{323}"),
    ("lenh", "le\u{323}\u{302}nh"),
    ("hieu", "hie\u{323}\u{302}u"),
    ("uoc", "u\u{31b}o\u{31b}\u{301}c"),
    ("phuc", "phu\u{323}c"),
    ("khu", "khu"),
    ("tong", "to\u{302}ng"),
    ("ngot", "ngo\u{323}t"),
    ("gau", "ga\u{302}\u{301}u"),
    ("mia", "mi\u{301}a"),
    ("hoa", "hoa"),
    ("chu", "chu\u{301}"),
    ("ngu", "ngu\u{31b}\u{303}"),
    ("truyen", "truye\u{302}\u{300}n"),
    ("tich", "ti\u{323}ch"),
];

/// Words that may follow `mat` without marks where it is `mật`; after any
/// other it may as well be `mất` or `mặt`.
const AFTER_BARE: [&str; 17] = [
    "so", "cua", "ve", "ngay", "gui", "kem", "nay", "va", "duoc", "thuoc", "nam", "theo", "cho", "day", "no",
    "chuyen", "cac",
];

/// Whether `mật`, here `mat` if it is bare, goes on as another word.
pub(super) fn goes_on(bare: bool, next: &Word) -> bool {
    AFTER.iter().any(|(plain, spelt)| next.spelt == *spelt || (bare && next.folded == *plain))
}

/// The same of two words.
const PAIRS_BARE: [(&str, &str); 7] = [
    ("bao", "ve"),
    ("de", "an"),
    ("de", "phoi"),
    ("da", "gui"),
    ("thanh", "lap"),
    ("cuoc", "hop"),
    ("do", "phong"),
];

/// What is counted where something was lost: `mat 3 thang`.
const COUNTED: [&str; 22] = [
    "thang", "ngay", "gio", "phut", "giay", "nam", "tuan", "trieu", "ty", "nghin", "ngan", "tram", "dong",
    "lan", "ban", "tai", "may", "tep", "file", "khach", "nguoi", "usd",
];

/// What people say they lost, which makes `mat` without marks `mất`.
const LOST: [&[&str]; 23] = [
    &["tien"],
    &["het"],
    &["xe"],
    &["sim"],
    &["email"],
    &["facebook"],
    &["quyen"],
    &["cong", "viec"],
    &["tai", "khoan"],
    &["tai", "san"],
    &["dien", "thoai"],
    &["so", "tien"],
    &["mat", "khau"],
    &["du", "lieu"],
    &["thong", "tin"],
    &["ket", "noi"],
    &["lien", "lac"],
    &["kiem", "soat"],
    &["may", "tinh"],
    &["the", "ngan"],
    &["the", "tin"],
    &["the", "atm"],
    &["an", "toan"],
];

/// Whether these words begin with what people lose.
pub(super) fn is_lost(behind: &[Word]) -> bool {
    let begins = |thing: &&[&str]| {
        behind.len() >= thing.len() && behind.iter().zip(*thing).all(|(word, part)| word.folded == **part)
    };
    LOST.iter().any(begins)
}

/// Whether `mat` without marks may be `mật` before these words.
pub(super) fn may_follow_bare(next: &Word, second: Option<&Word>) -> bool {
    let counts = || second.is_some_and(|word| COUNTED.contains(&word.folded.as_str()));
    let pair =
        || second.is_some_and(|word| PAIRS_BARE.contains(&(next.folded.as_str(), word.folded.as_str())));
    next.value || (next.is_number() && !counts()) || pair() || AFTER_BARE.contains(&next.folded.as_str())
}

/// Whether the words say that what follows is not done.
pub(super) fn denies(words: &[Word]) -> bool {
    const NOT: [&str; 5] = ["khong", "chua", "cam", "tranh", "not"];
    words.iter().any(|word| NOT.contains(&word.folded.as_str()))
}

/// What is said where papers are attached, with the word next to the paper
/// last. `gửi`, `từ`, `trong` and the like are said of malware as well.
const CITED: [&[&str]; 4] = [&["kem"], &["kem", "theo"], &["attached"], &["attached", "is"]];

/// What else is said of papers that are quoted or sent, and of other things
/// as often.
const QUOTED: [&[&str]; 21] = [
    &["theo"],
    &["trich"],
    &["can", "cu"],
    &["thuc", "hien"],
    &["trien", "khai"],
    &["tham", "chieu"],
    &["tham", "khao"],
    &["xem"],
    &["nguon"],
    &["tra", "loi"],
    &["sao", "gui"],
    &["gui"],
    &["tu"],
    &["day", "la"],
    &["duoi", "day", "la"],
    &["trong"],
    &["tai"],
    &["see"],
    &["from"],
    &["per"],
    &["chuyen"],
];

/// Whether the words end with what is said of a paper at hand.
pub(super) fn cites(words: &[Word]) -> bool {
    ends_with(words, &CITED).is_some()
}

/// The same where the paper may be another's.
pub(super) fn quotes(words: &[Word]) -> bool {
    ends_with(words, &QUOTED).is_some()
}

/// What is said where papers are talked about: their loss, their theft, what
/// attackers look for, the law and the handling of them.
const TALK: [&[&str]; 80] = [
    &["lo", "lot"],
    &["lam", "lo"],
    &["ro", "ri"],
    &["danh", "cap"],
    &["an", "cap"],
    &["lay", "cap"],
    &["rao", "ban"],
    &["mua", "ban"],
    &["tiet", "lo"],
    &["phat", "tan"],
    &["cong", "bo"],
    &["that", "lac"],
    &["thu", "thap"],
    &["nham", "toi"],
    &["nham", "vao"],
    &["tim", "kiem"],
    &["quan", "ly"],
    &["quy", "dinh"],
    &["quy", "che"],
    &["quy", "trinh"],
    &["tap", "huan"],
    &["dao", "tao"],
    &["khai", "niem"],
    &["dinh", "nghia"],
    &["soan", "thao"],
    &["tieu", "huy"],
    &["luu", "tru"],
    &["nghiem", "cam"],
    &["gian", "diep"],
    &["dien", "vien"],
    &["tin", "tac"],
    &["tan", "cong"],
    &["ma", "doc"],
    &["xet", "xu"],
    &["khoi", "to"],
    &["vu", "an"],
    &["danh", "muc"],
    &["thong", "tu"],
    &["nghi", "dinh"],
    &["bao", "ve"],
    &["phan", "loai"],
    &["huong", "dan"],
    &["bao", "chi"],
    &["giai", "mat"],
    &["the", "nao"],
    &["khong", "duoc"],
    &["khong", "phai"],
    &["khong", "chua"],
    &["khong", "gui"],
    &["khong", "nhan"],
    &["khong", "co"],
    &["khong", "thuoc"],
    &["khong", "dang"],
    &["hanh", "vi"],
    &["xu", "phat"],
    &["nan", "nhan"],
    &["luat"],
    &["trom"],
    &["cam"],
    &["hacker"],
    &["hackers"],
    &["apt"],
    &["wikileaks"],
    &["leak"],
    &["leaked"],
    &["leaks"],
    &["stolen"],
    &["steal"],
    &["steals"],
    &["theft"],
    &["phim"],
    &["exfiltrated"],
    &["tranh"],
    &["sao", "chep"],
    &["ve", "may", "chu"],
    &["backdoor"],
    &["trojan"],
    &["keylogger"],
    &["infostealer"],
    &["c2"],
];

/// What is said where papers are not what they seem.
const FAKED: [&[&str]; 20] = [
    &["gia", "mao"],
    &["gia", "lam"],
    &["gia", "danh"],
    &["mao", "danh"],
    &["lua", "dao"],
    &["moi", "nhu"],
    &["nguy", "trang"],
    &["tep", "moi"],
    &["chieu", "tro"],
    &["ke", "gian"],
    &["phishing"],
    &["lure"],
    &["lures"],
    &["fake"],
    &["spoofed"],
    &["decoy"],
    &["bait"],
    &["moi", "la"],
    &["dung", "lam", "moi"],
    &["tro", "choi"],
];

/// What is said of them right behind.
const BEHIND: [&[&str]; 21] = [
    &["bi", "lo"],
    &["bi", "ro"],
    &["bi", "phat"],
    &["bi", "danh"],
    &["bi", "rao"],
    &["bi", "dang"],
    &["bi", "cong"],
    &["bi", "danh", "cap"],
    &["bi", "tung"],
    &["bi", "lay"],
    &["phai", "duoc"],
    &["phai", "luu"],
    &["chi", "duoc"],
    &["khong", "duoc"],
    &["giai", "mat"],
    &["la", "gi"],
    &["ro", "ri"],
    &["leaked"],
    &["lure"],
    &["chu", "dieu", "khien"],
    &["ve", "c2"],
];

const LO: Spelling = ("lo", "lo\u{323}\u{302}");
/// Without its mark it is `nên` as well.
const NEN: &str = "ne\u{301}n";
const GIA: Spelling = ("gia", "gia\u{309}");

/// How many words at most the phrases have.
const LONGEST: usize = 3;

fn any_in(words: &[Word], phrases: &[&[&str]]) -> bool {
    (1..=words.len()).any(|end| {
        let start = end.saturating_sub(LONGEST);
        words.get(start..end).is_some_and(|words| ends_with(words, phrases).is_some())
    })
}

/// Whether papers are talked about before they are named.
pub(super) fn talks(before: &[Word]) -> bool {
    // In small letters `rat` is `rất`.
    let rat = |word: &Word| word.spelt == "rat" && word.caps == Caps::All;
    any_in(before, &TALK) || before.iter().any(|word| word.is(LO.0, LO.1) || word.spelt == NEN || rat(word))
}

/// Whether what is named is said to be no such paper.
///
/// Behind it, only a few words tell: a report may be about what is faked.
pub(super) fn faked(before: &[Word], behind: &[Word]) -> bool {
    any_in(before, &FAKED)
        || any_in(behind, &FAKED)
        || before.iter().chain(behind).any(|word| word.is(GIA.0, GIA.1))
}

/// Whether papers are talked about behind their name.
pub(super) fn talks_behind(behind: &[Word]) -> bool {
    any_in(behind, &BEHIND)
}
