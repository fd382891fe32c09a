//! Only what is signed by those whom the machine lists is read.

use super::{ACME, Source};
use crate::support::git::{run_with, written};
use crate::support::keys::Key;

const GRACE: &str = "    - user: grace@acme.example\n      role: member\n";

impl Source {
    /// Commits signed with an SSH key.
    fn commit_signed(&self, key: &Key, text: &str) -> String {
        self.repository.write("acme.yaml", text);
        self.repository.git(&["add", "-A"]);
        let signing = format!("user.signingKey={}", key.path().display());
        self.repository.git(&[
            "-c",
            "gpg.format=ssh",
            "-c",
            &signing,
            "commit",
            "-q",
            "--allow-empty",
            "-S",
            "-m",
            "Signed",
        ]);
        self.repository.git(&["rev-parse", "HEAD"])
    }

    fn demanding(&self, verify: &str, signers: &[&Key]) -> String {
        let lines: String = signers.iter().map(|key| format!("ada@acme.example {}\n", key.public)).collect();
        self.world.write("allowed", &lines);
        let allowed = self.world.path("allowed").display().to_string();
        self.settings(&format!("git:\n  verify: {verify}\n  signers:\n    allowedSigners: [{allowed}]\n"))
    }
}

#[test]
fn an_unsigned_commit_is_not_read_and_a_signed_one_names_its_signer() {
    let source = Source::acme();
    let (ada, mallory) = (Key::new("ed25519"), Key::new("ed25519"));
    let settings = source.demanding("head", &[&ada]);
    source.plan(&["--config", &settings]).ends(1).says("ARG1401").says("is not signed");
    source.commit_signed(&mallory, &format!("{ACME}{GRACE}"));
    source.apply(&["--config", &settings]).ends(1).says("ARG1402");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.organization"), "0");
    source.commit_signed(&ada, &format!("{ACME}{GRACE}"));
    source.apply(&["--config", &settings]).ends(0);
    let runs = source.argus(&["get", "runs", "-o", "json"]).ends(0).json();
    assert_eq!(runs["items"][0]["commit"]["signer"], "ada@acme.example", "{runs}");
}

#[test]
fn all_that_came_since_the_last_apply_can_be_asked_to_be_signed() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Sneak somebody in");
    source.commit_signed(&ada, &format!("{ACME}{GRACE}# two\n"));
    source.apply(&["--config", &settings]).ends(1).says("ARG1401").says("of Ada");
    let head = source.demanding("head", &[&ada]);
    source.plan(&["--config", &head]).ends(2).says("grace@acme.example");
}

/// A saved plan is no way around signatures, whatever asked for none when it was made.
#[test]
fn a_saved_plan_is_made_of_what_is_signed_or_is_not_applied() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    let unsigned = source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Sneak somebody in");
    let saved = source.world.path("saved.plan").display().to_string();
    let path = source.repository.path.display().to_string();
    let with_url =
        std::fs::read_to_string(&settings).expect("settings").replace("git:\n", &format!("git:\n  url: {path}\n"));
    source.world.write("applying.yaml", &with_url);
    let applying = source.world.path("applying.yaml").display().to_string();
    let apply = || source.argus(&["apply", &saved, "--auto-approve", "--config", &applying]);
    source.plan(&["-o", &saved]).ends(2);
    apply().ends(1).says("ARG1401");
    source.commit_signed(&ada, &format!("{ACME}{GRACE}# two\n"));
    apply().ends(1).says("ARG1401").says(&unsigned);
    source.plan(&["-o", &saved]).ends(2);
    apply().ends(1).says("ARG1401").says(&unsigned);
    // A directory has no signature at all.
    source.argus(&["plan", &path, "-o", &saved]).ends(0);
    apply().ends(1).says("ARG1413").says("not made of a commit");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
    source.repository.git(&["reset", "-q", "--hard", "HEAD~2"]);
    source.commit_signed(&ada, &format!("{ACME}{GRACE}"));
    source.plan(&["-o", &saved]).ends(2);
    apply().ends(0).says("1 added");
}

/// What leads on from an applied commit was made after it, whatever it says.
#[test]
fn a_key_of_yesterday_signs_nothing_today() {
    let source = Source::acme();
    let (ada, old) = (Key::new("ed25519"), Key::new("ed25519"));
    source.world.write(
        "allowed",
        &format!("ada@acme.example {}\nold@acme.example valid-before=\"20250101Z\" {}\n", ada.public, old.public),
    );
    let allowed = source.world.path("allowed").display().to_string();
    let settings =
        source.settings(&format!("git:\n  verify: all-since-applied\n  signers:\n    allowedSigners: [{allowed}]\n"));
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    source.repository.write("acme.yaml", &format!("{ACME}{GRACE}"));
    let signing = format!("user.signingKey={}", old.path().display());
    let mut backdated =
        source.repository.command(&["-c", "gpg.format=ssh", "-c", &signing, "commit", "-qaS", "-m", "Old"]);
    backdated.env("GIT_COMMITTER_DATE", "2024-06-01T00:00:00Z");
    assert!(backdated.status().expect("git runs").success());
    source.plan(&["--config", &settings]).ends(1).says("ARG1404");
}

#[test]
fn a_tag_can_be_asked_to_be_signed() {
    let source = Source::acme();
    let (ada, mallory) = (Key::new("ed25519"), Key::new("ed25519"));
    let settings = source.demanding("tag", &[&ada]);
    let tag = |name: &str, key: &Key| {
        let signing = format!("user.signingKey={}", key.path().display());
        source.repository.git(&["-c", "gpg.format=ssh", "-c", &signing, "tag", "-s", name, "-m", "Release it"]);
    };
    tag("v1", &ada);
    tag("v2", &mallory);
    source.repository.git(&["tag", "-a", "v3", "-m", "Not signed"]);
    source.plan(&["--config", &settings, "--ref", "v1"]).ends(2).says("Plan: 2 to add");
    source.plan(&["--config", &settings, "--ref", "v2"]).ends(1).says("ARG1402");
    source.plan(&["--config", &settings, "--ref", "v3"]).ends(1).says("ARG1401");
    let ran = source.plan(&["--config", &settings, "--ref", "main"]).ends(1).says("ARG1401").says("no annotated tag");
    ran.says("name an annotated, signed tag").does_not_say("sign it");
}

/// A forge vouches that it merged, and for nothing that stands in neither of the two.
#[test]
fn a_merge_of_a_forge_counts_for_what_merging_makes_and_nothing_else() {
    let source = Source::acme();
    let (ada, forge) = (Key::new("ed25519"), Key::new("ed25519"));
    source.demanding("all-since-applied", &[&ada]);
    source.world.write("forge.pub", &format!("{}\n", forge.public));
    let settings = source.settings(&format!(
        "git:\n  verify: all-since-applied\n  signers:\n    allowedSigners: [{}]\n    forges: {{github: {}}}\n",
        source.world.path("allowed").display(),
        source.world.path("forge.pub").display()
    ));
    let plan = || source.plan(&["--config", &settings]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    let git = |arguments: &[&str]| source.repository.git(arguments);
    let merge = |evil: Option<&str>| {
        git(&["merge", "-q", "--no-ff", "--no-commit", "feature"]);
        if let Some(text) = evil {
            source.repository.write("evil.yaml", text);
            git(&["add", "-A"]);
        }
        let signing = format!("user.signingKey={}", forge.path().display());
        git(&[
            "-c",
            "gpg.format=ssh",
            "-c",
            &signing,
            "commit",
            "-q",
            "-S",
            "-m",
            "Merge pull request #1 from acme/feature",
        ]);
    };
    git(&["checkout", "-q", "-b", "feature"]);
    source.commit_signed(&ada, &format!("{ACME}{GRACE}"));
    git(&["checkout", "-q", "main"]);
    let before = git(&["rev-parse", "HEAD"]);
    merge(Some(&ACME.replace("acme", "evil")));
    plan().ends(1).says("ARG1411").says("it holds something else").does_not_say("Organization/evil");
    git(&["reset", "-q", "--hard", &before]);
    merge(None);
    plan().ends(2).says("grace@acme.example");
    source.apply(&["--config", &settings]).ends(0);
    // The same parent twice is no merge, whatever it holds.
    let head = git(&["rev-parse", "HEAD"]);
    let text = String::from_utf8(source.repository.raw_commit(&head)).expect("UTF-8");
    let (tree, rest) = text.split_once('\n').expect("a header");
    let people: String = rest
        .lines()
        .filter(|line| line.starts_with("author") || line.starts_with("committer"))
        .map(|line| format!("{line}\n"))
        .collect();
    let unsigned = format!("{tree}\nparent {head}\nparent {head}\n{people}");
    source.world.write("payload", &format!("{unsigned}\nMerge\n"));
    let payload = source.world.path("payload");
    let mut sign = std::process::Command::new("ssh-keygen");
    sign.args(["-q", "-Y", "sign", "-n", "git", "-f"]).arg(forge.path()).arg(&payload);
    assert!(sign.status().expect("ssh-keygen runs").success());
    let signature = std::fs::read_to_string(source.world.path("payload.sig")).expect("a signature");
    let signature = signature.trim_end().replace('\n', "\n ");
    let twice = source.repository.object("commit", format!("{unsigned}gpgsig {signature}\n\nMerge\n").as_bytes());
    git(&["update-ref", "refs/heads/main", &twice]);
    plan().ends(1).says("ARG1411").says("it holds something else");
}

#[test]
fn a_signed_tag_counts_under_its_own_name_alone() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("tag", &[&ada]);
    let signing = format!("user.signingKey={}", ada.path().display());
    let tag = |name: &str, what: &str| {
        source.repository.git(&["-c", "gpg.format=ssh", "-c", &signing, "tag", "-s", name, "-m", "Release it", what]);
    };
    tag("v1", "HEAD");
    tag("again", "refs/tags/v1");
    let v1 = source.repository.git(&["rev-parse", "refs/tags/v1"]);
    source.repository.git(&["update-ref", "refs/tags/production", &v1]);
    for name in ["v1", "refs/tags/v1"] {
        source.plan(&["--config", &settings, "--ref", name]).ends(2).says("Plan: 2 to add");
    }
    source.plan(&["--config", &settings, "--ref", "production"]).ends(1).says("ARG1403").says("of the tag `v1`");
    source.plan(&["--config", &settings, "--ref", "again"]).ends(1).says("ARG1403").says("no commit");
}

/// What stands in the message is signed by nobody, and what stands behind a zero byte is seen by nobody.
#[test]
fn a_signature_counts_only_where_git_writes_it() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("head", &[&ada]);
    let good = source.commit_signed(&ada, &format!("{ACME}# one\n"));
    let raw = String::from_utf8(source.repository.raw_commit(&good)).expect("UTF-8");
    let at = raw.find("gpgsig ").expect("a signature");
    let end = at + raw[at..].find("-----END SSH SIGNATURE-----\n").expect("its end") + 28;
    let (signature, header) = (&raw[at..end], &raw[..at]);
    let message = raw[end..].trim_start_matches(" \n");
    for (text, code) in [
        (format!("{header}{message}{signature}"), "ARG1401"),
        (format!("{header}\n{signature}{}", &message[1..]), "ARG1401"),
        (format!("{raw}\0 and more"), "ARG1409"),
        (format!("{header}{signature}{signature}{message}"), "ARG1409"),
        (format!("{header}{signature}gpgsigencoding UTF-16\n{message}"), "ARG1409"),
    ] {
        let commit = source.repository.object("commit", text.as_bytes());
        source.repository.git(&["update-ref", "refs/heads/other", &commit]);
        let ran = source.plan(&["--config", &settings, "--ref", "other"]).ends(1);
        assert!(ran.all().contains(code), "{text}: {ran}");
    }
    source.plan(&["--config", &settings, "--ref", &good]).ends(2);
}

/// Where a command runs says nothing about whom to trust, and neither does what is pushed.
#[test]
fn lists_of_signers_stand_beside_the_settings_and_never_in_the_repository() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    let list = format!("ada@acme.example {}\n", ada.public);
    source.world.write("trust/allowed", &list);
    source.world.write("trust/machine.yaml", "git: {verify: head, signers: {allowedSigners: [allowed]}}\n");
    let settings = source.world.path("trust/machine.yaml").display().to_string();
    source.plan(&["--config", &settings]).ends(2).says("Plan: 2 to add");
    source.repository.write(".github/allowed", &list);
    let own = source.repository.path.join(".github/allowed").display().to_string();
    let settings = source.settings(&format!("git: {{verify: head, signers: {{allowedSigners: [{own}]}}}}\n"));
    source.plan(&["--config", &settings]).ends(1).says("ARG1412").says("whose commits it judges");
}

/// What was read before is not signed, and a folder that others may write is nobody's word.
#[test]
fn a_cache_is_no_way_around_signatures() {
    use std::os::unix::fs::PermissionsExt as _;
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("head", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    let kept = || {
        let mirrors = std::fs::read_dir(source.world.path("cache/argus/git")).into_iter().flatten().flatten();
        mirrors.filter_map(|mirror| std::fs::read_dir(mirror.path()).ok()).flatten().count()
    };
    source.plan(&["--config", &settings]).ends(2);
    assert_eq!(kept(), 0);
    source.plan(&[]).ends(2);
    assert!(kept() >= 2);
    std::fs::remove_dir_all(source.world.path("cache")).expect("it goes");
    let cache = source.world.path("cache/argus/git");
    std::fs::create_dir_all(&cache).expect("a folder");
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).expect("it is open");
    source.plan(&[]).ends(2).says("Plan: 2 to add");
    assert_eq!(kept(), 0);
    let server = crate::support::git_http::GitHttp::start(&source.repository.path);
    let trusting = source.settings(&format!("git: {{caFile: {}}}\n", server.authority().display()));
    let url = server.url("/.git");
    let plan = || source.argus(&["plan", "--git", &url, "--config", &trusting]);
    plan().ends(1).says("ARG5").says("may be written by others");
    std::fs::remove_dir_all(&cache).expect("it goes");
    std::os::unix::fs::symlink(source.world.path("elsewhere"), &cache).expect("a link");
    std::fs::create_dir(source.world.path("elsewhere")).expect("a folder");
    plan().ends(1).says("leads to one");
    std::fs::remove_file(&cache).expect("it goes");
    plan().ends(0).says("Plan: 2 to add");
}

#[test]
fn whom_to_trust_is_not_taken_from_the_repository() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    source.commit("argus.yaml", "source: acme\ngit: {verify: none}\n", "Trust everybody");
    let settings = source.demanding("head", &[&ada]);
    source.plan(&["--config", &settings]).ends(1).says("ARG1401");
    let nobody = source.settings("git: {verify: head}\n");
    source.plan(&["--config", &nobody]).ends(1).says("ARG1412");
    source.plan(&[]).ends(1).says("ARG5006");
}

impl Source {
    /// A branch that leaves the history before the commit that was applied: what somebody sneaks in, and a signed end.
    fn rewrite(&self, ada: &Key) {
        self.repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
        self.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Sneak somebody in");
        self.commit_signed(ada, &format!("{ACME}{GRACE}"));
    }
}

/// Rewriting history is no way around signatures.
#[test]
fn all_that_a_rewritten_branch_brings_has_to_be_signed() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.commit_signed(&ada, &format!("{ACME}# two\n"));
    source.apply(&["--config", &settings]).ends(0);
    source.rewrite(&ada);
    source.plan(&["--config", &settings]).ends(1).says("ARG1401").says("of Ada").does_not_say("ARG1721");
    source.apply(&["--config", &settings, "--force"]).ends(1).says("ARG1401");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
    // What is rewritten and signed throughout is held as ever.
    source.repository.git(&["reset", "-q", "--hard", "HEAD~2"]);
    source.commit_signed(&ada, &format!("{ACME}{GRACE}"));
    source.apply(&["--config", &settings]).ends(4).says("ARG1721");
    source.apply(&["--config", &settings, "--force"]).ends(0).says("Applied: 1 added");
}

#[test]
fn where_the_applied_commit_is_gone_all_of_the_history_has_to_be_signed() {
    let source = Source::new();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, ACME);
    source.apply(&["--config", &settings]).ends(0);
    source.repository.git(&["checkout", "-q", "--orphan", "other"]);
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Sneak somebody in");
    source.commit_signed(&ada, &format!("{ACME}{GRACE}# signed\n"));
    source.repository.git(&["branch", "-D", "-q", "main"]);
    source.repository.git(&["reflog", "expire", "--expire=now", "--all"]);
    source.repository.git(&["gc", "-q", "--prune=now"]);
    source.apply(&["--config", &settings, "--force"]).ends(1).says("ARG1401").says("of Ada");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
}

#[test]
fn a_shallow_clone_is_no_way_around_signatures() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Sneak somebody in");
    source.commit_signed(&ada, &format!("{ACME}{GRACE}"));
    let origin = format!("file://{}", source.repository.path.display());
    for (depth, code) in [("1", "ARG1724"), ("2", "ARG1724"), ("3", "ARG1401")] {
        let clone = source.world.path(&format!("clone-{depth}")).display().to_string();
        source.repository.git(&["clone", "-q", "--depth", depth, &origin, &clone]);
        let ran = source.argus(&["apply", "--auto-approve", "--force", "--git", &clone, "--config", &settings]);
        ran.ends(1).says(code);
    }
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
}

/// The walk has an end, and what lies behind it is not taken for signed.
#[test]
fn more_commits_than_are_looked_at_are_refused() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    let mut stream = String::new();
    for number in 0..20_001 {
        stream.push_str(&format!("commit refs/heads/main\ncommitter A <a@acme.example> {number} +0000\ndata 0\n"));
        stream.push_str(if number == 0 { "from refs/heads/main^0\n" } else { "" });
    }
    let import = source.repository.command(&["fast-import", "--quiet", "--force"]);
    written(&run_with(import, stream.as_bytes()));
    source.commit_signed(&ada, &format!("{ACME}{GRACE}"));
    source.apply(&["--config", &settings, "--force"]).ends(1).says("ARG1707").says("20000 commits");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
}

/// What is not committed cannot be signed.
#[test]
fn a_directory_is_no_way_around_signatures() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    let settings = source.demanding("head", &[&ada]);
    let root = source.repository.path.display().to_string();
    source.apply(&["--config", &settings]).ends(0);
    let run = source.world.sql("SELECT id FROM argus.run");
    source.repository.write("acme.yaml", &format!("{ACME}{GRACE}"));
    let saved = source.world.path("saved.plan").display().to_string();
    source.argus(&["plan", &root, "-o", &saved]).ends(0).says("1 to add");
    for arguments in [
        &["plan", &root][..],
        &["apply", "--auto-approve", &root],
        &["apply", "--auto-approve", "--force", &root],
        &["apply", "--auto-approve", &saved],
        &["drift", &root],
        &["rollback", &run, &root, "--auto-approve"],
    ] {
        source.argus(&[arguments, &["--config", &settings]].concat()).ends(1).says("ARG1413");
    }
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
    // Whoever only looks may look at a directory.
    source.argus(&["validate", &root, "--config", &settings]).ends(0);
    source.argus(&["plan", "--ref", "HEAD", &root, "--config", &settings]).ends(0).says("No changes.");
    source.argus(&["rollback", &run, "--git", &root, "--plan", "--config", &settings]).ends(0).does_not_say("ARG1413");
}

#[test]
fn another_name_of_the_source_brings_nothing_in_that_is_not_signed() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    source.commit("argus.yaml", "source: another\n", "Call it otherwise");
    source.commit("globex.yaml", &ACME.replace("acme", "globex"), "Sneak globex in");
    source.commit_signed(&ada, &format!("{ACME}# two\n"));
    source.apply(&["--config", &settings]).ends(1).says("ARG1401").says("of Ada");
    // Where the machine says what it is called, it is not even read.
    let pinned = source.settings("git: {source: default}\n");
    source.apply(&["--config", &pinned]).ends(1).says("ARG5006").says("`another`").says("`default`");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.organization"), "1");
}

/// A branch is shown before it is signed, and it is told that it would be refused.
#[test]
fn a_branch_that_would_be_refused_is_warned_of() {
    let source = Source::new();
    let ada = Key::new("ed25519");
    source.commit_signed(&ada, ACME);
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.apply(&["--config", &settings]).ends(0);
    source.repository.git(&["checkout", "-q", "-b", "feature"]);
    let unsigned = source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Add grace");
    let signed = source.commit_signed(&ada, &format!("{ACME}{GRACE}# two\n"));
    let plan = |verify: &str, head: &str| {
        let settings = source.demanding(verify, &[&ada]);
        source.plan(&["--base", "main", "--head", head, "--config", &settings]).ends(2).says("1 to add")
    };
    let ran = plan("all-since-applied", "feature").says("warning[ARG1401]");
    ran.says(&unsigned).does_not_say(&signed[..40]);
    plan("head", "feature").does_not_say("ARG1401");
    plan("head", &unsigned).says("warning[ARG1401]").says("merge it by a commit that is signed");
    plan("none", &unsigned).does_not_say("ARG1401");
}
