//! One idea each: a manifest before, what drifts, the manifest after.

use super::{Case, file, spec};

#[test]
fn a_plain_scalar_changes_and_its_comment_stays() {
    spec(
        "  # what people see\n  displayName: Acme # for now\n  tier: team\n",
        &[r#"acme/Organization/acme displayName = "Acme Two""#],
        "  # what people see\n  displayName: Acme Two # for now\n  tier: team\n",
    );
}

#[test]
fn quotes_stay_what_they_were() {
    spec(
        "  displayName: \"Acme\"\n  statusReason: 'none' # yet\n  description: plain\n",
        &[
            r#"acme/Organization/acme displayName = "a \"b\"""#,
            r#"acme/Organization/acme statusReason = "it's""#,
            r#"acme/Organization/acme description = "12""#,
        ],
        "  displayName: \"a \\\"b\\\"\"\n  statusReason: 'it''s' # yet\n  description: \"12\"\n",
    );
}

#[test]
fn a_block_scalar_stays_a_block() {
    spec(
        "  description: |\n    One.\n    Two.\n  # the tier\n  tier: team\n",
        &[r#"acme/Organization/acme description = "One.\n\nThree.\n""#],
        "  description: |\n    One.\n\n    Three.\n  # the tier\n  tier: team\n",
    );
}

#[test]
fn a_line_becomes_a_block_and_a_block_becomes_a_line() {
    spec(
        "  description: >-\n    folded\n    text\n\n  statusReason: x\n  teams:\n    - name: a\n      description: short # one\n",
        &[r#"acme/Organization/acme description = "line""#, r#"acme/Team/a description = "One.\nTwo.\n""#],
        "  description: line\n\n  statusReason: x\n  teams:\n    - name: a\n      description: | # one\n        One.\n        Two.\n",
    );
}

#[test]
fn numbers_truths_and_money_change() {
    spec(
        "  requireMfa: true\n  dataRetentionDays: 30\n  budgets:\n    - {name: m, period: monthly, limit: 250 USD}\n",
        &[
            "acme/Organization/acme requireMfa = false",
            "acme/Organization/acme dataRetentionDays = 90",
            r#"acme/Budget/m limit = "9999.50 USD""#,
        ],
        "  requireMfa: false\n  dataRetentionDays: 90\n  budgets:\n    - {name: m, period: monthly, limit: 9999.50 USD}\n",
    );
}

#[test]
fn a_field_within_a_group_changes() {
    spec(
        "  sso:\n    protocol: oidc # never saml\n    issuer: https://a.example\n    clientId: x\n",
        &[r#"acme/Organization/acme sso.issuer = "https://b.example/c""#],
        "  sso:\n    protocol: oidc # never saml\n    issuer: https://b.example/c\n    clientId: x\n",
    );
}

#[test]
fn a_group_that_was_null_begins_anew_with_all_that_was_set() {
    spec(
        "  sso: null # off\n  tier: team\n",
        &[
            r#"acme/Organization/acme sso.protocol = "oidc""#,
            r#"acme/Organization/acme sso.issuer = "https://b.example""#,
        ],
        "  sso: # off\n    protocol: oidc\n    issuer: https://b.example\n    clientId: null\n    domain: null\n    enforced: null\n  tier: team\n",
    );
}

#[test]
fn one_role_becomes_several_and_several_become_others() {
    spec(
        "  members:\n    - user: a@acme.example\n      role: owner # one\n    - {user: b@acme.example, role: admin}\n    - user: c@acme.example\n      role: owner\n",
        &[
            r#"acme/Member/a@acme.example roles = ["admin","owner"]"#,
            r#"acme/Member/b@acme.example roles = ["admin","viewer"]"#,
            r#"acme/Member/c@acme.example roles = ["viewer"]"#,
        ],
        "  members:\n    - user: a@acme.example\n      roles: [admin, owner] # one\n    - {user: b@acme.example, roles: [admin, viewer]}\n    - user: c@acme.example\n      role: viewer\n",
    );
}

#[test]
fn a_block_set_loses_and_gains_items_and_keeps_the_order_of_the_rest() {
    spec(
        "  allowedEmailDomains:\n    # ours\n    - z.example # first\n    # theirs\n    - b.example\n    - a.example\n  tier: team\n",
        &[r#"acme/Organization/acme allowedEmailDomains = ["a.example","n.example","z.example"]"#],
        "  allowedEmailDomains:\n    # ours\n    - z.example # first\n    # theirs\n    - a.example\n    - n.example\n  tier: team\n",
    );
}

#[test]
fn a_block_set_that_is_replaced_whole_stays_a_block() {
    spec(
        "  allowedEmailDomains:\n  - a.example\n  - b.example\n",
        &[r#"acme/Organization/acme allowedEmailDomains = ["c.example"]"#],
        "  allowedEmailDomains:\n  - c.example\n",
    );
}

#[test]
fn a_block_set_that_is_emptied_keeps_its_comments() {
    spec(
        "  allowedEmailDomains: # who may join\n    # ours\n    - a.example\n    - b.example\n  tier: team\n",
        &["acme/Organization/acme allowedEmailDomains = []"],
        "  allowedEmailDomains: [] # who may join\n    # ours\n  tier: team\n",
    );
}

#[test]
fn a_flow_set_loses_and_gains_items() {
    for (before, live, after) in [
        ("[a.example, b.example]", r#"["a.example"]"#, "[a.example]"),
        ("[a.example, b.example]", r#"["b.example"]"#, "[b.example]"),
        ("[ a.example, b.example, c.example ]", r#"["a.example","c.example"]"#, "[ a.example, c.example ]"),
        ("[c.example, a.example]", r#"["a.example","b.example","c.example"]"#, "[c.example, a.example, b.example]"),
        ("[a.example, b.example,]", r#"["a.example"]"#, "[a.example, ]"),
        ("[a.example]", r#"["b.example"]"#, "[b.example]"),
        ("[a.example]", "[]", "[]"),
        ("[]", r#"["a.example"]"#, "[a.example]"),
        ("null", r#"["a.example"]"#, "[a.example]"),
        ("", r#"["a.example"]"#, "[a.example]"),
    ] {
        spec(
            &format!("  allowedEmailDomains: {before}\n  tier: team\n"),
            &[&format!("acme/Organization/acme allowedEmailDomains = {live}")],
            &format!("  allowedEmailDomains: {after}\n  tier: team\n").replace("  null", ""),
        );
    }
}

#[test]
fn a_flow_set_of_several_lines_keeps_lines_and_comments() {
    spec(
        "  allowedEmailDomains: [\n    a.example, # one\n    b.example, # two\n    c.example # three\n  ]\n",
        &[r#"acme/Organization/acme allowedEmailDomains = ["b.example","d.example"]"#],
        "  allowedEmailDomains: [\n    # one\n    b.example,\n    d.example # two\n # three\n  ]\n",
    );
}

#[test]
fn team_members_change_come_and_go() {
    spec(
        "  members:\n    - {user: a@acme.example, role: owner}\n    - {user: b@acme.example, role: admin}\n    - {user: c@acme.example, role: admin}\n  teams:\n    - name: one\n      members:\n        # leads\n        - user: A@acme.example\n          role: maintainer # for now\n        - user: b@acme.example # goes\n    - name: two\n      members: [{user: a@acme.example}, {user: b@acme.example, role: member}]\n",
        &[
            r#"acme/Team/one members = [{"role":"member","user":"a@acme.example"},{"role":"maintainer","user":"c@acme.example"}]"#,
            r#"acme/Team/two members = [{"role":"maintainer","user":"a@acme.example"},{"role":"member","user":"c@acme.example"}]"#,
        ],
        "  members:\n    - {user: a@acme.example, role: owner}\n    - {user: b@acme.example, role: admin}\n    - {user: c@acme.example, role: admin}\n  teams:\n    - name: one\n      members:\n        # leads\n        - user: A@acme.example\n          role: member # for now\n        - user: c@acme.example\n          role: maintainer\n    - name: two\n      members: [{user: a@acme.example, role: maintainer}, {user: c@acme.example}]\n",
    );
}

#[test]
fn records_without_a_key_are_replaced_as_a_whole() {
    spec(
        "  notificationChannels:\n    - name: ops\n      type: email\n      config: {addresses: [ops@acme.example]}\n  notificationRules:\n    - name: alerts\n      channel: ops\n      events: [\"*\"]\n      conditions:\n        # loud ones\n        - field: severity\n          value: warning\n",
        &[r#"acme/NotificationRule/alerts conditions = [{"field":"severity","operator":"atLeast","value":"error"}]"#],
        "  notificationChannels:\n    - name: ops\n      type: email\n      config: {addresses: [ops@acme.example]}\n  notificationRules:\n    - name: alerts\n      channel: ops\n      events: [\"*\"]\n      conditions:\n        # loud ones\n        - field: severity\n          operator: atLeast\n          value: error\n",
    );
}

#[test]
fn keys_of_a_map_change_and_go() {
    spec(
        "  settings:\n    # looks\n    theme: dark # at night\n    lines: 80\n    ratio: 0.5\n  labels: {team: a, stage: prod}\n",
        &[
            r#"acme/Organization/acme settings = {"theme": "light", "ratio": 1.5}"#,
            r#"acme/Organization/acme labels = {"stage": "test"}"#,
        ],
        "  settings:\n    # looks\n    theme: light # at night\n    ratio: 1.5\n  labels: {stage: test}\n",
    );
}

#[test]
fn a_map_whose_last_named_key_goes_is_no_longer_named() {
    spec(
        "  tier: team\n  settings: # looks\n    # at night\n    theme: dark\n  # next\n  labels: {a: b}\n",
        &[r#"acme/Organization/acme settings = {"unmanaged": 1}"#],
        "  tier: team\n  # at night\n  # next\n  labels: {a: b}\n",
    );
    spec("  settings: {theme: dark}\n", &["acme/Organization/acme settings = {}"], "");
}

#[test]
fn keys_come_into_a_map_that_is_declared_empty() {
    for empty in [" {}", " null", ""] {
        spec(
            &format!("  settings:{empty} # none\n  tier: team\n"),
            &[r#"acme/Organization/acme settings = {"b.c": "no", "a": 1}"#],
            "  settings: # none\n    a: 1\n    b.c: \"no\"\n  tier: team\n",
        );
    }
}

#[test]
fn a_value_is_emptied_and_one_written_as_null_is_set() {
    spec(
        "  displayName: Acme # name\n  description: null # none\n  statusReason:   # later\n  billingEmail:\n  tier: team\n",
        &[
            "acme/Organization/acme displayName = null",
            r#"acme/Organization/acme description = "here""#,
            r#"acme/Organization/acme statusReason = "why""#,
            r#"acme/Organization/acme billingEmail = "a@acme.example""#,
        ],
        "  displayName: null # name\n  description: here # none\n  statusReason: why   # later\n  billingEmail: a@acme.example\n  tier: team\n",
    );
}

#[test]
fn an_extra_member_joins_a_block_list() {
    spec(
        "  members:\n    # people\n    - user: a@acme.example\n      role: owner\n  # teams\n  teams: []\n",
        &[r#"acme/Member/m@evil.example new {"roles": ["admin","owner"], "expiresAt": "2027-01-01T00:00:00Z"}"#],
        "  members:\n    # people\n    - user: a@acme.example\n      role: owner\n    - user: m@evil.example\n      roles: [admin, owner]\n      expiresAt: \"2027-01-01T00:00:00Z\"\n  # teams\n  teams: []\n",
    );
}

#[test]
fn an_extra_member_joins_a_flow_list() {
    spec(
        "  members: [{user: a@acme.example, role: owner}] # all\n",
        &[r#"acme/Member/m@evil.example new {"roles": ["admin"]}"#],
        "  members: [{user: a@acme.example, role: owner}, {user: m@evil.example, roles: [admin]}] # all\n",
    );
}

#[test]
fn an_extra_member_joins_an_empty_list() {
    for empty in [" []", " {}", " null", ""] {
        spec(
            &format!("  members:{empty}\n  tier: team\n"),
            &[r#"acme/Member/m@evil.example new {"roles": ["admin"]}"#],
            "  members:\n    - user: m@evil.example\n      roles: [admin]\n  tier: team\n",
        );
    }
}

#[test]
fn an_extra_row_with_a_group_is_nested() {
    spec(
        "  projects: []\n",
        &[r#"acme/Project/web new {"displayName": "Web: all", "quotas.apiKeys": 5}"#],
        "  projects:\n    - name: web\n      displayName: \"Web: all\"\n      quotas:\n        apiKeys: 5\n",
    );
}

#[test]
fn an_extra_row_of_a_collection_that_is_named_only_becomes_a_document() {
    spec(
        "  authoritative: [teams]\n",
        &[r#"acme/Team/red new {"displayName": "Red"}"#],
        "  authoritative: [teams]\n---\napiVersion: argus.io/v1alpha1\nkind: Team\nmetadata:\n  name: red\nspec:\n  organization: acme\n  displayName: Red\n",
    );
}

#[test]
fn an_item_goes_whose_row_is_gone() {
    let three = |a: &str, b: &str, c: &str| format!("  members:\n{a}{b}{c}  # end\n  tier: team\n");
    let a = "    # the first\n    - user: a@acme.example # a\n      # why\n      role: owner\n";
    let b = "    - {user: b@acme.example, role: admin} # b\n";
    let c = "    - user: c@acme.example\n      role: admin\n";
    spec(&three(a, b, c), &["acme/Member/a@acme.example gone"], &three("    # the first\n", b, c));
    spec(&three(a, b, c), &["acme/Member/b@acme.example gone"], &three(a, "", c));
    spec(&three(a, b, c), &["acme/Member/c@acme.example gone"], &three(a, b, ""));
}

#[test]
fn a_list_whose_items_all_go_stays_and_is_empty() {
    spec(
        "  members: # people\n    - user: a@acme.example\n      role: owner\n    # others\n    - user: b@acme.example\n      role: admin\n  tier: team\n",
        &["acme/Member/a@acme.example gone", "acme/Member/b@acme.example gone"],
        "  members: [] # people\n    # others\n  tier: team\n",
    );
    spec(
        "  members: [{user: a@acme.example, role: owner}, {user: b@acme.example, role: admin}]\n",
        &["acme/Member/a@acme.example gone", "acme/Member/b@acme.example gone"],
        "  members: []\n",
    );
}

#[test]
fn several_edits_of_one_list() {
    spec(
        "  members:\n    - user: a@acme.example\n      role: owner\n    - user: b@acme.example\n      role: admin\n    - user: c@acme.example\n      role: admin\n",
        &[
            r#"acme/Member/a@acme.example roles = ["viewer"]"#,
            "acme/Member/b@acme.example gone",
            "acme/Member/c@acme.example gone",
            r#"acme/Member/y@acme.example new {"roles": ["admin"]}"#,
            r#"acme/Member/x@acme.example new {"roles": ["owner"]}"#,
        ],
        "  members:\n    - user: a@acme.example\n      role: viewer\n    - user: x@acme.example\n      roles: [owner]\n    - user: y@acme.example\n      roles: [admin]\n",
    );
    spec(
        "  members: [{user: a@acme.example, role: owner}, {user: b@acme.example, role: admin}]\n",
        &[
            r#"acme/Member/b@acme.example roles = ["viewer"]"#,
            "acme/Member/a@acme.example gone",
            r#"acme/Member/x@acme.example new {"roles": ["owner"]}"#,
        ],
        "  members: [{user: b@acme.example, role: viewer}, {user: x@acme.example, roles: [owner]}]\n",
    );
}

#[test]
fn edits_that_end_at_one_place_keep_their_levels() {
    spec(
        "  members: [{user: a@acme.example, role: owner}]\n  teams:\n    - name: one\n      members:\n        - user: a@acme.example",
        &[
            r#"acme/Team/one members = [{"role":"maintainer","user":"a@acme.example"},{"role":"member","user":"b@acme.example"}]"#,
            r#"acme/Team/two new {"displayName": "Two"}"#,
        ],
        "  members: [{user: a@acme.example, role: owner}]\n  teams:\n    - name: one\n      members:\n        - user: a@acme.example\n          role: maintainer\n        - user: b@acme.example\n    - name: two\n      displayName: Two\n",
    );
}

const ACME: &str = "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {name: acme}\nspec: {tier: team}\n";

fn team(name: &str) -> String {
    format!(
        "apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata:\n  name: {name}\nspec:\n  # of\n  organization: acme # team {name}\n"
    )
}

#[test]
fn a_document_goes_whose_row_is_gone() {
    let (a, b) = (team("a"), team("b"));
    let gone = |name: &str| format!("acme/Team/{name} gone");
    file(&format!("{ACME}---\n{a}---\n{b}"), &[&gone("a")], Some(&format!("{ACME}---\n{b}")));
    file(&format!("{ACME}---\n{a}---\n{b}"), &[&gone("b")], Some(&format!("{ACME}---\n{a}")));
    file(
        &format!("# top\n{a}---\n{ACME}---\n# b\n{b}"),
        &[&gone("a")],
        Some(&format!("# top\n---\n{ACME}---\n# b\n{b}")),
    );
    file(&format!("---\n{a}---\n{ACME}"), &[&gone("a")], Some(&format!("---\n{ACME}")));
    file(&format!("---\n{ACME}--- # b\n\n# b\n{b}"), &[&gone("b")], Some(&format!("---\n{ACME}")));
    file(&format!("{ACME}---\n{a}---\n{b}"), &[&gone("a"), &gone("b")], Some(ACME));
}

#[test]
fn a_file_goes_whose_only_document_is_gone() {
    let red = team("red");
    let mut case = Case::applied(&[("acme.yaml", ACME), ("teams/my red one.yaml", &format!("# red\n{red}"))]);
    case.drift("acme/Team/red gone");
    assert_eq!(case.adopt(), []);
    assert_eq!(case.text("teams/my red one.yaml"), None);
    assert_eq!(case.text("acme.yaml").as_deref(), Some(ACME));
    case.assert_adopted();
}

#[test]
fn an_organization_that_is_gone_takes_its_document_along() {
    let globex = ACME.replace("acme", "globex");
    let before = format!("{ACME}---\n{globex}---\n{}", team("a"));
    file(&before, &["acme/Organization/acme gone", "acme/Team/a gone"], Some(&format!("---\n{globex}")));
}

#[test]
fn a_file_with_crlf_keeps_it() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let before = format!("{ACME}---\n{}  displayName: A\n  members:\n  - user: a@acme.example\n", team("a"));
    let before =
        before.replace("spec: {tier: team}", "spec:\n  members:\n    - user: a@acme.example\n      role: owner");
    let after = before
        .replace("displayName: A", "displayName: B")
        .replace("      role: owner\n", "      role: owner\n    - user: x@acme.example\n      roles: [admin]\n");
    file(
        &crlf(&before),
        &[r#"acme/Team/a displayName = "B""#, r#"acme/Member/x@acme.example new {"roles": ["admin"]}"#],
        Some(&crlf(&after)),
    );
}

#[test]
fn a_byte_order_mark_shifts_nothing() {
    let json = |name: &str| {
        format!(
            "\u{FEFF}{{apiVersion: argus.io/v1alpha1, kind: Organization, metadata: {{name: acme}}, spec: {{displayName: {name}}}}}\n"
        )
    };
    file(&json("A"), &[r#"acme/Organization/acme displayName = "B""#], Some(&json("B")));
}

#[test]
fn a_file_without_a_line_end_at_its_end() {
    spec(
        "  tier: team\n  displayName: A",
        &[r#"acme/Organization/acme displayName = "B""#],
        "  tier: team\n  displayName: B",
    );
    spec(
        "  members:\n    - user: a@acme.example\n      role: owner\n    - user: b@acme.example\n      role: admin",
        &["acme/Member/b@acme.example gone", r#"acme/Member/x@acme.example new {"roles": ["admin"]}"#],
        "  members:\n    - user: a@acme.example\n      role: owner\n    - user: x@acme.example\n      roles: [admin]\n",
    );
}

#[test]
fn two_organizations_in_one_file_are_told_apart() {
    let both = |a: &str, b: &str| {
        let of = |name: &str, members: &str| {
            format!(
                "# {name}\napiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata:\n  name: {name}\nspec:\n  members:\n{members}"
            )
        };
        format!("{}---\n{}", of("acme", a), of("globex", b))
    };
    let one = "    - user: a@acme.example\n      role: owner\n";
    let more = "    - user: x@acme.example\n      roles: [admin]\n";
    file(
        &both(one, one),
        &[
            r#"acme/Member/x@acme.example new {"roles": ["admin"]}"#,
            r#"globex/Member/a@acme.example roles = ["admin"]"#,
        ],
        Some(&both(&format!("{one}{more}"), &one.replace("owner", "admin"))),
    );
}

#[test]
fn a_json_manifest_stays_json() {
    let before = r#"{
  "apiVersion": "argus.io/v1alpha1",
  "kind": "Organization",
  "metadata": {"name": "acme"},
  "spec": {
    "displayName": "A",
    "members": [
      {"user": "a@acme.example", "role": "owner"},
      {"user": "b@acme.example", "role": "admin"}
    ]
  }
}
"#;
    let mut case = Case::applied(&[("acme.json", before)]);
    case.drift(r#"acme/Organization/acme displayName = null"#);
    case.drift("acme/Member/b@acme.example gone");
    case.drift(r#"acme/Member/x@acme.example new {"roles": ["admin"], "status": "suspended"}"#);
    assert_eq!(case.adopt(), []);
    let after = case.text("acme.json").expect("a file");
    let expected = before.replace(r#""A""#, "null").replace(
        r#"      {"user": "b@acme.example", "role": "admin"}"#,
        r#"      {"user": "x@acme.example", "roles": ["admin"], "status": "suspended"}"#,
    );
    assert_eq!(after, expected);
    serde_json::from_str::<serde_json::Value>(&after).expect("the file is JSON");
    case.assert_adopted();
}
