//! Settings: those of the machine (flags, then environment, then `--config FILE`), and those of a source
//! (`argus.yaml`), which can hold nothing that a pull request must not touch.

pub mod controller;
pub mod telemetry;
pub mod webhook;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde::Deserialize;

use crate::approval::Need;
use crate::brake::{Mode, Windows};
use crate::guard::Guards;
use crate::identity::Approvers;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::name_fault;
use crate::model::origin::{Origin, Position};
use crate::model::time::parse_duration;
use crate::sandbox::Limits;
use crate::settings::controller::ControllerSettings;
use crate::settings::telemetry::TelemetrySettings;
use crate::sink::SinkSettings;
use crate::sink::courier::NotificationSettings;
use crate::source::cluster::settings::ClusterSettings;
use crate::source::git::settings::GitSettings;
use crate::verdict::Terms;

/// The file at the root of a config repo with the settings of that source.
pub const SOURCE_FILE: &str = "argus.yaml";

/// Names that people give to that file by mistake.
const MISNAMED: &[&str] = &["argus.yml", "argus.json"];

/// The largest settings file.
const SETTINGS_BYTES_MAX: u64 = 256 * 1024;

/// What only the machine may set, in any spelling that somebody may try in `argus.yaml`.
const MACHINE_ONLY: &[&str] = &[
    "audit",
    "controller",
    "database",
    "databaseUrl",
    "dataDir",
    "postgresBin",
    "connections",
    "approvers",
    "sinks",
    "kafka",
    "notifications",
    "smtp",
    "secretsDir",
    "signers",
    "credentials",
    "token",
    "tokens",
    "secrets",
    "force",
    "policyLimits",
    "git",
    "kubernetes",
    "telemetry",
    "verify",
    "webhook",
    "webhooks",
    "forge",
    "forges",
];

/// The settings of the machine, as `--config FILE` holds them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Machine {
    /// The address of the database.
    pub database_url: Option<String>,
    /// Where the private PostgreSQL keeps its data.
    pub data_dir: Option<PathBuf>,
    /// Where PostgreSQL's server binaries are.
    pub postgres_bin: Option<PathBuf>,
    /// How many connections to use.
    pub connections: Option<u32>,
    /// Who may approve what is held.
    pub approvers: Approvers,
    /// The folder of the policies; it outweighs the one that a source names.
    pub policies: Option<PathBuf>,
    /// What a policy may use.
    pub policy_limits: Limits,
    /// Repositories: where they are, how to get in, whom to trust.
    pub git: GitSettings,
    /// Where events go.
    pub sinks: Vec<SinkSettings>,
    /// How messages go to the channels of organizations; without it they do not.
    pub notifications: Option<NotificationSettings>,
    /// What signs the audit, and whose signatures count.
    pub audit: AuditSettings,
    /// How logs look, and where traces go.
    pub telemetry: TelemetrySettings,
    /// What `argus controller` looks at.
    pub controller: ControllerSettings,
    /// The cluster whose custom resources it follows.
    pub kubernetes: Option<ClusterSettings>,
}

/// How often heads are signed after an apply when nobody says so.
const HEADS_EVERY: TimeDelta = TimeDelta::hours(1);

/// The section `audit` of the settings of the machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditSettings {
    /// The private SSH key that signs heads, checkpoints and manifests.
    pub sign_key: Option<PathBuf>,
    /// The list of those whose signatures count.
    pub signers: Option<PathBuf>,
    /// The file that heads are appended to.
    pub heads: Option<PathBuf>,
    #[serde(deserialize_with = "length")]
    every: Option<TimeDelta>,
}

impl AuditSettings {
    /// How old the last head may be before an apply signs anew.
    pub fn every(&self) -> TimeDelta {
        self.every.unwrap_or(HEADS_EVERY)
    }
}

fn length<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<TimeDelta>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text)
        .map(Some)
        .map_err(|_| serde::de::Error::custom("a length of time is written `1h`, `30m` or `0s`"))
}

/// The settings of a source, as `argus.yaml` holds them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Source {
    /// The name under which this source owns what it applies.
    pub source: String,
    /// Where its manifests are, relative to `argus.yaml`.
    pub paths: Vec<PathBuf>,
    /// What happens to drift.
    pub mode: Mode,
    /// What must not happen unseen.
    pub guards: Guards,
    /// What lifts a hold of which nothing else is said.
    pub approvals: Need,
    /// When plans may be applied.
    pub windows: Windows,
    /// The folder of its policies relative to `argus.yaml`, or `none`.
    pub policies: Option<String>,
}

impl Default for Source {
    fn default() -> Self {
        Source {
            source: "default".into(),
            paths: Vec::new(),
            mode: Mode::default(),
            guards: Guards::default(),
            approvals: Need::default(),
            windows: Windows::default(),
            policies: None,
        }
    }
}

impl Source {
    /// What its plans are judged by, beside policies.
    pub fn terms(&self) -> Terms {
        let Source { source: _, paths: _, mode, guards, approvals, windows, policies: _ } = self;
        Terms { mode: *mode, guards: guards.clone(), approvals: approvals.clone(), windows: windows.clone() }
    }
}

impl Machine {
    /// Reads the file of `--config`.
    pub fn read(path: &Path) -> Result<Machine, Box<Finding>> {
        let machine: Machine = read(path, &path.display().to_string())?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (git, controller) = (machine.git.beside(folder), machine.controller.beside(folder));
        let kubernetes = machine.kubernetes.map(|cluster| cluster.beside(folder));
        Ok(Machine { git, controller, kubernetes, ..machine })
    }
}

impl Source {
    /// Reads `argus.yaml` beside the manifests; without one, the defaults hold.
    pub fn read(root: &Path) -> Result<Source, Box<Finding>> {
        let path = root.join(SOURCE_FILE);
        // What cannot be read must not be taken for what is not there: other guards would hold.
        match std::fs::symlink_metadata(&path) {
            Ok(about) if about.is_file() => {}
            Ok(_) => {
                let finding = bad(format!("{SOURCE_FILE} is no regular file"));
                return Err(Box::new(finding.hint("put the file itself there; links are never followed")));
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return misnamed(root).map_or_else(|| Ok(Source::default()), Err);
            }
            Err(error) => return Err(bad(format!("cannot read the settings: {error}"))),
        }
        read(&path, SOURCE_FILE).and_then(Source::checked)
    }

    /// Reads the text of `argus.yaml`.
    pub fn from_text(text: &str) -> Result<Source, Box<Finding>> {
        if text.len() as u64 > SETTINGS_BYTES_MAX {
            let message = format!("settings of {} bytes; {SETTINGS_BYTES_MAX} is the most", text.len());
            return Err(bad(message));
        }
        parse(text, SOURCE_FILE).and_then(Source::checked)
    }

    /// The same settings, if they make sense.
    pub fn checked(self) -> Result<Source, Box<Finding>> {
        let settings = self;
        if let Some(fault) = name_fault(&settings.source) {
            return Err(bad(format!("`source` is not a name: {fault}")));
        }
        if let Some(fault) = settings.approvals.fault() {
            return Err(bad(format!("`approvals` cannot be met or holds nothing: {fault}")));
        }
        let inside = |path: &&PathBuf| {
            use std::path::Component;
            path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        };
        let policies = settings.policies.as_ref().map(PathBuf::from);
        if let Some(outside) = settings.paths.iter().chain(&policies).find(|path| !inside(path)) {
            return Err(bad(format!("the path `{}` leads out of the source", outside.display())));
        }
        Ok(settings)
    }
}

fn bad(message: String) -> Box<Finding> {
    Box::new(Finding::error(Code::BadSettings, message).at(Origin::file(&SOURCE_FILE.into())))
}

/// Settings under a name that is nearly the right one would be read by nobody.
fn misnamed(root: &Path) -> Option<Box<Finding>> {
    MISNAMED.iter().find_map(|name| {
        let path = root.join(name);
        let about = std::fs::symlink_metadata(&path).ok()?;
        if !about.is_file() || about.len() > SETTINGS_BYTES_MAX {
            return None;
        }
        let text = std::fs::read_to_string(&path).ok().filter(|text| !is_blank(text))?;
        let settings = match parse::<Source>(&text, SOURCE_FILE) {
            Ok(_) => true,
            Err(finding) => finding.code == Code::ForbiddenSetting,
        };
        let message = format!("{name} holds settings, which are only read from {SOURCE_FILE}");
        let finding = Finding::error(Code::BadSettings, message).at(Origin::file(&(*name).into()));
        settings.then(|| Box::new(finding.hint(format!("rename it to {SOURCE_FILE}"))))
    })
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

fn read<T: for<'de> Deserialize<'de> + Default>(path: &Path, shown: &str) -> Result<T, Box<Finding>> {
    let origin = Origin::file(&shown.into());
    let unreadable = |error: std::io::Error| {
        Box::new(Finding::error(Code::BadSettings, format!("cannot read the settings: {error}")).at(origin.clone()))
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > SETTINGS_BYTES_MAX {
        let message = format!("settings of {size} bytes; {SETTINGS_BYTES_MAX} is the most");
        return Err(Box::new(Finding::error(Code::BadSettings, message).at(origin)));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text, shown)
}

fn parse<T: for<'de> Deserialize<'de> + Default>(text: &str, shown: &str) -> Result<T, Box<Finding>> {
    if is_blank(text) {
        return Ok(T::default());
    }
    serde_yaml::from_str(text).map_err(|error| {
        let place = error.location();
        let at = place.map(|at| Position::new(at.line() as u32, at.column() as u32)).unwrap_or_default();
        let origin = Origin::new(&shown.into(), at);
        let message = without_values(&error.to_string());
        let name = message.split('`').nth(1).filter(|_| message.contains("unknown field")).unwrap_or_default();
        let name = name.to_owned();
        if shown == SOURCE_FILE && MACHINE_ONLY.contains(&name.as_str()) {
            let message =
                format!("`{name}` cannot be set in {SOURCE_FILE}: whoever may change that file must not reach it");
            let finding = Finding::error(Code::ForbiddenSetting, message).at(origin);
            return Box::new(finding.hint("set it on the machine: by flag, environment or `--config FILE`"));
        }
        let finding = Finding::error(Code::BadSettings, format!("the settings are wrong: {message}")).at(origin);
        Box::new(finding.hint("docs/settings.md lists what may stand here"))
    })
}

/// A message without the texts that it quotes: one of them may be a password that stands in the wrong place.
fn without_values(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}...{}", &message[..=first], &message[last..]),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_can_set_guards_but_not_reach_for_the_machine() {
        let good: Source =
            parse("source: acme\nmode: apply\nguards:\n  owners: 2\n  members: {percent: 10}\n", SOURCE_FILE)
                .expect("these settings are right");
        assert_eq!((good.guards.owners, good.guards.members.percent, good.mode), (2, 10, Mode::Apply));
        let code = |text: &str| parse::<Source>(text, SOURCE_FILE).expect_err(text).code;
        assert_eq!(code("databaseUrl: postgres://x"), Code::ForbiddenSetting);
        assert_eq!(code("sinks: {}"), Code::ForbiddenSetting);
        assert_eq!(code("modus: apply"), Code::BadSettings);
        assert_eq!(code("mode: whenever"), Code::BadSettings);
    }

    #[test]
    fn a_window_that_cannot_be_is_pointed_at_where_it_stands() {
        let windows = |schedule: &str, duration: &str, zone: &str| {
            let text = format!(
                "source: acme\nwindows:\n  - kind: deny\n    schedule: {schedule}\n    duration: {duration}\n    timeZone: {zone}\n"
            );
            parse::<Source>(&text, SOURCE_FILE).map(|source| source.windows.0.len())
        };
        assert_eq!(windows("\"0 8 * * 1-5\"", "10h", "Europe/Berlin").ok(), Some(1));
        for (schedule, duration, zone, line, why) in [
            ("\"0 8 * *\"", "10h", "UTC", 4, "this one has 4"),
            ("\"0 0 31 2 *\"", "10h", "UTC", 4, "the schedule never fires"),
            ("hunter2", "10h", "UTC", 4, "this one has 1"),
            ("\"0 8 * * *\"", "0h", "UTC", 5, "at least 1s and at most 31d"),
            ("\"0 8 * * *\"", "8", "UTC", 5, "is no length of time"),
            ("\"0 8 * * *\"", "hunter2", "UTC", 5, "is no length of time"),
            ("\"0 8 * * *\"", "8h", "Europa/Berlin", 6, "did you mean `Europe/Berlin`?"),
            ("\"0 8 * * *\"", "8h", "hunter2", 6, "there is no time zone of this name"),
        ] {
            let finding = windows(schedule, duration, zone).expect_err(why);
            assert_eq!((finding.code, finding.origin.map(|at| at.line)), (Code::BadSettings, Some(line)), "{why}");
            assert!(finding.message.contains(why) && !finding.message.contains("hunter2"), "{}", finding.message);
        }
    }
}
