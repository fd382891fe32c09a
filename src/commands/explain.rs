//! `argus explain`: a finding's code, a kind, or a field, in more words.

use std::fmt::Write as _;

use super::context::{Context, Done, Failure};
use super::output;
use crate::cli::Explain;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::{KINDS, Kind};
use crate::model::shape::{Field, Preset, Shape};

/// Prints the page of a code, the fields of a kind, or one field; without anything, the list of codes and kinds.
pub fn run(_: &Context, args: &Explain) -> Done {
    let text = match args.what.as_deref() {
        None => index(),
        Some(what) => code(what).or_else(|| kind(what)).ok_or_else(|| unknown(what))?,
    };
    output::print(&text)?;
    Ok(ExitCode::Done)
}

fn index() -> String {
    let mut text = String::from("Kinds:\n");
    for kind in KINDS {
        let _ = writeln!(text, "  {:<21} {}", kind.name, kind.about);
    }
    text.push_str("\nCodes:\n");
    for code in Code::ALL {
        let _ = writeln!(text, "  {code}  {}", code.title());
    }
    text
}

fn code(what: &str) -> Option<String> {
    Code::named(what).map(|code| code.page().to_owned())
}

fn kind(what: &str) -> Option<String> {
    let (name, path) = what.split_once('.').map_or((what, None), |(name, path)| (name, Some(path)));
    let kind = Kind::meant_by(name)?;
    let below = |field: &&Field| {
        path.is_none_or(|path| {
            field.path == path || field.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
        })
    };
    let fields: Vec<&Field> = kind.fields.iter().filter(below).collect();
    if fields.is_empty() {
        return None;
    }
    let mut text = format!("{}: {}\n\n", kind.name, kind.about);
    for field in &fields {
        describe(&mut text, field, "  ");
    }
    if path.is_none() {
        let _ = write!(text, "\nExample:\n\n{}", indent(kind.example));
    }
    Some(text)
}

fn describe(text: &mut String, field: &Field, margin: &str) {
    let required = if field.required { ", required" } else { "" };
    let preset = match field.preset {
        Preset::Null | Preset::NoItems | Preset::NoEntries => String::new(),
        preset => format!(", {} if left out", preset.value()),
    };
    let _ = writeln!(text, "{margin}{} <{}{required}{preset}>", field.path, shape(&field.shape));
    let _ = writeln!(text, "{margin}    {}", field.about);
    if let Some(refers) = field.refers {
        let _ = writeln!(text, "{margin}    Names a {refers}.");
    }
    if let Some(singular) = field.singular {
        let _ = writeln!(text, "{margin}    A single one may be written `{singular}: ...`.");
    }
    if let Shape::List { fields, .. } = field.shape {
        fields.iter().for_each(|field| describe(text, field, "      "));
    }
}

fn shape(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "true or false".into(),
        Shape::Int { min, max } => format!("whole number from {min} to {max}"),
        Shape::Line { chars_max } => format!("text on one line, at most {chars_max} characters"),
        Shape::Prose { chars_max } => format!("text, at most {chars_max} characters"),
        Shape::Name => "name".into(),
        Shape::Email => "email address".into(),
        Shape::Domain => "domain".into(),
        Shape::Url => "https address".into(),
        Shape::Permission => "permission such as keys:read, keys:* or *".into(),
        Shape::EventPattern => "event pattern such as key.*".into(),
        Shape::Schedule => "cron schedule of five fields".into(),
        Shape::Duration => "length of time such as 90d or 24h".into(),
        Shape::Time => "moment with a zone such as 2030-01-31T00:00:00Z".into(),
        Shape::Money => "money such as 250 USD".into(),
        Shape::Enum(words) => words.join(" | "),
        Shape::Set { item, items_max } => format!("set of at most {items_max}: {}", self::shape(item)),
        Shape::List { items_max, .. } => format!("list of at most {items_max} records"),
        Shape::Map { items_max } => format!("map of at most {items_max} entries"),
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn unknown(what: &str) -> Failure {
    let finding = Finding::error(Code::NoSuchTarget, format!("`{what}` is neither a code nor a kind nor a field"));
    Failure::from(finding.hint("`argus explain` lists them all"))
}
