-- The brakes: suspensions, what undoes a run, and what was rolled back.
--
-- expand: everything here is new. What a binary that knows nothing of it applies cannot be rolled back, and it passes by
--         suspensions: they count as soon as no such binary is left.
-- contract: nothing to remove later. What undoes a run has a version in itself.

----------------------------------------------------------------------------------------------------------------------
-- Suspensions

-- Nothing is written to a suspended organization, or on behalf of a suspended source. Rows stay for ever.
CREATE TABLE argus.suspension (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The source that is stopped; '' for any.
    source       text NOT NULL CHECK (length(source) <= 63),
    -- The organization that is stopped; '' for all of the source.
    organization text NOT NULL CHECK (length(organization) <= 63),
    reason       text NOT NULL CHECK (reason ~ '\S' AND reason !~ '[[:cntrl:]]' AND length(reason) <= 500),
    -- Whom to ask.
    owner        text NOT NULL CHECK (owner ~ '\S' AND owner !~ '[[:cntrl:]]' AND length(owner) <= 254),
    ends_at      timestamptz NOT NULL,
    created_at   timestamptz NOT NULL,
    -- Who the creator said to be, and the role that logged in. The database writes the latter.
    created_by   text NOT NULL CHECK (length(created_by) <= 500),
    created_role text NOT NULL,
    -- Whoever ended it before its time.
    lifted_at    timestamptz,
    lifted_by    text CHECK (length(lifted_by) <= 500),
    lifted_role  text,
    lift_reason  text CHECK (lift_reason ~ '\S' AND lift_reason !~ '[[:cntrl:]]' AND length(lift_reason) <= 500),
    CONSTRAINT suspension_of_something CHECK (source <> '' OR organization <> ''),
    CONSTRAINT suspension_ends CHECK (ends_at > created_at AND ends_at <= created_at + interval '90 days'),
    CONSTRAINT suspension_lifted_whole CHECK (num_nulls(lifted_at, lifted_by, lifted_role, lift_reason) IN (0, 4))
);
CREATE INDEX suspension_active ON argus.suspension (organization, source) WHERE lifted_at IS NULL;
-- Why Argus keeps out is not the tenant's business.
SELECT argus.isolate('suspension', 'organization', '');
GRANT INSERT (source, organization, reason, owner, ends_at, created_by),
      UPDATE (lifted_at, lifted_by, lift_reason) ON argus.suspension TO argus_reconciler;

-- The locks that stand between suspending and applying: whoever applies holds theirs shared until the commit.
CREATE FUNCTION argus.suspension_lock(of_source text, of_organization text) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT hashtextextended(CASE of_organization WHEN '' THEN 'argus.suspended.source:' || of_source
                                 ELSE 'argus.suspended.organization:' || of_organization END, 0)
$$;

-- Who and when are the database's own words. What is said stays said: a suspension is lifted once, and nothing else of
-- it ever changes.
CREATE FUNCTION argus.guard_suspension() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    ends text[] := '{lifted_at,lifted_by,lifted_role,lift_reason}';
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- What is being applied comes to its end first; what comes after sees the suspension. So nothing is written
        -- any more as soon as this is committed.
        PERFORM pg_advisory_xact_lock(argus.suspension_lock(NEW.source, NEW.organization));
        NEW.created_at := clock_timestamp();
        NEW.created_role := session_user;
        NEW.lifted_at := NULL;
        NEW.lifted_by := NULL;
        NEW.lifted_role := NULL;
        NEW.lift_reason := NULL;
        RETURN NEW;
    END IF;
    IF to_jsonb(OLD) - ends IS DISTINCT FROM to_jsonb(NEW) - ends OR OLD.lifted_at IS NOT NULL
       OR NEW.lifted_at IS NULL THEN
        RAISE EXCEPTION 'UPDATE of argus.suspension is refused: it is lifted, once, and nothing else changes'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    NEW.lifted_at := clock_timestamp();
    NEW.lifted_role := session_user;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON argus.suspension
    FOR EACH ROW EXECUTE FUNCTION argus.guard_suspension();
CREATE TRIGGER stays BEFORE DELETE ON argus.suspension
    FOR EACH ROW EXECUTE FUNCTION argus.refuse('what was suspended is never forgotten');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON argus.suspension
    FOR EACH STATEMENT EXECUTE FUNCTION argus.refuse('what was suspended is never forgotten');
REVOKE DELETE, TRUNCATE ON argus.suspension FROM argus_owner;

-- The suspension that stands in the way of a source that is about to write these organizations, the one that ends last.
-- Until the end of the transaction no other can come.
CREATE FUNCTION argus.suspension_of(of_source text, of_organizations text[]) RETURNS SETOF argus.suspension
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(argus.suspension_lock(of_source, ''));
    PERFORM pg_advisory_xact_lock_shared(argus.suspension_lock(of_source, o.name))
    FROM unnest(of_organizations) AS o(name) WHERE o.name <> '';
    -- A statement of its own sees all that was committed before the locks were given.
    RETURN QUERY SELECT s.* FROM argus.suspension s
        WHERE s.lifted_at IS NULL AND s.ends_at > clock_timestamp() AND s.source IN ('', of_source)
          AND (s.organization = '' OR s.organization = ANY (of_organizations))
        ORDER BY s.ends_at DESC, s.id LIMIT 1;
END $$;
GRANT EXECUTE ON FUNCTION argus.suspension_of(text, text[]) TO argus_reconciler;

----------------------------------------------------------------------------------------------------------------------
-- Rolling back

-- The run that this one rolls back.
ALTER TABLE argus.run ADD COLUMN rolls_back text REFERENCES argus.run (id);
CREATE INDEX run_that_rolls_back ON argus.run (rolls_back) WHERE rolls_back IS NOT NULL;

-- The digest of what the source said of the organization.
ALTER TABLE argus.run_organization ADD COLUMN said text;
CREATE INDEX run_organization_of ON argus.run_organization (organization, version DESC);

-- What undoes what a run wrote to an organization; see `src/rollback/undo.rs`.
CREATE TABLE argus.undo (
    run          text NOT NULL,
    organization text NOT NULL,
    content      json NOT NULL,
    PRIMARY KEY (run, organization),
    FOREIGN KEY (run, organization) REFERENCES argus.run_organization (run, organization)
);
SELECT argus.isolate('undo', 'organization', '');
GRANT INSERT ON argus.undo TO argus_reconciler;

-- What was rolled back and is still what the source says: it is not applied again before the source says something else.
CREATE TABLE argus.rolled_back (
    organization text NOT NULL,
    source       text NOT NULL,
    said         text NOT NULL,
    run          text NOT NULL REFERENCES argus.run (id),
    by_run       text NOT NULL REFERENCES argus.run (id),
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organization, source, said, by_run)
);
SELECT argus.isolate('rolled_back', 'organization', '');
GRANT INSERT, DELETE ON argus.rolled_back TO argus_reconciler;
