//! What the guard is held to: sentences of our own, labelled by hand. All of
//! the first two sets and a quarter of the third were for tuning; the rest of
//! the third was held out and looked at as a figure only.

use std::sync::LazyLock;

use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use proptest::prelude::*;

use super::*;
use crate::base::digest::sha256;

const SETS: [(&str, bool); 3] = [
    (include_str!("../../../../tests/data/secrecy/first.tsv"), false),
    (include_str!("../../../../tests/data/secrecy/second.tsv"), false),
    (include_str!("../../../../tests/data/secrecy/third.tsv"), true),
];
const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();
const NFD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfd();
const CLASSES: CanonicalCombiningClassMapBorrowed<'static> = CanonicalCombiningClassMapBorrowed::new();

struct Sentence {
    level: Option<Level>,
    form: Form,
    text: String,
    held_out: bool,
}

static SENTENCES: LazyLock<Vec<Sentence>> = LazyLock::new(|| {
    let lines = SETS.iter().flat_map(|(set, fresh)| set.lines().map(move |line| (line, *fresh)));
    lines.filter(|(line, _)| !line.starts_with('#')).map(|(line, fresh)| sentence(line, fresh)).collect()
});

fn sentence(line: &str, fresh: bool) -> Sentence {
    let [label, kind, text] = line.splitn(3, '\t').collect::<Vec<_>>().try_into().unwrap();
    let level = match label {
        "plain" => None,
        "mat" => Some(Level::Mat),
        "toi-mat" => Some(Level::ToiMat),
        "tuyet-mat" => Some(Level::TuyetMat),
        other => panic!("{other}"),
    };
    let form = match kind {
        "label" => Form::Label,
        "rule" => Form::Rule,
        "field" | "stamp" | "phrase" | "english" | "name" | "text" | "note" => Form::Text,
        other => panic!("{other}"),
    };
    let held_out = fresh && !sha256(text.as_bytes())[0].is_multiple_of(4);
    Sentence { level, form, text: unescape(text), held_out }
}

fn unescape(text: &str) -> String {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '\\' => '\\',
                'u' => {
                    let code: String = chars.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap()
                }
                other => panic!("{other}"),
            },
            c => c,
        });
    }
    out
}

fn tuning() -> impl Iterator<Item = &'static Sentence> {
    SENTENCES.iter().filter(|sentence| !sentence.held_out)
}

fn marked_ones() -> Vec<&'static Sentence> {
    tuning().filter(|sentence| sentence.level.is_some()).collect()
}

/// Without marks, in the same case.
fn bare(text: &str) -> String {
    let plain = |c| match c {
        'đ' => 'd',
        'Đ' => 'D',
        c => c,
    };
    NFD.normalize(text).chars().filter(|&c| CLASSES.get_u8(c) == 0).map(plain).collect()
}

/// Its letters one by one, its words further apart.
fn spaced(text: &str) -> String {
    let mut out = String::new();
    let mut last = ' ';
    for c in NFC.normalize(text).chars() {
        if c == ' ' {
            out.push_str("   ");
        } else {
            if last.is_alphabetic() && c.is_alphabetic() {
                out.push(' ');
            }
            out.push(c);
        }
        last = c;
    }
    out
}

/// With what cannot be seen between its letters.
fn veiled(text: &str) -> String {
    let unseen = ['\u{200b}', '\u{ad}', '\u{2060}'].into_iter().cycle();
    text.chars()
        .zip(unseen)
        .flat_map(|(c, unseen)| [Some(c), c.is_alphabetic().then_some(unseen)])
        .flatten()
        .collect()
}

fn full_width(text: &str) -> String {
    let wide = |c: char| char::from_u32(u32::from(c) + 0xfee0).unwrap();
    text.chars().map(|c| if c.is_ascii_alphabetic() { wide(c) } else { c }).collect()
}

/// Whether its letters stand apart already, seen or unseen.
fn is_apart(text: &str) -> bool {
    let chars: Vec<_> = NFC.normalize(text).chars().collect();
    let single = |at: usize| {
        let alone =
            |at: Option<usize>| at.and_then(|at| chars.get(at)).is_none_or(|c: &char| !c.is_alphabetic());
        chars.get(at).is_some_and(|c| c.is_alphabetic()) && alone(at.checked_sub(1)) && alone(Some(at + 1))
    };
    (0..chars.len()).any(|at| single(at) && single(at + 2)) || text.contains(['\u{ad}', '\u{200b}'])
}

#[test]
fn of_what_was_held_out_98_in_100_are_judged_rightly() {
    let (mut hits, mut misses, mut alarms, mut passed) = (0_u32, 0_u32, 0_u32, 0_u32);
    for sentence in SENTENCES.iter().filter(|sentence| sentence.held_out) {
        let count = match (sentence.level.is_some(), marked(sentence.form, &sentence.text).is_some()) {
            (true, true) => &mut hits,
            (true, false) => &mut misses,
            (false, true) => &mut alarms,
            (false, false) => &mut passed,
        };
        *count += 1;
    }
    let precision = f64::from(hits) / f64::from(hits + alarms);
    let recall = f64::from(hits) / f64::from(hits + misses);
    println!("{hits} found, {misses} missed, {alarms} false alarms, {passed} passed");
    println!("precision {precision:.4}, recall {recall:.4}");
    assert!(hits + misses >= 100 && alarms + passed >= 100, "too few to tell");
    assert!(precision >= 0.98 && recall >= 0.98, "precision {precision}, recall {recall}");
}

#[test]
fn every_sentence_that_it_was_tuned_on_is_judged_rightly() {
    assert!(SENTENCES.len() >= 400, "{} sentences", SENTENCES.len());
    for sentence in tuning() {
        assert_eq!(marked(sentence.form, &sentence.text), sentence.level, "{:?}", sentence.text);
    }
}

/// What of these is judged to be marked.
fn refused<'a>(form: Form, texts: &[&'a str]) -> Vec<&'a str> {
    texts.iter().copied().filter(|text| marked(form, text).is_some()).collect()
}

#[test]
fn what_malware_does_with_secret_papers_is_told_of_freely() {
    let told = [
        "Mã độc gửi tài liệu mật về máy chủ điều khiển 203.0.113.5",
        "Gửi tài liệu mật về máy chủ điều khiển 203.0.113.5 mỗi giờ",
        "Mã độc đánh cắp thông tin trong tài liệu mật của Bộ Ngoại giao",
        "PlugX sao chép tài liệu mật ra USB",
        "Backdoor nén tài liệu mật rồi gửi về C2",
        "Một RAT chuyển tài liệu mật ra ngoài",
        "Trojan lấy tệp từ công văn mật của nạn nhân",
    ];
    assert_eq!(refused(Form::Text, &told), [""; 0]);
    let at_hand = [
        "Mã độc nằm trong đính kèm tài liệu mật số 18",
        "Về đợt tấn công: gửi kèm theo báo cáo mật của đơn vị",
        "Backdoor được nêu trong công văn mật số 45",
    ];
    assert_eq!(refused(Form::Text, &at_hand), at_hand);
}

#[test]
fn an_english_secret_is_a_level_only_where_it_is_written_as_one() {
    let told = [
        "Theo báo cáo Secret Blizzard dùng Kazuar",
        "THEO BÁO CÁO SECRET BLIZZARD DÙNG KAZUAR",
        "The pod mounts the file secret at /run/secrets",
        "The loader keeps in a config file secret keys for its C2",
    ];
    assert_eq!(refused(Form::Text, &told), [""; 0]);
    let at_hand = ["Theo báo cáo SECRET của đơn vị bạn", "xem báo cáo Secret, trang 2"];
    assert_eq!(refused(Form::Text, &at_hand), at_hand);
}

#[test]
fn of_a_rule_only_remarks_and_fields_count_and_not_what_it_searches_for() {
    let searched = [
        "detection:\n  keywords:\n    - 'Tối mật'\n    - \"TUYỆT MẬT\"\n    - mật\n    - '*tối mật*'",
        "keywords:\n    - độ mật\n    - tối mật",
        "selection:\n  TargetFilename|endswith:\n    - '.mat'\n    - .mat",
        "title: Lure\n# Finds these:\n- mật\n#\n- tối mật",
        "Tối mật\nmật",
    ];
    assert_eq!(refused(Form::Rule, &searched), [""; 0]);
    let marked_ones = [
        "# TỐI MẬT\ntitle: Lure",
        "rule a {}\n  // MẬT",
        "/* Tuyệt mật */\nrule a {}",
        "/*\n * lure\n * Tối mật\n */\nrule a {}",
        "/*\nTỐI MẬT\n*/\nrule a {}",
        "meta:\n  do_mat = \"Tối mật\"",
    ];
    assert_eq!(refused(Form::Rule, &marked_ones), marked_ones);
}

#[test]
fn the_ending_of_a_files_name_is_no_stamp() {
    assert_eq!(refused(Form::Text, &["Tìm các tệp:\n.doc\n.mat\n- .mat\n'.mat'"]), [""; 0]);
    assert_eq!(refused(Form::Text, &["Báo cáo\nmat\nsố 3", "Báo cáo\n.MẬT."]).len(), 2);
}

#[test]
fn mat_without_marks_that_goes_on_as_another_word_passes_behind_any_verb() {
    let told = [
        "Theo bao cao mat tai khoan cua khach hang",
        "Nan nhan gui thong bao mat tien den ngan hang",
        "Theo ban do mat do tan cong DDoS",
        "SMS noi dung toi mat dien thoai, chuyen giup 5 trieu",
        "Dinh kem thong bao mat the ngan hang",
    ];
    assert_eq!(refused(Form::Text, &told), [""; 0]);
    let at_hand =
        ["Theo bao cao mat so 12", "Dinh kem bao cao toi mat cua don vi", "Theo bao cao mat, can chan ngay"];
    assert_eq!(refused(Form::Text, &at_hand), at_hand);
}

#[test]
fn a_stamp_pasted_onto_the_line_of_a_papers_title_is_one() {
    let pasted = [
        "TUYỆT MẬT KẾ HOẠCH ỨNG PHÓ SỰ CỐ",
        "Kính gửi các đơn vị\nTỐI MẬT BÁO CÁO TÌNH HÌNH",
        "MẬT CÔNG VĂN VỀ VIỆC RÀ SOÁT",
    ];
    assert_eq!(refused(Form::Text, &pasted), pasted);
    let others = ["MẬT KHẨU SẮP HẾT HẠN", "MẬT DANH CHIẾN DỊCH", "MAT BAO CAO", "TUYỆT MẬT TRONG PHIM ẢNH"];
    assert_eq!(refused(Form::Text, &others), [""; 0]);
}

#[test]
fn how_letters_are_composed_changes_nothing() {
    for Sentence { level, form, text, .. } in tuning() {
        assert_eq!(marked(*form, &NFD.normalize(text)), *level, "{text:?}");
        assert_eq!(marked(*form, &NFC.normalize(text)), *level, "{text:?}");
    }
}

#[test]
fn what_is_marked_stays_so_with_its_letters_apart() {
    for Sentence { level, form, text, .. } in marked_ones() {
        // Of a label every letter counts, and a blank is none of them.
        if *form != Form::Label && !is_apart(text) {
            let spaced = spaced(text);
            assert_eq!(marked(*form, &spaced).is_some(), level.is_some(), "{spaced:?}");
        }
    }
}

#[test]
fn a_letter_with_a_sign_behind_it_is_still_one_of_the_stamp() {
    for sign in [" ", ".", "-", "_", "\n", "\u{a0}", "\u{200b}", ". ", "·"] {
        let stamp = ["T", "U", "Y", "Ệ", "T", "M", "Ậ", "T"].join(sign);
        assert_eq!(marked(Form::Text, &stamp), Some(Level::TuyetMat), "{stamp:?}");
        assert_eq!(marked(Form::Text, &["M", "Ậ", "T"].join(sign)), Some(Level::Mat), "{sign:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_marked_stays_so_in_capitals_without_marks_and_with_unseen_signs(
        at in any::<prop::sample::Index>(), upper: bool, plain: bool, apart: bool, veil: bool, wide: bool,
    ) {
        let Sentence { form, text, .. } = *at.get(&marked_ones());
        let mut changed = text.clone();
        if *form == Form::Text {
            changed = if upper { changed.to_uppercase() } else { changed };
            changed = if wide && !veil { full_width(&changed) } else { changed };
        }
        changed = if plain { bare(&changed) } else { changed };
        changed = if apart { NFD.normalize(&changed).into_owned() } else { changed };
        changed = if veil && *form == Form::Text { veiled(&changed) } else { changed };
        prop_assert!(marked(*form, &changed).is_some(), "{changed:?}");
    }

    #[test]
    fn any_text_is_judged_and_the_same_way_twice(text: String, label: bool) {
        let form = if label { Form::Label } else { Form::Text };
        prop_assert_eq!(marked(form, &text), marked(form, &text));
    }

    #[test]
    fn a_stamp_on_a_line_of_its_own_is_found_in_any_text(before in "\\PC{0,80}", behind in "\\PC{0,80}") {
        let text = format!("{before}\nTỐI MẬT\n{behind}");
        prop_assert!(marked(Form::Text, &text) >= Some(Level::ToiMat), "{text:?}");
    }
}
