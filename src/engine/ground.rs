//! What a plan is made on: the database, or a picture of it. The path is the same for both, and all that is read goes
//! through a [`View`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::picture::{Picture, Seen};
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::state::{Applied, Live, World};
use crate::store::Store;
use crate::store::approvals::{Open, PlanKey};
use crate::store::baselines::Baselines;
use crate::store::error::StoreError;
use crate::store::planning::{OrganizationState, Planning};

/// What a plan is made on.
#[derive(Clone, Copy, Debug)]
pub enum Ground<'a> {
    /// The database.
    Database(&'a Store),
    /// A picture of it. Neither database nor network is touched.
    Picture(&'a Picture),
}

impl<'a> From<&'a Store> for Ground<'a> {
    fn from(store: &'a Store) -> Self {
        Ground::Database(store)
    }
}

impl<'a> From<&'a Picture> for Ground<'a> {
    fn from(picture: &'a Picture) -> Self {
        Ground::Picture(picture)
    }
}

impl Ground<'_> {
    /// What somebody sees of it who has these manifests.
    pub async fn view(self, world: &World, now: DateTime<Utc>) -> Result<View, StoreError> {
        Ok(match self {
            Ground::Database(store) => View::Database(Box::new(store.planning().await?)),
            Ground::Picture(picture) => View::Picture(Box::new(Seen::new(picture, world, now))),
        })
    }

    /// Where a source and its organizations stand. A picture knows it of the whole alone.
    pub async fn baselines(self, source: &str) -> Result<Baselines, StoreError> {
        match self {
            Ground::Database(store) => store.planning().await?.baselines(source).await,
            Ground::Picture(picture) => Ok(Baselines { whole: picture.last_commit(), own: BTreeMap::new() }),
        }
    }

    /// The commits that other sources were applied from. A picture is of one source.
    pub async fn commits_of_others(self, source: &str) -> Result<BTreeSet<String>, StoreError> {
        match self {
            Ground::Database(store) => store.planning().await?.commits_of_others(source).await,
            Ground::Picture(_) => Ok(BTreeSet::new()),
        }
    }
}

/// Everything that planning reads, as of one moment.
#[derive(Debug)]
pub enum View {
    /// A transaction.
    Database(Box<Planning>),
    /// A picture.
    Picture(Box<Seen>),
}

impl From<Planning> for View {
    fn from(planning: Planning) -> Self {
        View::Database(Box::new(planning))
    }
}

impl View {
    /// See [`Planning::states`].
    pub async fn states(
        &mut self,
        source: &str,
        only: Option<&BTreeSet<OrganizationName>>,
    ) -> Result<BTreeMap<OrganizationName, OrganizationState>, StoreError> {
        match self {
            View::Database(planning) => planning.states(source, only).await,
            View::Picture(seen) => Ok(seen.states()),
        }
    }

    /// See [`Planning::live`].
    pub async fn live(&mut self, of: &[OrganizationName]) -> Result<BTreeMap<OrganizationName, Live>, StoreError> {
        match self {
            View::Database(planning) => planning.live(of).await,
            View::Picture(seen) => Ok(seen.live(of)),
        }
    }

    /// See [`Planning::applied`].
    pub async fn applied(
        &mut self,
        of: &[OrganizationName],
    ) -> Result<BTreeMap<OrganizationName, Applied>, StoreError> {
        match self {
            View::Database(planning) => planning.applied(of).await,
            View::Picture(seen) => Ok(seen.applied(of)),
        }
    }

    /// See [`Planning::organizations_of_files`].
    pub async fn organizations_of_files(
        &mut self,
        source: &str,
        files: &[Arc<str>],
    ) -> Result<BTreeSet<OrganizationName>, StoreError> {
        match self {
            View::Database(planning) => planning.organizations_of_files(source, files).await,
            View::Picture(seen) => Ok(seen.organizations_of_files(source, files)),
        }
    }

    /// See [`Planning::tier_users`].
    pub async fn tier_users(&mut self) -> Result<BTreeMap<Arc<str>, Vec<OrganizationName>>, StoreError> {
        match self {
            View::Database(planning) => planning.tier_users().await,
            View::Picture(seen) => Ok(seen.tier_users()),
        }
    }

    /// See [`Planning::was_policed`].
    pub async fn was_policed(&mut self, source: &str) -> Result<bool, StoreError> {
        match self {
            View::Database(planning) => planning.was_policed(source).await,
            View::Picture(seen) => Ok(seen.was_policed()),
        }
    }

    /// See [`Planning::open_approvals`]. No picture holds any.
    pub async fn open_approvals(&mut self, of: &[PlanKey]) -> Result<Option<Open>, StoreError> {
        match self {
            View::Database(planning) => planning.open_approvals(of).await.map(Some),
            View::Picture(_) => Ok(None),
        }
    }

    /// The transaction, for what no picture holds: who moved what.
    pub fn database(&mut self) -> Option<&mut Planning> {
        match self {
            View::Database(planning) => Some(planning),
            View::Picture(_) => None,
        }
    }

    /// Whether the rows of an organization can be read.
    pub fn holds(&self, organization: &str) -> bool {
        match self {
            View::Database(_) => true,
            View::Picture(seen) => seen.holds(organization),
        }
    }

    /// Organizations of which nobody can say here what would happen to them.
    pub fn beyond(&self) -> BTreeSet<OrganizationName> {
        match self {
            View::Database(_) => BTreeSet::new(),
            View::Picture(seen) => seen.beyond().clone(),
        }
    }

    /// What is to be known of a plan that is made here.
    pub fn findings(&self) -> Vec<Finding> {
        match self {
            View::Database(_) => Vec::new(),
            View::Picture(seen) => seen.findings(),
        }
    }
}
