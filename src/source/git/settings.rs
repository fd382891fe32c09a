//! What the machine says of repositories: where they are, how to get in, whom to trust, and how much is too much.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::material::Material;
use crate::brake::Mode;

/// The section `git` of the settings of the machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GitSettings {
    /// The address of the repository; without one, manifests are read from a directory.
    pub url: Option<String>,
    /// The branch, tag or commit; without one, what the repository calls its `HEAD`.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The name that the source has to have. Without one, the repository says it.
    pub source: Option<String>,
    /// The directories and files that are read, instead of those that `argus.yaml` names.
    pub paths: Vec<PathBuf>,
    /// What happens to drift, whatever the repository says.
    pub mode: Option<Mode>,
    /// The addresses that may be read: `*` stands for any run of characters. None allows every one over https and ssh.
    pub allow: Vec<String>,
    /// Where mirrors and what was read of them are kept.
    pub cache_dir: Option<PathBuf>,
    /// Who signs in over https.
    pub username: Option<String>,
    /// The file that holds their password or token.
    pub password_file: Option<Material>,
    /// The private key for ssh.
    pub ssh_key_file: Option<Material>,
    /// The file that holds its passphrase.
    pub ssh_passphrase_file: Option<Material>,
    /// The keys of the hosts that are trusted over ssh; without them, those of the user (`~/.ssh/known_hosts`).
    pub known_hosts_file: Option<Material>,
    /// The authorities that are trusted over https; without them, those of the system.
    pub ca_file: Option<PathBuf>,
    /// What has to be signed.
    pub verify: Verify,
    /// Who may sign.
    pub signers: SignerFiles,
    /// How much is too much.
    pub limits: Limits,
    /// Who says all this, if the machine does not: then nobody signs in with what the machine's environment holds, and
    /// mirrors are theirs alone. It is part of a path.
    #[serde(skip)]
    pub of_others: Option<String>,
}

impl GitSettings {
    /// The same, with the files that it names looked for beside the file that it stands in, wherever the command runs.
    pub fn beside(mut self, folder: &Path) -> GitSettings {
        let SignerFiles { allowed_signers, openpgp, revoked, forges } = &mut self.signers;
        let lists = allowed_signers.iter_mut().chain(openpgp).chain(revoked).chain(forges.values_mut());
        let secrets = [&mut self.password_file, &mut self.ssh_key_file, &mut self.ssh_passphrase_file];
        let given = secrets.into_iter().chain([&mut self.known_hosts_file]).flatten();
        lists.chain(given).for_each(|material| material.beside(folder));
        for path in [&mut self.ca_file, &mut self.cache_dir].into_iter().flatten() {
            *path = folder.join(&*path);
        }
        self
    }
}

/// What of a repository has to be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Nothing.
    #[default]
    None,
    /// The commit that is read.
    Head,
    /// The tag that is asked for.
    Tag,
    /// The commit that is read, and all that came since the one that was applied last.
    AllSinceApplied,
}

/// Files that list who may sign. None of them may come from the repository.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SignerFiles {
    /// Lists of the form that OpenSSH calls `allowed_signers`.
    pub allowed_signers: Vec<Material>,
    /// OpenPGP certificates, armored or not.
    pub openpgp: Vec<Material>,
    /// SSH keys that count no more, one a line.
    pub revoked: Vec<Material>,
    /// The keys with which forges sign the merges that they make, by the name of the forge.
    pub forges: BTreeMap<String, Material>,
}

/// Limits on what a repository may hold.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// The most entries of any sort in the trees that are looked at.
    pub entries_max: usize,
    /// The most manifests.
    pub files_max: usize,
    /// The deepest directory.
    pub depth_levels_max: usize,
    /// The most bytes in all manifests together.
    pub total_bytes_max: u64,
    /// The most bytes that are received in one fetch.
    pub pack_bytes_max: usize,
    /// The most objects that are received in one fetch.
    pub objects_max: usize,
    /// How long a connection may take to come about.
    pub connect_seconds_max: u32,
    /// How long a server may be silent.
    pub silence_seconds_max: u32,
    /// How long a fetch may take.
    pub fetch_seconds_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            entries_max: 400_000,
            files_max: 100_000,
            depth_levels_max: 64,
            total_bytes_max: 2 * 1024 * 1024 * 1024,
            pack_bytes_max: 1024 * 1024 * 1024,
            objects_max: 5_000_000,
            connect_seconds_max: 15,
            silence_seconds_max: 30,
            fetch_seconds_max: 600,
        }
    }
}
