-- The chain of the audit: a seal for each audit row, which holds the hash of the row and of all rows of its organization
-- before it; signed statements of where the chains end; and checkpoints, which stand in for rows that are old enough to go.
--
-- expand: everything here is new. A binary that knows nothing of it writes audit rows as before; they wait in
--         argus.unsealed until one that does seals them. The rows that are there already wait as well: sealing them is
--         work for `argus audit seal`, not for this migration.
-- contract: nothing to remove later. Another way to hash is another version in the hashed text.

-- What waits to be sealed: the versions under which audit rows were written. Sealing costs what stands here, whatever
-- else there is.
CREATE TABLE argus.unsealed (
    organization text NOT NULL,
    version      bigint NOT NULL,
    PRIMARY KEY (organization, version)
);
SELECT argus.isolate('unsealed', 'organization', '');

CREATE FUNCTION argus.note_unsealed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    INSERT INTO argus.unsealed (organization, version)
    SELECT DISTINCT n.organization, n.version FROM new_rows n
    ON CONFLICT DO NOTHING;
    -- Equal notifications of one transaction are delivered once.
    PERFORM pg_notify('argus_unsealed', '');
    RETURN NULL;
END $$;
CREATE TRIGGER note_unsealed AFTER INSERT ON argus.audit REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION argus.note_unsealed();

INSERT INTO argus.unsealed (organization, version) SELECT DISTINCT organization, version FROM argus.audit;

----------------------------------------------------------------------------------------------------------------------
-- Seals

CREATE TABLE argus.seal (
    organization text NOT NULL,
    -- Counts the rows of the organization, from 1 without gaps.
    sequence     bigint NOT NULL CHECK (sequence > 0),
    -- The audit row.
    version      bigint NOT NULL,
    ordinal      bigint NOT NULL,
    -- Of the hash before, the sequence and the row; docs/audit.md tells how.
    hash         bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (organization, sequence),
    UNIQUE (organization, version, ordinal)
);
SELECT argus.isolate('seal', 'organization', 'SELECT');

-- Where the chain of each organization ends.
CREATE TABLE argus.chain (
    organization text PRIMARY KEY,
    sequence     bigint NOT NULL CHECK (sequence >= 0),
    version      bigint NOT NULL,
    ordinal      bigint NOT NULL,
    hash         bytea NOT NULL CHECK (octet_length(hash) = 32)
);
SELECT argus.isolate('chain', 'organization', 'SELECT');

-- An end only moves on, and to where a seal is.
CREATE FUNCTION argus.guard_chain() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    IF NEW.organization <> OLD.organization OR NEW.sequence <= OLD.sequence OR NOT EXISTS (
        SELECT FROM argus.seal s
        WHERE s.organization = NEW.organization AND s.sequence = NEW.sequence AND s.version = NEW.version
          AND s.ordinal = NEW.ordinal AND s.hash = NEW.hash) THEN
        RAISE EXCEPTION 'UPDATE of argus.chain is refused: a chain ends at its last seal, and only grows'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON argus.chain FOR EACH ROW EXECUTE FUNCTION argus.guard_chain();
CREATE TRIGGER stays BEFORE DELETE ON argus.chain
    FOR EACH ROW EXECUTE FUNCTION argus.refuse('a chain is never forgotten');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON argus.chain
    FOR EACH STATEMENT EXECUTE FUNCTION argus.refuse('a chain is never forgotten');
REVOKE DELETE, TRUNCATE ON argus.chain FROM argus_owner;

CREATE TRIGGER stays BEFORE UPDATE ON argus.seal
    FOR EACH ROW EXECUTE FUNCTION argus.refuse('a seal is never changed');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON argus.seal
    FOR EACH STATEMENT EXECUTE FUNCTION argus.refuse('a seal is never changed');
REVOKE UPDATE, TRUNCATE ON argus.seal FROM argus_owner;

-- Seals audit rows: exactly those that come next, of each organization from the end of its chain on, in order and without
-- a gap. Whatever else is given is refused as a whole. Given nothing, it only tidies up what waits for nothing.
CREATE FUNCTION argus.add_seals(of_organizations text[], sequences bigint[], versions bigint[], ordinals bigint[],
                                hashes bytea[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    INSERT INTO argus.chain (organization, sequence, version, ordinal, hash)
    SELECT DISTINCT o.name, 0, -9223372036854775808, 0, decode(repeat('00', 32), 'hex')
    FROM unnest(of_organizations) AS o(name) ORDER BY o.name
    ON CONFLICT DO NOTHING;
    PERFORM FROM argus.chain c WHERE c.organization = ANY (of_organizations) ORDER BY c.organization FOR UPDATE;
    IF EXISTS (
        WITH given AS (
            SELECT g.*, row_number() OVER (PARTITION BY g.organization ORDER BY g.place) AS nth
            FROM unnest(of_organizations, sequences, versions, ordinals)
                 WITH ORDINALITY AS g(organization, sequence, version, ordinal, place)
        ), counted AS (
            SELECT g.organization, count(*) AS many FROM given g GROUP BY g.organization
        ), due AS (
            SELECT k.organization, n.version, n.ordinal, n.nth, c.sequence + n.nth AS sequence
            FROM counted k JOIN argus.chain c ON c.organization = k.organization
            CROSS JOIN LATERAL (
                SELECT a.version, a.ordinal, row_number() OVER (ORDER BY a.version, a.ordinal) AS nth
                FROM argus.audit a
                WHERE a.organization = k.organization AND (a.version, a.ordinal) > (c.version, c.ordinal)
                ORDER BY a.version, a.ordinal LIMIT k.many
            ) n
        )
        SELECT FROM given g
        FULL JOIN due d ON d.organization = g.organization AND d.nth = g.nth AND d.sequence = g.sequence
                       AND d.version = g.version AND d.ordinal = g.ordinal
        WHERE g.organization IS NULL OR d.organization IS NULL
    ) THEN
        RAISE EXCEPTION 'these are not the audit rows that come next' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO argus.seal (organization, sequence, version, ordinal, hash)
    SELECT g.organization, g.sequence, g.version, g.ordinal, g.hash
    FROM unnest(of_organizations, sequences, versions, ordinals, hashes)
         AS g(organization, sequence, version, ordinal, hash);
    UPDATE argus.chain c
    SET sequence = e.sequence, version = e.version, ordinal = e.ordinal, hash = e.hash
    FROM (SELECT DISTINCT ON (g.organization) g.*
          FROM unnest(of_organizations, sequences, versions, ordinals, hashes)
               AS g(organization, sequence, version, ordinal, hash)
          ORDER BY g.organization, g.sequence DESC) e
    WHERE c.organization = e.organization;
    DELETE FROM argus.unsealed u
    WHERE (cardinality(of_organizations) = 0 OR u.organization = ANY (of_organizations))
      AND NOT EXISTS (
        SELECT FROM argus.audit a LEFT JOIN argus.chain c ON c.organization = a.organization
        WHERE a.organization = u.organization AND a.version = u.version
          AND (c.organization IS NULL OR (a.version, a.ordinal) > (c.version, c.ordinal)));
END $$;
GRANT EXECUTE ON FUNCTION argus.add_seals(text[], bigint[], bigint[], bigint[], bytea[]) TO argus_reconciler;

----------------------------------------------------------------------------------------------------------------------
-- Heads: signed statements of where a chain ended

CREATE TABLE argus.head (
    organization text NOT NULL,
    sequence     bigint NOT NULL,
    hash         bytea NOT NULL,
    -- The moment and the role are the database's own words.
    at           timestamptz NOT NULL,
    role         text NOT NULL,
    -- The fingerprint of the key, what was signed, and the signature.
    key          text NOT NULL CHECK (length(key) <= 200),
    statement    text NOT NULL CHECK (octet_length(statement) <= 2000),
    signature    text NOT NULL CHECK (octet_length(signature) <= 4000),
    PRIMARY KEY (organization, sequence)
);
SELECT argus.isolate('head', 'organization', 'SELECT');
GRANT INSERT (organization, sequence, hash, key, statement, signature) ON argus.head TO argus_reconciler;

CREATE FUNCTION argus.guard_head() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM argus.seal s WHERE s.organization = NEW.organization AND s.sequence = NEW.sequence
                                              AND s.hash = NEW.hash) THEN
        RAISE EXCEPTION 'the chain has no such seal' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    NEW.at := clock_timestamp();
    NEW.role := session_user;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT ON argus.head FOR EACH ROW EXECUTE FUNCTION argus.guard_head();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON argus.head
    FOR EACH ROW EXECUTE FUNCTION argus.refuse('what was signed stays signed');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON argus.head
    FOR EACH STATEMENT EXECUTE FUNCTION argus.refuse('what was signed stays signed');
REVOKE UPDATE, DELETE, TRUNCATE ON argus.head FROM argus_owner;

----------------------------------------------------------------------------------------------------------------------
-- Checkpoints: what stands in for rows that were dropped

CREATE TABLE argus.checkpoint (
    organization   text NOT NULL,
    -- The last seal that is dropped with its row; the chain goes on behind it.
    sequence       bigint NOT NULL,
    version        bigint NOT NULL,
    ordinal        bigint NOT NULL,
    hash           bytea NOT NULL,
    -- The database's own words: when, by which role, by which retention, and how many rows up to which moment.
    at             timestamptz NOT NULL,
    role           text NOT NULL,
    retention_days bigint NOT NULL,
    dropped        bigint NOT NULL,
    dropped_until  timestamptz NOT NULL,
    -- Who says to have dropped them, and what was signed with which key.
    actor          text NOT NULL CHECK (length(actor) <= 500),
    key            text NOT NULL CHECK (length(key) <= 200),
    statement      text NOT NULL CHECK (octet_length(statement) <= 2000),
    signature      text NOT NULL CHECK (octet_length(signature) <= 4000),
    PRIMARY KEY (organization, sequence)
);
SELECT argus.isolate('checkpoint', 'organization', 'SELECT');

-- A checkpoint stands at a seal, and all rows up to there are older than the tier of the organization keeps them. Without
-- a tier, or with one that names no retention, nothing is ever old enough.
CREATE FUNCTION argus.guard_checkpoint() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    NEW.at := clock_timestamp();
    NEW.role := session_user;
    SELECT t.limits_audit_retention_days INTO NEW.retention_days
    FROM argus.organization o JOIN argus.tier t ON t.name = o.tier WHERE o.name = NEW.organization;
    IF NEW.retention_days IS NULL THEN
        RAISE EXCEPTION 'the tier of the organization keeps its audit for ever'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT s.version, s.ordinal INTO NEW.version, NEW.ordinal FROM argus.seal s
    WHERE s.organization = NEW.organization AND s.sequence = NEW.sequence AND s.hash = NEW.hash;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the chain has no such seal' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT count(*), max(a.at) INTO NEW.dropped, NEW.dropped_until FROM argus.audit a
    WHERE a.organization = NEW.organization AND (a.version, a.ordinal) <= (NEW.version, NEW.ordinal);
    IF NEW.dropped = 0 THEN
        RAISE EXCEPTION 'there is nothing to drop' USING ERRCODE = 'no_data_found';
    END IF;
    IF NEW.dropped_until >= NEW.at - make_interval(days => NEW.retention_days::integer) THEN
        RAISE EXCEPTION 'rows of the last % days are kept', NEW.retention_days USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT ON argus.checkpoint FOR EACH ROW EXECUTE FUNCTION argus.guard_checkpoint();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON argus.checkpoint
    FOR EACH ROW EXECUTE FUNCTION argus.refuse('that rows were dropped is never forgotten');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON argus.checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION argus.refuse('that rows were dropped is never forgotten');
REVOKE UPDATE, DELETE, TRUNCATE ON argus.checkpoint FROM argus_owner;

-- Audit rows and seals go only where a checkpoint stands in for them; the seal at the checkpoint itself stays.
CREATE FUNCTION argus.keep_unless_checkpointed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM argus.checkpoint c
        WHERE c.organization = OLD.organization
          AND CASE TG_TABLE_NAME WHEN 'seal' THEN (OLD.version, OLD.ordinal) < (c.version, c.ordinal)
                                 ELSE (OLD.version, OLD.ordinal) <= (c.version, c.ordinal) END) THEN
        RAISE EXCEPTION '% of argus.% is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END $$;
DROP TRIGGER append_only ON argus.audit;
CREATE TRIGGER append_only BEFORE UPDATE ON argus.audit
    FOR EACH ROW EXECUTE FUNCTION argus.refuse('the audit is only ever added to');
CREATE TRIGGER kept BEFORE DELETE ON argus.audit
    FOR EACH ROW EXECUTE FUNCTION argus.keep_unless_checkpointed('the audit is only ever added to');
CREATE TRIGGER kept BEFORE DELETE ON argus.seal
    FOR EACH ROW EXECUTE FUNCTION argus.keep_unless_checkpointed('a seal is never changed');
GRANT DELETE ON argus.audit TO argus_owner;

-- Drops the audit rows of an organization up to a seal, for which a signed checkpoint stands in from now on, and gives
-- their number.
CREATE FUNCTION argus.prune_audit(of_organization text, at_sequence bigint, with_hash bytea, by_actor text, with_key text,
                                  with_statement text, with_signature text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
DECLARE
    made argus.checkpoint;
BEGIN
    PERFORM FROM argus.chain c WHERE c.organization = of_organization FOR UPDATE;
    INSERT INTO argus.checkpoint (organization, sequence, hash, actor, key, statement, signature)
    VALUES (of_organization, at_sequence, with_hash, by_actor, with_key, with_statement, with_signature)
    RETURNING * INTO made;
    DELETE FROM argus.audit a
    WHERE a.organization = of_organization AND (a.version, a.ordinal) <= (made.version, made.ordinal);
    DELETE FROM argus.seal s WHERE s.organization = of_organization AND s.sequence < at_sequence;
    RETURN made.dropped;
END $$;
GRANT EXECUTE ON FUNCTION argus.prune_audit(text, bigint, bytea, text, text, text, text) TO argus_reconciler;
