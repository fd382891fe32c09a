//! GitHub, in its cloud and on servers of one's own.

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{Call, Comment, Forge, State, Status};

/// GitHub.
#[derive(Debug)]
pub(super) struct GitHub;

/// How many comments a page has.
const PAGE: usize = 50;

impl Forge for GitHub {
    fn usual(&self) -> Option<&'static str> {
        Some("https://github.com")
    }

    fn interface(&self, url: &str) -> String {
        if url == "https://github.com" { "https://api.github.com".into() } else { format!("{url}/api/v3") }
    }

    fn headers(&self, token: &str) -> Vec<(&'static str, String)> {
        vec![
            ("accept", "application/vnd.github+json".into()),
            ("x-github-api-version", "2022-11-28".into()),
            ("authorization", format!("Bearer {token}")),
        ]
    }

    fn chars_max(&self) -> (usize, usize) {
        (140, 65_536)
    }

    fn marks_programs(&self) -> bool {
        true
    }

    fn comments(&self, repository: &str, number: i64, page: u32) -> (Call, Option<usize>) {
        let path = format!("/repos/{repository}/issues/{number}/comments?per_page={PAGE}&page={page}");
        (Call::get(path), Some(PAGE))
    }
}

/// Says how it stands with a commit, as GitHub and those that are like it take it.
pub(super) fn set_status(repository: &str, status: &Status) -> Call {
    let state = match status.state {
        State::Pending => "pending",
        State::Success => "success",
        State::Failure => "failure",
    };
    let mut body = json!({"state": state, "context": status.context, "description": status.description});
    if let Some(target) = &status.target {
        body["target_url"] = target.as_str().into();
    }
    Call::with(Method::POST, format!("/repos/{repository}/statuses/{}", status.commit), body)
}

/// A comment as GitHub and those that are like it give it.
pub(super) fn comment(said: &Json) -> Option<Comment> {
    Some(Comment {
        id: said["id"].as_u64()?.to_string(),
        text: said["body"].as_str()?.replace("\r\n", "\n"),
        author: said["user"]["login"].as_str().unwrap_or_default().to_owned(),
        by_program: said["user"]["type"] == "Bot",
    })
}
