//! Git as the source: a plan after a commit of one file, with everything in the cache and with nothing.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use super::report::Figures;
use super::usage::{Usage, expect, median};
use super::{with_server, world};

/// What stands inline in an organization of the generated repo, and the kind that it is as a document of its own.
const SECTIONS: &[(&str, &str)] = &[
    ("roles", "Role"),
    ("members", "Member"),
    ("teams", "Team"),
    ("projects", "Project"),
    ("serviceAccounts", "ServiceAccount"),
    ("apiKeys", "ApiKey"),
    ("notificationChannels", "NotificationChannel"),
    ("notificationRules", "NotificationRule"),
    ("budgets", "Budget"),
];

/// Writes a repository with a folder for each organization and a file for each kind in it; gives the number of files.
pub fn write(folder: &Path, resources: usize, seed: u64) -> Result<usize, Box<dyn Error>> {
    let organizations = world::write(folder, resources, seed)?;
    let mut files = 2;
    for index in 0..organizations {
        let (name, file) = (world::organization_name(index), folder.join(world::organization_file(index)));
        let own = folder.join("organizations").join(&name);
        std::fs::create_dir_all(&own)?;
        for (file, text) in split(&name, &std::fs::read_to_string(&file)?) {
            std::fs::write(own.join(file), text)?;
            files += 1;
        }
        std::fs::remove_file(file)?;
    }
    git(folder, &["init", "-q", "-b", "main"])?;
    commit(folder)?;
    Ok(files)
}

/// An organization and its parts, each list as documents in a file of its own.
fn split(organization: &str, text: &str) -> Vec<(String, String)> {
    let mut files = vec![("organization.yaml".to_owned(), String::new())];
    let mut kind: Option<&str> = None;
    for line in text.lines() {
        let section = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
        let section = SECTIONS.iter().find(|(known, _)| Some(*known) == section);
        if let Some((section, own)) = section {
            kind = Some(own);
            files.push((format!("{section}.yaml"), String::new()));
            continue;
        }
        if line.starts_with("  ") && !line.starts_with("   ") {
            kind = None;
        }
        let at = if kind.is_some() { files.len() - 1 } else { 0 };
        let (_, out) = &mut files[at];
        match (kind, line.strip_prefix("    - ")) {
            (None, _) => out.push_str(&format!("{line}\n")),
            (Some(kind), Some(first)) => {
                let (key, value) = first.split_once(": ").unwrap_or((first, ""));
                let name = value.replace('@', "-at-");
                let spec = if key == "name" { String::new() } else { format!("  {first}\n") };
                out.push_str(&format!(
                    "---\napiVersion: argus.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\nspec:\n  organization: \
                     {organization}\n{spec}"
                ));
            }
            (Some(_), None) => out.push_str(&format!("{}\n", line.strip_prefix("    ").unwrap_or(line))),
        }
    }
    files
}

/// A command of Git in a folder.
pub fn git(folder: &Path, words: &[&str]) -> Result<(), Box<dyn Error>> {
    let who = ["-c", "user.name=Ada", "-c", "user.email=ada@acme.example", "-c", "gc.auto=0"];
    let mut command = Command::new("git");
    command.current_dir(folder).args(who).args(words).env("GIT_CONFIG_GLOBAL", "/dev/null");
    if command.status()?.success() { Ok(()) } else { Err(format!("{command:?} failed").into()) }
}

/// Commits all that is there.
pub fn commit(folder: &Path) -> Result<(), Box<dyn Error>> {
    git(folder, &["add", "-A"])?;
    git(folder, &["commit", "-q", "-m", "Change something"])
}

/// What is measured, and with what.
#[derive(Clone, Copy)]
pub struct Git<'a> {
    /// The binary.
    pub argus: &'a Path,
    /// The repository.
    pub repo: &'a Path,
    /// The private server.
    pub data: &'a Path,
    /// Where caches go.
    pub folder: &'a Path,
    /// How often each is run.
    pub runs: usize,
}

impl Git<'_> {
    /// Everything, on a server that is up and empty.
    pub fn measure(&self) -> Result<Figures, Box<dyn Error>> {
        let (warm, cold) = (self.folder.join("warm"), self.folder.join("cold"));
        expect(0, &mut self.command(&["apply", "--auto-approve"], &warm))?;
        git(self.repo, &["gc", "-q"])?;
        let (mut after_commit, mut from_nothing, mut unchanged) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..self.runs {
            expect(0, &mut self.command(&["plan"], &warm))?;
            unchanged.push(self.plan(&warm)?);
            let file = self.repo.join("organizations").join(world::organization_name(run)).join("organization.yaml");
            let text = std::fs::read_to_string(&file)?;
            std::fs::write(&file, text.replacen("displayName: ", "displayName: The ", 1))?;
            commit(self.repo)?;
            after_commit.push(self.plan(&warm)?);
            let _ = std::fs::remove_dir_all(&cold);
            from_nothing.push(self.plan(&cold)?);
        }
        let figures = [("git-cold", from_nothing), ("git-warm", after_commit), ("git-unchanged", unchanged)];
        Ok(figures.into_iter().map(|(name, runs)| (name.into(), median(runs))).collect())
    }

    fn plan(&self, cache: &Path) -> Result<Usage, Box<dyn Error>> {
        with_server(&mut self.command(&["plan"], cache))
    }

    fn command(&self, words: &[&str], cache: &Path) -> Command {
        let mut command = Command::new(self.argus);
        command.env_remove("ARGUS_DATABASE_URL").args(words).arg("--data-dir").arg(self.data);
        command.arg("--policies").arg("none").arg("--git").arg(self.repo).env("XDG_CACHE_HOME", cache);
        command
    }
}
