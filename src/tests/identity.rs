//! Who is who: entries of the settings, and signatures of the real `ssh-keygen`.

use std::collections::BTreeSet;

use argus::approval::statement::Statement;
use argus::approval::{Given, Signed};
use argus::identity::{Approvers, NAMESPACE, Person, Unverified};
use chrono::{DateTime, TimeDelta, Utc};

use crate::support::keys::Key;

const DATABASE: &str = "0f0e0d0c-0000-4000-8000-000000000000";

fn now() -> DateTime<Utc> {
    "2026-05-05T12:00:00Z".parse().expect("a moment")
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn person(name: &str, roles: &[&str], keys: &[&str]) -> Person {
    Person { name: name.into(), database_roles: texts(roles), ssh_keys: texts(keys), ..Person::default() }
}

fn approvers(people: Vec<Person>) -> Approvers {
    people.try_into().expect("these people are right")
}

fn statement(approver: &str) -> Statement {
    Statement {
        database: DATABASE.into(),
        organization: "acme".into(),
        plan_digest: "a".repeat(64),
        rules_digest: "b".repeat(64),
        approver: approver.into(),
        issued_at: now(),
        expires_at: now() + TimeDelta::hours(24),
    }
}

/// The row that a signed statement becomes.
fn row(statement: &Statement, signature: &str) -> Given {
    Given {
        id: 7,
        organization: statement.organization.clone(),
        plan_digest: statement.plan_digest.clone(),
        rules_digest: statement.rules_digest.clone(),
        role: "ci".into(),
        signed: Some(Signed { statement: statement.to_string(), signature: signature.into() }),
        comment: None,
        at: now() + TimeDelta::minutes(3),
        expires_at: statement.expires_at,
        end: None,
    }
}

#[test]
fn what_ssh_keygen_signs_is_verified_with_every_sort_of_key_and_hash_that_is_taken() {
    for kind in ["ed25519", "ecdsa"] {
        let (key, other) = (Key::new(kind), Key::new(kind));
        let known =
            approvers(vec![person("grace", &[], &[&other.public, &key.public]), person("heidi", &["heidi"], &[])]);
        let said = statement("grace");
        for options in [&[][..], &["-O", "hashalg=sha256"], &["-O", "hashalg=sha512"]] {
            let signature = key.sign_text(&said.to_string(), NAMESPACE, options);
            let (read, approver) = known.signer(&said.to_string(), &signature).expect("it is theirs");
            assert_eq!((read, approver.name.as_str()), (said.clone(), "grace"));
            let approval = known.verify(&row(&said, &signature), DATABASE).expect("it is theirs");
            assert_eq!((approval.at, approval.expires_at), (now() + TimeDelta::minutes(3), said.expires_at));
        }
    }
}

#[test]
fn a_signature_by_somebody_else_for_something_else_or_of_something_else_is_none() {
    let (grace, mallory) = (Key::new("ed25519"), Key::new("ed25519"));
    let known = approvers(vec![person("grace", &[], &[&grace.public]), person("mallory", &[], &[&mallory.public])]);
    let said = statement("grace");
    let text = said.to_string();
    let good = grace.sign_text(&text, NAMESPACE, &[]);
    let verify = |text: &str, signature: &str| known.signer(text, signature).map(|_| ());
    assert_eq!(verify(&text, &good), Ok(()));
    assert_eq!(verify(&text, &mallory.sign_text(&text, NAMESPACE, &[])), Err(Unverified::Forged("grace".into())));
    let elsewhere = grace.sign_text(&text, "file", &[]);
    assert_eq!(verify(&text, &elsewhere), Err(Unverified::Namespace("file".into())));
    // The same signature under another text, whatever differs.
    let others = [
        Statement { plan_digest: "c".repeat(64), ..said.clone() },
        Statement { rules_digest: "c".repeat(64), ..said.clone() },
        Statement { organization: "apex".into(), ..said.clone() },
        Statement { database: "elsewhere".into(), ..said.clone() },
        Statement { expires_at: said.expires_at + TimeDelta::seconds(1), ..said.clone() },
    ];
    for other in &others {
        assert_eq!(verify(&other.to_string(), &good), Err(Unverified::Forged("grace".into())), "{other}");
    }
    let claimed = Statement { approver: "mallory".into(), ..said.clone() };
    assert_eq!(verify(&claimed.to_string(), &good), Err(Unverified::Forged("mallory".into())));
    let unknown = Statement { approver: "eve".into(), ..said.clone() };
    assert_eq!(verify(&unknown.to_string(), &good), Err(Unverified::Name("eve".into())));
    for broken in
        ["", "-----BEGIN SSH SIGNATURE-----", &good.replace("SSH", "PGP"), &good[..good.len() / 2], &"x".repeat(9_000)]
    {
        assert!(matches!(verify(&text, broken), Err(Unverified::Signature(_))), "{broken}");
    }
    // Each byte of the signature counts.
    let at = good.len() / 2;
    let flipped = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
    let mut changed = good.clone();
    changed.replace_range(at..=at, flipped);
    assert!(verify(&text, &changed).is_err(), "{changed}");
    assert!(matches!(verify(&text.replace("v1", "v2"), &good), Err(Unverified::Statement(_))));
}

#[test]
fn a_row_counts_only_for_what_its_statement_says() {
    let key = Key::new("ed25519");
    let known = approvers(vec![person("grace", &["grace"], &[&key.public])]);
    let said = statement("grace");
    let good = row(&said, &key.sign_text(&said.to_string(), NAMESPACE, &[]));
    assert!(known.verify(&good, DATABASE).is_ok());
    assert_eq!(known.verify(&good, "another"), Err(Unverified::Other("database")));
    for (changed, what) in [
        (Given { organization: "apex".into(), ..good.clone() }, "organization"),
        (Given { plan_digest: "c".repeat(64), ..good.clone() }, "plan"),
        (Given { rules_digest: "c".repeat(64), ..good.clone() }, "set of rules"),
    ] {
        assert_eq!(known.verify(&changed, DATABASE), Err(Unverified::Other(what)));
    }
    // Whoever is no longer listed, or has another key by now, no longer counts.
    let without = approvers(vec![person("heidi", &["heidi"], &[])]);
    assert_eq!(without.verify(&good, DATABASE), Err(Unverified::Name("grace".into())));
    let renewed = approvers(vec![person("grace", &["grace"], &[&Key::new("ed25519").public])]);
    assert_eq!(renewed.verify(&good, DATABASE), Err(Unverified::Forged("grace".into())));
    // A row that claims to be longer than what was signed ends with it, and one from the future waits.
    let stretched = Given { expires_at: said.expires_at + TimeDelta::days(9), ..good.clone() };
    assert_eq!(known.verify(&stretched, DATABASE).expect("it is theirs").expires_at, said.expires_at);
    let shortened = Given { expires_at: now() + TimeDelta::minutes(9), ..good.clone() };
    assert_eq!(known.verify(&shortened, DATABASE).expect("it is theirs").expires_at, shortened.expires_at);
    let early = Given { at: now() - TimeDelta::days(2), ..good.clone() };
    let ahead = TimeDelta::seconds(argus::identity::CLOCK_SKEW_SECONDS_MAX);
    assert_eq!(known.verify(&early, DATABASE).expect("it is theirs").at, now() - ahead);
}

#[test]
fn a_row_without_a_statement_stands_on_its_role_alone() {
    let known = approvers(vec![person("grace", &["grace", "Grace_2"], &[]), person("heidi", &["heidi"], &[])]);
    let by = |role: &str| Given { signed: None, role: role.into(), ..row(&statement("heidi"), "") };
    assert_eq!(known.verify(&by("grace"), DATABASE).expect("she is listed").approver.name, "grace");
    assert_eq!(known.verify(&by("Grace_2"), DATABASE).expect("she is listed").approver.name, "grace");
    // Roles of a database are told apart by case.
    for role in ["grace_2", "GRACE", "ci", "argus", ""] {
        assert_eq!(known.verify(&by(role), DATABASE), Err(Unverified::Role(role.into())));
    }
    let nobody = Approvers::default();
    assert!(nobody.is_empty() && nobody.verify(&by("grace"), DATABASE).is_err());
}

#[test]
fn somebody_goes_by_all_of_their_names() {
    let grace = Person { emails: texts(&["Grace@Acme.example"]), ..person("Grace", &["Login_G"], &[]) };
    let known = approvers(vec![Person { groups: texts(&["security"]), ..grace }]);
    let approver = known.named("grace").expect("she is listed");
    assert_eq!((approver.name.as_str(), approver.groups.len()), ("Grace", 1));
    for author in ["grace", "grace@acme.example", "login_g"] {
        assert!(approver.is_among(&BTreeSet::from([author.to_owned()])), "{author}");
    }
    assert!(!approver.is_among(&BTreeSet::from(["security".to_owned(), "ada".to_owned()])));
}

#[test]
fn entries_that_are_wrong_or_could_be_mistaken_are_refused() {
    let (key, rsa) = (Key::new("ed25519").public.clone(), Key::new("rsa").public.clone());
    let refused = |people: Vec<Person>| Approvers::try_from(people).expect_err("these people are wrong");
    let one = |person: Person| refused(vec![person]);
    let grace = || person("grace", &["grace"], &[]);
    for (people, why) in [
        (vec![person("", &["a"], &[])], "cannot be empty"),
        (vec![person("gr ace", &["a"], &[])], "ASCII"),
        (vec![person("grace\nplan: x", &["a"], &[])], "ASCII"),
        (vec![person("grаce", &["a"], &[])], "ASCII"),
        (vec![person(&"g".repeat(101), &["a"], &[])], "at most"),
        (vec![person("grace", &[], &[])], "never be verified"),
        (vec![person("grace", &[""], &[])], "neither a group nor a role"),
        (vec![person("grace", &["a\u{7}"], &[])], "neither a group nor a role"),
        (vec![Person { groups: texts(&[" security"]), ..grace() }], "neither a group nor a role"),
        (vec![Person { emails: texts(&["grace"]), ..grace() }], "name@domain"),
        (vec![person("grace", &[], &["ssh-ed25519 AAAA"])], "cannot be read"),
        (vec![person("grace", &[], &["x"])], "cannot be read"),
        (vec![person("grace", &[], &[&format!("{key} {}", "x".repeat(3_000))])], "is the most"),
        (vec![person("grace", &[], &[&rsa])], "ssh-ed25519 and ecdsa-sha2-nistp256"),
        (vec![grace(), person("GRACE", &["other"], &[])], "1 and 2 both go by `grace`"),
        (vec![grace(), person("heidi", &["grace"], &[])], "1 and 2 both go by `grace`"),
        (vec![person("a", &["x"], &[]), person("b", &["X"], &[])], "both go by `x`"),
        (vec![person("a", &[], &[&key]), person("b", &[], &[&key])], "share the key SHA256:"),
        (vec![person("a", &[], &[&key, &key])], "share the key"),
        (vec![Person { groups: vec!["g".into(); 51], ..grace() }], "51 groups; 50 is the most"),
        (
            (0..1_001).map(|number| person(&format!("p{number}"), &[&format!("r{number}")], &[])).collect(),
            "1000 is the most",
        ),
    ] {
        let said = refused(people);
        assert!(said.contains(why), "{said} does not say {why}");
    }
    let shared = |name: &str| Person { emails: texts(&["both@acme.example"]), ..person(name, &[name], &[]) };
    assert!(refused(vec![shared("a"), shared("b")]).contains("both go by `both@acme.example`"));
    assert!(one(person("grace", &["x"; 51], &[])).contains("databaseRoles"));
}
