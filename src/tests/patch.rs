//! Patches that adopt drift: manifests as text, rows that have drifted from what was applied, and what `git apply`
//! makes of the manifests.

mod by_hand;
pub mod property;
mod scenarios;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use argus::diff::{self, Rules};
use argus::model::finding::Finding;
use argus::model::kind::{Kind, KindId};
use argus::model::resource::Spec;
use argus::model::state::{Applied, AppliedRow, Live, LiveRow, LocalId, World};
use argus::model::value::Value;
use argus::plan::{Action, Plan};
use argus::source::directory::{self, Options};
use argus::source::patch;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Manifests in a folder of their own, and the rows of their organizations.
struct Case {
    root: PathBuf,
    applied: BTreeMap<Arc<str>, Applied>,
    live: BTreeMap<Arc<str>, Live>,
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn text_of(root: &Path, file: &str) -> Result<String, String> {
    fs::read_to_string(root.join(file)).map_err(|error| error.to_string())
}

impl Case {
    /// Manifests that have been applied, and nothing has moved since.
    fn applied(files: &[(&str, &str)]) -> Case {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("argus-patch-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a manifest");
        }
        let mut case = Case { root, applied: BTreeMap::new(), live: BTreeMap::new() };
        let world = case.read();
        assert_eq!(world.findings, [], "the manifests of the case are right");
        case.live = world.organizations.iter().map(|(name, desired)| (name.clone(), rows(desired))).collect();
        case.applied = records(&world);
        case
    }

    fn read(&self) -> World {
        directory::read(&self.root, &Options::default())
    }

    fn plan(&self, world: &World) -> Plan {
        let organizations = world.organizations.iter().map(|(name, desired)| {
            let rules = Rules {
                source: "main",
                correct_drift: true,
                now: chrono::DateTime::UNIX_EPOCH,
                tiers: &BTreeMap::new(),
                declared_tiers: &BTreeSet::new(),
                targeted: &|_| true,
            };
            let (live, applied) = (self.live.get(name).cloned().unwrap_or_default(), self.applied.get(name));
            diff::organization(desired, &live, &applied.cloned().unwrap_or_default(), &rules)
        });
        Plan::new("main", (1, 1), organizations.collect(), Vec::new())
    }

    /// `acme/Member/ada@acme.example path = value`, `... gone`, or `... new {"path": value}`.
    fn drift(&mut self, what: &str) {
        let (id, what) = what.split_once(' ').expect("what and how");
        let [organization, kind, name] = id.splitn(3, '/').collect::<Vec<_>>()[..] else { panic!("{id}") };
        let kind = Kind::named(kind).expect("a kind");
        let local: LocalId = (KindId::of(kind), name.into());
        let rows = &mut self.live.get_mut(organization).expect("an organization").rows;
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        if what == "gone" {
            rows.remove(&local).expect("a row");
        } else if let Some(spec) = what.strip_prefix("new ") {
            let spec = whole(kind, &Spec::from_json(kind, &json(spec)));
            assert!(rows.insert(local, LiveRow { version: 9, spec }).is_none(), "{id} is new");
        } else {
            let (path, value) = what.split_once(" = ").expect("an assignment");
            let row = rows.get_mut(&local).expect("a row");
            let changed = (kind.field_at(path).expect("a field"), json(value));
            let old = row.spec.entries().iter().map(|entry| (entry.field, entry.value.clone()));
            row.spec = Spec::from_values(old.chain([changed]).collect::<Vec<_>>());
        }
    }

    /// Adopts the drift with a real `git apply`; gives what was left to do by hand.
    fn adopt(&self) -> Vec<Finding> {
        let world = self.read();
        let adopted = patch::adopt(&|file| text_of(&self.root, file), "", &world, &self.plan(&world));
        if !adopted.patch.is_empty() {
            self.git_apply(&adopted.patch);
        }
        adopted.findings
    }

    fn git_apply(&self, patch: &str) {
        let mut git = Command::new("git");
        git.args(["apply", "--whitespace=nowarn", "-"]).current_dir(&self.root);
        // Whatever repository lies above is none of its business.
        git.env("GIT_CEILING_DIRECTORIES", std::env::temp_dir());
        let mut child = git.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git runs");
        child.stdin.take().expect("a pipe").write_all(patch.as_bytes()).expect("git reads");
        let output = child.wait_with_output().expect("git ends");
        assert!(output.status.success(), "{}\n{patch}", String::from_utf8_lossy(&output.stderr));
    }

    fn text(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.root.join(file)).ok()
    }

    /// What would still be done after the patch was merged and applied: nothing but bookkeeping.
    fn assert_adopted(&self) {
        let world = self.read();
        let errors: Vec<&Finding> = world.findings.iter().filter(|finding| finding.is_error()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let plan = self.plan(&world);
        // A row that was extra becomes managed, and nothing of it is written.
        let writes = |change: &&argus::plan::Change| change.action != Action::Adopt || !change.set.is_empty();
        let changes: Vec<_> = plan.organizations.iter().flat_map(|each| &each.changes).filter(writes).collect();
        assert!(!plan.has_drift() && changes.is_empty(), "{changes:#?}");
    }
}

/// Every stored field: what is said, defaults elsewhere.
fn whole(kind: &'static Kind, said: &Spec) -> Spec {
    Spec::from_values(kind.stored_fields().map(|(number, field)| {
        let said = said.value(number).filter(|value| **value != Value::Null).cloned();
        (number, said.unwrap_or_else(|| field.preset.value()))
    }))
}

fn rows(desired: &argus::model::state::Desired) -> Live {
    let stored = desired.resources.iter().filter(|resource| resource.kind().table.is_some());
    let row = |resource: &argus::model::resource::Resource| {
        let row = LiveRow { version: 7, spec: whole(resource.kind(), &resource.spec) };
        ((resource.id.kind, resource.id.name.clone()), row)
    };
    Live { rows: stored.map(row).collect() }
}

fn records(world: &World) -> BTreeMap<Arc<str>, Applied> {
    let of = |desired: &argus::model::state::Desired| {
        let stored = desired.resources.iter().filter(|resource| resource.kind().table.is_some());
        let rows = stored.map(|resource| {
            let (spec, origin) = (resource.spec.clone(), resource.origin.clone());
            ((resource.id.kind, resource.id.name.clone()), AppliedRow { source: "main".into(), spec, origin })
        });
        Applied { rows: rows.collect() }
    };
    world.organizations.iter().map(|(name, desired)| (name.clone(), of(desired))).collect()
}

const HEAD: &str = "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata:\n  name: acme\nspec:\n";

/// The spec of one organization before, what drifts, and the spec after.
#[track_caller]
fn spec(before: &str, drift: &[&str], after: &str) {
    file(&format!("{HEAD}{before}"), drift, Some(&format!("{HEAD}{after}")));
}

/// A file before, what drifts, and the file after; none when it goes.
#[track_caller]
fn file(before: &str, drift: &[&str], after: Option<&str>) {
    let mut case = Case::applied(&[("acme.yaml", before)]);
    drift.iter().for_each(|drift| case.drift(drift));
    assert_eq!(case.adopt(), []);
    let found = case.text("acme.yaml");
    assert!(
        found.as_deref() == after,
        "expected\n{}\nfound\n{}",
        after.unwrap_or("(no file)"),
        found.unwrap_or_else(|| "(no file)".into())
    );
    if after.is_some() {
        case.assert_adopted();
    }
}
