//! Findings drawn for people: the message, the place, the line with a caret under it, and the hint.
//!
//! Nothing that a file holds can move the cursor or hide text: whatever is not plainly visible is spelled out, and what
//! looks like a secret is masked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use crate::model::code::Code;
use crate::model::finding::{Finding, Severity};
use crate::model::kind::KINDS;
use crate::model::secret;

/// How much of a line is kept for drawing, in characters.
pub const LINE_CHARS_MAX: usize = 2_000;

/// How wide a drawn line may be, in columns.
const DRAWN_COLUMNS_MAX: usize = 110;

/// How many columns stand before the caret where a line is cut.
const COLUMNS_BEFORE_CARET: usize = 50;

/// The first of the codes that are given only to documents which were read without an error.
const CHECKED_CODES_FROM: u16 = 1100;

/// How wide a tab is drawn, in columns.
const TAB_COLUMNS: usize = 4;

/// Lines of files that findings point at.
#[derive(Clone, Debug, Default)]
pub struct Excerpts(BTreeMap<(Arc<str>, u32), Box<str>>);

impl Excerpts {
    /// Adds a line, at most its first [`LINE_CHARS_MAX`] characters.
    pub fn insert(&mut self, file: &Arc<str>, line: u32, text: &str) {
        self.0.insert((file.clone(), line), text.chars().take(LINE_CHARS_MAX).collect());
    }

    /// A line, if it was read.
    pub fn get(&self, file: &Arc<str>, line: u32) -> Option<&str> {
        self.0.get(&(file.clone(), line)).map(|text| &**text)
    }
}

/// Draws findings one below the other, with an empty line between them.
pub fn draw(findings: &[Finding], excerpts: &Excerpts, colours: bool) -> String {
    // A line with a secret is masked for every finding that shows it.
    let mut secrets: BTreeMap<(Arc<str>, u32), u32> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.code == Code::PlainSecret) {
        if let Some(origin) = &finding.origin {
            let first = secrets.entry((origin.file.clone(), origin.line)).or_insert(origin.column);
            *first = (*first).min(origin.column);
        }
    }
    let mut out = String::new();
    for (at, finding) in findings.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let secret = finding.origin.as_ref().and_then(|o| secrets.get(&(o.file.clone(), o.line))).copied();
        draw_one(&mut out, finding, excerpts, secret, &Paint(colours));
    }
    out
}

/// `2 errors, 1 warning in 3 files.`
pub fn summary(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let mut parts = Vec::new();
    for (severity, word) in [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")] {
        match count(severity) {
            0 => {}
            some => parts.push(plural(some, word)),
        }
    }
    if parts.is_empty() {
        return "No errors.".into();
    }
    let files: BTreeSet<&str> = findings.iter().filter_map(|f| f.origin.as_ref()).map(|o| &*o.file).collect();
    match files.len() {
        0 => format!("{}.", parts.join(", ")),
        some => format!("{} in {}.", parts.join(", "), plural(some, "file")),
    }
}

struct Paint(bool);

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1B[{code}m{text}\x1B[0m") } else { text.to_owned() }
    }

    fn severity(&self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Note => "1;36",
        };
        self.with(code, text)
    }

    fn frame(&self, text: &str) -> String {
        self.with("1;34", text)
    }
}

/// Writing to a string cannot fail, so that results of `write!` are dropped here.
fn draw_one(out: &mut String, finding: &Finding, excerpts: &Excerpts, secret: Option<u32>, paint: &Paint) {
    let head = paint.severity(finding.severity, &format!("{}[{}]", finding.severity, finding.code));
    let _ = writeln!(out, "{head}: {}", paint.with("1", &inert(&secret::mask(&finding.said()))));
    let mut gutter = 1;
    if let Some(origin) = &finding.origin {
        gutter = origin.line.max(1).ilog10() as usize + 1;
        let place = inert(&origin.to_string());
        let _ = writeln!(out, "{:gutter$}{} {place}", "", paint.frame("-->"));
        if let Some(line) = excerpts.get(&origin.file, origin.line) {
            // What is checked behind the reading stands in a document in which every name is a field.
            let names_are_fields = finding.code.number() >= CHECKED_CODES_FROM;
            let (text, caret) = drawn_line(line, origin.column, secret, names_are_fields);
            let bar = paint.frame("|");
            let number = paint.frame(&format!("{:>gutter$}", origin.line));
            let _ = writeln!(out, "{:gutter$} {bar}", "");
            let _ = writeln!(out, "{}", format!("{number} {bar} {text}").trim_end());
            if let Some((column, width)) = caret {
                let caret = paint.severity(finding.severity, &"^".repeat(width));
                let _ = writeln!(out, "{:gutter$} {bar} {:column$}{caret}", "", "");
            }
        }
    } else if let Some(subject) = &finding.subject {
        let _ = writeln!(out, "{:gutter$}{} {}", "", paint.frame("-->"), inert(whom(subject)));
    }
    if let Some(hint) = &finding.hint {
        let head = paint.with("1;32", "hint:");
        let _ = writeln!(out, "{:gutter$} {head} {}", "", inert(&secret::mask(hint)));
    }
}

/// The line as it is shown, and where its caret stands and how wide it is, in columns from 0.
fn drawn_line(
    line: &str,
    column: u32,
    secret: Option<u32>,
    names_are_fields: bool,
) -> (String, Option<(usize, usize)>) {
    let line = masked(line, secret, names_are_fields);
    let chars: Vec<char> = line.chars().collect();
    let at = column.saturating_sub(1) as usize;
    let until = at + word_length(&chars, at);
    let mut shown: Vec<(String, usize)> = Vec::with_capacity(chars.len());
    let (mut columns, mut start, mut end) = (0, None, 0);
    for (index, c) in chars.iter().enumerate() {
        let cell = cell(*c, columns);
        let width = cell.chars().map(width).sum::<usize>();
        if index == at {
            start = Some(columns);
        }
        columns += width;
        if index < until {
            end = columns;
        }
        shown.push((cell, width));
    }
    // The end of a line is a place too; further to the right there is nothing to point at.
    if at == chars.len() {
        (start, end) = (Some(columns), columns + 1);
    }
    let start = if column == 0 { None } else { start };
    let from = match start {
        Some(start) if columns > DRAWN_COLUMNS_MAX => start.saturating_sub(COLUMNS_BEFORE_CARET),
        _ => 0,
    };
    let (mut text, mut passed) = (String::new(), 0);
    let mut first = None;
    let mut cut = false;
    for (cell, width) in &shown {
        if passed >= from + DRAWN_COLUMNS_MAX {
            cut = true;
            break;
        }
        if passed >= from {
            first.get_or_insert(passed);
            text.push_str(cell);
        }
        passed += width;
    }
    let first = first.unwrap_or(0);
    let lead = if first > 0 { 1 } else { 0 };
    if lead > 0 {
        text.insert(0, '…');
    }
    if cut {
        text.push('…');
    }
    let caret = start.map(|start| {
        let column = start.saturating_sub(first) + lead;
        (column, end.saturating_sub(start).clamp(1, DRAWN_COLUMNS_MAX.saturating_sub(column).max(1)))
    });
    (text, caret)
}

/// The line without what is or looks like a secret.
fn masked(line: &str, secret: Option<u32>, names_are_fields: bool) -> String {
    if let Some(column) = secret {
        let head: String = line.chars().take(column.saturating_sub(1) as usize).collect();
        return format!("{}{}", secret::mask(&head), secret::MASK);
    }
    // What stands behind a key that is named like a secret, to the end of the line.
    for (at, _) in line.match_indices(':').filter(|_| !names_are_fields) {
        let head = &line[..at];
        let name = head.trim_end_matches(['"', '\'', ' ']);
        let start = name
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .map_or(0, |at| at + name[at..].chars().next().map_or(1, char::len_utf8));
        let rest = line[at + 1..].trim();
        let holds = !rest.is_empty() && !rest.starts_with(['#', '|', '>']);
        // Behind a name in quotes no space is needed.
        let is_key = head.ends_with(['"', '\'']) || line[at + 1..].starts_with([' ', '\t']);
        if holds && is_key && secret::is_secret_name(&name[start..]) && !is_field(&name[..start], &name[start..]) {
            return format!("{}: {}", secret::mask(head), secret::MASK);
        }
    }
    masked_runs(&secret::mask(line))
}

/// Whether a name that stands in braces behind another one is a field of some kind there, as in `subject: {apiKey: k}`.
fn is_field(head: &str, name: &str) -> bool {
    let mut closed = 0;
    let brace = head.bytes().rposition(|byte| match byte {
        b'}' => {
            closed += 1;
            false
        }
        b'{' if closed > 0 => {
            closed -= 1;
            false
        }
        b'{' => true,
        _ => false,
    });
    let Some(outer) = brace.and_then(|at| head[..at].trim_end().strip_suffix(':')) else { return false };
    let outer = outer.trim_end_matches(['"', '\'', ' ']);
    let outer = &outer[outer
        .rfind(|c: char| !c.is_ascii_alphanumeric())
        .map_or(0, |at| at + outer[at..].chars().next().map_or(1, char::len_utf8))..];
    let stands = |path: &str| {
        let parts: Vec<&str> = path.split('.').collect();
        parts.windows(2).any(|pair| pair == [outer, name])
    };
    KINDS.iter().flat_map(|kind| kind.fields).any(|field| stands(field.path))
}

/// Long runs without a space that mix letters and digits look like key material.
fn masked_runs(line: &str) -> String {
    const RUN_CHARS_MIN: usize = 40;
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let mut out = String::with_capacity(line.len());
    let mut run = String::new();
    for c in line.chars().map(Some).chain([None]) {
        match c {
            Some(c) if inner(c) => run.push(c),
            other => {
                let mixed = run.chars().any(|c| c.is_ascii_digit()) && run.chars().any(|c| c.is_ascii_alphabetic());
                out.push_str(if run.len() >= RUN_CHARS_MIN && mixed { secret::MASK } else { &run });
                run.clear();
                out.extend(other);
            }
        }
    }
    out
}

/// How many characters the word at a place has: a quoted text, or up to a space or a sign.
fn word_length(chars: &[char], at: usize) -> usize {
    let Some(first) = chars.get(at) else { return 1 };
    let rest = &chars[at + 1..];
    let length = match first {
        '"' | '\'' => rest.iter().position(|c| c == first).map_or(1, |end| end + 2),
        c if c.is_whitespace() => 1,
        '-' if rest.first() == Some(&' ') => 1,
        '[' | '{' | ']' | '}' => 1,
        _ => {
            let ends = |(at, c): (usize, &char)| {
                c.is_whitespace()
                    || matches!(c, ',' | ']' | '}')
                    || (*c == ':' && rest.get(at + 1).is_none_or(|next| next.is_whitespace()))
            };
            rest.iter().enumerate().position(ends).unwrap_or(rest.len()) + 1
        }
    };
    length.max(1)
}

/// One character as it is drawn.
fn cell(c: char, column: usize) -> String {
    match c {
        '\t' => " ".repeat(TAB_COLUMNS - column % TAB_COLUMNS),
        c if is_inert(c) => c.to_string(),
        c => format!("<U+{:04X}>", c as u32),
    }
}

/// Text in which whatever is not plainly visible is spelled out.
pub fn inert(text: &str) -> String {
    if text.chars().all(is_inert) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| match c {
            '\t' | '\n' => " ".into(),
            c if is_inert(c) => c.to_string(),
            c => format!("<U+{:04X}>", c as u32),
        })
        .collect()
}

fn is_inert(c: char) -> bool {
    !super::inert::is_treacherous(c)
}

/// How many columns a terminal gives a character, nearly enough to place a caret.
fn width(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE00}'..='\u{FE0F}' => 0,
        '\u{1100}'..='\u{115F}'
        | '\u{2E80}'..='\u{303E}'
        | '\u{3041}'..='\u{A4CF}'
        | '\u{AC00}'..='\u{D7A3}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FE30}'..='\u{FE6F}'
        | '\u{FF00}'..='\u{FF60}'
        | '\u{FFE0}'..='\u{FFE6}'
        | '\u{1F300}'..='\u{1F64F}'
        | '\u{1F680}'..='\u{1F6FF}'
        | '\u{1F900}'..='\u{1FAFF}'
        | '\u{20000}'..='\u{3FFFD}' => 2,
        _ => 1,
    }
}

/// What has no name is what all organizations share.
fn whom(subject: &str) -> &str {
    if subject.is_empty() { "shared by all organizations" } else { subject }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::origin::{Origin, Position};

    fn drawn(line: &str, column: u32, code: Code) -> String {
        let file: Arc<str> = "a.yaml".into();
        let mut excerpts = Excerpts::default();
        excerpts.insert(&file, 7, line);
        let finding = Finding::error(code, "wrong").at(Origin::new(&file, Position::new(7, column))).hint("mend it");
        draw(&[finding], &excerpts, false)
    }

    #[test]
    fn the_caret_stands_under_the_word() {
        assert_eq!(
            drawn("  displayname: Acme", 3, Code::UnknownField),
            "error[ARG1042]: wrong\n --> a.yaml:7:3\n  |\n7 |   displayname: Acme\n  |   ^^^^^^^^^^^\n  hint: mend it\n"
        );
        let tab = drawn("\ta: b", 2, Code::Syntax);
        assert!(tab.contains("\n7 |     a: b\n  |     ^\n"), "{tab}");
        let wide = drawn("n: \"漢字\" x", 9, Code::Syntax);
        assert!(wide.contains("\n  |           ^\n"), "{wide}");
    }

    #[test]
    fn what_cannot_be_seen_is_spelled_out() {
        let text = drawn("name: a\u{202E}b\u{1B}[31m", 8, Code::BadCharacter);
        assert!(text.contains("name: a<U+202E>b<U+001B>[31m"), "{text}");
        assert!(!text.contains('\u{1B}'));
    }

    #[test]
    fn a_secret_is_never_drawn() {
        for line in [
            "  token: canary1234",
            "  url: https://hooks.slack.com/services/canary1234",
            "  a: argus_sk_canary1234canary1234",
            "  { name: x, password: canary1234 }",
            "  \"apiKey\": \"canary1234\"",
            "  {\"apiKey\":\"canary1234\"}",
            "  apiKey: [canary1234]",
            "  settings: {a: {token: {b: canary1234}}}",
            "  subject: {a: {apiKey: canary1234}}",
            "  apiKey: canary1234",
            "  aGVsbG8gaGVsbG8gaGVsbG8gaGVsbG8gaGVsbG8gaGVsbG8gcanary1234",
        ] {
            let text = drawn(line, 3, Code::Syntax);
            assert!(!text.contains("canary1234"), "{text}");
        }
        let text = drawn("  anything: canary1234", 13, Code::PlainSecret);
        assert!(!text.contains("canary1234"), "{text}");
        assert!(text.contains("anything: ********"), "{text}");
    }

    #[test]
    fn a_field_that_is_named_like_a_secret_is_drawn() {
        let text = drawn("  - {subject: {apiKey: ci}, limit: 5 USD, wrong: x}", 43, Code::UnknownField);
        assert!(text.contains("{apiKey: ci}, limit: 5 USD"), "{text}");
        let text = drawn("      apiKey: ci", 15, Code::DanglingReference);
        assert!(text.contains("apiKey: ci"), "{text}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let line = format!("{}HERE{}", "x ".repeat(400), "y ".repeat(400));
        let text = drawn(&line, 801, Code::Syntax);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest < Some(130), "{text}");
        let shown = text
            .lines()
            .nth(3)
            .and_then(|line| line.chars().collect::<Vec<_>>().windows(4).position(|w| w == ['H', 'E', 'R', 'E']));
        let caret = text.lines().nth(4).and_then(|line| line.chars().position(|c| c == '^'));
        assert_eq!(shown, caret, "{text}");
    }

    #[test]
    fn the_summary_counts() {
        let file: Arc<str> = "a.yaml".into();
        let error = Finding::error(Code::Syntax, "x").at(Origin::file(&file));
        assert_eq!(summary(&[]), "No errors.");
        assert_eq!(
            summary(&[error.clone(), error, Finding::warning(Code::InThePast, "y")]),
            "2 errors, 1 warning in 1 file."
        );
    }
}
