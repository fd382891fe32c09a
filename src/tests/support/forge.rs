//! The interface of a forge for programs, as far as it is used: over TLS, and strict about what it is sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::receiver::{Receiver, Reply, Request};

/// The token that it takes.
pub const TOKEN: &str = "canary-9e1b44d0-token";

/// Who has that token.
pub const OWN: &str = "argus-bot";

/// A comment.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its id.
    pub id: u64,
    /// Under what it stands.
    pub number: i64,
    /// Who wrote it.
    pub author: String,
    /// What it says.
    pub text: String,
}

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is answered like this, and nothing is done.
    Answer(Reply),
    /// It takes this long, and nothing is done.
    Hang(Duration),
    /// It is done, and answered like this.
    Done(Reply),
}

impl Fault {
    /// An answer of this status.
    pub fn status(status: u16, body: &str) -> Fault {
        Fault::Answer(Reply { status, head: String::new(), body: body.into() })
    }
}

/// What the forge holds.
#[derive(Debug, Default)]
pub struct Held {
    /// The states that were set: commit, name, state, description.
    pub statuses: Vec<(String, String, String, String)>,
    /// The comments.
    pub comments: Vec<Written>,
    /// What goes wrong with the next requests.
    pub faults: VecDeque<Fault>,
    /// What it was sent and should not have been.
    pub complaints: Vec<String>,
    /// Whether whoever asks who they are is told.
    pub anonymous: bool,
}

/// A forge with one repository, `acme/config`.
pub struct Forge {
    receiver: Receiver,
    held: Arc<Mutex<Held>>,
}

impl Forge {
    /// Starts one of this name.
    pub fn start(name: &'static str) -> Forge {
        let held: Arc<Mutex<Held>> = Arc::default();
        let inner = held.clone();
        let receiver = Receiver::encrypted_replying(move |request, _| answer(name, request, &inner));
        Forge { receiver, held }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.receiver.port())
    }

    /// What it holds.
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nobody has panicked")
    }

    /// What it was asked.
    pub fn requests(&self) -> Vec<Request> {
        self.receiver.requests()
    }
}

type Answered = Result<Reply, (u16, String)>;

fn answer(name: &str, request: &Request, held: &Mutex<Held>) -> Reply {
    let fault = held.lock().expect("nobody has panicked").faults.pop_front();
    match fault {
        Some(Fault::Answer(reply)) => return reply,
        Some(Fault::Hang(time)) => {
            std::thread::sleep(time);
            return Reply { status: 500, ..Reply::default() };
        }
        Some(Fault::Done(_)) | None => {}
    }
    let mut held = held.lock().expect("nobody has panicked");
    let answered = checked(name, request).and_then(|path| match name {
        "gitlab" => gitlab(request, &path, &mut held),
        _ => github(name, request, &path, &mut held),
    });
    match (answered, fault) {
        (Ok(_), Some(Fault::Done(reply))) => reply,
        (Ok(reply), _) => reply,
        (Err((status, why)), _) => {
            if status == 400 {
                held.complaints.push(format!("{} {}: {why}", request.method, request.path));
            }
            Reply { status, head: String::new(), body: json!({"message": why}).to_string() }
        }
    }
}

fn wrong<T>(why: impl Into<String>) -> Result<T, (u16, String)> {
    Err((400, why.into()))
}

fn ok(status: u16, body: &Json) -> Answered {
    Ok(Reply { status, head: "content-type: application/json\r\n".into(), body: body.to_string() })
}

/// Looks at what every request carries; gives the path behind that of the interface.
fn checked(name: &str, request: &Request) -> Result<String, (u16, String)> {
    let (root, accept, by, token) = match name {
        "github" => ("/api/v3", "application/vnd.github+json", "authorization", format!("Bearer {TOKEN}")),
        "gitlab" => ("/api/v4", "application/json", "private-token", TOKEN.to_owned()),
        _ => ("/api/v1", "application/json", "authorization", format!("token {TOKEN}")),
    };
    if request.header(by) != token {
        return Err((401, "Bad credentials".into()));
    }
    if request.header("accept") != accept || !request.header("user-agent").starts_with("argus/") {
        return wrong("the headers are wrong");
    }
    if name == "github" && request.header("x-github-api-version") != "2022-11-28" {
        return wrong("no version of the interface is named");
    }
    let body = !request.body.is_empty();
    if body != matches!(request.method.as_str(), "POST" | "PATCH" | "PUT") {
        return wrong("a body where there is none, or none where there is one");
    }
    if body && request.header("content-type") != "application/json" {
        return wrong("the body is of no type");
    }
    match request.path.strip_prefix(root) {
        Some(path) => Ok(path.to_owned()),
        None => wrong("this is not the interface for programs"),
    }
}

/// The fields of a body: these texts, and no other.
fn fields(request: &Request, must: &[&str], may: &[&str]) -> Result<Json, (u16, String)> {
    let said: Json = serde_json::from_str(&request.body).map_err(|error| (400, error.to_string()))?;
    let Some(object) = said.as_object() else { return wrong("no object") };
    if let Some(unknown) = object.keys().find(|key| !must.contains(&key.as_str()) && !may.contains(&key.as_str())) {
        return wrong(format!("{unknown} is unknown"));
    }
    if let Some(missing) = must.iter().find(|key| !said[**key].is_string()) {
        return wrong(format!("{missing} is missing"));
    }
    Ok(said)
}

struct Limits {
    states: &'static [&'static str],
    name: &'static str,
    description: usize,
}

fn set_status(request: &Request, commit: &str, held: &mut Held, limits: &Limits) -> Answered {
    let said = fields(request, &["state", limits.name], &["description", "target_url"])?;
    let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    if commit.len() != 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return wrong("no commit");
    }
    if commit.starts_with("dead") {
        return Err((422, format!("No commit found for SHA: {commit}")));
    }
    if !limits.states.contains(&text("state").as_str()) {
        return wrong(format!("{} is no state", text("state")));
    }
    if text("description").chars().count() > limits.description || text(limits.name).chars().count() > 255 {
        return wrong("the description is too long");
    }
    if said.get("target_url").is_some() && !text("target_url").starts_with("https://") {
        return wrong("the target is none");
    }
    let (state, context) = (text("state"), text(limits.name));
    let last = held.statuses.iter().rev().find(|one| one.0 == commit && one.1 == context);
    if limits.name == "name" && last.is_some_and(|last| last.2 == state) {
        let why = format!(
            "Cannot transition status via :enqueue from :{state} (Reason(s): Status cannot transition via \"enqueue\")"
        );
        return Ok(Reply { status: 400, head: String::new(), body: json!({"message": why}).to_string() });
    }
    held.statuses.push((commit.to_owned(), context, state, text("description")));
    ok(201, &json!({"id": held.statuses.len()}))
}

fn written(request: &Request, longest: usize) -> Result<String, (u16, String)> {
    let said = fields(request, &["body"], &[])?;
    let text = said["body"].as_str().unwrap_or_default().to_owned();
    if text.is_empty() || text.chars().count() > longest {
        return Err((422, "body is too long".into()));
    }
    Ok(text)
}

impl Held {
    fn write(&mut self, number: i64, text: String) -> Written {
        let id = self.comments.iter().map(|comment| comment.id).max().unwrap_or(100) + 1;
        let comment = Written { id, number, author: OWN.into(), text };
        self.comments.push(comment.clone());
        comment
    }

    /// Replaces a comment. Whoever may write to a repository may change what others said there.
    fn replace(&mut self, id: &str, text: String) -> Result<Written, (u16, String)> {
        let found = self.comments.iter_mut().find(|comment| comment.id.to_string() == id);
        let Some(found) = found else { return Err((404, "Not Found".into())) };
        found.text = text;
        Ok(found.clone())
    }

    fn remove(&mut self, id: &str) -> Answered {
        let before = self.comments.len();
        self.comments.retain(|comment| comment.id.to_string() != id);
        match before == self.comments.len() {
            true => Err((404, "Not Found".into())),
            false => Ok(Reply { status: 204, ..Reply::default() }),
        }
    }

    fn page(&self, number: i64, query: &str, show: impl Fn(&Written) -> Json) -> Answered {
        let of = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<usize>().ok())
        };
        let all: Vec<&Written> = self.comments.iter().filter(|comment| comment.number == number).collect();
        let (size, page) = (of("per_page").unwrap_or(all.len().max(1)), of("page").unwrap_or(1));
        if size > 100 && query.contains("per_page") {
            return wrong("a page has a hundred at most");
        }
        ok(200, &all.into_iter().skip(size * (page - 1)).take(size).map(show).collect())
    }
}

fn github(name: &str, request: &Request, path: &str, held: &mut Held) -> Answered {
    let states: &[&str] = match name {
        "github" => &["error", "failure", "pending", "success"],
        _ => &["error", "failure", "pending", "success", "warning"],
    };
    let limits = Limits { states, name: "context", description: if name == "github" { 140 } else { 255 } };
    let show = |comment: &Written| {
        let kind = if comment.author == OWN { "Bot" } else { "User" };
        json!({"id": comment.id, "body": comment.text, "user": {"login": comment.author, "type": kind}})
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["user"]) if held.anonymous => Err((403, "Resource not accessible by integration".into())),
        ("GET", ["user"]) => ok(200, &json!({"login": OWN, "id": 7})),
        ("GET", ["repos", "acme", "config"]) => ok(200, &json!({"id": 1, "full_name": "acme/config"})),
        ("POST", ["repos", "acme", "config", "statuses", commit]) => set_status(request, commit, held, &limits),
        ("GET", ["repos", "acme", "config", "issues", number, "comments"]) => {
            if name != "github" && !query.is_empty() {
                return wrong("all comments come at once");
            }
            held.page(number.parse().unwrap_or_default(), query, show)
        }
        ("POST", ["repos", "acme", "config", "issues", number, "comments"]) => {
            let text = written(request, 65_536)?;
            ok(201, &show(&held.write(number.parse().unwrap_or_default(), text)))
        }
        ("PATCH", ["repos", "acme", "config", "issues", "comments", id]) => {
            let text = written(request, 65_536)?;
            ok(200, &show(&held.replace(id, text)?))
        }
        ("DELETE", ["repos", "acme", "config", "issues", "comments", id]) => held.remove(id),
        _ => wrong("there is no such thing to be asked"),
    }
}

fn gitlab(request: &Request, path: &str, held: &mut Held) -> Answered {
    let states = &["pending", "running", "success", "failed", "canceled", "skipped"];
    let limits = Limits { states, name: "name", description: 255 };
    let show = |comment: &Written| json!({"id": comment.id, "body": comment.text, "system": false, "author": {"username": comment.author}});
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["user"]) => ok(200, &json!({"username": OWN, "id": 7})),
        ("GET", ["projects", "acme%2Fconfig"]) => ok(200, &json!({"id": 1, "path_with_namespace": "acme/config"})),
        ("POST", ["projects", "acme%2Fconfig", "statuses", commit]) => set_status(request, commit, held, &limits),
        ("GET", ["projects", "acme%2Fconfig", "merge_requests", number, "notes"]) => {
            held.page(number.parse().unwrap_or_default(), query, show)
        }
        ("POST", ["projects", "acme%2Fconfig", "merge_requests", number, "notes"]) => {
            let text = written(request, 1_000_000)?;
            ok(201, &show(&held.write(number.parse().unwrap_or_default(), text)))
        }
        ("PUT", ["projects", "acme%2Fconfig", "merge_requests", _, "notes", id]) => {
            let text = written(request, 1_000_000)?;
            ok(200, &show(&held.replace(id, text)?))
        }
        ("DELETE", ["projects", "acme%2Fconfig", "merge_requests", _, "notes", id]) => held.remove(id),
        _ => wrong("there is no such thing to be asked"),
    }
}
