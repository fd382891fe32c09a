//! Names of files that mean something in a source, wherever the source is.

/// The settings of a source, at its root. Not a manifest.
pub const SETTINGS_FILE: &str = "argus.yaml";

/// The schema that an export puts beside its manifests, for editors. It is no manifest.
pub const SCHEMA_FILE: &str = "argus.schema.json";

/// The directory of policies, at the root.
pub const POLICIES_DIRECTORY: &str = "policies";

/// Whether a file of this name is a manifest.
pub fn is_manifest(name: &str) -> bool {
    let end = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, end)| end);
    end.is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end.eq_ignore_ascii_case(known)))
}
