//! Organization: the tenant, and what steers how Argus treats it.

use crate::model::code::Code;
use crate::model::finding::Fault;
use crate::model::kind::{Key, Kind, Scope};
use crate::model::resource::Resource;
use crate::model::rule::Rule;
use crate::model::shape::{Field, Preset, Shape};
use crate::model::value::Value;

/// The field that names the collections whose rows are exactly the declared ones.
pub const AUTHORITATIVE: &str = "authoritative";
/// The field that takes fields or rows out of comparison.
pub const IGNORE: &str = "ignore";

const IGNORE_FIELDS: &[Field] = &[
    Field::new("kind", Shape::Line { chars_max: 63 }, "The kind of the rows.").required(),
    Field::new("name", Shape::Line { chars_max: 254 }, "Their name; `*` stands for any run of characters.")
        .preset(Preset::Text("*")),
    Field::new(
        "fields",
        Shape::Set { item: &Shape::Line { chars_max: 100 }, items_max: 50 },
        "The fields; left out, the whole row is ignored.",
    ),
];

const RULES: &[Rule] = &[
    Rule::needs(
        "!has(self.status) || self.status != 'suspended' || (has(self.statusReason) && self.statusReason != '')",
        "status",
        "a suspended organization needs a reason: add `statusReason`, so that its members can be told why",
    ),
    Rule::needs(
        "!has(self.sso) || (has(self.sso.protocol) == has(self.sso.issuer) && \
         has(self.sso.issuer) == has(self.sso.clientId) && has(self.sso.clientId) == has(self.sso.domain))",
        "sso",
        "sign-on is incomplete: give protocol, issuer, clientId and domain together, or `sso: null` to switch it off",
    ),
];

/// The kind.
pub static KIND: Kind = Kind {
    name: "Organization",
    plural: "organizations",
    short_names: &["org", "orgs"],
    about: "A tenant of the platform: its settings and, inline, all that belongs to it.",
    scope: Scope::Root,
    key: Key::Name,
    table: Some("organization"),
    fields: &[
        Field::new("displayName", Shape::Line { chars_max: 100 }, "What people call it."),
        Field::new("description", Shape::Prose { chars_max: 2_000 }, "What it does."),
        Field::new("tier", Shape::Name, "Its entry of the tier catalogue.").refers("Tier"),
        Field::new("status", Shape::Enum(&["active", "suspended"]), "Whether it may use the platform.")
            .preset(Preset::Text("active")),
        Field::new("statusReason", Shape::Line { chars_max: 500 }, "Why it is suspended."),
        Field::new("billingEmail", Shape::Email, "Where invoices go."),
        Field::new("logoUrl", Shape::Url, "Its logo."),
        Field::new(
            "allowedEmailDomains",
            Shape::Set { item: &Shape::Domain, items_max: 100 },
            "The domains that members' addresses may be of.",
        ),
        Field::new("requireMfa", Shape::Bool, "Whether members need a second factor."),
        Field::new("dataRetentionDays", Shape::Int { min: 1, max: 36_500 }, "How long its data is kept."),
        Field::new("sso.protocol", Shape::Enum(&["oidc", "saml"]), "How its members sign in."),
        Field::new("sso.issuer", Shape::Url, "Who vouches for them."),
        Field::new("sso.clientId", Shape::Line { chars_max: 255 }, "As whom the platform asks the issuer."),
        Field::new("sso.domain", Shape::Domain, "The email domain that signs in this way."),
        Field::new("sso.enforced", Shape::Bool, "Whether there is no other way."),
        Field::new("settings", Shape::Map { items_max: 200 }, "Free settings by name."),
        Field::new("features", Shape::Map { items_max: 200 }, "Features by name, on top of those of the tier."),
        Field::new("labels", Shape::Map { items_max: 64 }, "Labels by name."),
        Field::new(
            AUTHORITATIVE,
            Shape::Set { item: &Shape::Line { chars_max: 63 }, items_max: 20 },
            "The collections (`members`, `apiKeys`, ...) whose rows are exactly the declared ones.",
        )
        .unstored(),
        Field::new(
            IGNORE,
            Shape::List { fields: IGNORE_FIELDS, key: "", items_max: 100 },
            "What is taken out of comparison.",
        )
        .unstored(),
    ],
    protected: true,
    columns: &["displayName", "tier", "status"],
    rules: RULES,
    check,
    example: r#"apiVersion: argus.io/v1alpha1
kind: Organization
metadata:
  name: acme
spec:
  displayName: Acme Corporation
  description: Makes everything.
  tier: team
  status: active
  billingEmail: billing@acme.example
  logoUrl: https://acme.example/logo.png
  allowedEmailDomains: [acme.example]
  requireMfa: true
  dataRetentionDays: 365
  sso:
    protocol: oidc
    issuer: https://login.acme.example
    clientId: argus
    domain: acme.example
    enforced: false
  settings:
    defaultModel: medium
    streaming: true
    temperature: 0.5
  features:
    beta: true
  labels:
    region: eu
  authoritative: [members]
  ignore:
    - kind: Member
      name: "*@contractor.example"
    - kind: Organization
      fields: [settings]
"#,
};

fn check(organization: &Resource, faults: &mut Vec<Fault>) {
    let suspended = organization.text("status") == Some("suspended");
    let reason = organization.value("statusReason").is_some_and(|reason| !reason.is_empty());
    if suspended && !reason {
        faults.push(Fault::new(
            "status",
            Code::FieldsDisagree,
            "a suspended organization needs a reason",
            "add `statusReason`, so that its members can be told why",
        ));
    }
    let has = |path: &str| organization.value(path).is_some_and(|value| *value != Value::Null);
    let sso = ["sso.protocol", "sso.issuer", "sso.clientId", "sso.domain"];
    if sso.iter().any(|path| has(path)) && !sso.iter().all(|path| has(path)) {
        let missing: Vec<&str> = sso.into_iter().filter(|path| !has(path)).collect();
        let first = sso.into_iter().find(|path| has(path)).unwrap_or_default();
        faults.push(Fault::new(
            first,
            Code::FieldsDisagree,
            format!("sign-on is incomplete: {} is missing", missing.join(", ")),
            "give protocol, issuer, clientId and domain together, or `sso: null` to switch it off",
        ));
    }
}
