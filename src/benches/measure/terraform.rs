//! The same manifests in Terraform: its built-in `terraform_data`, one per resource, from the same files by yamldecode.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use super::usage::{Usage, expect};

/// The form that costs Terraform least of those that were tried: a map of strings that is made once. With the values as
/// objects, or with the map made in `for_each`, the same plan takes five times as long.
const MAIN: &str = r#"variable "repo" { type = string }

locals {
  collections = [
    "roles", "members", "teams", "projects", "serviceAccounts", "apiKeys",
    "notificationChannels", "notificationRules", "budgets",
  ]
  organizations = [
    for file in fileset(var.repo, "organizations/*.yaml") : yamldecode(file("${var.repo}/${file}"))
  ]
  resources = tomap(merge(
    {
      for organization in local.organizations : organization.metadata.name => jsonencode({
        for field, value in organization.spec : field => value if !contains(local.collections, field)
      })
    },
    [
      for organization in local.organizations : merge([
        for collection in local.collections : {
          for item in lookup(organization.spec, collection, []) :
          "${organization.metadata.name}/${collection}/${try(item.name, item.user)}" => jsonencode(item)
        }
      ]...)
    ]...
  ))
}

resource "terraform_data" "resource" {
  for_each = local.resources
  input    = each.value
}
"#;

/// The version of the program, if there is one.
pub fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("version").env("CHECKPOINT_DISABLE", "1").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

/// Applies the repo once and returns the cost of a plan without changes.
pub fn plan_without_changes(program: &str, repo: &Path, folder: &Path) -> Result<Usage, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("main.tf"), MAIN)?;
    std::fs::write(folder.join("terraform.tfvars"), format!("repo = \"{}\"\n", std::path::absolute(repo)?.display()))?;
    let terraform = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(folder).env("CHECKPOINT_DISABLE", "1").stderr(Stdio::null()).args(arguments);
        command
    };
    expect(0, &mut terraform(&["init", "-input=false", "-no-color"]))?;
    expect(0, &mut terraform(&["apply", "-input=false", "-auto-approve", "-no-color"]))?;
    expect(0, &mut terraform(&["plan", "-input=false", "-detailed-exitcode", "-no-color"]))
}
