//! Readings of files -> one [`World`], in the same order whatever the order of reading.

use std::sync::Arc;

use super::manifest::FileReading;
use crate::model::code::Code;
use crate::model::finding::{Finding, in_order};
use crate::model::resource::Resource;
use crate::model::state::{Desired, World};
use crate::validate;

/// Puts readings together: by organization, sorted, each identity once.
pub fn assemble(readings: impl Iterator<Item = FileReading>) -> World {
    let mut world = World::default();
    let mut authoritative = Vec::new();
    let mut ignore = Vec::new();
    for reading in readings {
        let FileReading {
            file,
            resources,
            authoritative: steers,
            ignore: rules,
            blocked,
            faulty,
            unreadable,
            findings,
        } = reading;
        world.files += 1;
        if unreadable {
            world.unreadable_files.insert(file);
        }
        world.blocked.extend(blocked);
        world.faulty.extend(faulty);
        world.findings.extend(findings);
        place(&mut world, resources);
        authoritative.extend(steers);
        ignore.extend(rules);
    }
    for (organization, kind) in authoritative {
        if let Some(desired) = world.organizations.get_mut(&organization) {
            desired.authoritative.insert(kind);
        }
    }
    for (organization, rule) in ignore {
        if let Some(desired) = world.organizations.get_mut(&organization) {
            desired.ignore.push(rule);
        }
    }
    let mut twice = Vec::new();
    for desired in world.organizations.values_mut() {
        desired.ignore.sort_by(|a, b| a.origin.cmp(&b.origin));
        // By place last, so that of two declarations the same one is kept whatever the order of reading.
        desired.resources.sort_by(|a, b| {
            a.id.kind.cmp(&b.id.kind).then_with(|| a.id.name.cmp(&b.id.name)).then_with(|| a.origin.cmp(&b.origin))
        });
        desired.resources.dedup_by(|later, first| {
            let same = later.id.kind == first.id.kind && later.id.name == first.id.name;
            if same {
                let message = format!("{} is already declared at {}", first.id, first.origin);
                let finding = Finding::error(Code::DeclaredTwice, message)
                    .about(&first.id)
                    .at(later.origin.clone())
                    .hint("keep one of the two declarations, with the fields of both");
                twice.push((first.id.clone(), finding));
            }
            same
        });
        desired.resources.shrink_to_fit();
    }
    for (id, finding) in twice {
        world.findings.push(finding);
        world.blocked.insert(id.organization.clone());
        if id.organization.is_empty() {
            world.faulty.insert(id);
        }
    }
    validate::block_users_of_faulty_tiers(&mut world);
    world.findings = in_order(std::mem::take(&mut world.findings));
    world
}

/// Puts the resources of one file under their organizations; equal names come to share their memory.
fn place(world: &mut World, resources: Vec<Resource>) {
    let mut resources = resources.into_iter().peekable();
    while let Some(first) = resources.next() {
        let written = first.id.organization.clone();
        let desired = world
            .organizations
            .entry(written.clone())
            .or_insert_with(|| Desired { organization: written.clone(), ..Desired::default() });
        let shared = desired.organization.clone();
        let mut push = |mut resource: Resource| {
            if !Arc::ptr_eq(&resource.id.organization, &shared) {
                resource.id.organization = shared.clone();
            }
            desired.resources.push(resource);
        };
        push(first);
        while let Some(next) = resources.next_if(|next| next.id.organization == written) {
            push(next);
        }
    }
}
