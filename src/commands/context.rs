//! What commands share: the settings of the machine, the manifests, the database, and how a command fails.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

use super::place::Place;
use crate::cli::{Color, Global, LogFormat, Manifests, Planning};
use crate::digest;
use crate::exit_code::ExitCode;
use crate::identity::Approvers;
use crate::metrics::Metrics;
use crate::model::code::Code;
use crate::model::finding::{Finding, in_order};
use crate::model::revision::Revision;
use crate::model::state::{Unread, World};
use crate::render::excerpt::{self, Excerpts};
use crate::render::text::Paint;
use crate::sandbox::Limits;
use crate::settings::controller::ControllerSettings;
use crate::settings::telemetry::TelemetrySettings;
use crate::settings::{AuditSettings, Machine, Source};
use crate::sink::SinkSettings;
use crate::sink::courier::NotificationSettings;
use crate::source::cluster::bound::Bound;
use crate::source::cluster::settings::ClusterSettings;
use crate::source::git::index::IsSettled;
use crate::source::git::settings::{GitSettings, Verify};
use crate::store::error::StoreError;
use crate::store::private::PrivateServer;
use crate::store::run::RunId;
use crate::store::url::DatabaseUrl;
use crate::store::{Store, migrate};
use crate::telemetry::logs;
use crate::trace;
use crate::verdict::Terms;

/// How many connections are used when nobody says so: enough to keep two cores and a disk busy.
const CONNECTIONS: u32 = 8;

/// How a command ends.
pub type Done = Result<ExitCode, Failure>;

/// Why a command cannot go on.
#[derive(Debug)]
pub struct Failure {
    /// What to tell.
    pub findings: Vec<Finding>,
    /// How the process ends.
    pub code: ExitCode,
    /// The lines that it points at.
    pub excerpts: Excerpts,
    /// The commit that is to blame for it, if one is.
    pub commit: Option<String>,
}

impl From<Finding> for Failure {
    fn from(finding: Finding) -> Self {
        let code = if finding.code == Code::Locked { ExitCode::Locked } else { ExitCode::Failed };
        Failure { findings: vec![finding], code, excerpts: Excerpts::default(), commit: None }
    }
}

impl From<Box<Finding>> for Failure {
    fn from(finding: Box<Finding>) -> Self {
        Failure::from(*finding)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::from(error.finding())
    }
}

impl Failure {
    /// Prints what went wrong to standard error.
    pub fn tell(self, context: &Context) -> ExitCode {
        context.complain(&self.findings, &self.excerpts);
        self.code
    }

    /// The same, while not even the settings are known.
    pub fn tell_without_context(self, format: LogFormat) -> ExitCode {
        let findings = in_order(self.findings);
        let text = match format {
            LogFormat::Text => excerpt::draw(&findings, &Excerpts::default(), false),
            LogFormat::Json => findings.iter().map(logs::finding).collect(),
        };
        let _ = std::io::stderr().write_all(text.as_bytes());
        self.code
    }

    /// What several findings say.
    pub fn from_findings(findings: Vec<Finding>) -> Self {
        Failure { findings, code: ExitCode::Failed, excerpts: Excerpts::default(), commit: None }
    }

    /// The same failure once more, without the lines that it points at.
    pub fn again(&self) -> Failure {
        Failure::from_findings(self.findings.clone())
    }

    /// The same failure with the lines that it points at.
    pub fn with_excerpts(self, excerpts: Excerpts) -> Self {
        Failure { excerpts, ..self }
    }

    /// The same failure with another exit code.
    pub fn with_code(self, code: ExitCode) -> Self {
        Failure { code, ..self }
    }

    /// The same, for which a commit is to blame.
    pub fn of_commit(self, commit: Option<&str>) -> Failure {
        Failure { commit: commit.map(str::to_owned), ..self }
    }
}

/// What commands share.
pub struct Context {
    /// The options of the command line.
    pub global: Global,
    machine: Machine,
    metrics: Arc<Metrics>,
    /// How the run has ended, once it has.
    pub outcome: OnceLock<&'static str>,
    /// The name of the source at hand, once it is known.
    source: OnceLock<String>,
    /// What the source at hand may describe, where a namespace of a cluster names its repository.
    bound: Option<Arc<Bound>>,
}

/// The manifests of a source, read and checked.
pub struct Reading {
    /// What they say.
    pub world: World,
    /// The settings of the source.
    pub settings: Source,
    /// Where they are.
    pub place: Rc<Place>,
}

/// Randomness from the system.
pub struct Random(std::fs::File);

impl Random {
    /// 256 random bits.
    pub fn draw(&mut self) -> [u8; 32] {
        use std::io::Read as _;
        let mut bytes = [0; 32];
        // A token made of anything else would be guessable: better to stop here than to go on without.
        self.0.read_exact(&mut bytes).expect("the system gives random bytes");
        bytes
    }
}

impl Drop for Reading {
    /// The process is about to end: giving back a hundred thousand resources one by one would be work for nothing.
    fn drop(&mut self) {
        std::mem::forget(std::mem::take(&mut self.world));
    }
}

/// A database, with the private server that it may stand on.
pub struct Database {
    /// The store.
    pub store: Store,
    /// Kept until the command ends; the last to leave stops the server.
    server: Option<PrivateServer>,
}

impl Database {
    /// The private server, if it stands on one.
    pub fn server(&self) -> Option<&PrivateServer> {
        self.server.as_ref()
    }
}

impl Drop for Database {
    /// Hangs up before the server stops, which would otherwise cut connections that are still in use.
    fn drop(&mut self) {
        if self.server.is_some() {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.store.close()));
        }
    }
}

impl Context {
    /// Reads the settings of the machine.
    pub fn new(global: Global) -> Result<Context, (Failure, LogFormat)> {
        let machine = global.config.as_deref().map(Machine::read).transpose();
        let machine = machine.map_err(|why| (Failure::from(why), global.log_format.unwrap_or_default()))?;
        Ok(Context {
            global,
            machine: machine.unwrap_or_default(),
            outcome: OnceLock::new(),
            metrics: Arc::new(Metrics::new()),
            source: OnceLock::new(),
            bound: None,
        })
    }

    /// The same, for a source whose repository is this one and whose name is known.
    pub fn of_source(&self, name: &str, git: &GitSettings) -> Context {
        let git = GitSettings { source: Some(name.to_owned()), ..git.clone() };
        Context {
            global: self.global.clone(),
            machine: Machine { git, ..self.machine.clone() },
            metrics: self.metrics.clone(),
            outcome: OnceLock::new(),
            source: OnceLock::new(),
            bound: None,
        }
    }

    /// The same, for a source that may describe no more than this.
    pub fn bound_to(self, bound: Bound) -> Context {
        Context { bound: Some(Arc::new(bound)), ..self }
    }

    /// What the source at hand may describe, where that is not left to the machine's own settings.
    pub fn bound(&self) -> Option<&Bound> {
        self.bound.as_deref()
    }

    /// What the controller of this machine looks at.
    pub fn controller(&self) -> &ControllerSettings {
        &self.machine.controller
    }

    /// The cluster whose custom resources are followed, if there is one.
    pub fn kubernetes(&self) -> Option<&ClusterSettings> {
        self.machine.kubernetes.as_ref()
    }

    /// How a line on standard error looks.
    pub fn log_format(&self) -> LogFormat {
        self.global.log_format.or(self.machine.telemetry.logs).unwrap_or_default()
    }

    /// What is measured.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What is told of the work itself, by the settings of this machine.
    pub fn telemetry(&self) -> &TelemetrySettings {
        &self.machine.telemetry
    }

    /// The present moment; everything below the commands gets it as a value.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    /// The id of a new run: when it began, and enough randomness that no two are the same.
    pub fn new_run(&self) -> Result<RunId, Failure> {
        let run = self.one_of_many_runs()?;
        trace::begin_run(run.as_str());
        Ok(run)
    }

    /// The same, for a process that has many.
    pub fn one_of_many_runs(&self) -> Result<RunId, Failure> {
        let random = self.random()?.draw();
        let tail: String = random.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Ok(RunId::new(format!("{}-{tail}", self.now().format("%Y%m%dT%H%M%SZ"))))
    }

    /// The system's source of randomness.
    pub fn random(&self) -> Result<Random, Failure> {
        let source = std::fs::File::open("/dev/urandom");
        source.map(Random).map_err(|error| {
            Failure::from(Finding::error(Code::Unreadable, format!("the system gives no randomness: {error}")))
        })
    }

    /// How standard output is painted.
    pub fn paint(&self) -> Paint {
        Paint { color: self.colored(std::io::stdout().is_terminal()) }
    }

    fn colored(&self, terminal: bool) -> bool {
        match self.global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// Who acts, as far as this machine knows: the audit keeps it beside the database role.
    pub fn actor(&self) -> String {
        let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        named("ARGUS_ACTOR").or_else(|| named("USER")).or_else(|| named("LOGNAME")).unwrap_or_else(|| "argus".into())
    }

    /// Whoever acts, and whoever wrote the commit, by every name that is known here, in lower case: none of them approves
    /// what they did.
    pub fn authors(&self, revision: Option<&Revision>) -> BTreeSet<String> {
        let people = revision.into_iter().flat_map(|revision| revision.commit.people());
        people.chain([self.actor().to_lowercase()]).collect()
    }

    /// Who may approve, by the settings of this machine.
    pub fn approvers(&self) -> &Approvers {
        &self.machine.approvers
    }

    /// What signs the audit, by the settings of this machine.
    pub fn audit(&self) -> &AuditSettings {
        &self.machine.audit
    }

    /// Draws findings to standard error.
    pub fn complain(&self, findings: &[Finding], excerpts: &Excerpts) {
        let text = match self.log_format() {
            LogFormat::Text => excerpt::draw(findings, excerpts, self.colored(std::io::stderr().is_terminal())),
            LogFormat::Json => findings.iter().map(logs::finding).collect(),
        };
        // Where even standard error is closed, the exit code has to say it all.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Reads and checks the manifests.
    pub fn read(&self, manifests: &Manifests) -> Result<Reading, Failure> {
        let place = Place::new(self, manifests)?;
        let settings = self.source_settings(&place, manifests)?;
        self.read_at(place, settings, None)
    }

    /// The place of manifests by which something is judged or applied. Where the machine asks for signatures, it is no
    /// directory: what stands there nobody has signed.
    pub fn vouched_place(&self, manifests: &Manifests) -> Result<Place, Failure> {
        let place = Place::new(self, manifests)?;
        if place.checkout().is_none() {
            self.refuse_unsigned("a directory has none", "`--ref HEAD` reads the commit instead")?;
        }
        Ok(place)
    }

    /// Refuses what nobody has signed, if the machine asks for signatures.
    pub fn refuse_unsigned(&self, why: &str, hint: &str) -> Result<(), Failure> {
        if self.git().verify == Verify::None {
            return Ok(());
        }
        let message = format!("the settings of the machine ask for signatures, and {why}");
        Err(Failure::from(Finding::error(Code::NothingSigned, message).hint(hint)))
    }

    /// Says that nobody knows who wrote what no commit tells of, where people are named who approve: they may have
    /// written it themselves.
    pub fn tell_of_unknown_authors(&self, said: &mut Vec<Finding>) {
        if self.approvers().is_empty() {
            return;
        }
        let message = "who wrote these manifests is not known, so that somebody may approve what is their own";
        let finding = Finding::warning(Code::UnknownAuthors, message)
            .hint("`--ref HEAD` reads the commit instead, which names its authors");
        self.complain(std::slice::from_ref(&finding), &Excerpts::default());
        said.push(finding);
    }

    /// Reads and checks the manifests of a place.
    pub fn read_at(&self, place: Place, settings: Source, settled: Option<IsSettled<'_>>) -> Result<Reading, Failure> {
        let mut world = place.world(&settings, settled, self.now())?;
        if let Some(bound) = &self.bound {
            bound.restrict(&mut world);
        }
        world.findings = in_order(std::mem::take(&mut world.findings));
        Ok(Reading { world, settings, place: Rc::new(place) })
    }

    /// Reads and checks the manifests, draws what is wrong with them, and connects. A directory is read first, so that its
    /// mistakes are told even where no database answers; of a commit the database tells what need not be read again.
    pub async fn read_and_connect(
        &self,
        manifests: &Manifests,
        how: &Planning,
    ) -> Result<(Reading, Database), Failure> {
        let place = self.vouched_place(manifests)?;
        let settings = self.source_settings(&place, manifests)?;
        if place.checkout().is_none() || how.full || !how.target.is_empty() {
            let reading = self.read_at(place, settings, None)?;
            self.draw(&reading);
            return Ok((reading, self.database().await?));
        }
        let database = self.database().await?;
        let states = database.store.planning().await?.states(&settings.source, None).await?;
        let (source, correct_drift) = (settings.source.clone(), how.corrects_drift(settings.mode));
        let settled = |name: &str, unread: &Unread| {
            let digest = digest::of(&unread.said, &unread.places, correct_drift);
            states.get(name).is_some_and(|state| state.settled(&source, &digest).is_some())
        };
        let reading = self.read_at(place, settings, Some(&settled))?;
        self.draw(&reading);
        Ok((reading, database))
    }

    /// The settings of a source, with what the command line and the machine say instead.
    pub fn source_settings(&self, place: &Place, manifests: &Manifests) -> Result<Source, Failure> {
        let mut settings = place.settings()?;
        let pinned = self.machine.git.source.as_ref().filter(|_| place.checkout().is_some());
        match (&manifests.source, pinned) {
            (Some(name), _) => settings.source = name.clone(),
            (None, Some(pinned)) if *pinned != settings.source => {
                let (named, pinned) = (&settings.source, pinned);
                let message = format!("the repository calls the source `{named}`, and this machine `{pinned}`");
                let hint = "under another name nothing counts as applied; `git.source` in the settings of the machine says \
                            what it has to be";
                return Err(Failure::from(Finding::error(Code::ForbiddenSetting, message).hint(hint)));
            }
            (None, _) => {}
        }
        let of_the_machine = place.revision().map(|_| &self.machine.git.paths);
        let only = Some(&manifests.only).filter(|only| !only.is_empty()).or(of_the_machine);
        if let Some(only) = only.filter(|only| !only.is_empty()) {
            // They are paths of this source, and no other source of its own.
            let is_other =
                |path: &&PathBuf| place.checkout().is_some_and(|checkout| checkout.has_settings_of_its_own(path));
            if let Some(path) = only.iter().find(is_other) {
                let path = path.display();
                let message = format!("{path} has an argus.yaml of its own, which would not be read");
                let hint = format!(
                    "`paths` name what belongs to the source at the root; in a clone `--ref REF {path}` reads that one"
                );
                return Err(Failure::from(Finding::error(Code::BadSettings, message).hint(hint)));
            }
            settings.paths = only.clone();
        }
        let mut settings = settings.checked()?;
        settings.mode = self.machine.git.mode.filter(|_| place.checkout().is_some()).unwrap_or(settings.mode);
        if let Some(bound) = &self.bound {
            Terms {
                mode: settings.mode,
                guards: settings.guards,
                approvals: settings.approvals,
                windows: settings.windows,
            } = bound.terms(settings.mode);
        }
        let _ = self.source.set(settings.source.clone());
        Ok(settings)
    }

    /// The name of the source at hand, once it is known.
    pub fn source(&self) -> Option<&str> {
        self.source.get().map(String::as_str)
    }

    /// What the source is called, also where it could not be read: as far as was got with it, or as the directory says.
    pub fn source_name(&self, manifests: &Manifests) -> String {
        let said = self.source.get().or(manifests.source.as_ref()).cloned();
        let directory = manifests.path.as_deref().unwrap_or(Path::new("."));
        said.unwrap_or_else(|| Source::read(directory).unwrap_or_default().source)
    }

    /// Whether manifests come from a repository.
    pub fn is_of_repository(&self, manifests: &Manifests) -> bool {
        let named = manifests.git.is_some() || manifests.reference.is_some();
        named || (self.machine.git.url.is_some() && manifests.path.is_none())
    }

    /// What the machine says of repositories.
    pub fn git(&self) -> &GitSettings {
        &self.machine.git
    }

    /// Where events go.
    pub fn sinks(&self) -> &[SinkSettings] {
        &self.machine.sinks
    }

    /// How messages go to the channels of organizations, if they do.
    pub fn notifications(&self) -> Option<&NotificationSettings> {
        self.machine.notifications.as_ref()
    }

    /// Draws the findings of manifests with the lines that they point at.
    pub fn draw(&self, reading: &Reading) {
        if !reading.world.findings.is_empty() {
            let excerpts = reading.place.excerpts(reading.world.findings.iter().filter_map(|f| f.origin.as_ref()));
            self.complain(&reading.world.findings, &excerpts);
        }
    }

    /// The address of the database, if one is configured.
    pub fn database_url(&self) -> Result<Option<DatabaseUrl>, Failure> {
        let url = self.global.database_url.as_ref().or(self.machine.database_url.as_ref());
        Ok(url.map(|url| url.parse()).transpose().map_err(|error: StoreError| error.finding())?)
    }

    /// The private server, up and running. In a CI job it would be gone with the job, and with it all that was applied,
    /// unless somebody says where its data is.
    pub fn private_server(&self) -> Result<PrivateServer, Failure> {
        let data_dir = self.global.data_dir.clone().or_else(|| self.machine.data_dir.clone());
        let in_ci = || std::env::var("CI").is_ok_and(|ci| ci == "1" || ci.eq_ignore_ascii_case("true"));
        if data_dir.is_none() && in_ci() {
            let message = "no database is configured, and one that is started in CI would be gone with the job";
            let hint = "name the database in ARGUS_DATABASE_URL (is the secret set for this job?), or say where a private \
                        one keeps its data: `--data-dir`, ARGUS_DATA_DIR";
            return Err(Failure::from(Finding::error(Code::NoDatabase, message).hint(hint)));
        }
        // Whoever says where it is knows that there is one.
        let unnamed = data_dir.is_none();
        let data_dir = data_dir.unwrap_or_else(default_data_dir);
        let binaries = self.global.postgres_bin.as_deref().or(self.machine.postgres_bin.as_deref());
        let server = PrivateServer::start(&data_dir, binaries)?;
        if unnamed {
            let message = format!("No database is configured: using a private PostgreSQL in {}.", data_dir.display());
            let message = match self.log_format() {
                LogFormat::Text => format!("{message}\n"),
                LogFormat::Json => logs::notice(&message),
            };
            let _ = std::io::stderr().write_all(message.as_bytes());
        }
        Ok(server)
    }

    /// Connects. A private database is migrated on the way: nobody else will.
    pub async fn database(&self) -> Result<Database, Failure> {
        let connections = self.connections();
        if let Some(url) = self.database_url()? {
            return Ok(Database { store: Store::connect(&url, connections).await?, server: None });
        }
        let server = self.private_server()?;
        migrate::migrate(server.url()).await?;
        let store = Store::connect(server.url(), connections).await?;
        Ok(Database { store, server: Some(server) })
    }

    /// The folder of policies that the command line or the machine names.
    pub fn policies(&self, flag: Option<&Path>) -> Option<PathBuf> {
        flag.map(Path::to_owned).or_else(|| self.machine.policies.clone())
    }

    /// What a policy may use.
    pub fn policy_limits(&self) -> Limits {
        self.machine.policy_limits
    }

    /// How many connections to use.
    pub fn connections(&self) -> u32 {
        self.global.connections.or(self.machine.connections).unwrap_or(CONNECTIONS)
    }
}

/// Where the private PostgreSQL keeps its data when nobody says so. Root's home is closed to the user that the
/// server has to run as.
fn default_data_dir() -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home != Path::new("/root"));
    let state = state.or_else(|| home.map(|home| home.join(".local/state")));
    state.unwrap_or_else(|| PathBuf::from("/var/lib")).join("argus/postgres")
}
