//! Deliveries: which events wait for which sink, who delivers them, and what has arrived. Whoever delivers holds parts of
//! a sink by leases; the time of the database decides when they end, and a fence shuts out whoever had a part before.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{PgConnection, Row as _};

use super::Store;
use super::error::StoreError;
use crate::event::cloud::Event;

/// A part of a sink that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number.
    pub number: i16,
    /// How often it has changed hands.
    pub fence: i64,
    /// Whether something of it may have arrived without having been confirmed.
    pub uncertain: bool,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The sink has it.
    Confirmed,
    /// The sink will never take it, for this reason.
    Refused(String),
}

impl Store {
    /// Registers a sink: whatever happens from now on waits for it. Says whether it is new.
    pub async fn register_sink(&self, sink: &str) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let new = sqlx::query("INSERT INTO argus.sink (name) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(sink)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO argus.shard (sink, shard) SELECT $1, n::smallint FROM generate_series(0, argus.shards() - 1) n
             ON CONFLICT DO NOTHING",
        )
        .bind(sink)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(new.rows_affected() > 0)
    }

    /// Registers a sink that somebody has forgotten while events are delivered to it, and says so.
    pub async fn register_again(&self, sink: &str) {
        if let Ok(true) = self.register_sink(sink).await {
            tracing::warn!(sink, "the sink {sink} was forgotten elsewhere; events are kept for it again from now on");
        }
    }

    /// Forgets a sink and all that waits for it. Says whether there was one.
    pub async fn forget_sink(&self, sink: &str) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let gone = sqlx::query("DELETE FROM argus.sink WHERE name = $1").bind(sink).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(gone.rows_affected() > 0)
    }

    /// Says that somebody is there to deliver for a while, keeps the parts of theirs, takes a fair share of those that
    /// nobody holds, and gives back what is more than that.
    pub async fn hold_shards(&self, sink: &str, holder: &str, lease: Duration) -> Result<Vec<Shard>, StoreError> {
        let seconds = lease.as_secs_f64();
        let mut transaction = self.reconciling().await?;
        sqlx::query("DELETE FROM argus.relay WHERE sink = $1 AND until < clock_timestamp()")
            .bind(sink)
            .execute(&mut *transaction)
            .await?;
        let there: i64 = sqlx::query_scalar(
            "WITH me AS (
                 INSERT INTO argus.relay (sink, holder, until)
                 VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
                 ON CONFLICT (sink, holder) DO UPDATE SET until = excluded.until)
             SELECT 1 + count(*) FROM argus.relay WHERE sink = $1 AND holder <> $2",
        )
        .bind(sink)
        .bind(holder)
        .bind(seconds)
        .fetch_one(&mut *transaction)
        .await?;
        // Those that are held stay as far as the share goes; the uncertain ones first, for only they have to be asked for.
        let rows = sqlx::query(
            "WITH share AS (SELECT ceil(argus.shards()::numeric / $4)::bigint AS most),
             mine AS (
                 SELECT shard, row_number() OVER (ORDER BY sending IS NULL, shard) AS place FROM argus.shard
                 WHERE sink = $1 AND holder = $2 AND until >= clock_timestamp()),
             let_go AS (
                 UPDATE argus.shard s SET holder = NULL, until = '-infinity' FROM mine, share
                 WHERE s.sink = $1 AND s.shard = mine.shard AND mine.place > share.most AND s.sending IS NULL
                 RETURNING s.shard),
             free AS (
                 SELECT shard FROM argus.shard
                 WHERE sink = $1 AND (holder IS NULL OR until < clock_timestamp())
                 ORDER BY sending IS NULL, shard
                 LIMIT (SELECT greatest(most - (SELECT count(*) FROM mine), 0) FROM share)
                 FOR UPDATE SKIP LOCKED),
             held AS (
                 UPDATE argus.shard s
                 SET holder = $2, until = clock_timestamp() + make_interval(secs => $3),
                     fence = s.fence + CASE WHEN s.shard IN (SELECT shard FROM free) THEN 1 ELSE 0 END
                 WHERE s.sink = $1 AND s.shard NOT IN (SELECT shard FROM let_go)
                   AND (s.shard IN (SELECT shard FROM mine) OR s.shard IN (SELECT shard FROM free))
                 RETURNING s.shard, s.fence, s.sending IS NOT NULL)
             SELECT * FROM held ORDER BY 1",
        )
        .bind(sink)
        .bind(holder)
        .bind(seconds)
        .bind(there)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let shard = |row: &sqlx::postgres::PgRow| {
            Ok(Shard { number: row.try_get(0)?, fence: row.try_get(1)?, uncertain: row.try_get(2)? })
        };
        rows.iter().map(shard).collect()
    }

    /// Says that somebody is still there, and keeps what is theirs for another while. What has passed stays passed.
    pub async fn keep_shards(&self, sink: &str, holder: &str, lease: Duration) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        for statement in [
            "UPDATE argus.relay SET until = clock_timestamp() + make_interval(secs => $3)
             WHERE sink = $1 AND holder = $2 AND until >= clock_timestamp()",
            "UPDATE argus.shard SET until = clock_timestamp() + make_interval(secs => $3)
             WHERE sink = $1 AND holder = $2 AND until >= clock_timestamp()",
        ] {
            let query = sqlx::query(statement).bind(sink).bind(holder).bind(lease.as_secs_f64());
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Gives back everything that somebody holds of a sink. What is uncertain stays so.
    pub async fn release_shards(&self, sink: &str, holder: &str) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query("DELETE FROM argus.relay WHERE sink = $1 AND holder = $2")
            .bind(sink)
            .bind(holder)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE argus.shard SET holder = NULL, until = '-infinity' WHERE sink = $1 AND holder = $2")
            .bind(sink)
            .bind(holder)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The events that wait in these parts, in order per organization; at most so many of each part. From now on it is uncertain which of
    /// them have arrived.
    pub async fn claim(&self, sink: &str, shards: &[Shard], at_most: i64) -> Result<Vec<Event>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let rows = sqlx::query(
            "SELECT e.organization, e.position, e.id::text, e.type, e.subject, e.at, e.trace, e.data::text, d.shard,
                    (SELECT id::text FROM argus.installation)
             FROM unnest($2::smallint[]) AS s(shard)
             CROSS JOIN LATERAL (SELECT * FROM argus.delivery d WHERE d.sink = $1 AND d.shard = s.shard
                                 ORDER BY d.organization, d.position LIMIT $3) d
             JOIN argus.event e USING (organization, position)
             ORDER BY d.shard, d.organization, d.position",
        )
        .bind(sink)
        .bind(numbers(shards))
        .bind(at_most)
        .fetch_all(&mut *transaction)
        .await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut events = Vec::with_capacity(rows.len());
        let mut of: Vec<i16> = Vec::new();
        for row in &rows {
            let shard: i16 = row.try_get(8)?;
            if of.last() != Some(&shard) {
                of.push(shard);
            }
            events.push(Event {
                organization: row.try_get(0)?,
                shard,
                position: row.try_get(1)?,
                id: row.try_get(2)?,
                of: row.try_get(3)?,
                subject: row.try_get(4)?,
                at: row.try_get(5)?,
                trace: row.try_get(6)?,
                content: row.try_get(7)?,
                installation: row.try_get(9)?,
            });
        }
        let claimed: Vec<Shard> = shards.iter().filter(|shard| of.contains(&shard.number)).copied().collect();
        fenced(
            &mut transaction,
            "UPDATE argus.shard s SET sending = COALESCE(s.sending, clock_timestamp())",
            sink,
            &claimed,
        )
        .await?;
        transaction.commit().await?;
        Ok(events)
    }

    /// Notes what has arrived of a claim. Nothing of what is left is uncertain if `settled`. Fails, and notes nothing, if a
    /// part is no longer held.
    pub async fn confirm(
        &self,
        sink: &str,
        shards: &[Shard],
        arrivals: &[(&Event, Arrival)],
        settled: bool,
    ) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        confirm(&mut transaction, sink, shards, arrivals, settled).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Drops events that are older than this and that nobody waits for. Gives how many went.
    pub async fn forget_events(&self, keep: Duration, at_most: i32) -> Result<i64, StoreError> {
        let mut transaction = self.reconciling().await?;
        let gone = sqlx::query_scalar("SELECT argus.forget_events(clock_timestamp() - make_interval(secs => $1), $2)")
            .bind(keep.as_secs_f64())
            .bind(at_most)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(gone)
    }

    /// What each sink will not take, by its name.
    pub async fn undeliverable(&self) -> Result<BTreeMap<String, i64>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT sink, count(*) FROM argus.undeliverable GROUP BY sink")
            .fetch_all(&mut *transaction)
            .await?;
        Ok(rows.into_iter().collect())
    }
}

/// Notes what has arrived, within a transaction of somebody's.
pub(super) async fn confirm(
    connection: &mut PgConnection,
    sink: &str,
    shards: &[Shard],
    arrivals: &[(&Event, Arrival)],
    settled: bool,
) -> Result<(), StoreError> {
    let set = if settled { "NULL" } else { "s.sending" };
    fenced(connection, &format!("UPDATE argus.shard s SET sending = {set}"), sink, shards).await?;
    let (mut organizations, mut positions) = (Vec::new(), Vec::new());
    for (event, _) in arrivals {
        organizations.push(event.organization.as_str());
        positions.push(event.position);
    }
    sqlx::query(
        "DELETE FROM argus.delivery d USING unnest($2::text[], $3::bigint[]) AS a(organization, position)
         WHERE d.sink = $1 AND d.shard = argus.shard_of(a.organization) AND d.organization = a.organization
           AND d.position = a.position",
    )
    .bind(sink)
    .bind(organizations)
    .bind(positions)
    .execute(&mut *connection)
    .await?;
    for (event, arrival) in arrivals {
        let Arrival::Refused(why) = arrival else { continue };
        sqlx::query(
            "INSERT INTO argus.undeliverable (sink, organization, position, why) VALUES ($1, $2, $3, left($4, 1000))
             ON CONFLICT DO NOTHING",
        )
        .bind(sink)
        .bind(&event.organization)
        .bind(event.position)
        .bind(why)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn numbers(shards: &[Shard]) -> Vec<i16> {
    shards.iter().map(|shard| shard.number).collect()
}

/// Changes parts that are held; an error if one of them is not.
async fn fenced(connection: &mut PgConnection, change: &str, sink: &str, shards: &[Shard]) -> Result<(), StoreError> {
    let statement = format!(
        "{change} FROM unnest($2::smallint[], $3::bigint[]) AS h(shard, fence)
         WHERE s.sink = $1 AND s.shard = h.shard AND s.fence = h.fence AND s.until > clock_timestamp()"
    );
    let changed = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(sink)
        .bind(numbers(shards))
        .bind(shards.iter().map(|shard| shard.fence).collect::<Vec<i64>>())
        .execute(connection)
        .await?;
    if changed.rows_affected() == shards.len() as u64 {
        Ok(())
    } else {
        Err(StoreError::Fenced { sink: sink.to_owned() })
    }
}
