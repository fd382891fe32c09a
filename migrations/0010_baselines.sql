-- Which commit each organization was applied from last. What a run of the source has applied of one organization says
-- nothing of another one, which was held then.
--
-- expand: two tables. What was applied before counts for the whole source, as it did until now.
-- contract: nothing to remove later.

-- Where a source stands, and the run that has moved it last.
CREATE TABLE argus.source_baseline (
    source text PRIMARY KEY,
    -- None where no run has applied, or looked at, all of it.
    commit text CHECK (length(commit) <= 100),
    run    text NOT NULL REFERENCES argus.run (id)
);
GRANT SELECT ON argus.source_baseline TO argus_planner, argus_reconciler;
GRANT INSERT, UPDATE ON argus.source_baseline TO argus_reconciler;

-- The organizations that stand somewhere else, because they were held, or were applied while others were.
CREATE TABLE argus.organization_baseline (
    source       text NOT NULL,
    organization text NOT NULL,
    -- None where nothing of it has been applied yet.
    commit       text CHECK (length(commit) <= 100),
    PRIMARY KEY (source, organization)
);
SELECT argus.isolate('organization_baseline', 'organization', 'SELECT');
GRANT INSERT, UPDATE, DELETE ON argus.organization_baseline TO argus_reconciler;

INSERT INTO argus.source_baseline (source, commit, run)
SELECT DISTINCT ON (r.source) r.source, r.commit ->> 'id', r.id
FROM argus.run r
WHERE r.commit IS NOT NULL
  AND (r.outcome = 'succeeded' OR EXISTS (
          SELECT FROM argus.run_organization o WHERE o.run = r.id AND o.outcome = 'applied'))
ORDER BY r.source, r.started_at DESC, r.id DESC;
