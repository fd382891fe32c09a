//! Heads that the engine would lose answers by: where a body holds in more than one way, and what the head says of one
//! of them is undefined, the engine forgets what the others gave. So a head is refused that may be undefined for one
//! way and not for another; bound to a variable in the body, the same is just one way less.

use std::collections::BTreeSet;

use regorus::unstable::{AssignOp, Expr, Literal, Query, Ref, Rule as Clause, RuleBody, Span};

use super::names::{Head, World, beginning, path_of};
use crate::model::code::Code;
use crate::model::finding::Finding;

/// The builtin that holds in many ways without a variable.
const MANY: &str = "walk";

/// Finds all heads that may be undefined for one way in which a body holds and not for another.
pub fn findings(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in &world.rules {
        for (module, clause) in &rule.clauses {
            let names = Names::of(world, *module, clause);
            for span in names.lossy(clause) {
                let message =
                    format!("what `{}` says here may be undefined, and its other answers would be lost", rule.name);
                let finding = Finding::error(Code::BadPolicy, message);
                let hint = "bind it to a variable in the body (`message := ...`), and name only that in the head";
                findings.push(world.at(*module, span, finding.hint(hint)));
            }
        }
    }
    findings
}

/// What the names in a clause stand for.
struct Names<'a> {
    world: &'a World<'a>,
    module: usize,
    /// The variables that have one value all through a body: arguments.
    arguments: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(world: &'a World<'a>, module: usize, clause: &'a Clause) -> Names<'a> {
        let mut arguments = BTreeSet::new();
        for argument in Head::of(clause).arguments.into_iter().flatten() {
            variables(argument, &mut arguments);
        }
        Names { world, module, arguments }
    }

    /// What of a clause may be undefined for one way, where there is more than one.
    fn lossy(&self, clause: &'a Clause) -> Vec<&'a Span> {
        let Clause::Spec { bodies, .. } = clause else { return Vec::new() };
        let head = Head::of(clause);
        let indexes = indexes(head.refr);
        let said: Vec<&'a Ref<Expr>> = indexes.into_iter().chain(head.key).chain(head.value).collect();
        // Those of one clause share what they collect.
        let several = bodies.iter().filter(|body| !body.is_else).count() > 1;
        let mut spans = Vec::new();
        if bodies.is_empty() {
            spans.extend(self.lossy_in(None, &said, several));
        }
        for body in bodies {
            let RuleBody { assign, query, .. } = body;
            spans.extend(match assign {
                Some(assign) => self.lossy_in(Some(query), &[&assign.value], several),
                None => self.lossy_in(Some(query), &said, several),
            });
        }
        spans.sort_by_key(|span| (span.line, span.col));
        spans.dedup_by_key(|span| (span.line, span.col));
        spans
    }

    fn lossy_in(&self, query: Option<&'a Ref<Query>>, said: &[&'a Ref<Expr>], several: bool) -> Vec<&'a Span> {
        let mut scope = Scope { names: self, locals: self.arguments.clone(), single: self.arguments.clone() };
        if let Some(query) = query {
            scope.declare(query);
        }
        let many = several
            || query.is_some_and(|query| query.stmts.iter().any(|statement| scope.is_many(&statement.literal)))
            || said.iter().any(|expr| scope.is_open(expr));
        if !many {
            return Vec::new();
        }
        said.iter().filter_map(|expr| scope.unsure(expr)).map(beginning).collect()
    }
}

/// What the variables of a body stand for.
struct Scope<'s, 'a> {
    names: &'s Names<'a>,
    /// All that the body, or the head, declares.
    locals: BTreeSet<&'a str>,
    /// Those that are given one value.
    single: BTreeSet<&'a str>,
}

impl<'a> Scope<'_, 'a> {
    fn declare(&mut self, query: &'a Query) {
        for statement in &query.stmts {
            match &statement.literal {
                Literal::SomeVars { vars, .. } => self.locals.extend(vars.iter().map(|var| var.text())),
                Literal::SomeIn { key, value, .. } => {
                    key.iter().chain([value]).for_each(|pattern| variables(pattern, &mut self.locals));
                }
                Literal::Expr { expr, .. } => {
                    if let Expr::AssignExpr { op: AssignOp::ColEq, lhs, .. } = expr.as_ref() {
                        variables(lhs, &mut self.locals);
                        variables(lhs, &mut self.single);
                        // It stands for another one each time.
                        self.single.remove("_");
                    }
                }
                Literal::NotExpr { .. } | Literal::Every { .. } => {}
            }
        }
    }

    /// Whether a statement may hold in more than one way.
    fn is_many(&self, literal: &Literal) -> bool {
        match literal {
            Literal::SomeVars { .. } | Literal::SomeIn { .. } => true,
            Literal::Expr { expr, .. } => self.is_open(expr),
            // These hold or do not.
            Literal::NotExpr { .. } | Literal::Every { .. } => false,
        }
    }

    /// Whether an expression has a variable that nothing gives one value, or holds in many ways without one.
    fn is_open(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Var { span, .. } => {
                let name = span.text();
                !self.single.contains(name) && (self.locals.contains(name) || !self.is_global(name))
            }
            Expr::Call { fcn, .. } if path_of(fcn).last().is_some_and(|name| name == MANY) => true,
            // What it binds has one value if what it binds it to has.
            Expr::AssignExpr { op: AssignOp::ColEq, rhs, .. } => self.is_open(rhs),
            // Who is called is no variable.
            Expr::Call { params, .. } => params.iter().any(|part| self.is_open(part)),
            _ => parts(expr).into_iter().any(|part| self.is_open(part)),
        }
    }

    /// What of an expression may be defined in one way and not in another.
    fn unsure<'e>(&self, expr: &'e Expr) -> Option<&'e Expr> {
        match expr {
            Expr::Var { .. } => None,
            Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().find_map(|item| self.unsure(item)),
            Expr::Object { fields, .. } => {
                fields.iter().find_map(|(_, key, value)| self.unsure(key).or_else(|| self.unsure(value)))
            }
            // What gathers what it finds is always defined.
            Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => None,
            _ => self.is_local(expr).then_some(expr),
        }
    }

    /// Whether an expression looks at a variable of the body. Those of a comprehension may be its own: they count too.
    fn is_local(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Var { span, .. } => self.locals.contains(span.text()) || !self.is_global(span.text()),
            Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => true,
            Expr::Call { params, .. } => params.iter().any(|part| self.is_local(part)),
            _ => parts(expr).into_iter().any(|part| self.is_local(part)),
        }
    }

    /// Whether a name is that of something beside the clause, if the clause does not declare it.
    fn is_global(&self, name: &str) -> bool {
        let Names { world, module, .. } = self.names;
        let module = &world.modules[*module];
        matches!(name, "input" | "data")
            || module.imports.contains_key(name)
            || world.rule(&module.package, name, !module.is_test).is_some()
    }
}

/// The variables of a pattern.
fn variables<'a>(pattern: &'a Expr, found: &mut BTreeSet<&'a str>) {
    match pattern {
        Expr::Var { span, .. } => drop(found.insert(span.text())),
        _ => parts(pattern).into_iter().for_each(|part| variables(part, found)),
    }
}

/// What an expression is made of. What a comprehension gathers is its own affair.
fn parts(expr: &Expr) -> Vec<&Ref<Expr>> {
    match expr {
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().collect(),
        Expr::Object { fields, .. } => fields.iter().flat_map(|(_, key, value)| [key, value]).collect(),
        Expr::Call { fcn, params, .. } => std::iter::once(fcn).chain(params).collect(),
        Expr::UnaryExpr { expr, .. } => vec![expr],
        Expr::RefDot { refr, .. } => vec![refr],
        Expr::RefBrack { refr, index, .. } => vec![refr, index],
        Expr::BinExpr { lhs, rhs, .. } | Expr::BoolExpr { lhs, rhs, .. } | Expr::ArithExpr { lhs, rhs, .. } => {
            vec![lhs, rhs]
        }
        Expr::AssignExpr { lhs, rhs, .. } => vec![lhs, rhs],
        Expr::Membership { key, value, collection, .. } => key.iter().chain([value, collection]).collect(),
        Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => Vec::new(),
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => Vec::new(),
    }
}

/// What stands in brackets in what a head defines.
fn indexes(refr: &Expr) -> Vec<&Ref<Expr>> {
    let mut found = Vec::new();
    let mut at = refr;
    while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = at {
        if let Expr::RefBrack { index, .. } = at {
            found.push(index);
        }
        at = refr;
    }
    found
}
