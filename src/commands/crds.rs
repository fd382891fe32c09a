//! `argus crds`: the CustomResourceDefinitions of Kubernetes.

use super::context::{Context, Done, Failure};
use super::output::{report, write_file};
use crate::cli::Crds;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::render::crds;

/// Prints the definitions, or writes a file for each.
pub fn run(_: &Context, args: &Crds) -> Done {
    let definitions = crds::all();
    let Some(folder) = &args.output else {
        let texts: Vec<String> = definitions.iter().map(crds::Definition::yaml).collect();
        return report(&texts.join("---\n"), ExitCode::Done);
    };
    std::fs::create_dir_all(folder).map_err(|error| {
        let message = format!("cannot make the directory {}: {error}", folder.display());
        Failure::from(Finding::error(Code::CannotWrite, message).hint("choose another place"))
    })?;
    for definition in &definitions {
        write_file(&folder.join(format!("{}.yaml", definition.plural)), &definition.yaml(), false)?;
    }
    Ok(ExitCode::Done)
}
