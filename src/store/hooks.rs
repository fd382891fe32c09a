//! Hooks that have come: which were seen, and what they ask for. Both are noted together, so that a hook that was seen has done
//! what it asks for, and one that is sent again because nobody answered has done nothing yet.

use std::time::Duration;

use sqlx::PgConnection;

use super::Store;
use super::error::StoreError;

/// The most marks that are kept of one source; the oldest go first.
const MARKS_MAX: i64 = 20_000;

/// How long it is remembered that a plan was asked for.
const REVIEWS_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// What a delivery is known by: a digest, and how long it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The SHA-256.
    pub digest: [u8; 32],
    /// How long whatever has it is the same delivery.
    pub counts: Duration,
}

/// What a hook asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish<'a> {
    /// A look at the source.
    Look,
    /// A plan of what is asked for under a number.
    Plan {
        /// The number.
        number: i64,
        /// The commit that it ends with.
        head: &'a str,
    },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was seen before, and nothing was done.
    Before,
    /// It was done.
    Now,
}

impl Store {
    /// Notes that a hook has come, and does what it asks for unless one with one of these marks was seen before.
    pub async fn hear_hook(&self, source: &str, marks: &[Mark], wish: Wish<'_>) -> Result<Heard, StoreError> {
        let mut transaction = self.reconciling().await?;
        // Everybody takes these rows in the same order.
        let new = sqlx::query(
            "INSERT INTO argus.hook_seen AS s (source, mark, until)
             SELECT $1, m.mark, clock_timestamp() + make_interval(secs => max(m.counts))
             FROM unnest($2::bytea[], $3::float8[]) AS m(mark, counts) GROUP BY m.mark ORDER BY m.mark
             ON CONFLICT (source, mark) DO UPDATE SET until = excluded.until WHERE s.until < clock_timestamp()",
        )
        .bind(source)
        .bind(marks.iter().map(|mark| mark.digest.to_vec()).collect::<Vec<Vec<u8>>>())
        .bind(marks.iter().map(|mark| mark.counts.as_secs_f64()).collect::<Vec<f64>>())
        .execute(&mut *transaction)
        .await?;
        let heard = if new.rows_affected() < marks.len() as u64 { Heard::Before } else { Heard::Now };
        if heard == Heard::Now {
            fulfil(&mut transaction, source, wish).await?;
        }
        transaction.commit().await?;
        Ok(heard)
    }

    /// Drops marks that count no longer or are too many, and what was planned long ago.
    pub async fn forget_hooks(&self) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "DELETE FROM argus.hook_seen s USING (
                 SELECT source, mark, until, row_number() OVER (PARTITION BY source ORDER BY until DESC) AS place
                 FROM argus.hook_seen) k
             WHERE s.source = k.source AND s.mark = k.mark AND (k.until < clock_timestamp() OR k.place > $1)",
        )
        .bind(MARKS_MAX)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM argus.review
             WHERE asked <= answered AND asked_at < clock_timestamp() - make_interval(secs => $1)",
        )
        .bind(REVIEWS_KEPT.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}

async fn fulfil(connection: &mut PgConnection, source: &str, wish: Wish<'_>) -> Result<(), StoreError> {
    match wish {
        Wish::Look => {
            // Whoever does not know the source yet looks at it when they get to know it.
            sqlx::query("SELECT argus.wake_source($1)").bind(source).execute(connection).await?;
        }
        Wish::Plan { number, head } => {
            sqlx::query(
                "INSERT INTO argus.review AS r (source, number, head) VALUES ($1, $2, $3)
                 ON CONFLICT (source, number) DO UPDATE
                 SET head = excluded.head, asked = r.asked + 1, asked_at = clock_timestamp(), due = clock_timestamp(),
                     tries = 0",
            )
            .bind(source)
            .bind(number)
            .bind(head)
            .execute(&mut *connection)
            .await?;
            sqlx::query("SELECT pg_notify('argus_work', '')").execute(connection).await?;
        }
    }
    Ok(())
}
