//! Notifications: which events the rules of an organization mean, and what the messages say.

pub mod channel;
pub mod faces;
pub mod fields;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::event;
use crate::event::cloud::Event;
use fields::Fields;

/// How much a message matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// It may go first where there is no room.
    Low,
    /// As most do.
    #[default]
    Normal,
    /// Before others.
    High,
    /// Before all others.
    Critical,
}

impl Priority {
    /// All, from the lowest.
    pub const ALL: &'static [Priority] = &[Priority::Low, Priority::Normal, Priority::High, Priority::Critical];

    /// The word of a manifest. A word that nobody knows was written by SQL, and counts as the usual.
    pub fn named(word: &str) -> Priority {
        Priority::ALL.iter().copied().find(|priority| priority.word() == word).unwrap_or_default()
    }

    /// Its number in the database.
    pub fn number(self) -> i16 {
        self as i16
    }

    /// The one of this number.
    pub fn numbered(number: i16) -> Priority {
        Priority::ALL.iter().copied().find(|priority| priority.number() == number).unwrap_or_default()
    }

    /// As a manifest writes it.
    pub fn word(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
            Priority::Critical => "critical",
        }
    }
}

/// What an event must fulfil.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Condition {
    /// The field of the event.
    pub field: String,
    /// How it is compared; `equals` if nothing is said.
    #[serde(default)]
    pub operator: Option<String>,
    /// With what.
    pub value: String,
}

/// A rule, as the database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The organization.
    pub organization: String,
    /// Its name.
    pub name: String,
    /// The channel that messages go to.
    pub channel: String,
    /// Patterns of types.
    pub events: Vec<String>,
    /// What an event must fulfil. None if it cannot be read: then no event does.
    pub conditions: Option<Vec<Condition>>,
    /// How messages read; without one, as Argus says it.
    pub template: Option<String>,
    /// How much its messages matter.
    pub priority: Priority,
    /// How long the same is not told again, in seconds.
    pub cooldown: Option<i64>,
}

impl Rule {
    /// Whether an event is meant.
    pub fn means(&self, event: &Event, fields: &Fields<'_>) -> bool {
        // A condition may ask for the priority of the rule.
        self.organization == event.organization
            && self.events.iter().any(|pattern| event::matches(pattern, &event.of))
            && self.conditions.as_ref().is_some_and(|all| all.iter().all(|condition| fields.fulfil(condition)))
    }
}

/// A message that a rule has an event told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The place of the event among those that were given.
    pub event: usize,
    /// The rule.
    pub rule: String,
    /// The channel.
    pub channel: String,
    /// How much it matters.
    pub priority: Priority,
    /// What is said in a line.
    pub title: String,
    /// What is said.
    pub text: String,
    /// How long the same is not told again, in seconds.
    pub cooldown: Option<i64>,
}

/// Of these organizations the first events, as many as make no more than so many messages of each; one in any case.
pub fn first_of_each(
    events: Vec<Event>,
    organizations: &BTreeSet<String>,
    rules: &[Rule],
    messages_max: usize,
) -> Vec<Event> {
    let mut many: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in rules {
        *many.entry(&rule.organization).or_default() += 1;
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut events = events;
    events.retain(|event| {
        let most = messages_max / many.get(&*event.organization).copied().unwrap_or(1).max(1);
        let taken = taken.entry(event.organization.clone()).or_default();
        *taken += 1;
        organizations.contains(&event.organization) && *taken <= most.max(1)
    });
    events
}

/// What the rules have told of these events, in the order of the events.
pub fn told(events: &[Event], rules: &[Rule]) -> Vec<Told> {
    let mut told = Vec::new();
    for (place, event) in events.iter().enumerate() {
        // Runs and sources belong to no organization, and so to no rule.
        if event.organization.is_empty() {
            continue;
        }
        let content = serde_json::from_str(&event.content).unwrap_or_default();
        for rule in rules {
            let fields = Fields::new(event, &content, rule.priority);
            if rule.means(event, &fields) {
                told.push(Told {
                    event: place,
                    rule: rule.name.clone(),
                    channel: rule.channel.clone(),
                    priority: rule.priority,
                    title: text::title(event, rule.priority),
                    text: text::said(rule.template.as_deref(), event, &fields),
                    cooldown: rule.cooldown,
                });
            }
        }
    }
    told
}

#[cfg(test)]
mod tests;
