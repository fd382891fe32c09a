//! The process dies in the middle of an apply: every organization is wholly old or wholly new, and the next run goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use argus::store::apply::failpoints;

use super::{ACME, World, run};

/// The organizations, and what all share under the empty name.
const ORGANIZATIONS: [&str; 4] = ["", "acme", "globex", "initech"];

/// What an apply says that changes no row.
const NOTHING: &str = "Applied: 0 added, 0 changed, 0 destroyed";

/// The points that are reached only where an organization itself comes, goes or gets another name.
const WHOLE: [&str; 3] =
    ["apply.after_rename.Organization", "apply.after_create.Organization", "apply.after_delete.Organization"];

/// How often a running apply is killed.
const KILLS: u32 = 20;

/// Under this stand the runs that wrote an organization and were not noted to have applied it.
const UNNOTED: &str = "unnoted";

/// Three organizations, and tiers, with something of every kind to rename, to create, to change and to delete.
fn write(world: &World, new: bool) {
    let pick = |old: &'static str, young: &'static str| if new { young } else { old };
    let about = pick("old", "new");
    let previous = |name: &str| if new { format!(", previousName: {name}") } else { String::new() };
    // `gone` is there before, `come` after, `moved` has another name before, and `same` changes.
    let name = pick("gone", "come");
    let moved = pick("was", "moved");
    let annotation =
        |name: &str| if new { format!(", annotations: {{argus.io/previous-name: {name}}}") } else { String::new() };
    let tier = |name: &str, annotation: &str| {
        format!(
            "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata: {{name: {name}{annotation}}}\nspec: {{description: {about}}}\n"
        )
    };
    let tiers = [tier("same", ""), tier(name, ""), tier(moved, &annotation("was"))];
    world.write("tiers.yaml", &tiers.join("---\n"));
    for organization in &ORGANIZATIONS[1..] {
        let was = previous("was");
        let text = format!(
            "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {{name: {organization}}}\nspec:
  description: {about}
  roles:
    - {{name: same, permissions: [\"keys:read\"], description: {about}}}
    - {{name: {name}, permissions: [\"keys:read\"]}}
    - {{name: {moved}, permissions: [\"keys:read\"]{was}}}
  members:
    - {{user: ada@{organization}.example, role: owner}}
    - {{user: same@{organization}.example, roles: [{name}]}}
    - {{user: {name}@{organization}.example, roles: [member]}}
    - {{user: {moved}@{organization}.example, roles: [{moved}]{member}}}
  teams:
    - {{name: same, description: {about}, members: [{{user: {name}@{organization}.example}}]}}
    - {{name: {name}}}
    - {{name: {moved}, parent: {name}{was}}}
  projects:
    - {{name: same, description: {about}, teams: [{{team: {name}}}]}}
    - {{name: {name}}}
    - {{name: {moved}{was}}}
  serviceAccounts:
    - {{name: same, description: {about}, roles: [{name}]}}
    - {{name: {name}}}
    - {{name: {moved}{was}}}
  apiKeys:
    - {{name: same, description: {about}, owner: {{serviceAccount: {name}}}, scopes: [read]}}
    - {{name: {name}, owner: {{user: ada@{organization}.example}}, scopes: [{scope}]}}
    - {{name: {moved}, owner: {{serviceAccount: {moved}}}, scopes: [read]{was}}}
  notificationChannels:
    - {{name: same, type: email, config: {{addresses: [{about}@{organization}.example]}}}}
    - {{name: {name}, type: email, config: {{addresses: [{name}@{organization}.example]}}}}
    - {{name: {moved}, type: email, config: {{addresses: [b@{organization}.example]}}{was}}}
  notificationRules:
    - {{name: same, channel: {name}, events: [\"*\"], template: {about}}}
    - {{name: {name}, channel: same, events: [\"{name}.*\"]}}
    - {{name: {moved}, channel: {moved}, events: [\"*\"]{was}}}
  budgets:
    - {{name: same, period: daily, limit: 5 USD, onLimit: {limit}, notify: [{name}]}}
    - {{name: {name}, period: daily, limit: 5 USD, subject: {{team: {name}}}}}
    - {{name: {moved}, period: daily, limit: 5 USD, subject: {{project: {moved}}}{was}}}
",
            member = previous(&format!("was@{organization}.example")),
            limit = pick("warn", "block"),
            scope = pick("read", "write"),
        );
        world.write(&format!("{organization}.yaml"), &text);
    }
    if new {
        let removal = |organization: &&str| {
            format!(
                "apiVersion: argus.io/v1alpha1\nkind: Removal\nmetadata: {{name: drop}}\nspec: {{organization: \
                 {organization}, target: {{kind: Project, name: gone}}, reason: over}}\n"
            )
        };
        world.write("removals.yaml", &ORGANIZATIONS[1..].iter().map(removal).collect::<Vec<_>>().join("---\n"));
    }
    // What matters here is what happens when it is let through.
    let shares = ["members", "teamMembers", "admins", "roleGrants", "apiKeys", "budgets"];
    let guards: Vec<String> = shares.iter().map(|share| format!("{share}: {{percent: 100}}")).collect();
    world.write("argus.yaml", &format!("guards: {{{}}}\n", guards.join(", ")));
}

/// All that is remembered of each organization, without ids, moments and runs: rows, records, audit, clock and pass.
fn state(world: &World) -> BTreeMap<String, String> {
    static TABLES: OnceLock<String> = OnceLock::new();
    let rows = TABLES.get_or_init(|| {
        world.sql(
            "SELECT string_agg(format('SELECT %L AS t, %s AS o, to_jsonb(r) - ''{id,at,run,txid,xid,created_at,\
             expires_at,ordinal}''::text[] AS r FROM argus.%I r', c.relname,
                 CASE c.relname WHEN 'organization' THEN 'name' WHEN 'tier' THEN '''''' ELSE 'organization' END,
                 c.relname), ' UNION ALL ' ORDER BY c.relname)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'argus' AND c.relkind = 'r' AND c.relname NOT IN ('run', 'run_organization', 'unsealed',
                 'seal', 'chain', 'head', 'event', 'stream', 'told')
               AND (c.relname IN ('organization', 'tier')
                    OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organization'))",
        )
    });
    // An audit row repeats the row, with its id.
    let strip = "regexp_replace(r::text, '\"id\": \"[^\"]*\"', '', 'g')";
    let rows = world.sql(&format!(
        "SELECT o || E'\\t' || string_agg(t || ' ' || {strip}, '; ' ORDER BY t, {strip}) FROM ({rows}) s GROUP BY o
         UNION ALL (SELECT '{UNNOTED}' || E'\\t' || organization || ' ' || run FROM argus.audit
                    EXCEPT SELECT '{UNNOTED}' || E'\\t' || organization || ' ' || run FROM argus.run_organization
                    WHERE outcome = 'applied')
         UNION ALL (SELECT '{UNNOTED}' || E'\\t' || organization || ' ' || run FROM argus.audit
                    EXCEPT SELECT '{UNNOTED}' || E'\\t' || organization || ' ' || run FROM argus.event)"
    ));
    rows.lines().filter_map(|line| line.split_once('\t')).map(|(name, rows)| (name.into(), rows.into())).collect()
}

/// The world before, with what it looks like, what the world after looks like, and that when it is settled: after
/// renames and removals the second apply notes that they are done.
struct Story {
    before: World,
    old: BTreeMap<String, String>,
    new: BTreeMap<String, String>,
    settled: BTreeMap<String, String>,
    /// How long an apply takes here.
    takes: Duration,
    /// What has been seen to converge: which organizations were new. Equal states go on in the same way.
    converged: Mutex<BTreeSet<Vec<bool>>>,
}

impl Story {
    fn new() -> Story {
        let before = World::new();
        write(&before, false);
        before.apply().ends(0);
        before.is_settled();
        let old = state(&before);
        write(&before, true);
        let after = before.copy();
        let started = Instant::now();
        after.apply().ends(0);
        let takes = started.elapsed();
        let new = state(&after);
        after.apply().ends(0).says(NOTHING);
        let settled = state(&after);
        assert!(ORGANIZATIONS.iter().all(|name| old.contains_key(*name) && old[*name] != new[*name]));
        Story { before, old, new, settled, takes, converged: Mutex::default() }
    }

    /// What must hold after a crash; says which organizations are new.
    fn check(&self, world: &World, what: &str) -> Vec<bool> {
        let found = state(world);
        let mut renewed = Vec::new();
        for name in ORGANIZATIONS {
            let new = found[name] == self.new[name] || found[name] == self.settled[name];
            assert!(new || found[name] == self.old[name], "{what}: `{name}` is neither old nor new: {}", found[name]);
            renewed.push(new);
        }
        assert_eq!(found.get(UNNOTED), None, "{what}: the runs and the audit disagree");
        renewed
    }

    /// A second apply converges, and a third has nothing to do.
    fn converges(&self, world: &World, renewed: &[bool], what: &str) {
        if !self.converged.lock().expect("nobody has panicked").insert(renewed.to_vec()) {
            return;
        }
        world.apply().ends(0);
        assert!(self.check(world, what).iter().all(|new| *new), "{what}");
        world.apply().ends(0).says(NOTHING);
        assert_eq!(state(world), self.settled, "{what}");
    }
}

#[test]
fn whatever_step_the_process_dies_at_every_organization_is_wholly_old_or_wholly_new() {
    let story = Story::new();
    let points = failpoints();
    let todo = Mutex::new(points.iter().filter(|point| !WHOLE.contains(&point.as_str())));
    let work = || {
        loop {
            let Some(point) = todo.lock().expect("nobody has panicked").next() else { break };
            let world = story.before.copy();
            // What belongs to a kind that all share is reached by nobody else.
            let organization = if point.ends_with(".Tier") { "" } else { "globex" };
            let mut command = world.command(&["apply", "--auto-approve"]);
            command.env("ARGUS_FAILPOINT", point).env("ARGUS_FAILPOINT_ORG", organization);
            let ran = run(command);
            assert_eq!(ran.code, None, "{point} was not reached: {ran}");
            let renewed = story.check(&world, point);
            match organization {
                "" => assert!(renewed[1..].iter().all(|new| !new), "{point}: what all share comes first"),
                _ => assert!(renewed[0], "{point}: what all share comes first"),
            }
            story.converges(&world, &renewed, point);
        }
    };
    std::thread::scope(|threads| {
        let workers: Vec<_> = (0..2).map(|_| threads.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("all went well"));
    });
    // Nothing is left to write: not even a record.
    let world = story.before.copy();
    world.apply().ends(0);
    world.apply().ends(0);
    let clocks = || world.sql("SELECT string_agg(organization || version, ',' ORDER BY 1) FROM argus.clock");
    let (state_before, clocks_before) = (state(&world), clocks());
    world.apply().ends(0).says("in 0 organizations");
    assert_eq!((state(&world), clocks()), (state_before, clocks_before));
}

#[test]
fn an_organization_that_comes_goes_or_gets_another_name_does_so_wholly_or_not_at_all() {
    let globex = ACME.replace("acme", "globex");
    let removal = "apiVersion: argus.io/v1alpha1\nkind: Removal\nmetadata: {name: drop}\nspec: {organization: globex, \
                   target: {kind: Organization, name: globex}, reason: over}\n";
    let renamed = globex.replace("name: globex", "name: zeta\n  annotations: {argus.io/previous-name: globex}");
    for (point, before, after, expected) in [
        ("apply.after_create.Organization", "", globex.as_str(), "acme globex"),
        ("apply.after_delete.Organization", &globex, removal, "acme"),
        ("apply.after_rename.Organization", &globex, &renamed, "acme zeta"),
    ] {
        assert!(WHOLE.contains(&point) && failpoints().iter().any(|known| known == point));
        let world = World::with(ACME);
        if !before.is_empty() {
            world.write("globex.yaml", before);
        }
        world.apply().ends(0);
        let old = state(&world);
        world.write("globex.yaml", after);
        let mut command = world.command(&["apply", "--auto-approve"]);
        command.env("ARGUS_FAILPOINT", point);
        assert_eq!(run(command).code, None, "{point} was not reached");
        assert_eq!(state(&world), old, "{point}");
        world.apply().ends(0);
        assert_eq!(
            world.sql("SELECT string_agg(name, ' ' ORDER BY name) FROM argus.organization"),
            expected,
            "{point}"
        );
        world.plan().ends(0);
    }
}

#[test]
fn a_kill_at_any_moment_leaves_no_half_organization() {
    let story = Story::new();
    let mut world = story.before.copy();
    let mut killed = 0;
    for number in 0..KILLS {
        let mut child = world.command(&["apply", "--auto-approve"]).spawn().expect("the binary runs");
        // Spread over the time that it takes, in no particular order.
        std::thread::sleep(story.takes * (number * 7 % KILLS) / KILLS);
        child.kill().expect("it can be killed");
        let killed_by_us = child.wait().expect("it ends").code().is_none();
        let renewed = story.check(&world, &format!("kill {number}"));
        killed += usize::from(killed_by_us);
        story.converges(&world, &renewed, &format!("kill {number}"));
        if renewed.contains(&true) {
            world = story.before.copy();
        }
    }
    assert!(killed > 0, "all had ended by themselves");
}
