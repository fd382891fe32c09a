//! Hearing what the database tells by NOTIFY. Whoever waits looks by themselves as well: a word may be missed.

use std::time::Duration;

use sqlx::postgres::PgListener;

use super::Store;
use super::error::StoreError;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// That something has happened.
    Events,
    /// That audit rows wait to be sealed.
    Unsealed,
    /// That somebody has asked for work.
    Work,
}

impl Word {
    fn channel(self) -> &'static str {
        match self {
            Word::Events => "argus_events",
            Word::Unsealed => "argus_unsealed",
            Word::Work => "argus_work",
        }
    }
}

/// A session that hears one word.
#[derive(Debug)]
pub struct Ear(PgListener);

impl Store {
    /// Listens from now on.
    pub async fn ear(&self, word: Word) -> Result<Ear, StoreError> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(word.channel()).await?;
        Ok(Ear(listener))
    }
}

impl Ear {
    /// Waits until it is told, or for so long.
    pub async fn hear(&mut self, longest: Duration) -> Result<(), StoreError> {
        if let Ok(told) = tokio::time::timeout(longest, self.0.try_recv()).await {
            told?;
            // Many transactions tell at once: one answer to all of them is enough.
            while self.0.next_buffered().is_some() {}
        }
        Ok(())
    }
}
