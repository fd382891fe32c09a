//! The flow of values through clauses: what each reference can lead to, who refers to whom, and which functions are
//! called. What comes from the input is followed through variables, rules and functions; what is not known is anything.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{
    AssignOp, Expr, Literal, LiteralStmt, Query, Ref, Rule as Clause, RuleBody, Span, WithModifier,
};

use super::calls;
use super::names::{Found, Head, Path, RuleId, World, beginning, path_of, text_of};
use super::shape::{Key, Miss, Shape};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::suggest;
use crate::policy::input::Parts;

/// How many rules deep a value is followed.
const FOLLOWED_RULES_MAX: usize = 48;

/// The most that is found.
const FINDINGS_MAX: usize = 1_000;

/// The longest piece of a policy that a message shows, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// What was found on the way.
pub struct Flow<'w> {
    world: &'w World<'w>,
    input: Shape,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What the rules that judge look at.
    pub parts: Parts,
    /// Who refers to whom.
    pub edges: BTreeSet<(RuleId, RuleId)>,
    /// What rules are, as far as that was needed: none while it is being found out.
    known: BTreeMap<RuleId, Option<Shape>>,
    place: Place,
    /// The variables of the clause, from the outside in: what they are, where that is known by now.
    scopes: Vec<BTreeMap<String, Option<Shape>>>,
}

/// Where the flow has come to.
#[derive(Clone, Copy)]
struct Place {
    module: usize,
    rule: RuleId,
    /// Whether the clause judges, and does not only test.
    judges: bool,
    /// Whether nothing is to be said, because it is said another time.
    silent: bool,
    /// Whether the input is another one here.
    other_input: bool,
    /// Whether other things than rules may stand below `data` here.
    other_data: bool,
    depth: usize,
}

/// One part of a reference behind its beginning.
struct Step<'e> {
    key: StepKey<'e>,
    /// Where it stands.
    span: &'e Span,
    /// What stands before it.
    base: &'e Expr,
}

enum StepKey<'e> {
    Name(String),
    Number,
    Expr(&'e Ref<Expr>),
}

impl Step<'_> {
    fn key(&self) -> Key<'_> {
        match &self.key {
            StepKey::Name(name) => Key::Name(name),
            StepKey::Number => Key::Number,
            StepKey::Expr(_) => Key::Some,
        }
    }
}

impl<'w> Flow<'w> {
    /// Goes through all clauses of all files; `told` hears the number of each file.
    pub fn through(
        world: &'w World<'w>,
        input: Shape,
        told: &mut dyn FnMut(usize) -> std::io::Result<()>,
    ) -> std::io::Result<Flow<'w>> {
        let parts = Parts::default();
        let place =
            Place { module: 0, rule: 0, judges: true, silent: false, other_input: false, other_data: false, depth: 0 };
        let mut flow = Flow {
            world,
            input,
            findings: Vec::new(),
            parts,
            edges: BTreeSet::new(),
            known: BTreeMap::new(),
            place,
            scopes: Vec::new(),
        };
        for module in 0..world.modules.len() {
            told(module)?;
            flow.imports(module);
            for (id, rule) in world.rules.iter().enumerate() {
                for (_, clause) in rule.clauses.iter().filter(|(of, _)| *of == module) {
                    flow.enter(id, module, clause);
                }
            }
        }
        Ok(flow)
    }

    /// Goes through one clause; what it makes the rule be.
    fn enter(&mut self, rule: RuleId, module: usize, clause: &'w Clause) -> Shape {
        let judges = !self.world.modules[module].is_test;
        let outer = self.place;
        self.place = Place { rule, module, judges, other_input: false, other_data: false, ..outer };
        let scopes = std::mem::take(&mut self.scopes);
        let shape = self.clause(clause);
        self.scopes = scopes;
        self.place = outer;
        shape
    }

    fn clause(&mut self, clause: &'w Clause) -> Shape {
        let head = Head::of(clause);
        self.scopes.push(BTreeMap::new());
        for argument in head.arguments.into_iter().flatten() {
            self.declare_all(argument, Some(Shape::Any));
        }
        let bodies: &[RuleBody] = match clause {
            Clause::Spec { bodies, .. } => bodies,
            Clause::Default { .. } => &[],
        };
        let mut shapes = Vec::new();
        let first = bodies.first();
        shapes.push(self.body(first.map(|body| &body.query), |flow| flow.head(&head)));
        for body in bodies.iter().skip(1) {
            let value = body.assign.as_ref().map(|assign| &assign.value);
            shapes.push(self.body(Some(&body.query), |flow| value.map_or(Shape::Any, |value| flow.expr(value))));
        }
        self.scopes.pop();
        Shape::one_of(shapes)
    }

    fn body(&mut self, query: Option<&'w Ref<Query>>, then: impl FnOnce(&mut Self) -> Shape) -> Shape {
        self.scopes.push(BTreeMap::new());
        if let Some(query) = query {
            self.query(query);
        }
        let shape = then(self);
        self.scopes.pop();
        shape
    }

    /// The head, after the body has bound its variables.
    fn head(&mut self, head: &Head<'w>) -> Shape {
        let mut at = head.refr;
        while let Expr::RefBrack { refr, .. } | Expr::RefDot { refr, .. } = at {
            if let Expr::RefBrack { index, .. } = at {
                self.expr(index);
            }
            at = refr;
        }
        match (head.key, head.value) {
            (Some(key), _) => Shape::set_of(self.expr(key)),
            (None, Some(value)) => self.expr(value),
            (None, None) => Shape::Any,
        }
    }

    /// What a rule is, or what a function gives.
    fn rule(&mut self, id: RuleId) -> Shape {
        if let Some(known) = self.known.get(&id) {
            return known.clone().unwrap_or(Shape::Any);
        }
        let rule = &self.world.rules[id];
        if self.place.depth >= FOLLOWED_RULES_MAX || rule.is_deep {
            return Shape::Any;
        }
        self.known.insert(id, None);
        let outer = self.place;
        self.place.depth += 1;
        self.place.silent = true;
        // What tests add to a rule does not change what it is for those who judge.
        let world = self.world;
        let clauses = rule.clauses.iter().filter(|(module, _)| !rule.judges || !world.modules[*module].is_test);
        let shapes: Vec<Shape> = clauses.map(|(module, clause)| self.enter(id, *module, clause)).collect();
        self.place = outer;
        let shape = Shape::one_of(shapes);
        self.known.insert(id, Some(shape.clone()));
        shape
    }

    /// The statements of a body, twice: the engine runs them in an order of its own, so that a variable may be used
    /// above where it is bound.
    fn query(&mut self, query: &'w Query) {
        for statement in &query.stmts {
            match &statement.literal {
                Literal::SomeVars { vars, .. } => vars.iter().for_each(|var| self.declare(var.text(), None)),
                Literal::SomeIn { key, value, .. } => {
                    key.iter().chain([value]).for_each(|pattern| self.declare_all(pattern, None));
                }
                Literal::Expr { expr, .. } => {
                    if let Expr::AssignExpr { op: AssignOp::ColEq, lhs, .. } = expr.as_ref() {
                        self.declare_all(lhs, None);
                    }
                }
                Literal::NotExpr { .. } | Literal::Every { .. } => {}
            }
        }
        if !self.place.silent {
            self.place.silent = true;
            query.stmts.iter().for_each(|statement| self.statement(statement));
            self.place.silent = false;
        }
        query.stmts.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &'w LiteralStmt) {
        let outer = self.place;
        for WithModifier { refr, r#as, .. } in &statement.with_mods {
            self.expr(r#as);
            let path = path_of(refr);
            match path.first().map(String::as_str) {
                Some("input") => self.place.other_input = true,
                Some("data") => self.place.other_data = true,
                Some(name) => {
                    let aliased = self.world.modules[self.place.module].imports.get(name);
                    match aliased.and_then(|(path, _)| path.first()).map(String::as_str) {
                        Some("input") => self.place.other_input = true,
                        Some(_) => self.place.other_data = true,
                        None => self.forbid(&path, beginning(refr)),
                    }
                }
                None => {}
            }
        }
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => {
                let collection = self.expr(collection);
                if let Some(key) = key {
                    self.bind(key, &Shape::Any);
                }
                let item = collection.item();
                self.bind(value, &item);
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => drop(self.expr(expr)),
            Literal::Every { key, value, domain, query, .. } => {
                let item = self.expr(domain).item();
                self.scopes.push(BTreeMap::new());
                if let Some(key) = key {
                    self.declare(key.text(), Some(Shape::Any));
                }
                self.declare(value.text(), Some(item));
                self.query(query);
                self.scopes.pop();
            }
        }
        self.place = outer;
    }

    /// What an expression can be.
    fn expr(&mut self, expr: &'w Ref<Expr>) -> Shape {
        match expr.as_ref() {
            Expr::Null { .. } => Shape::Plain("null"),
            // What is wrong with the policy's own values is not for this to say.
            Expr::String { .. } | Expr::RawString { .. } | Expr::Number { .. } | Expr::Bool { .. } => Shape::Any,
            Expr::Array { items, .. } => {
                let items: Vec<Shape> = items.iter().map(|item| self.expr(item)).collect();
                Shape::list_of(Shape::one_of(items))
            }
            Expr::Set { items, .. } => {
                let items: Vec<Shape> = items.iter().map(|item| self.expr(item)).collect();
                Shape::set_of(Shape::one_of(items))
            }
            Expr::Object { fields, .. } => {
                let mut known = BTreeMap::new();
                for (_, key, value) in fields {
                    self.expr(key);
                    let value = self.expr(value);
                    if let Some(name) = text_of(key) {
                        known.insert(name, value);
                    }
                }
                Shape::Object(std::rc::Rc::new(super::shape::Object { fields: known, rest: Some(Shape::Any) }))
            }
            Expr::ArrayCompr { term, query, .. } => Shape::list_of(self.body(Some(query), |flow| flow.expr(term))),
            Expr::SetCompr { term, query, .. } => Shape::set_of(self.body(Some(query), |flow| flow.expr(term))),
            Expr::ObjectCompr { key, value, query, .. } => {
                let value = self.body(Some(query), |flow| {
                    flow.expr(key);
                    flow.expr(value)
                });
                Shape::map_of(value)
            }
            Expr::Call { fcn, params, .. } => self.call(fcn, params),
            Expr::UnaryExpr { expr, .. } => {
                self.expr(expr);
                Shape::Any
            }
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => self.reference(expr),
            Expr::BinExpr { lhs, rhs, .. } => {
                let (left, right) = (self.expr(lhs), self.expr(rhs));
                Shape::one_of([left, right])
            }
            Expr::BoolExpr { lhs, rhs, .. } => {
                self.expr(lhs);
                self.expr(rhs);
                Shape::Any
            }
            // Of two sets, what is left is part of the first; of two numbers there is nothing to say.
            Expr::ArithExpr { lhs, rhs, .. } => {
                let left = self.expr(lhs);
                self.expr(rhs);
                if matches!(left, Shape::Set(_)) { left } else { Shape::Any }
            }
            Expr::AssignExpr { op, lhs, rhs, .. } => {
                let right = self.expr(rhs);
                let left = match op {
                    AssignOp::ColEq => Shape::Any,
                    AssignOp::Eq => self.expr(lhs),
                };
                self.bind(lhs, &right);
                if *op == AssignOp::Eq {
                    self.bind(rhs, &left);
                }
                Shape::Any
            }
            Expr::Membership { key, value, collection, .. } => {
                key.iter().chain([value, collection]).for_each(|part| drop(self.expr(part)));
                Shape::Any
            }
        }
    }

    /// A variable, or a reference that begins somewhere.
    fn reference(&mut self, expr: &'w Ref<Expr>) -> Shape {
        let (root, steps) = unfold(expr);
        let Expr::Var { span, .. } = root.as_ref() else {
            let shape = self.expr(root);
            return self.follow(shape, &steps);
        };
        let name = span.text();
        if let Some(local) = self.local(name) {
            return self.follow(local.unwrap_or(Shape::Any), &steps);
        }
        match name {
            "input" => return self.input(&Path::new(), &steps),
            "data" => return self.data(Path::new(), span, &steps),
            _ => {}
        }
        let world = self.world;
        let module = &world.modules[self.place.module];
        if let Some((path, _)) = module.imports.get(name) {
            return match path.first().map(String::as_str) {
                Some("input") => self.input(&path[1..].to_vec(), &steps),
                _ => self.data(path[1..].to_vec(), span, &steps),
            };
        }
        if world.rule(&module.package, name, self.place.judges).is_some() {
            let mut path = module.package.clone();
            path.push(name.to_owned());
            return self.data(path, span, &steps);
        }
        // Neither declared nor defined: a variable that this binds. Or, with parts behind it, the name of a builtin
        // that takes the place of another one.
        match steps.is_empty() {
            true => self.declare(name, None),
            false => self.forbid(&path_of(expr), span),
        }
        self.follow(Shape::Any, &steps)
    }

    /// A reference into the input, which begins with an imported path.
    fn input(&mut self, imported: &Path, steps: &[Step<'w>]) -> Shape {
        let first = imported.first().map(|name| Key::Name(name)).or_else(|| steps.first().map(Step::key));
        if self.place.judges {
            match first {
                Some(Key::Name("desired")) => self.parts.desired = true,
                Some(Key::Name("live")) => self.parts.live = true,
                Some(Key::Name("after")) => self.parts.after = true,
                Some(Key::Name("access")) => self.parts.access = true,
                Some(Key::Name(_)) => {}
                Some(Key::Number | Key::Some) | None => self.parts = Parts::ALL,
            }
        }
        if self.place.other_input {
            return self.follow(Shape::Any, steps);
        }
        // What is imported and does not exist is told where it is imported.
        let begin = imported.iter().try_fold(self.input.clone(), |shape, name| shape.at(Key::Name(name)));
        self.follow(begin.unwrap_or(Shape::Any), steps)
    }

    /// A reference below `data`.
    fn data(&mut self, mut path: Path, span: &Span, steps: &[Step<'w>]) -> Shape {
        let imported = path.len();
        let named = steps.iter().map_while(|step| match &step.key {
            StepKey::Name(name) => Some(name.clone()),
            StepKey::Number | StepKey::Expr(_) => None,
        });
        path.extend(named);
        let world = self.world;
        let keys: Vec<Key<'_>> = path.iter().map(|name| Key::Name(name)).collect();
        match world.find(&keys, self.place.judges) {
            Found::Rule(id, parts) => {
                self.edges.insert((self.place.rule, id));
                let is_plain = world.rules[id].arity.is_none() && parts >= imported;
                let known = match self.place.other_data || self.place.other_input || !is_plain {
                    true => Shape::Any,
                    false => self.rule(id),
                };
                self.follow(known, steps.get(parts.saturating_sub(imported)..).unwrap_or_default())
            }
            Found::Package => {
                let further = steps.iter().skip(path.len() - imported).map(Step::key);
                let whole: Vec<Key<'_>> = keys.iter().copied().chain(further).collect();
                let led_to = world.rules_on(&whole, self.place.judges);
                self.edges.extend(led_to.into_iter().map(|id| (self.place.rule, id)));
                self.follow(Shape::Any, steps)
            }
            Found::Nothing(parts, known) => {
                // What is imported and does not exist is told where it is imported.
                if !self.place.other_data && parts >= imported {
                    let wrong = path.get(parts).map(String::as_str).unwrap_or_default();
                    let at = steps.get(parts - imported).map_or(span, |step| step.span);
                    self.missing(&path[..=parts.min(path.len() - 1)], wrong, &known, at);
                }
                self.follow(Shape::Any, steps)
            }
        }
    }

    fn missing(&mut self, path: &[String], wrong: &str, known: &[String], span: &Span) {
        let message = format!("`data.{}` does not exist", super::names::written(path));
        let finding = Finding::error(Code::BadPolicy, message);
        let hint = match suggest::nearest(wrong, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "below `data` there are the packages and rules of this folder, and nothing else".into(),
        };
        self.say(span, finding.hint(hint));
    }

    /// What the parts of a reference lead to.
    fn follow(&mut self, mut shape: Shape, steps: &[Step<'w>]) -> Shape {
        for step in steps {
            if let StepKey::Expr(index) = &step.key {
                self.expr(index);
            }
            shape = match shape.at(step.key()) {
                Ok(shape) => shape,
                Err(miss) => {
                    self.missed(step, &miss);
                    return self.follow_unknown(steps);
                }
            };
        }
        shape
    }

    fn follow_unknown(&mut self, steps: &[Step<'w>]) -> Shape {
        for step in steps {
            if let StepKey::Expr(index) = &step.key {
                self.expr(index);
            }
        }
        Shape::Any
    }

    fn missed(&mut self, step: &Step<'_>, miss: &Miss) {
        let base = shown(step.base);
        let (name, message) = match (&step.key, miss) {
            (StepKey::Name(name), Miss::Field(_)) => (name.as_str(), format!("`{base}` has no field `{name}`")),
            (StepKey::Name(name), Miss::Holds(what)) => {
                (name.as_str(), format!("`{base}` has no field `{name}`: it is {what}"))
            }
            (_, Miss::Holds(what)) => ("", format!("`{base}` holds nothing to look at one by one: it is {what}")),
            (_, Miss::Field(_)) => return,
        };
        let hint = miss.hint(name);
        self.say(step.span, Finding::error(Code::UnknownInput, message).hint(hint));
    }

    /// What is imported must exist.
    fn imports(&mut self, module: usize) {
        let parsed = &self.world.modules[module];
        self.place = Place { module, judges: !parsed.is_test, ..self.place };
        for (path, span) in parsed.imports.values() {
            let (root, below) = (path[0].as_str(), &path[1..]);
            if root == "input" {
                let mut shape = self.input.clone();
                for name in below {
                    shape = match shape.at(Key::Name(name)) {
                        Ok(shape) => shape,
                        Err(miss) => {
                            let message = format!("`{}` does not exist", path.join("."));
                            self.say(span, Finding::error(Code::UnknownInput, message).hint(miss.hint(name)));
                            break;
                        }
                    }
                }
                continue;
            }
            let keys: Vec<Key<'_>> = below.iter().map(|name| Key::Name(name)).collect();
            if let Found::Nothing(parts, known) = self.world.find(&keys, self.place.judges) {
                let wrong = below.get(parts).map(String::as_str).unwrap_or_default();
                self.missing(below, wrong, &known, span);
            }
        }
    }

    /// A call; what the function gives.
    fn call(&mut self, function: &'w Ref<Expr>, arguments: &'w [Ref<Expr>]) -> Shape {
        let (mut gives, mut arity) = (Shape::Any, None);
        let (path, span) = (path_of(function), beginning(function));
        let name = super::names::written(&path);
        match self.function(&path) {
            Callee::Rule(id) => {
                self.edges.insert((self.place.rule, id));
                arity = self.world.rules[id].arity;
                gives = if self.place.other_input || self.place.other_data { Shape::Any } else { self.rule(id) };
            }
            Callee::Builtin => match calls::arity(&name) {
                _ if calls::forbidden(&name).is_some() => self.forbid(&path, span),
                Some(takes) => arity = Some(takes),
                None => {
                    let package = &self.world.modules[self.place.module].package;
                    let unknown = calls::unknown(&name, self.world.functions(package));
                    self.say(span, unknown);
                }
            },
            Callee::Nobody => {
                if !self.place.other_data {
                    self.say(span, calls::unknown(&name, std::iter::empty()));
                }
            }
        }
        if let Some(miscounted) = arity.and_then(|arity| calls::miscounted(&name, arity, arguments.len())) {
            self.say(span, miscounted);
        }
        for argument in arguments {
            self.expr(argument);
        }
        // One argument more takes the result.
        if let (Some(arity), Some(result)) = (arity, arguments.last())
            && arguments.len() == arity.saturating_add(1)
        {
            self.declare_unbound(result);
        }
        gives
    }

    /// Whom a path calls.
    fn function(&self, path: &Path) -> Callee {
        let world = self.world;
        let module = &world.modules[self.place.module];
        let Some((first, rest)) = path.split_first() else { return Callee::Nobody };
        let whole: Path = match (first.as_str(), module.imports.get(first)) {
            ("data", _) => rest.to_vec(),
            (_, Some((imported, _))) if imported[0] == "data" => [&imported[1..], rest].concat(),
            ("input", _) | (_, Some(_)) => return Callee::Nobody,
            _ => match world.rule(&module.package, first, self.place.judges) {
                Some(_) => [&module.package[..], path].concat(),
                None => return Callee::Builtin,
            },
        };
        let keys: Vec<Key<'_>> = whole.iter().map(|name| Key::Name(name)).collect();
        match world.find(&keys, self.place.judges) {
            Found::Rule(id, parts)
                if world.rules[id].is_deep || parts == whole.len() && world.rules[id].arity.is_some() =>
            {
                Callee::Rule(id)
            }
            _ => Callee::Nobody,
        }
    }

    fn forbid(&mut self, path: &Path, span: &Span) {
        if let Some(forbidden) = calls::forbidden(&super::names::written(path)) {
            self.say(span, forbidden);
        }
    }

    /// Gives the variables of a pattern the shapes of what it is matched with.
    fn bind(&mut self, pattern: &'w Ref<Expr>, shape: &Shape) {
        match pattern.as_ref() {
            Expr::Var { span, .. } => {
                let name = span.text();
                let is_defined = self.is_defined(name);
                match self.scopes.iter_mut().rev().find_map(|scope| scope.get_mut(name)) {
                    Some(known) => drop(known.get_or_insert_with(|| shape.clone())),
                    // A rule, the input or an import is compared with, and not bound.
                    None if is_defined => {}
                    None => self.declare(name, Some(shape.clone())),
                }
            }
            Expr::Array { items, .. } => {
                let item = if matches!(shape, Shape::List(_)) { shape.item() } else { Shape::Any };
                items.iter().for_each(|pattern| self.bind(pattern, &item));
            }
            Expr::Object { fields, .. } => {
                for (_, key, pattern) in fields {
                    let field = text_of(key).and_then(|name| shape.at(Key::Name(&name)).ok());
                    self.bind(pattern, &field.unwrap_or(Shape::Any));
                }
            }
            _ => {}
        }
    }

    /// Declares all variables of a pattern.
    fn declare_all(&mut self, pattern: &Expr, shape: Option<Shape>) {
        match pattern {
            Expr::Var { span, .. } => self.declare(span.text(), shape),
            Expr::Array { items, .. } => items.iter().for_each(|item| self.declare_all(item, shape.clone())),
            Expr::Object { fields, .. } => {
                fields.iter().for_each(|(_, _, value)| self.declare_all(value, shape.clone()));
            }
            _ => {}
        }
    }

    fn declare_unbound(&mut self, pattern: &Expr) {
        if let Expr::Var { span, .. } = pattern
            && self.local(span.text()).is_none()
            && !self.is_defined(span.text())
        {
            self.declare(span.text(), Some(Shape::Any));
        }
    }

    fn declare(&mut self, name: &str, shape: Option<Shape>) {
        // `_` is another one each time.
        if name != "_"
            && let Some(scope) = self.scopes.last_mut()
        {
            scope.insert(name.to_owned(), shape);
        }
    }

    fn local(&self, name: &str) -> Option<Option<Shape>> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name).cloned())
    }

    fn is_defined(&self, name: &str) -> bool {
        let module = &self.world.modules[self.place.module];
        matches!(name, "input" | "data" | "_")
            || module.imports.contains_key(name)
            || self.world.rule(&module.package, name, self.place.judges).is_some()
    }

    fn say(&mut self, span: &Span, finding: Finding) {
        if !self.place.silent && self.findings.len() < FINDINGS_MAX {
            self.findings.push(self.world.at(self.place.module, span, finding));
        }
    }
}

enum Callee {
    Rule(RuleId),
    Builtin,
    Nobody,
}

/// A reference as its beginning and its parts.
fn unfold<'e>(expr: &'e Ref<Expr>) -> (&'e Ref<Expr>, Vec<Step<'e>>) {
    let mut steps = Vec::new();
    let mut at = expr;
    loop {
        let (refr, step) = match at.as_ref() {
            Expr::RefDot { refr, field, .. } => {
                (refr, Step { key: StepKey::Name(field.0.text().to_owned()), span: &field.0, base: refr })
            }
            Expr::RefBrack { refr, index, .. } => {
                let key = match index.as_ref() {
                    Expr::Number { .. } => StepKey::Number,
                    other => text_of(other).map_or(StepKey::Expr(index), StepKey::Name),
                };
                (refr, Step { key, span: index.span(), base: refr })
            }
            _ => break,
        };
        steps.push(step);
        at = refr;
    }
    steps.reverse();
    (at, steps)
}

/// A piece of a policy in one line.
fn shown(expr: &Expr) -> String {
    let text = expr.span().text().split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
