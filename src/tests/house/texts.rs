//! Texts: links lead somewhere, named targets exist, files fit in the head, and nothing speaks of one machine.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, Text, assert_none, is_under, repository_texts, sources};

/// A file that is longer than this is split by stage.
const LINES_MAX: usize = 900;

/// What no file of the repository says. Written in parts, so that this file does not say it either.
fn forbidden() -> Vec<String> {
    [
        ["crates", ".io"],
        ["proxy.golang", ".org"],
        ["registry.npmjs", ".org"],
        ["pypi", ".org"],
        ["files.pythonhosted", ".org"],
        ["maven", ".org"],
        ["deb.debian", ".org"],
        ["security.debian", ".org"],
        ["archive.ubuntu", ".com"],
        ["/wo", "rk/"],
        ["/ro", "ot/"],
    ]
    .map(|parts| parts.concat())
    .to_vec()
}

fn forbidden_faults(files: &[Text]) -> Vec<String> {
    let says = |text: &str, word: &str| {
        let at =
            |at: &usize| !word.starts_with('/') || !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '.');
        text.match_indices(word).map(|(at, _)| at).find(at).map(|at| text[..at].matches('\n').count() + 1)
    };
    let mut faults = Vec::new();
    for file in files {
        for word in forbidden() {
            if says(&file.path, &word).is_some() {
                faults.push(format!("the name of {} says {word}", file.path));
            }
            // Cargo writes the address of the registry into its lock file.
            if file.path != "Cargo.lock"
                && let Some(line) = says(&file.text, &word)
            {
                faults.push(format!("{}:{line} says {word}", file.path));
            }
        }
    }
    faults
}

/// The lines of a Markdown text that are prose: code blocks are blanked out.
fn prose(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let keep = |line| {
        let fence = str::trim_start(line).starts_with("```");
        in_code ^= fence;
        if in_code || fence { "" } else { line }
    };
    text.lines().map(keep).collect()
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// `docs/a.md` and `../src/x` make `src/x`; above the root there is nothing.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn link_faults(files: &[Text]) -> Vec<String> {
    let by_path: BTreeMap<&str, &str> = files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let exists = |path: &str| path.is_empty() || by_path.keys().any(|known| is_under(known, path));
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in prose(&file.text).into_iter().enumerate() {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
            for target in targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
                let (path, wanted) = target.split_once('#').map_or((target, None), |(path, a)| (path, Some(a)));
                let path = if path.is_empty() { Some(file.path.clone()) } else { resolve(&file.path, path) };
                let leads = path.is_some_and(|path| {
                    exists(&path)
                        && wanted.is_none_or(|wanted| {
                            by_path.get(path.as_str()).is_some_and(|text| anchors(text).contains(wanted))
                        })
                });
                if !leads {
                    faults.push(format!("{}:{}: the link to {target} leads nowhere", file.path, number + 1));
                }
            }
        }
    }
    faults
}

/// The targets of `make` that a text tells people to run, each with its line.
fn make_targets(text: &str) -> BTreeSet<(usize, String)> {
    let mut named = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split('`').skip(1).step_by(2).chain([line.trim_start_matches(['$', ' '])]);
        for command in code.filter_map(|code| code.strip_prefix("make ")) {
            let target = command.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default();
            if !target.is_empty() && target.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
                named.insert((number + 1, target.to_owned()));
            }
        }
    }
    named
}

fn make_faults(files: &[Text]) -> Vec<String> {
    let makefile = files.iter().find(|file| file.path == "Makefile").map_or("", |file| &file.text);
    let has =
        |target: &str| makefile.lines().any(|line| line.strip_prefix(target).is_some_and(|rest| rest.starts_with(':')));
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path == "README.md" || file.path.starts_with("docs/")) {
        // Prose says "make sure" as well; in documents only code spans and code lines count.
        for (line, target) in make_targets(&file.text) {
            if !has(&target) {
                faults.push(format!("{}:{line}: the Makefile has no target `{target}`", file.path));
            }
        }
    }
    faults
}

#[test]
fn no_file_names_a_package_registry_or_a_folder_of_one_machine() {
    assert_none(&forbidden_faults(&repository_texts()));
}

#[test]
fn a_forbidden_word_is_found_in_names_and_in_texts() {
    for word in forbidden() {
        let text = Text { path: "docs/a.md".into(), text: format!("see\n{word}x") };
        assert_eq!(forbidden_faults(&[text]).len(), 1, "{word}");
        let name = Text { path: format!("docs/x-{word}a.md"), text: String::new() };
        assert_eq!(forbidden_faults(&[name]).len(), 1, "{word}");
    }
    assert_none(&forbidden_faults(&[Text { path: "a.md".into(), text: "network/root/x".into() }]));
}

#[test]
fn links_in_documents_lead_somewhere() {
    assert_none(&link_faults(&repository_texts()));
}

#[test]
fn a_dead_link_is_found() {
    let world = |text: &str| {
        let file = |path: &str, text: &str| Text { path: path.into(), text: text.into() };
        [file("docs/a.md", text), file("docs/b.md", "# Two words: here\n```\n# no heading\n```"), file("src/x.rs", "")]
    };
    for dead in
        ["[x](c.md)", "[x](b.md#nowhere)", "[x](b.md#no-heading)", "[x](../../x.rs)", "[x](#here)", "[x](../src/y.rs)"]
    {
        assert_eq!(link_faults(&world(dead)).len(), 1, "{dead}");
    }
    for alive in [
        "[x](b.md)",
        "[x](b.md#two-words-here)",
        "[x](../src/x.rs)",
        "[x](../src)",
        "[x](https://a.example/y)",
        "```\n[x](c.md)\n```",
    ] {
        assert_none(&link_faults(&world(alive)));
    }
}

#[test]
fn the_makefile_has_every_target_that_the_documents_name() {
    assert_none(&make_faults(&repository_texts()));
}

#[test]
fn a_target_that_the_makefile_lacks_is_found() {
    let world = |text: &str| {
        let file = |path: &str, text: &str| Text { path: path.into(), text: text.into() };
        [file("Makefile", "test: deps\n\tcargo test\n"), file("README.md", text)]
    };
    for bad in ["Run `make tests`.", "$ make demo", "    make all", "```\nmake bench N=1\n```"] {
        assert_eq!(make_faults(&world(bad)).len(), 1, "{bad}");
    }
    for good in ["Run `make test`.", "This should make sense, and you make demo data.", "```\nmake test\n```"] {
        assert_none(&make_faults(&world(good)));
    }
}

fn length_faults(sources: &[Source]) -> Vec<String> {
    let long = |source: &&Source| source.text.lines().count() > LINES_MAX;
    let fault = |source: &Source| format!("src/{} has more than {LINES_MAX} lines: split it by stage", source.path);
    sources.iter().filter(long).map(fault).collect()
}

fn opening_faults(sources: &[Source]) -> Vec<String> {
    let silent = |source: &&Source| !source.text.starts_with("//!");
    sources.iter().filter(silent).map(|source| format!("src/{} does not open with what it is", source.path)).collect()
}

#[test]
fn every_source_file_fits_in_the_head_and_opens_with_what_it_is() {
    let sources = sources();
    let faults: Vec<String> = length_faults(&sources).into_iter().chain(opening_faults(&sources)).collect();
    assert_none(&faults);
}

#[test]
fn a_file_that_is_too_long_or_silent_is_found() {
    assert_eq!(length_faults(&[Source::new("a.rs", &"x\n".repeat(LINES_MAX + 1))]).len(), 1);
    assert_none(&length_faults(&[Source::new("a.rs", &"x\n".repeat(LINES_MAX))]));
    assert_eq!(opening_faults(&[Source::new("a.rs", "use x;")]).len(), 1);
    assert_none(&opening_faults(&[Source::new("a.rs", "//! A.")]));
}
