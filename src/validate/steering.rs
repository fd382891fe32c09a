//! What a source says about going, staying and being renamed.

use std::collections::HashMap;

use super::{Blocked, Scene};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::{Key, Kind, KindId, Scope};
use crate::model::kinds::{member, organization, removal};
use crate::model::resource::Resource;
use crate::model::state::World;
use crate::model::suggest::nearest;
use crate::model::time::parse_time;
use crate::model::value::Value;

/// A removal names a kind that can go, and nothing that is also declared.
pub fn removals(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for removal in scene.of(&removal::KIND) {
        let (Some(kind), Some(name)) = (removal.text("target.kind"), removal.text("target.name")) else { continue };
        let kinds = || Kind::stored().filter(|kind| kind.scope != Scope::Global);
        let Some(known) = kinds().find(|known| known.name == kind) else {
            let hint = match nearest(kind, kinds().map(|kind| kind.name)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("these can go: {}", kinds().map(|kind| kind.name).collect::<Vec<_>>().join(", ")),
            };
            findings.push(
                Finding::error(Code::UnknownWord, format!("`{kind}` is no kind that a removal can name"))
                    .about(&removal.id)
                    .at(removal.origin_of("target.kind"))
                    .hint(hint),
            );
            continue;
        };
        let lower = name.to_ascii_lowercase();
        let name = if known.key == Key::User { &lower } else { name };
        if let Some(declared) = scene.get(KindId::of(known), name) {
            let place = declared.map_or(String::new(), |declared| format!(" at {}", declared.origin));
            let message = format!("{kind} `{name}` is to be removed, and is declared{place}");
            findings.push(
                Finding::error(Code::RemovedYetDeclared, message)
                    .about(&removal.id)
                    .at(removal.origin_of("target.name"))
                    .hint("delete the declaration if it shall go, or this removal if it shall stay"),
            );
        }
    }
}

/// An organization whose member list is complete keeps somebody who owns it.
pub fn owners(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    // What could not be read may hold the owner.
    if !scene.desired.authoritative.contains(&KindId::of(&member::KIND)) || scene.incomplete() {
        return;
    }
    let owns = |member: &Resource| {
        let owner = member.value("roles").is_some_and(|roles| roles.items().contains(&Value::text("owner")));
        let active = member.text("status").is_none_or(|status| status == "active");
        let ended = member.text("expiresAt").and_then(|text| parse_time(text).ok()).is_some_and(|at| at <= scene.now);
        owner && active && !ended
    };
    if scene.of(&member::KIND).any(owns) {
        return;
    }
    let Some(organization) = scene.of(&organization::KIND).next() else { return };
    // What is missing stands nowhere: the members are the nearest place, where there are any.
    let place = scene.of(&member::KIND).map(|member| &member.origin).min().unwrap_or(&organization.origin);
    let message = format!("no active member of `{}` has the role `owner`", organization.id.name);
    findings.push(
        Finding::error(Code::NoOwner, message)
            .about(&organization.id)
            .at(place.clone())
            .hint("give the role `owner` to at least one member; without one nobody could undo a mistake"),
    );
}

/// A previous name is another one, is claimed once, and is no longer declared.
pub fn previous_names(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let mut claims: HashMap<(KindId, &str), &Resource> = HashMap::new();
    for resource in &scene.desired.resources {
        let Some(previous) = resource.previous_name.as_deref() else { continue };
        if resource.id.kind.is(&organization::KIND) {
            if *previous == *resource.id.name {
                findings.push(same_name(resource, previous));
            }
            continue;
        }
        if *previous == *resource.id.name {
            findings.push(same_name(resource, previous));
        } else if let Some(declared) = scene.get(resource.id.kind, previous) {
            findings.push(still_declared(resource, previous, declared));
        } else if let Some(first) = claims.insert((resource.id.kind, previous), resource) {
            findings.push(claimed_twice(resource, previous, first));
        }
    }
}

/// The same for organizations, which are renamed among each other.
pub fn previous_organizations(world: &World, findings: &mut Vec<Finding>, blocked: &mut Blocked) {
    let id = KindId::of(&organization::KIND);
    let mut claims: HashMap<&str, &Resource> = HashMap::new();
    for desired in world.organizations.values() {
        let own = desired.resources.iter().find(|resource| resource.id.kind == id);
        let Some((resource, previous)) = own.and_then(|own| Some((own, own.previous_name.as_deref()?))) else {
            continue;
        };
        if *previous == *resource.id.name {
            continue;
        }
        let other =
            world.organizations.get(previous).and_then(|other| other.resources.iter().find(|r| r.id.kind == id));
        let finding = match (other, claims.insert(previous, resource)) {
            (Some(other), _) => still_declared(resource, previous, Some(other)),
            (None, Some(first)) => {
                blocked.push((first.id.organization.clone(), Vec::new()));
                claimed_twice(resource, previous, first)
            }
            (None, None) => continue,
        };
        findings.push(finding);
        blocked.push((desired.organization.clone(), Vec::new()));
    }
}

fn wrong(resource: &Resource, message: String, hint: &str) -> Finding {
    Finding::error(Code::BadPreviousName, message).about(&resource.id).at(resource.origin.clone()).hint(hint)
}

fn same_name(resource: &Resource, previous: &str) -> Finding {
    wrong(
        resource,
        format!("`{previous}` is the present name, not the previous one"),
        "write the name that it had before",
    )
}

fn still_declared(resource: &Resource, previous: &str, declared: Option<&Resource>) -> Finding {
    let place = declared.map_or(String::new(), |declared| format!(" at {}", declared.origin));
    let message = format!("`{previous}` is the previous name of `{}`, and is still declared{place}", resource.id.name);
    wrong(resource, message, "delete the old declaration, or the previous name if these are two different things")
}

fn claimed_twice(resource: &Resource, previous: &str, first: &Resource) -> Finding {
    let message = format!(
        "`{previous}` is the previous name of `{}` and of `{}` ({})",
        resource.id.name, first.id.name, first.origin
    );
    wrong(resource, message, "only one of them can carry on the row; remove the other claim")
}
