//! Random worlds, rules, approvals and brakes: nothing goes through that anybody has a word against, and everything
//! else does. What is expected is worked out from the worlds and the words, knowing nothing of how verdicts are made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use argus::approval::{Approval, Approver, Need};
use argus::brake::{Brakes, Stop};
use argus::guard::Guards;
use argus::model::code::Code;
use argus::model::finding::Finding;
use argus::model::kind::KindId;
use argus::model::kinds::member;
use argus::model::state::{Live, LiveRow};
use argus::model::value::Value;
use argus::plan::{OrganizationPlan, Plan};
use argus::policy::judgement::{Hold, Judgement, Judgements};
use argus::verdict::{self, Judging, Terms};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use crate::diff_properties::{SOURCE, Worlds, carried_out, crowd, plan, worlds};

const RULES: &str = "the rules";
const PEOPLE: &[&str] = &["grace", "Heidi", "ivan", "judy"];
const GROUPS: &[&str] = &["security", "finance"];

fn now() -> DateTime<Utc> {
    "2026-07-01T12:00:00Z".parse().expect("a moment")
}

/// What policies say of the organization, if they were asked.
#[derive(Clone, Debug)]
enum Said {
    NoPolicies,
    NotAsked,
    Judged { denied: bool, holds: Vec<Need> },
}

/// One approval: who, what for, and when. Each fault by itself makes it count for nothing.
#[derive(Clone, Debug)]
struct Yes {
    who: usize,
    other_plan: bool,
    other_rules: bool,
    /// Minutes from now.
    from: i64,
    to: i64,
}

#[derive(Clone, Debug)]
struct Trial {
    said: Said,
    need: Need,
    yeses: Vec<Yes>,
    /// The groups of each person.
    groups: Vec<BTreeSet<String>>,
    authors: BTreeSet<String>,
    /// Whether each brake that is on yields to force.
    brakes: Vec<bool>,
    force: bool,
    blocked: bool,
}

fn need() -> impl Strategy<Value = Need> {
    (0_u32..3, proptest::sample::subsequence(GROUPS, 0..=GROUPS.len()))
        .prop_map(|(quorum, groups)| Need { quorum, groups: groups.into_iter().map(str::to_owned).collect() })
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => Just(Said::NoPolicies),
        1 => Just(Said::NotAsked),
        5 => (proptest::bool::weighted(0.2), proptest::collection::vec(need(), 0..3))
            .prop_map(|(denied, holds)| Said::Judged { denied, holds }),
    ]
}

prop_compose! {
    fn yes()(
        who in 0..PEOPLE.len(),
        other_plan in proptest::bool::weighted(0.1),
        other_rules in proptest::bool::weighted(0.1),
        from in prop_oneof![5 => Just(-60_i64), 1 => -1_i64..2],
        to in prop_oneof![5 => Just(60_i64), 1 => -1_i64..2],
    ) -> Yes {
        Yes { who, other_plan, other_rules, from, to }
    }
}

/// Worlds of few things of all kinds, and worlds of many people of whom some go.
fn any_worlds() -> impl Strategy<Value = Worlds> {
    let person = (0_u8..4, proptest::option::weighted(0.6, 0_u8..4));
    let crowds = proptest::collection::vec(person, 1..16).prop_map(|people| crowd(&people));
    prop_oneof![worlds(), crowds]
}

prop_compose! {
    fn trial()(
        said in said(),
        need in need(),
        yeses in prop_oneof![1 => Just(Vec::new()), 2 => proptest::collection::vec(yes(), 0..6)],
        groups in proptest::collection::vec(proptest::sample::subsequence(GROUPS, 0..=GROUPS.len()), PEOPLE.len()),
        author in proptest::option::weighted(0.4, 0..PEOPLE.len()),
        by_address in any::<bool>(),
        brakes in prop_oneof![8 => Just(Vec::new()), 1 => proptest::collection::vec(any::<bool>(), 1..3)],
        force in proptest::bool::weighted(0.3),
        blocked in proptest::bool::weighted(0.05),
    ) -> Trial {
        let author = author.map(|who| if by_address { address(who) } else { PEOPLE[who].to_lowercase() });
        let groups = groups.into_iter().map(|groups| groups.into_iter().map(str::to_owned).collect()).collect();
        Trial { said, need, yeses, groups, authors: author.into_iter().collect(), brakes, force, blocked }
    }
}

fn address(who: usize) -> String {
    format!("{}@acme.example", PEOPLE[who].to_lowercase())
}

impl Trial {
    fn approvals(&self, plan: &OrganizationPlan) -> Vec<Approval> {
        let off_by_one = |digest: &str| format!("{}{}", &digest[1..], &digest[..1]);
        let approval = |(at, yes): (usize, &Yes)| Approval {
            id: at as i64,
            plan_digest: if yes.other_plan { off_by_one(&plan.digest) } else { plan.digest.clone() },
            rules_digest: if yes.other_rules { off_by_one(RULES) } else { RULES.into() },
            approver: Approver {
                name: PEOPLE[yes.who].into(),
                groups: self.groups[yes.who].clone(),
                also: BTreeSet::from([address(yes.who)]),
            },
            at: now() + TimeDelta::minutes(yes.from),
            expires_at: now() + TimeDelta::minutes(yes.to),
        };
        self.yeses.iter().enumerate().map(approval).collect()
    }

    /// The approvals that count for a need, worked out from what was drawn.
    fn agreeing(&self, need: &Need) -> Vec<usize> {
        let is_author =
            |who: usize| self.authors.contains(&PEOPLE[who].to_lowercase()) || self.authors.contains(&address(who));
        let counts = |yes: &Yes| {
            let time = yes.from <= 0 && yes.to > 0;
            let group = need.groups.is_empty() || need.groups.iter().any(|group| self.groups[yes.who].contains(group));
            !yes.other_plan && !yes.other_rules && time && group && !is_author(yes.who)
        };
        (0..self.yeses.len()).filter(|at| counts(&self.yeses[*at])).collect()
    }

    fn is_met(&self, need: &Need) -> bool {
        let people: BTreeSet<usize> = self.agreeing(need).into_iter().map(|at| self.yeses[at].who).collect();
        !people.is_empty() && people.len() >= need.quorum as usize
    }

    fn judgements(&self, organization: &Arc<str>) -> Judgements {
        let hold = |need: &Need| Hold { finding: Finding::warning(Code::PolicyHeld, "why"), need: need.clone() };
        let by_organization = match &self.said {
            Said::NoPolicies => None,
            Said::NotAsked => Some(BTreeMap::new()),
            Said::Judged { denied, holds } => {
                let denials = if *denied { vec![Finding::error(Code::PolicyDenied, "why")] } else { Vec::new() };
                let judgement = Judgement {
                    denials,
                    holds: holds.iter().map(hold).collect(),
                    warnings: Vec::new(),
                    ..Judgement::default()
                };
                Some(BTreeMap::from([(organization.clone(), judgement)]))
            }
        };
        Judgements { rules_digest: RULES.into(), by_organization }
    }
}

/// The people of a world: those who may come in, and among them those with one of these roles.
fn people(live: &Live, roles: Option<&[&str]>) -> BTreeSet<Arc<str>> {
    let field = |name: &str| member::KIND.field_at(name).expect("a field");
    let active = |row: &LiveRow| row.spec.value(field("status")) != Some(&Value::text("suspended"));
    let has_role = |row: &LiveRow| {
        let held = row.spec.value(field("roles"));
        roles.is_none_or(|roles| {
            held.is_some_and(|held| {
                held.items().iter().any(|role| role.as_text().is_some_and(|role| roles.contains(&role)))
            })
        })
    };
    let of_kind =
        live.rows.iter().filter(|((kind, _), row)| *kind == KindId::of(&member::KIND) && active(row) && has_role(row));
    of_kind.map(|((_, name), _)| name.clone()).collect()
}

/// Whether a plan takes so many people away that a guard must hold it, worked out from the world before and after it.
fn violates(worlds: &Worlds, plan: &OrganizationPlan, guards: &Guards) -> bool {
    let after = carried_out(worlds, plan);
    let gone = |roles: Option<&[&str]>| {
        let (before, later) = (people(&worlds.live, roles), people(&after.live, roles));
        (before.difference(&later).count(), before.len(), later.len())
    };
    let too_many =
        |(gone, of, _): (usize, usize, usize), percent: u8| gone > 1 && gone * 100 > of * usize::from(percent);
    let owners = gone(Some(&["owner"]));
    too_many(gone(None), guards.members.percent)
        || too_many(gone(Some(&["owner", "admin"])), guards.admins.percent)
        || (owners.0 > 0 && (owners.2 as u64) < guards.owners)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, max_global_rejects: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_goes_through_against_a_word_of_anybody(
        worlds in any_worlds(), trial in trial(), owners in 0_u64..4, percent in 0_u8..100,
    ) {
        let mut plan = plan(&worlds, true);
        if trial.blocked {
            plan.findings.push(Finding::error(Code::Protected, "why"));
        }
        let mut guards = Guards { owners, ..Guards::default() };
        guards.members.percent = percent;
        // Whoever goes takes their roles along: a guard over these would hide the others.
        guards.role_grants.percent = 100;
        let terms = Terms { guards, approvals: trial.need.clone(), ..Terms::default() };
        let stop = |yields: &bool| Stop { finding: Finding::error(Code::Suspended, "why"), until: None, yields_to_force: *yields };
        let brakes = Brakes { all: trial.brakes.iter().map(stop).collect(), organizations: BTreeMap::new() };
        let approvals = trial.approvals(&plan);
        let policies = trial.judgements(&plan.organization);
        let judging = Judging {
            terms: &terms, policies: &policies, brakes: &brakes, approvals: &approvals, authors: &trial.authors,
            now: now(), force: trial.force,
        };
        let verdict = verdict::judge(&Plan::new(SOURCE, (1, 1), vec![plan.clone()], Vec::new()), &judging);
        let word = verdict.told.word(&plan.organization);
        let through = !verdict.approved.is_empty();
        prop_assert!(!through || word == "allowed", "it goes through, and is told to be {}", word);

        let denied = match &trial.said {
            Said::NoPolicies => false,
            Said::NotAsked => !plan.is_empty(),
            Said::Judged { denied, .. } => *denied,
        };
        let stopped = trial.brakes.iter().any(|yields| !(*yields && trial.force));
        let rules: &[Need] = match &trial.said { Said::Judged { holds, .. } => holds, _ => &[] };
        if through {
            prop_assert!(!plan.is_blocked() && !denied);
            if !plan.is_settled() {
                prop_assert!(!stopped);
                for need in rules {
                    prop_assert!(trial.is_met(need), "{:?} is not met by {:?}", need, trial.yeses);
                }
                if !trial.force && !trial.is_met(&trial.need) {
                    prop_assert!(plan.holds.is_empty());
                    prop_assert!(!violates(&worlds, &plan, &terms.guards), "a guard is passed by without anybody's word");
                }
            }
            // What is used was given by somebody who counts, for this plan.
            for id in verdict.approved[0].approvals().keys() {
                let everybody = Need { quorum: 1, groups: BTreeSet::new() };
                prop_assert!(trial.agreeing(&everybody).contains(&(*id as usize)));
            }
        } else {
            // And there is a reason where nothing goes through.
            let reason = plan.is_blocked() || denied || (!plan.is_settled() && (stopped
                || rules.iter().any(|need| !trial.is_met(need))
                || (!trial.force && !trial.is_met(&trial.need))));
            prop_assert!(reason, "it is {}, and nobody has a word against it", word);
        }
        // With force the guards are as if they were not there, and only they.
        if trial.force && !plan.is_blocked() && !denied && !stopped && rules.is_empty() {
            prop_assert!(through);
        }
    }
}
