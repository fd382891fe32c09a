//! What ships for CI: every script of it is run as the forge would, with the real binary and a real repository. Only the
//! forge itself is played: a `gh` on the PATH that keeps what it is sent, and a small server for GitLab.

mod github;
mod gitlab;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{ACME, ARGUS, World, bare, ran, run};

/// The tools that the scripts call, and that not every machine has.
fn has_tools() -> bool {
    let has = |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    let missing: Vec<&str> = ["bash", "jq", "curl"].into_iter().filter(|tool| !has(tool)).collect();
    if !missing.is_empty() {
        use std::io::Write as _;
        let skipped = format!("\nSKIPPED: the scripts for CI need {}.\n", missing.join(" and "));
        let _ = std::io::stderr().write_all(skipped.as_bytes());
    }
    missing.is_empty()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A YAML file of the repository.
fn yaml(path: &str) -> Value {
    let text = std::fs::read_to_string(root().join(path)).expect("it is there");
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every script in a document, under whatever key forges keep them.
fn scripts<'a>(of: &'a Value, into: &mut Vec<&'a str>) {
    match of {
        Value::Array(items) => items.iter().for_each(|item| scripts(item, into)),
        Value::Object(pairs) => pairs.iter().for_each(|(key, value)| match (key.as_str(), value) {
            ("run" | "entry", Value::String(script)) => into.push(script),
            ("script" | "before_script" | "after_script", Value::Array(lines)) => {
                into.extend(lines.iter().filter_map(Value::as_str));
            }
            (_, value) => scripts(value, into),
        }),
        _ => {}
    }
}

const FILES: &[(&str, usize)] = &[
    (".github/actions/argus/action.yml", 5),
    ("examples/ci/github.yml", 3),
    ("examples/ci/gitlab.yml", 5),
    (".pre-commit-hooks.yaml", 1),
];

#[test]
fn no_script_has_an_expression_in_it_that_somebody_outside_could_fill() {
    for (path, count) in FILES {
        let document = yaml(path);
        let mut found = Vec::new();
        scripts(&document, &mut found);
        assert_eq!(found.len(), *count, "{path}: {found:#?}");
        for script in found {
            assert!(!script.contains("${{"), "{path}: {script}");
            assert!(!script.contains("eval ") && !script.contains("set -x"), "{path}: {script}");
            let checked = Command::new("sh").args(["-n", "-c", script]).output().expect("a shell");
            let bash = Command::new("bash").args(["-n", "-c", script]).output();
            let fine = checked.status.success() || bash.is_ok_and(|bash| bash.status.success());
            assert!(fine, "{path}: {script}\n{}", String::from_utf8_lossy(&checked.stderr));
        }
    }
}

#[test]
fn jobs_have_no_more_rights_than_they_need_and_no_fork_meets_a_secret() {
    let workflow = yaml("examples/ci/github.yml");
    assert_eq!(workflow["permissions"], Value::Object(Default::default()));
    for (name, job) in workflow["jobs"].as_object().expect("jobs") {
        assert!(job["permissions"].is_object() && job["if"].is_string(), "{name}");
        let text = job.to_string();
        let reads_secrets = text.contains("secrets.");
        assert_eq!(reads_secrets, job["environment"].is_string(), "{name}");
        // What runs for anybody's pull request meets none of them, and writes no content.
        if matches!(name.as_str(), "validate" | "fork") {
            assert!(!reads_secrets && !text.contains("\"contents\":\"write\""), "{name}");
        }
    }
    let plan = workflow["jobs"]["plan"]["if"].as_str().expect("a condition");
    assert!(plan.contains("head.repo.full_name == github.repository"));
}

/// Of a shallow clone there is no history, and of a branch anybody who may push to it says what it is.
#[test]
fn jobs_that_read_a_commit_have_its_history_and_the_action_is_one_commit() {
    let workflow = yaml("examples/ci/github.yml");
    let mut actions = BTreeSet::new();
    for (name, job) in workflow["jobs"].as_object().expect("jobs") {
        let steps = job["steps"].as_array().expect("steps");
        let whole = steps.iter().any(|step| step["with"]["fetch-depth"] == 0);
        let reads_commit = steps.iter().any(|step| step["with"]["ref"].is_string() || step["with"]["base"].is_string());
        assert_eq!(whole, reads_commit, "{name}");
        assert_eq!(reads_commit, name != "validate", "{name}");
        actions.extend(steps.iter().filter_map(|step| step["uses"].as_str()).filter(|uses| uses.contains("argus")));
    }
    assert_eq!(actions.len(), 1, "{actions:?}");
    let commit = actions.first().and_then(|uses| uses.split_once('@')).expect("a commit").1;
    assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
}

#[test]
fn the_documentation_tells_of_every_input_and_output_of_the_action() {
    let document = std::fs::read_to_string(root().join("docs/ci.md")).expect("it is there");
    let action = yaml(".github/actions/argus/action.yml");
    for sort in ["inputs", "outputs"] {
        for name in action[sort].as_object().expect("names").keys() {
            assert!(document.contains(&format!("`{name}`")), "{name}");
        }
    }
}

/// A variable that is protected does not reach what is not, and one of an environment reaches its jobs alone.
#[test]
fn jobs_are_in_the_environment_whose_login_they_need() {
    for (path, jobs) in [
        (
            "examples/ci/github.yml",
            [("plan", "plan"), ("drift", "plan"), ("snapshot", "snapshot"), ("apply", "production")],
        ),
        (
            "examples/ci/gitlab.yml",
            [("argus-plan", "plan"), ("argus-drift", "plan"), ("argus-apply", "production"), ("argus-validate", "")],
        ),
    ] {
        let document = yaml(path);
        let of = document.get("jobs").unwrap_or(&document);
        for (job, environment) in jobs {
            let named = &of[job]["environment"];
            assert_eq!(named.as_str().or(named["name"].as_str()).unwrap_or_default(), environment, "{path}: {job}");
            // A plan is no deployment.
            let is_access = named["action"] == "access";
            assert_eq!(is_access, path.contains("gitlab") && environment == "plan", "{path}: {job}");
        }
    }
}

#[test]
fn the_hook_finds_what_is_wrong_and_needs_no_database() {
    let hook = &yaml(".pre-commit-hooks.yaml")[0];
    assert_eq!((&hook["pass_filenames"], &hook["language"]), (&Value::Bool(false), &"system".into()));
    // What is deleted is not among the files that a hook is asked about.
    assert_eq!((&hook["always_run"], hook.get("files")), (&Value::Bool(true), None));
    let words: Vec<&str> = hook["entry"].as_str().expect("a command").split(' ').collect();
    assert_eq!(words[0], "argus");
    let world = World::with(ACME);
    let hook_with = |arguments: &[&str]| {
        let mut command = bare(&[&words[1..], arguments].concat());
        command.current_dir(&world.root).env("ARGUS_DATABASE_URL", "postgres://argus@127.0.0.1:1/none");
        run(command)
    };
    let hook = || hook_with(&[]);
    hook().ends(0).says("Valid");
    world.write("acme.yaml", &ACME.replace("role: owner", "role: ownr"));
    hook().ends(1).says("ARG1102");
    // A file that others refer to is deleted.
    let team = "apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata: {name: core}\nspec: {organization: acme}\n";
    world.write("acme.yaml", ACME).write("infra/orgs/team.yaml", team);
    hook().ends(0);
    world.remove("acme.yaml");
    hook().ends(1).says("acme");
    // `args: [infra/orgs]` reads that folder alone.
    world.write("broken.yaml", "nonsense: true\n").write("infra/orgs/acme.yaml", ACME);
    hook().ends(1);
    hook_with(&["infra/orgs"]).ends(0).says("Valid");
}

/// Runs Git in a folder and gives what it says.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=ada", "-c", "user.email=ada@acme.example"]).args(arguments).current_dir(folder);
    let output = git.env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("git runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A checkout as a forge makes one, of a repository that it keeps.
struct Forge {
    world: World,
    /// What the forge keeps: the repository, and what it was sent.
    kept: PathBuf,
}

impl Forge {
    /// A repository with these manifests, which have been applied.
    fn with(text: &str) -> Forge {
        let world = World::applied(text);
        let kept = crate::support::postgres::scratch("forge");
        std::fs::create_dir_all(kept.join("bin")).expect("a folder");
        std::os::unix::fs::symlink(ARGUS, kept.join("bin/argus")).expect("a link");
        git(&kept, &["init", "--quiet", "--bare", "repo.git"]);
        git(&world.root, &["init", "--quiet", "--initial-branch", "main"]);
        std::fs::write(world.path(".git/info/exclude"), ".argus\n").expect("a file");
        git(&world.root, &["remote", "add", "origin", &kept.join("repo.git").display().to_string()]);
        let forge = Forge { world, kept };
        forge.commit();
        git(&forge.world.root, &["push", "--quiet", "origin", "main"]);
        git(&forge.world.root, &["checkout", "--quiet", "--detach"]);
        forge
    }

    /// Commits the work tree as it is, and gives the commit.
    fn commit(&self) -> String {
        git(&self.world.root, &["add", "--all"]);
        git(&self.world.root, &["commit", "--quiet", "--message", "x"]);
        git(&self.world.root, &["rev-parse", "HEAD"])
    }

    fn keep(&self, name: &str, text: &str) {
        std::fs::write(self.kept.join(name), text).expect("a file");
    }

    fn kept(&self, name: &str) -> String {
        std::fs::read_to_string(self.kept.join(name)).unwrap_or_default()
    }

    /// A shell of the runner: it finds the binary and the tools, and of ours nothing else.
    fn shell(&self, shell: &[&str], environment: &BTreeMap<String, String>) -> Command {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).current_dir(&self.world.root).env_clear();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.kept.join("bin").display()));
        command.env("HOME", &self.kept).env("GIT_CONFIG_GLOBAL", "/dev/null").env("KEPT", &self.kept);
        command.envs(environment);
        command
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.kept);
        }
    }
}
