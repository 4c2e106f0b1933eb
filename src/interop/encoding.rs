//! Decides in which encoding input is written: UTF-8, UTF-16 by its byte-order
//! mark or its zero bytes, or Windows-1252, of which Latin-1 is a part.
//!
//! UTF-16 is turned into UTF-8 as it is read. Windows-1252 is told by line: a
//! line that is not UTF-8 is read as such, but no value is guessed from it that
//! is not ASCII (see [`Text::sure`]).

use std::io::{self, Read};

/// How text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// By the first bytes, then line by line.
    #[default]
    Auto,
    /// UTF-8 and nothing else.
    Utf8,
    /// Windows-1252, of which Latin-1 is a part.
    Latin1,
    /// UTF-16, least significant byte first.
    Utf16Le,
    /// UTF-16, most significant byte first.
    Utf16Be,
}

/// A line as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Whether the encoding is known: else the text may say something else
    /// wherever it is not ASCII.
    pub(super) sure: bool,
}

impl Encoding {
    /// The encoding that the first bytes of an input tell, or `self`.
    #[must_use]
    pub fn of(self, first: &[u8]) -> Self {
        match (self, first) {
            (Self::Auto, [0xff, 0xfe, ..]) => Self::Utf16Le,
            (Self::Auto, [0xfe, 0xff, ..]) => Self::Utf16Be,
            (Self::Auto, [a, 0, b, 0, ..]) if *a != 0 && *b != 0 => Self::Utf16Le,
            (Self::Auto, [0, a, 0, b, ..]) if *a != 0 && *b != 0 => Self::Utf16Be,
            (named, _) => named,
        }
    }

    const fn is_utf16(self) -> bool {
        matches!(self, Self::Utf16Le | Self::Utf16Be)
    }

    /// A line as text; `None` if it is not text of this encoding.
    pub(super) fn text(self, line: &[u8]) -> Option<Text> {
        match (self, std::str::from_utf8(line)) {
            (Self::Latin1, _) => Some(Text { text: latin1(line), sure: true }),
            (_, Ok(text)) => Some(Text { text: text.to_owned(), sure: true }),
            (Self::Auto, Err(_)) => Some(Text { text: latin1(line), sure: false }),
            (_, Err(_)) => None,
        }
    }
}

/// What the bytes 0x80 to 0x9f are in Windows-1252; in Latin-1 they are control
/// characters, which no list holds.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn latin1(line: &[u8]) -> String {
    let letter = |&byte: &u8| match byte {
        0x80..=0x9f => WINDOWS.get(usize::from(byte - 0x80)).copied().unwrap_or('\u{fffd}'),
        _ => char::from(byte),
    };
    line.iter().map(letter).collect()
}

/// Text in UTF-16 as UTF-8, and any other as it is.
pub(super) struct Utf8<R> {
    source: R,
    encoding: Encoding,
    /// Bytes read and not yet turned.
    raw: Vec<u8>,
    /// Text turned and not yet handed on.
    out: Vec<u8>,
    at: usize,
    ended: bool,
}

/// Bytes turned at once.
const STEP: usize = 8 * 1024;

impl<R: Read> Utf8<R> {
    /// Looks at the first bytes of `source`, unless `encoding` tells.
    pub(super) fn new(mut source: R, encoding: Encoding) -> io::Result<Self> {
        let mut raw = Vec::with_capacity(STEP);
        while raw.len() < 4 {
            let mut byte = [0];
            match source.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => raw.extend(byte),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let encoding = encoding.of(&raw);
        let (out, raw) = if encoding.is_utf16() { (Vec::new(), raw) } else { (raw, Vec::new()) };
        Ok(Self { source, encoding, raw, out, at: 0, ended: false })
    }

    pub(super) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Turns what is read, but for a pair that is not complete.
    fn turn(&mut self) {
        let unit = |pair: &[u8]| match (pair, self.encoding) {
            ([a, b], Encoding::Utf16Le) => u16::from_le_bytes([*a, *b]),
            ([a, b], _) => u16::from_be_bytes([*a, *b]),
            _ => 0xfffd,
        };
        let mut units: Vec<u16> = self.raw.chunks(2).map(unit).collect();
        let mut kept = 0;
        if !self.ended {
            kept = self.raw.len() % 2;
            if kept > 0 {
                units.pop();
            }
            if units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
                units.pop();
                kept += 2;
            }
        }
        self.raw.drain(..self.raw.len() - kept);
        self.out.clear();
        self.at = 0;
        for c in char::decode_utf16(units) {
            // A broken pair becomes the sign for it, which no value may hold.
            let mut room = [0; 4];
            self.out.extend(c.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut room).bytes());
        }
    }
}

impl<R: Read> Read for Utf8<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.out.len() {
            if !self.encoding.is_utf16() {
                return self.source.read(into);
            }
            if self.ended {
                return Ok(0);
            }
            let begun = self.raw.len();
            self.raw.resize(begun + STEP, 0);
            let read = self.source.read(self.raw.get_mut(begun..).unwrap_or_default());
            self.raw.truncate(begun + read.as_ref().copied().unwrap_or(0));
            self.ended = read? == 0;
            self.turn();
        }
        let n = self.out.get(self.at..).unwrap_or_default().read(into)?;
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reader that gives few bytes at once.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = into.len().min(3);
            self.0.read(&mut into[..n])
        }
    }

    fn utf8(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Utf8::new(Drops(input), Encoding::Auto).unwrap().read_to_end(&mut out).unwrap();
        out
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn utf_16_is_known_by_its_mark_and_without_one_by_its_zeros() {
        for text in ["\u{feff}cốccốc.vn\r\n🎋.example\n", "ab.vn\ncốccốc.vn\n"] {
            assert_eq!(utf8(&utf16(text, u16::to_le_bytes)), text.as_bytes());
            assert_eq!(utf8(&utf16(text, u16::to_be_bytes)), text.as_bytes());
            assert_eq!(utf8(text.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn a_pair_cut_short_becomes_the_sign_for_it() {
        assert_eq!(utf8(b"a\0b\0\x3d\xd8"), "ab\u{fffd}".as_bytes());
        assert_eq!(utf8(b"a\0b\0c"), "ab\u{fffd}".as_bytes());
    }

    #[test]
    fn a_line_in_latin_1_is_read_but_not_trusted_beyond_ascii() {
        let text = Encoding::Auto.text(b"caf\xe9 \x93x\x94\xa0").unwrap();
        assert_eq!((text.text.as_str(), text.sure), ("café “x”\u{a0}", false));
        assert!(Encoding::Latin1.text(b"caf\xe9").unwrap().sure);
        assert_eq!(Encoding::Utf8.text(b"caf\xe9"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_survives_utf_16(text in ".{0,200}") {
            let text = format!("ab{text}");
            prop_assert_eq!(utf8(&utf16(&text, u16::to_le_bytes)), text.as_bytes());
        }

        #[test]
        fn any_bytes_are_read_to_the_end(input in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = utf8(&input);
        }
    }
}
