//! What is wrong with policies before they judge anything: found once, in the first worker, since even parsing a file
//! may bring a process down.

mod calls;
mod flow;
mod graph;
mod heads;
mod metadata;
pub mod names;
mod place;
mod scan;
mod shape;
mod solutions;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::{NonZeroU32, NonZeroUsize};

use regorus::unstable::{Module, Ref};
use regorus::{Engine, PolicyLengthConfig};

use self::flow::Flow;
use self::graph::Graph;
use self::names::{Head, RuleId, World, data_path};
use self::shape::Shape;
use super::messages::Loaded;
use super::test::TestName;
use crate::model::code::Code;
use crate::model::finding::{self, Finding};
use crate::model::origin::Origin;
use crate::model::suggest;
use crate::policy::PolicyFile;
use crate::policy::input::Input;
use crate::policy::rule::{Rule, Sort};

/// The number that stands for no file.
pub const NO_FILE: u32 = u32::MAX;

/// The most findings that are told.
const FINDINGS_TOLD_MAX: usize = 500;

/// Checks all files, and loads those that judge. `told` hears the number of each file before it is looked at.
pub fn check(
    files: &[PolicyFile],
    told: &mut dyn FnMut(u32) -> io::Result<()>,
) -> io::Result<Result<(Engine, Loaded), Vec<Finding>>> {
    let mut errors = Vec::new();
    let mut flaws = Vec::new();
    let mut blocks = Vec::new();
    let mut all = empty();
    for (number, file) in (0..).zip(files) {
        told(number)?;
        match scan::scan(file) {
            Err(finding) => errors.push(*finding),
            Ok(comments) => {
                errors.extend(add(&mut all, file).err().map(|finding| *finding));
                let (read, wrong, odd) = metadata::blocks(file, &comments);
                blocks.push(read);
                errors.extend(wrong);
                flaws.extend(odd);
            }
        }
    }
    if !errors.is_empty() {
        return Ok(Err(bounded(errors)));
    }
    let modules = all.get_modules().clone();
    let world = World::of(&modules, files);
    let heads = heads::read(&world, &blocks);
    errors.extend(heads.errors);
    flaws.extend(heads.flaws);
    let flow = Flow::through(&world, input(), &mut |number| told(u32::try_from(number).unwrap_or(NO_FILE)))?;
    errors.extend(flow.findings);
    errors.extend(circles(&world, &flow.edges));
    // A field that does not exist is undefined as well, and told better above.
    let told_there = |finding: &Finding| errors.iter().any(|error: &Finding| same_line(error, finding));
    let lossy: Vec<Finding> = solutions::findings(&world).into_iter().filter(|finding| !told_there(finding)).collect();
    errors.extend(lossy);
    flaws.extend(idle(&world, &flow.edges));
    told(NO_FILE)?;
    // What the engine finds when it gets ready is told one at a time, and most of it is told better above.
    let judging = match engine(files.iter().filter(|file| !file.is_test())) {
        Ok(judging) if errors.is_empty() => {
            errors.extend(prepared(&mut all, files).err().map(|finding| *finding));
            judging
        }
        Ok(judging) => judging,
        Err(more) => {
            if errors.is_empty() {
                errors = more;
            }
            return Ok(Err(bounded(errors)));
        }
    };
    if !errors.is_empty() {
        return Ok(Err(bounded(errors)));
    }
    let mut tests = heads.tests;
    asked(&world, &flow.edges, &heads.rules, &mut tests);
    let loaded = Loaded { rules: heads.rules, parts: flow.parts, flaws: bounded(flaws), tests };
    Ok(Ok((judging, loaded)))
}

fn same_line(one: &Finding, other: &Finding) -> bool {
    let line = |finding: &Finding| finding.origin.as_ref().map(|origin| (origin.file.clone(), origin.line));
    line(one) == line(other)
}

/// What the engine calls a rule.
pub fn path(rule: &Rule) -> String {
    format!("data.{}.{}", rule.package, rule.name)
}

/// An engine with these files, ready to evaluate.
pub fn engine<'a>(files: impl Iterator<Item = &'a PolicyFile> + Clone) -> Result<Engine, Vec<Finding>> {
    let mut engine = empty();
    let findings: Vec<Finding> =
        files.clone().filter_map(|file| add(&mut engine, file).err()).map(|finding| *finding).collect();
    if !findings.is_empty() {
        return Err(findings);
    }
    let files: Vec<PolicyFile> = files.cloned().collect();
    prepared(&mut engine, &files).map_err(|finding| vec![*finding])?;
    Ok(engine)
}

fn empty() -> Engine {
    let mut engine = Engine::new();
    // Files are limited in bytes. Generated ones have long lines.
    let max_col = NonZeroU32::MAX;
    let max_file_bytes = NonZeroUsize::MAX;
    engine.set_policy_length_config(PolicyLengthConfig { max_col, max_file_bytes, max_lines: max_file_bytes });
    engine
}

/// The shape of the input document.
fn input() -> Shape {
    Shape::of_schema(schemars::schema_for!(Input<'_>).as_value())
}

fn bounded(findings: Vec<Finding>) -> Vec<Finding> {
    let mut findings = finding::in_order(findings);
    findings.truncate(FINDINGS_TOLD_MAX);
    findings
}

fn add(engine: &mut Engine, file: &PolicyFile) -> Result<(), Box<Finding>> {
    let added = engine.add_policy(file.path.to_string(), file.text.clone());
    added.map(drop).map_err(|error| Box::new(finding(&error.to_string(), std::slice::from_ref(file))))
}

/// Makes the engine do what it otherwise does before it first evaluates.
pub fn prepared(engine: &mut Engine, files: &[PolicyFile]) -> Result<(), Box<Finding>> {
    engine.eval_query("true".into(), false).map(drop).map_err(|error| Box::new(finding(&error.to_string(), files)))
}

/// The finding of what the engine says about one of these files.
fn finding(error: &str, files: &[PolicyFile]) -> Finding {
    let message = plain_error(error);
    let finding = Finding::error(Code::BadPolicy, message.clone());
    let finding = match HINTS.iter().find(|(said, _)| message.contains(said)) {
        Some((_, hint)) => finding.hint(*hint),
        None => finding,
    };
    let (name, position) = place::told(error).unwrap_or_default();
    match files.iter().find(|file| *file.path == *name).or(files.first().filter(|_| files.len() == 1)) {
        Some(file) => finding.at(Origin::new(&file.path, position)),
        None => finding,
    }
}

/// What to do about what the engine says.
const HINTS: &[(&str, &str)] = &[
    (
        "`if` keyword is required",
        "this is Rego v0; in v1, which is read here, it is `deny contains msg if { ... }` or `allow if { ... }`",
    ),
    (
        "`contains` keyword is required",
        "this is Rego v0; in v1, which is read here, it is `deny contains msg if { ... }`",
    ),
    (
        "shadows previous import",
        "`rego.v1` brings `if`, `in`, `contains` and `every` with it; import nothing else for them",
    ),
    ("Missing package", "a file begins with `package ...`"),
    ("is unsafe", "a variable gets its value by `:=`, `=`, `some` or `every`, or is the name of a rule"),
];

/// What an error of the engine says, without the excerpt of the source that it begins with.
pub fn plain_error(error: &str) -> String {
    let said = error.rsplit_once("\nerror: ").map_or(error, |(_, said)| said);
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The place that an error of the engine is about.
pub fn place_of(error: &str) -> Option<Origin> {
    place::told(error).map(|(file, position)| Origin::new(&file.into(), position))
}

/// Rules that refer to each other in a circle, which would never end.
fn circles(world: &World<'_>, edges: &BTreeSet<(RuleId, RuleId)>) -> Vec<Finding> {
    // A rule whose head goes on behind its name is many, and may refer to another one of them.
    let plain = edges.iter().filter(|(from, to)| !world.rules[*from].is_deep && !world.rules[*to].is_deep);
    let circles = Graph::of(plain.copied()).circles();
    let told = circles.into_iter().filter_map(|circle| {
        let (module, clause) = world.rules[*circle.first()?].clauses.first()?;
        let package = &world.modules[*module].package;
        let names: Vec<String> =
            circle.iter().chain(circle.first()).map(|id| world.rules[*id].shown(package)).collect();
        let message = format!("rules refer to each other in a circle: {}", shortened(&names).join(" -> "));
        Some(world.at(*module, clause.span(), Finding::error(Code::BadPolicy, message).hint("Rego has no recursion")))
    });
    told.collect()
}

fn shortened(names: &[String]) -> Vec<&str> {
    match names {
        [first, second, third, .., last] if names.len() > 8 => vec![first, second, third, "...", last],
        _ => names.iter().map(String::as_str).collect(),
    }
}

/// Rules that no rule with a say leads to.
fn idle(world: &World<'_>, edges: &BTreeSet<(RuleId, RuleId)>) -> Vec<Finding> {
    let judging = |id: &RuleId| world.rules[*id].judges && Sort::of(&world.rules[*id].name).is_some();
    let ids = 0..world.rules.len();
    let reached = Graph::of(edges.iter().copied()).reached(ids.clone().filter(judging));
    let in_tests: BTreeSet<RuleId> =
        edges.iter().filter(|(from, _)| !world.rules[*from].judges).map(|(_, to)| *to).collect();
    let words: BTreeMap<&str, &str> = Sort::ALL.iter().map(|(word, _)| (*word, *word)).collect();
    let told = ids.filter(|id| world.rules[*id].judges && !reached.contains(id)).filter_map(|id| {
        let rule = &world.rules[id];
        let (module, clause) = rule.clauses.iter().find(|(module, _)| !world.modules[*module].is_test)?;
        let by_whom = if in_tests.contains(&id) { "only tests use" } else { "nobody uses" };
        let finding = Finding::warning(Code::PolicyFlaw, format!("{by_whom} `{}`", rule.name));
        let word = rule.name.split('_').next().unwrap_or_default();
        let hint = match suggest::nearest(word, words.keys().copied()) {
            Some(near) => {
                format!("rules that judge are called `deny`, `hold`, `warn` or `exception`; did you mean `{near}`?")
            }
            None => {
                "rules that judge are called `deny`, `hold`, `warn` or `exception`, with `_` and a name behind".into()
            }
        };
        Some(world.at(*module, Head::of(clause).span, finding.hint(hint)))
    });
    told.collect()
}

/// Tells each test which rules with a say it leads to.
fn asked(world: &World<'_>, edges: &BTreeSet<(RuleId, RuleId)>, rules: &[Rule], tests: &mut [TestName]) {
    let graph = Graph::of(edges.iter().copied());
    let numbers: BTreeMap<String, usize> = rules.iter().map(path).zip(0..).collect();
    let paths: Vec<String> = world.rules.iter().map(|rule| data_path(&rule.package, &rule.name)).collect();
    let ids: BTreeMap<&str, RuleId> = paths.iter().map(String::as_str).zip(0..).collect();
    for test in tests {
        let reached = graph.reached(ids.get(test.path.as_str()).copied());
        test.asks = reached.into_iter().filter_map(|id| numbers.get(&paths[id]).copied()).collect();
    }
}

/// What is wrong with a query before it is evaluated.
pub fn query(query: &str) -> Option<String> {
    let file = PolicyFile { path: "query".into(), text: format!("package query\n\nanswer if {{\n{query}\n}}\n") };
    let mut engine = empty();
    if let Err(finding) = scan::scan(&file) {
        return Some(finding.message);
    }
    // What is no body of a rule is no query either, and the engine says why.
    add(&mut engine, &file).ok()?;
    let modules: Vec<Ref<Module>> = engine.get_modules().clone();
    let world = World::of(&modules, &[file]);
    let flow = Flow::through(&world, Shape::Any, &mut |_| Ok(())).ok()?;
    let forbidden = flow.findings.into_iter().find(|finding| finding.code == Code::ForbiddenBuiltin)?;
    Some([Some(forbidden.message), forbidden.hint].into_iter().flatten().collect::<Vec<_>>().join(": "))
}
