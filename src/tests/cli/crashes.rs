//! The process dies in the middle of an apply: every organization is wholly old or wholly new, and the next run goes on.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use argus::store::apply::failpoints;

use super::{World, run};

/// The organizations, and what all share under the empty name.
const ORGANIZATIONS: [&str; 4] = ["", "acme", "globex", "initech"];

/// What an apply says that changes no row.
const NOTHING: &str = "Applied: 0 added, 0 changed, 0 destroyed";

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
    let tables = world.sql(
        "SELECT string_agg(format('SELECT %L AS t, %s AS o, to_jsonb(r) - ''{id,at,run,txid,xid,created_at,\
         expires_at,ordinal}''::text[] AS r FROM argus.%I r', c.relname,
             CASE c.relname WHEN 'organization' THEN 'name' WHEN 'tier' THEN '''''' ELSE 'organization' END, c.relname),
             ' UNION ALL ' ORDER BY c.relname)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'argus' AND c.relkind = 'r' AND c.relname NOT IN ('run', 'run_organization')
           AND (c.relname IN ('organization', 'tier')
                OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organization'))",
    );
    // An audit row repeats the row, with its id.
    let strip = "regexp_replace(r::text, '\"id\": \"[^\"]*\"', '', 'g')";
    let rows = world.sql(&format!(
        "SELECT o || E'\\t' || string_agg(t || ' ' || {strip}, '; ' ORDER BY t, {strip}) FROM ({tables}) s GROUP BY o ORDER BY o"
    ));
    rows.lines().filter_map(|line| line.split_once('\t')).map(|(name, rows)| (name.into(), rows.into())).collect()
}

/// How many transactions of runs have written an organization, and how many of those were noted as applied: the
/// same.
fn runs(world: &World) -> String {
    world.sql(
        "SELECT count(*) FROM (SELECT DISTINCT a.organization, a.run FROM argus.audit a) w
         FULL JOIN (SELECT organization, run FROM argus.run_organization WHERE outcome = 'applied') n
              USING (organization, run)
         WHERE w.run IS NULL OR n.run IS NULL",
    )
}

/// The world before, with what it looks like, what the world after looks like, and that when it is settled: after
/// renames and removals the second apply notes that they are done.
struct Story {
    before: World,
    old: BTreeMap<String, String>,
    new: BTreeMap<String, String>,
    settled: BTreeMap<String, String>,
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
        after.apply().ends(0);
        let new = state(&after);
        after.apply().ends(0).says(NOTHING);
        let settled = state(&after);
        assert!(ORGANIZATIONS.iter().all(|name| old.contains_key(*name) && old[*name] != new[*name]));
        Story { before, old, new, settled }
    }

    /// What must hold after a crash; gives how many organizations are new.
    fn check(&self, world: &World, what: &str) -> usize {
        let found = state(world);
        let mut renewed = 0;
        for name in ORGANIZATIONS {
            if found[name] == self.new[name] || found[name] == self.settled[name] {
                renewed += 1;
            } else {
                assert_eq!(found[name], self.old[name], "{what}: `{name}` is neither old nor new");
            }
        }
        assert_eq!(runs(world), "0", "{what}: the runs and the audit disagree");
        renewed
    }

    /// A second apply converges, and a third has nothing to do.
    fn converges(&self, world: &World, what: &str) {
        world.apply().ends(0);
        assert_eq!(self.check(world, what), ORGANIZATIONS.len(), "{what}");
        world.apply().ends(0).says(NOTHING);
        assert_eq!(state(world), self.settled, "{what}");
    }
}

#[test]
fn whatever_step_the_process_dies_at_every_organization_is_wholly_old_or_wholly_new() {
    let story = Story::new();
    let points = failpoints();
    let unreachable =
        ["apply.after_rename.Organization", "apply.after_create.Organization", "apply.after_delete.Organization"];
    let todo = Mutex::new(points.iter().filter(|point| !unreachable.contains(&point.as_str())));
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
                "" => assert_eq!(renewed, 0, "{point}: organizations were written before what they share"),
                _ => assert!(renewed >= 1, "{point}: what all share comes first"),
            }
            story.converges(&world, point);
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
fn a_kill_at_any_moment_leaves_no_half_organization() {
    let story = Story::new();
    let mut world = story.before.copy();
    let mut outcomes = BTreeMap::new();
    for number in 0..20_u64 {
        let mut child = world.command(&["apply", "--auto-approve"]).spawn().expect("the binary runs");
        // Spread over the time that an apply takes here, in no particular order.
        std::thread::sleep(Duration::from_millis(60 + (number * 97) % 400));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let renewed = story.check(&world, &format!("kill {number}"));
        *outcomes.entry(renewed).or_insert(0) += 1;
        if renewed == ORGANIZATIONS.len() || number % 7 == 6 {
            story.converges(&world, &format!("kill {number}"));
            world = story.before.copy();
        }
    }
    assert!(outcomes.values().sum::<usize>() == 20, "{outcomes:?}");
}
