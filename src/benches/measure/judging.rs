//! Judging: what the policies add to a plan of many organizations, and what OPA takes for the same documents.

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::report::Figures;
use super::usage::{Usage, expect, median};
use super::with_server;

/// How many organizations OPA is given: for it all documents have to be one, which has to fit into memory.
pub const OPA_ORGANIZATIONS_MAX: usize = 1_000;

/// The version of the program, if there is one.
pub fn opa_version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().next().and_then(|line| line.split_once(": ")).map(|(_, version)| version.to_owned())
}

/// What is measured, and with what.
#[derive(Clone, Copy)]
pub struct Judging<'a> {
    /// The binary.
    pub argus: &'a Path,
    /// The manifests.
    pub repo: &'a Path,
    /// The private server.
    pub data: &'a Path,
    /// Where figures and documents go.
    pub folder: &'a Path,
    /// The policies.
    pub policies: &'a Path,
    /// OPA.
    pub opa: &'a str,
    /// How often each is run.
    pub runs: usize,
}

impl Judging<'_> {
    /// Everything, on a server that is up and empty.
    pub fn measure(&self) -> Result<Figures, Box<dyn Error>> {
        let mut figures = Figures::new();
        self.is_let_through(self.repo)?;
        let new = |policies: &str| self.several(self.repo, policies);
        figures.insert("new".into(), new("none")?);
        figures.insert("new-judged".into(), new(&self.policies.display().to_string())?);
        expect(0, self.argus(&["apply", "--auto-approve", "--policies", "none"]).arg(self.repo))?;
        let touched = self.folder.join("touched");
        touch(self.repo, &touched)?;
        self.is_let_through(&touched)?;
        figures.insert("touched".into(), self.several(&touched, "none")?);
        figures.insert("touched-judged".into(), self.several(&touched, &self.policies.display().to_string())?);
        if opa_version(self.opa).is_some() {
            let documents = self.folder.join("documents");
            let mut input = self.argus(&["policy", "input"]);
            input.arg("--policies").arg(self.policies).arg(&touched).stdout(File::create(&documents)?);
            if !input.status()?.success() {
                return Err(format!("{input:?} failed").into());
            }
            figures.insert("opa".into(), self.opa(&documents)?);
        }
        Ok(figures)
    }

    fn argus(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.argus);
        command.env_remove("ARGUS_DATABASE_URL").args(words).arg("--data-dir").arg(self.data);
        command
    }

    fn several(&self, repo: &Path, policies: &str) -> Result<Usage, Box<dyn Error>> {
        let plan = || {
            let mut command = self.argus(&["plan", "--policies", policies]);
            command.arg(repo);
            command
        };
        expect(0, &mut plan())?;
        let runs: Result<Vec<Usage>, _> = (0..self.runs).map(|_| with_server(&mut plan())).collect();
        Ok(median(runs?))
    }

    /// Whether the policies have nothing against a plan: those that deny do other work.
    fn is_let_through(&self, repo: &Path) -> Result<(), Box<dyn Error>> {
        let output = self.argus(&["plan", "--policies", &self.policies.display().to_string()]).arg(repo).output()?;
        let said = String::from_utf8(output.stdout)?;
        if !output.status.success() || !said.contains("Plan: ") {
            return Err(format!("no plan: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let speaks = |line: &&str| ["denied[", "held["].iter().any(|word| line.trim_start().starts_with(word));
        match said.lines().find(speaks) {
            Some(line) => Err(format!("the policies are against {}: {}", repo.display(), line.trim()).into()),
            None => Ok(()),
        }
    }

    /// OPA's answers for all rules that judge, in one process and one query.
    fn opa(&self, documents: &Path) -> Result<Usage, Box<dyn Error>> {
        let all = self.folder.join("documents.json");
        gather(documents, &all)?;
        let module = self.folder.join("asked.rego");
        std::fs::write(&module, self.asking()?)?;
        let query = "[answer | some document in input; answer := data.measure.answers with input as document]";
        let mut command = Command::new(self.opa);
        command.args(["eval", "--format", "raw", "--data"]).arg(self.policies).arg("--data").arg(&module);
        command.arg("--input").arg(&all).arg(query).stderr(Stdio::inherit());
        expect(0, &mut command)
    }

    /// A module that asks for every rule that judges.
    fn asking(&self) -> Result<String, Box<dyn Error>> {
        let input = r#"{"organization": "none"}"#;
        let file = self.folder.join("none.json");
        std::fs::write(&file, input)?;
        let output = Command::new(self.argus)
            .args(["policy", "eval", "--format", "json", "--policies"])
            .arg(self.policies)
            .arg("--input")
            .arg(&file)
            .output()?;
        let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let rules = told["answers"].as_object().ok_or("`policy eval` tells no answers")?;
        let answers: String = rules.keys().map(|rule| format!("\t[answer | answer := {rule}],\n")).collect();
        Ok(format!("package measure\n\nanswers := [\n{answers}]\n"))
    }
}

/// The same repo with one change in every organization: its name for people.
fn touch(repo: &Path, into: &Path) -> Result<(), Box<dyn Error>> {
    for entry in walk(repo)? {
        let target = into.join(entry.strip_prefix(repo)?);
        std::fs::create_dir_all(target.parent().ok_or("a file stands in a folder")?)?;
        let text = std::fs::read_to_string(&entry)?;
        std::fs::write(target, text.replacen("displayName: ", "displayName: The ", 1))?;
    }
    Ok(())
}

fn walk(folder: &Path) -> Result<Vec<std::path::PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(walk(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// Makes one list of a stream of documents.
fn gather(documents: &Path, into: &Path) -> Result<(), Box<dyn Error>> {
    let stream = serde_json::Deserializer::from_reader(BufReader::new(File::open(documents)?));
    let mut out = BufWriter::new(File::create(into)?);
    let mut separator: &[u8] = b"[";
    for document in stream.into_iter::<Box<serde_json::value::RawValue>>().take(OPA_ORGANIZATIONS_MAX) {
        out.write_all(separator)?;
        out.write_all(document?.get().as_bytes())?;
        separator = b",";
    }
    out.write_all(b"]")?;
    Ok(out.flush()?)
}
