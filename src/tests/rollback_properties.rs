//! Random worlds that are applied and rolled back: everything is as it was, however it came about.

use std::collections::BTreeMap;
use std::path::Path;

use argus::approval::Need;
use argus::engine::hearing::{Bench, Policies};
use argus::engine::rollback::{self, Asked, Planned, RollbackError};
use argus::engine::{self, Applying, Heard, Pass, Targets};
use argus::guard::Guards;
use argus::identity::Approvers;
use argus::model::state::{Applied, Live};
use argus::plan::{Action, OrganizationPlan, Plan};
use argus::rollback::undo::Undo;
use argus::rollback::{Ground, Inverse, invert};
use argus::source::directory;
use argus::store::Store;
use argus::store::run::{RollsBack, RunId};
use argus::validate;
use argus::verdict::Terms;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::PgConnection;

use crate::diff_properties::{ORGANIZATION, SOURCE, Worlds, carried_out, plan, worlds};
use crate::support::plans::judge;
use crate::support::postgres::{Database, one, run, scratch};

/// The same worlds after a plan, with what was written at this version.
fn after(worlds: &Worlds, plan: &OrganizationPlan, version: i64) -> Worlds {
    let mut after = carried_out(worlds, plan);
    for change in &plan.changes {
        let written = match change.action {
            Action::Create => true,
            Action::Update | Action::Adopt => !change.set.is_empty(),
            Action::Release | Action::Delete => false,
        };
        if let Some(row) = after.live.rows.get_mut(&(change.kind, change.name.clone())).filter(|_| written) {
            row.version = version;
        }
    }
    after
}

fn inverse(worlds: &Worlds, undo: &Undo, version: i64) -> Inverse {
    invert(&Ground {
        organization: &ORGANIZATION.into(),
        source: SOURCE,
        undo,
        version,
        since: &[],
        live: &worlds.live,
        applied: &worlds.applied,
        now: chrono::DateTime::UNIX_EPOCH,
        targeted: &|_| true,
    })
}

/// Rows and records as text, without versions.
fn shown(live: &Live, applied: &Applied) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let id = |(kind, name): &(argus::model::kind::KindId, std::sync::Arc<str>)| format!("{kind}/{name}");
    let rows = live.rows.iter().map(|(local, row)| (id(local), row.spec.to_json(local.0.get()).to_string()));
    let record = |row: &argus::model::state::AppliedRow, kind: argus::model::kind::KindId| {
        format!("{} {} {}", row.source, row.origin, row.spec.to_json(kind.get()))
    };
    let records = applied.rows.iter().map(|(local, row)| (id(local), record(row, local.0)));
    (rows.collect(), records.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_global_rejects: 60_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_undoes_a_plan_brings_back_rows_and_records_and_can_be_undone(before in worlds()) {
        let plan = plan(&before, true);
        prop_assume!(!plan.is_blocked());
        let Some(undo) = Undo::of(&plan) else { return Ok(()) };
        // It is kept as JSON.
        let kept = serde_json::to_string(&undo).expect("JSON");
        let undo: Undo = serde_json::from_str(&kept).expect("the same");
        let later = after(&before, &plan, 8);
        let back = inverse(&later, &undo, 8);
        // These worlds name what is not there; nothing else is in the way.
        let names = |inverse: &Inverse| inverse.obstacles.iter()
            .all(|obstacle| obstacle.what.starts_with("names ") || obstacle.what.starts_with("would be left"));
        prop_assert!(names(&back), "{:#?}", back.obstacles);
        let earlier = after(&later, &back.plan, 9);
        prop_assert_eq!(shown(&earlier.live, &earlier.applied), shown(&before.live, &before.applied));
        let undo = Undo::of(&back.plan).expect("it has done something");
        let forth = inverse(&earlier, &undo, 9);
        prop_assert!(names(&forth), "{:#?}", forth.obstacles);
        let again = after(&earlier, &forth.plan, 10);
        prop_assert_eq!(shown(&again.live, &again.applied), shown(&later.live, &later.applied));
    }

    #[test]
    fn a_row_that_somebody_has_written_since_is_always_found(before in worlds(), at in any::<prop::sample::Index>()) {
        let plan = plan(&before, true);
        prop_assume!(!plan.is_blocked());
        let Some(undo) = Undo::of(&plan) else { return Ok(()) };
        let mut later = after(&before, &plan, 8);
        let touched: Vec<_> = plan.changes.iter()
            .map(|change| (change.kind, change.name.clone()))
            .filter(|local| later.live.rows.contains_key(local)).collect();
        prop_assume!(!touched.is_empty());
        let moved = touched[at.index(touched.len())].clone();
        later.live.rows.get_mut(&moved).expect("a row").version = 9;
        let back = inverse(&later, &undo, 8);
        let found = back.obstacles.iter().any(|obstacle| obstacle.row == moved && obstacle.what == "was written since the run");
        prop_assert!(found, "{:?} {:#?}", moved, back.obstacles);
    }
}

/// Numbers that decide one after the other what a world looks like; where they are used up, all is as simple as can be.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn pick(&mut self, of: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % of
    }

    fn yes(&mut self) -> bool {
        self.pick(2) == 1
    }

    fn some<'s>(&mut self, of: &[&'s str]) -> Vec<&'s str> {
        of.iter().filter(|_| self.yes()).copied().collect()
    }
}

/// The names that a kind may use: there, not there, or with a name of its own after a rename.
fn names(choices: &mut Choices<'_>, base: &[&'static str], later: bool) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for name in base {
        match choices.pick(4) {
            0 => {}
            3 if later => names.push((format!("{name}-new"), format!(", previousName: {name}"))),
            _ => names.push(((*name).to_owned(), String::new())),
        }
    }
    names
}

fn list<T: AsRef<str>>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(|item| format!("\"{}\"", item.as_ref())).collect::<Vec<_>>().join(", "))
}

/// An organization in which everything fits together.
fn manifest(choices: &mut Choices<'_>, later: bool) -> String {
    let mut text = "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {name: acme}\nspec:\n".to_owned();
    let word = |choices: &mut Choices<'_>| ["red", "green", "blue"][choices.pick(3)];
    text += &format!("  displayName: {}\n  requireMfa: {}\n", word(choices), choices.yes());
    let settings: Vec<String> =
        choices.some(&["a", "b", "c"]).iter().map(|key| format!("{key}: {}", choices.pick(3))).collect();
    text += &format!("  settings: {{{}}}\n", settings.join(", "));
    let mut section = |plural: &str, items: Vec<String>| {
        text += &format!(
            "  {plural}:{}\n",
            if items.is_empty() { " []".into() } else { format!("\n    - {}", items.join("\n    - ")) }
        );
    };
    let roles = names(choices, &["auditor", "builder"], later);
    let items = roles.iter().map(|(name, previous)| {
        format!(
            "{{name: {name}{previous}, permissions: {}}}",
            list(&[["keys:read", "audit:read", "keys:*"][choices.pick(3)]])
        )
    });
    section("roles", items.collect());
    let role_names: Vec<&str> = roles.iter().map(|(name, _)| name.as_str()).chain(["member", "viewer"]).collect();
    let mut people = vec!["ada@acme.example".to_owned()];
    let mut items = vec!["{user: ada@acme.example, role: owner}".to_owned()];
    for name in ["eve", "grace", "linus"] {
        if choices.yes() {
            let mut of = choices.some(&role_names);
            if of.is_empty() {
                of.push("viewer");
            }
            let status = ["active", "suspended"][choices.pick(2)];
            items.push(format!("{{user: {name}@acme.example, roles: {}, status: {status}}}", list(&of)));
            people.push(format!("{name}@acme.example"));
        }
    }
    section("members", items);
    let teams = names(choices, &["core", "edge"], later);
    let items = teams.iter().enumerate().map(|(at, (name, previous))| {
        let members: Vec<String> =
            people.iter().filter(|_| choices.yes()).map(|user| format!("{{user: {user}}}")).collect();
        let parent = if at > 0 && choices.yes() { format!(", parent: {}", teams[0].0) } else { String::new() };
        format!("{{name: {name}{previous}{parent}, description: {}, members: [{}]}}", word(choices), members.join(", "))
    });
    section("teams", items.collect());
    let projects = names(choices, &["search"], later);
    let items = projects.iter().map(|(name, previous)| {
        let of: Vec<String> =
            teams.iter().filter(|_| choices.yes()).map(|(team, _)| format!("{{team: {team}}}")).collect();
        format!("{{name: {name}{previous}, quotas: {{apiKeys: {}}}, teams: [{}]}}", choices.pick(9), of.join(", "))
    });
    section("projects", items.collect());
    let accounts = names(choices, &["bot", "cron"], later);
    let items = accounts.iter().map(|(name, previous)| {
        format!(
            "{{name: {name}{previous}, displayName: {}, roles: {}}}",
            word(choices),
            list(&choices.some(&role_names))
        )
    });
    section("serviceAccounts", items.collect());
    let keys = names(choices, &["main", "spare"], later);
    let items = keys.iter().map(|(name, previous)| {
        let owner = match accounts.first().filter(|_| choices.yes()) {
            Some((account, _)) => format!("serviceAccount: {account}"),
            None => format!("user: {}", people[choices.pick(people.len())]),
        };
        let scope = ["read", "write", "admin"][choices.pick(3)];
        format!("{{name: {name}{previous}, owner: {{{owner}}}, scopes: [{scope}], description: {}}}", word(choices))
    });
    section("apiKeys", items.collect());
    let channels = names(choices, &["mail"], later);
    let items = channels.iter().map(|(name, previous)| {
        format!("{{name: {name}{previous}, type: email, config: {{addresses: [{}@acme.example]}}}}", word(choices))
    });
    section("notificationChannels", items.collect());
    let items = channels
        .iter()
        .filter(|_| choices.yes())
        .map(|(channel, _)| format!("{{name: all, channel: {channel}, events: [\"*\"]}}"));
    let items: Vec<String> = items.collect();
    section("notificationRules", items);
    let budgets = names(choices, &["daily", "yearly"], later);
    let items = budgets.iter().map(|(name, previous)| {
        // A part of the organization has less than all of it.
        let (subject, least) = match projects.first().filter(|_| choices.yes()) {
            Some((project, _)) => (format!(", subject: {{project: {project}}}"), 0),
            None => (String::new(), 100),
        };
        let limit = least + choices.pick(100);
        let notify: Vec<&str> = channels.iter().map(|(name, _)| name.as_str()).filter(|_| choices.yes()).collect();
        format!("{{name: {name}{previous}, period: daily, limit: {limit} USD, notify: {}{subject}}}", list(&notify))
    });
    section("budgets", items.collect());
    text
}

/// What others write between two applies, each by itself and only if it can be.
fn noise(choices: &mut Choices<'_>) -> Vec<String> {
    let all = [
        "INSERT INTO argus.team (organization, name, description) VALUES ('acme', 'theirs', 'theirs')",
        "INSERT INTO argus.member (organization, email) VALUES ('acme', 'mallory@acme.example')",
        "INSERT INTO argus.member_role VALUES ('acme', 'eve@acme.example', 'admin')",
        "UPDATE argus.organization SET display_name = 'theirs'",
        "UPDATE argus.organization SET settings = settings || '{\"theirs\": 1}'",
        "UPDATE argus.service_account SET description = 'theirs'",
        "UPDATE argus.budget SET limit_minor = 4711",
        "DELETE FROM argus.notification_rule",
        "DELETE FROM argus.budget WHERE name = 'daily'",
        "INSERT INTO argus.team (organization, name) VALUES ('acme', 'core-new')",
    ];
    choices.some(&all).into_iter().map(str::to_owned).collect()
}

/// Everything but what a row that comes back has anew, and but the audit of how it came about.
async fn picture(session: &mut PgConnection) -> String {
    let tables =
        "SELECT string_agg(format('SELECT %L || '' '' || (to_jsonb(r) - ''{id,version,run,at}''::text[])::text AS v
             FROM argus.%I r', c.relname, c.relname), ' UNION ALL ' ORDER BY c.relname)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'argus' AND c.relkind = 'r' AND (c.relname IN ('applied', 'organization', 'tier')
             OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'audit_insert'))";
    let tables = one(session, tables).await;
    one(session, &format!("SELECT string_agg(v, E'\\n' ORDER BY v COLLATE \"C\") FROM ({tables}) s")).await
}

/// The ids of rows by kind and name, with whether they were made by the database itself.
async fn ids(session: &mut PgConnection) -> BTreeMap<String, String> {
    let text = one(
        session,
        "SELECT string_agg(v, E'\\n') FROM (SELECT 'team ' || name || ' ' || id AS v FROM argus.team
         UNION ALL SELECT 'member ' || email || ' ' || id FROM argus.member
         UNION ALL SELECT 'project ' || name || ' ' || id FROM argus.project) s",
    )
    .await;
    text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, id)| (name.into(), id.into())).collect()
}

const FREE: Need = Need { quorum: 1, groups: std::collections::BTreeSet::new() };

fn applying(run: &str, rolls_back: Option<RollsBack>) -> Applying {
    Applying {
        run: RunId::new(run),
        actor: "ada".into(),
        authors: Default::default(),
        terms: Terms::default(),
        forced: true,
        policed: false,
        at_once: 2,
        rolls_back,
        whole: false,
        lease: None,
    }
}

async fn carry_out(store: &Store, plan: &Plan, applying: &Applying) -> usize {
    let verdict = judge(plan, &Guards::default(), true);
    let outcome = engine::apply(store, plan, verdict, applying, &|_, _| {}).await.expect("it is applied");
    assert!(outcome.refused.is_empty(), "{:#?}", outcome.refused);
    outcome.applied.len()
}

/// Applies the manifests of a folder. Says whether they could be.
async fn apply(store: &Store, root: &Path, run: &str) -> bool {
    let now = chrono::Utc::now();
    let mut world = directory::read(root, &directory::Options::default());
    validate::validate(&mut world, now);
    let (authors, approvers) = (Default::default(), Approvers::default());
    let bench = Bench {
        tells_access: false,
        policies: Policies::None,
        rules_digest: "r",
        need: &FREE,
        mode: "enforce",
        authors: &authors,
        approvers: &approvers,
        revision: None,
    };
    let pass = Pass {
        source: "default",
        correct_drift: true,
        full: false,
        guards: &Guards::default(),
        bench: &bench,
        targets: &Targets::default(),
        now,
        history: None,
        due: None,
    };
    let Heard { plan, .. } = engine::plan(&world, store, &pass, &|_, _| {}).await.expect("a plan");
    if world.findings.iter().chain(plan.all_findings()).any(|finding| finding.is_error()) {
        return false;
    }
    carry_out(store, &plan, &applying(run, None)).await;
    true
}

/// Rolls a run back, or tells why not.
async fn roll_back(store: &Store, of: &str, run: &str) -> Result<(), String> {
    let targets = Targets::default();
    let asked = Asked { run: of, organizations: &[], targets: &targets, now: chrono::Utc::now() };
    let Planned { plan, rolls_back } = match rollback::plan(store, &asked).await {
        Ok(planned) => planned,
        Err(RollbackError::Refused(finding)) => panic!("{finding:?}"),
        Err(error) => panic!("{error}"),
    };
    let errors: Vec<_> = plan.all_findings().filter(|finding| finding.is_error()).collect();
    if !errors.is_empty() {
        return Err(format!("{errors:#?}"));
    }
    carry_out(store, &plan, &applying(run, Some(rolls_back))).await;
    Ok(())
}

#[test]
fn random_organizations_are_as_they_were_when_what_was_applied_is_rolled_back() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let config = Config { cases: 24, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let bytes = || proptest::collection::vec(any::<u8>(), 0..120);
    let (mut rolled, mut refused) = (0, 0);
    let done = std::cell::RefCell::new((&mut rolled, &mut refused));
    let result = TestRunner::new(config).run(&(bytes(), bytes(), bytes()), |(first, second, between)| {
        let (first, second) = (manifest(&mut Choices(first.iter()), false), manifest(&mut Choices(second.iter()), true));
        let noise = noise(&mut Choices(between.iter()));
        let root = scratch("worlds");
        std::fs::create_dir_all(&root).expect("a folder");
        let write = |text: &str| std::fs::write(root.join("acme.yaml"), text).expect("a file");
        let applied = runtime.block_on(async {
            let database = Database::new().await;
            let store = database.store().await;
            let mut session = database.session().await;
            let empty = picture(&mut session).await;
            write(&first);
            assert!(apply(&store, &root, "r1").await, "{first}");
            for sql in &noise {
                run(&mut session, &format!("DO $do$ BEGIN {sql}; EXCEPTION WHEN integrity_constraint_violation THEN NULL; END $do$")).await;
            }
            let before = picture(&mut session).await;
            let old_ids = ids(&mut session).await;
            write(&second);
            if !apply(&store, &root, "r2").await {
                return false;
            }
            let after = picture(&mut session).await;
            roll_back_checked(&store, &mut session, ("r2", "r3"), &before).await;
            // What was not deleted in between is the same row.
            let new_ids = ids(&mut session).await;
            let gone = "SELECT string_agg(DISTINCT relation || ' ' || name, ',') FROM argus.audit WHERE run = 'r2' AND action = 'delete'";
            let gone = one(&mut session, gone).await;
            for (name, id) in old_ids.iter().filter(|(name, _)| !gone.split(',').any(|gone| gone == name.as_str())) {
                assert_eq!(new_ids.get(name), Some(id), "{name}");
            }
            roll_back_checked(&store, &mut session, ("r3", "r4"), &after).await;
            roll_back_checked(&store, &mut session, ("r4", "r5"), &before).await;
            // What came and went since then may be taken for somebody else's; then nothing is done, and not half of it.
            let mut all = true;
            if noise.is_empty() {
                match roll_back(&store, "r1", "r6").await {
                    Ok(()) => assert_eq!(picture(&mut session).await, empty, "r1 was rolled back by r6"),
                    Err(why) => {
                        assert!(why.contains("was written since the run"), "{why}");
                        assert_eq!(picture(&mut session).await, before, "a refusal has written something");
                        all = false;
                    }
                }
            }
            store.close().await;
            all
        });
        std::fs::remove_dir_all(&root).expect("a folder");
        let mut done = done.borrow_mut();
        *if applied { &mut *done.0 } else { &mut *done.1 } += 1;
        Ok(())
    });
    result.expect("all are as they were");
    // A world in which an old and a new name both exist is refused, and that is rare.
    assert!(rolled > 4 * refused, "{rolled} were rolled back, {refused} refused");
}

async fn roll_back_checked(store: &Store, session: &mut PgConnection, (of, run): (&str, &str), expected: &str) {
    let wrote = one(session, &format!("SELECT count(*) FROM argus.undo WHERE run = '{of}'")).await;
    if wrote != "0" {
        roll_back(store, of, run).await.unwrap_or_else(|why| panic!("{why}"));
    }
    assert_eq!(picture(session).await, expected, "{of} was rolled back by {run}");
}
