//! Decides, by bytes alone, which texts hold no marking for certain: those
//! without the letters `m a t` or `s e c r` in a row, whatever stands between.

/// Most bytes that are no letters between two letters of one word.
const MAX_APART: usize = 16;

/// Whether a closer look is needed.
pub(super) fn may_hold(text: &str) -> bool {
    const fn may_begin(byte: u8) -> bool {
        matches!(byte, b'm' | b'M' | b's' | b'S' | 0xE2 | 0xEF | 0xF0)
    }
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| may_begin(byte)) {
        let Some(([.., first], behind)) = rest.split_at_checked(at.saturating_add(1)) else { break };
        rest = behind;
        let found = match *first {
            b'm' | b'M' => letter_a(behind).and_then(|rest| ascii(rest, b't')).is_some(),
            b's' | b'S' => {
                let rest = ascii(behind, b'e').and_then(|rest| ascii(rest, b'c'));
                rest.and_then(|rest| ascii(rest, b'r')).is_some()
            }
            // Letters that stand for others: full-width, circled, mathematical.
            0xEF => matches!(behind.first(), Some(0xBC | 0xBD)),
            0xE2 => matches!(behind.first(), Some(0x84 | 0x85 | 0x92 | 0x93)),
            0xF0 => true,
            _ => false,
        };
        if found {
            return true;
        }
    }
    false
}

/// What follows this letter, if it is the next one.
fn ascii(rest: &[u8], letter: u8) -> Option<&[u8]> {
    let (first, rest) = to_letter(rest)?.split_first()?;
    first.eq_ignore_ascii_case(&letter).then_some(rest)
}

/// What follows an `a` with whatever marks, if it is the next letter.
fn letter_a(rest: &[u8]) -> Option<&[u8]> {
    match to_letter(rest)? {
        [b'a' | b'A', rest @ ..]
        | [0xC3, 0x80..=0x83 | 0xA0..=0xA3, rest @ ..]
        | [0xC4, 0x82 | 0x83, rest @ ..]
        | [0xE1, 0xBA, 0xA0..=0xB7, rest @ ..] => Some(rest),
        _ => None,
    }
}

/// The rest from its first letter or digit on: behind blanks, punctuation,
/// marks that combine, and what cannot be seen.
fn to_letter(mut rest: &[u8]) -> Option<&[u8]> {
    for _ in 0..MAX_APART {
        rest = match rest {
            [first, behind @ ..] if first.is_ascii() && !first.is_ascii_alphanumeric() => behind,
            [0xCC, _, behind @ ..]
            | [0xCD, 0x80..=0xAF, behind @ ..]
            | [0xC2, 0x80..=0xBF, behind @ ..]
            | [0xE1, 0xA0, 0x8E, behind @ ..]
            | [0xE2, 0x80 | 0x81, _, behind @ ..]
            | [0xE3, 0x80, 0x80, behind @ ..]
            | [0xEF, 0xBB, 0xBF, behind @ ..]
            | [0xEF, 0xB8, 0x80..=0x8F, behind @ ..] => behind,
            _ => return Some(rest),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_needs_no_closer_look() {
        for text in [
            "",
            "C2 server for AsyncRAT, first seen 2026-03-01",
            "Máy chủ điều khiển của nhóm lừa đảo, mã độc tải thêm về",
            "Ma doc tai them ve may tram",
        ] {
            assert!(!may_hold(text), "{text}");
        }
    }

    #[test]
    fn letters_are_found_whatever_stands_between() {
        for text in [
            "mật",
            "MẬT",
            "m.ậ.t",
            "M\u{200b}Ậ\u{ad}T",
            "ma\u{323}\u{302}t",
            "M\n A\n T",
            "ｍａｔ",
            "Secret",
            "S E C R E T",
        ] {
            assert!(may_hold(text), "{text}");
        }
    }
}
