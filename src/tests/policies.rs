//! Folders of policies.

use std::path::PathBuf;

use argus::model::code::Code;
use argus::source::policies;

use crate::support::postgres::scratch;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn with(files: &[(&str, &[u8])]) -> Folder {
        let folder = Folder(scratch("policies"));
        std::fs::create_dir_all(&folder.0).expect("a folder");
        for (name, bytes) in files {
            let path = folder.0.join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, bytes).expect("a file");
        }
        folder
    }

    fn read(&self) -> Result<Vec<String>, Vec<String>> {
        match policies::read(&self.0, "policies") {
            Ok(files) => Ok(files.expect("a folder").iter().map(|file| file.path.to_string()).collect()),
            Err(findings) => Err(findings
                .iter()
                .inspect(|finding| assert_eq!(finding.code, Code::BadPolicy))
                .map(|finding| match &finding.origin {
                    Some(origin) => format!("{origin}: {}", finding.message),
                    None => finding.message.clone(),
                })
                .collect()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn rego_at_any_depth_is_read_in_order_and_everything_else_is_left() {
    let folder = Folder::with(&[
        ("z.rego", b"package z"),
        ("a/deep/b.rego", b"package b"),
        ("a/b_test.rego", b"package b_test"),
        ("README.md", b"\xff"),
        ("data.json", b"{"),
        (".git/c.rego", b"package c"),
        ("d.rego.bak", b"package d"),
    ]);
    let names = ["policies/a/b_test.rego", "policies/a/deep/b.rego", "policies/z.rego"];
    assert_eq!(folder.read(), Ok(names.map(str::to_owned).to_vec()));
}

#[test]
fn no_folder_is_told_from_an_empty_one() {
    let folder = Folder::with(&[]);
    assert_eq!(folder.read(), Ok(Vec::new()));
    assert_eq!(policies::read(&folder.0.join("none"), "policies"), Ok(None));
}

#[test]
fn what_is_not_utf_8_is_shown_by_line_and_column() {
    let folder = Folder::with(&[("a.rego", b"package a\n\n# \xff"), ("b.rego", b"package b")]);
    assert_eq!(folder.read(), Err(vec!["policies/a.rego:3:3: the file is not UTF-8 here".into()]));
}

#[test]
fn links_are_not_followed() {
    let elsewhere = Folder::with(&[("a.rego", b"package a"), ("notes.txt", b"")]);
    let folder = Folder::with(&[("b.rego", b"package b")]);
    let link = |from: &str, to: PathBuf| std::os::unix::fs::symlink(to, folder.0.join(from)).expect("a link");
    link("a.rego", elsewhere.0.join("a.rego"));
    link("more", elsewhere.0.clone());
    link("loop", folder.0.clone());
    link("notes.txt", elsewhere.0.join("notes.txt"));
    let expected = ["a.rego", "loop", "more"].map(|name| format!("policies/{name}: it is a symbolic link"));
    assert_eq!(folder.read(), Err(expected.to_vec()));
    let whole = Folder::with(&[]);
    std::os::unix::fs::symlink(&elsewhere.0, whole.0.join("policies")).expect("a link");
    assert!(policies::read(&whole.0.join("policies"), "policies").is_err());
}

#[test]
fn too_much_is_refused() {
    let large = vec![b'#'; 2 * 1024 * 1024];
    let folder = Folder::with(&[("large.rego", &large), ("small.rego", b"package small")]);
    assert_eq!(folder.read(), Err(vec!["policies/large.rego: the file has more than 1024 KiB".into()]));
    let much: Vec<(String, Vec<u8>)> = (0..9).map(|n| (format!("{n}.rego"), vec![b'#'; 1024 * 1024])).collect();
    let much: Vec<(&str, &[u8])> = much.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    assert_eq!(Folder::with(&much).read(), Err(vec!["the policies have more than 8 MiB together".into()]));
    let many: Vec<(String, Vec<u8>)> = (0..1_001).map(|n| (format!("{n}.rego"), b"package a".to_vec())).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    assert_eq!(Folder::with(&many).read(), Err(vec!["there are more than 1000 files of policies".into()]));
}

#[test]
fn a_pipe_is_not_waited_for() {
    let folder = Folder::with(&[]);
    let made = std::process::Command::new("mkfifo").arg(folder.0.join("a.rego")).status().expect("mkfifo runs");
    assert!(made.success());
    assert_eq!(folder.read(), Err(vec!["policies/a.rego: it is no regular file".into()]));
}
