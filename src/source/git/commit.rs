//! Commits of libgit2 -> [`Commit`]: who, when, and through which request.

use chrono::{DateTime, Utc};

use crate::model::plain::is_unseen;
use crate::model::revision::{Commit, Person, TEXT_CHARS_MAX};

/// How much of a message is looked at.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Trailers that name a request by its address.
const TRAILERS: &[&str] = &["pull-request", "pr-url", "reviewed-on", "see merge request"];

/// What a commit says of itself.
pub fn read(commit: &git2::Commit<'_>) -> Commit {
    let message = commit.message_bytes();
    let message = String::from_utf8_lossy(&message[..message.len().min(MESSAGE_BYTES_MAX)]);
    Commit {
        id: commit.id().to_string(),
        author: person(&commit.author()),
        committer: person(&commit.committer()),
        committed_at: DateTime::<Utc>::from_timestamp(commit.time().seconds(), 0).unwrap_or_default(),
        subject: plain(message.trim_start().lines().next().unwrap_or_default()),
        request: request(&message),
        signer: None,
    }
}

fn person(signature: &git2::Signature<'_>) -> Person {
    let text = |bytes: &[u8]| plain(&String::from_utf8_lossy(bytes));
    Person { name: text(signature.name_bytes()), email: text(signature.email_bytes()) }
}

/// One line in which everything can be seen.
fn plain(text: &str) -> String {
    let visible = |c: char| if c.is_control() || is_unseen(c) { '?' } else { c };
    text.trim().chars().take(TEXT_CHARS_MAX).map(visible).collect()
}

/// The request, as the forges write it: `Merge pull request #12 from ..`, `Add it (#12)`, `See merge request acme/c!12`, or
/// a trailer with its address.
fn request(message: &str) -> Option<String> {
    let mut lines = message.lines();
    let subject = lines.next().unwrap_or_default();
    if let Some(rest) = subject.strip_prefix("Merge pull request #") {
        return number(rest).map(|number| format!("#{number}"));
    }
    if let Some(at) = subject.rfind("(#").filter(|_| subject.trim_end().ends_with(')')) {
        return number(&subject[at + 2..]).map(|number| format!("#{number}"));
    }
    lines.find_map(|line| {
        let line = line.trim();
        let lower = line.to_ascii_lowercase();
        let rest = TRAILERS
            .iter()
            .find_map(|trailer| lower.strip_prefix(trailer).map(|rest| &line[line.len() - rest.len()..]))?;
        let last = rest.trim_start_matches([':', ' ']).split_whitespace().next()?;
        match last.rsplit_once('!') {
            Some((_, rest)) => number(rest).map(|number| format!("!{number}")),
            None => number(last.rsplit(['/', '#']).next()?).map(|number| format!("#{number}")),
        }
    })
}

/// The digits at the start of a text.
fn number(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (1..=10).contains(&end).then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::request;

    #[test]
    fn requests_are_found_where_forges_write_them() {
        for (message, expected) in [
            ("Merge pull request #12 from acme/more\n\nMore", Some("#12")),
            ("Add a project (#7)\n\nbecause", Some("#7")),
            ("Merge branch 'more' into 'main'\n\nMore\n\nSee merge request acme/config!31", Some("!31")),
            ("Add a project\n\nReviewed-on: https://git.example/acme/config/pulls/5", Some("#5")),
            ("Add a project\n\nPull-Request: #9", Some("#9")),
            ("Add #7 to the list", None),
            ("Close (#x)", None),
            ("", None),
        ] {
            assert_eq!(request(message).as_deref(), expected, "{message}");
        }
    }
}
