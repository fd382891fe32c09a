//! Names that point at other resources: they must exist, fit, and not run in circles.

use std::collections::HashMap;

use super::Scene;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::{KINDS, Kind, KindId, Scope};
use crate::model::kinds::role::{BUILT_IN, built_in};
use crate::model::kinds::{organization, project, removal, role, team, tier};
use crate::model::resource::Resource;
use crate::model::shape::{Field, Shape};
use crate::model::suggest::nearest;
use crate::model::value::Value;

/// Suggestions per organization: each looks at all names, so that a file full of slips would cost their product.
const SUGGESTIONS_MAX: usize = 20;

/// The longest circle of teams that a message spells out.
const CYCLE_SHOWN_MAX: usize = 12;

/// Calls back for each name that a resource refers to: the field, the kind that it names, the name.
fn each_reference<'w>(resource: &'w Resource, mut take: impl FnMut(&'static Field, &'static str, &'w str)) {
    for entry in resource.spec.entries() {
        let field: &'static Field = &resource.kind().fields[entry.field as usize];
        match (field.refers, field.shape) {
            (Some(kind), Shape::Set { .. }) => {
                for name in entry.value.items().iter().filter_map(Value::as_text) {
                    take(field, kind, name);
                }
            }
            (Some(kind), _) => {
                if let Some(name) = entry.value.as_text() {
                    take(field, kind, name);
                }
            }
            (None, Shape::List { fields, .. }) => {
                let inner: &'static [Field] = fields;
                for (part, kind) in inner.iter().filter_map(|part| Some((part, part.refers?))) {
                    for name in entry.value.items().iter().filter_map(|item| item.get(part.path)?.as_text()) {
                        take(field, kind, name);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Everything that belongs to an organization needs that organization.
pub fn undeclared_organization(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let desired = scene.desired;
    let name = &*desired.organization;
    let id = KindId::of(&organization::KIND);
    let Some(first) = desired.resources.iter().min_by(|a, b| a.origin.cmp(&b.origin)) else { return };
    if name.is_empty() || scene.get(id, name).is_some() {
        return;
    }
    // Whoever removes an organization no longer declares it.
    let goes = |removal: &Resource| {
        removal.text("target.kind") == Some(organization::KIND.name) && removal.text("target.name") == Some(name)
    };
    if scene.of(&removal::KIND).any(goes) {
        return;
    }
    let others = scene
        .world
        .organizations
        .iter()
        .filter(|(_, other)| other.resources.first().is_some_and(|resource| resource.id.kind == id));
    let message = match desired.resources.len() {
        1 => format!("the organization `{name}` is not declared, and this belongs to it"),
        some => format!("the organization `{name}` is not declared, and this and {} more belong to it", some - 1),
    };
    let hint = match nearest(name, others.take(1_000).map(|(name, _)| &**name)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("add a document `kind: Organization` with `name: {name}`{}", elsewhere(scene)),
    };
    findings.push(
        Finding::error(Code::UndeclaredOrganization, message).about(&first.id).at(first.origin.clone()).hint(hint),
    );
}

/// What seems to be missing may stand in a file that could not be read.
fn elsewhere(scene: &Scene<'_>) -> String {
    match scene.world.unreadable_files.first() {
        Some(file) => format!(", or repair {file}, which may hold it"),
        None => String::new(),
    }
}

/// What a reference names must exist.
pub fn references(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let mut suggestions = 0;
    let kinds: HashMap<&str, KindId> = KINDS.iter().map(|kind| (kind.name, KindId::of(kind))).collect();
    for resource in &scene.desired.resources {
        each_reference(resource, |field, target, name| {
            let Some(&id) = kinds.get(target) else { return };
            let kind = id.get();
            let exists = match kind.scope {
                // Without a catalogue in this source, only the database knows the tiers.
                Scope::Global => scene.tiers.is_empty() || scene.tiers.contains_key(name),
                _ => scene.get(id, name).is_some() || (target == role::KIND.name && built_in(name).is_some()),
            };
            if exists {
                return;
            }
            suggestions += 1;
            let meant = if suggestions > SUGGESTIONS_MAX {
                None
            } else if kind.scope == Scope::Global {
                nearest(name, scene.tiers.keys().copied())
            } else if target == role::KIND.name {
                nearest(name, scene.names(id).chain(BUILT_IN.iter().map(|role| role.name)))
            } else {
                nearest(name, scene.names(id))
            };
            let hint = match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("declare it, or remove the reference{}", elsewhere(scene)),
            };
            let whose = match kind.scope {
                Scope::Global => String::new(),
                _ => format!(" in `{}`", scene.desired.organization),
            };
            let message = format!("`{}` names the {} `{name}`, which is not declared{whose}", field.path, words(kind));
            findings.push(
                Finding::error(Code::DanglingReference, message)
                    .about(&resource.id)
                    .at(resource.origin_of(field.path))
                    .hint(hint),
            );
        });
    }
}

/// `ServiceAccount` as `service account`.
pub fn words(kind: &Kind) -> String {
    let mut words = String::with_capacity(kind.name.len() + 2);
    for (at, c) in kind.name.chars().enumerate() {
        if c.is_ascii_uppercase() && at > 0 {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    if std::ptr::eq(kind, &tier::KIND) { "tier".into() } else { words }
}

/// A role of the organization is not granted in a project, nor the other way round.
pub fn role_scopes(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let id = KindId::of(&role::KIND);
    for resource in &scene.desired.resources {
        let wanted = if resource.id.kind.is(&project::KIND) { "project" } else { "organization" };
        each_reference(resource, |field, target, name| {
            if target != role::KIND.name {
                return;
            }
            let scope = match (built_in(name), scene.get(id, name)) {
                (Some(role), _) => role.scope,
                (None, Some(Some(role))) => role.text("scope").unwrap_or("organization"),
                _ => return,
            };
            if scope == wanted || scope == "any" {
                return;
            }
            let fitting: Vec<&str> = BUILT_IN
                .iter()
                .filter(|role| role.scope == wanted || role.scope == "any")
                .map(|role| role.name)
                .collect();
            let message =
                format!("`{name}` is a role of the {scope} scope, and `{}` takes the {wanted} scope", field.path);
            let hint = format!("the built-in roles that fit here are {}", fitting.join(", "));
            findings.push(
                Finding::error(Code::WrongRoleScope, message)
                    .about(&resource.id)
                    .at(resource.origin_of(field.path))
                    .hint(hint),
            );
        });
    }
}

/// Teams form a tree. Each circle is told once, from its first team by name.
pub fn team_cycles(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let parents: HashMap<&str, (&Resource, &str)> =
        scene.of(&team::KIND).filter_map(|team| Some((&*team.id.name, (team, team.text("parent")?)))).collect();
    // A team is walked once: 0 unseen, else the number of the walk that saw it.
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (walk, start) in (1_usize..).zip(scene.of(&team::KIND)) {
        let mut at: &str = &start.id.name;
        while let Some(&(_, parent)) = parents.get(at) {
            if let Some(earlier) = seen.get(at) {
                if *earlier == walk {
                    findings.push(cycle(at, &parents));
                }
                break;
            }
            seen.insert(at, walk);
            at = parent;
        }
    }
}

fn cycle(start: &str, parents: &HashMap<&str, (&Resource, &str)>) -> Finding {
    let mut members: Vec<(&Resource, &str)> = Vec::new();
    let mut at = start;
    while let Some(&(team, parent)) = parents.get(at) {
        members.push((team, parent));
        at = parent;
        if at == start {
            break;
        }
    }
    let least = (0..members.len()).min_by_key(|at| &members[*at].0.id.name).unwrap_or(0);
    members.rotate_left(least);
    let (first, _) = members[0];
    let shown = members.iter().take(CYCLE_SHOWN_MAX);
    let mut names: Vec<&str> = shown.clone().map(|(team, _)| &*team.id.name).collect();
    let places: Vec<String> =
        shown.map(|(team, _)| format!("`{}` at {}", team.id.name, team.origin_of("parent"))).collect();
    if members.len() > CYCLE_SHOWN_MAX {
        names.push("...");
    }
    names.push(&first.id.name);
    let message = match members.len() {
        1 => format!("the team `{}` is its own parent", first.id.name),
        _ => format!("teams are each other's parents: {}", names.join(" -> ")),
    };
    let hint = match members.len() {
        1 => "remove `parent`, or name another team".to_owned(),
        _ => format!("remove one `parent` of these: {}", places.join(", ")),
    };
    Finding::error(Code::TeamCycle, message).about(&first.id).at(first.origin_of("parent")).hint(hint)
}
