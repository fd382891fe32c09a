//! Windows in time: when plans may be applied. The only home of time zones.
//!
//! A schedule fires at times of the wall clock of its zone, and a window stays open for its duration from then on, by
//! elapsed time. Where the clocks are put forward over a time at which it fires, it fires at the first moment after the
//! gap; where they are put back and that time comes twice, it fires once, at the first.

use std::fmt;
use std::str::FromStr as _;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset as _, SecondsFormat, TimeDelta, TimeZone as _, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use schemars::JsonSchema;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Stop;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::suggest::nearest;
use crate::model::time::{Schedule, firings_after, firings_until, parse_duration, parse_schedule};

/// How many windows a source may have.
pub const WINDOWS_MAX: usize = 100;

/// The longest that a window stays open: long enough for the holidays, short enough that a slip of the pen ends.
const DURATION_DAYS_MAX: i64 = 31;

/// The longest schedule, in bytes.
const SCHEDULE_BYTES_MAX: usize = 200;

/// How far ahead the next opening is looked for, in days and in openings and closings.
const LOOKAHEAD_DAYS_MAX: i64 = 400;
const LOOKAHEAD_STEPS_MAX: usize = 1_000;

/// Longer than any change of clocks.
const CHANGE_OF_CLOCKS_MAX: TimeDelta = TimeDelta::hours(26);

/// When plans may be applied: in an `allow` window, if there are any, and never in a `deny` window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Windows(pub Vec<Window>);

/// A window in time that comes again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// Whether plans may or may not be applied in it.
    pub kind: WindowKind,
    /// When it opens: a cron schedule of five fields, in its time zone.
    #[serde(deserialize_with = "schedule")]
    pub schedule: String,
    /// How long it stays open: `8h`.
    #[serde(deserialize_with = "duration")]
    pub duration: String,
    /// The IANA time zone of the schedule.
    #[serde(default = "utc", deserialize_with = "time_zone")]
    pub time_zone: String,
}

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// Plans are applied in it and, as soon as there is one such window, only then.
    Allow,
    /// No plan is applied in it.
    Deny,
}

impl Windows {
    /// Why nothing is applied at a moment, and when that ends.
    pub fn stop(&self, at: DateTime<Utc>) -> Option<Stop> {
        let mut recurring = Vec::with_capacity(self.0.len());
        for window in &self.0 {
            match Recurring::new(window) {
                Ok(window) => recurring.push(window),
                // Settings with such a window are not read. To go on without it would open what it means to close.
                Err(why) => return Some(unreadable(window, &why)),
            }
        }
        let denying = of(&recurring, WindowKind::Deny).filter(|window| window.open_until(at).is_some());
        let denying = denying.max_by_key(|window| window.open_until(at));
        let mut allowing = of(&recurring, WindowKind::Allow).peekable();
        let closed = match denying {
            Some(window) => format!("the deny window {} is open", window.window),
            None if allowing.peek().is_none() || allowing.clone().any(|window| window.open_until(at).is_some()) => {
                return None;
            }
            None => match allowing.count() {
                1 => "the allow window is closed".to_owned(),
                count => format!("all {count} allow windows are closed"),
            },
        };
        let until = opens_again(&recurring, at);
        let opening = until
            .and_then(|until| of(&recurring, WindowKind::Allow).find(|window| window.opened_at(until) == Some(until)));
        let shown = until.map(|until| until.to_rfc3339_opts(SecondsFormat::Secs, true));
        let again = match (shown, opening) {
            (Some(until), Some(window)) => format!("the next to open is {} at {until}", window.window),
            (Some(until), None) => format!("plans may be applied from {until} on"),
            (None, _) => "no opening is in sight".to_owned(),
        };
        let finding = Finding::warning(Code::WindowClosed, format!("{closed}; {again}"))
            .hint("wait for it to open, or apply with --force, which the history remembers");
        Some(Stop { finding, until, yields_to_force: true })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` for {} in {}", self.schedule, self.duration, self.time_zone)
    }
}

fn of<'a>(windows: &'a [Recurring<'a>], kind: WindowKind) -> impl Iterator<Item = &'a Recurring<'a>> + Clone {
    windows.iter().filter(move |window| window.window.kind == kind)
}

fn unreadable(window: &Window, why: &str) -> Stop {
    let finding = Finding::warning(Code::WindowClosed, format!("the window {window} cannot be read: {why}"));
    Stop { finding: finding.hint("mend it in argus.yaml"), until: None, yields_to_force: false }
}

/// The first moment from `from` on at which plans may be applied, if it is in sight.
fn opens_again(windows: &[Recurring<'_>], from: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut allowing = of(windows, WindowKind::Allow).peekable();
    let always = allowing.peek().is_none();
    let mut at = from;
    for _ in 0..LOOKAHEAD_STEPS_MAX {
        if at - from > TimeDelta::days(LOOKAHEAD_DAYS_MAX) {
            return None;
        }
        let denied_until = of(windows, WindowKind::Deny).filter_map(|window| window.open_until(at)).max();
        match denied_until {
            Some(until) => at = until,
            None if always || allowing.clone().any(|window| window.open_until(at).is_some()) => return Some(at),
            None => at = allowing.clone().filter_map(|window| window.opens_after(at)).min()?,
        }
    }
    None
}

/// A window that was read.
#[derive(Debug)]
struct Recurring<'a> {
    window: &'a Window,
    schedule: Schedule,
    duration: TimeDelta,
    zone: Tz,
}

impl<'a> Recurring<'a> {
    fn new(window: &'a Window) -> Result<Self, String> {
        Ok(Recurring {
            window,
            schedule: read_schedule(&window.schedule)?,
            duration: read_duration(&window.duration)?,
            zone: read_time_zone(&window.time_zone)?,
        })
    }

    /// The last opening up to a moment.
    fn opened_at(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Where the clocks have just been put back, the wall clock shows less than it has shown.
        let shown = |at: DateTime<Utc>, by: DateTime<Utc>| {
            at.naive_utc() + self.zone.offset_from_utc_datetime(&by.naive_utc()).fix()
        };
        let most = shown(at, at).max(shown(at, at - CHANGE_OF_CLOCKS_MAX));
        firings_until(&self.schedule, most).filter_map(|time| self.moment(time)).find(|moment| *moment <= at)
    }

    /// The first opening after a moment.
    fn opens_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let shown = at.with_timezone(&self.zone).naive_local();
        firings_after(&self.schedule, shown).filter_map(|time| self.moment(time)).find(|moment| *moment > at)
    }

    /// The end of the opening that a moment lies in.
    fn open_until(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let end = self.opened_at(at)?.checked_add_signed(self.duration)?;
        (at < end).then_some(end)
    }

    /// The moment at which the wall clock shows a time for the first time, or the first moment after it skipped it.
    fn moment(&self, time: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self.zone.from_local_datetime(&time) {
            MappedLocalTime::Single(moment) | MappedLocalTime::Ambiguous(moment, _) => Some(moment.with_timezone(&Utc)),
            MappedLocalTime::None => {
                let shows = |at: DateTime<Utc>| at.with_timezone(&self.zone).naive_local();
                let mut before = time.and_utc().checked_sub_signed(CHANGE_OF_CLOCKS_MAX)?;
                let mut after = time.and_utc().checked_add_signed(CHANGE_OF_CLOCKS_MAX)?;
                while after - before > TimeDelta::seconds(1) {
                    let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
                    if shows(middle) < time { before = middle } else { after = middle }
                }
                Some(after)
            }
        }
    }
}

/// Reads a schedule. What it says of the day must be clear: cron takes either of a day of the month and a weekday where
/// both are named, other programs take both.
fn read_schedule(text: &str) -> Result<Schedule, String> {
    if text.len() > SCHEDULE_BYTES_MAX {
        return Err(format!("a schedule has at most {SCHEDULE_BYTES_MAX} characters"));
    }
    let schedule = parse_schedule(text)?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if let [_, _, day, _, weekday] = fields[..]
        && ![day, weekday].iter().any(|field| matches!(*field, "*" | "?"))
    {
        return Err(
            "the schedule names both a day of the month and a weekday, which some read as `and` and others as \
                    `or`: make two windows of it"
                .into(),
        );
    }
    if firings_after(&schedule, DateTime::UNIX_EPOCH.naive_utc()).next().is_none() {
        return Err("the schedule never fires: there is no such day".into());
    }
    Ok(schedule)
}

fn read_duration(text: &str) -> Result<TimeDelta, String> {
    let duration = parse_duration(text)?;
    if duration <= TimeDelta::zero() || duration > TimeDelta::days(DURATION_DAYS_MAX) {
        return Err(format!("a window stays open for at least 1s and at most {DURATION_DAYS_MAX}d"));
    }
    Ok(duration)
}

fn read_time_zone(text: &str) -> Result<Tz, String> {
    Tz::from_str(text).map_err(|_| {
        let near = nearest(text, TZ_VARIANTS.iter().map(|zone| zone.name()));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("there is no time zone of this name{near}")
    })
}

fn utc() -> String {
    "UTC".into()
}

/// A text that something can be read from. It is read while its place in the file is known.
struct Readable {
    what: &'static str,
    read: fn(&str) -> Result<(), String>,
}

impl Visitor<'_> for Readable {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        // What stands there may be anything, and is not repeated.
        let without_text = |why: String| E::custom(why.replace(&format!("`{text}`"), "this"));
        (self.read)(text).map(|()| text.to_owned()).map_err(without_text)
    }
}

fn schedule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let what = "a cron schedule of five fields";
    deserializer.deserialize_str(Readable { what, read: |text| read_schedule(text).map(drop) })
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Readable { what: "a duration like `8h`", read: |text| read_duration(text).map(drop) })
}

fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let what = "a time zone like `Europe/Berlin`";
    deserializer.deserialize_str(Readable { what, read: |text| read_time_zone(text).map(drop) })
}

impl<'de> Deserialize<'de> for Windows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Windows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of windows")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Windows, A::Error> {
                let mut windows = Vec::new();
                while let Some(window) = items.next_element()? {
                    if windows.len() == WINDOWS_MAX {
                        return Err(de::Error::custom(format!("a source has at most {WINDOWS_MAX} windows")));
                    }
                    windows.push(window);
                }
                Ok(Windows(windows))
            }
        }
        deserializer.deserialize_seq(List)
    }
}
