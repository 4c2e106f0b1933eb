//! Decides how packed input is unpacked: gzip and zstd, recognised by their
//! first bytes, within bounds that no bomb gets past.
//!
//! Memory is bounded by the window of the format, output by a ratio and by an
//! absolute size. What is packed twice is not unpacked twice.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::FrameDecoder;

/// Most bytes out of one packed input.
const MAX_UNPACKED: u64 = 8 * 1024 * 1024 * 1024;
/// Most bytes out for each byte in: real lists stay below 40.
const MAX_RATIO: u64 = 250;
/// Bytes out before the ratio counts: short inputs may be very regular.
const RATIO_FROM: u64 = 8 * 1024 * 1024;
/// Largest window of a zstd frame, what RFC 8878 asks every decoder to take.
const MAX_WINDOW: u64 = 8 * 1024 * 1024;
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const BUFFER: usize = 32 * 1024;

/// Input as it is, or unpacked.
pub(super) struct Unpacked<R: Read> {
    inner: Inner<Counted<R>>,
    out: u64,
}

impl<R: Read> std::fmt::Debug for Unpacked<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unpacked({} bytes)", self.out)
    }
}

enum Inner<R: Read> {
    Plain(Peeked<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Peeked<R>>>>),
    Zstd(Box<Zstd<R>>),
}

impl<R: Read> Unpacked<R> {
    /// Looks at the first bytes of `input`.
    ///
    /// # Errors
    /// As reading.
    pub(super) fn new(input: R) -> io::Result<Self> {
        let mut input = Peeked { head: Vec::new(), at: 0, source: Counted { source: input, read: 0 } };
        let first = input.peek(ZSTD.len())?;
        let inner = if first.starts_with(GZIP) {
            Inner::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, input))))
        } else if first == ZSTD || is_skippable(first) {
            Inner::Zstd(Box::new(Zstd { input, decoder: FrameDecoder::new(), open: false }))
        } else {
            Inner::Plain(input)
        };
        Ok(Self { inner, out: 0 })
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (n, taken) = match &mut self.inner {
            Inner::Plain(input) => return input.read(into),
            Inner::Gzip(input) => (input.read(into), input.get_ref().get_ref().source.read),
            Inner::Zstd(input) => (input.read(into), input.input.source.read),
        };
        let n = n.map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => io::Error::other(format!("it is packed and cannot be unpacked further: {error}")),
        })?;
        self.out += u64::try_from(n).unwrap_or(u64::MAX);
        if self.out > MAX_UNPACKED {
            return Err(io::Error::other("it unpacks to more than 8 GiB: unpack it and publish it in parts"));
        }
        if self.out > RATIO_FROM && self.out / MAX_RATIO > taken {
            return Err(io::Error::other(format!(
                "it unpacks to more than {MAX_RATIO} times its size, as no list does: unpack it and look at it first"
            )));
        }
        Ok(n)
    }
}

/// Frames of zstd, one after the other.
struct Zstd<R> {
    input: Peeked<R>,
    decoder: FrameDecoder,
    /// Whether a frame is begun.
    open: bool,
}

impl<R: Read> Zstd<R> {
    /// Begins the next frame; `false` at the end.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            let first = self.input.peek(ZSTD.len())?;
            if first.is_empty() {
                return Ok(false);
            }
            if !is_skippable(first) {
                break;
            }
            let head = self.input.peek(8)?;
            let length = head.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
            io::copy(&mut (&mut self.input).take(8 + u64::from(length)), &mut io::sink())?;
        }
        let head = self.input.peek(18)?;
        if window(head).is_none_or(|size| size > MAX_WINDOW) {
            return Err(io::Error::other(
                "the zstd frame needs a window of more than 8 MiB: unpack it first",
            ));
        }
        self.decoder.reset(&mut self.input).map_err(io::Error::other)?;
        self.open = true;
        Ok(true)
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::BlockDecodingStrategy::UptoBlocks;
        loop {
            if !self.open && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder.decode_blocks(&mut self.input, UptoBlocks(1)).map_err(io::Error::other)?;
            }
            let n = self.decoder.read(into)?;
            if n > 0 {
                return Ok(n);
            }
            let wanted = self.decoder.get_checksum_from_data();
            if wanted.is_some() && wanted != self.decoder.get_calculated_checksum() {
                return Err(io::Error::other("its checksum is wrong: fetch it again"));
            }
            self.open = false;
        }
    }
}

/// Size of the window of the frame that begins with `head` (RFC 8878, 3.1.1.1).
fn window(head: &[u8]) -> Option<u64> {
    let descriptor = *head.get(4)?;
    if descriptor & 0x20 == 0 {
        let byte = *head.get(5)?;
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    let dictionary = [0_usize, 1, 2, 4].get(usize::from(descriptor & 3)).copied()?;
    let width = 1_usize << (descriptor >> 6);
    let field = head.get(5 + dictionary..5 + dictionary + width)?;
    let size = field.iter().rev().fold(0_u64, |size, &byte| (size << 8) | u64::from(byte));
    Some(if width == 2 { size + 256 } else { size })
}

fn is_skippable(first: &[u8]) -> bool {
    matches!(first, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}

/// A reader whose first bytes can be looked at.
struct Peeked<R> {
    head: Vec<u8>,
    at: usize,
    source: R,
}

impl<R: Read> Peeked<R> {
    /// The next `n` bytes, or as many as there are.
    fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        self.head.drain(..self.at);
        self.at = 0;
        while self.head.len() < n {
            let mut more = [0_u8; 32];
            let room = more.get_mut(..n - self.head.len()).unwrap_or_default();
            match self.source.read(room) {
                Ok(0) => break,
                Ok(read) => self.head.extend(more.iter().take(read)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.head.get(..n.min(self.head.len())).unwrap_or_default())
    }
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut head = self.head.get(self.at..).unwrap_or_default();
        if head.is_empty() {
            return self.source.read(into);
        }
        let n = head.fill_buf()?.len().min(into.len());
        let n = head.take(u64::try_from(n).unwrap_or(0)).read(into)?;
        self.at += n;
        Ok(n)
    }
}

/// A reader that counts what was read.
struct Counted<R> {
    source: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(into)?;
        self.read += u64::try_from(n).unwrap_or(0);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn unpack(input: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Unpacked::new(input)?.read_to_end(&mut out).map(|_| out)
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(content).unwrap();
        packed.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    #[test]
    fn packed_input_is_unpacked_however_many_parts_it_has_and_other_input_is_left_alone() {
        let list = "a.example\n".repeat(10_000);
        for part in [gzip(list.as_bytes()), zstd(list.as_bytes())] {
            let skipped =
                if part.starts_with(ZSTD) { b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec() } else { vec![] };
            let whole = unpack(&[part.clone(), skipped, part].concat()).unwrap();
            assert_eq!(whole, format!("{list}{list}").as_bytes());
        }
        assert_eq!(unpack(list.as_bytes()).unwrap(), list.as_bytes());
        assert_eq!(unpack(b"\x1f").unwrap(), b"\x1f");
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    #[test]
    fn a_bomb_is_refused_long_before_it_is_unpacked() {
        let zeros = vec![0; 64 * 1024 * 1024];
        for bomb in [gzip(&zeros), zstd(&zeros)] {
            let mut out = 0;
            let mut input = Unpacked::new(bomb.as_slice()).unwrap();
            let mut room = vec![0; 64 * 1024];
            let error = loop {
                match input.read(&mut room) {
                    Ok(0) => panic!("the bomb went off"),
                    Ok(n) => out += n,
                    Err(error) => break error,
                }
            };
            assert!(error.to_string().contains("250 times"), "{error}");
            assert!(out < 32 * 1024 * 1024, "{out}");
        }
    }

    #[test]
    fn a_window_that_takes_too_much_memory_is_refused() {
        let huge = [ZSTD, b"\x00\xa0", &[0; 16]].concat();
        assert!(unpack(&huge).unwrap_err().to_string().contains("8 MiB"));
        let single = [ZSTD, b"\xa0\xff\xff\xff\x3f", &[0; 16]].concat();
        assert!(unpack(&single).unwrap_err().to_string().contains("8 MiB"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn damaged_input_ends_in_an_error_or_an_end(
            content in proptest::collection::vec(any::<u8>(), 0..400),
            at in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
            packed in any::<bool>(),
        ) {
            let mut input = if packed { gzip(&content) } else { zstd(&content) };
            let at = at.index(input.len());
            input[at] = byte;
            let _ = unpack(&input);
            let _ = unpack(&input[..at]);
        }
    }
}
