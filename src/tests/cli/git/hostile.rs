//! Hostile repositories: each is told with a stable code, nothing is written, and memory stays within a limit.

use std::os::unix::process::CommandExt as _;

use super::{ACME, Ran, Source, run};
use crate::support::git::run_with;

/// What the process may have, in bytes of its address space.
const MEMORY_BYTES_MAX: libc::rlim_t = 512 * 1024 * 1024;

impl Source {
    /// Plans within the limit of memory.
    fn plan_within(&self) -> Ran {
        let path = self.repository.path.display().to_string();
        let mut command = self.command(&["plan", "--git", &path]);
        // Arenas of the allocator are address space and not memory.
        command.env("MIMALLOC_ARENA_RESERVE", "0").env("MIMALLOC_ARENA_EAGER_COMMIT", "0");
        limit(&mut command);
        run(command)
    }

    fn blob(&self, text: &[u8]) -> String {
        self.repository.object("blob", text)
    }
}

#[allow(unsafe_code, reason = "a limit is set between fork and exec, with nothing but a system call")]
fn limit(command: &mut std::process::Command) {
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: MEMORY_BYTES_MAX, rlim_max: MEMORY_BYTES_MAX };
            match libc::setrlimit(libc::RLIMIT_DATA, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

#[test]
fn entries_that_lead_elsewhere_are_told() {
    let source = Source::acme();
    let acme = source.blob(ACME.as_bytes());
    let other = source.blob(b"kind: Nonsense\n");
    let target = source.blob(b"/etc/passwd");
    let loop_to = source.blob(b"loop.yaml");
    let lfs = source.blob(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    let folder = source.repository.tree(&[("100644", "a.yaml", &other)]);
    let head = source.repository.git(&["rev-parse", "HEAD"]);
    for (mode, name, object, code) in [
        ("120000", "link.yaml", &target, "ARG1016"),
        ("120000", "loop.yaml", &loop_to, "ARG1016"),
        ("120000", "folder", &target, "ARG1016"),
        ("120000", "weather.example", &target, "ARG1016"),
        ("120000", "notes.md", &target, "ARG1016"),
        ("160000", "module", &head, "ARG1713"),
        ("100644", "..", &other, "ARG1711"),
        ("40000", "..", &folder, "ARG1711"),
        ("40000", ".git", &folder, "ARG1711"),
        ("40000", ".GIT", &folder, "ARG1711"),
        ("40000", "git~1", &folder, "ARG1711"),
        ("100644", "a/b.yaml", &other, "ARG1711"),
        ("100644", "a\\b.yaml", &other, "ARG1711"),
        ("100644", "new\nline.yaml", &other, "ARG1711"),
        ("100644", "esc\u{1b}[31m.yaml", &other, "ARG1711"),
        ("100644", "bidi\u{202e}.yaml", &other, "ARG1711"),
        ("100644", "lfs.yaml", &lfs, "ARG1714"),
        ("100644", "ACME.yaml", &other, "ARG1712"),
        ("100644", "acme.yaml", &other, "ARG1712"),
    ] {
        let tree = source.repository.tree(&[("100644", "acme.yaml", &acme), (mode, name, object)]);
        source.repository.commit_tree(&tree, "Hostile");
        let ran = source.plan_within();
        assert!(ran.code == Some(1) && ran.all().contains(code), "{mode} {name:?}: {ran}");
        assert!(!ran.all().contains(['\u{1b}', '\u{202e}']), "{name:?}: {ran}");
        // What is well goes on.
        assert!(code == "ARG1712" || ran.out.contains("Plan: 2 to add"), "{mode} {name:?}: {ran}");
    }
}

/// What was read below a directory does not go because the directory became a link, whatever it is called.
#[test]
fn a_directory_that_becomes_a_link_deletes_nothing() {
    let source = Source::acme();
    let team = "apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata: {name: weather}\nspec:\n  organization: acme\n  \
                displayName: W\n";
    source.commit("weather.example/team.yaml", team, "Add a team");
    source.apply(&[]).ends(0);
    let acme = source.blob(ACME.as_bytes());
    let shared = source.repository.git(&["rev-parse", "HEAD:weather.example"]);
    for target in ["shared", "../elsewhere", "/srv/weather", "gone", "first.md", "./acme.yaml/x"] {
        let (link, first) = (source.blob(target.as_bytes()), source.blob(b"shared"));
        let entries = [
            ("100644", "acme.yaml", acme.as_str()),
            ("120000", "first.md", &first),
            ("40000", "shared", &shared),
            ("120000", "weather.example", &link),
        ];
        let tree = source.repository.tree(&entries);
        source.repository.commit_tree(&tree, "Share it");
        source.plan(&["--path", "acme.yaml", "--path", "weather.example"]).ends(1).says("ARG1016");
        let ran = source.plan(&[]).ends(1);
        ran.says("ARG1016").says("weather.example").does_not_say("- Team/weather");
    }
}

#[test]
fn a_link_to_a_file_that_is_no_manifest_does_no_harm() {
    let source = Source::acme();
    source.repository.write("docs/guide.md", "Read this.\n");
    for (link, target) in [("README.md", "docs/guide.md"), ("docs/again.txt", "./../docs/guide.md")] {
        std::os::unix::fs::symlink(target, source.repository.path.join(link)).expect("a link");
    }
    source.repository.commit("Add a guide");
    source.plan(&[]).ends(2).says("Plan: 2 to add").does_not_say("ARG1016");
}

#[test]
fn a_name_that_is_no_utf_8_is_told() {
    let source = Source::acme();
    let acme = source.blob(ACME.as_bytes());
    let id: Vec<u8> =
        (0..acme.len()).step_by(2).map(|at| u8::from_str_radix(&acme[at..at + 2], 16).expect("hex")).collect();
    let tree = [b"100644 a\xff.yaml\0".as_slice(), &id].concat();
    let tree = source.repository.object("tree", &tree);
    source.repository.commit_tree(&tree, "Hostile");
    source.plan_within().ends(1).says("ARG1711").says("a?.yaml");
}

/// Twelve objects that say that there are 10^10 files.
fn endless(source: &Source) -> String {
    let blob = source.blob(ACME.as_bytes());
    let names: Vec<String> = (0..10).map(|number| format!("f{number}.yaml")).collect();
    let entries: Vec<(&str, &str, &str)> = names.iter().map(|name| ("100644", name.as_str(), blob.as_str())).collect();
    let mut tree = source.repository.tree(&entries);
    for _ in 0..9 {
        let names: Vec<String> = (0..10).map(|number| format!("d{number}")).collect();
        let entries: Vec<(&str, &str, &str)> =
            names.iter().map(|name| ("40000", name.as_str(), tree.as_str())).collect();
        tree = source.repository.tree(&entries);
    }
    tree
}

/// Nothing hidden is read, but whoever compares commits or merges them comes across it.
#[test]
fn a_tree_without_end_where_nothing_is_read_harms_neither_blame_nor_merges() {
    let source = Source::acme();
    let (acme, endless) = (source.blob(ACME.as_bytes()), endless(&source));
    let more = source.blob(format!("{ACME}# more\n").as_bytes());
    source.repository.git(&["checkout", "-q", "--detach"]);
    let first = source.repository.git(&["rev-parse", "HEAD"]);
    let hidden = source.repository.tree(&[("40000", ".x", &endless), ("100644", "acme.yaml", &acme)]);
    let branch = source.repository.commit_tree(&hidden, "Hide it");
    source.plan_within().ends(0).says("Plan: 2 to add");
    let without = source.repository.tree(&[("100644", "acme.yaml", &acme)]);
    source.repository.commit_tree(&without, "It is gone again");
    source.plan_within().ends(0).says("Plan: 2 to add");
    source.repository.git(&["update-ref", "refs/heads/main", &first]);
    let aside = source.repository.tree(&[("100644", "acme.yaml", &acme), ("100644", "other.yaml", &more)]);
    source.repository.commit_tree(&aside, "Move on");
    let path = source.repository.path.display().to_string();
    let mut command = source.command(&["plan", "--git", &path, "--base", "main", "--head", &branch]);
    limit(&mut command);
    run(command).ends(1).says("ARG1014").says("not merged");
}

#[test]
fn a_tree_that_unfolds_without_end_is_cut_off() {
    let source = Source::acme();
    let tree = endless(&source);
    source.repository.commit_tree(&tree, "Hostile");
    source.plan_within().ends(1).says("ARG1014").says("more than 100000 manifests");
}

/// Writes a commit as a stream, for what would take `git` one process for each object.
fn import(source: &Source, entries: impl Iterator<Item = String>) {
    let mut stream = format!("blob\nmark :1\ndata {}\n{ACME}\n", ACME.len());
    stream.push_str("commit refs/heads/main\ncommitter A <a@acme.example> 1 +0000\ndata 7\nHostile\n");
    stream.push_str("from refs/heads/main^0\ndeleteall\n");
    entries.for_each(|path| stream.push_str(&format!("M 100644 :1 {path}\n")));
    let output = run_with(source.repository.command(&["fast-import", "--quiet", "--force"]), stream.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn directories_that_are_nested_too_deeply_are_cut_off() {
    let source = Source::acme();
    for depth in [66, 3_000] {
        import(&source, std::iter::once(format!("{}acme.yaml", "d/".repeat(depth))));
        source.plan_within().ends(1).says("ARG1014").says("nested more than 64 levels deep");
    }
    import(&source, std::iter::once(format!("{}acme.yaml", "d/".repeat(64))));
    source.plan_within().ends(0).says("Plan: 2 to add");
}

#[test]
fn too_many_files_are_too_many() {
    let source = Source::acme();
    import(&source, (0..200_000).map(|number| format!("d{}/f{number}.yaml", number % 100)));
    source.plan_within().ends(1).says("ARG1014").says("more than 100000 manifests").says("filesMax");
}

/// Whatever a repository points at: nothing outside of it is opened for it.
#[test]
fn a_canary_outside_of_the_repository_is_never_opened() {
    let source = Source::acme();
    let canary = source.world.path("canary.yaml");
    std::fs::write(&canary, ACME).expect("a canary");
    let target = canary.display().to_string();
    let link = source.blob(target.as_bytes());
    let acme = source.blob(ACME.as_bytes());
    let settings = source.blob(format!("source: acme\npolicies: {target}\n").as_bytes());
    let below = source.repository.tree(&[("120000", "canary.yaml", &link)]);
    let modules = source.blob(format!("[submodule \"x\"]\n\tpath = x\n\turl = {target}\n").as_bytes());
    let head = source.repository.git(&["rev-parse", "HEAD"]);
    for entries in [
        vec![("100644", "acme.yaml", &acme), ("120000", "link.yaml", &link), ("40000", "orgs", &below)],
        vec![("100644", "acme.yaml", &acme), ("100644", "argus.yaml", &settings)],
        vec![("100644", "acme.yaml", &acme), ("120000", "argus.yaml", &link)],
        vec![("100644", "acme.yaml", &acme), ("120000", "policies", &link)],
        vec![("100644", ".gitmodules", &modules), ("100644", "acme.yaml", &acme), ("160000", "x", &head)],
    ] {
        let entries: Vec<(&str, &str, &str)> =
            entries.iter().map(|(mode, name, id)| (*mode, *name, id.as_str())).collect();
        let tree = source.repository.tree(&entries);
        source.repository.commit_tree(&tree, "Hostile");
        let path = source.repository.path.display().to_string();
        let trace = source.world.path("trace");
        let plain = source.command(&["plan", "--git", &path]);
        let mut traced = std::process::Command::new("strace");
        traced.args(["-f", "-qq", "-e", "trace=open,openat,execve,readlink,readlinkat,connect", "-o"]).arg(&trace);
        traced.arg(plain.get_program()).args(plain.get_args()).current_dir(&source.world.root);
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => traced.env(name, value),
                None => traced.env_remove(name),
            };
        }
        let ran = run(traced);
        assert!(matches!(ran.code, Some(0..=2)), "{ran}");
        let seen = std::fs::read_to_string(&trace).expect("a trace");
        assert!(seen.contains(".git/objects"), "nothing was watched: {seen}");
        assert!(!seen.contains("canary"), "{seen}");
        // The database is on this machine, and so is all that is connected to; and nothing but Argus itself is executed.
        let elsewhere =
            |line: &&str| line.contains("connect(") && !line.contains("AF_UNIX") && !line.contains("127.0.0.1");
        assert_eq!(seen.lines().find(elsewhere), None);
        let program = |line: &&str| line.contains("execve(") && !line.contains("argus");
        assert_eq!(seen.lines().find(program), None);
    }
}

#[test]
fn a_blob_that_is_too_large_is_not_read() {
    let source = Source::acme();
    source.repository.write("large.yaml", "");
    let file = std::fs::File::create(source.repository.path.join("large.yaml")).expect("a file");
    file.set_len(2 * 1024 * 1024 * 1024).expect("a large file");
    source.repository.git(&["-c", "core.compression=1", "add", "-A"]);
    source.repository.git(&["commit", "-q", "-m", "Hostile"]);
    source.plan_within().ends(1).says("ARG1001").says("large.yaml").says("2147483648 bytes");
    source.repository.write("large.yaml", "");
}

/// Each byte of a small pack flipped, and the pack cut at each length: never a crash, never a wrong reading.
#[test]
fn a_pack_that_is_damaged_is_told_or_does_not_matter() {
    let source = Source::acme();
    source.repository.git(&["-c", "pack.window=0", "repack", "-a", "-d", "-q"]);
    let packs = source.repository.path.join(".git/objects/pack");
    let pack = std::fs::read_dir(packs).expect("packs").map(|entry| entry.expect("an entry").path());
    let pack = pack.into_iter().find(|path| path.extension().is_some_and(|end| end == "pack")).expect("a pack");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&pack, std::fs::Permissions::from_mode(0o644)).expect("it may be written");
    let good = std::fs::read(&pack).expect("a pack");
    assert!(good.len() < 2_000, "{}", good.len());
    let path = source.repository.path.display().to_string();
    let look = |what: String| {
        let mut command = source.command(&["validate", "--git", &path]);
        limit(&mut command);
        let ran = run(command);
        match ran.code {
            Some(0) => assert!(ran.out.contains("Valid: 2 resources"), "{what}: {ran}"),
            Some(1) => assert!(ran.err.contains("ARG17"), "{what}: {ran}"),
            _ => panic!("{what}: {ran}"),
        }
        ran.code
    };
    let mut told = 0;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        std::fs::write(&pack, &bad).expect("a pack");
        told += usize::from(look(format!("byte {at} flipped")) == Some(1));
    }
    assert!(told > good.len() / 3, "only {told} of {} were noticed", good.len());
    for length in 0..good.len() {
        std::fs::write(&pack, &good[..length]).expect("a pack");
        look(format!("cut at {length}"));
    }
    std::fs::write(&pack, &good).expect("a pack");
    assert_eq!(look("mended".into()), Some(0));
}

#[test]
fn addresses_that_run_programs_or_lead_inside_are_refused() {
    let source = Source::acme();
    for address in [
        "ext::sh -c id",
        "git://localhost/x",
        "-oProxyCommand=id",
        "ssh://-oProxyCommand=id/x",
        "file:///etc",
        "https://169.254.169.254/x.git",
    ] {
        let word = format!("--git={address}");
        source.argus(&["plan", &word]).ends(1).says("ARG1701");
    }
    // What is listed may be read.
    let url = format!("file://{}", source.repository.path.display());
    let settings = source.settings(&format!("git:\n  allow: ['{url}']\n"));
    source.argus(&["plan", "--git", &url, "--config", &settings]).ends(0).says("Plan: 2 to add");
    let path = source.repository.path.display().to_string();
    source.argus(&["plan", "--git", &path, "--config", &settings]).ends(1).says("ARG1701");
}
