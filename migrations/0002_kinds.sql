-- The tables of the kinds. A column is called like its field in snake case; money takes two; the items of some lists
-- are rows of a table of their own. Checks are the last line of defence; defaults are the presets of the fields.
--
-- expand: everything here is new.
-- contract: nothing to remove later. A field that goes keeps its column until no binary that writes it is left; then a
--           later migration drops it.

----------------------------------------------------------------------------------------------------------------------
CREATE TABLE argus.tier (
    name                         text PRIMARY KEY
                                 CHECK (name ~ '^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$' AND length(name) <= 63),
    id                           uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version                      bigint NOT NULL DEFAULT 0,
    display_name                 text CHECK (length(display_name) <= 100),
    description                  text CHECK (length(description) <= 2000),
    limits_members               bigint CHECK (limits_members BETWEEN 0 AND 1000000000000000),
    limits_teams                 bigint CHECK (limits_teams BETWEEN 0 AND 1000000000000000),
    limits_projects              bigint CHECK (limits_projects BETWEEN 0 AND 1000000000000000),
    limits_api_keys              bigint CHECK (limits_api_keys BETWEEN 0 AND 1000000000000000),
    limits_requests_per_minute   bigint CHECK (limits_requests_per_minute BETWEEN 0 AND 1000000000000000),
    limits_tokens_per_month      bigint CHECK (limits_tokens_per_month BETWEEN 0 AND 1000000000000000),
    limits_daily_spend_minor     bigint CHECK (limits_daily_spend_minor BETWEEN 0 AND 1000000000000000),
    limits_daily_spend_currency  text CHECK (limits_daily_spend_currency ~ '^[A-Z]{3}$'),
    limits_monthly_spend_minor   bigint CHECK (limits_monthly_spend_minor BETWEEN 0 AND 1000000000000000),
    limits_monthly_spend_currency text CHECK (limits_monthly_spend_currency ~ '^[A-Z]{3}$'),
    limits_audit_retention_days  bigint CHECK (limits_audit_retention_days BETWEEN 1 AND 36500),
    features                     jsonb NOT NULL DEFAULT '{}'
                                 CHECK (jsonb_typeof(features) = 'object' AND argus.is_plain(features)),
    CONSTRAINT tier_daily_spend_whole CHECK (num_nulls(limits_daily_spend_minor, limits_daily_spend_currency) <> 1),
    CONSTRAINT tier_monthly_spend_whole
        CHECK (num_nulls(limits_monthly_spend_minor, limits_monthly_spend_currency) <> 1)
);
SELECT argus.manage('tier', 'Tier', '', 'name');

----------------------------------------------------------------------------------------------------------------------
CREATE TABLE argus.organization (
    name                  text PRIMARY KEY
                          CHECK (name ~ '^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$' AND length(name) <= 63),
    id                    uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version               bigint NOT NULL DEFAULT 0,
    display_name          text CHECK (length(display_name) <= 100),
    description           text CHECK (length(description) <= 2000),
    tier                  text REFERENCES argus.tier (name) ON UPDATE CASCADE,
    status                text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    status_reason         text CHECK (length(status_reason) <= 500),
    billing_email         text CHECK (billing_email = lower(billing_email) AND length(billing_email) <= 254),
    logo_url              text CHECK (logo_url ~ '^https://' AND length(logo_url) <= 2048),
    allowed_email_domains text[] NOT NULL DEFAULT '{}' CHECK (argus.is_plain(allowed_email_domains)),
    require_mfa           boolean NOT NULL DEFAULT false,
    data_retention_days   bigint CHECK (data_retention_days BETWEEN 1 AND 36500),
    sso_protocol          text CHECK (sso_protocol IN ('oidc', 'saml')),
    sso_issuer            text CHECK (sso_issuer ~ '^https://' AND length(sso_issuer) <= 2048),
    sso_client_id         text CHECK (length(sso_client_id) <= 255),
    sso_domain            text CHECK (length(sso_domain) <= 253),
    sso_enforced          boolean NOT NULL DEFAULT false,
    settings              jsonb NOT NULL DEFAULT '{}'
                          CHECK (jsonb_typeof(settings) = 'object' AND argus.is_plain(settings)),
    features              jsonb NOT NULL DEFAULT '{}'
                          CHECK (jsonb_typeof(features) = 'object' AND argus.is_plain(features)),
    labels                jsonb NOT NULL DEFAULT '{}'
                          CHECK (jsonb_typeof(labels) = 'object' AND argus.is_plain(labels))
);
CREATE INDEX organization_of_tier ON argus.organization (tier);
SELECT argus.manage('organization', 'Organization', 'name', 'name');

----------------------------------------------------------------------------------------------------------------------
-- The roles that every organization has. `argus db migrate` fills it from the binary.
CREATE TABLE argus.built_in_role (
    name        text PRIMARY KEY,
    scope       text NOT NULL,
    permissions text[] NOT NULL
);
GRANT SELECT ON argus.built_in_role TO argus_planner, argus_reconciler, argus_app;

CREATE TABLE argus.role (
    organization text NOT NULL REFERENCES argus.organization (name) ON UPDATE CASCADE,
    name         text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$' AND length(name) <= 63),
    id           uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version      bigint NOT NULL DEFAULT 0,
    built_in     boolean NOT NULL DEFAULT false,
    scope        text NOT NULL DEFAULT 'organization',
    description  text CHECK (length(description) <= 500),
    permissions  text[] NOT NULL DEFAULT '{}' CHECK (argus.is_plain(permissions)),
    PRIMARY KEY (organization, name),
    -- Only a built-in role can be granted in both places.
    CONSTRAINT role_scope_check CHECK (scope IN ('organization', 'project') OR (built_in AND scope = 'any'))
);

-- Built-in roles are written by the owner's functions alone. It runs as whoever writes: that is what it looks at.
CREATE FUNCTION argus.guard_built_in() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_user <> 'argus_owner'
       AND ((TG_OP <> 'INSERT' AND OLD.built_in) OR (TG_OP <> 'DELETE' AND NEW.built_in)) THEN
        RAISE EXCEPTION 'built-in roles are the same in every organization and cannot be changed'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER guard_built_in BEFORE INSERT OR UPDATE OR DELETE ON argus.role
    FOR EACH ROW EXECUTE FUNCTION argus.guard_built_in();
SELECT argus.manage('role', 'Role', 'organization', 'name', unless_built_in => true);

CREATE FUNCTION argus.add_built_in_roles() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    INSERT INTO argus.role (organization, name, scope, permissions, built_in)
    SELECT o.name, b.name, b.scope, b.permissions, true FROM new_rows o CROSS JOIN argus.built_in_role b;
    RETURN NULL;
END $$;
CREATE TRIGGER add_built_in_roles AFTER INSERT ON argus.organization REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION argus.add_built_in_roles();

CREATE FUNCTION argus.drop_built_in_roles() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    DELETE FROM argus.role WHERE organization = OLD.name AND built_in;
    RETURN OLD;
END $$;
CREATE TRIGGER drop_built_in_roles BEFORE DELETE ON argus.organization
    FOR EACH ROW EXECUTE FUNCTION argus.drop_built_in_roles();

-- Brings the built-in roles of all organizations in line with argus.built_in_role. A role of the same name that an
-- organization has made itself stays as it is.
CREATE FUNCTION argus.spread_built_in_roles() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
    INSERT INTO argus.role AS r (organization, name, scope, permissions, built_in)
    SELECT o.name, b.name, b.scope, b.permissions, true FROM argus.organization o CROSS JOIN argus.built_in_role b
    ON CONFLICT (organization, name) DO UPDATE SET scope = excluded.scope, permissions = excluded.permissions
    WHERE r.built_in AND (r.scope, r.permissions) IS DISTINCT FROM (excluded.scope, excluded.permissions)
$$;

----------------------------------------------------------------------------------------------------------------------
CREATE TABLE argus.member (
    organization text NOT NULL REFERENCES argus.organization (name) ON UPDATE CASCADE,
    -- The person comes into being after the row, by the trigger below: so the key is looked at when all is written.
    email        text NOT NULL REFERENCES argus.person (email) DEFERRABLE INITIALLY DEFERRED
                 CHECK (email = lower(email) AND length(email) <= 254),
    id           uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version      bigint NOT NULL DEFAULT 0,
    status       text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    expires_at   timestamptz
                 CHECK (expires_at = date_trunc('second', expires_at)
                        AND expires_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59Z'),
    PRIMARY KEY (organization, email)
);
SELECT argus.manage('member', 'Member', 'organization', 'email');

CREATE TABLE argus.member_role (
    organization text NOT NULL,
    member       text NOT NULL,
    role         text NOT NULL,
    PRIMARY KEY (organization, member, role),
    FOREIGN KEY (organization, member) REFERENCES argus.member (organization, email)
        ON UPDATE CASCADE ON DELETE CASCADE,
    FOREIGN KEY (organization, role) REFERENCES argus.role (organization, name) ON UPDATE CASCADE
);
SELECT argus.manage_side('member_role', 'Member', 'member', 'email');

-- Somebody whom the platform does not know yet is invited. `argus` issues the token and stores its digest.
CREATE TABLE argus.invitation (
    organization text NOT NULL,
    email        text NOT NULL,
    token_hash   text CHECK (token_hash ~ '^[0-9a-f]{64}$'),
    expires_at   timestamptz NOT NULL DEFAULT now() + interval '7 days',
    accepted_at  timestamptz,
    PRIMARY KEY (organization, email),
    FOREIGN KEY (organization, email) REFERENCES argus.member (organization, email)
        ON UPDATE CASCADE ON DELETE CASCADE
);
SELECT argus.isolate('invitation', 'organization', '');
-- Whoever plans has no use for digests of tokens.
REVOKE SELECT ON argus.invitation FROM argus_planner;
GRANT UPDATE ON argus.invitation TO argus_reconciler;

CREATE FUNCTION argus.invite() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    -- In the order of addresses, so that two transactions that bring in the same people wait and do not deadlock.
    INSERT INTO argus.person (email, status)
    SELECT DISTINCT n.email, 'invited' FROM new_rows n ORDER BY n.email
    ON CONFLICT (email) DO NOTHING;
    INSERT INTO argus.invitation (organization, email)
    SELECT n.organization, n.email FROM new_rows n JOIN argus.person p ON p.email = n.email AND p.status = 'invited'
    ON CONFLICT (organization, email) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER invite AFTER INSERT ON argus.member REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION argus.invite();

-- A member whose address changes is somebody else as far as invitations go: the token that went to the old address is
-- worth nothing.
CREATE FUNCTION argus.invite_anew() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, argus, pg_temp AS $$
BEGIN
    INSERT INTO argus.person (email, status) VALUES (NEW.email, 'invited') ON CONFLICT (email) DO NOTHING;
    DELETE FROM argus.invitation WHERE organization = NEW.organization AND email IN (OLD.email, NEW.email);
    INSERT INTO argus.invitation (organization, email)
    SELECT NEW.organization, p.email FROM argus.person p WHERE p.email = NEW.email AND p.status = 'invited';
    RETURN NULL;
END $$;
CREATE TRIGGER invite_anew AFTER UPDATE OF email ON argus.member
    FOR EACH ROW WHEN (NEW.email <> OLD.email) EXECUTE FUNCTION argus.invite_anew();

----------------------------------------------------------------------------------------------------------------------
CREATE TABLE argus.team (
    organization text NOT NULL REFERENCES argus.organization (name) ON UPDATE CASCADE,
    name         text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$' AND length(name) <= 63),
    id           uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version      bigint NOT NULL DEFAULT 0,
    display_name text CHECK (length(display_name) <= 100),
    description  text CHECK (length(description) <= 2000),
    parent       text CHECK (parent <> name),
    PRIMARY KEY (organization, name),
    -- Teams of one transaction may come and go in any order.
    FOREIGN KEY (organization, parent) REFERENCES argus.team (organization, name)
        ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED
);
SELECT argus.manage('team', 'Team', 'organization', 'name');

CREATE TABLE argus.team_member (
    organization text NOT NULL,
    team         text NOT NULL,
    member       text NOT NULL,
    role         text NOT NULL DEFAULT 'member' CHECK (role IN ('maintainer', 'member')),
    PRIMARY KEY (organization, team, member),
    FOREIGN KEY (organization, team) REFERENCES argus.team (organization, name) ON UPDATE CASCADE ON DELETE CASCADE,
    FOREIGN KEY (organization, member) REFERENCES argus.member (organization, email) ON UPDATE CASCADE
);
CREATE INDEX team_member_of_member ON argus.team_member (organization, member);
SELECT argus.manage_side('team_member', 'Team', 'team', 'name');

----------------------------------------------------------------------------------------------------------------------
CREATE TABLE argus.project (
    organization               text NOT NULL REFERENCES argus.organization (name) ON UPDATE CASCADE,
    name                       text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$' AND length(name) <= 63),
    id                         uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version                    bigint NOT NULL DEFAULT 0,
    display_name               text CHECK (length(display_name) <= 100),
    description                text CHECK (length(description) <= 2000),
    status                     text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'archived')),
    quotas_requests_per_minute bigint CHECK (quotas_requests_per_minute BETWEEN 0 AND 1000000000000000),
    quotas_tokens_per_month    bigint CHECK (quotas_tokens_per_month BETWEEN 0 AND 1000000000000000),
    quotas_api_keys            bigint CHECK (quotas_api_keys BETWEEN 0 AND 1000000000000000),
    PRIMARY KEY (organization, name)
);
SELECT argus.manage('project', 'Project', 'organization', 'name');

CREATE TABLE argus.project_member (
    organization text NOT NULL,
    project      text NOT NULL,
    member       text NOT NULL,
    role         text NOT NULL DEFAULT 'developer',
    PRIMARY KEY (organization, project, member),
    FOREIGN KEY (organization, project) REFERENCES argus.project (organization, name)
        ON UPDATE CASCADE ON DELETE CASCADE,
    FOREIGN KEY (organization, member) REFERENCES argus.member (organization, email) ON UPDATE CASCADE,
    FOREIGN KEY (organization, role) REFERENCES argus.role (organization, name) ON UPDATE CASCADE
);
CREATE INDEX project_member_of_member ON argus.project_member (organization, member);
SELECT argus.manage_side('project_member', 'Project', 'project', 'name');

CREATE TABLE argus.project_team (
    organization text NOT NULL,
    project      text NOT NULL,
    team         text NOT NULL,
    role         text NOT NULL DEFAULT 'developer',
    PRIMARY KEY (organization, project, team),
    FOREIGN KEY (organization, project) REFERENCES argus.project (organization, name)
        ON UPDATE CASCADE ON DELETE CASCADE,
    FOREIGN KEY (organization, team) REFERENCES argus.team (organization, name) ON UPDATE CASCADE,
    FOREIGN KEY (organization, role) REFERENCES argus.role (organization, name) ON UPDATE CASCADE
);
SELECT argus.manage_side('project_team', 'Project', 'project', 'name');

----------------------------------------------------------------------------------------------------------------------
CREATE TABLE argus.service_account (
    organization text NOT NULL REFERENCES argus.organization (name) ON UPDATE CASCADE,
    name         text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$' AND length(name) <= 63),
    id           uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version      bigint NOT NULL DEFAULT 0,
    display_name text CHECK (length(display_name) <= 100),
    description  text CHECK (length(description) <= 2000),
    status       text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    PRIMARY KEY (organization, name)
);
SELECT argus.manage('service_account', 'ServiceAccount', 'organization', 'name');

CREATE TABLE argus.service_account_role (
    organization    text NOT NULL,
    service_account text NOT NULL,
    role            text NOT NULL,
    PRIMARY KEY (organization, service_account, role),
    FOREIGN KEY (organization, service_account) REFERENCES argus.service_account (organization, name)
        ON UPDATE CASCADE ON DELETE CASCADE,
    FOREIGN KEY (organization, role) REFERENCES argus.role (organization, name) ON UPDATE CASCADE
);
SELECT argus.manage_side('service_account_role', 'ServiceAccount', 'service_account', 'name');

----------------------------------------------------------------------------------------------------------------------
CREATE TABLE argus.api_key (
    organization                text NOT NULL REFERENCES argus.organization (name) ON UPDATE CASCADE,
    name                        text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$' AND length(name) <= 63),
    id                          uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version                     bigint NOT NULL DEFAULT 0,
    description                 text CHECK (length(description) <= 500),
    owner_service_account       text,
    owner_user                  text,
    scopes                      text[] NOT NULL DEFAULT '{}' CHECK (argus.is_plain(scopes)),
    expires_at                  timestamptz
                                CHECK (expires_at = date_trunc('second', expires_at)
                                       AND expires_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59Z'),
    ttl                         text CHECK (ttl ~ '^[0-9]+[wdhms]$'),
    rotation_schedule           text,
    rotation_overlap            text CHECK (rotation_overlap ~ '^[0-9]+[wdhms]$'),
    deliver_to_secret_namespace text CHECK (length(deliver_to_secret_namespace) <= 63),
    deliver_to_secret_name      text CHECK (length(deliver_to_secret_name) <= 63),
    deliver_to_secret_key       text CHECK (length(deliver_to_secret_key) <= 253),
    deliver_to_age              text CHECK (length(deliver_to_age) <= 100),
    deliver_to_vault_path       text CHECK (length(deliver_to_vault_path) <= 500),
    deliver_to_vault_key        text CHECK (length(deliver_to_vault_key) <= 253),
    -- The life of the key, which no manifest names. The key itself stands nowhere.
    status                      text NOT NULL DEFAULT 'pending'
                                CHECK (status IN ('pending', 'active', 'rotating', 'revoked', 'expired')),
    prefix                      text CHECK (length(prefix) <= 16),
    sha256                      text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    PRIMARY KEY (organization, name),
    FOREIGN KEY (organization, owner_service_account) REFERENCES argus.service_account (organization, name)
        ON UPDATE CASCADE,
    FOREIGN KEY (organization, owner_user) REFERENCES argus.member (organization, email) ON UPDATE CASCADE,
    CONSTRAINT api_key_one_owner CHECK (num_nonnulls(owner_service_account, owner_user) = 1)
);
CREATE INDEX api_key_of_service_account ON argus.api_key (organization, owner_service_account)
    WHERE owner_service_account IS NOT NULL;
CREATE INDEX api_key_of_user ON argus.api_key (organization, owner_user) WHERE owner_user IS NOT NULL;
SELECT argus.manage('api_key', 'ApiKey', 'organization', 'name');

----------------------------------------------------------------------------------------------------------------------
CREATE TABLE argus.notification_channel (
    organization           text NOT NULL REFERENCES argus.organization (name) ON UPDATE CASCADE,
    name                   text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$' AND length(name) <= 63),
    id                     uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version                bigint NOT NULL DEFAULT 0,
    type                   text NOT NULL CHECK (type IN ('slack', 'email', 'webhook', 'discord', 'teams')),
    config_addresses       text[] NOT NULL DEFAULT '{}' CHECK (argus.is_plain(config_addresses)),
    config_url             text CHECK (config_url ~ '^https://' AND length(config_url) <= 2048),
    config_secret_ref_name text CHECK (length(config_secret_ref_name) <= 63),
    config_secret_ref_key  text CHECK (length(config_secret_ref_key) <= 253),
    rate_limit_per_hour    bigint CHECK (rate_limit_per_hour BETWEEN 1 AND 100000),
    enabled                boolean NOT NULL DEFAULT true,
    PRIMARY KEY (organization, name)
);
SELECT argus.manage('notification_channel', 'NotificationChannel', 'organization', 'name');

----------------------------------------------------------------------------------------------------------------------
CREATE TABLE argus.notification_rule (
    organization text NOT NULL REFERENCES argus.organization (name) ON UPDATE CASCADE,
    name         text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$' AND length(name) <= 63),
    id           uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version      bigint NOT NULL DEFAULT 0,
    channel      text NOT NULL,
    events       text[] NOT NULL DEFAULT '{}' CHECK (argus.is_plain(events)),
    conditions   jsonb NOT NULL DEFAULT '[]'
                 CHECK (jsonb_typeof(conditions) = 'array' AND argus.is_plain(conditions)),
    template     text CHECK (length(template) <= 4000),
    priority     text NOT NULL DEFAULT 'normal' CHECK (priority IN ('low', 'normal', 'high', 'critical')),
    cooldown     text CHECK (cooldown ~ '^[0-9]+[wdhms]$'),
    PRIMARY KEY (organization, name),
    FOREIGN KEY (organization, channel) REFERENCES argus.notification_channel (organization, name) ON UPDATE CASCADE
);
SELECT argus.manage('notification_rule', 'NotificationRule', 'organization', 'name');

----------------------------------------------------------------------------------------------------------------------
CREATE TABLE argus.budget (
    organization            text NOT NULL REFERENCES argus.organization (name) ON UPDATE CASCADE,
    name                    text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$' AND length(name) <= 63),
    id                      uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    version                 bigint NOT NULL DEFAULT 0,
    subject_team            text,
    subject_project         text,
    subject_service_account text,
    subject_api_key         text,
    period                  text NOT NULL CHECK (period IN ('daily', 'monthly', 'quarterly', 'annual')),
    limit_minor             bigint NOT NULL CHECK (limit_minor BETWEEN 0 AND 1000000000000000),
    limit_currency          text NOT NULL CHECK (limit_currency ~ '^[A-Z]{3}$'),
    warn_at                 bigint[] NOT NULL DEFAULT '{}'
                            CHECK (1 <= ALL (warn_at) AND 100 >= ALL (warn_at) AND argus.is_plain(warn_at)),
    on_limit                text NOT NULL DEFAULT 'warn' CHECK (on_limit IN ('block', 'queue', 'warn')),
    grace_period            text CHECK (grace_period ~ '^[0-9]+[wdhms]$'),
    override_approvals      bigint CHECK (override_approvals BETWEEN 1 AND 10),
    override_cap_minor      bigint CHECK (override_cap_minor BETWEEN 0 AND 1000000000000000),
    override_cap_currency   text CHECK (override_cap_currency ~ '^[A-Z]{3}$'),
    PRIMARY KEY (organization, name),
    FOREIGN KEY (organization, subject_team) REFERENCES argus.team (organization, name) ON UPDATE CASCADE,
    FOREIGN KEY (organization, subject_project) REFERENCES argus.project (organization, name) ON UPDATE CASCADE,
    FOREIGN KEY (organization, subject_service_account) REFERENCES argus.service_account (organization, name)
        ON UPDATE CASCADE,
    FOREIGN KEY (organization, subject_api_key) REFERENCES argus.api_key (organization, name) ON UPDATE CASCADE,
    CONSTRAINT budget_one_subject
        CHECK (num_nonnulls(subject_team, subject_project, subject_service_account, subject_api_key) <= 1),
    CONSTRAINT budget_override_cap_whole CHECK (num_nulls(override_cap_minor, override_cap_currency) <> 1)
);
SELECT argus.manage('budget', 'Budget', 'organization', 'name');

CREATE TABLE argus.budget_override_role (
    organization text NOT NULL,
    budget       text NOT NULL,
    role         text NOT NULL,
    PRIMARY KEY (organization, budget, role),
    FOREIGN KEY (organization, budget) REFERENCES argus.budget (organization, name) ON UPDATE CASCADE ON DELETE CASCADE,
    FOREIGN KEY (organization, role) REFERENCES argus.role (organization, name) ON UPDATE CASCADE
);
SELECT argus.manage_side('budget_override_role', 'Budget', 'budget', 'name');

CREATE TABLE argus.budget_channel (
    organization text NOT NULL,
    budget       text NOT NULL,
    channel      text NOT NULL,
    PRIMARY KEY (organization, budget, channel),
    FOREIGN KEY (organization, budget) REFERENCES argus.budget (organization, name) ON UPDATE CASCADE ON DELETE CASCADE,
    FOREIGN KEY (organization, channel) REFERENCES argus.notification_channel (organization, name) ON UPDATE CASCADE
);
SELECT argus.manage_side('budget_channel', 'Budget', 'budget', 'name');
