//! Names: which packages, rules and functions there are, and what a path leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regorus::unstable::{Expr, Module, Ref, Rule as Clause, RuleHead, Span};

use super::place;
use super::shape::Key;
use crate::model::finding::Finding;
use crate::model::origin::Origin;
use crate::policy::PolicyFile;

/// The way to something below `data`.
pub type Path = Vec<String>;

/// The number of a rule.
pub type RuleId = usize;

/// All names.
pub struct World<'a> {
    /// The files.
    pub modules: Vec<Parsed<'a>>,
    /// The rules, by package and name.
    pub rules: Vec<Defined<'a>>,
    by_path: BTreeMap<Path, RuleId>,
    packages: BTreeSet<(Path, bool)>,
}

/// A file.
pub struct Parsed<'a> {
    /// What it holds.
    pub module: &'a Module,
    /// Its path.
    pub file: Arc<str>,
    /// Whether it holds tests.
    pub is_test: bool,
    /// The package.
    pub package: Path,
    /// What is imported, under which name. The first part of each path is `input` or `data`.
    pub imports: BTreeMap<String, (Path, Span)>,
}

/// A rule or function: all clauses of one name in one package.
pub struct Defined<'a> {
    /// The package.
    pub package: Path,
    /// The name, without what may follow it in the head.
    pub name: String,
    /// Its clauses, each with the file that it stands in.
    pub clauses: Vec<(usize, &'a Clause)>,
    /// Whether a head goes on behind the name: `a.b := 1`, `a[x] := y`.
    pub is_deep: bool,
    /// How many arguments it takes, if it is a function.
    pub arity: Option<usize>,
    /// Whether a file that is no test says anything of it.
    pub judges: bool,
}

/// What a path leads to.
pub enum Found {
    /// A rule, and how many parts of the path lead to it.
    Rule(RuleId, usize),
    /// A package, or a beginning of some.
    Package,
    /// Nothing: so many parts lead somewhere, and these would lead on.
    Nothing(usize, Vec<String>),
}

impl<'a> World<'a> {
    /// The names of these files.
    pub fn of(modules: &'a [Ref<Module>], files: &[PolicyFile]) -> World<'a> {
        let mut world =
            World { modules: Vec::new(), rules: Vec::new(), by_path: BTreeMap::new(), packages: BTreeSet::new() };
        for module in modules {
            let name = module.package.span.source.file();
            // The engine was given the very paths of these files.
            let file = files.iter().find(|file| *file.path == **name);
            let (file, is_test) =
                file.map_or((name.as_str().into(), false), |file| (file.path.clone(), file.is_test()));
            let package = path_of(&module.package.refr);
            let imports = module.imports.iter().filter_map(|import| {
                let path = path_of(&import.refr);
                let alias =
                    import.r#as.as_ref().map_or_else(|| path.last().cloned(), |span| Some(span.text().to_owned()));
                matches!(path.first().map(String::as_str), Some("input" | "data"))
                    .then(|| Some((alias?, (path, beginning(&import.refr).clone()))))
                    .flatten()
            });
            let imports = imports.collect();
            let number = world.modules.len();
            world.packages.insert((package.clone(), is_test));
            for clause in &module.policy {
                world.define(number, &package, is_test, clause);
            }
            world.modules.push(Parsed { module, file, is_test, package, imports });
        }
        world
    }

    fn define(&mut self, module: usize, package: &Path, is_test: bool, clause: &'a Clause) {
        let head = Head::of(clause);
        let Some(name) = path_of(head.refr).into_iter().next() else { return };
        let mut path = package.clone();
        path.push(name.clone());
        let rules = &mut self.rules;
        let id = *self.by_path.entry(path).or_insert_with(|| {
            rules.push(Defined {
                package: package.clone(),
                name,
                clauses: Vec::new(),
                is_deep: false,
                arity: None,
                judges: false,
            });
            rules.len() - 1
        });
        let rule = &mut rules[id];
        rule.clauses.push((module, clause));
        rule.is_deep |= !matches!(head.refr, Expr::Var { .. });
        rule.arity = rule.arity.or(head.arguments.map(<[_]>::len));
        rule.judges |= !is_test;
    }

    /// What a path below `data` leads to. What `judges` must not lean on tests.
    pub fn find(&self, path: &[Key<'_>], judges: bool) -> Found {
        let named = path.iter().map_while(|key| match key {
            Key::Name(name) => Some((*name).to_owned()),
            Key::Number | Key::Some => None,
        });
        let named: Path = named.collect();
        for end in 1..=named.len() {
            if let Some(id) = self.by_path.get(&named[..end]).filter(|id| self.rules[**id].judges || !judges) {
                return Found::Rule(*id, end);
            }
        }
        let leads = |end: usize| self.packages(judges).any(|package| package.starts_with(&named[..end]));
        match (1..=named.len()).rev().find(|end| leads(*end)).unwrap_or(0) {
            end if end == named.len() => Found::Package,
            end => Found::Nothing(end, self.below(&named[..end], judges)),
        }
    }

    /// The rule of this name in a package.
    pub fn rule(&self, package: &Path, name: &str, judges: bool) -> Option<RuleId> {
        let mut path = package.clone();
        path.push(name.to_owned());
        self.by_path.get(&path).copied().filter(|id| self.rules[*id].judges || !judges)
    }

    /// The rules that a path may lead to, or through, whatever its unknown parts stand for.
    pub fn rules_on(&self, path: &[Key<'_>], judges: bool) -> Vec<RuleId> {
        let fits = |id: &RuleId| {
            let rule = &self.rules[*id];
            let mut parts = path.iter().zip(rule.package.iter().chain([&rule.name]));
            (rule.judges || !judges) && parts.all(|(key, part)| matches!(key, Key::Some) || *key == Key::Name(part))
        };
        (0..self.rules.len()).filter(fits).collect()
    }

    /// The names of the functions of a package.
    pub fn functions(&self, package: &Path) -> impl Iterator<Item = &str> {
        let fits = move |rule: &&Defined<'_>| rule.package == *package && rule.arity.is_some();
        self.rules.iter().filter(fits).map(|rule| rule.name.as_str())
    }

    fn packages(&self, judges: bool) -> impl Iterator<Item = &Path> {
        self.packages.iter().filter(move |(_, is_test)| !is_test || !judges).map(|(package, _)| package)
    }

    fn below(&self, path: &[String], judges: bool) -> Vec<String> {
        let packages = self.packages(judges).filter(|package| package.starts_with(path));
        let mut names: BTreeSet<String> = packages.filter_map(|package| package.get(path.len()).cloned()).collect();
        let rules = self.rules.iter().filter(|rule| rule.package == path && (rule.judges || !judges));
        names.extend(rules.map(|rule| rule.name.clone()));
        names.into_iter().collect()
    }

    /// A finding at a place in a file.
    pub fn at(&self, module: usize, span: &Span, finding: Finding) -> Finding {
        finding.at(Origin::new(&self.modules[module].file, place::of(span)))
    }
}

impl Defined<'_> {
    /// What people call it: its name, with its package where that is another one.
    pub fn shown(&self, seen_from: &Path) -> String {
        if self.package == *seen_from {
            self.name.clone()
        } else {
            format!("data.{}.{}", written(&self.package), self.name)
        }
    }
}

/// The head of a clause.
pub struct Head<'a> {
    /// What it defines.
    pub refr: &'a Expr,
    /// The arguments, if it is a function.
    pub arguments: Option<&'a [Ref<Expr>]>,
    /// What it collects, if it is a set.
    pub key: Option<&'a Ref<Expr>>,
    /// What it is, where that is said.
    pub value: Option<&'a Ref<Expr>>,
    /// Whether it collects what clauses say.
    pub is_set: bool,
    /// The head as it is written.
    pub span: &'a Span,
}

impl<'a> Head<'a> {
    /// The head of a clause.
    pub fn of(clause: &'a Clause) -> Head<'a> {
        match clause {
            Clause::Default { refr, args, value, span, .. } => Head {
                refr,
                arguments: (!args.is_empty()).then_some(args),
                key: None,
                value: Some(value),
                is_set: false,
                span,
            },
            Clause::Spec { head: RuleHead::Compr { span, refr, assign }, .. } => Head {
                refr,
                arguments: None,
                key: None,
                value: assign.as_ref().map(|assign| &assign.value),
                is_set: false,
                span,
            },
            Clause::Spec { head: RuleHead::Set { span, refr, key }, .. } => {
                Head { refr, arguments: None, key: key.as_ref(), value: None, is_set: true, span }
            }
            Clause::Spec { head: RuleHead::Func { span, refr, args, assign }, .. } => Head {
                refr,
                arguments: Some(args),
                key: None,
                value: assign.as_ref().map(|assign| &assign.value),
                is_set: false,
                span,
            },
        }
    }
}

/// The parts of a reference that are names, up to the first that is not.
pub fn path_of(refr: &Expr) -> Path {
    let mut parts = Vec::new();
    let mut at = refr;
    loop {
        match at {
            Expr::Var { span, .. } => {
                parts.push(Some(span.text().to_owned()));
                break;
            }
            Expr::RefDot { refr, field, .. } => {
                parts.push(Some(field.0.text().to_owned()));
                at = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                parts.push(text_of(index));
                at = refr;
            }
            _ => return Path::new(),
        }
    }
    parts.into_iter().rev().map_while(|part| part).collect()
}

/// Where a reference begins. Its own span begins where its last part does.
pub fn beginning(refr: &Expr) -> &Span {
    let mut at = refr;
    while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = at {
        at = refr;
    }
    at.span()
}

/// The text that an expression is, if it is one.
pub fn text_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::String { value, .. } | Expr::RawString { value, .. } => {
            value.as_string().ok().map(|text| text.to_string())
        }
        _ => None,
    }
}

/// A path as Rego writes it: `argus.tiers`, `argus["1.0"].tiers`.
pub fn written(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        let is_word = !part.starts_with(|c: char| c.is_ascii_digit())
            && !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match is_word {
            true if text.is_empty() => text.push_str(part),
            true => text.extend([".", part.as_str()]),
            false => text.push_str(&format!("[{}]", serde_json::Value::from(part.as_str()))),
        }
    }
    text
}

/// What the engine calls a rule of this name.
pub fn data_path(package: &[String], name: &str) -> String {
    let whole: Path =
        std::iter::once("data").chain(package.iter().map(String::as_str)).chain([name]).map(str::to_owned).collect();
    written(&whole)
}
