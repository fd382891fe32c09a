//! What commands share: the settings of the machine, the manifests, the database, and how a command fails.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use chrono::{DateTime, Utc};

use super::place::Place;
use crate::cli::{Color, Global, Manifests, Planning};
use crate::digest;
use crate::exit_code::ExitCode;
use crate::identity::Approvers;
use crate::model::code::Code;
use crate::model::finding::{Finding, in_order};
use crate::model::revision::Revision;
use crate::model::state::{Unread, World};
use crate::render::excerpt::{self, Excerpts};
use crate::render::text::Paint;
use crate::sandbox::Limits;
use crate::settings::{AuditSettings, Machine, Source};
use crate::source::git::index::IsSettled;
use crate::source::git::settings::GitSettings;
use crate::store::error::StoreError;
use crate::store::private::PrivateServer;
use crate::store::run::RunId;
use crate::store::url::DatabaseUrl;
use crate::store::{Store, migrate};

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
}

impl From<Finding> for Failure {
    fn from(finding: Finding) -> Self {
        let code = if finding.code == Code::Locked { ExitCode::Locked } else { ExitCode::Failed };
        Failure { findings: vec![finding], code, excerpts: Excerpts::default() }
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
    pub fn tell_without_context(self) -> ExitCode {
        let text = excerpt::draw(&in_order(self.findings), &Excerpts::default(), false);
        let _ = std::io::stderr().write_all(text.as_bytes());
        self.code
    }

    /// What several findings say.
    pub fn from_findings(findings: Vec<Finding>) -> Self {
        Failure { findings, code: ExitCode::Failed, excerpts: Excerpts::default() }
    }

    /// The same failure with the lines that it points at.
    pub fn with_excerpts(self, excerpts: Excerpts) -> Self {
        Failure { excerpts, ..self }
    }

    /// The same failure with another exit code.
    pub fn with_code(self, code: ExitCode) -> Self {
        Failure { code, ..self }
    }
}

/// What commands share.
pub struct Context {
    /// The options of the command line.
    pub global: Global,
    machine: Machine,
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
    pub fn new(global: Global) -> Result<Context, Failure> {
        let machine = global.config.as_deref().map(Machine::read).transpose()?.unwrap_or_default();
        Ok(Context { global, machine })
    }

    /// The present moment; everything below the commands gets it as a value.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    /// The id of a new run: when it began, and enough randomness that no two are the same.
    pub fn new_run(&self) -> Result<RunId, Failure> {
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
        let text = excerpt::draw(findings, excerpts, self.colored(std::io::stderr().is_terminal()));
        // Where even standard error is closed, the exit code has to say it all.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Reads and checks the manifests.
    pub fn read(&self, manifests: &Manifests) -> Result<Reading, Failure> {
        let place = Place::new(self, manifests)?;
        let settings = self.source_settings(&place, manifests)?;
        self.read_at(place, settings, None)
    }

    /// Reads and checks the manifests of a place.
    pub fn read_at(&self, place: Place, settings: Source, settled: Option<IsSettled<'_>>) -> Result<Reading, Failure> {
        let mut world = place.world(&settings, settled, self.now())?;
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
        let place = Place::new(self, manifests)?;
        let settings = self.source_settings(&place, manifests)?;
        if place.checkout().is_none() || how.full || !how.target.is_empty() {
            let reading = self.read_at(place, settings, None)?;
            self.draw(&reading);
            return Ok((reading, self.database().await?));
        }
        let database = self.database().await?;
        let states = database.store.planning().await?.states(&settings.source).await?;
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
        if let Some(name) = &manifests.source {
            settings.source = name.clone();
        }
        let of_the_machine = place.revision().map(|_| &self.machine.git.paths);
        let only = Some(&manifests.only).filter(|only| !only.is_empty()).or(of_the_machine);
        if let Some(only) = only.filter(|only| !only.is_empty()) {
            settings.paths = only.clone();
        }
        Ok(settings.checked()?)
    }

    /// What the machine says of repositories.
    pub fn git(&self) -> &GitSettings {
        &self.machine.git
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

    /// The private server, up and running.
    pub fn private_server(&self) -> Result<PrivateServer, Failure> {
        let data_dir = self.global.data_dir.clone().or_else(|| self.machine.data_dir.clone());
        let data_dir = data_dir.unwrap_or_else(default_data_dir);
        let binaries = self.global.postgres_bin.as_deref().or(self.machine.postgres_bin.as_deref());
        let server = PrivateServer::start(&data_dir, binaries)?;
        if std::io::stderr().is_terminal() {
            let message = format!("No database is configured: using a private PostgreSQL in {}.\n", data_dir.display());
            let _ = std::io::stderr().write_all(message.as_bytes());
        }
        tracing::info!(data_dir = %data_dir.display(), "no database is configured: using a private PostgreSQL");
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
