//! The verdict, branch by branch: a table in which each row changes one thing. Flipping any branch of the code breaks a
//! row.

use std::collections::{BTreeMap, BTreeSet};

use argus::approval::{Approval, Approver, Need};
use argus::brake::{Brakes, Mode, Stop, Window, WindowKind, Windows};
use argus::guard::Guards;
use argus::model::code::Code;
use argus::model::finding::Finding;
use argus::plan::{Count, OrganizationPlan, Plan};
use argus::policy::judgement::{Hold, Judgement, Judgements, Tie};
use argus::verdict::{self, Held, Judging, Terms, Told, tells_of_all};
use chrono::{DateTime, TimeDelta, Utc};

use crate::support::plans::{SOURCE, delete, plan, record, rename};

const RULES: &str = "rules";

/// A Wednesday.
fn now() -> DateTime<Utc> {
    "2026-07-01T12:00:00Z".parse().expect("a moment")
}

/// Everything that a verdict stands on. By itself it lets the plan of `acme` through.
struct Case {
    about: &'static str,
    plan: OrganizationPlan,
    terms: Terms,
    policies: Judgements,
    brakes: Brakes,
    approvals: Vec<Approval>,
    authors: BTreeSet<String>,
    force: bool,
    /// What is said: a word, the codes that it is said with, and the codes that are warned of.
    expected: &'static str,
}

fn case(about: &'static str, expected: &'static str, change: impl FnOnce(&mut Case)) -> Case {
    let mut case = Case {
        about,
        plan: plan("acme", vec![delete("Member", "eve@acme.example", 3)]),
        terms: Terms::default(),
        policies: Judgements { rules_digest: RULES.into(), by_organization: None },
        brakes: Brakes::default(),
        approvals: Vec::new(),
        authors: BTreeSet::from(["ada".to_owned()]),
        force: false,
        expected,
    };
    change(&mut case);
    case.plan = case.plan.sealed();
    case
}

impl Case {
    /// A guard holds the plan.
    fn tripped(&mut self) {
        self.plan.counts.push(Count {
            dimension: "members".into(),
            part: String::new(),
            before: 10,
            removed: 9,
            after: 1,
        });
    }

    /// Policies judge, and this is what they say of `acme`.
    fn said(&mut self, judgement: Judgement) {
        self.policies.by_organization = Some(BTreeMap::from([("acme".into(), judgement)]));
    }

    fn rule_holds(&mut self, quorum: u32, groups: &[&str]) {
        let hold = Hold { finding: Finding::warning(Code::PolicyHeld, "why"), need: need(quorum, groups) };
        let by_now = self.policies.by_organization.get_or_insert_default();
        by_now.entry("acme".into()).or_default().holds.push(hold);
    }

    /// Somebody approves, of these groups.
    fn approve(&mut self, name: &str, groups: &[&str]) {
        let also = BTreeSet::from([format!("{name}@acme.example")]);
        self.plan = self.plan.clone().sealed();
        self.approvals.push(Approval {
            id: self.approvals.len() as i64 + 1,
            plan_digest: self.plan.digest.clone(),
            rules_digest: RULES.into(),
            approver: Approver { name: name.into(), groups: words(groups), also },
            at: now() - TimeDelta::hours(1),
            expires_at: now() + TimeDelta::hours(1),
        });
    }

    fn stop(&mut self, organization: &str, yields_to_force: bool) {
        let stop = stop(yields_to_force);
        match organization {
            "*" => self.brakes.all.push(stop),
            name => self.brakes.organizations.entry(name.into()).or_default().push(stop),
        }
    }

    /// The plan holds nothing but bookkeeping.
    fn only_settles(&mut self) {
        self.plan.changes.clear();
        self.plan.settles = Some("digest".into());
    }

    fn verdict(&self) -> (String, Told, Vec<i64>) {
        let plan = Plan::new(SOURCE, (1, 1), vec![self.plan.clone()], Vec::new());
        let Case { terms, policies, brakes, approvals, authors, force, .. } = self;
        let judging = Judging { terms, policies, brakes, approvals, authors, now: now(), force: *force };
        let verdict = verdict::judge(&plan, &judging);
        let used: Vec<i64> = verdict.approved.iter().flat_map(|each| each.approvals().keys().copied()).collect();
        assert!(
            verdict.approved.iter().all(|each| each.rules_digest() == RULES && each.plan() == &*plan.organizations[0])
        );
        (describe(&verdict), verdict.told, used)
    }
}

fn words(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn need(quorum: u32, groups: &[&str]) -> Need {
    Need { quorum, groups: words(groups) }
}

fn stop(yields_to_force: bool) -> Stop {
    Stop { finding: Finding::error(Code::Suspended, "suspended"), until: None, yields_to_force }
}

fn error(code: Code) -> Finding {
    Finding::error(code, "why")
}

fn codes<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    findings.map(|finding| finding.code.number().to_string()).collect::<Vec<_>>().join(",")
}

/// A verdict in words. An organization that stands in two places shows as that.
fn describe(verdict: &verdict::Verdict) -> String {
    let Told { rules_digest, held, denied, stopped, blocked, warned } = &verdict.told;
    assert_eq!(rules_digest, RULES);
    let mut said: Vec<String> = Vec::new();
    for approved in &verdict.approved {
        let used: Vec<String> = approved.approvals().keys().map(ToString::to_string).collect();
        said.push(format!("allowed {}", used.join(",")));
    }
    for (word, map) in [("blocked", blocked), ("denied", denied), ("stopped", stopped)] {
        said.extend(map.values().map(|findings| format!("{word} {}", codes(findings.iter()))));
    }
    said.extend(held.values().map(|held| format!("held {}", codes(held.iter().map(|held| &held.finding)))));
    said.extend(warned.values().map(|findings| format!("warned {}", codes(findings.iter()))));
    said.iter().map(|said| said.trim_end()).collect::<Vec<_>>().join(" and ")
}

fn denial() -> Judgement {
    Judgement { denials: vec![error(Code::PolicyDenied)], ..Judgement::default() }
}

fn warning() -> Judgement {
    Judgement { warnings: vec![Finding::warning(Code::PolicyWarned, "why")], ..Judgement::default() }
}

fn window(kind: WindowKind, schedule: &str) -> Windows {
    let (schedule, time_zone) = (schedule.into(), "UTC".into());
    Windows(vec![Window { kind, schedule, duration: "2h".into(), time_zone }])
}

fn table() -> Vec<Case> {
    vec![
        case("nothing is said against it", "allowed", |_| {}),
        // Errors in the plan.
        case("an error blocks", "blocked 2002", |c| c.plan.findings.push(error(Code::Protected))),
        case("only errors are told then", "blocked 2002", |c| {
            c.plan.findings.push(Finding::warning(Code::Ignored, "x"));
            c.plan.findings.push(error(Code::Protected));
        }),
        case("a warning does not block", "allowed", |c| c.plan.findings.push(Finding::warning(Code::Ignored, "x"))),
        case("force does not pass by an error", "blocked 2002", |c| {
            c.plan.findings.push(error(Code::Protected));
            c.force = true;
        }),
        case("an error comes before a denial", "blocked 2002", |c| {
            c.plan.findings.push(error(Code::Protected));
            c.said(denial());
        }),
        // Policies.
        case("a denial denies", "denied 3101", |c| c.said(denial())),
        case("force does not pass by a denial", "denied 3101", |c| {
            c.said(denial());
            c.force = true;
        }),
        case("an approval does not lift a denial", "denied 3101", |c| {
            c.said(denial());
            c.approve("grace", &[]);
        }),
        case("a denial comes before a brake", "denied 3101", |c| {
            c.said(denial());
            c.stop("*", false);
        }),
        case("a denial comes before a hold", "denied 3101", |c| {
            c.said(denial());
            c.rule_holds(1, &[]);
        }),
        case("a settled plan can be denied", "denied 3101", |c| {
            c.plan.changes.clear();
            c.said(denial());
        }),
        case("policies that say nothing against it", "allowed", |c| c.said(Judgement::default())),
        case("a warning is told and lets it through", "allowed and warned 3103", |c| c.said(warning())),
        case("a warning is told beside a denial", "denied 3101 and warned 3103", |c| {
            c.said(Judgement { denials: denial().denials, ..warning() });
        }),
        case("a warning is told beside an error", "blocked 2002 and warned 3103", |c| {
            c.plan.findings.push(error(Code::Protected));
            c.said(warning());
        }),
        case("policies that were not asked about it deny", "denied 3106", |c| {
            c.policies.by_organization = Some(BTreeMap::new());
        }),
        case("not being asked about it is not mended by force", "denied 3106", |c| {
            c.policies.by_organization = Some(BTreeMap::new());
            c.force = true;
        }),
        case("what they say of another organization is not said of this", "denied 3106", |c| {
            c.policies.by_organization = Some(BTreeMap::from([("apex".into(), Judgement::default())]));
        }),
        case("without changes they need not be asked", "allowed", |c| {
            c.only_settles();
            c.policies.by_organization = Some(BTreeMap::new());
        }),
        // Brakes.
        case("a brake on all stops", "stopped 3203", |c| c.stop("*", true)),
        case("a brake on it stops", "stopped 3203", |c| c.stop("acme", true)),
        case("a brake on another does not", "allowed", |c| c.stop("apex", true)),
        case("a brake on the name that it leaves stops", "stopped 3203", |c| {
            c.plan.changes = vec![rename("Organization", "apex", "acme", 1, "{}")];
            c.stop("apex", true);
        }),
        case("a brake yields to force", "allowed", |c| {
            c.stop("*", true);
            c.force = true;
        }),
        case("another brake does not", "stopped 3203", |c| {
            c.stop("*", false);
            c.force = true;
        }),
        case("of two brakes the one that does not yield stops", "stopped 3203", |c| {
            c.stop("*", true);
            c.stop("acme", false);
            c.force = true;
        }),
        case("the same said twice is told once", "stopped 3203", |c| {
            c.stop("acme", false);
            c.stop("acme", false);
        }),
        case("an approval does not lift a brake", "stopped 3203", |c| {
            c.stop("*", true);
            c.approve("grace", &[]);
        }),
        case("a brake comes before a hold", "stopped 3203", |c| {
            c.tripped();
            c.stop("*", true);
        }),
        case("a source that observes stops", "stopped 3201", |c| c.terms.mode = Mode::Observe),
        case("force does not make it write", "stopped 3201", |c| {
            c.terms.mode = Mode::Observe;
            c.force = true;
        }),
        case("another mode does not stop", "allowed", |c| c.terms.mode = Mode::Apply),
        case("a window that is closed stops", "stopped 3202", |c| {
            c.terms.windows = window(WindowKind::Allow, "0 9 * * *");
        }),
        case("a window that is open does not", "allowed", |c| {
            c.terms.windows = window(WindowKind::Allow, "0 11 * * *")
        }),
        case("a window yields to force", "allowed", |c| {
            c.terms.windows = window(WindowKind::Deny, "0 11 * * *");
            c.force = true;
        }),
        case("bookkeeping waits for a brake without a word", "", |c| {
            c.only_settles();
            c.stop("*", true);
        }),
        case("bookkeeping alone goes through", "allowed", Case::only_settles),
        case("a settled plan does not wait for a brake", "allowed", |c| {
            c.plan.changes.clear();
            c.stop("*", false);
        }),
        case("a settled plan does not wait for people", "allowed", |c| {
            c.plan.changes.clear();
            c.tripped();
        }),
        case("records alone wait for people", "held 3009", |c| {
            c.plan.changes.clear();
            c.plan.records.push(record("Team", "x", None));
            c.plan.holds.push(Finding::warning(Code::EmptySource, "x"));
        }),
        // Holds.
        case("a guard holds", "held 3001", Case::tripped),
        case("a guard that is set wider does not", "allowed", |c| {
            c.tripped();
            c.terms.guards.members.percent = 95;
        }),
        case("what the comparison found holds", "held 3009", |c| {
            c.plan.holds.push(Finding::warning(Code::EmptySource, "x"));
        }),
        case("force passes by a guard", "allowed", |c| {
            c.tripped();
            c.plan.holds.push(Finding::warning(Code::EmptySource, "x"));
            c.force = true;
        }),
        case("a rule holds", "held 3102", |c| c.rule_holds(1, &[])),
        case("force does not pass by it", "held 3102", |c| {
            c.rule_holds(1, &[]);
            c.force = true;
        }),
        case("force passes by the guard alone", "held 3102", |c| {
            c.tripped();
            c.rule_holds(1, &[]);
            c.force = true;
        }),
        case("guards are told before rules", "held 3001,3102", |c| {
            c.tripped();
            c.rule_holds(1, &[]);
        }),
        case("a hold is told beside a warning", "held 3001 and warned 3103", |c| {
            c.tripped();
            c.said(warning());
        }),
        // Approvals.
        case("an approval lets it through and is used", "allowed 1", |c| {
            c.tripped();
            c.approve("grace", &[]);
        }),
        case("where nothing holds none is used", "allowed", |c| c.approve("grace", &[])),
        case("where force passes by it none is used", "allowed", |c| {
            c.tripped();
            c.approve("grace", &[]);
            c.force = true;
        }),
        case("with force a rule still takes one", "allowed 1", |c| {
            c.rule_holds(1, &[]);
            c.approve("grace", &[]);
            c.force = true;
        }),
        case("a guard asks for as many as the source says", "held 3001", |c| {
            c.tripped();
            c.terms.approvals = need(2, &[]);
            c.approve("grace", &[]);
        }),
        case("and is content with them", "allowed 1,2", |c| {
            c.tripped();
            c.terms.approvals = need(2, &[]);
            c.approve("grace", &[]);
            c.approve("heidi", &[]);
        }),
        case("a rule asks for its own people, not for those of the source", "allowed 1", |c| {
            c.rule_holds(1, &["security"]);
            c.terms.approvals = need(9, &["nobody"]);
            c.approve("grace", &["security"]);
        }),
        case("somebody of another group does not lift it", "held 3102", |c| {
            c.rule_holds(1, &["security"]);
            c.approve("grace", &["finance"]);
        }),
        case("every hold has to be lifted", "held 3001,3102", |c| {
            c.tripped();
            c.rule_holds(1, &["security"]);
            c.approve("grace", &["finance"]);
        }),
        case("the guard's as well as the rule's", "held 3001,3102", |c| {
            c.tripped();
            c.rule_holds(1, &[]);
            c.terms.approvals = need(1, &["security"]);
            c.approve("grace", &["finance"]);
        }),
        case("one person may lift both", "allowed 1", |c| {
            c.tripped();
            c.rule_holds(1, &["security"]);
            c.approve("grace", &["security"]);
        }),
        case("another plan's approval is none", "held 3001", |c| {
            c.tripped();
            c.approve("grace", &[]);
            c.plan.changes.push(delete("Member", "m@acme.example", 1));
        }),
        case("one under other rules is none", "held 3001", |c| {
            c.tripped();
            c.approve("grace", &[]);
            c.approvals[0].rules_digest = "other".into();
        }),
        case("one that begins later is none", "held 3001", |c| {
            c.tripped();
            c.approve("grace", &[]);
            c.approvals[0].at = now() + TimeDelta::seconds(1);
        }),
        case("one that has ended is none", "held 3001", |c| {
            c.tripped();
            c.approve("grace", &[]);
            c.approvals[0].expires_at = now();
        }),
        case("the author's own is none", "held 3001", |c| {
            c.tripped();
            c.approve("ada", &[]);
        }),
        case("under another of their names as well", "held 3001", |c| {
            c.tripped();
            c.approve("countess", &[]);
            c.authors.insert("countess@acme.example".into());
        }),
    ]
}

#[test]
fn the_verdict_is_what_its_table_says() {
    let mut wrong = Vec::new();
    for case in table() {
        let (found, told, used) = case.verdict();
        if found != case.expected {
            wrong.push(format!("{}: {found:?}, and not {:?}", case.about, case.expected));
        }
        // The word is the one that was decided by.
        let word = case.expected.split([' ', ',']).next().filter(|word| !word.is_empty()).unwrap_or("allowed");
        assert_eq!(told.word("acme"), word, "{}", case.about);
        assert_eq!(told.word("elsewhere"), "allowed");
        assert!(used.iter().all(|id| *id <= case.approvals.len() as i64));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn of_many_organizations_each_is_judged_by_itself() {
    let names = ["blocked", "denied", "held", "fine", "stopped"];
    let mut plans: Vec<OrganizationPlan> =
        names.iter().map(|name| plan(name, vec![delete("Member", "eve@acme.example", 3)])).collect();
    plans[0].findings.push(error(Code::Protected));
    plans[2].holds.push(Finding::warning(Code::EmptySource, "x"));
    let plan = Plan::new(SOURCE, (5, 5), plans, Vec::new());
    let said = |name: &&str| ((*name).into(), if *name == "denied" { denial() } else { Judgement::default() });
    let policies = Judgements { rules_digest: RULES.into(), by_organization: Some(names.iter().map(said).collect()) };
    let brakes = Brakes { all: Vec::new(), organizations: BTreeMap::from([("stopped".into(), vec![stop(false)])]) };
    let judging = Judging {
        terms: &Terms::default(),
        policies: &policies,
        brakes: &brakes,
        approvals: &[],
        authors: &BTreeSet::new(),
        now: now(),
        force: false,
    };
    let verdict = verdict::judge(&plan, &judging);
    for name in names {
        assert_eq!(verdict.told.word(name), if name == "fine" { "allowed" } else { name });
    }
    let approved: Vec<&str> = verdict.approved.iter().map(|each| &*each.plan().organization).collect();
    assert_eq!(approved, ["fine"]);
    // What stops an organization says which one.
    assert_eq!(verdict.told.stopped["stopped"][0].subject.as_deref(), Some("stopped"));
    let unheard = Judgements { rules_digest: RULES.into(), by_organization: Some(BTreeMap::new()) };
    let verdict = verdict::judge(&plan, &Judging { policies: &unheard, ..judging });
    assert_eq!(verdict.told.denied["fine"][0].subject.as_deref(), Some("fine"));
}

/// What becomes of an organization and of what all share, by how the one is tied to the other.
#[test]
fn what_was_judged_together_passes_together() {
    let held = || Judgement {
        holds: vec![Hold { finding: Finding::warning(Code::PolicyHeld, "why"), need: need(1, &[]) }],
        ..Judgement::default()
    };
    let tied = |tie: Tie, judgement: Judgement| Judgement { tie, ..judgement };
    let free = Judgement::default;
    type Row = (&'static str, Judgement, Judgement, bool, (&'static str, &'static str));
    let table: Vec<Row> = vec![
        ("both pass", free(), tied(Tie::Leans, free()), false, ("allowed", "allowed")),
        ("what is shared is denied", denial(), tied(Tie::Leans, free()), false, ("denied", "stopped")),
        ("what is shared is held", held(), tied(Tie::Leans, free()), false, ("held", "stopped")),
        ("one that was spared waits as well", held(), tied(Tie::Spares, free()), false, ("held", "stopped")),
        ("one that is not tied goes on", denial(), free(), false, ("denied", "allowed")),
        ("one that is held stays so", denial(), tied(Tie::Leans, held()), false, ("denied", "held")),
        ("one that leans does not hold back", free(), tied(Tie::Leans, denial()), false, ("allowed", "denied")),
        ("one that was spared does", free(), tied(Tie::Spares, denial()), false, ("stopped", "denied")),
        ("so does one that is stopped", free(), tied(Tie::Spares, free()), true, ("stopped", "stopped")),
        ("and one that is not tied does not", free(), free(), true, ("allowed", "stopped")),
    ];
    for (about, shared, acme, is_stopped, expected) in table {
        let plans = vec![
            plan("", vec![delete("Tier", "team", 1)]).sealed(),
            plan("acme", vec![delete("Member", "eve@acme.example", 3)]).sealed(),
        ];
        let plan = Plan::new(SOURCE, (1, 1), plans, Vec::new());
        let by_organization = Some(BTreeMap::from([("".into(), shared), ("acme".into(), acme)]));
        let policies = Judgements { rules_digest: RULES.into(), by_organization };
        let organizations = is_stopped.then(|| ("acme".into(), vec![stop(false)])).into_iter().collect();
        let judging = Judging {
            terms: &Terms::default(),
            policies: &policies,
            brakes: &Brakes { all: Vec::new(), organizations },
            approvals: &[],
            authors: &BTreeSet::new(),
            now: now(),
            force: true,
        };
        let verdict = verdict::judge(&plan, &judging);
        assert_eq!((verdict.told.word(""), verdict.told.word("acme")), expected, "{about}");
        let passed: Vec<&str> = verdict.approved.iter().map(|each| &*each.plan().organization).collect();
        let allowed = [("", expected.0), ("acme", expected.1)].into_iter().filter(|(_, word)| *word == "allowed");
        assert_eq!(passed, allowed.map(|(name, _)| name).collect::<Vec<_>>(), "{about}");
    }
}

#[test]
fn a_hold_tells_what_it_needs_and_who_agrees_by_now() {
    let held = case("", "", |c| {
        c.tripped();
        c.rule_holds(2, &["security"]);
        c.terms.approvals = need(3, &[]);
        c.approve("grace", &["security"]);
        c.approve("heidi", &["finance"]);
        c.approve("ada", &["security"]);
    });
    let (said, told, used) = held.verdict();
    assert_eq!((said.as_str(), used.len()), ("held 3001,3102", 0));
    let [guard, rule] = &told.held["acme"][..] else { panic!("two holds: {told:?}") };
    let shown = |held: &Held| (held.need.clone(), held.agreed.clone(), held.missing());
    assert_eq!(shown(guard), (need(3, &[]), words(&["grace", "heidi"]), 1));
    assert_eq!(shown(rule), (need(2, &["security"]), words(&["grace"]), 1));
    let enough = Held { agreed: words(&["a", "b", "c", "d"]), ..guard.clone() };
    assert_eq!((enough.missing(), Held { need: need(0, &[]), agreed: words(&[]), ..guard.clone() }.missing()), (0, 1));
}

#[test]
fn whoever_approved_is_known_by_name() {
    let approved = case("", "", |c| {
        c.tripped();
        c.approve("grace", &[]);
        c.approve("grace", &[]);
        c.approve("heidi", &[]);
    });
    let plan = Plan::new(SOURCE, (1, 1), vec![approved.plan.clone()], Vec::new());
    let judging = Judging {
        terms: &Terms { guards: Guards::default(), ..Terms::default() },
        policies: &approved.policies,
        brakes: &approved.brakes,
        approvals: &approved.approvals,
        authors: &approved.authors,
        now: now(),
        force: false,
    };
    let verdict = verdict::judge(&plan, &judging);
    assert_eq!(verdict.approved[0].approved_by(), BTreeSet::from(["grace", "heidi"]));
    assert_eq!(verdict.approved[0].approvals().len(), 3);
}

#[test]
fn what_tells_of_many_alike_is_known_by_its_code() {
    let telling: Vec<Code> = Code::ALL.iter().copied().filter(|code| tells_of_all(&error(*code))).collect();
    assert_eq!(telling, [Code::EmptySource, Code::Observing, Code::WindowClosed, Code::Suspended]);
}
