//! Decides which names a hosts file blocks: those that it sends nowhere
//! (`0.0.0.0`, `127.0.0.1`, `::`, `::1`). A name that it sends elsewhere is
//! refused: that says where something is, not that it is bad.

use super::encoding::Text;
use super::found::{Reason, What};
use super::value;

const NOWHERE: [&str; 5] = ["0.0.0.0", "127.0.0.1", "::", "::1", "0"];
/// Names that every hosts file has.
const LOCAL: [&str; 14] = [
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "localhost4",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "0.0.0.0",
];

/// Reads one line, which may hold several names.
pub(super) fn read(line: &Text) -> Vec<What> {
    let text = line.text.split('#').next().unwrap_or_default();
    let mut words = text.split_whitespace();
    let Some(address) = words.next() else { return Vec::new() };
    let names: Vec<&str> = words.filter(|name| !LOCAL.contains(name)).collect();
    if is_nowhere(address) {
        names
            .into_iter()
            .map(|name| value::of_list(&Text { text: name.to_owned(), sure: line.sure }))
            .collect()
    } else if names.is_empty() && text.split_whitespace().nth(1).is_some() {
        Vec::new()
    } else {
        let problem = "does not send a name nowhere: lines that block begin with 0.0.0.0 or 127.0.0.1";
        vec![What::refused(Reason::Conditional, problem, text)]
    }
}

/// Whether the address stands for no host.
pub(super) fn is_nowhere(address: &str) -> bool {
    NOWHERE.contains(&address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Vec<String> {
        read(&Text { text: line.to_owned(), sure: true })
            .into_iter()
            .map(|what| match what {
                What::Record(record) => record.value.unwrap(),
                What::Refused(reject) | What::PassedOver(reject) => reject.reason.as_str().to_owned(),
            })
            .collect()
    }

    #[test]
    fn names_that_are_sent_nowhere_are_values_and_the_machine_s_own_are_not() {
        assert_eq!(told("0.0.0.0 evil.com # why"), ["evil.com"]);
        assert_eq!(told("127.0.0.1\tevil.com  www.evil.com"), ["evil.com", "www.evil.com"]);
        for nothing in
            ["127.0.0.1 localhost", "::1 ip6-localhost ip6-loopback", "ff02::1 ip6-allnodes", "# x", ""]
        {
            assert!(told(nothing).is_empty(), "{nothing}");
        }
        assert_eq!(told("198.51.100.7 intranet.example"), ["CONDITIONAL"]);
        assert_eq!(told("0.0.0.0 bad_"), ["FIELD_INVALID"]);
    }
}
