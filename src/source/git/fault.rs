//! What goes wrong with a repository, as findings.

use git2::{Error, ErrorClass, ErrorCode};

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::plain::is_unseen;

/// The longest that a library or a server is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 300;

/// What libgit2 said while something was fetched.
pub fn fetching(address: &str, error: &Error) -> Finding {
    let said = quoted(error.message());
    let (code, what, hint) = match (error.code(), error.class()) {
        (ErrorCode::Auth, _) => (Code::RepositoryRefused, "does not let us in", way_in(address, &said)),
        (_, ErrorClass::Ssh) if said.contains("private key") || said.contains("passphrase") => (
            Code::RepositoryRefused,
            "cannot be asked with this key",
            "see whether `git.sshKeyFile` is a private key, and `git.sshPassphraseFile` holds its passphrase",
        ),
        (ErrorCode::Certificate, _) => (
            Code::HostNotTrusted,
            "is not who it should be, or nobody here vouches for it",
            "name its authority in `git.caFile`, or the keys of the host in `git.knownHostsFile`",
        ),
        (_, ErrorClass::Ssl) if said.contains("certificate") => (
            Code::HostNotTrusted,
            "is not who it should be, or nobody here vouches for it",
            "name its authority in `git.caFile`",
        ),
        _ if said.contains("cannot redirect") || said.contains("redirect is not") => (
            Code::RepositoryMoved,
            "sends us elsewhere",
            "write the address that it has now; nobody is followed to another host",
        ),
        (_, ErrorClass::Http) if said.contains("status code: 404") || said.contains("status code: 410") => (
            Code::RepositoryUnreachable,
            "has no such repository, or does not show it to us",
            "see whether the address is right and whether whoever signs in may read it",
        ),
        (_, ErrorClass::Http) if said.contains("status code: 403") || said.contains("status code: 401") => {
            (Code::RepositoryRefused, "does not let us in", "see whether whoever signs in may read it")
        }
        (_, ErrorClass::Odb | ErrorClass::Zlib | ErrorClass::Indexer | ErrorClass::Object | ErrorClass::Tree) => (
            Code::RepositoryCorrupt,
            "sent something that is no repository",
            "run `git fsck` where it is kept; nothing of it was used",
        ),
        _ => (
            Code::RepositoryUnreachable,
            "cannot be read",
            "what was read of it before is not used either: a plan of yesterday's manifests could undo today's",
        ),
    };
    Finding::error(code, format!("{address} {what}: {said}")).hint(hint)
}

/// What is said where nothing is named to get in with.
pub const NO_KEY: &str = "no key is named for it";
pub const NO_PASSWORD: &str = "no password is named for it";

/// What may open a door that stays closed.
fn way_in(address: &str, said: &str) -> &'static str {
    match address.starts_with("https://") {
        true if said.contains(NO_PASSWORD) => {
            "name the user and a file with the password or token in `git.username` and `git.passwordFile`"
        }
        true => "see whether `git.username` and `git.passwordFile` are right, and whether they may read it",
        false if said.contains(NO_KEY) => "name a private key in `git.sshKeyFile`",
        false => "see whether the server knows the key in `git.sshKeyFile`, and whether its owner may read it",
    }
}

/// What libgit2 said while objects were read that had been fetched.
pub fn reading(what: &str, error: &Error) -> Finding {
    let finding =
        Finding::error(Code::RepositoryCorrupt, format!("{what} cannot be read: {}", quoted(error.message())));
    finding.hint("run `git fsck` where the repository is kept; a mirror is made anew by itself")
}

/// What is asked of a history whose older part was left out when it was cloned.
pub fn shallow() -> Finding {
    let message = "the clone holds only a part of the history, and more of it is needed";
    Finding::error(Code::ShallowHistory, message)
        .hint("`git fetch --unshallow`, or in CI `fetch-depth: 0` or `GIT_DEPTH: 0`, brings all of it")
}

/// A text of somebody else's in one line, in which everything can be seen.
pub fn quoted(text: &str) -> String {
    let visible = |c: char| if c.is_control() || is_unseen(c) { '?' } else { c };
    text.trim().chars().take(QUOTED_CHARS_MAX).map(visible).collect()
}
