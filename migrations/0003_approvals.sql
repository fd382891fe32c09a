-- Approvals: the plans that are held, and what people say to them.
--
-- expand: everything here is new, and so is the role argus_approver, which `argus db migrate` makes (or the SQL of
--         `argus db migrate --print-roles`) before this runs. A binary that knows nothing of approvals neither keeps
--         plans nor uses approvals; what it applies is as good as without them.
-- contract: nothing to remove later. A statement of another version is another text in the same column.

GRANT USAGE ON SCHEMA argus TO argus_approver;
GRANT SELECT ON argus.schema_migration TO argus_approver;

-- Which database this is. Statements that are signed name it, so that what was approved for one is not approved for
-- another that happens to hold the same.
CREATE TABLE argus.installation (
    id     uuid NOT NULL DEFAULT gen_random_uuid(),
    single boolean PRIMARY KEY DEFAULT true CHECK (single)
);
INSERT INTO argus.installation DEFAULT VALUES;
GRANT SELECT ON argus.installation TO argus_planner, argus_reconciler, argus_approver;

----------------------------------------------------------------------------------------------------------------------
-- Plans that are held

-- A plan of an organization that waits for people, under its digest and that of the rules that hold it. It goes when
-- the organization is applied, or when it has waited for too long.
CREATE TABLE argus.held_plan (
    organization text NOT NULL,
    plan_digest  text NOT NULL CHECK (plan_digest ~ '^[0-9a-f]{64}$'),
    rules_digest text NOT NULL CHECK (rules_digest ~ '^[0-9a-f]{64}$'),
    -- The digests of the plans of the runs that held it, the newest first.
    run_digests  text[] NOT NULL CHECK (cardinality(run_digests) BETWEEN 1 AND 20),
    source       text NOT NULL,
    run          text NOT NULL REFERENCES argus.run (id),
    actor        text NOT NULL,
    -- Everybody whose doing it is, by every name that is known of them, in lower case.
    authors      text[] NOT NULL CHECK (argus.is_plain(authors)),
    -- The role that logged in.
    role         text NOT NULL,
    -- Why it is held and what lifts that, the terms of its source, and the plan itself.
    holds        json NOT NULL,
    terms        json NOT NULL,
    plan         json NOT NULL,
    held_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organization, plan_digest, rules_digest)
);
CREATE INDEX held_plan_by_time ON argus.held_plan (held_at);
SELECT argus.isolate('held_plan', 'organization', '');
CREATE POLICY approver_reads ON argus.held_plan FOR SELECT TO argus_approver USING (true);
GRANT SELECT ON argus.held_plan TO argus_approver;
GRANT INSERT, UPDATE, DELETE ON argus.held_plan TO argus_reconciler;

-- Whoever keeps a plan is one of its authors, whatever they say; and who was one stays one.
CREATE FUNCTION argus.note_authors() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    everybody text[] := NEW.authors || lower(session_user::text);
BEGIN
    NEW.role := session_user;
    IF TG_OP = 'UPDATE' THEN
        everybody := everybody || OLD.authors;
    END IF;
    SELECT array_agg(DISTINCT a.name ORDER BY a.name) INTO NEW.authors FROM unnest(everybody) AS a(name);
    -- Names that somebody makes up again and again do not crowd out those that are known.
    IF cardinality(NEW.authors) > 1000 THEN
        NEW.authors := OLD.authors;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER note_authors BEFORE INSERT OR UPDATE ON argus.held_plan
    FOR EACH ROW EXECUTE FUNCTION argus.note_authors();

----------------------------------------------------------------------------------------------------------------------
-- Approvals

CREATE TABLE argus.approval (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization text NOT NULL,
    plan_digest  text NOT NULL CHECK (plan_digest ~ '^[0-9a-f]{64}$'),
    rules_digest text NOT NULL CHECK (rules_digest ~ '^[0-9a-f]{64}$'),
    -- The role that logged in. The database writes it; nobody can supply it.
    role         text NOT NULL,
    -- What was signed, and the signature; without them the approval stands on the role. A statement is recorded once,
    -- so that one that was used or taken back does not come again.
    statement    text UNIQUE CHECK (octet_length(statement) <= 2000),
    signature    text CHECK (octet_length(signature) <= 4000),
    comment      text CHECK (length(comment) <= 1000),
    at           timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    -- The run that used it, and whose approval that run found it to be.
    used_at      timestamptz,
    used_by_run  text REFERENCES argus.run (id),
    used_as      text,
    revoked_at   timestamptz,
    revoked_by   text,
    CONSTRAINT approval_signed_whole CHECK (num_nulls(statement, signature) <> 1),
    CONSTRAINT approval_used_whole CHECK (num_nulls(used_at, used_by_run, used_as) IN (0, 3)),
    CONSTRAINT approval_revoked_whole CHECK (num_nulls(revoked_at, revoked_by) <> 1),
    CONSTRAINT approval_ends_once CHECK (used_at IS NULL OR revoked_at IS NULL),
    CONSTRAINT approval_ends CHECK (expires_at > at AND expires_at <= at + interval '30 days')
);
CREATE INDEX approval_of_plan ON argus.approval (plan_digest, rules_digest);
CREATE INDEX approval_of_run ON argus.approval (used_by_run) WHERE used_by_run IS NOT NULL;
SELECT argus.isolate('approval', 'organization', '');
CREATE POLICY approver_reads ON argus.approval FOR SELECT TO argus_approver USING (true);
GRANT SELECT ON argus.approval TO argus_approver;
-- Nobody inserts but through argus.approve; whoever applies may only use up what is there.
GRANT UPDATE (used_at, used_by_run, used_as) ON argus.approval TO argus_reconciler;

-- Who, when and how it ends are the database's own words, whoever writes. What is said stays said: an approval is used
-- or taken back once, and nothing else of it ever changes.
CREATE FUNCTION argus.guard_approval() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ends text[] := '{used_at,used_by_run,used_as,revoked_at,revoked_by}';
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.role := session_user;
        NEW.at := clock_timestamp();
        NEW.used_at := NULL;
        NEW.used_by_run := NULL;
        NEW.used_as := NULL;
        NEW.revoked_at := NULL;
        NEW.revoked_by := NULL;
        RETURN NEW;
    END IF;
    IF to_jsonb(OLD) - ends IS DISTINCT FROM to_jsonb(NEW) - ends THEN
        RAISE EXCEPTION 'UPDATE of argus.approval is refused: what was said stays said'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF num_nonnulls(OLD.used_at, OLD.revoked_at) > 0 OR num_nonnulls(NEW.used_at, NEW.revoked_at) <> 1 THEN
        RAISE EXCEPTION 'UPDATE of argus.approval is refused: it is used or taken back, and once'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.used_at IS NOT NULL THEN
        NEW.used_at := clock_timestamp();
        IF OLD.expires_at <= NEW.used_at THEN
            RAISE EXCEPTION 'UPDATE of argus.approval is refused: it has ended' USING ERRCODE = 'insufficient_privilege';
        END IF;
    ELSE
        NEW.revoked_at := clock_timestamp();
        NEW.revoked_by := session_user;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON argus.approval
    FOR EACH ROW EXECUTE FUNCTION argus.guard_approval();
CREATE TRIGGER stays BEFORE DELETE ON argus.approval
    FOR EACH ROW EXECUTE FUNCTION argus.refuse('what was approved is never forgotten');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON argus.approval
    FOR EACH STATEMENT EXECUTE FUNCTION argus.refuse('what was approved is never forgotten');
REVOKE DELETE, TRUNCATE ON argus.approval FROM argus_owner;

-- Records an approval of a plan that is held, and gives its number. Whether it counts is judged from its row whenever
-- the plan is applied: by the role, or by the signature.
CREATE FUNCTION argus.approve(of_organization text, of_plan text, of_rules text, until timestamptz, with_comment text,
                              with_statement text, with_signature text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    number bigint;
BEGIN
    -- It is not dropped while this looks at it.
    PERFORM FROM argus.held_plan h
    WHERE h.organization = of_organization AND h.plan_digest = of_plan AND h.rules_digest = of_rules FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such plan is held' USING ERRCODE = 'no_data_found';
    END IF;
    IF (SELECT count(*) FROM argus.approval a
        WHERE a.plan_digest = of_plan AND a.rules_digest = of_rules AND a.used_at IS NULL AND a.revoked_at IS NULL
          AND a.expires_at > clock_timestamp()) >= 200 THEN
        RAISE EXCEPTION 'the plan has 200 approvals already' USING ERRCODE = 'program_limit_exceeded';
    END IF;
    INSERT INTO argus.approval (organization, plan_digest, rules_digest, expires_at, comment, statement, signature)
    VALUES (of_organization, of_plan, of_rules, least(until, clock_timestamp() + interval '30 days'), with_comment,
            with_statement, with_signature)
    RETURNING id INTO number;
    RETURN number;
END $$;
GRANT EXECUTE ON FUNCTION argus.approve(text, text, text, timestamptz, text, text, text)
    TO argus_approver, argus_reconciler;

-- Takes an approval back, and says whether it was there to be taken. Anybody who could give one may: less happens.
CREATE FUNCTION argus.revoke_approval(number bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    UPDATE argus.approval a SET revoked_at = clock_timestamp(), revoked_by = session_user
    WHERE a.id = number AND a.used_at IS NULL AND a.revoked_at IS NULL;
    RETURN FOUND;
END $$;
GRANT EXECUTE ON FUNCTION argus.revoke_approval(bigint) TO argus_approver, argus_reconciler;
