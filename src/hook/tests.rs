//! What is believed, and what it says.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::hint::{Hint, Meaning, Push, Request};
use super::proof::{Doubt, Proof, SECRETS_MAX, Secrets};
use super::*;

const HEAD: &str = "5c1f0e6d3b2a49788796a5b4c3d2e1f00f1e2d3c";

fn secrets(texts: &[&str]) -> Secrets {
    Secrets::new(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).expect("secrets")
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a moment")
}

fn verified(proof: Proof, secrets: &Secrets, headers: &[(&str, &str)], body: &[u8], now: i64) -> Result<(), Doubt> {
    let headers = Headers::new(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    proof.verify(secrets, &headers, body, at(now))
}

#[test]
fn signatures_are_those_that_others_work_out() {
    let github = Provider::named("github").expect("it is there").proof;
    // From the documentation of GitHub.
    let own = secrets(&["It's a Secret to Everybody"]);
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let name = "x-hub-signature-256";
    assert_eq!(verified(github, &own, &[(name, right)], b"Hello, World!", 0), Ok(()));
    let more = secrets(&["something else entirely", "It's a Secret to Everybody"]);
    assert_eq!(verified(github, &more, &[(name, right)], b"Hello, World!", 0), Ok(()));
    assert_eq!(verified(github, &own, &[(name, right)], b"Hello, World", 0), Err(Doubt::Wrong));
    assert_eq!(verified(github, &Secrets::of_nobody(), &[(name, right)], b"Hello, World!", 0), Err(Doubt::Wrong));
    for wrong in [
        right.to_uppercase(),
        right.replace("7571", "0x7571"),
        right[..right.len() - 2].to_owned(),
        format!("{right}00"),
        format!("{right}, {right}"),
        right.replace("sha256=", "sha1="),
        right.replace("sha256=", ""),
        format!(" {right}"),
        String::new(),
        "sha256=".into(),
        "sha256=dXEH6g6yUJ/CESIczphLijdXC211hsIsRvQ3nIsE4X4=".into(),
    ] {
        assert_eq!(verified(github, &own, &[(name, &wrong)], b"Hello, World!", 0), Err(Doubt::Unproven), "{wrong}");
    }
    assert_eq!(verified(github, &own, &[], b"Hello, World!", 0), Err(Doubt::Unproven));
    assert_eq!(verified(github, &own, &[(name, right), (name, right)], b"Hello, World!", 0), Err(Doubt::Unproven));
    // What stands in for the secret of nobody is no secret.
    let of_zeros = "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
    assert!(verified(github, &Secrets::of_nobody(), &[(name, of_zeros)], b"", 0).is_err());
}

#[test]
fn of_two_headers_that_mean_the_same_both_have_to_be_right() {
    let forgejo = Provider::named("forgejo").expect("it is there").proof;
    let own = secrets(&["It's a Secret to Everybody"]);
    let right = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let wrong = "0".repeat(64);
    let (one, other) = ("x-forgejo-signature", "x-gitea-signature");
    let body = b"Hello, World!";
    assert_eq!(verified(forgejo, &own, &[(one, right)], body, 0), Ok(()));
    assert_eq!(verified(forgejo, &own, &[(other, right)], body, 0), Ok(()));
    assert_eq!(verified(forgejo, &own, &[(one, right), (other, right)], body, 0), Ok(()));
    assert_eq!(verified(forgejo, &own, &[(one, right), (other, &wrong)], body, 0), Err(Doubt::Wrong));
    assert_eq!(verified(forgejo, &own, &[(one, &wrong), (other, right)], body, 0), Err(Doubt::Wrong));
    assert_eq!(verified(forgejo, &own, &[(one, right), (other, "x")], body, 0), Err(Doubt::Unproven));
}

#[test]
fn a_secret_of_standard_webhooks_signs_and_is_no_token() {
    let gitlab = Provider::named("gitlab").expect("it is there").proof;
    // From the specification of Standard Webhooks.
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (id, now, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
    let right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let signing = secrets(&[own]);
    let signed = |signature: &str, moment: &str, now: i64| {
        let headers = [("webhook-id", id), ("webhook-timestamp", moment), ("webhook-signature", signature)];
        verified(gitlab, &signing, &headers, body, now)
    };
    let moment = "1614265330";
    assert_eq!(signed(right, moment, now), Ok(()));
    assert_eq!(signed(&format!("v1a,x v1,{} {right}", "A".repeat(43) + "="), moment, now), Ok(()));
    assert_eq!(signed(right, moment, now + 300), Ok(()));
    assert_eq!(signed(right, moment, now + 301), Err(Doubt::Stale));
    assert_eq!(signed(right, moment, now - 301), Err(Doubt::Stale));
    assert_eq!(signed(right, "1614265331", now), Err(Doubt::Wrong));
    assert_eq!(signed(right, "+1614265330", now), Err(Doubt::Unproven));
    assert_eq!(signed(&right.replace("v1,", "v2,"), moment, now), Err(Doubt::Unproven));
    assert_eq!(signed(right.trim_end_matches('='), moment, now), Err(Doubt::Unproven));
    assert_eq!(signed(&[right; 6].join(" "), moment, now), Err(Doubt::Unproven));
    // A secret that signs is never sent, and so whoever sends it has it from somewhere else.
    assert_eq!(verified(gitlab, &signing, &[("x-gitlab-token", own)], body, now), Err(Doubt::Wrong));

    let token = secrets(&["a token of GitLab"]);
    assert_eq!(verified(gitlab, &token, &[("x-gitlab-token", "a token of GitLab")], body, now), Ok(()));
    assert_eq!(verified(gitlab, &token, &[("x-gitlab-token", "a token of GitLab ")], body, now), Err(Doubt::Wrong));
    assert_eq!(verified(gitlab, &token, &[], body, now), Err(Doubt::Unproven));
    let twice = [("x-gitlab-token", "a token of GitLab"); 2];
    assert_eq!(verified(gitlab, &token, &twice, body, now), Err(Doubt::Unproven));
}

#[test]
fn a_moment_that_was_signed_counts_for_five_minutes() {
    let generic = Provider::named("generic").expect("it is there").proof;
    let own = secrets(&["sixteen bytes or more"]);
    // HMAC-SHA256 of `1700000000.{}`, worked out by another program.
    let right = "sha256=834f8431afc144ede4a5697b3d170426f2664047ea35e41fe421e24c13612f7e";
    let signed = |moment: &str, now: i64| {
        verified(generic, &own, &[("x-argus-signature", right), ("x-argus-timestamp", moment)], b"{}", now)
    };
    assert_eq!(signed("1700000000", 1_700_000_300), Ok(()));
    assert_eq!(signed("1700000000", 1_700_000_301), Err(Doubt::Stale));
    assert_eq!(signed("1700000000", 1_699_999_699), Err(Doubt::Stale));
    assert_eq!(signed("1700000001", 1_700_000_000), Err(Doubt::Wrong));
    assert_eq!(signed("01700000000", 1_700_000_000), Err(Doubt::Wrong));
    assert_eq!(signed("1700000000.", 1_700_000_000), Err(Doubt::Unproven));
    assert_eq!(verified(generic, &own, &[("x-argus-signature", right)], b"{}", 1_700_000_000), Err(Doubt::Unproven));
}

#[test]
fn a_secret_that_is_too_short_is_none() {
    for texts in [
        &[][..],
        &[""],
        &["fifteen bytes.."],
        &["whsec_?"],
        &["whsec_AAAA"],
        &["long enough, I'd say"; SECRETS_MAX + 1],
    ] {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let why = Secrets::new(&texts).expect_err("it is refused");
        assert!(!why.contains("fifteen"), "{why}");
    }
    assert_eq!(format!("{:?}", secrets(&["canary canary canary"])), "Secrets(hidden)");
}

fn said(provider: &str, event: &str, body: &serde_json::Value) -> Hint {
    let provider = Provider::named(provider).expect("it is there");
    provider.hint(&Headers::new([(provider.event, event.as_bytes())]), body.to_string().as_bytes())
}

fn push(repository: &str, refs: &[&str], default_branch: Option<&str>) -> Hint {
    Hint::Push(Push {
        repository: Some(repository.into()),
        refs: refs.iter().map(|name| (*name).to_owned()).collect(),
        default_branch: default_branch.map(str::to_owned),
    })
}

fn request(number: i64) -> Hint {
    Hint::Request(Request { repository: Some("acme/config".into()), number, head: HEAD.into(), base: "main".into() })
}

#[test]
fn every_provider_says_in_its_own_words_what_was_pushed() {
    let repository = json!({"full_name": "acme/config", "default_branch": "main"});
    let pushed = json!({"ref": "refs/heads/main", "after": HEAD, "repository": repository});
    for provider in ["github", "gitea", "forgejo"] {
        assert_eq!(said(provider, "push", &pushed), push("acme/config", &["refs/heads/main"], Some("main")));
    }
    let project = json!({"path_with_namespace": "acme/config", "default_branch": "main"});
    let pushed = json!({"object_kind": "push", "ref": "refs/heads/main", "project": project});
    assert_eq!(said("gitlab", "Push Hook", &pushed), push("acme/config", &["refs/heads/main"], Some("main")));
    assert_eq!(said("gitlab", "System Hook", &pushed), push("acme/config", &["refs/heads/main"], Some("main")));
    let pushed = json!({"repository": {"full_name": "acme/config"}, "push": {"changes": [
        {"new": {"type": "branch", "name": "main"}, "old": {"type": "branch", "name": "main"}},
        {"new": null, "old": {"type": "branch", "name": "gone"}},
        {"new": {"type": "tag", "name": "v1"}, "old": null},
    ]}});
    let refs = ["refs/heads/main", "refs/heads/gone", "refs/tags/v1"];
    assert_eq!(said("bitbucket", "repo:push", &pushed), push("acme/config", &refs, None));
    let pushed = json!({
        "repository": {"slug": "config", "project": {"key": "ACME"}},
        "changes": [{"ref": {"id": "refs/heads/main", "type": "BRANCH"}, "refId": "refs/heads/main", "type": "UPDATE"}],
    });
    assert_eq!(said("bitbucket-server", "repo:refs_changed", &pushed), push("ACME/config", &["refs/heads/main"], None));
    let pushed = json!({"repository": "acme/config", "ref": "main"});
    assert_eq!(said("generic", "", &pushed), push("acme/config", &["main"], None));
    for (provider, event) in [
        ("github", "ping"),
        ("bitbucket", "diagnostics:ping"),
        ("bitbucket-server", "diagnostics:ping"),
        ("generic", "ping"),
    ] {
        assert_eq!(said(provider, event, &json!({})), Hint::Ping, "{provider}");
    }
}

#[test]
fn every_provider_says_in_its_own_words_what_is_asked_for() {
    let asked = |action: &str| {
        json!({"action": action, "number": 7, "repository": {"full_name": "acme/config"},
               "pull_request": {"number": 7, "head": {"sha": HEAD, "ref": "x"}, "base": {"ref": "main", "sha": HEAD}}})
    };
    for provider in ["github", "gitea", "forgejo"] {
        assert_eq!(said(provider, "pull_request", &asked("opened")), request(7));
        assert_eq!(said(provider, "pull_request", &asked("closed")), Hint::Nothing);
    }
    assert_eq!(said("gitea", "pull_request_sync", &asked("synchronized")), request(7));
    let asked = |action: &str| {
        json!({"object_kind": "merge_request", "project": {"path_with_namespace": "acme/config"},
               "object_attributes": {"iid": 7, "id": 99, "action": action, "target_branch": "main", "last_commit": {"id": HEAD}}})
    };
    assert_eq!(said("gitlab", "Merge Request Hook", &asked("update")), request(7));
    assert_eq!(said("gitlab", "Merge Request Hook", &asked("merge")), Hint::Nothing);
    let asked = json!({"pullRequest": {"id": 7, "fromRef": {"latestCommit": HEAD},
        "toRef": {"displayId": "main", "repository": {"slug": "config", "project": {"key": "acme"}}}}});
    assert_eq!(said("bitbucket-server", "pr:from_ref_updated", &asked), request(7));
    assert_eq!(said("bitbucket-server", "pr:merged", &asked), Hint::Nothing);
    let asked = json!({"number": 7, "head": HEAD, "base": "main", "repository": "acme/config"});
    assert_eq!(said("generic", "request", &asked), request(7));
}

#[test]
fn what_is_not_understood_is_worth_a_look_and_what_is_elsewhere_is_not() {
    for (provider, event, body) in [
        ("github", "push", json!({})),
        ("github", "push", json!({"ref": 7})),
        ("github", "", json!({"ref": "refs/heads/main"})),
        ("github", "star", json!({})),
        ("github", "pull_request", json!({"action": "opened", "pull_request": {"number": -1}})),
        ("gitlab", "Push Hook", json!([])),
        ("bitbucket", "repo:push", json!({"push": {"changes": []}})),
        ("generic", "", json!(null)),
    ] {
        assert_eq!(said(provider, event, &body).means(Some("main"), None), Meaning::Look, "{provider} {event} {body}");
    }
    let github = Provider::named("github").expect("it is there");
    let headers = Headers::new([("x-github-event", &b"push"[..])]);
    assert_eq!(github.hint(&headers, b"payload=%7B%7D"), Hint::Unknown);

    let pushed = || push("acme/config", &["refs/heads/main"], Some("main"));
    for (reference, repository, meaning) in [
        (Some("main"), None, Meaning::Look),
        (Some("refs/heads/main"), Some("Acme/Config.git"), Meaning::Look),
        (None, Some("acme/config"), Meaning::Look),
        (Some("release"), None, Meaning::Nothing),
        (Some("refs/tags/main"), None, Meaning::Nothing),
        (Some("main"), Some("acme/other"), Meaning::Nothing),
    ] {
        assert_eq!(pushed().means(reference, repository), meaning, "{reference:?} {repository:?}");
    }
    assert_eq!(push("acme/config", &["refs/heads/x"], Some("main")).means(None, None), Meaning::Nothing);
    assert_eq!(push("acme/config", &["refs/heads/x"], None).means(None, None), Meaning::Look);
    let Hint::Request(asked) = request(7) else { panic!("it is one") };
    assert_eq!(request(7).means(Some("main"), Some("acme/config")), Meaning::Plan(asked.clone()));
    assert_eq!(request(7).means(None, None), Meaning::Plan(asked));
    assert_eq!(request(7).means(Some("release"), None), Meaning::Nothing);
    assert_eq!(request(7).means(Some("main"), Some("acme/other")), Meaning::Nothing);
}

#[test]
fn a_delivery_goes_by_the_best_id_that_it_has() {
    let gitlab = Provider::named("gitlab").expect("it is there");
    let of = |headers: &[(&'static str, &'static str)]| {
        gitlab
            .delivery_of(&Headers::new(headers.iter().map(|(name, value)| (*name, value.as_bytes()))))
            .map(str::to_owned)
    };
    assert_eq!(of(&[("x-gitlab-event-uuid", "c"), ("idempotency-key", "b")]).as_deref(), Some("b"));
    assert_eq!(of(&[("x-gitlab-event-uuid", "c"), ("webhook-id", "")]).as_deref(), Some("c"));
    assert_eq!(of(&[("x-gitlab-event-uuid", "c"), ("x-gitlab-event-uuid", "d")]), None);
    assert_eq!(of(&[]), None);
}
