//! GitLab, in its cloud and on servers of one's own.

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{Call, Comment, Forge, State, Status, parts};

/// GitLab.
#[derive(Debug)]
pub(super) struct GitLab;

/// How many comments a page has: each may be long.
const PAGE: usize = 20;

impl Forge for GitLab {
    fn usual(&self) -> Option<&'static str> {
        Some("https://gitlab.com")
    }

    fn interface(&self, url: &str) -> String {
        format!("{url}/api/v4")
    }

    fn headers(&self, token: &str) -> Vec<(&'static str, String)> {
        vec![("accept", "application/json".into()), ("private-token", token.into())]
    }

    /// A path of groups, or the number of the project.
    fn repository(&self, name: &str) -> Option<String> {
        let number = !name.is_empty() && name.len() <= 20 && name.bytes().all(|byte| byte.is_ascii_digit());
        let path = parts(name).filter(|parts| parts.len() >= 2 || number)?;
        Some(path.join("%2F"))
    }

    fn about(&self, repository: &str) -> Call {
        Call::get(format!("/projects/{repository}"))
    }

    fn chars_max(&self) -> (usize, usize) {
        (255, 1_000_000)
    }

    fn set_status(&self, repository: &str, status: &Status) -> Call {
        let state = match status.state {
            State::Pending => "pending",
            State::Success => "success",
            State::Failure => "failed",
        };
        let mut body = json!({"state": state, "name": status.context, "description": status.description});
        if let Some(target) = &status.target {
            body["target_url"] = target.as_str().into();
        }
        Call::with(Method::POST, format!("/projects/{repository}/statuses/{}", status.commit), body)
    }

    /// What is so already is refused by versions that see a step in each state.
    fn is_there(&self, status: u16, said: &str) -> bool {
        status == 400 && said.contains("Cannot transition status")
    }

    fn comments(&self, repository: &str, number: i64, page: u32) -> (Call, Option<usize>) {
        let order = "sort=asc&order_by=created_at";
        let path = format!("/projects/{repository}/merge_requests/{number}/notes?{order}&per_page={PAGE}&page={page}");
        (Call::get(path), Some(PAGE))
    }

    fn comment(&self, said: &Json) -> Option<Comment> {
        Some(Comment {
            id: said["id"].as_u64()?.to_string(),
            text: said["body"].as_str()?.replace("\r\n", "\n"),
            author: said["author"]["username"].as_str().unwrap_or_default().to_owned(),
            by_program: false,
        })
    }

    fn write(&self, repository: &str, number: i64, text: &str) -> Call {
        let path = format!("/projects/{repository}/merge_requests/{number}/notes");
        Call::with(Method::POST, path, json!({"body": text}))
    }

    fn replace(&self, repository: &str, number: i64, id: &str, text: &str) -> Call {
        let path = format!("/projects/{repository}/merge_requests/{number}/notes/{id}");
        Call::with(Method::PUT, path, json!({"body": text}))
    }

    fn remove(&self, repository: &str, number: i64, id: &str) -> Call {
        Call::delete(format!("/projects/{repository}/merge_requests/{number}/notes/{id}"))
    }
}
