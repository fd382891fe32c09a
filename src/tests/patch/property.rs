//! Manifests in random styles with comments everywhere, rows that drift at random: once the patch is applied, nothing
//! has drifted any more, and every comment is still there.

use std::collections::BTreeSet;

use argus::model::kind::KindId;
use argus::model::kinds::{member, organization, team};
use argus::model::value::Value;
use proptest::prelude::*;

use super::{Case, records};

/// Decisions, one after the other; when they run out, always the first choice.
struct Dice<'a>(std::slice::Iter<'a, u8>);

impl Dice<'_> {
    fn below(&mut self, sides: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or_default()) % sides
    }

    fn pick<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        choices[self.below(choices.len())]
    }

    fn some<'c>(&mut self, choices: &[&'c str]) -> Vec<&'c str> {
        choices.iter().copied().filter(|_| self.below(2) == 1).collect()
    }
}

const USERS: &[&str] = &["a@acme.example", "b@acme.example", "c@acme.example", "d@acme.example"];
const ROLES: &[&str] = &["admin", "owner", "viewer"];
const TEAMS: &[&str] = &["blue", "green", "red"];
const DOMAINS: &[&str] = &["a.example", "b.example", "c.example", "d.example"];
const TEXTS: &[&str] = &["A", "with: colon", "12", "it's", "a # b", "no", "say \"x\"", "-", "one\ntwo\n", "ü 日本"];

/// A manifest that is being written.
struct Writer<'d, 'a> {
    dice: &'d mut Dice<'a>,
    text: String,
    comments: usize,
    /// The comments that must survive, each with the resource that it stands in.
    kept: Vec<(String, String)>,
    within: String,
}

impl Writer<'_, '_> {
    /// A comment in a line of its own.
    fn comment(&mut self, indent: usize) {
        if self.dice.below(4) == 1 {
            let comment = format!("# c{}.", self.comments);
            self.comments += 1;
            self.text.push_str(&format!("{}{comment}\n", " ".repeat(indent)));
            self.kept.push((comment, self.within.clone()));
        }
    }

    /// A line, perhaps with a comment behind it, which survives unless the line may go.
    fn line(&mut self, indent: usize, text: &str, may_go: bool) {
        self.text.push_str(&format!("{}{text}", " ".repeat(indent)));
        if self.dice.below(4) == 1 {
            let comment = format!("# t{}.", self.comments);
            self.comments += 1;
            self.text.push_str(&format!("  {comment}"));
            if !may_go {
                self.kept.push((comment, self.within.clone()));
            }
        }
        self.text.push('\n');
    }

    /// A text in one of the styles that YAML has.
    fn scalar(&mut self, indent: usize, key: &str) {
        let text = self.dice.pick(TEXTS);
        if text.contains('\n') {
            let style = self.dice.pick(&["|", "|-", ">-"]);
            self.line(indent, &format!("{key}: {style}"), false);
            self.text.push_str(&format!("{0}one\n{0}two\n", " ".repeat(indent + 2)));
            return;
        }
        let written = match self.dice.below(5) {
            0 => "null".to_owned(),
            1 => String::new(),
            2 => format!("'{}'", text.replace('\'', "''")),
            3 => format!("\"{}\"", text.replace('"', "\\\"")),
            _ => ["A", "plain words", "x-y"][self.dice.below(3)].to_owned(),
        };
        self.line(indent, format!("{key}: {written}").trim_end(), false);
    }

    fn set(&mut self, indent: usize, key: &str, items: &[&str]) {
        let items = self.dice.some(items);
        match self.dice.below(4) {
            0 if !items.is_empty() => {
                self.line(indent, &format!("{key}:"), false);
                let indent = indent + self.dice.pick(&["", "  "]).len();
                for item in items.iter().rev() {
                    self.comment(indent);
                    self.line(indent, &format!("- {item}"), true);
                }
            }
            1 if !items.is_empty() => {
                self.text.push_str(&format!("{}{key}: [\n", " ".repeat(indent)));
                for (at, item) in items.iter().enumerate() {
                    let comma = if at + 1 < items.len() || self.dice.below(2) == 0 { "," } else { "" };
                    self.line(indent + 2, &format!("{item}{comma}"), true);
                }
                self.line(indent, "]", false);
            }
            _ => self.line(indent, &format!("{key}: [{}]", items.join(", ")), false),
        }
    }

    fn map(&mut self, indent: usize, key: &str) {
        let keys = self.dice.some(&["dark.mode", "lines", "theme"]);
        match self.dice.below(3) {
            0 if !keys.is_empty() => {
                self.line(indent, &format!("{key}:"), true);
                for name in keys {
                    self.comment(indent + 2);
                    self.line(indent + 2, &format!("{name}: {}", self.dice.0.len()), true);
                }
            }
            _ => {
                let pairs: Vec<String> = keys.iter().map(|name| format!("{name}: x")).collect();
                self.line(indent, &format!("{key}: {{{}}}", pairs.join(", ")), true);
            }
        }
    }

    fn group(&mut self, indent: usize) {
        match self.dice.below(4) {
            0 => self.line(indent, "sso: null", false),
            1 => self.line(indent, "sso: {protocol: oidc, issuer: https://a.example}", false),
            _ => {
                self.line(indent, "sso:", false);
                self.comment(indent + 2);
                self.line(indent + 2, "issuer: https://a.example", false);
                self.line(indent + 2, "enforced: true", false);
            }
        }
    }

    fn role(&mut self) -> String {
        match self.dice.below(3) {
            0 => format!("role: {}", self.dice.pick(ROLES)),
            1 => format!("role: '{}'", self.dice.pick(ROLES)),
            _ => format!("roles: [{}]", self.dice.some(ROLES).join(", ")),
        }
    }

    /// The children of one kind: not named, in brackets, or in lines.
    fn children(&mut self, plural: &str, kind: &str, key: &str, names: &[&str]) {
        let names = self.dice.some(names);
        match self.dice.below(4) {
            0 => {}
            1 => {
                let member = |writer: &mut Self, name| match kind {
                    "Member" => format!("{{{key}: {name}, {}}}", writer.role()),
                    _ => format!("{{{key}: {name}, members: [{{user: a@acme.example, role: maintainer}}]}}"),
                };
                let items: Vec<String> = names.iter().map(|name| member(self, name)).collect();
                self.line(2, &format!("{plural}: [{}]", items.join(", ")), false);
            }
            _ if names.is_empty() => self.line(2, &format!("{plural}: []"), false),
            _ => {
                self.line(2, &format!("{plural}:"), false);
                let indent = 2 + self.dice.pick(&["", "  "]).len();
                for name in names {
                    self.comment(indent);
                    self.within = format!("{kind}/{name}");
                    self.line(indent, &format!("- {key}: {name}"), false);
                    self.comment(indent + 2);
                    self.fields_of(kind, indent + 2);
                    self.within.clear();
                }
            }
        }
    }

    fn fields_of(&mut self, kind: &str, indent: usize) {
        if kind == "Member" {
            let role = self.role();
            return self.line(indent, &role, false);
        }
        self.scalar(indent, "description");
        let users = self.dice.some(USERS);
        if users.is_empty() {
            return self.line(indent, "members: []", false);
        }
        self.line(indent, "members:", false);
        for user in users {
            self.comment(indent + 2);
            match self.dice.below(3) {
                0 => self.line(indent + 2, &format!("- {{user: {user}}}"), true),
                1 => self.line(indent + 2, &format!("- user: {user}"), true),
                _ => {
                    self.line(indent + 2, &format!("- user: {user}"), true);
                    self.line(indent + 4, "role: maintainer", true);
                }
            }
        }
    }

    fn manifest(&mut self) {
        self.comment(0);
        let mut named_only = Vec::new();
        self.text.push_str(
            "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {name: acme}\nspec:\n  requireMfa: true\n",
        );
        for part in 0..6 {
            if self.dice.below(3) == 0 {
                continue;
            }
            self.comment(2);
            match part {
                0 => self.scalar(2, "description"),
                1 => self.set(2, "allowedEmailDomains", DOMAINS),
                2 => self.map(2, "settings"),
                3 => self.group(2),
                4 => self.children("members", "Member", "user", USERS),
                _ => self.children("teams", "Team", "name", TEAMS),
            }
        }
        if !self.text.contains("\n  teams:") && self.dice.below(2) == 1 {
            self.line(2, "authoritative: [teams]", false);
            named_only = self.dice.some(TEAMS);
        }
        self.comment(2);
        for name in named_only {
            self.text.push_str("---\n");
            self.within = format!("Team/{name}");
            self.comment(0);
            self.text
                .push_str(&format!("apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata: {{name: {name}}}\nspec:\n"));
            self.line(2, "organization: acme", false);
            self.fields_of("Team", 2);
            self.within.clear();
        }
    }
}

/// A manifest of one organization that these decisions make, with comments wherever they may stand.
pub fn manifest(decisions: &[u8]) -> String {
    let mut dice = Dice(decisions.iter());
    let mut writer =
        Writer { dice: &mut dice, text: String::new(), comments: 0, kept: Vec::new(), within: String::new() };
    writer.manifest();
    writer.text
}

/// Rows that have moved: some are gone, some fields differ, some rows have come.
fn drift(case: &mut Case, dice: &mut Dice<'_>) -> BTreeSet<String> {
    let mut gone = BTreeSet::new();
    let text = |text: &str| Value::text(text).to_string();
    let set = |items: Vec<&str>| Value::set(items).to_string();
    let live = &case.live["acme"];
    let known: Vec<(KindId, String)> = live.rows.keys().map(|(kind, name)| (*kind, name.to_string())).collect();
    for (kind, name) in &known {
        let id = format!("acme/{kind}/{name}");
        let mut change = |dice: &mut Dice<'_>, path: &str, value: String| {
            if dice.below(2) == 1 {
                case.drift(&format!("{id} {path} = {value}"));
            }
        };
        if kind.is(&organization::KIND) {
            let value = [text(dice.pick(TEXTS)), "null".into()][dice.below(2)].clone();
            change(dice, "description", value);
            let domains = set(dice.some(DOMAINS));
            change(dice, "allowedEmailDomains", domains);
            change(dice, "requireMfa", "false".into());
            change(dice, "sso.issuer", "\"https://b.example\"".into());
            let keys = dice.some(&["dark.mode", "lines", "theme", "new key"]);
            let pairs = keys.iter().map(|key| (*key, [Value::text("no"), Value::Int(7)][dice.below(2)].clone()));
            let map = Value::map(pairs.collect::<Vec<_>>()).to_string();
            change(dice, "settings", map);
        } else if dice.below(4) == 0 {
            case.drift(&format!("{id} gone"));
            gone.insert(format!("{kind}/{name}"));
        } else if kind.is(&member::KIND) {
            let roles = set(dice.some(ROLES));
            change(dice, "roles", roles);
            change(dice, "status", "\"suspended\"".into());
        } else if kind.is(&team::KIND) {
            let value = text(dice.pick(TEXTS));
            change(dice, "description", value);
            let records = dice.some(USERS).into_iter().map(|user| {
                let role = ["maintainer", "member"][user.len() % 2];
                Value::map([("user", Value::text(user)), ("role", Value::text(role))])
            });
            let records = Value::List(records.collect()).to_string();
            change(dice, "members", records);
        }
    }
    for (kind, names) in [("Member", USERS), ("Team", TEAMS)] {
        for name in names {
            if dice.below(3) == 1 && !known.iter().any(|(k, n)| k.to_string() == kind && n == name) {
                let spec = if kind == "Member" { r#"{"roles": ["admin"]}"# } else { r#"{"description": "new: one"}"# };
                case.drift(&format!("acme/{kind}/{name} new {spec}"));
            }
        }
    }
    gone
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_adopted_has_not_drifted_and_no_comment_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut dice = Dice(bytes.iter());
        let mut writer = Writer { dice: &mut dice, text: String::new(), comments: 0, kept: Vec::new(), within: String::new() };
        writer.manifest();
        let (mut text, kept) = (writer.text, writer.kept);
        if dice.below(4) == 1 {
            text = text.trim_end_matches('\n').to_owned();
        }
        if dice.below(4) == 1 {
            text = text.replace('\n', "\r\n");
        }
        let mut case = Case::applied(&[("acme.yaml", &text)]);
        let gone = drift(&mut case, &mut dice);
        let before = case.plan(&case.read());
        let findings = case.adopt();
        let after = case.text("acme.yaml").unwrap_or_default();
        prop_assert!(findings.is_empty(), "{:#?}\n{}\n{:#?}", findings, text, before.organizations);
        case.assert_adopted();
        case.applied = records(&case.read());
        let plan = case.plan(&case.read());
        prop_assert!(plan.organizations.iter().all(|each| each.changes.is_empty()), "{:#?}", plan.organizations);
        for (comment, within) in kept {
            prop_assert!(gone.contains(&within) || after.contains(&comment), "{} is lost\n{}\n{}", comment, text, after);
        }
        // What has not drifted at all is not touched at all.
        if !before.has_drift() {
            prop_assert_eq!(&text, &after);
        }
        if text.contains("\r\n") {
            prop_assert!(after.split('\n').rev().skip(1).all(|line| line.ends_with('\r')), "{:?}", after);
        }
    }
}
