//! The figures: handed from process to process as lines, and written as Markdown.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use super::usage::Usage;

/// The cost of each thing that was measured, by its name.
pub type Figures = BTreeMap<String, Usage>;

/// What was measured at one size.
pub struct Size {
    /// How many resources there are.
    pub resources: usize,
    /// What things cost.
    pub figures: Figures,
}

impl Size {
    /// Nothing measured yet.
    pub fn new(resources: usize) -> Size {
        Size { resources, figures: Figures::new() }
    }
}

/// Writes figures for another process.
pub fn write(path: &Path, figures: &Figures) -> Result<(), Box<dyn Error>> {
    let line = |(name, usage): (&String, &Usage)| {
        let Usage { cpu_seconds, wall_seconds, rss_kib, server_seconds } = usage;
        format!("{name} {cpu_seconds} {wall_seconds} {rss_kib} {server_seconds}\n")
    };
    Ok(std::fs::write(path, figures.iter().map(line).collect::<String>())?)
}

/// Reads what [`write`] wrote.
pub fn read(path: &Path) -> Result<Figures, Box<dyn Error>> {
    let mut figures = Figures::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, cpu, wall, rss, server] = words[..] else { return Err(format!("no figures: {line}").into()) };
        let usage = Usage {
            cpu_seconds: cpu.parse()?,
            wall_seconds: wall.parse()?,
            rss_kib: rss.parse()?,
            server_seconds: server.parse()?,
        };
        figures.insert(name.into(), usage);
    }
    Ok(figures)
}

/// The tables of docs/performance.md.
pub fn markdown(sizes: &[Size], terraform: Option<&str>) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "Measured on {} with {}.\n", machine(), postgres());
    plans(&mut out, sizes);
    applies(&mut out, sizes);
    if let Some(version) = terraform {
        beside_terraform(&mut out, sizes, version);
    }
    out.trim_end().to_owned()
}

fn plans(out: &mut String, sizes: &[Size]) {
    out.push_str("### A plan without changes\n\n");
    out.push_str("| resources | what | CPU s | server CPU s | wall s | peak MiB | CPU / floor | all CPU / floor | wall / floor |\n");
    out.push_str("|---:|---|---:|---:|---:|---:|---:|---:|---:|\n");
    let all = |usage: &Usage| usage.cpu_seconds + usage.server_seconds;
    for size in sizes {
        let Some(floor) = size.figures.get("floor") else { continue };
        for (name, about) in [("floor", "floor"), ("plan", "`argus plan`"), ("plan-full", "`argus plan --full`")] {
            let Some(usage) = size.figures.get(name) else { continue };
            let _ = writeln!(
                out,
                "| {} | {about} | {:.3} | {:.2} | {:.3} | {:.1} | {:.2} | {:.2} | {:.2} |",
                size.resources,
                usage.cpu_seconds,
                usage.server_seconds,
                usage.wall_seconds,
                usage.rss_kib as f64 / 1024.0,
                usage.cpu_seconds / floor.cpu_seconds,
                all(usage) / all(floor),
                usage.wall_seconds / floor.wall_seconds,
            );
        }
    }
    // What grows with the resources is what they cost; what the smallest size needs anyway is the fixed part.
    if let [first, .., last] = sizes {
        for (name, about) in [("plan", "argus plan"), ("plan-full", "argus plan --full")] {
            if let (Some(small), Some(large)) = (first.figures.get(name), last.figures.get(name)) {
                let grown = large.rss_kib as f64 - small.rss_kib as f64;
                let more = (last.resources - first.resources) as f64;
                let _ = writeln!(
                    out,
                    "\n`{about}`: {:.2} KiB of memory for each resource beyond the first {}.",
                    grown / more,
                    first.resources
                );
            }
        }
    }
    out.push('\n');
}

fn applies(out: &mut String, sizes: &[Size]) {
    out.push_str("### The first apply\n\n");
    out.push_str("| resources | what | CPU s | server CPU s | wall s | peak MiB | all CPU / COPY | wall / COPY |\n");
    out.push_str("|---:|---|---:|---:|---:|---:|---:|---:|\n");
    let all = |usage: &Usage| usage.cpu_seconds + usage.server_seconds;
    for size in sizes {
        let Some(load) = size.figures.get("load") else { continue };
        for (name, about) in [("load", "bare COPY, triggers on"), ("apply", "`argus apply`")] {
            let Some(usage) = size.figures.get(name) else { continue };
            let _ = writeln!(
                out,
                "| {} | {about} | {:.2} | {:.2} | {:.2} | {:.1} | {:.2} | {:.2} |",
                size.resources,
                usage.cpu_seconds,
                usage.server_seconds,
                usage.wall_seconds,
                usage.rss_kib as f64 / 1024.0,
                all(usage) / all(load),
                usage.wall_seconds / load.wall_seconds,
            );
        }
    }
    out.push('\n');
}

fn beside_terraform(out: &mut String, sizes: &[Size], version: &str) {
    let _ = writeln!(out, "### Beside {version}, a plan without changes\n");
    out.push_str("| resources | terraform CPU s | argus CPU s | times less | terraform MiB | argus MiB |\n");
    out.push_str("|---:|---:|---:|---:|---:|---:|\n");
    for size in sizes {
        // The full read is the fair one: Terraform refreshes everything as well.
        let (Some(theirs), Some(ours)) = (size.figures.get("terraform"), size.figures.get("plan-full")) else {
            continue;
        };
        let _ = writeln!(
            out,
            "| {} | {:.2} | {:.3} | {:.0} | {:.0} | {:.1} |",
            size.resources,
            theirs.cpu_seconds,
            ours.cpu_seconds,
            theirs.cpu_seconds / ours.cpu_seconds,
            theirs.rss_kib as f64 / 1024.0,
            ours.rss_kib as f64 / 1024.0,
        );
    }
}

/// What policies add to plans of so many organizations, and what OPA takes for the same documents.
pub fn judging(organizations: usize, figures: &Figures, opa: Option<&str>) -> String {
    let mut out = format!("\n\n### Judging {organizations} organizations of 100 resources\n\n");
    out.push_str(
        "| plan | without policies: all CPU s | with: all CPU s | judging / planning | wall / wall | peak MiB |\n",
    );
    out.push_str("|---|---:|---:|---:|---:|---:|\n");
    let all = |usage: &Usage| usage.cpu_seconds + usage.server_seconds;
    for (name, about) in [("touched", "one change in each"), ("new", "each of them new, all 100 resources")] {
        let (Some(plain), Some(judged)) = (figures.get(name), figures.get(&format!("{name}-judged"))) else { continue };
        let _ = writeln!(
            out,
            "| {about} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} |",
            all(plain),
            all(judged),
            all(judged) / all(plain) - 1.0,
            judged.wall_seconds / plain.wall_seconds,
            judged.rss_kib as f64 / 1024.0,
        );
    }
    if let (Some(version), Some(opa), Some(plain), Some(judged)) =
        (opa, figures.get("opa"), figures.get("touched"), figures.get("touched-judged"))
    {
        let asked = organizations.min(super::judging::OPA_ORGANIZATIONS_MAX);
        let ours = (judged.cpu_seconds - plain.cpu_seconds) / organizations as f64;
        let theirs = opa.cpu_seconds / asked as f64;
        let _ = writeln!(
            out,
            "\nOPA {version} takes {:.2} ms of processor time for each organization of the first row ({asked} of them in \
             one process, their documents read from a file); Argus adds {:.2} ms to its plan for each, in which making \
             the documents and the worker processes are counted: {:.1} times less.",
            theirs * 1e3,
            ours * 1e3,
            theirs / ours,
        );
    }
    out
}

/// Plans of a Git repository, after a commit of one file.
pub fn git(resources: usize, files: usize, figures: &Figures) -> String {
    let mut out = format!("\n\n### A Git repository of {resources} resources in {files} files\n\n");
    out.push_str("| plan | CPU s | server CPU s | wall s | peak MiB | CPU / cold | all CPU / cold |\n");
    out.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    let Some(cold) = figures.get("git-cold") else { return out };
    let all = |usage: &Usage| usage.cpu_seconds + usage.server_seconds;
    for (name, about) in [
        ("git-cold", "after a commit of one file, nothing in the cache"),
        ("git-warm", "after a commit of one file, all before it in the cache"),
        ("git-unchanged", "the same commit again"),
    ] {
        let Some(usage) = figures.get(name) else { continue };
        let _ = writeln!(
            out,
            "| {about} | {:.3} | {:.2} | {:.3} | {:.1} | {:.3} | {:.3} |",
            usage.cpu_seconds,
            usage.server_seconds,
            usage.wall_seconds,
            usage.rss_kib as f64 / 1024.0,
            usage.cpu_seconds / cold.cpu_seconds,
            all(usage) / all(cold),
        );
    }
    out
}

/// Sealing and verifying so many rows of the audit, beside the apply that wrote them.
pub fn audit(rows: u64, figures: &Figures) -> String {
    let mut out = format!("\n\n### The audit: {rows} rows\n\n");
    out.push_str("| what | rows / s | CPU s | server CPU s | wall s | peak MiB | wall / apply |\n");
    out.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    let Some(apply) = figures.get("apply") else { return out };
    for (name, about) in [
        ("apply", "the first `argus apply`, which seals at its end"),
        ("seal", "`argus audit seal` of all of it"),
        ("verify", "`argus audit verify`"),
    ] {
        let Some(usage) = figures.get(name) else { continue };
        let _ = writeln!(
            out,
            "| {about} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {:.2} |",
            rows as f64 / usage.wall_seconds,
            usage.cpu_seconds,
            usage.server_seconds,
            usage.wall_seconds,
            usage.rss_kib as f64 / 1024.0,
            usage.wall_seconds / apply.wall_seconds,
        );
    }
    out
}

/// Delivering so many events, beside the least that reading them and the least that sending them can take.
pub fn events(events: usize, figures: &Figures) -> String {
    let mut out = format!("\n\n### Delivering {events} events\n\n");
    out.push_str("| what | events / s | CPU s | server CPU s | wall s | peak MiB | wall / relay |\n");
    out.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    let Some(relay) = figures.get("relay") else { return out };
    for (name, about) in [
        ("relay", "`argus relay --once`, to one broker"),
        ("producer", "`kafka-producer-perf-test`, records of the same size, by its own clock"),
        ("copy", "a bare COPY of the rows"),
    ] {
        let Some(usage) = figures.get(name) else { continue };
        let rate = events as f64 / usage.wall_seconds;
        let ratio = usage.wall_seconds / relay.wall_seconds;
        let _ = if usage.rss_kib == 0 {
            writeln!(out, "| {about} | {rate:.0} | | | {:.2} | | {ratio:.2} |", usage.wall_seconds)
        } else {
            writeln!(
                out,
                "| {about} | {rate:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {ratio:.2} |",
                usage.cpu_seconds,
                usage.server_seconds,
                usage.wall_seconds,
                usage.rss_kib as f64 / 1024.0,
            )
        };
    }
    out
}

/// The machine, in words.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).and_then(|line| line.split_once(": "));
    format!("{cores} cores of {}", model.map_or("an unknown model", |(_, name)| name))
}

/// The database, in words.
pub fn postgres() -> String {
    let output = std::process::Command::new("psql").arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = said.split_whitespace().nth(2).unwrap_or("of an unknown version");
    format!("PostgreSQL {version}")
}

/// The marks between which a document holds what `make measure` writes, and those for what is measured by itself.
pub const MARKS: [&str; 2] = ["<!-- figures: written by `make measure` -->", "<!-- end of figures -->"];
pub const PUSHES_MARKS: [&str; 2] = ["<!-- pushes: written by `measure --pushes 200` -->", "<!-- end of pushes -->"];
pub const CLUSTER_MARKS: [&str; 2] =
    ["<!-- a cluster: written by `measure --cluster 10000` -->", "<!-- end of a cluster -->"];

/// Puts the report between two marks of a document.
pub fn write_between_marks(path: &Path, [start, end]: [&str; 2], report: &str) -> Result<(), Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let (Some(from), Some(to)) = (text.find(start), text.find(end)) else {
        return Err(format!("{} has no place for the figures", path.display()).into());
    };
    let written = format!("{}{start}\n\n{}\n\n{}", &text[..from], report.trim(), &text[to..]);
    Ok(std::fs::write(path, written)?)
}

/// The controller with so many organizations and pushes.
pub fn controller(organizations: usize, pushes: usize, figures: &Figures) -> String {
    let mut out = format!("With {organizations} organizations, on {}:\n\n", machine());
    out.push_str("| what | wall s | CPU s | server CPU s | peak MiB |\n|---|---:|---:|---:|---:|\n");
    for (key, name) in [
        ("controller-first", "from nothing until everything is applied and noted"),
        ("controller-idle", "a minute in which nothing happens"),
    ] {
        let Some(Usage { cpu_seconds, wall_seconds, rss_kib, server_seconds }) = figures.get(key) else { continue };
        let mib = *rss_kib as f64 / 1024.0;
        let _ = writeln!(out, "| {name} | {wall_seconds:.1} | {cpu_seconds:.2} | {server_seconds:.2} | {mib:.0} |");
    }
    let _ = write!(out, "\n{pushes} pushes of a change to one organization, each with its hook:\n\n");
    out.push_str("| what | median ms | p99 ms |\n|---|---:|---:|\n");
    let ms = |key: &str| figures.get(key).map(|usage| usage.wall_seconds * 1000.0).unwrap_or_default();
    for (key, name) in [
        ("push", "`git push` alone, to a repository on the same machine"),
        ("applied", "from the beginning of `git push` until the rows are written and what came of it is noted"),
    ] {
        let (median, p99) = (ms(&format!("{key}-median")), ms(&format!("{key}-p99")));
        let _ = writeln!(out, "| {name} | {median:.0} | {p99:.0} |");
    }
    out
}
