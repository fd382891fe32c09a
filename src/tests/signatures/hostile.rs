//! Signatures and certificates that somebody has damaged on purpose.

use argus::signature::{Fault, Signers};

use super::{git_accepts, judge_parts, messages, payload};
use crate::support::git::join_commit;
use crate::support::git_http::base64;
use crate::support::gnupg::Gnupg;
use crate::support::keys::Key;

/// For each of three sorts of keys.
const FLIPS: usize = 700;

/// Numbers that are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(end).expect("a length")).expect("a place")
    }
}

/// Damages a signature in every way that is tried. What still counts must count for Git as well: some bytes of an armor,
/// such as those of a comment, mean nothing.
fn damage(signers: &Signers, payload: &[u8], signature: &str, git: impl Fn(&[u8]) -> bool) {
    let whole = signature.trim_end();
    assert!(judge_parts(signers, payload, whole.as_bytes()).is_ok());
    for end in 0..whole.len() {
        assert!(judge_parts(signers, payload, &whole.as_bytes()[..end]).is_err(), "cut at {end}");
    }
    let mut numbers = Numbers(1);
    let mut harmless = 0;
    for _ in 0..FLIPS {
        let mut flipped = whole.as_bytes().to_vec();
        let (at, bit) = (numbers.below(flipped.len()), numbers.below(8));
        flipped[at] ^= 1 << bit;
        if judge_parts(signers, payload, &flipped).is_ok() {
            harmless += 1;
            let text = str::from_utf8(&flipped).expect("what counts is text");
            assert!(git(&join_commit(payload, text)), "bit {bit} of byte {at}:\n{text}");
        }
    }
    assert!(harmless < FLIPS / 20, "{harmless} changes did no harm");
}

#[test]
fn a_damaged_ssh_signature_never_counts() {
    let payload = payload();
    let text = str::from_utf8(&payload).expect("text");
    for (sort, bits) in [("ed25519", None), ("ecdsa", Some("521")), ("rsa", Some("2048"))] {
        let key = Key::with(sort, bits);
        let list = format!("ada {}\n", key.public);
        let mut signers = Signers::default();
        signers.add_allowed_signers("allowed", &list).expect("a list");
        let file = key.path().with_file_name("allowed");
        std::fs::write(&file, &list).expect("a file");
        let settings = ["gpg.format=ssh".to_owned(), format!("gpg.ssh.allowedSignersFile={}", file.display())];
        damage(&signers, &payload, &key.sign_text(text, "git", &[]), |raw| git_accepts(raw, &settings, &[]));
    }
}

#[test]
fn a_damaged_openpgp_signature_never_counts() {
    let payload = payload();
    let gnupg = Gnupg::new();
    for sort in ["ed25519", "rsa2048", "nistp256"] {
        let key = gnupg.key(&format!("Ada <{sort}@acme.example>"), sort, "0", &[]);
        let mut signers = Signers::default();
        signers.add_openpgp("keys", gnupg.export(&[&key]).as_bytes()).expect("a certificate");
        let home = gnupg.home.to_string_lossy();
        // Without the checksum, which would catch nearly everything before it is looked at.
        let signature = gnupg.sign(&key, &payload, &[]);
        let lines: Vec<&str> = signature.lines().filter(|line| !line.starts_with('=')).collect();
        assert_eq!(lines.len() + 1, signature.lines().count());
        damage(&signers, &payload, &lines.join("\n"), |raw| git_accepts(raw, &[], &[("GNUPGHOME", &home)]));
    }
}

#[test]
fn a_wrong_checksum_is_no_signature() {
    let payload = payload();
    let gnupg = Gnupg::new();
    let key = gnupg.key("Ada <ada@acme.example>", "ed25519", "0", &[]);
    let mut signers = Signers::default();
    signers.add_openpgp("keys", gnupg.export(&[&key]).as_bytes()).expect("a certificate");
    let signature = gnupg.sign(&key, &payload, &[]);
    let lines: Vec<&str> = signature.lines().map(|line| if line.starts_with('=') { "=AAAA" } else { line }).collect();
    let verdict = judge_parts(&signers, &payload, lines.join("\n").as_bytes());
    assert_eq!(verdict, Err(Fault::Garbled("its checksum is wrong".into())));
}

#[test]
fn a_certificate_that_is_cut_off_never_loses_its_revocations() {
    let payload = payload();
    let gnupg = Gnupg::new();
    let primary = gnupg.key("Ada <ada@acme.example>", "ed25519", "0", &[]);
    gnupg.gpg(&["--quick-add-key", &primary, "ed25519", "sign", "0"]);
    let subkey = gnupg.fingerprints("ada@acme.example").remove(1);
    let signature = gnupg.sign(&format!("{subkey}!"), &payload, &[]);
    gnupg.edit(&primary, "key 1\nrevkey\ny\n1\n\ny\nsave\n");
    let file = gnupg.home.join("binary");
    gnupg.gpg(&["--export", "--output", &file.to_string_lossy()]);
    let whole = std::fs::read(file).expect("it was written");
    let verdict = |bytes: &[u8]| {
        let mut signers = Signers::default();
        signers.add_openpgp("keys", bytes).ok().map(|()| judge_parts(&signers, &payload, signature.as_bytes()))
    };
    assert_eq!(verdict(&whole), Some(Err(Fault::Revoked { key: subkey })));
    for end in 0..whole.len() {
        // A packet that is gone as a whole leaves no trace; one of the two at the end is the revocation.
        let counts = matches!(verdict(&whole[..end]), Some(Ok(_)));
        assert!(!counts || is_end_of_packet(&whole, end), "cut at {end} of {}", whole.len());
    }
    let mut numbers = Numbers(2);
    for _ in 0..FLIPS {
        let mut flipped = whole.clone();
        let (at, bit) = (numbers.below(flipped.len()), numbers.below(8));
        flipped[at] ^= 1 << bit;
        // It must not panic. What it says depends on the byte: a type that has changed makes a revocation something else.
        let _ = verdict(&flipped);
    }
}

/// Whether a packet of this certificate ends here, by the heads that `gpg` writes (old form, one or two bytes of length).
fn is_end_of_packet(bytes: &[u8], end: usize) -> bool {
    let mut at = 0;
    while at < end {
        at += match bytes[at] & 3 {
            0 => 2 + usize::from(bytes[at + 1]),
            _ => 3 + usize::from(u16::from_be_bytes([bytes[at + 1], bytes[at + 2]])),
        };
    }
    at == end
}

/// A signature that holds a signature, and so on, in its binary form.
fn nested(bytes_max: usize) -> Vec<u8> {
    // Version 4, of a key, EdDSA, SHA-256; then the hashed part, the unhashed part, two bytes of the digest and two
    // numbers of no bits.
    let around = |inner: &[u8]| {
        let mut part = Vec::new();
        if !inner.is_empty() {
            let length = u32::try_from(inner.len() + 1).expect("short");
            part = [&[255][..], &length.to_be_bytes(), &[32], inner].concat();
        }
        let length = u16::try_from(part.len()).expect("short").to_be_bytes();
        [&[4, 0x19, 22, 8, 0, 0][..], &length, &part, &[0; 6]].concat()
    };
    let mut body = around(&[]);
    while body.len() + 20 < bytes_max {
        body = around(&body);
    }
    body
}

#[test]
fn signatures_within_signatures_do_not_exhaust_the_stack() {
    let body = nested(12_000);
    let packet = [&[0x89][..], &u16::try_from(body.len()).expect("short").to_be_bytes(), &body].concat();
    let block = format!("-----BEGIN PGP SIGNATURE-----\n\n{}\n-----END PGP SIGNATURE-----\n", base64(&packet));
    let verdict = judge_parts(&Signers::default(), &payload(), block.as_bytes());
    let why = "its packets cannot be read: Encountered nested embedded signature subpacket";
    assert_eq!(verdict, Err(Fault::Garbled(why.into())));
    let body = nested(65_000);
    let packet = [&[0x89][..], &u16::try_from(body.len()).expect("short").to_be_bytes(), &body].concat();
    let findings = Signers::default().add_openpgp("keys", &packet).expect_err("it is too deep");
    assert_eq!(messages(&findings), [format!("keys: {why}")]);
}
