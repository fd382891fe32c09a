-- What judged a run: so that policies that were there before and are gone do not go unnoticed.
--
-- expand: two columns that older runs leave empty, which reads as "no policies".
-- contract: nothing to remove later.

ALTER TABLE argus.run
    -- The digest of the policies and terms that judged it; approvals are bound to it.
    ADD COLUMN rules_digest text,
    -- Whether there were policies, or should have been.
    ADD COLUMN policed boolean NOT NULL DEFAULT false;
CREATE INDEX run_of_source ON argus.run (source, started_at DESC);
