//! The guards: what a plan must not do unless a person says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::plan::{Action, Count, OrganizationPlan};

/// How much of one dimension may go at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Share {
    /// The largest share, in percent.
    pub percent: u8,
    /// The largest number; none does not limit.
    pub number: Option<u64>,
    /// So many may always go, however large a share of a small organization they are.
    pub always: u64,
}

impl Default for Share {
    fn default() -> Self {
        Share { percent: 25, number: None, always: 1 }
    }
}

impl Share {
    fn trips(self, count: &Count) -> bool {
        let share = u128::from(count.removed) * 100 > u128::from(count.before) * u128::from(self.percent);
        let number = self.number.is_some_and(|number| count.removed > number);
        (share && count.removed > self.always) || number
    }
}

/// The settings of the guards; all are on by default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Guards {
    /// Members of the organization that go or are suspended.
    pub members: Share,
    /// Members of each team.
    pub team_members: Share,
    /// Owners and admins.
    pub admins: Share,
    /// Roles that are taken away.
    pub role_grants: Share,
    /// Keys that are revoked.
    pub api_keys: Share,
    /// Budgets that go or become smaller.
    pub budgets: Share,
    /// How many owners must stay at least.
    pub owners: u64,
    /// Whether the last person who could undo a change must stay.
    pub last_human: bool,
    /// Whether a source may not empty itself.
    pub empty_source: bool,
}

impl Default for Guards {
    fn default() -> Self {
        let share = Share::default();
        Guards {
            members: share,
            team_members: share,
            admins: Share { percent: 50, ..share },
            role_grants: share,
            api_keys: share,
            budgets: share,
            owners: 1,
            last_human: true,
            empty_source: true,
        }
    }
}

/// Everything that holds the plan of one organization: what the comparison found, and the guards that trip.
pub fn holds(plan: &OrganizationPlan, guards: &Guards) -> Vec<Finding> {
    let mut holds = plan.holds.clone();
    // An organization that goes as a whole is judged as that, not by each of its parts.
    let goes = plan
        .changes
        .iter()
        .any(|change| change.action == Action::Delete && change.kind.get().scope == crate::model::kind::Scope::Root);
    if !goes {
        let trips = plan.counts.iter().filter_map(|count| tripped(count, guards));
        holds.extend(trips.map(|finding| finding.about(&plan.organization)));
    }
    holds
}

fn tripped(count: &Count, guards: &Guards) -> Option<Finding> {
    let (share, code, what, setting) = match count.dimension.as_str() {
        "members" => (guards.members, Code::MembersRemoved, "members lose their access", "members"),
        "teamMembers" => (guards.team_members, Code::TeamMembersRemoved, "members of a team go", "teamMembers"),
        "admins" => (guards.admins, Code::AdminsRemoved, "owners and admins go", "admins"),
        "roleGrants" => (guards.role_grants, Code::GrantsRemoved, "roles are taken away", "roleGrants"),
        "apiKeys" => (guards.api_keys, Code::KeysRevoked, "API keys are revoked", "apiKeys"),
        "budgets" => (guards.budgets, Code::BudgetsCut, "budgets go or become smaller", "budgets"),
        "owners" => return too_few_owners(count, guards),
        "reverters" => return last_human(count, guards),
        _ => return None,
    };
    share.trips(count).then(|| {
        let part = if count.part.is_empty() { String::new() } else { format!(" (`{}`)", count.part) };
        let percent = count.removed * 100 / count.before.max(1);
        let message = format!("{} of {} {what}{part}: {percent} %", count.removed, count.before);
        let hint = format!(
            "if this is meant, let somebody approve it, raise `guards.{setting}` in argus.yaml or apply with --force"
        );
        Finding::warning(code, message).hint(hint)
    })
}

fn too_few_owners(count: &Count, guards: &Guards) -> Option<Finding> {
    // An organization that never had so many is not made worse by a change that takes none away.
    (count.removed > 0 && count.after < guards.owners).then(|| {
        let message =
            format!("{} of {} owners would stay, and at least {} must", count.after, count.before, guards.owners);
        Finding::warning(Code::TooFewOwners, message).hint(
            "make somebody else an owner in the same change, let somebody approve it, or lower `guards.owners` in \
                 argus.yaml",
        )
    })
}

fn last_human(count: &Count, guards: &Guards) -> Option<Finding> {
    (guards.last_human && count.before > 0 && count.after == 0).then(|| {
        Finding::warning(Code::LastHuman, "nobody would be left who may manage members, and so undo this")
            .hint("leave at least one active owner or admin, or let somebody approve it")
    })
}

/// What a hold that no policy asks for is called, for those who count them: the guard, as the settings of the source call
/// it, or what the comparison looks for.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::MembersRemoved => "members",
        Code::TeamMembersRemoved => "teamMembers",
        Code::AdminsRemoved => "admins",
        Code::GrantsRemoved => "roleGrants",
        Code::KeysRevoked => "apiKeys",
        Code::BudgetsCut => "budgets",
        Code::TooFewOwners => "owners",
        Code::LastHuman => "lastHuman",
        Code::EmptySource => "emptySource",
        Code::Protected => "protected",
        Code::LooksLikeRename => "renames",
        Code::Rewound => "rewound",
        _ => "other",
    }
}

/// The finding that holds a source which would empty itself.
pub fn empty_source(source: &str, owned: usize) -> Finding {
    Finding::warning(
        Code::EmptySource,
        format!(
            "the source `{source}` owns {owned} {} and declares none: it would empty itself",
            if owned == 1 { "organization" } else { "organizations" }
        ),
    )
    .hint(
        "check the path and the branch; if this is meant, let somebody approve it, or set `guards.emptySource: false` in \
         argus.yaml",
    )
}
