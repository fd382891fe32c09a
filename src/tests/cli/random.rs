//! Random manifests over random rows in a real database: what `argus drift` says is adopted by a real `git apply`, and a
//! plan with a snapshot is the plan with the database.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::World;
use super::snapshot::is_same;
use crate::patch::property::manifest;

/// How many worlds are tried.
const WORLDS: u64 = 12;

/// Decisions that look random and are the same in every run.
fn decisions(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..300).map(next).collect()
}

/// The first manifest from these decisions on that has nothing wrong in it, and somebody who owns the organization.
fn valid(world: &World, seed: u64) -> String {
    let candidates = (0..).map(|number| manifest(&decisions(1_000 * seed + number)));
    let valid =
        |text: &String| text.contains("owner") && world.write("acme.yaml", text).argus(&["validate"]).code == Some(0);
    candidates.take(1_000).find(valid).expect("one of so many")
}

/// A world in which the first manifest was applied, and whose rows have become those of the second behind its back.
fn drifted(seed: u64) -> (World, [String; 2]) {
    let world = World::new();
    let (said, rows) = (valid(&world, 2 * seed), valid(&world, 2 * seed + 1));
    let apply = |text: &str| world.write("acme.yaml", text).argus(&["apply", "--auto-approve", "--force"]).ends(0);
    apply(&said);
    world.sql("CREATE TABLE public.before AS TABLE argus.applied");
    apply(&rows);
    world.sql(
        "BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM argus.applied; DELETE FROM argus.pass;
         INSERT INTO argus.applied SELECT * FROM public.before; COMMIT",
    );
    world.write("acme.yaml", &said);
    (world, [said, rows])
}

#[test]
fn what_git_apply_adopts_has_not_drifted_in_the_database() {
    let mut adopted = 0;
    for seed in 0..WORLDS {
        let (world, [said, _]) = drifted(seed);
        let before = world.argus(&["drift", "--detailed-exitcode"]);
        let patch = world.argus(&["drift", "--emit-patch"]).ends(0);
        assert_eq!(patch.out.is_empty(), before.code == Some(0), "{said}\n{before}\n{patch}");
        if patch.out.is_empty() {
            continue;
        }
        let mut git = Command::new("git");
        git.args(["apply", "--whitespace=nowarn", "-"]).current_dir(&world.root).env("GIT_CEILING_DIRECTORIES", "/tmp");
        let mut child = git.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git runs");
        child.stdin.take().expect("a pipe").write_all(patch.out.as_bytes()).expect("git reads");
        let output = child.wait_with_output().expect("git ends");
        assert!(output.status.success(), "{}\n{said}\n{patch}", String::from_utf8_lossy(&output.stderr));
        let after = std::fs::read_to_string(world.path("acme.yaml")).unwrap_or_default();
        // Where members are declared in part, and the owner of all was among those who went, that is for people to mend.
        if world.argus(&["validate"]).code != Some(0) {
            continue;
        }
        let drift = world.argus(&["drift", "--detailed-exitcode"]);
        assert_eq!(drift.code, Some(0), "{said}\n{patch}\n{after}\n{drift}");
        // Nothing is written but who owns what, and then nothing is left.
        let rows = "SELECT (SELECT jsonb_agg(to_jsonb(o) - 'version') FROM argus.organization o),
                           (SELECT jsonb_agg(to_jsonb(m) - 'version' ORDER BY m.email) FROM argus.member m),
                           (SELECT jsonb_agg(to_jsonb(t) - 'version' ORDER BY t.name) FROM argus.team t)";
        let were = world.sql(rows);
        world.argus(&["apply", "--auto-approve", "--force"]).ends(0);
        assert_eq!(world.sql(rows), were, "{said}\n{after}");
        world.is_settled();
        adopted += 1;
    }
    assert!(adopted > WORLDS / 2, "{adopted} of {WORLDS} had drifted");
}

#[test]
fn plans_of_random_requests_are_the_same_with_a_snapshot() {
    let mut changing = 0;
    for seed in 0..WORLDS {
        let (world, both) = drifted(seed);
        let snapshot = world.snapshot(&[]);
        let all = both.concat();
        let [said, rows] = both;
        for request in [said, valid(&world, 1_000 + seed), rows] {
            world.write("acme.yaml", &request);
            let expected = world.argus(&["plan", "--format", "json", "--detailed-exitcode"]);
            let found = world.plan_with(&["--format", "json", "--detailed-exitcode"]);
            assert_eq!(expected.code, found.code, "{request}\n{expected}\n{found}");
            // What the rows hold is known to whoever made them.
            let words: Vec<&str> = all.split(|c: char| !(c.is_alphanumeric() || "@.-_".contains(c))).collect();
            is_same(&expected.json(), &found.json(), &snapshot, &words);
            changing += u64::from(expected.code == Some(2));
        }
    }
    assert!(changing > WORLDS, "{changing} plans had something to change");
}
