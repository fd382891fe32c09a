//! METADATA: what a comment above a rule says of it, in YAML, as OPA reads it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml::Value as Yaml;

use super::scan::Comment;
use crate::approval::Need;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};
use crate::model::suggest;
use crate::policy::PolicyFile;
use crate::policy::rule::{Metadata, Weight};

/// What a block may say, as OPA knows it.
const KNOWN: &[&str] = &[
    "scope",
    "title",
    "description",
    "related_resources",
    "authors",
    "organizations",
    "schemas",
    "entrypoint",
    "custom",
    "compile",
];

/// What Argus knows below `custom`. Other words are the policies' own affair.
const KNOWN_CUSTOM: &[&str] = &["id", "severity", "remediation", "approvals"];

/// The words for how much a rule matters.
const WEIGHTS: &[(&str, Weight)] =
    &[("low", Weight::Low), ("medium", Weight::Medium), ("high", Weight::High), ("critical", Weight::Critical)];

/// What a block is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The clause below it.
    Rule,
    /// All clauses of the rule below it.
    Document,
    /// The package.
    Package,
    /// The package and those below it.
    Subpackages,
}

/// A block, as it was read.
#[derive(Debug)]
pub struct Block {
    /// The line after its last.
    pub end: u32,
    /// What it is about, if it says so.
    pub scope: Option<Scope>,
    /// What it says.
    pub metadata: Metadata,
}

/// What blocks a file holds and what is wrong with them: errors, and flaws.
pub fn blocks(file: &PolicyFile, comments: &[Comment]) -> (Vec<Block>, Vec<Finding>, Vec<Finding>) {
    let (mut blocks, mut errors, mut flaws) = (Vec::new(), Vec::new(), Vec::new());
    for (at, comment) in comments.iter().enumerate().filter(|(_, comment)| comment.text.trim() == "METADATA") {
        let follows = |(number, next): &(u32, &Comment)| next.line == comment.line + number;
        let lines = (1..).zip(&comments[at + 1..]).take_while(follows);
        let text: String =
            lines.clone().map(|(_, line)| format!("{}\n", line.text.strip_prefix(' ').unwrap_or(&line.text))).collect();
        let end = comment.line + 1 + u32::try_from(lines.count()).unwrap_or(u32::MAX);
        let place = |line: u32| Origin::new(&file.path, Position::new(line, 1));
        match read(&text) {
            Ok((scope, metadata, odd)) => {
                blocks.push(Block { end, scope, metadata });
                let flaw = |(message, hint): (String, String)| {
                    Finding::warning(Code::PolicyFlaw, message).at(place(comment.line)).hint(hint)
                };
                flaws.extend(odd.into_iter().map(flaw));
            }
            Err(Fault { line, message, hint }) => {
                // A mistake at the end is told of the line behind it.
                let line = (comment.line + line).min(end - 1);
                errors.push(Finding::error(Code::BadPolicy, message).at(place(line)).hint(hint));
            }
        }
    }
    (blocks, errors, flaws)
}

/// What is wrong with a block: in which of its lines (0 is the one that says METADATA), what, and what to do.
struct Fault {
    line: u32,
    message: String,
    hint: String,
}

type Odd = Vec<(String, String)>;

fn fault(message: impl Into<String>, hint: impl Into<String>) -> Fault {
    Fault { line: 0, message: message.into(), hint: hint.into() }
}

fn read(text: &str) -> Result<(Option<Scope>, Metadata, Odd), Fault> {
    let broken = |error: serde_yaml::Error| {
        let line = error.location().map_or(0, |place| u32::try_from(place.line()).unwrap_or_default());
        let hint = "METADATA is YAML: `# title: ...`, `# custom:`, `#   severity: high`";
        Fault { line, message: format!("this METADATA cannot be read: {error}"), hint: hint.into() }
    };
    let mut all: BTreeMap<String, Yaml> = match text.trim() {
        "" => BTreeMap::new(),
        _ => serde_yaml::from_str(text).map_err(broken)?,
    };
    let mut odd = Odd::new();
    for word in all.keys().filter(|word| !KNOWN.contains(&word.as_str())) {
        let hint = match KNOWN_CUSTOM.contains(&word.as_str()) {
            true => format!("write it below `custom`: `# custom:`, `#   {word}: ...`"),
            false => near(word, KNOWN),
        };
        odd.push((format!("METADATA knows no `{word}`"), hint));
    }
    let scope = match all.remove("scope") {
        None => None,
        Some(scope) => Some(serde_yaml::from_value(scope).map_err(|_| {
            fault("the scope of this METADATA is none", "it is rule, document, package or subpackages")
        })?),
    };
    let title = text_of(all.remove("title"), "title")?;
    let description = text_of(all.remove("description"), "description")?;
    let mut custom: BTreeMap<String, Yaml> = match all.remove("custom") {
        None | Some(Yaml::Null) => BTreeMap::new(),
        Some(custom) => serde_yaml::from_value(custom)
            .map_err(|_| fault("`custom` of this METADATA holds no names with values", "`# custom:`, `#   id: ...`"))?,
    };
    for word in custom.keys().filter(|word| !KNOWN_CUSTOM.contains(&word.as_str())) {
        if let Some(near) = suggest::nearest(word, KNOWN_CUSTOM.iter().copied()) {
            odd.push((format!("`custom.{word}` of this METADATA says nothing"), format!("did you mean `{near}`?")));
        }
    }
    let id = text_of(custom.remove("id"), "custom.id")?;
    if let Some(id) = id.as_ref().filter(|id| !is_id(id)) {
        let hint = "an id has up to 100 letters, digits, `-`, `_` and `.`";
        return Err(fault(format!("`{}` is no id of a rule", id.chars().take(100).collect::<String>()), hint));
    }
    let severity = text_of(custom.remove("severity"), "custom.severity")?.map(|word| weight(&word)).transpose()?;
    let remediation = text_of(custom.remove("remediation"), "custom.remediation")?;
    let approvals = custom.remove("approvals").map(need).transpose()?;
    Ok((scope, Metadata { id, severity, title, description, remediation, approvals }, odd))
}

fn near(word: &str, known: &[&str]) -> String {
    match suggest::nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it knows {}", known.join(", ")),
    }
}

fn text_of(value: Option<Yaml>, name: &str) -> Result<Option<String>, Fault> {
    match value {
        None | Some(Yaml::Null) => Ok(None),
        Some(Yaml::String(text)) => Ok(Some(text.trim().to_owned())),
        Some(_) => Err(fault(format!("`{name}` of this METADATA is no text"), "put it into quotes")),
    }
}

fn is_id(id: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !id.is_empty() && id.len() <= 100 && id.chars().all(fits)
}

fn weight(word: &str) -> Result<Weight, Fault> {
    let known = WEIGHTS.iter().map(|(known, _)| *known);
    WEIGHTS.iter().find(|(known, _)| *known == word).map(|(_, weight)| *weight).ok_or_else(|| {
        let hint = match suggest::nearest(word, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "it is low, medium, high or critical".into(),
        };
        fault(format!("`{}` is no severity", word.chars().take(100).collect::<String>()), hint)
    })
}

fn need(approvals: Yaml) -> Result<Need, Fault> {
    let hint = "`# custom:`, `#   approvals:`, `#     quorum: 2`, `#     groups: [security]`";
    let need: Need = serde_yaml::from_value(approvals)
        .map_err(|error| fault(format!("`custom.approvals` of this METADATA cannot be read: {error}"), hint))?;
    match need.fault() {
        Some(wrong) => Err(fault(format!("`custom.approvals` of this METADATA cannot be met: {wrong}"), hint)),
        None => Ok(need),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::scan;
    use super::*;

    fn read(text: &str) -> (Vec<Block>, Vec<String>, Vec<String>) {
        let file = PolicyFile { path: "a.rego".into(), text: text.into() };
        let (blocks, errors, flaws) = blocks(&file, &scan(&file).expect("comments"));
        let said = |findings: Vec<Finding>| {
            let said = |finding: Finding| {
                let line = finding.origin.map_or(0, |origin| origin.line);
                format!("{line}: {} ({})", finding.message, finding.hint.unwrap_or_default())
            };
            findings.into_iter().map(said).collect()
        };
        (blocks, said(errors), said(flaws))
    }

    #[test]
    fn everything_that_argus_knows_is_read() {
        let text = "\
package a
# Not part of it.

# METADATA
# title: No wildcards
# description: |
#   Nobody may do everything.
# related_resources:
# - https://example.com
# custom:
#   id: no-wildcards
#   severity: critical
#   remediation: Name the permissions.
#   approvals: {quorum: 2, groups: [security]}
#   team: platform
deny contains 1
";
        let (blocks, errors, flaws) = read(text);
        assert_eq!((errors, flaws), (vec![], vec![]));
        let [Block { end: 16, scope: None, metadata }] = blocks.as_slice() else { panic!("{blocks:?}") };
        let expected = Metadata {
            id: Some("no-wildcards".into()),
            severity: Some(Weight::Critical),
            title: Some("No wildcards".into()),
            description: Some("Nobody may do everything.".into()),
            remediation: Some("Name the permissions.".into()),
            approvals: Some(Need { quorum: 2, groups: ["security".to_owned()].into() }),
        };
        assert_eq!(*metadata, expected);
    }

    #[test]
    fn what_is_broken_is_an_error_at_its_line() {
        let errors = |text: &str| read(text).1;
        let found = errors("# METADATA\n# title: a\n#  b: [\ndeny");
        assert!(found.len() == 1 && found[0].contains("cannot be read"), "{found:?}");
        assert_eq!(
            errors("\n# METADATA\n# custom:\n#   severity: hihg"),
            ["2: `hihg` is no severity (did you mean `high`?)"]
        );
        assert_eq!(errors("# METADATA\n# title: 3"), ["1: `title` of this METADATA is no text (put it into quotes)"]);
        assert!(errors("# METADATA\n# scope: rules")[0].contains("the scope of this METADATA is none"));
        assert!(errors("# METADATA\n# custom:\n#   approvals: {quorum: 0}")[0].contains("a quorum of 0 would"));
        assert!(errors("# METADATA\n# custom:\n#   approvals: {quorum: 101}")[0].contains("a quorum of 101"));
        assert!(errors("# METADATA\n# custom:\n#   approvals: {people: 2}")[0].contains("unknown field"));
        assert!(errors("# METADATA\n# custom:\n#   id: a b")[0].contains("`a b` is no id"));
    }

    #[test]
    fn words_that_say_nothing_are_flaws() {
        assert_eq!(
            read("# METADATA\n# severity: high\n# tilte: a\n# custom:\n#   severty: high\n#   owner: me").2,
            [
                "1: METADATA knows no `severity` (write it below `custom`: `# custom:`, `#   severity: ...`)",
                "1: METADATA knows no `tilte` (did you mean `title`?)",
                "1: `custom.severty` of this METADATA says nothing (did you mean `severity`?)",
            ]
        );
    }
}
