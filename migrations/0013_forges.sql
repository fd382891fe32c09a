-- Forges: which of their hooks were seen, what they are to be told, and which changes that are asked for wait for a plan.
--
-- expand: everything here is new. A binary that knows nothing of it takes no hooks and tells forges nothing.
-- contract: nothing to remove later.

-- What was seen of hooks, so that a delivery that comes again does nothing, whichever replica it comes to. A mark is a digest.
CREATE TABLE argus.hook_seen (
    source text NOT NULL CHECK (length(source) BETWEEN 1 AND 63),
    mark   bytea NOT NULL CHECK (octet_length(mark) = 32),
    until  timestamptz NOT NULL,
    PRIMARY KEY (source, mark)
);
CREATE INDEX hook_seen_by_end ON argus.hook_seen (until);
GRANT SELECT ON argus.hook_seen TO argus_planner, argus_reconciler;
GRANT INSERT, UPDATE, DELETE ON argus.hook_seen TO argus_reconciler;

-- What a forge is to be told: the newest alone. It waits as long as more was asked for than told.
CREATE TABLE argus.report (
    source     text NOT NULL CHECK (length(source) BETWEEN 1 AND 63),
    -- `status`: how it stands with a commit. `comment`: what stands under a change that is asked for.
    kind       text NOT NULL CHECK (kind IN ('status', 'comment')),
    -- The commit, or the number of what is asked for.
    subject    text NOT NULL CHECK (length(subject) BETWEEN 1 AND 64),
    context    text NOT NULL DEFAULT '' CHECK (length(context) <= 100),
    state      text CHECK (state IN ('pending', 'success', 'failure')),
    text       text NOT NULL CHECK (length(text) <= 1000000),
    target     text CHECK (length(target) <= 2000),
    asked      bigint NOT NULL DEFAULT 1,
    told       bigint NOT NULL DEFAULT 0,
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    due        timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Until when somebody tells it; of two who believe to, the fence tells who does.
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    fence      bigint NOT NULL DEFAULT 0,
    -- How many attempts have failed in a row, and why the last one did, or why there will be none any more.
    failures   integer NOT NULL DEFAULT 0,
    why        text CHECK (length(why) <= 500),
    -- What the forge calls the comment.
    remote     text CHECK (length(remote) <= 100),
    PRIMARY KEY (source, kind, subject, context),
    CONSTRAINT report_state CHECK ((kind = 'status') = (state IS NOT NULL))
);
CREATE INDEX report_waiting ON argus.report (source, due) WHERE asked > told;
CREATE INDEX report_by_time ON argus.report (asked_at);
GRANT SELECT ON argus.report TO argus_planner, argus_reconciler;
GRANT INSERT, UPDATE, DELETE ON argus.report TO argus_reconciler;

-- A change that is asked for, and waits for a plan as long as it was asked for more often than answered.
CREATE TABLE argus.review (
    source     text NOT NULL CHECK (length(source) BETWEEN 1 AND 63),
    number     bigint NOT NULL CHECK (number > 0),
    -- The newest head that was heard of. What is planned is what the repository holds then.
    head       text NOT NULL CHECK (head ~ '^([0-9a-f]{40}|[0-9a-f]{64})$'),
    asked      bigint NOT NULL DEFAULT 1,
    answered   bigint NOT NULL DEFAULT 0,
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    due        timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The replica that plans it, which has it as long as it is there.
    holder     text,
    fence      bigint NOT NULL DEFAULT 0,
    -- How often it was begun since it last came to an end.
    tries      integer NOT NULL DEFAULT 0,
    why        text CHECK (length(why) <= 500),
    PRIMARY KEY (source, number)
);
CREATE INDEX review_waiting ON argus.review (source, due) WHERE asked > answered;
CREATE INDEX review_by_time ON argus.review (asked_at);
GRANT SELECT ON argus.review TO argus_planner, argus_reconciler;
GRANT INSERT, UPDATE, DELETE ON argus.review TO argus_reconciler;
