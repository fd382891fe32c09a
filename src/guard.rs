//! The guards: what a plan must not do unless a person says so. Only what they let through can be applied.

use crate::plan::OrganizationPlan;

/// A plan of one organization that may be applied. Only [`crate::guard`] makes one, so that nothing unchecked is
/// ever applied.
#[derive(Clone, Debug)]
pub struct Approved(OrganizationPlan);

impl Approved {
    /// The plan.
    pub fn plan(&self) -> &OrganizationPlan {
        &self.0
    }
}
