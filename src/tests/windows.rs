//! Windows in time: every edge by hand, and all of them against a clock that is watched minute by minute.

use std::collections::BTreeSet;

use argus::brake::{WINDOWS_MAX, Window, WindowKind, Windows};
use argus::model::code::Code;
use chrono::{DateTime, Datelike as _, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

fn window(kind: WindowKind, schedule: &str, duration: &str, time_zone: &str) -> Window {
    Window { kind, schedule: schedule.into(), duration: duration.into(), time_zone: time_zone.into() }
}

fn allow(schedule: &str, duration: &str, time_zone: &str) -> Windows {
    Windows(vec![window(WindowKind::Allow, schedule, duration, time_zone)])
}

fn moment(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a moment").with_timezone(&Utc)
}

fn is_open(windows: &Windows, at: DateTime<Utc>) -> bool {
    windows.stop(at).is_none()
}

/// Expects windows to be open from one moment to just before another, and closed around that.
#[track_caller]
fn opens_and_closes(windows: &Windows, from: &str, to: &str) {
    let (from, to) = (moment(from), moment(to));
    let instant = TimeDelta::milliseconds(1);
    let second = TimeDelta::seconds(1);
    for (at, open) in [
        (from - second, false),
        (from - instant, false),
        (from, true),
        (from + instant, true),
        (from + second, true),
        (to - second, true),
        (to - instant, true),
        (to, false),
        (to + instant, false),
        (to + second, false),
    ] {
        assert_eq!(is_open(windows, at), open, "{at}");
    }
    let closed = windows.stop(from - second).expect("it is closed");
    assert_eq!((closed.until, closed.yields_to_force), (Some(from), true));
}

#[test]
fn without_windows_everything_is_open() {
    assert!(is_open(&Windows::default(), moment("2026-01-01T00:00:00Z")));
}

#[test]
fn a_window_is_open_from_its_first_second_to_before_its_last() {
    let office = allow("0 8 * * 1-5", "10h", "Europe/Berlin");
    // Friday, Monday; in winter Berlin is an hour ahead, in summer two.
    opens_and_closes(&office, "2026-01-09T07:00:00Z", "2026-01-09T17:00:00Z");
    opens_and_closes(&office, "2026-07-06T06:00:00Z", "2026-07-06T16:00:00Z");
    let told = office.stop(moment("2026-01-09T17:00:00Z")).expect("it is closed");
    assert_eq!(told.finding.code, Code::WindowClosed);
    assert_eq!(
        told.finding.message,
        "the allow window is closed; the next to open is `0 8 * * 1-5` for 10h in Europe/Berlin at 2026-01-12T07:00:00Z"
    );
}

#[test]
fn months_end_on_their_own_days_and_leap_years_have_one_more() {
    let last = allow("0 0 29 2 *", "24h", "UTC");
    opens_and_closes(&last, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z");
    let next = last.stop(moment("2027-03-01T00:00:00Z")).expect("it is closed");
    assert_eq!(next.until, Some(moment("2028-02-29T00:00:00Z")));
    let months = allow("0 22 31 * *", "4h", "America/New_York");
    // No 31st in April: from March on to May.
    opens_and_closes(&months, "2026-04-01T02:00:00Z", "2026-04-01T06:00:00Z");
    let next = months.stop(moment("2026-04-01T06:00:00Z")).expect("it is closed");
    assert_eq!(next.until, Some(moment("2026-06-01T02:00:00Z")));
    let years = allow("0 0 31 12 *", "2d", "Asia/Kathmandu");
    opens_and_closes(&years, "2026-12-30T18:15:00Z", "2027-01-01T18:15:00Z");
}

#[test]
fn a_time_that_the_clocks_skip_is_the_first_moment_after_it() {
    // Berlin: 02:00 becomes 03:00 at 01:00 UTC. New York: 02:00 becomes 03:00 at 07:00 UTC. Lord Howe: 02:00 becomes
    // 02:30 at 15:30 UTC of the day before.
    opens_and_closes(&allow("30 2 * * *", "1h", "Europe/Berlin"), "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z");
    opens_and_closes(&allow("0 2 * * *", "1h", "America/New_York"), "2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z");
    opens_and_closes(&allow("15 2 * * *", "1h", "Australia/Lord_Howe"), "2026-10-03T15:30:00Z", "2026-10-03T16:30:00Z");
    // A whole day: Samoa went from the 29th of December to the 31st at 10:00 UTC.
    opens_and_closes(&allow("0 8 30 12 *", "1h", "Pacific/Apia"), "2011-12-30T10:00:00Z", "2011-12-30T11:00:00Z");
    // The day before and after, it is where it always is.
    opens_and_closes(&allow("30 2 * * *", "1h", "Europe/Berlin"), "2026-03-28T01:30:00Z", "2026-03-28T02:30:00Z");
    opens_and_closes(&allow("30 2 * * *", "1h", "Europe/Berlin"), "2026-03-30T00:30:00Z", "2026-03-30T01:30:00Z");
}

#[test]
fn a_time_that_comes_twice_counts_once() {
    // Berlin: 03:00 becomes 02:00 at 01:00 UTC. New York: 02:00 becomes 01:00 at 06:00 UTC. Lord Howe: 02:00 becomes
    // 01:30 at 15:00 UTC of the day before.
    opens_and_closes(&allow("30 2 * * *", "30m", "Europe/Berlin"), "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z");
    assert!(!is_open(&allow("30 2 * * *", "30m", "Europe/Berlin"), moment("2026-10-25T01:45:00Z")), "the second time");
    opens_and_closes(&allow("0 1 * * *", "30m", "America/New_York"), "2026-11-01T05:00:00Z", "2026-11-01T05:30:00Z");
    assert!(!is_open(&allow("0 1 * * *", "30m", "America/New_York"), moment("2026-11-01T06:15:00Z")));
    opens_and_closes(
        &allow("45 1 * * *", "10m", "Australia/Lord_Howe"),
        "2026-04-04T14:45:00Z",
        "2026-04-04T14:55:00Z",
    );
    assert!(!is_open(&allow("45 1 * * *", "10m", "Australia/Lord_Howe"), moment("2026-04-04T15:20:00Z")));
}

#[test]
fn a_duration_is_time_that_has_passed_whatever_the_clocks_show() {
    // 22:00 for 8h ends at 06:00, but at 07:00 where an hour was skipped and at 05:00 where one came twice.
    let night = allow("0 22 * * *", "8h", "Europe/Berlin");
    opens_and_closes(&night, "2026-01-09T21:00:00Z", "2026-01-10T05:00:00Z");
    opens_and_closes(&night, "2026-03-28T21:00:00Z", "2026-03-29T05:00:00Z");
    opens_and_closes(&night, "2026-10-24T20:00:00Z", "2026-10-25T04:00:00Z");
}

#[test]
fn deny_beats_allow_and_what_opens_next_is_what_is_open_in_the_end() {
    let windows = Windows(vec![
        window(WindowKind::Allow, "0 8 * * 1-5", "10h", "UTC"),
        window(WindowKind::Allow, "0 20 * * 1-5", "1h", "UTC"),
        window(WindowKind::Deny, "0 0 24 12 *", "9d", "UTC"),
        window(WindowKind::Deny, "0 12 * * *", "1h", "UTC"),
    ]);
    // Thursday, 2026-12-10.
    for (time, open) in
        [("07:59", false), ("08:00", true), ("12:00", false), ("13:00", true), ("18:00", false), ("20:30", true)]
    {
        assert_eq!(is_open(&windows, moment(&format!("2026-12-10T{time}:00Z"))), open, "{time}");
    }
    let noon = windows.stop(moment("2026-12-10T12:30:00Z")).expect("closed");
    assert_eq!(noon.until, Some(moment("2026-12-10T13:00:00Z")));
    assert_eq!(
        noon.finding.message,
        "the deny window `0 12 * * *` for 1h in UTC is open; plans may be applied from 2026-12-10T13:00:00Z on"
    );
    let evening = windows.stop(moment("2026-12-10T19:00:00Z")).expect("closed");
    assert_eq!(
        evening.finding.message,
        "all 2 allow windows are closed; the next to open is `0 20 * * 1-5` for 1h in UTC at 2026-12-10T20:00:00Z"
    );
    // Christmas: denied to the end of 2027-01-01, a Friday; the next window opens on Monday.
    let christmas = windows.stop(moment("2026-12-24T12:30:00Z")).expect("closed");
    assert!(christmas.finding.message.starts_with("the deny window `0 0 24 12 *` for 9d in UTC is open; "));
    assert_eq!(christmas.until, Some(moment("2027-01-04T08:00:00Z")));
    // On 2026-12-23 at 18:00 the next window of its own would open on the 24th, which is denied.
    let before = windows.stop(moment("2026-12-23T21:00:00Z")).expect("closed");
    assert_eq!(before.until, Some(moment("2027-01-04T08:00:00Z")));
}

#[test]
fn a_window_that_never_ends_or_opens_says_so() {
    for (windows, about) in [
        (Windows(vec![window(WindowKind::Deny, "* * * * *", "1h", "UTC")]), "the deny window"),
        (Windows(vec![window(WindowKind::Deny, "0 0 * * *", "24h", "UTC")]), "the deny window"),
        (
            Windows(vec![
                window(WindowKind::Deny, "0 7 * * *", "3h", "UTC"),
                window(WindowKind::Allow, "0 8 * * *", "1h", "UTC"),
            ]),
            "the deny window",
        ),
    ] {
        let stop = windows.stop(moment("2026-05-05T08:30:00Z")).expect("closed");
        assert!(stop.finding.message.starts_with(about) && stop.finding.message.ends_with("no opening is in sight"));
        assert_eq!(stop.until, None);
    }
}

#[test]
fn what_cannot_be_read_is_closed_and_gives_way_to_nobody() {
    // As no file can hold it: made by hand.
    for bad in [
        window(WindowKind::Deny, "never", "1h", "UTC"),
        window(WindowKind::Deny, "0 0 * * *", "1h", "Mars/Olympus"),
        window(WindowKind::Deny, "0 0 * * *", "0s", "UTC"),
    ] {
        let stop = Windows(vec![bad]).stop(moment("2026-05-05T08:30:00Z")).expect("closed");
        assert!(!stop.yields_to_force && stop.finding.message.contains("cannot be read"));
    }
}

fn read(yaml: &str) -> Result<Windows, String> {
    let windows: Result<Windows, _> = serde_json::from_str(yaml);
    windows.map_err(|error| error.to_string())
}

#[test]
fn windows_are_checked_as_they_are_read_and_nothing_of_them_is_repeated() {
    let one = |schedule: &str, duration: &str, zone: &str| {
        read(&format!(
            r#"[{{"kind": "deny", "schedule": "{schedule}", "duration": "{duration}", "timeZone": "{zone}"}}]"#
        ))
    };
    assert!(one("0 8 * * 1-5", "31d", "Europe/Berlin").is_ok());
    for (schedule, duration, zone, why) in [
        ("0 8 * * * 1", "1h", "UTC", "has five fields"),
        ("hunter2", "1h", "UTC", "has five fields"),
        ("61 8 * * *", "1h", "UTC", "is no cron schedule"),
        ("0 0 31 2 *", "1h", "UTC", "never fires"),
        ("0 0 30 2,2 *", "1h", "UTC", "never fires"),
        ("0 0 13 * 5", "1h", "UTC", "make two windows of it"),
        ("0 8 * * *", "hunter2", "UTC", "is no length of time"),
        ("0 8 * * *", "0h", "UTC", "at least 1s and at most 31d"),
        ("0 8 * * *", "32d", "UTC", "at least 1s and at most 31d"),
        ("0 8 * * *", "99999999999999999w", "UTC", "longer than a hundred years"),
        ("0 8 * * *", "1h", "Europa/Berlin", "did you mean `Europe/Berlin`?"),
        ("0 8 * * *", "1h", "europe/berlin", "did you mean `Europe/Berlin`?"),
        ("0 8 * * *", "1h", "hunter2", "there is no time zone of this name at"),
        ("0 8 * * *", "1h", "", "there is no time zone of this name"),
    ] {
        let error = one(schedule, duration, zone).expect_err(why);
        assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
    }
    assert!(one(&"1,".repeat(200), "1h", "UTC").is_err());
    assert!(read(r#"[{"kind": "perhaps", "schedule": "0 8 * * *", "duration": "1h"}]"#).is_err());
    assert!(read(r#"[{"kind": "deny", "schedule": "0 8 * * *", "duration": "1h", "zone": "UTC"}]"#).is_err());
    let many = |count: usize| {
        let window = r#"{"kind": "deny", "schedule": "0 8 * * *", "duration": "1h"}"#;
        read(&format!("[{}]", vec![window; count].join(",")))
    };
    assert_eq!(many(WINDOWS_MAX).map(|windows| windows.0.len()), Ok(WINDOWS_MAX));
    assert!(many(WINDOWS_MAX + 1).expect_err("too many").contains("at most 100 windows"));
}

/// A field of cron: what may stand there, and which numbers that means.
#[derive(Clone, Debug)]
struct FieldOfCron {
    text: String,
    numbers: BTreeSet<u32>,
}

fn field(min: u32, max: u32) -> impl Strategy<Value = FieldOfCron> {
    let all = move || FieldOfCron { text: "*".into(), numbers: (min..=max).collect() };
    prop_oneof![
        3 => Just(()).prop_map(move |()| all()),
        2 => (min..=max).prop_map(|n| FieldOfCron { text: n.to_string(), numbers: [n].into() }),
        1 => (2_u32..20).prop_map(move |step| FieldOfCron {
            text: format!("*/{step}"),
            numbers: (min..=max).step_by(step as usize).collect(),
        }),
        1 => (min..=max, min..=max, 1_u32..4).prop_map(|(a, b, step)| {
            let (a, b) = (a.min(b), a.max(b));
            FieldOfCron { text: format!("{a}-{b}/{step}"), numbers: (a..=b).step_by(step as usize).collect() }
        }),
        1 => (min..=max, min..=max)
            .prop_map(|(a, b)| FieldOfCron { text: format!("{a},{b}"), numbers: [a, b].into() }),
    ]
}

/// A window, and the same by the numbers that its schedule means.
#[derive(Clone, Debug)]
struct Written {
    window: Window,
    fields: [BTreeSet<u32>; 5],
    minutes: i64,
    zone: Tz,
}

impl Written {
    fn fires_at(&self, time: NaiveDateTime) -> bool {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        let weekday = time.weekday().num_days_from_sunday();
        minutes.contains(&time.minute())
            && hours.contains(&time.hour())
            && days.contains(&time.day())
            && months.contains(&time.month())
            && (weekdays.contains(&weekday) || (weekday == 0 && weekdays.contains(&7)))
    }
}

/// Moments shortly before the clocks are changed, months or years end, and where.
const CHANGES: [(Tz, &str); 12] = [
    (Tz::Europe__Berlin, "2026-03-27T12:00:00Z"),
    (Tz::Europe__Berlin, "2026-10-23T12:00:00Z"),
    (Tz::America__New_York, "2026-03-06T12:00:00Z"),
    (Tz::America__New_York, "2026-10-30T12:00:00Z"),
    (Tz::Australia__Lord_Howe, "2026-10-02T00:00:00Z"),
    (Tz::Australia__Lord_Howe, "2026-04-03T00:00:00Z"),
    // Here midnight itself is skipped and comes twice.
    (Tz::America__Sao_Paulo, "2018-11-02T00:00:00Z"),
    (Tz::America__Sao_Paulo, "2018-02-16T00:00:00Z"),
    (Tz::Asia__Kathmandu, "2026-12-30T00:00:00Z"),
    (Tz::UTC, "2028-02-27T00:00:00Z"),
    (Tz::UTC, "2026-02-27T00:00:00Z"),
    (Tz::Pacific__Apia, "2011-12-28T12:00:00Z"),
];

fn written(here: Tz) -> impl Strategy<Value = Written> {
    let by_day = (field(1, 31), Just(FieldOfCron { text: "*".into(), numbers: (0..=7).collect() }));
    let by_weekday = (Just(FieldOfCron { text: "*".into(), numbers: (1..=31).collect() }), field(0, 7));
    let days = prop_oneof![by_day.boxed(), by_weekday.boxed()];
    let minutes = prop_oneof![1_i64..30, 30_i64..200, 200_i64..3_000];
    // Where clocks are changed, it happens in the small hours.
    let small = (0_u32..3, 0_u32..2).prop_map(|(hour, more)| FieldOfCron {
        text: format!("{hour}-{}", hour + more),
        numbers: (hour..=hour + more).collect(),
    });
    let hours = prop_oneof![field(0, 23), small];
    let zones = prop_oneof![4 => Just(here), 1 => Just(Tz::Europe__Berlin)];
    (field(0, 59), hours, days, field(1, 12), minutes, zones, any::<bool>()).prop_filter_map(
        "a schedule that fires",
        |(minute, hour, (day, weekday), month, minutes, zone, deny)| {
            let fields = [minute, hour, day, month, weekday];
            let text = fields.each_ref().map(|field| field.text.clone()).join(" ");
            let kind = if deny { WindowKind::Deny } else { WindowKind::Allow };
            let window = window(kind, &text, &format!("{minutes}m"), zone.name());
            read(&serde_json::to_string(&Windows(vec![window.clone()])).expect("JSON")).ok()?;
            Some(Written { window, fields: fields.map(|field| field.numbers), minutes, zone })
        },
    )
}

/// Whether a window is open in each minute of a stretch of time: the clock on the wall is looked at minute by minute.
fn watch(written: &Written, from: DateTime<Utc>, minutes: i64) -> Vec<bool> {
    let shown = |minute: i64| {
        let at = (from + TimeDelta::minutes(minute)).naive_utc();
        at + written.zone.offset_from_utc_datetime(&at).fix()
    };
    let begin = -written.minutes - 1;
    // What the clock has shown already: a time that comes again does not count. Two days before are enough.
    let mut latest = (begin - 2 * 1_440..begin).map(shown).max().expect("some minutes");
    let mut open_for = 0;
    let mut open = Vec::new();
    for minute in begin..minutes {
        let now = shown(minute);
        // All that the clock shows now for the first time, with what it has skipped.
        while latest < now {
            latest += TimeDelta::minutes(1);
            if written.fires_at(latest) {
                open_for = written.minutes;
            }
        }
        if minute >= 0 {
            open.push(open_for > 0);
        }
        open_for -= 1;
    }
    open
}

/// Some windows, and the begin of a stretch of four days.
fn scene() -> impl Strategy<Value = (Vec<Written>, DateTime<Utc>)> {
    (0..CHANGES.len()).prop_flat_map(|at| {
        let (here, change) = CHANGES[at];
        let from = (0_i64..720).prop_map(move |minutes| moment(change) + TimeDelta::minutes(minutes));
        (proptest::collection::vec(written(here), 1..4), from)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, max_global_rejects: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn windows_are_open_when_somebody_who_watches_the_clock_says_so(
        (written, from) in scene(),
        seconds in 0_i64..60,
    ) {
        const MINUTES: i64 = 4 * 1_440;
        let windows = Windows(written.iter().map(|one| one.window.clone()).collect());
        let watched: Vec<(WindowKind, Vec<bool>)> =
            written.iter().map(|one| (one.window.kind, watch(one, from, MINUTES))).collect();
        let any = |kind: WindowKind, minute: usize| watched.iter().any(|(of, open)| *of == kind && open[minute]);
        let allows = watched.iter().any(|(kind, _)| *kind == WindowKind::Allow);
        let expected: Vec<bool> = (0..MINUTES as usize)
            .map(|minute| !any(WindowKind::Deny, minute) && (!allows || any(WindowKind::Allow, minute)))
            .collect();
        let mut since = 0;
        for (minute, open) in expected.iter().enumerate() {
            // Around each change, and here and there between.
            let edge = minute == 0 || expected[minute - 1] != *open || expected.get(minute + 1).is_some_and(|next| next != open);
            since += 1;
            if !edge && since < 61 {
                continue;
            }
            since = 0;
            let at = from + TimeDelta::minutes(minute as i64) + TimeDelta::seconds(seconds);
            let stop = windows.stop(at);
            prop_assert_eq!(stop.is_none(), *open, "{} {:?}", at, windows);
            if let Some(until) = stop.and_then(|stop| stop.until) {
                let opens = expected[minute..].iter().position(|open| *open);
                match opens {
                    Some(opens) => {
                        let first = from + TimeDelta::minutes((minute + opens) as i64);
                        prop_assert_eq!(until, first, "from {} {:?}", at, windows);
                    }
                    None => prop_assert!(until >= from + TimeDelta::minutes(MINUTES), "{} {:?}", until, windows),
                }
            }
        }
    }
}
