//! Approvals end to end: what is held waits for the right people, who are known by their database role or their key.

mod forged;
mod races;
mod statements;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{Ran, World, run};
use crate::support::postgres::scratch;

/// The role that applies, as a pipeline would.
const CI: &str = "test_ci";

/// Who may approve: each logs in as `test_NAME`.
const APPROVERS: &str = "\
approvers:
  - {name: grace, emails: [grace@acme.example], groups: [security], databaseRoles: [test_grace]}
  - {name: Heidi, emails: [heidi@acme.example], groups: [finance, security], databaseRoles: [test_heidi]}
  - {name: ivan, emails: [ivan@acme.example], databaseRoles: [test_ivan]}
";

/// An organization with an owner and this many members beside her.
fn staff(organization: &str, members: usize) -> String {
    let mut text = format!(
        "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {{name: {organization}}}\nspec:\n  members:\n    \
         - {{user: ada@acme.example, role: owner}}\n"
    );
    for number in 0..members {
        text.push_str(&format!("    - {{user: m{number}@acme.example, role: member}}\n"));
    }
    text
}

/// A config repo whose plans are held, with the settings of a machine beside it.
struct Court {
    world: World,
    machine: PathBuf,
}

impl Court {
    /// Ten people are members, and the manifests say by now that eight of them go.
    fn new() -> Court {
        let court = Court::with("acme", 9);
        court.write("acme.yaml", &staff("acme", 1));
        court
    }

    /// An organization of an owner and so many members, applied.
    fn with(organization: &str, members: usize) -> Court {
        let world = World::with(&staff(organization, members));
        let machine = scratch("machine.yaml");
        std::fs::write(&machine, APPROVERS).expect("a file");
        let mut roles = format!("SELECT argus_test.role('{CI}', 'argus_planner, argus_reconciler');");
        for name in ["grace", "heidi", "ivan", "mallory"] {
            roles.push_str(&format!("SELECT argus_test.role('test_{name}', 'argus_approver');"));
        }
        // Roles are shared by all databases of the server, and tests run side by side.
        world.sql(&format!(
            "CREATE SCHEMA argus_test;
             CREATE FUNCTION argus_test.role(login text, roles text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_advisory_xact_lock(hashtext('argus test roles'));
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
                     EXECUTE format('CREATE ROLE %I LOGIN; GRANT %s TO %I', login, roles, login);
                 END IF;
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             {roles}"
        ));
        let court = Court { world, machine };
        court.apply().ends(0);
        court
    }

    fn write(&self, name: &str, text: &str) -> &Court {
        self.world.write(name, text);
        self
    }

    fn settings(&self, text: &str) -> &Court {
        std::fs::write(&self.machine, text).expect("a file");
        self
    }

    /// The binary, logged in as a role.
    fn command(&self, role: &str, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        let url = self.world.database.url.to_string().replace("argus@", &format!("{role}@"));
        command.env("ARGUS_DATABASE_URL", url).env("ARGUS_CONFIG", &self.machine);
        command
    }

    fn as_role(&self, role: &str, arguments: &[&str]) -> Ran {
        run(self.command(role, arguments))
    }

    fn ci(&self, arguments: &[&str]) -> Ran {
        self.as_role(CI, arguments)
    }

    fn apply(&self) -> Ran {
        self.ci(&["apply", "--auto-approve"])
    }

    /// Somebody approves a digest without being asked.
    fn approve(&self, name: &str, digest: &str) -> Ran {
        self.as_role(&format!("test_{name}"), &["approve", digest, "--auto-approve"])
    }

    /// The digest of the one plan that waits.
    fn digest(&self) -> String {
        self.held()["items"][0]["plan"].as_str().expect("a plan waits").to_owned()
    }

    fn held(&self) -> Value {
        self.ci(&["get", "held", "-o", "json"]).ends(0).json()
    }

    /// SQL of somebody who logs in as a role: whether it went well, and what was said.
    fn sql_as(&self, role: &str, sql: &str) -> (bool, String) {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "-At", "-c", sql]);
        psql.envs(self.world.database.url.environment()).env("PGUSER", role);
        let output = psql.output().expect("psql runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn members(&self) -> String {
        self.world.sql("SELECT count(*) FROM argus.member")
    }

    /// Runs SQL that a trigger would refuse, as the superuser who switches triggers off.
    fn against_the_rules(&self, sql: &str) -> String {
        self.world.sql(&format!("SET session_replication_role = replica; {sql}"))
    }
}

impl Drop for Court {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.machine);
    }
}

#[test]
fn what_is_held_goes_through_once_somebody_else_has_approved_it() {
    let court = Court::new();
    let short = |digest: &str| digest[..12].to_owned();
    let planned = court.ci(&["plan"]).ends(0).says("held[ARG3001]").says("needs 1 person; nobody has agreed yet");
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.held_plan"), "0", "planning writes nothing");
    let held = court.apply().ends(4).says("held[ARG3001]").says("hint: if this is meant, let somebody approve it");
    let digest = court.digest();
    for ran in [&planned, &held] {
        assert!(ran.out.contains(&format!("approve: argus approve {}", short(&digest))), "{ran}");
    }
    assert_eq!(court.members(), "10");
    court.ci(&["get", "held"]).ends(0).says(&short(&digest)).says("ARG3001").says("1 person; nobody has agreed yet");
    court.ci(&["get", "held", "-o", "name"]).ends(0).says(&digest);
    let shown = court.as_role("test_grace", &["show", &digest[..8]]).ends(0);
    assert_eq!(shown.out, court.ci(&["show", &digest]).out);
    assert!(shown.out.contains("- Member/m8@acme.example") && shown.out.contains("held[ARG3001]"), "{shown}");
    court
        .ci(&["show", &digest[..12], "--format", "markdown"])
        .ends(0)
        .says(&format!("`argus approve {}`", short(&digest)));

    // Without a word nothing happens, and nobody is there to say it.
    court.as_role("test_grace", &["approve", &digest]).ends(1).says("nobody is here to be asked");
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.approval"), "0");
    let approved =
        court.as_role("test_grace", &["approve", &short(&digest), "--auto-approve", "--comment", "they moved"]).ends(0);
    approved
        .says("- Member/m8@acme.example")
        .says("held[ARG3001]")
        .says(&format!("Approved as grace: {} of acme, until ", short(&digest)))
        .says("Nothing is missing: `argus apply` carries it out.");
    court.ci(&["get", "held"]).ends(0).says("1 person; grace agrees");
    court.ci(&["get", "approvals"]).ends(0).says("grace").says("role (test_grace)").says("open").says("they moved");
    assert_eq!(court.members(), "10", "an approval alone writes nothing");

    court.apply().ends(0).does_not_say("ARG3001").says("acme: approved by grace.").says("8 destroyed");
    assert_eq!(court.members(), "2");
    court.apply().ends(0).says("No changes.");
    court.ci(&["plan", "--detailed-exitcode", "--full"]).ends(0);
    court.ci(&["get", "runs"]).ends(0).says("APPROVED BY").says("grace");
    court.ci(&["history", "acme", "--kind", "Member"]).ends(0).says("tester via argus, approved by grace");
    court.ci(&["get", "approvals"]).ends(0).says("used by ");
    // What was applied waits no longer, and its approval is used.
    assert_eq!(court.held()["items"].as_array().map(Vec::len), Some(0));
    court.approve("heidi", &digest).ends(1).says("ARG3303");
}

#[test]
fn a_used_approval_does_not_let_the_same_change_through_again() {
    let court = Court::with("acme", 1);
    // Adding an admin is held here, and comes to the same digest as often as the row is taken away.
    let policy = "package argus.admins\n\n# METADATA\n# title: no admins unseen\n\
                  hold contains \"an admin comes\" if {\n\tsome change in input.changes\n\tchange.action == \"create\"\n}\n";
    court.write("policies/admins.rego", policy);
    let team = format!("{}  teams: [{{name: root}}]\n", staff("acme", 1));
    court.write("acme.yaml", &team);
    court.apply().ends(4).says("ARG3102");
    let digest = court.digest();
    court.approve("grace", &digest).ends(0);
    court.approve("grace", &digest).ends(0);
    court.approve("heidi", &digest).ends(0);
    court.apply().ends(0).says("approved by Heidi and grace");
    court.world.mallory("psql", "DELETE FROM argus.team WHERE name = 'root'");
    // That it comes back is no longer what they agreed to.
    court.apply().ends(4).says("nobody has agreed yet");
    assert_ne!(court.digest(), digest);
    // As if Argus had never written it.
    court.world.sql("DELETE FROM argus.applied WHERE kind = 'Team'; DELETE FROM argus.held_plan");
    court.apply().ends(4).says("nobody has agreed yet");
    assert_eq!(court.digest(), digest, "it is the very same plan");
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.team"), "0");
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.approval WHERE used_by_run IS NULL"), "0");
}

#[test]
fn one_changed_byte_of_plan_or_rules_voids_an_approval() {
    let court = Court::new();
    court.apply().ends(4);
    let first = court.digest();
    court.approve("grace", &first).ends(0);
    // The manifests move: another plan.
    court.write("acme.yaml", &staff("acme", 0));
    court.apply().ends(4).says("nobody has agreed yet");
    assert_ne!(court.digest(), first);
    // They move back: the very plan that was approved. But now the rules move.
    court.write("acme.yaml", &staff("acme", 1));
    court.write("argus.yaml", "guards: {members: {percent: 24}}\n");
    court.apply().ends(4).says("nobody has agreed yet");
    assert_eq!(court.digest(), first);
    let voided = court.ci(&["get", "approvals", "-o", "json"]).ends(0).json();
    assert_eq!(voided["items"][0]["plan"].as_str(), Some(&*first), "{voided}");
    for rules in ["approvals: {quorum: 1, groups: [security, x]}\n", "guards: {owners: 2}\nmode: apply\n"] {
        court.write("argus.yaml", rules);
        court.apply().ends(4).says("nobody has agreed yet");
    }
    court.write("argus.yaml", "guards: {}\n").write("policies/x.rego", "package argus.x\n\ndeny := false\n");
    court.apply().ends(4).says("nobody has agreed yet");
    assert_eq!(court.members(), "10");
    // As it was, it counts.
    std::fs::remove_dir_all(court.world.path("policies")).expect("a folder");
    court.write("argus.yaml", "policies: none\n");
    court.apply().ends(0).says("approved by grace");
    assert_eq!(court.members(), "2");
}

#[test]
fn a_row_that_moves_voids_an_approval_and_one_that_does_not_matter_leaves_it() {
    let court = Court::new();
    court.apply().ends(4);
    court.approve("grace", &court.digest()).ends(0);
    // Drift that is none of the plan's business, left as it is.
    court.world.mallory("psql", "UPDATE argus.organization SET description = 'x'");
    court.ci(&["plan"]).ends(0).does_not_say("held[");
    court.world.mallory("psql", "UPDATE argus.member SET expires_at = '2099-01-01' WHERE email = 'm8@acme.example'");
    court.apply().ends(4).says("nobody has agreed yet");
    assert_eq!(court.members(), "10");
}

#[test]
fn an_approval_ends_at_its_time_and_can_be_taken_back_before() {
    let court = Court::new();
    court.apply().ends(4);
    let digest = court.digest();
    for bad in ["59s", "0s", "31d", "720h1", "tomorrow", "", "9999999999999w"] {
        let ran = court.as_role("test_grace", &["approve", &digest, "--auto-approve", "--expires-in", bad]);
        ran.ends(1).says("ARG3301");
    }
    for good in ["1m", "30d"] {
        court.as_role("test_grace", &["approve", &digest, "--auto-approve", "--expires-in", good]).ends(0);
    }
    let lasts =
        "SELECT extract(epoch FROM expires_at - at)::int BETWEEN 55 AND 60 FROM argus.approval ORDER BY id LIMIT 1";
    assert_eq!(court.world.sql(lasts), "t", "it is counted by the clock of the database");
    court.against_the_rules("UPDATE argus.approval SET at = at - interval '2 h', expires_at = at - interval '1 s'");
    court.apply().ends(4).says("nobody has agreed yet");
    court.ci(&["get", "approvals"]).ends(0).says("ended");

    court.approve("heidi", &digest).ends(0).says("argus approve --revoke 3");
    court.as_role("test_ivan", &["approve", "--revoke", "3"]).ends(0).says("Approval 3 is taken back.");
    court.apply().ends(4).says("nobody has agreed yet");
    court.ci(&["get", "approvals"]).ends(0).says("revoked by test_ivan");
    court.as_role("test_ivan", &["approve", "--revoke", "3"]).ends(1).says("ARG3301").says("by test_ivan at");
    court.as_role("test_ivan", &["approve", "--revoke", "77"]).ends(1).says("there is no approval 77");

    court.approve("heidi", &digest).ends(0);
    court.apply().ends(0).says("approved by Heidi");
    court.as_role("test_heidi", &["approve", "--revoke", "4"]).ends(1).says("ARG3301").says("was used by the run");
}

#[test]
fn nobody_approves_what_is_their_own_under_whatever_name() {
    let court = Court::new();
    // Grace's pipeline applies under her role, her name or her address: each makes it hers.
    court.world.sql(
        "SELECT argus_test.role('test_grace_too', 'argus_planner, argus_reconciler, argus_approver');
         SELECT argus_test.role('test_Ivan', 'argus_planner, argus_reconciler, argus_approver')",
    );
    court.settings(&APPROVERS.replace("[test_grace]", "[test_grace, test_grace_too]"));
    for (role, actor) in [(CI, "GRACE"), (CI, "Grace@acme.example"), ("test_grace_too", "somebody")] {
        court.world.sql("DELETE FROM argus.held_plan");
        let mut command = court.command(role, &["apply", "--auto-approve"]);
        command.env("ARGUS_ACTOR", actor);
        run(command).ends(4);
        let ran = court.approve("grace", &court.digest()).ends(1).says("ARG3301").says("is your own, grace");
        ran.says(&if role == CI { actor.to_lowercase() } else { role.to_owned() });
    }
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.approval"), "0");
    // Who was an author stays one, whoever holds the plan again.
    court.apply().ends(4);
    court.approve("grace", &court.digest()).ends(1).says("ARG3301");
    let authors = court.held()["items"][0]["authors"].clone();
    assert_eq!(authors, serde_json::json!(["somebody", "test_ci", "test_grace_too", "tester"]));

    // Nor do other rules change whose it is.
    court.write("argus.yaml", "guards: {members: {percent: 24}}\n").apply().ends(4);
    court.approve("grace", &court.digest()).ends(1).says("ARG3301").says("test_grace_too");
    court.write("argus.yaml", "");

    // An approval that was fine when it was given counts for nothing once its giver applies.
    court.world.sql("DELETE FROM argus.held_plan");
    court.apply().ends(4);
    court.approve("grace", &court.digest()).ends(0);
    court.as_role("test_grace_too", &["apply", "--auto-approve"]).ends(4).says("nobody has agreed yet");
    court.ci(&["get", "approvals"]).ends(0).says("own");
    // Nor does it when somebody else applies by now: it is hers.
    court.apply().ends(4).says("nobody has agreed yet");
    court.approve("heidi", &court.digest()).ends(0);
    // Heidi's counts for both of them.
    court.apply().ends(0).says("approved by Heidi.");
    assert_eq!(court.members(), "2");
}

#[test]
fn as_many_of_the_right_groups_have_to_agree_as_the_source_says() {
    let court = Court::new();
    court.write("argus.yaml", "approvals: {quorum: 2, groups: [security, legal]}\n");
    court.apply().ends(4).says("needs 2 people of legal or security; nobody has agreed yet");
    let digest = court.digest();
    court
        .approve("grace", &digest)
        .ends(0)
        .says("still needs 2 people of legal or security; grace agrees")
        .says("Still held");
    court.apply().ends(4).says("grace agrees");
    // Twice the same person, and somebody of another group, are not enough.
    court.approve("grace", &digest).ends(0).says("Still held: 1 organization.");
    court.approve("ivan", &digest).ends(0).says("grace agrees").says("Still held");
    court.apply().ends(4).says("grace agrees");
    assert_eq!(court.members(), "10");
    court.approve("heidi", &digest).ends(0).says("Nothing is missing");
    // Whoever leaves the settings no longer counts, and who leaves the group neither.
    let listed = APPROVERS.to_owned();
    for (old, new) in [("name: grace", "name: gone"), ("groups: [security]", "groups: [sales]")] {
        let settings =
            listed.replace(old, new).replace("test_grace]", if old.contains("name") { "x]" } else { "test_grace]" });
        court.settings(&settings).apply().ends(4).says("Heidi agrees");
    }
    court.settings(&listed).apply().ends(0).says("approved by Heidi and grace");
    assert_eq!(court.members(), "2");
}

#[test]
fn a_quorum_of_nobody_is_no_setting() {
    let court = Court::new();
    for bad in ["{quorum: 0}", "{quorum: 101}", "{quorum: -1}", "{people: 2}"] {
        court.write("argus.yaml", &format!("approvals: {bad}\n"));
        court.apply().ends(1).says("ARG5005").says("argus.yaml");
    }
    court.write("argus.yaml", "approvers: []\n");
    court.apply().ends(1).says("ARG5006");
}

#[test]
fn force_passes_by_guards_and_not_by_what_a_rule_holds() {
    let court = Court::new();
    let rule = "package argus.staff\n\nhold contains \"people go\" if {\n\tsome change in input.changes\n\
                \tchange.action == \"delete\"\n}\n";
    court.write("policies/staff.rego", rule).write("argus.yaml", "approvals: {quorum: 2, groups: [finance, sales]}\n");
    court.apply().ends(4).says("ARG3102").says("ARG3001").says("needs 2 people of finance or sales");
    court.ci(&["apply", "--auto-approve", "--force"]).ends(4).says("ARG3102").does_not_say("ARG3001");
    let digest = court.digest();
    court.approve("grace", &digest).ends(0).says("ARG3102 still needs 2 people of finance or sales; nobody");
    court.approve("heidi", &digest).ends(0).says("Heidi agrees");
    court.ci(&["apply", "--auto-approve", "--force"]).ends(4).says("Heidi agrees");
    let more = "  - {name: judy, groups: [sales], databaseRoles: [test_judy]}\n";
    court.world.sql("SELECT argus_test.role('test_judy', 'argus_approver')");
    court.settings(&format!("{APPROVERS}{more}"));
    court.approve("judy", &digest).ends(0).says("Nothing is missing");
    court.ci(&["apply", "--auto-approve", "--force"]).ends(0).says("approved by Heidi and judy");
}

#[test]
fn a_rule_says_who_lifts_its_hold() {
    let court = Court::new();
    let rule = "package argus.staff\n\n# METADATA\n# title: fewer people\n# custom:\n#   id: STAFF-1\n\
                #   approvals: {quorum: 2, groups: [finance, security]}\nhold contains \"people go\" if {\n\
                \tsome change in input.changes\n\tchange.action == \"delete\"\n}\n";
    court.write("policies/staff.rego", rule);
    court.apply().ends(4).says("needs 2 people of finance or security; nobody").says("needs 1 person; nobody");
    let digest = court.digest();
    court.approve("ivan", &digest).ends(0).says("still needs 2 people of finance or security; nobody");
    court.approve("grace", &digest).ends(0).says("grace agrees");
    court.apply().ends(4).says("needs 1 person; grace and ivan agree");
    court.approve("heidi", &digest).ends(0).says("Nothing is missing");
    court.apply().ends(0).says("approved by Heidi, grace and ivan");
}

#[test]
fn a_rollback_that_is_held_is_approved_as_any_plan_is() {
    let court = Court::with("acme", 1);
    let projects = "  projects: [{name: search}]\n";
    court.write("acme.yaml", &format!("{}{projects}", staff("acme", 9))).apply().ends(0);
    let second = court.world.sql("SELECT id FROM argus.run ORDER BY started_at DESC LIMIT 1");
    let rollback = || court.ci(&["rollback", &second, "--auto-approve"]);
    // A guard holds it, and because it deletes what is protected.
    rollback().ends(4).says("held[ARG3001]").says("held[ARG2002] rolling back deletes acme/Project/search");
    rollback().ends(4).says("approve: argus approve");
    let left = || court.members() + &court.world.sql("SELECT count(*) FROM argus.project");
    court.approve("grace", &court.digest()).ends(0).says("- Project/search").says("Nothing is missing");
    assert_eq!(left(), "101");
    rollback().ends(0).says("9 destroyed").says("acme: approved by grace.");
    assert_eq!(left(), "20");
    assert_eq!(court.world.sql("SELECT used_as FROM argus.approval"), "grace");
    // The mark of the rollback stays: the manifests do not bring it back.
    court.apply().ends(4).says("ARG3204");
}

#[test]
fn policies_are_told_who_has_agreed() {
    let court = Court::new();
    court.write(
        "policies/agreed.rego",
        "package argus.agreed\n\nwarn contains msg if {\n\tsome approval in input.approvals\n\
         \tmsg := sprintf(\"%s agrees, of %v\", [approval.approver, sort(approval.groups)])\n}\n",
    );
    court.apply().ends(4).does_not_say("agrees, of");
    court.approve("heidi", &court.digest()).ends(0);
    court.ci(&["plan"]).ends(0).says("Heidi agrees, of [\"finance\", \"security\"]");
    court.apply().ends(0);
}

#[test]
fn all_that_a_run_held_is_approved_at_once_or_one_by_one() {
    let court = Court::with("acme", 9);
    court.write("globex.yaml", &staff("globex", 9)).apply().ends(0);
    court.write("acme.yaml", &staff("acme", 1)).write("globex.yaml", &staff("globex", 1));
    let held = court
        .apply()
        .ends(4)
        .says("Held: 2 organizations")
        .says("All that is held is approved at once by: argus approve ");
    let outcome = court.ci(&["apply", "--auto-approve", "--format", "json"]).ends(4).json();
    let run = outcome["plan"].as_str().expect("a digest");
    assert!(held.out.contains(&format!("at once by: argus approve {}", &run[..12])), "{held}");
    assert_eq!(
        outcome["held"]["acme"]["plan"],
        court.ci(&["get", "held", "-O", "acme", "-o", "json"]).json()["items"][0]["plan"]
    );
    assert_eq!(outcome["held"]["globex"]["held"][0]["need"]["quorum"], 1);
    court
        .as_role("test_grace", &["approve", run, "-O", "globex", "--auto-approve"])
        .ends(0)
        .says("of globex")
        .does_not_say("of acme");
    court.apply().ends(4).says("globex: approved by grace.").says("Not applied: 1 organization");
    assert_eq!(
        court.world.sql("SELECT organization, count(*) FROM argus.member GROUP BY 1 ORDER BY 1"),
        "acme|10\nglobex|2"
    );
    // The plan of the earlier run is known by what is left of it.
    court.approve("grace", &run[..8]).ends(0).says("of acme").does_not_say("of globex");
    let outcome = court.ci(&["apply", "--auto-approve", "--format", "json"]).ends(0).json();
    assert_eq!(outcome["approved_by"]["acme"], serde_json::json!(["grace"]));
}

#[test]
fn a_digest_that_names_nothing_too_much_or_is_none_is_told() {
    let court = Court::new();
    court.apply().ends(4);
    let digest = court.digest();
    let upper = digest.to_uppercase();
    for none in ["abc", &digest[..7], "zzzzzzzzz", &upper, &format!("{digest}0"), "........", ""] {
        court.approve("grace", none).ends(1).says("ARG3303");
    }
    let other = if digest.starts_with('0') { "1" } else { "0" };
    court.approve("grace", &other.repeat(12)).ends(1).says("ARG3303").says("no plan is held").says("argus get held");
    court.ci(&["show", &other.repeat(12)]).ends(1).says("ARG3303");
    // A file of that name comes first.
    court.write(&digest[..8], "x");
    court.ci(&["show", &digest[..8]]).ends(1).says("ARG4005");
    // Two plans that begin alike, as they may by chance.
    let twin = format!("{}{}", &digest[..8], other.repeat(56));
    court.world.sql(&format!(
        "INSERT INTO argus.held_plan (organization, plan_digest, rules_digest, run_digests, source, run, actor, authors, holds, terms, plan)
         SELECT organization, '{twin}', rules_digest, run_digests, source, run, actor, authors, holds, terms, plan FROM argus.held_plan"
    ));
    court.approve("grace", &digest[..8]).ends(1).says("ARG3303").says("several plans").says(&twin);
    // What is kept there is not what its digest says.
    court.approve("grace", &twin).ends(1).says("ARG3303").says("damaged");
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.approval"), "0");
    court.approve("grace", &digest[..13]).ends(0);
}

#[test]
fn what_waits_is_dropped_when_it_is_applied_or_has_waited_for_too_long() {
    let court = Court::new();
    let count = || court.world.sql("SELECT count(*) FROM argus.held_plan");
    court.apply().ends(4);
    court.apply().ends(4);
    assert_eq!(count(), "1", "the same plan under the same rules is kept once");
    // Thirty days are enough.
    court.world.sql("UPDATE argus.held_plan SET held_at = held_at - interval '31 d'");
    court.write("acme.yaml", &staff("acme", 2)).apply().ends(4);
    assert_eq!(count(), "1");
    assert_eq!(court.held()["items"][0]["held"][0]["finding"]["message"], "7 of 10 members lose their access: 70 %");
    // Of one organization twenty wait at most, the newest.
    for percent in 0..22 {
        court.write("argus.yaml", &format!("guards: {{members: {{percent: {percent}}}}}\n")).apply().ends(4);
    }
    assert_eq!(count(), "20");
    // One that somebody has approved stays as long as that, and the others go with what is applied.
    let digest = court.digest();
    court.approve("grace", &digest).ends(0);
    let rules = court.held()["items"][0]["rules"].clone();
    court.write("acme.yaml", &staff("acme", 8)).apply().ends(0);
    assert_eq!((court.digest(), court.held()["items"][0]["rules"].clone()), (digest, rules));
    assert_eq!(count(), "1");
    court.as_role("test_grace", &["approve", "--revoke", "1"]).ends(0);
    court.write("acme.yaml", &staff("acme", 9)).apply().ends(0);
    assert_eq!(count(), "0");
}

#[test]
fn an_approver_can_look_and_approve_and_nothing_else() {
    let court = Court::new();
    court.apply().ends(4);
    for command in
        [&["plan"][..], &["apply", "--auto-approve"], &["get", "members"], &["export"], &["history"], &["drift"]]
    {
        assert_ne!(court.as_role("test_grace", command).code, Some(0), "{command:?}");
    }
    for command in [&["get", "held"][..], &["get", "approvals"], &["show", &court.digest()]] {
        court.as_role("test_grace", command).ends(0);
    }
    // Somebody who logs in and is not listed may look, and approves nothing.
    court.approve("mallory", &court.digest()).ends(1).says("ARG3302").says("test_mallory");
    // And who is a member of nothing does not even look.
    court.world.sql("SELECT argus_test.role('test_tenant', 'argus_app')");
    let ran = court.as_role("test_tenant", &["get", "held"]).ends(1).says("ARG3302");
    ran.says("GRANT argus_approver TO \"test_tenant\"");
    // Nobody is listed at all: nobody approves, and the settings are what is missing.
    court.settings("{}").approve("grace", &court.digest()).ends(1).says("ARG3302").says("approvers");
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.approval"), "0");
}

#[test]
fn the_settings_that_the_documentation_shows_are_right() {
    let court = Court::new();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md")).expect("the page");
    let block = |word: &str| {
        let mut blocks = page.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
        blocks.find(|block| block.contains(word)).expect(word).to_owned()
    };
    court.settings(&block("sshKeys")).ci(&["plan"]).ends(0);
    court.write("argus.yaml", &block("quorum")).ci(&["plan"]).ends(0).says("needs 2 people of finance or security");
}

#[test]
fn what_looks_like_a_secret_is_neither_kept_with_a_plan_nor_with_an_approval() {
    const CANARY: &str = "canary7f3a91canary";
    let court = Court::new();
    court.write("acme.yaml", &format!("{}  description: ours\n", staff("acme", 9))).apply().ends(0);
    court.world.mallory("psql", &format!("UPDATE argus.organization SET description = 'key argus_sk_{CANARY}'"));
    court.write("acme.yaml", &format!("{}  description: ours\n", staff("acme", 1)));
    court.apply().ends(4).does_not_say(CANARY).says("********");
    let digest = court.digest();
    for format in ["text", "json", "markdown"] {
        court.ci(&["show", &digest, "--format", format]).ends(0).does_not_say(CANARY);
    }
    let comment = format!("with ghp_{CANARY}");
    let approve = ["approve", &digest, "--auto-approve", "--comment", &comment];
    court.as_role("test_grace", &approve).ends(0).does_not_say(CANARY);
    court.ci(&["get", "approvals", "-o", "json"]).ends(0).does_not_say(CANARY).says("with ********");
    for table in ["held_plan", "approval"] {
        assert!(!court.world.sql(&format!("SELECT t::text FROM argus.{table} t")).contains(CANARY), "{table}");
    }
    let long = "x".repeat(1_001);
    court.as_role("test_grace", &["approve", &digest, "--auto-approve", "--comment", &long]).ends(1).says("ARG3301");
    court.apply().ends(0).says("approved by grace").says("1 changed, 8 destroyed");
}

#[test]
fn settings_that_list_the_wrong_people_are_refused_with_what_is_wrong() {
    let court = Court::new();
    for (settings, why) in [
        ("approvers: [{name: grace}]\n", "neither databaseRoles nor sshKeys"),
        (
            "approvers: [{name: grace, databaseRoles: [a]}, {name: heidi, databaseRoles: [a]}]\n",
            "1 and 2 both go by `a`",
        ),
        ("approvers: [{name: grace, databaseRoles: [a], phone: 1}]\n", "unknown field `phone`"),
        ("approvers: [{name: grace, sshKeys: [ssh-rsa AAAA]}]\n", "cannot be read"),
        ("approvers: {grace: {}}\n", "ARG5005"),
        ("approvers: [{name: grace, databaseRoles: [ab\n", "ARG5005"),
    ] {
        for command in [&["get", "held"][..], &["plan"], &["validate"]] {
            court.settings(settings).ci(command).ends(1).says("ARG5005").says(why);
        }
    }
}

#[test]
fn whoever_approves_a_rollback_is_told_what_carries_it_out() {
    let court = Court::with("acme", 1);
    let project = format!("{}  projects: [{{name: search}}]\n", staff("acme", 1));
    court.write("acme.yaml", &project).apply().ends(0);
    let run = court.world.sql("SELECT id FROM argus.run ORDER BY started_at DESC LIMIT 1");
    court.ci(&["rollback", &run, "--auto-approve"]).ends(4).says("ARG2002");
    let digest = court.digest();
    court.approve("grace", &digest).ends(0).says("`argus rollback RUN`").does_not_say("`argus apply` carries it out");
    court.ci(&["rollback", &run, "--auto-approve"]).ends(0);
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.project"), "0");
}

#[test]
fn nothing_is_excused_by_a_name_in_the_run_that_gives_or_takes_it() {
    let court = Court::with("acme", 1);
    let policy = "package argus.seats\n\ndeny_many contains \"too many\" if count(input.after.members) > 2\n\n\
                  exception contains [\"many\"] if input.organization == \"sandbox\"\n";
    court.write("policies/seats.rego", policy);
    let named = |name: &str, before: &str, members: usize| {
        let metadata = format!("{{name: {name}, annotations: {{argus.io/previous-name: {before}}}}}");
        staff("acme", members).replace("{name: acme}", &metadata)
    };
    court.write("acme.yaml", &named("sandbox", "acme", 3)).apply().ends(3).says("too many");
    court.write("acme.yaml", &named("sandbox", "acme", 1)).apply().ends(0);
    court.write("acme.yaml", &staff("sandbox", 3)).apply().ends(0).says("an exception excuses: too many");
    court.write("acme.yaml", &named("acme", "sandbox", 3)).apply().ends(3).says("too many");
    assert_eq!(court.members(), "4");
}
