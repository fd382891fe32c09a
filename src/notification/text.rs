//! What messages say: a rule's template, or what Argus says by itself. It is plain text, which a face makes fit for where
//! it goes. Values are made harmless here already: they stay on their line and lead nowhere.

use serde_json::Value as Json;

use super::Priority;
use super::fields::{Fields, plain};
use crate::event::cloud::Event;
use crate::model::plain::is_unseen;
use crate::model::secret;
use crate::model::template::{self, Part};

/// The longest text, whatever the target takes.
pub const TEXT_CHARS_MAX: usize = 16_000;

/// The longest title.
pub const TITLE_CHARS_MAX: usize = 200;

/// The longest value in a text.
const VALUE_CHARS_MAX: usize = 2_000;

/// What stands where something was cut off.
pub const CUT: &str = "… (cut)";

/// What Argus says of each type of event.
const DEFAULTS: &[(&str, &str)] = &[
    ("resource.created", "{{ subject }} was created by {{ actor }}."),
    ("resource.updated", "{{ subject }} was changed by {{ actor }}: {{ fields.path }}"),
    ("resource.deleted", "{{ subject }} was deleted by {{ actor }}."),
    ("resource.adopted", "{{ subject }} is managed from now on."),
    ("resource.released", "{{ subject }} is no longer managed, and stays."),
    ("audit.head", "The audit of {{ organization }} was signed at row {{ sequence }}."),
    ("drift.detected", "{{ subject }} was changed elsewhere ({{ action }}), and was left so."),
    ("drift.corrected", "{{ subject }}, which was changed elsewhere, is again as it is described."),
    ("drift.resolved", "{{ subject }} is again as it is described."),
    ("drift.ignored", "A rule leaves something out of comparison: {{ message }}"),
    ("plan.held", "The plan {{ planDigest }} of {{ organization }} waits until people agree: {{ why.message }}"),
    ("plan.approved", "{{ actor }} has approved the plan {{ planDigest }} of {{ organization }}."),
    ("plan.denied", "The policies deny the plan {{ planDigest }} of {{ organization }}: {{ why.message }}"),
    ("run.succeeded", "The run {{ run }} of {{ source }} has done all that it was to do."),
    ("run.failed", "The run {{ run }} of {{ source }} could not do all that it was to do."),
    ("source.stalled", "The source {{ source }} cannot be read or trusted: {{ why.message }}"),
    ("source.recovered", "The source {{ source }} is read again."),
];

/// What Argus says of types that have no line above.
const OTHERWISE: &str = "{{ type }}: {{ subject }}";

/// What is said of an event. A template that cannot be read was written by SQL: then Argus says it by itself.
pub fn said(template: Option<&str>, event: &Event, fields: &Fields<'_>) -> String {
    let own = DEFAULTS.iter().find(|(of, _)| *of == event.of).map_or(OTHERWISE, |(_, text)| text);
    let parts = template
        .filter(|template| !template.trim().is_empty())
        .and_then(|template| template::parse(template).ok())
        .or_else(|| template::parse(own).ok())
        .unwrap_or_default();
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Field(name) => {
                let values: Vec<String> = fields.values(name).iter().map(shown).collect();
                match values.is_empty() {
                    true => text.push_str(&format!("(no {name})")),
                    false => text.push_str(&cut(&values.join(", "), VALUE_CHARS_MAX)),
                }
            }
        }
    }
    cut(text.trim_end(), TEXT_CHARS_MAX)
}

/// What is said in a line.
pub fn title(event: &Event, priority: Priority) -> String {
    let matters = match priority {
        Priority::Low | Priority::Normal => String::new(),
        Priority::High | Priority::Critical => format!("[{}] ", priority.word()),
    };
    let Event { organization, of, subject, .. } = event;
    cut(&harmless(&format!("{matters}{organization}: {of} {subject}")), TITLE_CHARS_MAX)
}

fn shown(value: &Json) -> String {
    harmless(&plain(value))
}

/// A value on one line, without secrets, without what moves the cursor or cannot be seen, and without what a reader's
/// program would make a link or a call to everybody of.
pub fn harmless(text: &str) -> String {
    let masked = secret::mask(text);
    let mut out = String::with_capacity(masked.len());
    for c in masked.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() || is_unseen(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    without_calls(&without_links(&out))
}

/// `https://x` as `https[:]//x`, and `www.x` as `www[.]x`.
fn without_links(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.char_indices().find_map(|(at, _)| {
        let here = &rest.as_bytes()[at..];
        let web = here.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"www."));
        (here.starts_with(b"://") || web).then_some(at)
    }) {
        out.push_str(&rest[..at]);
        if rest[at..].starts_with(':') {
            out.push_str("[:]");
            rest = &rest[at + 1..];
        } else {
            out.push_str(&rest[at..at + 3]);
            out.push_str("[.]");
            rest = &rest[at + 4..];
        }
    }
    out + rest
}

/// `@here` as `(at)here`: the words that chat programs call everybody by.
pub fn without_calls(text: &str) -> String {
    const CALLS: &[&str] = &["channel", "here", "everyone", "all", "group"];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        out.push_str(before);
        let word: String = after.chars().take_while(|c| c.is_alphanumeric()).collect();
        // `ada@all.example` is an address.
        let starts = before.chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        let calls = starts && CALLS.iter().any(|call| word.eq_ignore_ascii_case(call));
        out.push_str(if calls { "(at)" } else { "@" });
        rest = after;
    }
    out + rest
}

/// At most so many characters, with a mark where something is missing.
pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars_max.saturating_sub(CUT.chars().count())).chain(CUT.chars()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_event_has_a_text_of_its_own_that_is_a_template() {
        for of in crate::event::TYPES {
            let (_, text) = DEFAULTS.iter().find(|(name, _)| *name == of.name).unwrap_or_else(|| panic!("{}", of.name));
            template::parse(text).expect(of.name);
        }
        assert_eq!(DEFAULTS.len(), crate::event::TYPES.len());
        template::parse(OTHERWISE).expect("a template");
    }

    #[test]
    fn a_value_leads_nowhere_and_calls_nobody() {
        for (text, said) in [
            ("https://evil.example/x", "https[:]//evil.example/x"),
            ("WWW.evil.example", "WWW[.]evil.example"),
            ("hi @here, @CHANNEL and @everyone", "hi (at)here, (at)CHANNEL and (at)everyone"),
            ("ada@all.example", "ada@all.example"),
            ("a\nb\r\u{202e}c\u{7}", "a b \\u{202e}c\\u{7}"),
            ("argus_sk_0123456789abcdef0123456789", "********"),
            ("é://ß", "é[:]//ß"),
        ] {
            assert_eq!(harmless(text), said);
        }
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("short", 10), "short");
        let long = cut(&"é".repeat(50), 20);
        assert!(long.ends_with(CUT) && long.chars().count() == 20, "{long}");
    }
}
