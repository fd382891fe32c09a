//! The jobs for GitLab, with a server that plays the part of its API which they call.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::super::{ACME, Ran};
use super::{Forge, git, has_tools, ran, yaml};

const GRACE: &str = "    - user: grace@acme.example\n      role: member\n";

/// The notes of one merge request. Whoever asks without the token gets nothing.
#[derive(Clone, Default)]
struct Api {
    notes: Arc<Mutex<Vec<Value>>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Api {
    /// Serves until the test ends, and gives the address.
    fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let api = self.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| api.answer(stream)));
        address
    }

    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut line, mut length, mut has_token) = (String::new(), 0, false);
        reader.read_line(&mut line).expect("a request");
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).expect("a header");
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().expect("a length"),
                "private-token" => has_token = value == "glt-0",
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let words: Vec<&str> = line.split(' ').collect();
        let (method, path) = (words[0], words[1]);
        self.calls.lock().expect("no panic").push(format!("{method} {path}"));
        let notes = &mut *self.notes.lock().expect("no panic");
        let said = || serde_json::from_slice::<Value>(&body).expect("JSON")["body"].clone();
        let notes_path = "/projects/5/merge_requests/12/notes";
        let answer = match (method, path) {
            _ if !has_token => None,
            ("GET", "/user") => Some(json!({"id": 42})),
            ("GET", path) if path.starts_with(notes_path) => {
                let page: usize = path.rsplit('=').next().and_then(|page| page.parse().ok()).expect("a page");
                Some(notes.iter().skip((page - 1) * 100).take(100).cloned().collect())
            }
            ("POST", path) if path == notes_path => {
                notes.push(json!({"id": 1_000 + notes.len(), "author": {"id": 42}, "body": said()}));
                Some(json!({}))
            }
            ("PUT", path) if path.starts_with(notes_path) => {
                let id: u64 = path.rsplit('/').next().and_then(|id| id.parse().ok()).expect("an id");
                let note = notes.iter_mut().find(|note| note["id"] == id);
                note.map(|note| {
                    note["body"] = said();
                    json!({})
                })
            }
            _ => None,
        };
        let status = if answer.is_some() { "200 OK" } else { "404 Not Found" };
        let text = answer.unwrap_or_default().to_string();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
        reader.get_mut().write_all(format!("{head}{text}").as_bytes()).expect("they read");
    }
}

impl Forge {
    /// Runs the script of a job, as a runner does: all lines in one shell.
    fn job(&self, name: &str, variables: &[(&str, &str)]) -> Ran {
        let jobs = yaml("examples/ci/gitlab.yml");
        let lines: Vec<&str> =
            jobs[name]["script"].as_array().expect("a script").iter().filter_map(Value::as_str).collect();
        let url = self.world.database.url.to_string();
        let mut environment = BTreeMap::from([("ARGUS_DATABASE_URL".to_owned(), url)]);
        // A job has its own variables and those of what it extends; whoever runs it may say otherwise.
        assert_eq!(jobs[name]["extends"], ".argus", "{name}");
        for job in [&jobs[".argus"], &jobs[name]] {
            let of_job = job["variables"].as_object().into_iter().flatten();
            environment.extend(of_job.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())));
        }
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut command = self.shell(&["sh", "-e", "-c", &lines.join("\n")], &environment);
        let output = command.output().expect("a shell runs");
        ran(&command, output)
    }

    /// Commits the manifests with this one changed, and gives the commit.
    fn propose(&self, text: &str) -> String {
        self.world.write("acme.yaml", text);
        self.commit()
    }
}

/// What the runner tells the job of a merge request.
fn of_request<'a>(address: &'a str, head: &'a str) -> [(&'a str, &'a str); 7] {
    [
        ("CI_API_V4_URL", address),
        ("CI_PROJECT_ID", "5"),
        ("CI_MERGE_REQUEST_IID", "12"),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main"),
        ("CI_PROJECT_URL", "https://gitlab.example/acme/config"),
        ("CI_COMMIT_SHA", head),
        ("ARGUS_GITLAB_TOKEN", "glt-0"),
    ]
}

#[test]
fn a_plan_is_one_note_that_is_written_once_and_then_changed() {
    if !has_tools() {
        return;
    }
    let forge = Forge::with(ACME);
    let api = Api::default();
    let mallory = json!({"id": 1, "author": {"id": 9}, "body": "<!-- argus:plan default -->\nall is well"});
    // People talk a lot: ours comes on the second page.
    let talk = |number: usize| json!({"id": number + 2, "author": {"id": 9}, "body": "hm"});
    api.notes.lock().expect("no panic").extend(std::iter::once(mallory.clone()).chain((0..120).map(talk)));
    let address = api.serve();
    let last =
        || api.notes.lock().expect("no panic").last().expect("a note")["body"].as_str().unwrap_or_default().to_owned();
    let head = forge.propose(&ACME.replace("Acme", "Acme Inc"));
    forge.job("argus-plan", &of_request(&address, &head)).ends(0);
    assert_eq!(api.notes.lock().expect("no panic").len(), 122);
    assert!(last().starts_with("<!-- argus:plan default -->\n### Plan: 0 to add, 1 to change"), "{}", last());
    let link = format!("](https://gitlab.example/acme/config/-/blob/{head}/acme.yaml#L1)");
    assert!(last().contains(&link) && last().contains(&format!("of commit `{head}`")), "{}", last());
    let same = forge.propose(ACME);
    forge.job("argus-plan", &of_request(&address, &same)).ends(0);
    assert_eq!(api.notes.lock().expect("no panic").len(), 122);
    assert!(last().contains("### No changes."), "{}", last());
    assert_eq!(api.notes.lock().expect("no panic")[0], mallory);
    assert!(!forge.world.path(".argus/curl.conf").exists());
    let broken = forge.propose(&ACME.replace("role: owner", "role: ownr"));
    let variables = of_request(&address, &broken);
    forge.job("argus-plan", &variables).ends(1);
    assert!(last().contains("ARG2007"), "{}", last());
    let calls = || api.calls.lock().expect("no panic").iter().filter(|call| !call.starts_with("GET")).count();
    let before = calls();
    forge.job("argus-plan", &[&variables[..], &[("ARGUS_GITLAB_TOKEN", "wrong")]].concat()).ends(22);
    assert_eq!(calls(), before);
    assert!(!forge.world.path(".argus/curl.conf").exists());
}

#[test]
fn a_merge_request_is_judged_by_what_it_would_be_merged_into() {
    if !has_tools() {
        return;
    }
    let forge = Forge::with(ACME);
    let api = Api::default();
    let address = api.serve();
    let policy = |said: &str| {
        let rule = format!("{said} contains \"no more members\" if {{\n\tsome change in input.changes");
        format!("package p\n\n# METADATA\n# title: x\n{rule}\n\tchange.kind == \"Member\"\n}}\n")
    };
    for (said, code) in [("hold", 0), ("deny", 3)] {
        git(&forge.world.root, &["checkout", "--quiet", "main"]);
        forge.world.write("policies/p.rego", &policy(said));
        forge.commit();
        git(&forge.world.root, &["push", "--quiet", "origin", "main"]);
        // The branch takes the policy away that speaks against it.
        git(&forge.world.root, &["checkout", "--quiet", "--detach"]);
        forge.world.remove("policies/p.rego").write("argus.yaml", "policies: none\n");
        let head = forge.propose(&format!("{ACME}{GRACE}"));
        let variables = of_request(&address, &head);
        forge.job("argus-plan", &variables).ends(code);
        let note = api.notes.lock().expect("no panic").last().expect("a note")["body"].to_string();
        assert!(note.contains("no more members"), "{note}");
        forge.job("argus-plan", &[&variables[..], &[("ARGUS_FAIL_ON_DENIED", "false")]].concat()).ends(0);
    }
}

#[test]
fn a_job_without_its_variables_says_so() {
    if !has_tools() {
        return;
    }
    let forge = Forge::with(ACME);
    let variables = of_request("http://127.0.0.1:1", "0123abc");
    for (job, missing) in [
        ("argus-plan", "ARGUS_DATABASE_URL"),
        ("argus-plan", "ARGUS_GITLAB_TOKEN"),
        ("argus-apply", "ARGUS_DATABASE_URL"),
        ("argus-drift", "ARGUS_DATABASE_URL"),
    ] {
        let ran = forge.job(job, &[&variables[..], &[(missing, "")]].concat());
        assert_ne!(ran.code, Some(0), "{ran}");
        ran.says(&format!("{missing}: is not set for this job; see docs/ci.md"));
    }
}

/// A job that is run again applies what it applied then: an older commit than the one that was applied last.
#[test]
fn an_old_job_that_is_run_again_takes_nothing_back() {
    if !has_tools() {
        return;
    }
    let forge = Forge::with(ACME);
    let commits = ["Acme One", "Acme Two"].map(|name| forge.propose(&ACME.replace("Acme", name)));
    for commit in &commits {
        forge.job("argus-apply", &[("CI_COMMIT_SHA", commit)]).ends(0);
    }
    forge.job("argus-apply", &[("CI_COMMIT_SHA", &commits[0])]).ends(4).says("ARG1721");
    assert_eq!(forge.world.sql("SELECT display_name FROM argus.organization"), "Acme Two");
}

#[test]
fn the_other_jobs_leave_their_reports_and_end_as_argus_does() {
    if !has_tools() {
        return;
    }
    let forge = Forge::with(ACME);
    let read = |name: &str| std::fs::read_to_string(forge.world.path(name)).expect("a report");
    forge.job("argus-validate", &[]).ends(0);
    let head = git(&forge.world.root, &["rev-parse", "HEAD"]);
    let at_head = [("CI_COMMIT_SHA", head.as_str())];
    forge.job("argus-drift", &at_head).ends(0);
    forge.world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine now'");
    forge.job("argus-drift", &at_head).ends(2);
    assert!(
        read(".argus/drift.md").contains("1 resource has drifted") && read(".argus/drift.xml").contains("<testsuite")
    );
    assert!(read(".argus/drift.patch").contains("+  displayName: Mine now"), "{}", read(".argus/drift.patch"));
    forge.job("argus-apply", &at_head).ends(0);
    forge.world.is_settled();
    let broken = forge.propose(&ACME.replace("role: owner", "role: ownr"));
    forge.job("argus-validate", &[]).ends(1);
    let report: Value = serde_json::from_str(&read(".argus/code-quality.json")).expect("JSON");
    assert!(report.as_array().expect("findings").iter().any(|each| each["check_name"] == "ARG1102"), "{report}");
    assert_ne!(forge.job("argus-apply", &[("CI_COMMIT_SHA", &broken)]).code, Some(0));
}
