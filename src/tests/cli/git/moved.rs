//! What has not moved is not read again, and never does that change what is planned.

use std::fmt::Write as _;

use super::Source;
use crate::support::git_http::GitHttp;

fn organization(name: &str, display: &str) -> String {
    format!(
        "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata:\n  name: {name}\nspec:\n  displayName: {display}\n  \
         members:\n    - user: ada@{name}.example\n      role: owner\n"
    )
}

fn team(organization: &str, name: &str) -> String {
    format!(
        "apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata:\n  name: {name}\nspec:\n  organization: {organization}\n  \
         displayName: Team {name}\n"
    )
}

/// Two machines on one database: one with everything in its cache, one that has never seen the repository.
struct Two {
    source: Source,
    server: GitHttp,
    fresh: usize,
}

impl Two {
    fn new() -> Two {
        let source = Source::new();
        for number in 0..6 {
            let name = format!("org-{number}");
            source.repository.write(&format!("orgs/{name}/org.yaml"), &organization(&name, "One"));
            source.repository.write(&format!("orgs/{name}/teams.yaml"), &team(&name, "core"));
        }
        source.repository.commit("Begin");
        let server = GitHttp::start(&source.repository.path);
        Two { source, server, fresh: 0 }
    }

    fn run(&self, words: &[&str], cache: &str) -> super::Ran {
        let settings = self.source.settings(&format!("git:\n  caFile: {}\n", self.server.authority().display()));
        let url = self.server.url("/.git");
        let mut command =
            self.source.command(&[words, &["--git", &url, "--ref", "main", "--config", &settings]].concat());
        command.env("XDG_CACHE_HOME", self.source.world.path(cache));
        super::run(command)
    }

    /// Plans with the cache and without one, which has to say the same, and gives what was said.
    #[track_caller]
    fn plan(&mut self) -> super::Ran {
        self.fresh += 1;
        let fresh = self.run(&["plan", "--detailed-exitcode"], &format!("fresh-{}", self.fresh));
        let warm = self.run(&["plan", "--detailed-exitcode"], "warm");
        assert_eq!((warm.code, &warm.out, &warm.err), (fresh.code, &fresh.out, &fresh.err));
        warm
    }

    fn apply(&self) -> super::Ran {
        self.run(&["apply", "--auto-approve"], "warm")
    }

    fn commit(&self, file: &str, text: &str) {
        self.source.commit(file, text, "Change something");
    }
}

#[test]
fn a_warm_cache_never_changes_what_is_said() {
    let mut two = Two::new();
    two.plan().ends(2);
    two.apply().ends(0);
    two.plan().ends(0).says("No changes.");
    // One file of one organization.
    two.commit("orgs/org-1/org.yaml", &organization("org-1", "Two"));
    two.plan().ends(2).says("org-1").says("Plan: 0 to add, 1 to change");
    two.apply().ends(0);
    // Rows that have moved although nothing was committed.
    two.source.world.sql("UPDATE argus.organization SET display_name = 'Mallory' WHERE name = 'org-2'");
    two.plan().ends(2).says("org-2").says("drift");
    two.apply().ends(0);
    // A file that goes, one that comes, and one that moves from place to place.
    two.source.repository.git(&["rm", "-q", "orgs/org-3/teams.yaml"]);
    two.commit("orgs/org-3/more.yaml", &team("org-3", "other"));
    two.plan().ends(2).says("+ Team/other").says("- Team/core");
    two.apply().ends(0);
    two.source.repository.git(&["mv", "orgs/org-4", "elsewhere"]);
    two.commit("notes.txt", "nothing");
    two.plan().ends(0);
    two.apply().ends(0);
    // An organization that is spread over several places, and a file that speaks of two.
    two.commit("shared.yaml", &format!("{}---\n{}", team("org-0", "both"), team("org-5", "both")));
    two.plan().ends(2).says("org-0").says("org-5");
    two.apply().ends(0);
    two.commit("orgs/org-5/org.yaml", &organization("org-5", "Two"));
    two.plan().ends(2).says("Plan: 0 to add, 1 to change");
    // What is wrong is told again and again, and what it speaks of is held.
    two.commit("orgs/org-5/org.yaml", "kind: Nonsense\n");
    two.plan().ends(1);
    two.plan().ends(1);
    two.commit("orgs/org-5/org.yaml", &organization("org-5", "Two"));
    two.plan().ends(2);
    two.apply().ends(0);
    // The same organization a second time, in another file.
    two.commit("orgs/twice.yaml", &organization("org-0", "Again"));
    two.plan().ends(1).says("already declared");
    two.source.repository.git(&["rm", "-q", "orgs/twice.yaml"]);
    two.source.repository.commit("Once is enough");
    two.plan().ends(0);
    // What all share has come: everything is looked at.
    let tier =
        "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata:\n  name: small\nspec:\n  limits:\n    members: 5\n";
    two.commit("tiers.yaml", tier);
    two.plan().ends(2).says("Tier/small");
    two.apply().ends(0);
    two.commit("tiers.yaml", &tier.replace("5", "6"));
    two.plan().ends(2).says("Tier/small");
    two.apply().ends(0);
    two.plan().ends(0);
}

#[test]
fn a_moment_that_passes_is_noticed() {
    let mut two = Two::new();
    let soon = (chrono::Utc::now() + chrono::TimeDelta::seconds(20)).format("%Y-%m-%dT%H:%M:%SZ");
    let text = format!(
        "{}      expiresAt: {soon}\n    - user: grace@x.example\n      role: owner\n",
        organization("org-1", "One")
    );
    two.commit("orgs/org-1/org.yaml", &text);
    two.apply().ends(0);
    let index = two.source.world.path("warm/argus/git");
    let mut found = String::new();
    for mirror in std::fs::read_dir(index).expect("mirrors") {
        for entry in std::fs::read_dir(mirror.expect("an entry").path()).expect("a mirror") {
            let path = entry.expect("an entry").path();
            if path.display().to_string().contains("index-") {
                found = std::fs::read_to_string(path).expect("an index");
            }
        }
    }
    assert!(found.contains(&format!("\"until\":\"{soon}\"")), "{found}");
    std::thread::sleep(std::time::Duration::from_secs(21));
    two.plan();
}

/// What is broken in the cache costs time and nothing else.
#[test]
fn a_cache_that_is_damaged_is_left_aside() {
    let mut two = Two::new();
    two.apply().ends(0);
    two.commit("orgs/org-1/org.yaml", &organization("org-1", "Two"));
    let folder = two.source.world.path("warm/argus/git");
    let mut damaged = 0;
    for mirror in std::fs::read_dir(folder).expect("mirrors") {
        for entry in std::fs::read_dir(mirror.expect("an entry").path()).expect("a mirror") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if name.starts_with("readings-") {
                let mut bytes = std::fs::read(&path).expect("readings");
                bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55);
                std::fs::write(&path, bytes).expect("readings");
                damaged += 1;
            }
        }
    }
    assert_eq!(damaged, 1);
    two.source.world.sql("UPDATE argus.organization SET display_name = 'Mallory' WHERE name = 'org-2'");
    two.plan().ends(2).says("org-1").says("org-2");
    for (cut, text) in [(true, ""), (false, "{}"), (false, "not json")] {
        for mirror in std::fs::read_dir(two.source.world.path("warm/argus/git")).expect("mirrors") {
            for entry in std::fs::read_dir(mirror.expect("an entry").path()).expect("a mirror") {
                let path = entry.expect("an entry").path();
                if path.display().to_string().contains("index-") {
                    let bytes = std::fs::read(&path).expect("an index");
                    let half = if cut { bytes[..bytes.len() / 2].to_vec() } else { text.into() };
                    std::fs::write(&path, half).expect("an index");
                }
            }
        }
        two.plan().ends(2).says("org-1").says("org-2");
    }
}

/// Random commits, each planned with the cache and without, and now and then applied.
#[test]
fn random_histories_are_read_alike_with_and_without_a_cache() {
    let mut two = Two::new();
    let mut seed: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut draw = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut told = String::new();
    for step in 0..24 {
        for _ in 0..=draw(3) {
            let name = format!("org-{}", draw(6));
            let file = format!("orgs/{name}/extra-{}.yaml", draw(3));
            match draw(5) {
                0 => two
                    .source
                    .repository
                    .write(&format!("orgs/{name}/org.yaml"), &organization(&name, &format!("N{step}"))),
                1 | 2 => two.source.repository.write(&file, &team(&name, &format!("t{}", draw(4)))),
                3 => drop(std::fs::remove_file(two.source.repository.path.join(&file))),
                _ => drop(two.source.world.sql(&format!(
                    "UPDATE argus.organization SET description = 'by hand {step}' WHERE name = '{name}'"
                ))),
            }
        }
        two.source.repository.commit("Change something");
        let ran = two.plan();
        let _ = write!(told, "{:?} ", ran.code);
        if draw(2) == 0 {
            two.apply();
        }
    }
    assert!(told.contains("Some(0)") || told.contains("Some(2)"), "{told}");
}
