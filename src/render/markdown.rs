//! A plan for a comment under a pull request, below the size that forges take.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use super::inert::markdown as inert;
use super::text;
use crate::model::finding::Finding;
use crate::plan::{Action, OrganizationPlan, Plan};
use crate::verdict::{Told, tells_of_all};

/// The size that is kept: GitHub takes 65,536 characters.
pub const COMMENT_CHARS_MAX: usize = 65_536;

/// How many organizations, and how many findings of one sort, are listed.
const LINES_MAX: usize = 100;

/// What is kept free for the last lines.
const FOOTER_CHARS: usize = 400;

/// The plan: a summary line, a table by organization, findings, and the changes folded away.
pub fn plan(plan: &Plan, verdict: &Told) -> String {
    let mut page = Page::default();
    page.add(&format!("### {}\n\n", text::summary(&plan.summary())));
    table(&mut page, plan, verdict);
    findings(&mut page, "Denied", verdict.denied.values().flatten());
    held(&mut page, plan, verdict);
    findings(&mut page, "Stopped", verdict.stopped.values().flatten());
    findings(&mut page, "Worth a look", verdict.warned.values().flatten());
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

fn table(page: &mut Page, plan: &Plan, verdict: &Told) {
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
    let line = |organization: &&OrganizationPlan| {
        let of = |actions: &[Action]| organization.changes.iter().filter(|c| actions.contains(&c.action)).count();
        let state = verdict.word(&organization.organization);
        format!(
            "| {} | {} | {} | {} | {} | {state} |\n",
            name(organization),
            of(&[Action::Create]),
            of(&[Action::Update, Action::Adopt]),
            of(&[Action::Delete, Action::Release]),
            organization.drift().count(),
        )
    };
    let lines: Vec<String> = rows.iter().map(line).collect();
    page.list(&lines, |more| format!("| and {} more | | | | | |\n", text::counted(more, "organization")));
    page.add("\n");
}

fn name(organization: &OrganizationPlan) -> String {
    if organization.organization.is_empty() { "*shared*".into() } else { inert(&organization.organization) }
}

fn findings<'a>(page: &mut Page, title: &str, findings: impl Iterator<Item = &'a Finding>) {
    let mut told = BTreeSet::new();
    let lines = findings.map(|finding| (line(finding), tells_of_all(finding)));
    section(page, title, lines.filter(|(line, of_all)| !of_all || told.insert(line.clone())).map(|(line, _)| line));
}

/// What is held, what lifts it, and how to approve.
fn held(page: &mut Page, plan: &Plan, verdict: &Told) {
    let mut told = BTreeSet::new();
    let lines = verdict.held.values().flatten().map(|held| {
        let line = format!("{} — {}\n", line(&held.finding).trim_end(), inert(&text::needs(held)));
        (line, tells_of_all(&held.finding))
    });
    let lines = lines.filter(|(line, of_all)| !of_all || told.insert(line.clone())).map(|(line, _)| line);
    section(page, "Held until somebody approves", lines);
    let holding = plan.organizations.iter().filter(|each| verdict.held.contains_key(&each.organization));
    let command = |each: &Arc<OrganizationPlan>| format!("- {}: `{}`\n", name(each), text::approve(&each.digest));
    let mut commands: Vec<String> = holding.map(command).collect();
    if commands.len() > 1 {
        commands.insert(0, format!("- all of them: `{}`\n", text::approve(&plan.digest)));
    }
    section(page, "To approve", commands.into_iter());
}

fn line(finding: &Finding) -> String {
    let place = finding.origin.as_ref().map(|origin| format!(" ({})", inert(&origin.to_string()))).unwrap_or_default();
    let hint = finding.hint.as_ref().map(|hint| format!(" — {}", inert(hint))).unwrap_or_default();
    format!("- {} **{}**: {}{place}{hint}\n", finding.severity, finding.code, inert(&finding.said()))
}

fn section(page: &mut Page, title: &str, all: impl Iterator<Item = String>) {
    let mut lines: Vec<String> = Vec::new();
    for line in all {
        // What holds several organizations alike is told once.
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    if !lines.is_empty() {
        page.add(&format!("**{title}**\n\n"));
        page.list(&lines, |more| format!("- and {more} more\n"));
        page.add("\n");
    }
}

/// The changes of one organization, folded away; as many of them as still fit.
fn details(page: &mut Page, organization: &OrganizationPlan, part: text::Part) {
    let body = text::organization(organization, part, text::Paint { color: false });
    let lines: Vec<String> = body.lines().map(colored).collect();
    if lines.is_empty() {
        return;
    }
    // A fence longer than any run of backticks within cannot be closed from inside.
    let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    let head = format!("<details><summary>{}</summary>\n\n{fence}diff\n", name(organization));
    let tail = format!("{fence}\n\n</details>\n");
    let begins = |line: &String| line.starts_with(['+', '-', '!']);
    let mut room = page.room().saturating_sub(head.chars().count() + tail.chars().count());
    let fitting = lines.iter().take_while(|line| {
        let chars = line.chars().count();
        let fits = chars <= room;
        room = room.saturating_sub(chars);
        fits
    });
    let mut fitting = fitting.count();
    if fitting < lines.len() {
        // Half a change would be read as a whole one.
        fitting = lines[..fitting].iter().rposition(begins).unwrap_or(0);
    }
    let (shown, left) = lines.split_at(fitting);
    page.changes_left_out += left.iter().filter(|line| begins(line)).count();
    if shown.is_empty() {
        page.cut = true;
    } else {
        page.add(&format!("{head}{}{tail}", shown.concat()));
    }
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
    cut: bool,
    changes_left_out: usize,
}

impl Page {
    /// How many characters still fit.
    fn room(&self) -> usize {
        if self.cut { 0 } else { (COMMENT_CHARS_MAX - FOOTER_CHARS).saturating_sub(self.chars) }
    }

    fn add(&mut self, block: &str) {
        let chars = block.chars().count();
        if chars > self.room() {
            self.cut = true;
        } else {
            self.chars += chars;
            self.text.push_str(block);
        }
    }

    /// Adds some lines, and says how many more there are.
    fn list(&mut self, lines: &[String], more: impl Fn(usize) -> String) {
        for line in lines.iter().take(LINES_MAX) {
            self.add(line);
        }
        if lines.len() > LINES_MAX {
            self.add(&more(lines.len() - LINES_MAX));
        }
    }

    fn finish(mut self, footer: &str) -> String {
        if self.changes_left_out > 0 {
            let left_out = text::counted(self.changes_left_out, "change");
            let _ = write!(self.text, "\n{left_out} more, which a comment cannot hold: see them on a terminal.\n\n");
        } else if self.cut {
            self.text.push_str("\nThis is not all, but a comment cannot hold more: see it on a terminal.\n\n");
        }
        self.text.push_str(footer);
        self.text
    }
}
