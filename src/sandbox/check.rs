//! What is wrong with policies before they judge anything.

use std::io;

use regorus::Engine;
use regorus::unstable::{Expr, Module, Rule as Clause, RuleHead};

use super::messages::Loaded;
use super::test::{TestName, is_test};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};
use crate::policy::PolicyFile;
use crate::policy::input::Parts;
use crate::policy::rule::{Metadata, Rule, Sort};

/// Loads all files and says what is wrong with them; `told` hears the number of each before it is read.
pub fn check(
    files: &[PolicyFile],
    told: &mut dyn FnMut(u32) -> io::Result<()>,
) -> io::Result<Result<(Engine, Loaded), Vec<Finding>>> {
    for (number, _) in files.iter().enumerate() {
        told(u32::try_from(number).unwrap_or(u32::MAX))?;
    }
    let mut all = match engine(files.iter()) {
        Ok(all) => all,
        Err(findings) => return Ok(Err(findings)),
    };
    let mut loaded = Loaded { parts: Parts::ALL, ..Loaded::default() };
    for module in all.get_modules() {
        collect(module, &mut loaded);
    }
    loaded.rules.sort_by(|a, b| (&a.package, &a.name, a.line).cmp(&(&b.package, &b.name, b.line)));
    loaded.rules.dedup_by(|a, b| a.package == b.package && a.name == b.name);
    loaded.tests.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    let engine = engine(files.iter().filter(|file| !file.is_test()));
    Ok(engine.map(|engine| (engine, loaded)))
}

fn collect(module: &Module, loaded: &mut Loaded) {
    let package = components(&module.package.refr);
    let file = module.package.span.source.file().as_str();
    let in_test = file.ends_with("_test.rego");
    for rule in &module.policy {
        let (head, partial) = match rule.as_ref() {
            Clause::Spec { head: RuleHead::Set { refr, .. }, .. } => (refr, true),
            Clause::Spec { head: RuleHead::Compr { refr, .. }, .. } => (refr, false),
            Clause::Default { refr, args, .. } if args.is_empty() => (refr, false),
            Clause::Spec { .. } | Clause::Default { .. } => continue,
        };
        let Expr::Var { span, .. } = head.as_ref() else { continue };
        let (name, line) = (span.text().to_owned(), rule.span().line);
        if in_test && is_test(&name) {
            let path = path_of(package.iter().chain([&name]));
            loaded.tests.push(TestName { package: package.join("."), name, path, file: file.into(), line });
        } else if !in_test && let Some(sort) = Sort::of(&name) {
            let package = package.join(".");
            loaded.rules.push(Rule {
                package,
                name,
                sort,
                partial,
                file: file.into(),
                line,
                metadata: Metadata::default(),
            });
        }
    }
}

fn components(refr: &Expr) -> Vec<String> {
    match refr {
        Expr::Var { span, .. } => vec![span.text().to_owned()],
        Expr::RefDot { refr, field, .. } => {
            let mut path = components(refr);
            path.push(field.0.text().to_owned());
            path
        }
        Expr::RefBrack { refr, index, .. } => {
            let mut path = components(refr);
            if let Expr::String { value, .. } = index.as_ref() {
                path.push(value.as_string().map(|text| text.to_string()).unwrap_or_default());
            }
            path
        }
        _ => Vec::new(),
    }
}

/// What the engine calls a rule.
pub fn path(rule: &Rule) -> String {
    path_of(rule.package.split('.').chain([rule.name.as_str()]))
}

fn path_of(parts: impl Iterator<Item = impl AsRef<str>>) -> String {
    parts.fold("data".to_owned(), |path, part| format!("{path}.{}", part.as_ref()))
}

/// An engine with these files.
pub fn engine<'a>(files: impl Iterator<Item = &'a PolicyFile>) -> Result<Engine, Vec<Finding>> {
    let mut engine = Engine::new();
    let mut findings = Vec::new();
    for file in files {
        if let Err(error) = engine.add_policy(file.path.to_string(), file.text.clone()) {
            findings.push(finding(&error.to_string(), file));
        }
    }
    if findings.is_empty() { Ok(engine) } else { Err(findings) }
}

fn finding(error: &str, file: &PolicyFile) -> Finding {
    let place = error.split_once("-->").and_then(|(_, rest)| rest.trim_start().lines().next());
    let mut numbers = place.into_iter().flat_map(|place| place.rsplit(':')).map_while(|number| number.parse().ok());
    let column = numbers.next().unwrap_or_default();
    let line = numbers.next().unwrap_or_default();
    Finding::error(Code::BadPolicy, plain_error(error)).at(Origin::new(&file.path, Position::new(line, column)))
}

/// What an error of the engine says, without the excerpt of the source that it begins with.
pub fn plain_error(error: &str) -> String {
    let said = error.rsplit_once("\nerror: ").map_or(error, |(_, said)| said);
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}
