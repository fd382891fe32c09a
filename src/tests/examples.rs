//! The examples that ship: the generator of config repos gives the same bytes for the same seed, and copies agree.

#[allow(dead_code, reason = "the programs use the rest")]
#[path = "../benches/world.rs"]
pub mod world;

use std::collections::BTreeMap;

use argus::model::kind::Kind;

#[test]
fn the_catalogue_in_the_example_is_the_catalogue_that_ships() {
    let catalogue = include_str!("../../examples/tiers/free-team-enterprise.yaml");
    assert_eq!(include_str!("../../examples/acme/tiers.yaml"), catalogue);
}

#[test]
fn a_generated_organization_depends_on_seed_and_number_only() {
    assert_eq!(world::organization(7, 3), world::organization(7, 3));
    assert_ne!(world::organization(7, 3), world::organization(8, 3));
    assert_ne!(world::organization(7, 3), world::organization(7, 4).replace("org-00004", "org-00003"));
}

#[test]
fn a_generated_organization_has_its_hundred_resources() {
    for index in [0, 1, 17] {
        let text = world::organization(7, index);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut collection = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("  ").filter(|name| !name.starts_with(' ')) {
                collection = name.trim_end_matches(':');
            } else if line.starts_with("    - ") {
                *counts.entry(collection).or_default() += 1;
            }
        }
        let total: usize = counts.values().sum();
        assert_eq!(total + 1, world::RESOURCES_PER_ORGANIZATION, "{counts:?}");
        let unknown: Vec<&&str> = counts.keys().filter(|plural| !is_collection(plural)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

#[test]
fn the_example_lists_collections_of_many_kinds() {
    let inline = include_str!("../../examples/acme/acme.yaml");
    let keys = inline.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let listed = keys.filter(|key| is_collection(key)).count();
    assert!(listed >= 10, "{listed} kinds of children");
}

fn is_collection(plural: &str) -> bool {
    Kind::children().any(|kind| kind.plural == plural)
}

#[test]
fn what_ships_and_what_is_generated_is_valid() {
    use argus::source::directory::{self, Options};
    let generated = std::env::temp_dir().join(format!("argus-generated-{}", std::process::id()));
    world::write(&generated, 300, 7).expect("a repo can be written");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let tiers = root.join("tiers");
    let expected = [
        (root.join("acme"), 42),
        (tiers.join("free-team-enterprise.yaml"), 3),
        (tiers.join("explorer-professional-business-enterprise.yaml"), 4),
        (generated.clone(), 303),
    ];
    for (path, resources) in expected {
        let mut world = directory::read(&path, &Options::default());
        argus::validate::validate(&mut world, "2026-01-01T00:00:00Z".parse().expect("a moment"));
        let found: usize = world.organizations.values().map(|desired| desired.resources.len()).sum();
        assert_eq!((found, &world.findings), (resources, &Vec::new()), "{}", path.display());
    }
    std::fs::remove_dir_all(&generated).expect("it can be removed");
}
