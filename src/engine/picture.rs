//! Pictures: all that planning for one source reads, as one file, so that somebody can plan who must not reach the
//! database. What the source does not manage stands under a [veil].
//!
//! Left out are approvals, suspensions, rollbacks and who moved what: a plan that is made with a picture is for reading.

pub mod file;
pub mod veil;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use self::veil::{Known, Salt, Veil};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kind::{KINDS, Kind, KindId};
use crate::model::origin::Origin;
use crate::model::resource::Spec;
use crate::model::shape::Field;
use crate::model::state::{Applied, AppliedRow, Live, LiveRow, LocalId, World};
use crate::model::value::Value;
use crate::store::error::StoreError;
use crate::store::planning::{OrganizationState, Pass, Planning};

/// The version of the form.
pub const FORMAT: u32 = 1;

/// What a picture says that it is.
const DOCUMENT: &str = "argus.snapshot";

/// How many organizations are read at a time.
const ORGANIZATIONS_PER_READ: usize = 500;

/// What a picture shows.
#[derive(Clone, Copy, Debug)]
pub struct Showing<'a> {
    /// Fields that are left out altogether, not even a digest of them: `billingEmail`, `Member.displayName`.
    pub without: &'a [String],
    /// Whether rows that the source does not manage show their names.
    pub names: bool,
}

/// All that planning for a source reads.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What it is of.
    pub head: Head,
    /// The organizations of which the source owns something, and what all share.
    organizations: Vec<Pictured>,
    /// Who vouches for it; nobody, where that was not asked for.
    pub signer: Option<String>,
}

/// What a picture is of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    document: String,
    format: u32,
    /// The source.
    pub source: String,
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
    salt: Salt,
    /// The last commit of the source that was applied.
    commit: Option<String>,
    /// Whether the last run of the source was judged by policies.
    policed: bool,
    /// How many values are known by their digest alone.
    pub hidden: u64,
    /// Fields that are left out altogether.
    pub without: Vec<String>,
    /// How many lines follow.
    lines: usize,
    /// The organizations of others, which are not in it.
    others: Vec<Other>,
    /// Which organizations use each tier.
    tiers: BTreeMap<String, Vec<String>>,
}

/// An organization that the source does not own anything of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    name: String,
    version: i64,
    exists: bool,
}

/// One organization.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pictured {
    name: String,
    version: i64,
    exists: bool,
    owner: Option<String>,
    pass: Option<PicturedPass>,
    rows: Vec<PicturedRow>,
    records: Vec<PicturedRecord>,
}

/// What the source said of it when it was last found settled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PicturedPass {
    digest: String,
    version: i64,
    notes: Value,
}

/// A row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PicturedRow {
    kind: KindId,
    name: String,
    version: i64,
    spec: BTreeMap<String, Value>,
}

/// An ownership record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PicturedRecord {
    kind: KindId,
    name: String,
    source: String,
    spec: BTreeMap<String, Value>,
    file: String,
    line: u32,
    column: u32,
}

impl Picture {
    /// Takes a picture of what planning for a source reads.
    pub async fn take(
        planning: &mut Planning,
        source: &str,
        showing: &Showing<'_>,
        random: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Picture, StoreError> {
        let salt = Salt::new(random);
        let mut veil = Veil::new(&salt);
        let states = planning.states(source, None).await?;
        let owned = planning.owned_organizations(source).await?;
        let is_ours = |name: &str| name == GLOBAL || owned.contains(name);
        let others = states.iter().filter(|(name, _)| !is_ours(name));
        let others =
            others.map(|(name, state)| Other { name: veil.name(name), version: state.version, exists: state.exists });
        let mut others: Vec<Other> = others.collect();
        // Not even the order tells what they are called.
        others.sort_by(|a, b| a.name.cmp(&b.name));
        let mut tiers = BTreeMap::new();
        for (tier, users) in planning.tier_users().await? {
            let name = |user: &OrganizationName| if is_ours(user) { veil::shown_text(user) } else { veil.name(user) };
            let mut users: Vec<String> = users.iter().map(name).collect();
            users.sort();
            tiers.insert(veil::shown_text(&tier), users);
        }
        let ours: Vec<OrganizationName> = states.keys().filter(|name| is_ours(name)).cloned().collect();
        let mut organizations = Vec::with_capacity(ours.len());
        for names in ours.chunks(ORGANIZATIONS_PER_READ) {
            let mut live = planning.live(names).await?;
            let mut applied = planning.applied(names).await?;
            for name in names {
                let Some(state) = states.get(name) else { continue };
                let rows = (live.remove(name).unwrap_or_default(), applied.remove(name).unwrap_or_default());
                organizations.push(Pictured::new(name, state, &rows, source, showing, &mut veil));
            }
        }
        let hidden = veil.hidden;
        let head = Head {
            document: DOCUMENT.into(),
            format: FORMAT,
            source: source.to_owned(),
            taken_at: now.trunc_subsecs(0),
            salt,
            commit: planning.baselines(source).await?.whole,
            policed: planning.was_policed(source).await?,
            hidden,
            without: showing.without.to_vec(),
            lines: organizations.len(),
            others,
            tiers,
        };
        Ok(Picture { head, organizations, signer: None })
    }

    /// How many organizations are in it, beside what all share.
    pub fn organizations(&self) -> usize {
        self.organizations.iter().filter(|each| each.name != veil::shown_text(GLOBAL)).count()
    }

    /// The last commit of the source that was applied.
    pub fn last_commit(&self) -> Option<String> {
        self.head.commit.clone()
    }

    /// What is to be known of a plan that is made with it.
    fn note(&self, now: DateTime<Utc>) -> Finding {
        let Head { taken_at, hidden, without, .. } = &self.head;
        let by = match &self.signer {
            Some(signer) => format!("signed by {signer}"),
            None => "which nobody vouches for".to_owned(),
        };
        let left_out = match &without[..] {
            [] => String::new(),
            fields => format!("; {} count as what the manifests said last", fields.join(", ")),
        };
        let taken = taken_at.format("%Y-%m-%dT%H:%M:%SZ");
        let message = format!(
            "planned with a snapshot of {taken}, {} old, {by}: approvals, suspensions, rollbacks and who moved what are \
             not in it; values known by their digest alone: {hidden}{left_out}",
            age(now - *taken_at)
        );
        Finding::note(Code::FromSnapshot, message)
    }
}

/// The field of this path in some kind (`billingEmail`), or in one (`Member.displayName`).
pub fn is_field(path: &str) -> bool {
    KINDS.iter().any(|kind| kind.stored_fields().any(|(_, field)| is_meant(path, kind, field)))
}

fn is_meant(path: &str, kind: &Kind, field: &Field) -> bool {
    let of_kind = path.strip_prefix(kind.name).and_then(|rest| rest.strip_prefix('.'));
    path == field.path || of_kind == Some(field.path)
}

/// What a field that is named holds: null asks for its empty value.
fn asked(field: &Field, named: &Value) -> Value {
    if *named == Value::Null { field.preset.value() } else { named.clone() }
}

/// A length of time in the unit that people would use.
pub fn age(length: TimeDelta) -> String {
    let (count, unit) = match length.num_minutes() {
        ..120 => (length.num_minutes().max(0), "minute"),
        120..2_880 => (length.num_hours(), "hour"),
        _ => (length.num_days(), "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

impl Pictured {
    fn new(
        name: &OrganizationName,
        state: &OrganizationState,
        (live, applied): &(Live, Applied),
        source: &str,
        showing: &Showing<'_>,
        veil: &mut Veil<'_>,
    ) -> Pictured {
        let is_shared = &**name == GLOBAL;
        let own = |id: &LocalId| applied.rows.get(id).filter(|record| *record.source == *source);
        let row_name = |id: &LocalId, veil: &mut Veil<'_>| {
            let is_root = *id.1 == **name;
            match own(id).is_some() || is_shared || is_root || showing.names {
                true => veil::shown_text(&id.1),
                false => veil.name(&id.1),
            }
        };
        let mut rows = Vec::with_capacity(live.rows.len());
        for (id, row) in &live.rows {
            let record = own(id);
            let spec = row.spec.entries().iter().map(|entry| {
                let field = &id.0.get().fields[entry.field as usize];
                let named = record.and_then(|record| record.spec.value(entry.field));
                let left_out = showing.without.iter().any(|path| is_meant(path, id.0.get(), field));
                let value = match named {
                    Some(named) if left_out => veil.shown(&asked(field, named)),
                    None if left_out => veil.shown(&field.preset.value()),
                    Some(named) if field.shape.is_map() => veil.map(&entry.value, named),
                    Some(_) => veil.shown(&entry.value),
                    // The catalogue of tiers is what everybody is judged by.
                    None if is_shared => veil.shown(&entry.value),
                    None => veil.unnamed(&field.shape, &entry.value),
                };
                (field.path.to_owned(), value)
            });
            let spec = spec.collect();
            rows.push(PicturedRow { kind: id.0, name: row_name(id, veil), version: row.version, spec });
        }
        rows.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let mut records = Vec::with_capacity(applied.rows.len());
        for (id, record) in &applied.rows {
            let ours = own(id).is_some();
            let is_told = |field: &Field| ours || !showing.without.iter().any(|path| is_meant(path, id.0.get(), field));
            let spec = record.spec.entries().iter().filter_map(|entry| {
                let field = &id.0.get().fields[entry.field as usize];
                let value = if ours { veil.shown(&entry.value) } else { veil.unnamed(&field.shape, &entry.value) };
                is_told(field).then(|| (field.path.to_owned(), value))
            });
            let spec = spec.collect();
            let Origin { file, line, column } = &record.origin;
            records.push(PicturedRecord {
                kind: id.0,
                name: row_name(id, veil),
                source: record.source.to_string(),
                spec,
                file: if ours { veil::shown_text(file) } else { veil.name(file) },
                line: if ours { *line } else { 0 },
                column: if ours { *column } else { 0 },
            });
        }
        records.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let pass = state.pass.as_ref().map(|pass| PicturedPass {
            digest: pass.digest.clone(),
            version: pass.version,
            notes: pass.notes.clone(),
        });
        Pictured {
            name: veil::shown_text(name),
            version: state.version,
            exists: state.exists,
            owner: state.owner.as_ref().map(ToString::to_string),
            pass,
            rows,
            records,
        }
    }
}

/// A picture as somebody sees it who has these manifests.
#[derive(Debug)]
pub struct Seen {
    states: BTreeMap<OrganizationName, OrganizationState>,
    live: BTreeMap<OrganizationName, Live>,
    applied: BTreeMap<OrganizationName, Applied>,
    tiers: BTreeMap<Arc<str>, Vec<OrganizationName>>,
    /// Organizations that are described, and exist, and are not in it.
    beyond: BTreeSet<OrganizationName>,
    policed: bool,
    note: Finding,
}

impl Seen {
    /// What these manifests let one see.
    pub fn new(picture: &Picture, world: &World, now: DateTime<Utc>) -> Seen {
        let Picture { head, organizations, signer: _ } = picture;
        let known = Known::of(world, &head.salt);
        let mut texts = HashSet::new();
        let mut shared = |text: Arc<str>| match texts.get(&text) {
            Some(known) => Arc::clone(known),
            None => {
                texts.insert(text.clone());
                text
            }
        };
        let mut seen = Seen {
            states: BTreeMap::new(),
            live: BTreeMap::new(),
            applied: BTreeMap::new(),
            tiers: BTreeMap::new(),
            beyond: BTreeSet::new(),
            policed: head.policed,
            note: picture.note(now),
        };
        for Other { name, version, exists } in &head.others {
            let name = known.text(name);
            let state = OrganizationState { version: *version, exists: *exists, pass: None, owner: None };
            if *exists && world.organizations.contains_key(&name) {
                seen.beyond.insert(name.clone());
            }
            seen.states.insert(name, state);
        }
        let source: Arc<str> = head.source.as_str().into();
        for Pictured { name, version, exists, owner, pass, rows, records } in organizations {
            let name = known.text(name);
            let pass = pass.as_ref().map(|PicturedPass { digest, version, notes }| Pass {
                source: source.clone(),
                digest: digest.clone(),
                version: *version,
                notes: notes.clone(),
            });
            let owner = owner.as_deref().map(|owner| shared(owner.into()));
            seen.states.insert(name.clone(), OrganizationState { version: *version, exists: *exists, pass, owner });
            let spec = |kind: KindId, spec: &BTreeMap<String, Value>| {
                let field = |(path, value): (&String, &Value)| {
                    let at = kind.get().field_at(path)?;
                    Some((at, known.value(&kind.get().fields[at as usize].shape, value)))
                };
                Spec::from_values(spec.iter().filter_map(field))
            };
            let rows = rows.iter().map(|row| {
                ((row.kind, known.text(&row.name)), LiveRow { version: row.version, spec: spec(row.kind, &row.spec) })
            });
            let rows = rows.collect();
            let mut owned = BTreeMap::new();
            for record in records {
                let origin =
                    Origin { file: shared(known.text(&record.file)), line: record.line, column: record.column };
                let source = shared(record.source.as_str().into());
                let row = AppliedRow { source, spec: spec(record.kind, &record.spec), origin };
                owned.insert((record.kind, known.text(&record.name)), row);
            }
            seen.live.insert(name.clone(), Live { rows });
            seen.applied.insert(name, Applied { rows: owned });
        }
        for (tier, users) in &head.tiers {
            let mut users: Vec<OrganizationName> = users.iter().map(|user| known.text(user)).collect();
            users.sort();
            seen.tiers.insert(known.text(tier), users);
        }
        seen
    }

    /// Every organization, with the last pass of the source.
    pub fn states(&self) -> BTreeMap<OrganizationName, OrganizationState> {
        self.states.clone()
    }

    /// The rows of some organizations; each of them has an entry.
    pub fn live(&self, organizations: &[OrganizationName]) -> BTreeMap<OrganizationName, Live> {
        let of = |name: &OrganizationName| (name.clone(), self.live.get(name).cloned().unwrap_or_default());
        organizations.iter().map(of).collect()
    }

    /// The ownership records of some organizations; each of them has an entry.
    pub fn applied(&self, organizations: &[OrganizationName]) -> BTreeMap<OrganizationName, Applied> {
        let of = |name: &OrganizationName| (name.clone(), self.applied.get(name).cloned().unwrap_or_default());
        organizations.iter().map(of).collect()
    }

    /// The organizations of which these files, or files below these directories, described something.
    pub fn organizations_of_files(&self, source: &str, files: &[Arc<str>]) -> BTreeSet<OrganizationName> {
        let below = |file: &str, path: &str| {
            path == "." || file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let stood = |row: &AppliedRow| *row.source == *source && files.iter().any(|path| below(&row.origin.file, path));
        let of = self.applied.iter().filter(|(_, applied)| applied.rows.values().any(stood));
        of.map(|(name, _)| name.clone()).collect()
    }

    /// The organizations of each tier that has any.
    pub fn tier_users(&self) -> BTreeMap<Arc<str>, Vec<OrganizationName>> {
        self.tiers.clone()
    }

    /// Whether the last run of the source was judged by policies.
    pub fn was_policed(&self) -> bool {
        self.policed
    }

    /// Whether the rows of an organization are in it.
    pub fn holds(&self, organization: &str) -> bool {
        self.live.contains_key(organization)
    }

    /// The organizations that are described, and exist, and are not in it: nobody can say what would happen to them.
    pub fn beyond(&self) -> &BTreeSet<OrganizationName> {
        &self.beyond
    }

    /// What is to be known of a plan that is made with it.
    pub fn findings(&self) -> Vec<Finding> {
        let beyond = self.beyond.iter().map(|name| {
            let message = format!("`{name}` exists, and the source owns nothing of it: it is not in the snapshot");
            let hint = "plan with the database to see what would happen to it, or give it another name";
            Finding::error(Code::BeyondSnapshot, message).about(name).hint(hint)
        });
        std::iter::once(self.note.clone()).chain(beyond).collect()
    }
}
