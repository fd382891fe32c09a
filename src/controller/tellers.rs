//! What forges say of sources, and what they are told of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Desk;
use crate::commands::context::{Context, Failure};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::render::inert;
use crate::render::text::counted;
use crate::server::hooks::{Hooked, Hooks};
use crate::settings::controller::{ControllerSettings, SourceSettings};
use crate::sink::forge::Teller;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::reports::Standing;

/// The hooks of all sources that have some.
pub fn hooks(
    context: &Context,
    settings: &ControllerSettings,
    store: &Store,
    listens: bool,
) -> Result<Option<Hooks>, Failure> {
    let hooked = |source: &SourceSettings| {
        Some(Hooked {
            source: source.name.clone(),
            webhook: source.webhook.clone()?,
            reference: source.git.reference.clone(),
            repository: source.forge.as_ref().map(|forge| forge.repository.clone()),
            plans: source.forge.is_some(),
        })
    };
    let hooked: Vec<Hooked> = settings.sources.iter().filter_map(hooked).collect();
    if hooked.is_empty() {
        return Ok(None);
    }
    if !listens {
        return Err(bad(
            "sources have webhooks, and nothing listens for them".into(),
            "`controller.listen` says where",
        ));
    }
    let hooks = Hooks::new(&hooked, store.clone(), context.metrics().clone());
    hooks.map(Some).map_err(|why| bad(why.to_string(), HINT))
}

/// The forges of all sources that have one.
pub fn forges(settings: &ControllerSettings) -> Result<BTreeMap<String, Arc<Teller>>, Failure> {
    let forge = |source: &SourceSettings| {
        let teller = Teller::open(source.forge.as_ref()?);
        let named = teller.map(|teller| (source.name.clone(), Arc::new(teller)));
        Some(named.map_err(|why| bad(format!("the forge of the source `{}`: {why}", source.name), HINT)))
    };
    settings.sources.iter().filter_map(forge).collect()
}

/// Asks for a report of how it stands with the revision of a source. What goes wrong with it holds up nothing: it is asked for
/// again after the next look.
pub async fn report(desk: &Desk, store: &Store) {
    let Some(forge) = &desk.settings.forge else { return };
    let name = &desk.settings.name;
    not_told(name, store.report_standing(name, forge.target_url.as_deref(), words).await);
}

/// Asks for a report that nothing comes of a commit, and why. A later look that comes to something takes its place.
pub async fn report_failed(desk: &Desk, store: &Store, commit: Option<&str>, findings: &[Finding]) {
    let (Some(forge), Some(commit), Some(text)) = (&desk.settings.forge, commit, reason(findings)) else { return };
    let name = &desk.settings.name;
    not_told(name, store.report_commit(name, commit, forge.target_url.as_deref(), ("failure", text)).await);
}

fn not_told(name: &str, told: Result<(), StoreError>) {
    if let Err(error) = told {
        tracing::warn!(source = name, %error, "how it stands with {name} is not told: {error}");
    }
}

/// Why nothing comes of a commit, in one line.
fn reason(findings: &[Finding]) -> Option<String> {
    let mut errors = findings.iter().filter(|finding| finding.is_error());
    let first = errors.next()?;
    let place = first.origin.as_ref().map(|origin| format!("{}:{}: ", origin.file, origin.line)).unwrap_or_default();
    let others = match errors.count() {
        0 => String::new(),
        others => format!("; and {}", counted(others, "more error")),
    };
    let (line, room) =
        (inert::line(&format!("{}: {place}{}", first.code, first.message)), REASON_CHARS_MAX - others.len());
    let line = match line.chars().count() > room {
        true => line.chars().take(room - 1).chain(['…']).collect(),
        false => line,
    };
    Some(line + &others)
}

/// How it stands, in a state and in words.
fn words(standing: &Standing) -> (&'static str, String) {
    let Standing { waiting, unsettled, settled, observed, errors, rewound } = standing;
    if let Some(rewound) = rewound {
        // However few organizations it moves: nothing of it counts as applied before somebody says so.
        return ("failure", inert::line(rewound));
    }
    let all = waiting + settled + observed + unsettled.values().sum::<i64>();
    let of = |many: i64| counted(many as usize, "organization");
    let parts = unsettled.iter().map(|(word, many)| format!("{many} {word}"));
    let parts: Vec<String> =
        parts.chain((*errors > 0).then(|| format!("{} of the source", counted(*errors as usize, "error")))).collect();
    let bad = ["denied", "blocked", "failed"].iter().any(|word| unsettled.contains_key(*word)) || *errors > 0;
    match (waiting, parts.is_empty()) {
        (1.., _) => ("pending", format!("{waiting} of {} wait", of(all))),
        (_, true) if *observed > 0 => {
            ("success", format!("{} looked at, {observed} of them left as they differ", of(all)))
        }
        (_, true) => ("success", format!("{} as it says", of(all))),
        (_, false) if bad => ("failure", format!("{}; {settled} of {} as it says", parts.join(", "), of(all))),
        // Held, stopped or overtaken: it goes on when somebody lets it, or by itself.
        (_, false) => ("pending", format!("{}; {settled} of {} as it says", parts.join(", "), of(all))),
    }
}

/// The longest reason: what most forges take of a state.
const REASON_CHARS_MAX: usize = 140;

/// What helps against settings that cannot be right.
const HINT: &str = "docs/webhooks.md tells how a forge is set up";

fn bad(why: String, hint: &str) -> Failure {
    Failure::from(Finding::error(Code::BadSettings, why).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(waiting: i64, unsettled: &[(&str, i64)], settled: i64, errors: i64) -> String {
        let unsettled = unsettled.iter().map(|(word, many)| ((*word).to_owned(), *many)).collect();
        let (state, text) = words(&Standing { waiting, unsettled, settled, observed: 0, errors, rewound: None });
        format!("{state}: {text}")
    }

    #[test]
    fn how_it_stands_is_said_in_a_state_and_in_words() {
        assert_eq!(said(0, &[], 12, 0), "success: 12 organizations as it says");
        assert_eq!(said(0, &[], 0, 0), "success: 0 organizations as it says");
        assert_eq!(said(2, &[("failed", 1)], 9, 0), "pending: 2 of 12 organizations wait");
        assert_eq!(said(0, &[("held", 1)], 0, 0), "pending: 1 held; 0 of 1 organization as it says");
        assert_eq!(
            said(0, &[("denied", 1), ("held", 2)], 9, 0),
            "failure: 1 denied, 2 held; 9 of 12 organizations as it says"
        );
        let observed = Standing { observed: 2, settled: 1, ..Standing::default() };
        assert_eq!(words(&observed), ("success", "3 organizations looked at, 2 of them left as they differ".into()));
        assert_eq!(said(0, &[], 3, 1), "failure: 1 error of the source; 3 of 3 organizations as it says");
        let rewound = Standing { rewound: Some("main does not lead on".into()), settled: 1, ..Standing::default() };
        assert_eq!(words(&rewound), ("failure", "main does not lead on".into()));
    }

    #[test]
    fn why_nothing_comes_of_a_commit_is_one_line_of_bounded_length() {
        let unsigned = Finding::error(Code::Unsigned, "it is not\nsigned \u{1b}[31m\u{202e}");
        let told = reason(std::slice::from_ref(&unsigned)).expect("a reason");
        assert!(told.starts_with("ARG1401: it is not") && !told.contains(['\n', '\u{1b}', '\u{202e}']), "{told:?}");
        let many = vec![Finding::error(Code::Unsigned, "ä".repeat(5000)); 3];
        let told = reason(&many).expect("a reason");
        assert!(told.chars().count() == REASON_CHARS_MAX && told.ends_with("; and 2 more errors"), "{told}");
        assert_eq!(reason(&[Finding::warning(Code::Rewound, "a warning alone")]), None);
    }
}
