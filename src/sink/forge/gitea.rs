//! Gitea and Forgejo, which speak nearly as GitHub does.

use super::{Call, Forge};

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

    fn chars_max(&self) -> (usize, usize) {
        (255, 65_536)
    }

    fn comments(&self, repository: &str, number: i64, _: u32) -> (Call, Option<usize>) {
        // All of them, at once.
        (Call::get(format!("/repos/{repository}/issues/{number}/comments")), None)
    }
}
