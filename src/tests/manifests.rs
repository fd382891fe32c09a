//! Manifests as people write them, rightly and wrongly: one idea per folder of `fixtures`, and what is said of it
//! beside it. `ARGUS_UPDATE=1` writes the expectations anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argus::model::code::Code;
use argus::model::finding::{Finding, Severity};
use argus::model::kind::{KINDS, Kind, KindId};
use argus::model::state::World;
use argus::model::time::parse_time;
use argus::render::excerpt;
use argus::source::directory::{self, Options};
use argus::source::manifest::read_file;
use argus::source::world::assemble;
use argus::validate::validate;

const NOW: &str = "2026-06-01T00:00:00Z";

/// A string that stands for every secret in the fixtures.
const CANARY: &str = "CANARY";

fn fixtures(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixtures").join(part)
}

fn folders(part: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(fixtures(part)).expect("fixtures").map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    folders
}

fn read(root: &Path, options: &Options) -> World {
    let mut world = directory::read(root, options);
    validate(&mut world, parse_time(NOW).expect("a moment"));
    world
}

fn drawn(root: &Path, world: &World) -> String {
    let origins = world.findings.iter().filter_map(|finding| finding.origin.as_ref());
    let excerpts = directory::excerpts(root, origins);
    let mut text = excerpt::draw(&world.findings, &excerpts, false);
    text.push_str(&format!("\n{}\n", excerpt::summary(&world.findings)));
    let list = |set: &BTreeSet<Arc<str>>| set.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" ");
    if !world.blocked.is_empty() {
        text.push_str(&format!("blocked: {}\n", list(&world.blocked)));
    }
    if !world.unreadable_files.is_empty() {
        text.push_str(&format!("unreadable: {}\n", list(&world.unreadable_files)));
    }
    text
}

/// Folders whose files are too large or too odd to be kept; each is made where it is needed.
type Make = fn(&Path) -> Options;

const MADE: &[(&str, Make)] = &[
    ("1001-hundred-megabytes", |root| {
        let file = fs::File::create(root.join("acme.yaml")).expect("a file");
        file.set_len(100 * 1024 * 1024).expect("a sparse file");
        Options::default()
    }),
    ("1007-hundred-thousand-brackets", |root| {
        fs::write(root.join("acme.yaml"), "[".repeat(100_000)).expect("a file");
        fs::write(root.join("braces.yaml"), "{a: ".repeat(100_000)).expect("a file");
        fs::write(root.join("dashes.yaml"), "- ".repeat(100_000)).expect("a file");
        fs::write(root.join("questions.yaml"), "? ".repeat(100_000)).expect("a file");
        Options::default()
    }),
    ("1008-many-values", |root| {
        fs::write(root.join("flow.yaml"), format!("[{}x]", "a,".repeat(1_900_000))).expect("a file");
        fs::write(root.join("block.yaml"), "- a\n".repeat(1_000_000)).expect("a file");
        fs::write(root.join("documents.yaml"), "---\n".repeat(100_000)).expect("a file");
        Options::default()
    }),
    ("1013-root-that-does-not-exist", |root| {
        fs::remove_dir(root).expect("an empty folder");
        Options::default()
    }),
    ("1013-root-that-is-a-socket", |root| {
        fs::remove_dir(root).expect("an empty folder");
        std::os::unix::net::UnixListener::bind(root).expect("a socket");
        Options::default()
    }),
    ("1013-no-manifest", |root| {
        fs::write(root.join("README.md"), "# nothing").expect("a file");
        Options::default()
    }),
    ("1013-odd-files", |root| {
        use std::os::unix::ffi::OsStrExt;
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"a\xFFb.yaml")), "x: y").expect("a file");
        fs::write(root.join("line\nbreak\u{1B}[31m.yaml"), "x").expect("a file");
        std::os::unix::net::UnixListener::bind(root.join("socket.yaml")).expect("a socket");
        Options::default()
    }),
    ("1014-too-many-files", |root| {
        for at in 0..4 {
            fs::write(root.join(format!("{at}.yaml")), "a: b").expect("a file");
        }
        Options { files_max: 3, ..Options::default() }
    }),
    ("1014-too-many-bytes", |root| {
        fs::write(root.join("a.yaml"), "a: b").expect("a file");
        Options { total_bytes_max: 3, ..Options::default() }
    }),
    ("1014-too-deep", |root| {
        fs::create_dir_all(root.join("a/b/c")).expect("folders");
        fs::write(root.join("a/b/c/x.yaml"), "a: b").expect("a file");
        Options { depth_levels_max: 2, ..Options::default() }
    }),
    ("1016-symlinks", |root| {
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, root.join(name)).expect("a link");
        link("/etc/hostname", "outside.yaml");
        link("loop.yaml", "loop.yaml");
        link("..", "up");
        link("/etc/hostname", "harmless.txt");
        Options::default()
    }),
];

/// A folder under the system's temporary folder, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("argus-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let _ = fs::remove_file(&path);
        fs::create_dir_all(&path).expect("a folder");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn every_wrong_manifest_is_told_what_is_wrong_with_it() {
    let update = std::env::var_os("ARGUS_UPDATE").is_some();
    let mut differing = Vec::new();
    let mut compare = |folder: &Path, name: &str, text: String| {
        let expected = folder.join("expected.txt");
        if update {
            fs::create_dir_all(folder).expect("a folder");
            fs::write(&expected, &text).expect("an expectation");
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if wanted != text {
            differing.push(format!("--- {name}, expected\n{wanted}\n--- {name}, found\n{text}"));
        }
        let code = name.split('-').next().unwrap_or_default();
        assert!(text.contains(&format!("[ARG{code}]")), "{name} does not show its code:\n{text}");
        assert!(!text.contains(CANARY), "{name} shows a secret:\n{text}");
        assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{name} shows a control character");
    };
    for folder in folders("bad") {
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if MADE.iter().any(|(made, _)| *made == name) {
            continue;
        }
        let world = read(&folder, &Options::default());
        compare(&folder, &name, drawn(&folder, &world));
    }
    for (name, make) in MADE {
        let scratch = Scratch::new(name);
        let options = make(&scratch.0);
        let world = read(&scratch.0, &options);
        let text = drawn(&scratch.0, &world).replace(&*scratch.0.to_string_lossy(), "<root>");
        compare(&fixtures("bad").join(name), name, text);
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_right_manifest_passes() {
    for folder in folders("good") {
        let world = read(&folder, &Options::default());
        assert!(world.findings.is_empty(), "{}", drawn(&folder, &world));
        assert!(world.blocked.is_empty() && world.unreadable_files.is_empty(), "{}", folder.display());
        assert!(world.organizations.contains_key("acme"), "{}", folder.display());
    }
}

#[test]
fn every_example_of_a_kind_reads_without_a_finding_and_names_every_field() {
    for kind in KINDS {
        let file: Arc<str> = format!("{}.yaml", kind.name).into();
        let reading = read_file(&file, kind.example.as_bytes());
        assert_eq!(reading.findings, [], "{}", kind.name);
        let [resource] = &reading.resources[..] else { panic!("{} gives one resource", kind.name) };
        assert_eq!(resource.id.kind, KindId::of(kind));
    }
}

#[test]
fn every_code_about_manifests_has_a_fixture() {
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for folder in folders("bad") {
        let text = fs::read_to_string(folder.join("expected.txt")).expect("an expectation");
        shown.extend(text.match_indices("[ARG").filter_map(|(at, _)| Some(text.get(at + 1..at + 8)?.to_owned())));
    }
    let missing: Vec<String> = Code::ALL
        .iter()
        .filter(|code| code.number() < 1200)
        .map(ToString::to_string)
        .filter(|code| !shown.contains(code))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_code_has_a_page_with_a_title_an_explanation_and_an_example() {
    for code in Code::ALL {
        let page = code.page();
        assert!(page.starts_with(&format!("# {code}: ")), "{code} has no title");
        assert!(code.title().chars().count() < 60, "the title of {code} is long");
        let lines = page.lines().count();
        assert!((8..=40).contains(&lines), "the page of {code} has {lines} lines");
        assert!(page.contains("```"), "the page of {code} has no example");
        assert!(page.contains("## What to do"), "the page of {code} does not say what to do");
    }
}

#[test]
fn a_file_that_is_read_twice_or_on_many_threads_gives_the_same_world() {
    for folder in folders("bad").into_iter().chain(folders("good")) {
        let worlds: Vec<String> = [1, 2, 7]
            .into_iter()
            .map(|threads| format!("{:?}", read(&folder, &Options { threads: Some(threads), ..Options::default() })))
            .collect();
        assert_eq!(worlds[0], worlds[1], "{}", folder.display());
        assert_eq!(worlds[0], worlds[2], "{}", folder.display());
    }
}

#[test]
fn a_file_cut_at_any_byte_never_panics_and_never_loses_its_organization() {
    let file: Arc<str> = "acme.yaml".into();
    let text = fs::read(fixtures("good/everything-points-at-something/acme.yaml")).expect("a fixture");
    for end in 0..text.len() {
        let reading = read_file(&file, &text[..end]);
        if reading.findings.iter().any(Finding::is_error) {
            assert!(reading.unreadable || !reading.blocked.is_empty(), "cut at {end}");
        }
        assert!(reading.unreadable || !reading.resources.is_empty() || !reading.blocked.is_empty(), "cut at {end}");
    }
}

#[test]
fn a_document_with_an_error_yields_nothing_and_blocks_only_its_organization() {
    let world = read(&fixtures("bad/1042-everything-at-once"), &Options::default());
    assert_eq!(world.blocked.iter().map(|name| &**name).collect::<Vec<_>>(), ["acme", "globex"]);
    assert!(!world.organizations.contains_key("acme"));
    assert_eq!(world.unreadable_files.iter().map(|name| &**name).collect::<Vec<_>>(), ["initech.yaml"]);
}

#[test]
fn one_bad_organization_among_many_leaves_the_others_alone() {
    let scratch = Scratch::new("many");
    for at in 0..200 {
        let role = if at == 77 { "yes" } else { "owner" };
        let text = format!(
            "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata:\n  name: org-{at}\nspec:\n  members:\n    - user: a@b.example\n      role: {role}\n"
        );
        fs::write(scratch.0.join(format!("{at}.yaml")), text).expect("a file");
    }
    let world = read(&scratch.0, &Options::default());
    assert_eq!(world.files, 200);
    assert_eq!(world.organizations.len(), 199);
    assert_eq!(world.blocked.iter().map(|name| &**name).collect::<Vec<_>>(), ["org-77"]);
}

#[test]
fn inline_children_and_named_collections_are_authoritative() {
    let text = b"apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {name: acme}\nspec:\n  authoritative: [apiKeys]\n  teams: []\n  removals: []\n";
    let world = assemble([read_file(&"a.yaml".into(), text)].into_iter());
    assert_eq!(world.findings, []);
    let kinds: Vec<&str> = world.organizations["acme"].authoritative.iter().map(|kind| kind.get().name).collect();
    assert_eq!(kinds, ["Team", "ApiKey"]);
}

#[test]
fn null_empties_a_field_and_a_whole_group() {
    let text = b"apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {name: acme}\nspec:\n  displayName: null\n  labels: {}\n  settings:\n  sso: null\n  allowedEmailDomains: {}\n  teams: {}\n";
    let reading = read_file(&"a.yaml".into(), text);
    assert_eq!(reading.findings, []);
    let json = reading.resources[0].spec.to_json(Kind::named("Organization").expect("a kind")).to_string();
    assert_eq!(
        json,
        r#"{"allowedEmailDomains":[],"displayName":null,"labels":{},"settings":{},"sso.clientId":null,"sso.domain":null,"sso.enforced":null,"sso.issuer":null,"sso.protocol":null}"#
    );
}

#[test]
fn pairs_of_surrogates_in_json_are_one_character() {
    let text = r#"{"apiVersion": "argus.io/v1alpha1", "kind": "Team", "metadata": {"name": "core"},
        "spec": {"organization": "acme", "displayName": "\ud83d\ude00 \\ud83d\\ude00 \uD83D\uDE01"}}"#;
    let reading = read_file(&"a.json".into(), text.as_bytes());
    assert_eq!(reading.findings, []);
    assert_eq!(reading.resources[0].text("displayName"), Some("\u{1F600} \\ud83d\\ude00 \u{1F601}"));
    // A single one is no character, and YAML knows no pairs.
    for (file, text) in [("a.json", text.replace("\\ude00 ", " ")), ("a.yaml", text.to_owned())] {
        let codes: Vec<Code> = read_file(&file.into(), text.as_bytes()).findings.iter().map(|f| f.code).collect();
        assert_eq!(codes, [Code::Syntax], "{text}");
    }
}

#[test]
fn a_name_that_is_missed_everywhere_is_told_a_bounded_number_of_times() {
    let scratch = Scratch::new("many");
    let users: String =
        (0..5_000).map(|at| format!("    - {{user: u{at}@acme.example, roles: [none-{at}]}}\n")).collect();
    let text = "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata:\n  name: acme\nspec:\n  members:\n";
    fs::write(scratch.0.join("acme.yaml"), format!("{text}{users}")).expect("a file");
    let world = read(&scratch.0, &Options::default());
    let errors = world.findings.iter().filter(|finding| finding.is_error()).count();
    assert_eq!((errors, world.findings.len()), (200, 201));
    assert!(world.findings.iter().any(|f| f.message == "4801 more errors of `acme` are not shown"), "no count");
}

#[test]
fn a_bad_tier_blocks_those_who_use_it_and_nobody_else() {
    let scratch = Scratch::new("tiers");
    let tier = |name: &str, members: &str| {
        format!(
            "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata:\n  name: {name}\nspec:\n  limits:\n    members: {members}\n"
        )
    };
    let organization = |name: &str, tier: &str| {
        format!("apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata:\n  name: {name}\nspec:\n  tier: {tier}\n")
    };
    fs::write(scratch.0.join("tiers.yaml"), format!("{}---\n{}", tier("free", "five"), tier("team", "5")))
        .expect("a file");
    fs::write(scratch.0.join("a.yaml"), organization("acme", "free")).expect("a file");
    fs::write(scratch.0.join("b.yaml"), organization("globex", "team")).expect("a file");
    let world = read(&scratch.0, &Options::default());
    assert_eq!(world.blocked.iter().map(|name| &**name).collect::<Vec<_>>(), ["", "acme"]);
    let errors: Vec<Code> = world.findings.iter().filter(|f| f.severity == Severity::Error).map(|f| f.code).collect();
    assert_eq!(errors, [Code::WrongType]);
}

#[test]
fn limits_are_met_before_anything_large_is_built() {
    // Each of these would take hundreds of megabytes as a tree; the readings hold next to nothing.
    let file: Arc<str> = "a.yaml".into();
    for (text, code) in [
        ("[".repeat(1_000_000), Code::TooManyValues),
        ("[a, ".repeat(100_000), Code::TooDeep),
        ("- ".repeat(1_000_000), Code::TooDeep),
        ("a: ".repeat(1_000_000), Code::Syntax),
        ("? ".repeat(1_000_000), Code::TooDeep),
        ("x".repeat(5_000_000), Code::FileTooLarge),
        ("#".repeat(5_000_000), Code::FileTooLarge),
        ("&a ".repeat(1_000_000), Code::Syntax),
        ("'".repeat(2_000_000), Code::NotAMapping),
        ("\"\\".repeat(1_000_000), Code::Syntax),
        ("\t".repeat(1_000_000), Code::EmptyFile),
        (":\n".repeat(100_000), Code::BadKey),
        ("a:\n".repeat(100_000), Code::DuplicateKey),
        ("!a ".repeat(1_000_000), Code::Tag),
        ("%A\n".repeat(1_000_000), Code::Syntax),
        ("--- \n".repeat(700_000), Code::TooManyValues),
    ] {
        let reading = read_file(&file, text.as_bytes());
        assert!(reading.resources.is_empty());
        assert!(reading.findings.len() <= 400);
        let codes: Vec<Code> = reading.findings.iter().map(|finding| finding.code).collect();
        assert!(codes.contains(&code), "{:?} gives {:?}", &text[..8], &codes[..codes.len().min(5)]);
    }
}

#[test]
fn a_resource_is_small() {
    // 720,000 of them are to fit into one pass.
    assert!(size_of::<argus::model::resource::Resource>() <= 112);
    assert!(size_of::<argus::model::resource::Entry>() <= 40);
}
