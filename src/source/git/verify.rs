//! Signatures of commits and tags: taken out of their objects and judged by the signers that the machine names.

use chrono::{DateTime, Utc};
use git2::{ObjectType, Oid, Repository};

use super::header::{self, Parts};
use super::lineage::{COMMITS_MAX, Since};
use super::settings::Verify;
use super::{Checkout, fault};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::signature::{Fault, Signed, Signer, Signers};

/// How a signature begins in the text of a tag.
const BEGINS: &[&[u8]] =
    &[b"-----BEGIN SSH SIGNATURE-----", b"-----BEGIN PGP SIGNATURE-----", b"-----BEGIN SIGNED MESSAGE-----"];

/// What stands before the names of tags.
const TAGS: &str = "refs/tags/";

/// So many commits that are not signed as they should are told one by one.
const TOLD_MAX: usize = 10;

impl Checkout {
    /// Checks what can be checked of the commit alone, and notes who signed it.
    pub fn verify(&mut self, verify: Verify, signers: &Signers, now: DateTime<Utc>) -> Result<(), Box<Finding>> {
        let signer = match verify {
            Verify::None => return Ok(()),
            Verify::Head | Verify::AllSinceApplied => self.signer_of(self.id(), signers, None, now)?,
            Verify::Tag => self.signer_of_tag(signers, now)?,
        };
        self.revision.commit.signer = Some(signer.name);
        Ok(())
    }

    /// Checks every commit that is brought beside those of another one, whether it leads on from that or not.
    pub fn verify_since(
        &self,
        since: &Since,
        applied: Option<&str>,
        signers: &Signers,
        now: DateTime<Utc>,
    ) -> Result<(), Vec<Finding>> {
        let commits = since.brought();
        if commits.len() > COMMITS_MAX {
            let message = format!("more than {COMMITS_MAX} commits came since the one that was applied last");
            let hint = "nobody looks at so many signatures; look at them yourself, and apply once with `verify: head`";
            return Err(vec![Finding::error(Code::RepositoryTooLarge, message).hint(hint)]);
        }
        let ids = commits.iter().filter_map(|commit| Oid::from_str(&commit.id).ok());
        let applied = applied.and_then(|applied| Oid::from_str(applied).ok());
        let faults = ids.filter_map(|id| self.signer_of(id, signers, applied, now).err()).map(|finding| *finding);
        let faults: Vec<Finding> = faults.take(TOLD_MAX).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Who signed a commit. One that says to be older than the applied one that it leads on from was not made when it says,
    /// so that its key has to count now.
    pub(super) fn signer_of(
        &self,
        id: Oid,
        signers: &Signers,
        applied: Option<Oid>,
        now: DateTime<Utc>,
    ) -> Result<Signer, Box<Finding>> {
        let repository = &self.depot.repository;
        let unreadable = |error: git2::Error| Box::new(fault::reading(&format!("the commit {id}"), &error));
        let commit = repository.find_commit(id).map_err(unreadable)?;
        let author = fault::quoted(&String::from_utf8_lossy(commit.author().name_bytes()));
        let told = |fault: &Fault| told(&format!("the commit {id} of {author}"), fault);
        let odb = repository.odb().map_err(unreadable)?;
        let object = odb.read(id).map_err(unreadable)?;
        let Parts { payload, signature } = header::taken_apart(object.data()).map_err(|fault| told(&fault))?;
        let seconds = commit.time().seconds();
        let backdated = applied.is_some_and(|applied| {
            repository.find_commit(applied).is_ok_and(|applied| seconds < applied.time().seconds())
                && repository.graph_descendant_of(id, applied).unwrap_or(true)
        });
        let signed = Signed {
            payload: &payload,
            signature: &signature,
            committed_at: if backdated { now } else { DateTime::from_timestamp(seconds, 0).unwrap_or_default() },
            judged_at: now,
            is_merge: commit.parent_count() > 1,
        };
        let signer = signers.verify(&signed).map_err(|fault| told(&fault))?;
        if signer.by_forge && !self.depot.only_merges(&commit)? {
            return Err(told(&Fault::ForgeAdded { forge: signer.name, key: signer.key }));
        }
        Ok(signer)
    }

    fn signer_of_tag(&self, signers: &Signers, now: DateTime<Utc>) -> Result<Signer, Box<Finding>> {
        let repository = &self.depot.repository;
        let name = &self.revision.reference;
        let Some((id, data)) = self.tag.and_then(|id| Some((id, raw(repository, id)?))) else {
            let message =
                format!("`{name}` is no annotated tag, and the settings of the machine ask for one that is signed");
            return Err(Box::new(
                Finding::error(Code::Unsigned, message)
                    .hint("name an annotated, signed tag with `--ref`, or in `git.ref`"),
            ));
        };
        let at = BEGINS.iter().filter_map(|begins| find(&data, begins)).min().unwrap_or(data.len());
        let (payload, signature) = data.split_at(at);
        let tag =
            repository.find_tag(id).map_err(|error| Box::new(fault::reading(&format!("the tag {name}"), &error)))?;
        let tagged = tag.tagger().map(|tagger| tagger.when().seconds()).unwrap_or_default();
        let signed = Signed {
            payload,
            signature,
            committed_at: DateTime::from_timestamp(tagged, 0).unwrap_or_default(),
            judged_at: now,
            is_merge: false,
        };
        let told = |fault: &Fault| told(&format!("the tag `{name}`"), fault);
        let signer = signers.verify(&signed).map_err(|fault| told(&fault))?;
        // Whoever moves a name to another signed tag has signed nothing.
        let asked = name.strip_prefix(TAGS).unwrap_or(name);
        if tag.name_bytes() != asked.as_bytes() {
            let other = fault::quoted(&String::from_utf8_lossy(tag.name_bytes()));
            return Err(told(&Fault::OtherTag(format!("it is the signature of the tag `{other}`"))));
        }
        if tag.target_type() != Some(ObjectType::Commit) {
            return Err(told(&Fault::OtherTag("it is a tag of something that is no commit".into())));
        }
        Ok(signer)
    }
}

fn raw(repository: &Repository, id: Oid) -> Option<Vec<u8>> {
    let odb = repository.odb().ok()?;
    let object = odb.read(id).ok().filter(|object| object.kind() == ObjectType::Tag)?;
    Some(object.data().to_vec())
}

/// Where a line begins with this.
fn find(data: &[u8], begins: &[u8]) -> Option<usize> {
    (0..data.len()).find(|at| data[*at..].starts_with(begins) && (*at == 0 || data[*at - 1] == b'\n'))
}

fn told(what: &str, fault: &Fault) -> Box<Finding> {
    let hint = match fault.code() {
        Code::Unsigned => "sign it, or let somebody sign who is listed in `git.signers`",
        Code::ForgeSigned => "let whoever wrote it sign it themselves",
        _ => "nothing of it was used; `git.signers` in the settings of the machine lists who may sign",
    };
    Box::new(Finding::error(fault.code(), format!("{what} does not count: {fault}")).hint(hint))
}
