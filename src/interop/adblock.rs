//! Decides which rules of an AdBlock list name one thing to block:
//! `||host^`, `||host/path`, `*://*.host/*`, with options that do not narrow
//! the rule. Exceptions, rules for parts of pages and patterns are refused.

use super::encoding::Text;
use super::found::{Reason, What};
use super::value;

/// Options that leave a rule for a host as wide as it is.
const WIDE: [&str; 4] = ["all", "doc", "document", "important"];

/// Reads one line; `None` for a comment or a blank line.
pub(super) fn read(line: &Text) -> Option<What> {
    let rule = line.text.trim();
    if rule.is_empty() || rule.starts_with('!') || (rule.starts_with('[') && rule.ends_with(']')) {
        return None;
    }
    if rule.starts_with("@@") {
        let problem = "is an exception: it says what not to block, which is no indicator";
        return Some(What::refused(Reason::Exception, problem, rule));
    }
    if ["##", "#@#", "#?#", "#$#"].iter().any(|mark| rule.contains(mark)) {
        let problem = "hides a part of a page: that is no indicator";
        return Some(What::refused(Reason::Conditional, problem, rule));
    }
    let (rule_of, options) = match rule.rsplit_once('$') {
        Some((before, options)) if !options.contains('/') => (before, options),
        _ => (rule, ""),
    };
    if options.split(',').any(|option| !option.is_empty() && !WIDE.contains(&option)) {
        let problem =
            "holds only under the options after its `$`: published, it would say more than it means";
        return Some(What::refused(Reason::Conditional, problem, rule));
    }
    let Some(named) = target(rule_of) else {
        return Some(match rule.starts_with(['/', '*', '|', '&', '-', '_']) || rule.contains('*') {
            true => What::refused(Reason::Pattern, "is a pattern, which stands for many values", rule),
            false => value::of_list(line),
        });
    };
    Some(value::of_list(&Text { text: named.to_owned(), sure: line.sure }))
}

/// What a rule for one host, or for one place at it, names.
fn target(rule: &str) -> Option<&str> {
    let named = if let Some(rest) = rule.strip_prefix("||") {
        rest.strip_suffix("^*")
            .or_else(|| rest.strip_suffix('^'))
            .or_else(|| rest.strip_suffix('|'))
            .unwrap_or(rest)
    } else if let Some(rest) = rule.strip_prefix("*://") {
        rest.strip_prefix("*.").unwrap_or(rest).strip_suffix("/*")?
    } else {
        rule.strip_prefix('|')?.trim_end_matches(['^', '|'])
    };
    (!named.contains(['*', '^', '|'])).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rule: &str) -> String {
        match read(&Text { text: rule.to_owned(), sure: true }) {
            None => "-".to_owned(),
            Some(What::Record(record)) => record.value.unwrap(),
            Some(What::Refused(reject) | What::PassedOver(reject)) => reject.reason.as_str().to_owned(),
        }
    }

    #[test]
    fn rules_for_one_host_are_read_and_all_others_refused_by_name() {
        for (rule, expected) in [
            ("||evil.com^", "evil.com"),
            ("||Vant6.com^$all", "Vant6.com"),
            ("||cốccốc.vn^", "cốccốc.vn"),
            ("*://*.evil.com/*", "evil.com"),
            ("*://evil.com/*", "evil.com"),
            ("||evil.com/pay.php", "evil.com/pay.php"),
            ("|http://evil.com/x|", "http://evil.com/x"),
            ("||evil.com^$document,important", "evil.com"),
            ("evil.com", "evil.com"),
            ("! Title: x", "-"),
            ("[Adblock Plus 2.0]", "-"),
            ("", "-"),
            ("@@||good.com^", "EXCEPTION"),
            ("||evil.com^$popup", "CONDITIONAL"),
            // On its own pages it is not blocked: such rules name what half the web loads.
            ("||social.com^$third-party", "CONDITIONAL"),
            ("||social.com^$3p,all", "CONDITIONAL"),
            ("||evil.com^$domain=a.com", "CONDITIONAL"),
            ("evil.com##.banner", "CONDITIONAL"),
            ("/banner[0-9]+/", "PATTERN"),
            ("||evil.*^", "PATTERN"),
            ("-ads-", "PATTERN"),
        ] {
            assert_eq!(told(rule), expected, "{rule}");
        }
    }
}
