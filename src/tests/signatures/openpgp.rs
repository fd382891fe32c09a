//! OpenPGP signatures and certificates.

use std::io::Read as _;

use argus::signature::{Fault, Signer, Signers};
use pgp::composed::{ArmorOptions, DetachedSignature};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{self, Packet, PacketParser, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails as _, KeyVersion, Password, Timestamp};

use super::{git_accepts, judge, merge_payload, messages, payload};
use crate::support::git::{Repository, join_commit, split_commit};
use crate::support::gnupg::Gnupg;

const ADA: &str = "Ada <ada@acme.example>";

/// Signers from certificates.
fn signers(certificates: &str) -> Signers {
    let mut signers = Signers::default();
    let added = signers.add_openpgp("keys.asc", certificates.as_bytes());
    added.unwrap_or_else(|findings| panic!("{:?}", messages(&findings)));
    signers
}

/// What Git says with just these certificates.
fn git_says(raw: &[u8], certificates: &[u8]) -> bool {
    let theirs = Gnupg::new();
    let file = theirs.home.join("keys");
    std::fs::write(&file, certificates).expect("a file");
    theirs.gpg(&["--import", &file.to_string_lossy()]);
    git_accepts(raw, &[], &[("GNUPGHOME", &theirs.home.to_string_lossy())])
}

fn signed_by(gnupg: &Gnupg, key: &str, options: &[&str]) -> Vec<u8> {
    let payload = payload();
    join_commit(&payload, &gnupg.sign(key, &payload, options))
}

fn signer(name: &str, key: &str) -> Result<Signer, Fault> {
    Ok(Signer { name: name.into(), key: key.into(), by_forge: false })
}

#[test]
fn every_sort_of_key_is_verified_as_git_does() {
    let gnupg = Gnupg::new();
    gnupg.key("Eve <eve@acme.example>", "ed25519", "0", &[]);
    let stranger = gnupg.export(&["eve@acme.example"]);
    for sort in ["ed25519", "rsa2048", "rsa3072", "nistp256", "nistp384", "nistp521"] {
        let name = format!("Ada <{sort}@acme.example>");
        let key = gnupg.key(&name, sort, "0", &[]);
        let certificate = gnupg.export(&[&key]);
        let repository = Repository::new();
        let setting = format!("user.signingKey={key}");
        let mut command = repository.command(&["-c", &setting, "commit", "-q", "--allow-empty", "-S", "-m", "Hello"]);
        assert!(command.env("GNUPGHOME", &gnupg.home).status().expect("git runs").success());
        let raw = repository.raw_commit("HEAD");
        assert!(git_says(&raw, certificate.as_bytes()), "{sort}");
        assert_eq!(judge(&signers(&certificate), &raw), signer(&name, &key), "{sort}");

        let (payload, signature) = split_commit(&raw);
        let other = String::from_utf8(payload).expect("text").replace("Hello", "Jello");
        let tampered = join_commit(other.as_bytes(), str::from_utf8(&signature).expect("text"));
        assert!(!git_says(&tampered, certificate.as_bytes()));
        assert_eq!(judge(&signers(&certificate), &tampered), Err(Fault::Forged { key: key.clone() }), "{sort}");
        assert!(!git_says(&raw, stranger.as_bytes()));
        assert_eq!(judge(&signers(&stranger), &raw), Err(Fault::Unknown { key }), "{sort}");
    }
}

#[test]
fn a_key_counts_while_it_lasts_as_for_gpg() {
    let gnupg = Gnupg::new();
    let long_ago = ["--faked-system-time", "20200101T000000"];
    let key = gnupg.key(ADA, "ed25519", "1y", &long_ago);
    let raw = signed_by(&gnupg, &key, &["--faked-system-time", "20200601T000000"]);
    let certificate = gnupg.export(&[&key]);
    // Made while the key lasted, but it lasts no longer.
    assert!(!git_says(&raw, certificate.as_bytes()));
    let end = "2020-12-31T00:00:00Z".parse().expect("a moment");
    assert_eq!(judge(&signers(&certificate), &raw), Err(Fault::Expired { key: key.clone(), at: end }));
    // Its holder prolongs it.
    gnupg.gpg(&["--quick-set-expire", &key, "10y"]);
    let prolonged = gnupg.export(&[&key]);
    assert!(git_says(&raw, prolonged.as_bytes()));
    assert_eq!(judge(&signers(&prolonged), &raw), signer(ADA, &key));
    // Whoever lists both meant the prolonged one.
    assert_eq!(judge(&signers(&format!("{certificate}\n{prolonged}")), &raw), signer(ADA, &key));
    assert_eq!(judge(&signers(&format!("{prolonged}\n{certificate}")), &raw), signer(ADA, &key));
    // Shortened, it is over for what was signed since, and for what was signed before.
    let recent = signed_by(&gnupg, &key, &[]);
    assert_eq!(judge(&signers(&prolonged), &recent), signer(ADA, &key));
    gnupg.gpg(&["--quick-set-expire", &key, "seconds=2"]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let shortened = gnupg.export(&[&key]);
    for raw in [&raw, &recent] {
        assert!(!git_says(raw, shortened.as_bytes()));
        assert!(matches!(judge(&signers(&shortened), raw), Err(Fault::Expired { .. })));
    }
}

#[test]
fn a_signature_made_before_its_key_or_in_the_future_or_for_a_while_does_not_count() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(ADA, "ed25519", "0", &["--faked-system-time", "20240101T000000"]);
    let certificate = gnupg.export(&[&key]);
    let known = signers(&certificate);
    let early = ["--faked-system-time", "20230101T000000", "--ignore-time-conflict"];
    let made = gnupg.try_sign(&key, &payload(), &early);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let raw = join_commit(&payload(), &String::from_utf8_lossy(&made.stdout));
    assert!(!git_says(&raw, certificate.as_bytes()));
    let from = "2024-01-01T00:00:00Z".parse().expect("a moment");
    assert_eq!(judge(&known, &raw), Err(Fault::NotYetValid { key: key.clone(), at: from }));

    let tomorrow = (chrono::Utc::now() + chrono::TimeDelta::days(1)).format("%Y%m%dT%H%M%S").to_string();
    let raw = signed_by(&gnupg, &key, &["--faked-system-time", &tomorrow]);
    assert!(matches!(judge(&known, &raw), Err(Fault::FromTheFuture { .. })), "{:?}", judge(&known, &raw));

    let for_a_day = ["--faked-system-time", "20250101T000000", "--default-sig-expire", "1d"];
    let raw = signed_by(&gnupg, &key, &for_a_day);
    assert!(!git_says(&raw, certificate.as_bytes()));
    let end = "2025-01-02T00:00:00Z".parse().expect("a moment");
    assert_eq!(judge(&known, &raw), Err(Fault::Expired { key, at: end }));
}

#[test]
fn a_revoked_key_counts_no_more() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(ADA, "ed25519", "0", &[]);
    let raw = signed_by(&gnupg, &key, &[]);
    let before = gnupg.export(&[&key]);
    gnupg.revoke(&key);
    let after = gnupg.export(&[&key]);
    assert!(git_says(&raw, before.as_bytes()) && !git_says(&raw, after.as_bytes()));
    assert_eq!(judge(&signers(&before), &raw), signer(ADA, &key));
    // Whatever else is listed, and in whatever order.
    for certificates in [after.clone(), format!("{before}{after}"), format!("{after}{before}")] {
        assert_eq!(judge(&signers(&certificates), &raw), Err(Fault::Revoked { key: key.clone() }));
    }
}

#[test]
fn somebody_else_revokes_a_key_if_its_holder_let_them() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(ADA, "ed25519", "0", &[]);
    gnupg.key("Bea <bea@acme.example>", "ed25519", "0", &[]);
    let raw = signed_by(&gnupg, &key, &[]);
    gnupg.edit(&key, "addrevoker\nbea@acme.example\ny\nsave\n");
    let before = gnupg.export(&[&key]);
    assert_eq!(judge(&signers(&before), &raw), signer(ADA, &key));
    let revocation = gnupg.revoke_for(&key);
    let theirs = gnupg.home.join("revocation");
    std::fs::write(&theirs, revocation).expect("a file");
    gnupg.gpg(&["--import", &theirs.to_string_lossy()]);
    let after = gnupg.export(&[]);
    assert!(!git_says(&raw, after.as_bytes()));
    assert_eq!(judge(&signers(&after), &raw), Err(Fault::Revoked { key }));
}

#[test]
fn a_user_id_that_was_revoked_is_nobodys_name() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(ADA, "ed25519", "0", &[]);
    let raw = signed_by(&gnupg, &key, &[]);
    gnupg.gpg(&["--quick-add-uid", &key, "Ada <ada@new.example>"]);
    gnupg.gpg(&["--quick-revoke-uid", &key, ADA]);
    let certificate = gnupg.export(&[&key]);
    assert!(git_says(&raw, certificate.as_bytes()));
    assert_eq!(judge(&signers(&certificate), &raw), signer("Ada <ada@new.example>", &key));
}

#[test]
fn subkeys_count_while_they_are_bound_for_signing() {
    let gnupg = Gnupg::new();
    let primary = gnupg.key(ADA, "ed25519", "0", &["--faked-system-time", "20240101T000000"]);
    gnupg.gpg(&["--faked-system-time", "20240101T000000", "--quick-add-key", &primary, "rsa2048", "sign", "0"]);
    gnupg.gpg(&["--faked-system-time", "20240101T000000", "--quick-add-key", &primary, "ed25519", "sign", "1y"]);
    gnupg.gpg(&["--quick-add-key", &primary, "cv25519", "encr", "0"]);
    let keys = gnupg.fingerprints("ada@acme.example");
    let at = ["--faked-system-time", "20240601T000000"];
    let signed: Vec<Vec<u8>> = keys[..3].iter().map(|key| signed_by(&gnupg, &format!("{key}!"), &at)).collect();
    let certificate = gnupg.export(&[&primary]);
    let known = signers(&certificate);
    let end = "2024-12-31T00:00:00Z".parse().expect("a moment");
    let verdicts =
        [signer(ADA, &keys[0]), signer(ADA, &keys[1]), Err(Fault::Expired { key: keys[2].clone(), at: end })];
    for (raw, expected) in signed.iter().zip(verdicts) {
        assert_eq!(git_says(raw, certificate.as_bytes()), expected.is_ok());
        assert_eq!(judge(&known, raw), expected);
    }

    // Without the subkey's own signature anybody could claim it.
    for swap in [false, true] {
        let claimed = with_other_back_signatures(&certificate, swap);
        assert!(git_says(&signed[0], &claimed) && !git_says(&signed[1], &claimed));
        let mut lax = Signers::default();
        lax.add_openpgp("keys", &claimed).expect("it can be read");
        let reason = "it has not signed that it belongs to the certificate";
        assert_eq!(judge(&lax, &signed[1]), Err(Fault::NotForSigning { key: keys[1].clone(), reason }));
        assert_eq!(judge(&lax, &signed[0]), signer(ADA, &keys[0]));
    }

    // The first subkey is revoked; the primary key goes on.
    gnupg.edit(&primary, "key 1\nrevkey\ny\n1\n\ny\nsave\n");
    let certificate = gnupg.export(&[&primary]);
    let known = signers(&certificate);
    assert!(git_says(&signed[0], certificate.as_bytes()) && !git_says(&signed[1], certificate.as_bytes()));
    assert_eq!(judge(&known, &signed[0]), signer(ADA, &keys[0]));
    assert_eq!(judge(&known, &signed[1]), Err(Fault::Revoked { key: keys[1].clone() }));

    // The primary key is revoked, and all with it.
    gnupg.revoke(&primary);
    let certificate = gnupg.export(&[&primary]);
    for (raw, key) in signed.iter().zip(&keys) {
        assert!(!git_says(raw, certificate.as_bytes()));
        assert_eq!(judge(&signers(&certificate), raw), Err(Fault::Revoked { key: key.clone() }));
    }
}

/// The packets of a certificate, each with its bytes.
fn packets_of(certificate: &str) -> Vec<(Packet, Vec<u8>)> {
    let mut bytes = Vec::new();
    pgp::armor::Dearmor::new(certificate.as_bytes()).read_to_end(&mut bytes).expect("an armor");
    let (mut packets, mut rest) = (Vec::new(), bytes.as_slice());
    while !rest.is_empty() {
        let mut parser = PacketParser::new(rest);
        let packet = parser.next().expect("a packet").expect("a packet");
        let after = parser.into_inner();
        packets.push((packet, rest[..rest.len() - after.len()].to_vec()));
        rest = after;
    }
    packets
}

/// The same certificate, where the signature by which each subkey says that it belongs to it is gone, or that of the other
/// subkey.
fn with_other_back_signatures(certificate: &str, swap: bool) -> Vec<u8> {
    let back = |signature: &packet::Signature| {
        let unhashed = &signature.config().expect("it is known").unhashed_subpackets;
        unhashed.iter().position(|part| matches!(part.data, SubpacketData::EmbeddedSignature(_)))
    };
    let mut packets = packets_of(certificate);
    let mut taken = Vec::new();
    for (packet, _) in &mut packets {
        if let Packet::Signature(signature) = packet
            && signature.typ() == Some(SignatureType::SubkeyBinding)
            && let Some(at) = back(signature)
        {
            taken.push((at, signature.unhashed_subpacket_remove(at).expect("it was there")));
        }
    }
    assert_eq!(taken.len(), 2);
    let mut changed = Vec::new();
    for (packet, mut raw) in packets {
        if let Packet::Signature(mut signature) = packet
            && signature.typ() == Some(SignatureType::SubkeyBinding)
            && signature.key_flags().sign()
        {
            // The last one taken is that of the other subkey.
            let (at, part) = taken.pop().expect("there are two");
            if swap {
                signature.unhashed_subpacket_insert(at, part).expect("there is room");
            }
            let body = pgp::ser::Serialize::to_bytes(&signature).expect("bytes");
            // The head of a signature in the old form, with two bytes of length.
            raw = [&[0x89], &u16::try_from(body.len()).expect("short").to_be_bytes()[..], &body].concat();
        }
        changed.extend(raw);
    }
    changed
}

#[test]
fn what_gpg_takes_and_proves_nothing_is_refused() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(ADA, "rsa2048", "0", &[]);
    let certificate = gnupg.export(&[&key]);
    for (digest, taken) in
        [("SHA1", false), ("RIPEMD160", false), ("SHA224", false), ("SHA384", true), ("SHA512", true)]
    {
        let raw = signed_by(&gnupg, &key, &["--digest-algo", digest]);
        assert!(git_says(&raw, certificate.as_bytes()), "{digest}");
        let verdict = judge(&signers(&certificate), &raw);
        assert!(if taken { verdict.is_ok() } else { matches!(verdict, Err(Fault::Weak(_))) }, "{digest}: {verdict:?}");
    }
    // The key is good, and what binds it to its user id is not.
    let bound = gnupg.key("Bea <bea@acme.example>", "rsa2048", "0", &["--cert-digest-algo", "SHA1"]);
    let raw = signed_by(&gnupg, &bound, &[]);
    let certificate = gnupg.export(&[&bound]);
    assert!(git_says(&raw, certificate.as_bytes()));
    let why = "the signature of the key under its user id: it was made with SHA1";
    assert_eq!(judge(&signers(&certificate), &raw), Err(Fault::Weak(why.into())));
    // Short and old keys.
    for (sort, why) in [
        ("rsa1024", "an RSA key of 1024 bits; 2048 are the fewest"),
        ("dsa2048", "a key of a sort that is not taken for signatures"),
    ] {
        let weak = gnupg.key(&format!("Cy <{sort}@acme.example>"), sort, "0", &[]);
        let raw = signed_by(&gnupg, &weak, &[]);
        let certificate = gnupg.export(&[&weak]);
        assert!(git_says(&raw, certificate.as_bytes()), "{sort}");
        assert_eq!(judge(&signers(&certificate), &raw), Err(Fault::Weak(why.into())), "{sort}");
    }
}

#[test]
fn a_subkey_expires_with_its_primary_key() {
    let gnupg = Gnupg::new();
    let at = ["--faked-system-time", "20240101T000000"];
    let primary = gnupg.key(ADA, "ed25519", "1y", &at);
    gnupg.gpg(&[&at[..], &["--quick-add-key", &primary, "ed25519", "sign", "0"]].concat());
    let subkey = gnupg.fingerprints("ada@acme.example").remove(1);
    let raw = signed_by(&gnupg, &format!("{subkey}!"), &["--faked-system-time", "20240601T000000"]);
    let certificate = gnupg.export(&[&primary]);
    assert!(!git_says(&raw, certificate.as_bytes()));
    let end = "2024-12-31T00:00:00Z".parse().expect("a moment");
    assert_eq!(judge(&signers(&certificate), &raw), Err(Fault::Expired { key: subkey, at: end }));
}

#[test]
fn a_subkey_is_no_better_than_what_binds_it() {
    let gnupg = Gnupg::new();
    for (name, sort, options) in [("short", "rsa1024", &[][..]), ("digest", "rsa2048", &["--cert-digest-algo", "SHA1"])]
    {
        let primary = gnupg.key(&format!("Ada <{name}@acme.example>"), sort, "0", options);
        gnupg.gpg(&["--quick-add-key", &primary, "ed25519", "sign", "0"]);
        let subkey = gnupg.fingerprints(&format!("{name}@acme.example")).remove(1);
        let raw = signed_by(&gnupg, &format!("{subkey}!"), &[]);
        let certificate = gnupg.export(&[&primary]);
        assert!(git_says(&raw, certificate.as_bytes()), "{name}");
        let verdict = judge(&signers(&certificate), &raw);
        assert!(matches!(verdict, Err(Fault::Weak(_))), "{name}: {verdict:?}");
    }
}

#[test]
fn a_user_id_that_somebody_added_to_a_copy_is_nobodys_name() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(ADA, "ed25519", "0", &[]);
    let raw = signed_by(&gnupg, &key, &[]);
    let mut packets: Vec<Vec<u8>> = packets_of(&gnupg.export(&[&key])).into_iter().map(|(_, raw)| raw).collect();
    let name = "Root <root@acme.example>";
    packets.insert(1, [&[0xB4, u8::try_from(name.len()).expect("short")], name.as_bytes()].concat());
    let mut signers = Signers::default();
    signers.add_openpgp("keys", &packets.concat()).expect("a certificate");
    assert_eq!(judge(&signers, &raw), signer(ADA, &key));
}

#[test]
fn a_revocation_that_is_damaged_lets_no_certificate_in() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(ADA, "ed25519", "0", &[]);
    gnupg.revoke(&key);
    let mut bytes = Vec::new();
    for (packet, mut raw) in packets_of(&gnupg.export(&[&key])) {
        if matches!(packet, Packet::Signature(ref one) if one.typ() == Some(SignatureType::KeyRevocation)) {
            *raw.last_mut().expect("a byte") ^= 1;
        }
        bytes.extend(raw);
    }
    let findings = Signers::default().add_openpgp("keys", &bytes).expect_err("it is damaged");
    assert_eq!(messages(&findings), ["keys: a certificate holds a revocation that is damaged"]);
}

#[test]
fn a_key_that_is_for_other_uses_signs_nothing() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(ADA, "ed25519", "0", &[]);
    let raw = signed_by(&gnupg, &key, &[]);
    // Switches signing off.
    gnupg.edit(&key, "change-usage\nS\nQ\nsave\n");
    let certificate = gnupg.export(&[&key]);
    let reason = "it is for other uses";
    assert_eq!(judge(&signers(&certificate), &raw), Err(Fault::NotForSigning { key, reason }));
}

/// A key that signs, made without `gpg`: for what `gpg` does not make.
fn key_of_version(version: KeyVersion) -> (pgp::composed::SignedSecretKey, String) {
    let params = pgp::composed::SecretKeyParamsBuilder::default()
        .version(version)
        .key_type(pgp::composed::KeyType::Ed25519)
        .can_sign(true)
        .primary_user_id(ADA.into())
        .build();
    let secret = params.expect("parameters").generate(ssh_key::rand_core::OsRng).expect("a key");
    let certificate = secret.to_public_key().to_armored_string(ArmorOptions::default()).expect("armor");
    (secret, certificate)
}

#[test]
fn keys_and_signatures_of_version_6_are_verified() {
    let (secret, certificate) = key_of_version(KeyVersion::V6);
    let (payload, none) = (payload(), Password::empty());
    let (key, digest) = (&secret.primary_key, HashAlgorithm::Sha512);
    let made = DetachedSignature::sign_binary_data(ssh_key::rand_core::OsRng, key, &none, digest, &payload[..]);
    let made = made.expect("a signature").to_armored_string(ArmorOptions::default()).expect("armor");
    let key = secret.fingerprint().to_string().to_uppercase();
    assert_eq!(judge(&signers(&certificate), &join_commit(&payload, &made)), signer(ADA, &key));
    let other = String::from_utf8(payload).expect("text").replace("Hello", "Jello");
    assert_eq!(judge(&signers(&certificate), &join_commit(other.as_bytes(), &made)), Err(Fault::Forged { key }));
}

#[test]
fn a_signature_that_names_its_key_in_short_or_not_at_all_is_of_whom_it_names() {
    let (secret, certificate) = key_of_version(KeyVersion::V4);
    let payload = payload();
    let now = u32::try_from(chrono::Utc::now().timestamp()).expect("it is before 2106");
    // Forges sign so: without a fingerprint, and in armor that says who made it.
    let judged = |unhashed: Vec<SubpacketData>| {
        let regular = |data| Subpacket::regular(data).expect("a part");
        let mut config = SignatureConfig::v4(SignatureType::Binary, secret.algorithm(), HashAlgorithm::Sha256);
        config.hashed_subpackets = vec![regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(now)))];
        config.unhashed_subpackets = unhashed.into_iter().map(regular).collect();
        let made = config.sign(&secret.primary_key, &Password::empty(), &payload[..]).expect("a signature");
        let made = DetachedSignature::new(made).to_armored_string(ArmorOptions::default()).expect("armor");
        let made = made.replacen('\n', "\nVersion: Forge 1\nComment: hello\n", 1);
        judge(&signers(&certificate), &join_commit(&payload, &made))
    };
    let key = secret.fingerprint().to_string().to_uppercase();
    assert_eq!(judged(vec![SubpacketData::IssuerKeyId(secret.legacy_key_id())]), signer(ADA, &key));
    let other = pgp::types::KeyId::new([7; 8]);
    assert_eq!(judged(vec![SubpacketData::IssuerKeyId(other)]), Err(Fault::Unknown { key: "07".repeat(8) }));
    assert_eq!(judged(vec![]), Err(Fault::Garbled("it does not name its key".into())));
}

#[test]
fn a_block_of_several_signatures_or_with_a_part_that_must_be_understood_is_none() {
    let gnupg = Gnupg::new();
    let (ada, bea) = (gnupg.key(ADA, "ed25519", "0", &[]), gnupg.key("Bea", "ed25519", "0", &[]));
    let certificates = gnupg.export(&[]);
    let raw = signed_by(&gnupg, &ada, &["-u", &bea]);
    assert!(!git_says(&raw, certificates.as_bytes()));
    assert_eq!(
        judge(&signers(&certificates), &raw),
        Err(Fault::Garbled("the block holds more than one signature".into()))
    );
    let twice = gnupg.sign(&ada, &payload(), &[]);
    let raw = join_commit(&payload(), &format!("{twice}\n{twice}"));
    assert!(!git_says(&raw, certificates.as_bytes()));
    assert!(matches!(judge(&signers(&certificates), &raw), Err(Fault::Garbled(_))));

    let raw = signed_by(&gnupg, &ada, &["--sig-notation", "!only@acme.example=on paper"]);
    assert!(!git_says(&raw, certificates.as_bytes()));
    assert!(matches!(judge(&signers(&certificates), &raw), Err(Fault::Unsupported(_))));
    let raw = signed_by(&gnupg, &ada, &["--sig-notation", "mood@acme.example=good"]);
    assert!(git_says(&raw, certificates.as_bytes()) && judge(&signers(&certificates), &raw).is_ok());
}

#[test]
fn a_forge_signs_merges_alone() {
    let gnupg = Gnupg::new();
    let key = gnupg.key("Forge <noreply@forge.example>", "rsa2048", "0", &[]);
    let mut signers = Signers::default();
    signers.add_forge("Forge", "forge.asc", gnupg.export(&[&key]).as_bytes()).expect("a certificate");
    let merge = merge_payload();
    let merge = join_commit(&merge, &gnupg.sign(&key, &merge, &[]));
    assert_eq!(judge(&signers, &merge), Ok(Signer { name: "Forge".into(), key: key.clone(), by_forge: true }));
    let ordinary = signed_by(&gnupg, &key, &[]);
    assert_eq!(judge(&signers, &ordinary), Err(Fault::ForgeOnly { forge: "Forge".into(), key }));
}

#[test]
fn certificates_come_armored_or_not_and_several_at_once() {
    let gnupg = Gnupg::new();
    let (ada, bea) = (gnupg.key(ADA, "ed25519", "0", &[]), gnupg.key("Bea", "nistp256", "0", &[]));
    let raw = [signed_by(&gnupg, &ada, &[]), signed_by(&gnupg, &bea, &[])];
    let binary = gnupg.home.join("binary");
    gnupg.gpg(&["--export", "--output", &binary.to_string_lossy()]);
    let forms = [
        gnupg.export(&[]).into_bytes(),
        format!("Ada's\n{}\n\nBea's:\n{}\n", gnupg.export(&[&ada]), gnupg.export(&[&bea])).into_bytes(),
        std::fs::read(binary).expect("it was written"),
    ];
    for form in forms {
        let mut signers = Signers::default();
        signers.add_openpgp("keys", &form).expect("certificates");
        assert_eq!(signers.len(), 2);
        assert_eq!(judge(&signers, &raw[0]), signer(ADA, &ada));
        assert_eq!(judge(&signers, &raw[1]), signer("Bea", &bea));
    }
}

#[test]
fn a_file_that_is_not_wholly_certificates_is_refused() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(ADA, "ed25519", "0", &[]);
    let certificate = gnupg.export(&[&key]);
    let secret = gnupg.gpg(&["--export-secret-keys", "--armor", &key]);
    let renamed = secret.replace("PRIVATE KEY BLOCK", "PUBLIC KEY BLOCK");
    let signature = gnupg.sign(&key, b"text", &[]).replace("PGP SIGNATURE", "PGP PUBLIC KEY BLOCK");
    let cut = certificate.replace("-----END PGP PUBLIC KEY BLOCK-----", "");
    let rows = [
        ("", "keys: this holds no OpenPGP certificate"),
        ("ssh-ed25519 AAAA", "keys: this holds no OpenPGP certificate"),
        (&secret, "keys: this holds no OpenPGP certificate"),
        (&renamed, "keys:1: the first packet is no public key"),
        (&signature, "keys:1: the first packet is no public key"),
        (&cut, "keys:1: this block has no end"),
        (&format!("{certificate}\n\n{cut}"), "keys:"),
    ];
    for (text, message) in rows {
        let mut signers = Signers::default();
        let findings = signers.add_openpgp("keys", text.as_bytes()).expect_err(message);
        assert!(messages(&findings)[0].starts_with(message) && signers.is_empty(), "{:?}", messages(&findings));
    }
}
