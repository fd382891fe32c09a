//! Telling: events are rows of the transaction that they tell of.

pub mod listed;

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::Store;
use super::error::StoreError;
use crate::event::Draft;
use crate::event::telling::{DRIFT, Lasting};
use crate::trace;

/// The most that is told in one statement.
const STATEMENT_EVENTS: usize = 2_000;

/// Tells of things that have happened to an organization, in order, as part of the trace that is at hand.
pub(super) async fn tell(
    connection: &mut PgConnection,
    organization: &str,
    run: Option<&str>,
    drafts: &[Draft],
) -> Result<(), sqlx::Error> {
    let trace = trace::current().map(|here| here.to_string());
    for drafts in drafts.chunks(STATEMENT_EVENTS) {
        let column = |of: fn(&Draft) -> &str| drafts.iter().map(of).collect::<Vec<&str>>();
        sqlx::query("SELECT argus.tell($1, $2, $3, $4, $5, $6)")
            .bind(organization)
            .bind(run)
            .bind(trace.as_deref())
            .bind(column(|draft| draft.of))
            .bind(column(|draft| &draft.subject))
            .bind(column(|draft| &draft.content))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Whose lasting matters are told of.
#[derive(Clone, Copy, Debug)]
pub struct Teller<'a> {
    /// The run that found them.
    pub run: Option<&'a str>,
    /// The source.
    pub source: &'a str,
    /// The organization; empty for those of the source itself.
    pub organization: &'a str,
}

impl Teller<'_> {
    /// Tells of what lasts, unless it was told already and is still the same.
    pub(super) async fn tell_lasting(
        &self,
        connection: &mut PgConnection,
        lasting: &[Lasting],
    ) -> Result<(), sqlx::Error> {
        let column = |of: fn(&Lasting) -> &str| lasting.iter().map(of).collect::<Vec<&str>>();
        let new: Vec<String> = sqlx::query_scalar(
            "INSERT INTO argus.told AS t (organization, source, matter, digest)
             SELECT DISTINCT ON (l.matter) $1, $2, l.matter, l.digest FROM unnest($3::text[], $4::text[]) AS l(matter, digest)
             ON CONFLICT (organization, source, matter) DO UPDATE SET digest = excluded.digest, since = clock_timestamp()
                 WHERE t.digest <> excluded.digest
             RETURNING matter",
        )
        .bind(self.organization)
        .bind(self.source)
        .bind(column(|lasting| &lasting.matter))
        .bind(column(|lasting| &lasting.digest))
        .fetch_all(&mut *connection)
        .await?;
        let new = lasting.iter().filter(|lasting| new.contains(&lasting.matter));
        let drafts: Vec<Draft> = new.map(|lasting| lasting.draft.clone()).collect();
        tell(connection, self.organization, self.run, &drafts).await
    }

    /// Forgets what was told of matters that begin like this and are not among those that last. Gives what it was.
    pub(super) async fn forget_others(
        &self,
        connection: &mut PgConnection,
        beginning: &str,
        lasting: &[&str],
    ) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(
            "DELETE FROM argus.told WHERE organization = $1 AND source = $2 AND starts_with(matter, $3)
               AND NOT matter = ANY ($4) RETURNING matter",
        )
        .bind(self.organization)
        .bind(self.source)
        .bind(beginning)
        .bind(lasting)
        .fetch_all(connection)
        .await
    }
}

impl Store {
    /// Tells of some of what lasts in an organization.
    pub async fn tell_lasting(&self, teller: &Teller<'_>, lasting: &[Lasting]) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        teller.tell_lasting(&mut transaction, lasting).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// What was told of a source that lasts: by organization and matter the digest of what it was.
    pub async fn told(&self, source: &str) -> Result<BTreeMap<String, BTreeMap<String, String>>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let query = "SELECT organization, matter, digest FROM argus.told WHERE source = $1";
        let rows: Vec<(String, String, String)> =
            sqlx::query_as(query).bind(source).fetch_all(&mut *transaction).await?;
        let mut told: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (organization, matter, digest) in rows {
            told.entry(organization).or_default().insert(matter, digest);
        }
        Ok(told)
    }

    /// Tells of all that lasts in an organization, and of drift that was told and is neither among it nor still there.
    pub async fn tell_all_lasting(
        &self,
        teller: &Teller<'_>,
        lasting: &[Lasting],
        still: &[String],
        resolved: impl Fn(&str) -> Draft,
    ) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        teller.tell_lasting(&mut transaction, lasting).await?;
        let there = lasting.iter().map(|lasting| &lasting.matter).chain(still).map(String::as_str);
        let gone = teller.forget_others(&mut transaction, DRIFT, &there.collect::<Vec<_>>()).await?;
        let drafts: Vec<Draft> = gone.iter().map(|matter| resolved(&matter[DRIFT.len()..])).collect();
        tell(&mut transaction, teller.organization, teller.run, &drafts).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The organizations of a source of which drift was told that cannot be there any more, because they have been found
    /// settled since.
    pub async fn told_and_settled(&self, source: &str) -> Result<Vec<String>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let settled = sqlx::query_scalar(
            "SELECT DISTINCT t.organization FROM argus.told t
             JOIN argus.pass p ON p.organization = t.organization AND p.source = t.source
             JOIN argus.clock c ON c.organization = t.organization AND c.version = p.version
             WHERE t.source = $1 AND starts_with(t.matter, $2)",
        )
        .bind(source)
        .bind(DRIFT)
        .fetch_all(&mut *transaction)
        .await?;
        Ok(settled)
    }

    /// Tells whether a source gets on: that it does not, once for each reason; and that it does again.
    pub async fn tell_source(
        &self,
        source: &str,
        stalled: Option<&Lasting>,
        recovered: &Draft,
    ) -> Result<(), StoreError> {
        let teller = Teller { run: None, source, organization: "" };
        let mut transaction = self.reconciling().await?;
        match stalled {
            Some(stalled) => teller.tell_lasting(&mut transaction, std::slice::from_ref(stalled)).await?,
            None => {
                let was = teller.forget_others(&mut transaction, crate::event::telling::SOURCE, &[]).await?;
                if !was.is_empty() {
                    tell(&mut transaction, "", None, std::slice::from_ref(recovered)).await?;
                }
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// How many events wait for each sink, and since when the oldest does, in seconds.
    pub async fn backlog(&self) -> Result<Vec<(String, i64, f64)>, StoreError> {
        Ok(backlog(&mut *self.reconciling().await?).await?)
    }
}

/// How many events wait for each sink, and since when the oldest does, in seconds.
pub(super) async fn backlog(connection: &mut PgConnection) -> Result<Vec<(String, i64, f64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT s.name, count(d.position),
                COALESCE(extract(epoch FROM clock_timestamp() - min(e.at))::float8, 0)
         FROM argus.sink s LEFT JOIN argus.delivery d ON d.sink = s.name
         LEFT JOIN argus.event e ON e.organization = d.organization AND e.position = d.position
         GROUP BY s.name ORDER BY s.name",
    )
    .fetch_all(connection)
    .await
}
