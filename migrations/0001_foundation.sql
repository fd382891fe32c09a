-- The foundation: the clock of each organization, the audit, ownership records, runs, people and invitations, and the
-- functions that put a table under their rule.
--
-- expand: everything here is new; nothing reads or writes it before.
-- contract: nothing to remove later. A later change of a trigger function replaces it (CREATE OR REPLACE) and keeps
--           reading the audit rows that this one wrote.
--
-- It runs as argus_owner, who cannot log in and owns all of it.

REVOKE ALL ON SCHEMA argus FROM PUBLIC;
GRANT USAGE ON SCHEMA argus TO argus_migrator, argus_planner, argus_reconciler, argus_app;
-- Trigger functions run with the rights of the owner; nobody else has to call them.
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC;

CREATE TABLE argus.schema_migration (
    version        integer PRIMARY KEY,
    name           text NOT NULL,
    checksum       text NOT NULL,
    applied_at     timestamptz NOT NULL DEFAULT now(),
    binary_version text NOT NULL
);
GRANT SELECT ON argus.schema_migration TO argus_migrator, argus_planner, argus_reconciler, argus_app;

-- What a column of free JSON may hold, for checks: not too long, not nested too deep, and no number beyond those of a
-- double. Whatever reads it makes do with anything, but could not write it back as it was.
CREATE FUNCTION argus.is_plain(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT octet_length(value::text) <= 1048576
       AND NOT jsonb_path_exists(value, '$.**{17 to last}')
       AND NOT jsonb_path_exists(value, '$.** ? (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308)')
$$;
GRANT EXECUTE ON FUNCTION argus.is_plain(jsonb) TO argus_migrator, argus_planner, argus_reconciler, argus_app;

-- What a column of several texts or numbers may hold: one list without nulls.
CREATE FUNCTION argus.is_plain(items anyarray) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT COALESCE(array_ndims(items), 1) = 1 AND cardinality(items) <= 10000 AND num_nulls(VARIADIC items) = 0
$$;
GRANT EXECUTE ON FUNCTION argus.is_plain(anyarray) TO argus_migrator, argus_planner, argus_reconciler, argus_app;

----------------------------------------------------------------------------------------------------------------------
-- The clock

-- One row per organization that was ever written, and one under '' for what all organizations share. It is never
-- deleted, so that an organization that comes back goes on counting.
CREATE TABLE argus.clock (
    organization text PRIMARY KEY,
    -- Counts the transactions that wrote the organization, without gaps and in the order of their commits: the row is
    -- locked from the first write to the commit.
    version      bigint NOT NULL CHECK (version >= 0),
    -- The transaction that wrote last, and how many audit rows it has written under this version.
    xid          xid8,
    ordinal      bigint NOT NULL DEFAULT 0
);

-- The version that the present transaction writes under. The first call of a transaction takes the row and counts.
CREATE FUNCTION argus.tick(of_organization text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    me  text := pg_current_xact_id()::text;
    now_at bigint;
BEGIN
    -- A setting of this transaction saves reading the table for each row. It goes with the savepoint that made it, as
    -- the row's change does. Somebody could forge it; the audit compares with the table and refuses.
    IF current_setting('argus.tick_of', true) = me || ':' || of_organization THEN
        RETURN current_setting('argus.tick_at', true)::bigint;
    END IF;
    SELECT c.version INTO now_at FROM argus.clock c
    WHERE c.organization = of_organization AND c.xid = me::xid8;
    IF NOT FOUND THEN
        INSERT INTO argus.clock AS c (organization, version, xid, ordinal)
        VALUES (of_organization, 1, me::xid8, 0)
        ON CONFLICT (organization) DO UPDATE SET version = c.version + 1, xid = excluded.xid, ordinal = 0
        RETURNING c.version INTO now_at;
    END IF;
    PERFORM set_config('argus.tick_of', me || ':' || of_organization, true),
            set_config('argus.tick_at', now_at::text, true);
    RETURN now_at;
END $$;

-- Takes the clock of an organization without counting, and gives its version: whoever holds it knows that nobody else
-- writes the organization.
CREATE FUNCTION argus.hold_clock(of_organization text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    now_at bigint;
BEGIN
    INSERT INTO argus.clock (organization, version) VALUES (of_organization, 0) ON CONFLICT DO NOTHING;
    SELECT c.version INTO now_at FROM argus.clock c WHERE c.organization = of_organization FOR UPDATE;
    RETURN now_at;
END $$;
GRANT EXECUTE ON FUNCTION argus.hold_clock(text) TO argus_reconciler;

-- An organization gets another name: both clocks count, and the new one goes on behind both.
CREATE FUNCTION argus.move_clock(from_name text, to_name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    left_at bigint;
BEGIN
    -- In the order of their names, so that two renames that cross do not wait for each other.
    PERFORM FROM argus.clock c WHERE c.organization IN (from_name, to_name) ORDER BY c.organization FOR UPDATE;
    left_at := argus.tick(from_name);
    PERFORM argus.tick(to_name);
    UPDATE argus.clock c SET version = left_at, ordinal = 0 WHERE c.organization = to_name AND c.version < left_at;
    -- Whatever was remembered of the new name's version no longer holds.
    PERFORM set_config('argus.tick_of', '', true);
END $$;

INSERT INTO argus.clock (organization, version) VALUES ('', 0);

----------------------------------------------------------------------------------------------------------------------
-- The audit

CREATE TABLE argus.audit (
    organization text NOT NULL,
    version      bigint NOT NULL,
    ordinal      bigint NOT NULL,
    at           timestamptz NOT NULL,
    kind         text NOT NULL,
    name         text NOT NULL,
    relation     text NOT NULL,
    action       text NOT NULL CHECK (action IN ('insert', 'update', 'delete')),
    before       jsonb,
    after        jsonb,
    actor        text,
    via          text,
    run          text,
    role         text NOT NULL,
    application  text,
    client_addr  inet,
    txid         xid8 NOT NULL,
    PRIMARY KEY (organization, version, ordinal)
);
CREATE INDEX audit_of_resource ON argus.audit (organization, kind, name, version DESC, ordinal DESC);
CREATE INDEX audit_by_time ON argus.audit (at DESC);

CREATE FUNCTION argus.refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% of argus.% is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON argus.audit
    FOR EACH ROW EXECUTE FUNCTION argus.refuse('the audit is only ever added to');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON argus.audit
    FOR EACH STATEMENT EXECUTE FUNCTION argus.refuse('the audit is only ever added to');
REVOKE UPDATE, DELETE, TRUNCATE ON argus.audit FROM argus_owner;

-- The arguments of the three functions that follow: the kind; the column of the organization ('' where the rows belong
-- to all); the column of the resource's name; and 'side' for a table that holds the items of another one's field.
--
-- They see a statement's rows at once. A row of a main table bears the version that it was stamped with: where that is
-- not the clock's, or the clock was not taken, the version comes out as NULL, which the audit does not accept.

CREATE FUNCTION argus.audit_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    of_kind text := TG_ARGV[0];
    organization_column text := TG_ARGV[1];
    name_column text := TG_ARGV[2];
    -- The moment of the statement, not of the transaction's begin: the clock is held by now, so that moments are in the
    -- order of versions.
    moment timestamptz := clock_timestamp();
BEGIN
    IF TG_ARGV[3] = 'side' THEN
        PERFORM argus.tick(o.organization)
        FROM (SELECT DISTINCT n.organization FROM new_rows n ORDER BY 1) o;
    END IF;
    WITH changed AS MATERIALIZED (
        SELECT CASE organization_column WHEN '' THEN '' ELSE n.of_row ->> organization_column END AS organization,
               n.of_row ->> name_column AS name, (n.of_row ->> 'version')::bigint AS stamp,
               n.of_row - 'version' AS after, n.place
        FROM (SELECT to_jsonb(r) AS of_row, row_number() OVER () AS place FROM new_rows r) n
        WHERE n.of_row -> 'built_in' IS DISTINCT FROM 'true'::jsonb
    ), counted AS (
        SELECT organization, count(*) AS many FROM changed GROUP BY organization
    ), taken AS (
        UPDATE argus.clock c SET ordinal = c.ordinal + counted.many FROM counted
        WHERE c.organization = counted.organization AND c.xid = pg_current_xact_id()
        RETURNING c.organization, c.version, c.ordinal - counted.many AS base
    )
    INSERT INTO argus.audit (organization, version, ordinal, at, kind, name, relation, action, after, actor, via, run,
                             role, application, client_addr, txid)
    SELECT ch.organization, CASE WHEN ch.stamp IS NULL OR ch.stamp = t.version THEN t.version END,
           t.base + row_number() OVER (PARTITION BY ch.organization ORDER BY ch.place), moment, of_kind, ch.name,
           TG_TABLE_NAME, 'insert', ch.after, NULLIF(left(current_setting('argus.actor', true), 500), ''),
           NULLIF(left(current_setting('argus.via', true), 500), ''),
           NULLIF(left(current_setting('argus.run', true), 500), ''),
           session_user, NULLIF(current_setting('application_name'), ''), inet_client_addr(), pg_current_xact_id()
    FROM changed ch LEFT JOIN taken t ON t.organization = ch.organization;
    RETURN NULL;
END $$;

CREATE FUNCTION argus.audit_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    of_kind text := TG_ARGV[0];
    organization_column text := TG_ARGV[1];
    name_column text := TG_ARGV[2];
    moment timestamptz := clock_timestamp();
BEGIN
    IF NOT EXISTS (SELECT FROM new_rows) THEN
        RETURN NULL;
    END IF;
    IF TG_ARGV[3] = 'side' THEN
        PERFORM argus.tick(o.organization)
        FROM (SELECT DISTINCT n.organization FROM new_rows n ORDER BY 1) o;
    END IF;
    WITH paired AS MATERIALIZED (
        -- Both tables hold a statement's rows in the order in which they were changed; names may differ between them.
        SELECT o.of_row AS before, n.of_row AS after, n.place
        FROM (SELECT to_jsonb(r) AS of_row, row_number() OVER () AS place FROM old_rows r) o
        JOIN (SELECT to_jsonb(r) AS of_row, row_number() OVER () AS place FROM new_rows r) n USING (place)
        WHERE (o.of_row - 'version') IS DISTINCT FROM (n.of_row - 'version')
          AND n.of_row -> 'built_in' IS DISTINCT FROM 'true'::jsonb
    ), changed AS (
        SELECT CASE organization_column WHEN '' THEN '' ELSE after ->> organization_column END AS organization,
               after ->> name_column AS name, (after ->> 'version')::bigint AS stamp,
               before - 'version' AS before, after - 'version' AS after, place
        FROM paired
        UNION ALL
        -- What gets another name, itself or with its organization, is told of under both.
        SELECT CASE organization_column WHEN '' THEN '' ELSE before ->> organization_column END,
               before ->> name_column, NULL, before - 'version', after - 'version', place
        FROM paired
        WHERE TG_ARGV[3] = 'main'
          AND (before ->> name_column <> after ->> name_column
               OR before ->> organization_column <> after ->> organization_column)
    ), counted AS (
        SELECT organization, count(*) AS many FROM changed GROUP BY organization
    ), taken AS (
        UPDATE argus.clock c SET ordinal = c.ordinal + counted.many FROM counted
        WHERE c.organization = counted.organization AND c.xid = pg_current_xact_id()
        RETURNING c.organization, c.version, c.ordinal - counted.many AS base
    )
    INSERT INTO argus.audit (organization, version, ordinal, at, kind, name, relation, action, before, after, actor,
                             via, run, role, application, client_addr, txid)
    SELECT ch.organization, CASE WHEN ch.stamp IS NULL OR ch.stamp = t.version THEN t.version END,
           t.base + row_number() OVER (PARTITION BY ch.organization ORDER BY ch.place), moment, of_kind, ch.name,
           TG_TABLE_NAME, 'update', ch.before, ch.after, NULLIF(left(current_setting('argus.actor', true), 500), ''),
           NULLIF(left(current_setting('argus.via', true), 500), ''),
           NULLIF(left(current_setting('argus.run', true), 500), ''),
           session_user, NULLIF(current_setting('application_name'), ''), inet_client_addr(), pg_current_xact_id()
    FROM changed ch LEFT JOIN taken t ON t.organization = ch.organization;
    RETURN NULL;
END $$;

CREATE FUNCTION argus.audit_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    of_kind text := TG_ARGV[0];
    organization_column text := TG_ARGV[1];
    name_column text := TG_ARGV[2];
    moment timestamptz := clock_timestamp();
BEGIN
    IF NOT EXISTS (SELECT FROM old_rows) THEN
        RETURN NULL;
    END IF;
    PERFORM argus.tick(o.organization)
    FROM (SELECT DISTINCT CASE organization_column WHEN '' THEN '' ELSE to_jsonb(r) ->> organization_column END
                 AS organization
          FROM old_rows r
          WHERE to_jsonb(r) -> 'built_in' IS DISTINCT FROM 'true'::jsonb ORDER BY 1) o;
    WITH changed AS MATERIALIZED (
        SELECT CASE organization_column WHEN '' THEN '' ELSE o.of_row ->> organization_column END AS organization,
               o.of_row ->> name_column AS name, o.of_row - 'version' AS before, o.place
        FROM (SELECT to_jsonb(r) AS of_row, row_number() OVER () AS place FROM old_rows r) o
        WHERE o.of_row -> 'built_in' IS DISTINCT FROM 'true'::jsonb
    ), counted AS (
        SELECT organization, count(*) AS many FROM changed GROUP BY organization
    ), taken AS (
        UPDATE argus.clock c SET ordinal = c.ordinal + counted.many FROM counted
        WHERE c.organization = counted.organization AND c.xid = pg_current_xact_id()
        RETURNING c.organization, c.version, c.ordinal - counted.many AS base
    )
    INSERT INTO argus.audit (organization, version, ordinal, at, kind, name, relation, action, before, actor, via, run,
                             role, application, client_addr, txid)
    SELECT ch.organization, t.version, t.base + row_number() OVER (PARTITION BY ch.organization ORDER BY ch.place),
           moment, of_kind, ch.name, TG_TABLE_NAME, 'delete', ch.before,
           NULLIF(left(current_setting('argus.actor', true), 500), ''),
           NULLIF(left(current_setting('argus.via', true), 500), ''),
           NULLIF(left(current_setting('argus.run', true), 500), ''), session_user,
           NULLIF(current_setting('application_name'), ''), inet_client_addr(), pg_current_xact_id()
    FROM changed ch LEFT JOIN taken t ON t.organization = ch.organization;
    RETURN NULL;
END $$;

-- Stamps a row of a main table with the version that it is written under. Its arguments: the kind and the column of
-- the organization.
CREATE FUNCTION argus.stamp() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    wanted bigint;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        -- The identity of a row survives whatever happens to its name.
        NEW.id := OLD.id;
        wanted := NEW.version;
        NEW.version := OLD.version;
        IF NEW IS NOT DISTINCT FROM OLD THEN
            -- Nothing moves but perhaps the version, which only the triggers of side tables may ask for.
            IF wanted = OLD.version OR pg_trigger_depth() = 1 THEN
                RETURN NEW;
            END IF;
        END IF;
    END IF;
    IF TG_ARGV[1] = 'organization' THEN
        -- Only a rename of the organization, which reaches its rows through their foreign keys, moves them.
        IF TG_OP = 'UPDATE' AND NEW.organization <> OLD.organization AND pg_trigger_depth() = 1 THEN
            RAISE EXCEPTION 'a % cannot move to another organization', TG_ARGV[0]
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        NEW.version := argus.tick(NEW.organization);
    ELSIF TG_ARGV[1] = '' THEN
        NEW.version := argus.tick('');
    ELSE
        IF TG_OP = 'UPDATE' AND NEW.name <> OLD.name THEN
            PERFORM argus.move_clock(OLD.name, NEW.name);
        END IF;
        NEW.version := argus.tick(NEW.name);
    END IF;
    RETURN NEW;
END $$;

----------------------------------------------------------------------------------------------------------------------
-- Who may see and write what

-- Puts a table under row-level security, also for its owner: the planner sees all rows, the reconciler writes all, the
-- application those of the organization that its transaction names. `app_may` lists the application's privileges.
CREATE FUNCTION argus.isolate(relation text, organization_column text, app_may text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    -- After a transaction that set it the setting is '' and not NULL.
    mine text := format('%I = NULLIF(current_setting(''argus.org'', true), '''')', organization_column);
BEGIN
    EXECUTE format('ALTER TABLE argus.%I ENABLE ROW LEVEL SECURITY', relation);
    EXECUTE format('ALTER TABLE argus.%I FORCE ROW LEVEL SECURITY', relation);
    EXECUTE format('CREATE POLICY owner_all ON argus.%I TO argus_owner USING (true) WITH CHECK (true)', relation);
    EXECUTE format('CREATE POLICY planner_reads ON argus.%I FOR SELECT TO argus_planner USING (true)', relation);
    EXECUTE format('CREATE POLICY reconciler_all ON argus.%I TO argus_reconciler USING (true) WITH CHECK (true)',
                   relation);
    EXECUTE format('CREATE POLICY app_own ON argus.%I TO argus_app USING (%s) WITH CHECK (%s)', relation, mine, mine);
    EXECUTE format('GRANT SELECT ON argus.%I TO argus_planner, argus_reconciler', relation);
    IF app_may <> '' THEN
        EXECUTE format('GRANT %s ON argus.%I TO argus_app', app_may, relation);
    END IF;
END $$;

-- Puts the main table of a kind under the rule of clock, audit and isolation. `unless_built_in` leaves out rows that
-- nobody manages.
CREATE FUNCTION argus.manage(relation text, kind text, organization_column text, name_column text,
                             unless_built_in boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    arguments text := format('%L, %L, %L, %L', kind, organization_column, name_column, 'main');
BEGIN
    EXECUTE format('CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON argus.%I FOR EACH ROW %s
                    EXECUTE FUNCTION argus.stamp(%L, %L)',
                   relation, CASE WHEN unless_built_in THEN 'WHEN (NOT NEW.built_in)' ELSE '' END,
                   kind, organization_column);
    PERFORM argus.manage_statements(relation, arguments);
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON argus.%I TO argus_reconciler', relation);
    IF organization_column = '' THEN
        EXECUTE format('GRANT SELECT ON argus.%I TO argus_planner, argus_reconciler, argus_app', relation);
    ELSE
        PERFORM argus.isolate(relation, organization_column, 'SELECT, INSERT, UPDATE, DELETE');
    END IF;
END $$;

CREATE FUNCTION argus.manage_statements(relation text, arguments text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER audit_insert AFTER INSERT ON argus.%I REFERENCING NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION argus.audit_insert(%s)', relation, arguments);
    EXECUTE format('CREATE TRIGGER audit_update AFTER UPDATE ON argus.%I
                    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION argus.audit_update(%s)', relation, arguments);
    EXECUTE format('CREATE TRIGGER audit_delete AFTER DELETE ON argus.%I REFERENCING OLD TABLE AS old_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION argus.audit_delete(%s)', relation, arguments);
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON argus.%I
                    FOR EACH STATEMENT EXECUTE FUNCTION argus.refuse(%L)', relation,
                   'it would pass by the audit; use DELETE');
END $$;

-- Puts a table that holds the items of a field under the same rule. A write to it stamps the row that the items belong
-- to, whose table is `owner` and whose name stands in the column `owner_key`; here it stands in a column that is called
-- like that table.
CREATE FUNCTION argus.manage_side(relation text, kind text, owner text, owner_key text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    stamper text := relation || '_stamps_' || owner;
    arguments text := format('%L, %L, %L, %L', kind, 'organization', owner, 'side');
    touch text := format('UPDATE argus.%1$I o SET version = argus.tick(s.organization)
             FROM (SELECT DISTINCT organization, %1$I AS of_name FROM %%1$s) s
             WHERE o.organization = s.organization AND o.%2$I = s.of_name
               AND o.version <> argus.tick(s.organization);', owner, owner_key);
BEGIN
    PERFORM argus.manage_statements(relation, arguments);
    -- A function of its own, so that its plans are kept.
    EXECUTE format('CREATE FUNCTION argus.%I() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $body$
        BEGIN
            IF TG_OP <> ''DELETE'' THEN %s END IF;
            IF TG_OP <> ''INSERT'' THEN %s END IF;
            RETURN NULL;
        END $body$', stamper, format(touch, 'new_rows'), format(touch, 'old_rows'));
    EXECUTE format('CREATE TRIGGER stamp_insert AFTER INSERT ON argus.%I REFERENCING NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION argus.%I()', relation, stamper);
    EXECUTE format('CREATE TRIGGER stamp_update AFTER UPDATE ON argus.%I
                    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION argus.%I()', relation, stamper);
    EXECUTE format('CREATE TRIGGER stamp_delete AFTER DELETE ON argus.%I REFERENCING OLD TABLE AS old_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION argus.%I()', relation, stamper);
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON argus.%I TO argus_reconciler', relation);
    PERFORM argus.isolate(relation, 'organization', 'SELECT, INSERT, UPDATE, DELETE');
END $$;

SELECT argus.isolate('clock', 'organization', 'SELECT');
SELECT argus.isolate('audit', 'organization', 'SELECT');

----------------------------------------------------------------------------------------------------------------------
-- Ownership, passes and runs

-- What Argus wrote last, for which source, and where the manifest stood: who owns a row.
CREATE TABLE argus.applied (
    source       text NOT NULL,
    kind         text NOT NULL,
    organization text NOT NULL,
    name         text NOT NULL,
    -- The fields that the manifest named, by path.
    spec         jsonb NOT NULL,
    file         text NOT NULL,
    line         integer NOT NULL,
    col          integer NOT NULL,
    run          text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization, kind, name)
);
CREATE INDEX applied_of_file ON argus.applied (source, file);
SELECT argus.isolate('applied', 'organization', 'SELECT');
GRANT INSERT, UPDATE, DELETE ON argus.applied TO argus_reconciler;

-- What a source said when its organization was last found settled, and the clock then: as long as neither moves there
-- is nothing to plan.
CREATE TABLE argus.pass (
    organization text PRIMARY KEY,
    source       text NOT NULL,
    digest       text NOT NULL,
    version      bigint NOT NULL,
    notes        jsonb NOT NULL DEFAULT '[]'
);
SELECT argus.isolate('pass', 'organization', 'SELECT');
GRANT INSERT, UPDATE, DELETE ON argus.pass TO argus_reconciler;

CREATE TABLE argus.run (
    id          text PRIMARY KEY,
    source      text NOT NULL,
    actor       text NOT NULL,
    plan_digest text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    outcome     text,
    summary     jsonb,
    -- Whether the guards were overruled.
    forced      boolean NOT NULL DEFAULT false
);
CREATE INDEX run_by_time ON argus.run (started_at DESC);
GRANT SELECT ON argus.run TO argus_planner, argus_reconciler;
GRANT INSERT, UPDATE ON argus.run TO argus_reconciler;

-- What a run did to an organization. It is written in the transaction of the changes, so that whoever loses the
-- connection while committing finds out here what came of it.
CREATE TABLE argus.run_organization (
    run          text NOT NULL REFERENCES argus.run (id),
    organization text NOT NULL,
    outcome      text NOT NULL,
    version      bigint,
    message      text,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, organization)
);
SELECT argus.isolate('run_organization', 'organization', 'SELECT');
GRANT INSERT, UPDATE ON argus.run_organization TO argus_reconciler;

----------------------------------------------------------------------------------------------------------------------
-- People

-- One row per address, shared by all organizations. Memberships may bring one into being and never change or end one.
CREATE TABLE argus.person (
    email      text PRIMARY KEY CHECK (email = lower(email) AND email ~ '^[!-?A-~]+@[a-z0-9.-]+$' AND length(email) <= 254),
    status     text NOT NULL DEFAULT 'invited' CHECK (status IN ('known', 'invited')),
    created_at timestamptz NOT NULL DEFAULT now()
);
