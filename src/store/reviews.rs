//! Reviews: changes that are asked for and wait for a plan. Whoever plans one holds it as long as they are there; what was heard of
//! it meanwhile is planned next.

use std::time::Duration;

use sqlx::Row as _;

use super::Store;
use super::error::StoreError;
use super::queue::Holder;
use super::reports::{self, Report};

/// One that somebody holds.
#[derive(Clone, Debug)]
pub struct Review {
    /// The source.
    pub source: String,
    /// Its number.
    pub number: i64,
    /// The newest head that was heard of.
    pub head: String,
    /// How often it was begun since it last came to an end.
    pub tries: u32,
    asked: i64,
    fence: i64,
}

impl Store {
    /// Takes the one of these sources that has been due for longest.
    pub async fn claim_review(&self, sources: &[&str], holder: &Holder) -> Result<Option<Review>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let row = sqlx::query(
            "WITH due AS (
                 SELECT source, number FROM argus.review
                 WHERE source = ANY ($1) AND asked > answered AND due <= clock_timestamp()
                   -- Whoever asks plans one at a time: what they hold they did not come to an end with.
                   AND (holder IS NULL OR holder = $2 OR NOT argus.is_held(holder))
                 ORDER BY due LIMIT 1 FOR UPDATE SKIP LOCKED)
             UPDATE argus.review r SET holder = $2, fence = r.fence + 1, tries = r.tries + 1
             FROM due d WHERE r.source = d.source AND r.number = d.number AND argus.is_held($2)
             RETURNING r.source, r.number, r.head, r.tries, r.asked, r.fence",
        )
        .bind(sources)
        .bind(holder.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Review {
            source: row.try_get(0)?,
            number: row.try_get(1)?,
            head: row.try_get(2)?,
            tries: row.try_get::<i32, _>(3)?.unsigned_abs(),
            asked: row.try_get(4)?,
            fence: row.try_get(5)?,
        }))
    }

    /// Notes what came of one, and asks for what is told of it: both or neither. Where something newer was heard of meanwhile
    /// nothing is told, and it is planned anew. Says whether something was told.
    pub async fn settle_review(
        &self,
        review: &Review,
        told: &[Report],
        again: Option<Duration>,
        why: Option<&str>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let newest: Option<bool> = sqlx::query_scalar(
            "UPDATE argus.review
             SET holder = NULL, answered = CASE WHEN $5::float8 IS NULL THEN GREATEST(answered, $4) ELSE answered END,
                 tries = CASE WHEN $5 IS NULL THEN 0 ELSE tries END, why = left($6, 500),
                 due = clock_timestamp() + make_interval(secs => CASE WHEN asked > $4 THEN 0 ELSE COALESCE($5, 0) END)
             WHERE source = $1 AND number = $2 AND fence = $3
             RETURNING asked = $4",
        )
        .bind(&review.source)
        .bind(review.number)
        .bind(review.fence)
        .bind(review.asked)
        .bind(again.map(|again| again.as_secs_f64()))
        .bind(why)
        .fetch_optional(&mut *transaction)
        .await?;
        let tells = newest == Some(true);
        if tells {
            for report in told {
                reports::ask(&mut transaction, report).await?;
            }
        }
        transaction.commit().await?;
        Ok(tells)
    }
}
