//! What happens to a pull request, before and after it is merged: the jobs `plan` and `apply` of the workflow.

use super::super::super::ACME;
use super::super::{Forge, git, has_tools};
use super::Names;
use crate::support::keys::Key;

const GRACE: &str = "    - user: grace@acme.example\n      role: member\n";

/// A policy that says this of every new member.
fn of_members(said: &str) -> String {
    format!(
        "package p\n\n# METADATA\n# title: x\n{said} contains \"no more members\" if {{\n\tsome change in \
         input.changes\n\tchange.kind == \"Member\"\n}}\n"
    )
}

impl Forge {
    /// What the runner knows of a pull request with this head.
    fn request_of(&self, head: &str) -> Names {
        let mut names = self.names();
        names.insert("github.event.pull_request.head.sha".into(), head.into());
        names
    }

    fn last_comment(&self) -> String {
        let comments = self.comments();
        comments.last().and_then(|last| last["body"].as_str()).expect("a comment").to_owned()
    }
}

#[test]
fn a_pull_request_is_judged_by_what_it_would_be_merged_into() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    forge.world.write("policies/p.rego", &of_members("deny"));
    forge.commit();
    git(&forge.world.root, &["push", "--quiet", "origin", "HEAD:main"]);
    // The branch takes the policy away that denies it.
    forge.world.remove("policies/p.rego").write("argus.yaml", "policies: none\n");
    forge.world.write("acme.yaml", &format!("{ACME}{GRACE}"));
    let head = forge.commit();
    let names = forge.request_of(&head);
    forge.workflow("plan", &names, &[]).ends(3).says("::error::policies deny this plan");
    let comment = forge.last_comment();
    assert!(comment.contains("no more members") && comment.contains("| denied |"), "{comment}");
    assert!(comment.contains(&format!("of commit `{head}`")), "{comment}");
    assert_eq!(comment.matches("commit `").count(), 1, "{comment}");
    forge.workflow("plan", &names, &[("fail-on-denied", "false")]).ends(0);
}

#[test]
fn a_plan_that_waits_is_green() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    forge.world.write("policies/p.rego", &of_members("hold"));
    forge.commit();
    git(&forge.world.root, &["push", "--quiet", "origin", "HEAD:main"]);
    forge.world.write("acme.yaml", &format!("{ACME}{GRACE}"));
    let head = forge.commit();
    forge.workflow("plan", &forge.request_of(&head), &[]).ends(0);
    assert!(forge.last_comment().contains("**Held until somebody approves**"), "{}", forge.last_comment());
    // Nothing that a manifest says is taken for the verdict.
    let told = ACME.replace("displayName: Acme", "displayName: \"<!-- argus:verdict denied -->\"");
    forge.world.write("acme.yaml", &told);
    forge.with_database(&[("command", "plan")]).ends(0);
}

/// A job that is run again applies what it applied then: an older commit than the one that was applied last.
#[test]
fn an_old_job_that_is_run_again_takes_nothing_back() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    let name = || forge.world.sql("SELECT display_name FROM argus.organization");
    let commits = ["Acme One", "Acme Two"].map(|name| {
        forge.world.write("acme.yaml", &ACME.replace("Acme", name));
        forge.commit()
    });
    for (commit, applied) in commits.iter().zip(["Acme One", "Acme Two"]) {
        forge.workflow("apply", &forge.push_of(commit), &[]).ends(0);
        assert_eq!(name(), applied);
    }
    forge.workflow("apply", &forge.push_of(&commits[0]), &[]).ends(4);
    assert_eq!(name(), "Acme Two");
    assert!(forge.kept("summary").contains("ARG1721"), "{}", forge.kept("summary"));
    // Who wrote it is known, so that nobody approves what is their own.
    let runs = forge.world.argus(&["get", "runs", "-o", "json"]).ends(0).json().to_string();
    assert!(runs.contains(&commits[1]) && runs.contains("ada@acme.example"), "{runs}");
}

/// Whoever may push a branch can read the secrets of the environment `plan`: its login reads, and that is enough.
#[test]
fn what_is_only_read_needs_no_login_that_may_write() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    // Roles are shared by all databases of the server, and tests run side by side.
    forge.world.sql(
        "DO $$ BEGIN CREATE ROLE test_ci_plan LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
         DO $$ BEGIN GRANT argus_planner TO test_ci_plan; EXCEPTION WHEN unique_violation THEN NULL; END $$",
    );
    let url = forge.world.database.url.to_string().replace("argus@", "test_ci_plan@");
    let key = Key::new("ed25519");
    std::fs::copy(key.path(), forge.kept.join("snapshot-key")).expect("a key");
    forge.world.write("acme.yaml", &ACME.replace("Acme", "Acme Inc"));
    let head = forge.commit();
    let names = forge.request_of(&head).into_iter().chain(forge.push_of(&head)).collect();
    let job = |job: &str| {
        let inputs = forge.inputs(job, &names);
        let inputs: Vec<(&str, &str)> = inputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        forge.action(&inputs, &[("ARGUS_DATABASE_URL", &url)])
    };
    job("plan").ends(0);
    assert!(forge.last_comment().contains("### Plan: 0 to add, 1 to change"), "{}", forge.last_comment());
    job("drift").ends(0);
    job("snapshot").ends(0);
    assert_ne!(job("apply").code, Some(0));
    assert_eq!(forge.world.sql("SELECT display_name FROM argus.organization"), "Acme");
}
