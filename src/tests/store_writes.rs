//! Applying: what is written is what was planned, or nothing.

use std::sync::Arc;

use argus::model::id::OrganizationName;
use argus::model::value::Value;
use argus::plan::{Action, OrganizationPlan};
use argus::store::Store;
use argus::store::error::ApplyError;

use crate::support::plans::{SOURCE, apply, change, create, delete, kind, plan, record, rename, update, value};
use crate::support::postgres::{Database, one, run};

/// An organization of every kind, as one plan.
pub fn everything(organization: &str) -> OrganizationPlan {
    let changes = vec![
        create(
            "Organization",
            organization,
            r#"{"displayName": "Acme", "settings": {"t": 0.5, "on": true, "n": 3},
            "allowedEmailDomains": ["acme.example", "acme.test"], "requireMfa": true, "dataRetentionDays": 365}"#,
        ),
        create("Role", "auditor", r#"{"permissions": ["audit:read"], "description": "Reads."}"#),
        create("Role", "builder", r#"{"scope": "project", "permissions": ["project:write"]}"#),
        create("Member", "ada@acme.example", r#"{"roles": ["auditor", "owner"], "expiresAt": "2099-12-31T00:00:00Z"}"#),
        create("Member", "grace@acme.example", r#"{"roles": ["member"], "status": "suspended"}"#),
        create(
            "Team",
            "platform",
            r#"{"parent": "engineering", "members":
            [{"user": "ada@acme.example", "role": "maintainer"}, {"user": "grace@acme.example", "role": "member"}]}"#,
        ),
        create("Team", "engineering", r#"{"description": "All\nof them."}"#),
        create(
            "Project",
            "search",
            r#"{"quotas.apiKeys": 20, "members": [{"user": "ada@acme.example", "role": "builder"}],
            "teams": [{"team": "platform", "role": "developer"}]}"#,
        ),
        create("ServiceAccount", "indexer", r#"{"roles": ["viewer"], "displayName": "Indexer"}"#),
        create(
            "ApiKey",
            "main",
            r#"{"owner.serviceAccount": "indexer", "scopes": ["read", "write"], "ttl": "90d",
            "rotation.schedule": "0 3 1 * *", "rotation.overlap": "48h", "deliverTo.secret.namespace": "search",
            "deliverTo.secret.name": "indexer-key", "deliverTo.secret.key": "token"}"#,
        ),
        create(
            "NotificationChannel",
            "mail",
            r#"{"type": "email", "config.addresses": ["ops@acme.example"],
            "rateLimitPerHour": 60}"#,
        ),
        create(
            "NotificationRule",
            "alerts",
            r#"{"channel": "mail", "events": ["budget.*", "drift.detected"],
            "conditions": [{"field": "severity", "operator": "equals", "value": "warning"}], "priority": "high"}"#,
        ),
        create(
            "Budget",
            "monthly",
            r#"{"subject.project": "search", "period": "monthly", "limit": "250 USD",
            "warnAt": [50, 80], "override.roles": ["owner"], "override.approvals": 1, "override.cap": "400.50 USD",
            "notify": ["mail"]}"#,
        ),
    ];
    let records = changes.iter().map(|change| record(change.kind.get().name, &change.name, Some("{}"))).collect();
    OrganizationPlan { records, ..plan(organization, changes) }.sealed()
}

async fn live_value(store: &Store, organization: &str, of: &str, name: &str, path: &str) -> Value {
    let organization: OrganizationName = organization.into();
    let mut planning = store.planning().await.expect("planning");
    let live = planning.live(std::slice::from_ref(&organization)).await.expect("live");
    let row = live[&organization].rows.get(&(kind(of), name.into())).unwrap_or_else(|| panic!("no {of} {name}"));
    let field = kind(of).get().field_at(path).expect("a field");
    row.spec.value(field).cloned().expect("a stored field")
}

#[tokio::test]
async fn what_was_planned_is_what_is_live_for_every_kind() {
    let database = Database::new().await;
    let store = database.store().await;
    let wanted = everything("acme");
    let outcome = apply(&store, "r1", wanted.clone()).await.expect("applied");
    assert_eq!((outcome.version, outcome.attempts), (1, 1));

    let acme: OrganizationName = "acme".into();
    let mut planning = store.planning().await.expect("planning");
    let live = planning.live(std::slice::from_ref(&acme)).await.expect("live");
    let rows = &live[&acme].rows;
    assert_eq!(rows.len(), wanted.changes.len(), "no row but the planned ones, and no built-in role");
    for change in &wanted.changes {
        let row = &rows[&(change.kind, change.name.clone())];
        assert_eq!(row.version, 1);
        for (at, field) in change.kind.get().stored_fields() {
            let preset = field.preset.value();
            let expected = change.set.get(field.path).unwrap_or(&preset);
            assert_eq!(row.spec.value(at), Some(expected), "{} {}: {}", change.kind, change.name, field.path);
        }
    }
    let applied = planning.applied(std::slice::from_ref(&acme)).await.expect("applied");
    assert_eq!(applied[&acme].rows.len(), wanted.records.len());
    let states = planning.states(SOURCE, None).await.expect("states");
    assert_eq!((states[&acme].version, states[&acme].exists), (1, true));
    assert_eq!(states[&acme].owner.as_deref(), Some(SOURCE));
    for (only, known) in [(vec![acme.clone(), "globex".into()], vec![acme.clone()]), (vec!["".into()], vec!["".into()])]
    {
        let only = planning.states(SOURCE, Some(&only.into_iter().collect())).await.expect("states");
        assert_eq!(only.keys().cloned().collect::<Vec<Arc<str>>>(), known);
        assert!(only.iter().all(|(name, state)| states[name] == *state));
    }
    assert_eq!(planning.owned_organizations(SOURCE).await.expect("owned"), [acme.clone()].into());
    let files: [Arc<str>; 1] = ["acme.yaml".into()];
    assert_eq!(planning.organizations_of_files(SOURCE, &files).await.expect("files"), [acme].into());
}

#[tokio::test]
async fn tiers_stand_under_no_organization() {
    let database = Database::new().await;
    let store = database.store().await;
    let tier =
        create("Tier", "team", r#"{"limits.members": 50, "limits.dailySpend": "100 USD", "features": {"sso": true}}"#);
    apply(&store, "r1", plan("", vec![tier])).await.expect("a tier");
    let organization = create("Organization", "acme", r#"{"tier": "team"}"#);
    apply(&store, "r2", plan("acme", vec![organization])).await.expect("an organization");
    assert_eq!(live_value(&store, "", "Tier", "team", "limits.dailySpend").await, Value::text("100 USD"));
    let mut planning = store.planning().await.expect("planning");
    let users = planning.tier_users().await.expect("users");
    assert_eq!(users.into_iter().collect::<Vec<_>>(), [("team".into(), vec!["acme".into()])]);
    let error = apply(&store, "r3", plan("", vec![delete("Tier", "team", 1)])).await.expect_err("it is in use");
    assert!(matches!(&error, ApplyError::Refused { sqlstate, .. } if sqlstate == "23503"), "{error}");
    assert!(error.to_string().contains("`tier` of some Organization still names something that goes"), "{error}");
}

#[tokio::test]
async fn the_captured_writes_are_exactly_those_of_the_plan() {
    let database = Database::new().await;
    let store = database.store().await;
    apply(&store, "r1", everything("acme")).await.expect("applied");
    let changes = vec![
        rename("Role", "auditor", "examiner", 1, r#"{"description": null}"#),
        update("Member", "ada@acme.example", 1, r#"{"roles": ["examiner"]}"#),
        update("Team", "platform", 1, r#"{"members": [{"user": "ada@acme.example", "role": "member"}]}"#),
        update("Project", "search", 1, r#"{"quotas.apiKeys": 5, "status": null}"#),
        change(Action::Adopt, "ServiceAccount", "indexer", Some(1), "{}"),
        delete("Budget", "monthly", 1),
    ];
    let outcome = apply(&store, "r2", plan("acme", changes)).await.expect("applied");
    assert_eq!(outcome.version, 2);
    let mut session = database.session().await;
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT relation, action, coalesce(after, before) - 'id' - 'organization' #>> '{}' FROM argus.audit
         WHERE version = 2 ORDER BY ordinal",
    )
    .fetch_all(&mut session)
    .await
    .expect("the audit");
    let writes: Vec<(String, String)> =
        rows.iter().map(|(relation, action, _)| (relation.clone(), action.clone())).collect();
    let mut sorted = writes.clone();
    sorted.sort();
    let expected = [
        ("budget", "delete"),
        ("budget_channel", "delete"),
        ("budget_override_role", "delete"),
        // The renamed role, as its foreign key carries it on, then `owner` taken away.
        ("member_role", "delete"),
        ("member_role", "update"),
        ("project", "update"),
        // The role gets its new name, which is told of under both, and loses its description.
        ("role", "update"),
        ("role", "update"),
        ("role", "update"),
        ("team_member", "delete"),
        ("team_member", "update"),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(relation, action)| (relation.to_string(), action.to_string())).collect();
    assert_eq!(sorted, expected, "{rows:#?}");
    let by_argus = "SELECT count(*) FROM argus.audit WHERE actor = 'ada' AND via = 'argus' AND run = 'r2'";
    assert_eq!(one(&mut session, by_argus).await, expected.len().to_string());
    assert_eq!(live_value(&store, "acme", "Member", "ada@acme.example", "roles").await, value(r#"["examiner"]"#));
    // Rows that the plan does not touch keep their version; those whose side rows moved have the new one.
    let version = "SELECT string_agg(name || version, ' ' ORDER BY name) FROM argus.team";
    assert_eq!(one(&mut session, version).await, "engineering1 platform2");
}

#[tokio::test]
async fn a_stale_plan_writes_nothing() {
    let database = Database::new().await;
    let store = database.store().await;
    apply(&store, "r1", everything("acme")).await.expect("applied");
    let planned = vec![
        update("Project", "search", 1, r#"{"description": "New."}"#),
        update("Member", "ada@acme.example", 1, r#"{"status": "suspended"}"#),
        create("Team", "support", "{}"),
        delete("Budget", "monthly", 1),
    ];
    // A write to a side table moves the row that it belongs to.
    database.psql("DELETE FROM argus.member_role WHERE member = 'ada@acme.example' AND role = 'owner'");
    database.psql("INSERT INTO argus.team (organization, name) VALUES ('acme', 'support')");
    let error = apply(&store, "r2", plan("acme", planned)).await.expect_err("it is stale");
    let ApplyError::Stale { what, .. } = &error else { panic!("{error}") };
    assert_eq!(
        what,
        &[
            "Member `ada@acme.example` is at version 2, and was at 1 when it was planned",
            "Team `support` exists, and did not when it was planned",
        ]
    );
    let mut session = database.session().await;
    assert_eq!(one(&mut session, "SELECT version FROM argus.clock WHERE organization = 'acme'").await, "3");
    assert_eq!(one(&mut session, "SELECT count(*) FROM argus.budget").await, "1");
}

#[tokio::test]
async fn an_unrelated_write_makes_no_plan_stale_but_leaves_it_unsettled() {
    let database = Database::new().await;
    let store = database.store().await;
    let mut first = everything("acme");
    (first.settles, first.read_at) = (Some("digest".into()), Some(0));
    assert!(apply(&store, "r1", first).await.expect("applied").settled);
    let acme: OrganizationName = "acme".into();
    let states = store.planning().await.expect("planning").states(SOURCE, None).await.expect("states");
    let pass = states[&acme].pass.as_ref().expect("a pass");
    assert_eq!((pass.digest.as_str(), pass.version), ("digest", 1));

    database.psql("UPDATE argus.budget SET on_limit = 'block'");
    let mut second = plan("acme", vec![update("Project", "search", 1, r#"{"description": "New."}"#)]);
    (second.settles, second.read_at) = (Some("digest".into()), Some(1));
    let outcome = apply(&store, "r2", second).await.expect("the touched row has not moved");
    assert_eq!((outcome.version, outcome.settled), (3, false), "nobody has looked at the budget yet");
}

#[tokio::test]
async fn an_organization_goes_with_all_of_its_rows_and_only_those_that_were_planned() {
    let database = Database::new().await;
    let store = database.store().await;
    let all = everything("acme");
    apply(&store, "r1", all.clone()).await.expect("applied");
    let gone = || all.changes.iter().map(|change| delete(change.kind.get().name, &change.name, 1)).collect::<Vec<_>>();
    database.psql("INSERT INTO argus.team (organization, name) VALUES ('acme', 'late')");
    let error = apply(&store, "r2", plan("acme", gone())).await.expect_err("a team has come since");
    assert!(error.to_string().contains("Team `late` has come"), "{error}");
    database.psql("DELETE FROM argus.team WHERE name = 'late'");
    apply(&store, "r3", plan("acme", gone())).await.expect("it goes");
    let mut session = database.session().await;
    for table in ["organization", "role", "member", "member_role", "team", "api_key", "budget", "invitation"] {
        assert_eq!(one(&mut session, &format!("SELECT count(*) FROM argus.{table}")).await, "0", "{table}");
    }
    let states = store.planning().await.expect("planning").states(SOURCE, None).await.expect("states");
    assert_eq!((states["acme"].exists, states["acme"].version), (false, 4), "the clock goes on");
}

#[tokio::test]
async fn an_organization_keeps_its_rows_its_ids_and_its_records_under_another_name() {
    let database = Database::new().await;
    let store = database.store().await;
    apply(&store, "r1", everything("acme")).await.expect("applied");
    let mut session = database.session().await;
    let id = one(&mut session, "SELECT id FROM argus.organization").await;
    let renamed = plan("apex", vec![rename("Organization", "acme", "apex", 1, r#"{"displayName": "Apex"}"#)]);
    let outcome = apply(&store, "r2", renamed).await.expect("renamed");
    assert_eq!(outcome.version, 2, "the new clock goes on behind the old one");
    assert_eq!(one(&mut session, "SELECT id FROM argus.organization WHERE name = 'apex'").await, id);
    let children = "SELECT count(*) FROM argus.member_role WHERE organization = 'apex'";
    assert_eq!(one(&mut session, children).await, "3");
    let applied = store.planning().await.expect("planning").applied(&["apex".into()]).await.expect("applied");
    assert_eq!(applied["apex"].rows.len(), 13);
    assert!(applied["apex"].rows.contains_key(&(kind("Organization"), "apex".into())));
    assert_eq!(one(&mut session, "SELECT version FROM argus.clock WHERE organization = 'acme'").await, "2");
    let told = "SELECT string_agg(organization, ',' ORDER BY organization) FROM argus.audit
                WHERE relation = 'organization' AND action = 'update'";
    assert_eq!(one(&mut session, told).await, "acme,apex,apex", "told under both names, and its own change once");
}

#[tokio::test]
async fn what_the_constraints_refuse_is_named_and_nothing_is_kept() {
    let database = Database::new().await;
    let store = database.store().await;
    let bad = vec![
        create("Organization", "acme", r#"{"displayName": "canary-value"}"#),
        create("Project", "search", r#"{"status": "canary-value"}"#),
    ];
    let error = apply(&store, "r1", plan("acme", bad)).await.expect_err("no such status");
    let ApplyError::Refused { sqlstate, constraint, .. } = &error else { panic!("{error}") };
    assert_eq!((sqlstate.as_str(), constraint.as_deref()), ("23514", Some("project_status_check")));
    assert!(!format!("{error} {error:?} {:?}", error.finding()).contains("canary-value"));
    let mut session = database.session().await;
    assert_eq!(one(&mut session, "SELECT count(*) FROM argus.organization").await, "0");
    assert_eq!(one(&mut session, "SELECT count(*) FROM argus.audit").await, "0");
}

#[tokio::test]
async fn the_whole_transaction_is_tried_again_after_a_serialization_failure() {
    let database = Database::new().await;
    let store = database.store().await;
    // A sequence counts also what is rolled back.
    let mut session = database.session().await;
    run(
        &mut session,
        "CREATE SEQUENCE argus.tries; GRANT USAGE ON SEQUENCE argus.tries TO argus_reconciler;
         CREATE FUNCTION argus.fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('argus.tries') <= 2 THEN RAISE EXCEPTION 'again' USING ERRCODE = 'serialization_failure'; END IF;
             RETURN NULL;
         END $$;
         GRANT EXECUTE ON FUNCTION argus.fail_twice() TO argus_reconciler;
         CREATE TRIGGER fail_twice AFTER INSERT ON argus.budget FOR EACH STATEMENT EXECUTE FUNCTION argus.fail_twice()",
    )
    .await;
    let outcome = apply(&store, "r1", everything("acme")).await.expect("the third try works");
    assert_eq!((outcome.attempts, outcome.version), (3, 1), "what was rolled back did not count");
    run(&mut session, "ALTER SEQUENCE argus.tries MINVALUE -1000 RESTART WITH -1000").await;
    let error = apply(&store, "r2", everything("apex")).await.expect_err("it never works");
    assert!(matches!(error, ApplyError::Contended { .. }), "{error}");
    assert_eq!(one(&mut session, "SELECT count(*) FROM argus.organization").await, "1");
}

#[tokio::test]
async fn a_record_that_another_source_has_taken_meanwhile_stops_the_plan() {
    let database = Database::new().await;
    let store = database.store().await;
    apply(&store, "r1", everything("acme")).await.expect("applied");
    database.psql("UPDATE argus.applied SET source = 'other' WHERE kind = 'Team' AND name = 'platform'");
    let mut taking = plan("acme", vec![update("Team", "platform", 1, r#"{"displayName": "P"}"#)]);
    taking.records = vec![record("Team", "platform", Some("{}")), record("Budget", "monthly", Some("{}"))];
    let error = apply(&store, "r2", taking).await.expect_err("it is owned elsewhere");
    assert!(error.to_string().contains("Team `platform` belongs to another source"), "{error}");
    let mut session = database.session().await;
    assert_eq!(one(&mut session, "SELECT count(*) FROM argus.team WHERE display_name = 'P'").await, "0");
}

#[tokio::test]
async fn invitations_are_issued_once_and_only_their_digest_is_kept() {
    let database = Database::new().await;
    database.psql("INSERT INTO argus.person (email, status) VALUES ('grace@acme.example', 'known')");
    let store = database.store().await;
    apply(&store, "r1", everything("acme")).await.expect("applied");
    let issued = store.issue_invitations(|| [7; 32]).await.expect("issued");
    let to: Vec<&str> = issued.iter().map(|invitation| &*invitation.email).collect();
    assert_eq!(to, ["ada@acme.example"], "whom the platform knows is not invited");
    assert_eq!(issued[0].token, "07".repeat(32));
    assert!(!format!("{issued:?}").contains("0707"));
    assert!(store.issue_invitations(|| [8; 32]).await.expect("issued").is_empty());
    let mut session = database.session().await;
    let kept = one(&mut session, "SELECT token_hash FROM argus.invitation").await;
    assert_eq!(kept, argus::plan::sha256_hex("07".repeat(32).as_bytes()));
    // A member whose address changes is invited anew; the old token is worth nothing.
    let moved = rename("Member", "ada@acme.example", "ada@acme.test", 1, "{}");
    apply(&store, "r2", plan("acme", vec![moved])).await.expect("renamed");
    let left = "SELECT string_agg(email || coalesce(token_hash, '-'), ' ') FROM argus.invitation";
    assert_eq!(one(&mut session, left).await, "ada@acme.test-");
}

#[tokio::test]
async fn what_a_constraint_refuses_is_told_in_the_words_of_manifests() {
    let database = Database::new().await;
    let store = database.store().await;
    apply(&store, "r0", everything("acme")).await.expect("acme");
    let refusals = [
        (
            create("Team", "lost", r#"{"parent": "nowhere"}"#),
            "`parent` of Team `lost` names a Team that does not exist",
        ),
        (
            create("Team", "lost", r#"{"members": [{"user": "x@nowhere.example", "role": "member"}]}"#),
            "`members.user` of Team `lost` names a Member that does not exist",
        ),
        (
            create("Member", "x@acme.example", r#"{"roles": ["nothing"]}"#),
            "`roles` of Member `x@acme.example` names a Role that does not exist",
        ),
        (
            create("Project", "x", r#"{"quotas.apiKeys": -1}"#),
            "`quotas.apiKeys` of Project `x` holds something that its column does not take",
        ),
        (
            create("Budget", "x", r#"{"period": "daily", "limit": "5 USD", "subject.team": "nowhere"}"#),
            "`subject.team` of Budget `x` names a Team that does not exist",
        ),
    ];
    for (number, (change, told)) in refusals.into_iter().enumerate() {
        let error = apply(&store, &format!("r{}", number + 1), plan("acme", vec![change])).await.expect_err("refused");
        let text = error.to_string();
        assert!(text.contains(told), "{text}");
        assert!(!text.contains("nowhere") && !text.contains("violates"), "{text}");
    }
    let two = ["a", "b"].map(|name| create("Team", name, r#"{"parent": "nowhere"}"#));
    let error = apply(&store, "r9", plan("acme", two.into())).await.expect_err("refused");
    assert!(error.to_string().contains("`parent` of one of the teams `a`, `b` names"), "{error}");
}
