//! Reviews: what is asked for is planned as `argus plan --base --head` plans it, and the forge is told: a comment under it and a state
//! of its last commit. The settings and policies of the branch that it is to go into judge, and nothing is written.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::look::as_set_up;
use super::turns::{self, Taker, Turn};
use super::{Desk, Shared};
use crate::agenda::Backoff;
use crate::commands::context::{Context, Failure};
use crate::commands::plan::{self, Comment};
use crate::failpoint::failpoint;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::render::markdown::{self, Links};
use crate::sink::forge::ForgeSettings;
use crate::store::error::StoreError;
use crate::store::queue::Holder;
use crate::store::reports::{About, Report};
use crate::store::reviews::Review;

/// The number under which it is there, beside those of the workers.
const REVIEWER: u16 = u16::MAX;

/// How long nothing is looked for when nothing was there.
const SLEEP: Duration = Duration::from_secs(30);

/// How long to wait after what is wrong with a plan.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(10), longest: Duration::from_secs(300) };

/// How often it is tried to plan the same.
const TRIES_MAX: u32 = 5;

/// Starts whoever plans, where there is a forge to be told. Gives how many plans were made when it ends.
pub fn start(context: &Context, shared: &Arc<Shared>) -> Option<oneshot::Receiver<usize>> {
    let with_forge = context.controller().sources.iter().filter(|source| source.forge.is_some());
    let desks: Vec<Desk> = with_forge
        .map(|source| {
            let context = context.of_source(&source.name, &source.git);
            Desk { settings: source.clone(), context, office: None, named: None }
        })
        .collect();
    if desks.is_empty() {
        return None;
    }
    // Beside the workers, so that however much is asked for, what was merged is applied.
    Some(turns::start(shared, "reviewer".into(), Reviewer { shared: shared.clone(), desks }))
}

/// Whoever plans what is asked for.
struct Reviewer {
    shared: Arc<Shared>,
    desks: Vec<Desk>,
}

impl Taker for Reviewer {
    fn number(&self) -> u16 {
        REVIEWER
    }

    async fn turn(&self, holder: &Holder) -> Result<Turn, StoreError> {
        let planned = review(&self.desks, &self.shared, holder).await?;
        Ok(if planned { Turn::Busy } else { Turn::Idle(SLEEP) })
    }
}

/// Plans one, if there is one.
async fn review(desks: &[Desk], shared: &Shared, holder: &Holder) -> Result<bool, StoreError> {
    let store = &shared.store;
    let names: Vec<&str> = desks.iter().map(|desk| desk.settings.name.as_str()).collect();
    let Some(review) = store.claim_review(&names, holder).await? else { return Ok(false) };
    let desk = desks.iter().find(|desk| desk.settings.name == review.source);
    let Some((desk, forge)) = desk.and_then(|desk| Some((desk, desk.settings.forge.as_ref()?))) else {
        return Ok(false);
    };
    let (name, number) = (&review.source, review.number);
    let planned = match review.tries {
        0..=TRIES_MAX => {
            let planning = tokio::time::timeout(desk.settings.timeout(), planned(desk, forge, shared, number));
            planning.await.unwrap_or_else(|_| Err(too_long(desk)))
        }
        _ => Err(Failure::from(Finding::error(
            Code::TookTooLong,
            "planning this has not come to an end, again and again",
        ))),
    };
    let (told, again, why) = match planned {
        Ok(comment) => (reports(&review, forge, comment), None, None),
        Err(Failure { findings, .. }) => {
            let why = findings.first().map(|finding| finding.message.clone()).unwrap_or_default();
            tracing::warn!(source = name, number, why, "{number} of {name} is not planned: {why}");
            let text = markdown::failed(name, &findings, &Links::default());
            let comment = Comment {
                text,
                commit: review.head.clone(),
                word: "blocked",
                summary: "This cannot be planned.".into(),
            };
            let again = (review.tries < TRIES_MAX).then(|| BACKOFF.after(review.tries, &format!("{name}/{number}")));
            (reports(&review, forge, comment), again, Some(why))
        }
    };
    failpoint("review.after_plan", name);
    if store.settle_review(&review, &told, again, why.as_deref()).await? {
        tracing::info!(source = name, number, "planned {number} of {name}");
    }
    Ok(true)
}

#[tracing::instrument(name = "review", skip_all, fields(argus.source = desk.settings.name, vcs.change.id = number))]
async fn planned(desk: &Desk, forge: &ForgeSettings, shared: &Shared, number: i64) -> Result<Comment, Failure> {
    let base = desk.settings.git.reference.as_deref().unwrap_or("HEAD");
    let head = forge.reference_of(number);
    let files = |commit: &str| forge.files_of(commit);
    plan::comment_on(&desk.context, &shared.store, &as_set_up(), (base, &head), &files).await
}

/// What the forge is told: the comment, and the state of the commit.
fn reports(review: &Review, forge: &ForgeSettings, comment: Comment) -> Vec<Report> {
    let Comment { text, commit, word, summary } = comment;
    let source = &review.source;
    let state = if matches!(word, "blocked" | "denied") { "failure" } else { "success" };
    let said = match word {
        "allowed" => summary,
        word => format!("{summary} ({word})"),
    };
    let status = About::Status {
        commit,
        context: format!("argus/{source}/plan"),
        state: state.into(),
        target: forge.target_url.clone(),
    };
    vec![
        Report { source: source.clone(), about: About::Comment { number: review.number }, text },
        Report { source: source.clone(), about: status, text: said },
    ]
}

fn too_long(desk: &Desk) -> Failure {
    let message = format!("a plan for `{}` took longer than {:?}", desk.settings.name, desk.settings.timeout());
    Failure::from(Finding::error(Code::TookTooLong, message).hint("`timeout` of the source says how long it may take"))
}
