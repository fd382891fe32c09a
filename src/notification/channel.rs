//! Channels and messages, as whoever sends them is given them.

use chrono::{DateTime, Utc};

use super::Priority;

/// What a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelType {
    /// An incoming webhook of Slack, or of what speaks like it.
    Slack,
    /// Addresses.
    Email,
    /// Somebody's program.
    Webhook,
    /// A webhook of Discord.
    Discord,
    /// A workflow of Teams.
    Teams,
}

impl ChannelType {
    const ALL: &'static [ChannelType] =
        &[ChannelType::Slack, ChannelType::Email, ChannelType::Webhook, ChannelType::Discord, ChannelType::Teams];

    /// The one of this name.
    pub fn named(word: &str) -> Option<ChannelType> {
        ChannelType::ALL.iter().copied().find(|of| of.word() == word)
    }

    /// As a manifest writes it.
    pub fn word(self) -> &'static str {
        match self {
            ChannelType::Slack => "slack",
            ChannelType::Email => "email",
            ChannelType::Webhook => "webhook",
            ChannelType::Discord => "discord",
            ChannelType::Teams => "teams",
        }
    }
}

/// The name of a secret, and the key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// The secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// A channel, as the database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The organization.
    pub organization: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub of: ChannelType,
    /// The addresses of mail.
    pub addresses: Vec<String>,
    /// The address of a webhook that is no secret.
    pub url: Option<String>,
    /// Where its secret is.
    pub secret: Option<SecretRef>,
    /// How many messages it takes in an hour.
    pub rate_limit: Option<i64>,
    /// Whether it is in use.
    pub enabled: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same as often as it is sent.
    pub id: String,
    /// The organization.
    pub organization: String,
    /// The rule; none for a test.
    pub rule: Option<String>,
    /// How much it matters.
    pub priority: Priority,
    /// What is said in a line.
    pub title: String,
    /// What is said.
    pub text: String,
    /// How many like it were not told meanwhile.
    pub withheld: i64,
    /// The event as a document of CloudEvents, for programs; none for a test and where it is gone.
    pub event: Option<String>,
    /// When it was written.
    pub at: DateTime<Utc>,
}

impl Message {
    /// A message that says that messages arrive.
    pub fn test(id: String, organization: &str, channel: &str, at: DateTime<Utc>) -> Message {
        Message {
            id,
            organization: organization.into(),
            rule: None,
            priority: Priority::Normal,
            title: format!("{organization}: a test of the channel {channel}"),
            text: format!("Argus can send to the channel {channel} of {organization}. Nothing has happened."),
            withheld: 0,
            event: None,
            at,
        }
    }

    /// What is said, with how many others were not told.
    pub fn whole_text(&self) -> String {
        match self.withheld {
            0 => self.text.clone(),
            1 => format!("{}\n(1 more like this was not told meanwhile.)", self.text.trim_end()),
            many => format!("{}\n({many} more like this were not told meanwhile.)", self.text.trim_end()),
        }
    }
}
