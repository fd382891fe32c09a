//! The controller and the history of a repository: what goes, what is rewound, what is not signed, and which commit each
//! organization stands at.

use super::{Desk, named};
use crate::cli::{ACME, run};
use crate::support::git_http::GitHttp;
use crate::support::keys::Key;

const TEAM: &str = "\
apiVersion: argus.io/v1alpha1
kind: Team
metadata:
  name: core
spec:
  organization: acme
  displayName: Core
";

/// Which commits the source and its organizations stand at, as far as they differ.
fn standing(desk: &Desk) -> (String, String) {
    let whole = desk.world.sql("SELECT commit FROM argus.source_baseline");
    let own = "SELECT string_agg(organization || ' ' || commit, ',' ORDER BY 1) FROM argus.organization_baseline";
    (whole, desk.world.sql(own))
}

#[test]
fn an_organization_that_goes_with_a_removal_is_forgotten() {
    let desk = Desk::acme();
    desk.commit("globex.yaml", &named("globex"));
    desk.once().ends(0);
    std::fs::remove_file(desk.repository.path.join("globex.yaml")).expect("it goes");
    let removal = "apiVersion: argus.io/v1alpha1\nkind: Removal\nmetadata: {name: globex-ends}\nspec:\n  organization: globex\n  \
                   target: {kind: Organization, name: globex}\n  reason: it was sold\n";
    desk.commit("removal.yaml", removal);
    desk.asked().ends(0);
    assert_eq!(desk.world.sql("SELECT string_agg(name, ' ') FROM argus.organization"), "acme");
    desk.once().ends(0).says("Stopped after 0 turns.");
    // As soon as nothing is said of it any more a full look forgets it.
    std::fs::remove_file(desk.repository.path.join("removal.yaml")).expect("it goes");
    desk.repository.commit("It has done its work");
    desk.world.sql("UPDATE argus.source SET full_at = full_at - interval '2 days'");
    desk.asked().ends(0);
    assert_eq!(desk.world.sql("SELECT string_agg(organization, ' ') FROM argus.work"), "acme");
}

/// Without a removal it is protected: it waits for people, and goes on being listed.
#[test]
fn an_organization_that_vanishes_is_held() {
    let desk = Desk::acme();
    desk.commit("globex.yaml", &named("globex"));
    desk.once().ends(0);
    std::fs::remove_file(desk.repository.path.join("globex.yaml")).expect("it goes");
    desk.repository.commit("Forget it");
    desk.asked().ends(0);
    assert_eq!(desk.world.sql("SELECT count(*) FROM argus.organization"), "2");
    assert_eq!((desk.state("globex"), desk.state("acme")), ("Held".into(), "Ready".into()));
    desk.argus(&["get", "held"]).ends(0).says("globex");
}

/// What was held goes on standing at the commit that it was applied from, however many commits come after; so whoever removed
/// something in one of them is still found.
#[test]
fn organizations_stand_at_the_commits_that_they_were_applied_from() {
    let desk = Desk::acme();
    desk.repository.write("globex.yaml", &named("globex"));
    let more: String =
        ["grace", "alan", "heidi"].map(|n| format!("    - user: {n}@acme.example\n      role: admin\n")).concat();
    let first = desk.commit("acme.yaml", &format!("{ACME}{more}"));
    desk.once().ends(0);
    desk.asked().ends(0);
    let removing = desk.commit("acme.yaml", ACME);
    desk.asked().ends(0);
    assert_eq!(desk.state("acme"), "Held");
    let last = desk.commit("globex.yaml", &named("globex").replace("displayName: globex", "displayName: Two"));
    desk.asked().ends(0);
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization WHERE name = 'globex'"), "Two");
    let (whole, own) = standing(&desk);
    assert_eq!(whole, last);
    assert!(own.contains(&format!("acme {first}")), "{own}");
    let digest = desk.world.sql("SELECT plan_digest FROM argus.held_plan");
    desk.argus(&["show", &digest]).ends(0).says(removing.get(..12).expect("an id"));
}

#[test]
fn a_branch_that_was_rewound_removes_nothing() {
    let desk = Desk::acme();
    let first = desk.repository.git(&["rev-parse", "HEAD"]);
    desk.commit("team.yaml", TEAM);
    desk.once().ends(0);
    desk.asked().ends(0);
    desk.repository.git(&["reset", "--hard", "-q", &first]);
    desk.commit("other.yaml", &named("globex"));
    desk.asked().ends(0);
    assert_eq!(desk.world.sql("SELECT count(*) FROM argus.team"), "1");
    assert_eq!(desk.state("acme"), "Held");
    desk.argus(&["get", "sources"]).ends(0).says("does not lead on");
}

/// Over a server, with a mirror: the look asks it, the work does not.
#[test]
fn only_what_is_signed_is_let_in() {
    let desk = Desk::new();
    let ada = Key::new("ed25519");
    let signed = |text: &str, sign: bool| {
        desk.repository.write("acme.yaml", text);
        desk.repository.git(&["add", "-A"]);
        let signing = format!("user.signingKey={}", ada.path().display());
        let mut words = vec!["-c", "gpg.format=ssh", "-c", &signing, "commit", "-q", "-m", "one"];
        words.extend(sign.then_some("-S"));
        desk.repository.git(&words);
    };
    signed(ACME, true);
    let server = GitHttp::start(&desk.repository.path);
    desk.world.write("allowed", &format!("ada@acme.example {}\n", ada.public));
    let (url, authority) = (server.url("/.git"), server.authority().display().to_string());
    desk.world.write(
        "machine.yaml",
        &format!(
            "controller:\n  sources:\n    - name: default\n      git:\n        url: {url}\n        ref: main\n        \
             caFile: {authority}\n        verify: all-since-applied\n        signers: {{allowedSigners: [allowed]}}\n"
        ),
    );
    let _controller = desk.start();
    desk.until("SELECT display_name FROM argus.organization", "Acme");
    desk.reconcile().ends(0);
    signed(&ACME.replace("Acme\n", "Sneaked in\n"), false);
    signed(&ACME.replace("Acme\n", "Sneaked in too\n"), true);
    desk.reconcile().ends(1).says("ARG1401");
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization"), "Acme");
    desk.argus(&["get", "sources"]).ends(0).says("Stalled");
}

/// A source that only reports does so, and is left in peace.
#[test]
fn a_source_that_observes_writes_nothing_and_is_not_busy() {
    let desk = Desk::acme();
    desk.commit("argus.yaml", "source: default\nmode: observe\n");
    desk.once().ends(0);
    assert_eq!(desk.world.sql("SELECT count(*) FROM argus.organization"), "0");
    desk.once().ends(0).says("Stopped after 0 turns.");
    desk.commit("argus.yaml", "source: default\nmode: apply\n");
    desk.asked().ends(0);
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization"), "Acme");
    // In this mode drift is told, and stays.
    desk.world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine'");
    let _controller = desk.start();
    desk.until("SELECT count(*) FROM argus.event WHERE type = 'drift.detected'", "1");
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization"), "Mine");
    let path = desk.repository.path.display().to_string();
    run(desk.command(&["drift", "--git", &path])).ends(0).says("mallory");
}
