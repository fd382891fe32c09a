-- The controller: the sources that it looks at, the organizations that wait to be worked on, and who works on them.
--
-- expand: everything here is new. A binary that knows nothing of it applies without a lease, as `argus apply` does: rows
--         that it moves make the plans of others stale, as ever.
-- contract: nothing to remove later.

-- Somebody who works: a worker of a replica. Everything that they hold is theirs for as long as this says, by the clock of the database. A name
-- is never used again once its time is over.
CREATE TABLE argus.replica (
    name        text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 200),
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    valid_until timestamptz NOT NULL
);
GRANT SELECT ON argus.replica TO argus_planner, argus_reconciler;
GRANT INSERT, UPDATE, DELETE ON argus.replica TO argus_reconciler;

-- Every name in it is whole, so that it needs no path of its own and becomes part of the statement that asks.
CREATE FUNCTION argus.is_held(by_replica text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT by_replica IS NOT NULL AND EXISTS (
        SELECT FROM argus.replica r WHERE r.name = by_replica AND r.valid_until > pg_catalog.clock_timestamp())
$$;
GRANT EXECUTE ON FUNCTION argus.is_held(text) TO argus_planner, argus_reconciler;

-- A source, and what the last look at it has found.
CREATE TABLE argus.source (
    name         text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 63),
    -- What it is: `git`, `cluster`.
    form         text NOT NULL CHECK (length(form) <= 20),
    -- How often somebody has asked for a look, and how many of these a look has answered.
    asked        bigint NOT NULL DEFAULT 1,
    answered     bigint NOT NULL DEFAULT 0,
    -- When it was last looked at, when so without shortcuts, and when so with success.
    looked_at    timestamptz,
    full_at      timestamptz,
    succeeded_at timestamptz,
    -- How many looks have failed in a row, and why the last one did.
    failures     integer NOT NULL DEFAULT 0,
    findings     json NOT NULL DEFAULT '[]',
    -- What was found last: `main@sha1:…`.
    revision     text CHECK (length(revision) <= 500),
    -- Who looks at it now.
    holder       text,
    fence        bigint NOT NULL DEFAULT 0
);
GRANT SELECT ON argus.source TO argus_planner, argus_reconciler;
GRANT INSERT, UPDATE, DELETE ON argus.source TO argus_reconciler;

-- An organization of a source: whether somebody has to work on it, and what came of it last.
CREATE TABLE argus.work (
    source       text NOT NULL REFERENCES argus.source (name) ON DELETE CASCADE,
    organization text NOT NULL,
    -- It waits as long as it was asked for more often than answered, and not before it is due.
    asked        bigint NOT NULL DEFAULT 1,
    answered     bigint NOT NULL DEFAULT 0,
    asked_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    due          timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What the source said of it, and the version of its rows, when it was last asked for.
    said         text,
    version      bigint,
    -- Who works on it now, together with what; of two who believe to, the fence tells who does.
    holder       text,
    batch        text,
    fence        bigint NOT NULL DEFAULT 0,
    -- How often it was begun without coming to an end, and how often in a row it ended badly.
    tries        integer NOT NULL DEFAULT 0,
    failures     integer NOT NULL DEFAULT 0,
    -- What came of it last, in a word, and why.
    outcome      text CHECK (length(outcome) <= 20),
    findings     json NOT NULL DEFAULT '[]',
    revision     text CHECK (length(revision) <= 500),
    tried_at     timestamptz,
    -- How often in a row somebody else has undone what this source says, who did it last, and when that was.
    undone       integer NOT NULL DEFAULT 0,
    undone_what  text CHECK (length(undone_what) <= 500),
    undone_by    text CHECK (length(undone_by) <= 500),
    undone_at    timestamptz,
    PRIMARY KEY (source, organization)
);
CREATE INDEX work_waiting ON argus.work (source, due) WHERE asked > answered;
CREATE INDEX work_held ON argus.work (holder) WHERE holder IS NOT NULL;
-- What Argus does with it is not the tenant's business.
SELECT argus.isolate('work', 'organization', '');
GRANT INSERT, UPDATE, DELETE ON argus.work TO argus_reconciler;

-- Asks for a look at a source. Gives whether there is one of this name.
CREATE FUNCTION argus.wake_source(of_source text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    UPDATE argus.source SET asked = asked + 1 WHERE name = of_source;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM pg_notify('argus_work', '');
    RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION argus.wake_source(text) TO argus_reconciler;

-- Asks for work on an organization, at once; of a source, or of all that know it. Gives how many do.
CREATE FUNCTION argus.wake_organization(of_source text, of_organization text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    woken bigint;
BEGIN
    UPDATE argus.work SET asked = asked + 1, asked_at = clock_timestamp(), due = clock_timestamp(), failures = 0
    WHERE organization = of_organization AND (of_source IS NULL OR source = of_source);
    GET DIAGNOSTICS woken = ROW_COUNT;
    PERFORM pg_notify('argus_work', '') WHERE woken > 0;
    RETURN woken;
END $$;
GRANT EXECUTE ON FUNCTION argus.wake_organization(text, text) TO argus_reconciler;

-- What was held may be let through now.
CREATE FUNCTION argus.wake_what_it_frees() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    CASE TG_TABLE_NAME
        WHEN 'approval' THEN
            PERFORM argus.wake_organization(NULL, NEW.organization);
        WHEN 'suspension' THEN
            UPDATE argus.work SET asked = asked + 1, asked_at = clock_timestamp(), due = clock_timestamp()
            WHERE outcome = 'stopped' AND (NEW.source = '' OR source = NEW.source)
              AND (NEW.organization = '' OR organization = NEW.organization);
            PERFORM pg_notify('argus_work', '');
    END CASE;
    RETURN NULL;
END $$;
CREATE TRIGGER wake AFTER INSERT ON argus.approval
    FOR EACH ROW EXECUTE FUNCTION argus.wake_what_it_frees();
CREATE TRIGGER wake AFTER UPDATE OF lifted_at ON argus.suspension
    FOR EACH ROW EXECUTE FUNCTION argus.wake_what_it_frees();

-- Whether a replica still holds an organization under this fence. Until the transaction ends nobody can take it away.
CREATE FUNCTION argus.hold_work(of_source text, of_organization text, of_holder text, of_fence bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    PERFORM FROM argus.work w
    WHERE w.source = of_source AND w.organization = of_organization AND w.holder = of_holder AND w.fence = of_fence
      AND argus.is_held(w.holder)
    FOR UPDATE;
    RETURN FOUND;
END $$;
GRANT EXECUTE ON FUNCTION argus.hold_work(text, text, text, bigint) TO argus_reconciler;
