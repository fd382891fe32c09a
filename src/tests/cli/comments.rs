//! Comments under pull requests, by the real binary: who gains and loses what, and where the texts lead.

use super::{ACME, World};
use crate::support::git::Repository;

#[test]
fn a_comment_tells_who_gains_and_loses_what_as_policies_are_told() {
    let world = World::applied(&format!(
        "{ACME}    - user: bob@acme.example\n      role: admin\n  projects: [{{name: search}}]\n"
    ));
    let request = ACME.replace("displayName: Acme", "displayName: Acme Inc")
        + "    - user: eve@acme.example\n      role: viewer\n  projects:\n    - name: search\n      \
           members: [{user: eve@acme.example, role: maintainer}]\n";
    world.write("acme.yaml", &request);
    let plan = ["plan", "--format", "markdown"];
    let told = world.argus(&plan).ends(0).says("**Access**");
    let input = world.argus(&["policy", "input", "-O", "acme"]).ends(0).json();
    for (side, verb) in [("gained", "gains"), ("lost", "loses")] {
        let grants = input["access"][side].as_array().expect("grants");
        assert!(!grants.is_empty(), "{input}");
        for grant in grants {
            let person = grant["person"].as_str().expect("a person").replace('@', "&#64;");
            let line = told.out.lines().find(|line| line.starts_with(&format!("- acme, {person}: ")));
            let line = line.unwrap_or_else(|| panic!("{person} is missing in {told}"));
            assert!(line.contains(verb), "{line}");
            for permission in grant["permissions"].as_array().expect("permissions") {
                let permission = permission.as_str().expect("a permission").replace('*', "\\*").replace('_', "\\_");
                assert!(line.contains(&permission), "{permission} is missing in {line}");
            }
        }
    }
    // The same where policies judge, whether they look at it or not.
    world.write("policies/p.rego", "package p\n\n# METADATA\n# title: x\nwarn contains \"hm\" if input.version == 2\n");
    let lines =
        |text: &str| text.lines().filter(|line| line.starts_with("- acme, ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&world.argus(&plan).ends(0).out), lines(&told.out));
    world.write(
        "policies/p.rego",
        "package p\n\n# METADATA\n# title: x\nwarn contains \"hm\" if count(input.access.gained) > 99\n",
    );
    assert_eq!(lines(&world.argus(&plan).ends(0).out), lines(&told.out));
    // What nobody asked for is not told.
    world.argus(&["plan"]).ends(0).does_not_say("gains");
}

#[test]
fn links_lead_to_the_files_as_they_are_called_from_where_the_command_runs() {
    let world = World::new();
    world.write("config/acme.yaml", ACME);
    let base = "https://git.example/acme/config/blob/0123abc";
    let plan = ["plan", "config", "--format", "markdown", "--link-base", base];
    world
        .argus(&plan)
        .ends(0)
        .says(&format!("Written at: Organization/acme [acme.yaml:1:1]({base}/config/acme.yaml#L1)"));
    for bad in ["javascript:alert(1)", "https://x/)[y](https://z", "git.example", "https://x/ y"] {
        let ran = world.argus(&["plan", "config", "--format", "markdown", "--link-base", bad]);
        ran.ends(1).says("is no address that could be linked to");
    }
}

/// The last line is for programs, and nothing that somebody wrote can stand there.
#[test]
fn the_last_line_tells_the_gravest_verdict() {
    let world = World::with(ACME);
    let verdict = |world: &World| {
        let page = world.argus(&["plan", "--format", "markdown"]).out;
        page.lines().last().expect("a last line").to_owned()
    };
    assert_eq!(verdict(&world), "<!-- argus:verdict allowed -->");
    let rule =
        |said: &str| format!("package p\n\n# METADATA\n# title: x\n{said} contains \"no\" if input.version == 1\n");
    let other = ACME.replace("acme", "globex").replace("Acme", "<!-- argus:verdict allowed -->");
    world.write("globex.yaml", &other).write("policies/p.rego", &rule("hold"));
    assert_eq!(verdict(&world), "<!-- argus:verdict held -->");
    world.write("policies/p.rego", &rule("deny").replace("input.version == 1", "input.organization == \"acme\""));
    assert_eq!(verdict(&world), "<!-- argus:verdict denied -->");
    world.write("acme.yaml", &ACME.replace("role: owner", "role: ownr"));
    assert_eq!(verdict(&world), "<!-- argus:verdict blocked -->");
}

#[test]
fn a_comment_names_the_commit() {
    let (world, repository) = (World::new(), Repository::new());
    repository.write("acme.yaml", ACME);
    let base = repository.commit("Add acme");
    let path = repository.path.display().to_string();
    let plan = |more: &[&str]| world.argus(&[&["plan", "--format", "markdown", "--git", &path], more].concat()).ends(0);
    plan(&[]).says(&format!("` of commit `{base}`\n"));
    repository.git(&["checkout", "-q", "-b", "feature"]);
    repository.write("acme.yaml", &ACME.replace("Acme", "Acme Inc"));
    let head = repository.commit("Rename it");
    plan(&["--base", "main", "--head", "feature"]).says(&format!("` of commit `{head}`, merged into `{base}`\n"));
}
