-- Notifications: messages of organizations that wait for their channels, and what became of them.
--
-- expand: everything here is new.
-- contract: nothing to remove later.

-- One row for each event and each rule that it fulfils.
CREATE TABLE argus.notification (
    organization text NOT NULL,
    -- A message goes under this id as often as it is sent: whoever has seen it drops it.
    id           uuid NOT NULL DEFAULT gen_random_uuid(),
    event        uuid NOT NULL,
    position     bigint NOT NULL,
    type         text NOT NULL CHECK (length(type) <= 63),
    subject      text NOT NULL CHECK (length(subject) <= 500),
    rule         text NOT NULL CHECK (length(rule) <= 63),
    channel      text NOT NULL CHECK (length(channel) <= 63),
    -- 0 low, 1 normal, 2 high, 3 critical.
    priority     smallint NOT NULL CHECK (priority BETWEEN 0 AND 3),
    title        text NOT NULL CHECK (length(title) <= 1000),
    text         text NOT NULL CHECK (length(text) <= 20000),
    -- How many events like this one were not told because of the rule's cooldown.
    withheld     bigint NOT NULL DEFAULT 0,
    state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'failed', 'dropped')),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    due          timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts     integer NOT NULL DEFAULT 0,
    -- Why the last attempt failed, or why there will be none any more.
    why          text CHECK (length(why) <= 500),
    done_at      timestamptz,
    PRIMARY KEY (organization, id),
    -- Matching an event once more adds nothing.
    UNIQUE (organization, event, rule),
    CONSTRAINT notification_done CHECK ((state = 'waiting') = (done_at IS NULL))
);
CREATE INDEX notification_waiting ON argus.notification (organization, channel, priority DESC, due)
    WHERE state = 'waiting';
CREATE INDEX notification_sent ON argus.notification (organization, channel, done_at) WHERE state = 'sent';
CREATE INDEX notification_done_at ON argus.notification (done_at) WHERE state <> 'waiting';
SELECT argus.isolate('notification', 'organization', 'SELECT');
GRANT INSERT, UPDATE, DELETE ON argus.notification TO argus_reconciler;

-- A channel for which something waits or has waited: one relay at a time sends to it, until its lease ends.
CREATE TABLE argus.notification_gate (
    organization text NOT NULL,
    channel      text NOT NULL CHECK (length(channel) <= 63),
    -- When there may be something to send. Whoever queues holds this row to the commit, and whoever has sent finds out
    -- under the same lock what waits, so that nothing is overlooked.
    wake         timestamptz NOT NULL,
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    -- How many attempts have failed in a row.
    failures     integer NOT NULL DEFAULT 0,
    -- How many messages were given up because the organization's queue was full.
    overflowed   bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (organization, channel)
);
CREATE INDEX notification_gate_by_wake ON argus.notification_gate (wake);
SELECT argus.isolate('notification_gate', 'organization', '');
GRANT INSERT, UPDATE, DELETE ON argus.notification_gate TO argus_reconciler;

-- What a rule with a cooldown has told, until when it is not told again, and how often it was not.
CREATE TABLE argus.notification_quiet (
    organization text NOT NULL,
    rule         text NOT NULL CHECK (length(rule) <= 63),
    type         text NOT NULL CHECK (length(type) <= 63),
    subject      text NOT NULL CHECK (length(subject) <= 500),
    until        timestamptz NOT NULL,
    withheld     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (organization, rule, type, subject)
);
CREATE INDEX notification_quiet_by_end ON argus.notification_quiet (until);
SELECT argus.isolate('notification_quiet', 'organization', '');
GRANT INSERT, UPDATE, DELETE ON argus.notification_quiet TO argus_reconciler;
