//! Measures whole commands, all in one run, so that the ratios mean something on any machine; `make measure` runs it.
//!
//! At each size: the floor of a plan (read, parse, COPY the rows out), `argus plan` without changes, the first
//! `argus apply`, a bare COPY of the same rows into the same tables, and `terraform plan` where there is a terraform.
//! And for one number of organizations: plans with and without policies, and what OPA takes for the same documents. And for
//! one number of resources in a Git repository: a plan after a commit of one file. And for one number of resources: sealing
//! and verifying the audit of the first apply. And for one number of events: delivering them to Kafka.
//!
//! `--pushes` measures nothing but how long it is until the controller has applied what was pushed, so many times, with the
//! resources of `--git`.
//!
//! `--cluster` measures nothing but the controller over a cluster of so many organizations, each of 10 children, because it
//! takes half an hour and a real API server, which ARGUS_KUBERNETES names as for the tests.
//!
//! ```text
//! measure [--sizes 1000,10000,100000] [--seed 7] [--runs 3] [--argus PATH] [--work DIR]
//!         [--terraform PROGRAM] [--terraform-max 10000] [--judging 1000] [--git 100000] [--audit 100000]
//!         [--events 200000] [--policies policies] [--opa PROGRAM] [--write docs/performance.md]
//! measure --pushes 200 [--git 100000] [--argus PATH] [--work DIR] [--write docs/performance.md]
//! measure --cluster 10000 [--idle 600] [--argus PATH] [--work DIR] [--write docs/performance.md]
//! ```
//!
//! It starts itself again under `argus db run`, which keeps the private PostgreSQL up meanwhile, so that no figure holds
//! the start of a server; and once more for the floor, because only a process of its own can be measured.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for the terminal")]

#[path = "measure/audit.rs"]
mod audit;
#[path = "measure/cluster.rs"]
mod cluster;
#[path = "measure/controller.rs"]
mod controller;
#[path = "measure/events.rs"]
mod events;
#[path = "measure/floor.rs"]
mod floor;
#[path = "measure/git.rs"]
mod git;
#[path = "measure/judging.rs"]
mod judging;
#[path = "measure/postgres.rs"]
mod postgres;
#[path = "measure/report.rs"]
mod report;
#[path = "measure/support.rs"]
mod support;
#[path = "measure/terraform.rs"]
mod terraform;
#[path = "measure/usage.rs"]
mod usage;
#[allow(dead_code, reason = "the other programs use the rest")]
mod world;

use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use audit::Audit;
use cluster::Cluster;
use controller::Controller;
use events::Events;
use git::Git;
use judging::Judging;
use report::{Figures, Size};
use usage::{Usage, expect, median};

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Options {
    sizes: Vec<usize>,
    seed: u64,
    runs: usize,
    argus: PathBuf,
    work: Option<PathBuf>,
    terraform: String,
    terraform_max: usize,
    judging: usize,
    git: usize,
    audit: usize,
    events: usize,
    pushes: usize,
    cluster: usize,
    idle: u64,
    policies: PathBuf,
    opa: String,
    write: Option<PathBuf>,
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["inner-argus", argus, repo, data, folder, runs] => {
            measure_argus(Path::new(argus), Path::new(repo), Path::new(data), Path::new(folder), runs.parse()?)
        }
        ["inner-floor", repo, ref tables @ ..] => {
            let tables: Vec<String> = tables.iter().map(|table| table.to_string()).collect();
            floor::run(Path::new(repo), &tables).map(|_| ())
        }
        ["inner-load", folder] => measure_load(Path::new(folder)),
        ["inner-judging", argus, data, folder, repo, policies, opa, runs] => {
            let [argus, repo, data, folder, policies] = [argus, repo, data, folder, policies].map(Path::new);
            let figures = Judging { argus, repo, data, folder, policies, opa, runs: runs.parse()? }.measure()?;
            report::write(&folder.join("figures"), &figures)
        }
        ["inner-git", argus, data, folder, repo, runs] => {
            let [argus, repo, data, folder] = [argus, repo, data, folder].map(Path::new);
            let figures = Git { argus, repo, data, folder, runs: runs.parse()? }.measure()?;
            report::write(&folder.join("figures"), &figures)
        }
        ["inner-audit", argus, data, folder, repo, runs] => {
            let [argus, repo, data, folder] = [argus, repo, data, folder].map(Path::new);
            let (figures, rows) = Audit { argus, repo, data, runs: runs.parse()? }.measure()?;
            std::fs::write(folder.join("rows"), rows.to_string())?;
            report::write(&folder.join("figures"), &figures)
        }
        ["inner-events", argus, data, folder, events] => {
            let [argus, data, folder] = [argus, data, folder].map(Path::new);
            let figures = Events { argus, data, folder, events: events.parse()? }.measure()?;
            report::write(&folder.join("figures"), &figures)
        }
        ["inner-controller", argus, data, folder, repo, pushes] => {
            let [argus, data, folder, repo] = [argus, data, folder, repo].map(Path::new);
            let figures = Controller { argus, data, folder, repo, pushes: pushes.parse()? }.measure()?;
            report::write(&folder.join("figures"), &figures)
        }
        ["inner-cluster", argus, data, folder, organizations, idle] => {
            let [argus, data, folder] = [argus, data, folder].map(Path::new);
            let (organizations, idle) = (organizations.parse()?, idle.parse()?);
            let report = Cluster { argus, data, folder, organizations, idle }.measure()?;
            Ok(std::fs::write(folder.join("report.md"), report)?)
        }
        _ => {
            let options = options(words)?;
            match () {
                () if options.cluster > 0 => measure_cluster(&options),
                () if options.pushes > 0 => measure_controller(&options),
                () => measure_all(&options),
            }
        }
    }
}

fn options(words: Vec<String>) -> Outcome<Options> {
    let beside = std::env::current_exe()?;
    let mut options = Options {
        sizes: vec![1_000, 10_000, 100_000],
        seed: 7,
        runs: 3,
        // target/release/examples/measure stands beside target/release/argus.
        argus: beside.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("argus"),
        work: None,
        terraform: "terraform".into(),
        terraform_max: 10_000,
        judging: 1_000,
        git: 100_000,
        audit: 100_000,
        events: 200_000,
        pushes: 0,
        cluster: 0,
        idle: 600,
        policies: "policies".into(),
        opa: "opa".into(),
        write: None,
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--sizes" => options.sizes = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--seed" => options.seed = value.parse()?,
            "--runs" => options.runs = value.parse::<usize>()?.max(1),
            "--argus" => options.argus = value.into(),
            "--work" => options.work = Some(value.into()),
            "--terraform" => options.terraform = value,
            "--terraform-max" => options.terraform_max = value.parse()?,
            "--audit" => options.audit = value.parse()?,
            "--events" => options.events = value.parse()?,
            "--pushes" => options.pushes = value.parse()?,
            "--cluster" => options.cluster = value.parse()?,
            "--idle" => options.idle = value.parse()?,
            "--git" => options.git = value.parse()?,
            "--judging" => options.judging = value.parse()?,
            "--policies" => options.policies = value.into(),
            "--opa" => options.opa = value,
            "--write" => options.write = Some(value.into()),
            _ => return Err(format!("unknown: {word}; the top of src/benches/measure.rs lists the options").into()),
        }
    }
    Ok(options)
}

fn work_folder(options: &Options) -> PathBuf {
    let own = || std::env::temp_dir().join(format!("argus-measure-{}", std::process::id()));
    options.work.clone().unwrap_or_else(own)
}

fn measure_all(options: &Options) -> Outcome<()> {
    let work = work_folder(options);
    let terraform = terraform::version(&options.terraform);
    let mut figures = Vec::new();
    for resources in &options.sizes {
        eprintln!("measuring {resources} resources ...");
        let folder = work.join(resources.to_string());
        if folder.exists() {
            return Err(format!("{} is there already; take an empty --work", folder.display()).into());
        }
        let repo = folder.join("repo");
        let organizations = world::write(&repo, *resources, options.seed)?;
        let mut size = Size::new(organizations * world::RESOURCES_PER_ORGANIZATION);
        measure_size(options, &folder, &repo, &mut size)?;
        if terraform.is_some() && *resources <= options.terraform_max {
            let usage = terraform::plan_without_changes(&options.terraform, &repo, &folder.join("terraform"))?;
            size.figures.insert("terraform".into(), usage);
        }
        figures.push(size);
        // Databases of hundreds of megabytes; a failed run leaves them to look at.
        std::fs::remove_dir_all(&folder)?;
    }
    let mut report = report::markdown(&figures, terraform.as_deref());
    if options.judging > 0 {
        report += &measure_judging(options, &work.join("judging"))?;
    }
    if options.git > 0 {
        report += &measure_git(options, &work.join("git"))?;
    }
    if options.audit > 0 {
        report += &measure_audit(options, &work.join("audit"))?;
    }
    if options.events > 0 {
        report += &measure_events(options, &work.join("events"))?;
    }
    if options.work.is_none() {
        std::fs::remove_dir_all(&work)?;
    }
    println!("{report}");
    if let Some(path) = &options.write {
        report::write_between_marks(path, report::MARKS, &report)?;
    }
    Ok(())
}

/// Runs this program again on a private server that stays up, and takes the figures that it leaves.
fn inner(options: &Options, word: &str, folder: &Path, more: &[&OsStr]) -> Outcome<Figures> {
    let data = folder.join("data");
    expect(0, Command::new(&options.argus).args(["db", "migrate", "--data-dir"]).arg(&data))?;
    under_server(options, &data, word, &[&[options.argus.as_ref(), data.as_ref(), folder.as_ref()], more].concat())?;
    report::read(&folder.join("figures"))
}

/// Runs this program again on the private server of a folder.
fn under_server(options: &Options, data: &Path, word: &str, arguments: &[&OsStr]) -> Outcome<()> {
    let mut run = Command::new(&options.argus);
    run.args(["db", "run", "--data-dir"]).arg(data).arg("--").arg(std::env::current_exe()?).arg(word).args(arguments);
    let status = run.status().map_err(|error| format!("{run:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{run:?}: {status}").into()) }
}

/// Measures what policies add to plans of this many organizations.
fn measure_judging(options: &Options, folder: &Path) -> Outcome<String> {
    eprintln!("judging {} organizations ...", options.judging);
    let (repo, runs) = (folder.join("repo"), options.runs.to_string());
    world::write(&repo, options.judging * world::RESOURCES_PER_ORGANIZATION, options.seed)?;
    let policies = std::path::absolute(&options.policies)?;
    let more: [&OsStr; 4] = [repo.as_ref(), policies.as_ref(), options.opa.as_ref(), runs.as_ref()];
    let figures = inner(options, "inner-judging", folder, &more)?;
    std::fs::remove_dir_all(folder)?;
    Ok(report::judging(options.judging, &figures, judging::opa_version(&options.opa).as_deref()))
}

/// Measures plans of a Git repository with this many resources.
fn measure_git(options: &Options, folder: &Path) -> Outcome<String> {
    eprintln!("reading a repository of {} resources ...", options.git);
    let (repo, runs) = (folder.join("repo"), options.runs.to_string());
    let files = git::write(&repo, options.git, options.seed)?;
    let figures = inner(options, "inner-git", folder, &[repo.as_ref(), runs.as_ref()])?;
    std::fs::remove_dir_all(folder)?;
    Ok(report::git(options.git, files, &figures))
}

/// Measures sealing and verifying what the first apply of so many resources writes into the audit.
fn measure_audit(options: &Options, folder: &Path) -> Outcome<String> {
    eprintln!("sealing and verifying the audit of {} resources ...", options.audit);
    let (repo, runs) = (folder.join("repo"), options.runs.to_string());
    world::write(&repo, options.audit, options.seed)?;
    let figures = inner(options, "inner-audit", folder, &[repo.as_ref(), runs.as_ref()])?;
    let rows: u64 = std::fs::read_to_string(folder.join("rows"))?.parse()?;
    std::fs::remove_dir_all(folder)?;
    Ok(report::audit(rows, &figures))
}

/// Measures delivering so many events.
fn measure_events(options: &Options, folder: &Path) -> Outcome<String> {
    if !events::possible() {
        return Ok("\n\n### Events\n\nThere is no Java here, and no broker of Kafka.\n".into());
    }
    eprintln!("delivering {} events ...", options.events);
    std::fs::create_dir_all(folder)?;
    let figures = inner(options, "inner-events", folder, &[options.events.to_string().as_ref()])?;
    std::fs::remove_dir_all(folder)?;
    Ok(report::events(options.events, &figures))
}

/// Measures the controller with a repository of as many resources as for a plan, and so many pushes.
fn measure_controller(options: &Options) -> Outcome<()> {
    let folder = work_folder(options).join("controller");
    let repo = folder.join("repo");
    let organizations = world::write(&repo, options.git, options.seed)?;
    git::git(&repo, &["init", "-q", "-b", "main"])?;
    git::commit(&repo)?;
    let pushes = options.pushes.min(organizations);
    let figures = inner(options, "inner-controller", &folder, &[repo.as_ref(), pushes.to_string().as_ref()])?;
    tell_apart(options, &folder, report::PUSHES_MARKS, &report::controller(organizations, pushes, &figures))
}

/// Tells what was measured by itself, and writes it between marks of its own.
fn tell_apart(options: &Options, folder: &Path, marks: [&str; 2], report: &str) -> Outcome<()> {
    std::fs::remove_dir_all(folder)?;
    if options.work.is_none() {
        std::fs::remove_dir_all(work_folder(options))?;
    }
    println!("{report}");
    match &options.write {
        Some(path) => report::write_between_marks(path, marks, report),
        None => Ok(()),
    }
}

/// Measures the controller over a cluster of so many organizations.
fn measure_cluster(options: &Options) -> Outcome<()> {
    if cluster::binary().is_none() {
        return Err("ARGUS_KUBERNETES names no API server: `.ci/install e2e` builds one, and says where".into());
    }
    let folder = work_folder(options).join("cluster");
    let data = folder.join("data");
    expect(0, Command::new(&options.argus).args(["db", "migrate", "--data-dir"]).arg(&data))?;
    let (organizations, idle) = (options.cluster.to_string(), options.idle.to_string());
    let arguments: [&OsStr; 5] =
        [options.argus.as_ref(), data.as_ref(), folder.as_ref(), organizations.as_ref(), idle.as_ref()];
    under_server(options, &data, "inner-cluster", &arguments)?;
    let report = std::fs::read_to_string(folder.join("report.md"))?;
    tell_apart(options, &folder, report::CLUSTER_MARKS, &report)
}

/// Measures Argus on one server, and the bare COPY on another that is as fresh as the first was.
fn measure_size(options: &Options, folder: &Path, repo: &Path, size: &mut Size) -> Outcome<()> {
    let data = folder.join("data");
    let runs = options.runs.to_string();
    let arguments: [&OsStr; 5] = [options.argus.as_ref(), repo.as_ref(), data.as_ref(), folder.as_ref(), runs.as_ref()];
    under_server(options, &data, "inner-argus", &arguments)?;
    let fresh = folder.join("data-bare");
    expect(0, Command::new(&options.argus).args(["db", "migrate", "--data-dir"]).arg(&fresh))?;
    under_server(options, &fresh, "inner-load", &[folder.as_ref()])?;
    size.figures.extend(report::read(&folder.join("figures"))?);
    Ok(())
}

fn measure_argus(argus: &Path, repo: &Path, data: &Path, folder: &Path, runs: usize) -> Outcome<()> {
    let mut figures = Figures::new();
    let command = |words: &[&str]| {
        let mut command = Command::new(argus);
        command.env_remove("ARGUS_DATABASE_URL").args(words).arg("--data-dir").arg(data).arg(repo);
        command
    };
    expect(0, Command::new(argus).args(["db", "migrate", "--data-dir"]).arg(data))?;
    figures.insert("apply".into(), with_server(&mut command(&["apply", "--auto-approve"]))?);

    let tables = postgres::tables()?;
    let several = |make: &dyn Fn() -> Command| -> Outcome<Usage> {
        // The first run fills the caches of the system and of the server, for everybody alike.
        expect(0, &mut make())?;
        let runs: Result<Vec<Usage>, _> = (0..runs).map(|_| with_server(&mut make())).collect();
        Ok(median(runs?))
    };
    let measure = std::env::current_exe()?;
    let floor = || {
        let mut floor = Command::new(&measure);
        floor.arg("inner-floor").arg(repo).args(&tables);
        floor
    };
    figures.insert("floor".into(), several(&floor)?);
    figures.insert("plan".into(), several(&|| command(&["plan", "--detailed-exitcode"]))?);
    figures.insert("plan-full".into(), several(&|| command(&["plan", "--full", "--detailed-exitcode"]))?);

    postgres::dump(&tables, &folder.join("rows"))?;
    report::write(&folder.join("figures"), &figures)
}

fn measure_load(folder: &Path) -> Outcome<()> {
    let tables = postgres::tables()?;
    let usage = with_server(&mut postgres::load(&tables, &folder.join("rows"))?)?;
    let mut figures = report::read(&folder.join("figures"))?;
    figures.insert("load".into(), usage);
    report::write(&folder.join("figures"), &figures)
}

fn with_server(command: &mut Command) -> Outcome<Usage> {
    let before = postgres::server_seconds()?;
    let mut usage = expect(0, command)?;
    usage.server_seconds = postgres::server_seconds()? - before;
    Ok(usage)
}
