//! A plan for people at a terminal.

mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::inert;
use crate::approval::Need;
use crate::model::finding::{Finding, Severity};
use crate::model::id::OrganizationName;
use crate::plan::{Action, Attribution, Cause, Change, FieldChange, OrganizationPlan, Plan, Summary};
use crate::verdict::{Held, Told, tells_of_all};

/// How many digits of a digest are shown: enough to tell plans apart.
const DIGEST_DIGITS: usize = 12;

/// How text is painted.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Whether to use colour.
    pub color: bool,
}

impl Paint {
    /// Text in the colour of this code.
    pub fn wrap(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn symbol(self, change: &Change) -> String {
        let (code, symbol) = match change.action {
            Action::Create => ("32", "+"),
            Action::Update => ("33", "~"),
            Action::Adopt => ("36", "~"),
            Action::Release => ("36", "-"),
            Action::Delete => ("31", "-"),
        };
        self.wrap(code, symbol)
    }

    fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }
}

/// Which part of a plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything.
    All,
    /// Only what the manifests change, and what is said of it.
    Changes,
    /// Only drift, with what has moved on both sides.
    Drift,
    /// The drift that [`Part::Changes`] leaves.
    Rest,
}

/// `1 organization`, `2 organizations`.
pub fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// The plan, its summary line last.
pub fn plan(plan: &Plan, verdict: &Told, part: Part, paint: Paint) -> String {
    let mut out = String::new();
    // What holds several organizations alike is told once.
    let mut told = BTreeSet::new();
    for each in &plan.organizations {
        let mut body = organization(each, part, paint);
        if part == Part::All {
            for (word, finding, held) in said(verdict, &each.organization) {
                if !tells_of_all(finding) || told.insert(&finding.message) {
                    note(&mut body, word, finding, paint);
                    if let Some(held) = held {
                        let _ = writeln!(body, "      {}", needs(held));
                    }
                }
            }
            if verdict.held.contains_key(&each.organization) {
                let _ = writeln!(body, "      approve: {}", approve(&each.digest));
            }
        }
        if !body.is_empty() {
            let _ = write!(out, "{}\n{body}\n", paint.bold(&heading(each)));
        }
    }
    match part {
        Part::All | Part::Changes => {
            for finding in &plan.findings {
                note(&mut out, &finding.severity.to_string(), finding, paint);
            }
            let _ = writeln!(out, "{}", paint.bold(&summary(&plan.summary())));
            let left: usize = plan.organizations.iter().map(|organization| organization.left.len()).sum();
            if left > 0 {
                let _ = writeln!(out, "Left as they are: {}.", counted(left, "drifted resource"));
            }
            let counts =
                [("Held", verdict.held.len()), ("Denied", verdict.denied.len()), ("Stopped", verdict.stopped.len())];
            for (word, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                let _ = writeln!(out, "{word}: {}, see above.", counted(count, "organization"));
            }
            if verdict.held.len() > 1 {
                let _ = writeln!(out, "All that is held is approved at once by: {}", approve(&plan.digest));
            }
        }
        Part::Drift | Part::Rest => {
            let drifted: usize = plan.organizations.iter().map(|organization| organization.drift().count()).sum();
            let line = match drifted {
                0 => "No drift.".to_owned(),
                1 => "1 resource has drifted.".to_owned(),
                many => format!("{many} resources have drifted."),
            };
            let _ = writeln!(out, "{}", paint.bold(&line));
        }
    }
    out
}

/// Everything that a verdict says of one organization, each with the word for it, and of holds what lifts them.
fn said<'a>(told: &'a Told, organization: &str) -> impl Iterator<Item = (&'static str, &'a Finding, Option<&'a Held>)> {
    let of = |map: &'a BTreeMap<OrganizationName, Vec<Finding>>, word: &'static str| {
        map.get(organization).into_iter().flatten().map(move |finding| (word, finding, None))
    };
    let holds = told.held.get(organization).into_iter().flatten();
    let holds = holds.map(|held| ("held", &held.finding, Some(held)));
    let warned = told.warned.get(organization).into_iter().flatten();
    let warned = warned.map(|f| (if f.severity == Severity::Note { "note" } else { "warning" }, f, None));
    of(&told.denied, "denied").chain(of(&told.stopped, "stopped")).chain(holds).chain(warned)
}

/// `Plan: 1 to add, 2 to change, 0 to destroy.`, or `No changes.`
pub fn summary(summary: &Summary) -> String {
    if *summary == Summary::default() {
        return "No changes.".into();
    }
    let release = match summary.release {
        0 => String::new(),
        count => format!(", {count} to release"),
    };
    format!("Plan: {} to add, {} to change, {} to destroy{release}.", summary.add, summary.change, summary.destroy)
}

/// What lifts a hold: `2 people of security or finance`.
pub fn need(need: &Need) -> String {
    let people = match need.people() {
        1 => "1 person".to_owned(),
        many => format!("{many} people"),
    };
    let groups: Vec<String> = need.groups.iter().map(|group| inert::line(group)).collect();
    match groups.split_last() {
        None => people,
        Some((last, [])) => format!("{people} of {last}"),
        Some((last, others)) => format!("{people} of {} or {last}", others.join(", ")),
    }
}

/// What lifts a hold and who agrees by now.
pub fn needs(held: &Held) -> String {
    let agreed = match held.agreed.len() {
        0 => "nobody has agreed yet".to_owned(),
        1 => format!("{} agrees", names(held.agreed.iter())),
        _ => format!("{} agree", names(held.agreed.iter())),
    };
    format!("needs {}; {agreed}", need(&held.need))
}

/// `grace, heidi and ivan`
pub fn names<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<String> = names.map(|name| inert::line(name.as_ref())).collect();
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The beginning of a digest, as people copy it.
pub fn short(digest: &str) -> &str {
    digest.get(..DIGEST_DIGITS).unwrap_or(digest)
}

/// The command that approves the plan of this digest.
pub fn approve(digest: &str) -> String {
    format!("argus approve {}", short(digest))
}

/// What an apply did, in a line.
pub fn outcome(summary: &Summary, applied: usize, refused: usize) -> String {
    let released = if summary.release > 0 { format!(", {} released", summary.release) } else { String::new() };
    let mut line = format!(
        "Applied: {} added, {} changed, {} destroyed{released} in {}.\n",
        summary.add,
        summary.change,
        summary.destroy,
        counted(applied, "organization")
    );
    if refused > 0 {
        let each = if refused == 1 { "" } else { "each " };
        let _ = writeln!(line, "Not applied: {}, {each}left as it was.", counted(refused, "organization"));
    }
    line
}

fn heading(plan: &OrganizationPlan) -> String {
    match &*plan.organization {
        "" => "shared by all organizations".into(),
        name => format!("organization {}", inert::line(name)),
    }
}

/// What happens to one organization, without a heading.
pub fn organization(plan: &OrganizationPlan, part: Part, paint: Paint) -> String {
    let mut out = String::new();
    let tells_changes = matches!(part, Part::All | Part::Changes);
    if tells_changes {
        for change in &plan.changes {
            // What drift alone brought about stands in its own part.
            let shown: Vec<&FieldChange> = change.fields.iter().filter(|field| field.cause != Cause::Drift).collect();
            if change.cause != Cause::Drift {
                describe(&mut out, change, &shown, paint);
            }
        }
    }
    if part != Part::Changes {
        let corrected = plan.changes.iter().filter(|change| change.drifted());
        drifted(&mut out, "drift, to be corrected", corrected, part, paint);
        drifted(&mut out, "drift, left as it is", plan.left.iter(), part, paint);
    }
    if tells_changes {
        for finding in &plan.findings {
            note(&mut out, &finding.severity.to_string(), finding, paint);
        }
    }
    out
}

fn drifted<'a>(out: &mut String, title: &str, changes: impl Iterator<Item = &'a Change>, part: Part, paint: Paint) {
    let mut first = true;
    for change in changes {
        let of_drift = |field: &&FieldChange| field.cause != Cause::Change;
        let conflict_shown = |field: &&FieldChange| part == Part::Drift || field.cause == Cause::Drift;
        let fields: Vec<&FieldChange> = change.fields.iter().filter(of_drift).filter(conflict_shown).collect();
        if fields.is_empty() && change.cause != Cause::Drift {
            continue;
        }
        if std::mem::take(&mut first) {
            let _ = writeln!(out, "  {}", paint.wrap("35", &format!("{title}:")));
        }
        describe(out, change, &fields, paint);
    }
}

fn describe(out: &mut String, change: &Change, fields: &[&FieldChange], paint: Paint) {
    let mut line = format!("  {} {}/{}", paint.symbol(change), change.kind, inert::line(&change.name));
    if let Some(previous) = &change.previous_name {
        let _ = write!(line, " (renamed from {})", inert::line(previous));
    }
    match change.action {
        Action::Adopt => line.push_str(" (adopt)"),
        Action::Release => line.push_str(" (release: the row stays)"),
        _ if change.extra => line.push_str(" (extra)"),
        _ => {}
    }
    if let Some(origin) = &change.origin {
        let _ = write!(line, "  {}", paint.dim(&inert::line(&origin.to_string())));
    }
    if let Some(by) = &change.written_by {
        let verb = if matches!(change.action, Action::Delete | Action::Release) { "removed in " } else { "" };
        let _ = write!(line, "  {}", paint.dim(&inert::line(&format!("({verb}{by})"))));
    }
    let _ = writeln!(out, "{line}");
    if let Some(reason) = &change.reason {
        let _ = writeln!(out, "      {}", paint.dim(&inert::line(reason)));
    }
    if let Some(by) = &change.moved_by {
        let verb = if change.action == Action::Create { "deleted" } else { "last written" };
        let _ = writeln!(out, "      {}", paint.dim(&format!("{verb} by {}", attribution(by))));
    }
    values::write(out, change, fields, paint);
}

/// `mallory via psql at 2026-01-01T00:00:00Z`
pub fn attribution(by: &Attribution) -> String {
    format!("{} via {} at {}", inert::line(&by.actor), inert::line(&by.via), inert::line(&by.at))
}

fn note(out: &mut String, label: &str, finding: &Finding, paint: Paint) {
    let code = match label {
        "error" | "denied" => "31",
        "held" | "stopped" | "warning" => "33",
        _ => "2",
    };
    let place = finding.origin.as_ref().map(|origin| format!("  {}", inert::line(&origin.to_string())));
    let place = paint.dim(&place.unwrap_or_default());
    let label = paint.wrap(code, &format!("{label}[{}]", finding.code));
    let _ = writeln!(out, "  {label} {}{place}", inert::line(&finding.said()));
    if let Some(hint) = &finding.hint {
        let _ = writeln!(out, "      {}", paint.dim(&format!("hint: {}", inert::line(hint))));
    }
}
