//! Plans as comments under pull requests: never longer than a forge takes, with the right counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use argus::guard::Guards;
use argus::model::kind::KindId;
use argus::model::kinds::{member, team};
use argus::model::value::Value;
use argus::plan::{Action, Cause, Change, FieldChange, OrganizationPlan, Plan};
use argus::render::markdown;

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
        assert!(page.starts_with("### Plan: 2000 to add, 2000 to change, 1000 to destroy.\n"), "{}", &page[..80]);
        assert!(page.ends_with(&format!("Digest `{}`\n", plan.digest)));
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
        "### Plan: 1 to add, 1 to change, 1 to destroy.\n\n\
         | Organization | + | ~ | - | drift | verdict |\n|---|---:|---:|---:|---:|---|\n| acme | 1 | 1 | 1 | 0 | allowed |\n\n\
         <details><summary>acme</summary>\n\n```diff\n\
         + Team/name-0001\n    displayName: \"new 1\"\n\
         ! Team/name-0002\n    displayName: \"`old` | <b>\" -> \"new 2\"\n\
         - Member/name-0003\n```\n\n</details>\nDigest `{}`\n",
        plan.digest
    );
    assert_eq!(page, expected);
}
