//! What a namespace may describe, held against what it does describe: in its objects, and in the repositories that it names.

use std::sync::Arc;

use super::settings::Binding;
use crate::brake::Mode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kinds::organization;
use crate::model::origin::Origin;
use crate::model::resource::Resource;
use crate::model::secret::shown;
use crate::model::state::World;
use crate::verdict::Terms;

/// The field of a key that says in which namespace its Secret is.
const SECRET_NAMESPACE: &str = "deliverTo.secret.namespace";

/// What to do about something that a namespace is not bound to.
pub const BIND: &str =
    "whoever runs Argus binds namespaces to organizations, in `kubernetes.namespaces` of its settings";

/// A namespace, and what it may describe.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The namespace.
    pub namespace: Arc<str>,
    /// What it may describe.
    pub binding: Binding,
}

impl Binding {
    /// Whether it may describe what a resource belongs to, and what it takes the place of.
    pub fn covers_all_of(&self, resource: &Resource) -> bool {
        let renames = resource.id.kind.is(&organization::KIND).then_some(resource.previous_name.as_deref()).flatten();
        self.covers(&resource.id.organization) && renames.is_none_or(|name| self.covers(name))
    }

    /// Says so where a key would be delivered from a namespace into another one: that would be written with the rights of Argus.
    pub fn delivery_elsewhere(&self, namespace: &str, resource: &Resource) -> Option<Finding> {
        let name = resource.text(SECRET_NAMESPACE)?;
        if name == namespace || self.delivers_to(name) {
            return None;
        }
        let name = shown(name);
        let message = format!("{} may not be delivered from `{namespace}` into the namespace {name}", resource.id);
        let finding = Finding::error(Code::NotBound, message).about(&resource.id);
        Some(finding.hint("name its own namespace, or have the other one listed in `secretNamespaces` of the settings"))
    }
}

impl Bound {
    /// Takes out of a world what the namespace may not describe, and says so. It stays as it is.
    pub fn restrict(&self, world: &mut World) {
        let namespace = &self.namespace;
        let mut beyond: Vec<(OrganizationName, Option<Origin>)> = Vec::new();
        for (name, desired) in &world.organizations {
            let origin = |resource: &Resource| resource.origin.clone();
            let strays = desired.resources.iter().find(|resource| !self.binding.covers_all_of(resource));
            match strays {
                Some(stray) => beyond.push((name.clone(), Some(origin(stray)))),
                None if !self.binding.covers(name) => beyond.push((name.clone(), None)),
                None => {}
            }
            let elsewhere = desired.resources.iter().filter_map(|resource| {
                let finding = self.binding.delivery_elsewhere(namespace, resource)?;
                // About the organization, because it is what stays as it is.
                Some(finding.about(name).at(resource.origin.clone()))
            });
            let elsewhere: Vec<Finding> = elsewhere.collect();
            if !elsewhere.is_empty() {
                world.blocked.insert(name.clone());
                world.findings.extend(elsewhere);
            }
        }
        let unread = world.unread.keys().filter(|name| !self.binding.covers(name));
        beyond.extend(unread.map(|name| (name.clone(), None)));
        for (name, origin) in beyond {
            let what = match &*name {
                GLOBAL => "tiers, which all organizations share".to_owned(),
                name => format!("the organization {}, or to what it renames", shown(name)),
            };
            let message = format!("the namespace `{namespace}` is not bound to {what}");
            let finding = Finding::error(Code::NotBound, message).about(&name).hint(BIND);
            world.findings.push(match origin {
                Some(origin) => finding.at(origin),
                None => finding,
            });
            // What it would take the place of stays as well.
            let renamed = world.organizations.remove(&name).into_iter().flat_map(|desired| desired.resources);
            let roots = renamed.filter(|resource| resource.id.kind.is(&organization::KIND));
            world.blocked.extend(roots.filter_map(|root| root.previous_name));
            world.unread.remove(&name);
            world.blocked.insert(name);
        }
    }

    /// How plans of the namespace are judged, where it may ask for less to be done, and for nothing more.
    pub fn terms(&self, asked: Mode) -> Terms {
        let terms = self.binding.terms.clone();
        Terms { mode: weaker(terms.mode, asked), ..terms }
    }
}

/// The one of two modes that does less.
fn weaker(one: Mode, other: Mode) -> Mode {
    let does = |mode: &Mode| match mode {
        Mode::Observe => 0,
        Mode::Apply => 1,
        Mode::Enforce => 2,
    };
    if does(&one) <= does(&other) { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::manifest::read_file;
    use crate::source::world::assemble;

    fn world(text: &str) -> World {
        assemble(std::iter::once(read_file(&Arc::from("a.yaml"), text.as_bytes())))
    }

    fn bound() -> Bound {
        let binding = Binding { organizations: vec!["acme".into(), "acme-*".into()], ..Binding::default() };
        Bound { namespace: "team-a".into(), binding }
    }

    fn organization(name: &str, more: &str) -> String {
        format!(
            "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata:\n  name: {name}\n{more}spec: {{displayName: X}}\n"
        )
    }

    #[test]
    fn what_a_namespace_is_not_bound_to_is_taken_out_and_stays_as_it_is() {
        let renames = "  annotations: {argus.io/previous-name: globex}\n";
        let away = "  annotations: {argus.io/previous-name: acme-old}\n";
        let texts = [("acme", ""), ("globex", ""), ("acme-eu", renames), ("initech", away)];
        let text = texts.map(|(name, more)| organization(name, more)).join("---\n");
        let mut world = world(&text);
        bound().restrict(&mut world);
        let left: Vec<&str> = world.organizations.keys().map(|name| &**name).collect();
        assert_eq!(left, ["acme"], "{:?}", world.findings);
        let blocked: Vec<&str> = world.blocked.iter().map(|name| &**name).collect();
        assert_eq!(blocked, ["acme-eu", "acme-old", "globex", "initech"]);
        let places = world.findings.iter().filter(|finding| finding.code == Code::NotBound);
        assert_eq!(places.filter(|finding| finding.origin.is_some()).count(), 3, "{:?}", world.findings);
    }

    #[test]
    fn a_key_that_goes_elsewhere_holds_its_organization() {
        let key = "apiVersion: argus.io/v1alpha1\nkind: ApiKey\nmetadata: {name: bot}\nspec: {organization: acme, \
            owner: {user: a@acme.example}, scopes: [read], deliverTo: {secret: {namespace: kube-system, name: key, key: token}}}\n";
        let mut world = world(&[organization("acme", ""), key.into()].join("---\n"));
        bound().restrict(&mut world);
        assert!(world.blocked.contains("acme") && world.organizations.contains_key("acme"), "{:?}", world.findings);
    }

    #[test]
    fn less_may_be_asked_for_and_never_more() {
        let mut bound = bound();
        bound.binding.terms.mode = Mode::Apply;
        assert_eq!(bound.terms(Mode::Observe).mode, Mode::Observe);
        assert_eq!(bound.terms(Mode::Enforce).mode, Mode::Apply);
    }
}
