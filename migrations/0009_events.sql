-- Events: what happened, written in the transaction in which it happened, and what of it is still to be delivered.
--
-- expand: everything here is new. What a binary that knows nothing of events applies has audit rows and no events; where
--         every change must be told, stop such binaries before a sink is registered.
-- contract: nothing to remove later.

----------------------------------------------------------------------------------------------------------------------
-- The log

-- How many events of each organization there are; under '' are those of runs and sources. Whoever tells of one holds the
-- row to the commit, so that positions have no gaps and are in the order of the commits.
CREATE TABLE argus.stream (
    organization text PRIMARY KEY,
    position     bigint NOT NULL CHECK (position >= 0)
);
SELECT argus.isolate('stream', 'organization', '');

CREATE TABLE argus.event (
    -- '' for what belongs to no organization: runs and sources.
    organization text NOT NULL,
    position     bigint NOT NULL,
    id           uuid NOT NULL DEFAULT gen_random_uuid(),
    type         text NOT NULL CHECK (type ~ '^[a-z]+\.[a-z]+$' AND length(type) <= 63),
    subject      text NOT NULL CHECK (length(subject) <= 500),
    at           timestamptz NOT NULL,
    run          text,
    -- The trace that it is part of, as W3C writes it.
    trace        text CHECK (trace ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'),
    data         json NOT NULL CHECK (octet_length(data::text) <= 524288),
    PRIMARY KEY (organization, position)
);
CREATE INDEX event_by_time ON argus.event (at);
SELECT argus.isolate('event', 'organization', 'SELECT');

CREATE TRIGGER stays BEFORE UPDATE ON argus.event
    FOR EACH ROW EXECUTE FUNCTION argus.refuse('what has happened does not change');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON argus.event
    FOR EACH STATEMENT EXECUTE FUNCTION argus.refuse('what has happened does not change');

----------------------------------------------------------------------------------------------------------------------
-- Where it goes

-- Into how many parts the deliveries to a sink are divided among those who deliver. An organization is always in the
-- same part.
CREATE FUNCTION argus.shards() RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$ SELECT 16::smallint $$;
CREATE FUNCTION argus.shard_of(of_organization text) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (hashtextextended(of_organization, 0) & 15)::smallint
$$;
GRANT EXECUTE ON FUNCTION argus.shards(), argus.shard_of(text) TO argus_planner, argus_reconciler;

-- The sinks. Whatever happens after one is registered is delivered to it; what happened before is not.
CREATE TABLE argus.sink (
    name       text PRIMARY KEY CHECK (name ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON argus.sink TO argus_planner, argus_reconciler;
GRANT INSERT, DELETE ON argus.sink TO argus_reconciler;

-- What is still to be delivered: the row goes when the sink has confirmed the event.
CREATE TABLE argus.delivery (
    sink         text NOT NULL REFERENCES argus.sink (name) ON DELETE CASCADE,
    shard        smallint NOT NULL,
    organization text NOT NULL,
    position     bigint NOT NULL,
    PRIMARY KEY (sink, shard, organization, position)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
SELECT argus.isolate('delivery', 'organization', '');
GRANT DELETE ON argus.delivery TO argus_reconciler;

-- Who delivers which part, until when. The fence grows when a part changes hands: whoever had it before can no longer
-- confirm anything.
CREATE TABLE argus.shard (
    sink    text NOT NULL REFERENCES argus.sink (name) ON DELETE CASCADE,
    shard   smallint NOT NULL,
    holder  text,
    fence   bigint NOT NULL DEFAULT 0,
    until   timestamptz NOT NULL DEFAULT '-infinity',
    -- Since when something is being sent of which the sink has not confirmed everything. Whoever takes the part over
    -- finds out what arrived before sending it again.
    sending timestamptz,
    PRIMARY KEY (sink, shard)
);
GRANT SELECT ON argus.shard TO argus_planner, argus_reconciler;
GRANT INSERT, UPDATE ON argus.shard TO argus_reconciler;

-- Who is there to deliver, until when: those share the parts of a sink among them.
CREATE TABLE argus.relay (
    sink   text NOT NULL REFERENCES argus.sink (name) ON DELETE CASCADE,
    holder text NOT NULL CHECK (length(holder) <= 200),
    until  timestamptz NOT NULL,
    PRIMARY KEY (sink, holder)
);
GRANT SELECT ON argus.relay TO argus_planner, argus_reconciler;
GRANT INSERT, UPDATE, DELETE ON argus.relay TO argus_reconciler;

-- What a sink will never take, and why. It is out of the way of what comes after it, and not forgotten.
CREATE TABLE argus.undeliverable (
    sink         text NOT NULL REFERENCES argus.sink (name) ON DELETE CASCADE,
    organization text NOT NULL,
    position     bigint NOT NULL,
    why          text NOT NULL CHECK (length(why) <= 1000),
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (sink, organization, position)
);
SELECT argus.isolate('undeliverable', 'organization', '');
GRANT INSERT, DELETE ON argus.undeliverable TO argus_reconciler;

----------------------------------------------------------------------------------------------------------------------
-- Telling

-- Tells of something: in order, one event for each type of the list, to every sink that is registered. Whoever
-- also takes the organization's clock takes it before.
CREATE FUNCTION argus.tell(of_organization text, of_run text, of_trace text, types text[], subjects text[],
                           contents text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    many   bigint := cardinality(types);
    newest bigint;
BEGIN
    IF many = 0 THEN
        RETURN 0;
    END IF;
    INSERT INTO argus.stream AS s (organization, position) VALUES (of_organization, many)
    ON CONFLICT (organization) DO UPDATE SET position = s.position + many
    RETURNING s.position INTO newest;
    WITH told AS (
        INSERT INTO argus.event (organization, position, type, subject, at, run, trace, data)
        SELECT of_organization, newest - many + t.place, t.type, t.subject, clock_timestamp(), of_run, of_trace,
               t.content::json
        FROM unnest(types, subjects, contents) WITH ORDINALITY AS t(type, subject, content, place)
        RETURNING position
    )
    INSERT INTO argus.delivery (sink, shard, organization, position)
    SELECT s.name, argus.shard_of(of_organization), of_organization, t.position
    FROM told t CROSS JOIN argus.sink s;
    -- Once in a transaction, however often it is called.
    PERFORM pg_notify('argus_events', '');
    RETURN newest;
END $$;
GRANT EXECUTE ON FUNCTION argus.tell(text, text, text, text[], text[], text[]) TO argus_reconciler;

-- What has been told of that lasts: drift that nobody has corrected, a source that does not get on. It is told once, and
-- again when it has become something else.
CREATE TABLE argus.told (
    organization text NOT NULL,
    source       text NOT NULL,
    -- What of the organization: `drift/Member/ada@acme.example`, `source`.
    matter       text NOT NULL CHECK (length(matter) <= 500),
    digest       text NOT NULL CHECK (length(digest) <= 64),
    since        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organization, source, matter)
);
SELECT argus.isolate('told', 'organization', '');
GRANT INSERT, UPDATE, DELETE ON argus.told TO argus_reconciler;

-- Drops events that happened before a moment and that nobody waits for; at most so many. Gives how many went.
CREATE FUNCTION argus.forget_events(before timestamptz, at_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
    WITH gone AS (
        DELETE FROM argus.event e USING (
            SELECT o.organization, o.position FROM argus.event o
            WHERE o.at < before
              AND NOT EXISTS (SELECT FROM argus.sink s JOIN argus.delivery d
                              ON d.sink = s.name AND d.shard = argus.shard_of(o.organization)
                              WHERE d.organization = o.organization AND d.position = o.position)
              AND NOT EXISTS (SELECT FROM argus.undeliverable u
                              WHERE u.organization = o.organization AND u.position = o.position)
            ORDER BY o.at LIMIT at_most) old
        WHERE e.organization = old.organization AND e.position = old.position
        RETURNING 1)
    SELECT count(*) FROM gone
$$;
GRANT EXECUTE ON FUNCTION argus.forget_events(timestamptz, integer) TO argus_reconciler;

-- Whoever approves may write nothing else; that an approval was given is told for them.
CREATE FUNCTION argus.tell_approval() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    PERFORM argus.tell(NEW.organization, NULL, NULL, ARRAY['plan.approved'], ARRAY[NEW.plan_digest],
        ARRAY[jsonb_build_object('organization', NEW.organization, 'planDigest', NEW.plan_digest,
                                 'rulesDigest', NEW.rules_digest, 'actor', NEW.role,
                                 'expiresAt', to_char(NEW.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))::text]);
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT ON argus.approval FOR EACH ROW EXECUTE FUNCTION argus.tell_approval();
