//! What approvals count for what: a table in which each row changes one thing, and a clock that is moved by hand.

use std::collections::{BTreeMap, BTreeSet};

use argus::approval::{Approval, Approver, Bound, GROUPS_MAX, Need, QUORUM_MAX, agreeing, meet};
use chrono::{DateTime, TimeDelta, Utc};

const PLAN: &str = "3f9a0000000000000000000000000000000000000000000000000000000000aa";
const RULES: &str = "77770000000000000000000000000000000000000000000000000000000000bb";

/// Noon of the day on which everything happens.
fn noon() -> DateTime<Utc> {
    "2026-03-29T12:00:00Z".parse().expect("a moment")
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn need(quorum: u32, groups: &[&str]) -> Need {
    Need { quorum, groups: set(groups) }
}

/// An approval that was given at eleven and ends at one.
fn by(id: i64, name: &str, groups: &[&str]) -> Approval {
    let also = set(&[&format!("{}@acme.example", name.to_lowercase()), &format!("login_{}", name.to_lowercase())]);
    Approval {
        id,
        plan_digest: PLAN.into(),
        rules_digest: RULES.into(),
        approver: Approver { name: name.into(), groups: set(groups), also },
        at: noon() - TimeDelta::hours(1),
        expires_at: noon() + TimeDelta::hours(1),
    }
}

fn grace() -> Approval {
    by(1, "Grace", &["security"])
}

fn heidi() -> Approval {
    by(2, "heidi", &["finance"])
}

struct Row {
    about: &'static str,
    needs: Vec<Need>,
    approvals: Vec<Approval>,
    authors: BTreeSet<String>,
    now: DateTime<Utc>,
    /// The approvals that are used, or how many people of the first need that is not met agree.
    expected: Result<Vec<i64>, usize>,
}

fn row(about: &'static str, needs: &[Need], approvals: &[Approval], expected: Result<&[i64], usize>) -> Row {
    Row {
        about,
        needs: needs.to_vec(),
        approvals: approvals.to_vec(),
        authors: set(&["ada", "ada@acme.example", "ci"]),
        now: noon(),
        expected: expected.map(<[i64]>::to_vec),
    }
}

fn table() -> Vec<Row> {
    let one = [need(1, &[])];
    let two = [need(2, &[])];
    let at = |about, now, expected| Row { now, ..row(about, &one, &[grace()], expected) };
    let second = TimeDelta::seconds(1);
    let among =
        |about, author: &str, expected| Row { authors: set(&[author]), ..row(about, &one, &[grace()], expected) };
    let mut plan_off_by_a_byte = grace();
    plan_off_by_a_byte.plan_digest = PLAN.replace("aa", "ab");
    let mut rules_off_by_a_byte = grace();
    rules_off_by_a_byte.rules_digest = RULES.replace("bb", "bc");
    let mut swapped = grace();
    (swapped.plan_digest, swapped.rules_digest) = (RULES.into(), PLAN.into());
    vec![
        row("one person is enough", &one, &[grace()], Ok(&[1])),
        row("nobody is not", &one, &[], Err(0)),
        row("where nothing is needed nothing is used", &[], &[grace()], Ok(&[])),
        row("a quorum of none still needs somebody", &[need(0, &[])], &[], Err(0)),
        row("a quorum of none is a quorum of one", &[need(0, &[])], &[grace()], Ok(&[1])),
        row("two of two", &two, &[grace(), heidi()], Ok(&[1, 2])),
        row("one of two", &two, &[grace()], Err(1)),
        row("the same person twice is one", &two, &[grace(), Approval { id: 5, ..grace() }], Err(1)),
        row("both of the same person are used", &one, &[grace(), Approval { id: 5, ..grace() }], Ok(&[1, 5])),
        row("more than enough are used up as well", &one, &[grace(), heidi()], Ok(&[1, 2])),
        row("somebody of the group", &[need(1, &["security"])], &[grace()], Ok(&[1])),
        row("nobody of the group", &[need(1, &["security"])], &[heidi()], Err(0)),
        row("one of several groups", &[need(1, &["security", "legal"])], &[grace()], Ok(&[1])),
        row("two, of whom one is of the group", &[need(2, &["security"])], &[grace(), heidi()], Err(1)),
        row("each of one of the groups", &[need(2, &["security", "finance"])], &[grace(), heidi()], Ok(&[1, 2])),
        row("whoever is of no group", &[need(1, &["security"])], &[by(3, "ivan", &[])], Err(0)),
        row(
            "all needs are met by different people",
            &[need(1, &["security"]), need(1, &["finance"])],
            &[grace(), heidi()],
            Ok(&[1, 2]),
        ),
        row("the second need is not met", &[need(1, &["security"]), need(1, &["finance"])], &[grace()], Err(0)),
        row("the first need is not met", &[need(1, &["finance"]), need(1, &["security"])], &[grace()], Err(0)),
        row("one person meets two needs", &[need(1, &["security"]), need(1, &[])], &[grace()], Ok(&[1])),
        row("another plan, by a byte", &one, &[plan_off_by_a_byte], Err(0)),
        row("other rules, by a byte", &one, &[rules_off_by_a_byte], Err(0)),
        row("the digests in each other's place", &one, &[swapped], Err(0)),
        at("a second before it was given", grace().at - second, Err(0)),
        at("the very second in which it was given", grace().at, Ok(&[1])),
        at("a second before it ends", grace().expires_at - second, Ok(&[1])),
        at("the very second in which it ends", grace().expires_at, Err(0)),
        at("a second after it has ended", grace().expires_at + second, Err(0)),
        at("a nanosecond before it ends", grace().expires_at - TimeDelta::nanoseconds(1), Ok(&[1])),
        among("the author by name, in another case", "grace", Err(0)),
        among("the author by address", "grace@acme.example", Err(0)),
        among("the author by database role", "login_grace", Err(0)),
        among("somebody with a similar name", "grac", Ok(&[1])),
        Row { authors: set(&[]), ..row("a plan of nobody", &one, &[grace()], Ok(&[1])) },
        Row { authors: set(&["grace"]), ..row("the author among others", &two, &[grace(), heidi()], Err(1)) },
        Row { authors: set(&["grace"]), ..row("what is not counted is not used", &one, &[grace(), heidi()], Ok(&[2])) },
    ]
}

#[test]
fn what_is_needed_is_met_by_the_right_people_for_this_plan_now_or_not_at_all() {
    let mut wrong = Vec::new();
    for Row { about, needs, approvals, authors, now, expected } in table() {
        let bound = Bound { plan_digest: PLAN, rules_digest: RULES, authors: &authors, now };
        let met = meet(&needs, &approvals, &bound);
        let found = met.as_ref().map(|used| used.keys().copied().collect::<Vec<i64>>()).map_err(|(_, agree)| *agree);
        if found != expected {
            wrong.push(format!("{about}: {found:?}, and not {expected:?}"));
        }
        // Whose approvals they are comes along.
        for (id, name) in met.unwrap_or_default() {
            assert!(approvals.iter().any(|approval| approval.id == id && approval.approver.name == name), "{about}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_need_that_is_not_met_is_named() {
    let (security, finance) = (need(1, &["security"]), need(3, &["finance"]));
    let authors = BTreeSet::new();
    let bound = Bound { plan_digest: PLAN, rules_digest: RULES, authors: &authors, now: noon() };
    let approvals = [grace(), heidi()];
    assert_eq!(meet([&security, &finance], &approvals, &bound), Err((&finance, 1)));
    assert_eq!(meet([&security], &approvals, &bound), Ok(BTreeMap::from([(1, "Grace".to_owned())])));
    assert_eq!(agreeing(&need(1, &[]), &approvals, &bound), BTreeSet::from(["Grace", "heidi"]));
}

#[test]
fn an_approval_goes_through_its_hours_as_the_clock_does() {
    // The clocks of Europe jump at one in the morning of this day; approvals count in UTC and do not notice.
    let given: DateTime<Utc> = "2026-03-29T00:59:00Z".parse().expect("a moment");
    let approval = Approval { at: given, expires_at: given + TimeDelta::hours(24), ..grace() };
    let authors = BTreeSet::new();
    let counts = |now| Bound { plan_digest: PLAN, rules_digest: RULES, authors: &authors, now }.counts(&approval);
    let counting: Vec<i64> = (-2..30).filter(|hour| counts(given + TimeDelta::hours(*hour))).collect();
    assert_eq!(counting, (0..24).collect::<Vec<i64>>());
}

#[test]
fn a_need_that_nobody_or_everybody_meets_is_a_fault() {
    assert_eq!(Need::default().fault(), None);
    assert_eq!(need(QUORUM_MAX, &["security"]).fault(), None);
    assert!(need(0, &[]).fault().is_some());
    assert!(need(QUORUM_MAX + 1, &[]).fault().is_some());
    let groups = |count: usize| Need { quorum: 1, groups: (0..count).map(|number| format!("g{number}")).collect() };
    assert_eq!(groups(GROUPS_MAX).fault(), None);
    assert!(groups(GROUPS_MAX + 1).fault().is_some());
}
