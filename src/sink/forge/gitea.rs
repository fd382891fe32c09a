//! Gitea and Forgejo, which speak nearly as GitHub does.

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::github::{comment_of, status_of};
use super::{Call, Comment, Forge, Status, parts};

/// Gitea.
#[derive(Debug)]
pub(super) struct Gitea;

impl Forge for Gitea {
    fn usual(&self) -> Option<&'static str> {
        None
    }

    fn interface(&self, url: &str) -> String {
        format!("{url}/api/v1")
    }

    fn headers(&self, token: &str) -> Vec<(&'static str, String)> {
        vec![("accept", "application/json".into()), ("authorization", format!("token {token}"))]
    }

    fn repository(&self, name: &str) -> Option<String> {
        parts(name).filter(|parts| parts.len() == 2).map(|_| name.to_owned())
    }

    fn about(&self, repository: &str) -> Call {
        Call::get(format!("/repos/{repository}"))
    }

    fn chars_max(&self) -> (usize, usize) {
        (255, 65_536)
    }

    fn set_status(&self, repository: &str, status: &Status) -> Call {
        let path = format!("/repos/{repository}/statuses/{}", status.commit);
        Call::with(Method::POST, path, status_of(status))
    }

    fn comments(&self, repository: &str, number: i64, _: u32) -> (Call, Option<usize>) {
        // All of them, at once.
        (Call::get(format!("/repos/{repository}/issues/{number}/comments")), None)
    }

    fn comment(&self, said: &Json) -> Option<Comment> {
        comment_of(said)
    }

    fn write(&self, repository: &str, number: i64, text: &str) -> Call {
        let path = format!("/repos/{repository}/issues/{number}/comments");
        Call::with(Method::POST, path, json!({"body": text}))
    }

    fn replace(&self, repository: &str, _: i64, id: &str, text: &str) -> Call {
        let path = format!("/repos/{repository}/issues/comments/{id}");
        Call::with(Method::PATCH, path, json!({"body": text}))
    }

    fn remove(&self, repository: &str, _: i64, id: &str) -> Call {
        Call::delete(format!("/repos/{repository}/issues/comments/{id}"))
    }
}
