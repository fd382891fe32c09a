//! Whoever has a part in a commit approves nothing of it, whoever runs Argus.

use super::{APPROVERS, CI, Court, staff};
use crate::cli::Ran;
use crate::support::git::Repository;
use crate::support::keys::Key;

/// A court whose manifests stand in a repository.
struct Committed {
    court: Court,
    repository: Repository,
}

impl Committed {
    /// An organization of ten, applied from the first commit.
    fn applied() -> Committed {
        let committed = Committed::new();
        committed.apply(&[]).ends(0);
        committed
    }

    /// The same, committed, and applied from the directory as yet.
    fn new() -> Committed {
        let court = Court::with("acme", 9);
        let repository = Repository { path: court.world.root.clone() };
        repository.git(&["init", "-q", "-b", "main"]);
        repository.commit("Begin");
        Committed { court, repository }
    }

    fn apply(&self, arguments: &[&str]) -> Ran {
        self.court.as_role(CI, &[&["apply", "--ref", "main", "--auto-approve"], arguments].concat())
    }

    /// Commits what stands there as somebody.
    fn commit_as(&self, who: &str, options: &[&str]) {
        self.repository.git(&["add", "-A"]);
        let author = format!("--author={who} <{}@acme.example>", who.to_lowercase());
        let arguments = ["commit", "-q", "--allow-empty", "-m", "Change something", &author];
        self.repository.git(&[options, &arguments].concat());
    }

    /// Ivan lets eight people go, and somebody else's commit comes last.
    fn ivan_lets_people_go(&self) {
        self.court.write("acme.yaml", &staff("acme", 1));
        self.commit_as("Ivan", &[]);
        self.commit_as("Zoe", &[]);
    }

    /// The plan of acme waits; Ivan cannot approve it, and Heidi can.
    fn waits_for_somebody_else(&self, digest: &str) {
        self.court.approve("ivan", digest).ends(1).says("is your own");
        self.apply(&[]).ends(4);
        self.court.approve("heidi", digest).ends(0);
        self.apply(&[]).says("approved by Heidi");
        assert_eq!(self.court.world.sql("SELECT count(*) FROM argus.member WHERE organization = 'acme'"), "2");
    }
}

#[test]
fn nobody_approves_their_own_commit() {
    let committed = Committed::applied();
    committed.ivan_lets_people_go();
    committed.apply(&[]).ends(4).says("ARG3001");
    committed.waits_for_somebody_else(&committed.court.digest());
}

#[test]
fn what_is_held_keeps_its_authors_while_others_are_applied() {
    let committed = Committed::new();
    committed.court.write("globex.yaml", &staff("globex", 1));
    committed.commit_as("Zoe", &[]);
    committed.apply(&[]).ends(0);
    committed.ivan_lets_people_go();
    committed.court.write("globex.yaml", &staff("globex", 2));
    committed.commit_as("Zoe", &[]);
    committed.apply(&[]).ends(4).says("ARG3001").says("1 added");
    // Another plan, of which a part is somebody else's.
    committed.court.write("acme.yaml", &staff("acme", 1).replace("role: member", "role: admin"));
    committed.commit_as("Zoe", &[]);
    committed.apply(&[]).ends(4);
    committed.waits_for_somebody_else(&committed.court.digest());
}

#[test]
fn nobody_approves_their_own_commit_of_a_branch_that_was_rewound() {
    let committed = Committed::new();
    committed.commit_as("Zoe", &[]);
    committed.apply(&[]).ends(0);
    committed.repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
    committed.ivan_lets_people_go();
    committed.apply(&[]).ends(4).says("ARG1721");
    committed.waits_for_somebody_else(&committed.court.digest());
}

#[test]
fn nobody_approves_their_own_commit_of_what_was_a_directory_before() {
    let committed = Committed::new();
    committed.ivan_lets_people_go();
    committed.apply(&[]).ends(4).says("ARG3001");
    committed.waits_for_somebody_else(&committed.court.digest());
}

#[test]
fn nobody_approves_their_own_commit_of_a_plan_that_was_saved() {
    let committed = Committed::applied();
    committed.ivan_lets_people_go();
    let saved = committed.court.world.path("../saved-plan.json").display().to_string();
    let saved = format!("{saved}-{}", std::process::id());
    committed.court.as_role(CI, &["plan", "--ref", "main", "-o", &saved]).ends(0);
    let apply = || committed.court.as_role(CI, &["apply", &saved, "--auto-approve"]);
    apply().ends(4).says("ARG3001");
    let digest = committed.court.digest();
    committed.court.approve("ivan", &digest).ends(1).says("is your own");
    committed.court.approve("heidi", &digest).ends(0);
    apply().ends(0).says("approved by Heidi");
    std::fs::remove_file(saved).expect("it can be removed");
}

#[test]
fn whoever_signed_a_commit_approves_nothing_of_it() {
    let committed = Committed::applied();
    let (ivan, zoe) = (Key::new("ed25519"), Key::new("ed25519"));
    let signers = ivan.path().with_file_name("signers");
    let lines = format!("somebody@elsewhere.example {}\nzoe@acme.example {}\n", ivan.public, zoe.public);
    std::fs::write(&signers, lines).expect("a file");
    let keys = format!("databaseRoles: [test_ivan], sshKeys: [\"{}\"]", ivan.public);
    let approvers = APPROVERS.replace("databaseRoles: [test_ivan]", &keys);
    let git = "git:\n  verify: all-since-applied\n  signers:";
    committed.court.settings(&format!("{approvers}{git}\n    allowedSigners: [{}]\n", signers.display()));
    let signed_by = |key: &Key| {
        let signing = format!("user.signingKey={}", key.path().display());
        committed.commit_as("Zoe", &["-c", "gpg.format=ssh", "-c", &signing, "-c", "commit.gpgSign=true"]);
    };
    committed.court.write("acme.yaml", &staff("acme", 1));
    signed_by(&ivan);
    signed_by(&zoe);
    committed.apply(&[]).ends(4).says("ARG3001");
    committed.waits_for_somebody_else(&committed.court.digest());
}

#[test]
fn an_approval_of_one_organization_says_nothing_of_another() {
    let committed = Committed::new();
    committed.court.write("globex.yaml", &staff("globex", 1));
    committed.commit_as("Zoe", &[]);
    committed.commit_as("Zoe", &[]);
    committed.apply(&[]).ends(0);
    committed.repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
    committed.court.write("globex.yaml", &staff("globex", 2));
    committed.court.write("acme.yaml", &staff("acme", 8));
    committed.commit_as("Zoe", &[]);
    committed.apply(&[]).ends(4).says("ARG1721");
    let of_globex = "SELECT plan_digest FROM argus.held_plan WHERE organization = 'globex'";
    committed.court.approve("heidi", &committed.court.world.sql(of_globex)).ends(0);
    committed.apply(&[]).ends(4).says("approved by Heidi");
    let acme = || committed.court.world.sql("SELECT count(*) FROM argus.member WHERE organization = 'acme'");
    for _ in 0..2 {
        committed.apply(&[]).ends(4).says("held[ARG1721]");
        assert_eq!(acme(), "10");
    }
    // What comes next of the one that was approved leads on from there.
    committed.court.write("globex.yaml", &staff("globex", 3));
    committed.commit_as("Zoe", &[]);
    committed.apply(&[]).ends(4).says("1 added");
    assert_eq!(acme(), "10");
}
