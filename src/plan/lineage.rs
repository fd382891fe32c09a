//! How the commit of a plan stands to what was applied before.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::id::OrganizationName;

/// Where something stood before the commit of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// The commit that it was applied from last; none where it was not applied from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether the commit of the plan leads on from it.
    pub leads_on: bool,
}

/// How the commit of a plan stands to what was applied before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lineage {
    /// Where the source stood.
    pub whole: Baseline,
    /// Where those organizations stood that were not applied with the rest of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Baseline>")]
    pub own: BTreeMap<OrganizationName, Baseline>,
    /// The organizations that were not looked at, because part of what describes them cannot be used.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "BTreeSet<String>")]
    pub unseen: BTreeSet<OrganizationName>,
    /// The organizations that were looked at, where not all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeSet<String>>")]
    pub only: Option<BTreeSet<OrganizationName>>,
    /// Who has a part in what came since the source was applied last, by all names, lower case.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub authors: BTreeSet<String>,
}
