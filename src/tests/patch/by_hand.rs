//! What Argus does not edit: it says so, and the rest of the file is adopted all the same.

use argus::model::code::Code;

use super::{Case, HEAD};

/// Adopts drift of which one part has to be done by hand.
#[track_caller]
fn partly(before: &str, drift: &[&str], after: &str, line: u32) {
    let (before, after) = (format!("{HEAD}{before}"), format!("{HEAD}{after}"));
    let mut case = Case::applied(&[("acme.yaml", &before)]);
    drift.iter().for_each(|drift| case.drift(drift));
    let findings = case.adopt();
    let [finding] = &findings[..] else { panic!("{findings:#?}\n{}", case.text("acme.yaml").unwrap_or_default()) };
    assert_eq!(finding.code, Code::DriftLeft);
    assert_eq!(finding.origin.as_ref().map(|origin| origin.line), Some(line), "{finding:#?}");
    assert_eq!(case.text("acme.yaml").unwrap_or_default(), after);
}

#[test]
fn an_alias_is_not_changed_where_it_would_change_others() {
    let before = "  displayName: A\n  teams:\n    - name: a\n      description: &text same\n    - name: b\n      description: *text\n";
    partly(
        before,
        &[r#"acme/Team/b description = "other""#, r#"acme/Organization/acme displayName = "B""#],
        &before.replace("displayName: A", "displayName: B"),
        10,
    );
}

#[test]
fn a_value_that_no_manifest_may_hold_is_not_written_into_one() {
    let before = "  displayName: A\n  members:\n    - user: a@acme.example\n      role: owner\n";
    partly(
        before,
        &["acme/Organization/acme displayName = \"\u{202E}A\"", r#"acme/Member/a@acme.example roles = ["admin"]"#],
        &before.replace("owner", "admin"),
        1,
    );
}

#[test]
fn a_file_that_has_changed_meanwhile_is_left_alone() {
    let mut case = Case::applied(&[("acme.yaml", &format!("{HEAD}  displayName: A\n"))]);
    case.drift(r#"acme/Organization/acme displayName = "B""#);
    let world = case.read();
    let plan = case.plan(&world);
    let moved = format!("# new\n{HEAD}  displayName: A\n");
    std::fs::write(case.root.join("acme.yaml"), &moved).expect("a manifest");
    let adopted = argus::source::patch::adopt(&|file| super::text_of(&case.root, file), "", &world, &plan);
    assert_eq!(adopted.patch, "");
    assert_eq!(adopted.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::DriftLeft]);
}
