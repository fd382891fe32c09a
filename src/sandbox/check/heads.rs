//! What heads make of rules: those that have a say, tests, and heads that do not do what they look like.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Rule as Clause};

use super::super::test::{TestName, is_test};
use super::metadata::{Block, Scope};
use super::names::{Defined, Head, World, data_path, written};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};
use crate::policy::rule::{Rule, Sort};

/// What the heads make.
#[derive(Default)]
pub struct Heads {
    /// The rules that have a say, by package and name.
    pub rules: Vec<Rule>,
    /// The tests, by file and line.
    pub tests: Vec<TestName>,
    /// What is wrong.
    pub errors: Vec<Finding>,
    /// What is odd.
    pub flaws: Vec<Finding>,
}

/// What a rule is, by the form of a clause.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Set,
    Single,
    Function,
}

impl Form {
    fn word(self) -> &'static str {
        match self {
            Form::Set => "a set (`contains`)",
            Form::Single => "a single value",
            Form::Function => "a function",
        }
    }
}

/// Reads all heads. `blocks` holds what METADATA says, by file.
pub fn read(world: &World<'_>, blocks: &[Vec<Block>]) -> Heads {
    let mut heads = Heads::default();
    let mut documents = Vec::new();
    for (module, blocks) in blocks.iter().enumerate() {
        documents.push(heads.place(world, module, blocks));
    }
    for rule in &world.rules {
        heads.rule(world, rule, &documents);
    }
    heads.rules.sort_by(|a, b| (&a.package, &a.name).cmp(&(&b.package, &b.name)));
    heads.tests.sort_by(|a, b| (&a.file, a.line, &a.path).cmp(&(&b.file, b.line, &b.path)));
    heads.doubled_ids();
    heads
}

/// Which clause each block is about, by its line.
type Placed<'b> = Vec<(u32, &'b Block)>;

impl Heads {
    fn place<'b>(&mut self, world: &World<'_>, module: usize, blocks: &'b [Block]) -> Placed<'b> {
        let parsed = &world.modules[module];
        let package = parsed.module.package.span.line;
        let mut placed = Placed::new();
        for block in blocks {
            let above_package = block.end <= package;
            let scope = block.scope.unwrap_or(if above_package { Scope::Package } else { Scope::Rule });
            let lines = parsed.module.policy.iter().map(|clause| clause.span().line);
            let below = lines.filter(|line| *line >= block.end).min();
            match (scope, below) {
                (Scope::Package | Scope::Subpackages, _) if above_package => {
                    if block.metadata.approvals.is_some() {
                        let message = "nobody is asked for the `approvals` of a package";
                        self.errors.push(about(world, module, block, message, ABOVE_EACH_HOLD));
                    }
                }
                (Scope::Rule | Scope::Document, Some(line)) if !above_package => placed.push((line, block)),
                _ => {
                    let hint = "it stands right above the rule or the package that it is about";
                    self.errors.push(about(world, module, block, "this METADATA is about nothing", hint));
                }
            }
        }
        placed
    }

    fn rule(&mut self, world: &World<'_>, rule: &Defined<'_>, documents: &[Placed<'_>]) {
        let sort = Sort::of(&rule.name);
        let clauses: Vec<_> =
            rule.clauses.iter().map(|(module, clause)| (*module, *clause, Head::of(clause))).collect();
        let say = |module: usize, head: &Head<'_>, message: String, hint: &str| {
            world.at(module, head.span, Finding::error(Code::BadPolicy, message).hint(hint))
        };
        let Some((_, _, first)) = clauses.first() else { return };
        let form = form(first);
        for (module, _, head) in &clauses[1..] {
            if self::form(head) != form && !rule.is_deep {
                let (this, other) = (self::form(head).word(), form.word());
                let message = format!("`{}` is {this} here, and {other} elsewhere", rule.name);
                self.errors.push(say(*module, head, message, "all clauses of a rule have one form"));
                return;
            }
        }
        for (module, _, head) in clauses.iter().filter(|(_, _, head)| collects_by_key(head)) {
            let message = format!("`{}` collects by a key, and is nothing at all where nothing holds", rule.name);
            let hint = "write `name := {key: values | ...}`, which is empty then, and not undefined";
            self.errors.push(say(*module, head, message, hint));
        }
        if rule.name == "violation" || rule.name.starts_with("violation_") {
            for (module, _, head) in clauses.iter().filter(|(module, ..)| !world.modules[*module].is_test) {
                let message = "nobody asks for `violation`".to_owned();
                self.errors.push(say(*module, head, message, "call it `deny`, `hold`, `warn` or `exception`"));
            }
            return;
        }
        for (module, clause, head) in &clauses {
            let in_test = world.modules[*module].is_test;
            if in_test && sort.is_some() && rule.judges {
                let message = format!("a test adds to `{}`, which judges", rule.name);
                self.errors.push(say(*module, head, message, "tests have a package of their own"));
            }
            if in_test || sort.is_none() {
                continue;
            }
            if rule.arity.is_some() {
                let message = format!("`{}` is a function, and nobody calls it to judge", rule.name);
                self.errors.push(say(
                    *module,
                    head,
                    message,
                    "name it otherwise, or take its arguments from the input",
                ));
            } else if rule.is_deep || head.is_set && !says_contains(head) {
                let message = format!("`{}` is no set of messages", rule.name);
                let hint = format!("write `{} contains msg if {{ ... }}`", rule.name);
                self.errors.push(say(*module, head, message, &hint));
            } else if sort == Some(Sort::Exception) && form == Form::Single && !matches!(clause, Clause::Default { .. })
            {
                let message = format!("`{}` names no rules", rule.name);
                let hint = format!("write `{} contains \"name\" if {{ ... }}` for what excuses `deny_name`", rule.name);
                self.errors.push(say(*module, head, message, &hint));
            }
        }
        let blocks = clauses.iter().flat_map(|(module, clause, _)| said_of(&documents[*module], *module, clause));
        for (module, block) in blocks {
            if block.metadata.approvals.is_some() && sort != Some(Sort::Hold) {
                let message = format!("nobody is asked for the `approvals` of `{}`, which is no `hold`", rule.name);
                self.errors.push(about(world, module, block, &message, ABOVE_EACH_HOLD));
            }
        }
        match sort {
            Some(sort) if rule.judges => self.judging(world, rule, sort, form, documents),
            _ => self.test(world, rule),
        }
    }

    fn judging(&mut self, world: &World<'_>, rule: &Defined<'_>, sort: Sort, form: Form, documents: &[Placed<'_>]) {
        let clauses = || rule.clauses.iter().filter(|(module, _)| !world.modules[*module].is_test);
        let Some((module, clause)) = clauses().next() else { return };
        let mut said = clauses().flat_map(|(module, clause)| said_of(&documents[*module], *module, clause));
        let metadata = said.next().map(|(_, block)| block.metadata.clone()).unwrap_or_default();
        for (module, block) in said.filter(|(_, block)| block.metadata != metadata) {
            let message = format!("`{}` has METADATA already, and this would be ignored", rule.name);
            let hint = format!("a rule has one; what needs another is a rule of its own (`{}_other`)", rule.name);
            self.errors.push(about(world, module, block, &message, &hint));
        }
        let is_sure = |clause: &Clause| match clause {
            Clause::Default { .. } => true,
            Clause::Spec { bodies, .. } => bodies.is_empty(),
        };
        if form == Form::Single && !clauses().any(|(_, clause)| is_sure(clause)) {
            let message =
                format!("`{}` is undefined where its body does not hold, and what is undefined denies", rule.name);
            let hint = format!("write `default {} := false`, or `{0} contains msg if {{ ... }}`", rule.name);
            let finding = Finding::warning(Code::PolicyFlaw, message).hint(hint);
            self.flaws.push(world.at(*module, clause.span(), finding));
        }
        self.rules.push(Rule {
            package: written(&rule.package),
            name: rule.name.clone(),
            sort,
            partial: form == Form::Set,
            file: world.modules[*module].file.clone(),
            line: clause.span().line,
            metadata,
        });
    }

    fn test(&mut self, world: &World<'_>, rule: &Defined<'_>) {
        let in_test = rule.clauses.iter().find(|(module, _)| world.modules[*module].is_test);
        let Some((module, clause)) = in_test.filter(|_| is_test(&rule.name)) else { return };
        let head = Head::of(clause);
        if rule.arity.is_some() || rule.is_deep || head.is_set {
            let message = format!("`{}` is no test, though it is called like one", rule.name);
            let finding = Finding::error(Code::BadPolicy, message).hint("write `test_name if { ... }`");
            self.errors.push(world.at(*module, head.span, finding));
            return;
        }
        self.tests.push(TestName {
            package: written(&rule.package),
            name: rule.name.clone(),
            path: data_path(&rule.package, &rule.name),
            file: world.modules[*module].file.clone(),
            line: clause.span().line,
            asks: BTreeSet::new(),
        });
    }

    fn doubled_ids(&mut self) {
        let mut seen = BTreeSet::new();
        for rule in &self.rules {
            if let Some(id) = rule.metadata.id.as_ref().filter(|id| !seen.insert((*id).clone())) {
                let finding = Finding::warning(Code::PolicyFlaw, format!("another rule has the id `{id}` as well"));
                let place = Origin { file: rule.file.clone(), line: rule.line, column: 1 };
                self.flaws.push(finding.at(place).hint("people cannot tell them apart"));
            }
        }
    }
}

/// What to do about people that nobody asks for.
const ABOVE_EACH_HOLD: &str = "it stands in the METADATA of each `hold` rule";

/// The blocks about a clause, with the number of its file.
fn said_of<'b>(placed: &Placed<'b>, module: usize, clause: &Clause) -> Vec<(usize, &'b Block)> {
    let line = clause.span().line;
    placed.iter().filter(|(about, _)| *about == line).map(|(_, block)| (module, *block)).collect()
}

/// An error at a block.
fn about(world: &World<'_>, module: usize, block: &Block, message: &str, hint: &str) -> Finding {
    let place = Origin::new(&world.modules[module].file, Position::new(block.end - 1, 1));
    Finding::error(Code::BadPolicy, message).at(place).hint(hint)
}

fn form(head: &Head<'_>) -> Form {
    match head {
        Head { arguments: Some(_), .. } => Form::Function,
        Head { is_set: true, .. } => Form::Set,
        _ => Form::Single,
    }
}

/// `a[key] contains value`: the engine makes it undefined where it should be an empty object, and what asks for it falls
/// silent.
fn collects_by_key(head: &Head<'_>) -> bool {
    head.is_set && head.key.is_some() && matches!(head.refr, Expr::RefBrack { .. } | Expr::RefDot { .. }) && {
        let mut refr = head.refr;
        loop {
            match refr {
                Expr::RefBrack { index, .. } if !matches!(**index, Expr::String { .. }) => break true,
                Expr::RefBrack { refr: inner, .. } | Expr::RefDot { refr: inner, .. } => refr = inner,
                _ => break false,
            }
        }
    }
}

/// `deny["x"]` parses as a set, and is none in Rego v1.
fn says_contains(head: &Head<'_>) -> bool {
    let Expr::Var { span, .. } = head.refr else { return false };
    let whole = head.span.text();
    whole.strip_prefix(span.text()).is_some_and(|rest| rest.trim_start().starts_with("contains"))
}
