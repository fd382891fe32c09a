//! Forges: where repositories live. They are told how it stands with a commit, and what a change that is asked for would do: one
//! comment, which is found again and replaced.
//!
//! What forges differ in is said by a `Forge` as values, each in one file and one line in the table here; what is sent, and what an
//! answer means, is the same for all.

mod gitea;
mod github;
mod gitlab;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;

use super::courier::excerpt;
use super::{http, secret};
use crate::model::secret::MASK;

/// How long one request may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// How long all that is asked for one report may take.
pub const REPORT_TIME_MAX: Duration = Duration::from_secs(25);

/// The longest that a forge may ask to be left alone.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The largest answer, and how much of one that tells of a mistake is read.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
const FAULT_BYTES_MAX: usize = 4 * 1024;

/// The most pages of comments that are looked through.
const PAGES_MAX: u32 = 50;

/// The most comments of ours that are taken away because there is to be one.
const SURPLUS_MAX: usize = 20;

/// All forges, by the names that settings call them.
static FORGES: &[(&str, &dyn Forge)] =
    &[("github", &github::GitHub), ("gitlab", &gitlab::GitLab), ("gitea", &gitea::Gitea), ("forgejo", &gitea::Gitea)];

/// What forges differ in.
trait Forge: std::fmt::Debug + Send + Sync {
    /// Where the one is that everybody means; nothing if everybody has their own.
    fn usual(&self) -> Option<&'static str>;

    /// Where the interface for programs is of the one at this address.
    fn interface(&self, url: &str) -> String;

    /// What a request carries: its form, and the token.
    fn headers(&self, token: &str) -> Vec<(&'static str, String)>;

    /// What the repository of this name is called in a path; nothing if it can have no such name.
    fn repository(&self, name: &str) -> Option<String> {
        parts(name).filter(|parts| parts.len() == 2).map(|_| name.to_owned())
    }

    /// Asks whether the repository is there.
    fn about(&self, repository: &str) -> Call {
        Call::get(format!("/repos/{repository}"))
    }

    /// The longest description of a state, and the longest comment, in characters.
    fn chars_max(&self) -> (usize, usize);

    /// Says how it stands with a commit.
    fn set_status(&self, repository: &str, status: &Status) -> Call {
        github::set_status(repository, status)
    }

    /// Whether a state that was not taken is there already.
    fn is_there(&self, _status: u16, _said: &str) -> bool {
        false
    }

    /// Whether it says of an author that it is a program, which people cannot pretend to be.
    fn marks_programs(&self) -> bool {
        false
    }

    /// Asks for comments, so many pages on; and how many there are on a page, if there is more than one.
    fn comments(&self, repository: &str, number: i64, page: u32) -> (Call, Option<usize>);

    /// Reads a comment.
    fn comment(&self, said: &Json) -> Option<Comment> {
        github::comment(said)
    }

    /// Writes a comment.
    fn write(&self, repository: &str, number: i64, text: &str) -> Call {
        let path = format!("/repos/{repository}/issues/{number}/comments");
        Call::with(Method::POST, path, json!({"body": text}))
    }

    /// Replaces one.
    fn replace(&self, repository: &str, _number: i64, id: &str, text: &str) -> Call {
        let path = format!("/repos/{repository}/issues/comments/{id}");
        Call::with(Method::PATCH, path, json!({"body": text}))
    }

    /// Takes one away.
    fn remove(&self, repository: &str, _number: i64, id: &str) -> Call {
        Call::delete(format!("/repos/{repository}/issues/comments/{id}"))
    }
}

/// What is asked of a forge.
#[derive(Clone, Debug)]
struct Call {
    method: Method,
    path: String,
    body: Option<Json>,
}

impl Call {
    fn get(path: String) -> Call {
        Call { method: Method::GET, path, body: None }
    }

    fn with(method: Method, path: String, body: Json) -> Call {
        Call { method, path, body: Some(body) }
    }

    fn delete(path: String) -> Call {
        Call { method: Method::DELETE, path, body: None }
    }
}

/// A comment, as far as it matters.
#[derive(Clone, Debug)]
struct Comment {
    id: String,
    text: String,
    author: String,
    /// Whether a program has written it.
    by_program: bool,
}

/// How it stands with a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The commit.
    pub commit: String,
    /// Under which name it is told.
    pub context: String,
    /// How it stands.
    pub state: State,
    /// The same for people.
    pub description: String,
    /// Where to read on.
    pub target: Option<String>,
}

/// How it stands with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being looked at.
    Pending,
    /// It is as it should be.
    Success,
    /// It is not.
    Failure,
}

/// What came of telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// It was told; and what the forge calls the comment, if it was one.
    Told(Option<String>),
    /// It will never be taken.
    Refused(String),
    /// It may be taken later.
    Failed {
        /// What happened.
        why: String,
        /// How long the forge wants to be left alone.
        again_after: Option<Duration>,
        /// Whether it takes a person to mend it.
        lasting: bool,
    },
}

/// A forge and a repository there, as the settings of a source name them.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForgeSettings {
    /// Which one.
    provider: Provider,
    /// Where it is; the one that everybody means if nothing is said.
    #[serde(default)]
    url: Option<String>,
    /// The repository, as it calls it: `acme/config`.
    pub repository: String,
    /// The file with the token.
    token_file: PathBuf,
    /// Whom to trust, in PEM, beside those that everybody trusts.
    #[serde(default)]
    ca_file: Option<PathBuf>,
    /// Where a state leads whoever wants to read on.
    #[serde(default)]
    pub target_url: Option<String>,
}

/// One of the forges, by its name.
#[derive(Clone, Copy, Debug)]
struct Provider(&'static str, &'static dyn Forge);

impl PartialEq for Provider {
    fn eq(&self, other: &Provider) -> bool {
        self.0 == other.0
    }
}

impl<'de> Deserialize<'de> for Provider {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Provider, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = FORGES.iter().find(|(known, _)| *known == name);
        found.map(|(name, forge)| Provider(name, *forge)).ok_or_else(|| {
            let known: Vec<&str> = FORGES.iter().map(|(name, _)| *name).collect();
            serde::de::Error::custom(format!("a forge is one of {}", known.join(", ")))
        })
    }
}

impl ForgeSettings {
    /// The ref under which the forge keeps the head of what is asked for, wherever that comes from.
    pub fn reference_of(&self, number: i64) -> String {
        match self.provider.0 {
            "gitlab" => format!("refs/merge-requests/{number}/head"),
            _ => format!("refs/pull/{number}/head"),
        }
    }

    /// Where the files of a commit can be looked at.
    pub fn files_of(&self, commit: &str) -> Option<String> {
        let url = self.url.as_deref().or(self.provider.1.usual())?.trim_end_matches('/');
        let between = match self.provider.0 {
            "github" => "blob",
            "gitlab" => "-/blob",
            _ => "src/commit",
        };
        // The number of a project is no part of such an address.
        let path = parts(&self.repository).filter(|parts| parts.len() > 1)?.join("/");
        Some(format!("{url}/{path}/{between}/{commit}"))
    }

    /// The same, with the files that it names looked for beside the file that it stands in.
    pub fn beside(mut self, folder: &Path) -> ForgeSettings {
        for file in [&mut self.token_file].into_iter().chain(&mut self.ca_file) {
            *file = folder.join(&*file);
        }
        self
    }
}

/// A forge that can be told something.
pub struct Teller {
    forge: &'static dyn Forge,
    interface: String,
    repository: String,
    token: String,
    headers: HeaderMap,
    client: http::Client,
    /// Who is told of as the author of what this one writes; nobody, if the forge does not say.
    own: OnceCell<Option<String>>,
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Teller({}, {})", self.interface, self.repository)
    }
}

/// What an answer was, if it was not what was hoped for.
enum Fault {
    /// There is no such thing, or not for this token.
    Absent(String),
    /// The token, or where it is shown, is not the right one.
    Barred(String),
    /// It will never be taken.
    Refused(String),
    /// It may be taken later, or after so long.
    Failed(String, Option<Duration>),
}

impl From<Fault> for Telling {
    fn from(fault: Fault) -> Telling {
        match fault {
            // Whoever may not see something is told that it is not there, and that can be mended.
            Fault::Absent(why) | Fault::Barred(why) => Telling::Failed { why, again_after: None, lasting: true },
            Fault::Refused(why) => Telling::Refused(why),
            Fault::Failed(why, again_after) => Telling::Failed { why, again_after, lasting: false },
        }
    }
}

impl Teller {
    /// Reads what the settings name. Nobody is asked.
    pub fn open(settings: &ForgeSettings) -> Result<Teller, String> {
        let forge = settings.provider.1;
        let Some(url) = settings.url.as_deref().or(forge.usual()) else {
            return Err("`url` says where it is".into());
        };
        let url = http::address(url)?;
        let repository = forge.repository(&settings.repository);
        let repository = repository.ok_or("`repository` is no name of one: it is written `acme/config`")?;
        if let Some(target) = &settings.target_url {
            http::address(target).map_err(|_| "`targetUrl` is no address".to_owned())?;
        }
        let token = secret(&settings.token_file)?;
        let mut headers = HeaderMap::new();
        for (name, value) in forge.headers(&token) {
            let mut value =
                HeaderValue::from_str(&value).map_err(|_| "the token is none: it is one line".to_owned())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let client = http::client(REQUEST_TIME_MAX, settings.ca_file.as_deref())?;
        let interface = forge.interface(url.trim_end_matches('/'));
        Ok(Teller { forge, interface, repository, token, headers, client, own: OnceCell::new() })
    }

    /// What is wrong on the other side: nothing, if it is there and shows the repository to this token.
    pub async fn fault(&self) -> Option<String> {
        match Telling::from(self.ask(self.forge.about(&self.repository)).await.err()?) {
            Telling::Told(_) => None,
            Telling::Refused(why) | Telling::Failed { why, .. } => Some(why),
        }
    }

    /// Says how it stands with a commit.
    pub async fn status(&self, status: &Status) -> Telling {
        let (longest, _) = self.forge.chars_max();
        let status = Status { description: shortened(&status.description, longest), ..status.clone() };
        match self.ask(self.forge.set_status(&self.repository, &status)).await {
            Ok(_) => Telling::Told(None),
            Err(fault) => fault.into(),
        }
    }

    /// Puts a comment under what is asked for: the one that is there is replaced. The first line of the text is what it is known by;
    /// `known` is what the forge called it before.
    pub async fn comment(&self, number: i64, text: &str, known: Option<&str>) -> Telling {
        match tokio::time::timeout(REPORT_TIME_MAX, self.commented(number, text, known)).await {
            Ok(Ok(id)) => Telling::Told(Some(id)),
            Ok(Err(fault)) => fault.into(),
            Err(_) => {
                let why = format!("no end within {REPORT_TIME_MAX:?}");
                Telling::Failed { why, again_after: None, lasting: false }
            }
        }
    }

    async fn commented(&self, number: i64, text: &str, known: Option<&str>) -> Result<String, Fault> {
        let (_, longest) = self.forge.chars_max();
        if text.chars().count() > longest {
            return Err(Fault::Refused(format!("a comment has at most {longest} characters")));
        }
        if let Some(id) = known {
            match self.ask(self.forge.replace(&self.repository, number, id, text)).await {
                Ok(_) => return Ok(id.to_owned()),
                // Somebody has taken it away.
                Err(Fault::Absent(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        let mark = text.lines().next().unwrap_or_default();
        let mut ours = self.ours(number, mark).await?.into_iter();
        let Some(first) = ours.next() else {
            let said = self.ask(self.forge.write(&self.repository, number, text)).await?;
            let written = self.forge.comment(&said).map(|comment| comment.id);
            return written
                .ok_or_else(|| Fault::Failed("the forge does not say what it calls the comment".into(), None));
        };
        if first.text != text {
            self.ask(self.forge.replace(&self.repository, number, &first.id, text)).await?;
        }
        // There is to be one: more come about where somebody died after writing it, or copied a token.
        for surplus in ours.take(SURPLUS_MAX) {
            match self.ask(self.forge.remove(&self.repository, number, &surplus.id)).await {
                Ok(_) | Err(Fault::Absent(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(first.id)
    }

    /// The comments that begin with this line and that this one has written, the oldest first. Whoever else writes such a line
    /// could change later what it says.
    async fn ours(&self, number: i64, mark: &str) -> Result<Vec<Comment>, Fault> {
        let own = self.own().await?;
        let mut ours = Vec::new();
        for page in 1..=PAGES_MAX {
            let (call, full) = self.forge.comments(&self.repository, number, page);
            let said = self.ask(call).await?;
            let list = said.as_array().ok_or_else(|| Fault::Failed("the forge lists no comments".into(), None))?;
            let found = list.iter().filter_map(|comment| self.forge.comment(comment));
            ours.extend(found.filter(|comment| {
                let by_us = own.as_ref().map_or(comment.by_program, |own| *own == comment.author);
                by_us && comment.text.lines().next() == Some(mark)
            }));
            if full.is_none_or(|full| list.len() < full) {
                return Ok(ours);
            }
        }
        match ours.is_empty() {
            false => Ok(ours),
            true => Err(Fault::Refused(format!(
                "there are more comments than {PAGES_MAX} pages hold, and none of ours there"
            ))),
        }
    }

    /// Who this one is. A token of a program may not ask.
    async fn own(&self) -> Result<Option<String>, Fault> {
        let ask = async || match self.ask(Call::get("/user".into())).await {
            Ok(said) => Ok(said["login"].as_str().or(said["username"].as_str()).map(str::to_owned)),
            Err(Fault::Absent(_)) if self.forge.marks_programs() => Ok(None),
            Err(Fault::Absent(why)) => Err(Fault::Barred(format!("the token may not ask whose it is: {why}"))),
            Err(fault) => Err(fault),
        };
        self.own.get_or_try_init(ask).await.cloned()
    }

    /// Asks for something, and reads a bounded answer.
    async fn ask(&self, call: Call) -> Result<Json, Fault> {
        let asks_who = call.path == "/user";
        let url = format!("{}{}", self.interface, call.path);
        let mut request = self.client.request(call.method, url).headers(self.headers.clone());
        if let Some(body) = call.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let failed = |why: String| Fault::Failed(self.hidden(&why), None);
        let mut response = request.send().await.map_err(|error| failed(http::told(error)))?;
        let status = response.status();
        let most = if status.is_success() { ANSWER_BYTES_MAX } else { FAULT_BYTES_MAX };
        let mut body: Vec<u8> = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| failed(http::told(error)))? {
            if body.len() + piece.len() > most {
                if status.is_success() {
                    return Err(failed(format!("an answer of more than {most} bytes")));
                }
                body.extend_from_slice(&piece[..most - body.len()]);
                break;
            }
            body.extend_from_slice(&piece);
        }
        if status.is_success() {
            return match body.is_empty() {
                true => Ok(Json::Null),
                false => serde_json::from_slice(&body).map_err(|_| failed("the forge answers what is no JSON".into())),
            };
        }
        let said = excerpt(&self.hidden(&String::from_utf8_lossy(&body)));
        let code = status.as_u16();
        let why = match said.is_empty() {
            true => format!("the forge answers {code}"),
            false => format!("the forge answers {code}: {said}"),
        };
        let again_after = pause(response.headers(), Utc::now());
        match code {
            403 | 429 if again_after.is_some() => Err(Fault::Failed(why, again_after)),
            403 if asks_who => Err(Fault::Absent(why)),
            404 | 410 => Err(Fault::Absent(why)),
            _ if self.forge.is_there(code, &String::from_utf8_lossy(&body)) => Ok(Json::Null),
            400 | 409 | 413 | 422 => Err(Fault::Refused(why)),
            300..=399 => Err(Fault::Barred(format!("the forge answers {code}, and nobody is followed elsewhere"))),
            401 | 403 => Err(Fault::Barred(why)),
            _ => Err(Fault::Failed(why, again_after)),
        }
    }

    /// A text without the token, which whoever is sent it may repeat.
    fn hidden(&self, text: &str) -> String {
        text.replace(&self.token, MASK)
    }
}

/// How long a forge wants to be left alone.
fn pause(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let seconds = number("retry-after").or_else(|| {
        let left = number("x-ratelimit-remaining").or(number("ratelimit-remaining"))?;
        let reset = number("x-ratelimit-reset").or(number("ratelimit-reset"))?;
        (left <= 0).then(|| reset - now.timestamp())
    })?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default().max(1)).min(AGAIN_AFTER_MAX))
}

/// A text of at most so many characters, on one line.
fn shortened(text: &str, longest: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(longest) {
        None => line,
        Some(_) => line.chars().take(longest - 1).chain(['…']).collect(),
    }
}

/// A name of parts of letters, digits, `.`, `-` and `_`, none of which leads elsewhere.
fn parts(name: &str) -> Option<Vec<&str>> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = |part: &&str| !matches!(*part, "" | "." | "..") && part.len() <= 255 && part.bytes().all(known);
    let parts: Vec<&str> = name.split('/').collect();
    parts.iter().all(fits).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_a_name_that_leads_nowhere_else() {
        for name in
            ["", "config", "acme/", "/acme/config", "acme/..", "acme/config/x", "acme/con fig", "acme/%2e%2e", "a/b?c"]
        {
            assert_eq!(github::GitHub.repository(name), None, "{name}");
            assert_eq!(gitea::Gitea.repository(name), None, "{name}");
        }
        assert_eq!(github::GitHub.repository("acme/con.fig").as_deref(), Some("acme/con.fig"));
        assert_eq!(gitlab::GitLab.repository("acme/deep/er/config").as_deref(), Some("acme%2Fdeep%2Fer%2Fconfig"));
        assert_eq!(gitlab::GitLab.repository("1234").as_deref(), Some("1234"));
        for name in ["", "config", "acme/../config", "acme//config", "acme/con#fig"] {
            assert_eq!(gitlab::GitLab.repository(name), None, "{name}");
        }
    }

    #[test]
    fn a_forge_says_how_long_it_wants_to_be_left_alone() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("a moment");
        let of = |headers: &[(&'static str, &'static str)]| {
            let headers =
                headers.iter().map(|(name, value)| ((*name).parse().expect("a name"), HeaderValue::from_static(value)));
            pause(&headers.collect(), now).map(|pause| pause.as_secs())
        };
        assert_eq!(of(&[("retry-after", "7")]), Some(7));
        assert_eq!(of(&[("retry-after", "0")]), Some(1));
        assert_eq!(of(&[("retry-after", "99999999")]), Some(3600));
        assert_eq!(of(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000060")]), Some(60));
        assert_eq!(of(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "1600000000")]), Some(1));
        assert_eq!(of(&[("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "1700000060")]), None);
        assert_eq!(of(&[("retry-after", "soon")]), None);
    }

    #[test]
    fn what_is_too_long_is_shortened_and_says_so() {
        assert_eq!(shortened("one\ntwo", 10), "one two");
        assert_eq!(shortened("ääääääää", 8), "ääääääää");
        assert_eq!(shortened("äääääääää", 8), "äääääää…");
    }
}
