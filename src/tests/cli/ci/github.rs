//! The action and the workflow for GitHub.

mod binary;
mod night;
mod requests;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{ACME, Ran};
use super::{Forge, has_tools, ran, yaml};

/// What plays `gh`: it keeps comments and open pull requests as files, and refuses whatever it does not know.
const GH: &str = r#"#!/usr/bin/env bash
set -euo pipefail
[ -n "$GH_TOKEN" ] || exit 8
echo "$*" >>"$KEPT/calls"
option() { local name=$1; shift; while [ "$1" != "$name" ]; do shift; done; printf '%s' "$2"; }
case "$1 $2" in
  "api --paginate") cat "$KEPT/comments.json" ;;
  "api --method")
    body=$(jq -r .body)
    case $3 in
      POST) jq --arg body "$body" '. + [{id: (length + 1), user: {login: "github-actions[bot]"}, body: $body}]' ;;
      PATCH) jq --arg body "$body" --argjson id "${4##*/}" 'map(if .id == $id then .body = $body else . end)' ;;
    esac <"$KEPT/comments.json" >"$KEPT/new.json"
    mv "$KEPT/new.json" "$KEPT/comments.json" ;;
  "pr list")
    [ "$(option --state "$@")" = open ]
    jq --arg head "$(option --head "$@")" --arg base "$(option --base "$@")" --arg fields "$(option --json "$@")" '
      map(select(.headRefName == $head and .baseRefName == $base)
        | with_entries(select(.key as $key | $fields | split(",") | index($key))))' "$KEPT/requests.json" ;;
  "pr create")
    jq --arg head "$(option --head "$@")" --arg base "$(option --base "$@")" \
      '. + [{number: 7, headRefName: $head, baseRefName: $base, isCrossRepository: false}]' \
      "$KEPT/requests.json" >"$KEPT/new.json"
    mv "$KEPT/new.json" "$KEPT/requests.json"
    cp "$(option --body-file "$@")" "$KEPT/request.md" ;;
  "pr edit") [ "$3" = 7 ] && cp "$(option --body-file "$@")" "$KEPT/request.md" ;;
  "pr close")
    [ "$3" = 7 ] && [ -n "$(option --comment "$@")" ]
    jq 'map(select(.number != 7))' "$KEPT/requests.json" >"$KEPT/new.json"
    mv "$KEPT/new.json" "$KEPT/requests.json" ;;
  *) exit 9 ;;
esac
"#;

/// What the runner knows by name: `inputs.path`, `github.repository`, `steps.run.outputs.code`.
type Names = BTreeMap<String, String>;

/// A text with its expressions filled in, of which there are names, texts, `==`, `&&` and `||`.
fn filled(text: &str, names: &Names) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}").expect("it ends");
        out.push_str(before);
        out.push_str(&value(expression.trim(), names));
        rest = after;
    }
    out + rest
}

fn value(expression: &str, names: &Names) -> String {
    if let Some((left, right)) = expression.split_once("||") {
        let left = value(left.trim(), names);
        return if left.is_empty() { value(right.trim(), names) } else { left };
    }
    if let Some((left, right)) = expression.split_once("&&") {
        let left = value(left.trim(), names);
        return if left.is_empty() || left == "false" { left } else { value(right.trim(), names) };
    }
    if let Some((left, right)) = expression.split_once("==") {
        return (value(left.trim(), names) == value(right.trim(), names)).to_string();
    }
    match expression.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        Some(text) => text.to_owned(),
        None => names.get(expression).cloned().unwrap_or_default(),
    }
}

impl Forge {
    fn on_github(text: &str) -> Forge {
        use std::os::unix::fs::PermissionsExt as _;
        let forge = Forge::with(text);
        forge.keep("bin/gh", GH);
        let gh = forge.kept.join("bin/gh");
        std::fs::set_permissions(gh, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
        forge.keep("comments.json", "[]");
        forge.keep("requests.json", "[]");
        forge
    }

    fn names(&self) -> Names {
        let names = [
            ("github.server_url", "https://github.example"),
            ("github.repository", "acme/config"),
            ("github.sha", "0123abc"),
            ("github.token", "t"),
            ("github.ref_name", "main"),
            ("github.base_ref", "main"),
            ("github.event.pull_request.number", "12"),
            ("runner.temp", &self.kept.display().to_string()),
        ];
        names.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// Runs the steps of a list that are scripts, one after the other, as far as they go.
    fn steps(&self, steps: &Value, names: &mut Names, environment: &Names) -> Ran {
        let mut all = Ran { command: String::new(), code: Some(0), out: String::new(), err: String::new() };
        for step in steps.as_array().expect("steps") {
            let wanted = step["if"].as_str().is_none_or(|condition| {
                let value = filled(condition, names);
                !value.is_empty() && value != "false"
            });
            let (Some(script), true) = (step["run"].as_str(), wanted) else { continue };
            let output = self.kept.join("output");
            std::fs::write(&output, "").expect("a file");
            let mut variables = environment.clone();
            for (name, value) in step["env"].as_object().into_iter().flatten() {
                variables.insert(name.clone(), filled(value.as_str().expect("a text"), names));
            }
            for (name, file) in [("GITHUB_OUTPUT", "output"), ("GITHUB_STEP_SUMMARY", "summary")] {
                variables.insert(name.into(), self.kept.join(file).display().to_string());
            }
            variables.insert("RUNNER_TEMP".into(), self.kept.display().to_string());
            let shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script];
            let mut command = self.shell(&shell, &variables);
            let result = command.output().expect("bash runs");
            let result = ran(&command, result);
            all.code = result.code;
            all.out.push_str(&result.out);
            all.err.push_str(&result.err);
            if all.code != Some(0) {
                break;
            }
            let id = step["id"].as_str().unwrap_or_default();
            for (name, value) in self.kept("output").lines().filter_map(|line| line.split_once('=')) {
                names.insert(format!("steps.{id}.outputs.{name}"), value.to_owned());
            }
        }
        all
    }

    /// Runs the action with these inputs, as the runner would.
    fn action(&self, inputs: &[(&str, &str)], environment: &[(&str, &str)]) -> Ran {
        let action = yaml(".github/actions/argus/action.yml");
        let mut names = self.names();
        for (name, about) in action["inputs"].as_object().expect("inputs") {
            let preset = filled(about["default"].as_str().unwrap_or_default(), &names);
            names.insert(format!("inputs.{name}"), preset);
        }
        for (name, value) in inputs {
            assert!(action["inputs"].get(name).is_some(), "there is no input {name}");
            names.insert(format!("inputs.{name}"), (*value).to_owned());
        }
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.steps(&action["runs"]["steps"], &mut names, &environment.collect())
    }

    /// The action where the database can be reached.
    fn with_database(&self, inputs: &[(&str, &str)]) -> Ran {
        let url = self.world.database.url.to_string();
        self.action(inputs, &[("ARGUS_DATABASE_URL", &url)])
    }

    /// The inputs that a job of the workflow gives to the action.
    fn inputs(&self, job: &str, names: &Names) -> Vec<(String, String)> {
        let workflow = yaml("examples/ci/github.yml");
        let steps = workflow["jobs"][job]["steps"].as_array().expect("steps");
        let action = steps.iter().find(|step| step["with"]["command"].is_string()).expect("the action");
        let with = action["with"].as_object().expect("inputs");
        with.iter().map(|(name, value)| (name.clone(), filled(value.as_str().expect("a text"), names))).collect()
    }

    /// The action as a job of the workflow runs it, with these inputs besides.
    fn workflow(&self, job: &str, names: &Names, more: &[(&str, &str)]) -> Ran {
        let inputs = self.inputs(job, names);
        let inputs = inputs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.with_database(&inputs.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// What the runner knows of a push of this commit.
    fn push_of(&self, commit: &str) -> Names {
        let mut names = self.names();
        names.insert("github.sha".into(), commit.into());
        names
    }

    fn comments(&self) -> Vec<Value> {
        serde_json::from_str(&self.kept("comments.json")).expect("comments")
    }
}

#[test]
fn a_plan_is_one_comment_that_is_written_once_and_then_changed() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    // Somebody else has copied the hidden line, and people talk.
    let theirs = json!([
        {"id": 1, "user": {"login": "mallory"}, "body": "<!-- argus:plan default -->\nall is well"},
        {"id": 2, "user": {"login": "github-actions[bot]"}, "body": "coverage went up"},
    ]);
    forge.keep("comments.json", &theirs.to_string());
    forge.world.write("acme.yaml", &ACME.replace("Acme", "Acme Inc"));
    let plan = &[("command", "plan")];
    forge.with_database(plan).ends(0);
    let comments = forge.comments();
    assert_eq!(comments.len(), 3);
    let body = comments[2]["body"].as_str().expect("a text");
    assert!(body.starts_with("<!-- argus:plan default -->\n### Plan: 0 to add, 1 to change, 0 to destroy."), "{body}");
    assert!(body.contains("](https://github.example/acme/config/blob/0123abc/acme.yaml#L1)"), "{body}");
    // Argus knows no commit of a directory, and the forge does.
    assert!(body.ends_with("\nThe files are those of commit `0123abc`."), "{body}");
    forge.world.write("acme.yaml", ACME);
    forge.with_database(plan).ends(0);
    let comments = forge.comments();
    assert_eq!(comments.len(), 3);
    assert!(comments[2]["body"].as_str().expect("a text").contains("### No changes."));
    assert_eq!(Value::from(comments[..2].to_vec()), theirs);
    assert!(forge.kept("summary").contains("### No changes."));
    // What cannot be planned says so, and fails the job behind the comment.
    forge.world.write("acme.yaml", &ACME.replace("role: owner", "role: ownr"));
    forge.with_database(plan).ends(1).says("ARG1102");
    assert!(forge.comments()[2]["body"].as_str().expect("a text").contains("ARG2007"));
    // Where nothing could be planned at all the comment does not tell of yesterday's plan, and there is no second one.
    forge.action(plan, &[("ARGUS_DATABASE_URL", "postgres://argus@127.0.0.1:1/none")]).ends(1).says("ARG5001");
    let before = forge.comments();
    assert_eq!(before.len(), 3);
    let body = before[2]["body"].as_str().expect("a text");
    assert!(body.contains("### This cannot be planned") && body.contains("ARG5001"), "{body}");
    forge.with_database(&[("command", "plan"), ("comment", "false")]).ends(1);
    assert_eq!(forge.comments(), before);
}

#[test]
fn how_argus_ends_is_how_the_job_ends() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    forge.with_database(&[("command", "validate")]).ends(0);
    forge.world.write("acme.yaml", &ACME.replace("role: owner", "role: ownr"));
    forge.action(&[("command", "validate")], &[]).ends(1).says("::error ").says("ARG1102");
    forge.world.write("acme.yaml", &ACME.replace("Acme", "Acme Inc"));
    forge.with_database(&[("command", "apply")]).ends(0);
    assert_eq!(forge.world.sql("SELECT display_name FROM argus.organization"), "Acme Inc");
    // A window is shut: that waits.
    let shut = "windows: [{kind: deny, schedule: \"* * * * *\", duration: 1h}]\n";
    forge.world.write("acme.yaml", ACME).write("argus.yaml", shut);
    forge.with_database(&[("command", "apply")]).ends(4);
    forge.with_database(&[("command", "destroy")]).ends(1).says("no command of this name");
    // Where argus had nothing to say, the summary says where to look.
    forge.with_database(&[("command", "snapshot")]).ends(1);
    assert!(forge.kept("summary").ends_with("`argus snapshot` failed, see the log.\n"), "{}", forge.kept("summary"));
}

#[test]
fn nothing_that_an_input_says_is_run() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    let evil = "$(touch evil)`touch evil`'; touch evil; \"; touch evil #\n.";
    for name in [
        "path",
        "ref",
        "base",
        "head",
        "policies",
        "snapshot",
        "fail-on-denied",
        "author",
        "branch",
        "link-base",
        "token",
        "argus",
        "command",
    ] {
        for command in ["plan", "drift"] {
            let inputs = [("command", command), ("adopt", "true"), (name, evil)];
            forge.world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine now'");
            drop(forge.with_database(&inputs));
            assert!(!forge.world.path("evil").exists(), "{name} of {command}");
        }
    }
    // A directory that is called like an option is a directory.
    forge.with_database(&[("command", "plan"), ("path", "--auto-approve")]).ends(1).says("--auto-approve");
}
