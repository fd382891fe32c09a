//! Hints: what an event says has happened, as far as it matters here. What is not understood is told as such: then it is worth a
//! look.

use serde_json::Value as Json;

/// The most refs of one push that are looked at.
const REFS_MAX: usize = 1_000;

/// The longest name of a ref or a repository.
const NAME_CHARS_MAX: usize = 500;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Somebody tries whether hooks arrive.
    Ping,
    /// Something was pushed.
    Push(Push),
    /// A change is asked for, or what is asked for is another one now.
    Request(Request),
    /// Something that changes neither a ref nor what is asked for.
    Nothing,
    /// Something that is not understood.
    Unknown,
}

/// What was pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Push {
    /// The repository, as its forge calls it: `acme/config`.
    pub repository: Option<String>,
    /// The refs that moved, in full: `refs/heads/main`.
    pub refs: Vec<String>,
    /// The branch that the repository calls its `HEAD`, if the event says so.
    pub default_branch: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The repository that it is to go into.
    pub repository: Option<String>,
    /// Its number there.
    pub number: i64,
    /// The commit that it ends with.
    pub head: String,
    /// The branch that it is to go into.
    pub base: String,
}

/// What a hint means to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Somebody tries whether hooks arrive.
    Ping,
    /// The source is worth a look.
    Look,
    /// What is asked for is worth a plan.
    Plan(Request),
    /// It does not concern the source.
    Nothing,
}

impl Hint {
    /// What it means to a source that reads this ref (what the repository calls its `HEAD` if none), of this repository (any that the
    /// hook is of if none).
    pub fn means(self, reference: Option<&str>, repository: Option<&str>) -> Meaning {
        let elsewhere = |of: &Option<String>| {
            let both = of.as_deref().zip(repository);
            both.is_some_and(|(of, own)| !of.eq_ignore_ascii_case(own.trim_end_matches(".git")))
        };
        match self {
            Hint::Ping => Meaning::Ping,
            Hint::Nothing => Meaning::Nothing,
            Hint::Unknown => Meaning::Look,
            Hint::Push(push) if elsewhere(&push.repository) => Meaning::Nothing,
            Hint::Push(Push { refs, default_branch, .. }) => {
                let Some(reference) = reference.or(default_branch.as_deref()) else { return Meaning::Look };
                if refs.iter().any(|moved| same_ref(moved, reference)) { Meaning::Look } else { Meaning::Nothing }
            }
            Hint::Request(request) if elsewhere(&request.repository) => Meaning::Nothing,
            Hint::Request(request) => match reference {
                Some(reference) if !same_ref(&format!("refs/heads/{}", request.base), reference) => Meaning::Nothing,
                _ => Meaning::Plan(request),
            },
        }
    }
}

/// Whether two names are of the same ref, each of them in full or not.
fn same_ref(one: &str, other: &str) -> bool {
    let full = |name: &str, short: &str| {
        ["refs/heads/", "refs/tags/"].iter().any(|head| name.strip_prefix(head) == Some(short))
    };
    one == other || full(one, other) || full(other, one)
}

/// A text that is no longer than names are.
fn text(said: &Json) -> Option<String> {
    said.as_str().filter(|text| !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX).map(str::to_owned)
}

/// The id of a commit.
fn commit(said: &Json) -> Option<String> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text(said).filter(|id| matches!(id.len(), 40 | 64) && id.bytes().all(lower))
}

/// The number of what is asked for.
fn number(said: &Json) -> Option<i64> {
    said.as_i64().filter(|number| *number > 0)
}

/// A list of refs, if there is one that is not too long.
fn refs(list: &Json, of: impl Fn(&Json) -> Option<String>) -> Option<Vec<String>> {
    let list = list.as_array().filter(|list| !list.is_empty() && list.len() <= REFS_MAX)?;
    list.iter().map(of).collect()
}

/// GitHub, Gitea and Forgejo.
pub(super) fn github(event: &str, said: &Json) -> Option<Hint> {
    let repository = text(&said["repository"]["full_name"]);
    match event {
        "ping" => Some(Hint::Ping),
        "push" => {
            let default_branch = text(&said["repository"]["default_branch"]);
            Some(Hint::Push(Push { repository, refs: vec![text(&said["ref"])?], default_branch }))
        }
        "pull_request" | "pull_request_sync" => match said["action"].as_str()? {
            "opened" | "reopened" | "synchronize" | "synchronized" | "edited" | "ready_for_review" => {
                let asked = &said["pull_request"];
                let (head, base) = (commit(&asked["head"]["sha"])?, text(&asked["base"]["ref"])?);
                Some(Hint::Request(Request { repository, number: number(&asked["number"])?, head, base }))
            }
            _ => Some(Hint::Nothing),
        },
        _ => None,
    }
}

/// GitLab.
pub(super) fn gitlab(event: &str, said: &Json) -> Option<Hint> {
    let (project, asked) = (&said["project"], &said["object_attributes"]);
    let repository = text(&project["path_with_namespace"]);
    let default_branch = text(&project["default_branch"]);
    match event {
        "Push Hook" | "Tag Push Hook" => {
            Some(Hint::Push(Push { repository, refs: vec![text(&said["ref"])?], default_branch }))
        }
        // Of system hooks these are the ones that name a ref.
        "System Hook" => match said["object_kind"].as_str().or(said["event_name"].as_str())? {
            "push" | "tag_push" => gitlab("Push Hook", said),
            "merge_request" => gitlab("Merge Request Hook", said),
            _ => None,
        },
        "Merge Request Hook" => match asked["action"].as_str()? {
            "open" | "reopen" | "update" => {
                let (head, base) = (commit(&asked["last_commit"]["id"])?, text(&asked["target_branch"])?);
                Some(Hint::Request(Request { repository, number: number(&asked["iid"])?, head, base }))
            }
            _ => Some(Hint::Nothing),
        },
        _ => None,
    }
}

/// Bitbucket Cloud.
pub(super) fn bitbucket(event: &str, said: &Json) -> Option<Hint> {
    let repository = text(&said["repository"]["full_name"]);
    match event {
        "diagnostics:ping" => Some(Hint::Ping),
        "repo:push" => {
            // What is deleted is only there in `old`, what is new only in `new`.
            let of = |change: &Json| {
                let side = if change["new"].is_object() { &change["new"] } else { &change["old"] };
                let folder = if side["type"] == "tag" { "tags" } else { "heads" };
                Some(format!("refs/{folder}/{}", text(&side["name"])?))
            };
            let refs = refs(&said["push"]["changes"], of)?;
            Some(Hint::Push(Push { repository, refs, default_branch: None }))
        }
        "pullrequest:created" | "pullrequest:updated" => {
            let asked = &said["pullrequest"];
            // Its commits are told by the first digits alone: what cannot be compared is looked at, and not planned.
            let (head, base) =
                (commit(&asked["source"]["commit"]["hash"]), text(&asked["destination"]["branch"]["name"]));
            match (head, base, number(&asked["id"])) {
                (Some(head), Some(base), Some(number)) => {
                    Some(Hint::Request(Request { repository, number, head, base }))
                }
                _ => Some(Hint::Nothing),
            }
        }
        _ if event.starts_with("pullrequest:") => Some(Hint::Nothing),
        _ => None,
    }
}

/// Bitbucket Server and Data Center.
pub(super) fn bitbucket_server(event: &str, said: &Json) -> Option<Hint> {
    let name =
        |repository: &Json| Some(format!("{}/{}", text(&repository["project"]["key"])?, text(&repository["slug"])?));
    match event {
        "diagnostics:ping" => Some(Hint::Ping),
        "repo:refs_changed" => {
            let refs = refs(&said["changes"], |change| text(&change["ref"]["id"]).or(text(&change["refId"])))?;
            Some(Hint::Push(Push { repository: name(&said["repository"]), refs, default_branch: None }))
        }
        "pr:opened" | "pr:from_ref_updated" | "pr:modified" => {
            let asked = &said["pullRequest"];
            let (head, base) = (commit(&asked["fromRef"]["latestCommit"])?, text(&asked["toRef"]["displayId"])?);
            let repository = name(&asked["toRef"]["repository"]);
            Some(Hint::Request(Request { repository, number: number(&asked["id"])?, head, base }))
        }
        _ if event.starts_with("pr:") => Some(Hint::Nothing),
        _ => None,
    }
}

/// Whoever else can sign: the event stands in the header, or shows in what is said.
pub(super) fn generic(event: &str, said: &Json) -> Option<Hint> {
    let repository = text(&said["repository"]);
    match event {
        "ping" => Some(Hint::Ping),
        "push" | "" if !said["ref"].is_null() => {
            Some(Hint::Push(Push { repository, refs: vec![text(&said["ref"])?], default_branch: None }))
        }
        "request" => {
            let (head, base) = (commit(&said["head"])?, text(&said["base"])?);
            Some(Hint::Request(Request { repository, number: number(&said["number"])?, head, base }))
        }
        _ => None,
    }
}
