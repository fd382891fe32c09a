//! Text from rows and manifests made harmless for a terminal, a comment and a log.

use std::sync::Arc;

use crate::model::finding::Finding;
use crate::model::kind::KindId;
use crate::model::plain::is_unseen;
use crate::model::resource::{Entry, Spec};
use crate::model::secret;
use crate::model::secret::veil::{self, without_secrets};
use crate::model::value::Value;
use crate::plan::{Change, FieldChange, OrganizationPlan, Ownership, Plan, Record};

/// The longest value that is shown in one line; the rest is counted.
const VALUE_CHARS_MAX: usize = 200;

/// Whether a character could move the cursor, hide something or turn the text around.
pub fn is_treacherous(c: char) -> bool {
    c.is_control() || is_unseen(c)
}

/// Text on one line, with treacherous characters as `\u{..}` and without what looks like a secret.
pub fn line(text: &str) -> String {
    secret::mask(text).chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_treacherous(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
        out
    })
}

/// A value as compact JSON on one line, cut where it is too long.
pub fn value(value: &Value) -> String {
    let shown = line(&without_secrets(value).to_string());
    match shown.char_indices().nth(VALUE_CHARS_MAX) {
        None => shown,
        Some((at, _)) => format!("{}… ({} characters)", &shown[..at], shown.chars().count()),
    }
}

/// A differing field without secrets: `settings.password` is a key of a free map, `subject.apiKey` a field.
pub fn field(kind: KindId, field: &FieldChange) -> FieldChange {
    let path = &field.path;
    let shown = |value: &Value| veil::at(kind, path, value);
    FieldChange {
        path: secret::mask(path).into_owned(),
        before: shown(&field.before),
        after: shown(&field.after),
        applied: field.applied.as_ref().map(shown),
        ..field.clone()
    }
}

/// A spec without secrets.
pub fn spec(spec: &Spec) -> Spec {
    let entries = spec.entries().iter();
    Spec::new(entries.map(|entry| Entry { value: without_secrets(&entry.value), ..entry.clone() }).collect())
}

/// A plan as it is printed for programs. What is saved to be applied keeps all values.
pub fn plan(plan: &Plan) -> Plan {
    let findings = |findings: &[Finding]| findings.iter().map(finding).collect::<Vec<_>>();
    let changes = |changes: &[Change]| changes.iter().map(change).collect::<Vec<_>>();
    let organization = |organization: &Arc<OrganizationPlan>| {
        Arc::new(OrganizationPlan {
            changes: changes(&organization.changes),
            left: changes(&organization.left),
            records: organization.records.iter().map(record).collect(),
            findings: findings(&organization.findings),
            holds: findings(&organization.holds),
            ..(**organization).clone()
        })
    };
    Plan {
        organizations: plan.organizations.iter().map(organization).collect(),
        findings: findings(&plan.findings),
        ..plan.clone()
    }
}

fn change(change: &Change) -> Change {
    Change {
        fields: change.fields.iter().map(|each| field(change.kind, each)).collect(),
        set: change.set.iter().map(|(path, value)| (path.clone(), without_secrets(value))).collect(),
        undo: change.undo.iter().map(|(path, value)| (path.clone(), without_secrets(value))).collect(),
        ..change.clone()
    }
}

fn record(record: &Record) -> Record {
    let ownership =
        |before: &Ownership| Ownership { spec: without_secrets(&before.spec), origin: before.origin.clone() };
    Record {
        spec: record.spec.as_ref().map(without_secrets),
        before: record.before.as_ref().map(ownership),
        ..record.clone()
    }
}

fn finding(finding: &Finding) -> Finding {
    let text = |text: &String| secret::mask(text).into_owned();
    Finding { message: text(&finding.message), hint: finding.hint.as_ref().map(text), ..finding.clone() }
}

/// Text that Markdown and HTML take as text.
pub fn markdown(text: &str) -> String {
    line(text).chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A mention would ring somebody's bell.
            '@' => out.push_str("&#64;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_codes_and_turned_text_are_shown_and_not_obeyed() {
        assert_eq!(line("a\u{1b}[31mb\u{202E}c\nd"), "a\\u{1b}[31mb\\u{202e}c\\nd");
        assert_eq!(markdown("<img> @all `x` | y"), "&lt;img&gt; &#64;all \\`x\\` \\| y");
    }

    #[test]
    fn a_long_value_is_cut_and_counted() {
        let shown = value(&Value::text("x".repeat(1_000)));
        assert!(shown.ends_with("… (1002 characters)"), "{shown}");
    }
}
