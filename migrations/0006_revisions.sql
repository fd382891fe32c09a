-- Which commit a run was made of, so that the next one can tell whether it leads on from it, and an audit row through
-- its run whose commit it came from.
--
-- expand: two columns that older runs leave empty, which reads as "not from a commit".
-- contract: nothing to remove later.

ALTER TABLE argus.run
    -- `main@sha1:...`
    ADD COLUMN revision text CHECK (length(revision) <= 1000),
    -- Its commit: id, author, committer, date, subject, pull request, signer.
    ADD COLUMN commit jsonb CHECK (octet_length(commit::text) <= 16384);
