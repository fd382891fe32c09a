//! What the machine has to get into repositories, and whom it trusts to sign what is in them.

use std::path::Path;

use super::context::Failure;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::signature::Signers;
use crate::source::git::hosts::KnownHosts;
use crate::source::git::material::Material;
use crate::source::git::mirror::{Credentials, needs_passphrase};
use crate::source::git::settings::{GitSettings, SignerFiles};

/// Who may sign, by the lists that the machine names.
pub fn signers(settings: &GitSettings) -> Result<Signers, Failure> {
    let SignerFiles { allowed_signers, openpgp, revoked, forges } = &settings.signers;
    let mut signers = Signers::default();
    for list in allowed_signers {
        let added = signers.add_allowed_signers(&list.to_string(), &list.text()?);
        added.map_err(Failure::from_findings)?;
    }
    for list in openpgp {
        signers.add_openpgp(&list.to_string(), &list.bytes()?).map_err(Failure::from_findings)?;
    }
    for list in revoked {
        signers.add_revoked_ssh(&list.to_string(), &list.bytes()?).map_err(Failure::from_findings)?;
    }
    for (name, list) in forges {
        signers.add_forge(name, &list.to_string(), &list.bytes()?).map_err(Failure::from_findings)?;
    }
    if signers.is_empty() {
        let finding = Finding::error(Code::BadSigners, "commits have to be signed, and nobody is listed who may sign");
        return Err(Failure::from(finding.hint("name files under `git.signers` in the settings of the machine")));
    }
    Ok(signers)
}

/// Refuses lists of signers that stand in the repository whose signatures they judge.
pub fn refuse_own_signers(lists: &SignerFiles, repository: &Path) -> Result<(), Failure> {
    let SignerFiles { allowed_signers, openpgp, revoked, forges } = lists;
    let Ok(repository) = repository.canonicalize() else { return Ok(()) };
    let all = allowed_signers.iter().chain(openpgp).chain(revoked).chain(forges.values());
    let is_own = |file: &&Path| file.canonicalize().is_ok_and(|file| file.starts_with(&repository));
    let Some(own) = all.filter_map(Material::file).find(is_own) else { return Ok(()) };
    let message = format!("{} stands in the repository whose commits it judges", own.display());
    let hint = "whoever may push there could list themselves; keep it elsewhere on the machine";
    Err(Failure::from(Finding::error(Code::BadSigners, message).hint(hint)))
}

/// What the settings and the environment say of how one gets in.
pub fn credentials(settings: &GitSettings, over_ssh: bool) -> Result<Credentials, Failure> {
    let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty() && settings.of_others.is_none());
    let secret = |material: &Option<Material>| -> Result<Option<String>, Failure> {
        let text = material.as_ref().map(Material::text).transpose()?;
        Ok(text.map(|text| text.trim_end_matches(['\n', '\r']).to_owned()))
    };
    let password = secret(&settings.password_file)?.or_else(|| named("ARGUS_GIT_PASSWORD"));
    let known_hosts = match &settings.known_hosts_file {
        Some(list) => Some(KnownHosts::parse(&list.to_string(), &list.text()?)?),
        None => None,
    };
    // What is named and cannot be read would otherwise show as a refusal of the server.
    if let Some(file) = settings.ca_file.clone() {
        Material::File(file).text()?;
    }
    let ssh_key = settings.ssh_key_file.as_ref().map(Material::text).transpose()?;
    let passphrase = secret(&settings.ssh_passphrase_file)?;
    if let (Some(key), Some(of)) = (&ssh_key, &settings.ssh_key_file)
        && over_ssh
        && passphrase.is_none()
        && needs_passphrase(key)
    {
        let finding =
            Finding::error(Code::RepositoryRefused, format!("the key in {of} has a passphrase, and none is given"));
        return Err(Failure::from(finding.hint("name a file with the passphrase in `git.sshPassphraseFile`")));
    }
    Ok(Credentials {
        username: settings.username.clone().or_else(|| named("ARGUS_GIT_USERNAME")),
        password,
        ssh_key,
        ssh_passphrase: passphrase,
        known_hosts,
    })
}
