//! Plans as comments under pull requests: never longer than a forge takes, with the right counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use argus::access::{Access, Grant};
use argus::guard::Guards;
use argus::model::code::Code;
use argus::model::finding::Finding;
use argus::model::kind::KindId;
use argus::model::kinds::{member, team};
use argus::model::origin::{Origin, Position};
use argus::model::value::Value;
use argus::plan::{Action, Cause, Change, FieldChange, OrganizationPlan, Plan};
use argus::render::markdown::{self, Beside, Links};

use crate::support::plans::judge;

fn change(number: usize, action: Action) -> Change {
    let kind = if action == Action::Delete { &member::KIND } else { &team::KIND };
    let field = FieldChange {
        path: "displayName".into(),
        before: Value::text("`old` | <b>"),
        after: Value::text(format!("new {number}")),
        applied: None,
        cause: Cause::Change,
        origin: None,
        written_by: None,
        moved_by: None,
    };
    Change {
        kind: KindId::of(kind),
        name: format!("name-{number:04}").into(),
        action,
        cause: Cause::Change,
        extra: false,
        previous_name: None,
        version: Some(1),
        fields: if action == Action::Delete { Vec::new() } else { vec![field] },
        set: BTreeMap::new(),
        undo: BTreeMap::new(),
        origin: None,
        written_by: None,
        moved_by: None,
        reason: None,
    }
}

/// 5,000 changes: 2,000 come, 2,000 change, 1,000 go; in so many organizations.
fn plan(organizations: usize) -> Plan {
    let mut changes: Vec<Vec<Change>> = vec![Vec::new(); organizations];
    for number in 0..5_000 {
        let action = match number % 5 {
            0 | 1 => Action::Create,
            2 | 3 => Action::Update,
            _ => Action::Delete,
        };
        changes[number / 5 % organizations].push(change(number, action));
    }
    let plans = changes.into_iter().enumerate().map(|(number, changes)| {
        let name: Arc<str> = format!("org-{number:04}").into();
        OrganizationPlan { changes, ..OrganizationPlan::unchanged(&name, Vec::new()) }.sealed()
    });
    Plan::new("main", (organizations, 5_000), plans.collect(), Vec::new())
}

#[test]
fn a_comment_on_many_changes_fits_and_counts_what_it_leaves_out() {
    for organizations in [1, 2, 10, 1_000] {
        let plan = plan(organizations);
        let verdict = judge(&plan, &Guards::default(), false);
        let page = markdown::plan(&plan, &verdict.told);
        assert!(page.chars().count() < 65_536, "{} characters", page.chars().count());
        let head = "<!-- argus:plan main -->\n### Plan: 2000 to add, 2000 to change, 1000 to destroy.\n";
        assert!(page.starts_with(head), "{}", &page[..80]);
        let footer = format!("Digest `{}`\n\n<!-- argus:verdict ", plan.digest);
        assert!(page.contains(&footer) && page.ends_with(" -->\n"), "{}", &page[page.len() - 200..]);
        let shown = page.lines().filter(|line| ["+ Team", "! Team", "- Member"].iter().any(|b| line.starts_with(b)));
        let shown = shown.count();
        assert!(shown > 400, "{shown} changes are shown");
        assert!(page.contains(&format!("\n{} changes more,", 5_000 - shown)), "{shown} are shown");
        assert_eq!(page.matches("<details>").count(), page.matches("</details>").count());
        assert_eq!(page.lines().filter(|line| line.starts_with("```")).count() % 2, 0);
        let rows = page.lines().filter(|line| line.starts_with("| org-")).count();
        assert_eq!(rows, organizations.min(100));
        assert_eq!(page.contains("| and 900 organizations more |"), organizations == 1_000);
    }
}

#[test]
fn a_comment_on_few_changes_is_whole() {
    let name: Arc<str> = "acme".into();
    let changes = vec![change(1, Action::Create), change(2, Action::Update), change(3, Action::Delete)];
    let organization = OrganizationPlan { changes, ..OrganizationPlan::unchanged(&name, Vec::new()) }.sealed();
    let plan = Plan::new("main", (1, 3), vec![organization], Vec::new());
    let page = markdown::plan(&plan, &judge(&plan, &Guards::default(), false).told);
    let expected = format!(
        "<!-- argus:plan main -->\n### Plan: 1 to add, 1 to change, 1 to destroy.\n\n\
         | Organization | + | ~ | - | drift | verdict |\n|---|---:|---:|---:|---:|---|\n| acme | 1 | 1 | 1 | 0 | allowed |\n\n\
         <details><summary>acme</summary>\n\n```diff\n\
         + Team/name-0001\n    displayName: \"new 1\"\n\
         ! Team/name-0002\n    displayName: \"`old` | <b>\" -> \"new 2\"\n\
         - Member/name-0003\n```\n\n</details>\nDigest `{}`\n\n<!-- argus:verdict allowed -->\n",
        plan.digest
    );
    assert_eq!(page, expected);
}

/// 5,000 changes and 500 drifted resources with long names, findings and people without end.
fn crowded(organizations: usize, long: usize) -> (Plan, BTreeMap<Arc<str>, Access>) {
    let Plan { organizations: plans, .. } = plan(organizations);
    let mut access = BTreeMap::new();
    let crowd = |(at, each): (usize, &Arc<OrganizationPlan>)| {
        let mut each = OrganizationPlan::clone(each);
        let drifted = (0..500).filter(|number| number % organizations == at).map(|number| {
            let mut drifted = change(number, Action::Update);
            drifted.name = format!("moved-{number:04}").into();
            (drifted.cause, drifted.fields[0].cause) = (Cause::Drift, Cause::Drift);
            drifted
        });
        each.left.extend(drifted);
        for number in 0..300 / organizations.min(300) {
            let message = format!("{number} {} in {}", "x".repeat(long), each.organization);
            each.holds.push(Finding::warning(Code::Protected, message));
        }
        let grant = |number: usize| Grant {
            person: format!("person-{number:03}@acme.example").into(),
            project: None,
            role: "admin".into(),
            team: None,
            permissions: vec!["members:*".into()],
        };
        let gained = (0..200).map(grant).collect();
        access.insert(each.organization.clone(), Access { gained, lost: Vec::new() });
        each.sealed()
    };
    let plans = plans.iter().enumerate().map(crowd).collect();
    (Plan::new("main", (organizations, 5_000), plans, Vec::new()), access)
}

/// The number that stands before a word in the last lines.
fn left_out(page: &str, word: &str) -> usize {
    let Some(line) =
        page.lines().rfind(|line| line.ends_with("more, which a comment cannot hold: see them on a terminal."))
    else {
        return 0;
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|each| each.trim_end_matches('s') == word);
    at.map_or(0, |at| words[..at].iter().rev().find_map(|word| word.parse().ok()).expect("a number"))
}

/// How many lines a section has, and how many more it says that there are.
fn counted(page: &str, title: &str) -> (usize, usize) {
    let section = page.split(&format!("**{title}**\n\n")).nth(1).unwrap_or_default();
    let section = section.split("\n\n").next().unwrap_or_default();
    let more = |line: &str| line.strip_prefix("- and ")?.strip_suffix(" more")?.parse::<usize>().ok();
    let told: usize = section.lines().filter_map(more).sum();
    (section.lines().filter(|line| line.starts_with("- ") && more(line).is_none()).count(), told)
}

#[test]
fn whatever_does_not_fit_is_counted() {
    for (organizations, long) in [(1, 20), (1, 600), (7, 300), (300, 10), (1_000, 2_000)] {
        let (plan, access) = crowded(organizations, long);
        let verdict = judge(&plan, &Guards::default(), false);
        let page = markdown::comment(&plan, &verdict.told, &Beside { access: Some(&access), ..Beside::default() });
        assert!(page.chars().count() < 65_536, "{} characters", page.chars().count());
        let begins =
            |line: &&str| ["+ Team/name-", "! Team/name-", "- Member/name-"].iter().any(|b| line.starts_with(b));
        let changes = page.lines().filter(begins).count();
        let drifted = page.lines().filter(|line| line.starts_with("! Team/moved-")).count();
        assert_eq!(changes + left_out(&page, "change"), 5_000, "{organizations} {long}");
        assert_eq!(drifted + left_out(&page, "drifted"), 500, "{organizations} {long}");
        assert!(page.contains("\nDrift: 0 to be corrected, 500 left as they are.\n"));
        // A section that has any room says how much of it is missing.
        let holds: usize = plan.organizations.iter().map(|each| each.holds.len()).sum();
        let (shown, more) = counted(&page, "Held until somebody approves");
        assert!(shown + more == holds || (shown, more) == (0, 0), "{shown} + {more} of {holds}");
        let (shown, more) = counted(&page, "Access");
        assert!(shown + more == organizations * 200 || (shown, more) == (0, 0), "{shown} + {more}");
        assert_eq!(page.matches("<details>").count(), page.matches("</details>").count());
        assert_eq!(page.lines().filter(|line| line.starts_with("```")).count() % 2, 0);
    }
}

#[test]
fn drift_stands_apart_from_changes_and_is_told_once() {
    let name: Arc<str> = "acme".into();
    let mut moved = change(2, Action::Update);
    (moved.cause, moved.fields[0].cause) = (Cause::Drift, Cause::Drift);
    let changes = vec![change(1, Action::Create), moved];
    let organization = OrganizationPlan { changes, ..OrganizationPlan::unchanged(&name, Vec::new()) }.sealed();
    let plan = Plan::new("main", (1, 3), vec![organization], Vec::new());
    let page = markdown::plan(&plan, &judge(&plan, &Guards::default(), false).told);
    let (before, drift) = page.split_once("**Drift**").expect("a section of its own");
    assert!(before.contains("+ Team/name-0001") && !before.contains("name-0002"), "{page}");
    assert!(drift.contains("! Team/name-0002") && !drift.contains("name-0001"), "{page}");
    assert!(before.contains("Drift: 1 to be corrected, 0 left as they are."), "{page}");
}

#[test]
fn places_and_codes_lead_somewhere_and_names_lead_nowhere_else() {
    let name: Arc<str> = "acme".into();
    let file: Arc<str> = "a b)[x](https://evil.example).yaml".into();
    let mut changed = change(1, Action::Create);
    changed.origin = Some(Origin::new(&file, Position::new(12, 3)));
    let finding = Finding::warning(Code::Protected, "hold on").at(Origin::new(&file, Position::new(4, 0)));
    let organization = OrganizationPlan {
        changes: vec![changed],
        holds: vec![finding],
        ..OrganizationPlan::unchanged(&name, Vec::new())
    };
    let plan = Plan::new("x --> <b>", (1, 3), vec![organization.sealed()], Vec::new());
    let told = judge(&plan, &Guards::default(), false).told;
    let named = |file: &str| format!("config/{file}");
    let files = Some("https://git.example/acme/config/blob/0123abc/");
    let links = Links { files, named: Some(&named), codes: Some("https://git.example/argus/docs/codes") };
    let page = markdown::comment(&plan, &told, &Beside { links, ..Beside::default() });
    let path = "https://git.example/acme/config/blob/0123abc/config/a%20b%29%5Bx%5D%28https%3A//evil.example%29.yaml";
    assert!(page.contains(&format!("]({path}#L12)")) && page.contains(&format!("]({path}#L4)")), "{page}");
    assert!(page.contains("**[ARG2002](https://git.example/argus/docs/codes/ARG2002.md)**"), "{page}");
    let (text, _) = page.split_once("```diff").expect("a diff");
    assert_eq!(text.matches("](https://evil").count(), text.matches("\\](https://evil").count(), "{page}");
    assert!(page.starts_with("<!-- argus:plan x--b -->\n"), "{page}");
}

#[test]
fn a_secret_that_changes_is_told_and_not_shown() {
    let name: Arc<str> = "acme".into();
    let mut changed = change(1, Action::Update);
    changed.fields[0].before = Value::text("argus_sk_0123456789abcdef");
    changed.fields[0].after = Value::text("argus_sk_fedcba9876543210");
    let organization = OrganizationPlan { changes: vec![changed], ..OrganizationPlan::unchanged(&name, Vec::new()) };
    let plan = Plan::new("main", (1, 3), vec![organization.sealed()], Vec::new());
    let page = markdown::plan(&plan, &judge(&plan, &Guards::default(), false).told);
    assert!(page.contains("displayName: changed, and secret\n") && !page.contains("argus_sk"), "{page}");
}
