//! When a source is due to be looked at, and how long to wait after something has failed. Facts and the present moment come
//! in as values, so that an hour can be lived through in a test.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::time::{Schedule, firings_after};
use crate::plan::sha256_hex;

/// However often somebody asks, a source is looked at no more often than this.
pub const GAP: TimeDelta = TimeDelta::milliseconds(500);

/// How long a source is left alone after a look that failed: at first, and at most.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(900) };

/// By such a part of the interval looks are put off at most, so that sources do not march in step.
const JITTER: i32 = 10;

/// Waiting that doubles with every failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

impl Backoff {
    /// How long to wait after so many failures: between half of it and all of it, which one depends on whose they are, so
    /// that those who failed together do not march on in step.
    pub fn after(self, failures: u32, whose: &str) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.pow(failures.saturating_sub(1).min(20)));
        let whole = doubled.min(self.longest);
        whole / 2 + whole / 2 * spread(&format!("{whose}/{failures}")) / SPREAD
    }
}

/// How many places there are to spread over.
const SPREAD: u32 = 0xffff;

/// A place from 0 to [`SPREAD`] that depends on a text alone.
fn spread(text: &str) -> u32 {
    u32::from_str_radix(&sha256_hex(text.as_bytes())[..4], 16).unwrap_or_default()
}

/// How often a source is looked at when nobody asks.
#[derive(Clone, Debug)]
pub struct Rhythm {
    /// So often.
    pub interval: Option<TimeDelta>,
    /// And whenever this fires, in UTC.
    pub schedule: Option<Schedule>,
    /// So often without shortcuts: every organization is compared, whether anything of it has moved or not.
    pub full: TimeDelta,
}

/// What is known of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// How often somebody has asked for a look.
    pub asked: i64,
    /// How many of these were answered.
    pub answered: i64,
    /// When the last look ended.
    pub looked_at: Option<DateTime<Utc>>,
    /// When the last one without shortcuts did.
    pub full_at: Option<DateTime<Utc>>,
    /// How many looks have failed in a row.
    pub failures: u32,
}

/// When a source is to be looked at next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The moment.
    pub at: DateTime<Utc>,
    /// Whether without shortcuts.
    pub full: bool,
}

impl Rhythm {
    /// When a source is due. One that was never looked at is due now.
    pub fn due(&self, facts: &Facts, now: DateTime<Utc>) -> Due {
        let Facts { name, asked, answered, looked_at, full_at, failures } = facts;
        let Some(last) = *looked_at else { return Due { at: now, full: true } };
        // A clock that has jumped must not put anything off for longer than it would take anyway.
        let last = last.min(now);
        if *failures > 0 {
            let wait = TimeDelta::from_std(BACKOFF.after(*failures, name)).unwrap_or(GAP);
            // Somebody who asks has perhaps mended it.
            let at = if asked > answered { last + GAP.max(wait / 10) } else { last + wait };
            return Due { at, full: full_at.is_none() };
        }
        let full_due = full_at.map_or(now, |full| full.min(now) + self.full);
        if asked > answered {
            let at = last + GAP;
            return Due { at, full: full_due <= at.max(now) };
        }
        let put_off = |interval: TimeDelta| {
            let place = spread(&format!("{name}/{}", last.timestamp_millis()));
            interval + interval / JITTER / SPREAD as i32 * place as i32
        };
        let regular = self.interval.map(|interval| last + put_off(interval));
        let fired = self.schedule.as_ref().and_then(|schedule| firings_after(schedule, last.naive_utc()).next());
        let at =
            [regular, fired.map(|at| at.and_utc())].into_iter().flatten().chain([full_due]).min().unwrap_or(full_due);
        Due { at, full: full_due <= at.max(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{parse_schedule, parse_time};

    fn noon() -> DateTime<Utc> {
        parse_time("2026-03-01T12:00:00Z").expect("a moment")
    }

    fn rhythm(minutes: i64) -> Rhythm {
        Rhythm { interval: Some(TimeDelta::minutes(minutes)), schedule: None, full: TimeDelta::days(1) }
    }

    /// Lives through a time under a clock that stands still until something is due, and gives when looks were made.
    fn live(rhythm: &Rhythm, facts: &mut Facts, hours: i64, mut look: impl FnMut(&mut Facts)) -> Vec<Due> {
        let (mut now, end, mut looks) = (noon(), noon() + TimeDelta::hours(hours), Vec::new());
        loop {
            let due = rhythm.due(facts, now);
            now = now.max(due.at);
            if now >= end {
                return looks;
            }
            looks.push(Due { at: now, ..due });
            assert!(looks.len() < 100_000, "a loop that keeps itself busy: {facts:?}");
            look(facts);
            facts.looked_at = Some(now);
            if due.full && facts.failures == 0 {
                facts.full_at = Some(now);
            }
        }
    }

    fn settled() -> Facts {
        let at = Some(noon());
        Facts { name: "acme".into(), looked_at: at, full_at: at, ..Facts::default() }
    }

    #[test]
    fn an_idle_hour_has_one_look_in_every_interval_and_none_beside() {
        let looks = live(&rhythm(5), &mut settled(), 1, |_| {});
        assert!((10..=11).contains(&looks.len()), "{looks:?}");
        assert!(looks.iter().all(|look| !look.full));
        for pair in looks.windows(2) {
            let apart = pair[1].at - pair[0].at;
            assert!(apart >= TimeDelta::minutes(5) && apart <= TimeDelta::seconds(331), "{apart}");
        }
    }

    #[test]
    fn a_day_has_one_look_without_shortcuts() {
        let looks = live(&rhythm(5), &mut settled(), 49, |_| {});
        assert_eq!(looks.iter().filter(|look| look.full).count(), 2);
    }

    #[test]
    fn a_source_that_fails_is_asked_less_and_less_and_never_given_up() {
        let looks = live(&rhythm(1), &mut settled(), 24, |facts| facts.failures += 1);
        assert!((24 * 4..24 * 10).contains(&looks.len()), "{}", looks.len());
        let last = looks.windows(2).last().expect("two looks");
        assert!(last[1].at - last[0].at <= TimeDelta::minutes(15));
    }

    #[test]
    fn what_is_asked_for_comes_at_once_but_a_flood_does_not_come_through() {
        let mut facts = Facts { asked: 2, answered: 1, ..settled() };
        let due = rhythm(5).due(&facts, noon() + TimeDelta::seconds(60));
        assert!(due.at <= noon() + TimeDelta::seconds(60));
        // Somebody asks during every look.
        facts.asked = 3;
        let looks = live(&rhythm(5), &mut facts, 1, |_| {});
        assert!(looks.len() <= 7200, "{}", looks.len());
    }

    #[test]
    fn a_schedule_fires_beside_the_interval() {
        let schedule = Some(parse_schedule("30 * * * *").expect("a schedule"));
        let alone = Rhythm { interval: None, schedule, full: TimeDelta::days(1) };
        let looks = live(&alone, &mut settled(), 3, |_| {});
        let minutes: Vec<i64> = looks.iter().map(|look| (look.at - noon()).num_minutes()).collect();
        assert_eq!(minutes, [30, 90, 150]);
    }

    #[test]
    fn a_clock_that_was_a_day_ahead_puts_nothing_off() {
        let facts = Facts { looked_at: Some(noon() + TimeDelta::days(1)), ..settled() };
        assert!(rhythm(5).due(&facts, noon()).at <= noon() + TimeDelta::minutes(6));
    }

    #[test]
    fn waiting_doubles_up_to_its_end_and_differs_between_those_who_wait() {
        let backoff = Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(60) };
        for failures in 1..40 {
            let wait = backoff.after(failures, "acme");
            assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(60), "{wait:?}");
        }
        assert!(backoff.after(6, "acme") >= Duration::from_secs(30));
        assert_ne!(backoff.after(6, "acme"), backoff.after(6, "globex"));
    }
}
