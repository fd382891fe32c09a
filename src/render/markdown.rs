//! A plan for a comment under a pull request, below the size that forges take.

use std::fmt::Write as _;

use super::inert::markdown as inert;
use super::text;
use crate::guard::Verdict;
use crate::model::finding::Finding;
use crate::plan::{Action, OrganizationPlan, Plan};

/// The size that is kept: GitHub takes 65,536 characters.
pub const COMMENT_CHARS_MAX: usize = 65_536;

/// What is kept free for the last lines.
const FOOTER_CHARS: usize = 400;

/// The plan: a summary line, a table by organization, findings, and the changes folded away.
pub fn plan(plan: &Plan, verdict: &Verdict) -> String {
    let mut page = Page::default();
    page.add(&format!("### {}\n\n", text::summary(&plan.summary())));
    table(&mut page, plan, verdict);
    let holds = verdict.held.values().flatten();
    findings(&mut page, "Held until somebody approves", holds);
    let errors: Vec<&Finding> = plan.all_findings().filter(|finding| finding.is_error()).collect();
    findings(&mut page, "Errors", errors.into_iter());
    for organization in &plan.organizations {
        details(&mut page, organization, text::Part::All);
    }
    page.finish(&format!("Digest `{}`\n", plan.digest))
}

/// The drift report: who changed what.
pub fn drift(plan: &Plan) -> String {
    let mut page = Page::default();
    let drifted: usize = plan.organizations.iter().map(|organization| organization.drift().count()).sum();
    page.add(&match drifted {
        0 => "### No drift.\n\n".to_owned(),
        1 => "### 1 resource has drifted.\n\n".to_owned(),
        count => format!("### {count} resources have drifted.\n\n"),
    });
    for organization in &plan.organizations {
        details(&mut page, organization, text::Part::Drift);
    }
    page.finish("")
}

/// Findings as a list, for `validate`.
pub fn report(all: &[Finding], files: usize) -> String {
    let mut page = Page::default();
    let what = if all.is_empty() { "Nothing wrong".into() } else { count(all) };
    page.add(&format!("### {what} in {}\n\n", text::counted(files, "file")));
    findings(&mut page, "Findings", all.iter());
    page.finish("")
}

fn count(all: &[Finding]) -> String {
    let errors = all.iter().filter(|finding| finding.is_error()).count();
    let others = all.len() - errors;
    match (errors, others) {
        (_, 0) => text::counted(errors, "error"),
        (0, _) => text::counted(others, "finding"),
        _ => format!("{}, {}", text::counted(errors, "error"), text::counted(others, "other finding")),
    }
}

fn table(page: &mut Page, plan: &Plan, verdict: &Verdict) {
    let rows: Vec<&OrganizationPlan> = plan
        .organizations
        .iter()
        .map(|organization| &**organization)
        .filter(|o| !o.is_empty() || o.is_blocked())
        .collect();
    if rows.is_empty() {
        return;
    }
    page.add("| Organization | + | ~ | - | drift | verdict |\n|---|---:|---:|---:|---:|---|\n");
    for organization in rows {
        let of = |actions: &[Action]| organization.changes.iter().filter(|c| actions.contains(&c.action)).count();
        let state = if verdict.held.contains_key(&organization.organization) {
            "held"
        } else if organization.is_blocked() {
            "blocked"
        } else {
            "allowed"
        };
        page.add(&format!(
            "| {} | {} | {} | {} | {} | {state} |\n",
            name(organization),
            of(&[Action::Create]),
            of(&[Action::Update, Action::Adopt]),
            of(&[Action::Delete, Action::Release]),
            organization.drift().count(),
        ));
    }
    page.add("\n");
}

fn name(organization: &OrganizationPlan) -> String {
    if organization.organization.is_empty() { "*shared*".into() } else { inert(&organization.organization) }
}

fn findings<'a>(page: &mut Page, title: &str, findings: impl Iterator<Item = &'a Finding>) {
    let mut first = true;
    for finding in findings {
        if std::mem::take(&mut first) {
            page.add(&format!("**{title}**\n\n"));
        }
        let place =
            finding.origin.as_ref().map(|origin| format!(" ({})", inert(&origin.to_string()))).unwrap_or_default();
        let hint = finding.hint.as_ref().map(|hint| format!(" — {}", inert(hint))).unwrap_or_default();
        page.add(&format!("- {} **{}**: {}{place}{hint}\n", finding.severity, finding.code, inert(&finding.message)));
    }
    if !first {
        page.add("\n");
    }
}

fn details(page: &mut Page, organization: &OrganizationPlan, part: text::Part) {
    let body = text::organization(organization, part, text::Paint { color: false });
    if body.is_empty() {
        return;
    }
    let body: String = body.lines().map(colored).collect();
    // A fence longer than any run of backticks within cannot be closed from inside.
    let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    let mut block = String::new();
    let _ = write!(
        block,
        "<details><summary>{}</summary>\n\n{fence}diff\n{body}{fence}\n\n</details>\n",
        name(organization)
    );
    page.add(&block);
}

/// A line of the text as a line of a diff: forges colour by the first sign.
fn colored(line: &str) -> String {
    let line = line.strip_prefix("  ").unwrap_or(line);
    match line.strip_prefix("~ ") {
        Some(changed) => format!("! {changed}\n"),
        None => format!("{line}\n"),
    }
}

/// Text that stops growing at the size of a comment and counts what it leaves out.
#[derive(Default)]
struct Page {
    text: String,
    chars: usize,
    left_out: usize,
}

impl Page {
    fn add(&mut self, block: &str) {
        let chars = block.chars().count();
        if self.left_out > 0 || self.chars + chars > COMMENT_CHARS_MAX - FOOTER_CHARS {
            self.left_out += 1;
        } else {
            self.chars += chars;
            self.text.push_str(block);
        }
    }

    fn finish(mut self, footer: &str) -> String {
        if self.left_out > 0 {
            let _ = write!(
                self.text,
                "\n{} more parts do not fit into a comment; `argus plan` on a terminal shows them all.\n",
                self.left_out
            );
        }
        self.text.push_str(footer);
        self.text
    }
}
