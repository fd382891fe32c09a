//! A plan for a comment under a pull request, below the size that forges take.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::inert::markdown as inert;
use super::text;
use crate::access::{Access, Grant};
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::origin::Origin;
use crate::plan::{Action, Cause, Change, OrganizationPlan, Plan};
use crate::verdict::{Told, tells_of_all};

/// The size that is kept: GitHub takes 65,536 characters.
pub const COMMENT_CHARS_MAX: usize = 65_536;

/// How many organizations, and how many findings of one sort, are listed.
const LINES_MAX: usize = 100;

/// What is kept free for the last lines.
const FOOTER_CHARS: usize = 400;

/// How many places of one organization are linked.
const PLACES_MAX: usize = 30;

/// What stands beside a plan in a comment.
#[derive(Clone, Copy, Default)]
pub struct Beside<'a> {
    /// What people gain and lose, by organization.
    pub access: Option<&'a BTreeMap<OrganizationName, Access>>,
    /// What is said of the manifests.
    pub said: &'a [Finding],
    /// Where texts lead.
    pub links: Links<'a>,
}

/// Where texts lead.
#[derive(Clone, Copy, Default)]
pub struct Links<'a> {
    /// The address of the files of the commit: `https://git.example/acme/config/blob/0123abc`.
    pub files: Option<&'a str>,
    /// What a file of the source is called there.
    pub named: Option<&'a dyn Fn(&str) -> String>,
    /// The address of the pages of codes.
    pub codes: Option<&'a str>,
}

impl Links<'_> {
    fn place(&self, origin: &Origin) -> String {
        let shown = inert(&origin.to_string());
        let Some(base) = self.files else { return shown };
        let named = self.named.map_or_else(|| origin.file.to_string(), |named| named(&origin.file));
        let line = if origin.line > 0 { format!("#L{}", origin.line) } else { String::new() };
        format!("[{shown}]({}/{}{line})", base.trim_end_matches('/'), encoded(&named))
    }

    fn code(&self, finding: &Finding) -> String {
        match self.codes {
            Some(base) => format!("**[{0}]({1}/{0}.md)**", finding.code, base.trim_end_matches('/')),
            None => format!("**{}**", finding.code),
        }
    }
}

/// A path within an address: whatever could end it, or stand for something else in it, is written as a number.
fn encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => out.push(char::from(byte)),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
        out
    })
}

/// The line by which a job finds its own comment again. Nobody sees it.
fn marker(what: &str, source: &str) -> String {
    let kept = source.chars().filter(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_')).take(63);
    format!("<!-- argus:{what} {} -->\n", kept.collect::<String>())
}

/// The plan with nothing beside it.
pub fn plan(plan: &Plan, verdict: &Told) -> String {
    comment(plan, verdict, &Beside::default())
}

/// The plan: a summary line, a table by organization, findings, who gains and loses what, and folded away the changes,
/// and the drift apart from them.
pub fn comment(plan: &Plan, verdict: &Told, beside: &Beside<'_>) -> String {
    let links = &beside.links;
    let mut page = Page::default();
    page.add(&marker("plan", &plan.source));
    let errors: Vec<&Finding> = beside.said.iter().chain(plan.all_findings()).filter(|each| each.is_error()).collect();
    let summary = text::summary(&plan.summary());
    page.add(&match errors.is_empty() {
        true => format!("### {summary}\n\n"),
        false => format!("### Part of this cannot be planned\n\n{summary}\n\n"),
    });
    drift_line(&mut page, plan);
    table(&mut page, plan, verdict);
    findings(&mut page, "Denied", verdict.denied.values().flatten(), links);
    held(&mut page, plan, verdict, links);
    findings(&mut page, "Stopped", verdict.stopped.values().flatten(), links);
    findings(&mut page, "Worth a look", verdict.warned.values().flatten(), links);
    findings(&mut page, "Errors", errors.into_iter(), links);
    let notes = beside.said.iter().chain(&plan.findings).filter(|finding| !finding.is_error());
    findings(&mut page, "Notes", notes, links);
    access(&mut page, plan, beside);
    for organization in &plan.organizations {
        details(&mut page, organization, text::Part::Changes, links);
    }
    let mut drift = false;
    for organization in plan.organizations.iter().filter(|each| has_rest(each)) {
        if !std::mem::replace(&mut drift, true) {
            page.add("\n**Drift**: what has been changed behind the manifests' back\n\n");
        }
        details(&mut page, organization, text::Part::Rest, links);
    }
    page.finish(&footer(plan, verdict))
}

/// The digest, the commit, and for programs the verdict: the last line of a comment comes from here and from nowhere else.
fn footer(plan: &Plan, verdict: &Told) -> String {
    let of = plan.revision.as_ref().map(|of| format!(" of commit `{}`", of.commit.id)).unwrap_or_default();
    let into = plan.beyond.as_ref().map(|base| format!(", merged into `{}`", base.commit.id)).unwrap_or_default();
    // What cannot be read is left out of the plan, and its error is all that is said of it.
    let is_whole = !plan.all_findings().any(Finding::is_error);
    let word = if is_whole { verdict.gravest() } else { "blocked" };
    format!("Digest `{}`{of}{into}\n\n<!-- argus:verdict {word} -->\n", plan.digest)
}

/// What is commented where there is no plan.
pub fn failed(source: &str, why: &[Finding], links: &Links<'_>) -> String {
    let mut page = Page::default();
    page.add(&marker("plan", source));
    page.add("### This cannot be planned\n\n");
    findings(&mut page, "Errors", why.iter(), links);
    page.finish("")
}

/// Whether there is drift that stands apart from the changes.
fn has_rest(organization: &OrganizationPlan) -> bool {
    organization
        .drift()
        .any(|change| change.cause == Cause::Drift || change.fields.iter().any(|f| f.cause == Cause::Drift))
}

fn drift_line(page: &mut Page, plan: &Plan) {
    let corrected = plan.organizations.iter().flat_map(|each| &each.changes).filter(|change| change.drifted()).count();
    let left: usize = plan.organizations.iter().map(|each| each.left.len()).sum();
    if corrected + left > 0 {
        page.add(&format!("Drift: {corrected} to be corrected, {left} left as they are.\n\n"));
    }
}

/// Who may do what from then on, and who no longer; by organization and person.
fn access(page: &mut Page, plan: &Plan, beside: &Beside<'_>) {
    let Some(access) = beside.access else { return };
    let mut lines = Vec::new();
    for organization in plan.organizations.iter().filter(|each| !each.is_empty()) {
        let Some(Access { gained, lost }) = access.get(&organization.organization) else { continue };
        let mut people: BTreeMap<&str, [Vec<String>; 2]> = BTreeMap::new();
        for (at, grants) in [gained, lost].into_iter().enumerate() {
            for grant in grants {
                people.entry(&grant.person).or_default()[at].push(told(grant));
            }
        }
        for (person, [gains, loses]) in people {
            let part = |verb: &str, what: &[String]| match what {
                [] => None,
                what => Some(format!("{verb} {}", what.join("; "))),
            };
            let parts: Vec<String> = [part("gains", &gains), part("loses", &loses)].into_iter().flatten().collect();
            lines.push(format!("- {}, {}: {}\n", name(organization), inert(person), parts.join(" — ")));
        }
    }
    section(page, "Access", lines.into_iter());
}

/// `members:*, keys:read in search (role admin through team core)`
fn told(grant: &Grant) -> String {
    let Grant { person: _, project, role, team, permissions } = grant;
    let permissions: Vec<String> = permissions.iter().map(|permission| inert(permission)).collect();
    let place = project.as_ref().map(|project| format!(" in {}", inert(project))).unwrap_or_default();
    let team = team.as_ref().map(|team| format!(" through team {}", inert(team))).unwrap_or_default();
    format!("{}{place} (role {}{team})", permissions.join(", "), inert(role))
}

/// The drift report: who changed what.
pub fn drift(plan: &Plan) -> String {
    let mut page = Page::default();
    page.add(&marker("drift", &plan.source));
    let drifted: usize = plan.organizations.iter().map(|organization| organization.drift().count()).sum();
    page.add(&match drifted {
        0 => "### No drift.\n\n".to_owned(),
        1 => "### 1 resource has drifted.\n\n".to_owned(),
        count => format!("### {count} resources have drifted.\n\n"),
    });
    for organization in &plan.organizations {
        details(&mut page, organization, text::Part::Drift, &Links::default());
    }
    page.finish("")
}

/// Findings as a list, for `validate`.
pub fn report(all: &[Finding], files: usize) -> String {
    let mut page = Page::default();
    let what = if all.is_empty() { "Nothing wrong".into() } else { count(all) };
    page.add(&format!("### {what} in {}\n\n", text::counted(files, "file")));
    findings(&mut page, "Findings", all.iter(), &Links::default());
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

fn findings<'a>(page: &mut Page, title: &str, findings: impl Iterator<Item = &'a Finding>, links: &Links<'_>) {
    let mut told = BTreeSet::new();
    let lines = findings.map(|finding| (line(finding, links), tells_of_all(finding)));
    section(page, title, lines.filter(|(line, of_all)| !of_all || told.insert(line.clone())).map(|(line, _)| line));
}

/// What is held, what lifts it, and how to approve.
fn held(page: &mut Page, plan: &Plan, verdict: &Told, links: &Links<'_>) {
    let mut told = BTreeSet::new();
    let lines = verdict.held.values().flatten().map(|held| {
        let line = format!("{} — {}\n", line(&held.finding, links).trim_end(), inert(&text::needs(held)));
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

fn line(finding: &Finding, links: &Links<'_>) -> String {
    let place = finding.origin.as_ref().map(|origin| format!(" ({})", links.place(origin))).unwrap_or_default();
    let hint = finding.hint.as_ref().map(|hint| format!(" — {}", inert(hint))).unwrap_or_default();
    let code = links.code(finding);
    format!("- {} {code}: {}{place}{hint}\n", finding.severity, inert(&finding.said()))
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
fn details(page: &mut Page, organization: &OrganizationPlan, part: text::Part, links: &Links<'_>) {
    let body = text::organization(organization, part, text::Paint { color: false });
    let lines: Vec<String> = body.lines().map(colored).collect();
    if lines.is_empty() {
        return;
    }
    // A fence longer than any run of backticks within cannot be closed from inside.
    let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    let head = format!("<details><summary>{}</summary>\n\n{fence}diff\n", name(organization));
    let places = if part == text::Part::Changes { places(organization, links) } else { String::new() };
    let tail = format!("{fence}\n\n{places}</details>\n");
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
    let left_out = left.iter().filter(|line| begins(line)).count();
    match part {
        text::Part::All | text::Part::Changes => page.changes_left_out += left_out,
        text::Part::Drift | text::Part::Rest => page.drift_left_out += left_out,
    }
    if shown.is_empty() {
        page.cut = true;
    } else {
        page.add(&format!("{head}{}{tail}", shown.concat()));
    }
}

/// Where the changes are written, as far as something leads there.
fn places(organization: &OrganizationPlan, links: &Links<'_>) -> String {
    if links.files.is_none() {
        return String::new();
    }
    let place = |change: &Change| {
        let origin = change.origin.as_ref().filter(|_| !matches!(change.action, Action::Delete | Action::Release))?;
        Some(format!("{}/{} {}", change.kind, inert(&change.name), links.place(origin)))
    };
    let written = organization.changes.iter().filter(|change| change.cause != Cause::Drift);
    let places: Vec<String> = written.filter_map(place).collect();
    let more = match places.len().saturating_sub(PLACES_MAX) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    match places.is_empty() {
        true => String::new(),
        false => format!("Written at: {}{more}\n\n", places[..places.len().min(PLACES_MAX)].join(", ")),
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
    drift_left_out: usize,
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

    /// Adds some lines, and says how many more there are, be it that they are too many or too long.
    fn list(&mut self, lines: &[String], more: impl Fn(usize) -> String) {
        let mut room = self.room().saturating_sub(more(lines.len()).chars().count());
        let fits = |line: &&String| {
            let chars = line.chars().count();
            let fits = chars <= room;
            room = room.saturating_sub(chars);
            fits
        };
        let shown = lines.iter().take(LINES_MAX).take_while(fits).count();
        lines[..shown].iter().for_each(|line| self.add(line));
        if lines.len() > shown {
            self.add(&more(lines.len() - shown));
        }
    }

    fn finish(mut self, footer: &str) -> String {
        let counts = [(self.changes_left_out, "change"), (self.drift_left_out, "drifted resource")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| text::counted(count, word));
        let left_out: Vec<String> = counts.collect();
        if !left_out.is_empty() {
            let left_out = left_out.join(" and ");
            let _ = write!(self.text, "\n{left_out} more, which a comment cannot hold: see them on a terminal.\n\n");
        } else if self.cut {
            self.text.push_str("\nThis is not all, but a comment cannot hold more: see it on a terminal.\n\n");
        }
        self.text.push_str(footer);
        self.text
    }
}
