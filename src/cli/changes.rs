//! Decides how changes of the roster that wait for a second person are shown
//! and named, alike for operators anywhere and on the hub's own machine.

use std::io;

use uuid::Uuid;

use super::output::{self, Data};

/// A change that waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Its id.
    pub(super) id: String,
    /// Who proposed it.
    pub(super) author: String,
    /// When.
    pub(super) proposed: String,
    /// Until when it waits.
    pub(super) expires: String,
    /// Whether it is of a roster that stands no more.
    pub(super) outdated: bool,
    /// What it would change.
    pub(super) differences: Vec<String>,
    /// What of it one person alone cannot do.
    pub(super) approvals: Vec<String>,
}

/// Shows what waits, oldest first.
pub(super) fn list(waiting: &[Waiting], data: &mut Data) -> io::Result<()> {
    if waiting.is_empty() {
        output::talk("no change waits");
    }
    waiting.iter().flat_map(lines).try_for_each(|line| data.line(&line))
}

fn lines(change: &Waiting) -> Vec<String> {
    let Waiting { id, author, proposed, expires, outdated, differences, approvals } = change;
    let mut lines = vec![format!("{id}  by {author}  on {proposed}  until {expires}")];
    if *outdated {
        lines.push("  outdated: the roster has changed since; reject it and propose it anew".to_owned());
    }
    lines.extend(differences.iter().map(|line| format!("  {line}")));
    lines.extend(approvals.iter().map(|line| format!("  {}", by_two(line))));
    lines
}

/// How it is said that one person alone cannot do something.
pub(super) fn by_two(line: &str) -> String {
    format!("needs a second operator: {line}")
}

/// Tells that a change was agreed to, and what it changes.
pub(super) fn approved(differences: &[String], data: &mut Data) -> io::Result<()> {
    differences.iter().try_for_each(|line| data.line(line))?;
    data.flush()?;
    output::talk("approved: each change holds from the day it names");
    Ok(())
}

/// Tells that a change was dropped.
pub(super) fn rejected() {
    output::talk("rejected: nothing has changed");
}

/// The id that is written whole, which needs no list.
pub(super) fn whole(text: &str) -> Option<String> {
    let text = text.strip_prefix("pendingChanges/").unwrap_or(text);
    Uuid::try_parse(text).ok().map(|id| id.to_string())
}

/// The change whose id begins so.
pub(super) fn chosen(waiting: &[Waiting], text: &str) -> Result<String, String> {
    let text = text.strip_prefix("pendingChanges/").unwrap_or(text);
    let fitting: Vec<&str> =
        waiting.iter().map(|change| change.id.as_str()).filter(|id| id.starts_with(text)).collect();
    match fitting.as_slice() {
        _ if text.is_empty() => Err("name the change by its id, or by how that begins".to_owned()),
        [one] => Ok((*one).to_owned()),
        [] => Err(format!(
            "no change that waits has an id that begins with {text}; `roster pending` lists them"
        )),
        several => Err(format!("{text} is how several begin, write more of it: {}", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &str) -> Waiting {
        Waiting { id: id.to_owned(), ..Waiting::default() }
    }

    #[test]
    fn a_change_is_named_by_how_its_id_begins_if_only_one_begins_so() {
        let waiting = [change("6a1f0000"), change("6a2f0000")];
        assert_eq!(chosen(&waiting, "6a1").unwrap(), "6a1f0000");
        assert_eq!(chosen(&waiting, "pendingChanges/6a2f").unwrap(), "6a2f0000");
        assert!(chosen(&waiting, "6a").unwrap_err().contains("6a1f0000, 6a2f0000"));
        assert!(chosen(&waiting, "7").unwrap_err().contains("roster pending"));
        assert!(chosen(&waiting[..1], "").is_err(), "nothing is chosen by saying nothing");
    }

    #[test]
    fn a_change_is_shown_with_all_that_whoever_agrees_must_know() {
        let shown = lines(&Waiting {
            author: "lan".to_owned(),
            proposed: "2026-11-22".to_owned(),
            expires: "2026-11-29".to_owned(),
            outdated: true,
            differences: vec!["principal an: new".to_owned()],
            approvals: vec!["an gains the role operator".to_owned()],
            ..change("6a1f")
        });
        assert_eq!(
            shown,
            [
                "6a1f  by lan  on 2026-11-22  until 2026-11-29",
                "  outdated: the roster has changed since; reject it and propose it anew",
                "  principal an: new",
                "  needs a second operator: an gains the role operator",
            ]
        );
    }
}
