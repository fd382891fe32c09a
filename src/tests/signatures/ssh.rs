//! SSH signatures and lists of allowed signers.

use std::path::PathBuf;

use argus::signature::{Fault, Signer, Signers};
use chrono::{TimeDelta, Utc};

use super::{committed_at, git_accepts, judge, merge_payload, messages, payload};
use crate::support::git::{Repository, join_commit, split_commit};
use crate::support::git_http::base64;
use crate::support::keys::Key;
use crate::support::postgres::scratch;

/// Signers from the text of a list.
fn signers(list: &str) -> Signers {
    let mut signers = Signers::default();
    signers.add_allowed_signers("allowed", list).unwrap_or_else(|findings| panic!("{:?}", messages(&findings)));
    signers
}

/// What Git says with this list of signers, and perhaps one of revoked keys.
fn git_says(raw: &[u8], list: &str, revoked: Option<&str>) -> bool {
    let folder = Folder::new();
    let mut settings =
        vec!["gpg.format=ssh".to_owned(), format!("gpg.ssh.allowedSignersFile={}", folder.file("allowed", list))];
    settings.extend(revoked.map(|keys| format!("gpg.ssh.revocationFile={}", folder.file("revoked", keys))));
    git_accepts(raw, &settings, &[])
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = scratch("lists");
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An empty commit that this key signed, by way of `git commit -S`.
fn signed_by(key: &Key) -> Vec<u8> {
    let repository = Repository::new();
    let setting = format!("user.signingKey={}", key.path().display());
    repository.git(&["-c", "gpg.format=ssh", "-c", &setting, "commit", "-q", "--allow-empty", "-S", "-m", "Hello"]);
    repository.raw_commit("HEAD")
}

fn signed_for(key: &Key, payload: &[u8], namespace: &str, options: &[&str]) -> Vec<u8> {
    let text = str::from_utf8(payload).expect("text");
    join_commit(payload, &key.sign_text(text, namespace, options))
}

fn fingerprint(key: &Key) -> String {
    argus::signature::ssh::Key::read(&key.public).expect("a key").fingerprint()
}

#[test]
fn every_sort_of_key_is_verified_as_git_does() {
    for (sort, bits) in [
        ("ed25519", None),
        ("ecdsa", Some("256")),
        ("ecdsa", Some("384")),
        ("ecdsa", Some("521")),
        ("rsa", Some("2048")),
        ("rsa", Some("4096")),
    ] {
        let key = Key::with(sort, bits);
        let list = format!("ada@acme.example {}\n", key.public);
        let raw = signed_by(&key);
        assert!(git_says(&raw, &list, None), "{sort} {bits:?}");
        let signer = Signer { name: "ada@acme.example".into(), key: fingerprint(&key), by_forge: false };
        assert_eq!(judge(&signers(&list), &raw), Ok(signer.clone()), "{sort} {bits:?}");
        // Another text, and another key of the same sort.
        let (payload, signature) = split_commit(&raw);
        let other = String::from_utf8(payload).expect("text").replace("Hello", "Jello");
        let tampered = join_commit(other.as_bytes(), str::from_utf8(&signature).expect("text"));
        assert!(!git_says(&tampered, &list, None));
        assert_eq!(judge(&signers(&list), &tampered), Err(Fault::Forged { key: fingerprint(&key) }));
        let stranger = format!("ada@acme.example {}\n", Key::with(sort, bits).public);
        assert!(!git_says(&raw, &stranger, None));
        assert_eq!(judge(&signers(&stranger), &raw), Err(Fault::Unknown { key: fingerprint(&key) }));
    }
}

/// What a security key makes, without one: public half and signature, by OpenSSH's PROTOCOL.u2f and PROTOCOL.sshsig.
fn with_security_key(sort: &str, payload: &[u8]) -> (String, String) {
    use sha2::{Digest as _, Sha256, Sha512};
    const FLAGS_AND_COUNTER: [u8; 5] = [1, 0, 0, 0, 9];
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat();
    let elliptic = sort.starts_with("sk-ecdsa");
    let algorithm = if elliptic { &rcgen::PKCS_ECDSA_P256_SHA256 } else { &rcgen::PKCS_ED25519 };
    let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
    let mut public = string(sort.as_bytes());
    if elliptic {
        public.extend(string(b"nistp256"));
    }
    public.extend([string(key.public_key_raw()), string(b"ssh:")].concat());
    let fields = [string(b"git"), string(b""), string(b"sha512")].concat();
    let signed = [&b"SSHSIG"[..], &fields, &string(&Sha512::digest(payload))].concat();
    let signed = [&Sha256::digest(b"ssh:")[..], &FLAGS_AND_COUNTER, &Sha256::digest(signed)].concat();
    let mut made = rcgen::SigningKey::sign(&key, &signed).expect("a signature");
    if elliptic {
        // Two numbers of DER, each behind its tag and its length, which SSH writes with four bytes of length.
        let (r, s) = made[2..].split_at(2 + usize::from(made[3]));
        made = [string(&r[2..]), string(&s[2..])].concat();
    }
    let made = [string(sort.as_bytes()), string(&made), FLAGS_AND_COUNTER.to_vec()].concat();
    let block = [&b"SSHSIG\0\0\0\x01"[..], &string(&public), &fields, &string(&made)].concat();
    let text = base64(&block);
    let lines: Vec<&str> = (0..text.len()).step_by(70).map(|at| &text[at..text.len().min(at + 70)]).collect();
    let block = format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----", lines.join("\n"));
    (format!("{sort} {}", base64(&public)), block)
}

#[test]
fn security_keys_are_verified_as_git_does() {
    for sort in ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"] {
        let payload = payload();
        let (public, signature) = with_security_key(sort, &payload);
        let (raw, list) = (join_commit(&payload, &signature), format!("ada {public}\n"));
        assert!(git_says(&raw, &list, None), "{sort}");
        assert_eq!(judge(&signers(&list), &raw).map(|signer| signer.name), Ok("ada".into()), "{sort}");
        let other = String::from_utf8(payload).expect("text").replace("Hello", "Jello");
        let tampered = join_commit(other.as_bytes(), &signature);
        assert!(!git_says(&tampered, &list, None), "{sort}");
        assert!(matches!(judge(&signers(&list), &tampered), Err(Fault::Forged { .. })), "{sort}");
    }
}

#[test]
fn both_digests_are_taken() {
    let key = Key::new("ed25519");
    let list = format!("ada@acme.example {}", key.public);
    for digest in ["hashalg=sha256", "hashalg=sha512"] {
        let raw = signed_for(&key, &payload(), "git", &["-O", digest]);
        assert!(git_says(&raw, &list, None) && judge(&signers(&list), &raw).is_ok(), "{digest}");
    }
}

#[test]
fn a_list_says_who_signs_with_what_for_what_and_when_as_ssh_keygen_reads_it() {
    let key = Key::new("ed25519");
    let raw = signed_by(&key);
    let fingerprint = fingerprint(&key);
    let (at, name) = (|moment: &str| moment.parse().expect("a moment"), |name: &str| Ok(name.to_owned()));
    let expired = |end: &str| Err(Fault::Expired { key: fingerprint.clone(), at: at(end) });
    let early = |from: &str| Err(Fault::NotYetValid { key: fingerprint.clone(), at: at(from) });
    let not_for_git = || Err(Fault::NotForGit { key: fingerprint.clone() });
    // The commit is of 2026-05-05T12:00:00Z.
    let rows = [
        ("ada@acme.example KEY", name("ada@acme.example")),
        ("# who\n\n  ada@acme.example   KEY", name("ada@acme.example")),
        ("ada@acme.example,grace@acme.example KEY", name("ada@acme.example")),
        ("\"ada@acme.example\" KEY", name("ada@acme.example")),
        ("*@acme.example KEY", name("*@acme.example")),
        ("!eve@acme.example,*@acme.example KEY", name("*@acme.example")),
        ("somebody@else.example KEY", name("somebody@else.example")),
        ("ada namespaces=\"git\" KEY", name("ada")),
        ("ada namespaces=\"file,git\" KEY", name("ada")),
        ("ada namespaces=\"g*\" KEY", name("ada")),
        ("ada NAMESPACES=\"git\" KEY", name("ada")),
        ("ada namespaces=\"file\" KEY", not_for_git()),
        ("ada namespaces=\"*,!git\" KEY", not_for_git()),
        ("ada valid-after=\"20260101Z\" KEY", name("ada")),
        ("ada valid-after=\"20260505120000Z\" KEY", name("ada")),
        ("ada valid-after=\"20260505120001Z\" KEY", early("2026-05-05T12:00:01Z")),
        ("ada valid-after=\"202605051201Z\" KEY", early("2026-05-05T12:01:00Z")),
        ("ada valid-before=\"20260506Z\" KEY", name("ada")),
        ("ada valid-before=\"20260505120000Z\" KEY", name("ada")),
        ("ada valid-before=\"20260505115959Z\" KEY", expired("2026-05-05T11:59:59Z")),
        ("ada valid-before=\"20260505Z\" KEY", expired("2026-05-05T00:00:00Z")),
        ("ada namespaces=\"git\",valid-after=\"20260101Z\",valid-before=\"20270101Z\" KEY", name("ada")),
        ("ada valid-before=\"20260101Z\" KEY\nada valid-after=\"20260101Z\" KEY", name("ada")),
        ("ada namespaces=\"file\" KEY\nada namespaces=\"git\" KEY", name("ada")),
        ("ada valid-after=\"20260101Z\" KEY\nada valid-before=\"20260101Z\" KEY", name("ada")),
    ];
    for (list, expected) in rows {
        let list = list.replace("KEY", &key.public);
        assert_eq!(git_says(&raw, &list, None), expected.is_ok(), "git: {list}");
        assert_eq!(judge(&signers(&list), &raw).map(|signer| signer.name), expected, "{list}");
    }
}

#[test]
fn a_signature_for_something_else_is_none_for_git() {
    let key = Key::new("ed25519");
    let list = format!("ada {}", key.public);
    for namespace in ["file", "argus-approval", "Git", "git "] {
        let raw = signed_for(&key, &payload(), namespace, &[]);
        assert!(!git_says(&raw, &list, None), "{namespace}");
        assert_eq!(judge(&signers(&list), &raw), Err(Fault::WrongNamespace(namespace.into())));
    }
}

#[test]
fn a_revoked_key_counts_no_more_whoever_lists_it() {
    let (key, other) = (Key::new("ed25519"), Key::with("rsa", Some("1024")));
    let list = format!("ada {}", key.public);
    let raw = signed_by(&key);
    let revoked = format!("# lost\n{}\n\n{}\n", other.public, key.public);
    assert!(git_says(&raw, &list, Some(&other.public)));
    assert!(!git_says(&raw, &list, Some(&revoked)));
    let mut signers = signers(&list);
    signers.add_revoked_ssh("revoked", other.public.as_bytes()).expect("a weak key may be revoked");
    assert!(judge(&signers, &raw).is_ok());
    signers.add_revoked_ssh("revoked", revoked.as_bytes()).expect("a list");
    assert_eq!(judge(&signers, &raw), Err(Fault::Revoked { key: fingerprint(&key) }));

    let folder = Folder::new();
    let (binary, keys) = (folder.0.join("krl"), folder.file("keys", &revoked));
    let made = std::process::Command::new("ssh-keygen").args(["-q", "-k", "-f"]).arg(&binary).arg(keys).status();
    assert!(made.expect("ssh-keygen runs").success());
    let bytes = std::fs::read(binary).expect("a list");
    let findings = signers.add_revoked_ssh("revoked", &bytes).expect_err("it is binary");
    assert_eq!(messages(&findings), ["revoked: this is a binary list of revoked keys, which is not understood"]);
}

#[test]
fn a_forge_signs_merges_alone() {
    let (forge, ada) = (Key::new("ecdsa"), Key::new("ed25519"));
    let mut signers = signers(&format!("ada {}", ada.public));
    signers.add_forge("Forge", "forge.pub", forge.public.as_bytes()).expect("a key");
    let (ordinary, merge) = (payload(), merge_payload());
    let key = fingerprint(&forge);
    assert_eq!(
        judge(&signers, &signed_for(&forge, &merge, "git", &[])),
        Ok(Signer { name: "Forge".into(), key: key.clone(), by_forge: true })
    );
    assert_eq!(
        judge(&signers, &signed_for(&forge, &ordinary, "git", &[])),
        Err(Fault::ForgeOnly { forge: "Forge".into(), key: key.clone() })
    );
    // A merge whose signature is of something else is a forgery first.
    let elsewhere = signed_for(&forge, &ordinary, "git", &[]);
    let elsewhere = join_commit(&merge, str::from_utf8(&split_commit(&elsewhere).1).expect("text"));
    assert_eq!(judge(&signers, &elsewhere), Err(Fault::Forged { key }));
    for payload in [&ordinary, &merge] {
        assert!(judge(&signers, &signed_for(&ada, payload, "git", &[])).is_ok_and(|signer| !signer.by_forge));
    }
}

#[test]
fn what_git_takes_and_proves_nothing_is_refused() {
    // A weak key cannot even be listed.
    let weak = Key::with("rsa", Some("1024"));
    let findings =
        Signers::default().add_allowed_signers("allowed", &format!("ada {}", weak.public)).expect_err("it is");
    assert_eq!(messages(&findings), ["allowed:1: an RSA key of 1024 bits; 2048 to 4096 are taken"]);
    // A certificate instead of a key.
    let (authority, key) = (Key::new("ed25519"), Key::new("ed25519"));
    let signed = std::process::Command::new("ssh-keygen")
        .args(["-q", "-I", "ada", "-n", "ada", "-s"])
        .arg(authority.path())
        .arg(key.path().with_extension("pub"))
        .status();
    assert!(signed.expect("ssh-keygen runs").success());
    let certificate = key.path().with_file_name("key-cert.pub");
    let repository = Repository::new();
    let setting = format!("user.signingKey={}", certificate.display());
    repository.git(&["-c", "gpg.format=ssh", "-c", &setting, "commit", "-q", "--allow-empty", "-S", "-m", "Hello"]);
    let raw = repository.raw_commit("HEAD");
    let list = format!("ada cert-authority {}", authority.public);
    assert!(git_says(&raw, &list, None));
    let findings = Signers::default().add_allowed_signers("allowed", &list).expect_err("it is not understood");
    assert_eq!(messages(&findings), ["allowed:1: SSH certificates (cert-authority) are not understood"]);
    let verdict = judge(&signers(&format!("ada {}", key.public)), &raw);
    assert!(matches!(verdict, Err(Fault::Unsupported(_))), "{verdict:?}");
}

#[test]
fn a_commit_that_claims_to_be_of_the_future_is_judged_as_one_of_now() {
    let key = Key::new("ed25519");
    let (payload, signature) = split_commit(&signed_by(&key));
    let now = Utc::now();
    let list = |option: &str, at| {
        signers(&format!("ada {option}=\"{}Z\" {}", chrono::DateTime::<Utc>::format(&at, "%Y%m%d%H%M%S"), key.public))
    };
    let signed = |committed_at| argus::signature::Signed {
        payload: &payload,
        signature: &signature,
        committed_at,
        judged_at: now,
        is_merge: false,
    };
    let soon = list("valid-after", now + TimeDelta::hours(1));
    assert!(matches!(soon.verify(&signed(now + TimeDelta::hours(2))), Err(Fault::NotYetValid { .. })));
    assert!(list("valid-after", now - TimeDelta::hours(1)).verify(&signed(now + TimeDelta::hours(2))).is_ok());
    assert!(list("valid-before", now).verify(&signed(committed_at())).is_ok());
}

#[test]
fn all_mistakes_in_a_list_are_told_with_their_lines() {
    let key = Key::new("ed25519").public.clone();
    let rows = [
        ("ada", "the line has no key"),
        ("\"ada KEY", "a quote is not closed"),
        ("\"\" KEY", "the line names nobody"),
        ("!ada KEY", "the line names nobody"),
        ("ada ssh-ed25519 AAAA", "an SSH key cannot be read: "),
        ("ada ecdsa-sha2-nistp256 AAAAC3NzaC1lZDI1NTE5", "an SSH key cannot be read: "),
        ("ada ssh-dss AAAAB3NzaC1kc3MAAAAJ", "an SSH key cannot be read: "),
        ("ada cert-authority KEY", "SSH certificates (cert-authority) are not understood"),
        ("ada cert-authority,namespaces=\"git\" KEY", "SSH certificates (cert-authority) are not understood"),
        ("ada no-touch-required KEY", "`no-touch-required` is neither a sort of key nor an option"),
        ("ada namespaces=git KEY", "the value of an option has no quotes"),
        ("ada namespaces=\"git KEY", "a quote is not closed"),
        ("ada namespaces=\"git\",namespaces=\"file\" KEY", "`namespaces` stands twice"),
        ("ada namespaces=\"git\"KEY", "the line has no key"),
        ("ada namespaces=\"git\"", "the line has no key"),
        ("ada namespaces=\"git\", KEY", "`` is neither a sort of key nor an option"),
        ("ada valid-after=\"20260101\" KEY", "\"20260101\" is no moment"),
        ("ada valid-after=\"20261301Z\" KEY", "\"20261301Z\" is no moment"),
        ("ada valid-after=\"2026-01-01\" KEY", "\"2026-01-01\" is no moment"),
        ("ada valid-after=\"20270101Z\",valid-before=\"20260101Z\" KEY", "valid-before is not later than valid-after"),
    ];
    let list: Vec<String> = rows.iter().map(|(line, _)| line.replace("KEY", &key)).collect();
    let mut signers = Signers::default();
    let findings = signers.add_allowed_signers("allowed", &list.join("\n")).expect_err("all are wrong");
    assert!(signers.is_empty() && findings.iter().all(|finding| finding.hint.is_some()));
    let found = messages(&findings);
    assert_eq!(found.len(), rows.len(), "{found:#?}");
    for (number, ((line, message), found)) in rows.iter().zip(&found).enumerate() {
        assert!(found.starts_with(&format!("allowed:{}: {message}", number + 1)), "{line}: {found}");
    }
    // Two wrong lines in between leave nothing of the list.
    let mut signers = Signers::default();
    assert!(signers.add_allowed_signers("allowed", &format!("ada {key}\nada\ngrace {key}")).is_err());
    assert!(signers.is_empty());
}

#[test]
fn lists_and_signatures_have_limits() {
    let key = Key::new("ed25519");
    let line = format!("ada {}\n", key.public);
    let mut signers = Signers::default();
    signers.add_allowed_signers("allowed", &line.repeat(10_000)).expect("as many as may be");
    let findings = signers.add_allowed_signers("more", &line).expect_err("too many");
    assert_eq!(messages(&findings), ["more: with this list there are more than 10000 keys"]);
    let findings = signers.add_allowed_signers("large", &"#".repeat(4_194_305)).expect_err("too large");
    assert_eq!(messages(&findings), ["large: 4194305 bytes; a list of signers has at most 4194304"]);
    let long = format!("{} {}", "a".repeat(30_000), key.public);
    let findings = Signers::default().add_allowed_signers("long", &long).expect_err("too long");
    assert_eq!(messages(&findings), ["long:1: the line is too long"]);
    let raw = join_commit(&payload(), &format!("-----BEGIN SSH SIGNATURE-----\n{}", "A".repeat(20_000)));
    assert_eq!(judge(&signers, &raw), Err(Fault::Garbled("it has more than 16384 bytes".into())));
}
