//! Exports: written whole, verified without a database, and nothing that was done to one goes unseen.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use argus::audit::export::{self, Bad, Checked};
use argus::audit::manifest::Manifest;

use super::Audited;
use super::tamper::Dice;

/// How many random tamperings of each form are tried.
const TAMPERINGS: u64 = 400;

fn exported(form: &str) -> (Audited, String, Manifest) {
    let audited = Audited::new();
    for organization in ["acme", "globex"] {
        audited.write(organization, 12);
    }
    audited.world.mallory("=cmd|' /C calc'!A0", "UPDATE argus.organization SET display_name = E'=1+1\\n\"x\",y'");
    audited.seal();
    audited.run(&["audit", "export", "--format", form, "-o", "all"]).ends(0).says("signed with SHA256:");
    let text = std::fs::read_to_string(audited.world.path("all")).expect("the export");
    let manifest = std::fs::read_to_string(audited.world.path("all.manifest.json")).expect("the manifest");
    let manifest = Manifest::read(&manifest).expect("a manifest");
    (audited, text, manifest)
}

fn check(text: &[u8], manifest: &Manifest) -> Checked {
    export::verify(text, manifest, &BTreeMap::new()).expect("bytes can be read")
}

#[test]
fn an_export_is_whole_and_verified_without_a_database() {
    for form in ["ndjson", "csv"] {
        let (audited, text, manifest) = exported(form);
        let world = &audited.world;
        let rows = world.sql("SELECT count(*) FROM argus.audit");
        assert_eq!((manifest.rows.to_string(), manifest.unsealed, manifest.contiguous), (rows.clone(), 0, true));
        let mode = std::fs::metadata(world.path("all")).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut command = super::super::bare(&["audit", "verify", "--export", "all", "--config", "machine.cfg"]);
        command.current_dir(&world.root).env("ARGUS_DATABASE_URL", "postgres://nowhere.invalid/x");
        let verified = super::super::run(command).ends(0);
        verified.says(&format!("Verified {rows} rows in 2 chains of all")).says("2 signed heads agreed.");
        assert!(
            std::fs::read_dir(&world.root)
                .expect("the folder")
                .flatten()
                .all(|entry| !entry.file_name().to_string_lossy().contains(".tmp"))
        );
        if form == "csv" {
            assert!(
                text.contains("\"'=cmd|' /C calc'!A0\"") && text.starts_with("\"sequence\",\"previous\""),
                "{text}"
            );
        }
        // A row that is not sealed is counted and left out.
        audited.write("acme", 1);
        world.argus(&["audit", "export", "-o", "more"]).ends(0).says("1 row not sealed yet").says("not signed");
        world.argus(&["audit", "verify", "--export", "more"]).ends(0).says("nobody said whose signature");
        audited.run(&["audit", "verify", "--export", "more"]).ends(0).says("warning[ARG1803]").says("is not signed");
    }
}

#[test]
fn an_export_holds_what_its_filters_take() {
    let (audited, ..) = exported("ndjson");
    let world = &audited.world;
    let lines = |more: &[&str]| {
        audited.run(&[&["audit", "export", "-o", "some"], more].concat()).ends(0);
        audited.run(&["audit", "verify", "--export", "some"]).ends(0);
        std::fs::read_to_string(world.path("some")).expect("the export").lines().count().to_string()
    };
    let count = |condition: &str| world.sql(&format!("SELECT count(*) FROM argus.audit WHERE {condition}"));
    assert_eq!(lines(&["-O", "acme"]), count("organization = 'acme'"));
    assert_eq!(lines(&["-O", "globex", "-O", "acme"]), count("true"));
    assert_eq!(lines(&["--actor", "mallory"]), count("role = 'mallory' AND actor IS NULL"));
    assert_eq!(lines(&["--kind", "Member"]), count("kind = 'Member'"));
    assert_eq!(lines(&["--action", "update", "--since", "1h"]), count("action = 'update'"));
    assert_eq!(lines(&["--name", "nobody"]), "0");
    // Something of a filtered export is missing: which row that was cannot be told, that it is so can.
    audited.run(&["audit", "export", "-o", "some", "--kind", "Organization"]).ends(0);
    let text = std::fs::read_to_string(world.path("some")).expect("the export");
    let without: Vec<&str> = text.lines().enumerate().filter(|(at, _)| *at != 3).map(|(_, line)| line).collect();
    world.write("some", &(without.join("\n") + "\n"));
    audited.run(&["audit", "verify", "--export", "some"]).ends(7).says("ARG1805");
}

/// What was done to a file, and the line and row at which it has to be found.
fn tampered(dice: &mut Dice, text: &str, header: usize) -> (Vec<u8>, usize) {
    let mut lines: Vec<Vec<u8>> = text.split_inclusive('\n').map(|line| line.as_bytes().to_vec()).collect();
    let pick = |dice: &mut Dice, lines: &[Vec<u8>]| header + dice.below((lines.len() - header) as u64) as usize;
    let at = pick(dice, &lines);
    let first = match dice.below(5) {
        0 | 1 => {
            let place = dice.below(lines[at].len() as u64) as usize;
            let bit = 1 << dice.below(7);
            lines[at][place] ^= bit;
            at
        }
        2 => {
            lines.remove(at);
            at
        }
        3 => {
            let other = pick(dice, &lines);
            if other == at {
                lines.remove(at);
            } else {
                lines.swap(at, other);
            }
            at.min(other)
        }
        _ => {
            let bytes = 1 + dice.below(2_000) as usize;
            let whole: Vec<u8> = lines.concat();
            let kept = whole[..whole.len().saturating_sub(bytes)].to_vec();
            let first = kept.iter().filter(|byte| **byte == b'\n').count();
            return (kept, first);
        }
    };
    (lines.concat(), first)
}

#[test]
fn random_tamperings_of_exports_are_all_found_where_they_begin() {
    let (_audited, text, manifest) = exported("ndjson");
    assert!(check(text.as_bytes(), &manifest).bad.is_empty());
    // Line by line, whose row it is.
    let rows: Vec<(String, i64)> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            (
                line["row"]["organization"].as_str().expect("a name").to_owned(),
                line["sequence"].as_i64().expect("a number"),
            )
        })
        .collect();
    for seed in 1..=TAMPERINGS {
        let (bytes, first) = tampered(&mut Dice::new(seed), &text, 0);
        let checked = check(&bytes, &manifest);
        let (organization, sequence) = &rows[first.min(rows.len() - 1)];
        let names = |bad: &Bad| {
            let of_row = bad.fault.as_ref().is_some_and(|fault| {
                *fault.organization == **organization && (fault.from..=fault.to).contains(sequence)
            });
            of_row || bad.line == Some(first as u64 + 1)
        };
        assert!(
            checked.bad.iter().any(names),
            "{seed}: line {}, row {sequence} of {organization}: {:?}",
            first + 1,
            checked.bad
        );
        let early = checked.bad.iter().filter_map(|bad| bad.line).min();
        assert!(early.is_none_or(|early| early > first as u64), "{seed}: line {}: {:?}", first + 1, checked.bad);
    }
}

#[test]
fn random_tamperings_of_csv_are_all_found() {
    let (_audited, text, manifest) = exported("csv");
    assert!(check(text.as_bytes(), &manifest).bad.is_empty());
    for seed in 1..=TAMPERINGS {
        let (bytes, _) = tampered(&mut Dice::new(seed), &text, 1);
        if bytes != text.as_bytes() {
            assert!(!check(&bytes, &manifest).bad.is_empty(), "{seed}");
        }
    }
}

#[test]
fn a_forged_export_with_a_forged_manifest_is_found_by_its_signature_and_by_heads() {
    let (audited, text, manifest) = exported("ndjson");
    let world = &audited.world;
    let verify = |file: &str| audited.run(&["audit", "verify", "--export", file]);
    // The manifest follows the file, its signature cannot.
    let cut: String = text.lines().take(5).map(|line| line.to_owned() + "\n").collect();
    world.write("all", &cut);
    verify("all").ends(7).says("ARG1805").says("rows");
    let forged = Manifest { rows: 5, organizations: BTreeMap::new(), ..manifest.clone() };
    world.write("all.manifest.json", &forged.text());
    verify("all").ends(7).says("error[ARG1805]").says("manifest");
    std::fs::remove_file(world.path("all.manifest.json.sig")).expect("the signature goes");
    verify("all").ends(7).says("its signature").says("cannot be read");
    // Unsigned, with a digest that fits: heads tell that the chains went on.
    let digest = <sha2::Sha256 as sha2::Digest>::digest(cut.as_bytes());
    let forged = Manifest { key: None, sha256: digest.into(), organization_count: 1, ..forged };
    world.write("all.manifest.json", &forged.text());
    verify("all").ends(7).says("error[ARG1802]").says("a signed head tells");
    world.write("all.manifest.json", "{}");
    verify("all").ends(7).says("the manifest");
    verify("nothing").ends(7).says("nothing.manifest.json");
    audited.run(&["audit", "verify", "--export", "all", "-O", "acme"]).ends(1).says("verified as a whole");
}
