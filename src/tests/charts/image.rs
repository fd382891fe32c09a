//! The image: it is built from what is there, runs as nobody, and holds all that the binary needs. Nothing here builds it, which
//! takes a registry; what is put into it is put together and run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::postgres::scratch;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// An instruction of a Containerfile: its word, and what follows.
fn instructions(text: &str) -> Vec<(String, Vec<String>)> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = joined.lines().map(words).filter(|words| !words.is_empty());
    lines.map(|words| (words[0].clone(), words[1..].to_vec())).collect()
}

/// What the build of the image takes from the repository.
fn copied(instructions: &[(String, Vec<String>)]) -> Vec<String> {
    let copies = instructions.iter().filter(|(word, rest)| word == "COPY" && !rest[0].starts_with("--from="));
    copies.flat_map(|(_, rest)| rest[..rest.len() - 1].to_vec()).collect()
}

#[test]
fn the_image_is_built_from_what_is_there_and_runs_as_nobody() {
    let instructions = instructions(&text("charts/Containerfile"));
    let copied = copied(&instructions);
    let ignored = text(".dockerignore");
    for source in &copied {
        assert!(Path::new(ROOT).join(source).exists(), "{source} is not there");
        assert!(ignored.lines().any(|line| line == format!("!{source}")), ".dockerignore keeps {source} out");
    }
    assert_eq!(ignored.lines().filter(|line| line.starts_with('!')).count(), copied.len(), "it lets in more than that");
    // What is compiled in, and the manifest itself.
    let mut needed: BTreeSet<PathBuf> = ["Cargo.toml", "Cargo.lock"].map(PathBuf::from).into();
    for (path, code) in sources(&Path::new(ROOT).join("src")) {
        for included in code.split("include_str!(").skip(1) {
            let name = included.split('"').nth(1).expect("a path");
            let folder = path.parent().expect("a folder");
            needed.insert(folder.join(name));
        }
    }
    assert!(needed.len() > 10, "{needed:?}");
    for path in needed {
        let path = resolved(&path);
        assert!(copied.iter().any(|source| path.starts_with(source)), "{} does not get into the build", path.display());
    }
    let last = |word: &str| &instructions.iter().rfind(|(found, _)| found == word).expect(word).1;
    assert_eq!(last("FROM"), &["scratch"]);
    let user: Vec<u32> = last("USER")[0].split(':').map(|id| id.parse().expect("a number")).collect();
    let values: Value = serde_yaml::from_str(&text("charts/argus/values.yaml")).expect("YAML");
    let pod = &values["podSecurityContext"];
    assert_eq!(user, [&pod["runAsUser"], &pod["runAsGroup"]].map(|id| id.as_u64().expect("an id") as u32));
    assert!(user.iter().all(|id| *id > 0));
    assert_eq!(last("EXPOSE")[0], values["http"]["port"].to_string());
    assert!(text("charts/Containerfile").contains(concat!("\nARG VERSION=", env!("CARGO_PKG_VERSION"), "\n")));
    let base = instructions.iter().find_map(|(word, rest)| (word == "ARG").then(|| rest[0].clone())).expect("a base");
    let rust =
        text("Cargo.toml").split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next().map(str::to_owned));
    assert!(base.starts_with(&format!("BASE=rust:{}-", rust.expect("a version"))), "{base}");
}

/// The code of the binary, file by file.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("src/tests") && !path.ends_with("src/benches") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push((path.clone(), std::fs::read_to_string(&path).expect("code")));
        }
    }
    found
}

/// A path without `..`, from the root of the repository.
fn resolved(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain.strip_prefix(ROOT).map(Path::to_path_buf).unwrap_or(plain)
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_image_holds_is_all_that_the_binary_needs() {
    let folder = scratch("image");
    let script = Path::new(ROOT).join("charts/image.sh");
    let run = |program: &mut Command| {
        let output = program.output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned(), told)
    };
    let made = run(Command::new("sh").arg(&script).arg(env!("CARGO_BIN_EXE_argus")).arg(&folder));
    assert!(made.0, "{made:?}");
    // A namespace of its own lets whoever runs the tests change the root.
    let within = |words: &[&str]| {
        let mut program = Command::new("unshare");
        program
            .args(["--user", "--map-root-user", "chroot"])
            .arg(&folder)
            .arg("/usr/bin/argus")
            .args(words)
            .env_clear();
        run(program.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
    };
    let version = within(&["--version"]);
    // Names are asked of the system, and this one nobody has: https://www.rfc-editor.org/rfc/rfc6761
    let unknown = within(&["db", "status", "--database-url", "postgres://argus@db.invalid/argus"]);
    let manifest = folder.join("tmp/acme.yaml");
    std::fs::write(&manifest, "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {name: acme}\nspec: {}\n")
        .expect("a manifest");
    let checked = within(&["validate", "/tmp/acme.yaml"]);
    std::fs::remove_dir_all(&folder).expect("it goes");
    assert_eq!((version.0, version.1.trim()), (true, concat!("argus ", env!("CARGO_PKG_VERSION"))), "{version:?}");
    assert!(unknown.2.contains("failed to lookup address information"), "{unknown:?}");
    assert!(checked.0, "{checked:?}");
}
