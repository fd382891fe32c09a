//! Hooks: what forges send when something was pushed, or somebody asks for a change. One table of providers says how each of
//! them proves itself, where its delivery has its id, and how its events name what has happened.
//!
//! What is sent is a hint and nothing else: it says that it is worth a look, and what is looked at is the repository.

pub mod hint;
pub mod proof;

use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use hint::Hint;
use proof::Proof;

/// The longest id of a delivery.
const DELIVERY_CHARS_MAX: usize = 200;

/// Who sends hooks.
#[derive(Debug)]
pub struct Provider {
    /// Its name in settings.
    pub name: &'static str,
    /// How it shows that it is the one who knows the secret.
    pub proof: Proof,
    /// The headers that may hold the id of the delivery, the best first.
    pub delivery: &'static [&'static str],
    /// The header that names the event.
    pub event: &'static str,
    /// What an event of this name says.
    read: fn(&str, &Json) -> Option<Hint>,
}

/// All of them.
pub static PROVIDERS: &[Provider] = &[
    Provider {
        name: "github",
        proof: Proof::Body { headers: &["x-hub-signature-256"], head: "sha256=" },
        delivery: &["x-github-delivery"],
        event: "x-github-event",
        read: hint::github,
    },
    Provider {
        name: "gitlab",
        proof: Proof::StandardOrToken { token: "x-gitlab-token" },
        delivery: &["webhook-id", "idempotency-key", "x-gitlab-event-uuid"],
        event: "x-gitlab-event",
        read: hint::gitlab,
    },
    Provider {
        name: "gitea",
        proof: Proof::Body { headers: &["x-gitea-signature", "x-forgejo-signature"], head: "" },
        delivery: &["x-gitea-delivery", "x-forgejo-delivery"],
        event: "x-gitea-event",
        // Its events are those of GitHub.
        read: hint::github,
    },
    Provider {
        name: "forgejo",
        proof: Proof::Body { headers: &["x-forgejo-signature", "x-gitea-signature"], head: "" },
        delivery: &["x-forgejo-delivery", "x-gitea-delivery"],
        event: "x-forgejo-event",
        read: hint::github,
    },
    Provider {
        name: "bitbucket",
        proof: Proof::Body { headers: &["x-hub-signature"], head: "sha256=" },
        delivery: &["x-request-uuid"],
        event: "x-event-key",
        read: hint::bitbucket,
    },
    Provider {
        name: "bitbucket-server",
        proof: Proof::Body { headers: &["x-hub-signature"], head: "sha256=" },
        delivery: &["x-request-id"],
        event: "x-event-key",
        read: hint::bitbucket_server,
    },
    Provider {
        name: "generic",
        proof: Proof::Stamped { signature: "x-argus-signature", moment: "x-argus-timestamp", head: "sha256=" },
        delivery: &["x-argus-delivery"],
        event: "x-argus-event",
        read: hint::generic,
    },
];

impl Provider {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Provider> {
        PROVIDERS.iter().find(|provider| provider.name == name)
    }

    /// The id of a delivery, if it has one.
    pub fn delivery_of<'a>(&self, headers: &Headers<'a>) -> Option<&'a str> {
        let ids = self.delivery.iter().filter_map(|name| headers.one(name));
        ids.into_iter().find(|id| !id.is_empty() && id.chars().count() <= DELIVERY_CHARS_MAX)
    }

    /// What a delivery says. Whatever is not understood is [`Hint::Unknown`].
    pub fn hint(&self, headers: &Headers<'_>, body: &[u8]) -> Hint {
        let event = headers.one(self.event).unwrap_or_default();
        let said: Json = serde_json::from_slice(body).unwrap_or_default();
        (self.read)(event, &said).unwrap_or(Hint::Unknown)
    }
}

impl PartialEq for Provider {
    fn eq(&self, other: &Provider) -> bool {
        self.name == other.name
    }
}

/// A provider as settings name it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Named(pub &'static Provider);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Named, D::Error> {
        let name = String::deserialize(deserializer)?;
        Provider::named(&name).map(Named).ok_or_else(|| {
            let known: Vec<&str> = PROVIDERS.iter().map(|provider| provider.name).collect();
            serde::de::Error::custom(format!("a webhook comes from one of {}", known.join(", ")))
        })
    }
}

/// The headers of a request, by their names in lower case.
#[derive(Clone, Debug, Default)]
pub struct Headers<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Headers<'a> {
    /// Those that are given.
    pub fn new(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Headers<'a> {
        Headers(headers.into_iter().collect())
    }

    /// The values under a name.
    fn all(&self, name: &str) -> Vec<&'a [u8]> {
        self.0.iter().filter(|(own, _)| *own == name).map(|(_, value)| *value).collect()
    }

    /// The value under a name, if there is exactly one and it is plain text.
    pub fn one(&self, name: &str) -> Option<&'a str> {
        match self.all(name).as_slice() {
            [value] => {
                std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| (32..127).contains(&byte)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
