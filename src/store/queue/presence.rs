//! Who is there to work. Somebody says every few seconds that they are, and what they hold is their own for as long as the
//! database believes that: all moments are its own, and a name whose time has passed never counts again.

use std::sync::Arc;
use std::time::Duration;

use crate::store::Store;
use crate::store::error::StoreError;

/// How many replicas are there, each with its workers.
pub(super) const REPLICAS: &str = "SELECT count(DISTINCT regexp_replace(name, '/[^/]*$', '')) FROM argus.replica
                        WHERE valid_until > clock_timestamp()";

/// Who works, as the database sees it. Each worker of a replica is somebody by itself: what one of them has lost track of is
/// free as soon as it goes on under another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder(Arc<str>);

impl Holder {
    /// Somebody of this name, which nobody else has or has ever had. What stands before the last `/` is the replica.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Holder(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Store {
    /// Says that somebody begins to work, and for how long that is believed.
    pub async fn arrive(&self, holder: &Holder, lease: Duration) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "INSERT INTO argus.replica (name, valid_until) VALUES ($1, clock_timestamp() + make_interval(secs => $2))",
        )
        .bind(holder.as_str())
        .bind(lease.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
        // Whoever is gone for long is of no interest.
        sqlx::query("DELETE FROM argus.replica WHERE valid_until < clock_timestamp() - interval '1 day'")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Says that some are still there, and for how long that is believed. Gives those who are: whose time has passed has lost
    /// all that they held.
    pub async fn beat(&self, holders: &[Holder], lease: Duration) -> Result<Vec<Holder>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let alive: Vec<String> = sqlx::query_scalar(
            "UPDATE argus.replica SET valid_until = clock_timestamp() + make_interval(secs => $2)
             WHERE name = ANY ($1) AND valid_until > clock_timestamp() RETURNING name",
        )
        .bind(names(holders))
        .bind(lease.as_secs_f64())
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(alive.into_iter().map(Holder::new).collect())
    }

    /// Gives back all that some hold: others need not wait until their time has passed.
    pub async fn leave(&self, holders: &[Holder]) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query("DELETE FROM argus.replica WHERE name = ANY ($1)")
            .bind(names(holders))
            .execute(&mut *transaction)
            .await?;
        sqlx::query("SELECT pg_notify('argus_work', '')").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Whether a replica is there with any of its workers.
    pub async fn is_there(&self, replica: &str) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let query = "SELECT EXISTS (SELECT FROM argus.replica
                                    WHERE starts_with(name, $1 || '/') AND valid_until > clock_timestamp())";
        Ok(sqlx::query_scalar(query).bind(replica).fetch_one(&mut *transaction).await?)
    }

    /// How many replicas are there.
    pub async fn replicas(&self) -> Result<usize, StoreError> {
        let mut transaction = self.reconciling().await?;
        let many: i64 = sqlx::query_scalar(REPLICAS).fetch_one(&mut *transaction).await?;
        Ok(many.max(0) as usize)
    }
}

fn names(holders: &[Holder]) -> Vec<String> {
    holders.iter().map(|holder| holder.as_str().to_owned()).collect()
}
