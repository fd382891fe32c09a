//! Admission: what API servers ask before they store an object is answered with what `argus plan` would say of it, as an
//! error or as a warning. It only looks: it plans in a transaction that cannot write, and the controller judges again
//! before anything is applied. So where nobody can tell, an object may well be let through.

pub mod certificates;
mod judging;
mod review;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use self::judging::Opinion;
use self::review::{Answer, Change, Request, warning};
use super::Shared;
use crate::commands::context::{Context, Failure};
use crate::commands::judges::Loaded;
use crate::commands::place::Found;
use crate::metrics::table::{ADMISSION_DURATION, ADMISSIONS};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::policy::PolicyFile;
use crate::server::admission::{Admits, serve};
use crate::server::tls::{Listener, Shown};
use crate::source::cluster::Followed;
use crate::source::cluster::admission::{AdmissionSettings, OnFailure};
use crate::source::cluster::object::Object;
use crate::source::cluster::sort::Sort;
use crate::store::Store;

/// How many answers are worked out at the same time: each reads from the database.
const AT_ONCE: usize = 4;

/// How long the last answers may take when the process ends.
const GRACE: Duration = Duration::from_secs(5);

/// All that it takes to answer.
struct Gate {
    context: Context,
    store: Store,
    namespaces: BTreeMap<Arc<str>, Arc<Followed>>,
    settings: AdmissionSettings,
    places: Arc<Semaphore>,
    /// The policies as they were read last.
    loaded: Mutex<Option<(Vec<PolicyFile>, Arc<Loaded>)>>,
}

/// A server that answers, and what keeps its certificate.
pub struct Opened {
    serving: JoinHandle<()>,
    keeping: JoinHandle<()>,
}

impl Opened {
    /// Ends it. What was asked by then is answered, if the process was told to stop.
    pub(super) async fn end(self, shared: &Shared) {
        let Opened { mut serving, keeping } = self;
        keeping.abort();
        if !shared.stops() || timeout(GRACE, &mut serving).await.is_err() {
            serving.abort();
        }
    }
}

/// Begins to answer, where the settings say so.
pub(super) async fn open(context: &Context, shared: &Shared) -> Result<Option<Opened>, Failure> {
    let settings = context.kubernetes().and_then(|cluster| cluster.admission.clone());
    let (Some(settings), Some(office), false) = (settings, shared.offices.first(), shared.once) else {
        return Ok(None);
    };
    let shown = Shown::default();
    let address = settings.listen;
    let listener = Listener::bind(address, shown.clone()).await.map_err(|error| {
        let why = format!("API servers cannot be answered at {address}: {error}");
        let hint = "is another one there? `kubernetes.admission.listen` names the address";
        Failure::from(Finding::error(Code::BadSettings, why).hint(hint))
    })?;
    let at = listener.address().unwrap_or(address);
    tracing::info!(%at, "API servers are answered at https://{at}/admit");
    let keeping = certificates::keep(&settings, office.at().0.api(), shown)?;
    let namespaces = shared.offices.iter().map(|office| office.at().1).map(|at| (at.name.clone(), at.clone()));
    let gate = Gate {
        context: context.of_source("", context.git()),
        store: shared.store.clone(),
        namespaces: namespaces.collect(),
        settings,
        places: Arc::new(Semaphore::new(AT_ONCE)),
        loaded: Mutex::default(),
    };
    let serving = tokio::spawn(serve(listener, Arc::new(gate), shared.stop.clone()));
    Ok(Some(Opened { serving, keeping: tokio::spawn(keeping) }))
}

impl Admits for Arc<Gate> {
    async fn admit(&self, review: &[u8]) -> Option<String> {
        let request = Request::read(review)?;
        let kind = request.sort.map(Sort::name).unwrap_or_default();
        let span = tracing::info_span!(
            "admit",
            otel.kind = "server",
            argus.namespace = request.namespace,
            argus.kind = kind,
            argus.outcome = tracing::field::Empty
        );
        Some(answer(self, request).instrument(span).await)
    }
}

async fn answer(gate: &Arc<Gate>, request: Request) -> String {
    let since = Instant::now();
    let uid = request.uid.clone();
    let opinion = match timeout(gate.settings.timeout, opinion(gate, request)).await {
        Ok(opinion) => opinion,
        Err(_) => gate.too_late(),
    };
    let (outcome, answer) = gate.said(opinion);
    tracing::Span::current().record("argus.outcome", outcome);
    let metrics = gate.context.metrics();
    metrics.add(&ADMISSIONS, &[outcome], 1.0);
    metrics.observe(&ADMISSION_DURATION, &[], since.elapsed().as_secs_f64());
    answer.review(&uid)
}

async fn opinion(gate: &Arc<Gate>, request: Request) -> Opinion {
    if matches!(request.change, Change::Other) {
        return Opinion::Passed;
    }
    let Some(followed) = gate.namespaces.get(&*request.namespace).cloned() else {
        let namespace = &request.namespace;
        let message = format!("nobody follows the namespace `{namespace}`: nothing becomes of this object");
        return Opinion::Allowed(vec![warning(&Finding::warning(Code::NotFollowed, message))]);
    };
    if request.sort == Some(Sort::GitSource) {
        return repository(&followed, &request.change);
    }
    // Nobody closes the semaphore.
    let Ok(place) = gate.places.clone().acquire_owned().await else { return Opinion::Passed };
    let (gate, span, handle) = (gate.clone(), tracing::Span::current(), Handle::current());
    // On a thread of its own: worlds are put together without waiting for anybody. The place is taken until it ends, however
    // long somebody waits for the answer.
    let judged = tokio::task::spawn_blocking(move || {
        let _place = place;
        let judged = timeout(gate.settings.timeout, gate.judged(&followed, &request));
        match handle.block_on(judged.instrument(span)) {
            Ok(Ok(opinion)) => opinion,
            Ok(Err(failure)) => {
                let why = failure.findings.first().map(|finding| finding.said().into_owned());
                Opinion::Unknown(why.unwrap_or_default())
            }
            Err(_) => gate.too_late(),
        }
    });
    judged.await.unwrap_or_else(|_| Opinion::Unknown("the question was too much for it".into()))
}

/// What is thought of a repository that is named: whether its namespace may name it. What is in it nobody has read.
fn repository(followed: &Followed, change: &Change) -> Opinion {
    let fault = |object: &Object| followed.repository(object).said.err().map(|finding| *finding);
    let (before, after) = match change {
        Change::Create(new) => (None, fault(new)),
        Change::Update(both) => (fault(&both.0), fault(&both.1)),
        Change::Delete(_) | Change::Other => return Opinion::Passed,
    };
    match after {
        None => Opinion::Allowed(Vec::new()),
        Some(finding) if before.is_some_and(|before| before.message == finding.message) => {
            Opinion::Allowed(vec![format!("{} (as before)", warning(&finding))])
        }
        Some(finding) => Opinion::Refused(vec![finding]),
    }
}

impl Gate {
    fn too_late(&self) -> Opinion {
        Opinion::Unknown(format!("no answer was found within {:?}", self.settings.timeout))
    }

    /// What is answered, and how that is counted.
    fn said(&self, opinion: Opinion) -> (&'static str, Answer) {
        match opinion {
            Opinion::Passed => ("passed", Answer::Allowed(Vec::new())),
            Opinion::Allowed(warnings) if warnings.is_empty() => ("allowed", Answer::Allowed(warnings)),
            Opinion::Allowed(warnings) => ("warned", Answer::Allowed(warnings)),
            Opinion::Refused(findings) => ("refused", Answer::Refused(findings)),
            Opinion::Unknown(why) => {
                tracing::warn!(why, "an API server is not told what an object would lead to: {why}");
                let finding = Finding::error(Code::NotLookedAt, format!("nobody has looked at this object: {why}"));
                let answer = match self.settings.on_failure {
                    OnFailure::Ignore => Answer::Allowed(vec![warning(&finding)]),
                    OnFailure::Fail => {
                        Answer::Failed(finding.hint("apply it again in a while; the log of the controller tells more"))
                    }
                };
                ("unknown", answer)
            }
        }
    }

    /// The policies of the machine as they are now. They are loaded again where a file has changed.
    async fn policies(&self) -> Result<Arc<Loaded>, Failure> {
        let folder = self.context.policies(None).map(|folder| folder.display().to_string());
        let mut loaded = self.loaded.lock().await;
        let found = Found::of_saved(folder.as_deref())?;
        if let Some((files, known)) = &*loaded
            && *files == found.files
        {
            return Ok(known.clone());
        }
        let files = found.files.clone();
        let fresh = Arc::new(Loaded::new(&self.context, found).await?);
        *loaded = Some((files, fresh.clone()));
        Ok(fresh)
    }
}
