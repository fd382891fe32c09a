//! Drift that is adopted: `argus drift --emit-patch | git apply`, and the manifests say what the rows say.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::World;

const ACME: &str = "\
apiVersion: argus.io/v1alpha1
kind: Organization
metadata:
  name: acme
spec:
  displayName: Acme # as on the letterhead
  settings: {theme: dark, lines: 80}
  members:
    # founders
    - user: ada@acme.example
      role: owner
    - user: grace@acme.example # leaves in June
      role: admin
  teams:
    - name: core
      members: [{user: ada@acme.example, role: maintainer}, {user: grace@acme.example}]
";

const ADOPTED: &str = "\
apiVersion: argus.io/v1alpha1
kind: Organization
metadata:
  name: acme
spec:
  displayName: Acme Two # as on the letterhead
  settings: {theme: light, lines: 80}
  members:
    # founders
    - user: ada@acme.example
      roles: [billing_admin, owner]
    - user: mallory@acme.example
      roles: [admin]
  teams:
    - name: core
      members: [{user: ada@acme.example, role: maintainer}]
    - name: shadow
      description: |
        Nobody
        knows.
";

const DRIFT: &str = "
    UPDATE argus.organization SET display_name = 'Acme Two', settings = '{\"theme\": \"light\", \"lines\": 80}';
    INSERT INTO argus.member_role (organization, member, role) VALUES ('acme', 'ada@acme.example', 'billing_admin');
    DELETE FROM argus.team_member WHERE member = 'grace@acme.example';
    DELETE FROM argus.member WHERE email = 'grace@acme.example';
    INSERT INTO argus.member (organization, email) VALUES ('acme', 'mallory@acme.example');
    INSERT INTO argus.member_role (organization, member, role) VALUES ('acme', 'mallory@acme.example', 'admin');
    INSERT INTO argus.team (organization, name, description) VALUES ('acme', 'shadow', E'Nobody\\nknows.\\n');";

/// Pipes a patch of the manifests of `argus drift PATH` into `git apply`, in the folder where the command ran.
fn adopt(world: &World, path: &str) {
    let drift = world.argus(&["drift", path, "--emit-patch"]).ends(0);
    assert_eq!(drift.err, "");
    let mut git = Command::new("git");
    git.arg("apply").current_dir(&world.root).env("GIT_CEILING_DIRECTORIES", "/tmp");
    let mut git = git.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git runs");
    git.stdin.take().expect("a pipe").write_all(drift.out.as_bytes()).expect("git reads");
    let output = git.wait_with_output().expect("git ends");
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stderr), drift.out);
}

#[test]
fn what_was_done_by_sql_is_adopted_and_then_nothing_is_left_to_do() {
    for path in [".", "config", "config/acme.yaml"] {
        let world = World::new();
        let file = if path == "." { "acme.yaml" } else { "config/acme.yaml" };
        world.write(file, ACME);
        world.argus(&["apply", path, "--auto-approve"]).ends(0);
        world.mallory("psql", DRIFT);
        let rows = "SELECT (SELECT jsonb_agg(o ORDER BY name) FROM (SELECT name, display_name, settings FROM argus.organization) o),
            (SELECT jsonb_agg(m ORDER BY member, role) FROM argus.member_role m), (SELECT count(*) FROM argus.team_member)";
        let before = world.sql(rows);
        adopt(&world, path);
        let text = std::fs::read_to_string(world.path(file)).expect("the manifest");
        assert_eq!(text, ADOPTED);
        // Only what was extra becomes managed; no row is written.
        world.argus(&["plan", path]).ends(0).says("Member/mallory@acme.example (adopt)").does_not_say("drift");
        world.argus(&["apply", path, "--auto-approve"]).ends(0).says("0 added, 2 changed, 0 destroyed");
        assert_eq!(world.sql(rows), before);
        world.argus(&["drift", path, "--detailed-exitcode"]).ends(0).says("No drift.");
        world.argus(&["plan", path, "--detailed-exitcode", "--full"]).ends(0);
    }
}

#[test]
fn without_drift_there_is_no_patch() {
    let world = World::applied(ACME);
    let drift = world.argus(&["drift", "--emit-patch"]).ends(0);
    assert_eq!((drift.out.as_str(), drift.err.as_str()), ("", ""));
}
