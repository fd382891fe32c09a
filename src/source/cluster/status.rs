//! The status of an object: what came of a pass, in the words that tools of Kubernetes know. Pure: the moment comes in.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::object::digest;

/// How many passes the history tells of.
pub const HISTORY_MAX: usize = 10;

/// The most rows that the inventory names; the definition takes no more.
pub const INVENTORY_MAX: usize = 10_000;

/// The longest message of a condition, in characters.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// The status of an object, in the form of its definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation that the conditions are about.
    pub observed_generation: i64,
    /// How it stands.
    pub conditions: Vec<Condition>,
    /// The revision that was applied last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_revision: Option<String>,
    /// The revision that was tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,
    /// What it stands for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inventory: Vec<Entry>,
    /// The last passes, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Ended>,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub about: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The generation that it is about.
    pub observed_generation: i64,
    /// Since when it holds, RFC 3339.
    pub last_transition_time: String,
    /// One word for why.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

/// Something that an object stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// An organization, of an object that names a repository.
    Organization(Organization),
    /// A row, of all others.
    Row(Row),
}

/// An organization that a repository describes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Organization {
    /// Its name; empty for what all share.
    pub organization: String,
    /// The revision that was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// A row that an object stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Its kind.
    pub kind: String,
    /// Its name, or the email address of a member.
    pub name: String,
    /// The id of the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A pass that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ended {
    /// The id of the run.
    pub run: String,
    /// What it was made of.
    pub revision: String,
    /// The digest of its plan.
    pub plan_digest: String,
    /// When it ended, RFC 3339.
    pub finished_at: String,
    /// How it ended: the reason of `Ready` then.
    pub outcome: String,
    /// How many resources of the object it changed.
    pub changes: u64,
}

/// How an object stands after a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The rows are as it says.
    Applied,
    /// It is being worked on.
    Progressing,
    /// It is being deleted, and what it stands for goes.
    Terminating,
    /// It cannot be understood, or contradicts others.
    InvalidManifest,
    /// Its namespace is not bound to its organization.
    NotBound,
    /// It has to be signed, and is not, or not by whom it should be.
    NotVerified,
    /// A policy denies it.
    Denied,
    /// It waits for people.
    Held,
    /// Somebody has suspended the organization or its source.
    Suspended,
    /// No window is open.
    WindowClosed,
    /// Its source only observes, and the rows differ.
    Observed,
    /// It waits for something else.
    DependencyNotReady,
    /// Somebody else undoes it again and again.
    Fighting,
    /// Another source owns its rows.
    OwnedByAnotherSource,
    /// Something else of its organization is wrong, and an organization is applied whole or not at all.
    OrganizationBlocked,
    /// It could not be applied; it is tried again.
    ReconciliationFailed,
}

/// What `Ready` is then, and whether it goes on by itself or stalls until somebody does something.
struct Meaning {
    reason: &'static str,
    ready: &'static str,
    reconciling: bool,
    stalled: bool,
}

impl Standing {
    /// The word for it.
    pub fn reason(self) -> &'static str {
        self.meaning().reason
    }

    /// Whether it is as it should be, or on the way.
    pub fn is_well(self) -> bool {
        matches!(self, Standing::Applied | Standing::Progressing | Standing::Terminating)
    }

    fn meaning(self) -> Meaning {
        let stands = |reason, ready| Meaning { reason, ready, reconciling: false, stalled: false };
        let goes_on = |reason, ready| Meaning { reason, ready, reconciling: true, stalled: false };
        let stalls = |reason| Meaning { reason, ready: "False", reconciling: false, stalled: true };
        match self {
            Standing::Applied => stands("ReconciliationSucceeded", "True"),
            Standing::Progressing => goes_on("Progressing", "Unknown"),
            Standing::Terminating => goes_on("Terminating", "Unknown"),
            Standing::InvalidManifest => stalls("InvalidManifest"),
            Standing::NotBound => stalls("NotBound"),
            Standing::NotVerified => stalls("NotVerified"),
            Standing::Denied => stalls("Denied"),
            Standing::Held => stalls("Held"),
            Standing::Suspended => stands("Suspended", "False"),
            Standing::WindowClosed => stands("WindowClosed", "False"),
            Standing::Observed => stands("Observed", "False"),
            Standing::DependencyNotReady => goes_on("DependencyNotReady", "False"),
            Standing::Fighting => stalls("Fighting"),
            Standing::OwnedByAnotherSource => stalls("OwnedByAnotherSource"),
            Standing::OrganizationBlocked => stands("OrganizationBlocked", "False"),
            Standing::ReconciliationFailed => goes_on("ReconciliationFailed", "False"),
        }
    }
}

/// What came of a pass for one object.
#[derive(Clone, Debug)]
pub struct Came {
    /// The generation that the pass was about.
    pub generation: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// How it stands.
    pub standing: Standing,
    /// Why, for people.
    pub message: String,
    /// How the rows differ although nobody asked for it, where they do and stay so.
    pub drift: Option<String>,
    /// What it stands for; none where the pass did not get as far.
    pub rows: Option<Vec<Entry>>,
    /// The pass, where it was one that is to be remembered.
    pub run: Option<Run>,
    /// What it was made of, where that is not the object itself.
    pub revision: Option<String>,
    /// What of it has to be signed, where that is so and it is.
    pub verified: Option<String>,
}

impl Came {
    /// Something of which nothing more is to be told.
    pub fn new(generation: i64, at: DateTime<Utc>, standing: Standing, message: String) -> Came {
        Came { generation, at, standing, message, drift: None, rows: None, run: None, revision: None, verified: None }
    }
}

/// A pass that is to be remembered.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// The digest of its plan.
    pub plan_digest: String,
    /// How many resources of the object it changed.
    pub changes: u64,
}

/// The revision of an object, as its status tells it.
pub fn revision(generation: i64) -> String {
    format!("generation:{generation}")
}

/// The status of an object after a pass. Where nothing has changed, it is the one that was before.
pub fn status(before: &Status, came: &Came) -> Status {
    let meaning = came.standing.meaning();
    let message = shortened(&came.message);
    let mut conditions = vec![("Ready", meaning.ready, meaning.reason, message.clone())];
    if meaning.reconciling {
        conditions.push(("Reconciling", "True", meaning.reason, message.clone()));
    }
    if meaning.stalled {
        conditions.push(("Stalled", "True", meaning.reason, message.clone()));
    }
    if came.standing == Standing::Fighting {
        conditions.push(("Fighting", "True", "UndoneAgain", message));
    }
    if let Some(drift) = &came.drift {
        conditions.push(("Drifted", "True", "RowsDiffer", shortened(drift)));
    }
    if let Some(what) = &came.verified {
        conditions.push(("SourceVerified", "True", "Verified", shortened(what)));
    }
    let at = came.at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let condition = |(about, status, reason, message): (&str, &str, &str, String)| {
        let same = |old: &&Condition| old.about == about && old.status == status;
        let since = before.conditions.iter().find(same).map(|old| old.last_transition_time.clone());
        Condition {
            about: about.into(),
            status: status.into(),
            observed_generation: came.generation,
            last_transition_time: since.unwrap_or_else(|| at.clone()),
            reason: reason.into(),
            message,
        }
    };
    let revision = came.revision.clone().unwrap_or_else(|| revision(came.generation));
    let applied = came.standing == Standing::Applied;
    let ended = came.run.as_ref().map(|run| Ended {
        run: run.id.clone(),
        revision: revision.clone(),
        plan_digest: run.plan_digest.clone(),
        finished_at: at.clone(),
        outcome: meaning.reason.into(),
        changes: run.changes,
    });
    // A pass is told once, however often its end is.
    let known = ended.as_ref().is_some_and(|ended| before.history.iter().any(|old| old.run == ended.run));
    let history = ended.into_iter().filter(|_| !known).chain(before.history.iter().cloned());
    Status {
        observed_generation: came.generation,
        conditions: conditions.into_iter().map(condition).collect(),
        last_applied_revision: if applied { Some(revision.clone()) } else { before.last_applied_revision.clone() },
        last_attempted_revision: match came.standing {
            // Nothing was tried.
            Standing::Progressing | Standing::Suspended | Standing::WindowClosed => {
                before.last_attempted_revision.clone()
            }
            _ => Some(revision),
        },
        inventory: came.rows.as_ref().map_or_else(|| before.inventory.clone(), |rows| inventory(rows)),
        history: history.take(HISTORY_MAX).collect(),
    }
}

fn inventory(entries: &[Entry]) -> Vec<Entry> {
    let mut entries = entries.to_vec();
    entries.sort();
    entries.dedup_by(|a, b| match (a, b) {
        (Entry::Row(a), Entry::Row(b)) => (&a.kind, &a.name) == (&b.kind, &b.name),
        (Entry::Organization(a), Entry::Organization(b)) => a.organization == b.organization,
        _ => false,
    });
    entries.truncate(INVENTORY_MAX);
    entries
}

fn shortened(message: &str) -> String {
    if message.chars().count() <= MESSAGE_CHARS_MAX {
        return message.to_owned();
    }
    let end = "... (shortened)";
    message.chars().take(MESSAGE_CHARS_MAX - end.len()).chain(end.chars()).collect()
}

impl Status {
    /// Reads the status of an object. What somebody else wrote there counts as nothing.
    pub fn from_json(json: Json) -> Status {
        serde_json::from_value(json).unwrap_or_default()
    }

    /// `Ready` with its reason and its message.
    pub fn ready(&self) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.about == "Ready")
    }

    /// Whether a condition is true.
    pub fn is(&self, about: &str) -> bool {
        self.conditions.iter().any(|condition| condition.about == about && condition.status == "True")
    }

    /// A digest of the conditions and what they are about: where it is the same, a pass that is not worth remembering
    /// has nothing to write.
    pub fn digest(&self) -> u64 {
        let mut parts: Vec<&[u8]> = Vec::new();
        let generation = self.observed_generation.to_be_bytes();
        parts.push(&generation);
        for condition in &self.conditions {
            let Condition { about, status, reason, message, observed_generation: _, last_transition_time: _ } =
                condition;
            parts.extend([about, status, reason, message].map(|text| text.as_bytes()));
        }
        digest(&parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u32) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + i64::from(minute) * 60, 0).unwrap_or_default()
    }

    fn came(minute: u32, generation: i64, standing: Standing) -> Came {
        Came::new(generation, at(minute), standing, "why".into())
    }

    fn run(id: &str) -> Option<Run> {
        Some(Run { id: id.into(), plan_digest: "sha256:1".into(), changes: 2 })
    }

    fn types(status: &Status) -> Vec<(&str, &str)> {
        status.conditions.iter().map(|condition| (&*condition.about, &*condition.status)).collect()
    }

    #[test]
    fn a_status_of_which_nothing_has_changed_is_the_same_to_the_letter() {
        let row = |name: &str| Entry::Row(Row { kind: "Team".into(), name: name.into(), id: None });
        let first =
            Came { rows: Some(vec![row("b"), row("a"), row("a")]), run: run("1"), ..came(0, 3, Standing::Applied) };
        let before = status(&Status::default(), &first);
        assert_eq!(before.inventory, [row("a"), row("b")]);
        // Later, and the end of the same run told once more.
        assert_eq!(status(&before, &Came { at: at(9), ..first.clone() }), before);
        assert_eq!(status(&before, &came(9, 3, Standing::Applied)), before);
        let read = Status::from_json(serde_json::to_value(&before).unwrap_or_default());
        assert_eq!((&read, read.digest()), (&before, before.digest()));
    }

    #[test]
    fn a_condition_keeps_its_moment_until_it_changes_its_mind() {
        let ready = status(&Status::default(), &came(0, 1, Standing::Applied));
        let since = |status: &Status| status.ready().map(|ready| ready.last_transition_time.clone());
        let still = status(&ready, &Came { message: "other words".into(), ..came(1, 2, Standing::Applied) });
        assert_eq!(since(&still), since(&ready));
        assert_ne!(still.digest(), ready.digest());
        let denied = status(&still, &came(2, 3, Standing::Denied));
        assert_ne!(since(&denied), since(&ready));
        // Denied and held are both `False`: no transition.
        assert_eq!(since(&status(&denied, &came(3, 3, Standing::Held))), since(&denied));
    }

    #[test]
    fn only_what_is_applied_counts_as_applied_and_what_was_not_tried_not_as_tried() {
        let applied = status(&Status::default(), &came(0, 1, Standing::Applied));
        let denied = status(&applied, &came(1, 2, Standing::Denied));
        let revisions = |status: &Status| {
            (status.last_applied_revision.clone(), status.last_attempted_revision.clone(), status.observed_generation)
        };
        let generation = |number| Some(revision(number));
        assert_eq!(revisions(&applied), (generation(1), generation(1), 1));
        assert_eq!(revisions(&denied), (generation(1), generation(2), 2));
        assert_eq!(revisions(&status(&denied, &came(2, 3, Standing::Suspended))), (generation(1), generation(2), 3));
    }

    #[test]
    fn what_is_made_of_a_repository_tells_its_commit_and_its_organizations() {
        let held =
            Entry::Organization(Organization { organization: "acme".into(), revision: Some("main@sha1:1".into()) });
        let pass = Came {
            revision: Some("main@sha1:1".into()),
            rows: Some(vec![held.clone()]),
            ..came(0, 4, Standing::Applied)
        };
        let after = status(&Status::default(), &pass);
        assert_eq!((after.last_applied_revision.as_deref(), after.observed_generation), (Some("main@sha1:1"), 4));
        let read = Status::from_json(serde_json::to_value(&after).unwrap_or_default());
        assert_eq!((read.inventory, &after.inventory), (vec![held], &after.inventory));
    }

    #[test]
    fn what_needs_somebody_stalls_and_what_goes_on_by_itself_is_reconciling() {
        let of = |standing| status(&Status::default(), &came(0, 1, standing));
        assert_eq!(types(&of(Standing::Applied)), [("Ready", "True")]);
        assert_eq!(types(&of(Standing::Progressing)), [("Ready", "Unknown"), ("Reconciling", "True")]);
        for standing in [
            Standing::InvalidManifest,
            Standing::NotBound,
            Standing::NotVerified,
            Standing::Denied,
            Standing::Held,
            Standing::OwnedByAnotherSource,
        ] {
            assert_eq!(types(&of(standing)), [("Ready", "False"), ("Stalled", "True")], "{standing:?}");
        }
        for standing in [Standing::DependencyNotReady, Standing::ReconciliationFailed] {
            assert_eq!(types(&of(standing)), [("Ready", "False"), ("Reconciling", "True")], "{standing:?}");
        }
        for standing in [Standing::Suspended, Standing::WindowClosed, Standing::Observed, Standing::OrganizationBlocked]
        {
            assert_eq!(types(&of(standing)), [("Ready", "False")], "{standing:?}");
        }
        let fighting = types(&of(Standing::Fighting)).iter().map(|(about, _)| about.to_string()).collect::<Vec<_>>();
        assert_eq!(fighting, ["Ready", "Stalled", "Fighting"]);
        let verified = Came { verified: Some("head".into()), ..came(0, 1, Standing::Applied) };
        assert!(status(&Status::default(), &verified).is("SourceVerified"));
        let drifted = Came { drift: Some("1 row differs".into()), ..came(0, 1, Standing::Observed) };
        assert!(status(&Status::default(), &drifted).is("Drifted"));
    }

    #[test]
    fn the_history_holds_the_last_ten_the_newest_first_and_messages_have_an_end() {
        let mut last = Status::default();
        for number in 0..15 {
            let came = Came { run: run(&number.to_string()), ..came(number, 1, Standing::Applied) };
            last = status(&last, &came);
        }
        let ids: Vec<&str> = last.history.iter().map(|ended| &*ended.run).collect();
        assert_eq!((ids.len(), ids.first(), ids.last()), (HISTORY_MAX, Some(&"14"), Some(&"5")));
        let long = Came { message: "é".repeat(100_000), ..came(0, 1, Standing::Denied) };
        let message = status(&last, &long).ready().map(|ready| ready.message.clone()).unwrap_or_default();
        assert!(message.chars().count() == MESSAGE_CHARS_MAX && message.ends_with("(shortened)"), "{}", message.len());
    }
}
