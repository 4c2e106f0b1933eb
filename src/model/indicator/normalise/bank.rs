//! Decides the canonical form of a bank account: the bank's six-digit number
//! in Vietnam's switch (NAPAS) or its BIC, a colon, and the account's number;
//! or an IBAN.
//!
//! An account's number means nothing without its bank, so one alone is
//! refused.

use crate::model::Invalid;

use super::super::{Kind, Observable};

/// Codes under which banks of Vietnam are commonly written, and the numbers
/// that they have in transfers by QR code.
const BANKS: [(&str, &str); 61] = [
    ("ABB", "970425"),
    ("ABBANK", "970425"),
    ("ACB", "970416"),
    ("AGRIBANK", "970405"),
    ("BAB", "970409"),
    ("BACABANK", "970409"),
    ("BAOVIETBANK", "970438"),
    ("BIDV", "970418"),
    ("CAKE", "546034"),
    ("COOPBANK", "970446"),
    ("CTG", "970415"),
    ("EIB", "970431"),
    ("EXIMBANK", "970431"),
    ("GPB", "970408"),
    ("GPBANK", "970408"),
    ("HDB", "970437"),
    ("HDBANK", "970437"),
    ("ICB", "970415"),
    ("KIENLONGBANK", "970452"),
    ("KLB", "970452"),
    ("LPB", "970449"),
    ("LPBANK", "970449"),
    ("MB", "970422"),
    ("MBB", "970422"),
    ("MBBANK", "970422"),
    ("MSB", "970426"),
    ("NAB", "970428"),
    ("NAMABANK", "970428"),
    ("NCB", "970419"),
    ("OCB", "970448"),
    ("PGB", "970430"),
    ("PGBANK", "970430"),
    ("PVCB", "970412"),
    ("PVCOMBANK", "970412"),
    ("SACOMBANK", "970403"),
    ("SAIGONBANK", "970400"),
    ("SCB", "970429"),
    ("SEAB", "970440"),
    ("SEABANK", "970440"),
    ("SGICB", "970400"),
    ("SHB", "970443"),
    ("STB", "970403"),
    ("TCB", "970407"),
    ("TECHCOMBANK", "970407"),
    ("TIMO", "963388"),
    ("TPB", "970423"),
    ("TPBANK", "970423"),
    ("VAB", "970427"),
    ("VBA", "970405"),
    ("VBB", "970433"),
    ("VCB", "970436"),
    ("VCCB", "970454"),
    ("VIB", "970441"),
    ("VIETABANK", "970427"),
    ("VIETBANK", "970433"),
    ("VIETCOMBANK", "970436"),
    ("VIETINBANK", "970415"),
    ("VPB", "970432"),
    ("VPBANK", "970432"),
    ("VRB", "970421"),
    ("WOORI", "970457"),
];

/// Words that stand between a bank's code and an account's number.
const BEFORE: [&str; 3] = ["BANK", "STK", "TK"];
/// Letters and digits of an account's number.
const ACCOUNT: std::ops::RangeInclusive<usize> = 4..=19;
/// Letters and digits of an IBAN.
const IBAN: std::ops::RangeInclusive<usize> = 15..=34;

/// Reads a bank account: bank, a separator, account; or an IBAN.
pub(super) fn account(text: &str) -> Result<Observable, Invalid> {
    let upper = text.to_ascii_uppercase();
    if let Some(iban) = iban(&upper) {
        return Ok(Observable::written(Kind::BankAccount, iban));
    }
    let cut = upper.find(|c: char| matches!(c, ':' | '/' | '|' | '-' | '_') || c.is_whitespace());
    let Some((bank, account)) = cut.map(|at| upper.split_at(at)) else {
        return Err(Invalid::new(
            "",
            "is not a bank account with its bank: write the bank's code first, such as VCB:0011001234567 or \
             970436:0011001234567, or an IBAN",
        ));
    };
    let bank = bank_number(bank)?;
    let account = number_of(account).ok_or_else(|| {
        Invalid::new(
            "",
            "is not a bank account: after the bank's code stands the account's number alone, without other words",
        )
    })?;
    if !ACCOUNT.contains(&account.len()) || !account.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Invalid::new(
            "",
            "is not a bank account: after the bank's code stand 4 to 19 letters and digits",
        ));
    }
    Ok(Observable::written(Kind::BankAccount, format!("{bank}:{account}")))
}

/// The account's number behind the bank's code. In several words there are no
/// letters: they would be a holder's name, or more of the bank's.
fn number_of(text: &str) -> Option<String> {
    let apart = |c: char| matches!(c, ':' | '/' | '|' | '-' | '_' | '.') || c.is_whitespace();
    let mut words: Vec<&str> = text.split(apart).filter(|word| !word.is_empty()).collect();
    while words.len() > 1 && words.first().is_some_and(|word| BEFORE.contains(word)) {
        words.remove(0);
    }
    let plain = words.len() < 2 || words.iter().all(|word| word.bytes().all(|b| b.is_ascii_digit()));
    plain.then(|| words.concat())
}

fn bank_number(bank: &str) -> Result<String, Invalid> {
    if let Ok(at) = BANKS.binary_search_by_key(&bank, |&(code, _)| code)
        && let Some((_, number)) = BANKS.get(at)
    {
        return Ok((*number).to_owned());
    }
    let all = |text: &str, fits: fn(&u8) -> bool| text.as_bytes().iter().all(fits);
    if bank.len() == 6 && all(bank, u8::is_ascii_digit) {
        return Ok(bank.to_owned());
    }
    // ISO 9362: bank and country in letters, place, and perhaps a branch.
    if matches!(bank.len(), 8 | 11)
        && all(bank, u8::is_ascii_alphanumeric)
        && bank.get(..6).is_some_and(|head| all(head, u8::is_ascii_alphabetic))
    {
        return Ok(bank.strip_suffix("XXX").filter(|bank| bank.len() == 8).unwrap_or(bank).to_owned());
    }
    Err(Invalid::new(
        "",
        "names a bank that is not known here: write its six-digit NAPAS number, such as 970436, or its BIC, such as \
         BFTVVNVX",
    ))
}

/// The IBAN (ISO 13616) that `upper` is, without spaces, if its check digits
/// are right.
fn iban(upper: &str) -> Option<String> {
    let iban: String = upper.chars().filter(|&c| c != ' ').collect();
    let (country, rest) = iban.split_at_checked(2)?;
    let (check, account) = rest.split_at_checked(2)?;
    let shaped = IBAN.contains(&iban.len())
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && check.bytes().all(|b| b.is_ascii_digit())
        && account.bytes().all(|b| b.is_ascii_alphanumeric());
    let remainder = [account, country, check].concat().chars().try_fold(0, |sum: u32, c| {
        let value = c.to_digit(36)?;
        Some((sum * if value < 10 { 10 } else { 100 } + value) % 97)
    })?;
    (shaped && remainder == 1).then_some(iban)
}
