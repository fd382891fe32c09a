//! The account that a server runs under when root starts it: PostgreSQL refuses to run as root.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// An account of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// The accounts that will do, the best first.
const NAMES: [&str; 2] = ["postgres", "nobody"];

impl Account {
    /// The account for servers: none unless this process is root's.
    pub(super) fn for_servers() -> Option<Account> {
        if !is_root() {
            return None;
        }
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        NAMES.iter().find_map(|name| Account::named(&accounts, name))
    }

    /// The account of this name in the form of `/etc/passwd`.
    fn named(accounts: &str, name: &str) -> Option<Account> {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let fields: Vec<&str> = line.split(':').collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some(Account { name: name.to_owned(), uid: number(2)?, gid: number(3)? })
    }

    /// Makes a command run under it.
    pub(super) fn take_on(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// Whether this process is root's.
#[allow(unsafe_code)]
fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, changes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let accounts = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:\npostgres:x:112:120:,,,:/var:/bin/bash\n";
        let found = Account { name: "postgres".into(), uid: 112, gid: 120 };
        assert_eq!(Account::named(accounts, "postgres"), Some(found));
        assert_eq!(Account::named(accounts, "nobody"), None);
        assert_eq!(Account::named("nobody:x:a:b", "nobody"), None);
    }
}
