//! Config repos of any size: 100 resources per organization, one file each, the same bytes for the same seed.
//!
//! An organization depends on the seed and on its own number only, so that a larger repo holds the smaller one.
//! `Removal` does not occur: it is no state, and each would be reported by every plan as done. Everything is as the
//! policies that ship want it, today and in ten years: what is measured is what a good repo costs.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// How many resources each organization has, itself included.
pub const RESOURCES_PER_ORGANIZATION: usize = 100;

const ROLES: usize = 2;
const MEMBERS: usize = 40;
const TEAMS: usize = 6;
const PROJECTS: usize = 8;
const SERVICE_ACCOUNTS: usize = 12;
const API_KEYS: usize = 18;
const CHANNELS: usize = 2;
const RULES: usize = 3;
const BUDGETS: usize = 8;
const _: () = assert!(
    1 + ROLES + MEMBERS + TEAMS + PROJECTS + SERVICE_ACCOUNTS + API_KEYS + CHANNELS + RULES + BUDGETS
        == RESOURCES_PER_ORGANIZATION
);

/// The catalogue that the organizations choose from.
pub const TIERS: &str = include_str!("../../examples/tiers/free-team-enterprise.yaml");

const FIRST_NAMES: &[&str] = &[
    "ada",
    "alan",
    "barbara",
    "claude",
    "donald",
    "edsger",
    "frances",
    "grace",
    "hedy",
    "ivan",
    "jean",
    "katherine",
    "leslie",
    "margaret",
    "niklaus",
    "ole",
    "peter",
    "radia",
    "shafi",
    "tony",
];
const LAST_NAMES: &[&str] = &[
    "allen",
    "backus",
    "chen",
    "dijkstra",
    "eich",
    "floyd",
    "goldwasser",
    "hopper",
    "iverson",
    "johnson",
    "knuth",
    "lamport",
    "moore",
    "naur",
    "perlman",
    "ritchie",
    "sutherland",
    "turing",
    "wing",
    "yao",
];
const AREAS: &[&str] =
    &["search", "billing", "support", "catalog", "forecast", "routing", "archive", "portal", "vision", "speech"];
const VERBS: &[&str] = &["indexer", "deployer", "importer", "watcher", "reporter", "planner"];

/// A small generator of numbers (SplitMix64): the same on every machine and in every year.
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64, stream: usize) -> Self {
        Numbers(seed.wrapping_mul(0xA076_1D64_78BD_642F) ^ (stream as u64).wrapping_mul(0xE703_7ED1_A0B4_28DB))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// How many organizations make this many resources; the last one fills up.
pub fn organizations_for(resources: usize) -> usize {
    resources.div_ceil(RESOURCES_PER_ORGANIZATION)
}

/// The name of the organization of this number.
pub fn organization_name(index: usize) -> String {
    format!("org-{index:05}")
}

/// The file of the organization of this number, relative to the root of the repo.
pub fn organization_file(index: usize) -> String {
    format!("organizations/{}.yaml", organization_name(index))
}

/// Writes a repo into an empty or new folder and returns the number of organizations.
pub fn write(folder: &Path, resources: usize, seed: u64) -> io::Result<usize> {
    std::fs::create_dir_all(folder.join("organizations"))?;
    std::fs::write(folder.join("argus.yaml"), "source: generated\n")?;
    std::fs::write(folder.join("tiers.yaml"), TIERS)?;
    let organizations = organizations_for(resources);
    for index in 0..organizations {
        std::fs::write(folder.join(organization_file(index)), organization(seed, index))?;
    }
    Ok(organizations)
}

/// The manifest of one organization with everything in it.
pub fn organization(seed: u64, index: usize) -> String {
    let mut text = String::with_capacity(24 * 1024);
    // Writing to a string cannot fail.
    let _ = write_organization(&mut text, &mut Numbers::new(seed, index), &organization_name(index));
    text
}

fn write_organization(out: &mut String, numbers: &mut Numbers, name: &str) -> std::fmt::Result {
    let area = numbers.one_of(AREAS);
    let tier = numbers.one_of(&["team", "team", "team", "enterprise"]);
    let region = numbers.one_of(&["eu", "us", "ap"]);
    write!(
        out,
        "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata:\n  name: {name}\nspec:\n  displayName: {area} of \
         {name}\n  description: |\n    Does {area}.\n    Has its home in {region}.\n  tier: {tier}\n  billingEmail: \
         billing@{name}.example\n  allowedEmailDomains: [{name}.example, consulting.example]\n  requireMfa: true\n  \
         dataRetentionDays: {days}\n  settings:\n    defaultModel: medium\n    streaming: true\n  labels:\n    region: \
         {region}\n    costCenter: \"{cost}\"\n",
        days = 30 * (1 + numbers.below(24)),
        cost = 1_000 + numbers.below(9_000),
    )?;
    write_roles(out)?;
    let members = write_members(out, numbers, name)?;
    let teams = write_teams(out, numbers, &members)?;
    let projects = write_projects(out, numbers, &members, &teams)?;
    let accounts = write_service_accounts(out, numbers)?;
    write_api_keys(out, numbers, &members, &accounts)?;
    write_notifications(out, name)?;
    write_budgets(out, numbers, &projects, &teams)
}

fn write_roles(out: &mut String) -> std::fmt::Result {
    out.write_str(
        "  roles:\n    - name: auditor\n      description: Reads everything, changes nothing.\n      permissions: \
         [\"audit:read\", \"members:read\", \"projects:read\"]\n    - name: releaser\n      scope: project\n      \
         permissions: [\"project:read\", \"project:use\", \"project:release\"]\n",
    )
}

fn write_members(out: &mut String, numbers: &mut Numbers, name: &str) -> Result<Vec<String>, std::fmt::Error> {
    out.write_str("  members:\n")?;
    let mut members = Vec::with_capacity(MEMBERS);
    for number in 0..MEMBERS {
        // One of each organization's members advises others as well: people are shared, memberships are not.
        let user = if number + 1 == MEMBERS {
            format!("advisor.{:02}@consulting.example", numbers.below(50))
        } else {
            format!("{}.{}.{number:02}@{name}.example", numbers.one_of(FIRST_NAMES), numbers.one_of(LAST_NAMES))
        };
        let role = match number {
            0 | 1 => "owner",
            2..=5 => "admin",
            6 => "billing_admin",
            7 => "auditor",
            _ => numbers.one_of(&["member", "member", "member", "viewer"]),
        };
        writeln!(out, "    - user: {user}\n      role: {role}")?;
        if number + 1 == MEMBERS {
            writeln!(out, "      expiresAt: 2035-{:02}-01T00:00:00Z", 1 + numbers.below(12))?;
        }
        members.push(user);
    }
    Ok(members)
}

/// Different members, by a step through the list that has no common divisor with its length.
fn some_members<'a>(numbers: &mut Numbers, members: &'a [String], count: usize) -> Vec<&'a str> {
    let start = numbers.below(members.len());
    (0..count).map(|step| members[(start + 7 * step) % members.len()].as_str()).collect()
}

fn write_teams(out: &mut String, numbers: &mut Numbers, members: &[String]) -> Result<Vec<String>, std::fmt::Error> {
    out.write_str("  teams:\n")?;
    let mut teams: Vec<String> = Vec::with_capacity(TEAMS);
    for number in 0..TEAMS {
        let team = format!("{}-{number}", numbers.one_of(AREAS));
        writeln!(out, "    - name: {team}\n      displayName: Team {number}")?;
        if number > 0 {
            // A parent stands before its children, so there is no cycle.
            writeln!(out, "      parent: {}", teams[numbers.below(number)])?;
        }
        out.write_str("      members:\n")?;
        for (place, user) in some_members(numbers, members, 8).into_iter().enumerate() {
            writeln!(out, "        - user: {user}")?;
            if place == 0 {
                writeln!(out, "          role: maintainer")?;
            }
        }
        teams.push(team);
    }
    Ok(teams)
}

fn write_projects(
    out: &mut String,
    numbers: &mut Numbers,
    members: &[String],
    teams: &[String],
) -> Result<Vec<String>, std::fmt::Error> {
    out.write_str("  projects:\n")?;
    let mut projects = Vec::with_capacity(PROJECTS);
    for number in 0..PROJECTS {
        let area = numbers.one_of(AREAS);
        let project = format!("{area}-{number}");
        writeln!(
            out,
            "    - name: {project}\n      displayName: Project {number}\n      description: Where {area} happens.\n      \
             quotas:\n        requestsPerMinute: {}\n        tokensPerMonth: {}\n        apiKeys: 5\n      members:",
            10 * (1 + numbers.below(6)),
            1_000_000 * (1 + numbers.below(5)),
        )?;
        for user in some_members(numbers, members, 3) {
            let role = numbers.one_of(&["maintainer", "developer", "viewer", "releaser"]);
            writeln!(out, "        - user: {user}\n          role: {role}")?;
        }
        writeln!(out, "      teams:\n        - team: {}\n          role: developer", teams[numbers.below(TEAMS)])?;
        projects.push(project);
    }
    Ok(projects)
}

fn write_service_accounts(out: &mut String, numbers: &mut Numbers) -> Result<Vec<String>, std::fmt::Error> {
    out.write_str("  serviceAccounts:\n")?;
    let mut accounts = Vec::with_capacity(SERVICE_ACCOUNTS);
    for number in 0..SERVICE_ACCOUNTS {
        let account = format!("{}-{number:02}", numbers.one_of(VERBS));
        writeln!(
            out,
            "    - name: {account}\n      displayName: Account {number}\n      roles: [{}]",
            numbers.one_of(&["member", "viewer", "viewer, auditor"]),
        )?;
        accounts.push(account);
    }
    Ok(accounts)
}

fn write_api_keys(
    out: &mut String,
    numbers: &mut Numbers,
    members: &[String],
    accounts: &[String],
) -> std::fmt::Result {
    out.write_str("  apiKeys:\n")?;
    for number in 0..API_KEYS {
        writeln!(out, "    - name: key-{number:02}\n      owner:")?;
        match number % 6 {
            0 => writeln!(out, "        user: {}\n      scopes: [read]\n      ttl: 30d", members[number])?,
            1 => writeln!(
                out,
                "        serviceAccount: {}\n      scopes: [read, write]\n      ttl: 90d\n      rotation:\n        \
                 schedule: \"{} 3 1 * *\"\n        overlap: 48h\n      deliverTo:\n        secret:\n          namespace: \
                 keys\n          name: key-{number:02}\n          key: token",
                accounts[number % SERVICE_ACCOUNTS],
                numbers.below(60),
            )?,
            _ => writeln!(
                out,
                "        serviceAccount: {}\n      scopes: [\"projects:read\", \"keys:read\"]\n      ttl: {}d",
                accounts[number % SERVICE_ACCOUNTS],
                30 * (1 + numbers.below(12)),
            )?,
        }
    }
    Ok(())
}

fn write_notifications(out: &mut String, name: &str) -> std::fmt::Result {
    write!(
        out,
        "  notificationChannels:\n    - name: mail\n      type: email\n      config:\n        addresses: [ops@{name}.example, \
         billing@{name}.example]\n      rateLimitPerHour: 60\n    - name: chat\n      type: slack\n      config:\n        \
         secretRef:\n          name: chat-hooks\n          key: ops\n  notificationRules:\n    - name: money\n      channel: \
         mail\n      events: [\"budget.*\"]\n      priority: high\n      cooldown: 1h\n    - name: drift\n      channel: \
         chat\n      events: [drift.detected, drift.corrected]\n      conditions:\n        - field: severity\n          \
         operator: notEquals\n          value: note\n    - name: keys\n      channel: chat\n      events: [\"key.*\"]\n      \
         template: |\n        {{{{ subject }}}} was rotated.\n"
    )
}

fn write_budgets(out: &mut String, numbers: &mut Numbers, projects: &[String], teams: &[String]) -> std::fmt::Result {
    writeln!(
        out,
        "  budgets:\n    - name: monthly\n      period: monthly\n      limit: {} USD\n      warnAt: [50, 80, 95]\n      \
         onLimit: block\n      override:\n        roles: [owner]\n        approvals: 1\n        cap: 5000 USD\n      notify: \
         [mail, chat]",
        2_000 + 100 * numbers.below(20),
    )?;
    for number in 1..BUDGETS {
        let (kind, subject) = match number % 2 {
            0 => ("team", &teams[number % TEAMS]),
            _ => ("project", &projects[number % PROJECTS]),
        };
        writeln!(
            out,
            "    - name: budget-{number}\n      subject:\n        {kind}: {subject}\n      period: monthly\n      limit: \
             {}.50 USD\n      warnAt: [80]\n      onLimit: {}\n      notify: [mail]",
            50 + numbers.below(200),
            numbers.one_of(&["block", "queue", "warn"]),
        )?;
    }
    Ok(())
}
