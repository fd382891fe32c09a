//! Moments, lengths of time and schedules as manifests write them. The only home of the cron crate.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDateTime, SecondsFormat, TimeDelta, Utc};

/// A cron schedule. It knows nothing of time zones: it fires at times of the wall clock.
pub type Schedule = cron::Schedule;

/// The longest length of time: a hundred years.
const DURATION_SECONDS_MAX: i64 = 100 * 366 * 86_400;

/// Reads a moment with a zone, to the second, and gives its canonical form in UTC.
pub fn normalize_time(text: &str) -> Result<String, String> {
    let moment = parse_time(text)?;
    Ok(moment.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Reads a moment with a zone.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    let shape = text.as_bytes();
    let dated = shape.len() >= 19 && shape[4] == b'-' && shape[7] == b'-' && matches!(shape[10], b'T' | b't' | b' ');
    if !dated {
        return Err(format!("`{text}` is no moment"));
    }
    if !text.ends_with(['Z', 'z']) && !text[19..].contains(['+', '-']) {
        return Err(format!("`{text}` has no zone"));
    }
    let moment = DateTime::parse_from_rfc3339(text).map_err(|_| format!("`{text}` is not on the calendar"))?;
    if moment.timestamp_subsec_nanos() != 0 {
        return Err(format!("`{text}` is finer than a second"));
    }
    let moment = moment.with_timezone(&Utc);
    // PostgreSQL knows other years, but writes them in a form that nothing else reads.
    if !(1..=9999).contains(&moment.year()) {
        return Err(format!("`{text}` does not lie in the years 1 to 9999 of UTC"));
    }
    Ok(moment)
}

/// Reads a length of time and gives its canonical form: the same number and unit.
pub fn normalize_duration(text: &str) -> Result<String, String> {
    parse_duration(text).map(|_| text.to_owned())
}

/// Reads `90d`, `24h`, `30m` or `45s`.
pub fn parse_duration(text: &str) -> Result<TimeDelta, String> {
    let fault = || format!("`{text}` is no length of time");
    let unit = text.chars().last().ok_or_else(fault)?;
    let seconds_each = match unit {
        'w' => 7 * 86_400,
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(fault()),
    };
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty()
        || !digits.bytes().all(|byte| byte.is_ascii_digit())
        || (digits.len() > 1 && digits.starts_with('0'))
    {
        return Err(fault());
    }
    let seconds = digits.parse::<i64>().ok().and_then(|count| count.checked_mul(seconds_each));
    match seconds {
        Some(seconds) if seconds <= DURATION_SECONDS_MAX => Ok(TimeDelta::seconds(seconds)),
        _ => Err(format!("`{text}` is longer than a hundred years")),
    }
}

/// Reads a cron schedule of five fields: minute, hour, day of month, month, day of week.
///
/// The crate counts Sunday as 1, cron as 0 and 7; numbers of the last field are turned into names first.
pub fn parse_schedule(text: &str) -> Result<cron::Schedule, String> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!(
            "a schedule has five fields (minute hour day month weekday), and this one has {}",
            fields.len()
        ));
    }
    let weekday = weekday_names(fields[4]);
    let six = format!("0 {} {} {} {} {weekday}", fields[0], fields[1], fields[2], fields[3]);
    cron::Schedule::from_str(&six).map_err(|_| format!("`{text}` is no cron schedule"))
}

fn weekday_names(field: &str) -> String {
    field.split(',').map(named_weekdays).collect::<Vec<_>>().join(",")
}

/// One part of the last field with names for its numbers. The crate's week ends on Saturday, cron's may go on to a
/// Sunday that counts as 7; so a range of numbers becomes the list of its days.
fn named_weekdays(part: &str) -> String {
    const NAMES: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let number = |word: &str| word.parse::<usize>().ok().filter(|at| *at < NAMES.len());
    let name = |word: &str| number(word).map_or(word, |at| NAMES[at]).to_owned();
    let every = step.map_or(Some(1), |step| step.parse::<usize>().ok().filter(|step| *step > 0));
    if let (Some((first, last)), Some(every)) = (range.split_once('-'), every)
        && let (Some(first), Some(last)) = (number(first), number(last))
        && first <= last
    {
        return (first..=last).step_by(every).map(|at| NAMES[at]).collect::<Vec<_>>().join(",");
    }
    let named = range.split('-').map(name).collect::<Vec<_>>().join("-");
    step.map_or(named.clone(), |step| format!("{named}/{step}"))
}

/// The times at which a schedule fires after a time, in order.
pub fn firings_after(schedule: &Schedule, time: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + '_ {
    schedule.after(&time.and_utc()).map(|at| at.naive_utc())
}

/// The times at which a schedule has fired by a time, the last one first.
pub fn firings_until(schedule: &Schedule, time: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + '_ {
    // The crate looks strictly before.
    let after = time.and_utc() + TimeDelta::seconds(1);
    schedule.after(&after).rev().map(|at| at.naive_utc()).filter(move |at| *at <= time)
}

/// A time that certainly lies between two firings of a well-formed schedule, found by looking at its text only.
pub fn gap_at_least(schedule: &str) -> TimeDelta {
    let single = |field: &str| field.bytes().all(|byte| byte.is_ascii_digit());
    let fields: Vec<&str> = schedule.split_ascii_whitespace().collect();
    match fields[..] {
        [minute, hour, day, _, "*"] if single(minute) && single(hour) && single(day) => TimeDelta::days(28),
        [minute, hour, "*", "*", weekday] if single(minute) && single(hour) && single(weekday) => TimeDelta::days(7),
        [minute, hour, ..] if single(minute) && single(hour) => TimeDelta::days(1),
        [minute, ..] if single(minute) => TimeDelta::hours(1),
        _ => TimeDelta::minutes(1),
    }
}

/// Whether a schedule fires at all after a moment (`0 0 31 2 *` does not).
pub fn fires_after(schedule: &cron::Schedule, moment: DateTime<Utc>) -> bool {
    schedule.after(&moment).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_need_a_zone_and_a_day_that_exists() {
        assert_eq!(normalize_time("2030-01-01T02:00:00+02:00").as_deref(), Ok("2030-01-01T00:00:00Z"));
        for bad in ["2030-01-01", "2030-01-01T00:00:00", "2030-02-30T00:00:00Z", "tomorrow", "2030-01-01T00:00:00.5Z"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
        for bad in ["9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
        for good in ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "0000-12-31T23:59:59-00:01"] {
            assert!(parse_time(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn lengths_of_time_have_one_unit() {
        assert_eq!(parse_duration("90d"), Ok(TimeDelta::days(90)));
        for bad in ["", "d", "1.5h", "-1d", "1y", "007d", "99999999999999999999s", "90 d", "١d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_firings_are_never_nearer_than_the_text_says() {
        let moment = parse_time("2026-01-01T00:00:00Z").expect("a moment");
        for text in [
            "0 3 1 * *",
            "0 3 * * 1",
            "0 3 * * *",
            "5 * * * *",
            "*/7 * * * *",
            "0 3 31 * *",
            "0 0 29 2 *",
            "0 3 1 * 1",
            "0,1 3 * * *",
        ] {
            let firings: Vec<_> = parse_schedule(text).expect(text).after(&moment).take(60).collect();
            let shortest = firings.windows(2).map(|pair| pair[1] - pair[0]).min().expect("two firings");
            assert!(gap_at_least(text) <= shortest, "{text}: {shortest}");
        }
    }

    #[test]
    fn schedules_are_read_as_cron_reads_them() {
        let moment = parse_time("2026-01-01T00:00:00Z").expect("a moment");
        let next = |text: &str| parse_schedule(text).expect(text).after(&moment).next().map(|at| at.to_rfc3339());
        // 2026-01-04 is a Sunday, which cron counts as 0 and as 7.
        assert_eq!(next("0 3 * * 0").as_deref(), Some("2026-01-04T03:00:00+00:00"));
        assert_eq!(next("0 3 * * 7").as_deref(), Some("2026-01-04T03:00:00+00:00"));
        assert_eq!(next("0 3 * * 1").as_deref(), Some("2026-01-05T03:00:00+00:00"));
        // 2026-01-01 is a Thursday.
        assert_eq!(next("0 3 * * 6-7").as_deref(), Some("2026-01-03T03:00:00+00:00"));
        assert_eq!(next("0 3 * * 0-7").as_deref(), Some("2026-01-01T03:00:00+00:00"));
        assert_eq!(next("0 3 * * 1-5/2").as_deref(), Some("2026-01-02T03:00:00+00:00"));
        assert_eq!(next("0 3 * * MON-WED").as_deref(), Some("2026-01-05T03:00:00+00:00"));
        for bad in ["0 0 * * * *", "* * * *", "61 * * * *", "x", "", "0 0 * * 8", "0 0 * * 5-1", "0 0 * * 1-5/0"] {
            assert!(parse_schedule(bad).is_err(), "{bad}");
        }
        assert!(!fires_after(&parse_schedule("0 0 31 2 *").expect("parses"), moment));
    }
}
