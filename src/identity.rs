//! Who people are, as far as it can be verified: by the database role of their connection, or by an SSH key that the
//! settings of the machine list.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::approval::statement::{Statement, approver_name_fault};
use crate::approval::{Approval, Approver, Given};
use crate::model::id::normalize_email;
use crate::signature::{Fault, ssh};

/// What signatures are made for; one that was made for something else is none.
pub const NAMESPACE: &str = "argus-approval";

/// The longest signature, armour included.
pub const SIGNATURE_BYTES_MAX: usize = 4_000;

/// How far the clock of whoever signs may be ahead of the database.
pub const CLOCK_SKEW_SECONDS_MAX: i64 = 300;

/// The most people who may approve.
const PEOPLE_MAX: usize = 1_000;

/// The most entries of each list of one person.
const ENTRIES_MAX: usize = 50;

/// The longest group and the longest database role.
const TEXT_BYTES_MAX: usize = 100;

/// The sorts of SSH keys that are taken.
const KEY_SORTS: [&str; 2] = ["ssh-ed25519", "ecdsa-sha2-nistp256"];

/// One person who may approve, as the settings of the machine write it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Person {
    /// What they are called.
    pub name: String,
    /// Their email addresses.
    #[serde(default)]
    pub emails: Vec<String>,
    /// The groups that they belong to.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The database roles that they, and nobody else, log in as.
    #[serde(default)]
    pub database_roles: Vec<String>,
    /// Their public SSH keys, as `ssh-keygen` writes them.
    #[serde(default)]
    pub ssh_keys: Vec<String>,
}

/// Everybody who may approve.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Vec<Person>")]
pub struct Approvers {
    people: Vec<Known>,
}

/// A person whose entry was checked.
#[derive(Clone, Debug)]
struct Known {
    approver: Approver,
    roles: BTreeSet<String>,
    keys: Vec<ssh::Key>,
}

/// Why it is not known who gave an approval.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// No approver logs in as this role.
    #[error("the settings list no approver with the database role `{0}`")]
    Role(String),
    /// No approver is called so.
    #[error("the settings list no approver `{0}`")]
    Name(String),
    /// The text is no statement.
    #[error("the statement cannot be read: {0}")]
    Statement(String),
    /// The statement is about something else than the approval.
    #[error("the statement is about another {0}")]
    Other(&'static str),
    /// The signature cannot be read.
    #[error("the signature cannot be read: {0}")]
    Signature(String),
    /// The signature is for something else.
    #[error("the signature was made for `{0}` and not for `{NAMESPACE}`")]
    Namespace(String),
    /// The signature is not by a key of theirs, or not of this statement.
    #[error("the signature is not one of `{0}` under this statement")]
    Forged(String),
}

impl TryFrom<Vec<Person>> for Approvers {
    type Error = String;

    /// Checks the entries: each whole, and no name, address, role or key with two people.
    fn try_from(people: Vec<Person>) -> Result<Self, String> {
        if people.len() > PEOPLE_MAX {
            return Err(format!("{} approvers; {PEOPLE_MAX} is the most", people.len()));
        }
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut keys: BTreeMap<String, usize> = BTreeMap::new();
        let mut known = Vec::with_capacity(people.len());
        for (at, person) in people.into_iter().enumerate() {
            let person = Known::check(person).map_err(|fault| format!("approver number {}: {fault}", at + 1))?;
            let Approver { name, also, groups: _ } = &person.approver;
            for called in also.iter().cloned().chain([name.to_lowercase()]) {
                let other = names.insert(called.clone(), at).filter(|other| *other != at);
                if let Some(other) = other {
                    return Err(format!("approvers number {} and {} both go by `{called}`", other + 1, at + 1));
                }
            }
            for key in &person.keys {
                let other = keys.insert(key.fingerprint(), at);
                if let Some(other) = other {
                    let fingerprint = key.fingerprint();
                    return Err(format!("approvers number {} and {} share the key {fingerprint}", other + 1, at + 1));
                }
            }
            known.push(person);
        }
        Ok(Approvers { people: known })
    }
}

impl Known {
    fn check(person: Person) -> Result<Known, String> {
        let Person { name, emails, groups, database_roles, ssh_keys } = person;
        if let Some(fault) = approver_name_fault(&name) {
            return Err(fault);
        }
        for (what, entries) in
            [("emails", &emails), ("groups", &groups), ("databaseRoles", &database_roles), ("sshKeys", &ssh_keys)]
        {
            if entries.len() > ENTRIES_MAX {
                return Err(format!("{} {what}; {ENTRIES_MAX} is the most", entries.len()));
            }
        }
        if database_roles.is_empty() && ssh_keys.is_empty() {
            return Err(format!("`{name}` has neither databaseRoles nor sshKeys, and could never be verified"));
        }
        let plain = |text: &String| {
            !text.is_empty()
                && text.len() <= TEXT_BYTES_MAX
                && !text.chars().any(char::is_control)
                && text.trim() == text
        };
        if let Some(odd) = groups.iter().chain(&database_roles).find(|text| !plain(text)) {
            return Err(format!("{odd:?} is neither a group nor a role: 1 to {TEXT_BYTES_MAX} bytes on one line"));
        }
        let emails: Vec<String> = emails.iter().map(|email| normalize_email(email)).collect::<Result<_, _>>()?;
        let also = emails.into_iter().chain(database_roles.iter().map(|role| role.to_lowercase())).collect();
        let keys = ssh_keys.iter().map(|key| read_key(key)).collect::<Result<Vec<_>, _>>()?;
        let approver = Approver { name, groups: groups.into_iter().collect(), also };
        Ok(Known { approver, roles: database_roles.into_iter().collect(), keys })
    }
}

fn read_key(text: &str) -> Result<ssh::Key, String> {
    let key = ssh::Key::read(text)?;
    let sort = key.sort();
    if KEY_SORTS.contains(&sort.as_str()) {
        return Ok(key);
    }
    Err(format!("a key of the sort `{sort}`; {} are taken", KEY_SORTS.join(" and ")))
}

impl Approvers {
    /// Whether nobody may approve.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Everybody.
    pub fn all(&self) -> impl Iterator<Item = &Approver> {
        self.people.iter().map(|known| &known.approver)
    }

    /// Those who hold one of these SSH keys, by their fingerprints.
    pub fn holding<'a>(&'a self, fingerprints: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Approver> {
        let holds = |known: &&Known| known.keys.iter().any(|key| fingerprints.contains(&key.fingerprint()));
        self.people.iter().filter(holds).map(|known| &known.approver)
    }

    /// Whoever logs in as this database role.
    pub fn of_role(&self, role: &str) -> Result<&Approver, Unverified> {
        let found = self.people.iter().find(|known| known.roles.contains(role));
        found.map(|known| &known.approver).ok_or_else(|| Unverified::Role(role.to_owned()))
    }

    /// Whoever is called so.
    pub fn named(&self, name: &str) -> Result<&Approver, Unverified> {
        self.known(name).map(|known| &known.approver)
    }

    fn known(&self, name: &str) -> Result<&Known, Unverified> {
        let found = self.people.iter().find(|known| known.approver.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| Unverified::Name(name.to_owned()))
    }

    /// What a signed text says and who said it, if one of the keys of whoever it names has signed it.
    pub fn signer(&self, statement: &str, signature: &str) -> Result<(Statement, &Approver), Unverified> {
        let said = Statement::parse(statement).map_err(Unverified::Statement)?;
        let known = self.known(&said.approver)?;
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Err(Unverified::Signature(format!("it has more than {SIGNATURE_BYTES_MAX} bytes")));
        }
        let signature = ssh::Signature::read(signature).map_err(|fault| match fault {
            Fault::Garbled(why) | Fault::Unsupported(why) => Unverified::Signature(why),
            fault => Unverified::Signature(fault.to_string()),
        })?;
        if signature.namespace() != NAMESPACE {
            return Err(Unverified::Namespace(signature.namespace().escape_default().to_string()));
        }
        let theirs = known.keys.iter().any(|key| signature.is_by(key, NAMESPACE, statement.as_bytes()));
        if theirs { Ok((said, &known.approver)) } else { Err(Unverified::Forged(known.approver.name.clone())) }
    }

    /// Verifies who gave an approval, from nothing but its row. `database` is the one that it stands in.
    pub fn verify(&self, given: &Given, database: &str) -> Result<Approval, Unverified> {
        let approval = |approver: &Approver| Approval {
            id: given.id,
            plan_digest: given.plan_digest.clone(),
            rules_digest: given.rules_digest.clone(),
            approver: approver.clone(),
            at: given.at,
            expires_at: given.expires_at,
        };
        let Some(signed) = &given.signed else { return self.of_role(&given.role).map(approval) };
        let (said, approver) = self.signer(&signed.statement, &signed.signature)?;
        let same = [
            ("database", said.database == database),
            ("organization", said.organization == given.organization),
            ("plan", said.plan_digest == given.plan_digest),
            ("set of rules", said.rules_digest == given.rules_digest),
        ];
        if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
            return Err(Unverified::Other(what));
        }
        // The row tells when it was recorded, and the statement what its signer meant: the narrower of both counts.
        let ahead = chrono::TimeDelta::seconds(CLOCK_SKEW_SECONDS_MAX);
        Ok(Approval {
            at: given.at.max(said.issued_at - ahead),
            expires_at: given.expires_at.min(said.expires_at),
            ..approval(approver)
        })
    }
}
