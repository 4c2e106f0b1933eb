//! Decides the canonical form of a cryptocurrency's address: as its own rules
//! write it, with a checksum that is right.
//!
//! Base58Check (Bitcoin, Litecoin, Dogecoin, Tron) as it is, Bech32 (Bitcoin,
//! Litecoin) in lower case, Ethereum in the mixed case of EIP-55.

use sha3::{Digest as _, Keccak256};

use crate::base::digest;
use crate::model::Invalid;

use super::super::{Kind, Observable};
use super::hash;

/// Version bytes of the addresses that are known: Bitcoin, Litecoin, Dogecoin
/// and Tron.
const VERSIONS: [u8; 7] = [0x00, 0x05, 0x16, 0x1e, 0x30, 0x32, 0x41];
/// Prefixes of Bech32 addresses: Bitcoin and Litecoin.
const PREFIXES: [&str; 2] = ["bc1", "ltc1"];
/// Characters of a Base58Check address.
const BASE58: std::ops::RangeInclusive<usize> = 26..=35;
/// Bytes behind it: version, hash and checksum.
const BASE58_BYTES: usize = 25;
/// Longest Bech32 address.
const MAX_BECH32: usize = 90;

/// The address that `text` is, if its checksum says so.
pub(super) fn detect(text: &str) -> Option<Observable> {
    // Without its mixed case an Ethereum address is any forty digits.
    base58(text)
        .or_else(|| bech32(text))
        .or_else(|| ethereum(text).filter(|address| *address == text))
        .map(of)
}

/// Reads `text` as an address; one of Ethereum may be in one case throughout.
pub(super) fn named(text: &str) -> Result<Observable, Invalid> {
    if let Some(found) = detect(text) {
        return Ok(found);
    }
    let digits = text.get(2..).unwrap_or_default();
    let one_case =
        !digits.bytes().any(|b| b.is_ascii_lowercase()) || !digits.bytes().any(|b| b.is_ascii_uppercase());
    match ethereum(text) {
        Some(address) if one_case => Ok(of(address)),
        Some(_) => Err(Invalid::new(
            "",
            "is an Ethereum address whose checksum is wrong: look for a mistyped digit, or give it in lower case",
        )),
        None => Err(Invalid::new(
            "",
            "is not a cryptocurrency address with a right checksum: taken are those of Bitcoin, Litecoin, Dogecoin, \
             Tron and Ethereum",
        )),
    }
}

fn of(address: String) -> Observable {
    Observable::written(Kind::CryptoAddress, address)
}

fn base58(text: &str) -> Option<String> {
    if !BASE58.contains(&text.len()) {
        return None;
    }
    let mut bytes = [0; BASE58_BYTES];
    let length = bs58::decode(text).onto(&mut bytes).ok()?;
    let (payload, checksum) = bytes.split_at(BASE58_BYTES - 4);
    let right = digest::sha256(&digest::sha256(payload)).starts_with(checksum);
    (length == BASE58_BYTES && right && VERSIONS.contains(payload.first()?)).then(|| text.to_owned())
}

fn bech32(text: &str) -> Option<String> {
    if text.len() > MAX_BECH32 || !text.is_ascii() {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let known = PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    // Mixed case is refused by the decoder.
    (known && bech32::segwit::decode(text).is_ok()).then_some(lower)
}

/// The EIP-55 spelling of `0x` and forty digits in any case.
fn ethereum(text: &str) -> Option<String> {
    let digits = hash::digits(text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?, &[40])?;
    let hashed = digest::hex(&Keccak256::digest(digits.as_bytes()));
    let spelt = digits.chars().zip(hashed.chars());
    Some(
        "0x".chars().chain(spelt.map(|(c, by)| if by >= '8' { c.to_ascii_uppercase() } else { c })).collect(),
    )
}
