-- Sources that objects of a cluster name.
--
-- expand: columns that nobody has to fill, and a function. A binary that knows nothing of it looks at no such source.
-- contract: nothing to remove later.

-- The object that has named a source, as CLUSTER/NAMESPACE/NAME, and keeps its name for as long as nobody takes that from it;
-- none where the settings of a machine list it.
ALTER TABLE argus.source ADD COLUMN named_by text CHECK (length(named_by) BETWEEN 1 AND 400);
-- A digest of what that object said when it was last noticed: of anything else a look is asked for.
ALTER TABLE argus.source ADD COLUMN named_as text CHECK (length(named_as) <= 64);
CREATE INDEX source_by_namer ON argus.source (named_by) WHERE named_by IS NOT NULL;

-- Forgets a source: nothing waits for it any more, and its name is free. What it has applied stays, and stays its own.
CREATE FUNCTION argus.forget_source(of_source text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    DELETE FROM argus.source WHERE name = of_source;
    RETURN FOUND;
END $$;
REVOKE EXECUTE ON FUNCTION argus.forget_source(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION argus.forget_source(text) TO argus_reconciler;
