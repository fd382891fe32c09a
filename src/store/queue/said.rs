//! What the source says of an organization by the time that it is worked on, where that is more than was asked for.

use std::collections::BTreeMap;

use crate::model::id::OrganizationName;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::queue::Batch;

impl Store {
    /// Notes what organizations of a batch are planned from: what was said of them before, and what is said now. Where
    /// somebody has asked for something newer meanwhile, that stays.
    pub async fn note_said(
        &self,
        batch: &Batch,
        said: &BTreeMap<OrganizationName, (String, String)>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        for (organization, (before, now)) in said {
            let Some(item) = batch.items.get(organization) else { continue };
            sqlx::query(
                "UPDATE argus.work SET said = $5 WHERE source = $1 AND organization = $2 AND fence = $3 AND said = $4",
            )
            .bind(&batch.source)
            .bind(&**organization)
            .bind(item.fence)
            .bind(before)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
