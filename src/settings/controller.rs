//! The section `controller` of the settings of the machine: which sources are looked at, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer};

use crate::agenda::Rhythm;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::name_fault;
use crate::model::time::{parse_duration, parse_schedule};
use crate::settings::webhook::WebhookSettings;
use crate::sink::forge::ForgeSettings;
use crate::source::git::settings::GitSettings;

/// The most sources.
pub const SOURCES_MAX: usize = 1_000;

/// How often a source is looked at, fully looked at, and how long one step may take, when nobody says so.
const INTERVAL: TimeDelta = TimeDelta::minutes(5);
const FULL: TimeDelta = TimeDelta::days(1);
const TIMEOUT: TimeDelta = TimeDelta::minutes(10);

/// How often a source may be looked at by itself at most, and how seldom at least.
const INTERVAL_BOUNDS: (TimeDelta, TimeDelta) = (TimeDelta::seconds(1), TimeDelta::days(7));

/// How long the database believes that a replica is there when nobody says so: at most so much, so that what somebody dies over
/// is taken up soon, and at least so much, so that a busy machine is not taken for a dead one.
const LEASE: TimeDelta = TimeDelta::seconds(15);
const LEASE_BOUNDS: (TimeDelta, TimeDelta) = (TimeDelta::seconds(2), TimeDelta::minutes(5));

/// How many steps are done at the same time when nobody says so: of one source, and in one process.
const CONCURRENCY: u16 = 2;
const WORKERS: u16 = 2;

/// The section.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ControllerSettings {
    /// Where metrics, probes and webhooks are served.
    pub listen: Option<SocketAddr>,
    /// How many steps this process does at the same time.
    pub workers: Option<u16>,
    #[serde(deserialize_with = "length")]
    lease: Option<TimeDelta>,
    /// What is looked at.
    pub sources: Vec<SourceSettings>,
}

/// A source.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceSettings {
    /// What it is called: as `source` in its argus.yaml.
    pub name: String,
    /// Its repository.
    pub git: GitSettings,
    #[serde(default, deserialize_with = "length")]
    interval: Option<TimeDelta>,
    #[serde(default)]
    cron: Option<String>,
    #[serde(default, deserialize_with = "length")]
    full_every: Option<TimeDelta>,
    #[serde(default, deserialize_with = "length")]
    timeout: Option<TimeDelta>,
    concurrency: Option<u16>,
    /// Who says that something was pushed.
    #[serde(default)]
    pub webhook: Option<WebhookSettings>,
    /// Who is told what comes of it.
    #[serde(default)]
    pub forge: Option<ForgeSettings>,
    /// The sources that have to be through before this one is looked at.
    #[serde(default)]
    pub depends_on: BTreeSet<String>,
}

impl ControllerSettings {
    /// The same, with the files that it names looked for beside the file that it stands in.
    pub fn beside(mut self, folder: &Path) -> ControllerSettings {
        for source in &mut self.sources {
            source.git = std::mem::take(&mut source.git).beside(folder);
            source.webhook = source.webhook.take().map(|webhook| webhook.beside(folder));
            source.forge = source.forge.take().map(|forge| forge.beside(folder));
        }
        self
    }

    /// How many steps this process does at the same time.
    pub fn workers(&self) -> u16 {
        self.workers.unwrap_or(WORKERS)
    }

    /// How long the database believes that a replica is there which says nothing any more.
    pub fn lease(&self) -> Duration {
        self.lease.unwrap_or(LEASE).to_std().unwrap_or_default()
    }

    /// The same settings, if they make sense.
    pub fn checked(&self) -> Result<&ControllerSettings, Box<Finding>> {
        let bad = |message: String| Err(Box::new(Finding::error(Code::BadSettings, message).hint(HINT)));
        if !(1..=64).contains(&self.workers()) {
            return bad("`controller.workers` is a number from 1 to 64".into());
        }
        let (shortest, longest) = LEASE_BOUNDS;
        if self.lease.is_some_and(|lease| lease < shortest || lease > longest) {
            return bad("`controller.lease` lies between 2s and 5m".into());
        }
        if self.sources.len() > SOURCES_MAX {
            return bad(format!("{} sources are listed, and {SOURCES_MAX} are the most", self.sources.len()));
        }
        let mut names = BTreeMap::new();
        for source in &self.sources {
            let name = &source.name;
            if let Some(fault) = source.fault() {
                return bad(format!("the source `{name}` of the controller is wrong: {fault}"));
            }
            if names.insert(name.as_str(), source).is_some() {
                return bad(format!("two sources of the controller are called `{name}`"));
            }
        }
        for source in &self.sources {
            if let Some(unknown) = source.depends_on.iter().find(|name| !names.contains_key(name.as_str())) {
                return bad(format!("the source `{}` depends on `{unknown}`, which is not listed", source.name));
            }
        }
        match self.sources.iter().find_map(|source| circle(&names, vec![&source.name], &mut BTreeSet::new())) {
            Some(circle) => bad(format!("sources wait for each other: {}", circle.join(" -> "))),
            None => Ok(self),
        }
    }
}

/// What helps against settings that make no sense.
const HINT: &str = "docs/settings.md tells what may stand under `controller`";

/// The way from a source back to itself along what it depends on, if there is one.
fn circle<'a>(
    sources: &BTreeMap<&str, &'a SourceSettings>,
    way: Vec<&'a str>,
    seen: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    let last = *way.last()?;
    if !seen.insert(last) {
        return None;
    }
    sources.get(last)?.depends_on.iter().find_map(|next| {
        let on = way.iter().copied().chain([next.as_str()]).collect();
        if way.first() == Some(&next.as_str()) { Some(on) } else { circle(sources, on, seen) }
    })
}

impl SourceSettings {
    /// A source without a repository, as usual in all else.
    pub fn usual(name: &str) -> SourceSettings {
        SourceSettings {
            name: name.into(),
            git: GitSettings::default(),
            interval: None,
            cron: None,
            full_every: None,
            timeout: None,
            concurrency: None,
            depends_on: BTreeSet::new(),
            webhook: None,
            forge: None,
        }
    }

    /// A source of this repository that is looked at this often; if that makes sense.
    pub fn of_repository(
        name: &str,
        git: GitSettings,
        interval: Option<TimeDelta>,
        timeout: Option<TimeDelta>,
    ) -> Result<SourceSettings, Box<Finding>> {
        let settings = SourceSettings { git, interval, timeout, ..SourceSettings::usual(name) };
        match settings.fault() {
            None => Ok(settings),
            Some(fault) => {
                Err(Box::new(Finding::error(Code::BadSettings, format!("the source `{name}` is wrong: {fault}"))))
            }
        }
    }

    /// How often it is looked at.
    pub fn rhythm(&self) -> Rhythm {
        let schedule = self.cron.as_deref().and_then(|cron| parse_schedule(cron).ok());
        let usual = Some(INTERVAL).filter(|_| schedule.is_none());
        Rhythm { interval: self.interval.or(usual), schedule, full: self.full_every.unwrap_or(FULL) }
    }

    /// How long one step may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT).to_std().unwrap_or_default()
    }

    /// How many steps of it are done at the same time, by all replicas together.
    pub fn concurrency(&self) -> u16 {
        self.concurrency.unwrap_or(CONCURRENCY)
    }

    fn fault(&self) -> Option<String> {
        let (shortest, longest) = INTERVAL_BOUNDS;
        let odd = |length: &TimeDelta| *length < shortest || *length > longest;
        if let Some(fault) = name_fault(&self.name) {
            return Some(format!("its name is none: {fault}"));
        }
        if self.git.url.as_deref().is_none_or(str::is_empty) {
            return Some("`git.url` has to say where its repository is".into());
        }
        if self.git.source.as_ref().is_some_and(|source| *source != self.name) {
            return Some("`git.source` says another name; leave it out".into());
        }
        if let Some(Err(why)) = self.cron.as_deref().map(parse_schedule) {
            return Some(format!("`cron`: {why}"));
        }
        if [self.interval, self.full_every, self.timeout].iter().flatten().any(odd) {
            return Some("`interval`, `fullEvery` and `timeout` lie between 1s and 7d".into());
        }
        let fits = (1..=64).contains(&self.concurrency());
        (!fits).then(|| "`concurrency` is a number from 1 to 64".into())
    }
}

fn length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimeDelta>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || serde::de::Error::custom("a length of time is written `30s`, `5m` or `1h`");
    parse_duration(&text).map(Some).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(), String> {
        let settings: ControllerSettings = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        settings.checked().map(drop).map_err(|finding| finding.message)
    }

    #[test]
    fn sources_make_sense_one_by_one_and_together() {
        let one = "sources: [{name: acme, git: {url: /srv/acme.git}, interval: 30s, cron: '0 4 * * *'}]";
        assert_eq!(read(one), Ok(()));
        for (text, why) in [
            ("sources: [{name: Acme, git: {url: /srv/a}}]", "its name is none"),
            ("sources: [{name: acme, git: {}}]", "`git.url` has to say"),
            ("sources: [{name: acme, git: {url: /a, source: other}}]", "another name"),
            ("sources: [{name: acme, git: {url: /a}, cron: '0 4'}]", "five fields"),
            ("sources: [{name: acme, git: {url: /a}, interval: 0s}]", "between 1s and 7d"),
            ("sources: [{name: acme, git: {url: /a}, concurrency: 0}]", "from 1 to 64"),
            ("sources: [{name: acme, git: {url: /a}}, {name: acme, git: {url: /b}}]", "two sources"),
            ("sources: [{name: acme, git: {url: /a}, dependsOn: [base]}]", "which is not listed"),
            ("workers: 0", "from 1 to 64"),
            ("lease: 1s", "between 2s and 5m"),
            ("lease: 301s", "between 2s and 5m"),
            ("lease: 6m", "between 2s and 5m"),
            ("lease: soon", "a length of time"),
            ("sources: [{name: acme, git: {url: /a}, every: 5m}]", "unknown field"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(why), "{text}: {message}");
        }
    }

    #[test]
    fn a_lease_is_as_long_as_it_is_said_to_be() {
        let lease = |text: &str| -> ControllerSettings { serde_yaml::from_str(text).expect("settings") };
        for (text, seconds) in [("workers: 1", 15), ("lease: 2s", 2), ("lease: 5m", 300)] {
            let settings = lease(text);
            assert_eq!(settings.checked().expect(text).lease(), Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn sources_that_wait_for_each_other_are_told_in_a_circle() {
        let text = "sources:
            - {name: a, git: {url: /a}, dependsOn: [b]}
            - {name: b, git: {url: /b}, dependsOn: [c]}
            - {name: c, git: {url: /c}, dependsOn: [a]}";
        let message = read(text).expect_err("a circle");
        assert!(message.ends_with("a -> b -> c -> a"), "{message}");
    }
}
