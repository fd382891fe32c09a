-- Approvals: nobody takes anybody else's place.
--
-- A statement that somebody records with a signature that is none kept its own signer from recording it, and whoever may
-- approve could fill all the places of a plan.
--
-- expand: more may be recorded than before, each role for itself.
-- contract: nothing to remove later.

ALTER TABLE argus.approval DROP CONSTRAINT approval_statement_key;
ALTER TABLE argus.approval ADD CONSTRAINT approval_statement_once UNIQUE (statement, role);

-- As before; but what counts is what this role has recorded.
CREATE OR REPLACE FUNCTION argus.approve(of_organization text, of_plan text, of_rules text, until timestamptz,
                                         with_comment text, with_statement text, with_signature text) RETURNS bigint
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
          AND a.expires_at > clock_timestamp() AND a.role = session_user) >= 50 THEN
        RAISE EXCEPTION 'the plan has 50 approvals of this role already' USING ERRCODE = 'program_limit_exceeded';
    END IF;
    -- What was used, or taken back, does not come again, whoever brings it.
    IF EXISTS (SELECT FROM argus.approval a
               WHERE a.statement = with_statement AND num_nonnulls(a.used_at, a.revoked_at) > 0) THEN
        RAISE EXCEPTION 'the statement was used or taken back' USING ERRCODE = 'unique_violation';
    END IF;
    INSERT INTO argus.approval (organization, plan_digest, rules_digest, expires_at, comment, statement, signature)
    VALUES (of_organization, of_plan, of_rules, least(until, clock_timestamp() + interval '30 days'), with_comment,
            with_statement, with_signature)
    RETURNING id INTO number;
    RETURN number;
END $$;
